/* SPDX-License-Identifier: Apache-2.0 */
/* Page headers and the footer in Thrift's compact protocol (thrift-compact-protocol.md): a struct
 * is fields of a byte (delta of the field's number, type) and a value, ended by a zero. Field
 * numbers are those of parquet.thrift. */
#include <errno.h>

#include "userspace/base/cleanup.h"
#include "userspace/sink/parquet_internal.h"

enum {
	T_TRUE = 1,
	T_FALSE = 2,
	T_I16 = 4,
	T_I32 = 5,
	T_I64 = 6,
	T_BINARY = 8,
	T_LIST = 9,
	T_STRUCT = 12
};

#define DEPTH_MAX 8
#define CODEC_ZSTD 6

struct thrift {
	struct tl_buf *out;
	int last[DEPTH_MAX]; /* field numbers, by depth */
	int depth;
};

static void varint(struct thrift *t, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		tl_buf_putc(t->out, (char)(v | 0x80));
	tl_buf_putc(t->out, (char)v);
}

static void zigzag(struct thrift *t, int64_t v)
{
	varint(t, ((uint64_t)v << 1) ^ (uint64_t)(v >> 63));
}

static void field(struct thrift *t, int number, int type)
{
	tl_buf_putc(t->out, (char)((number - t->last[t->depth]) << 4 | type));
	t->last[t->depth] = number;
}

static void number(struct thrift *t, int id, int type, int64_t v)
{
	field(t, id, type);
	zigzag(t, v);
}

static void bytes(struct thrift *t, const void *data, size_t len)
{
	varint(t, len);
	tl_buf_add(t->out, data, len);
}

static void text(struct thrift *t, int id, const char *s)
{
	field(t, id, T_BINARY);
	bytes(t, s, strlen(s));
}

static void list(struct thrift *t, int id, int type, size_t n)
{
	field(t, id, T_LIST);
	tl_buf_putc(t->out, (char)((n < 15 ? n : 15) << 4 | (size_t)type));
	if (n >= 15)
		varint(t, n);
}

/* A struct that is an element of a list. */
static void open_element(struct thrift *t)
{
	t->last[++t->depth] = 0;
}

static void open_struct(struct thrift *t, int id)
{
	field(t, id, T_STRUCT);
	open_element(t);
}

static void close_struct(struct thrift *t)
{
	tl_buf_putc(t->out, 0);
	t->depth--;
}

static void empty_struct(struct thrift *t, int id)
{
	open_struct(t, id);
	close_struct(t);
}

int tl_pq_page_header(const struct tl_pq_page *page, struct tl_buf *out)
{
	struct thrift t = {.out = out};

	number(&t, 1, T_I32, page->dictionary ? 2 : 0);
	number(&t, 2, T_I32, (int64_t)page->raw);
	number(&t, 3, T_I32, (int64_t)page->packed);
	open_struct(&t, page->dictionary ? 7 : 5);
	number(&t, 1, T_I32, (int64_t)page->n_values);
	number(&t, 2, T_I32, page->encoding);
	if (!page->dictionary) {
		number(&t, 3, T_I32, TL_PQ_RLE);
		number(&t, 4, T_I32, TL_PQ_RLE);
	}
	close_struct(&t);
	tl_buf_putc(out, 0);
	return out->failed ? -ENOMEM : 0;
}

static void logical_type(struct thrift *t, enum tl_parquet_type type)
{
	open_struct(t, 10);
	if (type == TL_PARQUET_TEXT)
		empty_struct(t, 1);
	if (type == TL_PARQUET_MAP)
		empty_struct(t, 2);
	if (type == TL_PARQUET_TIMESTAMP) {
		open_struct(t, 8);
		field(t, 1, T_TRUE); /* adjusted to UTC */
		open_struct(t, 2);
		empty_struct(t, 2); /* microseconds */
		close_struct(t);
		close_struct(t);
	}
	close_struct(t);
}

/* The old converted type: readers such as DuckDB need it to see text. -1 none. */
static int converted(enum tl_parquet_type type)
{
	switch (type) {
	case TL_PARQUET_TEXT:
		return 0;
	case TL_PARQUET_MAP:
		return 1;
	case TL_PARQUET_TIMESTAMP:
		return 10;
	default:
		return -1;
	}
}

static int physical(enum tl_parquet_type type)
{
	switch (type) {
	case TL_PARQUET_INT32:
		return TL_PQ_INT32;
	case TL_PARQUET_INT64:
	case TL_PARQUET_TIMESTAMP:
		return TL_PQ_INT64;
	default:
		return TL_PQ_BYTES;
	}
}

static void schema_leaf(struct thrift *t, const char *name, enum tl_parquet_type type,
			int repetition)
{
	open_element(t);
	number(t, 1, T_I32, physical(type));
	number(t, 3, T_I32, repetition);
	text(t, 4, name);
	if (converted(type) >= 0) {
		number(t, 6, T_I32, converted(type));
		logical_type(t, type);
	}
	close_struct(t);
}

static void schema_group(struct thrift *t, const char *name, int repetition, int children, bool map)
{
	open_element(t);
	if (repetition >= 0)
		number(t, 3, T_I32, repetition);
	text(t, 4, name);
	number(t, 5, T_I32, children);
	if (map) {
		number(t, 6, T_I32, converted(TL_PARQUET_MAP));
		logical_type(t, TL_PARQUET_MAP);
	}
	close_struct(t);
}

