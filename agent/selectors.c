/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/selectors.h"

#include <stdio.h>
#include <string.h>

#include "agent/procfs.h"
#include "userspace/base/text.h"

#define COMM_MAX 15		       /* TASK_COMM_LEN without its NUL */
#define CONTAINER_MIN 12	       /* hex digits of a container id that people see */
#define INIT_PID_NS "pid:[4026531836]" /* PROC_PID_INIT_INO, include/linux/proc_ns.h */

unsigned tl_selectors_needs(const struct tl_selectors *selectors)
{
	unsigned needs = 0;

	if (selectors->n_exes)
		needs |= TL_NEED_EXE;
	if (selectors->n_cgroups || selectors->n_containers || selectors->n_units)
		needs |= TL_NEED_CGROUP;
	return needs;
}

static bool comm_fits(const char *pattern, const char *comm)
{
	if (tl_glob_match(pattern, comm))
		return true;
	/* The whole name of a program whose comm was cut. */
	return strlen(comm) == COMM_MAX && !strpbrk(pattern, "*?") &&
	       strncmp(pattern, comm, COMM_MAX) == 0;
}

static bool exe_fits(const char *pattern, const char *exe)
{
	const char *slash = strrchr(exe, '/');

	return tl_glob_match(pattern, strchr(pattern, '/') || !slash ? exe : slash + 1);
}

static bool cgroup_fits(const char *pattern, const char *path)
{
	char below[1024];

	if (tl_glob_match(pattern, path))
		return true;
	snprintf(below, sizeof(below), "%s%s**", pattern,
		 pattern[0] && pattern[strlen(pattern) - 1] == '/' ? "" : "/");
	return tl_glob_match(below, path);
}

static bool unit_fits(const char *pattern, const char *path)
{
	char unit[256], component[256];

	snprintf(unit, sizeof(unit), "%s%s", pattern, strchr(pattern, '.') ? "" : ".service");
	while (*path) {
		size_t len = strcspn(path, "/");

		if (len && len < sizeof(component)) {
			memcpy(component, path, len);
			component[len] = '\0';
			if (tl_glob_match(unit, component))
				return true;
		}
		path += len;
		path += *path == '/';
	}
	return false;
}

bool tl_selectors_match_cgroup(const struct tl_selectors *selectors, const struct tl_cgroup *cgroup)
{
	for (int tree = 0; tree < TL_CGROUP_TREES; tree++) {
		const char *path = cgroup->path[tree];
		char id[72];

		if (!path[0])
			continue;
		for (size_t i = 0; i < selectors->n_cgroups; i++)
			if (cgroup_fits(selectors->cgroups[i], path))
				return true;
		for (size_t i = 0; i < selectors->n_units; i++)
			if (unit_fits(selectors->units[i], path))
				return true;
		if (selectors->n_containers == 0 || !tl_cgroup_container(path, id))
			continue;
		for (size_t i = 0; i < selectors->n_containers; i++)
			if (strncmp(id, selectors->containers[i],
				    strlen(selectors->containers[i])) == 0)
				return true;
	}
	return false;
}

bool tl_selectors_match(const struct tl_selectors *selectors, const struct tl_candidate *candidate)
{
	for (size_t i = 0; candidate->comm && i < selectors->n_comms; i++)
		if (comm_fits(selectors->comms[i], candidate->comm))
			return true;
	for (size_t i = 0; candidate->exe && i < selectors->n_exes; i++)
		if (exe_fits(selectors->exes[i], candidate->exe))
			return true;
	return candidate->cgroup && tl_selectors_match_cgroup(selectors, candidate->cgroup);
}

bool tl_selectors_excluded(const struct tl_selectors *selectors, const char *comm)
{
	for (size_t i = 0; i < selectors->n_exclude_comms; i++)
		if (comm_fits(selectors->exclude_comms[i], comm))
			return true;
	return false;
}

/* --- the check --- */

/* Looks for a process of another pid namespace that is `wanted` there. */
struct inner {
	int proc;
	uint32_t wanted;
	uint32_t pid; /* ours, of the first one found; 0 none */
};

static int find_inner(void *arg, uint32_t pid)
{
	struct tl_procfs_status status;
	struct inner *inner = arg;

	if (tl_procfs_status(inner->proc, pid, &status) < 0 || status.vpid != inner->wanted ||
	    pid == inner->wanted)
		return 0;
	inner->pid = pid;
	return 1;
}

