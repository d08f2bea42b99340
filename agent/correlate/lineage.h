/* SPDX-License-Identifier: Apache-2.0 */
/* Lineage: which unit was born of which, and when (TL_EV_UNIT). A child goroutine or task reads and
 * answers nothing itself: what it says is of the request that its parent was at when it was born,
 * or its parent's parent. Private to correlate/.
 *
 * A child may outlive the request, and then be given other work (a pool that a request happened to
 * start). Nobody sees that, so the lineage ends TL_LINEAGE_NS after the request. It also ends when
 * the child reads a request of its own. The oldest births make room: an unknown parent is none. */
#ifndef TL_CORRELATE_LINEAGE_H
#define TL_CORRELATE_LINEAGE_H

#include "agent/correlate/corr.h"

#define TL_LINEAGE_NS UINT64_C(5000000000)
#define TL_LINEAGE_DEPTH 6 /* generations */

struct tl_birth {
	struct tl_actor_key parent;
	uint64_t born_ns;
};

struct tl_lineage;

/* At most `max` births are remembered. NULL: out of memory. */
struct tl_lineage *tl_lineage_new(size_t max);
void tl_lineage_free(struct tl_lineage *lineage);

/* `child` was born; what was known of such a unit is over. Out of memory: it has no parent. */
void tl_lineage_add(struct tl_lineage *lineage, const struct tl_actor_key *child,
		    const struct tl_birth *birth);

/* NULL: unknown. Valid until the next call of tl_lineage_add. */
const struct tl_birth *tl_lineage_find(const struct tl_lineage *lineage,
				       const struct tl_actor_key *child);

#endif
