/* SPDX-License-Identifier: Apache-2.0 */
/* What the writer writes: byte i of its output is a function of i, so that each captured piece
 * proves its place. */
#ifndef TL_TESTS_CAPTURE_PATTERN_H
#define TL_TESTS_CAPTURE_PATTERN_H

#include <stddef.h>
#include <stdint.h>

static inline char pattern_at(uint64_t i)
{
	uint64_t x = i * 0x9e3779b97f4a7c15u;

	return (char)('!' + (x >> 56) % 90);
}

static inline void pattern_fill(char *out, uint64_t from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = pattern_at(from + i);
}

/* Descriptors that the writer inherits. */
#define WRITER_GO 8	/* a byte for each step it may take */
#define WRITER_REPORT 9 /* it writes a uint64_t: the bytes that its calls accepted, or a port */

#endif
