/* SPDX-License-Identifier: Apache-2.0 */
/* Streams live in slots of an array (so that a walk survives a removal) and are found by number and
 * by file identity; the one used last is tried first, because writes come in runs. A number whose
 * file got a new number (the identity was used again) stays, without a file, until it is removed:
 * its lines may still be on their way.
 *
 * Offsets: the kernel's counter of refused bytes only grows while its entry lives, and each event
 * carries it as it was before the event. Two CPUs may enter the ring in the other order than they
 * read it, so a smaller value is old news, except after a FILE event: then the kernel may have made
 * the entry anew, and its counter begins at 0. */
#include "agent/streams.h"

#include <errno.h>
#include <stdlib.h>

#include "agent/streams_decide.h"
#include "userspace/base/clock.h"
#include "userspace/base/map.h"

struct slot {
	struct tl_stream_info info;
	size_t index;
	bool told;	/* the kernel knows the verdict */
	bool recheck;	/* a FILE event came: the kernel's counter may have begun anew */
	bool there;	/* the kernel has, or had, an entry since we run */
	bool forgotten; /* and has none any more */
};

struct tl_streams {
	struct tl_streams_options options;  /* paths owned */
	struct tl_map *by_file, *by_number; /* to struct slot * */
	struct slot **slots;		    /* owned; NULL where free */
	size_t n_slots, cap_slots, count;
	struct slot *last;
	uint64_t next_number;
	uint64_t *ended; /* numbers for the next frame's TL_STATE_STREAM_END */
	size_t n_ended, cap_ended;
	bool state_lost; /* an end could not be remembered: the next frame must fail */
	uint64_t refused, unknown_bytes;
};

static bool copy_paths(struct tl_streams *streams, const struct tl_streams_options *options)
{
	char **paths = calloc(options->n_paths ? options->n_paths : 1, sizeof(*paths));

	streams->options.paths = (const char *const *)paths;
	if (!paths)
		return false;
	for (size_t i = 0; i < options->n_paths; i++) {
		paths[i] = strdup(options->paths[i]);
		if (!paths[i])
			return false;
	}
	return true;
}

struct tl_streams *tl_streams_new(const struct tl_streams_options *options)
{
	_cleanup_(tl_streams_freep) struct tl_streams *streams = calloc(1, sizeof(*streams));

	if (!streams)
		return NULL;
	streams->options = *options;
	streams->next_number = 1;
	if (!copy_paths(streams, options))
		return NULL;
	streams->by_file =
		tl_map_new(sizeof(struct tl_file_id), sizeof(struct slot *), options->max);
	streams->by_number = tl_map_new(sizeof(uint64_t), sizeof(struct slot *), options->max);
	if (!streams->by_file || !streams->by_number)
		return NULL;
	return TAKE_PTR(streams);
}

static void slot_free(struct slot *slot)
{
	free(slot->info.path);
	free(slot);
}

void tl_streams_free(struct tl_streams *streams)
{
	char **paths;

	if (!streams)
		return;
	for (size_t i = 0; i < streams->n_slots; i++)
		if (streams->slots[i])
			slot_free(streams->slots[i]);
	free(streams->slots);
	free(streams->ended);
	tl_map_free(streams->by_file);
	tl_map_free(streams->by_number);
	paths = (char **)streams->options.paths;
	for (size_t i = 0; paths && i < streams->options.n_paths; i++)
		free(paths[i]);
	free(paths);
	free(streams);
}

static bool same_file(const struct tl_file_id *a, const struct tl_file_id *b)
{
	return a->ino == b->ino && a->dev == b->dev && a->gen == b->gen;
}

static struct slot *find_file(struct tl_streams *streams, const struct tl_file_id *file)
{
	struct slot **at;

	if (streams->last && same_file(&streams->last->info.file, file))
		return streams->last;
	at = tl_map_get(streams->by_file, file);
	if (!at)
		return NULL;
	streams->last = *at;
	return *at;
}

static struct slot *find_number(struct tl_streams *streams, uint64_t number)
{
	struct slot **at;

	if (streams->last && streams->last->info.number == number)
		return streams->last;
	at = tl_map_get(streams->by_number, &number);
	return at ? *at : NULL;
}

