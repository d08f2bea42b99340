/* SPDX-License-Identifier: Apache-2.0 */
/* tl_place: where a message lies in its TCP connection, told by either end alone; private to
 * correlate/. Both ends know the addresses and ports, the sequence numbers at which the two
 * directions began, and that of each byte; a hash of them names the byte at both ends, on one host
 * or on two, without a word between them. It does not where something on the way rewrites addresses
 * or sequence numbers (NAT, a load balancer, a firewall that randomises): the ends then have
 * different names, and nothing is joined.
 *
 * Calls of a connection must tile: a sequence number that is not the next one means that bytes
 * moved unseen, or that two threads' calls crossed. Then nothing on the connection has a place
 * until its framing is found anew. */
#ifndef TL_CORRELATE_PLACE_H
#define TL_CORRELATE_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/event.h"

/* What is known of a connection's directions. */
struct tl_placing {
	uint32_t base_in, base_out; /* where they began; as the first call said */
	uint32_t next[2];	    /* the next byte's sequence number: out, in */
	uint32_t seq, wraps;	    /* of the message that began last */
	bool based, torn;
	bool known[2]; /* `next` is */
	bool begun;    /* `seq` is of the message under way */
};

/* A name for the message that is the same at both ends. 0, 0: it has none. */
struct tl_place {
	uint64_t word[2];
};

/* A call moved bytes: do they follow those before? */
void tl_placing_call(struct tl_placing *placing, const struct tl_ev_wire *event);

/* The framing was lost and found: the next call may be anywhere. */
void tl_placing_restart(struct tl_placing *placing);

/* A message begins `offset` bytes into the event's. */
void tl_placing_begin(struct tl_placing *placing, const struct tl_ev_wire *event, uint64_t offset);

/* The place of the request that began last; `server`: this end received it. */
struct tl_place tl_placing_request(const struct tl_placing *placing,
				   const struct tl_ev_wire *address, bool server);

static inline bool tl_place_known(const struct tl_place *place)
{
	return place->word[0] || place->word[1];
}

/* A name for the moment, too: sequence numbers come again, on a connection that reuses the ports of
 * another after a multiple of 275 s (Linux counts first ones by 64 ns). Both ends take the same
 * moment to 128 s, but for those few that lie across its edge. */
struct tl_place tl_place_at(const struct tl_place *place, uint64_t wall_ns);

/* Mixes a word into `place`. */
void tl_place_add(struct tl_place *place, uint64_t word);

#endif
