/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/correlate/calls.h"

#include "agent/correlate/actor.h"

#define SLOTS 2048u

struct writer {
	struct tl_actor_key unit;
	uint64_t connection; /* 0: free */
};

struct asked {
	uint64_t proc, connection;
	struct tl_actor_key by; /* id 0: nobody, or it was taken */
};

struct tl_calls {
	struct writer writers[SLOTS];
	struct asked asked[SLOTS];
};

struct tl_calls *tl_calls_new(void)
{
	return calloc(1, sizeof(struct tl_calls));
}

void tl_calls_free(struct tl_calls *calls)
{
	free(calls);
}

static struct writer *writer_slot(struct tl_calls *calls, const struct tl_actor_key *unit)
{
	return &calls->writers[tl_hash(unit, sizeof(*unit)) % SLOTS];
}

static struct asked *asked_slot(struct tl_calls *calls, uint64_t proc, uint64_t connection)
{
	uint64_t key[2] = {proc, connection};

	return &calls->asked[tl_hash(key, sizeof(key)) % SLOTS];
}

void tl_calls_add(struct tl_calls *calls, const struct tl_cproc *proc,
		  const struct tl_ev_unit *event)
{
	struct tl_actor_key unit =
		tl_actor_key_of(proc, event->h.unit_kind, event->h.unit, event->h.tid);

	if (!event->h.unit || !event->parent)
		return;
	if (event->h.flags & TL_EVF_FIRST)
		*writer_slot(calls, &unit) = (struct writer){unit, event->parent};
	else
		*asked_slot(calls, proc->serial, event->parent) =
			(struct asked){proc->serial, event->parent, unit};
}

bool tl_calls_take(struct tl_calls *calls, const struct tl_actor_key *unit,
		   struct tl_actor_key *ret_asker)
{
	struct writer *writer = writer_slot(calls, unit);
	struct asked *asked;

	if (!writer->connection || memcmp(&writer->unit, unit, sizeof(*unit)) != 0)
		return false;
	*ret_asker = (struct tl_actor_key){.id = 0};
	asked = asked_slot(calls, unit->proc, writer->connection);
	if (asked->proc != unit->proc || asked->connection != writer->connection)
		return true;
	*ret_asker = asked->by;
	asked->by.id = 0;
	return true;
}
