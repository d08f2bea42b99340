/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/correlate/hands.h"

#include "agent/correlate/actor.h"
#include "agent/correlate/conn_read.h"
#include "agent/correlate/tail.h"

/* A read is the next request's when something was written since and nothing is unanswered. */
static void follow(struct tl_conn *conn, const struct tl_actor_key *key, bool received)
{
	bool same = memcmp(key, &conn->read_by, sizeof(*key)) == 0;
	struct tl_gate *gate = conn->corr->event_proc->gate;

	if (!received) {
		conn->written = true;
		if (gate && conn->read_by.id && !same)
			gate->handed_over = true;
		return;
	}
	if (!conn->read_by.id || (conn->written && !conn->queue))
		conn->read_by = *key;
	else if (!same)
		conn->read_by.id = TL_ACTOR_SEVERAL;
	conn->written = false;
}

void tl_hands_moved(struct tl_conn *conn)
{
	struct tl_actor_key key = tl_conn_mover(conn);
	struct tl_actor *actor = tl_actor_find(conn->corr, &key);
	bool received = conn->corr->event->h.flags & TL_EVF_RECV;

	if (conn->role == TL_ROLE_SERVER && key.kind == TL_UNIT_THREAD)
		follow(conn, &key, received);
	if (actor && conn->role == TL_ROLE_SERVER)
		tl_actor_touch(conn->corr, actor, conn);
	else if (actor && received)
		tl_tail_given(conn->corr, actor);
}
