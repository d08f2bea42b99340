/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's Prometheus families. The collector runs in the metrics server's thread and reads
 * counters that the worker's thread writes: each is one aligned word, and what it is told of log
 * and broker is of the last second. The families of streams are made by the worker once a second,
 * because only it may walk the table; a lock hands the text over. */
#include "agent/worker_internal.h"

#include <pthread.h>

#include "userspace/base/metrics.h"
#include "version.h"

#define STREAMS_SHOWN 1000

static const char *const how_names[] = TL_HOW_NAMES;
static const char *const why_names[] = TL_WHY_NAMES;
static const char *const cause_names[] = TL_CAUSE_NAMES;

static pthread_mutex_t streams_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tl_buf streams_text; /* under the lock */

static void family(struct tl_buf *out, const char *name, const char *type, const char *help)
{
	tl_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void simple(struct tl_buf *out, const char *name, const char *type, const char *help,
		   uint64_t value)
{
	family(out, name, type, help);
	tl_buf_printf(out, "%s %llu\n", name, (unsigned long long)value);
}

/* --- per stream, in the worker's thread --- */

static void stream_labels(struct tl_buf *out, const struct tl_stream_info *stream)
{
	static const char *const kinds[] = {"file", "pipe", "tty", "unix", "other"};

	tl_buf_printf(out, "stream=\"%llx\",kind=\"%s\",path=\"",
		      (unsigned long long)stream->number,
		      kinds[stream->kind < ARRAY_SIZE(kinds) ? stream->kind : 4]);
	tl_metrics_label(out, tl_span_str(stream->path));
	tl_buf_putc(out, '"');
}

static uint64_t seen(const struct tl_stream_info *stream)
{
	return stream->next_offset;
}

static uint64_t delivered(const struct tl_stream_info *stream)
{
	return stream->delivered_bytes;
}

static uint64_t open_bytes(const struct tl_stream_info *stream)
{
	return stream->next_offset - stream->delivered_bytes - stream->gap_bytes;
}

static uint64_t gaps(const struct tl_stream_info *stream)
{
	return stream->gap_bytes;
}

static uint64_t blind(const struct tl_stream_info *stream)
{
	return stream->blind_bytes;
}

/* Calls `each` for the log streams that are shown. */
static void for_streams(struct tl_worker *worker, struct tl_buf *out,
			void (*each)(struct tl_buf *out, const struct tl_stream_info *stream,
				     const void *arg),
			const void *arg)
{
	struct tl_stream_info *stream;
	size_t iter = 0, shown = 0;

	while (shown < STREAMS_SHOWN && (stream = tl_streams_next(worker->streams, &iter)))
		if (stream->verdict == TL_VERDICT_LOG) {
			each(out, stream, arg);
			shown++;
		}
}

struct stream_family {
	const char *name, *type, *help;
	uint64_t (*value)(const struct tl_stream_info *stream);
};

static void put_value(struct tl_buf *out, const struct tl_stream_info *stream, const void *arg)
{
	const struct stream_family *of = arg;

	tl_buf_printf(out, "%s{", of->name);
	stream_labels(out, stream);
	tl_buf_printf(out, "} %llu\n", (unsigned long long)of->value(stream));
}

static void put_causes(struct tl_buf *out, const struct tl_stream_info *stream, const void *arg)
{
	(void)arg;
	for (int i = 0; i < TL_CAUSES; i++) {
		if (!stream->gaps[i])
			continue;
		tl_buf_puts(out, "tapline_agent_stream_dropped_bytes_total{");
		stream_labels(out, stream);
		tl_buf_printf(out, ",cause=\"%s\"} %llu\n", cause_names[i],
			      (unsigned long long)stream->gaps[i]);
	}
}

/* A family without a sample is left out. */
static void put_stream_causes(struct tl_worker *worker, struct tl_buf *out)
{
	size_t before = out->len, head;

	family(out, "tapline_agent_stream_dropped_bytes_total", "counter",
	       "Lost bytes of a stream by cause, since the worker started.");
	head = out->len;
	for_streams(worker, out, put_causes, NULL);
	if (out->len == head)
		out->len = before;
}

void tl_worker_metrics_streams(struct tl_worker *worker)
{
	static const struct stream_family families[] = {
		{"tapline_agent_stream_seen_bytes_total", "counter",
		 "Bytes of a stream, lost ones included.", seen},
		{"tapline_agent_stream_delivered_bytes_total", "counter",
		 "Bytes of a stream in records.", delivered},
		{"tapline_agent_stream_gap_bytes_total", "counter",
		 "Bytes of a stream told as lost by gap records.", gaps},
		{"tapline_agent_stream_blind_bytes_total", "counter",
		 "Bytes moved into a stream unseen (sendfile, splice): part of no record or gap.",
		 blind},
		{"tapline_agent_stream_open_bytes", "gauge",
		 "Bytes of a stream in lines that are not finished.", open_bytes},
	};
	struct tl_buf *out = &streams_text;

	pthread_mutex_lock(&streams_lock);
	tl_buf_clear(out);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		family(out, families[i].name, families[i].type, families[i].help);
		for_streams(worker, out, put_value, &families[i]);
	}
	put_stream_causes(worker, out);
	tl_worker_gate_metrics(worker, out);
	pthread_mutex_unlock(&streams_lock);
}

