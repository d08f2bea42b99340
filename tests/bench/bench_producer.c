/* SPDX-License-Identifier: Apache-2.0 */
/* The floor of the agent's cost: the same messages (key, JSON, both headers) produced by bare
 * librdkafka with the agent's settings, from lines that lie in memory. Nothing is captured,
 * assembled, looked up or kept on disk; the JSON is a template in which body, uid, times and
 * extents are written over. Prints CPU ns (user and system, all threads) a line, from the first
 * produce to the last delivery report.
 * usage: bench_producer BROKERS TOPIC [LINES [COMPRESSION [bare]]]     bare: without the headers */
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "tests/bench/line.h"
#include "userspace/base/buf.h"
#include "userspace/base/clock.h"

#define WINDOW 4096 /* messages in flight, as the forwarder has them when it keeps up */

#define UID "9f0b6c1e5d2a4477-1-00000000"
#define TIME "2026-11-24T10:00:00.000000000Z"
#define RANGE "00000000-00000000"
#define POSITION "b98044c812e6e346:0000000000"
#define BODY_LEN (LINE_BYTES - 1)

/* The resource and the attributes of what a tapped process of one service writes to a file. */
static const char resource_json[] =
	",\"resource\":{\"service.name\":\"bench_writer\",\"host.name\":\"node-1\",\"process.pid\":"
	"\"30459\","
	"\"process.executable.name\":\"bench_writer\",\"process.executable.path\":\"/usr/local/bin/"
	"bench_writer\","
	"\"process.command\":\"/usr/local/bin/bench_writer\",\"process.user.id\":\"0\","
	"\"process.linux.cgroup\":\"/system.slice/"
	"bench.service\"},\"attributes\":{\"log.iostream\":\"stdout\","
	"\"thread.id\":30459,\"correlation.how\":\"none\",\"correlation.why\":\"no-request\","
	"\"stream.id\":\"1\","
	"\"stream.ranges\":\"";
static const char end_json[] = "\",\"log.file.path\":\"/tmp/tapline-bench.000000/service.log\"}}";

struct message {
	char json[1024];
	size_t len, uid, time, observed, body, range; /* where they are in json */
	char uid_header[sizeof(UID)], position[sizeof(POSITION)];
};

struct producer {
	rd_kafka_t *rk;
	rd_kafka_topic_t *topic;
	uint64_t acked, failed;
	bool headers;
};

static size_t put(struct message *m, const char *text, size_t len)
{
	size_t at = m->len;

	memcpy(m->json + at, text, len);
	m->len += len;
	return at;
}

static void make_template(struct message *m)
{
	char body[BODY_LEN];

	memset(body, 'x', sizeof(body));
	memset(m, 0, sizeof(*m));
	put(m, "{\"uid\":\"", 8);
	m->uid = put(m, UID, strlen(UID));
	put(m, "\",\"timestamp\":\"", 15);
	m->time = put(m, TIME, strlen(TIME));
	put(m, "\",\"observed_timestamp\":\"", 24);
	m->observed = put(m, TIME, strlen(TIME));
	put(m, "\",\"body\":\"", 10);
	m->body = put(m, body, sizeof(body));
	put(m, "\"", 1);
	put(m, resource_json, strlen(resource_json));
	m->range = put(m, RANGE, strlen(RANGE));
	put(m, end_json, strlen(end_json));
	memcpy(m->uid_header, UID, sizeof(UID));
	memcpy(m->position, POSITION, sizeof(POSITION));
}

static void put_hex(char *out, uint64_t value)
{
	for (unsigned n = 8; n--; value >>= 4)
		out[n] = "0123456789abcdef"[value & 15];
}

/* Whether JSON would escape one of eight bytes: below 0x20, '"', '\\' or not ASCII. */
static bool word_needs_escape(uint64_t w)
{
	const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
	uint64_t quote = w ^ ones * '"', backslash = w ^ ones * '\\';

	return ((w - ones * 0x20) | (quote - ones) | (backslash - ones) | w) & high;
}

/* The lines of this bench have nothing to escape, but whoever makes JSON has to look. */
static bool is_plain(const char *text, size_t len)
{
	bool bad = false;
	uint64_t w;

	for (size_t i = 0; i + sizeof(w) <= len; i += sizeof(w)) {
		memcpy(&w, text + i, sizeof(w));
		bad |= word_needs_escape(w);
	}
	memcpy(&w, text + len - sizeof(w), sizeof(w));
	return !bad && !word_needs_escape(w);
}

