/* SPDX-License-Identifier: Apache-2.0 */
/* A reader walks the segments from file to file by position, never past the committed position of
 * the head, so it never sees a frame that is being written; the CRC is still checked, for disks. It
 * holds no lock: what it has not committed the writer does not free. Damage is reported once and
 * stepped over: to the next whole frame of the segment, else to the next segment.
 *
 * Opened in the middle of a segment it starts at the segment's beginning all the same and lets
 * through only context entries until it gets to its place. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "userspace/base/clock.h"
#include "userspace/log/log_internal.h"

#define FREED_TRIES 16

struct tl_log_reader {
	int dir_fd, consumer_fd;
	int fd; /* segment being read, -1 none */
	struct tl_log_head *head;
	struct tl_log_scan scan;   /* its position is where the next frame begins */
	struct tl_log_frame frame; /* entries of the last frame not yet given out */
	uint64_t from;		   /* entries before this were dealt with: only context passes */
	uint64_t id;		   /* of the item last returned, else of the first segment */
	uint64_t given;		   /* `next` of the item last returned, else `from` */
	uint64_t committed;	   /* in the consumer file */
	uint64_t unsynced_ns;	   /* monotonic time of the oldest commit not yet on disk, 0 none */
	uint64_t damaged;	   /* bytes stepped over */
	bool told_end;		   /* -ENODATA was returned and nothing happened since */
};

static uint64_t committed_end(const struct tl_log_reader *reader)
{
	return __atomic_load_n(&reader->head->committed, __ATOMIC_SEQ_CST);
}

static bool closed(const struct tl_log_reader *reader)
{
	return __atomic_load_n(&reader->head->closed, __ATOMIC_SEQ_CST) != 0;
}

