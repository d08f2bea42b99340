/* SPDX-License-Identifier: Apache-2.0 */
/* The entry points. Each event first brings the clock and the process up to date (a refused event
 * ends what was open), then changes the objects, then releases the lines that the change has
 * decided; so a line never sees half of an event. */
#include "agent/correlate/correlate.h"

#include "agent/correlate/actor.h"
#include "agent/correlate/bracket.h"
#include "agent/correlate/calls.h"
#include "agent/correlate/conn.h"
#include "agent/correlate/decide.h"
#include "agent/correlate/echo.h"
#include "agent/correlate/form.h"
#include "agent/correlate/gate.h"
#include "agent/correlate/hold.h"
#include "agent/correlate/lineage.h"
#include "agent/correlate/proc.h"
#include "agent/correlate/relay.h"
#include "agent/correlate/request.h"
#include "agent/correlate/tail.h"

static void set_defaults(struct tl_corr_options *options)
{
	if (!options->hold_ns)
		options->hold_ns = UINT64_C(500000000);
	if (!options->hold_bytes)
		options->hold_bytes = UINT64_C(1) << 20;
	if (!options->gate_confirms)
		options->gate_confirms = 300;
	if (!options->levels)
		options->levels = TL_LEVELS_ALL;
	if (!options->max_conns)
		options->max_conns = 65536;
	if (!options->max_requests)
		options->max_requests = 65536;
	if (!options->max_procs)
		options->max_procs = 32768;
}

static bool make_tables(struct tl_corr *corr)
{
	const struct tl_corr_options *options = &corr->options;

	corr->procs = tl_map_new(sizeof(uint32_t), sizeof(void *), options->max_procs);
	corr->gates = tl_map_new(3 * sizeof(uint64_t), sizeof(void *), options->max_procs);
	corr->actors =
		tl_map_new(sizeof(struct tl_actor_key), sizeof(void *), options->max_requests);
	corr->conns = tl_map_new(sizeof(struct tl_sock_key), sizeof(void *), options->max_conns);
	corr->index = tl_map_new(sizeof(uint64_t), sizeof(void *),
				 (size_t)options->max_requests * TL_TOKENS_MAX);
	corr->lineage = tl_lineage_new(options->max_requests);
	corr->ends = tl_map_new(sizeof(struct tl_place), 2 * sizeof(void *), options->max_requests);
	corr->relay = tl_relay_new();
	corr->calls = tl_calls_new();
	return corr->procs && corr->gates && corr->actors && corr->conns && corr->index &&
	       corr->lineage && corr->ends && corr->relay && corr->calls;
}

int tl_corr_new(const struct tl_corr_options *options, struct tl_corr **ret_corr,
		struct tl_error *error)
{
	_cleanup_(tl_corr_freep) struct tl_corr *corr = calloc(1, sizeof(*corr));

	if (!corr)
		return tl_error_set(error, -ENOMEM, "no memory for correlation");
	corr->options = *options;
	set_defaults(&corr->options);
	strncpy(corr->instance, options->instance ? options->instance : "",
		sizeof(corr->instance) - 1);
	if (!make_tables(corr))
		return tl_error_set(error, -ENOMEM, "no memory for the tables of correlation");
	*ret_corr = TAKE_PTR(corr);
	return 0;
}

static void free_gates(struct tl_corr *corr)
{
	size_t iter = 0;
	void *value;

	while (corr->gates && tl_map_next(corr->gates, &iter, NULL, &value)) {
		tl_form_free(corr, *(struct tl_gate **)value);
		free(*(struct tl_gate **)value);
	}
}

static void free_actors(struct tl_corr *corr)
{
	size_t iter = 0;
	void *value;

	while (tl_map_next(corr->actors, &iter, NULL, &value)) {
		struct tl_actor *actor = *(struct tl_actor **)value;

		free(actor->seen);
		free(actor);
	}
}

