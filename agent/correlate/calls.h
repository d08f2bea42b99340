/* SPDX-License-Identifier: Apache-2.0 */
/* tl_calls: clients in which one unit writes what another asks for (Go's net/http: each connection
 * of its pool has a goroutine that writes); private to correlate/. Probes tell which unit writes
 * for a connection, and which one asks it for its next request. Two tables of fixed size,
 * direct-mapped: what lost its place is not known. */
#ifndef TL_CORRELATE_CALLS_H
#define TL_CORRELATE_CALLS_H

#include "agent/correlate/corr.h"

struct tl_calls;

struct tl_calls *tl_calls_new(void);
void tl_calls_free(struct tl_calls *calls);

/* Notes a TL_EV_CALL of the process. */
void tl_calls_add(struct tl_calls *calls, const struct tl_cproc *proc,
		  const struct tl_ev_unit *event);

/* The unit `writer` begins to write a request. False: it is not known to write for others. Else
 * `*ret_asker` is who asked for it, with id 0 when that is not known; each is told once. */
bool tl_calls_take(struct tl_calls *calls, const struct tl_actor_key *writer,
		   struct tl_actor_key *ret_asker);

#endif
