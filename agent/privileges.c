/* SPDX-License-Identifier: Apache-2.0 */
/* What the inspector needs and the worker gives up (capabilities(7), prctl(2)). */
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#include "agent/inspector.h"

/* libcap of older systems does not know their names. */
#ifndef CAP_PERFMON
#define CAP_PERFMON 38
#endif
#ifndef CAP_BPF
#define CAP_BPF 39
#endif

static void cap_freep(cap_t *p)
{
	if (*p)
		cap_free(*p);
}

static int failed(struct tl_error *error, int e, const char *what)
{
	return tl_error_set(error, -e, "cannot give up privileges: %s: %s", what, strerror(e));
}

/* Without CAP_SETPCAP the bounding set stays; no_new_privs then does its work alone. */
static int drop_bounding(struct tl_error *error)
{
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EPERM)
			return failed(error, errno, "bounding set");
	return 0;
}

int tl_drop_privileges(struct tl_error *error)
{
	_cleanup_(cap_freep) cap_t none = cap_init();
	int r;

	if (!none)
		return failed(error, errno, "capability set");
	r = drop_bounding(error);
	if (r < 0)
		return r;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return failed(error, errno, "ambient set");
	if (cap_set_proc(none) < 0)
		return failed(error, errno, "capability sets");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return failed(error, errno, "no_new_privs");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return failed(error, errno, "dumpable");
	/* TERM, not KILL: the worker may still append what it has. Changes of credentials clear it,
	 * so it comes last. */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) < 0)
		return failed(error, errno, "parent death signal");
	return 0;
}

static bool has(cap_t set, int cap)
{
	cap_flag_value_t value = CAP_CLEAR;

	return cap_get_flag(set, cap, CAP_EFFECTIVE, &value) == 0 && value == CAP_SET;
}

bool tl_may_lock_memory(void)
{
	_cleanup_(cap_freep) cap_t mine = cap_get_proc();

	return mine && has(mine, CAP_IPC_LOCK);
}

static size_t read_text(const char *path, char *out, size_t size)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, out, size - 1);

	if (n < 0)
		n = 0;
	out[n] = '\0';
	return (size_t)n;
}

/* Root of a user namespace has every capability, but none that the BPF system call looks at. */
static bool in_user_namespace(void)
{
	unsigned inside, outside, count;
	char text[256];

	if (read_text("/proc/self/uid_map", text, sizeof(text)) == 0)
		return false;
	return sscanf(text, "%u %u %u", &inside, &outside, &count) != 3 || inside != 0 ||
	       outside != 0 || count != UINT32_MAX;
}

static int check_lockdown(struct tl_error *error)
{
	char text[128];

	/* "none integrity [confidentiality]"; needs securityfs, so that silence means nothing. */
	(void)read_text("/sys/kernel/security/lockdown", text, sizeof(text));
	if (!strstr(text, "[confidentiality]"))
		return 0;
	return tl_error_set(
		error, -EPERM,
		"the kernel is locked down (lockdown=confidentiality): no BPF program may "
		"read memory; boot with lockdown=integrity or none");
}

int tl_check_privileges(struct tl_error *error)
{
	static const struct {
		int cap;
		bool or_admin; /* CAP_SYS_ADMIN has it too */
		const char *name, *what_for;
	} needed[] = {
		{CAP_BPF, true, "CAP_BPF", "to load BPF programs"},
		{CAP_PERFMON, true, "CAP_PERFMON", "to attach them to system calls"},
		{CAP_SYS_PTRACE, false, "CAP_SYS_PTRACE", "to tell other users' processes apart"},
		{CAP_DAC_READ_SEARCH, false, "CAP_DAC_READ_SEARCH", "to read their executables"},
	};
	_cleanup_(cap_freep) cap_t mine = cap_get_proc();

	if (!mine)
		return tl_error_set(error, -errno, "cannot read our own capabilities: %s",
				    strerror(errno));
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		if (has(mine, needed[i].cap) || (needed[i].or_admin && has(mine, CAP_SYS_ADMIN)))
			continue;
		return tl_error_set(
			error, -EPERM,
			"%s is missing, needed %s: run as root (sudo), or grant it: setcap "
			"cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search=ep on the tapline "
			"program, or AmbientCapabilities= in its unit",
			needed[i].name, needed[i].what_for);
	}
	if (in_user_namespace())
		return tl_error_set(
			error, -EPERM,
			"this is root of a user namespace (a rootless container?), which "
			"may not load BPF: run tapline as root of the host");
	return check_lockdown(error);
}
