/* SPDX-License-Identifier: Apache-2.0 */
/* The _bulk request of Elasticsearch and OpenSearch: its body, and what the answer says about each
 * item. Documents are the records of tapline.logs as they are: only the id and the day are picked
 * out of them. Pure functions but the packer. */
#ifndef TL_SINK_BULK_H
#define TL_SINK_BULK_H

#include "userspace/base/buf.h"
#include "userspace/base/cleanup.h"

struct tl_bulk_key {
	struct tl_span uid;	 /* raw JSON text between its quotes: goes into the body as it is */
	struct tl_span observed; /* "2026-11-23T01:00:00.123456789Z" */
};

/* Picks the key out of a record, fast where the members come in the order in which we write them.
 * Spans point into `json`. Errors: -EINVAL no object, no uid of 1 to 512 bytes, or no
 * observed_timestamp that begins with a date. */
int tl_bulk_key(struct tl_span json, struct tl_bulk_key *ret);

#define TL_BULK_INDEX_MAX 256
/* Writes the index of a record: the prefix and its day, "tapline-logs-2026.11.23". */
void tl_bulk_index(const char *prefix, struct tl_span observed, char out[TL_BULK_INDEX_MAX]);

/* Appends the action line (`create` in `index` with the uid as id) and the document. Newlines
 * between JSON tokens become blanks, because a newline ends a document here. Errors: -ENOBUFS,
 * -ENOMEM. */
int tl_bulk_add(struct tl_buf *body, const char *index, const struct tl_bulk_key *key,
		struct tl_span document);

#define TL_BULK_TERM_MAX 32766u /* bytes of a term in Lucene */

/* For OpenSearch: appends the document with values that are too long for a flat_object moved to its
 * member `unindexed`. Returns 1 appended, 0 there is none: the document goes as it is. Errors:
 * -EINVAL no JSON object, -ENOBUFS. */
int tl_bulk_sift(struct tl_span document, struct tl_buf *out);

/* Packs bodies one after the other with one deflate state. */
struct tl_gzip;
int tl_gzip_new(int level, struct tl_gzip **ret_gzip);
void tl_gzip_free(struct tl_gzip *gzip);
TL_DEFINE_CLEANUP(struct tl_gzip *, tl_gzip_free);
/* Replaces `out` by `in`, packed. Errors: -ENOBUFS, -ENOMEM. */
int tl_gzip_pack(struct tl_gzip *gzip, struct tl_span in, struct tl_buf *out);

enum tl_bulk_verdict {
	TL_BULK_WRITTEN,
	TL_BULK_DUPLICATE, /* the id is there already: an earlier try did write it */
	TL_BULK_RETRY,	   /* for as long as it takes: the server is busy or closed for writing */
	TL_BULK_FAILED,	   /* an error of the server that may or may not go away: a few tries */
	TL_BULK_DEAD,	   /* this document will never be taken */
};

/* Judges one item by its status and error type. */
enum tl_bulk_verdict tl_bulk_judge(unsigned status, struct tl_span error_type);

/* What the status of the whole request means. */
enum tl_bulk_whole {
	TL_BULK_ITEMS,	 /* look at the items */
	TL_BULK_AGAIN,	 /* all of them again, later */
	TL_BULK_SPLIT,	 /* too large, or one item spoils it: the halves */
	TL_BULK_REFUSED, /* credentials, or no such place: a person must act */
};
enum tl_bulk_whole tl_bulk_whole(int status);

struct tl_bulk_item {
	size_t index;
	enum tl_bulk_verdict verdict;
	unsigned status;
	const char *type;      /* one of a bounded set of names, for ever */
	struct tl_span reason; /* raw JSON text, in the answer; may be empty */
	struct tl_span where;  /* the index it went to, where the answer tells; may be empty */
};

/* Tells the verdict of each of the `n` items of an answer with status 200, in order.
 * Errors: -EBADMSG it is no such answer, or not of `n` items: nothing may be taken as decided. */
int tl_bulk_answer(struct tl_span json, size_t n,
		   void (*each)(void *arg, const struct tl_bulk_item *item), void *arg);

/* The name of the bounded set for an error type as the server spells it; "other". */
const char *tl_bulk_type(struct tl_span error_type);

/* Copies the error of a whole answer ({"error":{"type":...,"reason":...}} or {"error":"..."}) to
 * `out`, "" where there is none. */
void tl_bulk_reason(struct tl_span json, char *out, size_t size);

/* Copies raw JSON text, decoded and cut at `size`. */
void tl_bulk_text(struct tl_span raw, char *out, size_t size);

#endif
