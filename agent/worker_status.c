/* SPDX-License-Identifier: Apache-2.0 */
/* What the worker tells in STATE/status.json, replaced once a second (`tapline status` reads it,
 * also after a crash). */
#include "agent/worker_internal.h"

#include <stdio.h>
#include <unistd.h>

#include "version.h"
#include "userspace/base/clock.h"
#include "userspace/base/fs.h"
#include "userspace/base/json.h"

#define STREAMS_SHOWN 1000

static const char *const how_names[] = TL_HOW_NAMES;
static const char *const why_names[] = TL_WHY_NAMES;
static const char *const cause_names[] = TL_CAUSE_NAMES;

static void number(struct tl_buf *out, const char *key, uint64_t value)
{
	tl_json_key(out, key);
	tl_buf_printf(out, "%llu", (unsigned long long)value);
}

static void text(struct tl_buf *out, const char *key, const char *value)
{
	tl_json_key(out, key);
	tl_json_string(out, tl_span_str(value));
}

static void open_object(struct tl_buf *out, const char *key)
{
	tl_json_key(out, key);
	tl_buf_putc(out, '{');
}

static void close_object(struct tl_buf *out)
{
	tl_buf_putc(out, '}');
}

uint64_t tl_worker_lost_bytes(const struct tl_worker *worker, int cause)
{
	return worker->stats.lost_bytes[cause] + worker->counters.lost[cause];
}

/* The kernel counts what it captures while a file is undecided; files that turned out to be no logs
 * do not count. */
uint64_t tl_worker_seen_bytes(const struct tl_worker *worker)
{
	uint64_t seen = worker->stats.seen_bytes, ignored = worker->counters.ignored_bytes;

	return seen > ignored ? seen - ignored : 0;
}

static void put_totals(const struct tl_worker *worker, struct tl_buf *out)
{
	open_object(out, "bytes");
	number(out, "seen", tl_worker_seen_bytes(worker));
	number(out, "captured", worker->counters.log_bytes);
	number(out, "records", worker->counters.record_bytes);
	number(out, "gaps", worker->counters.gap_bytes);
	number(out, "blind", worker->stats.blind_bytes);
	close_object(out);
	open_object(out, "dropped_bytes");
	for (int i = 0; i < TL_CAUSES; i++)
		if (tl_worker_lost_bytes(worker, i))
			number(out, cause_names[i], tl_worker_lost_bytes(worker, i));
	close_object(out);
	open_object(out, "dropped_events");
	for (int i = 0; i < TL_CAUSES; i++)
		if (worker->stats.lost_events[i] + worker->stats.lost_wire[i])
			number(out, cause_names[i],
			       worker->stats.lost_events[i] + worker->stats.lost_wire[i]);
	close_object(out);
	number(out, "records", worker->counters.records);
	number(out, "gaps", worker->counters.gaps);
	number(out, "exchanges", worker->counters.exchanges);
	number(out, "events", worker->counters.events);
}

static void put_stream(const struct tl_stream_info *stream, struct tl_buf *out)
{
	static const char *const kinds[] = {"file", "pipe", "tty", "unix", "other"};

	tl_buf_puts(out, out->data[out->len - 1] == '[' ? "{" : ",{");
	tl_json_key(out, "stream.id");
	tl_buf_printf(out, "\"%llx\"", (unsigned long long)stream->number);
	text(out, "kind", kinds[stream->kind < ARRAY_SIZE(kinds) ? stream->kind : 4]);
	text(out, "path", stream->path);
	text(out, "verdict", stream->verdict == TL_VERDICT_LOG ? "log" : "ignore");
	number(out, "process.pid", stream->last_tgid);
	number(out, "seen_bytes", stream->next_offset);
	number(out, "delivered_bytes", stream->delivered_bytes);
	number(out, "gap_bytes", stream->gap_bytes);
	open_object(out, "gaps");
	for (int i = 0; i < TL_CAUSES; i++)
		if (stream->gaps[i])
			number(out, cause_names[i], stream->gaps[i]);
	close_object(out);
	number(out, "blind_bytes", stream->blind_bytes);
	number(out, "open_bytes",
	       stream->next_offset - stream->delivered_bytes - stream->gap_bytes);
	number(out, "records", stream->records);
	close_object(out);
}

static void put_streams(struct tl_worker *worker, struct tl_buf *out)
{
	struct tl_stream_info *stream;
	size_t iter = 0, shown = 0, more = 0;

	tl_json_key(out, "streams");
	tl_buf_putc(out, '[');
	while ((stream = tl_streams_next(worker->streams, &iter))) {
		if (stream->verdict != TL_VERDICT_LOG)
			continue;
		if (shown++ < STREAMS_SHOWN)
			put_stream(stream, out);
		else
			more++;
	}
	tl_buf_putc(out, ']');
	number(out, "streams_not_shown", more);
	number(out, "streams_refused", tl_streams_refused(worker->streams));
}

