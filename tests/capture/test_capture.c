/* SPDX-License-Identifier: Apache-2.0 */
/* The BPF side against real system calls: `test_capture [--backend=sys_exit|multi] [--ring=bpf|perf] [--writer=PATH]
 * [FILTER]`. Needs root, and the writer beside it. Selects only the processes it starts. */
#include "tests/capture/lib/harness.c" /* one program, one source for the build */

#include <arpa/inet.h>
#include <fcntl.h>
#include <libgen.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>

#include "tests/capture/pattern.h"
#include "userspace/base/clock.h"

char harness_writer[512];
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

/* Runs a writer on `out`: all that it wrote must come out, byte for byte. */
static void expect_exact(const char *kind, int count, int out, int sink, struct tally *t)
{
	struct writer w;

	writer_start(&h, &w, kind, count, out, sink, false);
	writer_finish(&h, &w, true);
	assert_int_equal(w.status, 0);
	harness_tally(&h, (uint32_t)w.pid, true, t);
	assert_int_equal(t->captured, w.written);
	assert_int_equal(t->lost, 0);
	assert_true(w.written > 0);
	assert_int_equal(harness_stream(&h, &t->id).seen_bytes, w.written);
	if (sink >= 0)
		assert_int_equal(w.n_read, w.written);
	writer_done(&w);
}

static void to_pipe(const char *kind, int count, struct tally *t)
{
	int out, sink;

	make_pipe(&out, &sink);
	expect_exact(kind, count, out, sink, t);
	assert_int_equal(t->kind, TL_FILE_PIPE);
}

static void to_file(const char *kind, int count, struct tally *t)
{
	char path[128];
	int out = make_file(O_WRONLY, path);

	expect_exact(kind, count, out, -1, t);
	assert_int_equal(t->kind, TL_FILE_REGULAR);
	assert_string_equal(t->path, path);
	unlink(path);
}

static void writes_to_a_pipe_are_exact(void **state)
{
	struct tally t;

	(void)state;
	to_pipe("write", 40, &t);
	assert_true(t.flags & TL_EVF_STDOUT);
	assert_true(t.flags & TL_EVF_UNDECIDED);
}

static void writes_to_a_file_are_exact_and_its_path_is_told(void **state)
{
	struct tally t;

	(void)state;
	to_file("write", 40, &t);
}

static void a_write_of_a_megabyte_is_exact(void **state)
{
	struct tally t;

	(void)state;
	to_file("big", 3, &t);
	assert_true(t.events >= 3 * (1000000 / TL_CHUNK));
	harness_forget_events(&h);
	to_pipe("big", 1, &t);
}

static void writev_is_exact(void **state)
{
	struct tally t;

	(void)state;
	to_pipe("writev", 40, &t);
}

static void two_hundred_segments_are_exact(void **state)
{
	struct tally t;

	(void)state;
	to_pipe("iovecs", 200, &t);
	harness_forget_events(&h);
	to_file("iovecs", 1024, &t);
}

static void positioned_writes_are_exact(void **state)
{
	struct tally t;

	(void)state;
	to_file("pwrite", 10, &t);
	harness_forget_events(&h);
	to_file("pwritev", 10, &t);
	harness_forget_events(&h);
	to_file("pwritev2", 10, &t);
}

static void short_writes_and_eagain_are_exact(void **state)
{
	struct tally t;

	(void)state;
	to_pipe("nonblock", 20, &t);
}

static void a_duplicate_of_standard_error_is_a_log(void **state)
{
	struct tally t;

	(void)state;
	to_pipe("dup", 10, &t);
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
	expect_exact("small", 20, slave, master, &t);
	assert_int_equal(t.kind, TL_FILE_TTY);
}

/* Listens where journald does; -1 when there is a real one. */
static int journal(const char *name, int type)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
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
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "/run/systemd/journal/%s", name);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
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
	expect_exact("sendmsg", 20, out, sink, &t);
	assert_int_equal(t.kind, TL_FILE_UNIX);
	assert_string_equal(t.path, "/run/systemd/journal/stdout");
	unjournal("stdout", listener);
}

static void datagrams_to_the_journal_are_logs(void **state)
{
	static const char *const kinds[] = { "sendto", "sendmsg", "sendmmsg", "named" };
	int fd = journal("socket", SOCK_DGRAM);
	struct tally t;

	(void)state;
	if (fd < 0)
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		expect_exact(kinds[i], 8, connect_journal("socket", SOCK_DGRAM), dup(fd), &t);
		assert_int_equal(t.kind, TL_FILE_UNIX);
		assert_int_equal(t.events, 8);
		harness_forget_events(&h);
	}
	unjournal("socket", fd);
}