static void fill(struct message *m, const char *line, uint64_t n, uint64_t wall_ns)
{
	char time[TL_TIME_LEN + 1];

	if (!is_plain(line, BODY_LEN))
		abort();
	memcpy(m->json + m->body, line, BODY_LEN);
	tl_time_format(wall_ns, time);
	memcpy(m->json + m->time, time, TL_TIME_LEN);
	memcpy(m->json + m->observed, time, TL_TIME_LEN);
	put_hex(m->json + m->uid + strlen(UID) - 8, n * LINE_BYTES);
	put_hex(m->json + m->range, n * LINE_BYTES);
	put_hex(m->json + m->range + 9, (n + 1) * LINE_BYTES);
	memcpy(m->uid_header, m->json + m->uid, strlen(UID));
	line_digits(m->position + strlen(POSITION) - 10, 10, n * 400);
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	struct producer *p = opaque;

	(void)rk;
	p->acked++;
	p->failed += message->err != 0;
}

static int produce(struct producer *p, const struct message *m)
{
	rd_kafka_headers_t *headers = NULL;
	rd_kafka_resp_err_t err;

	if (!p->headers)
		return rd_kafka_produce(p->topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY,
					(void *)m->json, m->len, "1", 1, NULL);
	headers = rd_kafka_headers_new(2);
	rd_kafka_header_add(headers, "tapline-uid", 11, m->uid_header, (ssize_t)strlen(UID));
	rd_kafka_header_add(headers, "tapline-position", 16, m->position,
			    (ssize_t)strlen(POSITION));
	err = rd_kafka_producev(p->rk, RD_KAFKA_V_RKT(p->topic),
				RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
				RD_KAFKA_V_VALUE((void *)m->json, m->len), RD_KAFKA_V_KEY("1", 1),
				RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
	if (err)
		rd_kafka_headers_destroy(headers);
	return err ? -1 : 0;
}

static int open_producer(struct producer *p, const char *brokers, const char *topic,
			 const char *compression)
{
	const char *const properties[][2] = {
		{"bootstrap.servers", brokers},
		{"enable.idempotence", "true"},
		{"acks", "all"},
		{"linger.ms", "3"},
		{"compression.codec", compression},
		{"queue.buffering.max.messages", "100000"},
		{"batch.num.messages", "10000"},
		{"partitioner", "murmur2_random"},
		{"queue.buffering.max.kbytes", "65536"},
	};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char why[256];

	for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++)
		if (rd_kafka_conf_set(conf, properties[i][0], properties[i][1], why, sizeof(why)))
			return fprintf(stderr, "%s\n", why), -1;
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	rd_kafka_conf_set_opaque(conf, p);
	p->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
	if (!p->rk)
		return fprintf(stderr, "%s\n", why), -1;
	p->topic = rd_kafka_topic_new(p->rk, topic, NULL);
	return 0;
}

static void send_all(struct producer *p, uint64_t lines)
{
	static char pool[LINE_POOL][LINE_BYTES];
	static struct message m;
	uint64_t wall = tl_wall_ns(), until = tl_mono_ns() + 120 * TL_SEC;

	for (unsigned i = 0; i < LINE_POOL; i++) {
		line_make(pool[i], i);
		line_stamp(pool[i], i, wall);
	}
	make_template(&m);
	for (uint64_t n = 0; n < lines; n++) {
		fill(&m, pool[n % LINE_POOL], n, wall + n * 1000);
		while (produce(p, &m) < 0 && tl_mono_ns() < until)
			rd_kafka_poll(p->rk, 10);
		if (n % 256 == 255)
			rd_kafka_poll(p->rk, 0);
		while (n - p->acked >= WINDOW && n > p->acked && tl_mono_ns() < until)
			rd_kafka_poll(p->rk, 10);
	}
	while (p->acked < lines && tl_mono_ns() < until)
		rd_kafka_poll(p->rk, 10);
}

static uint64_t cpu_ns(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * TL_SEC +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000;
}

int main(int argc, char **argv)
{
	uint64_t lines = argc > 3 ? strtoull(argv[3], NULL, 10) : 500000, cpu;
	struct producer p = {.headers = !(argc > 5 && strcmp(argv[5], "bare") == 0)};
	const struct rd_kafka_metadata *metadata;

	if (argc < 3) {
		fprintf(stderr,
			"usage: bench_producer BROKERS TOPIC [LINES [COMPRESSION [bare]]]\n");
		return 2;
	}
	if (open_producer(&p, argv[1], argv[2], argc > 4 ? argv[4] : "lz4") < 0)
		return 1;
	if (rd_kafka_metadata(p.rk, 0, p.topic, &metadata, 10000))
		return fprintf(stderr, "no broker at %s\n", argv[1]), 1;
	rd_kafka_metadata_destroy(metadata);
	cpu = cpu_ns();
	send_all(&p, lines);
	cpu = cpu_ns() - cpu;
	if (p.acked < lines || p.failed)
		return fprintf(stderr, "%llu of %llu lines were acknowledged\n",
			       (unsigned long long)(p.acked - p.failed), (unsigned long long)lines),
		       1;
	printf("%.0f\n", (double)cpu / (double)lines);
	rd_kafka_topic_destroy(p.topic);
	rd_kafka_destroy(p.rk);
	return 0;
}
