/* SPDX-License-Identifier: Apache-2.0 */
/* What is evidence. For: the response's head is written by the actor that completed the request's
 * header, nothing else of a server was touched between, and (threads) another request of the
 * process was open meanwhile. The last condition is what makes an event loop that has only ever had
 * one request at a time prove nothing: there the reader always is the writer, and timers log
 * between the two all the same. Against: another actor writes the response; an actor completes a
 * second header, or moves bytes of another server connection, before it has answered the first.
 * What only the client did (two requests in one segment) is no evidence, but ambiguous. */
#include "agent/correlate/actor.h"

#include "agent/correlate/gate.h"
#include "agent/correlate/hold.h"
#include "agent/correlate/proc.h"

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

void tl_actor_settle(struct tl_corr *corr, struct tl_actor *actor)
{
	struct tl_cproc *proc = actor->proc;

	if (actor->refs || actor->holds || actor->dirty)
		return;
	tl_map_del(corr->actors, &actor->key);
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
	tl_gate_contradict(corr, actor->proc->gate, (enum tl_unit_kind)actor->key.kind);
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

static void remember(struct tl_actor *actor, struct tl_request *request)
{
	if (actor->n_windows == TL_WINDOWS) {
		memmove(actor->windows, actor->windows + 1,
			sizeof(actor->windows) - sizeof(actor->windows[0]));
		actor->n_windows--;
	}
	actor->windows[actor->n_windows++] = request;
}

void tl_actor_bind(struct tl_corr *corr, struct tl_actor *actor, struct tl_request *request,
		   bool mixed)
{
	struct tl_request *current = actor->current;

	request->reader = actor;
	actor->refs++;
	remember(actor, request);
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

void tl_actor_touch(struct tl_corr *corr, struct tl_actor *actor, const struct tl_conn *conn)
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

static bool same_actor(const struct tl_actor_key *a, const struct tl_actor_key *b)
{
	return a->proc == b->proc && a->id == b->id && a->kind == b->kind;
}

void tl_actor_answer(struct tl_corr *corr, struct tl_request *request,
		     const struct tl_actor_key *writer)
{
	struct tl_actor *reader = request->reader;
	bool overlapped;

	/* A unit that could not be read neither proves nor disproves. */
	if (!reader || (writer->kind != TL_UNIT_THREAD && !writer->id))
		return;
	tl_hold_dirty(corr, reader);
	if (!same_actor(&reader->key, writer)) {
		contradict(corr, reader);
		return;
	}
	request->proved = request->one_writer = true;
	overlapped = request->overlapped || request->proc->started != request->started_before + 1;
	if (!request->ambiguous && (overlapped || reader->key.kind != TL_UNIT_THREAD))
		tl_gate_confirm(corr, reader->proc->gate, (enum tl_unit_kind)reader->key.kind);
}

void tl_actor_forget(struct tl_corr *corr, struct tl_request *request)
{
	struct tl_actor *actor = TAKE_PTR(request->reader);
	uint32_t kept = 0;

	if (!actor)
		return;
	for (uint32_t i = 0; i < actor->n_windows; i++)
		if (actor->windows[i] != request)
			actor->windows[kept++] = actor->windows[i];
	actor->n_windows = kept;
	if (actor->current == request)
		actor->current = NULL;
	actor->refs--;
	tl_actor_settle(corr, actor);
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
