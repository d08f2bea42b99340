/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/record/base64.h"

#include <errno.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void tl_base64_encode(struct tl_span s, char *out)
{
	const unsigned char *p = (const unsigned char *)s.data;

	for (size_t left = s.len; left; out += 4) {
		size_t take = left < 3 ? left : 3;
		unsigned v = (unsigned)p[0] << 16 | (take > 1 ? (unsigned)p[1] << 8 : 0) |
			     (take > 2 ? (unsigned)p[2] : 0);

		out[0] = alphabet[v >> 18];
		out[1] = alphabet[v >> 12 & 63];
		out[2] = take > 1 ? alphabet[v >> 6 & 63] : '=';
		out[3] = take > 2 ? alphabet[v & 63] : '=';
		p += take;
		left -= take;
	}
}

static int digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int tl_base64_decode(struct tl_span text, char *out, size_t *ret_len)
{
	size_t pad = 0, n = 0;

	if (text.len % 4)
		return -EINVAL;
	while (pad < 2 && pad < text.len && text.data[text.len - 1 - pad] == '=')
		pad++;
	for (size_t i = 0; i < text.len; i += 4) {
		size_t digits = i + 4 == text.len ? 4 - pad : 4;
		unsigned v = 0;

		for (size_t j = 0; j < 4; j++) {
			int d = j < digits ? digit(text.data[i + j]) : 0;

			if (d < 0)
				return -EINVAL;
			v = v << 6 | (unsigned)d;
		}
		/* Bits behind the last byte are zero, so that each body has one encoding. */
		if (v & ((1u << (4 - digits) * 8) - 1))
			return -EINVAL;
		for (size_t j = 0; j + 1 < digits; j++)
			out[n++] = (char)(v >> (16 - 8 * j));
	}
	*ret_len = n;
	return 0;
}
