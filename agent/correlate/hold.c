/* SPDX-License-Identifier: Apache-2.0 */
/* Two lists hold each line: its actor's queue, which keeps the order, and that of all by deadline.
 * An actor with a queue stays alive; one whose evidence changed stands in the queue of dirty ones
 * until tl_hold_review. A line is taken out of both lists before `released` is called, so the
 * callee may ask for other lines. */
#include "agent/correlate/hold.h"

#include "agent/correlate/actor.h"
#include "agent/correlate/decide.h"

struct tl_hold {
	struct tl_line *line;
	struct tl_actor *actor;
	uint64_t deadline_ns;
	size_t cost;	     /* bytes charged to the process */
	enum tl_why give_up; /* not NOTHING: it does not wait any more */
	struct tl_hold *next_of_actor;
	struct tl_hold *next, *prev; /* all, by deadline */
};

static void link_all(struct tl_corr *corr, struct tl_hold *hold)
{
	hold->prev = corr->last_hold;
	if (corr->last_hold)
		corr->last_hold->next = hold;
	else
		corr->first_hold = hold;
	corr->last_hold = hold;
}

static void unlink_all(struct tl_corr *corr, struct tl_hold *hold)
{
	if (hold->prev)
		hold->prev->next = hold->next;
	else
		corr->first_hold = hold->next;
	if (hold->next)
		hold->next->prev = hold->prev;
	else
		corr->last_hold = hold->prev;
}

static void link_actor(struct tl_corr *corr, struct tl_actor *actor)
{
	actor->next_holding = corr->holding;
	if (corr->holding)
		corr->holding->prev_holding = actor;
	corr->holding = actor;
}

static void unlink_actor(struct tl_corr *corr, struct tl_actor *actor)
{
	if (actor->prev_holding)
		actor->prev_holding->next_holding = actor->next_holding;
	else
		corr->holding = actor->next_holding;
	if (actor->next_holding)
		actor->next_holding->prev_holding = actor->prev_holding;
	actor->next_holding = actor->prev_holding = NULL;
}

bool tl_hold_add(struct tl_corr *corr, struct tl_actor *actor, struct tl_line *line, bool always)
{
	size_t cost = line->bytes.len + sizeof(struct tl_line) + sizeof(struct tl_hold);
	struct tl_hold *hold;

	if (!always && actor->proc->held_bytes + cost > corr->options.hold_bytes)
		return false;
	hold = calloc(1, sizeof(*hold));
	if (!hold)
		return false;
	hold->line = line;
	hold->actor = actor;
	hold->cost = cost;
	hold->give_up = always ? TL_WHY_FULL : TL_WHY_NOTHING;
	hold->deadline_ns = corr->now_ns + corr->options.hold_ns;
	line->hold = hold;
	line->stage = TL_LINE_HELD;
	line->deadline_ns = hold->deadline_ns;
	link_all(corr, hold);
	if (!actor->holds)
		link_actor(corr, actor);
	if (actor->holds_tail)
		actor->holds_tail->next_of_actor = hold;
	else
		actor->holds = hold;
	actor->holds_tail = hold;
	actor->proc->held_bytes += cost;
	corr->usage.held++;
	corr->usage.held_bytes += cost;
	return true;
}

/* Takes the first line of the actor out of all lists. */
static struct tl_line *pop(struct tl_corr *corr, struct tl_actor *actor)
{
	struct tl_hold *hold = actor->holds;
	struct tl_line *line = hold->line;

	actor->holds = hold->next_of_actor;
	if (!actor->holds) {
		actor->holds_tail = NULL;
		unlink_actor(corr, actor);
	}
	unlink_all(corr, hold);
	actor->proc->held_bytes -= hold->cost;
	corr->usage.held--;
	corr->usage.held_bytes -= hold->cost;
	line->hold = NULL;
	free(hold);
	return line;
}

/* Releases the lines at the front that can be decided. The actor may be gone afterwards, unless it
 * is dirty. */
static void drain(struct tl_corr *corr, struct tl_actor *actor)
{
	while (actor->holds) {
		struct tl_decision decision;
		struct tl_attribution attribution;
		struct tl_line *line = actor->holds->line;

		if (!tl_decide(corr, actor->proc, line, actor->holds->give_up, &decision))
			break;
		pop(corr, actor);
		tl_decision_tell(corr, &decision, &attribution);
		corr->options.released(corr->options.arg, line, &attribution);
	}
}

void tl_hold_dirty(struct tl_corr *corr, struct tl_actor *actor)
{
	if (!actor->holds || actor->dirty)
		return;
	actor->dirty = true;
	actor->next_dirty = NULL;
	if (corr->dirty_tail)
		corr->dirty_tail->next_dirty = actor;
	else
		corr->dirty = actor;
	corr->dirty_tail = actor;
}

void tl_hold_all_dirty(struct tl_corr *corr)
{
	for (struct tl_actor *actor = corr->holding; actor; actor = actor->next_holding)
		tl_hold_dirty(corr, actor);
}

void tl_hold_review(struct tl_corr *corr)
{
	struct tl_actor *actor;

	/* A review inside a review (from `released`) leaves the rest to the outer one. */
	if (corr->reviewing)
		return;
	corr->reviewing = true;
	while ((actor = corr->dirty)) {
		drain(corr, actor);
		corr->dirty = actor->next_dirty;
		if (!corr->dirty)
			corr->dirty_tail = NULL;
		actor->dirty = false;
		tl_actor_settle(corr, actor);
	}
	corr->reviewing = false;
}

void tl_hold_give_up(struct tl_corr *corr, struct tl_actor *actor, enum tl_why why)
{
	for (struct tl_hold *hold = actor->holds; hold; hold = hold->next_of_actor)
		if (hold->give_up == TL_WHY_NOTHING)
			hold->give_up = why;
	tl_hold_dirty(corr, actor);
	tl_hold_review(corr);
}

uint64_t tl_hold_expire(struct tl_corr *corr, uint64_t now_ns)
{
	for (struct tl_hold *hold = corr->first_hold; hold && hold->deadline_ns <= now_ns;
	     hold = hold->next) {
		hold->give_up = TL_WHY_UNANSWERED;
		tl_hold_dirty(corr, hold->actor);
	}
	tl_hold_review(corr);
	return corr->first_hold ? corr->first_hold->deadline_ns : UINT64_MAX;
}

void tl_hold_flush(struct tl_corr *corr)
{
	for (struct tl_hold *hold = corr->first_hold; hold; hold = hold->next) {
		hold->give_up = TL_WHY_UNANSWERED;
		tl_hold_dirty(corr, hold->actor);
	}
	tl_hold_review(corr);
}

void tl_hold_free_all(struct tl_corr *corr)
{
	while (corr->holding) {
		struct tl_actor *actor = corr->holding;

		while (actor->holds)
			pop(corr, actor);
	}
}
