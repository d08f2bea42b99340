/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a whole line. Blocks are kept per unit, or per process for lines out of shared
 * buffers; a unit's lines come out in its order, so whatever waits of it goes first. An ordinary
 * line waits for nothing: what follows it in the same call is looked at, not waited for. */
#include "agent/lines_store.h"

bool tl_extent_add(struct tl_line *line, uint64_t from, uint64_t to)
{
	if (line->n_extents && line->extents[line->n_extents - 1].to == from) {
		line->extents[line->n_extents - 1].to = to;
		return true;
	}
	if (line->n_extents == TL_EXTENTS_MAX)
		return false;
	line->extents[line->n_extents++] = (struct tl_extent){from, to};
	return true;
}

void tl_slot_deliver(struct tl_lines *lines, struct tl_slot *slot)
{
	struct tl_line *line = &slot->line;

	lines->usage.partial += (line->flags & TL_LINE_PARTIAL) != 0;
	lines->usage.split += (line->flags & TL_LINE_SPLIT) != 0;
	lines->usage.joined += (line->flags & TL_LINE_JOINED) != 0;
	line->stage = TL_LINE_DONE;
	line->deadline_ns = UINT64_MAX;
	lines->handing = slot;
	lines->options.ready(lines->options.arg, line);
	if (lines->handing != slot)
		return;
	lines->handing = NULL;
	(void)tl_slot_park(lines, slot, TL_PARK_HELD);
}

static void release(struct tl_lines *lines, struct tl_slot *slot)
{
	tl_slot_take(lines, slot);
	tl_slot_deliver(lines, slot);
}

static bool fits(const struct tl_lines *lines, const struct tl_line *block,
		 const struct tl_line *line)
{
	/* One extent may merge with the block's last; not counted on. */
	return block->bytes.len + 1 + line->bytes.len <= lines->options.max_line &&
	       block->n_extents + line->n_extents <= TL_EXTENTS_MAX;
}

/* Puts `line`'s content behind the block's. False when memory is out; then nothing is changed. */
static bool merge(struct tl_line *block, const struct tl_line *line)
{
	if (tl_buf_reserve(&block->bytes, line->bytes.len + 1) < 0) {
		block->bytes.failed = false;
		return false;
	}
	tl_buf_putc(&block->bytes, '\n');
	tl_buf_add(&block->bytes, line->bytes.data, line->bytes.len);
	for (uint32_t i = 0; i < line->n_extents; i++)
		(void)tl_extent_add(block, line->extents[i].from, line->extents[i].to);
	block->flags |= TL_LINE_JOINED | (line->flags & (TL_LINE_BATCHED | TL_LINE_BUFFERED |
							 TL_LINE_SHARED | TL_LINE_PARTIAL));
	if (tl_writer_key(&block->writer) != tl_writer_key(&line->writer))
		block->flags |= TL_LINE_SHARED;
	block->end_ns = line->end_ns;
	block->wait_ns = line->wait_ns;
	block->lost_gen = line->lost_gen;
	return true;
}

static void wait_as_block(struct tl_lines *lines, struct tl_slot *slot, uint8_t state)
{
	slot->line.rule = state;
	if (slot->line.flags & TL_LINE_PARTIAL || tl_multiline_ended(state) ||
	    !tl_slot_park(lines, slot, TL_PARK_JOIN))
		tl_slot_deliver(lines, slot);
}

/* `slot` continues `block`. A block that is full is split there: the rest is a block in the same
 * state. */
static void continue_block(struct tl_lines *lines, struct tl_slot *block, struct tl_slot *slot,
			   uint8_t state)
{
	tl_slot_take(lines, block);
	if (!fits(lines, &block->line, &slot->line) || !merge(&block->line, &slot->line)) {
		block->line.flags |= TL_LINE_SPLIT;
		tl_slot_deliver(lines, block);
		wait_as_block(lines, slot, state);
		return;
	}
	block->last = slot->last;
	tl_slot_free(lines, slot);
	wait_as_block(lines, block, state);
}

/* The same unit's block at the other level (its own, or the process's) is before `slot` in order.
 */
static void release_other(struct tl_lines *lines, struct tl_slot *slot, uint64_t key)
{
	uint64_t own = tl_writer_key(&slot->line.writer);
	struct tl_slot *other = tl_find_join(lines, slot->group, key ? 0 : own);

	if (other && tl_writer_key(&other->line.writer) == own)
		release(lines, other);
}

void tl_slot_complete(struct tl_lines *lines, struct tl_slot *slot, struct tl_span rest, bool more)
{
	struct tl_span text = tl_buf_span(&slot->line.bytes);
	bool alone = !lines->joins || slot->rest || slot->line.flags & TL_LINE_SPLIT ||
		     slot->stream->messages;
	struct tl_slot *block = NULL;
	uint8_t state;

	if (slot->group->first) {
		uint64_t key = tl_join_key(slot);

		release_other(lines, slot, key);
		block = tl_find_join(lines, slot->group, key);
	}
	if (block) {
		state = block->line.rule;
		if (!alone && tl_multiline_next(lines->multiline, &state, text, rest)) {
			continue_block(lines, block, slot, state);
			return;
		}
		release(lines, block);
	}
	if (alone) {
		tl_slot_deliver(lines, slot);
		return;
	}
	state = tl_multiline_start(lines->multiline, text);
	if (state || tl_multiline_peek(lines->multiline, rest, more))
		wait_as_block(lines, slot, state);
	else
		tl_slot_deliver(lines, slot);
}

void tl_slot_end(struct tl_lines *lines, struct tl_slot *slot)
{
	struct tl_stream_lines *stream = slot->stream;
	enum tl_park park = slot->park;

	tl_slot_take(lines, slot);
	if (!slot->line.n_extents) {
		tl_slot_free(lines, slot);
		tl_stream_lines_drop(lines, stream);
	} else if (park == TL_PARK_JOIN) {
		tl_slot_deliver(lines, slot);
	} else {
		slot->line.flags |= TL_LINE_PARTIAL;
		tl_slot_complete(lines, slot, (struct tl_span){0}, false);
	}
}
