/* SPDX-License-Identifier: Apache-2.0 */
/* The processes of `tapline run`. Agent, pipeline and page are this same program with other
 * arguments, in process groups of their own, so that Ctrl-C reaches the command and us, and we end
 * them in order. */
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <utmp.h>

#include "userspace/base/msg.h"
#include "userspace/cli/run.h"

#define ARGS_MAX 512

struct args {
	char *items[ARGS_MAX]; /* owned */
	size_t n;
};

static void add(struct args *args, const char *item)
{
	if (args->n < ARGS_MAX - 1)
		args->items[args->n++] = strdup(item);
}

static void add_flag(struct args *args, const char *flag, const char *value)
{
	if (!value)
		return;
	add(args, flag);
	add(args, value);
}

static void add_list(struct args *args, const char *flag, const struct tl_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		add_flag(args, flag, list->items[i]);
}

static void add_number(struct args *args, const char *flag, unsigned long long value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", value);
	add_flag(args, flag, text);
}

static void args_done(struct args *args)
{
	for (size_t i = 0; i < args->n; i++)
		free(args->items[i]);
}

pid_t tl_run_start_self(char *const *words)
{
	pid_t parent = getpid(), pid = fork();

	if (pid != 0)
		return pid;
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	execv("/proc/self/exe", words);
	_exit(127);
}

static pid_t start_self(const struct args *args)
{
	return tl_run_start_self(args->items);
}

static void agent_args(const struct tl_run *run, int ready_fd, struct args *args)
{
	const struct tl_run_settings *settings = &run->settings;
	struct stat st;

	add(args, "tapline");
	add(args, "agent");
	add_flag(args, "--state", run->dir);
	add_flag(args, "--pin", "none");
	add_flag(args, "--log-sync", "0");
	add_flag(args, "--stall", "0");
	add(args, "--quiet");
	add_number(args, "--ready-fd", (unsigned)ready_fd);
	add_number(args, "--deny-pid", (unsigned)getpid());
	add_number(args, "--deny-pid", (unsigned)run->pipeline);
	for (size_t i = 0; i < run->n_sinks; i++)
		add_number(args, "--deny-pid", (unsigned)run->sinks[i].pid);
	if (run->child > 0)
		add_number(args, "--pid", (unsigned)run->child);
	if (run->out[1] >= 0 && fstat(run->out[1], &st) == 0)
		add_number(args, "--stderr-inode", st.st_ino);
	add_list(args, "--pid", &settings->pids);
	add_list(args, "--comm", &settings->comms);
	add_list(args, "--exe", &settings->exes);
	add_list(args, "--cgroup", &settings->cgroups);
	add_list(args, "--container", &settings->containers);
	add_list(args, "--unit", &settings->units);
	add_list(args, "--exclude-comm", &settings->exclude_comms);
	add_list(args, "--path", &settings->paths);
	add_list(args, "--redact", &settings->redact);
	add_list(args, "--multiline-rule", &settings->multiline_rules);
	add_flag(args, "--multiline", settings->multiline);
	add_flag(args, "--backend", settings->backend);
	add_flag(args, "--ring", settings->ring);
	add_flag(args, "--uprobes", settings->uprobes);
	add_flag(args, "--ring-size", settings->ring_size);
	add_flag(args, "--service-name", settings->service_name);
	add_flag(args, "--levels", settings->levels);
	add_number(args, "--gate-confirms", (unsigned long long)settings->gate_confirms);
	add_number(args, "--log-size", settings->log_bytes);
	if (settings->all)
		add(args, "--all");
	if (!settings->follow_fork)
		add(args, "--no-follow-fork");
	if (!settings->correlate)
		add(args, "--no-correlate");
}

int tl_run_start_agent(struct tl_run *run, struct tl_error *error)
{
	struct args args = {0};
	int ready[2];
	char byte;
	ssize_t n;

	if (pipe(ready) < 0)
		return tl_error_set(error, -errno, "cannot make a pipe: %s", strerror(errno));
	fcntl(ready[0], F_SETFD, FD_CLOEXEC);
	agent_args(run, ready[1], &args);
	run->agent = start_self(&args);
	args_done(&args);
	close(ready[1]);
	if (run->agent < 0) {
		close(ready[0]);
		return tl_error_set(error, -errno, "cannot start the agent: %s", strerror(errno));
	}
	while ((n = read(ready[0], &byte, 1)) < 0 && errno == EINTR)
		;
	close(ready[0]);
	if (n == 1)
		return 0;
	waitpid(run->agent, &run->agent_status, 0);
	run->agent = 0;
	return tl_error_set(error, -ECHILD, "the agent could not start (it said why above)");
}

