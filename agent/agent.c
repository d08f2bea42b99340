/* SPDX-License-Identifier: Apache-2.0 */
/* The inspector's life: load and attach, then fork the worker and serve its requests until it ends.
 *
 * A worker that dies by a signal is started again on the same maps, at once at first, then slower:
 * the ring has kept what came meanwhile. SIGTERM and SIGINT are passed on to the worker, which
 * drains and ends; we serve it until then. */
#include "agent/agent.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "agent/learn.h"
#include "agent/selectors.h"
#include "agent/worker.h"
#include "userspace/base/clock.h"
#include "userspace/base/fs.h"
#include "userspace/base/msg.h"

#define EXIT_USAGE 2
#define EXIT_PRIVILEGES 77
#define LOCK_EXTRA_NS (5 * TL_SEC)

struct agent {
	struct tl_agent_settings settings;
	struct tl_selectors selectors;
	uint32_t pids[TL_PIDS_MAX];
	pid_t denied[64];
	size_t n_denied;
	struct tl_capture *capture;
	bool reused;
	int pins_fd; /* locked folder of the pins until the worker has it, or -1 */
};

static volatile sig_atomic_t stopping;
static volatile pid_t worker_pid;

static void on_stop(int signal_number)
{
	stopping = 1;
	if (worker_pid > 0)
		kill(worker_pid, signal_number);
}

static int exit_status(int code)
{
	switch (code) {
	case -EPERM:
	case -ENOTSUP:
		return EXIT_PRIVILEGES;
	case -EINVAL:
		return EXIT_USAGE;
	default:
		return 1;
	}
}

static const char *pin_dir(const struct tl_agent_settings *settings)
{
	return settings->pin_dir && strcmp(settings->pin_dir, "none") != 0 ? settings->pin_dir
									   : NULL;
}

static int deny_own(struct agent *agent)
{
	agent->denied[agent->n_denied++] = getpid();
	for (size_t i = 0;
	     i < agent->settings.deny_pids.n && agent->n_denied < ARRAY_SIZE(agent->denied) - 1;
	     i++)
		agent->denied[agent->n_denied++] = atoi(agent->settings.deny_pids.items[i]);
	return 0;
}

/* Pins of another ABI are removed with their folder: then the one we locked is not the one in use.
 */
static bool is_locked(const struct agent *agent, const char *dir)
{
	struct stat ours, now;

	return agent->pins_fd >= 0 && fstat(agent->pins_fd, &ours) == 0 && stat(dir, &now) == 0 &&
	       ours.st_ino == now.st_ino;
}

/* Two agents must not empty one ring. The lock goes with the last process of an agent: a worker
 * whose inspector died still drains, so it is waited for a while. A folder that is not there yet
 * belongs to nobody. */
