/* SPDX-License-Identifier: Apache-2.0 */
/* tl_relay: gateways that serve many requests on one thread (nginx, an event loop that forwards);
 * private to correlate/. There no thread belongs to a request, but what the thread does between two
 * waits mostly does: the header of R comes in, and in the same turn a socket is opened for it, or
 * the request goes out on one that was kept. Guessed so and no more; the guess is made only where
 * method and path agree and R has no other, and it is believed only for a service in which the
 * answers came back the same way: the child's was read and R's was written in one turn, as often as
 * the gate asks with other requests open at the time, and never another's. */
#ifndef TL_CORRELATE_RELAY_H
#define TL_CORRELATE_RELAY_H

#include "agent/correlate/corr.h"

struct tl_relay;

struct tl_relay *tl_relay_new(void);
void tl_relay_free(struct tl_relay *relay);

/* corr->event is a connect(2). */
void tl_relay_connect(struct tl_corr *corr);

/* corr->event moved bytes on `conn`, which has been read. */
void tl_relay_touch(struct tl_corr *corr, const struct tl_conn *conn);

/* The server request that the outbound `request` was made for; NULL: none is known, or the gate is
 * closed (the guess is kept as evidence). */
struct tl_request *tl_relay_parent(struct tl_corr *corr, struct tl_request *request);

/* The head of the response to `request` is written: evidence. */
void tl_relay_answer(struct tl_corr *corr, const struct tl_request *request);

#endif
