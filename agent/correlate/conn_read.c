/* SPDX-License-Identifier: Apache-2.0 */
/* Reading: what the parsers call back for. A request exists from its complete header: its owner is
 * the actor of the call that completed it. The response's owner is the actor that wrote its head,
 * begin and end; the first final status ends the waiting of held lines, the end of the message ends
 * the request. */
#include "agent/correlate/conn_read.h"

#include "agent/correlate/actor.h"
#include "agent/correlate/conn.h"
#include "agent/correlate/conn_fcgi.h"
#include "agent/correlate/conn_h2.h"
#include "agent/correlate/echo.h"
#include "agent/correlate/fastcgi.h"
#include "agent/correlate/gate.h"
#include "agent/correlate/hands.h"
#include "agent/correlate/hold.h"
#include "agent/correlate/hop.h"
#include "agent/correlate/id_formats.h"
#include "agent/correlate/pack.h"
#include "agent/correlate/proc.h"
#include "agent/correlate/relay.h"
#include "agent/correlate/request.h"
#include "agent/correlate/step.h"

#define PATH_MAX_KEPT 2048

static const struct tl_event *event_of(const struct tl_conn *conn)
{
	return &conn->corr->event->h;
}

struct tl_actor_key tl_conn_mover(const struct tl_conn *conn)
{
	const struct tl_event *event = event_of(conn);

	return tl_actor_key_of(conn->corr->event_proc, event->unit_kind, event->unit, event->tid);
}

static void drop_ids(struct tl_corr *corr, struct tl_ids **ids)
{
	if (!*ids)
		return;
	explicit_bzero(*ids, sizeof(**ids));
	free(TAKE_PTR(*ids));
	corr->parse_bytes -= sizeof(**ids);
}

static struct tl_ids *new_ids(struct tl_corr *corr)
{
	struct tl_ids *ids = NULL;

	if (corr->parse_bytes + sizeof(*ids) <= TL_PARSE_BYTES_MAX)
		ids = malloc(sizeof(*ids));
	if (!ids) {
		corr->usage.full++;
		return NULL;
	}
	corr->parse_bytes += sizeof(*ids);
	return ids;
}

void tl_conn_drop_head(struct tl_conn *conn)
{
	drop_ids(conn->corr, &conn->request_ids);
	free(TAKE_PTR(conn->method));
	free(TAKE_PTR(conn->path));
}

void tl_conn_drop_message(struct tl_conn *conn)
{
	tl_http1_reset(&conn->request);
	tl_http1_reset(&conn->response);
	tl_conn_h2_lost(conn);
	tl_conn_fcgi_reset(conn);
	drop_ids(conn->corr, &conn->response_ids);
	tl_conn_drop_head(conn);
}

static char *copy_text(struct tl_span s, size_t max)
{
	return strndup(s.len ? s.data : "", s.len < max ? s.len : max);
}

void tl_conn_set_method(struct tl_conn *conn, struct tl_span method)
{
	free(conn->method);
	conn->method = copy_text(method, 32);
}

void tl_conn_set_path(struct tl_conn *conn, struct tl_span path)
{
	free(conn->path);
	conn->path = copy_text(path, PATH_MAX_KEPT);
}

/* --- the request's direction --- */

void tl_conn_begin_request(struct tl_conn *conn, uint64_t offset)
{
	conn->first_ns = event_of(conn)->time_ns;
	conn->began_by = tl_conn_mover(conn);
	tl_placing_begin(&conn->placing, conn->corr->event, offset);
	conn->mixed = !conn->clean;
	conn->clean = false;
	if (conn->mixed)
		conn->pipelined = true;
}

static void on_request_begin(void *arg)
{
	struct tl_conn *conn = arg;

	tl_conn_begin_request(conn, conn->request.fed - conn->request_at);
}

static void on_request_start(void *arg, const struct tl_http1_start *start)
{
	struct tl_conn *conn = arg;

	tl_conn_set_method(conn, start->method);
	tl_conn_set_path(conn, start->path);
}

