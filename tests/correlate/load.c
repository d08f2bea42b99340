/* SPDX-License-Identifier: Apache-2.0 */
/* The load of the correlation bench: HTTP/1.1 over loopback, each request with an id of its own, in
 * the shapes that clients really send and some that they should not. One thread, epoll; a
 * connection is a small state machine: connect, send (in pieces), read the answers, go on or close.
 * An answer is checked: its body names the gt of the request it belongs to. Everything is bounded:
 * the number of requests, --seconds, and 15 s without any progress.
 *
 * usage: load --port N --requests N --concurrency N [--mode close|keepalive|pipeline]
 *             [--wire plain|split|mix] [--headers plain|mix] [--paths /a,/b] [--seconds N]
 * Prints one JSON object: requests, answers, bad, aborted, seconds, p50_us, p99_us.
 * Exit status 1: an answer was wrong, or there were none. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/correlate/sha256.h"

#define OUT_MAX (96u << 10)
#define IN_MAX (64u << 10)
#define PIPELINE 4
#define PATHS_MAX 16
#define STUCK_NS UINT64_C(15000000000)
#define LATENCIES_MAX (1u << 22)

enum mode { CLOSE, KEEPALIVE, PIPELINED };
enum wire { WIRE_PLAIN, WIRE_SPLIT, WIRE_MIX };

/* One request on its way. */
struct sent {
	char gt[GT_LEN + 1];
	bool head, no_check; /* no body comes; the answer may be anything */
	uint64_t at_ns;
};

struct conn {
	int fd;
	char out[OUT_MAX];
	size_t out_len, out_at, cut; /* cut: send no further than here in one call; 0 all */
	size_t hold_at;		     /* 100-continue: what lies behind waits; 0 none */
	uint64_t hold_ns;
	bool split, aborts, closes, writable;
	struct sent sent[PIPELINE];
	unsigned n_sent, n_answered, served;
	char in[IN_MAX];
	size_t in_len;
	bool in_body, chunked, until_close;
	size_t body_left, body_seen;
	char body[GT_LEN + 1];
	int status;
};

static struct {
	int port, concurrency, seconds;
	uint64_t requests;
	enum mode mode;
	enum wire wire;
	bool header_mix;
	char *paths[PATHS_MAX];
	int n_paths;
} options = {.concurrency = 8, .requests = 1000, .mode = KEEPALIVE, .seconds = 300};

static struct {
	uint64_t started, answered, bad, aborted, refused, retried;
	uint64_t begun_ns, moved_ns;
	uint32_t *latency_us;
	size_t n_latencies;
} state;

static int poller;
static uint64_t seed;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* xorshift64*: ids only have to differ. */
static uint64_t draw(void)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * UINT64_C(2685821657736338717);
}

static bool chance(unsigned percent)
{
	return draw() % 100 < percent;
}

/* --- what is sent --- */

static void put(struct conn *conn, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct conn *conn, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(conn->out + conn->out_len, OUT_MAX - conn->out_len, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= OUT_MAX - conn->out_len)
		abort();
	conn->out_len += (size_t)n;
}

/* Other ids beside ours, well and badly formed: none of them may become the line's. */
static void put_strange_headers(struct conn *conn)
{
	switch (draw() % 10) {
	case 0:
		put(conn, "traceparent: 00-%016llx%016llx-%016llx-01\r\n",
		    (unsigned long long)draw() | 1, (unsigned long long)draw(),
		    (unsigned long long)draw() | 1);
		break;
	case 1:
		put(conn,
		    "Traceparent: 00-00000000000000000000000000000000-0000000000000000-01\r\n"
		    "traceparent: 00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01\r\n");
		break;
	case 2:
		put(conn, "b3: %016llx-%016llx-1\r\nx-datadog-trace-id: %llu\r\n",
		    (unsigned long long)draw() | 1, (unsigned long long)draw() | 1,
		    (unsigned long long)draw());
		break;
	case 3:
		put(conn, "b3: nonsense\r\nuber-trace-id: %%3A%%3A::\r\nx-b3-traceid: xyz\r\n");
		break;
	case 4:
		put(conn, "Cookie: c=%01024d\r\n", 7);
		break;
	case 5:
		for (int i = 0; i < 30; i++)
			put(conn, "X-Filler-%d: %llx\r\n", i, (unsigned long long)draw());
		break;
	case 6:
		put(conn, "x-correlation-id: c-%llx\r\n", (unsigned long long)draw());
		break;
	default:
		break;
	}
}

