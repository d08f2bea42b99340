/* SPDX-License-Identifier: Apache-2.0 */
/* What people type: sizes, durations, and names that are nearly right. */
#ifndef TL_BASE_TEXT_H
#define TL_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* "512", "64k", "10MiB", "1G": k/M/G/T are powers of 1024, with or without iB or B. Errors:
 * -EINVAL, -ERANGE. */
int tl_size_parse(const char *text, uint64_t *ret_bytes);

/* "250ms", "20s", "5m", "2h", "7d"; a bare number is seconds. Errors: -EINVAL, -ERANGE. */
int tl_duration_parse(const char *text, uint64_t *ret_ns);

/* The entry of `names` (n of them) nearest to `word`, when it is near enough to be a slip (at most
 * a third of the letters differ); NULL else. Borrowed from `names`. */
const char *tl_nearest(const char *word, const char *const *names, size_t n);

/* Shell-style match of `*` and `?` and, in paths, `**` over slashes. */
int tl_glob_match(const char *pattern, const char *text);

#endif
