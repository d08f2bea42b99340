/* SPDX-License-Identifier: Apache-2.0 */
/* JSON, written and read without a tree. RFC 8259. The writer escapes; the reader is a pull scanner
 * over one document in memory that never allocates: it finds keys and value spans, the caller
 * decodes what it wants. Depth and size are bounded. Pure functions, any thread. */
#ifndef TL_BASE_JSON_H
#define TL_BASE_JSON_H

#include "userspace/base/buf.h"

/* Appends `s` as a JSON string with its quotes. Bytes that are not valid UTF-8 are each written as
 * U+FFFD; use tl_utf8_valid first where the loss matters (record/record.h keeps such bodies
 * losslessly). */
void tl_json_string(struct tl_buf *out, struct tl_span s);

/* Appends `,` unless the buffer ends in `{` or `[` (or is empty), then `"key":`. `key` needs no
 * escaping. */
void tl_json_key(struct tl_buf *out, const char *key);

enum tl_json_type {
	TL_JSON_NULL,
	TL_JSON_BOOL,
	TL_JSON_NUMBER,
	TL_JSON_STRING, /* `raw` excludes the quotes, escapes still in */
	TL_JSON_ARRAY,	/* `raw` includes the brackets */
	TL_JSON_OBJECT, /* `raw` includes the braces */
};

struct tl_json_value {
	enum tl_json_type type;
	bool escaped;	    /* string with at least one backslash */
	struct tl_span raw; /* borrowed from the document */
};

#define TL_JSON_MAX_DEPTH 64

struct tl_json_cursor {
	const char *at, *end; /* private */
};

/* Begins at the object or array in `document` (leading white space skipped).
 * Errors: -EINVAL it does not begin with `{` or `[`. */
int tl_json_enter(struct tl_json_cursor *cursor, struct tl_span document);

/* Next member of an object: `*ret_key` is the raw key (without quotes, escapes in), `*ret_value`
 * its value. Returns 1 with a member, 0 at the closing brace, -EINVAL malformed or too deep. */
int tl_json_member(struct tl_json_cursor *cursor, struct tl_span *ret_key,
		   struct tl_json_value *ret_value);

/* Next element of an array; as tl_json_member. */
int tl_json_element(struct tl_json_cursor *cursor, struct tl_json_value *ret_value);

/* After 0 from member/element: true when only white space follows the document. */
bool tl_json_at_end(const struct tl_json_cursor *cursor);

/* Finds `key` among the top-level members. Returns 1 found, 0 absent, -EINVAL. */
int tl_json_find(struct tl_span object, const char *key, struct tl_json_value *ret_value);

/* Appends the string's characters with escapes decoded (lone surrogates become U+FFFD). Errors:
 * -EINVAL a bad escape; -ENOBUFS. */
int tl_json_unescape(struct tl_span raw, struct tl_buf *out);

/* Reads a number that fits. Returns 0, or -ERANGE / -EINVAL. */
int tl_json_u64(const struct tl_json_value *value, uint64_t *ret);

/* True when the bytes are well-formed UTF-8 (no surrogates, no overlong forms, <= U+10FFFF). */
bool tl_utf8_valid(struct tl_span s);

#endif
