/* SPDX-License-Identifier: Apache-2.0 */
/* Selectors, control group paths, and /proc as they are read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "agent/procfs.h"
#include "agent/selectors.h"
#include "userspace/base/fs.h"

#define ID64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static bool matches(const struct tl_selectors *selectors, const char *comm, const char *exe,
		    const char *cgroup_text)
{
	struct tl_candidate candidate = {.pid = 7, .comm = comm, .exe = exe};
	struct tl_cgroup cgroup;

	if (cgroup_text) {
		tl_cgroup_parse(cgroup_text, &cgroup);
		candidate.cgroup = &cgroup;
	}
	return tl_selectors_match(selectors, &candidate);
}

static void a_comm_glob_selects_by_name(void **state)
{
	const char *comms[] = {"nginx", "worker-*"};
	struct tl_selectors selectors = {.comms = comms, .n_comms = 2};

	(void)state;
	assert_true(matches(&selectors, "nginx", NULL, NULL));
	assert_true(matches(&selectors, "worker-12", NULL, NULL));
	assert_false(matches(&selectors, "nginx2", NULL, NULL));
	assert_false(matches(&selectors, "bash", "/usr/sbin/nginx", NULL));
	assert_int_equal(tl_selectors_needs(&selectors), 0);
}

static void a_name_longer_than_comm_fits_the_cut_one(void **state)
{
	const char *comms[] = {"payment-service-api"};
	struct tl_selectors selectors = {.comms = comms, .n_comms = 1};

	(void)state;
	assert_true(matches(&selectors, "payment-service", NULL, NULL));
	assert_false(matches(&selectors, "payment", NULL, NULL));
	assert_false(matches(&selectors, "payment-servicf", NULL, NULL));
}

static void an_exe_glob_fits_the_path_or_the_name(void **state)
{
	const char *exes[] = {"/opt/**/cart", "postgres"};
	struct tl_selectors selectors = {.exes = exes, .n_exes = 2};

	(void)state;
	assert_true(matches(&selectors, "x", "/opt/shop/v2/cart", NULL));
	assert_true(matches(&selectors, "x", "/usr/lib/postgresql/15/bin/postgres", NULL));
	assert_false(matches(&selectors, "x", "/srv/shop/cart", NULL));
	assert_false(matches(&selectors, "postgres", NULL, NULL));
	assert_int_equal(tl_selectors_needs(&selectors), TL_NEED_EXE);
}

static void a_cgroup_glob_fits_the_group_and_all_below(void **state)
{
	const char *cgroups[] = {"/system.slice/shop*.slice"};
	struct tl_selectors selectors = {.cgroups = cgroups, .n_cgroups = 1};

	(void)state;
	assert_true(matches(&selectors, "x", NULL, "0::/system.slice/shop1.slice\n"));
	assert_true(matches(&selectors, "x", NULL, "0::/system.slice/shop1.slice/a/b\n"));
	assert_true(matches(&selectors, "x", NULL, "4:memory:/system.slice/shop1.slice\n0::/\n"));
	assert_false(matches(&selectors, "x", NULL, "0::/system.slice\n"));
	assert_false(matches(&selectors, "x", NULL, NULL));
	assert_int_equal(tl_selectors_needs(&selectors), TL_NEED_CGROUP);
}

static void a_container_is_selected_by_the_beginning_of_its_id(void **state)
{
	const char *containers[] = {"0123456789ab"};
	struct tl_selectors selectors = {.containers = containers, .n_containers = 1};

	(void)state;
	assert_true(matches(&selectors, "x", NULL, "0::/system.slice/docker-" ID64 ".scope\n"));
	assert_true(matches(&selectors, "x", NULL, "2:cpu,memory:/docker/" ID64 "\n"));
	assert_false(matches(&selectors, "x", NULL, "0::/system.slice/docker-f" ID64 ".scope\n"));
	assert_false(matches(&selectors, "x", NULL, "0::/0123456789ab\n"));
}

static void a_unit_is_selected_with_or_without_its_suffix(void **state)
{
	const char *bare[] = {"nginx"}, *full[] = {"backup.timer"}, *glob[] = {"app@*"};
	struct tl_selectors by_bare = {.units = bare, .n_units = 1},
			    by_full = {.units = full, .n_units = 1};
	struct tl_selectors by_glob = {.units = glob, .n_units = 1};

	(void)state;
	assert_true(matches(&by_bare, "x", NULL, "0::/system.slice/nginx.service\n"));
	assert_true(matches(&by_bare, "x", NULL,
			    "9:name=systemd:/system.slice/nginx.service/sub\n0::/\n"));
	assert_false(matches(&by_bare, "x", NULL, "0::/system.slice/nginx2.service\n"));
	assert_true(matches(&by_full, "x", NULL, "0::/system.slice/backup.timer\n"));
	assert_true(
		matches(&by_glob, "x", NULL, "0::/system.slice/system-app.slice/app@3.service\n"));
}