static size_t count_events(uint32_t tgid, uint8_t type)
{
	size_t n = 0;

	for (size_t i = 0; i < h.n; i++)
		n += (!tgid || h.events[i]->tgid == tgid) && (!type || h.events[i]->type == type);
	return n;
}

static size_t count_procs(enum tl_proc_what what)
{
	size_t n = 0;

	for (size_t i = 0; i < h.n; i++)
		n += h.events[i]->type == TL_EV_PROC && ((struct tl_ev_proc *)h.events[i])->what == what;
	return n;
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
	to_pipe("exec", 5, &t);
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
	assert_int_equal(count_events((uint32_t)w.pid, 0), 0);
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
	assert_int_equal(count_events((uint32_t)w.pid, TL_EV_LOG), 0);
	assert_int_equal(count_events((uint32_t)w.pid, TL_EV_FILE), 0);
	writer_done(&w);
	unlink(path);
	to_file("write", 10, &(struct tally){ 0 });
}

static void another_file_is_told_and_undecided(void **state)
{
	struct tally t;
	char path[128];
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	(void)state;
	close(make_file(O_WRONLY, path));
	setenv("WRITER_FILE", path, 1);
	expect_exact("file", 10, null, -1, &t);
	assert_string_equal(t.path, path);
	assert_int_equal(t.flags & (TL_EVF_STDOUT | TL_EVF_STDERR), 0);
	assert_true(t.flags & TL_EVF_UNDECIDED);
	unlink(path);
}

static void a_decided_file_is_captured_or_ignored(void **state)
{
	struct writer w;
	struct tally t;
	int out, sink;

	(void)state;
	make_pipe(&out, &sink);
	writer_start(&h, &w, "steps", 3, out, sink, false);
	writer_go(&w);
	writer_report(&w);
	for (uint64_t end = tl_mono_ns() + TL_SEC; count_events((uint32_t)w.pid, TL_EV_LOG) < 1 && tl_mono_ns() < end;)
		harness_drain(&h);
	harness_tally(&h, (uint32_t)w.pid, true, &t);
	assert_int_equal(tl_capture_decide(h.capture, &t.id, TL_VERDICT_LOG), 0);
	writer_go(&w);
	writer_report(&w);
	assert_int_equal(tl_capture_decide(h.capture, &t.id, TL_VERDICT_IGNORE), 0);
	writer_go(&w);
	writer_report(&w);
	writer_finish(&h, &w, true);
	harness_tally(&h, (uint32_t)w.pid, true, &t);
	assert_int_equal(t.captured, 1000);
	assert_int_equal(t.events, 2);
	for (size_t i = 0, n = 0; i < h.n; i++)
		if (h.events[i]->type == TL_EV_LOG)
			assert_int_equal(h.events[i]->flags & TL_EVF_UNDECIDED, n++ ? 0 : TL_EVF_UNDECIDED);
	writer_done(&w);
}

static void past_the_undecided_budget_bytes_are_counted(void **state)
{
	struct writer w;
	struct tally t;
	char path[128];

	(void)state;
	close(make_file(O_WRONLY, path));
	setenv("WRITER_FILE", path, 1);
	h.control->undecided_max = 1050;
	writer_start(&h, &w, "file", 30, open("/dev/null", O_WRONLY | O_CLOEXEC), -1, false);
	writer_finish(&h, &w, true);
	h.control->undecided_max = harness_options.undecided_max;
	harness_tally(&h, (uint32_t)w.pid, true, &t);
	assert_int_equal(t.captured, 1050);
	assert_int_equal(t.lost, 30 * 64 - 1050);
	assert_int_equal(harness_stream(&h, &t.id).lost_cause, TL_LOST_UNDECIDED);
	writer_done(&w);
	unlink(path);
}

static void a_dead_agent_stops_the_capture_and_bytes_are_counted(void **state)
{
	struct writer w;
	struct tally t;
	int out, sink;

	(void)state;
	make_pipe(&out, &sink);
	writer_start(&h, &w, "steps", 2, out, sink, false);
	writer_go(&w);
	writer_report(&w);
	h.control->heartbeat_ns = tl_mono_ns() - TL_SEC;
	h.control->stall_ns = TL_MS;
	writer_go(&w);
	writer_report(&w);
	h.control->stall_ns = 0;
	writer_finish(&h, &w, true);
	harness_tally(&h, (uint32_t)w.pid, true, &t);
	assert_int_equal(t.captured, 500);
	assert_int_equal(t.lost, 500);
	assert_int_equal(harness_stream(&h, &t.id).lost_cause, TL_LOST_STALLED);
	writer_done(&w);
}

