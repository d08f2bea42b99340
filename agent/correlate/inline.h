/* SPDX-License-Identifier: Apache-2.0 */
/* Ids in the text of lines; private to correlate/. `app`: the line has an id field of its own.
 * `inline-token`: the text holds an id of an open or recent request of this process. An id is found
 * by its longest word, and compared whole; it is only looked for when it is unlikely to be anything
 * else (8 characters, letters and digits, not a time), and only accepted where it is not part of a
 * longer name. */
#ifndef TL_CORRELATE_INLINE_H
#define TL_CORRELATE_INLINE_H

#include "agent/correlate/corr.h"

#define TL_MATCHES_MAX 8

/* The requests that every id in the text fits. */
struct tl_matches {
	struct tl_request *request[TL_MATCHES_MAX]; /* newest first */
	uint32_t n;
	bool several; /* ids of different requests, or too many fit */
};

/* Makes the ids of a server request findable (again, when the response brought more), and takes
 * them out. */
void tl_inline_add(struct tl_corr *corr, struct tl_request *request, const struct tl_ids *ids);
void tl_inline_remove(struct tl_corr *corr, struct tl_request *request);

void tl_inline_match(struct tl_corr *corr, const struct tl_cproc *proc, struct tl_span text,
		     struct tl_matches *ret);

/* The same for a value that is an id as a whole. */
void tl_inline_match_id(struct tl_corr *corr, const struct tl_cproc *proc, struct tl_span id,
			struct tl_matches *ret);

/* Whether `request`, or one with the same ids, is among them. */
bool tl_inline_matched(const struct tl_matches *matches, const struct tl_request *request);

/* Whether all of them have the same ids: then it does not matter which one it is. */
bool tl_inline_one(const struct tl_matches *matches);

/* The line's own id field (JSON or logfmt: trace_id, request_id and their like). `*ret_id` is its
 * raw value, borrowed. */
bool tl_app_id(struct tl_span text, struct tl_span *ret_id);

/* The same without the quick scan in front, for the test that both agree. */
bool tl_app_id_find(struct tl_span text, struct tl_span *ret_id);

#endif
