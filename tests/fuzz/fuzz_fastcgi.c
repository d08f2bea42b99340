/* SPDX-License-Identifier: Apache-2.0 */
/* FastCGI from a hostile peer: whatever the bytes are and however they are cut, the parser tells
 * the same and never of a query. The first byte chooses the direction, the second the cuts. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "agent/correlate/fastcgi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct told {
	uint64_t hash;
	uint32_t begins, heads, ends;
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
	if (start->path.len && memchr(start->path.data, '?', start->path.len))
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

	if (++told->heads > told->begins)
		abort();
	return told->heads % 7 == 3 ? TL_HTTP1_STOP : TL_HTTP1_AS_SAID;
}

static void on_end(void *arg, uint64_t body_bytes)
{
	struct told *told = arg;

	add(arg, &body_bytes, sizeof(body_bytes));
	if (++told->ends > told->heads)
		abort();
}

static const struct tl_http1_ops ops = {on_begin, on_start, on_header, on_head, on_end};

static void run(const uint8_t *data, size_t size, bool response, unsigned seed, struct told *told)
{
	static struct tl_fastcgi parser;
	int status = 0;

	tl_fastcgi_init(&parser, response, &ops, told, &status);
	while (size) {
		size_t n = seed ? 1 + seed % 13 : size;

		seed = seed * 1103515245u + (seed ? 12345u : 0);
		n = n < size ? n : size;
		tl_fastcgi_feed(&parser, (const char *)data, n);
		data += n;
		size -= n;
	}
	told->hash += parser.broken;
	tl_fastcgi_skip(&parser, 100000);
	tl_fastcgi_reset(&parser);
	for (size_t i = 0; i < sizeof(parser.line); i++)
		if (parser.line[i])
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct told whole = {.hash = 1}, cut = {.hash = 1};

	if (size < 2)
		return 0;
	(void)tl_fastcgi_looks((struct tl_span){(const char *)data + 2, size - 2});
	run(data + 2, size - 2, data[0] & 1, 0, &whole);
	run(data + 2, size - 2, data[0] & 1, 1 + data[1], &cut);
	if (whole.hash != cut.hash || whole.begins != cut.begins || whole.ends != cut.ends)
		abort();
	return 0;
}
