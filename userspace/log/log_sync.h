/* SPDX-License-Identifier: Apache-2.0 */
/* tl_log_syncer: a thread that runs fdatasync at most `ms` after an append, so that appends never
 * wait for a disk. Internal to userspace/log. Called by the writer's thread only. */
#ifndef TL_LOG_SYNC_H
#define TL_LOG_SYNC_H

#include <pthread.h>
#include <stdbool.h>

#include "userspace/log/log_format.h"

struct tl_log_syncer {
	struct tl_log_head *head; /* borrowed; `synced` is set there */
	uint32_t ms;		  /* 0: no thread */
	pthread_t thread;
	bool running;
	pthread_mutex_t busy; /* held over an fdatasync and a change of fd; taken before `lock` */
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t cond;
	bool stop;
	uint64_t since_ns; /* monotonic time of the oldest unsynced append, 0 none */
	uint64_t end;	   /* position after the last append */
	int fd;		   /* borrowed; the segment appended to, -1 none */
	int error;	   /* -EIO once an fdatasync failed; sticky: what it covered may be lost */
};

int tl_log_syncer_start(struct tl_log_syncer *syncer, struct tl_log_head *head, uint32_t ms);
/* Appends up to `end` were made to the current fd. Returns the sticky error. */
int tl_log_syncer_note(struct tl_log_syncer *syncer, uint64_t end);
/* The sticky error: 0, or -EIO. */
int tl_log_syncer_error(struct tl_log_syncer *syncer);
/* Syncs now what was noted. */
int tl_log_syncer_now(struct tl_log_syncer *syncer);
/* Appends go to `fd` from now on; waits for an fdatasync under way. */
void tl_log_syncer_switch(struct tl_log_syncer *syncer, int fd);
void tl_log_syncer_stop(struct tl_log_syncer *syncer);

#endif