void tl_corr_free(struct tl_corr *corr)
{
	if (!corr)
		return;
	/* Nobody is told any more. */
	corr->options.exchange = NULL;
	corr->options.ignore = NULL;
	if (corr->actors && corr->conns && corr->index && corr->procs && corr->gates &&
	    corr->ends && corr->relay) {
		tl_hold_free_all(corr);
		tl_conn_free_all(corr);
		tl_request_free_all(corr);
		free_actors(corr);
		tl_cproc_free_all(corr);
	}
	free_gates(corr);
	tl_map_free(corr->procs);
	tl_map_free(corr->gates);
	tl_map_free(corr->actors);
	tl_map_free(corr->conns);
	tl_map_free(corr->index);
	tl_lineage_free(corr->lineage);
	tl_map_free(corr->ends);
	tl_relay_free(corr->relay);
	tl_calls_free(corr->calls);
	free(corr);
}

static void advance(struct tl_corr *corr, uint64_t time_ns)
{
	corr->at_ns = time_ns;
	if (time_ns > corr->now_ns)
		corr->now_ns = time_ns;
	tl_request_expire(corr);
	tl_actor_expire(corr);
}

static void on_socket_end(struct tl_corr *corr, const struct tl_ev_wire *event, bool over)
{
	struct tl_sock_key key = {event->sock, event->sock_ino};
	struct tl_conn *conn = tl_conn_find(corr, &key);

	if (conn && !over)
		tl_conn_shut(conn);
	else if (conn)
		tl_conn_end(conn);
}

static void on_bytes(struct tl_corr *corr, const struct tl_ev_wire *event, const char *data)
{
	struct tl_sock_key key = {event->sock, event->sock_ino};
	struct tl_cproc *proc = tl_cproc_get(corr, event->h.tgid, event->h.start_ns);
	struct tl_conn *conn;
	bool full = false;

	if (!proc)
		return;
	corr->event_proc = proc;
	tl_cproc_gen(corr, proc, event->h.lost_gen);
	if (event->h.syscall_class == TL_CALL_CONNECT)
		return tl_relay_connect(corr);
	conn = tl_conn_find(corr, &key);
	if (conn)
		tl_conn_use(corr, conn, proc);
	else
		conn = tl_conn_new(corr, data, &full);
	if (full)
		tl_cproc_blind(corr, proc);
	if (conn)
		tl_conn_read(corr, conn, data);
	tl_relay_touch(corr, tl_conn_find(corr, &key));
	/* A request read from a connection that had been reset will have no answer, and its end is
	 * told by nothing else. */
	if (event->h.flags & TL_EVF_SHUT)
		on_socket_end(corr, event, true);
}

void tl_corr_wire(struct tl_corr *corr, const struct tl_ev_wire *event, const char *data)
{
	if (corr->options.off)
		return;
	advance(corr, event->h.time_ns);
	corr->event = event;
	if (event->h.type == TL_EV_SOCK)
		on_socket_end(corr, event, !(event->h.flags & TL_EVF_SHUT));
	else
		on_bytes(corr, event, data);
	corr->event = NULL;
	corr->event_proc = NULL;
	tl_hold_review(corr);
}

static void on_fork(struct tl_corr *corr, const struct tl_ev_proc *event)
{
	struct tl_cproc **slot = tl_map_get(corr->procs, &event->parent);
	uint64_t service = slot ? (*slot)->service : 0;
	struct tl_cproc *child = tl_cproc_get(corr, event->h.tgid, event->h.start_ns);

	/* A child runs its parent's program until it executes another. */
	if (child && service)
		tl_gate_join(corr, child, service);
}

