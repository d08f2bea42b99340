/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 from a hostile peer: whatever the bytes are and however they are cut, the parser tells the
 * same, keeps within its budget, and leaves nothing behind. The first byte chooses where it begins,
 * the second the cuts. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "agent/correlate/http2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BUDGET (256u << 10)

struct told {
	uint64_t hash;
	uint64_t data_bytes;
};

static void add(struct told *told, const void *data, size_t len)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++)
		told->hash = (told->hash ^ p[i]) * UINT64_C(0x100000001b3);
	told->hash = (told->hash ^ len) * UINT64_C(0x100000001b3);
}

static void on_begin(void *arg, uint32_t stream)
{
	add(arg, &stream, sizeof(stream));
}

static void on_field(void *arg, struct tl_span name, struct tl_span value)
{
	add(arg, name.data, name.len);
	add(arg, value.data, value.len);
}

static void on_head(void *arg, uint32_t stream, bool unknown, bool end)
{
	uint32_t all[3] = {stream, unknown, end};

	add(arg, all, sizeof(all));
}

static void on_data(void *arg, uint32_t stream, uint64_t bytes, bool end)
{
	struct told *told = arg;

	told->data_bytes += bytes;
	if (end)
		add(arg, &stream, sizeof(stream));
}

static void on_reset(void *arg, uint32_t stream)
{
	add(arg, &stream, sizeof(stream));
}

static const struct tl_http2_ops ops = {on_begin, on_field, on_head, on_data, on_reset};

static void run(const uint8_t *data, size_t size, unsigned how, unsigned seed, struct told *told)
{
	struct tl_http2 parser;
	size_t used = 0;

	tl_http2_init(&parser, &ops, told, &used, BUDGET);
	if (how % 3 == 2)
		tl_http2_lost(&parser);
	else
		tl_http2_start(&parser, how % 3 == 1);
	while (size) {
		size_t n = seed ? 1 + seed % 13 : size;

		seed = seed * 1103515245u + (seed ? 12345u : 0);
		n = n < size ? n : size;
		tl_http2_feed(&parser, (const char *)data, n);
		data += n;
		size -= n;
		if (used > BUDGET)
			abort();
	}
	told->hash += parser.broken;
	tl_http2_skip(&parser, 100000);
	tl_http2_done(&parser);
	if (used)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct told whole = {.hash = 1}, cut = {.hash = 1};
	struct tl_span bytes = {(const char *)data + 2, size - 2};

	if (size < 2)
		return 0;
	(void)tl_http2_tiles(bytes);
	(void)tl_http2_sender(bytes);
	run(data + 2, size - 2, data[0], 0, &whole);
	run(data + 2, size - 2, data[0], 1 + data[1], &cut);
	if (whole.hash != cut.hash)
		abort();
	return 0;
}
