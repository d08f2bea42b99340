/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/inspector_scan.h"

#include <string.h>

#include "agent/procfs.h"
#include "agent/selectors.h"
#include "userspace/base/map.h"

#define ANCESTORS_MAX 256

enum seen_state {
	SEEN_OTHER = 0, /* nothing wants it */
	SEEN_SELECTED,
	SEEN_EXCLUDED, /* by its name; denied as long as it has it */
	SEEN_DENIED,   /* one of ours */
	SEEN_KERNEL,   /* a kernel thread, or ended */
};

struct seen {
	uint64_t start_ns;
	uint32_t round; /* last scan that listed it */
	uint16_t looks; /* up to TL_SCAN_YOUNG */
	uint8_t state;	/* enum seen_state */
	uint8_t pad;
};

struct tl_scan {
	const struct tl_inspector_options *options; /* borrowed */
	int proc;				    /* borrowed */
	unsigned needs;				    /* TL_NEED_* */
	struct tl_cgroup_mounts mounts;
	struct tl_map *seen;   /* uint32_t pid -> struct seen */
	struct tl_map *groups; /* uint64_t cgroup id -> uint8_t, those selected */
	uint32_t round;
	bool thorough;
	int n_selected;
};

static bool is_denied(const struct tl_scan *scan, uint32_t pid)
{
	const struct tl_inspector_options *options = scan->options;

	for (size_t i = 0; i < options->n_denied; i++)
		if ((uint32_t)options->denied[i] == pid)
			return true;
	return pid == (uint32_t)getpid();
}

static int deny_ours(struct tl_scan *scan, struct tl_error *error)
{
	const struct tl_inspector_options *options = scan->options;
	int r = tl_capture_select(options->capture, (uint32_t)getpid(), TL_DENIED);

	for (size_t i = 0; r >= 0 && i < options->n_denied; i++)
		r = tl_capture_select(options->capture, (uint32_t)options->denied[i], TL_DENIED);
	if (r < 0)
		return tl_error_set(error, r, "cannot keep tapline's own processes out: %s",
				    strerror(-r));
	return 0;
}

int tl_scan_new(const struct tl_inspector_options *options, int proc, struct tl_scan **ret_scan,
		struct tl_error *error)
{
	_cleanup_(tl_scan_freep) struct tl_scan *scan = calloc(1, sizeof(*scan));
	int r;

	if (!scan)
		return tl_error_set(error, -ENOMEM, "out of memory for the process table");
	scan->options = options;
	scan->proc = proc;
	scan->needs = tl_selectors_needs(options->selectors);
	scan->seen = tl_map_new(sizeof(uint32_t), sizeof(struct seen), TL_SCAN_PROCS_MAX);
	scan->groups = tl_map_new(sizeof(uint64_t), sizeof(uint8_t), TL_SCAN_GROUPS_MAX);
	if (!scan->seen || !scan->groups)
		return tl_error_set(error, -ENOMEM, "out of memory for the process table");
	/* Without control groups their ids are 0; nothing else depends on them. */
	(void)tl_cgroup_mounts_read(proc, &scan->mounts);
	r = deny_ours(scan, error);
	if (r < 0)
		return r;
	*ret_scan = TAKE_PTR(scan);
	return 0;
}

void tl_scan_free(struct tl_scan *scan)
{
	if (!scan)
		return;
	tl_map_freep(&scan->seen);
	tl_map_freep(&scan->groups);
	free(scan);
}

const struct tl_cgroup_mounts *tl_scan_mounts(const struct tl_scan *scan)
{
	return &scan->mounts;
}

/* Selects a matching process's whole control group, so that what starts in it is captured from its
 * first byte on. */
static void select_group(struct tl_scan *scan, const struct tl_cgroup *cgroup)
{
	uint64_t id = tl_cgroup_id(&scan->mounts, cgroup);
	bool is_new;

	/* 1 is the root: everything that nobody put anywhere. */
	if (id <= 1 || !tl_map_put(scan->groups, &id, &is_new) || !is_new)
		return;
	if (tl_capture_select_cgroup(scan->options->capture, id, true) < 0)
		tl_map_del(scan->groups, &id);
}

/* Selects, and takes it back if the number has gone to another process meanwhile. */
static bool select_process(struct tl_scan *scan, uint32_t pid, uint64_t start_ns)
{
	struct tl_capture *capture = scan->options->capture;
	struct tl_procfs_stat stat;

	if (tl_capture_select(capture, pid, TL_SELECTED) < 0)
		return false;
	if (tl_procfs_stat(scan->proc, pid, &stat) == 0 && stat.start_ns == start_ns)
		return true;
	(void)tl_capture_select(capture, pid, 0);
	return false;
}

static bool is_named(const struct tl_selectors *selectors, uint32_t pid)
{
	for (size_t i = 0; i < selectors->n_pids; i++)
		if (selectors->pids[i] == pid)
			return true;
	return false;
}

/* Whether a process that the user named by its number is an ancestor: children that were there
 * before us are followed like those that come. */
static bool descends(const struct tl_scan *scan, uint32_t ppid)
{
	const struct tl_selectors *selectors = scan->options->selectors;
	struct tl_procfs_stat stat;

	if (!selectors->follow_fork || selectors->n_pids == 0)
		return false;
	for (int depth = 0; ppid > 1 && depth < ANCESTORS_MAX; depth++) {
		if (is_named(selectors, ppid))
			return true;
		if (tl_procfs_stat(scan->proc, ppid, &stat) < 0)
			return false;
		ppid = stat.ppid;
	}
	return false;
}