/* Puts `slot` where it can be found by number; first free place, so that the walk stays short. */
static int place(struct tl_streams *streams, struct slot *slot)
{
	struct slot **by_number;
	size_t i = streams->count == streams->n_slots ? streams->n_slots : 0;

	while (i < streams->n_slots && streams->slots[i])
		i++;
	if (i == streams->cap_slots) {
		size_t cap = i ? i * 2 : 64;
		struct slot **slots = reallocarray(streams->slots, cap, sizeof(*slots));

		if (!slots)
			return -ENOMEM;
		streams->slots = slots;
		streams->cap_slots = cap;
	}
	by_number = tl_map_put(streams->by_number, &slot->info.number, NULL);
	if (!by_number)
		return -ENOSPC;
	*by_number = slot;
	streams->slots[i] = slot;
	slot->index = i;
	if (i == streams->n_slots)
		streams->n_slots++;
	streams->count++;
	return 0;
}

static bool has_file(const struct tl_file_id *file)
{
	return file->ino || file->dev || file->gen;
}

/* A new slot with a number, a file and a path. Returns NULL when the table is full or memory is
 * out. */
static struct slot *slot_new(struct tl_streams *streams, uint64_t number,
			     const struct tl_file_id *file, struct tl_span path)
{
	struct slot *slot = calloc(1, sizeof(*slot)), **by_file;

	if (!slot)
		return NULL;
	slot->info.number = number;
	slot->info.file = *file;
	slot->info.path = strndup(path.len ? path.data : "", path.len);
	if (!slot->info.path || streams->count >= streams->options.max ||
	    place(streams, slot) < 0) {
		slot_free(slot);
		return NULL;
	}
	if (!has_file(file))
		return slot;
	by_file = tl_map_put(streams->by_file, file, NULL);
	if (!by_file) {
		tl_map_del(streams->by_number, &number);
		streams->slots[slot->index] = NULL;
		streams->count--;
		slot_free(slot);
		return NULL;
	}
	*by_file = slot;
	return slot;
}

static void tell(struct tl_streams *streams, struct slot *slot)
{
	struct tl_stream_info *info = &slot->info;

	slot->told = !streams->options.decide ||
		     streams->options.decide(streams->options.arg, &info->file,
					     (enum tl_verdict)info->verdict) >= 0;
}

/* Takes the file from `slot`, unless another number has it by now. */
static void unmap_file(struct tl_streams *streams, const struct slot *slot)
{
	struct slot **at = tl_map_get(streams->by_file, &slot->info.file);

	if (at && *at == slot)
		tl_map_del(streams->by_file, &slot->info.file);
}

/* The identity is used again for another file: the old number goes on without it. */
static void retire(struct tl_streams *streams, struct slot *slot)
{
	unmap_file(streams, slot);
	slot->info.file = (struct tl_file_id){0};
	slot->info.dirty = true;
	slot->forgotten = true;
	streams->last = NULL;
}

struct tl_stream_info *tl_streams_file(struct tl_streams *streams, const struct tl_ev_file *event)
{
	struct slot *slot = find_file(streams, &event->file);
	struct tl_span path = {(const char *)(event + 1),
			       event->path_len < event->h.len ? event->path_len : event->h.len};
	struct tl_stream_info *info;

	path.len = strnlen(path.data, path.len);
	if (slot && (slot->forgotten || slot->info.kind != event->kind ||
		     !tl_span_is(path, slot->info.path))) {
		retire(streams, slot);
		slot = NULL;
	}
	if (!slot) {
		slot = slot_new(streams, streams->next_number, &event->file, path);
		if (!slot) {
			streams->refused++;
			return NULL;
		}
		streams->next_number++;
		slot->info.kind = event->kind;
		slot->info.std = event->h.flags & (TL_EVF_STDOUT | TL_EVF_STDERR);
	}
	info = &slot->info;
	info->f_flags = event->f_flags;
	info->last_ns = event->h.time_ns;
	info->last_tgid = event->h.tgid;
	info->verdict = tl_streams_judge(&streams->options, event, info->path);
	info->dirty = true;
	slot->recheck = slot->there = true;
	tell(streams, slot);
	return info;
}

