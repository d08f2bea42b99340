/* SPDX-License-Identifier: Apache-2.0 */
/* What of the lines a restart needs. Everything that steers assembly is in the line itself: its
 * stage, the block's state (rule), who wrote last, and two bits that only the saved flags have. A
 * mark is an open line without extents and without a writer; that a group is mixed is one with a
 * writer and SAVED_FULL.
 *
 * Frames are read one after another; within a frame (and a checkpoint in front of it) a line may be
 * told that an earlier entry has ended already, or that a checkpoint holds more of: then the bytes
 * behind `from_len` are put there again, and bytes whose begin is unknown wait for the end that
 * must follow. */
#include "agent/lines_store.h"

#include <errno.h>
#include <stdlib.h>

#define SAVED_FULL 0x40 /* parked TL_PARK_FULL; without extents: TL_PARK_MIXED */
#define SAVED_REST 0x80 /* tl_slot.rest */

static void save_line(struct tl_lines *lines, struct tl_frame *frame, struct tl_slot *slot,
		      bool all)
{
	struct tl_line *line = &slot->line;
	size_t from = all || !line->saved ? 0 : line->saved_len;
	bool is_full = slot->park == TL_PARK_FULL || slot->park == TL_PARK_MIXED;
	struct tl_state_line state;

	/* The padding of writers goes to disk too. */
	memset(&state, 0, sizeof(state));
	state.id = line->id;
	state.stream = line->stream;
	state.writer = line->writer;
	state.time_ns = line->time_ns;
	state.end_ns = line->end_ns;
	state.from_len = from;
	state.lost_gen = line->lost_gen;
	state.stage = line->stage;
	state.flags =
		(uint8_t)(line->flags | (is_full ? SAVED_FULL : 0) | (slot->rest ? SAVED_REST : 0));
	state.rule = line->rule;
	state.stderr_ = line->stderr_;
	state.n_extents = line->n_extents;
	state.n_bytes = (uint32_t)(line->bytes.len - from);
	state.last = slot->last;
	tl_frame_begin(frame, TL_STATE_LINE);
	tl_buf_add(&frame->bytes, &state, sizeof(state));
	tl_buf_add(&frame->bytes, line->extents, line->n_extents * sizeof(line->extents[0]));
	tl_buf_add(&frame->bytes, line->bytes.data + from, state.n_bytes);
	tl_frame_end(frame);
	line->saved = true;
	line->saved_len = line->bytes.len;
	tl_slot_clean(lines, slot);
}

void tl_lines_save(struct tl_lines *lines, struct tl_frame *frame, bool all)
{
	if (lines->recovering)
		tl_lines_settle(lines);
	if (lines->state_lost)
		frame->failed = true;
	if (all) {
		for (int i = 0; i < TL_PARKS; i++)
			for (struct tl_line *line = lines->lists[i].head; line; line = line->next)
				save_line(lines, frame, (struct tl_slot *)line, true);
		return;
	}
	for (size_t i = 0; i < lines->ended.n; i++)
		tl_frame_add(frame, TL_STATE_LINE_END, &lines->ended.ids[i],
			     sizeof(lines->ended.ids[i]));
	lines->ended.n = 0;
	while (lines->dirty_first)
		save_line(lines, frame, lines->dirty_first, false);
}

/* --- recovery --- */

static struct tl_slot *recovered(struct tl_lines *lines, uint64_t id, bool make)
{
	struct tl_slot **at;
	uint64_t next_id = lines->next_id;

	if (!lines->recovering && make)
		lines->recovering = tl_map_new(sizeof(uint64_t), sizeof(void *), SIZE_MAX);
	if (!lines->recovering)
		return NULL;
	at = tl_map_get(lines->recovering, &id);
	if (at || !make)
		return at ? *at : NULL;
	at = tl_map_put(lines->recovering, &id, NULL);
	if (!at)
		return NULL;
	*at = tl_slot_new(lines);
	lines->next_id = next_id;
	if (!*at) {
		tl_map_del(lines->recovering, &id);
		return NULL;
	}
	(*at)->line.id = id;
	return *at;
}

static void take_state(struct tl_slot *slot, const struct tl_state_line *state)
{
	struct tl_line *line = &slot->line;

	line->stream = state->stream;
	line->writer = state->writer;
	line->time_ns = state->time_ns;
	line->end_ns = state->end_ns;
	line->lost_gen = state->lost_gen;
	line->stage = state->stage;
	line->flags = state->flags & (uint8_t) ~(SAVED_FULL | SAVED_REST);
	line->rule = state->rule;
	line->stderr_ = state->stderr_;
	line->n_extents = state->n_extents;
	slot->last = state->last;
	slot->rest = state->flags & SAVED_REST;
	slot->park = TL_PARK_NONE;
	/* Which list it belongs to, until it is parked by settle. */
	if (state->stage == TL_LINE_JOIN)
		slot->key = TL_PARK_JOIN;
	else if (state->stage == TL_LINE_HELD)
		slot->key = TL_PARK_HELD;
	else if (!state->n_extents && !state->last.tgid)
		slot->key = TL_PARK_MARK;
	else if (state->flags & SAVED_FULL)
		slot->key = state->n_extents ? TL_PARK_FULL : TL_PARK_MIXED;
	else
		slot->key = TL_PARK_OPEN;
}

