/* SPDX-License-Identifier: Apache-2.0 */
/* The two ends of one connection are found by their place (TCP), or name each other (unix sockets).
 * Which end's event comes first does not matter: a client's call may return after the server has
 * read what it sent, and a large body keeps it in the call for long. */
#include "agent/correlate/hop.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/correlate/actor.h"
#include "agent/correlate/calls.h"
#include "agent/correlate/conn.h"
#include "agent/correlate/gate.h"
#include "agent/correlate/lineage.h"
#include "agent/correlate/pack.h"
#include "agent/correlate/relay.h"
#include "agent/correlate/request.h"

/* The requests at the two ends of one place; NULL: not seen (yet), or gone. */
struct ends {
	struct tl_request *client, *server;
};

void tl_hop_text(const struct tl_place *place, char out[33])
{
	snprintf(out, 33, "%016llx%016llx", (unsigned long long)place->word[0],
		 (unsigned long long)place->word[1]);
}

/* Of this agent's life alone: for what has no place. */
static struct tl_place private_name(const struct tl_corr *corr, const struct tl_request *request)
{
	struct tl_place name = {{strtoull(corr->instance, NULL, 16), 0}};

	tl_place_add(&name, request->connection);
	tl_place_add(&name, request->number);
	name.word[0] = strtoull(corr->instance, NULL, 16);
	return name;
}

void tl_hop_name(struct tl_corr *corr, struct tl_request *request)
{
	const struct tl_conn *conn = request->conn;
	int64_t offset = corr->options.wall_offset ? *corr->options.wall_offset : 0;

	request->place = tl_placing_request(&conn->placing, &conn->address, request->server);
	request->hop = tl_place_known(&request->place)
			       ? tl_place_at(&request->place, request->first_ns + (uint64_t)offset)
			       : private_name(corr, request);
}

/* --- parents --- */

/* The request that the unit or thread is in, when that rule is believed. */
static struct tl_request *serving(struct tl_corr *corr, const struct tl_actor_key *key)
{
	struct tl_actor *actor = tl_actor_find(corr, key);
	struct tl_request *request = actor ? actor->current : NULL;

	if (!request || !request->server || request->ambiguous || request->state == TL_REQ_DONE ||
	    !tl_gate_open(corr, actor->proc->gate, tl_rule_of((uint8_t)key->kind)))
		return NULL;
	if (tl_unit_is_own((uint8_t)key->kind) || request->state == TL_REQ_OPEN)
		return request;
	return request->proved && request->one_writer ? request : NULL;
}

/* What a child was born of, as far as that is still served. */
static struct tl_request *born_in(struct tl_corr *corr, const struct tl_actor_key *key)
{
	const struct tl_birth *birth = tl_lineage_find(corr->lineage, key);

	for (int depth = 0; birth && depth < TL_LINEAGE_DEPTH; depth++) {
		struct tl_request *request = serving(corr, &birth->parent);

		if (request)
			return request->header_ns <= birth->born_ns ? request : NULL;
		birth = tl_lineage_find(corr->lineage, &birth->parent);
	}
	return NULL;
}

/* A unit that writes for others (Go's net/http) is at the request of the one that asked it, or
 * whose child did; it is no matter of whom it was born itself. */
static struct tl_request *asked_by(struct tl_corr *corr, const struct tl_actor_key *writer)
{
	struct tl_actor_key asker;
	struct tl_request *request;

	if (!tl_calls_take(corr->calls, writer, &asker))
		return serving(corr, writer);
	request = asker.id ? serving(corr, &asker) : NULL;
	return request || !asker.id ? request : born_in(corr, &asker);
}

static void add_id(struct tl_corr *corr, struct tl_request *request, enum tl_id_kind kind,
		   const char *header, struct tl_span value)
{
	struct tl_ids *ids = &corr->scratch;

	tl_ids_unpack(request->ids, ids);
	tl_ids_add(ids, kind, header, value);
	tl_request_set_ids(corr, request, ids);
}

static struct tl_span primary_of(const struct tl_ids *ids)
{
	const struct tl_id *id = &ids->id[ids->primary];

	return (struct tl_span){id->value, id->len};
}

