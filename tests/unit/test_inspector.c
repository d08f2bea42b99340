/* SPDX-License-Identifier: Apache-2.0 */
/* The inspector in a child process, over a capture that is only a table, asked by the real worker side and by a hostile one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "agent/inspector_proto.h"
#include "tests/unit/fake_capture.h"
#include "userspace/base/clock.h"

#define DEADLINE_NS (10 * TL_SEC)

static struct fake_capture *fake;
static pid_t service; /* the inspector */
static int fd = -1;   /* the worker's end */

/* A process named `name` that waits to be ended; of our descriptors it keeps `keep_fd`. */
struct sample {
	pid_t pid;
};

static struct sample start_sample(const char *name, int keep_fd)
{
	struct sample sample;
	int ready[2];
	char byte = 0;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	sample.pid = fork();
	if (sample.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, name);
		for (int i = 3; i < 64; i++)
			if (i != keep_fd && i != ready[1])
				close(i);
		(void)!write(ready[1], &byte, 1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return sample;
}

static void end_sample(struct sample *sample)
{
	kill(sample->pid, SIGKILL);
	waitpid(sample->pid, NULL, 0);
}

static void start_inspector(const struct tl_selectors *selectors, const pid_t *denied, size_t n_denied,
			    unsigned scan_ms)
{
	struct tl_inspector_options options = { .capture = (struct tl_capture *)fake, .selectors = selectors,
						.denied = denied, .n_denied = n_denied, .scan_ms = scan_ms };
	struct tl_error error = { 0 };
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	service = fork();
	if (service == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pair[1]);
		_exit(tl_inspector_serve(pair[0], &options, &error) == 0 ? 0 : 1);
	}
	close(pair[0]);
	fd = pair[1];
}

