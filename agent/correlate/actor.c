/* SPDX-License-Identifier: Apache-2.0 */
/* What is evidence. For: the response's head is written by the actor that completed the request's
 * header, nothing else of a server was touched between, and (threads) another request of the
 * process was open meanwhile. The last condition is what makes an event loop that has only ever had
 * one request at a time prove nothing: there the reader always is the writer, and timers log
 * between the two all the same. Against: another actor writes the response; an actor completes a
 * second header, or moves bytes of another server connection, before it has answered the first.
 * What only the client did (two requests in one segment) is no evidence, but ambiguous. */
#include "agent/correlate/actor.h"

#include "agent/correlate/bracket.h"
#include "agent/correlate/gate.h"
#include "agent/correlate/hold.h"
#include "agent/correlate/proc.h"
#include "agent/correlate/tail.h"

struct tl_actor_key tl_actor_key_of(const struct tl_cproc *proc, uint8_t unit_kind, uint64_t unit,
				    uint32_t tid)
{
	return (struct tl_actor_key){
		.proc = proc->serial,
		.id = unit_kind == TL_UNIT_THREAD ? tid : unit,
		.kind = unit_kind,
	};
}

struct tl_actor *tl_actor_find(const struct tl_corr *corr, const struct tl_actor_key *key)
{
	struct tl_actor **slot = tl_map_get(corr->actors, key);

	return slot ? *slot : NULL;
}

struct tl_actor *tl_actor_get(struct tl_corr *corr, struct tl_cproc *proc,
			      const struct tl_actor_key *key)
{
	struct tl_actor *actor = tl_actor_find(corr, key), **slot;

	if (actor)
		return actor;
	actor = calloc(1, sizeof(*actor));
	if (!actor)
		return NULL;
	slot = tl_map_put(corr->actors, key, NULL);
	if (!slot) {
		free(actor);
		return NULL;
	}
	*slot = actor;
	actor->key = *key;
	actor->proc = proc;
	tl_cproc_ref(proc);
	return actor;
}

void tl_actor_watch(struct tl_corr *corr, struct tl_actor *actor)
{
	if (actor->watched_ns)
		return;
	actor->watched_ns = corr->now_ns;
	actor->next_watched = NULL;
	actor->prev_watched = corr->watched_tail;
	if (corr->watched_tail)
		corr->watched_tail->next_watched = actor;
	else
		corr->watched = actor;
	corr->watched_tail = actor;
}

void tl_actor_unwatch(struct tl_corr *corr, struct tl_actor *actor)
{
	if (!actor->watched_ns || actor->n_seen || actor->echo.number)
		return;
	if (actor->prev_watched)
		actor->prev_watched->next_watched = actor->next_watched;
	else
		corr->watched = actor->next_watched;
	if (actor->next_watched)
		actor->next_watched->prev_watched = actor->prev_watched;
	else
		corr->watched_tail = actor->prev_watched;
	actor->next_watched = actor->prev_watched = NULL;
	actor->watched_ns = 0;
}

void tl_actor_expire(struct tl_corr *corr)
{
	struct tl_actor *actor;

	while ((actor = corr->watched) && actor->watched_ns + TL_RECENT_NS < corr->now_ns) {
		tl_bracket_expire(corr, actor);
		actor->echo = (struct tl_echo){0};
		tl_actor_unwatch(corr, actor);
		tl_actor_settle(corr, actor);
	}
}

void tl_actor_settle(struct tl_corr *corr, struct tl_actor *actor)
{
	struct tl_cproc *proc = actor->proc;

	if (actor->refs || actor->holds || actor->dirty || actor->watched_ns)
		return;
	tl_map_del(corr->actors, &actor->key);
	free(actor->seen);
	free(actor);
	tl_cproc_unref(corr, proc);
}

static void ambiguous(struct tl_corr *corr, struct tl_request *request)
{
	request->ambiguous = true;
	if (request->reader)
		tl_hold_dirty(corr, request->reader);
}

static void contradict(struct tl_corr *corr, const struct tl_actor *actor)
{
	tl_gate_contradict(corr, actor->proc->gate, tl_rule_of((uint8_t)actor->key.kind));
}

/* A response without a length lasts until its connection ends, and the end is seen late (the peer
 * has to close as well): the reader that goes on to other work has finished it. */
static bool moved_on(struct tl_corr *corr, struct tl_actor *actor)
{
	struct tl_request *current = actor->current;

	if (current->state != TL_REQ_ANSWERING || !current->until_close)
		return false;
	current->left_ns = corr->event->h.time_ns;
	actor->current = NULL;
	tl_hold_dirty(corr, actor);
	return true;
}

/* The last request of the list makes room; it may be the reader's or the writer's. */
static uint32_t remember(struct tl_request **list, uint32_t n, struct tl_request *request)
{
	if (n == TL_WINDOWS) {
		memmove(list, list + 1, (TL_WINDOWS - 1) * sizeof(list[0]));
		n--;
	}
	list[n] = request;
	return n + 1;
}

static uint32_t forget(struct tl_request **list, uint32_t n, const struct tl_request *request)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < n; i++)
		if (list[i] != request)
			list[kept++] = list[i];
	return kept;
}

