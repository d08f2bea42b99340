/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the file sink: file.c (settings, ops), file_series.c (the files of one topic),
 * file_state.c (what is committed). */
#ifndef TL_SINK_FILE_H
#define TL_SINK_FILE_H

#include <zstd.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/json.h"
#include "userspace/sink/sink.h"

enum { TL_FILE_SYNC_COMMIT, TL_FILE_SYNC_ROTATE, TL_FILE_SYNC_NEVER };

struct tl_file_settings {
	const char *path;
	uint64_t max_bytes, every_ns;
	bool zstd;
	int sync;
	int64_t level;
	struct tl_list topics;
};

#define TL_FILE_NAME_MAX 64

/* What the state file says of a series, and what is true while nothing is being written. */
struct tl_file_place {
	char name[TL_FILE_NAME_MAX]; /* "logs-20261124T194500Z-00000042.ndjson"; "" none yet */
	uint64_t number;	     /* of the newest file */
	uint64_t bytes;		     /* committed */
	uint64_t opened_ns;	     /* wall */
};

/* The files of one topic. */
struct tl_file_series {
	const struct tl_file_settings *settings;
	const char *topic; /* "logs" */
	int dir;	   /* borrowed */
	int fd;		   /* -1 not open */
	struct tl_file_place committed, now;
	bool dirty;		  /* something was added since the last commit */
	struct tl_buf out;	  /* not handed to the kernel yet */
	ZSTD_CCtx *zstd;	  /* NULL: plain */
	const volatile int *stop; /* of the last write: ends the wait for space */
};

/* Removes what was not committed when the last process ended. Errors: those of the file system. */
int tl_file_series_open(struct tl_file_series *series, struct tl_error *error);
/* Releases it; what was not committed stays behind the committed length. */
void tl_file_series_close(struct tl_file_series *series);

/* Appends a line; begins a new file where the present one is old or large enough. Waits while the
 * disk is full. Errors: -EINTR stopped while waiting; those of the file system. */
int tl_file_series_add(struct tl_file_series *series, struct tl_span line, struct tl_error *error);

/* Hands all that was added to the kernel, synced if the settings say so; `now` is then what to
 * write to the state. Errors as tl_file_series_add. */
int tl_file_series_flush(struct tl_file_series *series, struct tl_error *error);

/* The state is on disk: `now` is what is committed. */
void tl_file_series_committed(struct tl_file_series *series);

/* Back to what is committed. */
void tl_file_series_rollback(struct tl_file_series *series);

/* Says so (not often), and waits a little. Errors: -EINTR stopped. */
int tl_file_wait_for_space(const struct tl_file_series *series, struct tl_error *error);

/* A position of a source in the state. */
struct tl_file_position {
	char *source; /* owned */
	int topic;
	int32_t partition;
	int64_t offset;
};

#define TL_FILE_SERIES 4

struct tl_file_state {
	struct tl_file_place places[TL_FILE_SERIES];
	struct tl_file_position *positions; /* owned */
	size_t n_positions, cap_positions;
};

/* Reads `path`; a missing file is an empty state. Errors: -EBADMSG not written by us, -ENOMEM. */
int tl_file_state_read(const char *path, const char *const *series, struct tl_file_state *ret_state,
		       struct tl_error *error);
/* Replaces `path` in one step. Errors: those of the file system. */
int tl_file_state_write(const char *path, const char *const *series,
			const struct tl_file_state *state, bool sync, struct tl_error *error);
/* Releases the contents. */
void tl_file_state_done(struct tl_file_state *state);

/* Returns the entry, made when it is missing (offset -1), or NULL when memory is out. */
struct tl_file_position *tl_file_state_position(struct tl_file_state *state, const char *source,
						int topic, int32_t partition);

extern const struct tl_sink_ops tl_sink_file;

#endif
