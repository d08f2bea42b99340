/* SPDX-License-Identifier: Apache-2.0 */
/* tl_scan: finds the processes that the selectors mean, again and again, and tells the kernel side.
 * Private to the inspector. One thread.
 *
 * Children of selected processes are followed by the kernel; a scan is for the others: those that
 * start later, change their name by exec, or are moved to another control group. The first scan
 * also selects the descendants that the processes given by number have already, when forks are
 * followed. A process is looked at in each of its first scans (that is when such things happen) and
 * then in every TL_SCAN_STRIDE-th one, so that a host with thousands of processes costs little more
 * than the listing of /proc. */
#ifndef TL_AGENT_INSPECTOR_SCAN_H
#define TL_AGENT_INSPECTOR_SCAN_H

#include "agent/cgroup.h"
#include "agent/inspector.h"

#define TL_SCAN_YOUNG 10 /* scans in which a process is young */
#define TL_SCAN_STRIDE 16
#define TL_SCAN_PROCS_MAX 131072 /* processes remembered; others are looked at each time */
#define TL_SCAN_GROUPS_MAX                                                                         \
	4096 /* control groups selected; processes of others are selected one by one */

struct tl_scan;

/* `options` and `proc` (a descriptor of /proc) are borrowed. Denies first, then nothing: the first
 * scan selects. Errors: -ENOMEM. */
int tl_scan_new(const struct tl_inspector_options *options, int proc, struct tl_scan **ret_scan,
		struct tl_error *error);
void tl_scan_free(struct tl_scan *scan);
TL_DEFINE_CLEANUP(struct tl_scan *, tl_scan_free);

/* Scans; `thorough` looks at every process. Returns how many processes are selected, or -errno. */
int tl_scan_run(struct tl_scan *scan, bool thorough);

/* Whether the kernel side captures this process. */
bool tl_scan_is_selected(struct tl_scan *scan, uint32_t tgid);

const struct tl_cgroup_mounts *tl_scan_mounts(const struct tl_scan *scan);

#endif