/* How far the kernel's counter `lost` has grown since we looked, and takes that in. */
static uint64_t hole_before(struct slot *slot, uint64_t lost)
{
	struct tl_stream_info *info = &slot->info;
	uint64_t hole = 0;

	if (lost > info->lost_bytes) {
		hole = lost - info->lost_bytes;
		info->lost_bytes = lost;
	} else if (lost < info->lost_bytes && slot->recheck) {
		hole = lost;
		info->lost_bytes = lost;
	}
	slot->recheck = false;
	return hole;
}

struct tl_stream_info *tl_streams_bytes(struct tl_streams *streams, const struct tl_ev_log *event,
					uint64_t *ret_offset, uint64_t *ret_hole)
{
	struct slot *slot = find_file(streams, &event->file);
	struct tl_stream_info *info;
	uint64_t hole;

	if (!slot) {
		streams->unknown_bytes += event->h.len;
		return NULL;
	}
	info = &slot->info;
	if (!slot->told && event->h.flags & TL_EVF_UNDECIDED)
		tell(streams, slot);
	if (info->verdict != TL_VERDICT_LOG)
		return NULL;
	hole = hole_before(slot, event->lost_bytes);
	*ret_hole = hole;
	*ret_offset = info->next_offset + hole;
	info->next_offset += hole + event->h.len;
	info->last_ns = event->h.time_ns;
	info->last_tgid = event->h.tgid;
	info->dirty = true;
	return info;
}

uint64_t tl_streams_trailing(struct tl_streams *streams, const struct tl_stream_row *row,
			     struct tl_stream_info **ret_stream, uint64_t *ret_offset)
{
	struct slot *slot = find_file(streams, &row->file);
	uint64_t hole;

	if (!slot || slot->info.verdict != TL_VERDICT_LOG)
		return 0;
	/* The last look at an entry that was then forgotten, and made anew: its counter began at 0.
	 * (Two CPUs may leave `last_ns` in the wrong order, by far less than this.) */
	if (row->stream.last_ns + TL_SEC < slot->info.last_ns)
		return 0;
	hole = hole_before(slot, row->stream.lost_bytes);
	if (!hole)
		return 0;
	*ret_stream = &slot->info;
	*ret_offset = slot->info.next_offset;
	slot->info.next_offset += hole;
	slot->info.dirty = true;
	return hole;
}

void tl_streams_row(struct tl_streams *streams, const struct tl_stream_row *row)
{
	struct slot *slot = find_file(streams, &row->file);

	if (!slot)
		return;
	slot->there = true;
	slot->info.blind_bytes = row->stream.blind_bytes;
}

void tl_streams_forgotten(struct tl_streams *streams, const struct tl_file_id *file)
{
	struct slot *slot = find_file(streams, file);

	if (slot)
		slot->forgotten = true;
}

void tl_streams_forgotten_unseen(struct tl_streams *streams)
{
	for (size_t i = 0; i < streams->n_slots; i++)
		if (streams->slots[i] && !streams->slots[i]->there)
			streams->slots[i]->forgotten = true;
}

void tl_streams_sweep(struct tl_streams *streams)
{
	for (size_t i = 0; i < streams->n_slots; i++) {
		const struct slot *slot = streams->slots[i];

		if (slot && slot->forgotten &&
		    slot->info.next_offset == slot->info.delivered_bytes + slot->info.gap_bytes)
			tl_streams_remove(streams, slot->info.number);
	}
}

struct tl_stream_info *tl_streams_get(struct tl_streams *streams, uint64_t number)
{
	struct slot *slot = find_number(streams, number);

	return slot ? &slot->info : NULL;
}

struct tl_stream_info *tl_streams_next(struct tl_streams *streams, size_t *iter)
{
	while (*iter < streams->n_slots) {
		struct slot *slot = streams->slots[(*iter)++];

		if (slot)
			return &slot->info;
	}
	return NULL;
}

static void forget(struct tl_streams *streams, struct slot *slot)
{
	unmap_file(streams, slot);
	tl_map_del(streams->by_number, &slot->info.number);
	streams->slots[slot->index] = NULL;
	streams->count--;
	if (streams->last == slot)
		streams->last = NULL;
	slot_free(slot);
}

