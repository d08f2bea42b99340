/* SPDX-License-Identifier: Apache-2.0 */
/* struct tl_bus: where stages and sinks take messages from and put them, without knowing whether it
 * is Kafka (bus/kafka.c) or the local log (bus/local.c). A consumer commits inputs together with
 * its outputs: one transaction a batch. One thread per bus. */
#ifndef TL_BUS_BUS_H
#define TL_BUS_BUS_H

#include "userspace/base/buf.h"
#include "userspace/base/conf.h"
#include "userspace/base/err.h"

enum tl_topic {
	TL_TOPIC_RAW,
	TL_TOPIC_HTTP,
	TL_TOPIC_LOGS,
	TL_TOPIC_METRICS,
	TL_TOPIC_DLQ,
	TL_TOPIC_MARKS,
	TL_TOPIC_OTLP, /* logs again as OTLP protobuf; its name has no prefix */
	TL_TOPICS
};

/* "tapline.raw" and so on, with the prefix that the configuration gives (default "tapline."). */
#define TL_TOPIC_NAMES                                                                             \
	{                                                                                          \
		"raw", "http", "logs", "metrics", "dlq", "marks", "otlp_logs"                      \
	}

struct tl_header {
	struct tl_span key, value;
};

#define TL_HEADERS_MAX 16

struct tl_message {
	int topic;	   /* enum tl_topic */
	int32_t partition; /* local: 0; produce: -1 = by key (murmur2) */
	int64_t offset;	   /* of an input */
	struct tl_span key,
		value; /* borrowed: inputs until the next poll, outputs during the call */
	struct tl_header headers[TL_HEADERS_MAX];
	uint32_t n_headers;
	uint64_t timestamp_ns; /* wall */
	/* Where the agent's local log had it: recognises a resend (`tapline-position` header, or
	 * the log itself). */
	uint64_t log_id, log_position; /* 0: unknown */
};

struct tl_partition {
	int topic;
	int32_t partition;
	int64_t offset; /* next to be read */
};

#define TL_NOTE_MAX 1024

/* A stored position and what its owner wants to know on coming back. */
struct tl_mark {
	int topic;
	int32_t partition;
	int64_t offset;		/* next to be read; -1 nothing is stored */
	char note[TL_NOTE_MAX]; /* text without NUL; "" none */
};

/* Told within tl_bus_poll. */
struct tl_bus_listener {
	/* These partitions are ours from now on. The listener may set each offset (>= 0) to begin
	 * there instead of at the committed one (a sink whose store keeps the offsets). */
	void (*assigned)(void *arg, struct tl_partition *partitions, size_t n);
	/* These are no longer ours; what is uncommitted was aborted. */
	void (*revoked)(void *arg, const struct tl_partition *partitions, size_t n);
	void *arg;
};

struct tl_bus;

struct tl_bus_ops {
	const char *name;

	/* Begins to consume `topics`. A new group starts at the earliest message; an offset that
	 * retention has passed is an error (-ERANGE, names the gap) unless the bus was opened with
	 * accept_gap. */
	int (*subscribe)(struct tl_bus *bus, const int *topics, size_t n,
			 const struct tl_bus_listener *listener, struct tl_error *error);

	/* Takes up to `max` messages, waiting at most `timeout_ms` for the first. Messages of one
	 * partition are in order. Returns their number, 0 none, negative errno: -EAGAIN try again
	 * (the transaction was aborted and the inputs rewound, see abort), -ENODATA the local
	 * writer is done and all was read, others are final. */
	int (*poll)(struct tl_bus *bus, struct tl_message *messages, size_t max,
		    unsigned timeout_ms, struct tl_error *error);

	/* Queues an output; it becomes visible with commit. Errors: -EMSGSIZE too large for the
	 * topic; -EAGAIN as poll. */
	int (*produce)(struct tl_bus *bus, const struct tl_message *message,
		       struct tl_error *error);

