/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/base/utf8.h"

#include "userspace/base/json.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static bool is_tail(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

size_t tl_utf8_sequence(const char *p, const char *end)
{
	unsigned char first = (unsigned char)*p;
	unsigned char second;

	if (p >= end)
		return 0;
	if (first < 0x80)
		return 1;
	if (first < 0xc2 || first > 0xf4 || end - p < 2 || !is_tail(p[1]))
		return 0;
	if (first < 0xe0)
		return 2;
	/* The second byte alone decides about overlong forms, surrogates and the end of Unicode. */
	second = (unsigned char)p[1];
	if (first < 0xf0) {
		if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f))
			return 0;
		return end - p >= 3 && is_tail(p[2]) ? 3 : 0;
	}
	if ((first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f))
		return 0;
	return end - p >= 4 && is_tail(p[2]) && is_tail(p[3]) ? 4 : 0;
}

size_t tl_utf8_encode(unsigned code, char out[4])
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (char)(0xe0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3f));
		out[2] = (char)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | code >> 18);
	out[1] = (char)(0x80 | (code >> 12 & 0x3f));
	out[2] = (char)(0x80 | (code >> 6 & 0x3f));
	out[3] = (char)(0x80 | (code & 0x3f));
	return 4;
}

/* The first byte past ASCII in whole steps from `p`; at most a step before `end`. */
static const char *skip_ascii(const char *p, const char *end)
{
#if defined(__SSE2__)
	for (; end - p >= 32; p += 32) {
		__m128i a = _mm_loadu_si128((const __m128i *)p);
		__m128i b = _mm_loadu_si128((const __m128i *)(p + 16));

		if (_mm_movemask_epi8(_mm_or_si128(a, b)))
			break;
	}
#endif
	for (; end - p >= 8; p += 8) {
		uint64_t v;

		memcpy(&v, p, sizeof(v));
		if (v & UINT64_C(0x8080808080808080))
			break;
	}
	return p;
}

bool tl_utf8_valid(struct tl_span s)
{
	const char *p = s.data, *end = p + s.len;

	while (p < end) {
		size_t n;

		if ((unsigned char)*p < 0x80) {
			const char *after = skip_ascii(p, end);

			p = after == p ? p + 1 : after;
			continue;
		}
		n = tl_utf8_sequence(p, end);
		if (!n)
			return false;
		p += n;
	}
	return true;
}
