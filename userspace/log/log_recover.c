/* SPDX-License-Identifier: Apache-2.0 */
/* What a writer does with the log it finds. A position up to which the log must be whole is known
 * from the head page: the committed one when the kernel still runs that the last writer ran under
 * (a killed process loses no page) or when the log was closed, else the synced one. Frames are
 * verified from the segment of that position on. Whatever is wrong behind it was never promised: a
 * torn tail, cut off. Whatever is wrong before it is damage, which no program should decide to
 * throw away.
 *
 * Every step may be the last one before a kill, so the order is: the committed position, then the
 * new log id, then the cut. Without a head nothing is promised but that older segments are whole,
 * and the id is new. */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>

#include "userspace/base/fs.h"
#include "userspace/log/log_writer.h"

struct finding {
	uint64_t whole; /* the log must be whole up to here */
	uint64_t end;	/* the log is whole up to here */
	size_t keep;	/* segments kept */
	bool torn;	/* something lies behind `end` */
};

static bool same_boot(const struct tl_log *log)
{
	return memcmp(log->head->boot, log->boot, sizeof(log->boot)) == 0;
}

static uint64_t promised(const struct tl_log *log)
{
	const struct tl_log_segments *segments = &log->segments;

	if (!tl_log_head_valid(log->head))
		return segments->n ? segments->items[segments->n - 1].start : 0;
	return same_boot(log) || log->head->closed ? log->head->committed : log->head->synced;
}

static int damaged(const struct tl_log *log, uint64_t start, uint64_t position,
		   struct tl_error *error)
{
	char name[TL_LOG_NAME];

	tl_log_segment_name(start, name);
	return tl_error_set(
		error, -EBADMSG,
		"the log %s is damaged in %s at byte %" PRIu64
		", in a part that was whole on disk before; check the disk, and remove %s/head to "
		"go on with what can still be read (the rest of that file is lost)",
		log->dir, name, position - start, log->dir);
}

/* Sets `*ret_end` to where the whole frames of `segment` end, at most `limit`; its start when not
 * even its header, checkpoint and first frame are whole: a checkpoint tells of the state after that
 * frame and is worth nothing without. */
static int verify_segment(struct tl_log *log, const struct tl_log_segment *segment, uint64_t limit,
			  struct tl_log_scan *scan, uint64_t *ret_end)
{
	_cleanup_(closep) int fd = -1;
	struct tl_log_frame frame;
	unsigned frames = 0;
	uint64_t id;
	int r;

	*ret_end = segment->start;
	r = tl_log_segment_open(log->dir_fd, segment->start, false, &fd, &id);
	if (r < 0)
		return r == -EBADMSG ? 0 : r;
	tl_log_scan_begin(scan, fd, segment->start, id);
	while ((r = tl_log_scan_frame(scan, limit, &frame)) == 1)
		if (++frames >= 2)
			*ret_end = scan->position;
	return r == -EIO || r == -ENOMEM ? r : 0;
}

/* Older segments are only looked at from outside: each begins where the one before ends. */
static int check_older(const struct tl_log *log, size_t n, struct tl_error *error)
{
	const struct tl_log_segment *items = log->segments.items;

	for (size_t i = 0; i < n; i++) {
		if (items[i].id == 0)
			return damaged(log, items[i].start, items[i].start, error);
		if (i + 1 < log->segments.n && items[i].end < items[i + 1].start)
			return damaged(log, items[i].start, items[i].end, error);
	}
	return 0;
}

