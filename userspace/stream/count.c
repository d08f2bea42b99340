/* SPDX-License-Identifier: Apache-2.0 */
/* An open hash table whose keys are the labels as JSON text in an arena; the row is that text with
 * the numbers around it. */
#include "userspace/stream/count.h"

#include <stdio.h>

#include "userspace/base/arena.h"
#include "userspace/base/clock.h"
#include "userspace/base/err.h"
#include "userspace/base/json.h"
#include "userspace/base/map.h"

/* OTel's default boundaries of http.server.request.duration, in seconds. */
static const double bounds[] = {0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25,
				0.5,   0.75, 1,	    2.5,  5,	 7.5, 10};
#define BUCKETS (ARRAY_SIZE(bounds) + 1)

struct series {
	struct tl_span key; /* name, NUL, labels as JSON; NULL: free */
	const char *name;
	uint64_t window; /* its start, wall ns */
	uint64_t count;
	double sum, min, max;
	uint64_t buckets[BUCKETS];
	bool has_buckets;
};

struct tl_count {
	struct series *table; /* `slots` of them, a power of two */
	uint32_t *used;	      /* indices of the `n` taken slots, in order of making */
	size_t slots, max, n;
	uint64_t window_ns, overflow;
	struct tl_arena keys;
	struct tl_buf key, json;
};

struct tl_count *tl_count_new(size_t max_series, uint64_t window_ns)
{
	struct tl_count *count = calloc(1, sizeof(*count));

	if (!count)
		return NULL;
	count->max = max_series ? max_series : 10000;
	count->window_ns = window_ns ? window_ns : 10 * TL_SEC;
	for (count->slots = 64; count->slots < count->max * 2; count->slots *= 2)
		;
	count->table = calloc(count->slots, sizeof(*count->table));
	count->used = calloc(count->slots, sizeof(*count->used));
	if (!count->table || !count->used) {
		tl_count_free(count);
		return NULL;
	}
	return count;
}

void tl_count_free(struct tl_count *count)
{
	if (!count)
		return;
	tl_arena_done(&count->keys);
	tl_buf_done(&count->key);
	tl_buf_done(&count->json);
	free(count->used);
	free(count->table);
	free(count);
}

static void build_key(struct tl_count *count, const char *name, const struct tl_label *labels,
		      size_t n, bool other)
{
	struct tl_buf *key = &count->key;

	tl_buf_clear(key);
	tl_buf_add(key, name, strlen(name) + 1);
	tl_buf_putc(key, '{');
	for (size_t i = 0; i < n; i++) {
		if (!labels[i].value.len)
			continue;
		if (other && i > 0)
			break;
		tl_json_key(key, labels[i].name);
		tl_json_string(key, other ? TL_SPAN_LIT("_other") : labels[i].value);
	}
	tl_buf_putc(key, '}');
}

static struct series *find(struct tl_count *count, uint64_t window)
{
	struct tl_span key = tl_buf_span(&count->key);
	size_t at =
		(tl_hash(key.data, key.len) ^ window * 0x9e3779b97f4a7c15u) & (count->slots - 1);

	while (count->table[at].key.data &&
	       (count->table[at].window != window || !tl_span_eq(count->table[at].key, key)))
		at = (at + 1) & (count->slots - 1);
	return &count->table[at];
}

static struct series *find_or_make(struct tl_count *count, const char *name, uint64_t window)
{
	struct series *series = find(count, window);

	if (series->key.data)
		return series;
	series->key = tl_arena_copy(&count->keys, tl_buf_span(&count->key));
	if (!series->key.data)
		return NULL;
	series->name = name;
	series->window = window;
	count->used[count->n++] = (uint32_t)(series - count->table);
	return series;
}

static void observe(struct series *series, double value, bool buckets)
{
	size_t bucket = 0;

	if (!series->count || value < series->min)
		series->min = value;
	if (!series->count || value > series->max)
		series->max = value;
	series->count++;
	series->sum += value;
	if (!buckets)
		return;
	series->has_buckets = true;
	while (bucket < ARRAY_SIZE(bounds) && value > bounds[bucket])
		bucket++;
	series->buckets[bucket]++;
}

int tl_count_add(struct tl_count *count, const char *name, const struct tl_label *labels, size_t n,
		 uint64_t when_ns, double value, bool buckets)
{
	uint64_t window = when_ns - when_ns % count->window_ns;
	struct series *series;

	build_key(count, name, labels, n, false);
	/* The last eighth of the table is kept for the "_other" series, of which each window has
	 * one a name. */
	if (count->n >= count->max && !find(count, window)->key.data) {
		count->overflow++;
		build_key(count, name, labels, n, true);
		if (count->n >= count->slots - 1 && !find(count, window)->key.data)
			return -ENOMEM;
	}
	series = count->key.failed ? NULL : find_or_make(count, name, window);
	if (!series)
		return -ENOMEM;
	observe(series, value, buckets);
	return 0;
}

static void put_time(struct tl_buf *out, const char *key, uint64_t ns)
{
	char text[TL_TIME_LEN + 1];

	tl_time_format(ns, text);
	tl_json_key(out, key);
	tl_json_string(out, (struct tl_span){text, TL_TIME_LEN});
}

static void put_double(struct tl_buf *out, const char *key, double value)
{
	tl_json_key(out, key);
	tl_buf_printf(out, "%.15g", value);
}

static void render(const struct tl_count *count, const struct series *series, struct tl_buf *out)
{
	size_t name_len = strlen(series->name) + 1;

	tl_buf_clear(out);
	tl_buf_putc(out, '{');
	put_time(out, "window_start", series->window);
	put_time(out, "window_end", series->window + count->window_ns);
	tl_json_key(out, "name");
	tl_json_string(out, tl_span_str(series->name));
	tl_json_key(out, "labels");
	tl_buf_add(out, series->key.data + name_len, series->key.len - name_len);
	tl_json_key(out, "count");
	tl_buf_printf(out, "%llu", (unsigned long long)series->count);
	put_double(out, "sum", series->sum);
	put_double(out, "min", series->min);
	put_double(out, "max", series->max);
	if (series->has_buckets) {
		tl_json_key(out, "buckets");
		for (size_t i = 0; i < BUCKETS; i++)
			tl_buf_printf(out, "%s%llu", i ? "," : "[",
				      (unsigned long long)series->buckets[i]);
		tl_buf_putc(out, ']');
	}
	tl_buf_putc(out, '}');
}

int tl_count_flush(struct tl_count *count,
		   int (*row)(void *arg, struct tl_span key, struct tl_span json), void *arg)
{
	for (size_t i = 0; i < count->n; i++) {
		const struct series *series = &count->table[count->used[i]];
		int r;

		render(count, series, &count->json);
		if (count->json.failed)
			return -ENOMEM;
		r = row(arg, series->key, tl_buf_span(&count->json));
		if (r)
			return r;
	}
	tl_count_clear(count);
	return 0;
}

void tl_count_clear(struct tl_count *count)
{
	for (size_t i = 0; i < count->n; i++)
		count->table[count->used[i]] = (struct series){0};
	count->n = 0;
	tl_arena_reset(&count->keys);
}

uint64_t tl_count_overflow(const struct tl_count *count)
{
	return count->overflow;
}
