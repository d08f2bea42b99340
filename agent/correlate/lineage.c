/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/correlate/lineage.h"

struct tl_lineage {
	struct tl_map *births;	    /* struct tl_actor_key -> struct slot */
	struct tl_actor_key *order; /* owned ring of `max`: children as they were born */
	size_t max, next;
};

struct slot {
	struct tl_birth birth;
	uint64_t place; /* in `order` */
};

void tl_lineage_free(struct tl_lineage *lineage)
{
	if (!lineage)
		return;
	tl_map_free(lineage->births);
	free(lineage->order);
	free(lineage);
}
TL_DEFINE_CLEANUP(struct tl_lineage *, tl_lineage_free);

struct tl_lineage *tl_lineage_new(size_t max)
{
	_cleanup_(tl_lineage_freep) struct tl_lineage *lineage = calloc(1, sizeof(*lineage));

	if (!lineage)
		return NULL;
	lineage->max = max;
	lineage->order = calloc(max, sizeof(*lineage->order));
	lineage->births = tl_map_new(sizeof(struct tl_actor_key), sizeof(struct slot), max);
	return lineage->order && lineage->births ? TAKE_PTR(lineage) : NULL;
}

/* Whoever holds the place goes, unless it was born again since. */
static void make_room(struct tl_lineage *lineage)
{
	const struct tl_actor_key *old = &lineage->order[lineage->next];
	const struct slot *slot = old->proc ? tl_map_get(lineage->births, old) : NULL;

	if (slot && slot->place == lineage->next)
		tl_map_del(lineage->births, old);
}

void tl_lineage_add(struct tl_lineage *lineage, const struct tl_actor_key *child,
		    const struct tl_birth *birth)
{
	struct slot *slot;

	make_room(lineage);
	slot = tl_map_put(lineage->births, child, NULL);
	if (!slot)
		return;
	*slot = (struct slot){*birth, lineage->next};
	lineage->order[lineage->next] = *child;
	lineage->next = (lineage->next + 1) % lineage->max;
}

const struct tl_birth *tl_lineage_find(const struct tl_lineage *lineage,
				       const struct tl_actor_key *child)
{
	const struct slot *slot = tl_map_get(lineage->births, child);

	return slot ? &slot->birth : NULL;
}
