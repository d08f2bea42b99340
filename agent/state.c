/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/state.h"

#include <stdlib.h>

#define FIRST_ENTRIES 64

void tl_frame_clear(struct tl_frame *frame)
{
	tl_buf_clear(&frame->bytes);
	frame->n = 0;
	frame->failed = false;
}

void tl_frame_done(struct tl_frame *frame)
{
	tl_buf_done(&frame->bytes);
	free(frame->entries);
	*frame = (struct tl_frame){0};
}

static bool make_room(struct tl_frame *frame)
{
	size_t cap = frame->cap ? frame->cap * 2 : FIRST_ENTRIES;
	struct tl_frame_entry *entries;

	if (frame->n < frame->cap)
		return true;
	entries = reallocarray(frame->entries, cap, sizeof(*entries));
	if (!entries)
		return false;
	frame->entries = entries;
	frame->cap = cap;
	return true;
}

void tl_frame_begin(struct tl_frame *frame, uint16_t type)
{
	if (!make_room(frame)) {
		frame->failed = true;
		return;
	}
	frame->entries[frame->n] = (struct tl_frame_entry){.type = type, .from = frame->bytes.len};
}

void tl_frame_end(struct tl_frame *frame)
{
	struct tl_frame_entry *entry;

	if (frame->bytes.failed)
		frame->failed = true;
	/* A frame that failed keeps no further entries: a begin may have had no room for its own.
	 */
	if (frame->failed)
		return;
	entry = &frame->entries[frame->n++];
	entry->len = frame->bytes.len - entry->from;
}

void tl_frame_add(struct tl_frame *frame, uint16_t type, const void *data, size_t len)
{
	tl_frame_begin(frame, type);
	tl_buf_add(&frame->bytes, data, len);
	tl_frame_end(frame);
}

int tl_frame_append(struct tl_frame *frame, struct tl_log *log, uint64_t *ret_position)
{
	_cleanup_(freep) struct tl_log_entry *entries = NULL;

	if (frame->failed || frame->bytes.failed)
		return -ENOMEM;
	entries = reallocarray(NULL, frame->n ? frame->n : 1, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	for (size_t i = 0; i < frame->n; i++) {
		const struct tl_frame_entry *entry = &frame->entries[i];

		entries[i].type = entry->type;
		entries[i].data = (struct tl_span){frame->bytes.data + entry->from, entry->len};
	}
	return tl_log_append(log, entries, frame->n, ret_position);
}
