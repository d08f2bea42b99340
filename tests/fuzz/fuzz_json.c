/* SPDX-License-Identifier: Apache-2.0 */
/* JSON of any shape is walked without reading past its end, and any bytes that are written as a
 * string are read back (invalid UTF-8 aside). */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "userspace/base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* Every byte is looked at, so that a span outside of the document is an error here. */
static void touch(struct tl_span s)
{
	volatile char sum = 0;

	for (size_t i = 0; i < s.len; i++)
		sum = (char)(sum + s.data[i]);
}

static void walk(struct tl_span document, unsigned depth);

static void walk_value(const struct tl_json_value *value, unsigned depth)
{
	struct tl_buf text = {.max = 1 << 20};
	uint64_t number;

	touch(value->raw);
	if (value->type == TL_JSON_STRING)
		(void)tl_json_unescape(value->raw, &text);
	if (value->type == TL_JSON_NUMBER)
		(void)tl_json_u64(value, &number);
	if (value->type == TL_JSON_ARRAY || value->type == TL_JSON_OBJECT)
		walk(value->raw, depth + 1);
	tl_buf_done(&text);
}

static void walk(struct tl_span document, unsigned depth)
{
	struct tl_json_cursor cursor;
	struct tl_json_value value;
	struct tl_span key;

	must(depth <= TL_JSON_MAX_DEPTH + 1);
	if (tl_json_enter(&cursor, document) == 0 && document.data[0] == '{')
		while (tl_json_member(&cursor, &key, &value) == 1) {
			touch(key);
			walk_value(&value, depth);
		}
	if (tl_json_enter(&cursor, document) == 0 && document.data[0] == '[')
		while (tl_json_element(&cursor, &value) == 1)
			walk_value(&value, depth);
}

static void write_and_read(struct tl_span s)
{
	struct tl_buf out = {.max = 1 << 24}, back = {.max = 1 << 24};
	struct tl_json_value value;

	tl_buf_puts(&out, "{\"k\":");
	tl_json_string(&out, s);
	tl_buf_puts(&out, "}");
	must(!out.failed && tl_utf8_valid(tl_buf_span(&out)));
	must(tl_json_find(tl_buf_span(&out), "k", &value) == 1 && value.type == TL_JSON_STRING);
	must(tl_json_unescape(value.raw, &back) == 0);
	if (tl_utf8_valid(s))
		must(tl_span_eq(tl_buf_span(&back), s));
	tl_buf_done(&out);
	tl_buf_done(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tl_span document = {(const char *)data, size};

	walk(document, 0);
	write_and_read(document);
	return 0;
}
