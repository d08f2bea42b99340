/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8, sequence by sequence (RFC 3629); tl_utf8_valid for whole spans is in json.h. Pure
 * functions. */
#ifndef TL_BASE_UTF8_H
#define TL_BASE_UTF8_H

#include <stddef.h>

/* Returns the length (1 to 4) of the well-formed sequence at `p`, 0 when there is none before
 * `end`. */
size_t tl_utf8_sequence(const char *p, const char *end);

/* Writes `code` (a Unicode scalar value) to `out`. Returns the bytes written, 1 to 4. */
size_t tl_utf8_encode(unsigned code, char out[4]);

#endif