static void excluded_names_are_told(void **state)
{
	const char *names[] = {"fluent-*"};
	struct tl_selectors selectors = {.exclude_comms = names, .n_exclude_comms = 1};

	(void)state;
	assert_true(tl_selectors_excluded(&selectors, "fluent-bit"));
	assert_false(tl_selectors_excluded(&selectors, "nginx"));
}

static void cgroup_lines_are_read_in_any_hierarchy(void **state)
{
	struct tl_cgroup cgroup;

	(void)state;
	tl_cgroup_parse("9:name=systemd:/system.slice/a.service\n4:cpu,memory:/m\n0::/"
			"u:with:colons\nrubbish\n7:x\n",
			&cgroup);
	assert_string_equal(cgroup.path[TL_CGROUP_SYSTEMD], "/system.slice/a.service");
	assert_string_equal(cgroup.path[TL_CGROUP_MEMORY], "/m");
	assert_string_equal(cgroup.path[TL_CGROUP_UNIFIED], "/u:with:colons");
	assert_string_equal(tl_cgroup_telling(&cgroup), "/u:with:colons");
	tl_cgroup_parse("9:name=systemd:/s\n4:memory:/m\n0::/\n", &cgroup);
	assert_string_equal(tl_cgroup_telling(&cgroup), "/s");
	tl_cgroup_parse("", &cgroup);
	assert_string_equal(tl_cgroup_telling(&cgroup), "/");
}

static void container_ids_stand_alone_in_the_path(void **state)
{
	char id[72];

	(void)state;
	assert_true(tl_cgroup_container("/kubepods.slice/cri-containerd-" ID64 ".scope", id));
	assert_string_equal(id, ID64);
	assert_true(tl_cgroup_container("/kubepods/burstable/pod1/" ID64, id));
	assert_true(tl_cgroup_container("/machine.slice/libpod-" ID64 ".scope/container", id));
	assert_false(tl_cgroup_container("/x" ID64, id));
	assert_false(tl_cgroup_container("/" ID64 "0", id));
	assert_false(tl_cgroup_container("/process_api/0123456789abcdef0123456789abcdef", id));
}

static void pods_and_units_are_found_in_the_path(void **state)
{
	char pod[40], unit[64];

	(void)state;
	assert_true(
		tl_cgroup_pod("/kubepods.slice/kubepods-burstable.slice/"
			      "kubepods-burstable-pod01234567_89ab_cdef_0123_456789abcdef.slice/x",
			      pod));
	assert_string_equal(pod, "01234567-89ab-cdef-0123-456789abcdef");
	assert_false(tl_cgroup_pod("/system.slice/pod01234567", pod));
	assert_true(tl_cgroup_unit("/user.slice/user@1000.service/app.slice/cart.service", unit,
				   sizeof(unit)));
	assert_string_equal(unit, "cart.service");
	assert_false(tl_cgroup_unit("/user.slice/user@1000.service/app.slice", unit, sizeof(unit)));
	assert_false(tl_cgroup_unit("/user.slice/session-3.scope", unit, sizeof(unit)));
}

/* --- /proc --- */

static int proc = -1;

static int open_proc(void **state)
{
	(void)state;
	proc = tl_procfs_open();
	return proc < 0;
}

static int close_proc(void **state)
{
	(void)state;
	closep(&proc);
	return 0;
}

static void our_own_process_is_read_right(void **state)
{
	struct tl_cgroup_mounts mounts = {0};
	struct tl_proc_info info;

	(void)state;
	assert_int_equal(tl_cgroup_mounts_read(proc, &mounts), 0);
	assert_int_equal(tl_procfs_info(proc, (uint32_t)getpid(), &mounts, &info), 0);
	assert_int_equal(info.tgid, getpid());
	assert_int_equal(info.ppid, getppid());
	assert_int_equal(info.uid, getuid());
	assert_string_equal(info.comm, "test_selectors");
	assert_non_null(strstr(info.exe, "test_selectors"));
	assert_non_null(strstr(info.cmdline, "test_selectors"));
	assert_int_equal(info.cgroup[0], '/');
	assert_true(info.start_ns > 0);
}

