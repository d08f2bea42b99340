/* SPDX-License-Identifier: Apache-2.0 */
/* The table of connections: birth, last use, desync, end. Reading is in conn_read.c. */
#include "agent/correlate/conn.h"

#include "agent/correlate/conn_fcgi.h"
#include "agent/correlate/conn_h2.h"
#include "agent/correlate/conn_read.h"
#include "agent/correlate/fastcgi.h"
#include "agent/correlate/proc.h"
#include "agent/correlate/request.h"

struct tl_conn *tl_conn_find(const struct tl_corr *corr, const struct tl_sock_key *key)
{
	struct tl_conn **slot = tl_map_get(corr->conns, key);

	return slot ? *slot : NULL;
}

struct tl_request *tl_conn_stream(const struct tl_conn *conn, uint32_t stream)
{
	struct tl_request *request = conn->queue;

	while (request && request->stream != stream)
		request = request->next;
	return request;
}

static void unlink_age(struct tl_corr *corr, struct tl_conn *conn)
{
	if (conn->newer)
		conn->newer->older = conn->older;
	else
		corr->newest = conn->older;
	if (conn->older)
		conn->older->newer = conn->newer;
	else
		corr->oldest = conn->newer;
	conn->newer = conn->older = NULL;
}

static void link_age(struct tl_corr *corr, struct tl_conn *conn)
{
	conn->older = corr->newest;
	if (corr->newest)
		corr->newest->newer = conn;
	else
		corr->oldest = conn;
	corr->newest = conn;
}

static void unlink_proc(struct tl_corr *corr, struct tl_conn *conn)
{
	struct tl_cproc *proc = TAKE_PTR(conn->proc);

	if (!proc)
		return;
	if (conn->prev_of_proc)
		conn->prev_of_proc->next_of_proc = conn->next_of_proc;
	else
		proc->conns = conn->next_of_proc;
	if (conn->next_of_proc)
		conn->next_of_proc->prev_of_proc = conn->prev_of_proc;
	conn->next_of_proc = conn->prev_of_proc = NULL;
	tl_cproc_unref(corr, proc);
}

static void link_proc(struct tl_conn *conn, struct tl_cproc *proc)
{
	tl_cproc_ref(proc);
	conn->proc = proc;
	conn->next_of_proc = proc->conns;
	if (proc->conns)
		proc->conns->prev_of_proc = conn;
	proc->conns = conn;
}

void tl_conn_use(struct tl_corr *corr, struct tl_conn *conn, struct tl_cproc *proc)
{
	if (conn->proc != proc) {
		unlink_proc(corr, conn);
		link_proc(conn, proc);
	}
	if (corr->newest != conn) {
		unlink_age(corr, conn);
		link_age(corr, conn);
	}
}

static void free_conn(struct tl_corr *corr, struct tl_conn *conn)
{
	tl_conn_drop_message(conn);
	tl_conn_h2_free(conn);
	tl_conn_fcgi_free(conn);
	unlink_age(corr, conn);
	unlink_proc(corr, conn);
	tl_map_del(corr->conns, &conn->key);
	free(conn);
}

/* Met again, it would be a new one: only what stands between messages, in step, may be forgotten.
 */
static bool forgettable(const struct tl_conn *conn)
{
	return !conn->queue && !conn->desync && !conn->tunnel && conn->role >= TL_ROLE_SERVER &&
	       conn->request.state == TL_HTTP1_IDLE && conn->response.state == TL_HTTP1_IDLE;
}

/* A connection that has nothing open and was used longest ago makes room. */
static bool make_room(struct tl_corr *corr)
{
	struct tl_conn *conn = corr->oldest;

	if (tl_map_count(corr->conns) < corr->options.max_conns)
		return true;
	for (int looked = 0; conn && looked < 16; looked++, conn = conn->newer) {
		if (!forgettable(conn))
			continue;
		free_conn(corr, conn);
		return true;
	}
	return false;
}

/* Stable between lives of the agent, unlike tl_hash: it is part of records' names. */
static uint64_t stable_hash(const void *data, size_t len, uint64_t hash)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static uint64_t name_conn(const struct tl_ev_wire *event)
{
	uint64_t parts[4] = {event->sock, event->sock_ino, event->h.time_ns, event->h.start_ns};

	return stable_hash(event->local_addr, 32,
			   stable_hash(parts, sizeof(parts), UINT64_C(0xcbf29ce484222325)));
}

/* Who sends the request tells the side. A socket first met at its response is known, but not in
 * step. */
static enum tl_conn_role guess_role(const struct tl_ev_wire *event, const char *data,
				    bool *ret_desync)
{
	struct tl_span first = {data, event->h.len};
	int request = tl_http1_looks_request(first), response = tl_http1_looks_response(first);
	bool received = event->h.flags & TL_EVF_RECV;

	*ret_desync = false;
	if (!first.len)
		return TL_ROLE_UNKNOWN;
	if (request && response)
		return TL_ROLE_UNDECIDED;
	if (request)
		return received ? TL_ROLE_SERVER : TL_ROLE_CLIENT;
	*ret_desync = true;
	if (response)
		return received ? TL_ROLE_CLIENT : TL_ROLE_SERVER;
	return TL_ROLE_UNKNOWN;
}