static bool is_wanted(struct tl_scan *scan, uint32_t pid, const struct tl_procfs_stat *stat)
{
	const struct tl_selectors *selectors = scan->options->selectors;
	struct tl_candidate candidate = {.pid = pid, .comm = stat->comm};
	struct tl_cgroup cgroup;
	char exe[4096];

	if (scan->needs & TL_NEED_EXE && tl_procfs_exe(scan->proc, pid, exe, sizeof(exe)) == 0)
		candidate.exe = exe;
	if (scan->needs & TL_NEED_CGROUP && tl_procfs_cgroup(scan->proc, pid, &cgroup) == 0) {
		candidate.cgroup = &cgroup;
		if (tl_selectors_match_cgroup(selectors, &cgroup))
			select_group(scan, &cgroup);
	}
	/* A number means the process that had it when we started. */
	if (scan->round == 1 && (is_named(selectors, pid) || descends(scan, stat->ppid)))
		return true;
	return tl_selectors_match(selectors, &candidate);
}

/* Decides about one process of this start time. */
static enum seen_state judge(struct tl_scan *scan, uint32_t pid, const struct tl_procfs_stat *stat,
			     enum seen_state before)
{
	struct tl_capture *capture = scan->options->capture;
	bool wanted;

	if (stat->kernel_thread || stat->state == 'Z' || stat->state == 'X')
		return SEEN_KERNEL;
	if (is_denied(scan, pid))
		return SEEN_DENIED;
	if (tl_selectors_excluded(scan->options->selectors, stat->comm))
		return tl_capture_select(capture, pid, TL_DENIED) < 0 ? SEEN_OTHER : SEEN_EXCLUDED;
	if (before == SEEN_EXCLUDED)
		(void)tl_capture_select(capture, pid, 0);
	wanted = is_wanted(scan, pid, stat);
	if (tl_capture_selected(capture, pid) == TL_SELECTED)
		return SEEN_SELECTED;
	return wanted && select_process(scan, pid, stat->start_ns) ? SEEN_SELECTED : SEEN_OTHER;
}

static bool is_due(const struct tl_scan *scan, const struct seen *seen, uint32_t pid)
{
	return scan->thorough || seen->looks < TL_SCAN_YOUNG ||
	       (scan->round + pid) % TL_SCAN_STRIDE == 0;
}

static int look(void *arg, uint32_t pid)
{
	struct tl_scan *scan = arg;
	struct tl_procfs_stat stat;
	struct seen unremembered = {0};
	struct seen *seen = tl_map_put(scan->seen, &pid, NULL);

	if (!seen)
		seen = &unremembered;
	/* Absent from a listing since: another process. */
	if (seen->round + 1 != scan->round)
		*seen = (struct seen){0};
	seen->round = scan->round;
	if (is_due(scan, seen, pid)) {
		if (tl_procfs_stat(scan->proc, pid, &stat) < 0) {
			seen->looks = 0;
			return 0;
		}
		if (seen->start_ns != stat.start_ns)
			*seen = (struct seen){.start_ns = stat.start_ns, .round = scan->round};
		seen->looks += seen->looks < TL_SCAN_YOUNG;
		seen->state = (uint8_t)judge(scan, pid, &stat, (enum seen_state)seen->state);
	}
	if (seen->state == SEEN_SELECTED ||
	    (seen->state == SEEN_OTHER && scan->options->selectors->all))
		scan->n_selected++;
	return 0;
}

/* Forgets who was not listed this time. */
static void sweep(struct tl_scan *scan)
{
	size_t n = 0, iter = 0, max = tl_map_count(scan->seen);
	_cleanup_(freep) uint32_t *ended = malloc((max ? max : 1) * sizeof(*ended));
	const void *key;
	void *value;

	if (!ended)
		return; /* next time */
	while (n < max && tl_map_next(scan->seen, &iter, &key, &value))
		if (((const struct seen *)value)->round != scan->round)
			memcpy(&ended[n++], key, sizeof(*ended));
	for (size_t i = 0; i < n; i++)
		tl_map_del(scan->seen, &ended[i]);
}

int tl_scan_run(struct tl_scan *scan, bool thorough)
{
	int r;

	scan->round++;
	scan->thorough = thorough;
	scan->n_selected = 0;
	r = tl_procfs_each(scan->proc, look, scan);
	/* Again: a child may have been forked before its parent was selected and listed by nobody.
	 */
	if (r >= 0 && scan->round == 1 && scan->options->selectors->n_pids) {
		scan->n_selected = 0;
		r = tl_procfs_each(scan->proc, look, scan);
	}
	if (r < 0)
		return r;
	/* Everybody only after the exclusions are in place. */
	if (scan->round == 1 && scan->options->selectors->all) {
		r = tl_capture_select_all(scan->options->capture, true);
		if (r < 0)
			return r;
	}
	if (scan->round % TL_SCAN_STRIDE == 0)
		sweep(scan);
	return scan->n_selected;
}

bool tl_scan_is_selected(struct tl_scan *scan, uint32_t tgid)
{
	int how = tl_capture_selected(scan->options->capture, tgid);
	struct tl_cgroup cgroup;
	uint64_t id;

	if (how == TL_SELECTED || how == TL_DENIED)
		return how == TL_SELECTED;
	if (scan->options->selectors->all)
		return true;
	if (tl_map_count(scan->groups) == 0 || tl_procfs_cgroup(scan->proc, tgid, &cgroup) < 0)
		return false;
	id = tl_cgroup_id(&scan->mounts, &cgroup);
	return tl_map_get(scan->groups, &id) != NULL;
}