static void bytes_moved_unseen_are_counted_blind(void **state)
{
	struct tl_stats before, after;
	struct writer w;
	char path[128];

	(void)state;
	assert_int_equal(tl_capture_stats(h.capture, &before), 0);
	writer_start(&h, &w, "sendfile", 1234, make_file(O_WRONLY, path), -1, false);
	writer_finish(&h, &w, true);
	assert_int_equal(w.status, 0);
	assert_int_equal(tl_capture_stats(h.capture, &after), 0);
	assert_int_equal(after.blind_bytes - before.blind_bytes, 1234);
	writer_done(&w);
	unlink(path);
}

static void thirty_two_bit_writes_are_counted(void **state)
{
	struct tl_stats before, after;
	struct writer w;
	int out, sink;

	(void)state;
	tl_capture_stats(h.capture, &before);
	make_pipe(&out, &sink);
	writer_start(&h, &w, "compat", 5, out, sink, false);
	writer_finish(&h, &w, true);
	if (w.status || tl_capture_backend(h.capture) == TL_BACKEND_MULTI) {
		writer_done(&w);
		skip();
	}
	tl_capture_stats(h.capture, &after);
	assert_int_equal(after.lost_bytes[TL_LOST_COMPAT] - before.lost_bytes[TL_LOST_COMPAT], 450);
	assert_int_equal(count_events((uint32_t)w.pid, TL_EV_LOG), 0);
	writer_done(&w);
}

/* A ring that holds a part: what came out and what was counted add up to what was written, each byte in its place. */
static void a_full_ring_loses_an_exact_number_of_bytes(void **state)
{
	static const char *const kinds[] = { "small", "writev", "big" };
	static const int counts[] = { 3000, 300, 2 };
	struct harness tiny;
	char path[128];

	(void)state;
	harness_open(&tiny, 64 << 10);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct writer w;
		struct tally t;

		writer_start(&tiny, &w, kinds[i], counts[i], make_file(O_WRONLY, path), -1, false);
		writer_finish(&tiny, &w, false);
		assert_int_equal(w.status, 0);
		for (uint64_t end = tl_mono_ns() + 20 * TL_MS; tl_mono_ns() < end;)
			harness_drain(&tiny);
		harness_tally(&tiny, (uint32_t)w.pid, true, &t);
		assert_true(t.captured > 0);
		assert_true(t.lost > 0);
		assert_int_equal(t.captured + t.lost, w.written);
		assert_int_equal(harness_stream(&tiny, &t.id).lost_cause, TL_LOST_RING_FULL);
		harness_forget_events(&tiny);
		writer_done(&w);
		unlink(path);
	}
	harness_close(&tiny);
}

static void eight_writers_at_once_lose_nothing_uncounted(void **state)
{
	struct tl_stats stats;
	struct writer w;
	struct tally t;
	char path[128];

	(void)state;
	writer_start(&h, &w, "storm", 4000, make_file(O_WRONLY | O_APPEND, path), -1, false);
	writer_finish(&h, &w, true);
	assert_int_equal(w.status, 0);
	harness_tally(&h, 0, false, &t);
	tl_capture_stats(h.capture, &stats);
	printf("# %llu of %llu bytes, %llu counted lost, %llu times skipped\n", (unsigned long long)t.captured,
	       (unsigned long long)w.written, (unsigned long long)t.lost,
	       (unsigned long long)stats.lost_events[TL_LOST_RECURSION]);
	if (!stats.lost_events[TL_LOST_RECURSION])
		assert_int_equal(t.captured + t.lost, w.written);
	if (tl_capture_backend(h.capture) == TL_BACKEND_MULTI)
		assert_int_equal(stats.lost_events[TL_LOST_RECURSION], 0);
	writer_done(&w);
	unlink(path);
}

static void writers_that_hang_do_not_hide_others(void **state)
{
	struct tally t;

	(void)state;
	to_file("blocked", 2000, &t);
}

/* --- sockets --- */

static int dial(uint64_t port)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

struct wire {
	char in[4096], out[4096];
	size_t n_in, n_out, reads, eofs, ends;
	uint16_t local_port;
};

static void collect_wire(uint32_t tgid, struct wire *w)
{
	memset(w, 0, sizeof(*w));
	for (size_t i = 0; i < h.n; i++) {
		const struct tl_ev_wire *e = (const void *)h.events[i];

		if (e->h.tgid != tgid || (e->h.type != TL_EV_WIRE && e->h.type != TL_EV_SOCK))
			continue;
		w->ends += e->h.type == TL_EV_SOCK;
		w->eofs += (e->h.flags & TL_EVF_EOF) != 0;
		if (e->h.type == TL_EV_SOCK)
			continue;
		w->local_port = e->local_port;
		if (e->h.flags & TL_EVF_RECV) {
			w->reads++;
			memcpy(w->in + w->n_in, e + 1, e->h.len);
			w->n_in += e->h.len;
		} else {
			memcpy(w->out + w->n_out, e + 1, e->h.len);
			w->n_out += e->h.len;
		}
	}
}

