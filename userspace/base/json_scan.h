/* SPDX-License-Identifier: Apache-2.0 */
/* Private to json*.c: finding the next byte of a string that is not plain. Strings are walked 16
 * bytes a step with SSE2 (which every x86-64 has, so nothing is dispatched) or 8 elsewhere; the
 * last bytes of a document one by one, because nothing past its end may be touched. */
#ifndef TL_BASE_JSON_SCAN_H
#define TL_BASE_JSON_SCAN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>

/* One bit for each of 16 bytes that is a quote, a backslash, a control byte or, for the writer,
 * past ASCII. */
static inline unsigned special_of_16(const char *p, bool writer)
{
	__m128i v = _mm_loadu_si128((const __m128i *)p);
	__m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
	__m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
						_mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))),
				   control);

	/* movemask reads the top bit, which bytes past ASCII have themselves. */
	if (writer)
		hit = _mm_or_si128(hit, v);
	return (unsigned)_mm_movemask_epi8(hit);
}
#endif

#define TL_ONES UINT64_C(0x0101010101010101)
#define TL_TOPS UINT64_C(0x8080808080808080)

/* The top bits of the bytes below `n` (n <= 128); exact up to the first hit, which is all that is
 * used. */
static inline uint64_t bytes_below(uint64_t v, uint64_t n)
{
	return (v - TL_ONES * n) & ~v & TL_TOPS;
}

/* As special_of_16 for 8 bytes, with 8 bits for each. */
static inline uint64_t special_of_8(const char *p, bool writer)
{
	uint64_t v, hit;

	memcpy(&v, p, sizeof(v));
	if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
		v = __builtin_bswap64(v);
	hit = bytes_below(v, 0x20) | bytes_below(v ^ TL_ONES * '"', 1) |
	      bytes_below(v ^ TL_ONES * '\\', 1);
	return writer ? hit | (v & TL_TOPS) : hit;
}

static inline bool is_special(char c, bool writer)
{
	unsigned char u = (unsigned char)c;

	return u < 0x20 || u == '"' || u == '\\' || (writer && u >= 0x80);
}

/* The first special byte at or after `p`, or `end`. */
static inline const char *find_special(const char *p, const char *end, bool writer)
{
#if defined(__SSE2__)
	for (; end - p >= 16; p += 16) {
		unsigned bits = special_of_16(p, writer);

		if (bits)
			return p + __builtin_ctz(bits);
	}
#endif
	for (; end - p >= 8; p += 8) {
		uint64_t bits = special_of_8(p, writer);

		if (bits)
			return p + __builtin_ctzll(bits) / 8;
	}
	while (p < end && !is_special(*p, writer))
		p++;
	return p;
}

static inline bool is_json_hex(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* `p` is at a backslash. Returns the byte after the escape, NULL when it is none. */
static inline const char *skip_escape(const char *p, const char *end)
{
	if (end - p < 2)
		return NULL;
	switch (p[1]) {
	case '"':
	case '\\':
	case '/':
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't':
		return p + 2;
	case 'u':
		if (end - p < 6 || !is_json_hex(p[2]) || !is_json_hex(p[3]) || !is_json_hex(p[4]) ||
		    !is_json_hex(p[5]))
			return NULL;
		return p + 6;
	default:
		return NULL;
	}
}

#endif