void tl_conn_request_header(struct tl_conn *conn, struct tl_span name, struct tl_span value)
{
	if (!tl_id_known(name))
		return;
	if (!conn->request_ids) {
		conn->request_ids = new_ids(conn->corr);
		if (!conn->request_ids)
			return;
		tl_ids_init(conn->request_ids);
	}
	tl_ids_header(conn->request_ids, name, value, false);
}

static void on_request_header(void *arg, struct tl_span name, struct tl_span value)
{
	tl_conn_request_header(arg, name, value);
}

void tl_conn_take_request_ids(struct tl_conn *conn, struct tl_request *request)
{
	if (!conn->request_ids)
		return;
	tl_ids_settle(conn->request_ids);
	tl_request_set_ids(conn->corr, request, conn->request_ids);
	drop_ids(conn->corr, &conn->request_ids);
}

/* The owner, when it can be known and there is room for it. */
static void bind_reader(struct tl_conn *conn, struct tl_request *request)
{
	struct tl_corr *corr = conn->corr;
	struct tl_actor_key key = tl_conn_mover(conn);
	struct tl_actor *actor;

	if (key.kind != TL_UNIT_THREAD)
		tl_gate_units(corr, request->proc->gate, (uint8_t)key.kind);
	if (key.kind != TL_UNIT_THREAD && !key.id)
		return;
	actor = tl_actor_get(corr, request->proc, &key);
	if (actor)
		tl_actor_bind(corr, actor, request, conn->mixed);
	else
		tl_cproc_blind(corr, request->proc);
}

/* The client did not wait for answers: whatever serves the connection may be at any of the
 * requests. */
static void mark_pipelined(struct tl_conn *conn)
{
	conn->pipelined = true;
	for (struct tl_request *request = conn->queue; request; request = request->next) {
		request->ambiguous = request->pipelined = true;
		if (request->reader)
			tl_hold_dirty(conn->corr, request->reader);
	}
}

static enum tl_http1_body on_request_head(void *arg)
{
	struct tl_conn *conn = arg;
	struct tl_corr *corr = conn->corr;
	struct tl_request *request = tl_request_new(corr, conn);

	if (!request) {
		tl_cproc_blind(corr, corr->event_proc);
		return TL_HTTP1_STOP;
	}
	if (!request->server)
		tl_echo_sent(corr, conn, conn->request_ids);
	tl_conn_take_request_ids(conn, request);
	if (conn->depth > 1)
		mark_pipelined(conn);
	if (request->server)
		bind_reader(conn, request);
	if (conn->queue)
		tl_hop_begin(corr, request);
	/* No room for its owner: everything of the process was ended, this request too. */
	return conn->queue ? TL_HTTP1_AS_SAID : TL_HTTP1_STOP;
}

static void on_request_end(void *arg, uint64_t body_bytes)
{
	struct tl_conn *conn = arg;

	if (conn->queue_tail)
		conn->queue_tail->request_bytes = body_bytes;
}

static const struct tl_http1_ops request_ops = {
	.begin = on_request_begin,
	.start = on_request_start,
	.header = on_request_header,
	.head = on_request_head,
	.end = on_request_end,
};

/* --- the response's direction: it answers the oldest request --- */

static void on_response_begin(void *arg)
{
	struct tl_conn *conn = arg;

	conn->response_first_ns = event_of(conn)->time_ns;
	conn->upgrade = false;
	conn->response_writer = tl_conn_mover(conn);
}

static void on_response_start(void *arg, const struct tl_http1_start *start)
{
	(void)arg;
	(void)start;
}

void tl_conn_response_header(struct tl_conn *conn, struct tl_span name, struct tl_span value)
{
	const struct tl_request *request =
		conn->h2 ? tl_conn_stream(conn, conn->answers) : conn->queue;

	if (!request || !tl_id_known(name))
		return;
	if (!conn->response_ids) {
		conn->response_ids = new_ids(conn->corr);
		if (!conn->response_ids)
			return;
		tl_ids_unpack(request->ids, conn->response_ids);
	}
	tl_ids_header(conn->response_ids, name, value, true);
}

