/* SPDX-License-Identifier: Apache-2.0 */
/* `tapline run`: the whole system on one host. We start the agent (capture, local log), the
 * pipeline (parse, store, print), and the command, whose stdout and stderr are pipes that we empty:
 * the lines shown are those that the kernel saw, not those that we read. Order of the end: command,
 * agent (drains its ring), pipeline (reads the closed log to its end). */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/clock.h"
#include "userspace/base/fs.h"
#include "userspace/base/json.h"
#include "userspace/base/msg.h"
#include "userspace/cli/run.h"
#include "userspace/web/server.h"

#define QUIET_HINT_NS (5 * TL_SEC)
#define EXIT_USAGE 2

static void hint(struct tl_run *run, const char *text)
{
	if (run->hinted || run->settings.quiet || run->settings.tty)
		return;
	run->hinted = true;
	tl_msg(TL_INFO,
	       "%s: %s keeps its output in a buffer when stdout is a pipe. Lines come late and "
	       "cannot be joined to their "
	       "requests. Use --tty, or `stdbuf -oL CMD`, PYTHONUNBUFFERED=1 (python), "
	       "$stdout.sync = true (ruby)",
	       text, run->command[0]);
}

bool tl_run_empty_output(struct tl_run *run)
{
	static char bytes[65536];
	bool open = false;

	for (int i = 0; i < 2; i++) {
		ssize_t n;

		if (run->out[i] < 0)
			continue;
		while ((n = read(run->out[i], bytes, sizeof(bytes))) > 0) {
			if (!run->out_bytes)
				run->first_out_ns = tl_mono_ns();
			run->out_bytes += (uint64_t)n;
			if (run->settings.passthrough && write(2, bytes, (size_t)n) < 0)
				run->settings.passthrough = false;
		}
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			open = true;
			continue;
		}
		close(run->out[i]);
		run->out[i] = -1;
	}
	return open;
}

static uint64_t number_at(struct tl_span json, const char *object, const char *key)
{
	struct tl_json_value value;
	uint64_t n = 0;

	if (object) {
		if (tl_json_find(json, object, &value) != 1)
			return 0;
		json = value.raw;
	}
	if (tl_json_find(json, key, &value) == 1)
		(void)tl_json_u64(&value, &n);
	return n;
}

void tl_run_summary(const struct tl_run *run)
{
	_cleanup_(tl_buf_done) struct tl_buf json = {0};
	struct tl_span status;
	char path[4200];

	if (run->settings.quiet)
		return;
	snprintf(path, sizeof(path), "%s/status.json", run->dir);
	if (tl_file_read(path, 16 << 20, &json, NULL) < 0)
		return;
	status = tl_buf_span(&json);
	tl_msg(TL_INFO,
	       "%llu records, %llu HTTP exchanges, %llu bytes lost; kept in %s (tapline search "
	       "WORD)",
	       (unsigned long long)number_at(status, NULL, "records"),
	       (unsigned long long)number_at(status, NULL, "exchanges"),
	       (unsigned long long)number_at(status, "bytes", "gaps"), run->store);
}

