/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing the writer. A log that has no segment to append to (new, or under a new log
 * id) gets one with the first append, not here: its checkpoint comes from a writer that has first
 * to recover what it knew. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/statvfs.h>

#include "userspace/base/clock.h"
#include "userspace/base/fs.h"
#include "userspace/log/log_writer.h"

#define MIB (UINT64_C(1) << 20)
#define SEGMENT_DEFAULT (64 * MIB)
#define SEGMENT_LEAST UINT64_C(4096)
#define SEGMENT_MOST (1024 * MIB) /* frame lengths are 32 bits, and a frame is held in memory */

static int io_error(struct tl_error *error, int code, const char *what, const char *dir,
		    const char *name)
{
	const char *advice = "";

	if (code == -EROFS)
		advice = "; the file system is read-only, choose another folder";
	else if (code == -EACCES || code == -EPERM)
		advice = "; let this user write there or choose another folder";
	else if (code == -ENOSPC)
		advice = "; free some space or choose a folder on another disk";
	return tl_error_set(error, code, "cannot %s %s%s%s: %s%s", what, dir, *name ? "/" : "",
			    name, strerror(-code), advice);
}

static int open_folders(struct tl_log *log, struct tl_error *error)
{
	char path[4096];
	int r;

	if ((size_t)snprintf(path, sizeof(path), "%s/consumers", log->dir) >= sizeof(path))
		return io_error(error, -ENAMETOOLONG, "use", log->dir, "");
	r = tl_mkdir_p(log->dir, 0700, error);
	if (r == 0)
		r = tl_mkdir_p(path, 0700, error);
	if (r < 0)
		return r;
	log->dir_fd = open(log->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (log->dir_fd < 0)
		return io_error(error, -errno, "open", log->dir, "");
	log->consumers_fd = openat(log->dir_fd, "consumers", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return log->consumers_fd < 0 ? io_error(error, -errno, "open", log->dir, "consumers") : 0;
}

static int take_lock(struct tl_log *log, struct tl_error *error)
{
	char pid[32] = "";
	ssize_t n;
	int len;

	log->lock_fd = openat(log->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (log->lock_fd < 0)
		return io_error(error, -errno, "open", log->dir, "lock");
	if (flock(log->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		n = pread(log->lock_fd, pid, sizeof(pid) - 1, 0);
		pid[n > 0 ? n : 0] = '\0';
		pid[strcspn(pid, "\n")] = '\0';
		return tl_error_set(
			error, errno == EWOULDBLOCK ? -EBUSY : -errno,
			"the log %s is in use by another writer (process %s); stop it, or choose "
			"another folder",
			log->dir, *pid ? pid : "unknown");
	}
	/* For people only, so a full disk does not matter. */
	len = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
	if (ftruncate(log->lock_fd, 0) == 0)
		tl_log_pwrite(log->lock_fd, (struct tl_span){pid, (size_t)len}, 0);
	return 0;
}

static uint64_t used(const struct tl_log *log)
{
	return log->segments.n ? log->end - log->segments.items[0].start : 0;
}

static int set_sizes(struct tl_log *log, const struct tl_log_options *options,
		     struct tl_error *error)
{
	struct statvfs fs;
	uint64_t available;

	if (fstatvfs(log->dir_fd, &fs) < 0)
		return io_error(error, -errno, "look at the disk of", log->dir, "");
	available = (uint64_t)fs.f_bavail * fs.f_frsize;
	log->max_bytes = options->max_bytes;
	if (log->max_bytes == 0)
		log->max_bytes = (available + used(log)) / 10;
	if (options->max_bytes == 0 && log->max_bytes < MIB)
		log->max_bytes = MIB;
	log->segment_bytes = options->segment_bytes;
	if (log->segment_bytes == 0)
		log->segment_bytes =
			log->max_bytes / 8 < SEGMENT_DEFAULT ? log->max_bytes / 8 : SEGMENT_DEFAULT;
	if (log->segment_bytes < SEGMENT_LEAST || log->segment_bytes > SEGMENT_MOST ||
	    log->max_bytes / 2 < log->segment_bytes)
		return tl_error_set(error, -EINVAL,
				    "the log %s cannot be %" PRIu64 " bytes in segments of %" PRIu64
				    ": a segment is 4 KiB to 1 GiB, and at most half of the log",
				    log->dir, log->max_bytes, log->segment_bytes);
	if (log->segments.n == 0 && available < log->segment_bytes)
		return tl_error_set(error, -ENOSPC,
				    "no room for the log in %s: one segment takes %" PRIu64
				    " bytes, %" PRIu64 " are free; free some space, choose a "
				    "folder on another disk or a smaller size",
				    log->dir, log->segment_bytes, available);
	return 0;
}

/* Goes on in the newest segment when that is of the current log id. */
static int open_current(struct tl_log *log, struct tl_error *error)
{
	struct tl_log_segment *last =
		log->segments.n ? &log->segments.items[log->segments.n - 1] : NULL;
	uint64_t id;
	int r;

	if (!last || last->id != log->id)
		return 0;
	r = tl_log_segment_open(log->dir_fd, last->start, true, &log->fd, &id);
	if (r < 0)
		return io_error(error, r, "open the newest segment of", log->dir, "");
	log->frames = 1; /* or none: a segment with only a checkpoint may end early */
	tl_log_syncer_switch(&log->syncer, log->fd);
	return 0;
}

static int start(struct tl_log *log, const struct tl_log_options *options, struct tl_error *error)
{
	int r = open_folders(log, error);

	if (r == 0)
		r = take_lock(log, error);
	if (r < 0)
		return r;
	unlinkat(log->dir_fd, "segment.tmp", 0);
	r = tl_log_segments_load(log->dir_fd, &log->segments);
	if (r < 0)
		return io_error(error, r, "read the segments of", log->dir, "");
	r = tl_log_head_map(log->dir_fd, true, &log->head);
	if (r < 0)
		return io_error(error, r, "make", log->dir, "head");
	tl_log_boot_id(log->boot);
	r = tl_log_find_end(log, error);
	if (r == 0)
		r = set_sizes(log, options, error);
	if (r < 0)
		return r;
	log->head->sync_ms = options->sync_ms;
	log->head->pid = (uint32_t)getpid();
	log->frame.max = log->segment_bytes;
	log->checkpoint.max = log->max_bytes / 2;
	r = tl_log_syncer_start(&log->syncer, log->head, options->sync_ms);
	log->syncer_started = true;
	if (r < 0)
		return io_error(error, r, "start the sync thread of", log->dir, "");
	r = open_current(log, error);
	if (r == 0 && options->sync_ms)
		r = tl_log_sync_all(log);
	return r < 0 && error && !error->code ? io_error(error, r, "sync", log->dir, "") : r;
}

/* Everything but the promise of a clean end. */
static void release(struct tl_log *log)
{
	if (log->syncer_started)
		tl_log_syncer_stop(&log->syncer);
	if (log->head)
		tl_log_head_unmap(log->head);
	tl_log_segments_done(&log->segments);
	tl_buf_done(&log->frame);
	tl_buf_done(&log->checkpoint);
	closep(&log->fd);
	closep(&log->consumers_fd);
	closep(&log->lock_fd);
	closep(&log->dir_fd);
	free(log->dir);
	free(log);
}

TL_DEFINE_CLEANUP(struct tl_log *, release);

int tl_log_open(const struct tl_log_options *options, struct tl_log **ret_log,
		struct tl_error *error)
{
	_cleanup_(releasep) struct tl_log *log = calloc(1, sizeof(*log));
	int r;

	if (error)
		*error = (struct tl_error){0};
	if (!log)
		return tl_error_set(error, -ENOMEM, "out of memory");
	log->dir_fd = log->lock_fd = log->consumers_fd = log->fd = -1;
	log->make_checkpoint = options->checkpoint;
	log->arg = options->arg;
	log->dir = strdup(options->dir);
	if (!log->dir)
		return tl_error_set(error, -ENOMEM, "out of memory");
	r = start(log, options, error);
	if (r < 0)
		return r;
	*ret_log = TAKE_PTR(log);
	return 0;
}

void tl_log_close(struct tl_log *log)
{
	/* Bytes behind the end or a failed sync: the next open has to look closely. */
	if (!log->untrimmed && tl_log_sync_all(log) == 0) {
		__atomic_store_n(&log->head->closed, 1, __ATOMIC_SEQ_CST);
		msync(log->head, TL_LOG_HEAD_BYTES, MS_SYNC);
		tl_log_head_wake(log->head);
	}
	release(log);
}

uint64_t tl_log_id(const struct tl_log *log)
{
	return log->id;
}
