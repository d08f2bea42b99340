/* SPDX-License-Identifier: Apache-2.0 */
/* Each framing of RFC 9112, whole, byte by byte and split in two at every place: all must tell the
 * same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "agent/correlate/http1.h"
#include "tests/fuzz/fuzz_http1.c"
#include "userspace/base/cleanup.h"

/* Writes what it is told as text. `answers` has one letter a response: H answers HEAD, C answers
 * CONNECT, else as said. */
struct transcript {
	struct tl_buf text;
	const char *answers;
	bool stop;
};

static void text_begin(void *arg)
{
	(void)arg;
}

static void text_start(void *arg, const struct tl_http1_start *start)
{
	struct transcript *t = arg;

	if (start->status)
		tl_buf_printf(&t->text, "%d", start->status);
	else
		tl_buf_printf(&t->text, "%.*s %.*s", (int)start->method.len, start->method.data,
			      (int)start->path.len, start->path.data);
}

static void text_header(void *arg, struct tl_span name, struct tl_span value)
{
	struct transcript *t = arg;

	tl_buf_printf(&t->text, " %.*s=%.*s", (int)name.len, name.data, (int)value.len, value.data);
}

static enum tl_http1_body text_head(void *arg)
{
	struct transcript *t = arg;
	char answer = t->answers && *t->answers ? *t->answers++ : ' ';

	tl_buf_puts(&t->text, ";");
	return answer == 'H'   ? TL_HTTP1_NO_BODY
	       : answer == 'C' ? TL_HTTP1_SWITCH
	       : answer == 'S' ? TL_HTTP1_STOP
			       : TL_HTTP1_AS_SAID;
}

static void text_end(void *arg, uint64_t body_bytes)
{
	struct transcript *t = arg;

	tl_buf_printf(&t->text, "[%llu]", (unsigned long long)body_bytes);
}

static const struct tl_http1_ops text_ops = {text_begin, text_start, text_header, text_head,
					     text_end};

static void finish(struct tl_http1 *parser, struct transcript *t, bool eof)
{
	if (eof)
		tl_http1_eof(parser);
	if (tl_http1_broken(parser))
		tl_buf_puts(&t->text, "!");
	else if (parser->state == TL_HTTP1_TUNNEL)
		tl_buf_puts(&t->text, "T");
	tl_buf_putc(&t->text, '\0');
	tl_http1_reset(parser);
}

/* Feeds `data` cut at a and b, and compares. */
static void check_cut(const char *data, size_t len, bool response, const char *answers, size_t a,
		      size_t b, const char *expected)
{
	struct transcript t = {.answers = answers};
	struct tl_http1 parser;

	tl_http1_init(&parser, response, &text_ops, &t);
	tl_http1_feed(&parser, data, a);
	tl_http1_feed(&parser, data + a, b - a);
	tl_http1_feed(&parser, data + b, len - b);
	finish(&parser, &t, true);
	if (strcmp(t.text.data, expected) != 0)
		fail_msg("cut at %zu and %zu of\n%s\ntold %s\nnot %s", a, b, data, t.text.data,
			 expected);
	tl_buf_done(&t.text);
}

static void check(const char *data, bool response, const char *answers, const char *expected)
{
	size_t len = strlen(data);
	struct transcript t = {.answers = answers};
	struct tl_http1 parser;

	check_cut(data, len, response, answers, 0, len, expected);
	for (size_t a = 0; a <= len; a++)
		check_cut(data, len, response, answers, a, len, expected);
	for (size_t a = 0; a < len; a++)
		check_cut(data, len, response, answers, a, a + 1, expected);
	tl_http1_init(&parser, response, &text_ops, &t);
	for (size_t i = 0; i < len; i++)
		tl_http1_feed(&parser, data + i, 1);
	finish(&parser, &t, true);
	assert_string_equal(t.text.data, expected);
	tl_buf_done(&t.text);
}

struct message {
	const char *data, *answers, *expected;
};

