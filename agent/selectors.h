/* SPDX-License-Identifier: Apache-2.0 */
/* Which processes are meant: struct tl_selectors (inspector.h) applied to what /proc says. Pure but
 * for the check. */
#ifndef TL_AGENT_SELECTORS_H
#define TL_AGENT_SELECTORS_H

#include "agent/cgroup.h"
#include "agent/inspector.h"

/* A process as far as the selectors ask; fields not needed (tl_selectors_needs) may be NULL.
 * Borrowed. */
struct tl_candidate {
	uint32_t pid;
	const char *comm;
	const char *exe; /* path, or NULL when it could not be read */
	const struct tl_cgroup *cgroup;
};

#define TL_NEED_EXE 1
#define TL_NEED_CGROUP 2

/* What has to be read of a process before it can be matched: TL_NEED_* bits. */
unsigned tl_selectors_needs(const struct tl_selectors *selectors);

/* Whether comm, executable or control group match. Neither `all` nor `pids` is looked at: a number
 * names the process that had it at start, not a later one. A comm glob without wildcards also fits
 * a name that the kernel cut at 15 bytes. An exe glob without slash is matched with the file's
 * name, else with the whole path. A cgroup glob fits the group and all below it. A unit without
 * suffix is a service; globs are allowed. */
bool tl_selectors_match(const struct tl_selectors *selectors, const struct tl_candidate *candidate);

/* Whether the part of tl_selectors_match that is about control groups fits: then the whole group is
 * meant. */
bool tl_selectors_match_cgroup(const struct tl_selectors *selectors,
			       const struct tl_cgroup *cgroup);

/* Whether `exclude_comms` forbids it. */
bool tl_selectors_excluded(const struct tl_selectors *selectors, const char *comm);

/* Checks selectors before anything is loaded. Errors, each with what to do in `error`: -ESRCH a pid
 * that is gone, or is the number inside a container of some other process (which is named); -EINVAL
 * a thread, a kernel thread, a pattern that can match nothing; -ENOTSUP we ourselves run in a pid
 * namespace, whose numbers the kernel side does not know. */
int tl_selectors_check(const struct tl_selectors *selectors, struct tl_error *error);

#endif
