/* SPDX-License-Identifier: Apache-2.0 */
/* Slots come from a pool, so that an ordinary line costs no allocation. Groups and streams in which
 * nothing waits are only a cache: they are kept while there are few of them, the longest idle go
 * first. */
#include "agent/lines_store.h"

#include <stdlib.h>

#define POOL_MAX 1024u	  /* free slots kept */
#define POOL_BYTES 16384u /* a free slot's buffer larger than this is given back */
#define IDLE_MAX 4096u	  /* groups kept without need */

struct waiting_key {
	const struct tl_group *group;
	uint64_t key;
};

struct tl_waiting {
	struct tl_slot *open, *join;
};

struct proc_key {
	uint64_t start_ns;
	uint32_t tgid, pad;
};

bool tl_id_list_add(struct tl_id_list *list, uint64_t id)
{
	if (list->n == list->cap) {
		size_t cap = list->cap ? list->cap * 2 : 256;
		uint64_t *ids = reallocarray(list->ids, cap, sizeof(*ids));

		if (!ids)
			return false;
		list->ids = ids;
		list->cap = cap;
	}
	list->ids[list->n++] = id;
	return true;
}

/* --- slots --- */

struct tl_slot *tl_slot_new(struct tl_lines *lines)
{
	struct tl_slot *slot = lines->pool;
	struct tl_line *line;

	if (slot) {
		lines->pool = slot->free_next;
		lines->n_pool--;
	} else {
		slot = calloc(1, sizeof(*slot));
		if (!slot)
			return NULL;
	}
	line = &slot->line;
	line->id = lines->next_id++;
	line->stage = TL_LINE_OPEN;
	line->flags = line->rule = 0;
	line->n_extents = 0;
	line->saved_len = 0;
	line->saved = line->dirty = false;
	line->next = line->prev = NULL;
	line->owner = line->hold = NULL;
	slot->group = NULL;
	slot->stream = NULL;
	slot->park = TL_PARK_NONE;
	slot->rest = slot->orphan = false;
	return slot;
}

static void make_dirty(struct tl_lines *lines, struct tl_slot *slot)
{
	if (slot->line.dirty)
		return;
	slot->line.dirty = true;
	slot->dirty_prev = NULL;
	slot->dirty_next = lines->dirty_first;
	if (slot->dirty_next)
		slot->dirty_next->dirty_prev = slot;
	lines->dirty_first = slot;
}

void tl_slot_clean(struct tl_lines *lines, struct tl_slot *slot)
{
	if (!slot->line.dirty)
		return;
	slot->line.dirty = false;
	if (slot->dirty_next)
		slot->dirty_next->dirty_prev = slot->dirty_prev;
	if (slot->dirty_prev)
		slot->dirty_prev->dirty_next = slot->dirty_next;
	else
		lines->dirty_first = slot->dirty_next;
}

void tl_slot_destroy(struct tl_slot *slot)
{
	tl_buf_done(&slot->line.bytes);
	free(slot);
}

void tl_slot_free(struct tl_lines *lines, struct tl_slot *slot)
{
	struct tl_buf *bytes = &slot->line.bytes;

	tl_slot_clean(lines, slot);
	if (slot->line.saved && !tl_id_list_add(&lines->ended, slot->line.id))
		lines->state_lost = true;
	tl_buf_clear(bytes);
	if (lines->n_pool >= POOL_MAX) {
		tl_slot_destroy(slot);
		return;
	}
	if (bytes->cap > POOL_BYTES)
		tl_buf_done(bytes);
	slot->free_next = lines->pool;
	lines->pool = slot;
	lines->n_pool++;
}

/* --- what waits in a group --- */

static void idle_add(struct tl_lines *lines, struct tl_group *group)
{
	group->idle = true;
	group->idle_next = NULL;
	group->idle_prev = lines->idle_last;
	if (group->idle_prev)
		group->idle_prev->idle_next = group;
	else
		lines->idle_first = group;
	lines->idle_last = group;
	lines->n_idle++;
}

static void idle_remove(struct tl_lines *lines, struct tl_group *group)
{
	if (!group->idle)
		return;
	group->idle = false;
	if (group->idle_next)
		group->idle_next->idle_prev = group->idle_prev;
	else
		lines->idle_last = group->idle_prev;
	if (group->idle_prev)
		group->idle_prev->idle_next = group->idle_next;
	else
		lines->idle_first = group->idle_next;
	lines->n_idle--;
}

static void group_link(struct tl_lines *lines, struct tl_slot *slot)
{
	struct tl_group *group = slot->group;

	idle_remove(lines, group);
	slot->group_next = NULL;
	slot->group_prev = group->last;
	if (group->last)
		group->last->group_next = slot;
	else
		group->first = slot;
	group->last = slot;
}

