/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/stream/pipeline.h"

#include <stdio.h>

#include "userspace/base/clock.h"
#include "userspace/base/metrics.h"
#include "userspace/parse/parser.h"
#include "userspace/parse/redact.h"
#include "userspace/stream/count.h"
#include "userspace/stream/filter.h"

#define ROUTE_MAX 128

struct tl_pipeline {
	int (*output)(void *arg, const struct tl_message *message, const struct tl_record *record);
	void *arg;
	const struct tl_parser_ops *parser;
	struct tl_rules *services, *drop, *set;
	struct tl_redact *redact;
	struct tl_count *count;
	struct tl_record record;
	struct tl_arena arena;
	struct tl_buf json;
};

static struct tl_metric parsed = {.name = "tapline_stream_records_total",
				  .help = "Records that were parsed and passed on.",
				  .type = TL_COUNTER};
static struct tl_metric dropped = {.name = "tapline_stream_dropped_records_total",
				   .help = "Records that a drop rule matched.",
				   .type = TL_COUNTER,
				   .labels = "reason=\"rule\""};
static struct tl_metric dead = {.name = "tapline_stream_dead_letters_total",
				.help = "Inputs that are no records, sent to the dead letters.",
				.type = TL_COUNTER};

static void register_metrics(void)
{
	static bool once;

	if (once)
		return;
	once = true;
	tl_metric_register(&parsed);
	tl_metric_register(&dropped);
	tl_metric_register(&dead);
}

static int check_services(const struct tl_pipeline_options *options, struct tl_error *error)
{
	for (size_t i = 0; i < options->n_services; i++) {
		const char *equals = strchr(options->services[i], '=');

		if (equals && !tl_parser_find(equals + 1))
			return tl_error_set(error, -EINVAL,
					    "service-parser `%s`: there is no parser %s",
					    options->services[i], equals + 1);
	}
	return 0;
}

int tl_pipeline_new(const struct tl_pipeline_options *options, struct tl_pipeline **ret_pipeline,
		    struct tl_error *error)
{
	struct tl_pipeline *pipeline = calloc(1, sizeof(*pipeline));
	int r;

	if (!pipeline)
		return tl_error_set(error, -ENOMEM, "no memory for the pipeline");
	register_metrics();
	pipeline->output = options->output;
	pipeline->arg = options->arg;
	pipeline->parser = tl_parser_find(options->parser ? options->parser : "auto");
	pipeline->count = tl_count_new(options->max_series, options->window_ns);
	if (!pipeline->parser)
		r = tl_error_set(error, -EINVAL,
				 "there is no parser `%s`: auto, json, access, logfmt, raw",
				 options->parser);
	else if (!pipeline->count)
		r = tl_error_set(error, -ENOMEM, "no memory for the counts");
	else if ((r = check_services(options, error)) == 0 &&
		 (r = tl_rules_new("service-parser", options->services, options->n_services,
				   &pipeline->services, error)) == 0 &&
		 (r = tl_rules_new("drop", options->drop, options->n_drop, &pipeline->drop,
				   error)) == 0 &&
		 (r = tl_rules_new("set", options->set, options->n_set, &pipeline->set, error)) ==
			 0)
		r = tl_redact_new(options->redact, options->n_redact, &pipeline->redact, error);
	if (r < 0) {
		tl_pipeline_free(pipeline);
		return r;
	}
	*ret_pipeline = pipeline;
	return 0;
}

void tl_pipeline_free(struct tl_pipeline *pipeline)
{
	if (!pipeline)
		return;
	tl_rules_free(pipeline->services);
	tl_rules_free(pipeline->drop);
	tl_rules_free(pipeline->set);
	tl_redact_free(pipeline->redact);
	tl_count_free(pipeline->count);
	tl_arena_done(&pipeline->arena);
	tl_buf_done(&pipeline->json);
	free(pipeline);
}

static void add_header(struct tl_message *message, const char *key, struct tl_span value)
{
	if (message->n_headers < TL_HEADERS_MAX)
		message->headers[message->n_headers++] =
			(struct tl_header){tl_span_str(key), value};
}

