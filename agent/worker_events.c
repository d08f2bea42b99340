/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/worker_internal.h"

#include <unistd.h>

#include "agent/runtimes/php.h"
#include "userspace/base/clock.h"
#include "userspace/base/map.h"
#include "userspace/base/msg.h"

#define STALE_CROWDED_NS (60 * TL_SEC)
#define FORGET_MAX 256u /* streams in one look: each is a request to the inspector */

/* The cause of a hole as the kernel noted it for the stream. */
static enum tl_cause hole_cause(struct tl_worker *worker, const struct tl_stream_info *stream)
{
	struct tl_stream kernel = {0};

	if (tl_inspect_stream(worker->options->inspector, &stream->file, &kernel) == 0 &&
	    kernel.lost_cause < TL_CAUSES)
		return (enum tl_cause)kernel.lost_cause;
	return TL_LOST_RING_FULL;
}

/* While no agent lived nobody saw what went through TLS libraries: what was seen before has lost its
 * sequel. */
static bool is_torn(const struct tl_worker *worker, const struct tl_event *event)
{
	return event->syscall_class == TL_CALL_TLS && event->time_ns < worker->started_ns;
}

/* While no agent lived nobody saw the ends of contexts: a number of that time may be of two. */
static void distrust(const struct tl_worker *worker, struct tl_event *event)
{
	if (event->unit_kind == TL_UNIT_CONTEXT && event->time_ns < worker->started_ns)
		event->unit = 0;
}

static void on_log(struct tl_worker *worker, const struct tl_ev_log *event, const char *data)
{
	uint64_t offset, hole = 0;
	struct tl_stream_info *stream = tl_streams_bytes(worker->streams, event, &offset, &hole);

	if (!stream) {
		worker->counters.ignored_bytes += event->h.len;
		return;
	}
	worker->counters.log_bytes += event->h.len;
	if (hole) {
		tl_lines_hole(worker->lines, stream->number);
		tl_worker_gap(worker, stream, offset - hole, hole, hole_cause(worker, stream),
			      event->h.time_ns);
	}
	tl_lines_bytes(worker->lines, stream, event, data, offset);
}

/* Who the process is. */
static void learn_process(struct tl_worker *worker, const struct tl_event *event)
{
	int fd = worker->options->inspector;
	_cleanup_(closep) int exe = -1;
	struct tl_proc_info info;
	uint64_t service;

	if (tl_inspect_process(fd, event->tgid, &info, &exe) < 0)
		return;
	service = tl_hash(info.exe, strlen(info.exe)) ^
		  tl_hash(info.cmdline, strlen(info.cmdline)) * 3;
	tl_corr_service(worker->corr, event->tgid, event->start_ns, service ? service : 1);
	tl_enrich_learn(worker->enrich, event->tgid, event->start_ns, &info);
	if (tl_runtime_is_serial(info.exe))
		tl_corr_serial(worker->corr, event->tgid, event->start_ns);
	tl_learn_process(worker->learn, event, info.comm, exe);
}

/* A worker that was started again meets processes of which it saw no beginning. */
static void serves(struct tl_worker *worker, const struct tl_event *event)
{
	if (tl_learn_serves(worker->learn, event))
		return;
	learn_process(worker, event);
	(void)tl_learn_serves(worker->learn, event);
}

static void on_proc(struct tl_worker *worker, const struct tl_ev_proc *event)
{
	switch (event->what) {
	case TL_PROC_SELECTED:
	case TL_PROC_EXEC:
	case TL_PROC_FORK:
		tl_enrich_seen(worker->enrich, event);
		tl_corr_proc(worker->corr, event, 0);
		learn_process(worker, &event->h);
		break;
	case TL_PROC_EXIT:
		tl_lines_exit(worker->lines, event->h.tgid, event->h.start_ns);
		tl_corr_proc(worker->corr, event, 0);
		tl_enrich_exit(worker->enrich, event->h.tgid, event->h.start_ns);
		tl_learn_exit(worker->learn, event->h.tgid);
		break;
	case TL_PROC_TLS:
		serves(worker, &event->h);
		break;
	default:
		break;
	}
}

