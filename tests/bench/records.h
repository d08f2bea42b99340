/* SPDX-License-Identifier: Apache-2.0 */
/* What the benches of sinks have in common: finished records in memory, and the CPU that was used.
 */
#ifndef TL_BENCH_RECORDS_H
#define TL_BENCH_RECORDS_H

#include <stdlib.h>
#include <sys/resource.h>

#include "userspace/base/clock.h"
#include "userspace/bus/bus.h"
#include "userspace/record/record.h"

#define BEGIN_NS (UINT64_C(1795132800) * TL_SEC) /* 2026-11-20 */

static uint64_t seed = 88172645463325252u;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

/* An access line as a service behind a proxy writes it, with a request id, 20,000 a second. */
static void make(uint64_t n, struct tl_record *record, struct tl_arena *arena, struct tl_buf *out)
{
	static const char *const paths[] = {"/cart",	      "/api/v2/items", "/checkout",
					    "/static/app.js", "/login",	       "/api/v2/search",
					    "/health",	      "/orders"};
	uint64_t r = next_random(), q = next_random();

	tl_record_reset(record);
	tl_arena_reset(arena);
	record->uid = tl_arena_printf(arena, "9f0b6c1e5d2a4477-%x-%llx", (unsigned)(n % 40),
				      (unsigned long long)n * 151);
	record->observed_ns = record->timestamp_ns = BEGIN_NS + n * 50000 + r % 40000;
	record->severity_number = r % 31 ? 9 : 17;
	record->severity_text = tl_span_str(tl_severity_text(record->severity_number));
	record->body = tl_arena_printf(arena,
				       "10.%u.%u.%u - - \"GET %s/%llu?page=%u HTTP/1.1\" %d %llu "
				       "\"-\" \"Mozilla/5.0\" rt=%u.%03u",
				       (unsigned)(r >> 8 & 63), (unsigned)(r >> 16 & 255),
				       (unsigned)(r >> 24 & 255), paths[r >> 32 & 7],
				       (unsigned long long)(q % 100000), (unsigned)(q >> 20 & 15),
				       r % 31 ? 200 : 500, (unsigned long long)(q >> 32 & 0xffff),
				       (unsigned)(r >> 60), (unsigned)(q >> 50 & 511));
	tl_attr_set(&record->resource, "service.name",
		    n % 3 ? TL_SPAN_LIT("cart") : TL_SPAN_LIT("billing"));
	tl_attr_set(&record->resource, "host.name", TL_SPAN_LIT("n1"));
	tl_attr_set(&record->resource, "process.pid", TL_SPAN_LIT("812"));
	tl_attr_set(&record->attributes, "log.iostream", TL_SPAN_LIT("stdout"));
	tl_attr_set(&record->attributes, "correlation.id",
		    tl_arena_printf(arena, "%016llx%016llx", (unsigned long long)r,
				    (unsigned long long)q));
	tl_attr_set(&record->attributes, "correlation.how", TL_SPAN_LIT("unit"));
	tl_attr_set(&record->attributes, "correlation.source", TL_SPAN_LIT("x-request-id"));
	tl_record_to_json(record, out);
}

struct input {
	struct tl_buf text;
	size_t *starts; /* n + 1 of them */
	size_t n;
};

static void make_input(struct input *in, size_t n)
{
	static struct tl_record record;
	struct tl_arena arena = {0};

	in->text.max = (size_t)8 << 30;
	in->n = n;
	in->starts = calloc(n + 1, sizeof(*in->starts));
	for (size_t i = 0; i < n; i++) {
		in->starts[i] = in->text.len;
		make(i, &record, &arena, &in->text);
		tl_buf_putc(&in->text, '\n');
	}
	in->starts[n] = in->text.len;
	tl_arena_done(&arena);
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* The next messages of the input from `*at` on, at most `max`, as a poll gives them: a run of one
 * partition. Returns their number. */
static size_t next_batch(const struct input *in, size_t *at, struct tl_message *batch, size_t max,
			 int32_t partition)
{
	size_t n = 0;

	for (; n < max && *at < in->n; n++, (*at)++)
		batch[n] =
			(struct tl_message){.topic = TL_TOPIC_LOGS,
					    .partition = partition,
					    .offset = (int64_t)*at,
					    .value = {in->text.data + in->starts[*at],
						      in->starts[*at + 1] - in->starts[*at] - 1}};
	return n;
}

#endif
