/* SPDX-License-Identifier: Apache-2.0 */
/* Appending. A frame is built in memory and written by one pwrite; then the committed position in
 * the head moves, which is what makes it visible. A write that fails is cut off again, so the same
 * append can be tried later. The frame that begins a segment is made with it, checkpoint and frame
 * in one file that is renamed into place: a checkpoint tells of the writer's state after that
 * frame, so neither may ever be there without the other. Space: segments below the position of
 * every consumer go, at once when room is needed, else once a second. Without any consumer nothing
 * goes. */
#include <assert.h>
#include <fcntl.h>

#include "userspace/base/clock.h"
#include "userspace/log/log_writer.h"

static struct tl_log_segment *newest(struct tl_log *log)
{
	return log->segments.n ? &log->segments.items[log->segments.n - 1] : NULL;
}

/* Removes whole segments that every consumer has dealt with; never the newest. */
static void free_consumed(struct tl_log *log)
{
	uint64_t min = tl_log_consumers_min(log->consumers_fd, &log->segments);
	struct tl_log_segment *items = log->segments.items;
	size_t n = 0;
	char name[TL_LOG_NAME];

	log->tidied_ns = tl_mono_ns();
	if (min == UINT64_MAX)
		return;
	while (n + 1 < log->segments.n && items[n].end <= min) {
		tl_log_segment_name(items[n].start, name);
		if (unlinkat(log->dir_fd, name, 0) < 0 && errno != ENOENT)
			break;
		n++;
	}
	log->segments.n -= n;
	memmove(items, items + n, log->segments.n * sizeof(*items));
}

static bool fits(const struct tl_log *log, uint64_t more)
{
	uint64_t used = log->segments.n ? log->end - log->segments.items[0].start : 0;

	return more <= log->max_bytes && used <= log->max_bytes - more;
}

/* Makes room for `more` bytes. With `roll` the current segment does not count when it is all that
 * is left and was read to its end: it goes as soon as it is no longer the newest. Else a log of few
 * segments could never move on. */
static int make_room(struct tl_log *log, uint64_t more, bool roll)
{
	uint64_t min;

	if (fits(log, more))
		return 0;
	free_consumed(log);
	if (fits(log, more))
		return 0;
	min = tl_log_consumers_min(log->consumers_fd, &log->segments);
	if (roll && log->segments.n == 1 && more <= log->max_bytes && min != UINT64_MAX &&
	    min >= log->end)
		return 0;
	return -ENOSPC;
}

void tl_log_checkpoint_add(struct tl_log *log, uint16_t type, struct tl_span data)
{
	assert(log->in_checkpoint);
	assert(type & (TL_LOG_PRIVATE | TL_LOG_CONTEXT));
	tl_log_frame_add(&log->checkpoint, type, data);
	log->checkpoint_entries++;
}

static int build_checkpoint(struct tl_log *log, uint64_t start)
{
	log->checkpoint_entries = 0;
	tl_log_frame_begin(&log->checkpoint);
	if (log->make_checkpoint) {
		log->in_checkpoint = true;
		log->make_checkpoint(log->arg, log);
		log->in_checkpoint = false;
	}
	tl_log_frame_end(&log->checkpoint, TL_LOG_CHECKPOINT_MAGIC, log->checkpoint_entries,
			 log->id, start + sizeof(struct tl_log_segment_header));
	return log->checkpoint.failed ? -ENOMEM : 0;
}

static int build_frame(struct tl_log *log, const struct tl_log_entry *entries, size_t n,
		       uint64_t position)
{
	tl_log_frame_begin(&log->frame);
	for (size_t i = 0; i < n; i++)
		tl_log_frame_add(&log->frame, entries[i].type, entries[i].data);
	tl_log_frame_end(&log->frame, TL_LOG_FRAME_MAGIC, (uint32_t)n, log->id, position);
	return log->frame.failed ? -ENOMEM : 0;
}

static int create_segment(struct tl_log *log, int *ret_fd)
{
	struct tl_log_segment_header header = {
		.id = log->id,
		.start = log->end,
		.created_ns = tl_wall_ns(),
	};
	bool sync = log->syncer.ms != 0;
	int r;

	memcpy(header.boot, log->boot, sizeof(header.boot));
	r = tl_log_segment_create(log->dir_fd, &header, tl_buf_span(&log->checkpoint),
				  tl_buf_span(&log->frame), sync, ret_fd);
	if (r == -ENOSPC) {
		free_consumed(log);
		r = tl_log_segment_create(log->dir_fd, &header, tl_buf_span(&log->checkpoint),
					  tl_buf_span(&log->frame), sync, ret_fd);
	}
	return r == -ENOSPC || r >= 0 ? r : -EIO;
}

/* Makes room, checkpoint and frame for a segment that begins at the log's end. */
static int prepare_segment(struct tl_log *log, const struct tl_log_entry *entries, size_t n,
			   uint64_t frame)
{
	int r = make_room(log, sizeof(struct tl_log_segment_header) + frame, true);

	if (r == 0)
		r = build_checkpoint(log, log->end);
	if (r == 0)
		r = build_frame(log, entries, n,
				log->end + sizeof(struct tl_log_segment_header) +
					log->checkpoint.len);
	if (r == 0)
		r = make_room(log,
			      sizeof(struct tl_log_segment_header) + log->checkpoint.len + frame,
			      true);
	if (r == 0)
		r = tl_log_segments_reserve(&log->segments);
	return r;
}

/* Ends the current segment and begins the next one with this frame. The ended one is synced first,
 * so that only the newest can ever be torn (unless sync_ms is 0, which promises nothing). */
