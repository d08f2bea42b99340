/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/base/json.h"
#include "userspace/base/json_scan.h"
#include "userspace/base/utf8.h"

/* What one special byte, or the sequence that it begins, becomes: to `out` (6 bytes at most).
 * Returns the bytes read and sets `*ret_len` to the bytes made. */
static size_t escape_one(const char *p, const char *end, char out[6], size_t *ret_len)
{
	static const char letters[0x20] = {
		['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'
	};
	static const char hex[] = "0123456789abcdef";
	unsigned char c = (unsigned char)*p;
	size_t sequence;

	if (c == '"' || c == '\\' || (c < 0x20 && letters[c])) {
		out[0] = '\\';
		out[1] = c < 0x20 ? letters[c] : (char)c;
		*ret_len = 2;
		return 1;
	}
	if (c < 0x20) {
		memcpy(out, "\\u00", 4);
		out[4] = hex[c >> 4];
		out[5] = hex[c & 15];
		*ret_len = 6;
		return 1;
	}
	sequence = tl_utf8_sequence(p, end);
	if (sequence) {
		memcpy(out, p, sequence);
		*ret_len = sequence;
		return sequence;
	}
	memcpy(out, "\xef\xbf\xbd", 3);
	*ret_len = 3;
	return 1;
}

/* Copies plain bytes from `p`; the caller made room for all up to `end`. Returns the first special
 * one. */
static const char *copy_plain(struct tl_buf *out, const char *p, const char *end)
{
	const char *special = find_special(p, end, true);
	size_t n = (size_t)(special - p);

	memcpy(out->data + out->len, p, n);
	out->len += n;
	return special;
}

void tl_json_string(struct tl_buf *out, struct tl_span s)
{
	const char *p = s.data, *end = p + s.len;
	size_t begin = out->len;

	/* Invariant: there is room for all input that is left, as it is, and the closing quote. */
	if (tl_buf_reserve(out, s.len + 2) < 0)
		return;
	out->data[out->len++] = '"';
	while (p < end) {
		char escaped[6];
		size_t made, taken;

		p = copy_plain(out, p, end);
		if (p == end)
			break;
		taken = escape_one(p, end, escaped, &made);
		if (tl_buf_reserve(out, made + (size_t)(end - p) - taken + 1) < 0) {
			out->len = begin;
			return;
		}
		memcpy(out->data + out->len, escaped, made);
		out->len += made;
		p += taken;
	}
	out->data[out->len++] = '"';
}

void tl_json_key(struct tl_buf *out, const char *key)
{
	size_t len = strlen(key);
	char last = out->len ? out->data[out->len - 1] : '{';
	char *p;

	if (tl_buf_reserve(out, len + 4) < 0)
		return;
	p = out->data + out->len;
	if (last != '{' && last != '[')
		*p++ = ',';
	*p++ = '"';
	memcpy(p, key, len);
	p += len;
	*p++ = '"';
	*p++ = ':';
	out->len = (size_t)(p - out->data);
}