static int open_folders(struct tl_log_reader *reader, const char *dir, const char *name,
			bool *ret_new, struct tl_error *error)
{
	_cleanup_(closep) int consumers_fd = -1;
	struct tl_log_consumer consumer;
	int r;

	reader->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (reader->dir_fd < 0)
		return tl_error_set(error, -errno, "cannot open the log %s: %s", dir,
				    strerror(errno));
	r = tl_log_head_map(reader->dir_fd, false, &reader->head);
	if (r < 0)
		return tl_error_set(
			error, r,
			"there is no readable log in %s (%s): no writer has opened it yet", dir,
			strerror(-r));
	consumers_fd = openat(reader->dir_fd, "consumers", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (consumers_fd >= 0)
		reader->consumer_fd =
			openat(consumers_fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (reader->consumer_fd < 0)
		return tl_error_set(error, -errno, "cannot open %s/consumers/%s: %s", dir, name,
				    strerror(errno));
	*ret_new = tl_log_consumer_read(reader->consumer_fd, &consumer) < 0;
	if (*ret_new && reader->head->sync_ms && fsync(consumers_fd) < 0)
		return tl_error_set(error, -errno, "cannot sync %s/consumers: %s", dir,
				    strerror(errno));
	return 0;
}

/* The segment that holds the byte at `position`, or the newest when it is the end. NULL without
 * any. */
static const struct tl_log_segment *segment_at(const struct tl_log_segments *segments,
					       uint64_t position)
{
	const struct tl_log_segment *found = NULL;

	for (size_t i = 0; i < segments->n && (i == 0 || segments->items[i].start <= position); i++)
		found = &segments->items[i];
	return found;
}

/* Log id under which `position` may have been read: its segment's, or that of the one ending there.
 */
static bool id_fits(const struct tl_log_segments *segments, uint64_t position, uint64_t id)
{
	for (size_t i = 0; i < segments->n; i++)
		if (segments->items[i].id == id && position <= segments->items[i].end &&
		    (position >= segments->items[i].start || i == 0))
			return true;
	return false;
}

/* Where to begin and what was skipped. `end` is the log's end before the segments were listed: a
 * log without any may get its first segment, with a frame, at any moment. */
static int choose_position(const struct tl_log_reader *reader,
			   const struct tl_log_segments *segments, uint64_t end, uint64_t position,
			   uint64_t id, uint64_t *ret_position, uint64_t *ret_skipped,
			   struct tl_error *error)
{
	uint64_t oldest = segments->n ? segments->items[0].start : end;
	struct tl_log_consumer consumer;

	if (position == TL_LOG_RESUME) {
		*ret_skipped = 0;
		*ret_position = oldest;
		if (tl_log_consumer_read(reader->consumer_fd, &consumer) < 0)
			return 0;
		position = tl_log_resolve(segments, consumer.position, consumer.id);
		*ret_position = position < end ? position : end;
		if (consumer.position < oldest)
			*ret_skipped = oldest - consumer.position;
		return 0;
	}
	if (position > end)
		return tl_error_set(error, -EINVAL,
				    "position %" PRIu64 " is past the end of the log (%" PRIu64
				    "): it belongs to another log, or this one was made anew",
				    position, end);
	if (id && id != reader->head->id && !id_fits(segments, position, id))
		return tl_error_set(
			error, -EINVAL,
			"position %" PRIu64 " was read from log %016" PRIx64
			", which this one is not: begin where the consumer last committed",
			position, id);
	*ret_position = position < oldest ? oldest : position;
	*ret_skipped = *ret_position - position;
	return 0;
}

static void use_segment(struct tl_log_reader *reader, int fd, uint64_t start, uint64_t id)
{
	closep(&reader->fd);
	reader->fd = fd;
	tl_log_scan_begin(&reader->scan, fd, start, id);
}

/* Returns 1 when the chosen segment was freed before the consumer's file could hold it. */
static int begin_at(struct tl_log_reader *reader, const struct tl_log_segments *segments,
		    uint64_t position)
{
	const struct tl_log_segment *segment = segment_at(segments, position);
	uint64_t id = segment ? segment->id : reader->head->id;
	int r, fd;

	r = tl_log_consumer_write(reader->consumer_fd, position, id);
	if (r < 0)
		return r;
	reader->from = reader->given = reader->committed = reader->scan.position = position;
	reader->id = id;
	reader->unsynced_ns = tl_mono_ns();
	if (!segment)
		return 0;
	r = tl_log_segment_open(reader->dir_fd, segment->start, false, &fd, &id);
	if (r == 0)
		use_segment(reader, fd, segment->start, id);
	if (r == -EBADMSG)
		reader->scan.position =
			segment->start; /* told, and stepped over, by the first next() */
	return r == -ENOENT ? 1 : r == -EBADMSG ? 0 : r;
}

static int find_place(struct tl_log_reader *reader, uint64_t position, uint64_t id,
		      uint64_t *ret_skipped, struct tl_error *error)
{
	struct tl_log_segments segments = {0};
	uint64_t at = 0, skipped = 0;
	int r = 1;

	for (int i = 0; i < FREED_TRIES && r == 1; i++) {
		uint64_t end = committed_end(reader);

		r = tl_log_segments_load(reader->dir_fd, &segments);
		if (r == 0)
			r = choose_position(reader, &segments, end, position, id, &at, &skipped,
					    error);
		if (r == 0)
			r = begin_at(reader, &segments, at);
	}
	tl_log_segments_done(&segments);
	if (r == 1)
		r = -EAGAIN;
	if (r == 0 && ret_skipped)
		*ret_skipped = skipped;
	return r;
}

int tl_log_reader_open(const char *dir, const char *name, uint64_t position, uint64_t log_id,
		       struct tl_log_reader **ret_reader, uint64_t *ret_skipped,
		       struct tl_error *error)
{
	_cleanup_(tl_log_reader_closep) struct tl_log_reader *reader = NULL;
	struct tl_error reason = {0};
	bool is_new = false;
	int r;

	if (!tl_log_consumer_name_valid(name))
		return tl_error_set(error, -EINVAL,
				    "\"%s\" cannot name a consumer: use a-z, 0-9 and -, at most 64",
				    name);
	reader = calloc(1, sizeof(*reader));
	if (!reader)
		return tl_error_set(error, -ENOMEM, "out of memory");
	reader->dir_fd = reader->consumer_fd = reader->fd = reader->scan.fd = -1;
	r = open_folders(reader, dir, name, &is_new, &reason);
	if (r == 0)
		r = find_place(reader, position, log_id, ret_skipped, &reason);
	if (r < 0) {
		if (is_new) /* else a consumer that never was would hold segments */
			tl_log_consumer_remove(dir, name);
		if (!reason.code)
			tl_error_set(&reason, r, "cannot read the log %s: %s", dir, strerror(-r));
		return tl_error_set(error, r, "%s", reason.message);
	}
	*ret_reader = TAKE_PTR(reader);
	return 0;
}

static void sync_commits(struct tl_log_reader *reader, uint64_t older_than_ns)
{
	if (!reader->unsynced_ns || tl_mono_ns() - reader->unsynced_ns < older_than_ns)
		return;
	if (reader->head->sync_ms && fdatasync(reader->consumer_fd) < 0)
		return; /* tried again next time; a lost commit costs a repeated read, never a lost
			   one */
	reader->unsynced_ns = 0;
}

void tl_log_reader_close(struct tl_log_reader *reader)
{
	if (reader->head)
		sync_commits(reader, 0);
	tl_log_scan_done(&reader->scan);
	if (reader->head)
		tl_log_head_unmap(reader->head);
	closep(&reader->fd);
	closep(&reader->consumer_fd);
	closep(&reader->dir_fd);
	free(reader);
}

uint64_t tl_log_reader_id(const struct tl_log_reader *reader)
{
	return reader->id;
}

uint64_t tl_log_reader_damaged(const struct tl_log_reader *reader)
{
	return reader->damaged;
}

/* The start of the first segment that begins behind `position`; `end` when there is none. */
static int next_start(struct tl_log_reader *reader, uint64_t position, uint64_t end, uint64_t *ret)
{
	struct tl_log_segments segments = {0};
	int r = tl_log_segments_load(reader->dir_fd, &segments);

	*ret = end;
	for (size_t i = segments.n; i > 0; i--)
		if (segments.items[i - 1].start > position && segments.items[i - 1].start < end)
			*ret = segments.items[i - 1].start;
	tl_log_segments_done(&segments);
	return r;
}

/* Something at scan.position cannot be read. Moves on to what can, counts and tells. */
static int step_over(struct tl_log_reader *reader, uint64_t end, const char *what,
		     struct tl_error *error)
{
	uint64_t at = reader->scan.position, boundary;
	int r = next_start(reader, at, end, &boundary);

	if (r == 0 && reader->fd >= 0)
		r = tl_log_scan_resync(&reader->scan, boundary);
	if (r < 0)
		return tl_error_set(error, r, "cannot read the log at position %" PRIu64 ": %s", at,
				    strerror(-r));
	if (reader->fd < 0)
		reader->scan.position = boundary;
	if (reader->scan.position == boundary) {
		closep(&reader->fd);
		reader->fd = -1;
	}
	reader->damaged += reader->scan.position - at;
	return tl_error_set(error, -EBADMSG,
			    "the log is damaged at position %" PRIu64 " (%s): %" PRIu64
			    " bytes cannot be read and are left out",
			    at, what, reader->scan.position - at);
}

/* A wrong header costs no frames: theirs bear the log id that the reader knows from before, or the
 * head. */
static void use_headless(struct tl_log_reader *reader, uint64_t start)
{
	uint64_t id = reader->scan.id ? reader->scan.id : reader->head->id;
	char name[TL_LOG_NAME];
	int fd;

	tl_log_segment_name(start, name);
	fd = openat(reader->dir_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	use_segment(reader, fd, start, id);
	reader->scan.position = reader->scan.buf_position = start;
}

/* The file ended at scan.position: the next segment begins there. */
static int next_segment(struct tl_log_reader *reader, uint64_t end, struct tl_error *error)
{
	uint64_t start = reader->scan.position, id;
	int fd, r = tl_log_segment_open(reader->dir_fd, start, false, &fd, &id);

	if (r == 0) {
		use_segment(reader, fd, start, id);
		return 0;
	}
	if (r != -ENOENT && r != -EBADMSG)
		return tl_error_set(error, r,
				    "cannot open the log's segment at position %" PRIu64 ": %s",
				    start, strerror(-r));
	closep(&reader->fd);
	reader->fd = -1;
	if (r == -EBADMSG)
		use_headless(reader, start);
	return step_over(reader, end,
			 r == -ENOENT ? "a segment is missing" : "a segment's header is wrong",
			 error);
}

static int next_frame(struct tl_log_reader *reader, uint64_t end, struct tl_error *error)
{
	int r = -ENODATA;

	if (reader->fd >= 0)
		r = tl_log_scan_frame(&reader->scan, end, &reader->frame);
	if (r == -ENODATA) {
		r = next_segment(reader, end, error);
		if (r == 0)
			r = tl_log_scan_frame(&reader->scan, end, &reader->frame);
		else if (r < 0)
			return r;
	}
	if (r == -EBADMSG || r == -ENODATA)
		return step_over(reader, end, "a checksum is wrong", error);
	if (r < 0)
		return tl_error_set(error, r, "cannot read the log at position %" PRIu64 ": %s",
				    reader->scan.position, strerror(-r));
	return r;
}

/* Next entry of the current frame that the caller is to see. Returns 1, 0 at its end, -EBADMSG. */
static int next_entry(struct tl_log_reader *reader, struct tl_log_item *ret_item)
{
	struct tl_log_entry entry;
	uint64_t position;
	int r;

	while ((r = tl_log_frame_next(&reader->frame, &entry, &position)) == 1) {
		bool before = position < reader->from;

		if (entry.type & TL_LOG_PRIVATE || (before && !(entry.type & TL_LOG_CONTEXT)))
			continue;
		if (!before)
			reader->given = reader->frame.position;
		reader->id = reader->scan.id;
		*ret_item = (struct tl_log_item){
			.type = entry.type,
			.context = before,
			.position = position,
			.next = reader->given,
			.data = entry.data,
		};
		return 1;
	}
	if (r < 0)
		reader->frame.left = reader->frame.rest.len = 0;
	return r;
}

int tl_log_reader_next(struct tl_log_reader *reader, struct tl_log_item *ret_item,
		       struct tl_error *error)
{
	for (;;) {
		int r = next_entry(reader, ret_item);
		uint64_t end;
		bool ended;

		if (r < 0)
			return tl_error_set(
				error, r, "the log has a malformed frame before position %" PRIu64,
				reader->scan.position);
		if (r == 1)
			return 1;
		/* `closed` first: the writer closes after its last append. */
		ended = closed(reader);
		end = committed_end(reader);
		if (reader->scan.position >= end) {
			sync_commits(reader, TL_SEC);
			reader->told_end = ended;
			return ended ? -ENODATA : 0;
		}
		reader->told_end = false;
		r = next_frame(reader, end, error);
		if (r < 0)
			return r;
	}
}

void tl_log_reader_wait(struct tl_log_reader *reader, unsigned timeout_ms)
{
	uint32_t seen = tl_log_head_watch(reader->head);

	if (reader->frame.left || committed_end(reader) > reader->scan.position ||
	    closed(reader) != reader->told_end)
		return;
	sync_commits(reader, TL_SEC);
	tl_log_head_sleep(reader->head, seen, timeout_ms);
	sync_commits(reader, TL_SEC);
}

int tl_log_reader_commit(struct tl_log_reader *reader, uint64_t position)
{
	int r;

	if (position > reader->given)
		return -EINVAL;
	if (position > reader->committed) {
		r = tl_log_consumer_write(reader->consumer_fd, position, reader->id);
		if (r < 0)
			return r;
		reader->committed = position;
		if (!reader->unsynced_ns)
			reader->unsynced_ns = tl_mono_ns();
	}
	sync_commits(reader, TL_SEC);
	return 0;
}

int tl_log_consumer_remove(const char *dir, const char *name)
{
	char path[4096];

	if (!tl_log_consumer_name_valid(name))
		return -EINVAL;
	if ((size_t)snprintf(path, sizeof(path), "%s/consumers/%s", dir, name) >= sizeof(path))
		return -ENAMETOOLONG;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}
