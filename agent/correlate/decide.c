/* SPDX-License-Identifier: Apache-2.0 */
/* Levels from strong to weak: the line's own id, unit, thread, their brackets, tail, an id in the
 * text. A weaker level speaks only where the stronger ones have nothing to say; an ambiguous one
 * silences all below it, and two that name different requests give none. A rule that is not
 * believed has no say, in what it finds ambiguous neither.
 *
 * The window of a request on its actor is [header complete, response complete], by the exit times
 * of the calls; both ends of a line must lie in it, and the process must not have lost an event
 * since the header. Within one actor these times are ordered, whatever CPU it ran on. */
#include "agent/correlate/decide.h"

#include "agent/correlate/actor.h"
#include "agent/correlate/bracket.h"
#include "agent/correlate/echo.h"
#include "agent/correlate/gate.h"
#include "agent/correlate/inline.h"
#include "agent/correlate/lineage.h"
#include "agent/correlate/request.h"
#include "agent/correlate/tail.h"

/* What the structural rules say. */
struct finding {
	bool wait;
	bool silences;	 /* found none, and no weaker rule may speak */
	bool straight;	 /* only if the thread gets no other work until the response */
	enum tl_how how; /* the rule that found it */
	enum tl_why why; /* NOTHING: `request` is the line's */
	struct tl_request *request;
};

static struct finding no(enum tl_why why)
{
	return (struct finding){.why = why};
}

/* When the request is over for its actor; UINT64_MAX while it is not. */
static uint64_t over_ns(const struct tl_request *request)
{
	uint64_t end_ns = request->state == TL_REQ_DONE ? request->end_ns : UINT64_MAX;

	return request->left_ns && request->left_ns < end_ns ? request->left_ns : end_ns;
}

/* The one request of the actor in whose window the line lies. */
static struct finding in_window(const struct tl_actor *actor, const struct tl_line *line)
{
	uint64_t next_ns, over;
	struct tl_request *request = tl_actor_at(actor, line->time_ns, &next_ns);

	if (!request)
		return no(TL_WHY_NO_REQUEST);
	over = over_ns(request);
	if (line->time_ns > over)
		return no(request->why ? (enum tl_why)request->why : TL_WHY_AFTER_RESPONSE);
	if (request->ambiguous)
		return no(TL_WHY_AMBIGUOUS);
	if (line->end_ns > over && request->why)
		return no((enum tl_why)request->why);
	if (line->end_ns > over || line->end_ns >= next_ns)
		return no(TL_WHY_AMBIGUOUS);
	if (line->lost_gen != request->lost_gen)
		return no(TL_WHY_LOST);
	return (struct finding){.request = request};
}

/* Nobody of that name has read a request. */
static struct finding stranger(const struct tl_cproc *proc, const struct tl_line *line)
{
	if (proc->blind_ns && line->time_ns < proc->blind_ns + TL_RECENT_NS)
		return no(TL_WHY_FULL);
	return no(proc->started ? TL_WHY_FOREIGN : TL_WHY_NO_REQUEST);
}

/* A thread of a service whose requests never overlapped: the line is its request's when the thread
 * could not have been given other work since it read it (ask_writer asks the same of the response).
 */
static bool is_straight(const struct tl_corr *corr, const struct tl_cproc *proc,
			const struct finding *finding, const struct tl_line *line)
{
	const struct tl_form *form;

	if (!finding->request || !proc->gate || line->wait_ns > finding->request->header_ns ||
	    tl_gate_state(corr, proc->gate, finding->how) != TL_GATE_STRAIGHT)
		return false;
	form = tl_form_find(proc->gate, line->template);
	return form && !form->ambient;
}

/* The request that the line's unit or thread has read. */
static struct finding by_reader(struct tl_corr *corr, const struct tl_cproc *proc,
				const struct tl_actor *actor, const struct tl_line *line)
{
	uint8_t kind = line->writer.unit_kind;
	enum tl_how rule = tl_rule_of(kind);
	struct finding finding;

	if (!actor || !actor->n_windows)
		return stranger(proc, line);
	finding = in_window(actor, line);
	finding.how = rule;
	/* An event loop (nginx) serves many requests on one thread, and its lines may still name
	 * their own. */
	if (is_straight(corr, proc, &finding, line)) {
		finding.straight = true;
		return finding;
	}
	if ((finding.request || (finding.why == TL_WHY_AMBIGUOUS && !tl_unit_is_own(kind))) &&
	    !tl_gate_open(corr, proc->gate, rule))
		return no(proc->gate ? TL_WHY_GATE_CLOSED : TL_WHY_FULL);
	finding.silences = finding.why == TL_WHY_AMBIGUOUS;
	return finding;
}

