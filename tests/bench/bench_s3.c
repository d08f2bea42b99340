/* SPDX-License-Identifier: Apache-2.0 */
/* The s3 sink from messages in memory to objects in a bucket, with a bus that only keeps marks.
 * usage: bench_s3 ENDPOINT BUCKET PREFIX RECORDS FORMAT [NDJSON]; FORMAT 0 NDJSON, 1 Parquet, 2
 * both. Prints records, bytes of NDJSON, seconds, CPU seconds. With NDJSON it only writes the same
 * records to that file, for a peer. Credentials as the sink takes them. */
#include <stdio.h>

#include "tests/bench/records.h"
#include "userspace/sink/s3.h"

#define PARTS 6
#define BATCH 10000
static int keep_mark(struct tl_bus *bus, const struct tl_mark *mark, struct tl_error *error)
{
	(void)bus, (void)mark, (void)error;
	return 0;
}

static int feed(struct tl_sink *sink, struct tl_bus *bus, const struct input *in,
		struct tl_error *error)
{
	static struct tl_message batch[BATCH];
	static struct tl_dead_letter dead[BATCH];
	struct tl_sink_result result = {.dead = dead};
	int r = 0;

	for (size_t i = 0; r >= 0 && i < in->n;) {
		size_t n = next_batch(in, &i, batch, BATCH, (int32_t)(i / BATCH % PARTS));

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