static void put_id(struct conn *conn, const char *id)
{
	unsigned way = options.header_mix ? (unsigned)(draw() % 6) : 0;

	switch (way) {
	case 1:
		put(conn, "X-REQUEST-ID: %s\r\n", id);
		break;
	case 2:
		put(conn, "X-Request-Id:%s\r\n", id);
		break;
	case 3:
		put(conn, "x-request-id:  %s  \r\n", id);
		break;
	case 4:
		put(conn, "x-request-id:\t%s\t\r\n", id);
		break;
	default:
		put(conn, "x-request-id: %s\r\n", id);
		break;
	}
}

static void make_id(char id[64])
{
	unsigned long long a = draw(), b = draw();

	switch (options.header_mix ? draw() % 4 : 0) {
	case 1:
		snprintf(id, 64, "%llu", a);
		break;
	case 2:
		snprintf(id, 64, "%016llx%016llx", a, b);
		break;
	case 3:
		snprintf(id, 64, "req/%llx+%llx:1", a, b);
		break;
	default:
		snprintf(id, 64, "%08llx-%04llx-4%03llx-8%03llx-%012llx", a >> 32, a >> 16 & 0xffff,
			 a & 0xfff, b >> 52, b & 0xffffffffffff);
		break;
	}
}

/* The request's body, if any: by length, in chunks, or announced by Expect. */
static void put_body(struct conn *conn, bool alone)
{
	size_t len = 1 + draw() % (alone && chance(10) ? 40000 : 600);

	if (chance(50)) {
		bool expect = alone && chance(50);

		put(conn, "Content-Length: %zu\r\n%s\r\n", len,
		    expect ? "Expect: 100-continue\r\n" : "");
		if (expect)
			conn->hold_at = conn->out_len;
	} else {
		put(conn, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", len);
	}
	/* A body that looks like another request must stay a body. */
	for (size_t i = 0; i < len; i++)
		conn->out[conn->out_len + i] =
			"GET /evil HTTP/1.1\r\nx-request-id: evil\r\n\r\n"[i % 42];
	conn->out_len += len;
}

static void put_request(struct conn *conn, bool alone, bool last)
{
	struct sent *sent = &conn->sent[conn->n_sent++];
	const char *method = "GET", *path = options.paths[draw() % (unsigned)options.n_paths];
	bool mix = options.wire == WIRE_MIX, body = false;
	char id[64];

	make_id(id);
	gt_of(id, strlen(id), sent->gt);
	sent->head = mix && chance(8);
	sent->no_check = false;
	sent->at_ns = now_ns();
	if (sent->head)
		method = "HEAD";
	else if (mix && chance(25))
		method = "POST", body = true;
	put(conn, "%s %s?q=%llx HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nx-gt: %s\r\n", method, path,
	    (unsigned long long)draw(), options.port, sent->gt);
	if (options.header_mix && chance(50))
		put_strange_headers(conn);
	put_id(conn, id);
	if (options.header_mix && chance(30))
		put_strange_headers(conn);
	if (conn->closes && last)
		put(conn, "Connection: close\r\n");
	if (body && !sent->head) {
		bool chunked;
		size_t before = conn->out_len;

		put_body(conn, alone);
		chunked = memcmp(conn->out + before, "Transfer", 8) == 0;
		if (chunked)
			put(conn, "\r\n0\r\n\r\n");
	} else {
		put(conn, "\r\n");
	}
	state.started++;
}

/* Not HTTP, or not quite: the server may refuse it; its neighbours must not notice. */
static void put_garbage(struct conn *conn)
{
	static const char *const texts[] = {
		"GET  HTTP/1.1\r\n\r\n",
		"\1\2\3\4garbage\r\n\r\n",
		"GET / HTTP/9.9\r\nx-request-id: bad-version-0001\r\n\r\n",
		"GET / HTTP/1.1\r\nno colon here\r\nx-request-id: no-colon-0001\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: nine\r\nx-request-id: "
		"nine-0001\r\n\r\n",
	};
	struct sent *sent = &conn->sent[conn->n_sent++];

	*sent = (struct sent){.no_check = true, .at_ns = now_ns()};
	conn->closes = conn->until_close = true;
	put(conn, "%s", texts[draw() % (sizeof(texts) / sizeof(texts[0]))]);
}

/* The client leaves in the middle of its request. */
static void cut_short(struct conn *conn)
{
	conn->out_len = 1 + draw() % conn->out_len;
	if (conn->hold_at >= conn->out_len)
		conn->hold_at = 0;
}

static void next_burst(struct conn *conn)
{
	unsigned n = options.mode == PIPELINED ? 1 + (unsigned)(draw() % PIPELINE) : 1;

	conn->out_len = conn->out_at = conn->in_len = conn->hold_at = 0;
	conn->n_sent = conn->n_answered = 0;
	conn->in_body = conn->until_close = conn->aborts = false;
	conn->split = options.wire == WIRE_SPLIT || (options.wire == WIRE_MIX && chance(30));
	conn->closes = options.mode == CLOSE || (conn->served > 200 && chance(2));
	if (options.wire == WIRE_MIX && chance(1)) {
		put_garbage(conn);
		return;
	}
	for (unsigned i = 0; i < n && state.started < options.requests; i++)
		put_request(conn, n == 1, i + 1 == n || state.started + 1 == options.requests);
	conn->aborts = options.wire == WIRE_MIX && chance(2);
	if (conn->aborts && chance(50))
		cut_short(conn);
}

/* --- connections --- */

static void watch(struct conn *conn, bool writable)
{
	struct epoll_event event = {.events = EPOLLIN | (writable ? EPOLLOUT : 0u),
				    .data.ptr = conn};

	conn->writable = writable;
	epoll_ctl(poller, EPOLL_CTL_MOD, conn->fd, &event);
}

static void open_conn(struct conn *conn)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)options.port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = conn};
	int one = 1;

	conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (conn->fd < 0)
		abort();
	setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	conn->served = 0;
	if (connect(conn->fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS) {
		fprintf(stderr, "load: cannot connect to port %d: %s\n", options.port,
			strerror(errno));
		exit(1);
	}
	epoll_ctl(poller, EPOLL_CTL_ADD, conn->fd, &event);
	conn->writable = true;
}

