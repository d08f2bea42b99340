/* SPDX-License-Identifier: Apache-2.0 */
/* struct tl_sink_ops: where finished records end. A sink is one file and one line in sinks.c. The
 * runner (sink/runner.h) polls the bus, hands batches over, writes dead letters, and commits
 * positions only after every item is decided. One thread calls a sink; it may have its own inside.
 */
#ifndef TL_SINK_SINK_H
#define TL_SINK_SINK_H

#include "userspace/bus/bus.h"
#include "userspace/record/record.h"

struct tl_sink;

struct tl_dead_letter {
	size_t message;	  /* index in the batch */
	const char *type; /* "mapper_parsing_exception", "too_large": bounded set, used as metric
			     label */
	char reason[256];
};

struct tl_sink_result {
	struct tl_dead_letter *dead; /* filled by the sink, room for one a message */
	size_t n_dead;
	uint64_t written, duplicates, retries; /* items */
	uint64_t rejected; /* the target refused so many of those it took, and tells not which */
};

#define TL_PLACE (-2) /* see the collecting sinks below */

struct tl_sink_ops {
	const char *name;  /* "elasticsearch" */
	const char *about; /* paragraphs for --help */
	const int *topics;
	size_t n_topics;		 /* what it consumes */
	const struct tl_option *options; /* its own settings, offsets into its settings struct */
	size_t settings_size;

	/* `settings` (borrowed for the sink's life) was filled from `options`. Checks that the
	 * target is there and usable. Errors with what to do. */
	int (*open)(const void *settings, struct tl_sink **ret_sink, struct tl_error *error);

	/* Decides every message: written, already there, or dead. Blocks while the target is away
	 * (with back-off), until
	 * `*stop` is set: then -EINTR and nothing is decided that was not written idempotently.
	 * Transactional sinks (`commit` is not NULL) make nothing visible yet. */
	int (*write)(struct tl_sink *sink, const struct tl_message *messages, size_t n,
		     struct tl_sink_result *result, const volatile int *stop,
		     struct tl_error *error);

	/* Transactional sinks: names what the positions belong to (a Kafka cluster's id, a local
	 * log's id) before anything else is asked; another source has positions of its own. The
	 * text is copied. */
	void (*source)(struct tl_sink *sink, const char *name);

	/* Transactional sinks: makes what was written since the last commit, the dead letters that
	 * go to the sink itself, and `partitions` (next offsets) durable in one transaction.
	 * Errors: -ESTALE another writer owns a partition. */
	int (*commit)(struct tl_sink *sink, const struct tl_partition *partitions, size_t n,
		      struct tl_error *error);

	/* Transactional sinks: sets each partition's offset to the one stored, -1 where there is
	 * none. */
	int (*positions)(struct tl_sink *sink, struct tl_partition *partitions, size_t n,
			 struct tl_error *error);

	/* Drops what was written and not committed. NULL for sinks that are not transactional. */
	void (*rollback)(struct tl_sink *sink);

	/* Collecting sinks (`advance` is not NULL) hold messages over many batches and store
	 * positions themselves, with notes (bus mark): `write` takes copies and decides only dead
	 * letters; what it has already is left out by offset, and -EBUSY says that it takes no
	 * more of this batch now: the bus gives the rest again. `source` is called as for
	 * transactional ones. In the embedded mode all is partition 0 of the logs, and a message
	 * with the partition TL_PLACE only says that the log was read up to its offset. */

	/* A partition is ours; `mark` is what is stored for it. Errors are final. */
	int (*assigned)(struct tl_sink *sink, const struct tl_mark *mark, struct tl_error *error);
	/* It is no longer ours: drops what was held, stores nothing. */
	void (*revoked)(struct tl_sink *sink, int topic, int32_t partition);
	/* Called between batches and while there are none: brings what is due to the target and
	 * stores positions on `bus`. May wait up to `wait_ms` where it has something to wait for.
	 * `drain`: everything is due. Returns enum tl_advance. Errors are final. */
	int (*advance)(struct tl_sink *sink, struct tl_bus *bus, unsigned wait_ms, bool drain,
		       struct tl_error *error);

	void (*close)(struct tl_sink *sink);
};

enum tl_advance {
	TL_ADVANCE_READY, /* takes more */
	TL_ADVANCE_FULL,  /* takes no more for now: back-pressure */
	TL_ADVANCE_EMPTY, /* takes more, and holds nothing that could still be brought away */
};

struct tl_sink {
	const struct tl_sink_ops *ops;
	const volatile int *stop; /* set by the runner before all else: waits look at it; or NULL */
	const int *topics;	  /* what this one consumes, of ops->topics; NULL: all of them */
	size_t n_topics;
};

/* Ends with NULL. */
extern const struct tl_sink_ops *const tl_sinks[];
const struct tl_sink_ops *tl_sink_find(const char *name);

#endif
