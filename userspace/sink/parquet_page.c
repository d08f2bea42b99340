/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of a column chunk: a dictionary page where there is a dictionary, and one data page:
 * repetition levels, definition levels, values; all packed together by zstd. */
#include <errno.h>

#include "userspace/sink/parquet_internal.h"

static uint32_t number_at(const void *numbers, size_t size, size_t i)
{
	return size == 1 ? ((const uint8_t *)numbers)[i] : ((const uint32_t *)numbers)[i];
}

static void varint(struct tl_buf *out, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		tl_buf_putc(out, (char)(v | 0x80));
	tl_buf_putc(out, (char)v);
}

/* How often the number at `i` repeats, counted up to the end. */
static size_t run_at(const void *numbers, size_t size, size_t n, size_t i)
{
	uint32_t v = number_at(numbers, size, i);
	size_t run = 1;

	while (i + run < n && number_at(numbers, size, i + run) == v)
		run++;
	return run;
}

/* Where the bit-packed stretch that begins at `i` ends: at the first multiple of 8 behind which a
 * run is worth its own header, or the end. */
static size_t packed_end(const void *numbers, size_t size, size_t n, size_t i)
{
	size_t j = i;

	while (j + 8 <= n) {
		bool same = true;

		for (size_t k = 1; same && k < 8; k++)
			same = number_at(numbers, size, j + k) == number_at(numbers, size, j);
		if (same)
			return j;
		j += 8;
	}
	return n;
}

static void pack(struct tl_buf *out, const void *numbers, size_t size, size_t i, size_t end,
		 unsigned width)
{
	size_t groups = (end - i + 7) / 8;
	uint64_t bits = 0;
	unsigned have = 0;

	varint(out, groups << 1 | 1);
	for (size_t k = 0; k < groups * 8; k++) {
		uint64_t v = i + k < end ? number_at(numbers, size, i + k) : 0;

		bits |= v << have;
		for (have += width; have >= 8; have -= 8, bits >>= 8)
			tl_buf_putc(out, (char)bits);
	}
}

int tl_pq_hybrid(struct tl_buf *out, const void *numbers, size_t size, size_t n, unsigned width)
{
	for (size_t i = 0; i < n;) {
		size_t run = run_at(numbers, size, n, i), end;

		if (run >= 8) {
			uint32_t v = number_at(numbers, size, i);

			varint(out, (uint64_t)run << 1);
			tl_buf_add(out, &v, (width + 7) / 8);
			i += run;
			continue;
		}
		end = packed_end(numbers, size, n, i);
		pack(out, numbers, size, i, end, width);
		i = end;
	}
	return out->failed ? -ENOMEM : 0;
}

int tl_pq_write(struct tl_parquet *parquet, struct tl_span bytes)
{
	int r = parquet->options.write(parquet->options.arg, bytes.data, bytes.len);

	if (r == 0)
		parquet->offset += bytes.len;
	return r;
}

/* Packs and writes what is in `body`. */
static int write_page(struct tl_parquet *parquet, struct tl_span body, struct tl_pq_page *page,
		      struct tl_pq_chunk *chunk)
{
	size_t bound = ZSTD_compressBound(body.len), packed;
	int r;

	tl_buf_clear(&parquet->packed);
	tl_buf_clear(&parquet->header);
	if (tl_buf_reserve(&parquet->packed, bound) < 0)
		return -ENOMEM;
	packed = ZSTD_compress2(parquet->zstd, parquet->packed.data, bound, body.data, body.len);
	if (ZSTD_isError(packed))
		return -ENOMEM;
	parquet->packed.len = packed;
	page->raw = body.len;
	page->packed = packed;
	if (tl_pq_page_header(page, &parquet->header) < 0)
		return -ENOMEM;
	chunk->raw += parquet->header.len + body.len;
	chunk->packed += parquet->header.len + packed;
	r = tl_pq_write(parquet, tl_buf_span(&parquet->header));
	return r < 0 ? r : tl_pq_write(parquet, tl_buf_span(&parquet->packed));
}

/* Levels stand behind their length. */
static int add_levels(struct tl_buf *page, const struct tl_buf *levels)
{
	size_t at = page->len;
	uint32_t len = 0;
	int r;

	tl_buf_add(page, &len, sizeof(len));
	r = tl_pq_hybrid(page, levels->data, 1, levels->len, 1);
	if (r < 0)
		return r;
	len = (uint32_t)(page->len - at - sizeof(len));
	memcpy(page->data + at, &len, sizeof(len));
	return 0;
}

static unsigned bits_of(uint64_t n_entries)
{
	unsigned width = 0;

	while (n_entries > UINT64_C(1) << width)
		width++;
	return width;
}

static int add_values(struct tl_parquet *parquet, const struct tl_pq_leaf *leaf)
{
	unsigned width = bits_of(leaf->entries.len / sizeof(struct tl_pq_entry));

	if (leaf->is_plain)
		return tl_buf_add(&parquet->page, leaf->plain.data, leaf->plain.len) < 0 ? -ENOMEM
											 : 0;
	tl_buf_putc(&parquet->page, (char)width);
	if (width == 0) { /* one entry: a single run of no bits */
		varint(&parquet->page, leaf->n_values << 1);
		return parquet->page.failed ? -ENOMEM : 0;
	}
	return tl_pq_hybrid(&parquet->page, leaf->index.data, 4, leaf->n_values, width);
}

static int write_data_page(struct tl_parquet *parquet, const struct tl_pq_leaf *leaf,
			   struct tl_pq_chunk *chunk)
{
	const struct tl_parquet_column *column = &parquet->options.columns[leaf->column];
	const struct tl_pq_column *c = &parquet->columns[leaf->column];
	struct tl_pq_page page = {.n_values = chunk->n_slots,
				  .encoding = leaf->is_plain ? TL_PQ_PLAIN : TL_PQ_DICTIONARY};
	int r = 0;

	tl_buf_clear(&parquet->page);
	if (column->type == TL_PARQUET_MAP)
		r = add_levels(&parquet->page, &c->repetitions);
	if (r == 0 && (column->type == TL_PARQUET_MAP || column->optional))
		r = add_levels(&parquet->page, &c->definitions);
	r = r < 0 ? r : add_values(parquet, leaf);
	if (r < 0)
		return r;
	chunk->data_offset = parquet->offset;
	return write_page(parquet, tl_buf_span(&parquet->page), &page, chunk);
}

int tl_pq_write_chunk(struct tl_parquet *parquet, size_t i, struct tl_pq_chunk *ret)
{
	const struct tl_pq_leaf *leaf = &parquet->leaves[i];
	const struct tl_pq_column *c = &parquet->columns[leaf->column];
	struct tl_pq_page dict = {.dictionary = true,
				  .n_values = leaf->entries.len / sizeof(struct tl_pq_entry),
				  .encoding = TL_PQ_PLAIN};
	int r = 0;

	*ret = (struct tl_pq_chunk){.n_values = leaf->n_values,
				    .n_slots = c->definitions.len ? c->definitions.len
								  : leaf->n_values,
				    .min = leaf->min,
				    .max = leaf->max,
				    .has_dict = !leaf->is_plain};
	ret->n_nulls = ret->n_slots - leaf->n_values;
	if (ret->has_dict) {
		ret->dict_offset = parquet->offset;
		r = write_page(parquet, tl_buf_span(&leaf->dict), &dict, ret);
	}
	return r < 0 ? r : write_data_page(parquet, leaf, ret);
}
