/* SPDX-License-Identifier: Apache-2.0 */
/* From a value's raw text to what it means. */
#include <errno.h>

#include "userspace/base/json.h"
#include "userspace/base/json_scan.h"
#include "userspace/base/utf8.h"

static unsigned hex_value(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

static unsigned read_hex4(const char *p)
{
	return hex_value(p[0]) << 12 | hex_value(p[1]) << 8 | hex_value(p[2]) << 4 |
	       hex_value(p[3]);
}

/* Decodes the `\uXXXX` at `p` (checked), and its second half when it is a pair. Returns the byte
 * after. */
static const char *decode_unicode(const char *p, const char *end, struct tl_buf *out)
{
	unsigned code = read_hex4(p + 2), low;
	char bytes[4];

	p += 6;
	if (code >= 0xd800 && code <= 0xdfff) {
		bool pair = code < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u' &&
			    skip_escape(p, end);

		low = pair ? read_hex4(p + 2) : 0;
		if (low >= 0xdc00 && low <= 0xdfff) {
			code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
			p += 6;
		} else {
			code = 0xfffd;
		}
	}
	tl_buf_add(out, bytes, tl_utf8_encode(code, bytes));
	return p;
}

static int unescape(const char *p, const char *end, struct tl_buf *out)
{
	static const char meaning[128] = {['"'] = '"',	['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
					  ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};

	while (p < end) {
		const char *slash = memchr(p, '\\', (size_t)(end - p)), *after;

		if (!slash)
			return tl_buf_add(out, p, (size_t)(end - p));
		tl_buf_add(out, p, (size_t)(slash - p));
		after = skip_escape(slash, end);
		if (!after)
			return -EINVAL;
		if (slash[1] == 'u')
			after = decode_unicode(slash, end, out);
		else
			tl_buf_putc(out, meaning[(unsigned char)slash[1]]);
		p = after;
	}
	return 0;
}

int tl_json_unescape(struct tl_span raw, struct tl_buf *out)
{
	size_t begin = out->len;
	bool failed_before = out->failed;
	int r = 0;

	if (raw.len == 0)
		return 0;
	out->failed = false;
	r = unescape(raw.data, raw.data + raw.len, out);
	if (r == 0 && out->failed)
		r = -ENOBUFS;
	if (r < 0)
		out->len = begin;
	out->failed |= failed_before;
	return r;
}

int tl_json_u64(const struct tl_json_value *value, uint64_t *ret)
{
	const char *p = value->raw.data, *end = p + value->raw.len;
	bool negative = p < end && *p == '-', out_of_range = negative;
	uint64_t v = 0;

	if (value->type != TL_JSON_NUMBER)
		return -EINVAL;
	for (p += negative; p < end; p++) {
		if (*p < '0' || *p > '9')
			return -EINVAL;
		out_of_range |= __builtin_mul_overflow(v, 10, &v) ||
				__builtin_add_overflow(v, (uint64_t)(*p - '0'), &v);
	}
	if (out_of_range)
		return -ERANGE;
	*ret = v;
	return 0;
}
