/* SPDX-License-Identifier: Apache-2.0 */
/* tl_redact: regular expressions (PCRE2) whose matches become "[redacted]", before a line is kept
 * anywhere. One thread. */
#ifndef TL_PARSE_REDACT_H
#define TL_PARSE_REDACT_H

#include "userspace/base/arena.h"
#include "userspace/base/cleanup.h"
#include "userspace/base/err.h"

struct tl_redact;

/* `*ret` is NULL when there are no rules. Errors: -EINVAL a rule is no regular expression (names it
 * and the place). */
int tl_redact_new(const char *const *rules, size_t n, struct tl_redact **ret,
		  struct tl_error *error);
void tl_redact_free(struct tl_redact *redact);
TL_DEFINE_CLEANUP(struct tl_redact *, tl_redact_free);

/* Returns `text` itself when nothing matches, else a copy in the arena with the matches replaced.
 * Text that cannot be searched to the end (match limit, no memory) becomes "[redacted]" whole:
 * nothing leaks. */
struct tl_span tl_redact_apply(struct tl_redact *redact, struct tl_span text,
			       struct tl_arena *arena);

#endif
