/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1 from a hostile peer: whatever the bytes are and however they are cut, the parser tells the
 * same, buffers no more than it may, and leaves nothing behind. The first byte chooses the
 * direction, the next ones the cuts. libFuzzer calls the entry; tests/unit/test_http1.c calls it in
 * a bounded loop. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "agent/correlate/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BUDGET 65536

/* What was told, in a form that can be compared. */
struct told {
	uint64_t hash;
	uint32_t begins, ends;
};

static void add(struct told *told, const void *data, size_t len)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++)
		told->hash = (told->hash ^ p[i]) * UINT64_C(0x100000001b3);
	told->hash = (told->hash ^ len) * UINT64_C(0x100000001b3);
}

static void on_begin(void *arg)
{
	((struct told *)arg)->begins++;
}

static void on_start(void *arg, const struct tl_http1_start *start)
{
	add(arg, start->method.data, start->method.len);
	add(arg, start->path.data, start->path.len);
	add(arg, &start->status, sizeof(start->status));
	/* No query ever. */
	if (start->path.len && (memchr(start->path.data, '?', start->path.len) ||
				memchr(start->path.data, '#', start->path.len)))
		abort();
}

static void on_header(void *arg, struct tl_span name, struct tl_span value)
{
	add(arg, name.data, name.len);
	add(arg, value.data, value.len);
}

static enum tl_http1_body on_head(void *arg)
{
	struct told *told = arg;

	return told->begins % 7 == 3 ? TL_HTTP1_NO_BODY : TL_HTTP1_AS_SAID;
}

static void on_end(void *arg, uint64_t body_bytes)
{
	struct told *told = arg;

	told->ends++;
	add(told, &body_bytes, sizeof(body_bytes));
}

static const struct tl_http1_ops ops = {on_begin, on_start, on_header, on_head, on_end};

static void run(const uint8_t *data, size_t size, bool response, unsigned seed, struct told *told,
		uint8_t *ret_state)
{
	struct tl_http1 parser;
	size_t used = 0;

	tl_http1_init(&parser, response, &ops, told);
	parser.used = &used;
	parser.used_max = BUDGET;
	while (size) {
		size_t n = seed ? 1 + seed % 13 : size;

		seed = seed * 1103515245u + (seed ? 12345u : 0);
		n = n < size ? n : size;
		tl_http1_feed(&parser, (const char *)data, n);
		data += n;
		size -= n;
		if (used > BUDGET)
			abort();
	}
	tl_http1_eof(&parser);
	*ret_state = parser.state;
	tl_http1_skip(&parser, 100000);
	tl_http1_reset(&parser);
	if (used || parser.line)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct told whole = {.hash = 1}, cut = {.hash = 1};
	uint8_t state_whole, state_cut;

	if (size < 2)
		return 0;
	run(data + 2, size - 2, data[0] & 1, 0, &whole, &state_whole);
	run(data + 2, size - 2, data[0] & 1, 1 + data[1], &cut, &state_cut);
	if (whole.hash != cut.hash || whole.begins != cut.begins || whole.ends != cut.ends ||
	    state_whole != state_cut)
		abort();
	return 0;
}