/* What the first bytes speak, beside HTTP/1. */
enum dialect { HTTP1, FASTCGI, H2_START, H2_MIDDLE };

static enum dialect guess_dialect(const struct tl_ev_wire *event, const char *data,
				  enum tl_conn_role *role, bool *desync)
{
	struct tl_span first = {data, event->h.len};
	bool received = event->h.flags & TL_EVF_RECV;
	int h2;

	if (*role != TL_ROLE_UNKNOWN)
		return HTTP1;
	if (tl_fastcgi_looks(first) == 2) {
		*role = received ? TL_ROLE_SERVER : TL_ROLE_CLIENT;
		*desync = false;
		return FASTCGI;
	}
	h2 = tl_conn_h2_looks(first);
	if (!h2)
		return HTTP1;
	*role = (h2 == 3) != received ? TL_ROLE_SERVER : TL_ROLE_CLIENT;
	*desync = false;
	return h2 == 1 ? H2_START : H2_MIDDLE;
}

/* Whether the call moved the first bytes of its direction. The end that opened the connection
 * counts its SYN. Where the kernel does not tell (unix sockets), as far as we have seen all calls.
 */
static bool at_begin(const struct tl_corr *corr)
{
	const struct tl_ev_wire *event = corr->event;

	if (!event->placed)
		return !corr->event_proc->blind_ns;
	if (event->wraps)
		return false;
	return event->h.flags & TL_EVF_RECV ? event->seq == event->base_in
					    : event->seq - event->base_out <= 1;
}

static struct tl_conn *add_conn(struct tl_corr *corr)
{
	struct tl_sock_key key = {corr->event->sock, corr->event->sock_ino};
	struct tl_conn *conn, **slot;

	if (!make_room(corr))
		return NULL;
	conn = calloc(1, sizeof(*conn));
	if (!conn)
		return NULL;
	slot = tl_map_put(corr->conns, &key, NULL);
	if (!slot) {
		free(conn);
		return NULL;
	}
	*slot = conn;
	conn->corr = corr;
	conn->key = key;
	conn->address = *corr->event;
	conn->hash = name_conn(corr->event);
	tl_conn_init_parsers(conn);
	link_proc(conn, corr->event_proc);
	link_age(corr, conn);
	return conn;
}

struct tl_conn *tl_conn_new(struct tl_corr *corr, const char *data, bool *ret_full)
{
	bool desync;
	enum tl_conn_role role = guess_role(corr->event, data, &desync);
	enum dialect dialect = guess_dialect(corr->event, data, &role, &desync);
	struct tl_conn *conn;

	*ret_full = false;
	if (role == TL_ROLE_UNKNOWN)
		return NULL;
	conn = add_conn(corr);
	*ret_full = !conn;
	if (!conn)
		return NULL;
	conn->role = (uint8_t)role;
	conn->desync = desync;
	/* In the middle of a connection (it is older than we are, or had no room when it began)
	 * what looks like a request may be the body of one. */
	if (dialect < H2_START && !at_begin(corr))
		conn->desync = true;
	if (dialect == HTTP1 || (dialect == FASTCGI && tl_conn_fcgi_begin(conn)) ||
	    (dialect >= H2_START && tl_conn_h2_begin(conn, dialect == H2_START)))
		return conn;
	*ret_full = true;
	free_conn(corr, conn);
	return NULL;
}

static void end_requests(struct tl_conn *conn, enum tl_why why)
{
	struct tl_corr *corr = conn->corr;
	struct tl_request *request;

	while ((request = conn->queue)) {
		bool answering = request->state == TL_REQ_ANSWERING;

		/* Bodies as far as they came. The newest request's is the one under way. */
		if (!request->next && conn->request.state != TL_HTTP1_IDLE &&
		    conn->request.state > TL_HTTP1_HEADERS)
			request->request_bytes = conn->request.body_bytes;
		if (answering && !conn->h2 && !conn->fcgi)
			request->response_bytes = conn->response.body_bytes;
		tl_request_end(corr, request, corr->at_ns, why, false);
	}
}

void tl_conn_desync(struct tl_conn *conn, enum tl_why why)
{
	bool idle = !conn->queue && conn->request.state == TL_HTTP1_IDLE &&
		    conn->response.state == TL_HTTP1_IDLE;

	if (conn->desync && !conn->queue)
		return;
	end_requests(conn, why);
	tl_conn_drop_message(conn);
	conn->desync = true;
	conn->quiet = idle;
}

void tl_conn_end(struct tl_conn *conn)
{
	struct tl_corr *corr = conn->corr;

	/* The end of a response without a length: the parser tells it as complete. */
	tl_http1_eof(&conn->response);
	end_requests(conn, TL_WHY_NOTHING);
	free_conn(corr, conn);
}

void tl_conn_shut(struct tl_conn *conn)
{
	if (conn->role != TL_ROLE_SERVER || conn->tunnel)
		return;
	tl_http1_eof(&conn->response);
	end_requests(conn, TL_WHY_NOTHING);
	tl_conn_drop_message(conn);
	conn->tunnel = true;
}

void tl_conn_free_all(struct tl_corr *corr)
{
	while (corr->oldest) {
		end_requests(corr->oldest, TL_WHY_NOTHING);
		free_conn(corr, corr->oldest);
	}
}