/* Two-sided: the request's reader must be the writer of its response too, as far as the line's
 * moment. */
static void ask_writer(struct finding *finding, const struct tl_line *line)
{
	struct tl_request *request = finding->request;

	if (request->state == TL_REQ_OPEN) {
		finding->wait = true;
		return;
	}
	if (finding->straight && request->writer_wait_ns > request->header_ns) {
		*finding = no(TL_WHY_GATE_CLOSED);
		return;
	}
	if (!request->proved) {
		*finding = no(request->why ? (enum tl_why)request->why : TL_WHY_UNANSWERED);
		finding->silences = true;
		return;
	}
	if (line->end_ns <= request->settled_ns)
		return;
	if (!request->one_writer || finding->straight) {
		*finding = no(TL_WHY_UNANSWERED);
		finding->silences = true;
		return;
	}
	finding->wait = request->state == TL_REQ_ANSWERING && !request->left_ns;
}

static struct finding by_bracket(struct tl_corr *corr, const struct tl_cproc *proc,
				 const struct tl_actor *actor, const struct tl_line *line)
{
	enum tl_how rule = tl_bracket_of(line->writer.unit_kind);
	struct finding finding = {.how = rule};

	if (!tl_gate_open(corr, proc->gate, rule))
		return no(TL_WHY_GATE_CLOSED);
	finding.request = tl_bracket_find(corr, proc, actor, line, &finding.wait, &finding.why);
	if (finding.wait)
		finding.why = TL_WHY_NOTHING;
	return finding;
}

static struct finding by_echo(struct tl_corr *corr, const struct tl_cproc *proc,
			      const struct tl_actor *actor, const struct tl_line *line)
{
	struct tl_request *request = tl_echo_of(proc, actor, line);

	if (!request || !tl_gate_open(corr, proc->gate, TL_HOW_ECHO) ||
	    !tl_form_is_echo(corr, tl_form_find(proc->gate, line->template)))
		return no(TL_WHY_FOREIGN);
	return (struct finding){.how = TL_HOW_ECHO, .request = request};
}

/* What the ancestor was at when the next of the line was born. */
static struct finding at_birth(struct tl_corr *corr, const struct tl_cproc *proc,
			       const struct tl_birth *birth)
{
	struct tl_actor *actor = tl_actor_find(corr, &birth->parent);
	bool own = tl_unit_is_own((uint8_t)birth->parent.kind);
	struct finding finding = {.how = own ? TL_HOW_UNIT : TL_HOW_UNIT_BRACKET};
	uint64_t next_ns;

	if (!own) {
		finding.request = tl_bracket_at(proc, actor, birth->born_ns, &finding.wait);
		return finding;
	}
	finding.request = actor ? tl_actor_at(actor, birth->born_ns, &next_ns) : NULL;
	if (!finding.request)
		return finding;
	finding.silences = true;
	if (birth->born_ns > over_ns(finding.request))
		finding.why = TL_WHY_AFTER_RESPONSE;
	else if (finding.request->ambiguous)
		finding.why = TL_WHY_AMBIGUOUS;
	return finding;
}

/* Whether the request that was found by descent can be the line's. */
static struct finding check_descent(struct finding finding, const struct tl_line *line)
{
	const struct tl_request *request = finding.request;
	uint64_t over = request->state == TL_REQ_DONE ? request->end_ns : UINT64_MAX;

	if (finding.why == TL_WHY_NOTHING && request->lost_gen != line->lost_gen)
		finding.why = TL_WHY_LOST;
	if (finding.why == TL_WHY_NOTHING && request->why)
		finding.why = (enum tl_why)request->why;
	if (finding.why == TL_WHY_NOTHING && over != UINT64_MAX &&
	    line->end_ns > over + TL_LINEAGE_NS)
		finding.why = TL_WHY_AFTER_RESPONSE;
	if (finding.why != TL_WHY_NOTHING)
		finding.request = NULL;
	return finding;
}

/* The line's unit was born of one that was at a request, or of one born so. The nearest ancestor
 * that was at one counts. */
