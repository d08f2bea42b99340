/* SPDX-License-Identifier: Apache-2.0 */
/* tl_log: the local log, an append-only file of entries with a bounded size. It is the agent's
 * spool in front of Kafka and the bus of the embedded mode. One writer, any number of readers, in
 * any process. A frame (one append) is atomic: after a crash all of its entries are there or none.
 * Not thread-safe per handle; a reader and the writer may live in different threads or processes.
 * Format and reasons: docs/local-log.md.
 *
 * On disk, in `dir` (0700): segments `%020PRIu64.seg` named by the position of their first byte, a
 * shared page `head` (committed position, synced position, closed flag, futex), `consumers/NAME`
 * (position each may free), `lock`. A position is a byte offset in the endless log: segment start +
 * offset in the file. Every segment begins with a header (magic, version, log id, boot id, start)
 * and a checkpoint frame that the writer supplies, so that recovery and readers need only the
 * newest segment, and any segment alone explains itself. Each frame: length, entry count, CRC-32C.
 */
#ifndef TL_LOG_LOG_H
#define TL_LOG_LOG_H

#include "userspace/base/buf.h"
#include "userspace/base/cleanup.h"
#include "userspace/base/err.h"

/* Bits of an entry's type. The rest names the content (record/entry.h). */
#define TL_LOG_PRIVATE 0x8000 /* writer's own state: readers skip it, recovery sees it */
#define TL_LOG_CONTEXT                                                                             \
	0x4000 /* explains later entries (interned resources): a reader that opens in mid-segment  \
		* is given those that precede its position first, flagged `context` */

struct tl_log_entry {
	uint16_t type;
	struct tl_span data;
};

struct tl_log;

struct tl_log_options {
	const char *dir;	/* borrowed until open returns; made when missing */
	uint64_t max_bytes;	/* total size kept, in bytes; 0 means 10 % of the free space */
	uint64_t segment_bytes; /* size at which a segment ends; 0 means min(64 MiB, max_bytes / 8)
				 */
	uint32_t sync_ms; /* longest time an append stays unsynced, in ms; 0 means never fdatasync
			     (embedded mode) */
	/* Called when a new segment begins: adds the entries (private and context) that recovery
	 * needs to `out` with tl_log_checkpoint_add. NULL: no checkpoint. */
	void (*checkpoint)(void *arg, struct tl_log *log);
	void *arg;
};

/* Opens or creates the log in `options->dir` and cuts a torn tail off. A tail that was torn, or a
 * log last written under another boot and not closed, gets a new log id (tl_log_id), because
 * positions may be used again. The caller owns `*ret_log` (tl_log_close). `dir` must stay on one
 * file system. Errors: -ENOSPC no room for one segment; -EBUSY another writer holds it; -EROFS,
 * -EACCES the folder cannot be written; -EINVAL sizes that do not go together; -EBADMSG a damaged
 * segment that is not the tail (`error` names file and offset). */
int tl_log_open(const struct tl_log_options *options, struct tl_log **ret_log,
		struct tl_error *error);

/* Marks the log closed (readers then see the end), syncs, releases the lock. */
void tl_log_close(struct tl_log *log);
TL_DEFINE_CLEANUP(struct tl_log *, tl_log_close);

/* Random, never 0; changes whenever positions could repeat with other content. */
uint64_t tl_log_id(const struct tl_log *log);

/* Walks the entries of the newest checkpoint and of every later frame, in order: what a restarted
 * writer knows. `entry` returns 0 to go on; another value stops the walk and is returned. Call
 * once, after open, before append. */
int tl_log_recover(struct tl_log *log, int (*entry)(void *arg, const struct tl_log_entry *entry),
		   void *arg);

/* Appends `n` entries as one frame; all or none become visible to readers and to recovery.
 * `*ret_position` (may be NULL) is the first entry's position. The bytes are copied. A thread of
 * the log syncs them within sync_ms; the append does not wait. Errors: -ENOSPC the oldest segment
 * is still unread by some consumer, or the disk is full: nothing was written and the same append
 * may be tried again; -EMSGSIZE larger than a segment; -EIO (final once a sync has failed). */
int tl_log_append(struct tl_log *log, const struct tl_log_entry *entries, size_t n,
		  uint64_t *ret_position);

/* Only inside the checkpoint callback. */
void tl_log_checkpoint_add(struct tl_log *log, uint16_t type, struct tl_span data);

/* fdatasync now if anything is unsynced. */
int tl_log_sync(struct tl_log *log);

struct tl_log_usage {
	uint64_t used_bytes, max_bytes; /* used: from the oldest segment kept to the end */
	uint64_t end;			/* position after the last frame */
	uint64_t oldest_unread;		/* smallest position of a consumer */
};
void tl_log_usage(const struct tl_log *log, struct tl_log_usage *ret);

/* --- reading --- */

struct tl_log_reader;

struct tl_log_item {
	uint16_t type;
	bool context; /* given again to explain what follows; its position is before the reader's */
	uint64_t position;   /* of this entry: the deterministic place a resend is recognised by */
	uint64_t next;	     /* commit this once the entry is dealt with */
	struct tl_span data; /* borrowed until the next call of tl_log_reader_next */
};

/* Opens consumer `name` ([a-z0-9-]) of the log in `dir`, at `position`, or where it last committed
 * when `position` is TL_LOG_RESUME (a new consumer begins at the oldest segment). Waits for no
 * writer: -ENOENT when there is no log yet. A position that was freed is moved up to the oldest,
 * and `*ret_skipped` (may be NULL) says by how many bytes. Errors: -EINVAL a position past the end
 * or of another log (`log_id` not 0 and not equal). */
#define TL_LOG_RESUME UINT64_MAX
int tl_log_reader_open(const char *dir, const char *name, uint64_t position, uint64_t log_id,
		       struct tl_log_reader **ret_reader, uint64_t *ret_skipped,
		       struct tl_error *error);
void tl_log_reader_close(struct tl_log_reader *reader);
TL_DEFINE_CLEANUP(struct tl_log_reader *, tl_log_reader_close);

uint64_t tl_log_reader_id(const struct tl_log_reader *reader);

/* Next entry that is not private. Returns 1 with an item; 0 nothing new yet; -ENODATA the writer
 * closed the log and all was read; -EBADMSG damage (position in `error`): the next call goes on
 * behind it. When the log id changed on reopening by its writer the reader goes on into the new
 * segments: tl_log_reader_id tells the id of the item last returned. */
int tl_log_reader_next(struct tl_log_reader *reader, struct tl_log_item *ret_item,
		       struct tl_error *error);

/* Bytes of the log left out as damaged since the reader was opened: what the -EBADMSG of
 * tl_log_reader_next add up to. */
uint64_t tl_log_reader_damaged(const struct tl_log_reader *reader);

/* Waits until there may be something new, at most `timeout_ms`. */
void tl_log_reader_wait(struct tl_log_reader *reader, unsigned timeout_ms);

/* All before `position` may be freed; one that lies before an earlier commit changes nothing.
 * Durable against a killed process at once; against power loss within a second as long as the
 * reader is used. Errors: -EINVAL a position past the last item. */
int tl_log_reader_commit(struct tl_log_reader *reader, uint64_t position);

/* Forgets a consumer that will not come back, so that it no longer holds segments. */
int tl_log_consumer_remove(const char *dir, const char *name);

#endif