static int lock_pins(struct agent *agent, struct tl_error *error)
{
	const char *dir = pin_dir(&agent->settings);
	uint64_t until = tl_mono_ns() + agent->settings.stop_ns + LOCK_EXTRA_NS;
	bool told = false;

	if (!dir || is_locked(agent, dir))
		return 0;
	closep(&agent->pins_fd);
	agent->pins_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (agent->pins_fd < 0)
		return 0;
	while (flock(agent->pins_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return 0; /* a file system without locks */
		if (stopping || tl_mono_ns() >= until)
			return tl_error_set(
				error, -EBUSY,
				"another agent uses %s: stop it, or give this one a folder of "
				"its own with --pin",
				dir);
		if (!told)
			tl_msg(TL_WARNING, "another agent uses %s; waiting for it to end", dir);
		told = true;
		usleep(100000);
	}
	return 0;
}

/* What tl_capture_open cannot know: by which flag another way is taken. */
static int advise(const struct agent *agent, int r, struct tl_error *error)
{
	const struct tl_agent_settings *settings = &agent->settings;

	if (r == -EIO && settings->ring == TL_RING_PERF && !tl_may_lock_memory())
		return tl_error_set(
			error, -EPERM,
			"%.256s: the perf buffers may be too large for a user without "
			"CAP_IPC_LOCK. Grant it, or choose a smaller --ring-size (sysctl "
			"kernel.perf_event_mlock_kb is the limit)",
			error->message);
	if ((r == -EACCES || r == -EPERM || r == -ENOTSUP) && pin_dir(settings) &&
	    strstr(error->message, pin_dir(settings)))
		return tl_error_set(error, r,
				    "%.400s. --pin names the folder; --pin none does without",
				    error->message);
	return r;
}

static int open_capture(struct agent *agent, struct tl_error *error)
{
	const struct tl_agent_settings *settings = &agent->settings;
	const struct tl_capture_options options = {
		.backend = (enum tl_backend)settings->backend,
		.ring = (enum tl_ring_kind)settings->ring,
		.ring_bytes = settings->ring_bytes,
		.pin_dir = pin_dir(settings),
		.wire = settings->wire && settings->correlate,
		.undecided_max = 1 << 20,
		.wire_max = 4096,
		.stall_ns = settings->stall_ns,
	};
	int r = lock_pins(agent, error);

	if (r < 0)
		return r;
	r = tl_capture_open(&options, &agent->capture, &agent->reused, error);
	return r < 0 ? advise(agent, r, error) : lock_pins(agent, error);
}

static void close_capture(struct agent *agent)
{
	bool keep = pin_dir(&agent->settings) != NULL;

	if (agent->capture)
		tl_capture_close(agent->capture, keep);
}

static const char *ring_name(enum tl_ring_kind kind)
{
	return kind == TL_RING_PERF ? "perf" : "bpf";
}

static const char *backend_name(enum tl_backend backend)
{
	return backend == TL_BACKEND_MULTI ? "kretprobe.multi" : "sys_exit";
}

/* A worker that comes after another one inherits the uprobes that are still being taken out, and
 * would keep them in. */
static void close_probes(const struct tl_capture_fds *fds)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;
	char target[64];

	while (dir && (entry = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
		int fd = atoi(entry->d_name);
		bool ours = false;

		target[n < 0 ? 0 : n] = '\0';
		for (unsigned i = 0; i < fds->n_perf; i++)
			ours |= fds->perf[i] == fd;
		if (!ours && (strcmp(target, "anon_inode:[perf_event]") == 0 ||
			      strcmp(target, "anon_inode:bpf_link") == 0 ||
			      strcmp(target, "anon_inode:bpf-link") == 0))
			close(fd);
	}
	if (dir)
		closedir(dir);
}

/* Forks the worker. In the child it does not return. The lock of the pins is the worker's alone
 * from then on, who reads the ring: an inspector that is killed may take seconds to go, uprobe by
 * uprobe. */
static pid_t start_worker(struct agent *agent, bool again, int *ret_fd, struct tl_error *error)
{
	int pair[2], r;
	struct tl_worker_options options = {
		.settings = &agent->settings,
		.backend = backend_name(tl_capture_backend(agent->capture)),
		.backend_why = tl_capture_backend_why(agent->capture),
		.ring = ring_name(tl_capture_ring_kind(agent->capture)),
	};
	pid_t pid;

	r = lock_pins(agent, error);
	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return tl_error_set(error, -errno, "cannot make the pair to the worker: %s",
				    strerror(errno));
	tl_capture_fds(agent->capture, &options.fds);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		if (again)
			close_probes(&options.fds);
		/* Told to stop before it could listen. */
		if (stopping)
			_exit(0);
		options.inspector = pair[1];
		_exit(tl_worker_main(&options));
	}
	close(pair[1]);
	closep(&agent->pins_fd);
	agent->pins_fd = -1;
	if (pid < 0) {
		close(pair[0]);
		return tl_error_set(error, -errno, "cannot fork the worker: %s", strerror(errno));
	}
	*ret_fd = pair[0];
	return pid;
}

/* One life of a worker. Returns its wait status, or a negative errno when it could not be started.
 */