/* --- totals, in the server's thread --- */

static void put_info(const struct tl_worker *worker, struct tl_buf *out)
{
	family(out, "tapline_agent_info", "gauge",
	       "What runs, which hook and ring it uses, and why that hook.");
	tl_buf_printf(out, "tapline_agent_info{version=\"%s\",backend=\"%s\",ring=\"%s\",why=\"",
		      TL_VERSION, worker->options->backend, worker->options->ring);
	tl_metrics_label(out, tl_span_str(worker->options->backend_why));
	tl_buf_puts(out, "\"} 1\n");
}

static void put_bytes(const struct tl_worker *worker, struct tl_buf *out)
{
	simple(out, "tapline_agent_seen_bytes_total", "counter",
	       "Bytes that tapped processes wrote to logs.", tl_worker_seen_bytes(worker));
	simple(out, "tapline_agent_received_bytes_total", "counter",
	       "Log bytes taken off the ring.", worker->counters.log_bytes);
	simple(out, "tapline_agent_records_total", "counter",
	       "Records appended to the local log, gap records too.",
	       worker->counters.records + worker->counters.gaps);
	simple(out, "tapline_agent_blind_bytes_total", "counter",
	       "Bytes moved to logs by calls whose payload is not seen.",
	       worker->stats.blind_bytes);
	simple(out, "tapline_agent_gap_bytes_total", "counter", "Lost bytes told by gap records.",
	       worker->counters.gap_bytes);
	simple(out, "tapline_agent_http_exchanges_total", "counter", "HTTP exchanges seen.",
	       worker->counters.exchanges);
}

static void put_dropped(const struct tl_worker *worker, struct tl_buf *out)
{
	family(out, "tapline_agent_dropped_bytes_total", "counter",
	       "Log bytes not captured, by cause.");
	for (int i = 0; i < TL_CAUSES; i++)
		tl_buf_printf(out, "tapline_agent_dropped_bytes_total{cause=\"%s\"} %llu\n",
			      cause_names[i], (unsigned long long)tl_worker_lost_bytes(worker, i));
	family(out, "tapline_agent_dropped_events_total", "counter",
	       "Events not captured, by cause.");
	for (int i = 0; i < TL_CAUSES; i++)
		tl_buf_printf(out, "tapline_agent_dropped_events_total{cause=\"%s\"} %llu\n",
			      cause_names[i],
			      (unsigned long long)(worker->stats.lost_events[i] +
						   worker->stats.lost_wire[i]));
}

