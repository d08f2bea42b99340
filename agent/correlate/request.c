/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/correlate/request.h"

#include "agent/correlate/actor.h"
#include "agent/correlate/hold.h"
#include "agent/correlate/hop.h"
#include "agent/correlate/inline.h"
#include "agent/correlate/pack.h"
#include "agent/correlate/gate.h"
#include "agent/correlate/proc.h"
#include "agent/correlate/tail.h"

static void free_request(struct tl_corr *corr, struct tl_request *request)
{
	struct tl_cproc *proc = request->proc;

	tl_inline_remove(corr, request);
	tl_hop_forget(corr, request);
	tl_actor_forget(corr, request);
	free(request->method);
	free(request->path);
	free(request->ids);
	free(request);
	corr->n_requests--;
	tl_cproc_unref(corr, proc);
}

static void drop_oldest_recent(struct tl_corr *corr)
{
	struct tl_request *request = corr->recent;

	corr->recent = request->next;
	if (!corr->recent)
		corr->recent_tail = NULL;
	corr->n_recent--;
	free_request(corr, request);
}

/* Ended ones fill at most half of the table, and make room for open ones. */
static void keep_recent(struct tl_corr *corr, struct tl_request *request)
{
	request->next = NULL;
	if (corr->recent_tail)
		corr->recent_tail->next = request;
	else
		corr->recent = request;
	corr->recent_tail = request;
	if (++corr->n_recent > corr->options.max_requests / 2)
		drop_oldest_recent(corr);
}

void tl_request_expire(struct tl_corr *corr)
{
	while (corr->recent && corr->recent->end_ns + TL_RECENT_NS < corr->now_ns)
		drop_oldest_recent(corr);
}

void tl_request_free_all(struct tl_corr *corr)
{
	while (corr->recent)
		drop_oldest_recent(corr);
}

static void link_request(struct tl_conn *conn, struct tl_request *request)
{
	struct tl_cproc *proc = conn->proc;

	if (conn->queue_tail)
		conn->queue_tail->next = request;
	else
		conn->queue = request;
	conn->queue_tail = request;
	conn->depth++;
	request->next_open = proc->open;
	if (proc->open)
		proc->open->prev_open = request;
	proc->open = request;
}

struct tl_request *tl_request_new(struct tl_corr *corr, struct tl_conn *conn)
{
	const struct tl_event *event = &corr->event->h;
	struct tl_request *request;

	if (corr->n_requests >= corr->options.max_requests && corr->recent)
		drop_oldest_recent(corr);
	if (corr->n_requests >= corr->options.max_requests)
		return NULL;
	request = calloc(1, sizeof(*request));
	if (!request)
		return NULL;
	corr->n_requests++;
	request->conn = conn;
	request->proc = conn->proc;
	tl_cproc_ref(request->proc);
	request->number = ++conn->number;
	request->connection = conn->hash;
	request->first_ns = conn->first_ns;
	request->header_ns = event->time_ns;
	request->tid = event->tid;
	request->lost_gen = event->lost_gen;
	request->server = conn->role == TL_ROLE_SERVER;
	request->method = TAKE_PTR(conn->method);
	request->path = TAKE_PTR(conn->path);
	request->head = request->method && strcmp(request->method, "HEAD") == 0;
	request->connect = request->method && strcmp(request->method, "CONNECT") == 0;
	if (request->server) {
		request->overlapped = request->proc->open_server > 0;
		request->started_before = request->proc->started++;
		request->proc->open_server++;
	}
	tl_hop_name(corr, request);
	link_request(conn, request);
	return request;
}

static void unlink_request(struct tl_request *request)
{
	struct tl_conn *conn = request->conn;
	struct tl_request **at = &conn->queue, *before = NULL;

	for (; *at != request; at = &(*at)->next)
		before = *at;
	*at = request->next;
	if (conn->queue_tail == request)
		conn->queue_tail = before;
	conn->depth--;
	if (request->prev_open)
		request->prev_open->next_open = request->next_open;
	else
		request->proc->open = request->next_open;
	if (request->next_open)
		request->next_open->prev_open = request->prev_open;
	request->next_open = request->prev_open = NULL;
}

static void tell(struct tl_corr *corr, struct tl_request *request, bool complete)
{
	struct tl_exchange exchange = {
		.tgid = request->proc->tgid,
		.tid = request->tid,
		.start_ns = request->proc->start_ns,
		.server = request->server,
		.request_ns = request->first_ns,
		.header_ns = request->header_ns,
		.response_ns = request->response_ns,
		.end_ns = request->end_ns,
		.method = tl_span_str(request->method),
		.path = tl_span_str(request->path),
		.status = request->status,
		.request_bytes = request->request_bytes,
		.response_bytes = request->response_bytes,
		.complete = complete,
		.ids = &corr->scratch,
		.socket = &request->conn->address,
		.connection = request->connection,
		.number = request->number,
		.hop = request->hop,
		.parent = request->parent,
	};

	corr->usage.exchanges++;
	if (!corr->options.exchange)
		return;
	tl_request_ids(corr, request, &corr->scratch);
	corr->options.exchange(corr->options.arg, &exchange);
}

void tl_request_end(struct tl_corr *corr, struct tl_request *request, uint64_t end_ns,
		    enum tl_why why, bool complete)
{
	struct tl_actor *reader = request->reader;

	request->state = TL_REQ_DONE;
	request->end_ns = end_ns;
	request->why = (uint8_t)why;
	request->complete = complete;
	if (complete)
		tl_tail_begin(request);
	tell(corr, request, complete);
	unlink_request(request);
	request->conn = NULL;
	if (request->server) {
		request->proc->open_server--;
		request->proc->ended_ns = end_ns;
	}
	if (reader && reader->current == request)
		reader->current = NULL;
	if (reader)
		tl_hold_dirty(corr, reader);
	if (request->writer)
		tl_hold_dirty(corr, request->writer);
	free(TAKE_PTR(request->method));
	free(TAKE_PTR(request->path));
	if (request->server)
		keep_recent(corr, request);
	else
		free_request(corr, request);
}

void tl_request_set_ids(struct tl_corr *corr, struct tl_request *request, const struct tl_ids *ids)
{
	struct tl_packed *packed = tl_ids_pack(ids);

	/* Out of memory: it keeps what it had, at worst a generated id. */
	if (!packed)
		return;
	free(request->ids);
	request->ids = packed;
	if (request->server && tl_level_on(corr, TL_HOW_INLINE))
		tl_inline_add(corr, request, ids);
}

void tl_request_ids(struct tl_corr *corr, struct tl_request *request, struct tl_ids *ret)
{
	struct tl_packed *packed;
	char own[33];

	tl_ids_unpack(request->ids, ret);
	if (ret->primary >= 0)
		return;
	tl_hop_text(&request->hop, own);
	tl_ids_add(ret, TL_ID_GENERATED, NULL, tl_span_str(own));
	request->minted = true;
	corr->usage.generated++;
	packed = tl_ids_pack(ret);
	if (!packed)
		return;
	free(request->ids);
	request->ids = packed;
}

bool tl_request_has_id(const struct tl_request *request)
{
	return request->minted || tl_ids_packed_primary(request->ids) >= 0;
}

bool tl_request_same_ids(const struct tl_request *a, const struct tl_request *b)
{
	return a == b || tl_ids_packed_equal(a->ids, b->ids);
}