static void close_conn(struct conn *conn, bool reset)
{
	struct linger linger = {.l_onoff = 1};

	if (conn->fd < 0)
		return;
	if (reset)
		setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(conn->fd);
	conn->fd = -1;
}

/* Starts what comes next on the connection, or ends it. */
static void go_on(struct conn *conn)
{
	if (state.started >= options.requests) {
		close_conn(conn, false);
		return;
	}
	if (conn->fd < 0)
		open_conn(conn);
	next_burst(conn);
	watch(conn, true);
}

static void give_up(struct conn *conn, const char *why)
{
	for (unsigned i = conn->n_answered; i < conn->n_sent; i++)
		if (!conn->sent[i].no_check)
			state.bad++;
	if (state.bad <= 5 && conn->n_answered < conn->n_sent &&
	    !conn->sent[conn->n_answered].no_check)
		fprintf(stderr, "load: %s (answer %u of %u, status %d): %.*s\n", why,
			conn->n_answered + 1, conn->n_sent, conn->status,
			(int)(conn->in_len < 200 ? conn->in_len : 200), conn->in);
	close_conn(conn, false);
	go_on(conn);
}

static size_t piece(const struct conn *conn)
{
	size_t end = conn->hold_at && conn->out_at < conn->hold_at ? conn->hold_at : conn->out_len;
	size_t n = end - conn->out_at;

	if (!conn->split || n <= 1)
		return n;
	return chance(50) ? 1 : 1 + draw() % (n < 40 ? n : 40);
}