static void put_correlation(const struct tl_worker *worker, struct tl_buf *out)
{
	struct tl_corr_usage usage;

	tl_corr_usage(worker->corr, &usage);
	family(out, "tapline_agent_lines_total", "counter",
	       "Lines by how their request id is known.");
	for (int i = 0; i < TL_HOWS; i++)
		tl_buf_printf(out, "tapline_agent_lines_total{how=\"%s\"} %llu\n", how_names[i],
			      (unsigned long long)usage.how[i]);
	family(out, "tapline_agent_uncorrelated_lines_total", "counter",
	       "Lines without an id, by why.");
	for (int i = 1; i < TL_WHYS; i++)
		tl_buf_printf(out, "tapline_agent_uncorrelated_lines_total{why=\"%s\"} %llu\n",
			      why_names[i], (unsigned long long)usage.why[i]);
	simple(out, "tapline_agent_gate_contradictions_total", "counter",
	       "Responses that spoke against the thread rule.", usage.contradicts);
}

static void put_log(const struct tl_worker *worker, struct tl_buf *out)
{
	const struct tl_log_usage *usage = &worker->log_usage;

	simple(out, "tapline_agent_ring_pending_bytes", "gauge", "Bytes waiting in the ring.",
	       tl_ring_pending(worker->ring));
	simple(out, "tapline_agent_ring_size_bytes", "gauge", "Size of the ring.",
	       tl_ring_size(worker->ring));
	simple(out, "tapline_agent_log_unread_bytes", "gauge",
	       "Bytes of the local log that nobody has taken yet.",
	       usage->end - usage->oldest_unread);
	simple(out, "tapline_agent_log_max_bytes", "gauge", "Most that the local log may hold.",
	       usage->max_bytes);
	simple(out, "tapline_agent_log_full_total", "counter",
	       "Appends that waited because the local log was full.", worker->counters.log_full);
}

static void put_uprobes(const struct tl_worker *worker, struct tl_buf *out)
{
	struct tl_learn_usage usage;

	tl_learn_usage(worker->learn, &usage);
	simple(out, "tapline_agent_uprobes_attached_total", "counter",
	       "Uprobes put into tapped processes.", usage.attached);
	simple(out, "tapline_agent_uprobes_failed_total", "counter",
	       "Uprobes that could not be put in: less is known of their processes.",
	       usage.failed);
	simple(out, "tapline_agent_units_refused_total", "counter",
	       "Processes whose execution unit cannot be read: lines say unit-unknown.",
	       usage.refused);
}

static void put_kafka(const struct tl_worker *worker, struct tl_buf *out)
{
	const struct tl_forward_usage *usage = &worker->forward_usage;

	if (!worker->settings->kafka.brokers)
		return;
	simple(out, "tapline_agent_kafka_connected", "gauge", "1 while the broker takes records.",
	       usage->connected);
	simple(out, "tapline_agent_kafka_records_total", "counter",
	       "Records acknowledged by the broker.", usage->records);
	simple(out, "tapline_agent_kafka_in_flight", "gauge", "Records sent and not acknowledged.",
	       usage->in_flight);
	simple(out, "tapline_agent_kafka_failures_total", "counter",
	       "Deliveries that failed and were sent again.", usage->failures);
	simple(out, "tapline_agent_kafka_dropped_records_total", "counter",
	       "Records that the broker can never take.", usage->dropped);
}

void tl_worker_metrics(void *arg, struct tl_buf *out)
{
	const struct tl_worker *worker = arg;

	put_info(worker, out);
	put_bytes(worker, out);
	put_dropped(worker, out);
	put_correlation(worker, out);
	put_log(worker, out);
	put_uprobes(worker, out);
	put_kafka(worker, out);
	pthread_mutex_lock(&streams_lock);
	tl_buf_add(out, streams_text.data, streams_text.len);
	pthread_mutex_unlock(&streams_lock);
}