/* The input as it came, with the reason and where it came from. */
static int dead_letter(struct tl_pipeline *pipeline, const struct tl_message *in,
		       const char *reason)
{
	static const char *const topics[] = TL_TOPIC_NAMES;
	struct tl_message out = *in;

	out.topic = TL_TOPIC_DLQ;
	out.partition = -1;
	if (out.n_headers > TL_HEADERS_MAX - 5)
		out.n_headers = TL_HEADERS_MAX - 5;
	add_header(&out, "tapline-reason", tl_span_str(reason));
	add_header(&out, "tapline-stage", TL_SPAN_LIT("parse"));
	add_header(&out, "tapline-topic", tl_span_str(topics[in->topic]));
	add_header(&out, "tapline-partition",
		   tl_arena_printf(&pipeline->arena, "%d", in->partition));
	add_header(&out, "tapline-offset",
		   tl_arena_printf(&pipeline->arena, "%lld", (long long)in->offset));
	tl_metric_add(&dead, 1);
	return pipeline->output(pipeline->arg, &out, NULL);
}

static struct tl_span value_of(const struct tl_attrs *attrs, const char *key)
{
	const struct tl_attr *attr = tl_attr_get(attrs, key);

	return attr ? attr->value : (struct tl_span){0};
}

static void parse(struct tl_pipeline *pipeline, struct tl_record *record)
{
	const char *name =
		tl_rules_find(pipeline->services, value_of(&record->resource, "service.name"));
	const struct tl_parser_ops *parser = name ? tl_parser_find(name) : pipeline->parser;

	if (tl_attr_get(&record->attributes, "tapline.gap.bytes"))
		return;
	(void)parser->parse(record, &pipeline->arena);
}

static void redact(struct tl_pipeline *pipeline, struct tl_record *record)
{
	struct tl_attrs *attributes = &record->attributes;

	if (!pipeline->redact)
		return;
	record->body = tl_redact_apply(pipeline->redact, record->body, &pipeline->arena);
	for (uint32_t i = 0; i < attributes->n; i++)
		if (attributes->items[i].type == TL_ATTR_STRING)
			attributes->items[i].value = tl_redact_apply(
				pipeline->redact, attributes->items[i].value, &pipeline->arena);
}

static double number_of(struct tl_span text)
{
	char copy[32];
	size_t len = text.len < sizeof(copy) - 1 ? text.len : sizeof(copy) - 1;

	if (!text.data)
		return 0;
	memcpy(copy, text.data, len);
	copy[len] = 0;
	return strtod(copy, NULL);
}

static int count_record(struct tl_pipeline *pipeline, const struct tl_record *record)
{
	const char *severity = tl_severity_range(record->severity_number);
	const struct tl_attr *gap = tl_attr_get(&record->attributes, "tapline.gap.bytes");
	const struct tl_label labels[] = {
		{"service.name", value_of(&record->resource, "service.name")},
		{"severity_text", tl_span_str(severity[0] ? severity : "UNSET")},
	};

	/* A gap is no line: it has a name of its own, so that log.records is the lines. */
	if (gap)
		return tl_count_add(pipeline->count, "log.gaps", labels, 1, record->observed_ns,
				    number_of(gap->value), false);
	return tl_count_add(pipeline->count, "log.records", labels, ARRAY_SIZE(labels),
			    record->observed_ns, (double)record->body.len, false);
}

