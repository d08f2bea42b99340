/* SPDX-License-Identifier: Apache-2.0 */
/* The writer's handle, shared by log_open.c (recovery) and log.c (appending). Internal to
 * userspace/log. */
#ifndef TL_LOG_WRITER_H
#define TL_LOG_WRITER_H

#include "userspace/log/log_internal.h"
#include "userspace/log/log_sync.h"

struct tl_log {
	char *dir;
	int dir_fd, lock_fd, consumers_fd;
	int fd;		  /* segment appended to; -1: the next append begins one */
	uint64_t id, end; /* log id appended under; position after the last frame */
	uint64_t frames;  /* in the current segment, its checkpoint not counted */
	uint64_t max_bytes, segment_bytes;
	uint8_t boot[16];
	struct tl_log_head *head;
	struct tl_log_segments segments; /* the last one is the current, if fd is not -1 */
	struct tl_buf frame, checkpoint; /* being built */
	uint32_t checkpoint_entries;
	bool in_checkpoint; /* tl_log_checkpoint_add is allowed */
	bool untrimmed; /* a failed append left bytes behind `end` that could not be cut off yet */
	bool syncer_started;
	uint64_t tidied_ns; /* monotonic time consumers were last looked at */
	struct tl_log_syncer syncer;
	void (*make_checkpoint)(void *arg, struct tl_log *log);
	void *arg;
};

/* Finds the end of the log, cuts a torn tail off, decides on the log id, publishes all that in the
 * head. Errors: -EBADMSG as tl_log_open; -ENOMEM; -EIO. */
int tl_log_find_end(struct tl_log *log, struct tl_error *error);

/* Flushes segments marked unsynced and the current one. */
int tl_log_sync_all(struct tl_log *log);

#endif