static void put_correlation(const struct tl_worker *worker, struct tl_buf *out)
{
	struct tl_corr_usage usage;

	tl_corr_usage(worker->corr, &usage);
	open_object(out, "correlation");
	open_object(out, "how");
	for (int i = 0; i < TL_HOWS; i++)
		number(out, how_names[i], usage.how[i]);
	close_object(out);
	open_object(out, "why");
	for (int i = 1; i < TL_WHYS; i++)
		if (usage.why[i])
			number(out, why_names[i], usage.why[i]);
	close_object(out);
	number(out, "connections", usage.conns);
	number(out, "held", usage.held);
	number(out, "table_full", usage.full);
	tl_worker_gates(worker, out);
	close_object(out);
}

static void put_uprobes(const struct tl_worker *worker, struct tl_buf *out)
{
	struct tl_learn_usage usage;

	tl_learn_usage(worker->learn, &usage);
	open_object(out, "uprobes");
	text(out, "sets", worker->settings->uprobes);
	number(out, "attached", usage.attached);
	number(out, "failed", usage.failed);
	if (usage.last_error)
		text(out, "last_error", strerror(-usage.last_error));
	number(out, "units_refused", usage.refused);
	close_object(out);
}

/* A mean that forgets in half a minute. */
static void measure_rate(struct tl_worker *worker)
{
	uint64_t now = tl_mono_ns(), passed = now - worker->rate_ns, rate;

	if (worker->rate_ns && passed < TL_SEC / 2)
		return;
	if (worker->rate_ns) {
		rate = (uint64_t)((double)(worker->log_usage.end - worker->rate_end) * 1e9 /
				  (double)passed);
		worker->log_rate = (worker->log_rate * 29 + rate) / 30;
	}
	worker->rate_ns = now;
	worker->rate_end = worker->log_usage.end;
}

uint64_t tl_worker_outage_seconds(const struct tl_worker *worker)
{
	const struct tl_log_usage *usage = &worker->log_usage;
	uint64_t unread = usage->end - usage->oldest_unread;

	if (worker->log_rate == 0)
		return UINT64_MAX;
	return unread < usage->max_bytes ? (usage->max_bytes - unread) / worker->log_rate : 0;
}

static void put_log(struct tl_worker *worker, struct tl_buf *out)
{
	const struct tl_log_usage *usage = &worker->log_usage;

	if (worker->log) {
		tl_log_usage(worker->log, &worker->log_usage);
		measure_rate(worker);
	}
	open_object(out, "log");
	number(out, "used_bytes", usage->used_bytes);
	number(out, "max_bytes", usage->max_bytes);
	number(out, "unread_bytes", usage->end - usage->oldest_unread);
	number(out, "full", worker->counters.log_full);
	number(out, "bytes_per_second", worker->log_rate);
	if (tl_worker_outage_seconds(worker) != UINT64_MAX)
		number(out, "outage_seconds", tl_worker_outage_seconds(worker));
	close_object(out);
}

static void put_forward(struct tl_worker *worker, struct tl_buf *out)
{
	const struct tl_forward_usage *usage = &worker->forward_usage;

	if (!worker->settings->kafka.brokers)
		return;
	if (worker->forward)
		tl_forward_usage(worker->forward, &worker->forward_usage);
	open_object(out, "kafka");
	text(out, "brokers", worker->settings->kafka.brokers);
	tl_json_key(out, "connected");
	tl_buf_puts(out, usage->connected ? "true" : "false");
	number(out, "records", usage->records);
	number(out, "in_flight", usage->in_flight);
	number(out, "retries", usage->retries);
	number(out, "dropped", usage->dropped);
	text(out, "last_error", usage->last_error);
	close_object(out);
}

void tl_worker_status_write(struct tl_worker *worker, bool stopping)
{
	struct tl_buf *out = &worker->scratch;
	char path[4096], when[TL_TIME_LEN + 1];

	tl_buf_clear(out);
	tl_time_format(tl_wall_ns(), when);
	tl_buf_putc(out, '{');
	text(out, "time", when);
	text(out, "version", TL_VERSION);
	number(out, "pid", (uint64_t)getpid());
	text(out, "state", stopping ? "stopped" : "running");
	text(out, "backend", worker->options->backend);
	text(out, "backend_why", worker->options->backend_why);
	text(out, "ring", worker->options->ring);
	number(out, "ring_bytes", tl_ring_size(worker->ring));
	number(out, "ring_pending_bytes", tl_ring_pending(worker->ring));
	put_totals(worker, out);
	put_log(worker, out);
	put_forward(worker, out);
	put_correlation(worker, out);
	put_uprobes(worker, out);
	put_streams(worker, out);
	tl_buf_puts(out, "}\n");
	snprintf(path, sizeof(path), "%s/status.json", worker->settings->state_dir);
	(void)tl_file_replace(path, tl_buf_span(out), false, NULL);
}
