/* SPDX-License-Identifier: Apache-2.0 */
/* tl_http2: frames and headers in any pieces, from the first byte and from the middle. The peer's
 * encoder is libnghttp2's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "agent/correlate/http2.h"
#include "tests/unit/h2_fixture.h"

#define BUDGET (256u << 10)

struct told {
	struct tl_buf text; /* what was told, one event a line */
	unsigned blocks, unknown, fields;
	size_t used;
};

static void on_begin(void *arg, uint32_t stream)
{
	tl_buf_printf(&((struct told *)arg)->text, "begin %u\n", stream);
}

static void on_field(void *arg, struct tl_span name, struct tl_span value)
{
	struct told *told = arg;

	if (tl_span_is(name, "?"))
		return;
	told->fields++;
	tl_buf_printf(&told->text, "%.*s=%.*s\n", (int)name.len, name.data, (int)value.len,
		      value.data);
}

static void on_head(void *arg, uint32_t stream, bool unknown, bool end)
{
	struct told *told = arg;

	told->blocks++;
	told->unknown += unknown;
	tl_buf_printf(&told->text, "head %u%s%s\n", stream, unknown ? " unknown" : "",
		      end ? " end" : "");
}

static void on_data(void *arg, uint32_t stream, uint64_t bytes, bool end)
{
	struct told *told = arg;

	/* Cut data is told in pieces: only ends are compared. */
	(void)bytes;
	if (end)
		tl_buf_printf(&told->text, "end %u\n", stream);
}

static void on_reset(void *arg, uint32_t stream)
{
	tl_buf_printf(&((struct told *)arg)->text, "reset %u\n", stream);
}

static const struct tl_http2_ops ops = {on_begin, on_field, on_head, on_data, on_reset};

static void parser_init(struct tl_http2 *parser, struct told *told)
{
	*told = (struct told){0};
	tl_http2_init(parser, &ops, told, &told->used, BUDGET);
}

static void parser_done(struct tl_http2 *parser, struct told *told)
{
	tl_http2_done(parser);
	assert_int_equal(told->used, 0);
	tl_buf_done(&told->text);
}

static const char *const get_a[] = {":method", "GET",	       ":path", "/a?b", ":scheme",
				    "http",    "x-request-id", "id-a",	NULL};
static const char *const get_b[] = {":method", "GET", ":path", "/b", "x-request-id",
				    "id-a",    "te",  "x",     NULL};
static const char *const trailers[] = {"grpc-status", "0", NULL};

/* A client's direction with all that frames can have. */
static void write_all(struct h2_peer *peer)
{
	h2_open(peer);
	tl_buf_puts(&peer->out, TL_HTTP2_PREFACE);
	h2_frame(peer, H2_SETTINGS, 0, 0, "\0\3\0\0\0d", 6);
	h2_headers(peer, 1, true, (struct h2_shape){0}, get_a);
	h2_headers(peer, 3, false, (struct h2_shape){.pad = 7, .priority = true, .pieces = 3},
		   get_b);
	h2_frame(peer, H2_DATA, 0, 3, "some body", 9);
	h2_frame(peer, H2_PING, 0, 0, "12345678", 8);
	h2_frame(peer, H2_DATA, 0x8, 3, "\3bodypad", 8);
	h2_frame(peer, 0xbe, 0, 0, "an extension", 12);
	h2_headers(peer, 3, true, (struct h2_shape){.pad = 1}, trailers);
	h2_headers(peer, 5, false, (struct h2_shape){.pieces = 2}, get_a);
	h2_frame(peer, H2_RST, 0, 5, "\0\0\0\0", 4);
	h2_headers(peer, 7, false, (struct h2_shape){0}, get_a);
	h2_frame(peer, H2_DATA, 0x1, 7, NULL, 0);
}

static const char all[] =
	"begin 1\n:method=GET\n:path=/a?b\n:scheme=http\nx-request-id=id-a\nhead 1 end\n"
	"begin 3\n:method=GET\n:path=/b\nx-request-id=id-a\nte=x\nhead 3\n"
	"begin 3\ngrpc-status=0\nhead 3 end\n"
	"begin 5\n:method=GET\n:path=/a?b\n:scheme=http\nx-request-id=id-a\nhead 5\nreset 5\n"
	"begin 7\n:method=GET\n:path=/a?b\n:scheme=http\nx-request-id=id-a\nhead 7\nend 7\n";

