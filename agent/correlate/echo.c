/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/correlate/echo.h"

#include "agent/correlate/actor.h"
#include "agent/correlate/gate.h"
#include "agent/correlate/inline.h"
#include "agent/correlate/request.h"

/* The one open request that an id names; NULL none, or several. */
static struct tl_request *named(struct tl_corr *corr, const struct tl_cproc *proc,
				const struct tl_ids *ids)
{
	struct tl_request *found = NULL;

	for (uint32_t i = 0; ids && i < ids->n; i++) {
		struct tl_matches matches;

		tl_inline_match_id(corr, proc, (struct tl_span){ids->id[i].value, ids->id[i].len},
				   &matches);
		if (!matches.n)
			continue;
		if (matches.several || matches.n > 1 || (found && found != matches.request[0]))
			return NULL;
		found = matches.request[0];
	}
	return found && found->state != TL_REQ_DONE ? found : NULL;
}

/* The thread's work on a request ends; what it said last stood at the slice's end if it `paused`
 * since. */
static void end_slice(struct tl_corr *corr, struct tl_actor *actor, bool paused)
{
	struct tl_echo *echo = &actor->echo;

	for (uint32_t i = 0; paused && i < echo->n_forms; i++) {
		struct tl_form *form = tl_form_find(actor->proc->gate, echo->forms[i]);

		if (form && form->echoes < UINT32_MAX)
			form->echoes++;
	}
	*echo = (struct tl_echo){0};
	tl_actor_unwatch(corr, actor);
}

static bool paused_since(const struct tl_actor *actor, uint64_t wait_ns)
{
	return wait_ns > actor->echo.active_ns;
}

/* The thread has read a request that it has not answered, and asks with the id of another: the two
 * levels disagree. */
static bool disagrees(const struct tl_actor *actor, const struct tl_request *named)
{
	struct tl_request *current = actor->current;

	if (!current || current->state != TL_REQ_OPEN || tl_request_same_ids(current, named))
		return false;
	current->ambiguous = true;
	return true;
}

void tl_echo_sent(struct tl_corr *corr, const struct tl_conn *conn, const struct tl_ids *ids)
{
	const struct tl_event *event = &corr->event->h;
	struct tl_cproc *proc = corr->event_proc;
	struct tl_actor_key key = tl_actor_key_of(proc, event->unit_kind, event->unit, event->tid);
	struct tl_actor *actor = tl_actor_find(corr, &key);
	struct tl_request *request;

	if (key.kind != TL_UNIT_THREAD || !proc->gate || !tl_level_on(corr, TL_HOW_ECHO))
		return;
	request = named(corr, proc, ids);
	if (actor && actor->echo.number) {
		/* It had not got its answer yet: a loop that works for several. */
		if (!actor->echo.answered && actor->echo.on != conn->hash)
			tl_gate_contradict(corr, proc->gate, TL_HOW_ECHO);
		end_slice(corr, actor, paused_since(actor, event->time_ns - event->waited_ns));
	}
	if (actor && !request)
		tl_actor_settle(corr, actor);
	actor = request ? tl_actor_get(corr, proc, &key) : NULL;
	if (!actor)
		return;
	if (disagrees(actor, request)) {
		tl_gate_contradict(corr, proc->gate, TL_HOW_ECHO);
		return;
	}
	actor->echo = (struct tl_echo){.connection = request->connection,
				       .number = request->number,
				       .on = conn->hash,
				       .active_ns = event->time_ns};
	tl_actor_watch(corr, actor);
}

void tl_echo_answered(struct tl_corr *corr, const struct tl_conn *conn)
{
	const struct tl_event *event = &corr->event->h;
	struct tl_cproc *proc = corr->event_proc;
	struct tl_actor_key key = tl_actor_key_of(proc, event->unit_kind, event->unit, event->tid);
	struct tl_actor *actor = tl_actor_find(corr, &key);

	if (!actor || actor->echo.on != conn->hash || actor->echo.answered)
		return;
	actor->echo.answered = true;
	actor->echo.active_ns = event->time_ns;
	/* Alone, an event loop does the same. */
	if (proc->open_server > 1)
		tl_gate_confirm(corr, proc->gate, TL_HOW_ECHO);
}

struct tl_request *tl_echo_of(const struct tl_cproc *proc, const struct tl_actor *actor,
			      const struct tl_line *line)
{
	if (!actor || !actor->echo.number || actor->key.kind != TL_UNIT_THREAD ||
	    paused_since(actor, line->wait_ns) || line->time_ns < actor->echo.active_ns ||
	    actor->touch_ns > actor->echo.active_ns)
		return NULL;
	for (struct tl_request *r = proc->open; r; r = r->next_open)
		if (r->connection == actor->echo.connection && r->number == actor->echo.number)
			return r->server && r->lost_gen == line->lost_gen ? r : NULL;
	return NULL;
}

void tl_echo_sight(struct tl_corr *corr, struct tl_cproc *proc, struct tl_actor *actor,
		   const struct tl_line *line, struct tl_form *form)
{
	struct tl_request *request;

	if (line->writer.unit_kind != TL_UNIT_THREAD || !tl_level_on(corr, TL_HOW_ECHO))
		return;
	request = tl_echo_of(proc, actor, line);
	if (!request) {
		form->not_echo = true;
		if (actor && actor->echo.number && paused_since(actor, line->wait_ns)) {
			end_slice(corr, actor, true);
			tl_actor_settle(corr, actor);
		}
		return;
	}
	for (uint32_t i = 0; i < actor->echo.n_forms; i++)
		if (actor->echo.forms[i] == form->hash)
			return;
	if (actor->echo.n_forms < TL_ECHO_FORMS)
		actor->echo.forms[actor->echo.n_forms++] = form->hash;
}
