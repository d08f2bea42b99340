/* SPDX-License-Identifier: Apache-2.0 */
/* Every kind of write on every kind of file, against real system calls: what the kernel accepted
 * comes out, byte for byte. Needs root, and the writer beside it. Selects only the processes it
 * starts. */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>

#include "tests/capture/lib/harness.c" /* one program, one source for the build */

static struct harness h;

static int open_all(void **state)
{
	(void)state;
	harness_open(&h, 8 << 20);
	printf("# %s\n", tl_capture_backend_why(h.capture));
	return 0;
}

static int close_all(void **state)
{
	(void)state;
	harness_close(&h);
	return 0;
}

static int forget(void **state)
{
	(void)state;
	harness_forget_events(&h);
	return 0;
}

#define CASE(f) cmocka_unit_test_setup(f, forget)

/* Listens where journald does; -1 when there is a real one. */
static int journal(const char *name, int type)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0), big = 4 << 20;

	mkdir("/run/systemd", 0755);
	mkdir("/run/systemd/journal", 0755);
	snprintf(a.sun_path, sizeof(a.sun_path), "/run/systemd/journal/%s", name);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &big, sizeof(big));
	/* A path that nobody listens on was left by a run that was killed. */
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 && errno == ECONNREFUSED)
		unlink(a.sun_path);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		close(fd);
		return -1;
	}
	if (type == SOCK_STREAM)
		listen(fd, 4);
	return fd;
}

static void unjournal(const char *name, int fd)
{
	char path[128];

	close(fd);
	snprintf(path, sizeof(path), "/run/systemd/journal/%s", name);
	unlink(path);
	rmdir("/run/systemd/journal");
	rmdir("/run/systemd");
}

static int connect_journal(const char *name, int type)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "/run/systemd/journal/%s", name);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static size_t count_procs(enum tl_proc_what what)
{
	size_t n = 0;

	for (size_t i = 0; i < h.n; i++)
		n += h.events[i]->type == TL_EV_PROC &&
		     ((struct tl_ev_proc *)h.events[i])->what == what;
	return n;
}

static void writes_to_a_pipe_are_exact(void **state)
{
	struct tally t;

	(void)state;
	to_pipe(&h, "write", 40, &t);
	assert_true(t.flags & TL_EVF_STDOUT);
	assert_true(t.flags & TL_EVF_UNDECIDED);
}

static void writes_to_a_file_are_exact_and_its_path_is_told(void **state)
{
	struct tally t;

	(void)state;
	to_file(&h, "write", 40, &t);
}

static void a_write_of_a_megabyte_is_exact(void **state)
{
	struct tally t;

	(void)state;
	to_file(&h, "big", 3, &t);
	assert_true(t.events >= 3 * (1000000 / TL_CHUNK));
	harness_forget_events(&h);
	to_pipe(&h, "big", 1, &t);
}

static void writev_is_exact(void **state)
{
	struct tally t;

	(void)state;
	to_pipe(&h, "writev", 40, &t);
}

static void two_hundred_segments_are_exact(void **state)
{
	struct tally t;

	(void)state;
	to_pipe(&h, "iovecs", 200, &t);
	harness_forget_events(&h);
	to_file(&h, "iovecs", 1024, &t);
}

static void positioned_writes_are_exact(void **state)
{
	struct tally t;

	(void)state;
	to_file(&h, "pwrite", 10, &t);
	harness_forget_events(&h);
	to_file(&h, "pwritev", 10, &t);
	harness_forget_events(&h);
	to_file(&h, "pwritev2", 10, &t);
}

static void short_writes_and_eagain_are_exact(void **state)
{
	struct tally t;

	(void)state;
	to_pipe(&h, "nonblock", 20, &t);
}

static void a_duplicate_of_standard_error_is_a_log(void **state)
{
	struct tally t;

	(void)state;
	to_pipe(&h, "dup", 10, &t);
	assert_true(t.flags & TL_EVF_STDERR);
	assert_false(t.flags & TL_EVF_STDOUT);
}

static void a_terminal_is_a_log(void **state)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
	struct termios raw;
	struct tally t;

	(void)state;
	assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(slave >= 0);
	tcgetattr(slave, &raw);
	cfmakeraw(&raw);
	tcsetattr(slave, TCSANOW, &raw);
	expect_exact(&h, "small", 20, slave, master, &t);
	assert_int_equal(t.kind, TL_FILE_TTY);
}