static void on_response_header(void *arg, struct tl_span name, struct tl_span value)
{
	struct tl_conn *conn = arg;

	if (tl_span_ieq(name, "upgrade") && tl_span_ieq(value, "h2c"))
		conn->upgrade = true;
	tl_conn_response_header(conn, name, value);
}

void tl_conn_take_response_ids(struct tl_conn *conn, struct tl_request *request, bool keep)
{
	if (!conn->response_ids)
		return;
	if (keep) {
		tl_ids_settle(conn->response_ids);
		tl_request_set_ids(conn->corr, request, conn->response_ids);
	}
	drop_ids(conn->corr, &conn->response_ids);
}

/* Told as another actor's when begin and end of the head were written by two. */
static void judge_writer(struct tl_conn *conn, struct tl_request *request)
{
	struct tl_actor_key writer = tl_conn_mover(conn);

	if (memcmp(&writer, &conn->response_writer, sizeof(writer)) != 0) {
		writer.id = TL_ACTOR_SEVERAL;
		writer.kind = TL_UNIT_THREAD;
	}
	tl_actor_answer(conn->corr, request, &writer);
}

static enum tl_http1_body on_response_head(void *arg)
{
	struct tl_conn *conn = arg;
	struct tl_request *request = conn->queue;
	int status = conn->response.status;
	bool final = status >= 200 || status == 101;

	if (!request)
		return TL_HTTP1_STOP;
	conn->upgrade = conn->upgrade && status == 101;
	tl_conn_take_response_ids(conn, request, final && !conn->upgrade);
	/* The answer itself comes as that of stream 1. */
	if (conn->upgrade)
		request->stream = 1;
	if (!final || conn->upgrade)
		return TL_HTTP1_AS_SAID;
	request->state = TL_REQ_ANSWERING;
	request->status = status;
	request->response_ns = conn->response_first_ns;
	request->settled_ns = event_of(conn)->time_ns;
	if (request->server) {
		judge_writer(conn, request);
		tl_relay_answer(conn->corr, request);
	} else {
		tl_echo_answered(conn->corr, conn);
	}
	if (request->head)
		return TL_HTTP1_NO_BODY;
	return request->connect && status < 300 ? TL_HTTP1_SWITCH : TL_HTTP1_AS_SAID;
}

static void on_response_end(void *arg, uint64_t body_bytes)
{
	struct tl_conn *conn = arg;
	struct tl_request *request = conn->queue;

	if (!request || conn->upgrade)
		return;
	request->response_bytes = body_bytes;
	tl_request_end(conn->corr, request, conn->corr->at_ns, TL_WHY_NOTHING, true);
}

static const struct tl_http1_ops response_ops = {
	.begin = on_response_begin,
	.start = on_response_start,
	.header = on_response_header,
	.head = on_response_head,
	.end = on_response_end,
};

const struct tl_http1_ops *tl_conn_request_ops(void)
{
	return &request_ops;
}

const struct tl_http1_ops *tl_conn_response_ops(void)
{
	return &response_ops;
}

void tl_conn_init_parsers(struct tl_conn *conn)
{
	tl_http1_init(&conn->request, false, &request_ops, conn);
	tl_http1_init(&conn->response, true, &response_ops, conn);
	conn->request.used = conn->response.used = &conn->corr->parse_bytes;
	conn->request.used_max = conn->response.used_max = TL_PARSE_BYTES_MAX;
}

/* --- one call --- */

/* A response keeps its writer only as long as every byte of it is that actor's. */
static void check_writer(struct tl_conn *conn)
{
	struct tl_request *request = conn->queue;
	struct tl_actor_key writer;

	if (!request || !request->one_writer || !request->writer)
		return;
	writer = tl_conn_mover(conn);
	if (memcmp(&writer, &request->writer->key, sizeof(writer)) == 0)
		return;
	request->one_writer = false;
	tl_hold_dirty(conn->corr, request->writer);
}

