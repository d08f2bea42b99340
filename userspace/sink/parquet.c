/* SPDX-License-Identifier: Apache-2.0 */
/* Rows and row groups. A row is set column by column; what was left out is filled in at its end, so
 * every column has a slot for every row. A map has one slot an entry (repetition 1 behind the
 * first), or one slot with definition 0 for an empty one. */
#include "userspace/sink/parquet.h"

#include <errno.h>

#include "userspace/sink/parquet_internal.h"

static size_t leaves_of(const struct tl_parquet_column *column)
{
	return column->type == TL_PARQUET_MAP ? 2 : 1;
}

static int type_of(enum tl_parquet_type type)
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

static int set_up(struct tl_parquet *p)
{
	size_t leaf = 0;

	p->columns = calloc(p->options.n_columns, sizeof(*p->columns));
	for (size_t i = 0; i < p->options.n_columns; i++)
		p->n_leaves += leaves_of(&p->options.columns[i]);
	p->leaves = calloc(p->n_leaves, sizeof(*p->leaves));
	p->zstd = ZSTD_createCCtx();
	if (!p->columns || !p->leaves || !p->zstd)
		return -ENOMEM;
	ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_compressionLevel, p->options.level);
	for (size_t i = 0; i < p->options.n_columns; i++) {
		p->columns[i].leaf = leaf;
		for (size_t k = 0; k < leaves_of(&p->options.columns[i]); k++, leaf++) {
			p->leaves[leaf].type = type_of(p->options.columns[i].type);
			p->leaves[leaf].column = i;
		}
	}
	return tl_pq_write(p, TL_SPAN_LIT("PAR1"));
}

int tl_parquet_new(const struct tl_parquet_options *options, struct tl_parquet **ret_parquet)
{
	_cleanup_(tl_parquet_freep) struct tl_parquet *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->options = *options;
	r = set_up(p);
	if (r < 0)
		return r;
	*ret_parquet = TAKE_PTR(p);
	return 0;
}

void tl_parquet_free(struct tl_parquet *p)
{
	for (size_t i = 0; p->leaves && i < p->n_leaves; i++)
		tl_pq_leaf_done(&p->leaves[i]);
	for (size_t i = 0; p->columns && i < p->options.n_columns; i++) {
		tl_buf_done(&p->columns[i].definitions);
		tl_buf_done(&p->columns[i].repetitions);
	}
	for (size_t i = 0; i < p->n_groups; i++)
		free(p->groups[i].chunks);
	tl_buf_done(&p->page);
	tl_buf_done(&p->packed);
	tl_buf_done(&p->header);
	ZSTD_freeCCtx(p->zstd);
	free(p->leaves);
	free(p->columns);
	free(p->groups);
	free(p);
}

static void note(struct tl_parquet *p, int r)
{
	if (r < 0 && !p->failed)
		p->failed = r;
}

static void level(struct tl_parquet *p, struct tl_buf *levels, bool one)
{
	p->held++;
	note(p, tl_buf_putc(levels, one));
}

/* Returns the column's leaf, its slot defined, or NULL when the row has a value of it already. */
static struct tl_pq_leaf *define(struct tl_parquet *p, size_t column)
{
	struct tl_pq_column *c = &p->columns[column];

	if (c->in_row++)
		return NULL;
	if (p->options.columns[column].optional)
		level(p, &c->definitions, true);
	return &p->leaves[c->leaf];
}

void tl_parquet_text(struct tl_parquet *p, size_t column, struct tl_span value)
{
	struct tl_pq_leaf *leaf = define(p, column);

	if (leaf)
		note(p, tl_pq_leaf_bytes(leaf, value, &p->held));
}

void tl_parquet_int(struct tl_parquet *p, size_t column, int64_t value)
{
	struct tl_pq_leaf *leaf = define(p, column);

	if (leaf)
		note(p, tl_pq_leaf_int(leaf, value, &p->held));
}

void tl_parquet_entry(struct tl_parquet *p, size_t column, struct tl_span key, struct tl_span value)
{
	struct tl_pq_column *c = &p->columns[column];

	level(p, &c->repetitions, c->in_row++ > 0);
	level(p, &c->definitions, true);
	note(p, tl_pq_leaf_bytes(&p->leaves[c->leaf], key, &p->held));
	note(p, tl_pq_leaf_bytes(&p->leaves[c->leaf + 1], value, &p->held));
}

/* A column that the row left out. */
static void fill(struct tl_parquet *p, size_t column)
{
	const struct tl_parquet_column *spec = &p->options.columns[column];
	struct tl_pq_column *c = &p->columns[column];

	if (spec->type == TL_PARQUET_MAP) {
		level(p, &c->repetitions, false);
		level(p, &c->definitions, false);
	} else if (spec->optional) {
		level(p, &c->definitions, false);
	} else if (spec->type == TL_PARQUET_TEXT) {
		tl_parquet_text(p, column, (struct tl_span){"", 0});
	} else {
		tl_parquet_int(p, column, 0);
	}
}

static struct tl_pq_group *add_group(struct tl_parquet *p)
{
	struct tl_pq_group *group;

	if (p->n_groups == p->cap_groups) {
		size_t cap = p->cap_groups ? p->cap_groups * 2 : 16;
		struct tl_pq_group *groups = realloc(p->groups, cap * sizeof(*groups));

		if (!groups)
			return NULL;
		p->groups = groups;
		p->cap_groups = cap;
	}
	group = &p->groups[p->n_groups];
	*group = (struct tl_pq_group){.rows = p->rows, .offset = p->offset};
	group->chunks = calloc(p->n_leaves, sizeof(*group->chunks));
	if (!group->chunks)
		return NULL;
	p->n_groups++;
	return group;
}

static int flush(struct tl_parquet *p)
{
	struct tl_pq_group *group = p->rows ? add_group(p) : NULL;
	int r = 0;

	if (!p->rows)
		return 0;
	if (!group)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < p->n_leaves; i++)
		r = tl_pq_write_chunk(p, i, &group->chunks[i]);
	for (size_t i = 0; i < p->n_leaves; i++)
		tl_pq_leaf_reset(&p->leaves[i]);
	for (size_t i = 0; i < p->options.n_columns; i++) {
		tl_buf_clear(&p->columns[i].definitions);
		tl_buf_clear(&p->columns[i].repetitions);
	}
	p->rows = 0;
	p->held = 0;
	return r;
}

int tl_parquet_row(struct tl_parquet *p)
{
	for (size_t i = 0; i < p->options.n_columns; i++) {
		if (!p->columns[i].in_row)
			fill(p, i);
		p->columns[i].in_row = 0;
	}
	p->rows++;
	p->total_rows++;
	if (!p->failed && p->held >= p->options.row_group_bytes)
		note(p, flush(p));
	return p->failed;
}

int tl_parquet_finish(struct tl_parquet *p)
{
	if (!p->failed)
		note(p, flush(p));
	tl_buf_clear(&p->header);
	if (!p->failed)
		note(p, tl_pq_footer(p, &p->header));
	if (!p->failed)
		note(p, tl_pq_write(p, tl_buf_span(&p->header)));
	return p->failed;
}