static void group_unlink(struct tl_lines *lines, struct tl_slot *slot)
{
	struct tl_group *group = slot->group;

	if (slot->group_next)
		slot->group_next->group_prev = slot->group_prev;
	else
		group->last = slot->group_prev;
	if (slot->group_prev)
		slot->group_prev->group_next = slot->group_next;
	else
		group->first = slot->group_next;
	if (!group->first)
		idle_add(lines, group);
}

struct tl_slot *tl_find_open(struct tl_lines *lines, struct tl_group *group, uint64_t key)
{
	const struct waiting_key waiting = {group, key};
	const struct tl_waiting *found = group->first ? tl_map_get(lines->writers, &waiting) : NULL;

	return found ? found->open : NULL;
}

struct tl_slot *tl_find_join(struct tl_lines *lines, struct tl_group *group, uint64_t key)
{
	const struct waiting_key waiting = {group, key};
	const struct tl_waiting *found;

	if (!group->first)
		return NULL;
	if (!key)
		return group->joint;
	found = tl_map_get(lines->writers, &waiting);
	return found ? found->join : NULL;
}

/* Where the parked slot is referred to by its group or stream: sets that to `to`. False when there
 * is no room. */
static bool file_slot(struct tl_lines *lines, struct tl_slot *slot, struct tl_slot *to)
{
	const struct waiting_key key = {slot->group, slot->key};
	struct tl_waiting *waiting;

	if (slot->park == TL_PARK_MARK) {
		slot->stream->mark = to;
		return true;
	}
	if (slot->park == TL_PARK_HELD)
		return true;
	if (slot->park == TL_PARK_MIXED) {
		slot->group->mixed = to;
		return true;
	}
	if (slot->park == TL_PARK_FULL) {
		slot->group->full = to;
		return true;
	}
	if (slot->park == TL_PARK_JOIN && !slot->key) {
		slot->group->joint = to;
		return true;
	}
	waiting = tl_map_put(lines->writers, &key, NULL);
	if (!waiting)
		return false;
	*(slot->park == TL_PARK_OPEN ? &waiting->open : &waiting->join) = to;
	if (!waiting->open && !waiting->join)
		tl_map_del(lines->writers, &key);
	return true;
}

static bool in_group(const struct tl_slot *slot)
{
	return slot->park == TL_PARK_OPEN || slot->park == TL_PARK_FULL ||
	       slot->park == TL_PARK_JOIN;
}

static void set_stage(const struct tl_lines *lines, struct tl_slot *slot)
{
	static const uint8_t stages[TL_PARKS] = {
		[TL_PARK_JOIN] = TL_LINE_JOIN,
		[TL_PARK_HELD] = TL_LINE_HELD,
	};
	const struct tl_lines_options *options = &lines->options;
	struct tl_line *line = &slot->line;

	line->stage = stages[slot->park];
	/* A held line's deadline is its holder's. */
	if (slot->park == TL_PARK_HELD)
		return;
	line->deadline_ns = UINT64_MAX;
	if (slot->park == TL_PARK_OPEN)
		line->deadline_ns = line->end_ns + options->partial_ns;
	else if (slot->park == TL_PARK_FULL)
		line->deadline_ns = line->end_ns + options->partial_ns * TL_FULL_PATIENCE;
	else if (slot->park == TL_PARK_JOIN)
		line->deadline_ns = line->end_ns + options->join_ns;
}

bool tl_slot_park(struct tl_lines *lines, struct tl_slot *slot, enum tl_park park)
{
	struct tl_list *list = &lines->lists[park];
	struct tl_line *line = &slot->line;

	slot->park = park;
	slot->key = park == TL_PARK_JOIN ? tl_join_key(slot) : tl_writer_key(&slot->last);
	if (!file_slot(lines, slot, slot)) {
		slot->park = TL_PARK_NONE;
		return false;
	}
	if (in_group(slot))
		group_link(lines, slot);
	set_stage(lines, slot);
	line->next = NULL;
	line->prev = list->tail;
	if (list->tail)
		list->tail->next = line;
	else
		list->head = line;
	list->tail = line;
	slot->counted = line->bytes.len;
	lines->bytes += slot->counted;
	lines->n_parked += park != TL_PARK_MIXED;
	lines->n_marks += park == TL_PARK_MARK;
	make_dirty(lines, slot);
	return true;
}

void tl_slot_take(struct tl_lines *lines, struct tl_slot *slot)
{
	struct tl_list *list = &lines->lists[slot->park];
	struct tl_line *line = &slot->line;

	(void)file_slot(lines, slot, NULL);
	if (in_group(slot))
		group_unlink(lines, slot);
	if (line->next)
		line->next->prev = line->prev;
	else
		list->tail = line->prev;
	if (line->prev)
		line->prev->next = line->next;
	else
		list->head = line->next;
	line->next = line->prev = NULL;
	lines->bytes -= slot->counted;
	lines->n_parked -= slot->park != TL_PARK_MIXED;
	lines->n_marks -= slot->park == TL_PARK_MARK;
	slot->park = TL_PARK_NONE;
}

/* --- groups and streams --- */

