/* SPDX-License-Identifier: Apache-2.0 */
/* Which processes the inspector selects, when, and in which order. */
#include "tests/unit/inspector_fixture.h"

#include <stdio.h>
#include <sys/stat.h>

#include "agent/cgroup.h"
#include "agent/procfs.h"

static void a_process_is_selected_by_its_name(void **state)
{
	const char *comms[] = {"tl-sample-a"};
	struct tl_selectors selectors = {.comms = comms, .n_comms = 1, .follow_fork = true};
	struct sample wanted = start_sample("tl-sample-a", -1),
		      other = start_sample("tl-sample-b", -1);

	(void)state;
	start_inspector(&selectors, NULL, 0, 0);
	assert_int_equal(tl_inspect_scan(fd), 1);
	assert_int_equal(fake->how[wanted.pid], TL_SELECTED);
	assert_int_equal(fake->how[other.pid], 0);
	stop_inspector();
	end_sample(&wanted);
	end_sample(&other);
}

static void a_process_is_selected_by_its_number(void **state)
{
	struct sample wanted = start_sample("tl-sample", -1);
	uint32_t pid = (uint32_t)wanted.pid;
	struct tl_selectors selectors = {.pids = &pid, .n_pids = 1};

	(void)state;
	start_inspector(&selectors, NULL, 0, 0);
	assert_int_equal(tl_inspect_scan(fd), 1);
	assert_int_equal(fake->how[wanted.pid], TL_SELECTED);
	stop_inspector();
	end_sample(&wanted);
}

static void wait_selected(pid_t pid, uint8_t how)
{
	uint64_t deadline = tl_mono_ns() + DEADLINE_NS;

	while (__atomic_load_n(&fake->how[pid], __ATOMIC_RELAXED) != how && tl_mono_ns() < deadline)
		usleep(1000);
	assert_int_equal(fake->how[pid], how);
}

static void a_process_that_starts_later_is_found_by_the_timer(void **state)
{
	const char *comms[] = {"tl-late-*"};
	struct tl_selectors selectors = {.comms = comms, .n_comms = 1};
	struct sample late;

	(void)state;
	start_inspector(&selectors, NULL, 0, 10);
	assert_int_equal(tl_inspect_scan(fd), 0);
	late = start_sample("tl-late-1", -1);
	wait_selected(late.pid, TL_SELECTED);
	stop_inspector();
	end_sample(&late);
}

static void our_own_processes_are_denied_first(void **state)
{
	const char *comms[] = {"tl-own"};
	struct tl_selectors selectors = {.comms = comms, .n_comms = 1};
	struct sample own = start_sample("tl-own", -1);

	(void)state;
	start_inspector(&selectors, &own.pid, 1, 0);
	assert_int_equal(tl_inspect_scan(fd), 0);
	assert_int_equal(fake->how[own.pid], TL_DENIED);
	assert_int_equal(fake->how[service], TL_DENIED);
	stop_inspector();
	end_sample(&own);
}

static void an_excluded_name_wins_over_everything(void **state)
{
	const char *excluded[] = {"tl-ship*"};
	struct sample shipper = start_sample("tl-shipper", -1);
	uint32_t pid = (uint32_t)shipper.pid;
	struct tl_selectors selectors = {.pids = &pid,
					 .n_pids = 1,
					 .exclude_comms = excluded,
					 .n_exclude_comms = 1,
					 .all = true};

	(void)state;
	start_inspector(&selectors, NULL, 0, 0);
	assert_true(tl_inspect_scan(fd) > 0);
	assert_int_equal(fake->how[shipper.pid], TL_DENIED);
	assert_true(fake->all);
	stop_inspector();
	end_sample(&shipper);
}

