/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's parts, private to agent/worker*.c. One drain is: events -> lines -> attributions ->
 * records and state in `frame`
 * -> one append -> ring position released. */
#ifndef TL_AGENT_WORKER_INTERNAL_H
#define TL_AGENT_WORKER_INTERNAL_H

#include "agent/correlate/correlate.h"
#include "agent/enrich.h"
#include "agent/forward.h"
#include "agent/learn.h"
#include "agent/lines.h"
#include "userspace/parse/redact.h"
#include "agent/ring.h"
#include "agent/worker.h"

struct tl_worker_counters {
	uint64_t events, log_bytes, records, record_bytes, gaps, gap_bytes, exchanges, frames;
	uint64_t lost[TL_CAUSES]; /* bytes lost in user space, by cause; the kernel's are in
				     tl_stats */
	uint64_t log_full;	  /* appends that had to wait */
	uint64_t ignored_bytes;	  /* of streams decided to be no log */
};

struct tl_worker {
	const struct tl_worker_options *options;
	const struct tl_agent_settings *settings;
	char *log_dir;
	struct tl_log *log;
	struct tl_ring *ring;
	struct tl_streams *streams;
	struct tl_lines *lines;
	struct tl_corr *corr;
	struct tl_enrich *enrich;
	struct tl_learn *learn;
	struct tl_redact *redact;   /* NULL: no rules */
	struct tl_forward *forward; /* NULL: no broker */
	struct tl_control *control; /* the kernel's, mmapped */

	struct tl_frame frame;
	size_t frame_max;      /* bytes; a drain ends when the frame has so many */
	bool log_refused;      /* the last append failed for good, or until the stop */
	struct tl_arena arena; /* strings of the record being packed */
	struct tl_record record;
	struct tl_buf scratch;
	struct tl_buf trailing; /* struct tl_stream_row of streams with losses, read before the last
				   drain */
	uint32_t n_rows;	/* of the kernel's table, at the last look */
	bool rows_known, rows_fresh; /* looked at ever; and not yet followed by a drain */

	/* as last told; the metrics thread reads these, never the objects */
	struct tl_log_usage log_usage;
	struct tl_forward_usage forward_usage;
	uint64_t log_rate;	    /* bytes a second appended of late */
	uint64_t rate_ns, rate_end; /* when it was taken, and the log's end then */

	uint64_t epoch;		/* of uids */
	uint64_t maps_id;	/* of the maps that streams and ring position are of */
	uint64_t ring_position; /* as in the last frame */
	uint32_t next_resource;
	int64_t wall_offset;   /* monotonic + this = wall */
	char instance[17];     /* of minted ids */
	struct tl_stats stats; /* the kernel's, read once a second */
	struct tl_worker_counters counters;
	uint64_t started_ns, last_event_ns, next_second_ns;
	uint64_t next_deadline_ns; /* of lines and holds */
	bool saw_end;		   /* the ring was empty at the last drain */
};

/* worker_records.c: what becomes of a finished line, hole or exchange: one entry in the frame. */
void tl_worker_line_ready(void *arg, struct tl_line *line);
void tl_worker_line_released(void *arg, struct tl_line *line,
			     const struct tl_attribution *attribution);
void tl_worker_exchange(void *arg, const struct tl_exchange *exchange);
void tl_worker_gap(struct tl_worker *worker, struct tl_stream_info *stream, uint64_t offset,
		   uint64_t bytes, enum tl_cause cause, uint64_t time_ns);

/* worker_events.c: one event of the ring. */
void tl_worker_event(struct tl_worker *worker, const struct tl_event *event);
/* The kernel's table of streams, looked at once a second. Trailing loss, which no later event
 * tells: first the kernel's counters are read; then the ring is drained to its end; then what the
 * counters have more than the events told is a hole at each stream's end. Streams that were idle
 * for long are forgotten in the same two steps. */
void tl_worker_rows_read(struct tl_worker *worker);
void tl_worker_rows_apply(struct tl_worker *worker);

/* worker_state.c: recovery and what a frame carries besides records. */
int tl_worker_recover(struct tl_worker *worker, struct tl_error *error);
void tl_worker_save(struct tl_worker *worker, bool all);
void tl_worker_checkpoint(void *arg, struct tl_log *log);

/* worker_status.c: the status file. */
void tl_worker_status_write(struct tl_worker *worker, bool stopping);
/* Bytes that selected processes wrote to logs; lost ones included. */
uint64_t tl_worker_seen_bytes(const struct tl_worker *worker);
uint64_t tl_worker_lost_bytes(const struct tl_worker *worker, int cause);
/* How long the local log can still take what comes while nobody empties it; UINT64_MAX nothing
 * comes. */
uint64_t tl_worker_outage_seconds(const struct tl_worker *worker);

/* worker_gates.c: the rules of each service, their evidence and their lines, for people: a member of
 * the status file's object `correlation`, and families of Prometheus text. */
void tl_worker_gates(const struct tl_worker *worker, struct tl_buf *out);
void tl_worker_gate_metrics(const struct tl_worker *worker, struct tl_buf *out);

/* worker_metrics.c: Prometheus text. The first is the collector, called in the server's thread; the
 * second makes, once a second and in the worker's thread, what needs the stream table. */
void tl_worker_metrics(void *arg, struct tl_buf *out);
void tl_worker_metrics_streams(struct tl_worker *worker);

#endif
