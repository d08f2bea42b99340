// SPDX-License-Identifier: Apache-2.0
/* CPU of the forwarder per line, to a real broker: a log with N records is written first, then
 * sent; the process's own user and system time (all of librdkafka's threads) is divided by the
 * lines. usage: bench_forward BROKERS [LINES [COMPRESSION [WITH_IDS [KEY=VALUE...]]]] */
#include <sys/resource.h>

#include "agent/forward.h"
#include "tests/tools/sample_log.h"
#include "userspace/base/fs.h"
#include "userspace/base/msg.h"

static uint64_t cpu_ns(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * TL_SEC +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000;
}

static int write_log(const char *dir, uint64_t lines, bool ids)
{
	struct tl_log_options options = {.dir = dir, .max_bytes = UINT64_C(8) << 30};
	struct tl_error error = {0};
	struct tl_buf bytes = {0};
	struct tl_log *log;
	int r = tl_log_open(&options, &log, &error);

	if (r < 0)
		return fprintf(stderr, "%s\n", error.message), -1;
	r = sample_resource(log);
	for (uint64_t i = 0; r == 0 && i < lines; i += SAMPLE_FRAME)
		r = sample_frame(log, i, ids, &bytes);
	tl_buf_done(&bytes);
	tl_log_close(log);
	return r;
}

int main(int argc, char **argv)
{
	struct tl_kafka_settings kafka = {.brokers = argc > 1 ? argv[1] : "127.0.0.1:9092",
					  .topic_prefix = "bench.",
					  .partitions = 6,
					  .replication = -1,
					  .compression = argc > 3 ? argv[3] : "lz4"};
	uint64_t lines = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000, cpu, mono, left;
	char dir[] = "/tmp/tapline-bench-XXXXXX";
	struct tl_forward_options options = {.kafka = &kafka, .log_dir = dir, .consumer = "kafka"};
	struct tl_forward_usage usage = {0};
	struct tl_forward *forward;
	struct tl_error error = {0};

	tl_msg_init("bench_forward", TL_INFO);
	if (argc > 5)
		kafka.properties = (struct tl_list){argv + 5, (size_t)argc - 5};
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
	printf("%" PRIu64
	       " lines, %s: %.0f ns CPU a line, %.0f bytes a line, %.0f lines/s, left %" PRIu64
	       "\n",
	       usage.records, kafka.compression, (double)cpu / (double)lines,
	       (double)usage.bytes / (double)lines, (double)lines * 1e9 / (double)mono, left);
	tl_remove_tree(dir);
	return usage.records == lines && left == 0 ? 0 : 1;
}
