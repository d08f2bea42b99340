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

#include "userspace/sink/s3_uploader.h"
#include "userspace/sink/sink.h"

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