static void all_of_a_direction_is_told_however_it_is_cut(void **state)
{
	struct h2_peer peer;

	(void)state;
	write_all(&peer);
	for (size_t piece = 1; piece <= peer.out.len;
	     piece = piece < 40 ? piece + 1 : peer.out.len + (piece >= peer.out.len)) {
		struct tl_http2 parser;
		struct told told;

		parser_init(&parser, &told);
		tl_http2_start(&parser, true);
		for (size_t at = 0; at < peer.out.len; at += piece)
			tl_http2_feed(&parser, peer.out.data + at,
				      peer.out.len - at < piece ? peer.out.len - at : piece);
		assert_false(parser.broken);
		assert_int_equal(told.text.len, sizeof(all) - 1);
		assert_memory_equal(told.text.data, all, sizeof(all) - 1);
		assert_int_equal(parser.fed, peer.out.len);
		parser_done(&parser, &told);
	}
	h2_close(&peer);
}

static void bodies_may_be_unseen_and_headers_may_not(void **state)
{
	struct tl_http2 parser;
	struct told told;
	struct h2_peer peer;

	(void)state;
	h2_open(&peer);
	h2_headers(&peer, 1, false, (struct h2_shape){0}, get_a);
	h2_frame(&peer, H2_DATA, 0x1, 1, "0123456789", 10);
	parser_init(&parser, &told);
	tl_http2_start(&parser, false);
	tl_http2_feed(&parser, peer.out.data, peer.out.len - 8);
	tl_http2_skip(&parser, 8);
	assert_false(parser.broken);
	assert_memory_equal(told.text.data + told.text.len - 6, "end 1\n", 6);
	tl_http2_skip(&parser, 3);
	assert_true(parser.broken);
	parser_done(&parser, &told);
	h2_close(&peer);
}

/* Bytes of a block that were not seen: the fields are unknown, the frames are not. */
static void a_block_that_is_seen_in_part_makes_the_table_unknown(void **state)
{
	struct tl_http2 parser;
	struct told told;
	struct h2_peer peer;

	(void)state;
	h2_open(&peer);
	h2_headers(&peer, 1, true, (struct h2_shape){0}, get_a);
	parser_init(&parser, &told);
	tl_http2_start(&parser, false);
	tl_http2_feed(&parser, peer.out.data, 9 + 2);
	tl_http2_skip(&parser, peer.out.len - 11);
	assert_int_equal(told.unknown, 1);
	peer.out.len = 0;
	h2_headers(&peer, 3, true, (struct h2_shape){0}, get_a);
	tl_http2_feed(&parser, peer.out.data, peer.out.len);
	/* All its fields but those of the static table are entries that were never seen. */
	assert_int_equal(told.unknown, 2);
	assert_false(parser.broken);
	assert_null(memmem(told.text.data, told.text.len, "id-a", 4));
	parser_done(&parser, &told);
	h2_close(&peer);
}

static void what_is_no_http2_breaks(void **state)
{
	static const char *const bad[] = {"PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n",
					  "GET / HTTP/1.1\r\n\r\n"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct tl_http2 parser;
		struct told told;

		parser_init(&parser, &told);
		tl_http2_start(&parser, true);
		tl_http2_feed(&parser, bad[i], strlen(bad[i]));
		assert_true(parser.broken);
		parser_done(&parser, &told);
	}
}

static unsigned draw(unsigned *seed, unsigned n)
{
	*seed = *seed * 1103515245u + 12345u;
	return (*seed >> 16) % n;
}

/* A random header block; `text` gets what must be told of it. */
static void random_block(struct h2_peer *peer, unsigned *seed, uint32_t stream, struct tl_buf *text)
{
	static const char *const names[] = {"x-request-id", "traceparent", "cookie",
					    "a-name-of-some-length", ":path"};
	char values[8][120];
	const char *fields[20] = {":method", "POST"};
	size_t n = 1 + draw(seed, 6);

	tl_buf_clear(text);
	tl_buf_puts(text, ":method=POST\n");
	for (size_t i = 1; i <= n; i++) {
		unsigned len = 1 + draw(seed, draw(seed, 8) ? 20 : 100);

		/* Few different ones, so that the table is used; one that is new, so that it turns.
		 */
		memset(values[i], 'a' + (int)draw(seed, 6), len);
		values[i][len] = '\0';
		if (i == 1)
			snprintf(values[i], sizeof(values[i]), "unlike-any-other-%u", stream);
		fields[2 * i] = names[draw(seed, 5)];
		fields[2 * i + 1] = values[i];
		tl_buf_printf(text, "%s=%s\n", fields[2 * i], fields[2 * i + 1]);
	}
	fields[2 * n + 2] = NULL;
	if (draw(seed, 40) == 0)
		nghttp2_hd_deflate_change_table_size(peer->deflater, 256u << draw(seed, 6));
	h2_headers(peer, stream, true, (struct h2_shape){.pieces = 1 + draw(seed, 3)}, fields);
}

