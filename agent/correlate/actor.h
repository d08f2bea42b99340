/* SPDX-License-Identifier: Apache-2.0 */
/* tl_actor: a unit (goroutine) or a thread that reads requests, and which it had when; private to
 * correlate/. The owner of a request is the actor whose read completes its header block: Go's
 * background read takes the first byte in another goroutine. */
#ifndef TL_CORRELATE_ACTOR_H
#define TL_CORRELATE_ACTOR_H

#include "agent/correlate/corr.h"

#define TL_ACTOR_SEVERAL UINT64_MAX /* id of no actor: several wrote it */

struct tl_actor_key tl_actor_key_of(const struct tl_cproc *proc, uint8_t unit_kind, uint64_t unit,
				    uint32_t tid);

/* The actor or NULL. */
struct tl_actor *tl_actor_find(const struct tl_corr *corr, const struct tl_actor_key *key);

/* The actor, made when absent. NULL when the table is full or memory is out (not counted here). It
 * is freed when no request and no held line refers to it: bind a request to it at once, or call
 * tl_actor_settle. */
struct tl_actor *tl_actor_get(struct tl_corr *corr, struct tl_cproc *proc,
			      const struct tl_actor_key *key);

/* Keeps the actor for what it may do next (seen forms, an echo), TL_RECENT_NS at most; and no
 * longer, when it has neither any more (the caller settles it). */
void tl_actor_watch(struct tl_corr *corr, struct tl_actor *actor);
void tl_actor_unwatch(struct tl_corr *corr, struct tl_actor *actor);

/* Those that were kept for long enough go. */
void tl_actor_expire(struct tl_corr *corr);

/* Frees it when nothing refers to it. */
void tl_actor_settle(struct tl_corr *corr, struct tl_actor *actor);

/* `request` (header just completed) is read by `actor`: remembers it, and judges what that says
 * about the rules. */
void tl_actor_bind(struct tl_corr *corr, struct tl_actor *actor, struct tl_request *request,
		   bool mixed);

/* The actor moved bytes on the server connection `conn`: an open request of another connection is
 * not alone any more, and what it had finished is over for it. */
void tl_actor_touch(struct tl_corr *corr, struct tl_actor *actor, const struct tl_conn *conn);

/* `writer` wrote the head of the response to `request`: evidence. */
void tl_actor_answer(struct tl_corr *corr, struct tl_request *request,
		     const struct tl_actor_key *writer);

/* The request is freed. */
void tl_actor_forget(struct tl_corr *corr, struct tl_request *request);

/* The request of the moment `time_ns`: the newest with header_ns <= time_ns, NULL none.
 * `*ret_next_ns` is the header time of the one after it, UINT64_MAX none. */
struct tl_request *tl_actor_at(const struct tl_actor *actor, uint64_t time_ns,
			       uint64_t *ret_next_ns);

#endif
