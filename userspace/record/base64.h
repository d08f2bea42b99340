/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 with padding (RFC 4648 section 4), for bodies that are not valid UTF-8. Pure functions. */
#ifndef TL_RECORD_BASE64_H
#define TL_RECORD_BASE64_H

#include "userspace/base/buf.h"

static inline size_t tl_base64_len(size_t bytes)
{
	return (bytes + 2) / 3 * 4;
}

/* Writes exactly tl_base64_len(s.len) characters to `out`. */
void tl_base64_encode(struct tl_span s, char *out);

/* Writes at most text.len / 4 * 3 bytes to `out`. Errors: -EINVAL not what the encoder writes. */
int tl_base64_decode(struct tl_span text, char *out, size_t *ret_len);

#endif
