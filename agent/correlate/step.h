/* SPDX-License-Identifier: Apache-2.0 */
/* Whether we are in step with a connection: whether it is known where its messages begin. Private
 * to correlate/. Out of step (desync) nothing on it is read but what brings it back: a read that
 * begins with a method while nothing seems to be in flight (`quiet`). Nor must it be the body of a
 * request, which may look like one. */
#ifndef TL_CORRELATE_STEP_H
#define TL_CORRELATE_STEP_H

#include "agent/correlate/corr.h"

/* The call's bytes follow those of the last call in their direction, or we are out of step from
 * here: bytes moved that nobody saw (io_uring, a call whose event was refused), and what follows
 * may be the middle of anything. */
void tl_step_tiles(struct tl_conn *conn);

/* Whether the call's bytes, in the direction of requests or not, can be read. May bring the
 * connection back, and drops what was gathered before. */
bool tl_step_in(struct tl_conn *conn, bool of_request, struct tl_span data);

#endif