static void fork_following_is_told_to_the_programs(void **state)
{
	struct tl_selectors selectors = {.follow_fork = true};
	struct tl_control control;

	(void)state;
	start_inspector(&selectors, NULL, 0, 0);
	assert_int_equal(tl_inspect_scan(fd), 0);
	assert_int_equal(pread(fake->control_fd, &control, sizeof(control), 0), sizeof(control));
	assert_int_equal(control.follow_fork, 1);
	stop_inspector();
}

/* A new folder in a tree of control groups that we may write to. */
static bool make_group(enum tl_cgroup_tree tree, char *path, size_t size)
{
	struct tl_cgroup_mounts mounts = {0};
	_cleanup_(closep) int proc = tl_procfs_open();

	assert_int_equal(tl_cgroup_mounts_read(proc, &mounts), 0);
	snprintf(path, size, "%s/tl-test-%d", mounts.path[tree], getpid());
	return mounts.path[tree][0] && mkdir(path, 0755) == 0;
}

static bool join_group(const char *path, pid_t pid)
{
	char procs[512], text[16];
	int n = snprintf(text, sizeof(text), "%d", pid);
	_cleanup_(closep) int procs_fd = -1;

	snprintf(procs, sizeof(procs), "%s/cgroup.procs", path);
	procs_fd = open(procs, O_WRONLY | O_CLOEXEC);
	return procs_fd >= 0 && write(procs_fd, text, (size_t)n) == n;
}

/* Waits until the group is empty, which it is a little after its last process was collected. */
static void remove_group(const char *path)
{
	uint64_t deadline = tl_mono_ns() + DEADLINE_NS;

	while (rmdir(path) < 0 && errno == EBUSY && tl_mono_ns() < deadline)
		usleep(1000);
}

static void expect_group_selected(enum tl_cgroup_tree tree)
{
	struct sample wanted = start_sample("tl-sample", -1);
	char path[400], pattern[64];
	const char *cgroups[] = {pattern};
	struct tl_selectors selectors = {.cgroups = cgroups, .n_cgroups = 1};
	struct tl_proc_info info;
	struct stat st;

	snprintf(pattern, sizeof(pattern), "/tl-test-%d", getpid());
	if (!make_group(tree, path, sizeof(path)) || !join_group(path, wanted.pid)) {
		rmdir(path);
		end_sample(&wanted);
		skip();
	}
	assert_int_equal(stat(path, &st), 0);
	start_inspector(&selectors, NULL, 0, 0);
	assert_int_equal(tl_inspect_scan(fd), 1);
	assert_int_equal(tl_inspect_process(fd, (uint32_t)wanted.pid, &info, NULL), 0);
	stop_inspector();
	end_sample(&wanted);
	remove_group(path);
	assert_int_equal(fake->how[wanted.pid], TL_SELECTED);
	assert_int_equal(fake->n_cgroups, 1);
	assert_int_equal(fake->cgroups[0], st.st_ino);
	assert_int_equal(info.cgroup_id, st.st_ino);
	assert_string_equal(info.cgroup, pattern);
}

static void a_unified_cgroup_is_selected_as_a_whole_by_its_inode(void **state)
{
	(void)state;
	expect_group_selected(TL_CGROUP_UNIFIED);
}

static void a_version_1_cgroup_is_selected_by_its_inode_in_the_memory_tree(void **state)
{
	(void)state;
	expect_group_selected(TL_CGROUP_MEMORY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		INSPECTOR_TEST(a_process_is_selected_by_its_name),
		INSPECTOR_TEST(a_process_is_selected_by_its_number),
		INSPECTOR_TEST(a_process_that_starts_later_is_found_by_the_timer),
		INSPECTOR_TEST(our_own_processes_are_denied_first),
		INSPECTOR_TEST(an_excluded_name_wins_over_everything),
		INSPECTOR_TEST(fork_following_is_told_to_the_programs),
		INSPECTOR_TEST(a_unified_cgroup_is_selected_as_a_whole_by_its_inode),
		INSPECTOR_TEST(a_version_1_cgroup_is_selected_by_its_inode_in_the_memory_tree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
