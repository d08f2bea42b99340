/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of userspace/log share: the parts below tl_log and tl_log_reader. Nothing
 * here is for other folders (tests of the log excepted). */
#ifndef TL_LOG_INTERNAL_H
#define TL_LOG_INTERNAL_H

#include "userspace/log/log.h"
#include "userspace/log/log_format.h"

/* --- head --- */

/* Maps `head` of the log in `dir_fd`; with `create` makes one (all zero but magic and version) when
 * there is none or it cannot be one. Errors: -ENOENT none; -EBADMSG not a head (without `create`);
 * -ENOSPC... */
int tl_log_head_map(int dir_fd, bool create, struct tl_log_head **ret_head);
void tl_log_head_unmap(struct tl_log_head *head);
TL_DEFINE_CLEANUP(struct tl_log_head *, tl_log_head_unmap);

/* Sets id and boot with their checksum; `valid` tells whether they belong together. */
void tl_log_head_set(struct tl_log_head *head, uint64_t id, const uint8_t boot[16]);
bool tl_log_head_valid(const struct tl_log_head *head);

/* Moves the committed position and wakes readers. */
void tl_log_head_publish(struct tl_log_head *head, uint64_t committed);
void tl_log_head_wake(struct tl_log_head *head);

/* Sleeps until `seq` differs from the one seen before the caller last looked, or `timeout_ms` is
 * over. */
uint32_t tl_log_head_watch(struct tl_log_head *head);
void tl_log_head_sleep(struct tl_log_head *head, uint32_t seen, unsigned timeout_ms);

/* The running kernel's boot id; random bytes where it cannot be read, so that no log counts as of
 * this boot. */
void tl_log_boot_id(uint8_t out[16]);

/* --- segments --- */

#define TL_LOG_NAME 32

struct tl_log_segment {
	uint64_t start, end; /* positions */
	uint64_t id;	     /* log id; 0 when its header is damaged */
	bool unsynced;	     /* ended without an fdatasync (sync_ms 0) */
};

struct tl_log_segments {
	struct tl_log_segment *items; /* owned; by start */
	size_t n, cap;
};

void tl_log_segment_name(uint64_t start, char out[TL_LOG_NAME]);

/* Replaces `segments` by those in the folder, by start, headers read. Errors: -ENOMEM, -errno. */
int tl_log_segments_load(int dir_fd, struct tl_log_segments *segments);
int tl_log_segments_reserve(struct tl_log_segments *segments);
void tl_log_segments_done(struct tl_log_segments *segments);

/* Opens one for reading, or with `write` for both; checks its header. Errors: -ENOENT, -EBADMSG,
 * -errno. */
int tl_log_segment_open(int dir_fd, uint64_t start, bool write, int *ret_fd, uint64_t *ret_id);

/* Makes a segment of `header`, `checkpoint` and its first `frame` (both finished) under a temporary
 * name and gives it its own at last, so that a segment that has its name is whole. With `sync`,
 * synced with its name. Errors: -ENOSPC, -errno: nothing is left. */
int tl_log_segment_create(int dir_fd, struct tl_log_segment_header *header,
			  struct tl_span checkpoint, struct tl_span frame, bool sync, int *ret_fd);

/* Writes all of `data` at `offset`. Errors: -ENOSPC (quota and file size limits too), -EIO: part
 * may be written. */
int tl_log_pwrite(int fd, struct tl_span data, uint64_t offset);

/* --- frames --- */

/* Bytes a frame of these entries takes. */
uint64_t tl_log_frame_size(const struct tl_log_entry *entries, size_t n);

/* Builds a frame in `buf` (emptied by begin). Failures of memory show in buf->failed. */
void tl_log_frame_begin(struct tl_buf *buf);
void tl_log_frame_add(struct tl_buf *buf, uint16_t type, struct tl_span data);
void tl_log_frame_end(struct tl_buf *buf, uint32_t magic, uint32_t count, uint64_t id,
		      uint64_t position);

struct tl_log_frame {
	uint64_t position;   /* of the next entry */
	uint32_t left;	     /* entries not yet taken */
	struct tl_span rest; /* their bytes; borrowed from the scan until its next frame */
};

/* Takes the next entry. Returns 1, 0 at the end, -EBADMSG when it does not fit the frame. */
int tl_log_frame_next(struct tl_log_frame *frame, struct tl_log_entry *ret_entry,
		      uint64_t *ret_position);

/* Reads the frames of one segment in order through a buffer, never past a limit. */
struct tl_log_scan {
	int fd;		    /* borrowed */
	uint64_t id, start; /* of the segment */
	uint64_t position;  /* of the next frame */
	char *buf;	    /* owned; tl_log_scan_done */
	size_t cap;
	uint64_t buf_position;
	size_t buf_len;
};

/* Begins at the first frame of the segment; the buffer is kept. */
void tl_log_scan_begin(struct tl_log_scan *scan, int fd, uint64_t start, uint64_t id);

/* Next frame below `limit` (a position). Returns 1; 0 at the limit; -ENODATA the file ends here;
 * -EBADMSG what is here is no frame of this log at this position (`position` is unchanged);
 * -ENOMEM; -EIO. */
int tl_log_scan_frame(struct tl_log_scan *scan, uint64_t limit, struct tl_log_frame *ret_frame);

/* After damage: moves to the next whole frame below `limit` or, when there is none, to `limit`.
 * Errors: -ENOMEM, -EIO. */
int tl_log_scan_resync(struct tl_log_scan *scan, uint64_t limit);
void tl_log_scan_done(struct tl_log_scan *scan);

/* --- consumers --- */

bool tl_log_consumer_name_valid(const char *name);

/* Errors: -EBADMSG it holds no position (new or damaged). */
int tl_log_consumer_read(int fd, struct tl_log_consumer *ret);
int tl_log_consumer_write(int fd, uint64_t position, uint64_t id);

/* Where a consumer that stands at `position` under log id `id` goes on: what was cut off since is
 * gone from the end of its id's last segment; an id that no segment has begins at the oldest. Never
 * below the oldest segment. */
uint64_t tl_log_resolve(const struct tl_log_segments *segments, uint64_t position, uint64_t id);

/* The smallest position any consumer in `consumers_fd` goes on from, UINT64_MAX when there is none;
 * the oldest segment's start for one that cannot be read. */
uint64_t tl_log_consumers_min(int consumers_fd, const struct tl_log_segments *segments);

/* Before all behind `end` is cut off and only the first `keep` of `segments` stay: moves consumers
 * that stand behind it, or under the id of a segment that goes, to where they then are. */
void tl_log_consumers_pull_back(int consumers_fd, const struct tl_log_segments *segments,
				size_t keep, uint64_t end);

#endif