/* The parser gave up, or HTTP is over: then the kernel need not copy any more. */
static void after_read(struct tl_corr *corr, struct tl_conn *conn, bool broken)
{
	struct tl_sock_key key = conn->key;
	bool never =
		broken && !conn->number && !conn->desync && !(event_of(conn)->flags & TL_EVF_TRUNC);
	bool over = never || conn->response.state == TL_HTTP1_TUNNEL;

	conn->tunnel = over;
	if (conn->queue && conn->response.state == TL_HTTP1_UNTIL_CLOSE)
		conn->queue->until_close = true;
	if (never)
		tl_conn_end(conn);
	else if (broken)
		tl_conn_desync(conn, TL_WHY_DESYNC);
	else if (conn->fcgi && tl_conn_fcgi_over(conn))
		tl_conn_end(conn);
	if (over && corr->options.ignore)
		corr->options.ignore(corr->options.arg, key.sock, key.ino);
}

/* The byte behind a single H tells HEAD from HTTP. Forgetting the H instead would let a later piece
 * (the D of HEAD, in pieces) pass for the beginning of a request. */
static void decide_role(struct tl_conn *conn, const char *data)
{
	const struct tl_ev_wire *event = conn->corr->event;
	bool received = event->h.flags & TL_EVF_RECV;
	char next = event->h.len ? data[0] : '\0';

	if (received != (bool)(conn->address.h.flags & TL_EVF_RECV))
		next = '\0';
	if (next == 'E') {
		conn->role = received ? TL_ROLE_SERVER : TL_ROLE_CLIENT;
		conn->clean = true;
		if (!conn->desync)
			tl_http1_feed(&conn->request, "H", 1);
	} else if (next == 'T') {
		conn->role = received ? TL_ROLE_CLIENT : TL_ROLE_SERVER;
		conn->desync = true;
	} else {
		conn->tunnel = true;
	}
}

void tl_conn_read(struct tl_corr *corr, struct tl_conn *conn, const char *data)
{
	const struct tl_ev_wire *event = corr->event;
	bool received = event->h.flags & TL_EVF_RECV;
	uint64_t seen = event->h.len < event->call_len ? event->h.len : event->call_len, at;
	struct tl_http1 *parser;
	bool of_request;

	if (conn->role == TL_ROLE_UNDECIDED && event->call_len && conn->first_ns)
		decide_role(conn, data);
	else if (conn->role == TL_ROLE_UNDECIDED)
		conn->first_ns = event->h.time_ns; /* the H itself */
	if (conn->tunnel || conn->role == TL_ROLE_UNDECIDED)
		return;
	if (event->call_len)
		tl_hands_moved(conn);
	if (event->call_len && conn->h2) {
		tl_placing_call(&conn->placing, event);
		tl_conn_h2_read(corr, conn, data, 0);
		return;
	}
	of_request = (conn->role == TL_ROLE_SERVER) == received;
	parser = of_request ? &conn->request : &conn->response;
	if (event->call_len) {
		tl_step_tiles(conn);
		conn->request_at = conn->request.fed;
		if (!tl_step_in(conn, of_request, (struct tl_span){data, seen}))
			return;
		conn->clean =
			conn->fcgi ? tl_conn_fcgi_idle(conn) : conn->request.state == TL_HTTP1_IDLE;
		if (!of_request)
			check_writer(conn);
		if (conn->fcgi) {
			after_read(
				corr, conn,
				tl_conn_fcgi_feed(conn, of_request, data, seen, event->call_len));
			return;
		}
		at = tl_http1_feed(parser, data, seen);
		if (conn->upgrade && parser->state == TL_HTTP1_TUNNEL &&
		    tl_conn_h2_begin(conn, true)) {
			tl_conn_h2_read(corr, conn, data, at);
			return;
		}
		tl_http1_skip(parser, event->call_len - seen);
	}
	if (received && (event->h.flags & TL_EVF_EOF))
		tl_http1_eof(parser);
	after_read(corr, conn, tl_http1_broken(&conn->request) || tl_http1_broken(&conn->response));
}