static int find(struct tl_log *log, struct finding *finding, struct tl_error *error)
{
	_cleanup_(tl_log_scan_done) struct tl_log_scan scan = {.fd = -1};
	const struct tl_log_segment *items = log->segments.items;
	size_t n = log->segments.n, first = n ? n - 1 : 0;
	int r;

	while (first > 0 && items[first].start > finding->whole)
		first--;
	r = check_older(log, first, error);
	for (size_t i = first; r == 0 && i < n && !finding->torn; i++) {
		uint64_t limit = i + 1 < n ? items[i + 1].start : items[i].end;

		r = verify_segment(log, &items[i], limit, &scan, &finding->end);
		if (r < 0)
			return tl_error_set(error, r, "cannot read the log %s: %s", log->dir,
					    strerror(-r));
		/* An empty file ends at its limit, and is torn all the same: a segment has a
		 * header. */
		finding->torn = finding->end < limit || finding->end == items[i].start;
		finding->keep = finding->end > items[i].start ? i + 1 : i;
		if (finding->end < finding->whole && (finding->torn || i + 1 == n))
			return damaged(log, items[i].start, finding->end, error);
	}
	return r;
}

/* A segment whose checkpoint is not whole has its end at its start and goes altogether. */
static int cut(struct tl_log *log, const struct finding *finding)
{
	struct tl_log_segments *segments = &log->segments;
	_cleanup_(closep) int fd = -1;
	struct tl_log_segment *last;
	char name[TL_LOG_NAME];
	uint64_t id;
	int r;

	tl_log_consumers_pull_back(log->consumers_fd, segments, finding->keep, finding->end);
	while (segments->n > finding->keep) {
		tl_log_segment_name(segments->items[segments->n - 1].start, name);
		if (unlinkat(log->dir_fd, name, 0) < 0 && errno != ENOENT)
			return -errno;
		segments->n--;
	}
	last = segments->n ? &segments->items[segments->n - 1] : NULL;
	if (!last || last->end <= finding->end)
		return 0;
	r = tl_log_segment_open(log->dir_fd, last->start, true, &fd, &id);
	if (r < 0)
		return r;
	if (ftruncate(fd, (off_t)(finding->end - last->start)) < 0)
		return -errno;
	last->end = finding->end;
	last->unsynced = true;
	return 0;
}

static uint64_t random_id(void)
{
	uint64_t id;

	do {
		tl_random(&id, sizeof(id));
	} while (id == 0);
	return id;
}

/* Whether positions behind `end` may have been used for something else before. */
static bool wants_new_id(const struct tl_log *log, const struct finding *finding)
{
	const struct tl_log_head *head = log->head;

	if (!tl_log_head_valid(head) || finding->torn)
		return true;
	return !same_boot(log) && !head->closed;
}

static void mark_unsynced(struct tl_log *log)
{
	uint64_t synced = tl_log_head_valid(log->head) ? log->head->synced : 0;

	for (size_t i = 0; i < log->segments.n; i++)
		if (log->segments.items[i].end > synced)
			log->segments.items[i].unsynced = true;
}

int tl_log_find_end(struct tl_log *log, struct tl_error *error)
{
	struct finding finding = {.whole = promised(log)};
	int r;

	if (log->segments.n == 0 && tl_log_head_valid(log->head))
		finding.end =
			log->head->committed; /* all files are gone: positions go on all the same */
	r = find(log, &finding, error);
	if (r < 0)
		return r;
	log->id = wants_new_id(log, &finding) ? random_id() : log->head->id;
	log->end = finding.end;
	mark_unsynced(log);
	__atomic_store_n(&log->head->committed, log->end, __ATOMIC_SEQ_CST);
	if (log->head->synced > log->end || !tl_log_head_valid(log->head))
		__atomic_store_n(&log->head->synced, 0, __ATOMIC_SEQ_CST);
	tl_log_head_set(log->head, log->id, log->boot);
	__atomic_store_n(&log->head->closed, 0, __ATOMIC_SEQ_CST);
	/* On disk before the first append: a stale `closed` would promise too much after a power
	 * loss. */
	if (msync(log->head, TL_LOG_HEAD_BYTES, MS_SYNC) < 0)
		return tl_error_set(error, -EIO, "cannot write %s/head: %s", log->dir,
				    strerror(errno));
	r = finding.torn ? cut(log, &finding) : 0;
	if (r < 0)
		return tl_error_set(error, r, "cannot cut the torn end of the log %s off: %s",
				    log->dir, strerror(-r));
	tl_log_head_wake(log->head);
	return 0;
}