/* A relay that makes the id sends it onward: then it is the relayed request's as well. */
static void adopt(struct tl_corr *corr, struct tl_request *parent, const struct tl_ids *sent)
{
	const struct tl_id *id = &sent->id[sent->primary];
	char value[TL_ID_VALUE_MAX];

	if (tl_request_has_id(parent) || id->kind != TL_ID_REQUEST)
		return;
	memcpy(value, id->value, id->len);
	add_id(corr, parent, TL_ID_ADOPTED, id->header, (struct tl_span){value, id->len});
}

static void hang(struct tl_corr *corr, struct tl_request *request, struct tl_request *parent,
		 bool relayed)
{
	char value[TL_ID_VALUE_MAX];
	struct tl_span id;

	request->parent = parent->hop;
	if (tl_request_has_id(request)) {
		tl_ids_unpack(request->ids, &corr->scratch);
		if (relayed)
			adopt(corr, parent, &corr->scratch);
		return;
	}
	tl_request_ids(corr, parent, &corr->scratch);
	id = primary_of(&corr->scratch);
	memcpy(value, id.data, id.len);
	add_id(corr, request, TL_ID_INHERITED, NULL, (struct tl_span){value, id.len});
}

static void find_parent(struct tl_corr *corr, struct tl_request *request)
{
	const struct tl_event *event = &corr->event->h;
	struct tl_actor_key ended_by =
		tl_actor_key_of(corr->event_proc, event->unit_kind, event->unit, event->tid);
	struct tl_request *parent = NULL, *relayed = tl_relay_parent(corr, request);

	if (memcmp(&ended_by, &request->conn->began_by, sizeof(ended_by)) == 0)
		parent = asked_by(corr, &ended_by);
	if (parent || relayed)
		hang(corr, request, parent ? parent : relayed, !parent);
}

/* --- the other end --- */

static bool same_text(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

static void join(struct tl_corr *corr, struct tl_request *client, struct tl_request *server)
{
	char value[TL_ID_VALUE_MAX];
	struct tl_span id;

	if (client->joined || server->joined || !same_text(client->method, server->method) ||
	    !same_text(client->path, server->path))
		return;
	client->joined = server->joined = true;
	server->parent = client->parent;
	if (!server->minted)
		server->hop = client->hop;
	if (tl_request_has_id(server) || !tl_request_has_id(client))
		return;
	tl_ids_unpack(client->ids, &corr->scratch);
	if (corr->scratch.id[corr->scratch.primary].kind != TL_ID_INHERITED)
		return;
	id = primary_of(&corr->scratch);
	memcpy(value, id.data, id.len);
	add_id(corr, server, TL_ID_INHERITED, NULL, (struct tl_span){value, id.len});
}

static void meet_by_place(struct tl_corr *corr, struct tl_request *request)
{
	struct ends *ends = tl_map_put(corr->ends, &request->place, NULL);

	if (!ends) {
		corr->usage.full++;
		return;
	}
	/* A second one at the same place and end: the connection is not what we think. */
	if (request->server ? ends->server != NULL : ends->client != NULL)
		return;
	if (request->server)
		ends->server = request;
	else
		ends->client = request;
	request->placed = true;
	if (ends->client && ends->server)
		join(corr, ends->client, ends->server);
}

/* A unix socket's other end is known by name, its requests are not: one open at each end is the
 * same. */
static void meet_by_name(struct tl_corr *corr, struct tl_request *request)
{
	struct tl_sock_key key;
	struct tl_conn *other;

	memcpy(&key, corr->event->remote_addr, sizeof(key));
	other = key.sock && key.ino ? tl_conn_find(corr, &key) : NULL;
	if (!other || other->desync || other->depth != 1 || request->conn->depth != 1 ||
	    other->queue->server == request->server)
		return;
	if (request->server)
		join(corr, other->queue, request);
	else
		join(corr, request, other->queue);
}

void tl_hop_begin(struct tl_corr *corr, struct tl_request *request)
{
	if (!request->server)
		find_parent(corr, request);
	if (tl_place_known(&request->place))
		meet_by_place(corr, request);
	else if (request->conn->address.family == TL_SOCK_UNIX)
		meet_by_name(corr, request);
}

void tl_hop_forget(struct tl_corr *corr, struct tl_request *request)
{
	struct ends *ends = request->placed ? tl_map_get(corr->ends, &request->place) : NULL;

	if (!ends)
		return;
	if (ends->client == request)
		ends->client = NULL;
	if (ends->server == request)
		ends->server = NULL;
	if (!ends->client && !ends->server)
		tl_map_del(corr->ends, &request->place);
}