void tl_corr_proc(struct tl_corr *corr, const struct tl_ev_proc *event, uint64_t service)
{
	struct tl_cproc *proc;

	if (corr->options.off)
		return;
	advance(corr, event->h.time_ns);
	switch (event->what) {
	case TL_PROC_FORK:
		on_fork(corr, event);
		break;
	case TL_PROC_EXEC:
		proc = tl_cproc_get(corr, event->h.tgid, event->h.start_ns);
		if (proc)
			tl_cproc_exec(corr, proc, service);
		break;
	case TL_PROC_EXIT:
		proc = tl_cproc_find(corr, event->h.tgid, event->h.start_ns);
		if (proc)
			tl_cproc_exit(corr, proc);
		break;
	case TL_PROC_SELECTED:
		proc = tl_cproc_get(corr, event->h.tgid, event->h.start_ns);
		if (proc && service)
			tl_gate_join(corr, proc, service);
		break;
	}
	tl_hold_review(corr);
}

void tl_corr_unit(struct tl_corr *corr, const struct tl_ev_unit *event)
{
	const struct tl_event *h = &event->h;
	struct tl_cproc *proc;
	struct tl_actor_key child;
	struct tl_birth birth;

	if (corr->options.off || h->unit_kind == TL_UNIT_THREAD || !h->unit)
		return;
	advance(corr, h->time_ns);
	proc = tl_cproc_get(corr, h->tgid, h->start_ns);
	if (!proc)
		return;
	tl_cproc_gen(corr, proc, h->lost_gen);
	tl_gate_units(corr, proc->gate, h->unit_kind);
	child = tl_actor_key_of(proc, h->unit_kind, h->unit, h->tid);
	birth.parent = tl_actor_key_of(proc, h->unit_kind, event->parent, h->tid);
	birth.born_ns = h->time_ns;
	/* Most are born of nobody's work: a server's own. */
	if (event->parent && (!tl_unit_is_own(h->unit_kind) || tl_actor_find(corr, &birth.parent) ||
			      tl_lineage_find(corr->lineage, &birth.parent)))
		tl_lineage_add(corr->lineage, &child, &birth);
	tl_hold_review(corr);
}

void tl_corr_call(struct tl_corr *corr, const struct tl_ev_unit *event)
{
	struct tl_cproc *proc;

	if (corr->options.off)
		return;
	advance(corr, event->h.time_ns);
	proc = tl_cproc_get(corr, event->h.tgid, event->h.start_ns);
	if (!proc)
		return;
	tl_cproc_gen(corr, proc, event->h.lost_gen);
	tl_calls_add(corr->calls, proc, event);
	tl_hold_review(corr);
}

void tl_corr_service(struct tl_corr *corr, uint32_t tgid, uint64_t start_ns, uint64_t service)
{
	struct tl_cproc *proc;

	if (corr->options.off || !service)
		return;
	proc = tl_cproc_get(corr, tgid, start_ns);
	if (proc)
		tl_gate_join(corr, proc, service);
	tl_hold_review(corr);
}

void tl_corr_serial(struct tl_corr *corr, uint32_t tgid, uint64_t start_ns)
{
	struct tl_cproc *proc = corr->options.off ? NULL : tl_cproc_get(corr, tgid, start_ns);

	if (proc && proc->gate)
		proc->gate->serial = true;
}

/* Who wrote the line, when lines of it may be waiting. */
static struct tl_actor *writer_of(struct tl_corr *corr, struct tl_cproc *proc,
				  const struct tl_line *line)
{
	struct tl_actor_key key;

	if (!proc)
		return NULL;
	key = tl_actor_key_of(proc, line->writer.unit_kind, line->writer.unit, line->writer.tid);
	return tl_actor_find(corr, &key);
}

/* Lines of one writer keep their order: behind one that waits, every other waits too. Where there
 * is no room, those before it are released as they stand; inside `released` that happens later, so
 * the line queues all the same. */
static bool must_wait(struct tl_corr *corr, struct tl_cproc *proc, struct tl_line *line,
		      struct tl_decision *ret)
{
	struct tl_actor *writer = writer_of(corr, proc, line);
	bool behind = writer && writer->holds;