void tl_actor_bind(struct tl_corr *corr, struct tl_actor *actor, struct tl_request *request,
		   bool mixed)
{
	struct tl_request *current = actor->current;

	request->reader = actor;
	actor->refs++;
	actor->n_windows = remember(actor->windows, actor->n_windows, request);
	request->pipelined |= mixed;
	if (mixed)
		ambiguous(corr, request);
	if (current && !moved_on(corr, actor)) {
		ambiguous(corr, current);
		ambiguous(corr, request);
		/* Another connection's was judged when it was touched. */
		if (current->conn == request->conn && !mixed)
			contradict(corr, actor);
	}
	actor->current = request;
}

static void touch_current(struct tl_corr *corr, struct tl_actor *actor, const struct tl_conn *conn)
{
	struct tl_request *current = actor->current;

	if (!current || current->conn == conn || moved_on(corr, actor))
		return;
	/* Once a request; a client that pipelined (ambiguous for that) is no excuse. */
	if (!current->contradicted)
		contradict(corr, actor);
	current->contradicted = true;
	ambiguous(corr, current);
}

void tl_actor_touch(struct tl_corr *corr, struct tl_actor *actor, const struct tl_conn *conn)
{
	touch_current(corr, actor, conn);
	tl_tail_end(corr, actor);
	if (actor->touch_conn != conn->hash)
		actor->other_ns = actor->touch_ns;
	actor->touch_conn = conn->hash;
	actor->touch_ns = corr->at_ns;
}

static bool same_actor(const struct tl_actor_key *a, const struct tl_actor_key *b)
{
	return a->proc == b->proc && a->id == b->id && a->kind == b->kind;
}

/* Remembers who wrote the head. */
static void set_writer(struct tl_corr *corr, struct tl_request *request,
		       const struct tl_actor_key *key)
{
	const struct tl_event *event = &corr->event->h;
	struct tl_actor *writer = tl_actor_get(corr, request->proc, key);

	if (!writer) {
		corr->usage.full++;
		return;
	}
	request->writer = writer;
	request->one_writer = true;
	request->writer_other_ns = writer->other_ns;
	if (key->kind == TL_UNIT_THREAD)
		request->writer_wait_ns = event->time_ns - event->waited_ns;
	writer->refs++;
	writer->n_answered = remember(writer->answered, writer->n_answered, request);
	/* One that was made just now has not been told. */
	writer->touch_conn = request->connection;
	writer->touch_ns = event->time_ns;
	tl_hold_dirty(corr, writer);
	/* Its children may wait for it. */
	if (key->kind != TL_UNIT_THREAD && !tl_unit_is_own((uint8_t)key->kind))
		tl_hold_all_dirty(corr);
}

static void judge_reader(struct tl_corr *corr, struct tl_request *request,
			 const struct tl_actor_key *writer)
{
	struct tl_actor *reader = request->reader;
	bool overlapped;

	tl_hold_dirty(corr, reader);
	if (!same_actor(&reader->key, writer)) {
		contradict(corr, reader);
		return;
	}
	request->proved = true;
	if (reader->proc->gate && !request->ambiguous)
		reader->proc->gate->direct_answers++;
	overlapped = request->overlapped || request->proc->started != request->started_before + 1;
	if (!request->ambiguous && (overlapped || tl_unit_is_own((uint8_t)reader->key.kind)))
		tl_gate_confirm(corr, reader->proc->gate, tl_rule_of((uint8_t)reader->key.kind));
}

void tl_actor_answer(struct tl_corr *corr, struct tl_request *request,
		     const struct tl_actor_key *writer)
{
	/* A unit that could not be read neither proves nor disproves. */
	if (!request->reader || (writer->kind != TL_UNIT_THREAD && !writer->id))
		return;
	judge_reader(corr, request, writer);
	if (writer->id == TL_ACTOR_SEVERAL)
		return;
	set_writer(corr, request, writer);
	if (request->writer)
		tl_bracket_answer(corr, request);
}

void tl_actor_forget(struct tl_corr *corr, struct tl_request *request)
{
	struct tl_actor *reader = TAKE_PTR(request->reader), *writer = TAKE_PTR(request->writer);

	if (writer) {
		writer->n_answered = forget(writer->answered, writer->n_answered, request);
		if (writer->tail == request)
			writer->tail = NULL;
		writer->refs--;
	}
	if (reader) {
		reader->n_windows = forget(reader->windows, reader->n_windows, request);
		if (reader->current == request)
			reader->current = NULL;
		reader->refs--;
		tl_actor_settle(corr, reader);
	}
	if (writer && writer != reader)
		tl_actor_settle(corr, writer);
}

struct tl_request *tl_actor_at(const struct tl_actor *actor, uint64_t time_ns,
			       uint64_t *ret_next_ns)
{
	uint64_t next_ns = UINT64_MAX;

	for (uint32_t i = actor->n_windows; i-- > 0;) {
		struct tl_request *request = actor->windows[i];

		if (request->header_ns <= time_ns) {
			*ret_next_ns = next_ns;
			return request;
		}
		next_ns = request->header_ns;
	}
	return NULL;
}
