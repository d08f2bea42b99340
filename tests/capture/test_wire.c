/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets: HTTP is seen in both directions, whatever pieces it comes in; everything else is left
 * alone. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

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
	size_t n_in, n_out, reads, eofs, shuts, ends;
	uint16_t local_port;
};

static void collect_wire(uint32_t tgid, struct wire *w)
{
	memset(w, 0, sizeof(*w));
	for (size_t i = 0; i < h.n; i++) {
		const struct tl_ev_wire *e = (const void *)h.events[i];

		if (e->h.tgid != tgid || (e->h.type != TL_EV_WIRE && e->h.type != TL_EV_SOCK))
			continue;
		w->shuts += e->h.type == TL_EV_SOCK && (e->h.flags & TL_EVF_SHUT);
		w->ends += e->h.type == TL_EV_SOCK && !(e->h.flags & TL_EVF_SHUT);
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
		assert_int_equal(recv(fd, got, sizeof(answer) - 1, MSG_WAITALL),
				 sizeof(answer) - 1);
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
		assert_int_equal(wire.shuts, 1);
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
	assert_int_equal(count_events(&h, (uint32_t)w.pid, TL_EV_WIRE), 0);
	assert_int_equal(count_events(&h, (uint32_t)w.pid, TL_EV_LOG), 0);
	writer_done(&w);
}

/* Whether the thread waited between each event and the one before it. */
static void a_line_tells_how_long_ago_its_thread_waited(void **state)
{
	static const bool waited[] = {false, false, true, true, false, true, false, false};
	const struct tl_event *before = NULL;
	struct writer w;
	size_t n = 0;
	int out, sink;

	(void)state;
	make_pipe(&out, &sink);
	writer_start(&h, &w, "waits", 8, out, sink, false);
	writer_finish(&h, &w, true);
	assert_int_equal(w.status, 0);
	for (size_t i = 0; i < h.n; i++) {
		const struct tl_event *e = h.events[i];

		if (e->tgid != (uint32_t)w.pid || e->type != TL_EV_LOG)
			continue;
		assert_true(n < ARRAY_SIZE(waited));
		if (before)
			assert_int_equal(e->waited_ns < e->time_ns - before->time_ns, waited[n]);
		before = e;
		n++;
	}
	assert_int_equal(n, ARRAY_SIZE(waited));
	writer_done(&w);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		CASE(an_http_exchange_is_seen_on_the_wire),
		CASE(a_socket_that_is_no_http_is_left_alone),
		CASE(a_line_tells_how_long_ago_its_thread_waited),
	};

	return harness_main(argc, argv, tests, ARRAY_SIZE(tests), open_all, close_all);
}
