/* SPDX-License-Identifier: Apache-2.0 */
/* A sink straight from an agent's local log, without Kafka: the stream's pipeline and the sink in
 * one process. Each reader of a log has a name and a position of its own. */
#ifndef TL_SINK_DIRECT_H
#define TL_SINK_DIRECT_H

#include "userspace/sink/runner.h"
#include "userspace/stream/pipeline_settings.h"

struct tl_direct_settings {
	const char *log_dir;	     /* NULL: Kafka */
	const char *default_log_dir; /* when neither is given */
	struct tl_pipeline_settings pipeline;
	uint64_t drain_ns;
	bool until_end;
};

/* Option rows for a settings struct with a `struct tl_direct_settings` in `member_`. */
#define TL_DIRECT_OPTIONS(type_, member_)                                                          \
	{.name = "log-dir",                                                                        \
	 .type = TL_OPT_STRING,                                                                    \
	 .offset = offsetof(type_, member_.log_dir),                                               \
	 .metavar = "DIR",                                                                         \
	 .help = "Read an agent's local log (folder log in its --state) instead of Kafka: lines "  \
		 "are then parsed here. The settings parser to window below are for this."},       \
		TL_PIPELINE_OPTIONS(type_, member_.pipeline),                                      \
		{.name = "default-log-dir",                                                        \
		 .type = TL_OPT_STRING,                                                            \
		 .offset = offsetof(type_, member_.default_log_dir),                               \
		 .metavar = "DIR",                                                                 \
		 .hidden = true,                                                                   \
		 .help = "As --log-dir, when there is no --brokers either."},                      \
		{.name = "log-drain",                                                              \
		 .type = TL_OPT_DURATION,                                                          \
		 .offset = offsetof(type_, member_.drain_ns),                                      \
		 .value = "5s",                                                                    \
		 .metavar = "TIME",                                                                \
		 .help = "With --log-dir: how long a stopped sink goes on until it has read the "  \
			 "log to its end. What is left stays there."},                             \
	{                                                                                          \
		.name = "until-end", .type = TL_OPT_BOOL,                                          \
		.offset = offsetof(type_, member_.until_end), .value = "false", .hidden = true,    \
		.help = "Say by the exit status whether the log was read to its end."              \
	}

/* Whether the log holds something that reader `name` has not passed. Errors: those of reading it.
 */
int tl_direct_left(const char *log_dir, const char *name, struct tl_error *error);

/* Runs `options` (sink, stop, give_up and batch are set; bus, source, pipeline and dead are set
 * here) over the log, as reader `name`, until it is closed and read, stopped, or a final error. The
 * log may come later. Dead letters that the sink does not take go to dead-NAME.ndjson in the folder
 * above the log's. Errors: -EINVAL the name; those of tl_sink_run. */
int tl_direct_run(const struct tl_direct_settings *settings, const char *name,
		  struct tl_sink_runner_options *options, struct tl_error *error);

#endif