static void a_name_with_brackets_and_spaces_is_read_whole(void **state)
{
	char template[] = "/tmp/tl-selectors-XXXXXX", path[64];
	struct tl_procfs_stat stat;
	int dir;

	(void)state;
	assert_non_null(mkdtemp(template));
	snprintf(path, sizeof(path), "%s/42", template);
	assert_int_equal(mkdir(path, 0700), 0);
	dir = open(template, O_RDONLY | O_DIRECTORY);
	snprintf(path, sizeof(path), "%s/42/stat", template);
	assert_int_equal(
		tl_file_replace(
			path,
			tl_span_str("42 (a) S 9) (b) R 7 1 1 0 -1 2097216 0 0 0 0 0 0 0 0 20 0 1 0 "
				    "1234 0 0\n"),
			false, NULL),
		0);
	assert_int_equal(tl_procfs_stat(dir, 42, &stat), 0);
	assert_string_equal(stat.comm, "a) S 9) (b");
	assert_int_equal(stat.state, 'R');
	assert_int_equal(stat.ppid, 7);
	assert_true(stat.kernel_thread);
	assert_int_equal(stat.start_ns,
			 1234 * (UINT64_C(1000000000) / (uint64_t)sysconf(_SC_CLK_TCK)));
	assert_int_equal(tl_file_replace(path, tl_span_str("42 rubbish"), false, NULL), 0);
	assert_int_equal(tl_procfs_stat(dir, 42, &stat), -EBADMSG);
	assert_int_equal(tl_procfs_stat(dir, 43, &stat), -ESRCH);
	close(dir);
	tl_remove_tree(template);
}

static void start_times_are_compared_by_the_tick(void **state)
{
	uint64_t tick = UINT64_C(1000000000) / (uint64_t)sysconf(_SC_CLK_TCK);

	(void)state;
	assert_true(tl_procfs_same_start(5 * tick + 123, 5 * tick));
	assert_false(tl_procfs_same_start(6 * tick, 5 * tick));
}

static void the_ends_of_a_pipe_are_told_apart(void **state)
{
	struct tl_file_id file = {0};
	bool reads, writes;
	struct stat st;
	int pipe_fds[2];

	(void)state;
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(fstat(pipe_fds[0], &st), 0);
	file.ino = st.st_ino;
	file.dev = major(st.st_dev) << 20 | minor(st.st_dev);
	assert_int_equal(tl_procfs_pipe_ends(proc, (uint32_t)getpid(), &file, &reads, &writes), 0);
	assert_true(reads && writes);
	close(pipe_fds[1]);
	assert_int_equal(tl_procfs_pipe_ends(proc, (uint32_t)getpid(), &file, &reads, &writes), 0);
	assert_true(reads && !writes);
	close(pipe_fds[0]);
	assert_int_equal(tl_procfs_pipe_ends(proc, (uint32_t)getpid(), &file, &reads, &writes), 0);
	assert_false(reads || writes);
}

/* --- the check --- */

static int check_one(uint32_t pid, struct tl_error *error)
{
	struct tl_selectors selectors = {.pids = &pid, .n_pids = 1};

	*error = (struct tl_error){0};
	return tl_selectors_check(&selectors, error);
}

static void a_living_process_passes(void **state)
{
	struct tl_error error;

	(void)state;
	assert_int_equal(check_one((uint32_t)getpid(), &error), 0);
	assert_string_equal(error.message, "");
}

/* A number that no process has: of a child that we collected. */
static pid_t used_up_pid(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	return pid;
}

static void a_pid_that_is_gone_is_esrch(void **state)
{
	struct tl_error error;

	(void)state;
	assert_int_equal(check_one((uint32_t)used_up_pid(), &error), -ESRCH);
	assert_non_null(strstr(error.message, "there is no process"));
}

/* In a pid namespace of its own: starts a process that is `number` there, says so through `fd`, and
 * waits for the end of `stop`. Exits 0, or 77 when that is not allowed here. */
static void namespace_child(uint64_t number, int fd, int stop)
{
	pid_t set_tid = (pid_t)number;
	struct clone_args args = {
		.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&set_tid, .set_tid_size = 1};
	int status = 0;
	char byte = 0;
	pid_t pid;

	if (unshare(CLONE_NEWPID) < 0)
		_exit(77);
	pid = fork(); /* number 1 there */
	if (pid == 0) {
		pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
		if (pid < 0)
			_exit(77);
		if (pid == 0) {
			(void)!write(fd, &byte, 1);
			(void)!read(stop, &byte, 1);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
		_exit(0);
	}
	close(fd);
	waitpid(pid, &status, 0);
	_exit(WEXITSTATUS(status));
}

static void a_number_inside_a_container_names_the_process_that_has_it(void **state)
{
	uint64_t number = (uint64_t)used_up_pid();
	struct tl_error error;
	int started[2], stop[2], r;
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(started), 0);
	assert_int_equal(pipe(stop), 0);
	pid = fork();
	if (pid == 0) {
		close(stop[1]);
		namespace_child(number, started[1], stop[0]);
	}
	close(started[1]);
	close(stop[0]);
	if (read(started[0], &byte, 1) == 1) {
		r = check_one((uint32_t)number, &error);
		close(stop[1]);
		waitpid(pid, NULL, 0);
		assert_int_equal(r, -ESRCH);
		assert_non_null(strstr(error.message, "inside a container"));
		assert_non_null(strstr(error.message, "use --pid"));
	} else {
		close(stop[1]);
		waitpid(pid, NULL, 0);
		close(started[0]);
		skip();
	}
	close(started[0]);
}

