/* SPDX-License-Identifier: Apache-2.0 */
/* Hour files of the s3 sink: records of one generation and hour on disk, as NDJSON packed by zstd.
 * The main thread, but for what is said. */
#ifndef TL_SINK_S3_SPOOL_H
#define TL_SINK_S3_SPOOL_H

#include <zstd.h>

#include "userspace/base/arena.h"
#include "userspace/bus/bus.h"
#include "userspace/sink/s3_name.h"

#define TL_S3_STREAMS 16    /* compressors at work, about 1.5 MiB each */
#define TL_S3_HOURS_MAX 64  /* files of one generation */
#define TL_S3_FILES_MAX 256 /* of all */

/* The records of one generation and hour: zstd NDJSON in an unlinked file. */
struct tl_s3_file {
	uint32_t hour;	       /* since 1970 */
	int fd;		       /* owned */
	int stream;	       /* index of the compressor at work on it; -1 none */
	uint64_t bytes;	       /* in the file so far */
	uint64_t records, raw; /* raw: bytes of NDJSON */
	uint64_t digest;       /* over all records in order */
};

struct tl_s3_stream {
	ZSTD_CCtx *zstd;
	struct tl_s3_file *file; /* NULL idle */
	uint64_t used;		 /* for the least recently used */
};

struct tl_s3_spool {
	char dir[4096];
	int level;
	struct tl_s3_stream streams[TL_S3_STREAMS];
	uint64_t clock, bytes, files; /* bytes: in all files of ours */
	char *out;		      /* of one compressor call */
	size_t out_size;
	struct tl_buf line;
};

/* Prepares `dir` (NULL: TMPDIR or /var/tmp). Errors: what the folder gives, with what to do;
 * -ENOMEM. */
int tl_s3_spool_init(struct tl_s3_spool *spool, const char *dir, int level, struct tl_error *error);
void tl_s3_spool_done(struct tl_s3_spool *spool);
/* Makes an unlinked file. Returns a descriptor. Errors: as open. */
int tl_s3_spool_file(const struct tl_s3_spool *spool);
/* Begins `file`. Errors: as open. */
int tl_s3_file_init(struct tl_s3_spool *spool, struct tl_s3_file *file, uint32_t hour);
/* Appends a record and a newline; newlines between its tokens become blanks. Errors: -ENOSPC and
 * others of write; -ENOMEM. The file is then of no use. */
int tl_s3_file_add(struct tl_s3_spool *spool, struct tl_s3_file *file, struct tl_span record);
/* Ends the zstd frame, so that the file is whole. Errors: as tl_s3_file_add. */
int tl_s3_file_seal(struct tl_s3_spool *spool, struct tl_s3_file *file);
void tl_s3_file_drop(struct tl_s3_spool *spool, struct tl_s3_file *file);

/* What identifies the records of a file whatever its format: "<records>-<bytes>-<digest>". */
void tl_s3_content(const struct tl_s3_file *file, char out[TL_S3_CONTENT_MAX]);

/* Checks that a message is one JSON object with `uid` and a time, and tells its hour. Errors:
 * -EINVAL. */
int tl_s3_hour(struct tl_span json, uint32_t *ret_hour);

/* Appends a message of the dead letters as a record: its bytes are the body, why and where it ended
 * are attributes. Errors: -ENOBUFS. */
int tl_s3_dead_letter(const struct tl_message *message, struct tl_arena *arena, struct tl_buf *out);

/* Writes the records of `ndjson` (zstd) as Parquet to `out`. `*stop` ends it. Errors: -ECANCELED;
 * -ENOSPC and others of write; -EBADMSG the spool is damaged; -ENOMEM. */
int tl_s3_convert(int ndjson, int out, int level, const volatile int *stop);

#endif