static int pid_gone(int proc, uint32_t pid, struct tl_error *error)
{
	struct inner inner = {.proc = proc, .wanted = pid};
	struct tl_procfs_stat stat;

	if (tl_procfs_each(proc, find_inner, &inner) == 1 &&
	    tl_procfs_stat(proc, inner.pid, &stat) == 0)
		return tl_error_set(
			error, -ESRCH,
			"there is no process %u on this host; inside a container or pid "
			"namespace %u is process %u (%s): use --pid %u if that is meant",
			pid, pid, inner.pid, stat.comm, inner.pid);
	return tl_error_set(
		error, -ESRCH,
		"there is no process %u: it has ended, or the number is wrong; --comm or "
		"--exe also find processes that start later",
		pid);
}

static int check_pid(int proc, uint32_t pid, struct tl_error *error)
{
	struct tl_procfs_status status;
	struct tl_procfs_stat stat;

	if (pid == 0 || pid >= TL_PID_SLOTS)
		return tl_error_set(error, -EINVAL, "%u is not a process id", pid);
	if (tl_procfs_stat(proc, pid, &stat) < 0 || tl_procfs_status(proc, pid, &status) < 0)
		return pid_gone(proc, pid, error);
	if (status.tgid != pid)
		return tl_error_set(error, -EINVAL, "%u is a thread of process %u: use --pid %u",
				    pid, status.tgid, status.tgid);
	if (stat.kernel_thread)
		return tl_error_set(error, -EINVAL,
				    "process %u (%s) is a kernel thread: it writes no logs", pid,
				    stat.comm);
	if (stat.state == 'Z' || stat.state == 'X')
		return tl_error_set(error, -ESRCH,
				    "process %u (%s) has ended already; only its parent has not "
				    "collected it yet",
				    pid, stat.comm);
	return 0;
}

static int check_patterns(const char *const *patterns, size_t n, const char *flag,
			  struct tl_error *error)
{
	for (size_t i = 0; i < n; i++)
		if (!patterns[i][0])
			return tl_error_set(error, -EINVAL, "%s is empty: it would match nothing",
					    flag);
	return 0;
}

static int check_containers(const struct tl_selectors *selectors, struct tl_error *error)
{
	for (size_t i = 0; i < selectors->n_containers; i++) {
		const char *id = selectors->containers[i];
		size_t len = strlen(id);

		if (len < CONTAINER_MIN || len > 64 || strspn(id, "0123456789abcdef") != len)
			return tl_error_set(
				error, -EINVAL,
				"--container %s is not a container id: give its first %d "
				"hex digits or more (`docker ps` or `crictl ps` show them)",
				id, CONTAINER_MIN);
	}
	return 0;
}

static int check_namespace(int proc, struct tl_error *error)
{
	char ns[64];
	ssize_t n = readlinkat(proc, "self/ns/pid", ns, sizeof(ns) - 1);

	if (n < 0)
		return 0; /* a kernel without pid namespaces, or a /proc that hides them */
	ns[n] = '\0';
	if (strcmp(ns, INIT_PID_NS) == 0)
		return 0;
	return tl_error_set(
		error, -ENOTSUP,
		"tapline runs in a pid namespace of its own, where processes have other "
		"numbers than in the kernel: run it on the host, or in a container with the host's "
		"pid "
		"namespace (docker run --pid=host, hostPID: true)");
}

int tl_selectors_check(const struct tl_selectors *selectors, struct tl_error *error)
{
	_cleanup_(closep) int proc = tl_procfs_open();
	int r;

	if (proc < 0)
		return tl_error_set(error, proc, "cannot open /proc: %s", strerror(-proc));
	r = check_namespace(proc, error);
	for (size_t i = 0; r == 0 && i < selectors->n_pids; i++)
		r = check_pid(proc, selectors->pids[i], error);
	if (r == 0)
		r = check_patterns(selectors->comms, selectors->n_comms, "--comm", error);
	if (r == 0)
		r = check_patterns(selectors->exes, selectors->n_exes, "--exe", error);
	if (r == 0)
		r = check_patterns(selectors->cgroups, selectors->n_cgroups, "--cgroup", error);
	if (r == 0)
		r = check_patterns(selectors->units, selectors->n_units, "--unit", error);
	return r == 0 ? check_containers(selectors, error) : r;
}