static struct tl_group **proc_head(struct tl_lines *lines, uint32_t tgid, uint64_t start_ns,
				   bool make)
{
	const struct proc_key key = {.start_ns = start_ns, .tgid = tgid};

	return make ? tl_map_put(lines->procs, &key, NULL) : tl_map_get(lines->procs, &key);
}

struct tl_group *tl_group_first(struct tl_lines *lines, uint32_t tgid, uint64_t start_ns)
{
	struct tl_group **head = proc_head(lines, tgid, start_ns, false);

	return head ? *head : NULL;
}

struct tl_stream_lines *tl_stream_lines_get(struct tl_lines *lines, uint64_t number)
{
	struct tl_stream_lines **at = tl_map_get(lines->streams, &number), *stream;

	if (at)
		return *at;
	stream = calloc(1, sizeof(*stream));
	at = stream ? tl_map_put(lines->streams, &number, NULL) : NULL;
	if (!at) {
		free(stream);
		return NULL;
	}
	stream->number = number;
	*at = stream;
	return stream;
}

void tl_stream_lines_drop(struct tl_lines *lines, struct tl_stream_lines *stream)
{
	if (stream->groups || stream->mark)
		return;
	tl_map_del(lines->streams, &stream->number);
	free(stream);
}

static void proc_unlink(struct tl_lines *lines, struct tl_group *group)
{
	const struct proc_key key = {.start_ns = group->key.start_ns, .tgid = group->key.tgid};

	if (group->proc_next)
		group->proc_next->proc_prev = group->proc_prev;
	if (group->proc_prev)
		group->proc_prev->proc_next = group->proc_next;
	else if (group->proc_next)
		*proc_head(lines, group->key.tgid, group->key.start_ns, false) = group->proc_next;
	else
		tl_map_del(lines->procs, &key);
}

void tl_group_mix(struct tl_lines *lines, struct tl_group *group, const struct tl_writer *writer)
{
	struct tl_slot *slot = tl_slot_new(lines);

	if (!slot)
		return;
	slot->line.stream = group->stream->number;
	slot->line.writer = slot->last = *writer;
	slot->line.time_ns = slot->line.end_ns = lines->now_ns;
	slot->line.lost_gen = 0;
	slot->line.stderr_ = false;
	slot->stream = group->stream;
	slot->group = group;
	(void)tl_slot_park(lines, slot, TL_PARK_MIXED);
}

void tl_group_unmix(struct tl_lines *lines, struct tl_group *group)
{
	struct tl_slot *slot = group->mixed;

	if (!slot)
		return;
	tl_slot_take(lines, slot);
	tl_slot_free(lines, slot);
}

static void group_free(struct tl_lines *lines, struct tl_group *group)
{
	struct tl_stream_lines *stream = group->stream;

	tl_group_unmix(lines, group);
	idle_remove(lines, group);
	proc_unlink(lines, group);
	if (group->stream_next)
		group->stream_next->stream_prev = group->stream_prev;
	if (group->stream_prev)
		group->stream_prev->stream_next = group->stream_next;
	else
		stream->groups = group->stream_next;
	tl_map_del(lines->groups, &group->key);
	if (lines->last_group == group)
		lines->last_group = NULL;
	free(group);
	tl_stream_lines_drop(lines, stream);
}

static struct tl_group *group_new(struct tl_lines *lines, const struct tl_group_key *key)
{
	_cleanup_(freep) struct tl_group *group = calloc(1, sizeof(*group));
	struct tl_stream_lines *stream = tl_stream_lines_get(lines, key->stream);
	struct tl_group **head, **at;

	if (!stream)
		return NULL;
	head = group ? proc_head(lines, key->tgid, key->start_ns, true) : NULL;
	at = head ? tl_map_put(lines->groups, key, NULL) : NULL;
	if (!at) {
		tl_stream_lines_drop(lines, stream);
		return NULL;
	}
	group->key = *key;
	group->stream = stream;
	group->proc_next = *head;
	if (*head)
		(*head)->proc_prev = group;
	*head = group;
	group->stream_next = stream->groups;
	if (stream->groups)
		stream->groups->stream_prev = group;
	stream->groups = group;
	*at = group;
	idle_add(lines, group);
	return TAKE_PTR(group);
}

struct tl_group *tl_group_get(struct tl_lines *lines, uint64_t stream, uint32_t tgid,
			      uint64_t start_ns)
{
	const struct tl_group_key key = {.stream = stream, .start_ns = start_ns, .tgid = tgid};
	struct tl_group *group = lines->last_group, **at;

	if (group && group->key.stream == stream && group->key.tgid == tgid &&
	    group->key.start_ns == start_ns)
		return group;
	at = tl_map_get(lines->groups, &key);
	if (at) {
		lines->last_group = *at;
		return *at;
	}
	while (lines->n_idle >= IDLE_MAX)
		group_free(lines, lines->idle_first);
	group = group_new(lines, &key);
	if (group)
		lines->last_group = group;
	return group;
}
