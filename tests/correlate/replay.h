/* SPDX-License-Identifier: Apache-2.0 */
/* Replays a recorded trace through the agent's own lines and correlation, without a kernel, and
 * scores each line by the truth in it (as score.c does). */
#ifndef TL_TESTS_CORRELATE_REPLAY_H
#define TL_TESTS_CORRELATE_REPLAY_H

#include "agent/correlate/correlate.h"
#include "tests/correlate/trace.h"

#define TL_REPLAY_CLASSES 16

struct tl_replay_class {
	char name[16];
	uint64_t right, wrong, none;
};

struct tl_replay_result {
	struct tl_replay_class classes[TL_REPLAY_CLASSES];
	unsigned n;
	uint64_t lines, wrong, right;
	uint64_t how[TL_HOWS], why[TL_WHYS];
	char first_wrong[300];
};

struct tl_replay_options {
	struct tl_corr_options corr; /* callbacks are set by the replay */
	/* Every line with a truth, beside what the correlation said (may be NULL). `gt` is "-" for
	 * nobody's. */
	void (*line)(void *arg, const struct tl_line *line,
		     const struct tl_attribution *attribution, const char *class, const char *gt);
	/* Every event before it is dealt with (may be NULL). */
	void (*event)(void *arg, const struct tl_event *event);
	void *arg;
	bool verbose; /* prints every wrong line */
};

/* Switches off the levels that read the line's text: what is left has to know by structure. */
static inline void tl_replay_structure_only(struct tl_corr_options *corr)
{
	corr->levels =
		(TL_LEVELS_ALL & ~(1u << TL_HOW_APP | 1u << TL_HOW_INLINE)) | TL_LEVELS_GIVEN;
}

/* Runs the trace from its begin. Errors: -EBADMSG, -ENOMEM. */
int tl_replay(struct tl_trace *trace, const struct tl_replay_options *options,
	      struct tl_replay_result *ret);

/* Right and none of the lines that are written while their request is served: classes sync and
 * after-await, or access-log where there are none (nginx). */
void tl_replay_in_request(const struct tl_replay_result *result, uint64_t *ret_right,
			  uint64_t *ret_all);

#endif