static int child_exit(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The agent before all others: a pipeline ends by itself when the agent does, and may be found
 * first. */
static pid_t next_ended(const struct tl_run *run, int *status)
{
	pid_t pid = run->agent > 0 ? waitpid(run->agent, status, WNOHANG) : 0;

	return pid > 0 ? pid : waitpid(-1, status, WNOHANG);
}

/* Collects children that ended. Returns true when the run is over: the command, or without one the
 * agent, has ended. */
static bool reap(struct tl_run *run)
{
	int status;
	pid_t pid;

	while ((pid = next_ended(run, &status)) > 0) {
		if (pid == run->child) {
			run->child = 0;
			run->child_status = status;
			return true;
		}
		if (pid == run->agent) {
			run->agent = 0;
			run->agent_status = status;
			run->failed = true;
			tl_msg(TL_ERROR,
			       "the agent ended unexpectedly (%s %d): what was captured is kept, "
			       "and "
			       "the run ends",
			       WIFEXITED(status) ? "status" : "signal",
			       WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
			return true;
		}
		if (pid == run->pipeline) {
			run->pipeline = 0;
			run->pipeline_status = status;
			run->failed = true;
			tl_msg(TL_ERROR,
			       "the pipeline ended unexpectedly; what was captured stays in %s",
			       run->dir);
			return true;
		}
		if (pid == run->web)
			run->web = 0;
		if (tl_run_sink_ended(run, pid, status))
			run->failed = true;
	}
	return false;
}

/* Handles one signal. Returns true when the run is over. */
static bool on_signal(struct tl_run *run, int signals)
{
	struct signalfd_siginfo info;

	if (read(signals, &info, sizeof(info)) != sizeof(info))
		return false;
	if (info.ssi_signo == SIGCHLD)
		return reap(run);
	if (run->child > 0) {
		/* The terminal sent SIGINT to the command as well; its end is ours. A second signal
		 * ends it for sure. */
		kill(run->child, info.ssi_signo == SIGINT && info.ssi_pid == 0 ? 0 : SIGTERM);
		return false;
	}
	return true;
}

static int next_timeout_ms(const struct tl_run *run, uint64_t started, uint64_t now)
{
	uint64_t ns = 500 * TL_MS;

	if (run->settings.for_ns && started + run->settings.for_ns > now &&
	    started + run->settings.for_ns - now < ns)
		ns = started + run->settings.for_ns - now;
	return (int)(ns / TL_MS) + 1;
}

static void watch(struct tl_run *run, int signals)
{
	uint64_t started = tl_mono_ns();
	bool over = false, told = false;

	while (!over) {
		struct pollfd p[3] = {
			{.fd = signals, .events = POLLIN},
			{.fd = run->out[0], .events = POLLIN},
			{.fd = run->out[1], .events = POLLIN},
		};
		uint64_t now = tl_mono_ns();

		poll(p, 3, next_timeout_ms(run, started, now));
		tl_run_empty_output(run);
		if (p[0].revents)
			over = on_signal(run, signals);
		now = tl_mono_ns();
		if (run->command && !run->out_bytes && now - started > QUIET_HINT_NS &&
		    run->child > 0)
			hint(run, "no output yet");
		if (run->settings.for_ns && now - started >= run->settings.for_ns && !told) {
			told = true;
			if (run->child > 0)
				kill(run->child, SIGTERM);
			else
				over = true;
		}
	}
	if (run->command && run->out_bytes && run->first_out_ns > started + QUIET_HINT_NS &&
	    !run->child && tl_mono_ns() - run->first_out_ns < 100 * TL_MS)
		hint(run, "output came only at the end");
}

static void end_one(pid_t *pid, int *status)
{
	if (*pid <= 0)
		return;
	kill(*pid, SIGTERM);
	while (waitpid(*pid, status, 0) < 0 && errno == EINTR)
		;
	*pid = 0;
}

/* Ends what we started, in the order in which the bytes travel. The pipeline ends by itself at the
 * end of the log. */
static void finish(struct tl_run *run)
{
	int web_status;
	bool emptied;

	if (run->child > 0)
		end_one(&run->child, &run->child_status);
	tl_run_empty_output(run);
	end_one(&run->agent, &run->agent_status);
	if (run->pipeline > 0) {
		/* An agent that did not end well has not closed its log: the pipeline would wait
		 * for more. Asked to stop, it takes what is there first. */
		if (!WIFEXITED(run->agent_status) || WEXITSTATUS(run->agent_status))
			kill(run->pipeline, SIGTERM);
		while (waitpid(run->pipeline, &run->pipeline_status, 0) < 0 && errno == EINTR)
			;
		run->pipeline = 0;
	}
	emptied = tl_run_end_sinks(run);
	end_one(&run->web, &web_status);
	tl_run_summary(run);
	if (run->pipeline_status == 0 && emptied)
		(void)tl_remove_tree(run->dir);
	else if (run->pipeline_status)
		tl_msg(TL_WARNING, "some records did not reach the store; they are in %s",
		       run->dir);
}

static int make_folders(struct tl_run *run, struct tl_error *error)
{
	char folder[4096], *slash;
	int r;

	if (run->settings.store)
		snprintf(run->store, sizeof(run->store), "%s", run->settings.store);
	else
		tl_cli_store_path(run->store, sizeof(run->store));
	snprintf(folder, sizeof(folder), "%s", run->store);
	slash = strrchr(folder, '/');
	if (slash == folder || !slash)
		snprintf(folder, sizeof(folder), "%s", slash ? "/" : ".");
	else
		*slash = 0;
	r = tl_mkdir_p(folder, 0700, error);
	if (r < 0)
		return r;
	if (snprintf(run->dir, sizeof(run->dir), "%s/run-%d",
		     run->settings.state_dir ? run->settings.state_dir : folder,
		     getpid()) >= (int)sizeof(run->dir))
		return tl_error_set(error, -ENAMETOOLONG, "the path of --state is too long");
	return tl_mkdir_p(run->dir, 0700, error);
}

static bool selects(const struct tl_run_settings *s)
{
	return s->pids.n || s->comms.n || s->exes.n || s->units.n || s->containers.n ||
	       s->cgroups.n || s->all;
}

static int start(struct tl_run *run, struct tl_error *error)
{
	int r;

	if (!run->command && !selects(&run->settings))
		return tl_error_set(
			error, -EINVAL,
			"nothing to tap: give a command after --, or --pid, --comm, --unit "
			"(tapline run --help has examples)");
	r = run->settings.web
		    ? tl_web_check(run->settings.web, run->settings.web_token_file != NULL, error)
		    : 0;
	r = r < 0 ? r : make_folders(run, error);
	if (r < 0)
		return r;
	if (run->command && (r = tl_run_start_command(run, error)) < 0)
		return r;
	if ((r = tl_run_start_pipeline(run, error)) < 0 ||
	    (r = tl_run_start_sinks(run, error)) < 0 || (r = tl_run_start_agent(run, error)) < 0)
		return r;
	if (run->settings.web && (r = tl_run_start_web(run, error)) < 0)
		return r;
	return 0;
}

static void abandon(struct tl_run *run)
{
	int status;

	if (run->child > 0) {
		close(run->start_fd);
		waitpid(run->child, &status, 0);
	}
	end_one(&run->agent, &status);
	end_one(&run->pipeline, &status);
	for (size_t i = 0; i < run->n_sinks; i++)
		end_one(&run->sinks[i].pid, &status);
	if (run->dir[0])
		(void)tl_remove_tree(run->dir);
}

static int block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int status_of_failure(const struct tl_run *run, int code)
{
	if (code == -ECHILD && WIFEXITED(run->agent_status) && WEXITSTATUS(run->agent_status))
		return WEXITSTATUS(run->agent_status);
	return code == -EINVAL ? EXIT_USAGE : 1;
}

int tl_run_main(int argc, char **argv)
{
	static struct tl_run run = {.out = {-1, -1}, .start_fd = -1};
	struct tl_conf *conf = NULL;
	struct tl_error error = {0};
	int rest, signals, r;

	tl_msg_init("tapline", TL_INFO);
	r = tl_cli_load(&tl_run_spec, argc, argv, &run.settings, &conf, &rest);
	if (r)
		return r - 1;
	if (rest < argc)
		run.command = argv + rest;
	run.config = tl_conf_path(conf);
	signal(SIGPIPE, SIG_IGN);
	r = start(&run, &error);
	if (r < 0) {
		if (r != -ECHILD)
			tl_msg(TL_ERROR, "%s", error.message);
		abandon(&run);
		return status_of_failure(&run, r);
	}
	signals = block_signals();
	if (run.command && write(run.start_fd, "1", 1) != 1)
		tl_msg(TL_ERROR, "the command could not be started");
	watch(&run, signals);
	finish(&run);
	tl_conf_free(conf);
	if (run.command && run.failed)
		return TL_RUN_FAILED;
	if (run.command)
		return child_exit(run.child_status);
	return WIFEXITED(run.agent_status) ? WEXITSTATUS(run.agent_status) : 1;
}
