/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/correlate/tail.h"

#include "agent/correlate/gate.h"

void tl_tail_begin(struct tl_request *request)
{
	if (request->writer && request->one_writer && !request->pipelined)
		request->writer->tail = request;
}

void tl_tail_end(struct tl_corr *corr, struct tl_actor *actor)
{
	struct tl_request *request = TAKE_PTR(actor->tail);

	if (request)
		request->tail_until_ns = corr->at_ns;
}

void tl_tail_given(struct tl_corr *corr, struct tl_actor *actor)
{
	if (actor->tail && !actor->tail->tail_given_ns)
		actor->tail->tail_given_ns = corr->at_ns;
}

/* The actor read the request that it answered, and the rule that says so has not been disproved. */
static bool is_dedicated(const struct tl_request *request)
{
	uint8_t kind = (uint8_t)request->writer->key.kind;
	const struct tl_gate *gate = request->proc->gate;

	if (kind != TL_UNIT_THREAD && request->reader != request->writer)
		return !gate->rules[TL_HOW_UNIT_BRACKET].contradicts;
	return request->proved && !gate->rules[tl_rule_of(kind)].contradicts;
}

/* The thread can have been given nothing since the response. */
static bool is_strict(const struct tl_request *request, const struct tl_line *line)
{
	return line->writer.unit_kind == TL_UNIT_THREAD && line->wait_ns <= request->end_ns &&
	       (!request->tail_given_ns || line->end_ns < request->tail_given_ns);
}

/* Threads of the service take work that nobody sees them take. */
static bool is_blind(const struct tl_request *request)
{
	const struct tl_gate *gate = request->proc->gate;

	return !gate || (request->writer->key.kind == TL_UNIT_THREAD && gate->handed_over);
}

static bool is_finished(const struct tl_request *request)
{
	return request->state == TL_REQ_DONE && request->complete && request->one_writer &&
	       !request->pipelined;
}

/* The response of the actor that ended last, other than `but`, by then. */
static struct tl_request *ended_last(const struct tl_actor *actor, uint64_t by_ns,
				     const struct tl_request *but)
{
	struct tl_request *last = NULL;

	for (uint32_t i = 0; i < actor->n_answered; i++) {
		struct tl_request *request = actor->answered[i];

		if (request->state == TL_REQ_DONE && request->end_ns <= by_ns && request != but &&
		    (!last || request->end_ns >= last->end_ns))
			last = request;
	}
	return last;
}

struct tl_request *tl_tail_of(const struct tl_corr *corr, const struct tl_actor *actor,
			      const struct tl_line *line)
{
	struct tl_request *request = actor ? ended_last(actor, line->time_ns, NULL) : NULL;

	if (!request || !is_finished(request) || !tl_level_on(corr, TL_HOW_TAIL) ||
	    line->lost_gen != request->lost_gen)
		return NULL;
	if (request->tail_until_ns && line->end_ns >= request->tail_until_ns)
		return NULL;
	if (line->end_ns > request->end_ns + TL_TAIL_NS || is_blind(request))
		return NULL;
	return is_strict(request, line) || is_dedicated(request) ? request : NULL;
}

static bool has_form(const struct tl_request *request, const struct tl_form *form)
{
	for (int i = 0; i < TL_TAIL_FORMS; i++)
		if (request->tail_forms[i] == form->hash)
			return true;
	return false;
}

/* The response before had none of the form, and would have been seen to have it. */
static bool lacks_form(const struct tl_request *request, const struct tl_request *before,
		       const struct tl_form *form)
{
	return before && is_finished(before) && before->lost_gen == request->lost_gen &&
	       before->end_ns >= request->proc->sure_ns && !has_form(before, form);
}

/* False when there is no room. */
static bool note_form(struct tl_request *request, const struct tl_form *form)
{
	for (int i = 0; i < TL_TAIL_FORMS; i++)
		if (!request->tail_forms[i]) {
			request->tail_forms[i] = form->hash;
			return true;
		}
	return false;
}

void tl_tail_sight(struct tl_corr *corr, struct tl_request *request, struct tl_form *form)
{
	struct tl_gate *gate = request->proc->gate;
	const struct tl_request *before = ended_last(request->writer, request->end_ns, request);

	if (has_form(request, form) || !note_form(request, form)) {
		tl_form_refute_tail(corr, gate, form);
		return;
	}
	if (lacks_form(request, before, form))
		tl_form_refute_tail(corr, gate, form);
	tl_form_tail(corr, gate, form);
}

static bool has_open(const struct tl_actor *actor)
{
	for (uint32_t i = 0; i < actor->n_windows; i++)
		if (actor->windows[i]->state != TL_REQ_DONE)
			return true;
	return false;
}

void tl_tail_miss(struct tl_corr *corr, const struct tl_actor *actor, const struct tl_line *line,
		  struct tl_form *form)
{
	const struct tl_request *request = actor ? actor->tail : NULL;

	if (request && line->wait_ns > request->end_ns && !has_open(actor))
		tl_form_refute_tail(corr, request->proc->gate, form);
}

bool tl_tail_believed(const struct tl_corr *corr, const struct tl_request *request,
		      const struct tl_line *line)
{
	const struct tl_gate *gate = request->proc->gate;
	uint8_t kind = line->writer.unit_kind;
	enum tl_how rule = tl_rule_of(kind);

	if (!tl_form_is_tail(corr, tl_form_find(gate, line->template)))
		return false;
	if (kind != TL_UNIT_THREAD && request->reader != request->writer)
		rule = TL_HOW_UNIT_BRACKET;
	return is_strict(request, line) || tl_gate_open(corr, gate, rule);
}
