/* SPDX-License-Identifier: Apache-2.0 */
/* The s3 sink from messages in memory to objects in a bucket, with a bus that only keeps marks.
 * usage: bench_s3 ENDPOINT BUCKET PREFIX RECORDS FORMAT [NDJSON]; FORMAT 0 NDJSON, 1 Parquet, 2
 * both. Prints records, bytes of NDJSON, seconds, CPU seconds. With NDJSON it only writes the same
 * records to that file, for a peer. Credentials as the sink takes them. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "userspace/base/clock.h"
#include "userspace/record/record.h"
#include "userspace/sink/s3.h"

#define PARTS 6
#define BATCH 10000
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

static int keep_mark(struct tl_bus *bus, const struct tl_mark *mark, struct tl_error *error)
{
	(void)bus, (void)mark, (void)error;
	return 0;
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

static int feed(struct tl_sink *sink, struct tl_bus *bus, const struct input *in,
		struct tl_error *error)
{
	static struct tl_message batch[BATCH];
	static struct tl_dead_letter dead[BATCH];
	struct tl_sink_result result = {.dead = dead};
	int r = 0;

	for (size_t i = 0; r >= 0 && i < in->n;) {
		size_t n = 0;
		/* A poll gives runs of one partition. */
		int32_t partition = (int32_t)(i / BATCH % PARTS);

		for (; n < BATCH && i < in->n; n++, i++)
			batch[n] = (struct tl_message){
				.topic = TL_TOPIC_LOGS,
				.partition = partition,
				.offset = (int64_t)i,
				.value = {in->text.data + in->starts[i],
					  in->starts[i + 1] - in->starts[i] - 1}};
		r = tl_s3_write(sink, batch, n, &result, NULL, error);
		while (r >= 0 &&
		       (r = tl_s3_advance(sink, bus, 100, false, error)) == TL_ADVANCE_FULL)
			;
	}
	while (r >= 0 && (r = tl_s3_advance(sink, bus, 100, true, error)) != TL_ADVANCE_EMPTY)
		;
	return r < 0 ? r : 0;
}

static int run(struct tl_s3_settings *settings, const struct input *in)
{
	static const struct tl_bus_ops ops = {.mark = keep_mark};
	struct tl_bus bus = {&ops};
	struct tl_error error = {0};
	struct tl_sink *sink;
	double cpu = cpu_seconds();
	uint64_t began;
	int r = tl_sink_s3.open(settings, &sink, &error);

	if (r < 0)
		goto failed;
	tl_sink_s3.source(sink, "kafka:BENCH:tapline.");
	for (int32_t p = 0; r == 0 && p < PARTS; p++) {
		struct tl_mark mark = {.topic = TL_TOPIC_LOGS, .partition = p, .offset = -1};

		r = tl_s3_assigned(sink, &mark, &error);
	}
	began = tl_mono_ns();
	r = r < 0 ? r : feed(sink, &bus, in, &error);
	printf("%zu %zu %.3f %.3f\n", in->n, in->text.len, (double)(tl_mono_ns() - began) / 1e9,
	       cpu_seconds() - cpu);
	tl_sink_s3.close(sink);
failed:
	if (r < 0)
		fprintf(stderr, "bench_s3: %s\n", error.message);
	return r < 0;
}

int main(int argc, char **argv)
{
	struct tl_s3_settings settings = {.region = "us-east-1",
					  .object_bytes = 8 << 20,
					  .part_bytes = 8 << 20,
					  .spool_bytes = 1 << 30,
					  .max_age_ns = 300 * TL_SEC,
					  .timeout_ns = 60 * TL_SEC,
					  .drain_ns = 300 * TL_SEC,
					  .uploads = 2,
					  .level = 1};
	struct input in = {0};

	if (argc < 6)
		return 2;
	settings.endpoint = argv[1];
	settings.bucket = argv[2];
	settings.prefix = argv[3];
	settings.format = atoi(argv[5]);
	make_input(&in, strtoul(argv[4], NULL, 10));
	if (argc > 6) {
		FILE *file = fopen(argv[6], "w");

		return !file || fwrite(in.text.data, 1, in.text.len, file) != in.text.len ||
		       fclose(file);
	}
	return run(&settings, &in);
}
