/* SPDX-License-Identifier: Apache-2.0 */
/* The calls between worker and inspector, by the real worker side and by a hostile one. */
#include "tests/unit/inspector_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "agent/inspector_proto.h"

static void a_selected_process_is_told_about_with_its_executable(void **state)
{
	struct sample wanted = start_sample("tl-sample", -1);
	uint32_t pid = (uint32_t)wanted.pid;
	struct tl_selectors selectors = {.pids = &pid, .n_pids = 1};
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
	struct tl_selectors selectors = {0};
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
	struct tl_selectors selectors = {0};
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

/* The first mapping of code of the program, with its offset in the file. */
static uint64_t code_offset(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512], perms[8];
	unsigned long offset = 0;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%*x-%*x %7s %lx", perms, &offset) == 2 && perms[2] == 'x')
			break;
	fclose(maps);
	return offset;
}

static void a_probe_is_put_into_code_of_a_selected_process_only(void **state)
{
	struct sample wanted = start_sample("tl-probed", -1), other = start_sample("tl-not", -1);
	uint32_t pid = (uint32_t)wanted.pid;
	struct tl_selectors selectors = {.pids = &pid, .n_pids = 1};
	struct tl_module_info info, same;
	struct tl_proc_info proc;
	struct tl_probe_at at = {.kind = TL_PROBE_PY_END, .offset = code_offset() + 64};
	int file = -1;

	(void)state;
	start_inspector(&selectors, NULL, 0, 0);
	assert_int_equal(tl_inspect_process(fd, pid, &proc, NULL), 0);
	assert_int_equal(tl_inspect_module(fd, pid, "", &info, &file), 0);
	close(file);
	assert_int_equal(tl_inspect_module(fd, pid, "test_inspect*", &same, &file), 0);
	close(file);
	assert_int_equal(info.ino, same.ino);
	assert_int_equal(info.start, same.start);
	assert_int_equal(tl_inspect_module(fd, pid, "libnone.so", &same, &file), -ENOENT);
	at.ino = info.ino;
	assert_int_equal(tl_inspect_probe(fd, pid, proc.start_ns, &at), 0);
	assert_int_equal(fake->probes, 1);
	assert_int_equal(fake->probe.ino, info.ino);
	assert_int_equal(fake->probe.offset, at.offset);
	/* The header of the file is no code; nor is there another file, start or kind. */
	at.offset = 0;
	assert_int_equal(tl_inspect_probe(fd, pid, proc.start_ns, &at), -ENOENT);
	at.offset = code_offset() + 64;
	at.ino++;
	assert_int_equal(tl_inspect_probe(fd, pid, proc.start_ns, &at), -ENOENT);
	at.ino--;
	assert_int_equal(tl_inspect_probe(fd, pid, proc.start_ns + TL_SEC, &at), -ESRCH);
	assert_int_equal(tl_inspect_probe(fd, (uint32_t)other.pid, proc.start_ns, &at), -EPERM);
	assert_int_equal(tl_inspect_module(fd, (uint32_t)other.pid, "", &same, &file), -EPERM);
	assert_int_equal(tl_inspect_slot(fd, (uint32_t)other.pid, info.start), -EPERM);
	at.kind = TL_PROBE_KINDS;
	assert_int_equal(tl_inspect_probe(fd, pid, proc.start_ns, &at), -EINVAL);
	assert_int_equal(fake->probes, 1);
	stop_inspector();
	end_sample(&other);
	end_sample(&wanted);
}

static uint64_t secret = 0x1234567812345678;
static uint32_t small = 7;

static void nothing_but_a_small_number_is_read_out_of_a_process(void **state)
{
	struct sample wanted = start_sample("tl-read", -1);
	uint32_t pid = (uint32_t)wanted.pid;
	struct tl_selectors selectors = {.pids = &pid, .n_pids = 1};

	(void)state;
	start_inspector(&selectors, NULL, 0, 0);
	assert_int_equal(tl_inspect_slot(fd, pid, (uint64_t)(uintptr_t)&small), 7);
	assert_int_equal(tl_inspect_slot(fd, pid, (uint64_t)(uintptr_t)&secret), -ERANGE);
	assert_int_equal(tl_inspect_slot(fd, pid, 16), -EFAULT);
	stop_inspector();
	end_sample(&wanted);
}

static void a_pipe_read_by_a_selected_process_is_plumbing(void **state)
{
	const char *comms[] = {"tl-pipe-*"};
	struct tl_selectors selectors = {.comms = comms, .n_comms = 1};
	struct tl_file_id file = {0};
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
	struct tl_selectors selectors = {.pids = &pid, .n_pids = 1};
	struct tl_file_id file = {.ino = 1001}, missing = {.ino = 5};
	struct tl_sock_key sock = {11, 12};
	struct tl_proc unit = {.unit_kind = TL_UNIT_GOROUTINE, .tls_off = -8},
		       wild = {.unit_kind = 99};
	struct tl_stream last = {0};
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
	struct tl_selectors selectors = {0};
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
	struct tl_selectors selectors = {0};
	struct tl_inspect_plain_req plain = {.type = TL_INSPECT_STATS};
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
	struct tl_selectors selectors = {0};
	struct tl_inspect_plain_req plain = {.type = TL_INSPECT_STATS};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {.align = {.cmsg_level = SOL_SOCKET,
			       .cmsg_type = SCM_RIGHTS,
			       .cmsg_len = CMSG_LEN(sizeof(int))}};
	struct iovec iov = {&plain, sizeof(plain)};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
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
	struct tl_selectors selectors = {0};
	struct tl_inspect_plain_req plain = {.type = TL_INSPECT_STATS};
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
	struct tl_selectors selectors = {0};
	struct tl_stats stats;

	(void)state;
	start_inspector(&selectors, NULL, 0, 0);
	assert_int_equal(tl_inspect_stats(fd, &stats), 0);
	kill(service, SIGKILL);
	waitpid(service, NULL, 0);
	assert_int_equal(tl_inspect_stats(fd, &stats), -EPIPE);
	close(TAKE_FD(fd));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		INSPECTOR_TEST(a_selected_process_is_told_about_with_its_executable),
		INSPECTOR_TEST(a_process_that_is_not_selected_is_eperm_and_one_that_is_gone_esrch),
		INSPECTOR_TEST(a_child_that_the_kernel_selected_may_be_asked_about),
		INSPECTOR_TEST(a_probe_is_put_into_code_of_a_selected_process_only),
		INSPECTOR_TEST(nothing_but_a_small_number_is_read_out_of_a_process),
		INSPECTOR_TEST(a_pipe_read_by_a_selected_process_is_plumbing),
		INSPECTOR_TEST(verdicts_sockets_and_units_reach_the_programs),
		INSPECTOR_TEST(streams_come_in_pieces_as_they_were_at_the_start),
		INSPECTOR_TEST(malformed_requests_are_einval_and_the_service_goes_on),
		INSPECTOR_TEST(descriptors_sent_by_a_worker_are_dropped),
		INSPECTOR_TEST(a_worker_that_does_not_read_ends_the_service),
		INSPECTOR_TEST(a_dead_inspector_is_epipe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