void tl_worker_event(struct tl_worker *worker, const struct tl_event *event)
{
	worker->counters.events++;
	switch (event->type) {
	case TL_EV_LOG: {
		struct tl_ev_log log = *(const struct tl_ev_log *)event;

		distrust(worker, &log.h);
		on_log(worker, &log, (const char *)((const struct tl_ev_log *)event + 1));
		break;
	}
	case TL_EV_FILE:
		(void)tl_streams_file(worker->streams, (const struct tl_ev_file *)event);
		break;
	case TL_EV_WIRE:
	case TL_EV_SOCK: {
		struct tl_ev_wire wire = *(const struct tl_ev_wire *)event;

		if (is_torn(worker, event))
			break;
		distrust(worker, &wire.h);
		if (event->type == TL_EV_WIRE)
			serves(worker, event);
		tl_corr_wire(worker->corr, &wire,
			     (const char *)((const struct tl_ev_wire *)event + 1));
		break;
	}
	case TL_EV_CALL:
		if (event->time_ns >= worker->started_ns)
			tl_corr_call(worker->corr, (const struct tl_ev_unit *)event);
		break;
	case TL_EV_UNIT:
		if (event->time_ns >= worker->started_ns)
			tl_corr_unit(worker->corr, (const struct tl_ev_unit *)event);
		break;
	case TL_EV_PROC:
		on_proc(worker, (const struct tl_ev_proc *)event);
		break;
	default:
		break;
	}
}

/* A stream idle for so long is forgotten; where the kernel's table is more than half full, much
 * sooner: a node full of short-lived processes must not run out of room. */
static bool is_stale(const struct tl_worker *worker, const struct tl_stream_row *row, uint64_t now)
{
	uint64_t age = worker->settings->stream_age_ns;

	if (worker->n_rows > TL_STREAMS_MAX / 2 && age > STALE_CROWDED_NS)
		age = STALE_CROWDED_NS;
	return row->stream.last_ns + age < now;
}

static void read_row(struct tl_worker *worker, struct tl_stream_row *row, uint64_t now,
		     unsigned *forgotten)
{
	tl_streams_row(worker->streams, row);
	/* Under a backlog its events may still be in the ring. */
	if (worker->saw_end && *forgotten < FORGET_MAX && is_stale(worker, row, now) &&
	    tl_inspect_forget(worker->options->inspector, &row->file, &row->stream) >= 0) {
		tl_streams_forgotten(worker->streams, &row->file);
		++*forgotten;
	}
	if (row->stream.lost_bytes)
		tl_buf_add(&worker->trailing, row, sizeof(*row));
}

void tl_worker_rows_read(struct tl_worker *worker)
{
	struct tl_stream_row rows[256];
	unsigned forgotten = 0;
	uint32_t cursor = 0;
	int n;

	tl_buf_clear(&worker->trailing);
	while ((n = tl_inspect_streams(worker->options->inspector, &cursor, rows,
				       ARRAY_SIZE(rows))) > 0)
		for (int i = 0; i < n; i++)
			read_row(worker, &rows[i], tl_mono_ns(), &forgotten);
	if (n < 0)
		return;
	worker->n_rows = cursor;
	if (!worker->rows_known)
		tl_streams_forgotten_unseen(worker->streams);
	worker->rows_known = worker->rows_fresh = true;
}

void tl_worker_rows_apply(struct tl_worker *worker)
{
	size_t n = worker->trailing.len / sizeof(struct tl_stream_row);

	for (size_t i = 0; i < n; i++) {
		struct tl_stream_info *stream;
		struct tl_stream_row row;
		uint64_t offset, hole;

		memcpy(&row, worker->trailing.data + i * sizeof(row), sizeof(row));
		hole = tl_streams_trailing(worker->streams, &row, &stream, &offset);
		if (!hole)
			continue;
		tl_lines_hole(worker->lines, stream->number);
		tl_worker_gap(worker, stream, offset, hole, (enum tl_cause)row.stream.lost_cause,
			      tl_mono_ns());
	}
	tl_buf_clear(&worker->trailing);
	worker->rows_fresh = false;
	tl_streams_sweep(worker->streams);
}