static int roll(struct tl_log *log, const struct tl_log_entry *entries, size_t n, uint64_t frame)
{
	struct tl_log_segment segment = {.start = log->end, .id = log->id};
	_cleanup_(closep) int fd = -1;
	int r = prepare_segment(log, entries, n, frame);

	if (r == 0 && log->syncer.ms)
		r = tl_log_sync_all(log);
	if (r == 0)
		r = create_segment(log, &fd);
	if (r < 0)
		return r;
	if (newest(log) && log->syncer.ms == 0)
		newest(log)->unsynced = true;
	tl_log_syncer_switch(&log->syncer, fd);
	closep(&log->fd);
	log->fd = TAKE_FD(fd);
	log->end += sizeof(struct tl_log_segment_header) + log->checkpoint.len;
	segment.end = log->end;
	log->segments.items[log->segments.n++] = segment;
	log->frames = 0;
	return 0;
}

static int trim(struct tl_log *log)
{
	log->untrimmed = ftruncate(log->fd, (off_t)(log->end - newest(log)->start)) < 0;
	return log->untrimmed ? -EIO : 0;
}

static int write_frame(struct tl_log *log)
{
	struct tl_span frame = tl_buf_span(&log->frame);
	uint64_t offset = log->end - newest(log)->start;
	int r = tl_log_pwrite(log->fd, frame, offset);

	if (r == 0)
		return 0;
	trim(log);
	if (r != -ENOSPC || log->untrimmed)
		return r;
	free_consumed(log);
	r = tl_log_pwrite(log->fd, frame, offset);
	if (r < 0)
		trim(log);
	return r;
}

static bool segment_is_over(const struct tl_log *log, uint64_t size)
{
	const struct tl_log_segment *last =
		log->segments.n ? &log->segments.items[log->segments.n - 1] : NULL;

	return log->fd < 0 || !last ||
	       (log->frames && log->end - last->start + size > log->segment_bytes);
}

static int append_to_segment(struct tl_log *log, const struct tl_log_entry *entries, size_t n,
			     uint64_t size)
{
	int r = make_room(log, size, false);

	if (r == 0)
		r = build_frame(log, entries, n, log->end);
	return r == 0 ? write_frame(log) : r;
}

int tl_log_append(struct tl_log *log, const struct tl_log_entry *entries, size_t n,
		  uint64_t *ret_position)
{
	uint64_t size = tl_log_frame_size(entries, n), position;
	int r;

	if (size > log->segment_bytes)
		return -EMSGSIZE;
	r = tl_log_syncer_error(&log->syncer);
	if (r == 0 && log->untrimmed)
		r = trim(log);
	if (r == 0)
		r = segment_is_over(log, size) ? roll(log, entries, n, size)
					       : append_to_segment(log, entries, n, size);
	if (r < 0)
		return r;
	position = log->end + sizeof(struct tl_log_frame_header);
	log->end += size;
	log->frames++;
	newest(log)->end = log->end;
	tl_log_head_publish(log->head, log->end);
	tl_log_syncer_note(&log->syncer, log->end);
	if (tl_mono_ns() - log->tidied_ns >= TL_SEC || log->frames == 1)
		free_consumed(log);
	if (ret_position)
		*ret_position = position;
	return 0;
}

static int sync_segment(struct tl_log *log, struct tl_log_segment *segment)
{
	_cleanup_(closep) int fd = -1;
	char name[TL_LOG_NAME];

	tl_log_segment_name(segment->start, name);
	fd = openat(log->dir_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fdatasync(fd) < 0)
		return -EIO;
	segment->unsynced = false;
	return 0;
}

int tl_log_sync_all(struct tl_log *log)
{
	bool names = false;

	for (size_t i = 0; i < log->segments.n; i++) {
		struct tl_log_segment *segment = &log->segments.items[i];

		if (!segment->unsynced)
			continue;
		names = true;
		if (sync_segment(log, segment) < 0)
			return -EIO;
	}
	/* Under sync_ms 0 the names of new segments were not synced either. */
	if ((names || log->syncer.ms == 0) && fsync(log->dir_fd) < 0)
		return -EIO;
	if (tl_log_syncer_now(&log->syncer) < 0)
		return -EIO;
	__atomic_store_n(&log->head->synced, log->end, __ATOMIC_RELEASE);
	return 0;
}

int tl_log_sync(struct tl_log *log)
{
	return tl_log_sync_all(log);
}

int tl_log_recover(struct tl_log *log, int (*entry)(void *arg, const struct tl_log_entry *entry),
		   void *arg)
{
	_cleanup_(tl_log_scan_done) struct tl_log_scan scan = {.fd = -1};
	_cleanup_(closep) int fd = -1;
	struct tl_log_frame frame;
	uint64_t id;
	int r;

	if (!newest(log))
		return 0;
	r = tl_log_segment_open(log->dir_fd, newest(log)->start, false, &fd, &id);
	if (r < 0)
		return r;
	tl_log_scan_begin(&scan, fd, newest(log)->start, id);
	while ((r = tl_log_scan_frame(&scan, log->end, &frame)) == 1) {
		struct tl_log_entry item;
		uint64_t position;

		while ((r = tl_log_frame_next(&frame, &item, &position)) == 1) {
			r = entry(arg, &item);
			if (r != 0)
				return r;
		}
		if (r < 0)
			return r;
	}
	return r == -ENODATA ? -EBADMSG : r;
}

void tl_log_usage(const struct tl_log *log, struct tl_log_usage *ret)
{
	uint64_t oldest = log->segments.n ? log->segments.items[0].start : log->end;
	uint64_t unread = tl_log_consumers_min(log->consumers_fd, &log->segments);

	*ret = (struct tl_log_usage){
		.used_bytes = log->end - oldest,
		.max_bytes = log->max_bytes,
		.end = log->end,
		.oldest_unread = unread == UINT64_MAX || unread < oldest ? oldest : unread,
	};
}