static void schema(struct thrift *t, const struct tl_parquet *p)
{
	size_t n = 1;

	for (size_t i = 0; i < p->options.n_columns; i++)
		n += p->options.columns[i].type == TL_PARQUET_MAP ? 4 : 1;
	list(t, 2, T_STRUCT, n);
	schema_group(t, "record", -1, (int)p->options.n_columns, false);
	for (size_t i = 0; i < p->options.n_columns; i++) {
		const struct tl_parquet_column *c = &p->options.columns[i];

		if (c->type != TL_PARQUET_MAP) {
			schema_leaf(t, c->name, c->type,
				    c->optional ? TL_PQ_OPTIONAL : TL_PQ_REQUIRED);
			continue;
		}
		schema_group(t, c->name, TL_PQ_REQUIRED, 1, true);
		schema_group(t, "key_value", TL_PQ_REPEATED, 2, false);
		schema_leaf(t, "key", TL_PARQUET_TEXT, TL_PQ_REQUIRED);
		schema_leaf(t, "value", TL_PARQUET_TEXT, TL_PQ_REQUIRED);
	}
}

/* path_in_schema */
static void path(struct thrift *t, const struct tl_parquet *p, size_t leaf)
{
	size_t column = p->leaves[leaf].column;
	const struct tl_parquet_column *c = &p->options.columns[column];
	const char *end = leaf == p->columns[column].leaf ? "key" : "value";
	bool map = c->type == TL_PARQUET_MAP;

	list(t, 3, T_BINARY, map ? 3 : 1);
	bytes(t, c->name, strlen(c->name));
	if (map) {
		bytes(t, "key_value", 9);
		bytes(t, end, strlen(end));
	}
}

static void statistics(struct thrift *t, const struct tl_pq_leaf *leaf,
		       const struct tl_pq_chunk *chunk)
{
	size_t size = leaf->type == TL_PQ_INT32 ? 4 : 8;

	open_struct(t, 12);
	number(t, 3, T_I64, (int64_t)chunk->n_nulls);
	if (leaf->type != TL_PQ_BYTES && chunk->n_values) {
		/* Little-endian, so the first bytes are the number in either size. */
		field(t, 5, T_BINARY);
		bytes(t, &chunk->max, size);
		field(t, 6, T_BINARY);
		bytes(t, &chunk->min, size);
	}
	close_struct(t);
}

static void column_chunk(struct thrift *t, const struct tl_parquet *p, size_t i,
			 const struct tl_pq_chunk *chunk)
{
	open_element(t);
	number(t, 2, T_I64, (int64_t)(chunk->has_dict ? chunk->dict_offset : chunk->data_offset));
	open_struct(t, 3);
	number(t, 1, T_I32, p->leaves[i].type);
	list(t, 2, T_I32, chunk->has_dict ? 3 : 2);
	zigzag(t, TL_PQ_PLAIN);
	zigzag(t, TL_PQ_RLE);
	if (chunk->has_dict)
		zigzag(t, TL_PQ_DICTIONARY);
	path(t, p, i);
	number(t, 4, T_I32, CODEC_ZSTD);
	number(t, 5, T_I64, (int64_t)chunk->n_slots);
	number(t, 6, T_I64, (int64_t)chunk->raw);
	number(t, 7, T_I64, (int64_t)chunk->packed);
	number(t, 9, T_I64, (int64_t)chunk->data_offset);
	if (chunk->has_dict)
		number(t, 11, T_I64, (int64_t)chunk->dict_offset);
	statistics(t, &p->leaves[i], chunk);
	close_struct(t);
	close_struct(t);
}

static void row_group(struct thrift *t, const struct tl_parquet *p, size_t g)
{
	const struct tl_pq_group *group = &p->groups[g];
	uint64_t raw = 0, packed = 0;

	open_element(t);
	list(t, 1, T_STRUCT, p->n_leaves);
	for (size_t i = 0; i < p->n_leaves; i++) {
		column_chunk(t, p, i, &group->chunks[i]);
		raw += group->chunks[i].raw;
		packed += group->chunks[i].packed;
	}
	number(t, 2, T_I64, (int64_t)raw);
	number(t, 3, T_I64, (int64_t)group->rows);
	number(t, 5, T_I64, (int64_t)group->offset);
	number(t, 6, T_I64, (int64_t)packed);
	number(t, 7, T_I16, (int64_t)(g & 0x7fff));
	close_struct(t);
}

int tl_pq_footer(const struct tl_parquet *p, struct tl_buf *out)
{
	struct thrift t = {.out = out};
	size_t at = out->len;
	uint32_t len;

	number(&t, 1, T_I32, 1);
	schema(&t, p);
	number(&t, 3, T_I64, (int64_t)p->total_rows);
	list(&t, 4, T_STRUCT, p->n_groups);
	for (size_t g = 0; g < p->n_groups; g++)
		row_group(&t, p, g);
	text(&t, 6, "tapline");
	tl_buf_putc(out, 0);
	len = (uint32_t)(out->len - at);
	tl_buf_add(out, &len, sizeof(len));
	tl_buf_add(out, "PAR1", 4);
	return out->failed ? -ENOMEM : 0;
}
