/* SPDX-License-Identifier: Apache-2.0 */
/* How long a 64-bit x86 instruction is: enough to walk through a compiled function and find its
 * returns. What is not known for certain has no length. Source: Intel SDM volume 2, appendix A. */
#ifndef TL_RUNTIMES_X86_LENGTH_H
#define TL_RUNTIMES_X86_LENGTH_H

#include <stddef.h>
#include <stdint.h>

/* Length of the instruction at `code`, 1 to 15; 0 when it is unknown or does not end within `n`. */
size_t tl_x86_length(const unsigned char *code, size_t n);

/* Finds the plain returns (C3) of a function whose instructions fill `n` bytes (padding behind them
 * is fine). Returns their number, offsets in `ret`; -ENOTSUP an instruction was not known; -E2BIG
 * more than `max`. */
int tl_x86_returns(const unsigned char *code, size_t n, uint32_t *ret, size_t max);

/* Finds the direct calls (E8) of a function at `address` to one of `targets`, both as virtual
 * addresses. Returns their number, offsets and indices of targets in `ret_at` and `ret_target`;
 * errors as tl_x86_returns. */
int tl_x86_calls(const unsigned char *code, size_t n, uint64_t address, const uint64_t *targets,
		 size_t n_targets, uint32_t *ret_at, uint32_t *ret_target, size_t max);

#endif
