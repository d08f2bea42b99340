/* SPDX-License-Identifier: Apache-2.0 */
/* Produces finished records to a logs topic, for tests of the sinks without agent and stream
 * worker. usage: produce BROKERS TOPIC COUNT [FIRST [RATE]] [--bad N] uids are
 * 00000000000000aa-1-<n in hex>, n from FIRST (default 0) on; the times are a second apart from
 * 2026-11-20 on, so that 86,400 records fill a day's index. Of each N records one has a severity
 * that the mapping refuses. */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "userspace/base/clock.h"
#include "userspace/record/record.h"

#define BEGIN_NS (UINT64_C(1795132800) * TL_SEC) /* 2026-11-20 */

static unsigned long failed;

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	(void)rk, (void)opaque;
	failed += message->err != 0;
}

static rd_kafka_t *open_producer(const char *brokers)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char why[256];
	rd_kafka_t *rk;

	rd_kafka_conf_set(conf, "bootstrap.servers", brokers, NULL, 0);
	rd_kafka_conf_set(conf, "enable.idempotence", "true", NULL, 0);
	rd_kafka_conf_set(conf, "compression.type", "lz4", NULL, 0);
	rd_kafka_conf_set(conf, "partitioner", "murmur2_random", NULL, 0);
	rd_kafka_conf_set(conf, "linger.ms", "20", NULL, 0);
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
	if (!rk)
		fprintf(stderr, "produce: %s\n", why);
	return rk;
}

static int make(unsigned long n, unsigned long bad, struct tl_record *record,
		struct tl_arena *arena, struct tl_buf *json)
{
	static const uint8_t severities[] = {9, 9, 9, 9, 9, 13, 9, 17};

	tl_record_reset(record);
	tl_arena_reset(arena);
	tl_buf_clear(json);
	record->uid = tl_arena_printf(arena, "00000000000000aa-1-%lx", n);
	record->observed_ns = record->timestamp_ns = BEGIN_NS + n * TL_SEC;
	record->severity_number = severities[n % 8];
	record->severity_text = tl_span_str(tl_severity_text(record->severity_number));
	record->body = tl_arena_printf(
		arena, "request n=%lu of /cart/%lu took %lu ms, user u%lu \"quoted\"", n, n % 977,
		n % 1303, n % 71);
	tl_attr_set(&record->resource, "service.name",
		    n % 3 ? TL_SPAN_LIT("cart") : TL_SPAN_LIT("billing"));
	tl_attr_set(&record->resource, "host.name", TL_SPAN_LIT("n1"));
	tl_attr_set(&record->resource, "process.pid", TL_SPAN_LIT("812"));
	tl_attr_set(&record->attributes, "log.iostream", TL_SPAN_LIT("stdout"));
	tl_attr_set(&record->attributes, "correlation.id",
		    tl_arena_printf(arena, "req-%lu", n / 4));
	tl_attr_set(&record->attributes, "correlation.how", TL_SPAN_LIT("unit"));
	tl_attr_set_u64(&record->attributes, arena, "http.response.status_code",
			n % 50 ? 200 : 500);
	if (tl_record_to_json(record, json) < 0)
		return -1;
	if (bad && n % bad == bad - 1) {
		tl_buf_clear(json);
		tl_buf_printf(json,
			      "{\"uid\":\"%.*s\",\"timestamp\":\"2026-11-20T00:00:00.000000000Z\","
			      "\"observed_timestamp\":"
			      "\"2026-11-20T00:00:00.000000000Z\",\"severity_number\":\"none\","
			      "\"body\":\"bad n=%lu\",\"resource\":{},"
			      "\"attributes\":{}}",
			      (int)record->uid.len, record->uid.data, n);
	}
	return 0;
}

static void send_one(rd_kafka_t *rk, const char *topic, unsigned long n, const struct tl_buf *json)
{
	char key[16];
	int len = snprintf(key, sizeof(key), "%lx", n % 64);

	while (rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY(key, (size_t)len),
				 RD_KAFKA_V_VALUE(json->data, json->len),
				 RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
				 RD_KAFKA_V_END) == RD_KAFKA_RESP_ERR__QUEUE_FULL)
		rd_kafka_poll(rk, 50);
}

/* Waits until the n-th record is due. */
static void pace(uint64_t began, unsigned long n, unsigned long rate)
{
	uint64_t due = began + n * TL_SEC / rate, now = tl_mono_ns();
	struct timespec ts;

	if (now >= due)
		return;
	ts = (struct timespec){(time_t)((due - now) / TL_SEC), (long)((due - now) % TL_SEC)};
	nanosleep(&ts, NULL);
}

int main(int argc, char **argv)
{
	static struct tl_record record;
	struct tl_arena arena = {0};
	struct tl_buf json = {0};
	unsigned long bad = 0, count, first, rate;
	uint64_t began = tl_mono_ns();
	rd_kafka_t *rk;

	if (argc > 3 && strcmp(argv[argc - 2], "--bad") == 0) {
		bad = strtoul(argv[argc - 1], NULL, 10);
		argc -= 2;
	}
	if (argc < 4 || !(rk = open_producer(argv[1])))
		return 2;
	count = strtoul(argv[3], NULL, 10);
	first = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
	rate = argc > 5 ? strtoul(argv[5], NULL, 10) : 0;
	for (unsigned long i = 0; i < count; i++) {
		if (make(first + i, bad, &record, &arena, &json) < 0)
			return 1;
		send_one(rk, argv[2], first + i, &json);
		if (i % 64 == 0)
			rd_kafka_poll(rk, 0);
		if (rate && i % 32 == 0)
			pace(began, i, rate);
	}
	while (rd_kafka_outq_len(rk) > 0)
		rd_kafka_flush(rk, 10000);
	rd_kafka_destroy(rk);
	tl_arena_done(&arena);
	tl_buf_done(&json);
	return failed ? 1 : 0;
}
