/* SPDX-License-Identifier: Apache-2.0 */
/* Two small tables of fixed size, direct-mapped: what a thread touched last in its turn, and for
 * which request a socket was opened. An entry that another took the place of is not found: then
 * there is no guess. Requests are named by connection and number, so nothing dangles. */
#include "agent/correlate/relay.h"

#include "agent/correlate/conn.h"
#include "agent/correlate/gate.h"

#define SLOTS 1024u

/* What a thread touched last. */
struct turn {
	uint64_t proc;
	uint32_t tid;
	bool outbound; /* it was a connection to a server */
	uint64_t at_ns;
	struct tl_relayed of; /* the request that it belongs to; number 0: none or unknown */
};

struct dial {
	struct tl_sock_key sock;
	struct tl_relayed by;
};

struct tl_relay {
	struct turn turns[SLOTS];
	struct dial dials[SLOTS];
};

struct tl_relay *tl_relay_new(void)
{
	return calloc(1, sizeof(struct tl_relay));
}

void tl_relay_free(struct tl_relay *relay)
{
	free(relay);
}

static struct turn *turn_slot(const struct tl_corr *corr)
{
	uint64_t key[2] = {corr->event_proc->serial, corr->event->h.tid};

	return &corr->relay->turns[tl_hash(key, sizeof(key)) % SLOTS];
}

static struct dial *dial_slot(const struct tl_corr *corr, const struct tl_sock_key *sock)
{
	return &corr->relay->dials[tl_hash(sock, sizeof(*sock)) % SLOTS];
}

/* What the event's thread touched before in this turn: since it last waited. */
static const struct turn *turn_now(const struct tl_corr *corr)
{
	const struct tl_event *event = &corr->event->h;
	const struct turn *turn = turn_slot(corr);

	if (event->unit_kind != TL_UNIT_THREAD || turn->proc != corr->event_proc->serial ||
	    turn->tid != event->tid || !turn->of.number)
		return NULL;
	if (event->waited_ns != TL_WAITED_MAX && event->time_ns - event->waited_ns > turn->at_ns)
		return NULL;
	return turn;
}

static struct tl_request *find(const struct tl_corr *corr, const struct tl_relayed *of)
{
	struct tl_conn *conn = of->number ? tl_conn_find(corr, &of->conn) : NULL;

	/* The only one on its connection, or its client pipelines and it could be any. */
	if (!conn || conn->depth != 1 || conn->queue->number != of->number || !conn->queue->server)
		return NULL;
	return conn->queue;
}

void tl_relay_connect(struct tl_corr *corr)
{
	struct tl_sock_key sock = {corr->event->sock, corr->event->sock_ino};
	const struct turn *turn = turn_now(corr);
	struct dial *dial = dial_slot(corr, &sock);

	*dial = (struct dial){.sock = sock};
	if (turn && find(corr, &turn->of))
		dial->by = turn->of;
}

void tl_relay_touch(struct tl_corr *corr, const struct tl_conn *conn)
{
	struct turn *turn;

	if (corr->event->h.unit_kind != TL_UNIT_THREAD)
		return;
	turn = turn_slot(corr);
	*turn = (struct turn){.proc = corr->event_proc->serial,
			      .tid = corr->event->h.tid,
			      .at_ns = corr->event->h.time_ns};
	if (!conn)
		return;
	turn->outbound = conn->role == TL_ROLE_CLIENT;
	if (turn->outbound)
		turn->of = conn->relayed;
	else if (conn->depth == 1)
		turn->of = (struct tl_relayed){conn->key, conn->queue->number};
}

/* Prefixes are often cut off or put on. */
static bool similar_paths(const char *a, const char *b)
{
	size_t m = a ? strlen(a) : 0, n = b ? strlen(b) : 0, less = m < n ? m : n;

	if (!m || !n)
		return false;
	return m == n ? strcmp(a, b) == 0
		      : less > 1 && memcmp(a + m - less, b + n - less, less) == 0;
}

static const struct tl_relayed *guess(const struct tl_corr *corr, const struct tl_conn *conn)
{
	const struct dial *dial = dial_slot(corr, &conn->key);
	const struct turn *turn;

	if (conn->number == 1 && dial->sock.sock == conn->key.sock &&
	    dial->sock.ino == conn->key.ino)
		return &dial->by;
	turn = turn_now(corr);
	return turn ? &turn->of : NULL;
}

struct tl_request *tl_relay_parent(struct tl_corr *corr, struct tl_request *request)
{
	struct tl_conn *conn = request->conn;
	const struct tl_relayed *of = guess(corr, conn);
	struct tl_request *parent = of ? find(corr, of) : NULL;
	const struct tl_gate *gate = request->proc->gate;

	conn->relayed = (struct tl_relayed){.number = 0};
	if (!parent || parent->proc != request->proc || parent->state != TL_REQ_OPEN ||
	    parent->relays || strcmp(parent->method ?: "", request->method ?: "") != 0 ||
	    !similar_paths(parent->path, request->path))
		return NULL;
	parent->relays = true;
	conn->relayed = *of;
	return gate && !gate->relay_contradicts &&
			       gate->relay_confirms >= corr->options.gate_confirms
		       ? parent
		       : NULL;
}

void tl_relay_answer(struct tl_corr *corr, const struct tl_request *request)
{
	const struct turn *turn = turn_now(corr);
	struct tl_gate *gate = request->proc->gate;

	if (!gate || !request->relays || !turn || !turn->outbound)
		return;
	if (find(corr, &turn->of) != request)
		gate->relay_contradicts++;
	else if (request->overlapped)
		gate->relay_confirms++;
}