/* Every line that was told of the block is the truth, in its order; returns whether all were. */
static bool agrees(const struct told *told, struct tl_span truth)
{
	const char *at = truth.data, *end = truth.data + truth.len;
	size_t from = 0;

	while (from < told->text.len) {
		const char *line = told->text.data + from;
		size_t len =
			(size_t)((const char *)memchr(line, '\n', told->text.len - from) - line) +
			1;

		from += len;
		if (memmem(line, len, "begin", 5) == line || memmem(line, len, "head", 4) == line)
			continue;
		for (;; at++) {
			assert_true(at + len <= end); /* told, and not true */
			if (memcmp(at, line, len) == 0 && (at == truth.data || at[-1] == '\n'))
				break;
		}
		at += len;
	}
	return at == end && !told->unknown;
}

/* The decoder comes in the middle, or misses blocks: what it tells is true, and after a while it is
 * all. */
static void from_the_middle_nothing_false_is_told_and_soon_all(void **state)
{
	unsigned whole = 0, late = 0;

	(void)state;
	for (unsigned run = 0; run < 200; run++) {
		struct tl_buf truth = {0};
		struct tl_http2 parser;
		struct told told;
		struct h2_peer peer;
		unsigned seed = run;

		h2_open(&peer);
		parser_init(&parser, &told);
		for (unsigned i = 0; i < 300; i++) {
			peer.out.len = 0;
			random_block(&peer, &seed, 1 + 2 * i, &truth);
			if (i < 30 || (run % 4 == 0 && i == 60)) /* not seen */
				continue;
			if (i == 30 || i == 61)
				tl_http2_lost(&parser);
			tl_buf_clear(&told.text);
			told.unknown = 0;
			tl_http2_feed(&parser, peer.out.data, peer.out.len);
			assert_false(parser.broken);
			whole += agrees(&told, tl_buf_span(&truth)) && i >= 200;
			late += i >= 200;
			assert_true(told.used <= BUDGET);
		}
		parser_done(&parser, &told);
		tl_buf_done(&truth);
		h2_close(&peer);
	}
	/* What an encoder never enters anew stays unknown. */
	assert_true(whole > late * 3 / 4);
}

static void frames_that_tile_a_call_are_found_in_the_middle(void **state)
{
	struct h2_peer peer;

	(void)state;
	h2_open(&peer);
	h2_headers(&peer, 9, false, (struct h2_shape){0}, get_a);
	assert_true(tl_http2_tiles(tl_buf_span(&peer.out)));
	assert_int_equal(tl_http2_sender(tl_buf_span(&peer.out)), 1);
	h2_frame(&peer, H2_DATA, 0, 9, "0123456789", 10);
	assert_true(tl_http2_tiles((struct tl_span){peer.out.data, peer.out.len - 4}));
	/* Neither from within, nor other protocols. */
	assert_false(tl_http2_tiles((struct tl_span){peer.out.data + 1, peer.out.len - 1}));
	assert_false(tl_http2_tiles(TL_SPAN_LIT("HTTP/1.1 200 OK\r\n\r\n")));
	assert_false(tl_http2_tiles(TL_SPAN_LIT("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")));
	h2_close(&peer);
}

static void no_memory_makes_fields_unknown_and_goes_on(void **state)
{
	struct tl_http2 parser;
	struct told told;
	struct h2_peer peer;

	(void)state;
	write_all(&peer);
	parser_init(&parser, &told);
	parser.used_max = 600;
	tl_http2_start(&parser, true);
	tl_http2_feed(&parser, peer.out.data, peer.out.len);
	assert_false(parser.broken);
	assert_int_equal(told.blocks, 5);
	assert_int_equal(told.unknown, 5);
	parser_done(&parser, &told);
	h2_close(&peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_of_a_direction_is_told_however_it_is_cut),
		cmocka_unit_test(bodies_may_be_unseen_and_headers_may_not),
		cmocka_unit_test(a_block_that_is_seen_in_part_makes_the_table_unknown),
		cmocka_unit_test(what_is_no_http2_breaks),
		cmocka_unit_test(from_the_middle_nothing_false_is_told_and_soon_all),
		cmocka_unit_test(frames_that_tile_a_call_are_found_in_the_middle),
		cmocka_unit_test(no_memory_makes_fields_unknown_and_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
