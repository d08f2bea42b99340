/* SPDX-License-Identifier: Apache-2.0 */
/* Private to runner*.c: runner.c (the loop, positions, commits), runner_batch.c (what a poll
 * becomes for the sink), runner_collect.c (the loop of sinks that hold messages over batches). */
#ifndef TL_SINK_RUNNER_INTERNAL_H
#define TL_SINK_RUNNER_INTERNAL_H

#include "userspace/base/cleanup.h"
#include "userspace/sink/runner.h"

struct tl_runner {
	const struct tl_sink_runner_options *options;
	struct tl_bus *bus;
	struct tl_sink *sink;
	bool transactional;
	bool takes[TL_TOPICS];	      /* what the sink is given */
	struct tl_pipeline *pipeline; /* embedded mode, or NULL */

	struct tl_message *polled; /* of the last poll; room for options->batch_messages */
	size_t n_polled;
	struct tl_message *batch; /* what the sink is to decide */
	size_t n_batch, cap_batch;
	struct tl_dead_letter *dead; /* room for one a message of the batch */
	size_t cap_dead;
	struct tl_arena arena; /* what the batch's messages point to, where it is not the bus's */

	struct tl_partition *parts; /* ours; offset: the next one that the sink does not have */
	size_t n_parts, cap_parts;

	unsigned overtaken; /* commits that another writer foiled since partitions came */

	struct tl_error failed; /* of a callback; final */
	struct tl_arena show_arena;
	struct tl_record record; /* as shown */
};

/* Turns `polled` into `batch`: drops what the sink has already, and in the embedded mode puts the
 * pipeline in between. Errors: -ENOMEM; what the pipeline returned. */
int tl_runner_prepare(struct tl_runner *runner, struct tl_error *error);

/* Hands the batch to the sink in slices of `batch_bytes` and sees to the dead letters. Errors:
 * -EAGAIN the bus rewound; -EINTR stopped; others are final. */
int tl_runner_write(struct tl_runner *runner, struct tl_error *error);

/* Shows the finished records of the batch. */
void tl_runner_show(struct tl_runner *runner);

/* Makes the pipeline of the embedded mode. Errors: as tl_pipeline_new. */
int tl_runner_pipeline(struct tl_runner *runner, struct tl_error *error);

/* runner_collect.c: the loop of a sink that collects. Returns as tl_sink_run. */
int tl_runner_collect(struct tl_runner *runner, struct tl_error *error);

/* Forgets the batch. */
void tl_runner_drop(struct tl_runner *runner);
/* What an error of poll means. Returns 0 to go on, 1 the end, or a final error. */
int tl_runner_poll_error(struct tl_runner *runner, int r, const struct tl_error *error);
/* Sets the lag gauge, at most each 5 s. */
void tl_runner_note_lag(struct tl_runner *runner, uint64_t *last_ns);

/* NULL when the partition is not ours. */
struct tl_partition *tl_runner_part(struct tl_runner *runner, int topic, int32_t partition);

#endif
