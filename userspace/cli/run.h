/* SPDX-License-Identifier: Apache-2.0 */
/* Private to run*.c: the settings of `tapline run` and the children it starts. */
#ifndef TL_CLI_RUN_H
#define TL_CLI_RUN_H

#include <stdint.h>
#include <sys/types.h>

#include "userspace/cli/cli.h"

struct tl_run_settings {
	struct tl_list pids, comms, exes, cgroups, containers, units, exclude_comms, paths, redact,
		multiline_rules, sinks;
	bool all, follow_fork, tty, passthrough, correlate, quiet;
	int output; /* enum tl_run_output */
	uint64_t for_ns;
	const char *store, *state_dir, *web, *web_token_file, *backend, *ring, *ring_size, *uprobes,
		*multiline, *service_name, *parser, *otlp;
	uint64_t drain_ns;
	int64_t gate_confirms;
	const char *levels;
	uint64_t log_bytes;
};

enum tl_run_output { TL_RUN_TEXT, TL_RUN_JSON, TL_RUN_NONE };

#define TL_RUN_SINKS_MAX 8

/* A child that carries the records on, straight from the local log. */
struct tl_run_sink {
	const char *type; /* "otlp"; owned by the arguments below */
	char *words[64];  /* its command line; owned, ends with NULL */
	size_t n;
	pid_t pid;
	int status; /* wait status, once ended */
};

struct tl_run {
	const char *config; /* the file of --config: its list sinks: counts; or NULL */
	struct tl_run_settings settings;
	char **command;	  /* NULL: tap what runs already */
	char store[4096]; /* path of the store */
	char dir[4096];	  /* the agent's state of this run, removed at the end */
	pid_t agent, pipeline, web, child;
	struct tl_run_sink sinks[TL_RUN_SINKS_MAX];
	size_t n_sinks;
	int agent_status, pipeline_status, child_status; /* wait status, once ended */
	int out[2];   /* our ends of the command's stdout and stderr (with --tty both are out[0]) */
	int start_fd; /* a byte here lets the command begin */
	uint64_t out_bytes;    /* the command wrote so much */
	uint64_t first_out_ns; /* when its first byte came */
	bool hinted;
	bool failed; /* a child of ours ended by itself: the run was cut short */
};

/* Exit status when tapline itself failed in the midst of a command, as of env(1) and timeout(1):
 * the command's own status would hide it. */
#define TL_RUN_FAILED 125

/* Starts the command stopped before its exec; sets child, out, start_fd. */
int tl_run_start_command(struct tl_run *run, struct tl_error *error);
/* Starts the agent and waits until it captures. Errors: the agent's exit status as -status - 1000
 * when it failed itself. */
int tl_run_start_agent(struct tl_run *run, struct tl_error *error);
int tl_run_start_pipeline(struct tl_run *run, struct tl_error *error);
/* Starts what --sink and --otlp ask for. Errors: -EINVAL a sink that is none. */
int tl_run_start_sinks(struct tl_run *run, struct tl_error *error);
/* Notes that a child ended, if it is a sink; says so while the run goes on. */
bool tl_run_sink_ended(struct tl_run *run, pid_t pid, int status);
/* Once the log is closed: lets the sinks read it to its end, at most `drain`, and ends them.
 * Returns whether each of them has. */
bool tl_run_end_sinks(struct tl_run *run);
/* Starts this program with `words` (ends with NULL), in a process group of its own; it ends with
 * us. Returns its pid or -1. */
pid_t tl_run_start_self(char *const *words);
int tl_run_start_web(struct tl_run *run, struct tl_error *error);

/* Empties what the command wrote (to stderr with --passthrough). Returns false when all of its ends
 * are closed. */
bool tl_run_empty_output(struct tl_run *run);

/* One line about the run on stderr: records, losses, where they are kept. */
void tl_run_summary(const struct tl_run *run);

#endif
