/* SPDX-License-Identifier: Apache-2.0 */
/* What the rules of other systems make of a trace, beside ours: the same events, the same truth, no
 * abstaining but where the rule itself has nothing. Parsing is ours, so that only the rules differ.
 */
#ifndef TL_TESTS_CORRELATE_BASELINES_H
#define TL_TESTS_CORRELATE_BASELINES_H

#include "tests/correlate/trace.h"

enum tl_baseline {
	TL_BASE_TID,	   /* the request that the thread read last */
	TL_BASE_SINGLE,	   /* the one request that is open in the process, if it is one */
	TL_BASE_THREAD_IO, /* ingress on (goroutine or thread) makes it, the first egress ends it */
	TL_BASELINES
};
#define TL_BASELINE_NAMES                                                                          \
	{                                                                                          \
		"tid-last-read", "single-in-flight", "ingress-egress"                              \
	}

struct tl_baseline_result {
	uint64_t right, wrong, none;
};

/* Errors: -EBADMSG, -ENOMEM. */
int tl_baselines(struct tl_trace *trace, struct tl_baseline_result ret[TL_BASELINES]);

/* Prints one JSON object: {"tid-last-read": {"right": n, "wrong": n, "none": n}, ...}. */
int tl_baselines_print(struct tl_trace *trace);

#endif
