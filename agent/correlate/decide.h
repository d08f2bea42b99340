/* SPDX-License-Identifier: Apache-2.0 */
/* The decision about one line, from what is known now; private to correlate/. */
#ifndef TL_CORRELATE_DECIDE_H
#define TL_CORRELATE_DECIDE_H

#include "agent/correlate/corr.h"

struct tl_decision {
	enum tl_how how;
	enum tl_why why;
	struct tl_request *request;   /* borrowed; NULL for none and app */
	struct tl_request *candidate; /* the same, of a guess; NULL */
	struct tl_gate *gate;	      /* of the line's process; NULL unknown */
};

/* Decides. `give_up` other than NOTHING: the line may not wait, and is none for this reason where
 * it would. `proc` may be NULL. Returns true with `*ret`, false when the line should wait. */
bool tl_decide(struct tl_corr *corr, struct tl_cproc *proc, const struct tl_line *line,
	       enum tl_why give_up, struct tl_decision *ret);

/* Counts the decision and makes the attribution of it; ids are in corr->answer until the next one.
 */
void tl_decision_tell(struct tl_corr *corr, const struct tl_decision *decision,
		      struct tl_attribution *ret);

#endif
