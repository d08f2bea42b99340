/* SPDX-License-Identifier: Apache-2.0 */
/* Recovery. The newest checkpoint and the frames behind it give: the uid epoch, the ring position
 * up to which everything is in the log, the streams with their next offsets, the open lines, the
 * live resources. With the same maps we go on from there. With new maps (reboot, perf arrays,
 * unpinned) the ring is new: what was open is given out under the old epoch, flagged partial, and a
 * new epoch begins. */
#include "agent/worker_internal.h"

#include <string.h>

#include "userspace/base/fs.h"

struct recovery {
	struct tl_worker *worker;
	uint64_t maps_id;
	bool any;
};

static void recover_worker(struct tl_worker *worker, const struct tl_state_worker *state)
{
	worker->epoch = state->epoch;
	worker->ring_position = state->ring_position;
	tl_streams_set_next_number(worker->streams, state->next_stream);
	tl_lines_set_next_id(worker->lines, state->next_line);
	tl_enrich_set_next_number(worker->enrich, state->next_resource);
}

static int recover_entry(void *arg, const struct tl_log_entry *entry)
{
	struct recovery *recovery = arg;
	struct tl_worker *worker = recovery->worker;
	struct tl_state_worker state;

	switch (entry->type) {
	case TL_STATE_WORKER:
		if (entry->data.len < sizeof(state))
			return -EBADMSG;
		memcpy(&state, entry->data.data, sizeof(state));
		recover_worker(worker, &state);
		recovery->maps_id = state.maps_id;
		recovery->any = true;
		return 0;
	case TL_STATE_STREAM:
	case TL_STATE_STREAM_END:
		return tl_streams_recover(worker->streams, entry->type, entry->data);
	case TL_STATE_LINE:
	case TL_STATE_LINE_END:
		return tl_lines_recover(worker->lines, entry->type, entry->data);
	case TL_ENTRY_RESOURCE:
	case TL_STATE_RESOURCE:
		return tl_enrich_recover(worker->enrich, entry->type, entry->data);
	default:
		return 0;
	}
}

static void new_epoch(struct tl_worker *worker)
{
	struct tl_stream_info *stream;
	size_t iter = 0;

	while ((stream = tl_streams_next(worker->streams, &iter))) {
		tl_streams_remove(worker->streams, stream->number);
		iter = 0;
	}
	tl_random(&worker->epoch, sizeof(worker->epoch));
	worker->maps_id = worker->control->maps_id;
	worker->ring_position = 0;
}

int tl_worker_recover(struct tl_worker *worker, struct tl_error *error)
{
	struct recovery recovery = {.worker = worker};
	int r = tl_log_recover(worker->log, recover_entry, &recovery);

	if (r < 0)
		return tl_error_set(error, r,
				    "the local log in %s cannot be recovered (%s): move the folder "
				    "away to start anew; "
				    "what it holds was not forwarded yet",
				    worker->log_dir, strerror(-r));
	worker->maps_id = recovery.maps_id;
	if (recovery.any && recovery.maps_id == worker->control->maps_id) {
		tl_lines_resume(worker->lines);
		return 0;
	}
	if (recovery.any) {
		tl_lines_resume(worker->lines);
		tl_lines_flush(worker->lines);
		tl_corr_flush(worker->corr);
		tl_worker_save(worker, false);
		if (worker->frame.n && (r = tl_frame_append(&worker->frame, worker->log, NULL)) < 0)
			return tl_error_set(error, r, "cannot append to the local log in %s: %s",
					    worker->log_dir, strerror(-r));
		tl_frame_clear(&worker->frame);
	}
	new_epoch(worker);
	return 0;
}

static void add_worker_state(struct tl_worker *worker)
{
	const struct tl_state_worker state = {
		.epoch = worker->epoch,
		.maps_id = worker->maps_id,
		.ring_position = tl_ring_position(worker->ring),
		.next_stream = tl_streams_next_number(worker->streams),
		.next_line = tl_lines_next_id(worker->lines),
		.next_resource = tl_enrich_next_number(worker->enrich),
	};

	tl_frame_add(&worker->frame, TL_STATE_WORKER, &state, sizeof(state));
}

void tl_worker_save(struct tl_worker *worker, bool all)
{
	if (all)
		tl_enrich_save(worker->enrich, &worker->frame);
	tl_streams_save(worker->streams, &worker->frame, all);
	tl_lines_save(worker->lines, &worker->frame, all);
	if (worker->frame.n || all)
		add_worker_state(worker);
}

void tl_worker_checkpoint(void *arg, struct tl_log *log)
{
	struct tl_worker *worker = arg;
	struct tl_frame pending = worker->frame;

	/* A segment begun during recovery, before there is anything to say. */
	if (!worker->lines)
		return;
	worker->frame = (struct tl_frame){0};
	tl_worker_save(worker, true);
	for (size_t i = 0; i < worker->frame.n; i++) {
		const struct tl_frame_entry *entry = &worker->frame.entries[i];

		tl_log_checkpoint_add(
			log, entry->type,
			(struct tl_span){worker->frame.bytes.data + entry->from, entry->len});
	}
	tl_frame_done(&worker->frame);
	worker->frame = pending;
}
