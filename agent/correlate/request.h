/* SPDX-License-Identifier: Apache-2.0 */
/* tl_request: one HTTP exchange from its complete header to the last line that can name it; private
 * to correlate/. */
#ifndef TL_CORRELATE_REQUEST_H
#define TL_CORRELATE_REQUEST_H

#include "agent/correlate/corr.h"

/* A request of `conn` whose header is complete (times, method, path and ids are taken from there).
 * It joins the connection's queue and the process's open list. NULL when there is no room for it:
 * the caller counts that. */
struct tl_request *tl_request_new(struct tl_corr *corr, struct tl_conn *conn);

/* It is over at `end_ns`: told by `exchange`, out of the queue and the open list; kept for late
 * lines when it is the server's. */
void tl_request_end(struct tl_corr *corr, struct tl_request *request, uint64_t end_ns,
		    enum tl_why why, bool complete);

/* Ended requests older than TL_RECENT_NS go. */
void tl_request_expire(struct tl_corr *corr);
void tl_request_free_all(struct tl_corr *corr);

/* Fills `ret` with its ids; mints one when it has none, for good. */
void tl_request_ids(struct tl_corr *corr, struct tl_request *request, struct tl_ids *ret);

/* Whether it has an id, or was given one. */
bool tl_request_has_id(const struct tl_request *request);

/* Replaces its ids by `ids` (settled), and makes them findable in text. */
void tl_request_set_ids(struct tl_corr *corr, struct tl_request *request, const struct tl_ids *ids);

/* Whether both have exactly the same ids: a retry, or a probe that says the same id each time. */
bool tl_request_same_ids(const struct tl_request *a, const struct tl_request *b);

#endif
