/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/worker_internal.h"

#include <stdio.h>
#include <string.h>

static const char *const how_names[] = TL_HOW_NAMES;
static const char *const why_names[] = TL_WHY_NAMES;
static const char *const cause_names[] = TL_CAUSE_NAMES;

static struct tl_record *record_begin(struct tl_worker *worker, uint64_t time_ns)
{
	struct tl_record *record = &worker->record;

	tl_record_reset(record);
	tl_arena_reset(&worker->arena);
	record->observed_ns = time_ns + (uint64_t)worker->wall_offset;
	record->timestamp_ns = record->observed_ns;
	return record;
}

/* Packs `record` as entry `type` of the frame. A record that cannot be packed (memory) is counted
 * with its bytes. */
static void record_end(struct tl_worker *worker, uint16_t type, const struct tl_uid *uid,
		       uint32_t resource)
{
	size_t before = worker->frame.bytes.len;

	tl_frame_begin(&worker->frame, type);
	if (tl_entry_pack(&worker->record, uid, resource, &worker->frame.bytes) < 0) {
		worker->frame.bytes.len = before;
		worker->counters.lost[TL_LOST_MEMORY] += worker->record.body.len;
	}
	tl_frame_end(&worker->frame);
	worker->counters.record_bytes += worker->record.body.len;
}

static struct tl_span hex(struct tl_worker *worker, uint64_t value)
{
	char text[17];
	size_t at = sizeof(text);

	do {
		text[--at] = "0123456789abcdef"[value & 15];
		value >>= 4;
	} while (value);
	return tl_arena_copy(&worker->arena, (struct tl_span){text + at, sizeof(text) - at});
}

static struct tl_span ranges_text(struct tl_worker *worker, const struct tl_extent *extents,
				  size_t n)
{
	struct tl_buf *text = &worker->scratch;

	tl_buf_clear(text);
	for (size_t i = 0; i < n; i++) {
		struct tl_span from = hex(worker, extents[i].from), to = hex(worker, extents[i].to);

		if (i)
			tl_buf_putc(text, ',');
		tl_buf_add(text, from.data, from.len);
		tl_buf_putc(text, '-');
		tl_buf_add(text, to.data, to.len);
	}
	return tl_arena_copy(&worker->arena, tl_buf_span(text));
}

static void set_place(struct tl_worker *worker, const struct tl_stream_info *stream,
		      const struct tl_extent *extents, size_t n)
{
	struct tl_attrs *attributes = &worker->record.attributes;

	tl_attr_set(attributes, "stream.id", hex(worker, stream->number));
	tl_attr_set(attributes, "stream.ranges", ranges_text(worker, extents, n));
	if (stream->path[0] && stream->kind == TL_FILE_REGULAR)
		tl_attr_set(attributes, "log.file.path", tl_span_str(stream->path));
}

static void set_ids(struct tl_worker *worker, const struct tl_ids *ids)
{
	struct tl_record *record = &worker->record;
	struct tl_attrs *attributes = &record->attributes;

	if (ids->primary >= 0) {
		const struct tl_id *id = &ids->id[ids->primary];

		tl_attr_set(attributes, "correlation.id", (struct tl_span){id->value, id->len});
		tl_attr_set(attributes, "correlation.source", tl_span_str(id->header));
		/* The first of several: others are gone. */
		if (id->duplicate)
			tl_attr_set_span(attributes, TL_SPAN_LIT("correlation.duplicate"),
					 TL_SPAN_LIT("true"), TL_ATTR_LITERAL);
	}
	for (uint32_t i = 0; i < ids->n; i++) {
		const struct tl_id *id = &ids->id[i];
		struct tl_span key;

		if (id->kind >= TL_ID_GENERATED)
			continue;
		key = tl_arena_printf(&worker->arena, "http.%s.header.%s",
				      id->response ? "response" : "request", id->header);
		tl_attr_set_span(attributes, key, (struct tl_span){id->value, id->len},
				 TL_ATTR_STRING);
	}
	record->trace_id = tl_span_str(ids->trace_id);
	record->span_id = tl_span_str(ids->span_id);
	record->trace_flags = ids->trace_id[0] ? ids->trace_flags : -1;
}

