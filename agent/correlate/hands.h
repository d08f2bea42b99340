/* SPDX-License-Identifier: Apache-2.0 */
/* Whose hands a connection is in: what the bytes of a call tell of the actor that moved them,
 * whatever they say. Private to correlate/.
 *
 * This is where it is learnt that threads answer what others have read (tl_gate.handed_over), by
 * who reads and who writes alone: requests are handed over as well on connections whose framing is
 * not known, because we came in the middle or because their clients do not wait for answers. */
#ifndef TL_CORRELATE_HANDS_H
#define TL_CORRELATE_HANDS_H

#include "agent/correlate/corr.h"

/* The event being read moved bytes on `conn`. Call once a call, before they are read. */
void tl_hands_moved(struct tl_conn *conn);

#endif