static int run_worker(struct agent *agent, bool again, int *ret_status, struct tl_error *error)
{
	struct tl_inspector_options options = {
		.capture = agent->capture,
		.selectors = &agent->selectors,
		.denied = agent->denied,
		.scan_ms = (unsigned)(agent->settings.scan_ns / TL_MS),
	};
	_cleanup_(closep) int fd = -1;
	pid_t pid = start_worker(agent, again, &fd, error);
	int r;

	if (pid < 0) {
		tl_msg(TL_ERROR, "%s", error->message);
		return pid;
	}
	worker_pid = pid;
	if (stopping)
		kill(pid, SIGTERM);
	agent->denied[agent->n_denied] = pid;
	options.n_denied = agent->n_denied + 1;
	r = tl_inspector_serve(fd, &options, error);
	if (r < 0) {
		tl_msg(TL_ERROR, "%s", error->message);
		kill(pid, SIGTERM);
	}
	/* A worker that still asks must not wait for an answer that will not come. */
	closep(&fd);
	fd = -1;
	while (waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
		;
	worker_pid = 0;
	return r;
}

/* Runs workers until one ends of itself. Returns the exit status of the program. */
static int supervise(struct agent *agent)
{
	unsigned delay_ms = 0;
	bool again = false;

	for (;;) {
		struct tl_error error = {0};
		uint64_t started = tl_mono_ns();
		int status = 0, r = run_worker(agent, again, &status, &error);

		again = true;

		if (r < 0)
			return exit_status(r);
		if (WIFEXITED(status))
			return WEXITSTATUS(status);
		if (stopping)
			return 1;
		delay_ms = tl_mono_ns() - started > 10 * TL_SEC ? 0 : delay_ms * 2 + 10;
		if (delay_ms > 5000)
			delay_ms = 5000;
		tl_msg(TL_WARNING,
		       "the worker died by signal %d; the ring keeps what comes meanwhile; "
		       "starting it again",
		       WTERMSIG(status));
		usleep(delay_ms * 1000);
	}
}

/* An agent that starts again must still take what its processes wrote last, although they have
 * ended meanwhile. */
static int check_selectors(struct agent *agent, struct tl_error *error)
{
	const char *dir = pin_dir(&agent->settings);
	int r = tl_selectors_check(&agent->selectors, error);
	char ring[4096];

	if (r != -ESRCH || !dir)
		return r;
	snprintf(ring, sizeof(ring), "%s/tl_ring", dir);
	if (access(ring, F_OK) < 0)
		return r;
	tl_msg(TL_WARNING, "%s. Going on, because %s may hold what was written before",
	       error->message, ring);
	return 0;
}

/* Each uprobe takes two. */
static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int prepare(struct agent *agent, struct tl_error *error)
{
	int r = tl_agent_selectors(&agent->settings, agent->pids, &agent->selectors, error);
	unsigned sets;

	if (r >= 0)
		r = tl_learn_sets(agent->settings.uprobes, &sets, error);
	if (r < 0)
		return r;
	raise_descriptors();
	r = check_selectors(agent, error);
	if (r < 0)
		return r;
	r = tl_check_privileges(error);
	if (r < 0)
		return r;
	r = tl_mkdir_p(agent->settings.state_dir, 0700, error);
	if (r < 0)
		return r;
	deny_own(agent);
	return open_capture(agent, error);
}

int tl_agent_main(int argc, char **argv)
{
	static struct agent agent = {.pins_fd = -1};
	struct sigaction action = {.sa_handler = on_stop};
	struct tl_conf *conf = NULL;
	struct tl_error error = {0};
	int rest, r;

	tl_msg_init("tapline-agent", TL_INFO);
	r = tl_conf_load(&tl_agent_spec, argc, argv, &agent.settings, &conf, &rest, &error);
	if (r != 0) {
		if (r < 0)
			tl_msg(TL_ERROR, "%s", error.message);
		return r < 0 ? EXIT_USAGE : 0;
	}
	if (agent.settings.quiet)
		tl_msg_init("tapline-agent", TL_WARNING);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	r = prepare(&agent, &error);
	if (r < 0) {
		tl_msg(TL_ERROR, "%s", error.message);
		r = exit_status(r);
	} else {
		r = supervise(&agent);
	}
	close_capture(&agent);
	tl_conf_free(conf);
	return r;
}
