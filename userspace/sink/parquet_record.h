/* SPDX-License-Identifier: Apache-2.0 */
/* A record of tapline.logs as a row of the one fixed Parquet schema that the s3 sink writes. The
 * columns are those of deploy/athena/logs_parquet.sql. One thread. */
#ifndef TL_SINK_PARQUET_RECORD_H
#define TL_SINK_PARQUET_RECORD_H

#include "userspace/sink/parquet.h"

struct tl_record_rows;

/* Begins a file; `level`, `row_group_bytes`, `write` and `arg` as in tl_parquet_options. The caller
 * owns `*ret_rows`. Errors: as tl_parquet_new. */
int tl_record_rows_new(int level, size_t row_group_bytes,
		       int (*write)(void *arg, const void *data, size_t len), void *arg,
		       struct tl_record_rows **ret_rows);
void tl_record_rows_free(struct tl_record_rows *rows);
TL_DEFINE_CLEANUP(struct tl_record_rows *, tl_record_rows_free);

/* Appends one record. Members that the schema does not know become attributes, as everywhere;
 * numbers, booleans and deeper JSON in the maps are their exact text; nulls are not there. Errors:
 * -EINVAL no JSON object: nothing is appended that a reader would trust, give the file up; -ENOMEM;
 * what `write` returned. */
int tl_record_rows_add(struct tl_record_rows *rows, struct tl_span json);

/* As tl_parquet_finish. */
int tl_record_rows_finish(struct tl_record_rows *rows);

#endif