static void on_writable(struct conn *conn)
{
	while (conn->out_at < conn->out_len) {
		ssize_t n;

		if (conn->hold_at && conn->out_at == conn->hold_at) {
			conn->hold_ns = now_ns();
			break;
		}
		n = send(conn->fd, conn->out + conn->out_at, piece(conn), MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			conn->out_at = conn->out_len; /* the answer may be there nevertheless */
			break;
		}
		conn->out_at += (size_t)n;
		if (conn->split)
			return; /* let the server run between the pieces */
	}
	if (conn->aborts && conn->out_at == conn->out_len) {
		state.aborted += conn->n_sent;
		close_conn(conn, chance(50));
		go_on(conn);
		return;
	}
	watch(conn, false);
}

static void release_body(struct conn *conn)
{
	conn->hold_at = 0;
	watch(conn, true);
}

/* --- answers --- */

static void answered(struct conn *conn)
{
	struct sent *sent = &conn->sent[conn->n_answered++];
	uint64_t us = (now_ns() - sent->at_ns) / 1000;
	bool body = !sent->head && conn->status == 200;

	conn->served++;
	state.answered++;
	if (state.n_latencies < LATENCIES_MAX)
		state.latency_us[state.n_latencies++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
	if (sent->no_check)
		return;
	if ((body && memcmp(conn->body, sent->gt, GT_LEN) != 0) || conn->status >= 400) {
		state.bad++;
		if (state.bad <= 5)
			fprintf(stderr, "load: status %d, expected %s, got '%.12s'\n", conn->status,
				sent->gt, conn->body);
	}
}

static const char *find_header(const char *head, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = strchr(head, '\n'); p; p = strchr(p, '\n'))
		if (strncasecmp(++p, name, n) == 0 && p[n] == ':')
			return p + n + 1 + strspn(p + n + 1, " ");
	return NULL;
}

/* Reads a head at the front of conn->in. Returns its length, 0 it is not whole yet, -1 nonsense. */
static ssize_t read_head(struct conn *conn)
{
	char *end = memmem(conn->in, conn->in_len, "\r\n\r\n", 4);
	const char *value;

	if (!end)
		return conn->in_len < IN_MAX ? 0 : -1;
	end[2] = '\0';
	if (sscanf(conn->in, "HTTP/1.%*d %d", &conn->status) != 1)
		return -1;
	conn->chunked = (value = find_header(conn->in, "Transfer-Encoding")) &&
			strncasecmp(value, "chunked", 7) == 0;
	value = find_header(conn->in, "Content-Length");
	conn->body_left = value ? strtoul(value, NULL, 10) : 0;
	conn->until_close = !conn->chunked && !value;
	if ((value = find_header(conn->in, "Connection")) && strncasecmp(value, "close", 5) == 0)
		conn->closes = true;
	return end + 4 - conn->in;
}

static void keep_body(struct conn *conn, const char *data, size_t n)
{
	for (; n && conn->body_seen < GT_LEN; n--)
		conn->body[conn->body_seen++] = *data++;
}

/* Takes `n` bytes from the front. */
static void consume(struct conn *conn, size_t n)
{
	conn->in_len -= n;
	memmove(conn->in, conn->in + n, conn->in_len);
}

/* A chunk at the front. Returns 1 the body is over, 0 more is needed, 2 went on. */
static int read_chunk(struct conn *conn)
{
	char *eol = memmem(conn->in, conn->in_len, "\r\n", 2);
	size_t len, head;

	if (!eol)
		return 0;
	len = strtoul(conn->in, NULL, 16);
	head = (size_t)(eol + 2 - conn->in);
	if (conn->in_len < head + len + 2)
		return 0;
	keep_body(conn, conn->in + head, len);
	consume(conn, head + len + 2);
	return len ? 2 : 1;
}

/* Returns 1 the body is over, 0 more is needed. */
static int read_body(struct conn *conn)
{
	int r;

	if (conn->chunked) {
		while ((r = read_chunk(conn)) == 2)
			;
		return r;
	}
	keep_body(conn, conn->in, conn->in_len);
	if (conn->until_close) {
		conn->in_len = 0;
		return 0;
	}
	if (conn->in_len < conn->body_left) {
		conn->body_left -= conn->in_len;
		conn->in_len = 0;
		return 0;
	}
	consume(conn, conn->body_left);
	return 1;
}

