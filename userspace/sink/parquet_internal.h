/* SPDX-License-Identifier: Apache-2.0 */
/* Private to parquet*.c: parquet.c (rows, row groups), parquet_leaf.c (values of one leaf:
 * dictionary or plain), parquet_page.c (levels, pages), parquet_meta.c (Thrift, page headers,
 * footer). */
#ifndef TL_SINK_PARQUET_INTERNAL_H
#define TL_SINK_PARQUET_INTERNAL_H

#include <zstd.h>

#include "userspace/sink/parquet.h"

/* Numbers of the format (parquet.thrift). */
enum { TL_PQ_INT32 = 1, TL_PQ_INT64 = 2, TL_PQ_BYTES = 6 };
enum { TL_PQ_REQUIRED, TL_PQ_OPTIONAL, TL_PQ_REPEATED };
enum { TL_PQ_PLAIN = 0, TL_PQ_RLE = 3, TL_PQ_DICTIONARY = 8 };

/* A column of values without structure: a text or number column, or the keys or values of a map. */
struct tl_pq_leaf {
	int type; /* TL_PQ_... */
	size_t column;
	struct tl_buf plain; /* values as PLAIN has them; in use once the dictionary is given up */
	struct tl_buf dict;  /* distinct values as PLAIN has them */
	struct tl_buf index; /* uint32_t a value, into the dictionary */
	uint32_t *slots;     /* hash table of entry numbers + 1 */
	struct tl_buf entries; /* struct tl_pq_entry */
	bool is_plain;	       /* this row group is written without dictionary */
	unsigned rests;	       /* row groups until it is tried again */
	uint64_t n_values;     /* not null */
	int64_t min, max;      /* numbers */
};

struct tl_pq_entry {
	uint32_t hash, offset, len; /* of the value in `dict`, without its length prefix */
};

/* What the footer says about a chunk. */
struct tl_pq_chunk {
	uint64_t dict_offset, data_offset; /* dict_offset 0: none */
	uint64_t raw, packed;		   /* bytes with page headers */
	uint64_t n_slots, n_nulls, n_values;
	int64_t min, max;
	bool has_dict;
};

struct tl_pq_group {
	uint64_t rows, offset;
	struct tl_pq_chunk *chunks; /* one a leaf; owned */
};

struct tl_pq_column {
	struct tl_buf definitions, repetitions; /* one byte a slot; where the column has them */
	uint32_t in_row;			/* values of the row at hand */
	size_t leaf;				/* the first of its leaves */
};

struct tl_parquet {
	struct tl_parquet_options options;
	struct tl_pq_column *columns;
	struct tl_pq_leaf *leaves;
	size_t n_leaves;
	struct tl_pq_group *groups;
	size_t n_groups, cap_groups;
	uint64_t rows, total_rows, offset; /* of the group at hand; of the file */
	size_t held;			   /* bytes gathered in this group */
	struct tl_buf page, packed, header;
	ZSTD_CCtx *zstd;
	int failed; /* sticky errno */
};

/* parquet_leaf.c: gather. Errors: -ENOMEM. They return the bytes that it cost by `held`. */
int tl_pq_leaf_bytes(struct tl_pq_leaf *leaf, struct tl_span value, size_t *held);
int tl_pq_leaf_int(struct tl_pq_leaf *leaf, int64_t value, size_t *held);
void tl_pq_leaf_reset(struct tl_pq_leaf *leaf); /* for the next row group */
void tl_pq_leaf_done(struct tl_pq_leaf *leaf);

/* parquet_page.c: writes the pages of a leaf and tells the footer's facts. */
int tl_pq_write_chunk(struct tl_parquet *parquet, size_t leaf, struct tl_pq_chunk *ret);
/* Appends `n` numbers of `size` bytes (1 or 4) in the RLE / bit-packed hybrid of `width` bits. */
int tl_pq_hybrid(struct tl_buf *out, const void *numbers, size_t size, size_t n, unsigned width);
int tl_pq_write(struct tl_parquet *parquet, struct tl_span bytes);

/* parquet_meta.c */
struct tl_pq_page {
	bool dictionary;
	size_t raw, packed; /* bytes of the body */
	uint64_t n_values;
	int encoding;
};
int tl_pq_page_header(const struct tl_pq_page *page, struct tl_buf *out);
int tl_pq_footer(const struct tl_parquet *parquet, struct tl_buf *out);

#endif
