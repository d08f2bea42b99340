/* SPDX-License-Identifier: Apache-2.0 */
/* What a batch adds to the roll-ups: its metrics rows, read back from their binary form, summed by
 * (minute, name, labels). The transaction that commits the rows adds these sums to the rows of
 * tapline.metrics_1m and metrics_1h, so roll-ups are exact however late a row is and whatever was
 * killed. An open hash table over the rows themselves: a series is the number of its first row. */
#include <inttypes.h>

#include "userspace/base/arena.h"
#include "userspace/base/clock.h"
#include "userspace/base/json.h"
#include "userspace/base/map.h"
#include "userspace/sink/pg_copy.h"
#include "userspace/sink/timescale.h"

#define BUCKETS_MAX 64
#define ARENA_MAX ((size_t)64 << 20)
#define MINUTE_US INT64_C(60000000)

struct series {
	struct tl_span name, labels; /* in the rows; name NULL: free */
	int64_t minute;		     /* us since 1970 */
	uint64_t count;
	double sum, min, max;
	uint64_t *buckets; /* in the arena */
	size_t n_buckets;
};

struct table {
	struct series *slots;
	size_t n, cap; /* a power of two */
	struct tl_arena arena;
};

static size_t slot_of(const struct table *t, const struct series *s)
{
	uint64_t hash = tl_hash(s->labels.data, s->labels.len) ^
			tl_hash(s->name.data, s->name.len) * 31 ^
			(uint64_t)s->minute * UINT64_C(0x9e3779b97f4a7c15);
	size_t at = (hash ^ hash >> 32) & (t->cap - 1);

	while (t->slots[at].name.data &&
	       (t->slots[at].minute != s->minute || !tl_span_eq(t->slots[at].name, s->name) ||
		!tl_span_eq(t->slots[at].labels, s->labels)))
		at = (at + 1) & (t->cap - 1);
	return at;
}

static int grow(struct table *t)
{
	struct table bigger = {.cap = t->cap ? t->cap * 2 : 256, .n = t->n, .arena = t->arena};

	if (t->cap && t->n < t->cap / 2)
		return 0;
	bigger.slots = calloc(bigger.cap, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < t->cap; i++)
		if (t->slots[i].name.data)
			bigger.slots[slot_of(&bigger, &t->slots[i])] = t->slots[i];
	free(t->slots);
	*t = bigger;
	return 0;
}

static int add_buckets(struct table *t, struct series *s, const struct series *row)
{
	if (row->n_buckets > s->n_buckets) {
		uint64_t *wider = tl_arena_alloc(&t->arena, row->n_buckets * sizeof(*row->buckets));

		if (!wider)
			return -ENOMEM;
		memset(wider, 0, row->n_buckets * sizeof(*wider));
		for (size_t i = 0; i < s->n_buckets; i++)
			wider[i] = s->buckets[i];
		s->buckets = wider;
		s->n_buckets = row->n_buckets;
	}
	for (size_t i = 0; i < row->n_buckets; i++)
		s->buckets[i] += row->buckets[i];
	return 0;
}

static int add(struct table *t, const struct series *row)
{
	struct series *s;
	int r = grow(t);

	if (r < 0)
		return r;
	s = &t->slots[slot_of(t, row)];
	if (!s->name.data) {
		*s = *row;
		s->n_buckets = 0;
		t->n++;
		return add_buckets(t, s, row);
	}
	s->count += row->count;
	s->sum += row->sum;
	s->min = row->min < s->min ? row->min : s->min;
	s->max = row->max > s->max ? row->max : s->max;
	return add_buckets(t, s, row);
}

static void read_buckets(struct tl_span field, struct series *row)
{
	size_t at = 20; /* dimensions, flags, type, length, first index */
	struct tl_span element;

	while (field.len && row->n_buckets < BUCKETS_MAX &&
	       tl_copy_read_field(field, &at, &element))
		row->buckets[row->n_buckets++] = tl_copy_number(element);
}

/* The buckets go to `buckets`, which `row` then points to. */
static bool read_row(struct tl_span rows, size_t *at, struct series *row, uint64_t *buckets)
{
	struct tl_span fields[9];
	uint64_t n;

	if (!tl_copy_read(rows, at, 2, &n) || n != ARRAY_SIZE(fields))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (!tl_copy_read_field(rows, at, &fields[i]))
			return false;
	*row = (struct series){
		.name = fields[2],
		.labels = {fields[3].data + 1, fields[3].len - 1},
		.minute = (int64_t)tl_copy_number(fields[0]) + TL_COPY_EPOCH_US,
		.count = tl_copy_number(fields[4]),
		.sum = tl_copy_double(fields[5]),
		.min = tl_copy_double(fields[6]),
		.max = tl_copy_double(fields[7]),
		.buckets = buckets,
	};
	row->minute -= row->minute % MINUTE_US;
	read_buckets(fields[8], row);
	return true;
}

static void put_series(const struct series *s, struct tl_buf *out)
{
	char time[TL_TIME_LEN + 1];

	tl_time_format((uint64_t)s->minute * 1000, time);
	tl_buf_puts(out, out->data[out->len - 1] == '[' ? "{" : ",{");
	tl_json_key(out, "bucket");
	tl_json_string(out, tl_span_str(time));
	tl_json_key(out, "name");
	tl_json_string(out, s->name);
	tl_json_key(out, "labels");
	tl_buf_add(out, s->labels.data, s->labels.len);
	tl_buf_printf(out, ",\"count\":%" PRIu64 ",\"sum\":%.17g,\"min\":%.17g,\"max\":%.17g",
		      s->count, s->sum, s->min, s->max);
	if (s->n_buckets) {
		tl_buf_puts(out, ",\"buckets\":[");
		for (size_t i = 0; i < s->n_buckets; i++)
			tl_buf_printf(out, "%s%" PRIu64, i ? "," : "", s->buckets[i]);
		tl_buf_putc(out, ']');
	}
	tl_buf_putc(out, '}');
}

int tl_ts_rollup(struct tl_span rows, bool (*skip)(void *arg, size_t row), void *arg,
		 struct tl_buf *out)
{
	struct table table = {.arena.max = ARENA_MAX};
	uint64_t buckets[BUCKETS_MAX];
	struct series row;
	size_t at = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && at < rows.len; i++) {
		if (!read_row(rows, &at, &row, buckets))
			break;
		if (!skip(arg, i))
			r = add(&table, &row);
	}
	tl_buf_putc(out, '[');
	for (size_t i = 0; r == 0 && i < table.cap && !out->failed; i++)
		if (table.slots[i].name.data)
			put_series(&table.slots[i], out);
	tl_buf_putc(out, ']');
	free(table.slots);
	tl_arena_done(&table.arena);
	return out->failed ? -ENOMEM : r;
}
