// SPDX-License-Identifier: Apache-2.0
/* Feeds a broker as an agent does: appends LINES records to a local log in DIR at RATE a second
 * while the forwarder sends them, then sends all of the log again TIMES - 1 times, as if an agent
 * had been restarted that often without knowing what was acknowledged: same uids, same positions.
 * Ends when all is acknowledged. usage: feed BROKERS PREFIX DIR LINES TIMES RATE [KEY=VALUE...] */
#include "agent/forward.h"
#include "tests/tools/sample_log.h"
#include "userspace/base/fs.h"
#include "userspace/base/msg.h"

struct feed {
	struct tl_kafka_settings kafka;
	const char *dir;
	uint64_t lines, rate;
	struct tl_log *log;
};

/* Sleeps for the pace alone; nothing waits on it. */
static int append_all(struct feed *feed)
{
	struct tl_buf bytes = {0};
	uint64_t start = tl_mono_ns();
	int r = sample_resource(feed->log);

	for (uint64_t i = 0; r == 0 && i < feed->lines; i += SAMPLE_FRAME) {
		uint64_t due = start + i * TL_SEC / feed->rate, now = tl_mono_ns();

		if (due > now)
			usleep((unsigned)((due - now) / 1000));
		r = sample_frame(feed->log, i, i % 400 == 0, &bytes);
	}
	tl_buf_done(&bytes);
	return r;
}

static int send_all(struct feed *feed, const char *consumer, bool live)
{
	const struct tl_forward_options options = {
		.kafka = &feed->kafka, .log_dir = feed->dir, .consumer = consumer};
	struct tl_error error = {0};
	struct tl_forward *forward;
	int r = tl_forward_start(&options, &forward, &error);
	uint64_t left;

	if (r < 0) {
		fprintf(stderr, "feed: %s\n", error.message);
		return r;
	}
	if (live) {
		r = append_all(feed);
		tl_log_close(feed->log);
	}
	left = tl_forward_stop(forward, 300000);
	if (left)
		fprintf(stderr, "feed: %" PRIu64 " entries were not acknowledged\n", left);
	return r < 0 || left ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct tl_error error = {0};
	/* One segment: a finished one would be freed once it was sent, and there would be nothing
	 * to send again. */
	struct tl_log_options log = {.max_bytes = UINT64_C(4) << 30, .segment_bytes = 512 << 20};
	struct feed feed = {.kafka = {.partitions = 6, .replication = -1, .compression = "lz4"}};
	int times;

	if (argc < 7)
		return fprintf(stderr,
			       "usage: feed BROKERS PREFIX DIR LINES TIMES RATE [KEY=VALUE...]\n"),
		       2;
	tl_msg_init("feed", TL_INFO);
	feed.kafka.brokers = argv[1];
	feed.kafka.topic_prefix = argv[2];
	feed.kafka.properties = (struct tl_list){argv + 7, (size_t)argc - 7};
	log.dir = feed.dir = argv[3];
	feed.lines = strtoull(argv[4], NULL, 10);
	times = atoi(argv[5]);
	feed.rate = strtoull(argv[6], NULL, 10);
	if (tl_log_open(&log, &feed.log, &error) < 0)
		return fprintf(stderr, "feed: %s\n", error.message), 1;
	for (int i = 0; i < times; i++) {
		char consumer[16];

		snprintf(consumer, sizeof(consumer), "feed-%d", i);
		if (send_all(&feed, consumer, i == 0) < 0)
			return 1;
	}
	return 0;
}
