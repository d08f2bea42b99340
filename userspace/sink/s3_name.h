/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the s3 sink: object keys, and the note that a decision leaves with the offset. Pure
 * functions. docs/sinks/s3.md describes both for people. */
#ifndef TL_SINK_S3_NAME_H
#define TL_SINK_S3_NAME_H

#include "userspace/base/buf.h"
#include "userspace/base/err.h"

enum tl_s3_format { TL_S3_NDJSON = 1, TL_S3_PARQUET = 2, TL_S3_BOTH = 3 }; /* bits */

#define TL_S3_SOURCE_MAX 320
#define TL_S3_CONTENT_MAX 64 /* what identifies the records of an object, see tl_s3_content */
#define TL_S3_KEY_MAX 1024   /* what S3 allows */

/* Turns what the runner calls the source ("kafka:<cluster>:<topic prefix>", "log:<id>") and a topic
 * ("logs") into the first part of every object's name: "<topic prefix><topic>_<cluster>",
 * "<topic>_log_<id>", with only characters that need no escaping. Errors: -ENAMETOOLONG. */
int tl_s3_source(const char *source, const char *topic, char out[TL_S3_SOURCE_MAX]);

struct tl_s3_name {
	const char *prefix; /* "" or what the user gave */
	const char *root;   /* "logs" or "dead_letters" */
	const char *source; /* of tl_s3_source */
	int32_t partition;
	int64_t first, end;	  /* [first, end) of the generation */
	uint32_t hour;		  /* hours since 1970 */
	enum tl_s3_format format; /* one of them */
};

/* Writes "<prefix><root>/dt=2026-11-23/hour=01/<source>_<partition>_<first>-<end>.json.zst", for
 * Parquet
 * "<prefix>parquet/<root>/....parquet": each format has its own root, because a table reads all
 * that is below one. Errors: -ENAMETOOLONG. */
int tl_s3_key(const struct tl_s3_name *name, char out[TL_S3_KEY_MAX + 1]);

/* Appends `text` percent-encoded for a URL's path (slashes stay) or query. Errors: -ENOBUFS. */
int tl_s3_escape(const char *text, bool query, struct tl_buf *out);

/* What is stored with offset `first` before a generation's first upload. */
struct tl_s3_note {
	int64_t end;
	enum tl_s3_format formats; /* bits */
	char place[512];	   /* "s3://bucket/prefix" */
};

/* Writes the note as text. Errors: -ENAMETOOLONG. */
int tl_s3_note_format(const struct tl_s3_note *note, char *out, size_t size);
/* Reads it. "" and notes of other programs are no note. Returns 1 a note, 0 none. Errors: -EBADMSG
 * one of a newer version, or damaged. */
int tl_s3_note_parse(const char *text, struct tl_s3_note *ret);

/* What a server's answer means. One function decides. */
enum tl_s3_verdict {
	TL_S3_OK,
	TL_S3_AGAIN,   /* this request again, later */
	TL_S3_EXISTS,  /* there is an object of this name */
	TL_S3_ABSENT,  /* no such object or upload */
	TL_S3_RENEW,   /* the credentials ran out */
	TL_S3_REFUSED, /* a person must act */
};

/* `status` 0: no answer. `body` may be empty; a 200 may hold an error too. */
enum tl_s3_verdict tl_s3_judge(int status, struct tl_span body);

/* Copies the text of the first element `name` of an XML answer, entities of XML decoded, cut at the
 * size; "" where there is none. */
void tl_s3_element(struct tl_span xml, const char *name, char *out, size_t size);

#endif
