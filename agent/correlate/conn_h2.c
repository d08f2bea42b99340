/* SPDX-License-Identifier: Apache-2.0 */
/* What the frame parsers call back for. The fields of a header block are gathered in the connection
 * as those of an HTTP/1 head are: only one block is under way in a direction. A second block on a
 * stream is trailers, and tells nothing that is kept. */
#include "agent/correlate/conn_h2.h"

#include "agent/correlate/actor.h"
#include "agent/correlate/conn.h"
#include "agent/correlate/conn_read.h"
#include "agent/correlate/hop.h"
#include "agent/correlate/http2.h"
#include "agent/correlate/id_formats.h"
#include "agent/correlate/pack.h"
#include "agent/correlate/proc.h"
#include "agent/correlate/request.h"

struct tl_conn_h2 {
	struct tl_http2 request, response;
	uint64_t request_at; /* what the request parser had been fed before this call's bytes */
	int status;	     /* of the response block under way */
};

/* --- the client's direction --- */

static void on_request_begin(void *arg, uint32_t stream)
{
	struct tl_conn *conn = arg;
	struct tl_corr *corr = conn->corr;

	(void)stream;
	conn->first_ns = corr->event->h.time_ns;
	conn->began_by = tl_conn_mover(conn);
	tl_placing_begin(&conn->placing, corr->event,
			 conn->h2->request.frame_at - conn->h2->request_at);
	tl_conn_drop_head(conn);
}

/* Encoders go on naming a header by an entry that they made before we came. A trace context tells
 * itself what it is; nothing else does. */
static void unknown_name(struct tl_conn *conn, struct tl_span value)
{
	struct tl_id_trace trace = {.flags = -1};

	if (tl_id_read_traceparent(&value, &trace))
		tl_conn_request_header(conn, TL_SPAN_LIT("traceparent"), value);
}

static void on_request_field(void *arg, struct tl_span name, struct tl_span value)
{
	struct tl_conn *conn = arg;

	if (tl_span_is(name, ":method"))
		tl_conn_set_method(conn, value);
	else if (tl_span_is(name, ":path"))
		tl_conn_set_path(conn, tl_http1_path(value));
	else if (tl_span_is(name, "?"))
		unknown_name(conn, value);
	else
		tl_conn_request_header(conn, name, value);
}

static void on_request_head(void *arg, uint32_t stream, bool unknown, bool end)
{
	struct tl_conn *conn = arg;
	struct tl_corr *corr = conn->corr;
	struct tl_request *request;

	(void)unknown; /* what is not known was not told */
	(void)end;
	if (tl_conn_stream(conn, stream)) /* trailers */
		return tl_conn_drop_head(conn);
	request = tl_request_new(corr, conn);
	if (!request) {
		tl_conn_drop_head(conn);
		tl_cproc_blind(corr, corr->event_proc);
		return;
	}
	request->stream = stream;
	tl_conn_take_request_ids(conn, request);
	tl_hop_begin(corr, request);
}

static void on_request_data(void *arg, uint32_t stream, uint64_t bytes, bool end)
{
	struct tl_request *request = tl_conn_stream(arg, stream);

	(void)end;
	if (request)
		request->request_bytes += bytes;
}

static void on_reset(void *arg, uint32_t stream)
{
	struct tl_conn *conn = arg;
	struct tl_request *request = tl_conn_stream(conn, stream);

	if (request)
		tl_request_end(conn->corr, request, conn->corr->at_ns, TL_WHY_NOTHING, false);
}

static const struct tl_http2_ops request_ops = {
	.begin = on_request_begin,
	.field = on_request_field,
	.head = on_request_head,
	.data = on_request_data,
	.reset = on_reset,
};

/* --- the server's direction --- */

static void on_response_begin(void *arg, uint32_t stream)
{
	struct tl_conn *conn = arg;

	conn->h2->status = 0;
	conn->response_first_ns = conn->corr->event->h.time_ns;
	conn->answers = stream;
}

static void on_response_field(void *arg, struct tl_span name, struct tl_span value)
{
	struct tl_conn *conn = arg;

	if (!tl_span_is(name, ":status"))
		return tl_conn_response_header(conn, name, value);
	for (size_t i = 0; i < value.len && i < 3 && value.data[i] >= '0' && value.data[i] <= '9';
	     i++)
		conn->h2->status = conn->h2->status * 10 + (value.data[i] - '0');
}

static void end_stream(struct tl_conn *conn, struct tl_request *request)
{
	tl_request_end(conn->corr, request, conn->corr->at_ns, TL_WHY_NOTHING, true);
}

static void on_response_head(void *arg, uint32_t stream, bool unknown, bool end)
{
	struct tl_conn *conn = arg;
	struct tl_request *request = tl_conn_stream(conn, stream);
	/* A status that is not known is that of the response, not of one that goes before it. */
	bool final = conn->h2->status >= 200 || (unknown && !conn->h2->status) || end;

	tl_conn_take_response_ids(conn, request, final && request && request->state == TL_REQ_OPEN);
	if (!request)
		return;
	if (final && request->state == TL_REQ_OPEN) {
		request->state = TL_REQ_ANSWERING;
		request->status = conn->h2->status;
		request->response_ns = conn->response_first_ns;
		request->settled_ns = conn->corr->event->h.time_ns;
	}
	if (end)
		end_stream(conn, request);
}

