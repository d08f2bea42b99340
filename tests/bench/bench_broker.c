/* SPDX-License-Identifier: Apache-2.0 */
/* What the benches ask the broker.
 *   bench_broker count BROKERS TOPIC                   messages ever produced to the topic, 0 while
 * there is none bench_broker await BROKERS TOPIC COUNT SECONDS     returns when there are so many
 *   bench_broker latency BROKERS TOPIC COUNT SECONDS   reads COUNT messages that come from now on
 * (it prints "ready") and compares each with the wall time of its write, which the line carries
 * (line.h). Two figures: write -> received by this consumer, an upper bound of the acknowledgement,
 * since a message can be consumed once all replicas have it; and write -> the broker's append time
 * (topic with LogAppendTime, cut to whole ms), a lower bound. Prints "received P50 P99 MAX appended
 * P50 P99 MAX" in ms. */
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/line.h"
#include "userspace/base/buf.h"
#include "userspace/base/clock.h"

#define PARTITIONS_MAX 64
#define BATCH 1000

struct topic {
	rd_kafka_t *rk;
	const char *name;
	int n;			     /* partitions; 0: no such topic yet */
	int64_t end[PARTITIONS_MAX]; /* offset of the next message */
};

static int look_up(struct topic *t)
{
	rd_kafka_topic_t *rkt = rd_kafka_topic_new(t->rk, t->name, NULL);
	const struct rd_kafka_metadata *m;
	int r = rd_kafka_metadata(t->rk, 0, rkt, &m, 5000);

	rd_kafka_topic_destroy(rkt);
	if (r)
		return -1;
	t->n = m->topic_cnt && !m->topics[0].err ? m->topics[0].partition_cnt : 0;
	if (t->n > PARTITIONS_MAX)
		t->n = PARTITIONS_MAX;
	rd_kafka_metadata_destroy(m);
	return 0;
}

static int64_t count(struct topic *t)
{
	int64_t low, sum = 0;

	if (t->n == 0 && look_up(t) < 0)
		return -1;
	for (int i = 0; i < t->n; i++) {
		if (rd_kafka_query_watermark_offsets(t->rk, t->name, i, &low, &t->end[i], 5000))
			return -1;
		sum += t->end[i];
	}
	return sum;
}

static int await(struct topic *t, int64_t wanted, uint64_t until)
{
	int64_t n;

	while ((n = count(t)) < wanted) {
		if (tl_mono_ns() > until) {
			fprintf(stderr, "%s has %lld of %lld messages\n", t->name, (long long)n,
				(long long)wanted);
			return 1;
		}
		usleep(20000);
	}
	return 0;
}

struct sample {
	uint64_t received, appended; /* ns after the write */
};

static bool take(const rd_kafka_message_t *message, uint64_t now, struct sample *ret)
{
	const char *at = message->err ? NULL : memmem(message->payload, message->len, " t=", 3);
	int64_t appended = rd_kafka_message_timestamp(message, NULL);
	uint64_t written = 0;

	if (!at || at + 22 > (const char *)message->payload + message->len)
		return false;
	for (int i = 0; i < 19; i++)
		written = written * 10 + (uint64_t)(at[3 + i] - '0');
	ret->received = now > written ? now - written : 0;
	ret->appended =
		(uint64_t)appended * TL_MS > written ? (uint64_t)appended * TL_MS - written : 0;
	return true;
}

static size_t collect(struct topic *t, struct sample *samples, size_t wanted, uint64_t until)
{
	rd_kafka_topic_t *rkt = rd_kafka_topic_new(t->rk, t->name, NULL);
	rd_kafka_queue_t *queue = rd_kafka_queue_new(t->rk);
	static rd_kafka_message_t *messages[BATCH];
	size_t n = 0;

	for (int i = 0; i < t->n; i++)
		rd_kafka_consume_start_queue(rkt, i, t->end[i], queue);
	usleep(300000); /* the fetchers are waiting at the broker by then */
	printf("ready\n");
	fflush(stdout);
	while (n < wanted && tl_mono_ns() < until) {
		/* One at a time: a batch call would wait for its time-out. */
		rd_kafka_message_t *message = NULL;
		ssize_t got = rd_kafka_consume_batch_queue(queue, 100, messages, 1);

		if (got < 1)
			continue;
		message = messages[0];
		n += take(message, tl_wall_ns(), &samples[n]);
		rd_kafka_message_destroy(message);
	}
	for (int i = 0; i < t->n; i++)
		rd_kafka_consume_stop(rkt, i);
	rd_kafka_queue_destroy(queue);
	rd_kafka_topic_destroy(rkt);
	return n;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void print_one(const char *name, const struct sample *samples, size_t n, bool appended)
{
	uint64_t *ns = calloc(n, sizeof(*ns));

	if (!ns)
		abort();
	for (size_t i = 0; i < n; i++)
		ns[i] = appended ? samples[i].appended : samples[i].received;
	qsort(ns, n, sizeof(*ns), compare);
	printf("%s %.2f %.2f %.2f ", name, (double)ns[n / 2] / 1e6, (double)ns[n * 99 / 100] / 1e6,
	       (double)ns[n - 1] / 1e6);
	free(ns);
}

static int latency(struct topic *t, size_t wanted, uint64_t until)
{
	struct sample *samples = calloc(wanted, sizeof(*samples));
	size_t n;

	while (count(t) < 0 || t->n == 0) {
		if (tl_mono_ns() > until)
			return fprintf(stderr, "there is no topic %s\n", t->name), 1;
		usleep(50000);
	}
	n = samples ? collect(t, samples, wanted, until) : 0;
	if (n < wanted) {
		fprintf(stderr, "%zu of %zu messages came\n", n, wanted);
		free(samples);
		return 1;
	}
	print_one("received", samples, n, false);
	print_one("appended", samples, n, true);
	printf("\n");
	free(samples);
	return 0;
}

static rd_kafka_t *connect_to(const char *brokers)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char why[256];
	rd_kafka_t *rk;

	rd_kafka_conf_set(conf, "bootstrap.servers", brokers, NULL, 0);
	rd_kafka_conf_set(conf, "fetch.min.bytes", "1", NULL, 0);
	rd_kafka_conf_set(conf, "fetch.error.backoff.ms", "5", NULL, 0);
	rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
	if (!rk)
		fprintf(stderr, "%s\n", why);
	return rk;
}

int main(int argc, char **argv)
{
	struct topic t = {.name = argc > 3 ? argv[3] : NULL};
	uint64_t wanted = argc == 6 ? strtoull(argv[4], NULL, 10) : 0;
	uint64_t until = tl_mono_ns() + (argc == 6 ? strtoull(argv[5], NULL, 10) * TL_SEC : 0);
	int r = 2;

	if (argc != 4 && argc != 6) {
		fprintf(stderr,
			"usage: bench_broker count|await|latency BROKERS TOPIC [COUNT SECONDS]\n");
		return 2;
	}
	t.rk = connect_to(argv[2]);
	if (!t.rk)
		return 1;
	if (strcmp(argv[1], "count") == 0) {
		int64_t n = count(&t);

		printf("%lld\n", (long long)n);
		r = n < 0;
	} else if (strcmp(argv[1], "await") == 0) {
		r = await(&t, (int64_t)wanted, until);
	} else if (strcmp(argv[1], "latency") == 0 && wanted) {
		r = latency(&t, wanted, until);
	}
	rd_kafka_destroy(t.rk);
	return r;
}
