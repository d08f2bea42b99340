/* SPDX-License-Identifier: Apache-2.0 */
/* One table says which header carries an id, how strong its trace id is, and which function reads
 * its grammar. Reading serves twice: it decides whether a value is kept, and it gives the trace id
 * when all headers are there. Raw values stay as they came; only `trace_id`, `span_id` and
 * `trace_flags` are normalised. */
#include "agent/correlate/ids.h"

#include <errno.h>

#include "agent/correlate/id_formats.h"

static const struct tl_id_format formats[] = {
	/* Request ids, the usual names first. */
	{"x-request-id", TL_ID_REQUEST, 0, tl_id_read_opaque},
	{"x-correlation-id", TL_ID_REQUEST, 0, tl_id_read_opaque},
	{"correlation-id", TL_ID_REQUEST, 0, tl_id_read_opaque},
	{"request-id", TL_ID_REQUEST, 0, tl_id_read_request_id},
	{"x-trace-id", TL_ID_REQUEST, 0, tl_id_read_opaque},
	{"x-transaction-id", TL_ID_REQUEST, 0, tl_id_read_opaque},
	{"kong-request-id", TL_ID_REQUEST, 0, tl_id_read_opaque},
	{"x-kong-request-id", TL_ID_REQUEST, 0, tl_id_read_opaque},
	/* Trace contexts, the strongest first. */
	{"traceparent", TL_ID_TRACE, 12, tl_id_read_traceparent},
	{"b3", TL_ID_TRACE, 11, tl_id_read_b3},
	{"x-b3-traceid", TL_ID_TRACE, 10, tl_id_read_b3_trace},
	{"uber-trace-id", TL_ID_TRACE, 9, tl_id_read_uber},
	{"x-datadog-trace-id", TL_ID_TRACE, 8, tl_id_read_datadog},
	{"x-amzn-trace-id", TL_ID_TRACE, 7, tl_id_read_amazon},
	{"x-cloud-trace-context", TL_ID_TRACE, 6, tl_id_read_cloud},
	{"elastic-apm-traceparent", TL_ID_TRACE, 5, tl_id_read_traceparent},
	{"sentry-trace", TL_ID_TRACE, 4, tl_id_read_sentry},
	{"grpc-trace-bin", TL_ID_TRACE, 3, tl_id_read_grpc_trace},
	{"ot-tracer-traceid", TL_ID_TRACE, 2, tl_id_read_b3_trace},
	{"request-id", TL_ID_TRACE, 1, tl_id_read_hierarchical_trace},
	/* Parts of the contexts above. */
	{"x-b3-spanid", TL_ID_OTHER, 0, tl_id_read_b3_span},
	{"x-datadog-parent-id", TL_ID_OTHER, 0, tl_id_read_datadog_span},
	{"x-datadog-tags", TL_ID_OTHER, 0, tl_id_read_datadog_tags},
	/* Formats of their own, kept as they are. */
	{"ot-tracer-spanid", TL_ID_OTHER, 0, tl_id_read_b3_span},
	{"sw8", TL_ID_OTHER, 0, tl_id_read_skywalking},
	{"request-id", TL_ID_OTHER, 0, tl_id_read_hierarchical},
	{"newrelic", TL_ID_OTHER, 0, tl_id_read_opaque},
	{"cf-ray", TL_ID_OTHER, 0, tl_id_read_cf_ray},
	{"x-amz-cf-id", TL_ID_OTHER, 0, tl_id_read_opaque},
	{"x-ms-request-id", TL_ID_OTHER, 0, tl_id_read_opaque},
};

#define N_FORMATS (sizeof(formats) / sizeof(formats[0]))

/* Stand where the header's name would, for `correlation.source`. */
static const char generated[] = "generated", inherited[] = "inherited";

