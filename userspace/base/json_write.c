/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/base/json.h"
#include "userspace/base/json_scan.h"
#include "userspace/base/utf8.h"

/* What one special byte, or the sequence that it begins, becomes: to `out` (6 bytes at most).
 * Returns the bytes read and sets `*ret_len` to the bytes made. */
static inline size_t escape_one(const char *p, const char *end, char out[6], size_t *ret_len)
{
	static const char letters[0x20] = {
		['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
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

/* Copies plain bytes from `p` to `*out`, where there is room for all up to `end`. Returns the first
 * special one. A step is stored before it is known to be plain: what is too much is written over.
 */
static inline const char *copy_plain(char **out, const char *p, const char *end)
{
	char *to = *out;

#if defined(__SSE2__)
	for (; end - p >= 16; p += 16, to += 16) {
		unsigned bits = special_of_16(p, true);

		memcpy(to, p, 16);
		if (bits) {
			*out = to + __builtin_ctz(bits);
			return p + __builtin_ctz(bits);
		}
	}
#endif
	for (; end - p >= 8; p += 8, to += 8) {
		uint64_t bits = special_of_8(p, true);

		memcpy(to, p, 8);
		if (bits) {
			*out = to + __builtin_ctzll(bits) / 8;
			return p + __builtin_ctzll(bits) / 8;
		}
	}
	while (p < end && !is_special(*p, true))
		*to++ = *p++;
	*out = to;
	return p;
}

static inline bool make_room(struct tl_buf *out, size_t more)
{
	return out->cap - out->len >= more || tl_buf_reserve(out, more) == 0;
}

void tl_json_string(struct tl_buf *out, struct tl_span s)
{
	const char *p = s.data, *end = p + s.len;
	size_t begin = out->len;

	/* Invariant: there is room for all input that is left, as it is, and the closing quote. */
	if (!make_room(out, s.len + 2))
		return;
	out->data[out->len++] = '"';
	while (p < end) {
		size_t made, taken;
		char escaped[6], *to = out->data + out->len;

		p = copy_plain(&to, p, end);
		out->len = (size_t)(to - out->data);
		if (p == end)
			break;
		taken = escape_one(p, end, escaped, &made);
		if (!make_room(out, made + (size_t)(end - p) - taken + 1)) {
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
