/* SPDX-License-Identifier: Apache-2.0 */
/* tl_hop: how requests of different services hang together; private to correlate/. Each request has
 * a hop id, the same at both ends of its connection (place.h). An outbound request made in the
 * service of a request R is R's child: the same unit or thread began it, by a rule that is believed
 * for the service, or a relay's gate says so (relay.h). A child whose bytes carry no id inherits
 * R's; the other end, where it is on this host, takes that over. So the lines of a chain group even
 * where nobody sends a header. What a line already carries never changes. */
#ifndef TL_CORRELATE_HOP_H
#define TL_CORRELATE_HOP_H

#include "agent/correlate/corr.h"

/* Gives a new request its place and its hop id. */
void tl_hop_name(struct tl_corr *corr, struct tl_request *request);

/* A request exists: its header is complete, its ids (if any came) and its reader are set. Finds its
 * parent and its other end. */
void tl_hop_begin(struct tl_corr *corr, struct tl_request *request);

/* The request goes: its other end must not find it any more. */
void tl_hop_forget(struct tl_corr *corr, struct tl_request *request);

/* Writes a name as 32 hex digits and a NUL. */
void tl_hop_text(const struct tl_place *place, char out[33]);

#endif
