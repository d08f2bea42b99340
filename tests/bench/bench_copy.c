/* SPDX-License-Identifier: Apache-2.0 */
/* What the timescale sink makes of messages, without Kafka: JSON in memory, handed over in batches
 * as the runner does it, each committed with its offset. Prints "ROWS WALL_MS CPU_MS RSS_KIB" on
 * stdout. usage: bench_copy DSN metrics|logs ROWS [own|none] */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "userspace/base/buf.h"
#include "userspace/base/clock.h"
#include "userspace/base/msg.h"
#include "userspace/sink/timescale.h"

#define BATCH 10000

static struct tl_ts_settings settings = {.timeout_ns = 60 * TL_SEC, .wait_ns = 10 * TL_SEC};

static void metric(struct tl_buf *out, unsigned long n)
{
	char start[TL_TIME_LEN + 1], end[TL_TIME_LEN + 1];
	uint64_t window = UINT64_C(1795132800) + n / 200 * 10;

	tl_time_format(window * TL_SEC, start);
	tl_time_format((window + 10) * TL_SEC, end);
	tl_buf_printf(out,
		      "{\"window_start\":\"%s\",\"window_end\":\"%s\",\"name\":"
		      "\"http.server.request.duration\",\"labels\":{\"service.name\":\"s%lu\","
		      "\"http.request.method\":\"GET\",\"http.route\":\"/cart/{id}\","
		      "\"http.response.status_code\":\"%d\"},\"count\":%lu,\"sum\":%lu.25,"
		      "\"min\":0.001,\"max\":%lu.5,\"buckets\":[%lu,1,2,3,0,0,0,4,0,0,0,0,0,0,0]}",
		      start, end, n % 50, n % 7 ? 200 : 500, n % 100 + 10, n % 37, n % 5, n % 90);
}

static void record(struct tl_buf *out, unsigned long n)
{
	char time[TL_TIME_LEN + 1];

	tl_time_format(UINT64_C(1795132800) * TL_SEC + n * TL_MS, time);
	tl_buf_printf(
		out,
		"{\"uid\":\"00000000000000aa-1-%lx\",\"timestamp\":\"%s\","
		"\"observed_timestamp\":\"%s\",\"severity_number\":9,\"severity_text\":"
		"\"INFO\",\"body\":\"request n=%lu of /cart/%lu took %lu ms, user u%lu\","
		"\"resource\":{\"service.name\":\"cart\",\"host.name\":\"n1\",\"process.pid\":"
		"\"812\"},\"attributes\":{\"log.iostream\":\"stdout\",\"stream.id\":\"2a9\","
		"\"correlation.id\":\"req-%lu\",\"correlation.how\":\"unit\","
		"\"http.response.status_code\":200}}",
		n, time, time, n, n % 977, n % 1303, n % 71, n / 4);
}

/* All messages before the clock starts. */
static struct tl_message *make(bool logs, unsigned long rows, struct tl_buf *json)
{
	struct tl_message *messages = calloc(rows, sizeof(*messages));
	size_t *ends = calloc(rows + 1, sizeof(*ends));

	if (!messages || !ends)
		exit(1);
	for (unsigned long i = 0; i < rows; i++) {
		(logs ? record : metric)(json, i);
		ends[i + 1] = json->len;
	}
	for (unsigned long i = 0; i < rows; i++) {
		messages[i].topic = logs ? TL_TOPIC_LOGS : TL_TOPIC_METRICS;
		messages[i].offset = (int64_t)i;
		messages[i].value = (struct tl_span){json->data + ends[i], ends[i + 1] - ends[i]};
	}
	free(ends);
	return json->failed ? NULL : messages;
}

static int feed(struct tl_sink *sink, const struct tl_message *messages, unsigned long rows,
		struct tl_error *error)
{
	static struct tl_dead_letter dead[BATCH];
	struct tl_partition at = {messages->topic, 0, -1};
	int r = sink->ops->positions(sink, &at, 1, error);

	for (unsigned long i = 0; r == 0 && i < rows; i += BATCH) {
		size_t n = rows - i < BATCH ? rows - i : BATCH;
		struct tl_sink_result result = {.dead = dead};

		r = sink->ops->write(sink, messages + i, n, &result, NULL, error);
		if (r == 0 && result.n_dead)
			return tl_error_set(error, -EINVAL, "%s", dead->reason);
		at.offset += (int64_t)n + (i == 0);
		r = r < 0 ? r : sink->ops->commit(sink, &at, 1, error);
	}
	return r;
}

static uint64_t cpu_ns(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return ((uint64_t)u.ru_utime.tv_sec + (uint64_t)u.ru_stime.tv_sec) * TL_SEC +
	       ((uint64_t)u.ru_utime.tv_usec + (uint64_t)u.ru_stime.tv_usec) * 1000;
}

int main(int argc, char **argv)
{
	struct tl_error error = {0};
	struct tl_message *messages;
	struct tl_sink *sink = NULL;
	struct tl_buf json = {.max = (size_t)2 << 30};
	unsigned long rows = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
	char source[64];
	uint64_t began, cpu;
	struct rusage u;

	if (!rows || !(messages = make(strcmp(argv[2], "logs") == 0, rows, &json)))
		return 2;
	tl_msg_init("bench_copy", TL_WARNING);
	settings.dsn = argv[1];
	settings.logs = true;
	settings.rollups = argc > 4 && strcmp(argv[4], "none") == 0 ? TL_TS_NONE : TL_TS_OWN;
	if (tl_sink_timescale.open(&settings, &sink, &error) < 0) {
		fprintf(stderr, "%s\n", error.message);
		return 1;
	}
	snprintf(source, sizeof(source), "bench %llu", (unsigned long long)tl_wall_ns());
	sink->ops->source(sink, source);
	began = tl_mono_ns();
	cpu = cpu_ns();
	if (feed(sink, messages, rows, &error) < 0) {
		fprintf(stderr, "%s\n", error.message);
		return 1;
	}
	getrusage(RUSAGE_SELF, &u);
	printf("%lu %.1f %.1f %ld\n", rows, (double)(tl_mono_ns() - began) / 1e6,
	       (double)(cpu_ns() - cpu) / 1e6, u.ru_maxrss);
	sink->ops->close(sink);
	return 0;
}
