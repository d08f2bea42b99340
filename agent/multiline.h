/* SPDX-License-Identifier: Apache-2.0 */
/* tl_multiline: which line of text continues the one before it: stack traces of java, python and
 * go, and custom rules (a line that does not match their regex goes on). Knows texts only; lines.c
 * keeps the blocks. A block's state is one byte (tl_line.rule, persisted), 0 for an ordinary line,
 * so that a restart goes on where it was. Lines come without newline. One thread. */
#ifndef TL_AGENT_MULTILINE_H
#define TL_AGENT_MULTILINE_H

#include "userspace/base/buf.h"
#include "userspace/base/cleanup.h"
#include "userspace/base/err.h"

struct tl_multiline;

/* `rules`: NULL or "auto" (java, python, go and every custom rule), "off", or a comma list of their
 * names. `custom`: n of "name=REGEX" (PCRE2 on bytes, at the first 4 KiB of a line; write ^ for its
 * start). While a custom rule is in use it alone decides. The strings are not kept. The caller owns
 * `*ret`. Errors: -EINVAL an unknown rule, or a regex that does not compile (`error` says where);
 * -ENOMEM. */
int tl_multiline_new(const char *rules, const char *const *custom, size_t n,
		     struct tl_multiline **ret, struct tl_error *error);
void tl_multiline_free(struct tl_multiline *multiline);
TL_DEFINE_CLEANUP(struct tl_multiline *, tl_multiline_free);

/* False for "off": no line ever waits. */
bool tl_multiline_on(const struct tl_multiline *multiline);

/* The state after `line` as the first of a block: 0 when its text promises nothing, so that it need
 * not wait. */
uint8_t tl_multiline_start(const struct tl_multiline *multiline, struct tl_span line);

/* Whether `line` continues the block in `*state` (0: an ordinary line before it in the same call);
 * moves the state on. `rest` is what is known of the text behind `line` in the same call; empty
 * when unknown. */
bool tl_multiline_next(const struct tl_multiline *multiline, uint8_t *state, struct tl_span line,
		       struct tl_span rest);

/* Whether the text behind an ordinary line in the same call may continue it; it may end in
 * mid-line. `more`: later chunks of the call follow. */
bool tl_multiline_peek(const struct tl_multiline *multiline, struct tl_span rest, bool more);

/* The block is at its end: nothing that may come belongs to it. */
bool tl_multiline_ended(uint8_t state);

#endif
