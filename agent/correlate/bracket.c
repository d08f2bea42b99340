/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/correlate/bracket.h"

#include "agent/correlate/actor.h"
#include "agent/correlate/gate.h"

#define SEEN_MAX 16 /* forms of one actor that wait for its next response */

struct tl_seen {
	uint64_t hash;
	uint64_t time_ns, wait_ns; /* of the first line of the form */
};

/* The one the actor answered before; NULL none that is remembered. */
static const struct tl_request *answered_before(const struct tl_request *request)
{
	const struct tl_actor *actor = request->writer;

	for (uint32_t i = 1; i < actor->n_answered; i++)
		if (actor->answered[i] == request)
			return actor->answered[i - 1];
	return NULL;
}

/* Nothing of an earlier request can reach to where the line stands: the writer had finished that
 * one when this one came, and (threads) has waited since. Under a backlog that is never so: there a
 * thread goes from what it still says of one request to the next without a pause, and neither form
 * nor place tells which is which. */
static bool at_head(const struct tl_request *request, uint64_t wait_ns)
{
	const struct tl_request *before = answered_before(request);

	if (before && (before->state != TL_REQ_DONE || request->header_ns <= before->end_ns))
		return false;
	return request->writer->key.kind != TL_UNIT_THREAD || wait_ns >= request->header_ns;
}

static bool is_cut(const struct tl_request *request, uint64_t time_ns)
{
	return request->writer_wait_ns >= time_ns || request->writer_other_ns >= time_ns;
}

static void judge(struct tl_corr *corr, const struct tl_request *request,
		  const struct tl_seen *seen)
{
	struct tl_gate *gate = request->proc->gate;
	struct tl_form *form = tl_form_find(gate, seen->hash);

	if (!form)
		return;
	if (request->header_ns > seen->time_ns)
		tl_form_ambient(corr, gate, form);
	else if (!is_cut(request, seen->time_ns) && at_head(request, seen->wait_ns) &&
		 form->heads < UINT32_MAX)
		form->heads++;
}

/* A unit that answers a request while it has answered another is not one request's. */
static bool is_shared_unit(const struct tl_request *request)
{
	const struct tl_request *before = answered_before(request);

	return request->writer->key.kind != TL_UNIT_THREAD && before &&
	       before->settled_ns > request->header_ns;
}

static void judge_gate(struct tl_corr *corr, struct tl_request *request)
{
	enum tl_how rule = tl_bracket_of((uint8_t)request->writer->key.kind);
	struct tl_gate *gate = request->proc->gate;
	bool overlapped =
		request->overlapped || request->proc->started != request->started_before + 1;

	if (is_shared_unit(request))
		tl_gate_contradict(corr, gate, rule);
	else if (overlapped && !request->pipelined)
		tl_gate_confirm(corr, gate, rule);
}

void tl_bracket_answer(struct tl_corr *corr, struct tl_request *request)
{
	struct tl_actor *writer = request->writer;
	struct tl_gate *gate = request->proc->gate;

	if (!gate)
		return;
	if (writer == request->reader) {
		if (writer->key.kind == TL_UNIT_THREAD)
			gate->direct = true;
	} else {
		judge_gate(corr, request);
		for (uint32_t i = 0; i < writer->n_seen; i++)
			judge(corr, request, &writer->seen[i]);
	}
	writer->n_seen = 0;
	tl_actor_unwatch(corr, writer);
}

void tl_bracket_expire(struct tl_corr *corr, struct tl_actor *actor)
{
	struct tl_gate *gate = actor->proc->gate;

	for (uint32_t i = 0; gate && i < actor->n_seen; i++) {
		struct tl_form *form = tl_form_find(gate, actor->seen[i].hash);

		if (form)
			tl_form_ambient(corr, gate, form);
	}
	actor->n_seen = 0;
}

/* The service hands requests over, and nothing else. */
static bool may_bracket(const struct tl_corr *corr, const struct tl_gate *gate, uint8_t kind)
{
	enum tl_how rule = tl_bracket_of(kind);
	enum tl_gate_state state = gate ? tl_gate_state(corr, gate, rule) : TL_GATE_OFF;

	return (state == TL_GATE_CLOSED || state == TL_GATE_OPEN) && gate->rules[rule].confirms;
}

void tl_bracket_sight(struct tl_corr *corr, struct tl_cproc *proc, const struct tl_actor_key *key,
		      const struct tl_line *line, const struct tl_form *form)
{
	struct tl_actor *actor;

	if (!may_bracket(corr, proc->gate, (uint8_t)key->kind))
		return;
	actor = tl_actor_get(corr, proc, key);
	if (!actor) {
		corr->usage.full++;
		return;
	}
	if (!actor->seen)
		actor->seen = calloc(SEEN_MAX, sizeof(*actor->seen));
	for (uint32_t i = 0; i < actor->n_seen; i++)
		if (actor->seen[i].hash == form->hash)
			return;
	if (actor->seen && actor->n_seen < SEEN_MAX) {
		actor->seen[actor->n_seen] =
			(struct tl_seen){form->hash, line->time_ns, line->wait_ns};
		actor->n_seen++;
		tl_actor_watch(corr, actor);
	}
	tl_actor_settle(corr, actor);
}