static void a_journald_stream_is_a_log(void **state)
{
	int listener = journal("stdout", SOCK_STREAM), out, sink;
	struct tally t;

	(void)state;
	if (listener < 0)
		skip();
	out = connect_journal("stdout", SOCK_STREAM);
	sink = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	expect_exact(&h, "sendmsg", 20, out, sink, &t);
	assert_int_equal(t.kind, TL_FILE_UNIX);
	assert_string_equal(t.path, "/run/systemd/journal/stdout");
	unjournal("stdout", listener);
}

static void datagrams_to_the_journal_are_logs(void **state)
{
	static const char *const kinds[] = {"sendto", "sendmsg", "sendmmsg", "named"};
	int fd = journal("socket", SOCK_DGRAM);
	struct tally t;

	(void)state;
	if (fd < 0)
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		expect_exact(&h, kinds[i], 8, connect_journal("socket", SOCK_DGRAM), dup(fd), &t);
		assert_int_equal(t.kind, TL_FILE_UNIX);
		assert_int_equal(t.events, 8);
		harness_forget_events(&h);
	}
	unjournal("socket", fd);
}

static void children_by_fork_are_captured(void **state)
{
	struct writer w;
	struct tally t;
	int out, sink;

	(void)state;
	make_pipe(&out, &sink);
	writer_start(&h, &w, "fork", 50, out, sink, false);
	writer_finish(&h, &w, true);
	harness_tally(&h, 0, true, &t);
	assert_int_equal(t.captured, w.written);
	assert_int_equal(t.captured, 50 * 40);
	assert_int_equal(count_procs(TL_PROC_FORK), 50);
	assert_int_equal(count_procs(TL_PROC_EXIT), 51);
	assert_int_equal(tl_capture_selected(h.capture, (uint32_t)w.pid), 0);
	writer_done(&w);
}

static void images_by_exec_are_captured(void **state)
{
	struct tally t;

	(void)state;
	to_pipe(&h, "exec", 5, &t);
	assert_int_equal(t.captured, 5 * 60);
	assert_int_equal(count_procs(TL_PROC_EXEC), 5);
}

static void an_unselected_process_is_not_captured(void **state)
{
	struct writer w;
	int out, sink;

	(void)state;
	make_pipe(&out, &sink);
	writer_start(&h, &w, "write", 40, out, sink, true);
	writer_finish(&h, &w, true);
	assert_int_equal(w.n_read, w.written);
	assert_int_equal(count_events(&h, (uint32_t)w.pid, 0), 0);
	writer_done(&w);
}

static void a_read_write_file_behind_standard_output_is_no_log(void **state)
{
	struct writer w;
	char path[128];

	(void)state;
	writer_start(&h, &w, "write", 10, make_file(O_RDWR, path), -1, false);
	writer_finish(&h, &w, true);
	assert_int_equal(w.status, 0);
	assert_int_equal(count_events(&h, (uint32_t)w.pid, TL_EV_LOG), 0);
	assert_int_equal(count_events(&h, (uint32_t)w.pid, TL_EV_FILE), 0);
	writer_done(&w);
	unlink(path);
	to_file(&h, "write", 10, &(struct tally){0});
}

static void another_file_is_told_and_undecided(void **state)
{
	struct tally t;
	char path[128];
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	(void)state;
	close(make_file(O_WRONLY, path));
	setenv("WRITER_FILE", path, 1);
	expect_exact(&h, "file", 10, null, -1, &t);
	assert_string_equal(t.path, path);
	assert_int_equal(t.flags & (TL_EVF_STDOUT | TL_EVF_STDERR), 0);
	assert_true(t.flags & TL_EVF_UNDECIDED);
	unlink(path);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		CASE(writes_to_a_pipe_are_exact),
		CASE(writes_to_a_file_are_exact_and_its_path_is_told),
		CASE(a_write_of_a_megabyte_is_exact),
		CASE(writev_is_exact),
		CASE(two_hundred_segments_are_exact),
		CASE(positioned_writes_are_exact),
		CASE(short_writes_and_eagain_are_exact),
		CASE(a_duplicate_of_standard_error_is_a_log),
		CASE(a_terminal_is_a_log),
		CASE(a_journald_stream_is_a_log),
		CASE(datagrams_to_the_journal_are_logs),
		CASE(children_by_fork_are_captured),
		CASE(images_by_exec_are_captured),
		CASE(an_unselected_process_is_not_captured),
		CASE(a_read_write_file_behind_standard_output_is_no_log),
		CASE(another_file_is_told_and_undecided),
	};

	return harness_main(argc, argv, tests, ARRAY_SIZE(tests), open_all, close_all);
}