	if (!behind && tl_decide(corr, proc, line, TL_WHY_NOTHING, ret))
		return false;
	if (writer && tl_hold_add(corr, writer, line, false))
		return true;
	corr->usage.full++;
	if (behind)
		tl_hold_give_up(corr, writer, TL_WHY_FULL);
	writer = writer_of(corr, proc, line);
	if (writer && writer->holds && tl_hold_add(corr, writer, line, true))
		return true;
	tl_decide(corr, proc, line, TL_WHY_FULL, ret);
	return false;
}

/* Whether what stands in the line's place may be its own form's evidence. */
static bool is_evidence(const struct tl_corr *corr, const struct tl_cproc *proc,
			const struct tl_line *line)
{
	const uint32_t by_form = 1u << TL_HOW_TAIL | 1u << TL_HOW_THREAD_BRACKET |
				 1u << TL_HOW_UNIT_BRACKET | TL_LEVEL_SINGLE;

	/* A joined line comes later than it was written. */
	return proc->started && line->time_ns >= proc->sure_ns && proc->gate &&
	       (corr->options.levels & by_form) &&
	       !(line->flags & (TL_LINE_SHARED | TL_LINE_BATCHED | TL_LINE_JOINED)) &&
	       (line->writer.unit_kind == TL_UNIT_THREAD || line->writer.unit);
}

/* Notes where a line of this form stood. */
static void sight(struct tl_corr *corr, struct tl_cproc *proc, struct tl_line *line)
{
	const struct tl_writer *writer = &line->writer;
	struct tl_actor_key key =
		tl_actor_key_of(proc, writer->unit_kind, writer->unit, writer->tid);
	struct tl_actor *actor = tl_actor_find(corr, &key);
	struct tl_request *request = tl_tail_of(corr, actor, line);
	struct tl_form *form;

	/* Its unit says whose it is. */
	if (actor && actor->current && tl_unit_is_own(writer->unit_kind))
		return;
	line->template = tl_form_hash(tl_buf_span(&line->bytes));
	form = tl_form_get(corr, proc->gate, line->template);
	if (!form)
		return;
	if (request)
		tl_tail_sight(corr, request, form);
	else
		tl_tail_miss(corr, actor, line, form);
	if (!proc->open_server && (!request || form->tail_refuted))
		tl_form_ambient(corr, proc->gate, form);
	tl_echo_sight(corr, proc, actor, line, form);
	tl_bracket_sight(corr, proc, &key, line, form);
}

/* What a line tells about its process. */
static void learn(struct tl_corr *corr, struct tl_cproc *proc, struct tl_line *line)
{
	corr->at_ns = line->end_ns;
	tl_cproc_gen(corr, proc, line->lost_gen);
	tl_gate_units(corr, proc->gate, line->writer.unit_kind);
	line->template = 0;
	if (is_evidence(corr, proc, line))
		sight(corr, proc, line);
	tl_hold_review(corr);
}

int tl_corr_line(struct tl_corr *corr, struct tl_line *line, struct tl_attribution *ret)
{
	struct tl_cproc *proc = tl_cproc_find(corr, line->writer.tgid, line->writer.start_ns);
	struct tl_decision decision;
	bool waits;

	if (proc) {
		tl_cproc_ref(proc);
		learn(corr, proc, line);
	}
	waits = must_wait(corr, proc, line, &decision);
	/* The decision may have closed a gate under other lines. */
	tl_hold_review(corr);
	if (!waits)
		tl_decision_tell(corr, &decision, ret);
	if (proc)
		tl_cproc_unref(corr, proc);
	return !waits;
}

uint64_t tl_corr_tick(struct tl_corr *corr, uint64_t now_ns)
{
	advance(corr, now_ns);
	return tl_hold_expire(corr, now_ns);
}

void tl_corr_flush(struct tl_corr *corr)
{
	tl_hold_flush(corr);
}

void tl_corr_usage(const struct tl_corr *corr, struct tl_corr_usage *ret)
{
	*ret = corr->usage;
	ret->conns = tl_map_count(corr->conns);
	ret->requests = corr->n_requests;
}