static struct finding by_descent(struct tl_corr *corr, const struct tl_cproc *proc,
				 const struct tl_actor_key *key, const struct tl_line *line)
{
	const struct tl_birth *birth = tl_lineage_find(corr->lineage, key);
	bool own = tl_unit_is_own((uint8_t)key->kind), wait = false;
	enum tl_how rule = own ? TL_HOW_UNIT : TL_HOW_UNIT_BRACKET;

	if (!birth || !tl_gate_open(corr, proc->gate, rule) || line->time_ns < birth->born_ns)
		return no(TL_WHY_FOREIGN);
	for (int i = 0; birth && i < TL_LINEAGE_DEPTH; i++) {
		struct finding finding = at_birth(corr, proc, birth);

		if (finding.request)
			return check_descent(finding, line);
		wait |= finding.wait;
		birth = tl_lineage_find(corr->lineage, &birth->parent);
	}
	if (wait)
		return (struct finding){.how = rule, .wait = true};
	return no(TL_WHY_FOREIGN);
}

static struct finding by_tail(struct tl_corr *corr, const struct tl_actor *actor,
			      const struct tl_line *line)
{
	struct tl_request *request = tl_tail_of(corr, actor, line);

	if (!request || !tl_tail_believed(corr, request, line))
		return no(TL_WHY_AFTER_RESPONSE);
	return (struct finding){.how = TL_HOW_TAIL, .request = request};
}

static bool is_found(const struct finding *finding)
{
	return finding->request || finding->wait || finding->silences;
}

/* What the line's place between the events of its actor says. */
static struct finding by_place(struct tl_corr *corr, struct tl_cproc *proc,
			       const struct tl_line *line)
{
	const struct tl_writer *writer = &line->writer;
	struct tl_actor_key key =
		tl_actor_key_of(proc, writer->unit_kind, writer->unit, writer->tid);
	struct tl_actor *actor = tl_actor_find(corr, &key);
	struct finding first = by_reader(corr, proc, actor, line), next;

	/* A unit of its own is the request's, answered or not. */
	if (first.request && !tl_unit_is_own(writer->unit_kind))
		ask_writer(&first, line);
	if (is_found(&first))
		return first;
	/* Who has read or answered requests of its own is nobody's child any more. */
	if (writer->unit_kind != TL_UNIT_THREAD &&
	    (!actor || (!actor->n_windows && !actor->n_answered))) {
		next = by_descent(corr, proc, &key, line);
		if (is_found(&next))
			return next;
	}
	next = by_bracket(corr, proc, actor, line);
	if (is_found(&next))
		return next;
	/* That it is not proved is news where the rule is believed. */
	if (next.why == TL_WHY_CUT || next.why == TL_WHY_UNPROVED)
		first = next;
	next = by_echo(corr, proc, actor, line);
	if (is_found(&next))
		return next;
	next = by_tail(corr, actor, line);
	return is_found(&next) ? next : first;
}

static struct finding by_structure(struct tl_corr *corr, struct tl_cproc *proc,
				   const struct tl_line *line)
{
	uint8_t kind = line->writer.unit_kind;

	if (line->flags & TL_LINE_SHARED)
		return no(TL_WHY_SHARED);
	if (line->flags & TL_LINE_BATCHED)
		return no(TL_WHY_BATCHED);
	if (kind != TL_UNIT_THREAD && !line->writer.unit)
		return no(TL_WHY_UNIT_UNKNOWN);
	if (!proc)
		return no(tl_map_count(corr->procs) >= corr->options.max_procs ? TL_WHY_FULL
									       : TL_WHY_NO_REQUEST);
	if (!proc->gate)
		return no(TL_WHY_FULL);
	return by_place(corr, proc, line);
}

/* The line names the request of another id than the rule found: the rule is the weaker of the two.
 */
static void check_app(struct tl_corr *corr, struct tl_cproc *proc, const struct tl_line *line,
		      struct tl_span id)
{
	struct finding finding = by_structure(corr, proc, line);
	struct tl_matches matches;

	if (!finding.request || finding.wait)
		return;
	tl_inline_match_id(corr, proc, id, &matches);
	if (matches.n && !matches.several && !tl_inline_matched(&matches, finding.request))
		tl_gate_contradict(corr, proc->gate, finding.how);
}

static bool decide_app(struct tl_corr *corr, struct tl_cproc *proc, const struct tl_line *line,
		       struct tl_decision *ret)
{
	struct tl_span id;

