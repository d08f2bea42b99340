/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), by SSE4.2 or ARM instructions where the CPU has
 * them. */
#ifndef TL_BASE_CRC32C_H
#define TL_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Extends `crc` (0 at first) over `data`. crc32c("123456789") is 0xe3069283. */
uint32_t tl_crc32c(uint32_t crc, const void *data, size_t len);

#endif