static void wait_for_end(uint32_t tgid, struct wire *wire)
{
	uint64_t end = tl_mono_ns() + 2 * TL_SEC;

	do {
		harness_drain(&h);
		collect_wire(tgid, wire);
	} while (!wire->ends && tl_mono_ns() < end);
}

static void an_http_exchange_is_seen_on_the_wire(void **state)
{
	static const char request[] = "GET /x HTTP/1.1\r\nHost: a\r\nX-Request-Id: 77\r\n\r\n";
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

	(void)state;
	for (int way = 1; way <= 2; way++) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC), fd;
		struct writer w;
		struct wire wire;
		char got[64];
		uint64_t port;

		writer_start(&h, &w, "http", way, null, -1, false);
		port = writer_report(&w);
		fd = dial(port);
		/* Byte by byte: the header may be cut anywhere. */
		for (size_t i = 0; i < sizeof(request) - 1; i++)
			assert_int_equal(write(fd, request + i, 1), 1);
		assert_int_equal(recv(fd, got, sizeof(answer) - 1, MSG_WAITALL), sizeof(answer) - 1);
		close(fd);
		writer_finish(&h, &w, true);
		assert_int_equal(w.status, 0);
		wait_for_end((uint32_t)w.pid, &wire);
		assert_int_equal(wire.n_in, sizeof(request) - 1);
		assert_memory_equal(wire.in, request, wire.n_in);
		assert_int_equal(wire.n_out, sizeof(answer) - 1);
		assert_memory_equal(wire.out, answer, wire.n_out);
		assert_int_equal(wire.eofs, 1);
		assert_int_equal(wire.ends, 1);
		assert_int_equal(wire.local_port, port);
		writer_done(&w);
		harness_forget_events(&h);
	}
}

static void a_socket_that_is_no_http_is_left_alone(void **state)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC), fd;
	struct writer w;
	char got[8];

	(void)state;
	writer_start(&h, &w, "echo", 1, null, -1, false);
	fd = dial(writer_report(&w));
	for (int i = 0; i < 60; i++) {
		/* After 32 calls even a method is not looked at any more. */
		const char *say = i < 40 ? "\x01\x02\x03\x04\x05" : "GET /";

		assert_int_equal(write(fd, say, 5), 5);
		assert_int_equal(recv(fd, got, 5, MSG_WAITALL), 5);
	}
	close(fd);
	writer_finish(&h, &w, true);
	assert_int_equal(count_events((uint32_t)w.pid, TL_EV_WIRE), 0);
	assert_int_equal(count_events((uint32_t)w.pid, TL_EV_LOG), 0);
	writer_done(&w);
}

#define CASE(f) cmocka_unit_test_setup(f, forget)

static int usage(void)
{
	fprintf(stderr, "usage: test_capture [--backend=sys_exit|multi] [--ring=bpf|perf] [--writer=PATH] [FILTER]\n");
	return 2;
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
		CASE(a_decided_file_is_captured_or_ignored),
		CASE(past_the_undecided_budget_bytes_are_counted),
		CASE(a_dead_agent_stops_the_capture_and_bytes_are_counted),
		CASE(bytes_moved_unseen_are_counted_blind),
		CASE(thirty_two_bit_writes_are_counted),
		CASE(a_full_ring_loses_an_exact_number_of_bytes),
		CASE(eight_writers_at_once_lose_nothing_uncounted),
		CASE(writers_that_hang_do_not_hide_others),
		CASE(an_http_exchange_is_seen_on_the_wire),
		CASE(a_socket_that_is_no_http_is_left_alone),
	};

	snprintf(harness_writer, sizeof(harness_writer), "%.400s/writer", dirname(strdup(argv[0])));
	for (int i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "--writer=", 9))
			snprintf(harness_writer, sizeof(harness_writer), "%s", argv[i] + 9);
		else if (!strcmp(argv[i], "--backend=sys_exit"))
			harness_options.backend = TL_BACKEND_SYS_EXIT;
		else if (!strcmp(argv[i], "--backend=multi"))
			harness_options.backend = TL_BACKEND_MULTI;
		else if (!strcmp(argv[i], "--ring=perf"))
			harness_options.ring = TL_RING_PERF;
		else if (!strcmp(argv[i], "--ring=bpf"))
			harness_options.ring = TL_RING_BPF;
		else if (argv[i][0] == '-')
			return usage();
		else
			cmocka_set_test_filter(argv[i]);
	}
	return cmocka_run_group_tests(tests, open_all, close_all);
}