static const struct message requests[] = {
	{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", NULL, "GET / Host=a;[0]"},
	{"GET /a/b?secret=1#f HTTP/1.1\r\n\r\n", NULL, "GET /a/b;[0]"},
	{"GET http://u:p@h:80/x?q HTTP/1.1\r\n\r\n", NULL, "GET /x;[0]"},
	{"GET http://u:p@h?q HTTP/1.1\r\n\r\n", NULL, "GET /;[0]"},
	{"GET /r?to=http://x/y HTTP/1.1\r\n\r\n", NULL, "GET /r;[0]"},
	{"OPTIONS * HTTP/1.1\r\n\r\n", NULL, "OPTIONS *;[0]"},
	{"CONNECT h:443 HTTP/1.1\r\n\r\n", NULL, "CONNECT h:443;[0]"},
	{"GET / HTTP/1.0\n\n", NULL, "GET /;[0]"},
	{"\r\nGET / HTTP/1.1\r\nA:  b \t\r\nC:\r\n\r\n", NULL, "GET / A=b C=;[0]"},
	{"POST /p HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n", NULL,
	 "POST /p;[5]GET /;[0]"},
	{"POST /p HTTP/1.1\r\ncontent-length: 3\r\nContent-Length: 3\r\n\r\nabc", NULL,
	 "POST /p;[3]"},
	{"POST /p HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", NULL, "POST /p!"},
	{"POST /p HTTP/1.1\r\nContent-Length: -3\r\n\r\nabc", NULL, "POST /p!"},
	{"POST /p HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\nabc", NULL, "POST /p!"},
	{"POST /p HTTP/1.1\r\nTransfer-Encoding: "
	 "chunked\r\n\r\n4;x=y\r\nWiki\r\nA\r\n0123456789\r\n0\r\nX-Request-Id: t\r\n\r\nGET / "
	 "HTTP/1.1\r\n\r\n",
	 NULL, "POST /p;[14]GET /;[0]"},
	{"POST /p HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked\r\nContent-Length: "
	 "3\r\n\r\n0\r\n\r\n",
	 NULL, "POST /p;[0]"},
	{"POST /p HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", NULL, "POST /p;!"},
	{"POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
	 NULL, "POST /p!"},
	{"POST /p HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n", NULL, "POST /p!"},
	{"POST /p HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", NULL, "POST /p!"},
	{"POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nWikiX", NULL, "POST /p;!"},
	{"POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", NULL, "POST /p;!"},
	{"POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", NULL,
	 "POST /p;!"},
	{"GET / HTTP/1.1\r\nX-Request-Id: a\r\n b\r\n\r\n", NULL, "GET / X-Request-Id=a!"},
	{"GET / HTTP/1.1\r\nbad line\r\n\r\n", NULL, "GET /!"},
	{"GET / HTTP/1.1\r\nX Y: z\r\n\r\n", NULL, "GET /!"},
	{"GET / HTTP/1.1\r\nX: y\rZ: z\r\n\r\n", NULL, "GET / X=y\rZ: z!"},
	{"GET / HTTP/2.0\r\n\r\n", NULL, "!"},
	{"GET /\r\n\r\n", NULL, "!"},
	{"no http at all\r\n\r\n", NULL, "!"},
};

static const struct message responses[] = {
	{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 404 Not Found\r\nContent-Length: "
	 "0\r\n\r\n",
	 NULL, "200;[2]404;[0]"},
	{"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", NULL, "200;[0]"},
	{"HTTP/1.0 200 OK\r\n\r\nuntil the end", NULL, "200;[13]"},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nuntil", NULL, "200;[5]"},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: "
	 "1\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
	 NULL, "200;[3]204;[0]"},
	{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", NULL,
	 "100;200;[1]"},
	{"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 x\r\n\r\n", NULL,
	 "103 Link=a;204;[0]"},
	{"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nHTTP/1.1 304 Not "
	 "Modified\r\nContent-Length: 5\r\n\r\n",
	 "H ", "200;[0]304;[0]"},
	{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello", NULL,
	 "101 Upgrade=websocket;[0]T"},
	{"HTTP/1.1 200 Connected\r\n\r\nGET / HTTP/1.1\r\n\r\n", "C", "200;[0]T"},
	{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", " S",
	 "200;[0]200;!"},
	{"HTTP/1.1 20 OK\r\n\r\n", NULL, "!"},
	{"HTTP/1.1 2000 OK\r\n\r\n", NULL, "!"},
	{"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", NULL, "200;"},
};

static void every_framing_tells_the_same_wherever_it_is_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		check(requests[i].data, false, requests[i].answers, requests[i].expected);
	for (size_t i = 0; i < ARRAY_SIZE(responses); i++)
		check(responses[i].data, true, responses[i].answers, responses[i].expected);
}

static void check_skip(const char *head, uint64_t skipped, const char *tail, const char *expected)
{
	struct transcript t = {.answers = NULL};
	struct tl_http1 parser;

	tl_http1_init(&parser, true, &text_ops, &t);
	tl_http1_feed(&parser, head, strlen(head));
	tl_http1_skip(&parser, skipped);
	tl_http1_feed(&parser, tail, strlen(tail));
	finish(&parser, &t, true);
	assert_string_equal(t.text.data, expected);
	tl_buf_done(&t.text);
}

static void unseen_bytes_are_skipped_where_they_are_body_and_break_elsewhere(void **state)
{
	static const char next[] = "HTTP/1.1 204 x\r\n\r\n";

	(void)state;
	check_skip("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nab", 99998, next,
		   "200;[100000]204;[0]");
	check_skip("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nab", 50000, "x", "200;");
	check_skip("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab", 9, next, "200;[10]!");
	check_skip("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nab", 253,
		   "\r\n0\r\n\r\n", "200;[255]");
	check_skip("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nab", 255,
		   "0\r\n\r\n", "200;[255]");
	check_skip("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nab", 256, "",
		   "200;!");
	check_skip("HTTP/1.0 200 OK\r\n\r\nab", 1000, "", "200;[1002]");
	check_skip("HTTP/1.1 200 OK\r\nConte", 10, "", "200!");
	check_skip("HTTP/1.1 204 x\r\n\r\n", 1, "", "204;[0]!");
}