void tl_ids_init(struct tl_ids *ids)
{
	ids->n = 0;
	ids->dropped = 0;
	ids->primary = -1;
	ids->trace_id[0] = ids->span_id[0] = '\0';
	ids->trace_flags = -1;
	ids->traceparents = 0;
}

static const struct tl_id_format *find_format(struct tl_span name)
{
	for (size_t i = 0; i < N_FORMATS; i++)
		if (strlen(formats[i].name) == name.len && tl_span_ieq(name, formats[i].name))
			return &formats[i];
	return NULL;
}

/* The next reading of the same header. */
static const struct tl_id_format *next_format(const struct tl_id_format *format)
{
	for (const struct tl_id_format *f = format + 1; f < formats + N_FORMATS; f++)
		if (strcmp(f->name, format->name) == 0)
			return f;
	return NULL;
}

/* The one by which an id was read. */
static const struct tl_id_format *format_of(const struct tl_id *id)
{
	const struct tl_id_format *format = find_format(tl_span_str(id->header));

	while (format && format->kind != id->kind)
		format = next_format(format);
	return format;
}

bool tl_id_known(struct tl_span name)
{
	return find_format(name) != NULL;
}

static struct tl_span value_of(const struct tl_id *id)
{
	return (struct tl_span){id->value, id->len};
}

static struct tl_id *find_id(struct tl_ids *ids, const char *header, bool response)
{
	for (uint32_t i = 0; i < ids->n; i++)
		if (ids->id[i].response == response && strcmp(ids->id[i].header, header) == 0)
			return &ids->id[i];
	return NULL;
}

/* A second header of the same name: flagged, and not kept. Returns true when that settles it; an
 * echo of the request's own value on the response adds nothing either. */
static bool seen_already(struct tl_ids *ids, const struct tl_id_format *format,
			 struct tl_span value, bool response)
{
	struct tl_id *same = find_id(ids, format->name, response);

	if (same) {
		same->duplicate = true;
		return true;
	}
	same = response ? find_id(ids, format->name, false) : NULL;
	return same && tl_id_same(value_of(same), value);
}

int tl_ids_header(struct tl_ids *ids, struct tl_span name, struct tl_span value, bool response)
{
	const struct tl_id_format *format = find_format(name);
	struct tl_id_trace trace = {.flags = -1};
	struct tl_id *id;

	if (!format)
		return 0;
	if (strcmp(format->name, "traceparent") == 0 && !response)
		ids->traceparents++;
	if (format->read == tl_id_read_b3 && tl_id_b3_is_flag(value))
		return 0;
	while (format && !format->read(&value, &trace))
		format = next_format(format);
	/* What it was narrowed to counts. */
	if (!format || value.len > TL_ID_VALUE_MAX - 1)
		return -EINVAL;
	if (seen_already(ids, format, value, response))
		return 0;
	if (ids->n == TL_IDS_MAX) {
		ids->dropped++;
		return 0;
	}
	id = &ids->id[ids->n++];
	*id = (struct tl_id){.header = format->name, .kind = format->kind, .response = response};
	id->len = (uint16_t)value.len;
	memcpy(id->value, value.data, value.len);
	return 1;
}

/* More than one traceparent: which one is meant cannot be known, and the specification's tests
 * expect none to be used. */
static void reject_traceparents(struct tl_ids *ids)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < ids->n; i++) {
		if (!ids->id[i].response && strcmp(ids->id[i].header, "traceparent") == 0)
			continue;
		if (kept != i)
			ids->id[kept] = ids->id[i];
		kept++;
	}
	ids->n = kept;
}

/* Reads the value of another header that belongs to the same context, when it came. */
static void add_part(const struct tl_ids *ids, const char *header, struct tl_id_trace *trace)
{
	const struct tl_id *id = find_id((struct tl_ids *)ids, header, false);
	const struct tl_id_format *format = id ? find_format(tl_span_str(header)) : NULL;
	struct tl_span value;

	if (!format)
		return;
	value = value_of(id);
	format->read(&value, trace);
}

