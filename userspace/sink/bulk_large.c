/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSearch refuses a whole document when one value of a flat_object is longer than a term of its
 * index may be (32,766 bytes; there is no ignore_above for this type). Such values, mostly
 * log.body.base64, move to the member `unindexed`, which the mapping does not know: they are kept
 * and shown, only not searched. */
#include <errno.h>

#include "userspace/base/json.h"
#include "userspace/sink/bulk.h"

#define PATH_ROOM 64 /* the term is "attributes.KEY=VALUE" */

static void add_member(struct tl_buf *out, struct tl_span key, const struct tl_json_value *value)
{
	const char *quote = value->type == TL_JSON_STRING ? "\"" : "";

	if (out->len && out->data[out->len - 1] != '{')
		tl_buf_putc(out, ',');
	tl_buf_putc(out, '"');
	tl_buf_add(out, key.data, key.len);
	tl_buf_puts(out, "\":");
	tl_buf_puts(out, quote);
	tl_buf_add(out, value->raw.data, value->raw.len);
	tl_buf_puts(out, quote);
}

/* Copies an object without its long values, which go to `large`. Escapes only shorten, so raw
 * lengths are on the safe side. */
static int sift(struct tl_span object, struct tl_buf *out, struct tl_buf *large)
{
	struct tl_json_cursor cursor;
	struct tl_json_value value;
	struct tl_span key;
	int r = tl_json_enter(&cursor, object);

	tl_buf_putc(out, '{');
	while (r == 0 && (r = tl_json_member(&cursor, &key, &value)) == 1) {
		add_member(key.len + value.raw.len + PATH_ROOM > TL_BULK_TERM_MAX ? large : out,
			   key, &value);
		r = 0;
	}
	tl_buf_putc(out, '}');
	return r < 0 ? -EINVAL : 0;
}

static int sift_document(struct tl_span document, struct tl_buf *out, struct tl_buf *large)
{
	struct tl_json_cursor cursor;
	struct tl_json_value value;
	struct tl_span key;
	int r = tl_json_enter(&cursor, document);

	tl_buf_putc(out, '{');
	while (r == 0 && (r = tl_json_member(&cursor, &key, &value)) == 1) {
		if (value.type != TL_JSON_OBJECT) {
			add_member(out, key, &value);
			r = 0;
			continue;
		}
		add_member(out, key, &(struct tl_json_value){.type = TL_JSON_OBJECT});
		r = sift(value.raw, out, large);
	}
	return r < 0 ? -EINVAL : 0;
}

int tl_bulk_sift(struct tl_span document, struct tl_buf *out)
{
	_cleanup_(tl_buf_done) struct tl_buf large = {0};
	size_t start = out->len;
	int r = sift_document(document, out, &large);

	if (r == 0 && large.len) {
		tl_buf_puts(out, ",\"unindexed\":{");
		tl_buf_add(out, large.data, large.len);
		tl_buf_puts(out, "}}");
		if (!out->failed && !large.failed)
			return 1;
		r = -ENOBUFS;
	}
	out->len = start;
	return r;
}