void tl_streams_remove(struct tl_streams *streams, uint64_t number)
{
	struct slot *slot = find_number(streams, number);

	if (!slot)
		return;
	forget(streams, slot);
	if (streams->n_ended == streams->cap_ended) {
		size_t cap = streams->cap_ended ? streams->cap_ended * 2 : 64;
		uint64_t *ended = reallocarray(streams->ended, cap, sizeof(*ended));

		if (!ended) {
			streams->state_lost = true;
			return;
		}
		streams->ended = ended;
		streams->cap_ended = cap;
	}
	streams->ended[streams->n_ended++] = number;
}

static void save_stream(struct tl_frame *frame, const struct tl_stream_info *info)
{
	const struct tl_state_stream state = {
		.number = info->number,
		.file = info->file,
		.next_offset = info->next_offset,
		.lost_bytes = info->lost_bytes,
		.delivered_bytes = info->delivered_bytes,
		.records = info->records,
		.kind = info->kind,
		.verdict = info->verdict,
		.f_flags = info->f_flags,
		.std = info->std,
		.path_len = (uint32_t)strlen(info->path),
	};

	tl_frame_begin(frame, TL_STATE_STREAM);
	tl_buf_add(&frame->bytes, &state, sizeof(state));
	tl_buf_add(&frame->bytes, info->path, state.path_len);
	tl_frame_end(frame);
}

void tl_streams_save(struct tl_streams *streams, struct tl_frame *frame, bool all)
{
	if (streams->state_lost)
		frame->failed = true;
	/* A checkpoint says what there is; ends still belong to the frame behind it. */
	for (size_t i = 0; i < streams->n_ended && !all; i++)
		tl_frame_add(frame, TL_STATE_STREAM_END, &streams->ended[i],
			     sizeof(streams->ended[i]));
	if (!all)
		streams->n_ended = 0;
	for (size_t i = 0; i < streams->n_slots; i++) {
		struct slot *slot = streams->slots[i];

		if (!slot || (!all && !slot->info.dirty))
			continue;
		save_stream(frame, &slot->info);
		slot->info.dirty = false;
	}
}

static int recover_stream(struct tl_streams *streams, struct tl_span data)
{
	struct tl_state_stream state;
	struct slot *slot;

	if (data.len < sizeof(state))
		return -EBADMSG;
	memcpy(&state, data.data, sizeof(state));
	if (data.len - sizeof(state) < state.path_len)
		return -EBADMSG;
	slot = find_number(streams, state.number);
	if (slot && !same_file(&slot->info.file, &state.file)) {
		if (has_file(&state.file))
			return -EBADMSG;
		retire(streams, slot);
	}
	if (!slot)
		slot = slot_new(streams, state.number, &state.file,
				(struct tl_span){data.data + sizeof(state), state.path_len});
	if (!slot)
		return -ENOMEM;
	slot->info.next_offset = state.next_offset;
	slot->info.lost_bytes = state.lost_bytes;
	slot->info.delivered_bytes = state.delivered_bytes;
	slot->info.records = state.records;
	slot->info.gap_bytes = state.lost_bytes;
	slot->info.kind = state.kind;
	slot->info.verdict = state.verdict;
	slot->info.f_flags = state.f_flags;
	slot->info.std = state.std;
	slot->info.dirty = false;
	slot->told = true;
	if (state.number >= streams->next_number)
		streams->next_number = state.number + 1;
	return 0;
}

int tl_streams_recover(struct tl_streams *streams, uint16_t type, struct tl_span data)
{
	struct slot *slot;
	uint64_t number;

	if (type == TL_STATE_STREAM)
		return recover_stream(streams, data);
	if (type != TL_STATE_STREAM_END || data.len != sizeof(number))
		return -EBADMSG;
	memcpy(&number, data.data, sizeof(number));
	slot = find_number(streams, number);
	if (slot)
		forget(streams, slot);
	return 0;
}

uint64_t tl_streams_next_number(const struct tl_streams *streams)
{
	return streams->next_number;
}

void tl_streams_set_next_number(struct tl_streams *streams, uint64_t number)
{
	streams->next_number = number;
}

uint64_t tl_streams_refused(const struct tl_streams *streams)
{
	return streams->refused;
}

uint64_t tl_streams_unknown_bytes(const struct tl_streams *streams)
{
	return streams->unknown_bytes;
}
