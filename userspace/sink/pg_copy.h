/* SPDX-License-Identifier: Apache-2.0 */
/* Rows in PostgreSQL's binary COPY format (its manual, "COPY", Binary Format): a row is a count of
 * fields, a field is its length and its bytes as the type's receive function reads them, all
 * big-endian. Text must be UTF-8; a NUL, which PostgreSQL cannot hold, becomes U+FFFD. Failures are
 * told by `out->failed`. */
#ifndef TL_SINK_PG_COPY_H
#define TL_SINK_PG_COPY_H

#include "userspace/base/buf.h"

#define TL_COPY_HEADER TL_SPAN_LIT("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0")
#define TL_COPY_TRAILER TL_SPAN_LIT("\377\377")

/* Begins a row of `n` fields. */
void tl_copy_row(struct tl_buf *out, int16_t n);

/* A field that is NULL. */
void tl_copy_null(struct tl_buf *out);

/* smallint */
void tl_copy_i16(struct tl_buf *out, int16_t value);
/* integer */
void tl_copy_i32(struct tl_buf *out, int32_t value);
/* bigint */
void tl_copy_i64(struct tl_buf *out, int64_t value);
/* double precision */
void tl_copy_f64(struct tl_buf *out, double value);
/* bytea; also text that is known to have no NUL. */
void tl_copy_bytes(struct tl_buf *out, struct tl_span value);

/* timestamptz: microseconds since 2000; what is smaller is cut off. */
void tl_copy_time(struct tl_buf *out, uint64_t wall_ns);

/* text; NULL where it is empty and `null_if_empty`. */
void tl_copy_text(struct tl_buf *out, struct tl_span value, bool null_if_empty);

/* jsonb, from JSON text; an escaped NUL in it becomes an escaped U+FFFD. */
void tl_copy_jsonb(struct tl_buf *out, struct tl_span json);

/* bigint[] of one dimension. */
void tl_copy_i64_array(struct tl_buf *out, const uint64_t *values, size_t n);

/* Reads `n` bytes of what was written as a big-endian number and moves `*at` behind them. The
 * caller knows the format: nothing is checked but the end of the data. False past the end. */
bool tl_copy_read(struct tl_span rows, size_t *at, size_t n, uint64_t *ret_value);

/* Reads one field, borrowed from `rows`; NULL is one without data. As tl_copy_read. */
bool tl_copy_read_field(struct tl_span rows, size_t *at, struct tl_span *ret_field);

/* The number in a field of up to 8 bytes; 0 when it is NULL. */
uint64_t tl_copy_number(struct tl_span field);
/* The double precision in a field. */
double tl_copy_double(struct tl_span field);

#define TL_COPY_EPOCH_US INT64_C(946684800000000) /* 2000-01-01 in Unix microseconds */

#endif