/* Returns 1 an answer is whole, 0 more is needed, -1 nonsense. */
static int read_answer(struct conn *conn)
{
	ssize_t n;

	if (conn->in_body)
		return read_body(conn);
	n = read_head(conn);
	if (n <= 0)
		return (int)n;
	consume(conn, (size_t)n);
	if (conn->status < 200) {
		release_body(conn);
		return conn->in_len ? read_answer(conn) : 0;
	}
	conn->body_seen = 0;
	memset(conn->body, 0, sizeof(conn->body));
	if (conn->sent[conn->n_answered].head || conn->status == 204 || conn->status == 304)
		return 1;
	conn->in_body = true;
	return read_body(conn);
}

static void on_end(struct conn *conn)
{
	if (conn->in_body && conn->until_close) {
		conn->in_body = false;
		answered(conn);
	}
	if (conn->n_answered < conn->n_sent) {
		/* A server may close an idle connection just as the next request comes. */
		if (conn->served && conn->n_answered == 0 && !conn->in_len) {
			state.retried += conn->n_sent;
			close_conn(conn, false);
			go_on(conn);
			return;
		}
		give_up(conn, "the connection ended");
		return;
	}
	close_conn(conn, false);
	go_on(conn);
}

static void on_readable(struct conn *conn)
{
	ssize_t n = recv(conn->fd, conn->in + conn->in_len, IN_MAX - conn->in_len, 0);
	int r;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		on_end(conn);
		return;
	}
	conn->in_len += (size_t)n;
	state.moved_ns = now_ns();
	while (conn->n_answered < conn->n_sent && (r = read_answer(conn)) != 0) {
		if (r < 0) {
			give_up(conn, "not an answer");
			return;
		}
		conn->in_body = false;
		answered(conn);
	}
	if (conn->n_answered < conn->n_sent)
		return;
	/* Answered before it was sent in full: what is left would be taken for another request. */
	if (conn->closes || conn->out_at < conn->out_len)
		close_conn(conn, false);
	go_on(conn);
}

/* --- the whole --- */

static void add_paths(char *text)
{
	char *save = NULL;

	for (char *p = strtok_r(text, ",", &save); p && options.n_paths < PATHS_MAX;
	     p = strtok_r(NULL, ",", &save))
		options.paths[options.n_paths++] = p;
}

static int choose(const char *value, const char *const *names)
{
	for (int i = 0; names[i]; i++)
		if (strcmp(value, names[i]) == 0)
			return i;
	fprintf(stderr, "load: unknown choice '%s'\n", value);
	exit(2);
}

static void read_options(int argc, char **argv)
{
	static const struct option longs[] = {
		{"port", 1, NULL, 'p'},	 {"requests", 1, NULL, 'n'}, {"concurrency", 1, NULL, 'c'},
		{"mode", 1, NULL, 'm'},	 {"wire", 1, NULL, 'w'},     {"headers", 1, NULL, 'h'},
		{"paths", 1, NULL, 'u'}, {"seconds", 1, NULL, 's'},  {NULL, 0, NULL, 0}};
	static const char *const modes[] = {"close", "keepalive", "pipeline", NULL};
	static const char *const wires[] = {"plain", "split", "mix", NULL};
	static const char *const headers[] = {"plain", "mix", NULL};
	static char sync_path[] = "/sync";
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'p':
			options.port = atoi(optarg);
			break;
		case 'n':
			options.requests = strtoull(optarg, NULL, 10);
			break;
		case 'c':
			options.concurrency = atoi(optarg);
			break;
		case 's':
			options.seconds = atoi(optarg);
			break;
		case 'm':
			options.mode = (enum mode)choose(optarg, modes);
			break;
		case 'w':
			options.wire = (enum wire)choose(optarg, wires);
			break;
		case 'h':
			options.header_mix = choose(optarg, headers) == 1;
			break;
		case 'u':
			add_paths(optarg);
			break;
		default:
			exit(2);
		}
	}
	if (!options.n_paths)
		options.paths[options.n_paths++] = sync_path;
	if (options.port <= 0 || options.concurrency <= 0 || options.concurrency > 4096) {
		fprintf(stderr, "usage: see the head of tests/correlate/load.c\n");
		exit(2);
	}
}

