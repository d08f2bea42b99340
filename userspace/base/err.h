/* SPDX-License-Identifier: Apache-2.0 */
/* tl_error: the sentence a person reads when something failed. Functions return negative errno for
 * code; where a human needs the reason they also fill one of these: what happened, why, what to do.
 */
#ifndef TL_BASE_ERR_H
#define TL_BASE_ERR_H

#include <errno.h>

struct tl_error {
	int code;	   /* negative errno, 0 while unset */
	char message[512]; /* one sentence, no newline; cut at the size */
};

/* Sets `*error` (NULL allowed: then only the code matters). Returns `code`, so that a failing
 * function ends in `return tl_error_set(error, -ENOENT, "...")`. */
int tl_error_set(struct tl_error *error, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "<format>: " in front of the message that is there. Returns error->code. */
int tl_error_wrap(struct tl_error *error, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