static void on_response_data(void *arg, uint32_t stream, uint64_t bytes, bool end)
{
	struct tl_conn *conn = arg;
	struct tl_request *request = tl_conn_stream(conn, stream);

	if (!request)
		return;
	request->response_bytes += bytes;
	if (end)
		end_stream(conn, request);
}

static const struct tl_http2_ops response_ops = {
	.begin = on_response_begin,
	.field = on_response_field,
	.head = on_response_head,
	.data = on_response_data,
	.reset = on_reset,
};

/* --- the connection --- */

int tl_conn_h2_looks(struct tl_span data)
{
	size_t n = data.len < TL_HTTP2_PREFACE_LEN ? data.len : TL_HTTP2_PREFACE_LEN;

	if (n >= 8 && memcmp(data.data, TL_HTTP2_PREFACE, n) == 0)
		return 1;
	if (!tl_http2_tiles(data))
		return 0;
	switch (tl_http2_sender(data)) {
	case 1:
		return 2;
	case 2:
		return 3;
	default:
		return 0;
	}
}

bool tl_conn_h2_begin(struct tl_conn *conn, bool start)
{
	struct tl_corr *corr = conn->corr;
	struct tl_conn_h2 *h2;

	if (conn->h2)
		return true;
	h2 = calloc(1, sizeof(*h2));
	if (!h2)
		return false;
	conn->h2 = h2;
	tl_http2_init(&h2->request, &request_ops, conn, &corr->parse_bytes, TL_PARSE_BYTES_MAX);
	tl_http2_init(&h2->response, &response_ops, conn, &corr->parse_bytes, TL_PARSE_BYTES_MAX);
	if (start) {
		tl_http2_start(&h2->request, true);
		tl_http2_start(&h2->response, false);
	}
	return true;
}

void tl_conn_h2_lost(struct tl_conn *conn)
{
	if (!conn->h2)
		return;
	/* Broken until a call's bytes are frames. */
	tl_http2_done(&conn->h2->request);
	tl_http2_done(&conn->h2->response);
}

void tl_conn_h2_free(struct tl_conn *conn)
{
	tl_conn_h2_lost(conn);
	free(TAKE_PTR(conn->h2));
}

/* Frames that fit nothing: of a connection that never was HTTP/2 the kernel need not tell more. */
static void after_read(struct tl_corr *corr, struct tl_conn *conn, const struct tl_http2 *parser)
{
	struct tl_sock_key key = conn->key;

	if (!parser->broken)
		return;
	if (conn->number || (corr->event->h.flags & TL_EVF_TRUNC))
		return tl_conn_desync(conn, TL_WHY_DESYNC);
	tl_conn_end(conn);
	if (corr->options.ignore)
		corr->options.ignore(corr->options.arg, key.sock, key.ino);
}

void tl_conn_h2_read(struct tl_corr *corr, struct tl_conn *conn, const char *data, uint64_t from)
{
	const struct tl_ev_wire *event = corr->event;
	bool of_request = (conn->role == TL_ROLE_SERVER) == !!(event->h.flags & TL_EVF_RECV);
	struct tl_http2 *parser = of_request ? &conn->h2->request : &conn->h2->response;
	uint64_t seen = event->h.len < event->call_len ? event->h.len : event->call_len;

	if (event->call_len <= from)
		return;
	if (seen < from)
		seen = from;
	if (parser->broken) {
		if (!tl_http2_tiles((struct tl_span){data + from, seen - from}))
			return;
		tl_http2_lost(parser);
		conn->desync = false;
		tl_placing_restart(&conn->placing);
		tl_placing_call(&conn->placing, event);
	}
	if (of_request)
		conn->h2->request_at = parser->fed - from;
	tl_http2_feed(parser, data + from, seen - from);
	tl_http2_skip(parser, event->call_len - seen);
	after_read(corr, conn, parser);
}

bool tl_corr_bind_stream(struct tl_corr *corr, const struct tl_event *event,
			 const struct tl_sock_key *sock, uint32_t stream)
{
	struct tl_cproc *proc = tl_cproc_find(corr, event->tgid, event->start_ns);
	struct tl_conn *conn = tl_conn_find(corr, sock);
	struct tl_request *request = conn && conn->h2 ? tl_conn_stream(conn, stream) : NULL;
	struct tl_ev_wire at = {.h = *event};
	struct tl_actor_key key;
	struct tl_actor *actor;

	if (!proc || !request || request->proc != proc || !request->server || request->reader ||
	    !event->unit || event->unit_kind == TL_UNIT_THREAD)
		return false;
	key = tl_actor_key_of(proc, event->unit_kind, event->unit, event->tid);
	actor = tl_actor_get(corr, proc, &key);
	if (!actor)
		return false;
	corr->event = &at;
	tl_actor_bind(corr, actor, request, false);
	corr->event = NULL;
	return true;
}
