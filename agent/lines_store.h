/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of tl_lines: where lines are kept and found again (lines_store.c). */
#ifndef TL_AGENT_LINES_STORE_H
#define TL_AGENT_LINES_STORE_H

#include "agent/lines_private.h"

/* A slot of a new line with a new id, belonging to nothing. NULL when memory is out. */
struct tl_slot *tl_slot_new(struct tl_lines *lines);
/* Ends a line that is not parked: its end goes to the next frame if the log knows it. */
void tl_slot_free(struct tl_lines *lines, struct tl_slot *slot);
/* Releases its memory, without a word to anyone. */
void tl_slot_destroy(struct tl_slot *slot);
/* Parks it where it is found again, sets stage and deadline, and makes it dirty. The group (or
 * stream) and `last` are set. False when there is no room: the caller must end it. The place must
 * be free. */
bool tl_slot_park(struct tl_lines *lines, struct tl_slot *slot, enum tl_park park);
/* Takes it out of wherever it is parked. */
void tl_slot_take(struct tl_lines *lines, struct tl_slot *slot);
void tl_slot_clean(struct tl_lines *lines, struct tl_slot *slot); /* as the log has it */

/* What waits under `key`, or NULL. */
struct tl_slot *tl_find_open(struct tl_lines *lines, struct tl_group *group, uint64_t key);
struct tl_slot *tl_find_join(struct tl_lines *lines, struct tl_group *group, uint64_t key);

/* Finds or makes. NULL when memory is out. */
struct tl_stream_lines *tl_stream_lines_get(struct tl_lines *lines, uint64_t number);
struct tl_group *tl_group_get(struct tl_lines *lines, uint64_t stream, uint32_t tgid,
			      uint64_t start_ns);
struct tl_group *tl_group_first(struct tl_lines *lines, uint32_t tgid, uint64_t start_ns);
/* The group is mixed from now on, for restarts too; without memory until it is tried again. Not if
 * it is already. */
void tl_group_mix(struct tl_lines *lines, struct tl_group *group, const struct tl_writer *writer);
/* Forgets it. */
void tl_group_unmix(struct tl_lines *lines, struct tl_group *group);
/* Frees a stream that nothing refers to. */
void tl_stream_lines_drop(struct tl_lines *lines, struct tl_stream_lines *stream);

bool tl_id_list_add(struct tl_id_list *list, uint64_t id);

/* The unit that wrote, never 0. */
static inline uint64_t tl_writer_key(const struct tl_writer *writer)
{
	if (writer->unit_kind == TL_UNIT_GOROUTINE && writer->unit)
		return writer->unit | UINT64_C(1) << 63;
	return writer->tid ? writer->tid : UINT32_MAX;
}

/* Lines out of shared buffers are in the process's order, whichever thread flushed them: key 0 is
 * the group's joint. */
static inline uint64_t tl_join_key(const struct tl_slot *slot)
{
	return slot->line.flags & (TL_LINE_BUFFERED | TL_LINE_SHARED)
		       ? 0
		       : tl_writer_key(&slot->line.writer);
}

#endif