/* Closes the worker's end and expects the inspector to end well. */
static void stop_inspector(void)
{
	int status = 0;

	if (fd < 0)
		return;
	close(TAKE_FD(fd));
	assert_int_equal(waitpid(service, &status, 0), service);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int set_up(void **state)
{
	(void)state;
	fake = fake_capture_new();
	return fake == NULL;
}

static int tear_down(void **state)
{
	(void)state;
	if (fd >= 0) {
		close(TAKE_FD(fd));
		kill(service, SIGKILL);
		waitpid(service, NULL, 0);
	}
	fake_capture_free(fake);
	return 0;
}

static void a_process_is_selected_by_its_name(void **state)
{
	const char *comms[] = { "tl-sample-a" };
	struct tl_selectors selectors = { .comms = comms, .n_comms = 1, .follow_fork = true };
	struct sample wanted = start_sample("tl-sample-a", -1), other = start_sample("tl-sample-b", -1);

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
	struct tl_selectors selectors = { .pids = &pid, .n_pids = 1 };

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
	const char *comms[] = { "tl-late-*" };
	struct tl_selectors selectors = { .comms = comms, .n_comms = 1 };
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
	const char *comms[] = { "tl-own" };
	struct tl_selectors selectors = { .comms = comms, .n_comms = 1 };
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
	const char *excluded[] = { "tl-ship*" };
	struct sample shipper = start_sample("tl-shipper", -1);
	uint32_t pid = (uint32_t)shipper.pid;
	struct tl_selectors selectors = { .pids = &pid, .n_pids = 1, .exclude_comms = excluded,
					  .n_exclude_comms = 1, .all = true };

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
	struct tl_selectors selectors = { .follow_fork = true };
	struct tl_control control;

	(void)state;
	start_inspector(&selectors, NULL, 0, 0);
	assert_int_equal(tl_inspect_scan(fd), 0);
	assert_int_equal(pread(fake->control_fd, &control, sizeof(control), 0), sizeof(control));
	assert_int_equal(control.follow_fork, 1);
	stop_inspector();
}

static void a_selected_process_is_told_about_with_its_executable(void **state)
{
	struct sample wanted = start_sample("tl-sample", -1);
	uint32_t pid = (uint32_t)wanted.pid;
	struct tl_selectors selectors = { .pids = &pid, .n_pids = 1 };
	struct tl_proc_info info;
	struct stat theirs, ours;
	int exe = -1;

	(void)state;
	start_inspector(&selectors, NULL, 0, 0);
	assert_int_equal(tl_inspect_process(fd, pid, &info, &exe), 0);
	assert_int_equal(info.tgid, pid);
	assert_int_equal(info.ppid, getpid());
	assert_string_equal(info.comm, "tl-sample");
	assert_non_null(strstr(info.exe, "test_inspector"));
	assert_true(exe >= 0);
	assert_true(fcntl(exe, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(fcntl(exe, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(fstat(exe, &theirs), 0);
	assert_int_equal(stat("/proc/self/exe", &ours), 0);
	assert_int_equal(theirs.st_ino, ours.st_ino);
	close(exe);
	/* Without asking there is no descriptor. */
	assert_int_equal(tl_inspect_process(fd, pid, &info, NULL), 0);
	stop_inspector();
	end_sample(&wanted);
}

static void a_process_that_is_not_selected_is_eperm_and_one_that_is_gone_esrch(void **state)
{
	struct sample other = start_sample("tl-other", -1);
	struct tl_selectors selectors = { 0 };
	struct tl_proc_info info;
	int exe = -1;

	(void)state;
	start_inspector(&selectors, NULL, 0, 0);
	assert_int_equal(tl_inspect_process(fd, (uint32_t)other.pid, &info, &exe), -EPERM);
	assert_int_equal(exe, -1);
	end_sample(&other);
	assert_int_equal(tl_inspect_process(fd, (uint32_t)other.pid, &info, &exe), -ESRCH);
	stop_inspector();
}

static void a_child_that_the_kernel_selected_may_be_asked_about(void **state)
{
	struct sample child = start_sample("tl-child", -1);
	struct tl_selectors selectors = { 0 };
	struct tl_proc_info info;

	(void)state;
	start_inspector(&selectors, NULL, 0, 0);
	assert_int_equal(tl_inspect_scan(fd), 0);
	fake->how[child.pid] = TL_SELECTED;
	assert_int_equal(tl_inspect_process(fd, (uint32_t)child.pid, &info, NULL), 0);
	assert_int_equal(tl_inspect_scan(fd), 1);
	stop_inspector();
	end_sample(&child);
}

static void a_pipe_read_by_a_selected_process_is_plumbing(void **state)
{
	const char *comms[] = { "tl-pipe-*" };
	struct tl_selectors selectors = { .comms = comms, .n_comms = 1 };
	struct tl_file_id file = { 0 };
	struct sample writer, reader;
	struct stat st;
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(fstat(ends[0], &st), 0);
	file.ino = st.st_ino;
	file.dev = major(st.st_dev) << 20 | minor(st.st_dev);
	writer = start_sample("tl-pipe-writer", ends[1]);
	start_inspector(&selectors, NULL, 0, 0);
	/* Its reader is this test, which is not selected. */
	assert_int_equal(tl_inspect_pipe_reader(fd, (uint32_t)writer.pid, &file), 0);
	reader = start_sample("tl-pipe-reader", ends[0]);
	assert_int_equal(tl_inspect_pipe_reader(fd, (uint32_t)writer.pid, &file), 0);
	assert_int_equal(tl_inspect_scan(fd), 2);
	assert_int_equal(tl_inspect_pipe_reader(fd, (uint32_t)writer.pid, &file), 1);
	assert_int_equal(tl_inspect_pipe_reader(fd, (uint32_t)getpid(), &file), -EPERM);
	stop_inspector();
	end_sample(&writer);
	end_sample(&reader);
	close(ends[0]);
	close(ends[1]);
}

static void verdicts_sockets_and_units_reach_the_programs(void **state)
{
	struct sample wanted = start_sample("tl-sample", -1);
	uint32_t pid = (uint32_t)wanted.pid;
	struct tl_selectors selectors = { .pids = &pid, .n_pids = 1 };
	struct tl_file_id file = { .ino = 1001 }, missing = { .ino = 5 };
	struct tl_sock_key sock = { 11, 12 };
	struct tl_proc unit = { .unit_kind = TL_UNIT_GOROUTINE, .tls_off = -8 }, wild = { .unit_kind = 99 };
	struct tl_stream last = { 0 };
	struct tl_stats stats;

	(void)state;
	fake->n_streams = 2;
	start_inspector(&selectors, NULL, 0, 0);
	assert_int_equal(tl_inspect_decide(fd, &file, TL_VERDICT_LOG), 0);
	assert_int_equal(fake->decided, TL_VERDICT_LOG);
	assert_int_equal(fake->decided_file.ino, 1001);
	assert_int_equal(tl_inspect_decide(fd, &file, (enum tl_verdict)7), -EINVAL);
	assert_int_equal(tl_inspect_decide(fd, &missing, TL_VERDICT_LOG), -ENOENT);
	assert_int_equal(tl_inspect_ignore_sock(fd, &sock), 0);
	assert_int_equal(fake->ignored.ino, 12);
	assert_int_equal(tl_inspect_set_unit(fd, pid, 1, &unit), 0);
	assert_int_equal(fake->unit.tls_off, -8);
	assert_int_equal(tl_inspect_set_unit(fd, pid, 1, &wild), -EINVAL);
	assert_int_equal(tl_inspect_set_unit(fd, (uint32_t)getpid(), 1, &unit), -EPERM);
	assert_int_equal(tl_inspect_forget(fd, &file, &last), 0);
	assert_int_equal(last.seen_bytes, 10);
	assert_int_equal(tl_inspect_forget(fd, &missing, NULL), -ENOENT);
	assert_int_equal(tl_inspect_stream(fd, &file, &last), 0);
	assert_int_equal(last.lost_bytes, 1);
	assert_int_equal(tl_inspect_stream(fd, &missing, &last), -ENOENT);
	assert_int_equal(tl_inspect_stats(fd, &stats), 0);
	assert_int_equal(stats.seen_bytes, 77);
	stop_inspector();
	end_sample(&wanted);
}

static void streams_come_in_pieces_as_they_were_at_the_start(void **state)
{
	static struct tl_stream_row rows[FAKE_STREAMS];
	struct tl_selectors selectors = { 0 };
	uint32_t cursor = 0;
	int n, total = 0;

	(void)state;
	fake->n_streams = FAKE_STREAMS;
	start_inspector(&selectors, NULL, 0, 0);
	while ((n = tl_inspect_streams(fd, &cursor, rows + total, 1500)) > 0) {
		total += n;
		fake->n_streams = 3; /* too late for this walk */
		assert_true(total <= FAKE_STREAMS);
	}
	assert_int_equal(n, 0);
	assert_int_equal(total, FAKE_STREAMS);
	for (unsigned i = 0; i < FAKE_STREAMS; i++) {
		assert_int_equal(rows[i].file.ino, 1000 + i);
		assert_int_equal(rows[i].stream.seen_bytes, 10 * i);
	}
	cursor = 0;
	assert_int_equal(tl_inspect_streams(fd, &cursor, rows, 1500), 3);
	assert_int_equal(tl_inspect_streams(fd, &cursor, rows, 1500), 0);
	stop_inspector();
}

/* --- a hostile worker --- */

static int raw_call(const void *request, size_t len)
{
	struct tl_inspect_reply reply;

	assert_int_equal(send(fd, request, len, 0), len);
	assert_int_equal(recv(fd, &reply, sizeof(reply), MSG_TRUNC), sizeof(reply));
	assert_int_equal(reply.len, 0);
	return reply.result;
}

static void malformed_requests_are_einval_and_the_service_goes_on(void **state)
{
	static char huge[100000];
	struct tl_selectors selectors = { 0 };
	struct tl_inspect_plain_req plain = { .type = TL_INSPECT_STATS };
	struct tl_stats stats;

	(void)state;
	start_inspector(&selectors, NULL, 0, 0);
	assert_int_equal(raw_call(&plain, 1), -EINVAL);
	assert_int_equal(raw_call(&plain, 4), -EINVAL);
	assert_int_equal(raw_call(huge, sizeof(huge)), -EINVAL);
	for (uint32_t type = 0; type < TL_INSPECT_TYPES + 3; type++) {
		memcpy(huge, &type, sizeof(type));
		assert_int_equal(raw_call(huge, 5), -EINVAL);
		assert_int_equal(raw_call(huge, sizeof(union tl_inspect_request) + 1), -EINVAL);
	}
	plain.type = UINT32_MAX;
	assert_int_equal(raw_call(&plain, sizeof(plain)), -EINVAL);
	assert_int_equal(tl_inspect_stats(fd, &stats), 0);
	stop_inspector();
}

static void descriptors_sent_by_a_worker_are_dropped(void **state)
{
	struct tl_selectors selectors = { 0 };
	struct tl_inspect_plain_req plain = { .type = TL_INSPECT_STATS };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .align = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) } };
	struct iovec iov = { &plain, sizeof(plain) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
				  .msg_controllen = sizeof(control.bytes) };
	char reply[4096], byte;
	int ends[2];

	(void)state;
	start_inspector(&selectors, NULL, 0, 0);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	memcpy(CMSG_DATA(&control.align), &ends[1], sizeof(int));
	assert_int_equal(sendmsg(fd, &message, 0), sizeof(plain));
	assert_true(recv(fd, reply, sizeof(reply), 0) > 0);
	/* Nobody else has the write end: end of file. */
	close(ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), 0);
	close(ends[0]);
	stop_inspector();
}

static void a_worker_that_does_not_read_ends_the_service(void **state)
{
	struct tl_selectors selectors = { 0 };
	struct tl_inspect_plain_req plain = { .type = TL_INSPECT_STATS };
	uint64_t deadline = tl_mono_ns() + DEADLINE_NS;
	int status = 0;

	(void)state;
	start_inspector(&selectors, NULL, 0, 0);
	while (tl_mono_ns() < deadline && waitpid(service, &status, WNOHANG) == 0)
		(void)send(fd, &plain, sizeof(plain), MSG_DONTWAIT | MSG_NOSIGNAL);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
	close(TAKE_FD(fd));
}

static void a_dead_inspector_is_epipe(void **state)
{
	struct tl_selectors selectors = { 0 };
	struct tl_stats stats;

	(void)state;
	start_inspector(&selectors, NULL, 0, 0);
	assert_int_equal(tl_inspect_stats(fd, &stats), 0);
	kill(service, SIGKILL);
	waitpid(service, NULL, 0);
	assert_int_equal(tl_inspect_stats(fd, &stats), -EPIPE);
	close(TAKE_FD(fd));
}

/* --- privileges --- */

static void expect_status(const char *text, const char *line)
{
	if (!strstr(text, line))
		fail_msg("no %s in:\n%s", line, text);
}

static void a_worker_has_no_capability_left(void **state)
{
	char text[4096] = { 0 };
	int out[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(out), 0);
	pid = fork();
	if (pid == 0) {
		struct tl_error error = { 0 };
		int file, signal_number = 0;
		ssize_t n;

		if (tl_drop_privileges(&error) < 0)
			_exit(1);
		if (prctl(PR_GET_DUMPABLE) != 0 || prctl(PR_GET_PDEATHSIG, &signal_number) < 0 ||
		    signal_number != SIGTERM)
			_exit(2);
		file = open("/proc/self/status", O_RDONLY);
		n = read(file, text, sizeof(text) - 1);
		_exit(n > 0 && write(out[1], text, (size_t)n) == n ? 0 : 3);
	}
	close(out[1]);
	assert_true(read(out[0], text, sizeof(text) - 1) > 0);
	close(out[0]);
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	expect_status(text, "CapInh:\t0000000000000000\n");
	expect_status(text, "CapPrm:\t0000000000000000\n");
	expect_status(text, "CapEff:\t0000000000000000\n");
	expect_status(text, "CapAmb:\t0000000000000000\n");
	expect_status(text, "NoNewPrivs:\t1\n");
	if (geteuid() == 0)
		expect_status(text, "CapBnd:\t0000000000000000\n");
}

static void a_missing_capability_is_named_with_its_remedy(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	if (pid == 0) {
		struct tl_error error = { 0 };

		if (tl_drop_privileges(&error) < 0)
			_exit(1);
		if (tl_check_privileges(&error) != -EPERM)
			_exit(2);
		_exit(strstr(error.message, "CAP_BPF") && strstr(error.message, "setcap") ? 0 : 3);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_process_is_selected_by_its_name),
		T(a_process_is_selected_by_its_number),
		T(a_process_that_starts_later_is_found_by_the_timer),
		T(our_own_processes_are_denied_first),
		T(an_excluded_name_wins_over_everything),
		T(fork_following_is_told_to_the_programs),
		T(a_selected_process_is_told_about_with_its_executable),
		T(a_process_that_is_not_selected_is_eperm_and_one_that_is_gone_esrch),
		T(a_child_that_the_kernel_selected_may_be_asked_about),
		T(a_pipe_read_by_a_selected_process_is_plumbing),
		T(verdicts_sockets_and_units_reach_the_programs),
		T(streams_come_in_pieces_as_they_were_at_the_start),
		T(malformed_requests_are_einval_and_the_service_goes_on),
		T(descriptors_sent_by_a_worker_are_dropped),
		T(a_worker_that_does_not_read_ends_the_service),
		T(a_dead_inspector_is_epipe),
		cmocka_unit_test(a_worker_has_no_capability_left),
		cmocka_unit_test(a_missing_capability_is_named_with_its_remedy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
