/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the s3 sink: s3.c (settings, open, ops), s3_parts.c (partitions and their
 * generations), s3_spool.c (hour files on disk), s3_uploader.c (threads that bring generations to
 * the bucket), s3_upload.c (one object), s3_client.c (one request), s3_convert.c (NDJSON to
 * Parquet).
 *
 * The main thread owns everything but what is named here: a generation that was submitted belongs
 * to the uploader until it is finished. */
#ifndef TL_SINK_S3_H
#define TL_SINK_S3_H

#include <zstd.h>

#include "userspace/base/msg.h"
#include "userspace/sink/http_client.h"
#include "userspace/sink/s3_credentials.h"
#include "userspace/sink/s3_name.h"
#include "userspace/sink/sink.h"

enum tl_s3_style { TL_S3_STYLE_AUTO, TL_S3_STYLE_PATH, TL_S3_STYLE_VIRTUAL };

struct tl_s3_settings {
	const char *endpoint, *bucket, *prefix, *region, *credentials_file, *profile, *ca, *spool;
	int style, format; /* format: index, see tl_s3_formats */
	uint64_t object_bytes, part_bytes, spool_bytes;
	uint64_t max_age_ns, timeout_ns, wait_ns, drain_ns;
	int64_t uploads, level;
};

static inline enum tl_s3_format tl_s3_formats(const struct tl_s3_settings *settings)
{
	return (enum tl_s3_format)(settings->format + 1);
}

/* --- hour files --- */

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
/* The compressors' place for files moved in memory. */
void tl_s3_file_moved(struct tl_s3_spool *spool, struct tl_s3_file *file);

#define TL_S3_CONTENT_MAX 64
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

/* --- requests --- */

struct tl_s3_call {
	const char *method;
	const char *key;   /* NULL: the bucket itself */
	const char *query; /* escaped, or NULL */
	struct tl_span body;
	const char *content_type;
	const char *headers[4]; /* lines */
};

struct tl_s3_client {
	const struct tl_s3_settings *settings;
	struct tl_s3_credentials credentials;
	struct tl_http *http;
	struct tl_http_request request; /* the last one */
	struct tl_http_field fields[3]; /* etag, content, region; of the last one */
	uint64_t deadline_ns;		/* monotonic; 0 tries for ever */
	struct tl_msg_gate *gate;	/* of the message that the server is away */
	bool virtual_host;
};

enum { TL_S3_ETAG, TL_S3_CONTENT, TL_S3_REGION };

/* Loads credentials, connects to nothing yet. Errors: -EINVAL endpoint; as
 * tl_s3_credentials_load. */
int tl_s3_client_init(struct tl_s3_client *client, const struct tl_s3_settings *settings,
		      struct tl_error *error);
void tl_s3_client_done(struct tl_s3_client *client);

/* Sends a signed request, again with growing pauses while the server is away or busy. Returns an
 * enum tl_s3_verdict, never TL_S3_AGAIN or TL_S3_RENEW. Errors: -ECANCELED `*stop`; -ECONNREFUSED
 * the deadline passed; -ENOMEM. */
int tl_s3_call(struct tl_s3_client *client, const struct tl_s3_call *call,
	       const volatile int *stop);
/* Says why the last request failed, with advice. Returns -EACCES, -ENOENT, -EINVAL, -ECONNREFUSED
 * or -EPROTO. */
int tl_s3_fail(struct tl_s3_client *client, const char *what, struct tl_error *error);
/* The bucket is there and the credentials are taken. Errors: as tl_s3_fail. */
int tl_s3_check(struct tl_s3_client *client, const volatile int *stop, struct tl_error *error);

struct tl_s3_object {
	const char *key, *content_type;
	const char *content; /* of tl_s3_content: stored with it, compared with what is there */
	int fd;
	uint64_t size;
};
/* Brings an object to the bucket unless it is there with the same content. Returns 0 written, 1 it
 * was there. Errors: -EEXIST it is there with other content; -ECANCELED; as tl_s3_fail; -EIO the
 * spool cannot be read. */
