/* SPDX-License-Identifier: Apache-2.0 */
/* tl_hold: lines that wait for their request to be proved, in order per writer thread; private to
 * correlate/. What a held line becomes is decided when it stands first, from what is known then.
 * Bounded by hold_bytes per process and hold_ns per line. */
#ifndef TL_CORRELATE_HOLD_H
#define TL_CORRELATE_HOLD_H

#include "agent/correlate/corr.h"

/* Puts the line behind those of its thread. False when there is no room: nothing was done. `always`
 * asks for no room: the line is about to be released, and waits only for its place. */
bool tl_hold_add(struct tl_corr *corr, struct tl_actor *actor, struct tl_line *line, bool always);

/* Something about the actor changed: its lines are looked at again by tl_hold_review. */
void tl_hold_dirty(struct tl_corr *corr, struct tl_actor *actor);
void tl_hold_all_dirty(struct tl_corr *corr);

/* Releases what can be decided now. */
void tl_hold_review(struct tl_corr *corr);

/* Releases all lines of the actor: those that still would wait become none, for `why`. */
void tl_hold_give_up(struct tl_corr *corr, struct tl_actor *actor, enum tl_why why);

/* The lines whose time is over stop waiting. Returns the next deadline, UINT64_MAX none. */
uint64_t tl_hold_expire(struct tl_corr *corr, uint64_t now_ns);

/* Releases everything; nothing waits any more. */
void tl_hold_flush(struct tl_corr *corr);

/* Frees what is still held without telling. */
void tl_hold_free_all(struct tl_corr *corr);

#endif
