/* SPDX-License-Identifier: Apache-2.0 */
/* Levels from strong to weak: the line's own id, unit, thread, an id in the text. A weaker level
 * speaks only where the stronger ones have nothing to say; an ambiguous one silences all below it,
 * and two that name different requests give none.
 *
 * The window of a request on its actor is [header complete, response complete], by the exit times
 * of the calls; both ends of a line must lie in it, and the process must not have lost an event
 * since the header. Within one actor these times are ordered, whatever CPU it ran on. */
#include "agent/correlate/decide.h"

#include "agent/correlate/actor.h"
#include "agent/correlate/gate.h"
#include "agent/correlate/inline.h"
#include "agent/correlate/request.h"

/* What the structural rules say. */
struct finding {
	bool wait;
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

static struct finding by_unit(struct tl_corr *corr, struct tl_cproc *proc,
			      const struct tl_line *line)
{
	const struct tl_writer *writer = &line->writer;
	struct tl_actor_key key =
		tl_actor_key_of(proc, writer->unit_kind, writer->unit, writer->tid);
	struct tl_actor *actor = tl_actor_find(corr, &key);
	struct finding finding;

	if (!actor)
		return stranger(proc, line);
	finding = in_window(actor, line);
	if (finding.request && !tl_gate_unit_open(proc->gate))
		return no(proc->gate ? TL_WHY_GATE_CLOSED : TL_WHY_FULL);
	return finding;
}

/* Two-sided: the request's reader must be the writer of its response too, as far as the line's
 * moment. */
static struct finding by_thread(struct tl_corr *corr, struct tl_cproc *proc,
				const struct tl_line *line)
{
	const struct tl_writer *writer = &line->writer;
	struct tl_actor_key key = tl_actor_key_of(proc, TL_UNIT_THREAD, 0, writer->tid);
	struct tl_actor *actor = tl_actor_find(corr, &key);
	struct finding finding;
	struct tl_request *request;

	if (!actor || !actor->n_windows)
		return stranger(proc, line);
	finding = in_window(actor, line);
	request = finding.request;
	/* A rule that is not believed has no say, in what it finds ambiguous neither: an event loop
	 * (nginx) serves many requests on one thread, and its lines may still name their own. */
	if (!request && finding.why != TL_WHY_AMBIGUOUS)
		return finding;
	if (!tl_gate_thread_open(corr, proc->gate))
		return no(proc->gate ? TL_WHY_GATE_CLOSED : TL_WHY_FULL);
	if (!request)
		return finding;
	if (request->state == TL_REQ_OPEN)
		return (struct finding){.wait = true, .request = request};
	if (!request->proved)
		return no(request->why ? (enum tl_why)request->why : TL_WHY_UNANSWERED);
	if (line->end_ns <= request->settled_ns)
		return finding;
	if (!request->one_writer)
		return no(TL_WHY_UNANSWERED);
	finding.wait = request->state == TL_REQ_ANSWERING && !request->left_ns;
	return finding;
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
	return kind == TL_UNIT_THREAD ? by_thread(corr, proc, line) : by_unit(corr, proc, line);
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
		tl_gate_contradict(corr, proc->gate, (enum tl_unit_kind)line->writer.unit_kind);
}

static bool decide_app(struct tl_corr *corr, struct tl_cproc *proc, const struct tl_line *line,
		       struct tl_decision *ret)
{
	struct tl_span id;

	if (corr->options.no_inline || !tl_app_id(tl_buf_span(&line->bytes), &id))
		return false;
	if (proc && proc->tokens)
		check_app(corr, proc, line, id);
	*ret = (struct tl_decision){.how = TL_HOW_APP};
	return true;
}

/* What the text says, beside what the structure found. */
static void add_inline(struct tl_corr *corr, struct tl_cproc *proc, const struct tl_line *line,
		       struct tl_decision *ret)
{
	struct tl_matches matches;

	if (corr->options.no_inline || !proc || !proc->tokens || ret->why == TL_WHY_AMBIGUOUS)
		return;
	tl_inline_match(corr, proc, tl_buf_span(&line->bytes), &matches);
	if (!matches.n || matches.several)
		return;
	if (ret->request) {
		if (tl_inline_matched(&matches, ret->request))
			return;
		tl_gate_contradict_inline(corr, proc->gate);
		*ret = (struct tl_decision){.why = TL_WHY_AMBIGUOUS};
	} else if (tl_inline_one(&matches) && tl_gate_inline_open(proc->gate)) {
		*ret = (struct tl_decision){.how = TL_HOW_INLINE, .request = matches.request[0]};
	}
}

bool tl_decide(struct tl_corr *corr, struct tl_cproc *proc, const struct tl_line *line,
	       enum tl_why give_up, struct tl_decision *ret)
{
	struct finding finding;

	*ret = (struct tl_decision){.why = TL_WHY_OFF};
	if (corr->options.off || decide_app(corr, proc, line, ret))
		return true;
	finding = by_structure(corr, proc, line);
	if (finding.wait && give_up == TL_WHY_NOTHING)
		return false;
	if (finding.wait)
		finding = no(give_up);
	ret->why = finding.why;
	if (finding.request) {
		ret->how = line->writer.unit_kind == TL_UNIT_THREAD ? TL_HOW_THREAD : TL_HOW_UNIT;
		ret->request = finding.request;
	}
	add_inline(corr, proc, line, ret);
	return true;
}

void tl_decision_tell(struct tl_corr *corr, const struct tl_decision *decision,
		      struct tl_attribution *ret)
{
	*ret = (struct tl_attribution){.how = decision->how, .why = decision->why};
	corr->usage.how[ret->how]++;
	if (ret->how == TL_HOW_NONE)
		corr->usage.why[ret->why]++;
	if (!decision->request)
		return;
	tl_request_ids(corr, decision->request, &corr->answer);
	ret->ids = &corr->answer;
}