int tl_run_start_pipeline(struct tl_run *run, struct tl_error *error)
{
	static const char *const outputs[] = {"text", "json", "none"};
	struct args args = {0};
	char log[4200];

	snprintf(log, sizeof(log), "%s/log", run->dir);
	add(&args, "tapline");
	add(&args, "pipeline");
	add_flag(&args, "--log", log);
	add_flag(&args, "--store", run->store);
	add_flag(&args, "--output", outputs[run->settings.output]);
	add_flag(&args, "--parser", run->settings.parser);
	run->pipeline = start_self(&args);
	args_done(&args);
	return run->pipeline < 0 ? tl_error_set(error, -errno, "cannot start the pipeline: %s",
						strerror(errno))
				 : 0;
}

int tl_run_start_web(struct tl_run *run, struct tl_error *error)
{
	struct args args = {0};

	add(&args, "tapline");
	add(&args, "web");
	add_flag(&args, "--store", run->store);
	add_flag(&args, "--listen", run->settings.web);
	add_flag(&args, "--state", run->dir);
	add_flag(&args, "--token-file", run->settings.web_token_file);
	run->web = start_self(&args);
	args_done(&args);
	return run->web < 0
		       ? tl_error_set(error, -errno, "cannot start the page: %s", strerror(errno))
		       : 0;
}

/* In the child: waits for the byte, then becomes the command. */
static void become_command(struct tl_run *run, int go, int out, int err)
{
	int ours =
		fcntl(2, F_DUPFD_CLOEXEC, 3); /* a failure is our word, not a line of the command */
	sigset_t none;
	char byte;
	int status;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (read(go, &byte, 1) != 1)
		_exit(0);
	if (run->settings.tty)
		login_tty(out);
	else
		dup2(out, 1), dup2(err, 2);
	execvp(run->command[0], run->command);
	status = errno == ENOENT ? 127 : 126;
	dprintf(ours, "tapline: error: cannot run %s: %s%s\n", run->command[0], strerror(errno),
		status == 127 ? "; is it installed and in PATH?" : "");
	_exit(status);
}

static int open_output(struct tl_run *run, int ours[2], int theirs[2], struct tl_error *error)
{
	int out[2], err[2];

	ours[1] = theirs[1] = -1;
	if (run->settings.tty) {
		if (openpty(&ours[0], &theirs[0], NULL, NULL, NULL) < 0)
			return tl_error_set(error, -errno, "cannot open a pty for --tty: %s",
					    strerror(errno));
		return 0;
	}
	if (pipe(out) < 0 || pipe(err) < 0)
		return tl_error_set(error, -errno, "cannot make a pipe: %s", strerror(errno));
	ours[0] = out[0], theirs[0] = out[1];
	ours[1] = err[0], theirs[1] = err[1];
	return 0;
}

int tl_run_start_command(struct tl_run *run, struct tl_error *error)
{
	int theirs[2], go[2], r = open_output(run, run->out, theirs, error);

	if (r < 0)
		return r;
	if (pipe2(go, O_CLOEXEC) < 0)
		return tl_error_set(error, -errno, "cannot make a pipe: %s", strerror(errno));
	for (int i = 0; i < 2; i++) {
		if (run->out[i] < 0)
			continue;
		fcntl(run->out[i], F_SETFL, O_NONBLOCK);
		fcntl(run->out[i], F_SETFD, FD_CLOEXEC);
		fcntl(theirs[i], F_SETFD, FD_CLOEXEC);
	}
	run->child = fork();
	if (run->child == 0) {
		close(go[1]);
		become_command(run, go[0], theirs[0], theirs[1]);
	}
	close(go[0]);
	close(theirs[0]);
	if (theirs[1] >= 0)
		close(theirs[1]);
	run->start_fd = go[1];
	return run->child < 0 ? tl_error_set(error, -errno, "cannot fork: %s", strerror(errno)) : 0;
}
