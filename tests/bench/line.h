/* SPDX-License-Identifier: Apache-2.0 */
/* The log lines of the benches: 128 bytes with the newline, of words and numbers as a service would
 * log them, so that compression has an ordinary job. The last 34 bytes are " n=<8 digits> t=<19
 * digits>\n": number and wall time of the line. */
#ifndef TL_BENCH_LINE_H
#define TL_BENCH_LINE_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define LINE_BYTES 128
#define LINE_TAIL 34
#define LINE_POOL 1024 /* made beforehand; number and time are written in later */

static inline void line_digits(char *out, unsigned n, uint64_t value)
{
	while (n--) {
		out[n] = (char)('0' + value % 10);
		value /= 10;
	}
}

/* Writes LINE_BYTES bytes, no NUL. */
static inline void line_make(char *out, unsigned seed)
{
	static const char *const words[] = {"taken",   "paid",	 "packed", "sent",
					    "refused", "queued", "priced", "returned"};
	char text[LINE_BYTES + 64];
	uint32_t x = (seed + 1) * 2654435761u;
	int len =
		snprintf(text, sizeof(text),
			 "%s [http-%u] shop.Orders - %s order=%u customer=%u items=%u took_ms=%u ",
			 x >> 28 ? "INFO " : "WARN ", x >> 27, words[x >> 13 & 7], x, x >> 9,
			 x >> 25 & 15, x >> 18 & 511);

	while ((size_t)len < LINE_BYTES)
		len += snprintf(text + len, 32, "%s ", words[(x >> (len & 15)) & 7]);
	memcpy(out, text, LINE_BYTES - LINE_TAIL);
	memcpy(out + LINE_BYTES - LINE_TAIL, " n=00000000 t=0000000000000000000\n", LINE_TAIL);
}

static inline void line_stamp(char *line, uint64_t number, uint64_t wall_ns)
{
	line_digits(line + LINE_BYTES - LINE_TAIL + 3, 8, number);
	line_digits(line + LINE_BYTES - 20, 19, wall_ns);
}

#endif