/* Bodies whose 100 Continue does not come are sent all the same, as clients do; answers that need
 * not come are not waited for. */
static void release_late(struct conn *conns)
{
	uint64_t now = now_ns();

	for (int i = 0; i < options.concurrency; i++) {
		struct conn *conn = &conns[i];

		if (conn->fd < 0)
			continue;
		if (conn->hold_at && conn->out_at == conn->hold_at &&
		    now - conn->hold_ns > 100000000)
			release_body(conn);
		/* What is no request may get no answer. */
		if (conn->sent[0].no_check && now - conn->sent[0].at_ns > 300000000) {
			close_conn(conn, false);
			go_on(conn);
		}
	}
}

static bool over(const struct conn *conns)
{
	uint64_t now = now_ns();

	if (now - state.moved_ns > STUCK_NS ||
	    now - state.begun_ns > (uint64_t)options.seconds * 1000000000u)
		return true;
	for (int i = 0; i < options.concurrency; i++)
		if (conns[i].fd >= 0)
			return false;
	return true;
}

static void serve(struct conn *conns)
{
	struct epoll_event events[256];

	for (uint64_t round = 0;; round++) {
		int n = epoll_wait(poller, events, 256, 50);

		for (int i = 0; i < n; i++) {
			struct conn *conn = events[i].data.ptr;
			int fd = conn->fd;

			if (fd >= 0 && conn->writable && (events[i].events & EPOLLOUT))
				on_writable(conn);
			if (fd >= 0 && conn->fd == fd && (events[i].events & (EPOLLIN | EPOLLHUP)))
				on_readable(conn);
		}
		if (n == 0 || round % 64 == 0) {
			release_late(conns);
			if (over(conns))
				return;
		}
	}
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int report(const struct conn *conns)
{
	double seconds = (double)(now_ns() - state.begun_ns) / 1e9;
	unsigned stuck = 0;

	for (int i = 0; i < options.concurrency; i++) {
		const struct conn *c = &conns[i];

		if (c->fd < 0)
			continue;
		stuck++;
		fprintf(stderr,
			"load: no answer %u of %u, status %d, %zu of %zu bytes sent: %.100s\n",
			c->n_answered + 1, c->n_sent, c->status, c->out_at, c->out_len, c->out);
	}
	qsort(state.latency_us, state.n_latencies, sizeof(uint32_t), compare);
	printf("{\"requests\":%llu,\"answers\":%llu,\"bad\":%llu,\"aborted\":%llu,\"retried\":%llu,"
	       "\"stuck\":%u,\"seconds\":%.3f,\"p50_us\":%u,\"p99_us\":%u}\n",
	       (unsigned long long)state.started, (unsigned long long)state.answered,
	       (unsigned long long)state.bad, (unsigned long long)state.aborted,
	       (unsigned long long)state.retried, stuck, seconds,
	       state.n_latencies ? state.latency_us[state.n_latencies / 2] : 0,
	       state.n_latencies ? state.latency_us[state.n_latencies * 99 / 100] : 0);
	return state.bad || !state.answered || stuck;
}

int main(int argc, char **argv)
{
	struct conn *conns;

	read_options(argc, argv);
	poller = epoll_create1(0);
	seed = now_ns() ^ (uint64_t)getpid() << 40;
	conns = calloc((size_t)options.concurrency, sizeof(*conns));
	state.latency_us = calloc(LATENCIES_MAX, sizeof(uint32_t));
	if (!conns || !state.latency_us || poller < 0)
		return 2;
	state.begun_ns = state.moved_ns = now_ns();
	for (int i = 0; i < options.concurrency; i++) {
		conns[i].fd = -1;
		go_on(&conns[i]);
	}
	serve(conns);
	return report(conns);
}
