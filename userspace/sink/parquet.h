/* SPDX-License-Identifier: Apache-2.0 */
/* Writes Apache Parquet files of flat rows: texts, integers, timestamps, and maps of text to text.
 * Values are gathered column by column until a row group is full, then written: dictionary pages
 * where values repeat, zstd, one data page (v1) a column chunk; the footer (Thrift compact) at the
 * end. Memory is bounded by the row group's size. Format: parquet.apache.org/docs/file-format,
 * parquet-format 2.10. One thread. */
#ifndef TL_SINK_PARQUET_H
#define TL_SINK_PARQUET_H

#include "userspace/base/buf.h"
#include "userspace/base/cleanup.h"

enum tl_parquet_type {
	TL_PARQUET_TEXT,      /* UTF-8 */
	TL_PARQUET_INT32,     /* signed */
	TL_PARQUET_INT64,     /* signed */
	TL_PARQUET_TIMESTAMP, /* microseconds since 1970 UTC */
	TL_PARQUET_MAP,	      /* text to text, never null; keys must differ within a row */
};

struct tl_parquet_column {
	const char *name; /* lives as long as the writer */
	enum tl_parquet_type type;
	bool optional; /* may be null; not for maps */
};

struct tl_parquet_options {
	const struct tl_parquet_column *columns; /* borrowed for the writer's life */
	size_t n_columns;
	int level;		/* of zstd */
	size_t row_group_bytes; /* values gathered before a row group is written */
	/* Takes the file's next bytes. Returns 0 or a negative errno, which ends the file. */
	int (*write)(void *arg, const void *data, size_t len);
	void *arg;
};

struct tl_parquet;

/* Begins a file. The caller owns `*ret_parquet`. Errors: -ENOMEM; what `write` returned. */
int tl_parquet_new(const struct tl_parquet_options *options, struct tl_parquet **ret_parquet);
/* Releases the writer; a file that was not finished stays without its footer. */
void tl_parquet_free(struct tl_parquet *parquet);
TL_DEFINE_CLEANUP(struct tl_parquet *, tl_parquet_free);

/* Set the value of one column of the row at hand, each column but maps at most once; bytes are
 * copied. A column that is not set is null, or empty ("" or 0) where it is not optional. Failures
 * are told by tl_parquet_row. */
void tl_parquet_text(struct tl_parquet *parquet, size_t column, struct tl_span text);
void tl_parquet_int(struct tl_parquet *parquet, size_t column, int64_t value);
void tl_parquet_entry(struct tl_parquet *parquet, size_t column, struct tl_span key,
		      struct tl_span value);

/* Ends the row. Errors: -ENOMEM; what `write` returned. */
int tl_parquet_row(struct tl_parquet *parquet);

/* Writes what is left and the footer. Errors: as tl_parquet_row. */
int tl_parquet_finish(struct tl_parquet *parquet);

#endif