static void settle_trace(struct tl_ids *ids, const struct tl_id *id,
			 const struct tl_id_format *format)
{
	struct tl_id_trace trace = {.flags = -1};
	struct tl_span value = value_of(id);

	if (!format->read(&value, &trace))
		return;
	if (format->read == tl_id_read_b3_trace && !id->response)
		add_part(ids,
			 strcmp(id->header, "x-b3-traceid") == 0 ? "x-b3-spanid"
								 : "ot-tracer-spanid",
			 &trace);
	if (format->read == tl_id_read_datadog && !id->response) {
		add_part(ids, "x-datadog-parent-id", &trace);
		add_part(ids, "x-datadog-tags", &trace);
	}
	memcpy(ids->trace_id, trace.id, sizeof(ids->trace_id));
	memcpy(ids->span_id, trace.span, sizeof(ids->span_id));
	ids->trace_flags = trace.flags;
}

/* The strongest trace context: the request's before the response's, then by the table. */
static void pick_trace(struct tl_ids *ids)
{
	const struct tl_id *best = NULL;
	const struct tl_id_format *best_format = NULL;
	int best_score = -1;

	for (uint32_t i = 0; i < ids->n; i++) {
		const struct tl_id *id = &ids->id[i];
		const struct tl_id_format *format = format_of(id);
		int score = format && format->kind == TL_ID_TRACE
				    ? format->strength + (id->response ? 0 : 100)
				    : -1;

		if (score <= best_score)
			continue;
		best = id;
		best_format = format;
		best_score = score;
	}
	if (best)
		settle_trace(ids, best, best_format);
}

/* Ids that lines already carry must not change when the response brings more: what came with the
 * request wins, then a generated one that was given out, then what the response brought. */
static int primary_score(const struct tl_id *id)
{
	const struct tl_id_format *format;
	int order;

	if (id->kind >= TL_ID_GENERATED)
		return 500;
	if (id->kind != TL_ID_REQUEST && id->kind != TL_ID_TRACE)
		return -1;
	format = format_of(id);
	if (!format)
		return -1;
	order = format->kind == TL_ID_REQUEST ? 100 - (int)(format - formats) : format->strength;
	return order + (id->response ? 0 : 1000);
}

static void pick_primary(struct tl_ids *ids)
{
	int best = -1;

	ids->primary = -1;
	for (uint32_t i = 0; i < ids->n; i++) {
		int score = primary_score(&ids->id[i]);

		if (score <= best)
			continue;
		best = score;
		ids->primary = (int)i;
	}
}

void tl_ids_settle(struct tl_ids *ids)
{
	if (ids->traceparents > 1)
		reject_traceparents(ids);
	ids->trace_id[0] = ids->span_id[0] = '\0';
	ids->trace_flags = -1;
	pick_trace(ids);
	pick_primary(ids);
}

void tl_ids_add(struct tl_ids *ids, enum tl_id_kind kind, const char *header, struct tl_span value)
{
	struct tl_id *id;

	if (ids->primary >= 0 || value.len > TL_ID_VALUE_MAX)
		return;
	if (ids->n == TL_IDS_MAX) {
		ids->n--;
		ids->dropped++;
	}
	if (!header)
		header = kind == TL_ID_INHERITED ? inherited : generated;
	id = &ids->id[ids->n];
	*id = (struct tl_id){.header = header, .kind = (uint8_t)kind};
	id->len = (uint16_t)value.len;
	memcpy(id->value, value.data, value.len);
	ids->primary = (int)ids->n++;
}

bool tl_ids_has(const struct tl_ids *ids, struct tl_span value)
{
	if (!value.len)
		return false;
	if (tl_span_is(value, ids->trace_id))
		return true;
	for (uint32_t i = 0; i < ids->n; i++)
		if (tl_id_same(value_of(&ids->id[i]), value))
			return true;
	return false;
}
