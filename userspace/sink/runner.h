/* SPDX-License-Identifier: Apache-2.0 */
/* The loop of a sink worker: poll, write, dead letters, commit. Used by tapline-sink over Kafka
 * and, with a pipeline in front, by the embedded mode over the local log. */
#ifndef TL_SINK_RUNNER_H
#define TL_SINK_RUNNER_H

#include "userspace/sink/dead_json.h"
#include "userspace/sink/sink.h"
#include "userspace/stream/pipeline.h"

struct tl_sink_runner_options {
	struct tl_bus *bus;   /* borrowed */
	struct tl_sink *sink; /* borrowed */
	/* Transactional sinks: whose offsets these are, see tl_sink_ops.source. */
	const char *source;
	size_t batch_messages; /* at most in one write */
	size_t batch_bytes;
	unsigned linger_ms; /* polls that do not fill a batch are at least so far apart */
	/* Set by a signal handler: write what was polled, commit, return 0; in the embedded mode
	 * first also what is in the log by then (10 s at most). */
	const volatile int *stop;
	/* Embedded mode: set when the drain after a stop takes too long; a write that waits for its
	 * target ends then. NULL: writes end with `stop`, the drain after 10 s. */
	const volatile int *give_up;
	/* Embedded mode: raw inputs go through this pipeline first (settings only: the runner makes
	 * it), and each finished record is shown to `show` (may be NULL) after it was committed; at
	 * the end of each batch with NULLs. */
	const struct tl_pipeline_options *pipeline;
	/* Embedded mode: where dead letters go when the sink does not take topic dlq itself. What
	 * else it does not take (metrics, HTTP exchanges) is dropped and counted. Borrowed. */
	struct tl_dead_file *dead;
	void (*show)(void *arg, const struct tl_message *message, const struct tl_record *record);
	void *arg;
};

/* Runs until stop, the end of a closed local log (returns 0), or a final error. */
int tl_sink_run(const struct tl_sink_runner_options *options, struct tl_error *error);

#endif
