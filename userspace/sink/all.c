/* SPDX-License-Identifier: Apache-2.0 */
/* `tapline sink --config FILE`: all sinks of its list `sinks:`, each in a process of its own, so
 * that none holds up or takes down another. One that fails is started again, after 1 s doubled with
 * each failure in a row up to 60 s; wrong settings end everything. We only wait and start: the
 * settings are the children's to read, and they are forks that never had a thread. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/clock.h"
#include "userspace/base/msg.h"
#include "userspace/sink/main.h"

#define CHILDREN_MAX 32
#define FIRST_DELAY_NS TL_SEC
#define LAST_DELAY_NS (60 * TL_SEC)
#define GOOD_NS (60 * TL_SEC) /* one that ran so long is no failure in a row */
#define WAIT_MS 500
#define WRONG_USAGE 2
#define STATE_DEFAULT "/var/lib/tapline"

struct settings {
	const char *log_dir;
};

struct child {
	char type[TL_CONF_TYPE_MAX];
	pid_t pid; /* 0: not running */
	uint64_t started_ns, start_at_ns, delay_ns;
};

struct all {
	const char *config;
	char log_dir[4096];
	struct child children[CHILDREN_MAX];
	size_t n;
	bool stopping;
	int status; /* of ourselves */
};

static const struct tl_option options[] = {
	{.name = "log-dir",
	 .type = TL_OPT_STRING,
	 .offset = offsetof(struct settings, log_dir),
	 .metavar = "DIR",
	 .help = "The agent's local log, for entries without brokers. Default: folder log in the "
		 "state that the file's section agent names, else in " STATE_DEFAULT "."},
	{.name = NULL},
};

static const struct tl_conf_spec spec = {
	.program = "tapline sink",
	.section = "supervisor", /* nothing of the file but the list is ours */
	.usage = "tapline sink --config FILE [--log-dir DIR]",
	.about = "Runs all sinks of the list `sinks:` in a YAML file, each in a process of its "
		 "own.",
	.options = options,
};

/* The settings that another process of ours would refuse are its to tell. */
static int in_child(const struct all *all, size_t i)
{
	char number[24], *argv[10] = {"tapline-sink",	(char *)all->children[i].type,
				      "--config",	(char *)all->config,
				      "--config-entry", number};
	int argc = 6;
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	snprintf(number, sizeof(number), "%zu", i);
	argv[argc++] = "--default-log-dir";
	argv[argc++] = (char *)all->log_dir;
	return tl_sink_main(argc, argv);
}

static void start(struct all *all, size_t i)
{
	struct child *child = &all->children[i];
	pid_t parent = getpid();

	child->started_ns = tl_mono_ns();
	child->pid = fork();
	if (child->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		_exit(getppid() == parent ? in_child(all, i) : 1);
	}
	if (child->pid < 0) {
		child->pid = 0;
		child->start_at_ns = tl_mono_ns() + LAST_DELAY_NS;
		tl_msg(TL_ERROR, "sink %zu (%s) cannot be started: %s", i, child->type,
		       strerror(errno));
	}
}

static void on_end(struct all *all, size_t i, int status)
{
	struct child *child = &all->children[i];
	uint64_t now = tl_mono_ns();

	child->pid = 0;
	if (all->stopping) {
		if (status && !all->status)
			all->status = 1;
		return;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == WRONG_USAGE) {
		all->status = WRONG_USAGE;
		all->stopping = true;
		return;
	}
	if (now - child->started_ns > GOOD_NS || !child->delay_ns)
		child->delay_ns = FIRST_DELAY_NS;
	else if (child->delay_ns < LAST_DELAY_NS)
		child->delay_ns *= 2;
	child->start_at_ns = now + child->delay_ns;
	tl_msg(TL_WARNING, "sink %zu (%s) ended with %s %d; it starts again in %llu s", i,
	       child->type, WIFEXITED(status) ? "status" : "signal",
	       WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
	       (unsigned long long)(child->delay_ns / TL_SEC));
}

/* Returns how many run. */
static size_t reap(struct all *all)
{
	size_t running = 0;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < all->n; i++)
			if (all->children[i].pid == pid)
				on_end(all, i, status);
	for (size_t i = 0; i < all->n; i++)
		running += all->children[i].pid > 0;
	return running;
}

static void tell_all(const struct all *all, int signal_number)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->children[i].pid > 0)
			kill(all->children[i].pid, signal_number);
}

static void watch(struct all *all, const sigset_t *signals)
{
	const struct timespec wait = {0, WAIT_MS * (long)TL_MS};
	bool told = false;

	while (reap(all) || !all->stopping) {
		int signal_number;

		for (size_t i = 0; i < all->n && !all->stopping; i++)
			if (!all->children[i].pid && tl_mono_ns() >= all->children[i].start_at_ns)
				start(all, i);
		signal_number = sigtimedwait(signals, NULL, &wait);
		if (signal_number == SIGTERM || signal_number == SIGINT) {
			all->stopping = true;
			told = false;
		}
		if (all->stopping && !told) {
			tell_all(all, SIGTERM);
			told = true;
		}
	}
}

static int find_log(struct all *all, const struct settings *settings, struct tl_error *error)
{
	char state[4000];
	int r;

	if (settings->log_dir) {
		snprintf(all->log_dir, sizeof(all->log_dir), "%s", settings->log_dir);
		return 0;
	}
	r = tl_conf_peek(all->config, "agent", "state", state, sizeof(state), error);
	snprintf(all->log_dir, sizeof(all->log_dir), "%s/log", state[0] ? state : STATE_DEFAULT);
	return r;
}

static int prepare(struct all *all, const struct settings *settings, struct tl_error *error)
{
	char types[CHILDREN_MAX][TL_CONF_TYPE_MAX];
	int n = tl_conf_list(all->config, "sinks", types, CHILDREN_MAX, error);

	if (n == 0)
		return tl_error_set(error, -EINVAL,
				    "%s has no list `sinks:`; name a sink (tapline sink --help) or "
				    "write one (docs/small-stack.md)",
				    all->config);
	for (int i = 0; i < n; i++)
		memcpy(all->children[i].type, types[i], TL_CONF_TYPE_MAX);
	all->n = n < 0 ? 0 : (size_t)n;
	return n < 0 ? n : find_log(all, settings, error);
}

int tl_sink_all_main(int argc, char **argv)
{
	static struct all all;
	struct settings settings = {0};
	struct tl_error error = {0};
	struct tl_conf *conf = NULL;
	sigset_t signals;
	int rest, r;

	r = tl_conf_load(&spec, argc, argv, &settings, &conf, &rest, &error);
	if (r > 0)
		return 0;
	if (r == 0) {
		all.config = tl_conf_path(conf);
		r = all.config
			    ? prepare(&all, &settings, &error)
			    : tl_error_set(&error, -EINVAL, "name a sink, or give --config FILE");
	}
	if (r < 0) {
		tl_msg(TL_ERROR, "%s", error.message);
		return WRONG_USAGE;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGCHLD);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	watch(&all, &signals);
	tl_conf_free(conf);
	return all.status;
}