	/* Makes all outputs since the last commit, and the positions after every polled message,
	 * durable together. Without outputs and with no transaction it only commits positions.
	 * Errors: -EAGAIN all was aborted and rewound: poll gives the same inputs again; others
	 * (fenced by a successor: -ESTALE) are final. */
	int (*commit)(struct tl_bus *bus, struct tl_error *error);

	/* Drops the outputs and rewinds the inputs to the last commit. */
	int (*abort)(struct tl_bus *bus, struct tl_error *error);

	/* For consumers that hold messages over many polls and store positions by `mark` alone:
	 * what was polled so far is theirs, it is forgotten here and a rewind does not give it
	 * again. Stored positions stay. */
	void (*take)(struct tl_bus *bus);

	/* Stores a position of one of our partitions together with its note, in one step; outputs
	 * so far are made durable before. Never waits for long. Errors: -EAGAIN unknown or not
	 * stored (the broker is away, a rebalance is under way): poll, and try again if the
	 * partition is still ours; -ENAMETOOLONG the broker refuses a note of this size; others
	 * (-ESTALE a successor took over) are final. */
	int (*mark)(struct tl_bus *bus, const struct tl_mark *mark, struct tl_error *error);

	/* Reads back what is stored for `mark`'s topic and partition. May be called by the
	 * listener's `assigned`. Errors: as commit. */
	int (*marked)(struct tl_bus *bus, struct tl_mark *mark, struct tl_error *error);

	/* Back-pressure: stops and goes on fetching without leaving the group. */
	int (*pause)(struct tl_bus *bus, bool on);

	/* Messages of a compacted changelog partition, from its beginning to its present end,
	 * handed to `each`. */
	int (*read_all)(struct tl_bus *bus, int topic, int32_t partition,
			void (*each)(void *arg, struct tl_span key, struct tl_span value),
			void *arg, struct tl_error *error);

	/* Messages not read yet, over all assigned partitions; -1 unknown. */
	int64_t (*lag)(struct tl_bus *bus);

	void (*close)(struct tl_bus *bus);
};

struct tl_bus {
	const struct tl_bus_ops *ops;
};

#define TL_DEFAULT_TOPIC_PREFIX "tapline."

/* Settings of everything that speaks to Kafka, part of each program's option table
 * (TL_KAFKA_OPTIONS in bus/kafka.h). */
struct tl_kafka_settings {
	const char *brokers; /* HOST:PORT,... */
	const char *topic_prefix;
	int64_t partitions;  /* of topics that we make */
	int64_t replication; /* of topics that we make; -1 the broker's default */
	struct tl_list
		properties;	 /* KEY=VALUE of librdkafka; a value @FILE is read from the file */
	const char *compression; /* lz4, zstd, none */
	const char *otlp_topic;	 /* whole name of TL_TOPIC_OTLP; NULL: it is not used */
};

struct tl_bus_options {
	const struct tl_kafka_settings *kafka;
	const char *group;    /* consumer group */
	const char *instance; /* stable name of this worker: group.instance.id and part of
				 transactional.id */
	bool transactional;   /* outputs and offsets in one transaction */
	bool accept_gap;
	uint64_t memory_bytes; /* fetched ahead and kept for a rewind, each; 0: 64 MiB and 256 MiB
				*/
};

/* Connects (waits for the broker up to 30 s with a message each 5 s), makes missing topics. Errors:
 * -ECONNREFUSED unreachable, -EACCES credentials or ACL, -EINVAL a property librdkafka refuses;
 * each says what to do. */
int tl_bus_kafka_open(const struct tl_bus_options *options, struct tl_bus **ret_bus,
		      struct tl_error *error);

/* The agent's local log in `dir` as consumer `name`: topics RAW and HTTP in one partition 0, offset
 * = log position. Records become JSON messages exactly as the forwarder would produce them. commit
 * stores the position; produce is -ENOTSUP (the embedded mode hands outputs to its sink). Waits up
 * to `wait_ms` for the log to appear. */
int tl_bus_local_open(const char *dir, const char *name, unsigned wait_ms, struct tl_bus **ret_bus,
		      struct tl_error *error);

#endif