static int raw_message(struct tl_pipeline *pipeline, const struct tl_message *in)
{
	struct tl_record *record = &pipeline->record;
	struct tl_message out = *in;
	struct tl_error error = {0};
	int r = tl_record_from_json(in->value, &pipeline->arena, record, &error);

	if (r < 0)
		return dead_letter(pipeline, in, error.message[0] ? error.message : "not a record");
	parse(pipeline, record);
	tl_rules_set(pipeline->set, record);
	if (pipeline->drop && tl_rules_match(pipeline->drop, record)) {
		tl_metric_add(&dropped, 1);
		return 0;
	}
	redact(pipeline, record);
	tl_buf_clear(&pipeline->json);
	r = tl_record_to_json(record, &pipeline->json);
	if (r < 0)
		return dead_letter(pipeline, in, "the parsed record is too large");
	r = count_record(pipeline, record);
	if (r < 0)
		return r;
	out.topic = TL_TOPIC_LOGS;
	out.partition = -1;
	out.value = tl_buf_span(&pipeline->json);
	r = pipeline->output(pipeline->arg, &out, record);
	/* A hostile line grows by parsing (escapes, fields): it must not stop the worker for ever.
	 */
	if (r == -EMSGSIZE)
		return dead_letter(pipeline, in, "the parsed record is too large");
	if (r == 0)
		tl_metric_add(&parsed, 1);
	return r;
}

static bool is_id(struct tl_span segment)
{
	size_t digits = 0, hex = 0;

	for (size_t i = 0; i < segment.len; i++) {
		char c = segment.data[i];

		digits += c >= '0' && c <= '9';
		hex += (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') ||
		       c == '-';
	}
	return digits == segment.len || (digits && hex == segment.len && segment.len >= 8);
}

/* The path with segments that look like ids replaced, so that the number of series stays small. */
static struct tl_span route_of(struct tl_span path, char out[ROUTE_MAX])
{
	size_t n = 0, at = 0;

	while (at < path.len && n < ROUTE_MAX - 8) {
		const char *slash = memchr(path.data + at, '/', path.len - at);
		struct tl_span segment = {path.data + at,
					  slash ? (size_t)(slash - path.data) - at : path.len - at};
		struct tl_span put = segment.len && is_id(segment) ? TL_SPAN_LIT("{id}") : segment;

		if (put.len > ROUTE_MAX - 8 - n)
			put.len = ROUTE_MAX - 8 - n;
		memcpy(out + n, put.data, put.len);
		n += put.len;
		at += segment.len;
		if (slash) {
			out[n++] = '/';
			at++;
		}
	}
	return (struct tl_span){out, n};
}

static int http_message(struct tl_pipeline *pipeline, const struct tl_message *in)
{
	struct tl_record *record = &pipeline->record;
	struct tl_error error = {0};
	char route[ROUTE_MAX];
	int r = tl_record_from_json(in->value, &pipeline->arena, record, &error);
	const struct tl_attrs *attributes = &record->attributes;

	if (r < 0)
		return dead_letter(pipeline, in, error.message[0] ? error.message : "not a record");
	if (!tl_span_is(value_of(attributes, "network.direction"), "server"))
		return 0;
	const struct tl_label labels[] = {
		{"service.name", value_of(&record->resource, "service.name")},
		{"http.request.method", value_of(attributes, "http.request.method")},
		{"http.route", route_of(value_of(attributes, "url.path"), route)},
		{"http.response.status_code", value_of(attributes, "http.response.status_code")},
	};

	return tl_count_add(pipeline->count, "http.server.request.duration", labels,
			    ARRAY_SIZE(labels), record->observed_ns,
			    number_of(value_of(attributes, "http.server.request.duration")), true);
}

int tl_pipeline_message(struct tl_pipeline *pipeline, const struct tl_message *message)
{
	tl_arena_reset(&pipeline->arena);
	tl_record_reset(&pipeline->record);
	if (message->topic == TL_TOPIC_HTTP)
		return http_message(pipeline, message);
	return raw_message(pipeline, message);
}

static int metric_row(void *arg, struct tl_span key, struct tl_span json)
{
	struct tl_pipeline *pipeline = arg;
	const struct tl_message message = {
		.topic = TL_TOPIC_METRICS,
		.partition = -1,
		.key = key,
		.value = json,
		.timestamp_ns = tl_wall_ns(),
	};

	return pipeline->output(pipeline->arg, &message, NULL);
}

int tl_pipeline_flush(struct tl_pipeline *pipeline)
{
	return tl_count_flush(pipeline->count, metric_row, pipeline);
}

void tl_pipeline_abort(struct tl_pipeline *pipeline)
{
	tl_count_clear(pipeline->count);
}
