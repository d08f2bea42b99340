// SPDX-License-Identifier: Apache-2.0
/* CPU of the forwarder per line, to a real broker: a log with N records is written first, then sent; the process's own user
 * and system time (all of librdkafka's threads) is divided by the lines.
 * usage: bench_forward BROKERS [LINES [COMPRESSION [WITH_IDS [KEY=VALUE...]]]] */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "agent/forward.h"
#include "userspace/base/clock.h"
#include "userspace/base/fs.h"
#include "userspace/base/msg.h"
#include "userspace/record/entry.h"

#define STREAMS 16
#define FRAME 20 /* records an agent appends at once at 20,000 lines/s */

static uint64_t cpu_ns(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * TL_SEC +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000;
}

static void fill(struct tl_record *record, uint64_t i, bool ids, char body[200], char range[64])
{
	tl_record_reset(record);
	record->timestamp_ns = record->observed_ns = UINT64_C(1795600000000000000) + i * 50000;
	record->body = (struct tl_span){
		body, (size_t)snprintf(body, 200,
				       "10.0.%" PRIu64 ".7 - - [24/Nov/2026:10:00:%02" PRIu64 " +0000] \"GET /api/item/%" PRIu64
				       " HTTP/1.1\" 200 %" PRIu64 " \"-\" \"curl/7.88.1\" rt=0.0%02" PRIu64,
				       i % 250, i / 20000 % 60, i * 2654435761u % 100000, i * 40503u % 9000 + 100, i % 97)
	};
	tl_attr_set(&record->attributes, "log.iostream", TL_SPAN_LIT("stdout"));
	tl_attr_set_span(&record->attributes, TL_SPAN_LIT("thread.id"), TL_SPAN_LIT("815"), TL_ATTR_LITERAL);
	tl_attr_set(&record->attributes, "correlation.how", ids ? TL_SPAN_LIT("unit") : TL_SPAN_LIT("none"));
	if (ids) {
		tl_attr_set(&record->attributes, "correlation.id", TL_SPAN_LIT("0af7651916cd43dd"));
		tl_attr_set(&record->attributes, "correlation.source", TL_SPAN_LIT("x-request-id"));
		tl_attr_set(&record->attributes, "http.request.header.x-request-id", TL_SPAN_LIT("0af7651916cd43dd"));
	} else {
		tl_attr_set(&record->attributes, "correlation.why", TL_SPAN_LIT("no-request"));
	}
	tl_attr_set(&record->attributes, "stream.id", TL_SPAN_LIT("2a9"));
	tl_attr_set(&record->attributes, "stream.ranges",
		    (struct tl_span){ range, (size_t)snprintf(range, 64, "%" PRIx64 "-%" PRIx64, i * 128, i * 128 + 128) });
}

static int write_log(const char *dir, uint64_t lines, bool ids)
{
	struct tl_log_options options = { .dir = dir, .max_bytes = UINT64_C(8) << 30 };
	struct tl_error error = { 0 };
	struct tl_attrs *resource = calloc(1, sizeof(*resource));
	struct tl_record *record = calloc(1, sizeof(*record));
	struct tl_buf bytes = { 0 };
	struct tl_log *log;
	char body[200], range[64];

	if (tl_log_open(&options, &log, &error) < 0 || !resource || !record)
		return fprintf(stderr, "%s\n", error.message), -1;
	tl_attr_set(resource, "service.name", TL_SPAN_LIT("cart"));
	tl_attr_set(resource, "host.name", TL_SPAN_LIT("node-1"));
	tl_attr_set(resource, "process.pid", TL_SPAN_LIT("812"));
	tl_entry_pack_resource(1, resource, &bytes);
	tl_log_append(log, &(struct tl_log_entry){ TL_ENTRY_RESOURCE, tl_buf_span(&bytes) }, 1, NULL);
	for (uint64_t i = 0; i < lines; i += FRAME) {
		struct tl_log_entry entries[FRAME];
		size_t at[FRAME + 1] = { 0 };

		tl_buf_clear(&bytes);
		for (size_t k = 0; k < FRAME; k++) {
			struct tl_uid uid = { 0x9f0b6c1e5d2a4477, 1 + (i + k) % STREAMS, (i + k) * 128 };

			fill(record, i + k, ids, body, range);
			tl_entry_pack(record, &uid, 1, &bytes);
			at[k + 1] = bytes.len;
		}
		for (size_t k = 0; k < FRAME; k++)
			entries[k] = (struct tl_log_entry){ TL_ENTRY_RECORD, { bytes.data + at[k], at[k + 1] - at[k] } };
		if (tl_log_append(log, entries, FRAME, NULL) < 0)
			return fprintf(stderr, "append failed\n"), -1;
	}
	tl_buf_done(&bytes);
	tl_log_close(log);
	free(resource);
	free(record);
	return 0;
}

int main(int argc, char **argv)
{
	struct tl_kafka_settings kafka = { .brokers = argc > 1 ? argv[1] : "127.0.0.1:9092", .topic_prefix = "bench.",
					   .partitions = 6, .replication = -1, .compression = argc > 3 ? argv[3] : "lz4" };
	uint64_t lines = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000, cpu, mono, left;
	char dir[] = "/tmp/tapline-bench-XXXXXX";
	struct tl_forward_options options = { &kafka, dir, "kafka" };
	struct tl_forward_usage usage = { 0 };
	struct tl_forward *forward;
	struct tl_error error = { 0 };

	tl_msg_init("bench_forward", TL_INFO);
	if (argc > 5)
		kafka.properties = (struct tl_list){ argv + 5, (size_t)argc - 5 };
	if (!mkdtemp(dir) || write_log(dir, lines, argc > 4 && atoi(argv[4])) < 0)
		return 1;
	cpu = cpu_ns();
	mono = tl_mono_ns();
	if (tl_forward_start(&options, &forward, &error) < 0)
		return fprintf(stderr, "%s\n", error.message), 1;
	while (usage.records < lines && tl_mono_ns() - mono < 120 * TL_SEC) {
		usleep(2000);
		tl_forward_usage(forward, &usage);
	}
	cpu = cpu_ns() - cpu;
	mono = tl_mono_ns() - mono;
	left = tl_forward_stop(forward, 1000);
	printf("%" PRIu64 " lines, %s: %.0f ns CPU a line, %.0f bytes a line, %.0f lines/s, left %" PRIu64 "\n", usage.records,
	       kafka.compression, (double)cpu / (double)lines, (double)usage.bytes / (double)lines,
	       (double)lines * 1e9 / (double)mono, left);
	tl_remove_tree(dir);
	return usage.records == lines && left == 0 ? 0 : 1;
}