static void a_zombie_is_esrch(void **state)
{
	struct tl_error error;
	siginfo_t info;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(check_one((uint32_t)pid, &error), -ESRCH);
	assert_non_null(strstr(error.message, "has ended already"));
	waitpid(pid, NULL, 0);
}

static void *wait_for_byte(void *arg)
{
	int *fds = arg;
	uint32_t tid = (uint32_t)syscall(SYS_gettid);
	char byte;

	assert_int_equal(write(fds[3], &tid, sizeof(tid)), sizeof(tid));
	(void)!read(fds[0], &byte, 1);
	return NULL;
}

static void a_thread_is_einval_and_its_process_is_named(void **state)
{
	struct tl_error error;
	pthread_t thread;
	char want[64];
	uint32_t tid;
	int fds[4];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(pipe(fds + 2), 0);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_byte, fds), 0);
	assert_int_equal(read(fds[2], &tid, sizeof(tid)), sizeof(tid));
	assert_int_equal(check_one(tid, &error), -EINVAL);
	snprintf(want, sizeof(want), "use --pid %d", getpid());
	assert_non_null(strstr(error.message, want));
	assert_int_equal(write(fds[1], "x", 1), 1);
	pthread_join(thread, NULL);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
}

static void zero_is_no_pid(void **state)
{
	struct tl_error error;

	(void)state;
	assert_int_equal(check_one(0, &error), -EINVAL);
	assert_int_equal(check_one(TL_PID_SLOTS, &error), -EINVAL);
}

static void a_short_container_id_is_einval(void **state)
{
	const char *containers[] = {"abc"};
	struct tl_selectors selectors = {.containers = containers, .n_containers = 1};
	struct tl_error error = {0};

	(void)state;
	assert_int_equal(tl_selectors_check(&selectors, &error), -EINVAL);
	assert_non_null(strstr(error.message, "container"));
	containers[0] = "web-container";
	assert_int_equal(tl_selectors_check(&selectors, &error), -EINVAL);
	containers[0] = "0123456789ab";
	assert_int_equal(tl_selectors_check(&selectors, &error), 0);
}

static void an_empty_pattern_is_einval(void **state)
{
	const char *comms[] = {""};
	struct tl_selectors selectors = {.comms = comms, .n_comms = 1};
	struct tl_error error = {0};

	(void)state;
	assert_int_equal(tl_selectors_check(&selectors, &error), -EINVAL);
	assert_non_null(strstr(error.message, "--comm"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_comm_glob_selects_by_name),
		cmocka_unit_test(a_name_longer_than_comm_fits_the_cut_one),
		cmocka_unit_test(an_exe_glob_fits_the_path_or_the_name),
		cmocka_unit_test(a_cgroup_glob_fits_the_group_and_all_below),
		cmocka_unit_test(a_container_is_selected_by_the_beginning_of_its_id),
		cmocka_unit_test(a_unit_is_selected_with_or_without_its_suffix),
		cmocka_unit_test(excluded_names_are_told),
		cmocka_unit_test(cgroup_lines_are_read_in_any_hierarchy),
		cmocka_unit_test(container_ids_stand_alone_in_the_path),
		cmocka_unit_test(pods_and_units_are_found_in_the_path),
		cmocka_unit_test(our_own_process_is_read_right),
		cmocka_unit_test(a_name_with_brackets_and_spaces_is_read_whole),
		cmocka_unit_test(start_times_are_compared_by_the_tick),
		cmocka_unit_test(the_ends_of_a_pipe_are_told_apart),
		cmocka_unit_test(a_living_process_passes),
		cmocka_unit_test(a_pid_that_is_gone_is_esrch),
		cmocka_unit_test(a_number_inside_a_container_names_the_process_that_has_it),
		cmocka_unit_test(a_zombie_is_esrch),
		cmocka_unit_test(a_thread_is_einval_and_its_process_is_named),
		cmocka_unit_test(zero_is_no_pid),
		cmocka_unit_test(a_short_container_id_is_einval),
		cmocka_unit_test(an_empty_pattern_is_einval),
	};

	return cmocka_run_group_tests(tests, open_proc, close_proc);
}