/* Feeds `line` in a request's head, in pieces of `piece` bytes. */
static void feed_pieces(struct tl_http1 *parser, const char *data, size_t len, size_t piece)
{
	for (size_t at = 0; at < len; at += piece)
		tl_http1_feed(parser, data + at, len - at < piece ? len - at : piece);
}

static void long_lines_are_skipped_unless_they_frame_the_message(void **state)
{
	static const size_t pieces[] = {1, 7, 4096, SIZE_MAX / 2};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		_cleanup_(freep) char *big = malloc(20001);
		struct transcript t = {.answers = NULL};
		struct tl_http1 parser;

		memset(big, 'c', 20000);
		big[20000] = '\0';
		tl_http1_init(&parser, false, &text_ops, &t);
		feed_pieces(&parser, "GET / HTTP/1.1\r\nCookie: ", 24, pieces[i]);
		feed_pieces(&parser, big, 20000, pieces[i]);
		feed_pieces(&parser, "\r\nA: b\r\n\r\nGET /", 15, pieces[i]);
		feed_pieces(&parser, big, 20000, pieces[i]);
		feed_pieces(&parser, " HTTP/1.1\r\n\r\n", 13, pieces[i]);
		finish(&parser, &t, false);
		assert_string_equal(t.text.data, "GET / A=b;[0]!");
		tl_buf_done(&t.text);
	}
}

static void an_endless_head_breaks(void **state)
{
	struct transcript t = {.answers = NULL};
	struct tl_http1 parser;

	(void)state;
	tl_http1_init(&parser, false, &text_ops, &t);
	tl_http1_feed(&parser, "GET / HTTP/1.1\r\n", 16);
	for (int i = 0; i < TL_HTTP1_HEAD_MAX / 8 + 1; i++)
		tl_http1_feed(&parser, "A?: bc\r\n", 8);
	assert_true(tl_http1_broken(&parser));
	tl_http1_reset(&parser);
	tl_buf_done(&t.text);
}

static void methods_and_statuses_are_recognised_by_their_first_bytes(void **state)
{
	(void)state;
	assert_int_equal(tl_http1_looks_request(TL_SPAN_LIT("GET /")), 2);
	assert_int_equal(tl_http1_looks_request(TL_SPAN_LIT("GE")), 1);
	assert_int_equal(tl_http1_looks_request(TL_SPAN_LIT("GETX /")), 0);
	assert_int_equal(tl_http1_looks_request(TL_SPAN_LIT("ET / HTTP/1.1")), 0);
	assert_int_equal(tl_http1_looks_request(TL_SPAN_LIT("get /")), 0);
	assert_int_equal(tl_http1_looks_request(TL_SPAN_LIT("PRI * HTTP/2.0")), 0);
	assert_int_equal(tl_http1_looks_response(TL_SPAN_LIT("HTTP/1.1 200")), 2);
	assert_int_equal(tl_http1_looks_response(TL_SPAN_LIT("HTTP")), 1);
	assert_int_equal(tl_http1_looks_response(TL_SPAN_LIT("HTTP/2 200")), 0);
}

/* Pieces of HTTP in random order, then damaged: the fuzz entry aborts when cutting changes what is
 * told. */
static void any_chunking_of_anything_gives_the_same_result(void **state)
{
	unsigned seed = 20261124;
	uint8_t input[2048];

	(void)state;
	for (int round = 0; round < 60000; round++) {
		size_t len = 2;

		for (int part = 0; part < 4; part++) {
			size_t pick = (size_t)rand_r(&seed), n;
			const char *text = pick & 64 ? requests[pick % ARRAY_SIZE(requests)].data
						     : responses[pick % ARRAY_SIZE(responses)].data;

			n = strlen(text);
			memcpy(input + len, text, n);
			len += n;
		}
		input[0] = (uint8_t)rand_r(&seed);
		input[1] = (uint8_t)rand_r(&seed);
		for (int damage = rand_r(&seed) % 4; damage > 0; damage--)
			input[2 + (size_t)rand_r(&seed) % (len - 2)] = (uint8_t)rand_r(&seed);
		LLVMFuzzerTestOneInput(input, len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_framing_tells_the_same_wherever_it_is_split),
		cmocka_unit_test(unseen_bytes_are_skipped_where_they_are_body_and_break_elsewhere),
		cmocka_unit_test(long_lines_are_skipped_unless_they_frame_the_message),
		cmocka_unit_test(an_endless_head_breaks),
		cmocka_unit_test(methods_and_statuses_are_recognised_by_their_first_bytes),
		cmocka_unit_test(any_chunking_of_anything_gives_the_same_result),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