static int recover_line(struct tl_lines *lines, struct tl_span data)
{
	struct tl_state_line state;
	struct tl_slot *slot;
	struct tl_line *line;
	size_t extents;

	if (data.len < sizeof(state))
		return -EBADMSG;
	memcpy(&state, data.data, sizeof(state));
	extents = state.n_extents * sizeof(struct tl_extent);
	if (state.n_extents > TL_EXTENTS_MAX || state.stage > TL_LINE_HELD ||
	    data.len != sizeof(state) + extents + state.n_bytes)
		return -EBADMSG;
	slot = recovered(lines, state.id, true);
	if (!slot)
		return -ENOMEM;
	line = &slot->line;
	slot->orphan = state.from_len && (slot->orphan || state.from_len > line->bytes.len);
	take_state(slot, &state);
	memcpy(line->extents, data.data + sizeof(state), extents);
	if (!slot->orphan) {
		line->bytes.len = state.from_len;
		if (tl_buf_add(&line->bytes, data.data + sizeof(state) + extents, state.n_bytes) <
		    0)
			return -ENOMEM;
	}
	if (state.id >= lines->next_id)
		lines->next_id = state.id + 1;
	return 0;
}

int tl_lines_recover(struct tl_lines *lines, uint16_t type, struct tl_span data)
{
	struct tl_slot *slot;
	uint64_t id;

	if (type == TL_STATE_LINE)
		return recover_line(lines, data);
	if (type != TL_STATE_LINE_END || data.len != sizeof(id))
		return -EBADMSG;
	memcpy(&id, data.data, sizeof(id));
	slot = recovered(lines, id, false);
	if (!slot)
		return 0;
	tl_map_del(lines->recovering, &id);
	tl_slot_free(lines, slot);
	return 0;
}

static int by_end(const void *a, const void *b)
{
	const struct tl_line *x = *(struct tl_line *const *)a, *y = *(struct tl_line *const *)b;

	if (x->end_ns != y->end_ns)
		return x->end_ns < y->end_ns ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static int by_id(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Puts a recovered line back. False when it has no place. */
static bool put_back(struct tl_lines *lines, struct tl_slot *slot)
{
	struct tl_line *line = &slot->line;
	enum tl_park park = (enum tl_park)slot->key;

	if (slot->orphan)
		return false;
	slot->stream = tl_stream_lines_get(lines, line->stream);
	if (slot->stream && park != TL_PARK_MARK)
		slot->group =
			tl_group_get(lines, line->stream, line->writer.tgid, line->writer.start_ns);
	if (!slot->stream || (!slot->group && park != TL_PARK_MARK) ||
	    !tl_slot_park(lines, slot, park))
		return false;
	if (park == TL_PARK_HELD && !tl_id_list_add(&lines->resume, line->id))
		lines->state_lost = true;
	slot->stream->batched |= (line->flags & TL_LINE_BUFFERED) != 0;
	line->saved = true;
	line->saved_len = line->bytes.len;
	tl_slot_clean(lines, slot);
	return true;
}

void tl_lines_settle(struct tl_lines *lines)
{
	struct tl_map *map = lines->recovering;
	size_t n = tl_map_count(map), i = 0, iter = 0;
	_cleanup_(freep) struct tl_slot **slots = calloc(n ? n : 1, sizeof(*slots));
	void *value;

	if (!slots) {
		lines->state_lost = true;
		return;
	}
	lines->recovering = NULL;
	while (tl_map_next(map, &iter, NULL, &value))
		slots[i++] = *(struct tl_slot **)value;
	tl_map_free(map);
	qsort(slots, n, sizeof(*slots), by_end);
	for (i = 0; i < n; i++) {
		if (put_back(lines, slots[i]))
			continue;
		lines->usage.lost_bytes += slots[i]->line.bytes.len;
		slots[i]->line.saved = true;
		tl_slot_free(lines, slots[i]);
	}
}

void tl_lines_drop_recovered(struct tl_lines *lines)
{
	size_t iter = 0;
	void *value;

	while (lines->recovering && tl_map_next(lines->recovering, &iter, NULL, &value))
		tl_slot_destroy(*(struct tl_slot **)value);
	tl_map_free(lines->recovering);
	lines->recovering = NULL;
}

static struct tl_slot *find_held(struct tl_lines *lines, uint64_t id)
{
	for (struct tl_line *line = lines->lists[TL_PARK_HELD].head; line; line = line->next)
		if (line->id == id)
			return (struct tl_slot *)line;
	return NULL;
}

void tl_lines_resume(struct tl_lines *lines)
{
	if (lines->recovering)
		tl_lines_settle(lines);
	if (lines->resume.n)
		qsort(lines->resume.ids, lines->resume.n, sizeof(uint64_t), by_id);
	for (size_t i = 0; i < lines->resume.n; i++) {
		struct tl_slot *slot = find_held(lines, lines->resume.ids[i]);

		if (!slot)
			continue;
		tl_slot_take(lines, slot);
		lines->handing = slot;
		lines->options.ready(lines->options.arg, &slot->line);
		if (lines->handing != slot)
			continue;
		lines->handing = NULL;
		(void)tl_slot_park(lines, slot, TL_PARK_HELD);
	}
	lines->resume.n = 0;
}

uint64_t tl_lines_next_id(const struct tl_lines *lines)
{
	return lines->next_id;
}

void tl_lines_set_next_id(struct tl_lines *lines, uint64_t id)
{
	lines->next_id = id;
}