	if (!tl_level_on(corr, TL_HOW_APP) || !tl_app_id(tl_buf_span(&line->bytes), &id))
		return false;
	if (proc && proc->tokens)
		check_app(corr, proc, line, id);
	ret->how = TL_HOW_APP;
	ret->why = TL_WHY_NOTHING;
	return true;
}

/* The text names another request than the rule: the weaker of the two is the text. A form that had
 * to prove itself by its place has failed as well. */
static void disagree(struct tl_corr *corr, struct tl_cproc *proc, const struct tl_line *line,
		     struct tl_decision *ret)
{
	struct tl_form *form = tl_form_find(proc->gate, line->template);

	tl_gate_contradict(corr, proc->gate, TL_HOW_INLINE);
	if (form && (ret->how == TL_HOW_TAIL || ret->how == tl_bracket_of(line->writer.unit_kind)))
		tl_form_ambient(corr, proc->gate, form);
	ret->how = TL_HOW_NONE;
	ret->why = TL_WHY_AMBIGUOUS;
	ret->request = NULL;
}

/* What the text says, beside what the structure found. */
static void add_inline(struct tl_corr *corr, struct tl_cproc *proc, const struct tl_line *line,
		       struct tl_decision *ret)
{
	struct tl_matches matches;

	if (!tl_level_on(corr, TL_HOW_INLINE) || !proc || !proc->tokens ||
	    ret->why == TL_WHY_AMBIGUOUS)
		return;
	tl_inline_match(corr, proc, tl_buf_span(&line->bytes), &matches);
	if (!matches.n || matches.several)
		return;
	if (ret->request) {
		if (tl_inline_matched(&matches, ret->request))
			return;
		disagree(corr, proc, line, ret);
	} else if (tl_inline_one(&matches) && tl_gate_open(corr, proc->gate, TL_HOW_INLINE)) {
		ret->how = TL_HOW_INLINE;
		ret->why = TL_WHY_NOTHING;
		ret->request = matches.request[0];
	}
}

/* Level single, a guess: the only request that the process serves, when none has ended of late and
 * the line's form was never seen while it served nothing. */
static struct tl_request *guess(const struct tl_corr *corr, const struct tl_cproc *proc,
				const struct tl_line *line)
{
	const struct tl_form *form;

	if (!(corr->options.levels & TL_LEVEL_SINGLE) || !proc || !proc->gate ||
	    proc->open_server != 1 || proc->ended_ns + corr->options.hold_ns > line->time_ns)
		return NULL;
	form = tl_form_find(proc->gate, line->template);
	if (!form || form->ambient)
		return NULL;
	for (struct tl_request *r = proc->open; r; r = r->next_open)
		if (r->server && r->header_ns <= line->time_ns)
			return r;
	return NULL;
}

bool tl_decide(struct tl_corr *corr, struct tl_cproc *proc, const struct tl_line *line,
	       enum tl_why give_up, struct tl_decision *ret)
{
	struct finding finding;

	*ret = (struct tl_decision){.why = TL_WHY_OFF, .gate = proc ? proc->gate : NULL};
	if (corr->options.off || decide_app(corr, proc, line, ret))
		return true;
	finding = by_structure(corr, proc, line);
	if (finding.wait && give_up == TL_WHY_NOTHING)
		return false;
	if (finding.wait)
		finding = no(give_up);
	ret->why = finding.why;
	if (finding.request) {
		ret->how = finding.how;
		ret->request = finding.request;
	}
	add_inline(corr, proc, line, ret);
	if (ret->how == TL_HOW_NONE)
		ret->candidate = guess(corr, proc, line);
	return true;
}

void tl_decision_tell(struct tl_corr *corr, const struct tl_decision *decision,
		      struct tl_attribution *ret)
{
	*ret = (struct tl_attribution){.how = decision->how, .why = decision->why};
	corr->usage.how[ret->how]++;
	if (decision->gate)
		decision->gate->rules[ret->how].lines++;
	if (ret->how == TL_HOW_NONE) {
		corr->usage.why[ret->why]++;
		if (decision->gate)
			decision->gate->why[ret->why]++;
	}
	if (!decision->request && !decision->candidate)
		return;
	tl_request_ids(corr, decision->request ? decision->request : decision->candidate,
		       &corr->answer);
	if (decision->request)
		ret->ids = &corr->answer;
	else
		ret->candidate = &corr->answer;
}