static void set_attribution(struct tl_worker *worker, const struct tl_attribution *attribution)
{
	struct tl_attrs *attributes = &worker->record.attributes;

	tl_attr_set(attributes, "correlation.how", tl_span_str(how_names[attribution->how]));
	if (attribution->how == TL_HOW_NONE)
		tl_attr_set(attributes, "correlation.why",
			    tl_span_str(why_names[attribution->why]));
	if (attribution->ids)
		set_ids(worker, attribution->ids);
	if (attribution->candidate && attribution->candidate->primary >= 0) {
		const struct tl_id *id =
			&attribution->candidate->id[attribution->candidate->primary];

		tl_attr_set(attributes, "correlation.candidate",
			    (struct tl_span){id->value, id->len});
	}
}

static void set_line_flags(struct tl_worker *worker, const struct tl_line *line)
{
	static const struct {
		uint8_t flag;
		const char *name;
	} names[] = {
		{TL_LINE_PARTIAL, "log.partial"},
		{TL_LINE_SPLIT, "log.split"},
		{TL_LINE_BUFFERED, "log.batched"},
		{TL_LINE_JOINED, "log.multiline"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (line->flags & names[i].flag)
			tl_attr_set_span(&worker->record.attributes, tl_span_str(names[i].name),
					 TL_SPAN_LIT("true"), TL_ATTR_LITERAL);
}

static bool is_stderr(const struct tl_worker *worker, const struct tl_line *line,
		      const struct tl_stream_info *stream)
{
	return line->stderr_ ||
	       (stream && worker->settings->stderr_inode && stream->kind == TL_FILE_PIPE &&
		stream->file.ino == (uint64_t)worker->settings->stderr_inode);
}

/* The line is decided: its record joins the frame, the line ends. */
static void line_record(struct tl_worker *worker, struct tl_line *line,
			const struct tl_attribution *attribution)
{
	struct tl_stream_info *stream = tl_streams_get(worker->streams, line->stream);
	struct tl_record *record = record_begin(worker, line->time_ns);
	struct tl_uid uid = {worker->epoch, line->stream, line->extents[0].from};
	uint32_t resource = tl_enrich_resource(worker->enrich, &line->writer, &worker->frame);

	record->body = tl_buf_span(&line->bytes);
	if (worker->redact)
		record->body = tl_redact_apply(worker->redact, record->body, &worker->arena);
	tl_attr_set(&record->attributes, "log.iostream",
		    is_stderr(worker, line, stream) ? TL_SPAN_LIT("stderr")
						    : TL_SPAN_LIT("stdout"));
	tl_attr_set_u64(&record->attributes, &worker->arena, "thread.id", line->writer.tid);
	set_attribution(worker, attribution);
	set_line_flags(worker, line);
	if (stream) {
		set_place(worker, stream, line->extents, line->n_extents);
		for (uint32_t i = 0; i < line->n_extents; i++)
			stream->delivered_bytes += line->extents[i].to - line->extents[i].from;
		stream->records++;
		stream->dirty = true;
	}
	record_end(worker, TL_ENTRY_RECORD, &uid, resource);
	worker->counters.records++;
	tl_lines_finish(worker->lines, line);
}

void tl_worker_line_ready(void *arg, struct tl_line *line)
{
	struct tl_worker *worker = arg;
	struct tl_attribution attribution = {0};

	if (tl_corr_line(worker->corr, line, &attribution))
		line_record(worker, line, &attribution);
	else
		line->stage = TL_LINE_HELD;
}

void tl_worker_line_released(void *arg, struct tl_line *line,
			     const struct tl_attribution *attribution)
{
	line_record(arg, line, attribution);
}

void tl_worker_gap(struct tl_worker *worker, struct tl_stream_info *stream, uint64_t offset,
		   uint64_t bytes, enum tl_cause cause, uint64_t time_ns)
{
	struct tl_extent extent = {offset, offset + bytes};
	struct tl_uid uid = {worker->epoch, stream->number, offset};
	struct tl_writer writer = {.tgid = stream->last_tgid};
	struct tl_record *record = record_begin(worker, time_ns);
	uint32_t resource = tl_enrich_resource(worker->enrich, &writer, &worker->frame);

	record->severity_number = 13;
	record->severity_text = TL_SPAN_LIT("WARN");
	record->body = tl_arena_printf(&worker->arena, "tapline: %llu bytes lost here (%s)",
				       (unsigned long long)bytes, cause_names[cause]);
	tl_attr_set_u64(&record->attributes, &worker->arena, "tapline.gap.bytes", bytes);
	tl_attr_set(&record->attributes, "tapline.gap.cause", tl_span_str(cause_names[cause]));
	set_place(worker, stream, &extent, 1);
	record_end(worker, TL_ENTRY_RECORD, &uid, resource);
	stream->gap_bytes += bytes;
	stream->gaps[cause] += bytes;
	stream->dirty = true;
	worker->counters.gaps++;
	worker->counters.gap_bytes += bytes;
}

static struct tl_span address_text(struct tl_worker *worker, const struct tl_ev_wire *socket,
				   bool remote)
{
	const uint8_t *a = remote ? socket->remote_addr : socket->local_addr;
	struct tl_buf *text = &worker->scratch;

	if (socket->family == TL_SOCK_INET)
		return tl_arena_printf(&worker->arena, "%u.%u.%u.%u", a[0], a[1], a[2], a[3]);
	if (socket->family != TL_SOCK_INET6)
		return (struct tl_span){0};
	tl_buf_clear(text);
	for (int i = 0; i < 16; i += 2)
		tl_buf_printf(text, "%s%x", i ? ":" : "", a[i] << 8 | a[i + 1]);
	return tl_arena_copy(&worker->arena, tl_buf_span(text));
}

static void set_peers(struct tl_worker *worker, const struct tl_exchange *exchange)
{
	const struct tl_ev_wire *socket = exchange->socket;
	struct tl_attrs *attributes = &worker->record.attributes;
	bool server = exchange->server;

	if (!socket || socket->family == TL_SOCK_UNIX)
		return;
	tl_attr_set(attributes, "server.address", address_text(worker, socket, !server));
	tl_attr_set_u64(attributes, &worker->arena, "server.port",
			server ? socket->local_port : socket->remote_port);
	tl_attr_set(attributes, "client.address", address_text(worker, socket, server));
	tl_attr_set_u64(attributes, &worker->arena, "client.port",
			server ? socket->remote_port : socket->local_port);
}

static void set_name(struct tl_worker *worker, const char *key, const struct tl_place *place)
{
	if (tl_place_known(place))
		tl_attr_set(&worker->record.attributes, key,
			    tl_arena_printf(&worker->arena, "%016llx%016llx",
					    (unsigned long long)place->word[0],
					    (unsigned long long)place->word[1]));
}

void tl_worker_exchange(void *arg, const struct tl_exchange *exchange)
{
	struct tl_worker *worker = arg;
	struct tl_record *record = record_begin(worker, exchange->header_ns);
	struct tl_attrs *attributes = &record->attributes;
	struct tl_uid uid = {worker->epoch, exchange->connection, exchange->number};
	struct tl_writer writer = {exchange->tgid, exchange->tid, exchange->start_ns, 0, 0};
	uint32_t resource = tl_enrich_resource(worker->enrich, &writer, &worker->frame);
	uint64_t taken = exchange->end_ns > exchange->request_ns
				 ? exchange->end_ns - exchange->request_ns
				 : 0;

	record->body = tl_arena_printf(&worker->arena, "%.*s %.*s %d", (int)exchange->method.len,
				       exchange->method.data, (int)exchange->path.len,
				       exchange->path.data, exchange->status);
	tl_attr_set(attributes, "http.request.method", exchange->method);
	tl_attr_set(attributes, "url.path", exchange->path);
	if (exchange->status)
		tl_attr_set_u64(attributes, &worker->arena, "http.response.status_code",
				(uint64_t)exchange->status);
	else
		tl_attr_set(attributes, "error.type", TL_SPAN_LIT("no_response"));
	tl_attr_set_span(attributes,
			 exchange->server ? TL_SPAN_LIT("http.server.request.duration")
					  : TL_SPAN_LIT("http.client.request.duration"),
			 tl_arena_printf(&worker->arena, "%.9f", (double)taken / 1e9),
			 TL_ATTR_LITERAL);
	tl_attr_set_u64(attributes, &worker->arena, "http.request.body.size",
			exchange->request_bytes);
	tl_attr_set_u64(attributes, &worker->arena, "http.response.body.size",
			exchange->response_bytes);
	tl_attr_set(attributes, "network.direction",
		    exchange->server ? TL_SPAN_LIT("server") : TL_SPAN_LIT("client"));
	tl_attr_set_u64(attributes, &worker->arena, "thread.id", exchange->tid);
	set_peers(worker, exchange);
	if (exchange->ids)
		set_ids(worker, exchange->ids);
	set_name(worker, "correlation.hop.id", &exchange->hop);
	set_name(worker, "correlation.parent.id", &exchange->parent);
	record_end(worker, TL_ENTRY_HTTP, &uid, resource);
	worker->counters.exchanges++;
}
