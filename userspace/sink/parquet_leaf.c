/* SPDX-License-Identifier: Apache-2.0 */
/* Values of one leaf in the row group at hand.
 *
 * Each leaf begins with a dictionary: a value seen before costs four bytes. When distinct values
 * become too many the dictionary is given up, what was gathered is spelled out, and the rest of the
 * group goes on plain; such a leaf (uids, bodies) does not try again for some groups. */
#include "userspace/sink/parquet_internal.h"

#include <errno.h>

#include "userspace/base/crc32c.h"

#define DICT_ENTRIES_MAX 32768u
#define DICT_BYTES_MAX (1u << 20)
#define SLOTS (2 * DICT_ENTRIES_MAX) /* a power of two */
#define RESTS 15u		     /* groups without a try after one that failed */
#define TRIAL 4096u		     /* values after which mostly distinct ones give up */

static bool is_text(const struct tl_pq_leaf *leaf)
{
	return leaf->type == TL_PQ_BYTES;
}

static int add_plain(const struct tl_pq_leaf *leaf, struct tl_buf *out, struct tl_span value)
{
	uint32_t len = (uint32_t)value.len;

	if (is_text(leaf) && tl_buf_add(out, &len, sizeof(len)) < 0)
		return -ENOMEM;
	return tl_buf_add(out, value.data, value.len) < 0 ? -ENOMEM : 0;
}

static const struct tl_pq_entry *entry_at(const struct tl_pq_leaf *leaf, uint32_t i)
{
	return (const struct tl_pq_entry *)leaf->entries.data + i;
}

/* The dictionary is full, or not worth it: spells out what was gathered. */
static int give_up(struct tl_pq_leaf *leaf)
{
	const uint32_t *index = (const uint32_t *)leaf->index.data;
	int r = 0;

	for (uint64_t i = 0; r == 0 && i < leaf->n_values; i++) {
		const struct tl_pq_entry *entry = entry_at(leaf, index[i]);

		r = add_plain(leaf, &leaf->plain,
			      (struct tl_span){leaf->dict.data + entry->offset, entry->len});
	}
	leaf->is_plain = true;
	leaf->rests = RESTS;
	tl_buf_clear(&leaf->dict);
	tl_buf_clear(&leaf->index);
	tl_buf_clear(&leaf->entries);
	return r;
}

static bool is_worthless(const struct tl_pq_leaf *leaf, size_t n)
{
	return n >= DICT_ENTRIES_MAX || leaf->dict.len >= DICT_BYTES_MAX ||
	       (leaf->n_values == TRIAL && n > TRIAL / 4 * 3);
}

/* Returns 1 a new entry, 0 one that was there; its number in `*ret`. */
static int look_up(struct tl_pq_leaf *leaf, struct tl_span value, uint32_t *ret)
{
	uint32_t hash = tl_crc32c(0, value.data, value.len), at = hash & (SLOTS - 1);
	struct tl_pq_entry entry = {hash, 0, (uint32_t)value.len};

	for (; leaf->slots[at]; at = (at + 1) & (SLOTS - 1)) {
		const struct tl_pq_entry *e = entry_at(leaf, leaf->slots[at] - 1);

		*ret = leaf->slots[at] - 1;
		if (e->hash == hash && e->len == value.len &&
		    (!value.len || memcmp(leaf->dict.data + e->offset, value.data, value.len) == 0))
			return 0;
	}
	*ret = (uint32_t)(leaf->entries.len / sizeof(entry));
	entry.offset = (uint32_t)(leaf->dict.len + (is_text(leaf) ? 4 : 0));
	if (add_plain(leaf, &leaf->dict, value) < 0 ||
	    tl_buf_add(&leaf->entries, &entry, sizeof(entry)) < 0)
		return -ENOMEM;
	leaf->slots[at] = *ret + 1;
	return 1;
}

static int add_value(struct tl_pq_leaf *leaf, struct tl_span value, size_t *held)
{
	uint32_t number;
	int r;

	if (!leaf->slots && !leaf->is_plain) {
		leaf->slots = calloc(SLOTS, sizeof(*leaf->slots));
		if (!leaf->slots)
			return -ENOMEM;
	}
	if (!leaf->is_plain && is_worthless(leaf, leaf->entries.len / sizeof(struct tl_pq_entry))) {
		r = give_up(leaf);
		*held += leaf->plain.len;
		if (r < 0)
			return r;
	}
	if (leaf->is_plain) {
		leaf->n_values++;
		*held += value.len + 4;
		return add_plain(leaf, &leaf->plain, value);
	}
	r = look_up(leaf, value, &number);
	if (r < 0 || tl_buf_add(&leaf->index, &number, sizeof(number)) < 0)
		return -ENOMEM;
	*held += 4 + (r ? value.len + sizeof(struct tl_pq_entry) : 0);
	leaf->n_values++;
	return 0;
}

int tl_pq_leaf_bytes(struct tl_pq_leaf *leaf, struct tl_span value, size_t *held)
{
	return add_value(leaf, value, held);
}

int tl_pq_leaf_int(struct tl_pq_leaf *leaf, int64_t value, size_t *held)
{
	int32_t small = (int32_t)value;

	if (leaf->n_values == 0 || value < leaf->min)
		leaf->min = value;
	if (leaf->n_values == 0 || value > leaf->max)
		leaf->max = value;
	if (leaf->type == TL_PQ_INT32)
		return add_value(leaf, (struct tl_span){(const char *)&small, sizeof(small)}, held);
	return add_value(leaf, (struct tl_span){(const char *)&value, sizeof(value)}, held);
}

void tl_pq_leaf_reset(struct tl_pq_leaf *leaf)
{
	tl_buf_clear(&leaf->plain);
	tl_buf_clear(&leaf->dict);
	tl_buf_clear(&leaf->index);
	tl_buf_clear(&leaf->entries);
	if (leaf->slots)
		memset(leaf->slots, 0, SLOTS * sizeof(*leaf->slots));
	if (leaf->rests)
		leaf->rests--;
	leaf->is_plain = leaf->rests > 0;
	leaf->n_values = 0;
}

void tl_pq_leaf_done(struct tl_pq_leaf *leaf)
{
	tl_buf_done(&leaf->plain);
	tl_buf_done(&leaf->dict);
	tl_buf_done(&leaf->index);
	tl_buf_done(&leaf->entries);
	free(leaf->slots);
}