/* The actor's first response whose head came after the line; the one that was under way at the
 * line's time in `*ret_under_way`. */
static struct tl_request *answered_after(const struct tl_actor *actor, const struct tl_line *line,
					 struct tl_request **ret_under_way)
{
	struct tl_request *after = NULL;

	*ret_under_way = NULL;
	for (uint32_t i = actor->n_answered; i-- > 0;) {
		struct tl_request *request = actor->answered[i];

		if (request->settled_ns >= line->end_ns) {
			after = request;
			continue;
		}
		if (request->state != TL_REQ_DONE || request->end_ns > line->time_ns)
			*ret_under_way = request;
		break;
	}
	return after;
}

/* Why the line cannot be of a request that its writer answers, wherever it stands. */
static enum tl_why misfit(const struct tl_request *request, const struct tl_line *line)
{
	if (request->reader == request->writer || request->header_ns > line->time_ns)
		return TL_WHY_NO_REQUEST;
	if (request->pipelined)
		return TL_WHY_AMBIGUOUS;
	return line->lost_gen != request->lost_gen ? TL_WHY_LOST : TL_WHY_NOTHING;
}

static bool has_form(const struct tl_corr *corr, const struct tl_request *request,
		     const struct tl_line *line, bool head)
{
	return tl_form_is_bracketed(corr, tl_form_find(request->proc->gate, line->template), head);
}

static enum tl_why before_response(const struct tl_corr *corr, const struct tl_request *request,
				   const struct tl_line *line)
{
	enum tl_why why = misfit(request, line);

	if (why == TL_WHY_NOTHING && is_cut(request, line->time_ns))
		return TL_WHY_CUT;
	if (why == TL_WHY_NOTHING &&
	    !has_form(corr, request, line, at_head(request, line->wait_ns)))
		return TL_WHY_UNPROVED;
	return why;
}

/* The line comes amid the response that its writer is at. */
static enum tl_why amid_response(const struct tl_corr *corr, const struct tl_actor *actor,
				 const struct tl_request *request, const struct tl_line *line)
{
	enum tl_why why = misfit(request, line);

	if (why != TL_WHY_NOTHING)
		return why;
	if (!request->one_writer || actor->touch_conn != request->connection)
		return TL_WHY_AMBIGUOUS;
	if (actor->key.kind == TL_UNIT_THREAD && line->wait_ns > request->settled_ns)
		return TL_WHY_CUT;
	return has_form(corr, request, line, false) ? TL_WHY_NOTHING : TL_WHY_UNPROVED;
}

static bool has_open(const struct tl_cproc *proc, uint64_t time_ns)
{
	for (const struct tl_request *r = proc->open; r; r = r->next_open)
		if (r->server && r->state == TL_REQ_OPEN && r->header_ns <= time_ns)
			return true;
	return false;
}

struct tl_request *tl_bracket_find(struct tl_corr *corr, const struct tl_cproc *proc,
				   const struct tl_actor *actor, const struct tl_line *line,
				   bool *ret_wait, enum tl_why *ret_why)
{
	struct tl_request *amid = NULL, *request;
	const struct tl_form *form = tl_form_find(proc->gate, line->template);

	*ret_wait = false;
	*ret_why = proc->started ? TL_WHY_FOREIGN : TL_WHY_NO_REQUEST;
	if (!actor)
		return NULL;
	request = answered_after(actor, line, &amid);
	if (amid) {
		*ret_why = amid_response(corr, actor, amid, line);
		return *ret_why == TL_WHY_NOTHING ? amid : NULL;
	}
	if (request) {
		*ret_why = before_response(corr, request, line);
		return *ret_why == TL_WHY_NOTHING ? request : NULL;
	}
	if (!has_open(proc, line->time_ns))
		*ret_why = TL_WHY_NO_REQUEST;
	else if (!tl_form_is_bracketed(corr, form, true))
		*ret_why = TL_WHY_UNPROVED;
	else
		*ret_wait = true;
	return NULL;
}

struct tl_request *tl_bracket_at(const struct tl_cproc *proc, const struct tl_actor *actor,
				 uint64_t time_ns, bool *ret_wait)
{
	const struct tl_line moment = {.time_ns = time_ns, .end_ns = time_ns};
	struct tl_request *amid = NULL, *request = NULL;

	if (actor)
		request = answered_after(actor, &moment, &amid);
	if (amid)
		request = amid;
	*ret_wait = !request && has_open(proc, time_ns);
	if (!request || request->pipelined || request->reader == request->writer ||
	    request->header_ns > time_ns || (!amid && is_cut(request, time_ns)))
		return NULL;
	return amid && !request->one_writer ? NULL : request;
}
