/* SPDX-License-Identifier: Apache-2.0 */
/* The two ends of a connection, both watched: each tells without the other where its bytes lie, and
 * both tell the same. That is what ids without headers are made of. */
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/capture/lib/harness.c" /* one program, one source for the build */

#define ROUNDS 3

static struct harness h;

static int open_all(void **state)
{
	(void)state;
	harness_open(&h, 8 << 20);
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

static const char request[] = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

static void must(bool ok)
{
	if (!ok)
		_exit(1);
}

static void talk(int client, int server)
{
	char buf[256];

	for (int i = 0; i < ROUNDS; i++) {
		must(send(client, request, sizeof(request) - 1, 0) == sizeof(request) - 1);
		must(recv(server, buf, 3, 0) == 3);
		must(recv(server, buf, sizeof(buf), 0) == sizeof(request) - 4);
		must(write(server, answer, sizeof(answer) - 1) == sizeof(answer) - 1);
		must(read(client, buf, sizeof(buf)) == sizeof(answer) - 1);
	}
	_exit(0);
}

/* The server listens for both families, as Java and Go do; the client speaks IPv4. */
static void tcp_pair(void)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6};
	struct sockaddr_in b = {.sin_family = AF_INET};
	socklen_t len = sizeof(a);
	int listening = socket(AF_INET6, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);

	must(bind(listening, (void *)&a, sizeof(a)) == 0 && listen(listening, 1) == 0);
	must(getsockname(listening, (void *)&a, &len) == 0);
	b.sin_port = a.sin6_port;
	b.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(connect(client, (void *)&b, sizeof(b)) == 0);
	talk(client, accept(listening, NULL, NULL));
}

static void unix_pair(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int listening = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "tapline-test-%d", (int)getpid());
	must(bind(listening, (void *)&a, sizeof(a)) == 0 && listen(listening, 1) == 0);
	must(connect(client, (void *)&a, sizeof(a)) == 0);
	talk(client, accept(listening, NULL, NULL));
}

/* Runs `pair` in a child that is selected before it begins. */
static uint32_t run_pair(void (*pair)(void))
{
	int gate[2], status;
	char go = 0;
	pid_t pid;

	assert_int_equal(pipe(gate), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		must(read(gate[0], &go, 1) == 1);
		pair();
	}
	assert_int_equal(tl_capture_select(h.capture, (uint32_t)pid, TL_SELECTED), 0);
	assert_int_equal(write(gate[1], "x", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(gate[0]);
	close(gate[1]);
	return (uint32_t)pid;
}

/* The events of the child's sockets that moved request bytes: sent ones, and the first read ones.
 */
struct seen {
	const struct tl_ev_wire *sent[ROUNDS], *read[ROUNDS], *connected;
	size_t n_sent, n_read;
};

static void look(uint32_t pid, struct seen *seen)
{
	memset(seen, 0, sizeof(*seen));
	for (size_t i = 0; i < h.n; i++) {
		const struct tl_ev_wire *e = (const void *)h.events[i];

		if (e->h.tgid != pid || e->h.type != TL_EV_WIRE)
			continue;
		if (e->h.syscall_class == TL_CALL_CONNECT)
			seen->connected = e;
		else if (e->h.syscall_class == TL_CALL_SENDTO && seen->n_sent < ROUNDS)
			seen->sent[seen->n_sent++] = e;
		else if (e->h.syscall_class == TL_CALL_RECVFROM && e->call_len == 3 &&
			 seen->n_read < ROUNDS)
			seen->read[seen->n_read++] = e;
	}
}

/* A perf array's records come when they are looked for, not all at the child's end. */
static void collect(uint32_t pid, struct seen *seen)
{
	uint64_t end = tl_mono_ns() + 2 * TL_SEC;

	do {
		harness_drain(&h);
		look(pid, seen);
	} while ((seen->n_sent < ROUNDS || seen->n_read < ROUNDS || !seen->connected) &&
		 tl_mono_ns() < end);
	assert_int_equal(seen->n_sent, ROUNDS);
	assert_int_equal(seen->n_read, ROUNDS);
	assert_non_null(seen->connected);
	assert_int_equal(seen->connected->call_len, 0);
	assert_true(seen->connected->sock_ino == seen->sent[0]->sock_ino);
}

static void both_ends_of_a_tcp_connection_tell_the_same_place(void **state)
{
	struct seen seen;

	(void)state;
	collect(run_pair(tcp_pair), &seen);
	for (int i = 0; i < ROUNDS; i++) {
		const struct tl_ev_wire *c = seen.sent[i], *s = seen.read[i];

		assert_true(c->placed && s->placed);
		assert_int_equal(c->seq, s->seq);
		assert_int_equal(c->wraps, 0);
		assert_int_equal(s->wraps, 0);
		/* The client opened it: its own direction began with a SYN that was acknowledged.
		 */
		assert_int_equal(c->base_out + 1, s->base_in);
		assert_int_equal(c->base_in, s->base_out);
		assert_int_equal((uint32_t)(s->seq - s->base_in),
				 (uint32_t)i * (sizeof(request) - 1));
		assert_int_equal(c->local_port, s->remote_port);
		assert_int_equal(c->family, TL_SOCK_INET);
		assert_int_equal(s->family, TL_SOCK_INET6);
		assert_memory_equal(s->remote_addr + 12, c->local_addr, 4);
	}
}

static void an_end_of_a_unix_connection_names_the_other(void **state)
{
	struct seen seen;

	(void)state;
	collect(run_pair(unix_pair), &seen);
	for (int i = 0; i < ROUNDS; i++) {
		const struct tl_ev_wire *c = seen.sent[i], *s = seen.read[i];

		assert_false(c->placed || s->placed);
		assert_memory_equal(s->remote_addr, &c->sock, 8);
		assert_memory_equal(s->remote_addr + 8, &c->sock_ino, 8);
		assert_memory_equal(c->remote_addr, &s->sock, 8);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		CASE(both_ends_of_a_tcp_connection_tell_the_same_place),
		CASE(an_end_of_a_unix_connection_names_the_other),
	};

	return harness_main(argc, argv, tests, ARRAY_SIZE(tests), open_all, close_all);
}