int tl_s3_upload(struct tl_s3_client *client, const struct tl_s3_object *object,
		 const volatile int *stop, struct tl_error *error);

void tl_s3_upload_metrics(void); /* registers them, once */

/* --- generations --- */

struct tl_s3_generation {
	struct tl_s3_generation *next;	 /* in the uploader's queue */
	struct tl_s3_generation *orphan; /* next of those whose partition went away */
	int topic;
	int32_t partition;
	int64_t first, end; /* [first, end); end moves while it collects */
	bool decided;	    /* `end` is stored: the same objects whatever happens */
	bool whole;	    /* all of [first, end) is here */
	uint64_t began_ns;
	struct tl_s3_file files[TL_S3_HOURS_MAX];
	size_t n_files;
	uint64_t bytes; /* raw */

	/* Between submit and finished the uploader's. */
	bool submitted, finished; /* finished: under its lock */
	volatile int cancel;
	int result;
	struct tl_error error;
};

/* What the names of each topic's objects begin with. */
struct tl_s3_sources {
	char logs[TL_S3_SOURCE_MAX], dead_letters[TL_S3_SOURCE_MAX];
};

struct tl_s3_uploader;

/* Starts `threads`; `spool` and `sources` (borrowed) must be set by the first submit. Errors:
 * -ENOMEM, -EAGAIN; as tl_s3_client_init. */
int tl_s3_uploader_new(const struct tl_s3_settings *settings, const struct tl_s3_spool *spool,
		       const struct tl_s3_sources *sources, struct tl_s3_uploader **ret_uploader,
		       struct tl_error *error);
/* Cancels what is under way and waits for the threads. */
void tl_s3_uploader_free(struct tl_s3_uploader *uploader);
void tl_s3_uploader_submit(struct tl_s3_uploader *uploader, struct tl_s3_generation *generation);
/* Sees whether it is over; then `result` and `error` are set and it is the caller's again. */
bool tl_s3_uploader_finished(struct tl_s3_uploader *uploader,
			     const struct tl_s3_generation *generation);
/* Waits until one is over that was not when it last returned, or `ms`. */
void tl_s3_uploader_wait(struct tl_s3_uploader *uploader, unsigned ms);

struct tl_s3_part {
	int topic;
	int32_t partition;
	int64_t position; /* stored; -1 nothing */
	int64_t next;	  /* the next offset that we do not have */
	int64_t replay;	  /* end of a generation that an earlier run decided; -1 none */
	struct tl_s3_generation *closing, *open;
	bool stopped; /* an object is there with other content */
};

struct tl_s3 {
	struct tl_sink sink;
	const struct tl_s3_settings *settings;
	struct tl_s3_sources sources;
	char place[512]; /* "s3://bucket/prefix", for notes and messages */
	struct tl_s3_spool spool;
	struct tl_s3_uploader *uploader;
	struct tl_s3_part *parts;
	size_t n_parts, cap_parts;
	struct tl_s3_generation *orphans; /* of partitions that went away while uploading */
	struct tl_arena arena;		  /* of one dead letter */
	struct tl_buf dead_letter;
	struct tl_error stopped; /* of the last partition that was stopped */
	uint64_t drain_since_ns;
};

extern const struct tl_sink_ops tl_sink_s3;

/* The ops of s3_parts.c; contracts in sink.h. */
int tl_s3_assigned(struct tl_sink *sink, const struct tl_mark *mark, struct tl_error *error);
void tl_s3_revoked(struct tl_sink *sink, int topic, int32_t partition);
int tl_s3_write(struct tl_sink *sink, const struct tl_message *messages, size_t n,
		struct tl_sink_result *result, const volatile int *stop, struct tl_error *error);
int tl_s3_advance(struct tl_sink *sink, struct tl_bus *bus, unsigned wait_ms, bool drain,
		  struct tl_error *error);
/* Frees all partitions; the uploader is gone. */
void tl_s3_parts_done(struct tl_s3 *s3);

#endif
