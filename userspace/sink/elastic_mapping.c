/* SPDX-License-Identifier: Apache-2.0 */
/* Documents are written with dotted names at the top ("trace.id"), which the servers expand. Names:
 * Elastic Common Schema 8.11; the OpenTelemetry shape is that of Elastic's "otel" mapping mode. */
#include "userspace/sink/elastic_mapping.h"

#include <inttypes.h>

#include "userspace/base/clock.h"
#include "userspace/base/json.h"
#include "userspace/sink/bulk.h"

#define ECS_VERSION "8.11.0"

/* Attributes and resource attributes that ECS has a name for; what is not here becomes a label. */
static const struct {
	const char *otel, *ecs;
} ecs_names[] = {
	{"service.name", "service.name"},
	{"service.version", "service.version"},
	{"service.instance.id", "service.node.name"},
	{"host.name", "host.name"},
	{"process.pid", "process.pid"},
	{"process.executable.name", "process.name"},
	{"process.executable.path", "process.executable"},
	{"process.command_line", "process.command_line"},
	{"container.id", "container.id"},
	{"container.name", "container.name"},
	{"container.image.name", "container.image.name"},
	{"k8s.namespace.name", "orchestrator.namespace"},
	{"k8s.pod.name", "orchestrator.resource.name"},
	{"thread.id", "process.thread.id"},
	{"log.file.path", "log.file.path"},
	{"http.request.method", "http.request.method"},
	{"http.response.status_code", "http.response.status_code"},
	{"url.path", "url.path"},
	{"client.address", "client.address"},
	{"server.address", "server.address"},
	{"exception.type", "error.type"},
	{"exception.message", "error.message"},
	{"exception.stacktrace", "error.stack_trace"},
};

bool tl_elastic_maps(const struct tl_elastic_mapper *mapper)
{
	return mapper->mapping != TL_MAPPING_FLAT || mapper->data_stream;
}

static void put_text(struct tl_buf *out, const char *key, struct tl_span value)
{
	if (!value.len)
		return;
	tl_json_key(out, key);
	tl_json_string(out, value);
}

static void put_time(struct tl_buf *out, const char *key, uint64_t wall_ns)
{
	char text[TL_TIME_LEN + 1];

	tl_time_format(wall_ns, text);
	put_text(out, key, tl_span_str(text));
}

static void put_number(struct tl_buf *out, const char *key, int64_t value)
{
	tl_json_key(out, key);
	tl_buf_printf(out, "%" PRId64, value);
}

static void put_value(struct tl_buf *out, const struct tl_attr *attr)
{
	if (attr->type == TL_ATTR_LITERAL)
		tl_buf_add(out, attr->value.data, attr->value.len);
	else
		tl_json_string(out, attr->value);
}

static void put_comma(struct tl_buf *out)
{
	if (out->len && out->data[out->len - 1] != '{')
		tl_buf_putc(out, ',');
}

static void put_attr(struct tl_buf *out, const struct tl_attr *attr)
{
	put_comma(out);
	tl_json_string(out, attr->key);
	tl_buf_putc(out, ':');
	put_value(out, attr);
}

/* A value that is too long for a term: it goes beside, where nothing indexes it. */
static bool is_long(const struct tl_attr *attr)
{
	return attr->value.len > TL_BULK_TERM_MAX;
}

static void put_object(struct tl_buf *out, const char *key, const struct tl_attrs *attrs)
{
	tl_json_key(out, key);
	tl_buf_putc(out, '{');
	for (uint32_t i = 0; i < attrs->n; i++)
		if (!is_long(&attrs->items[i]))
			put_attr(out, &attrs->items[i]);
	tl_buf_putc(out, '}');
}

static void put_unindexed(struct tl_buf *out, const struct tl_record *record)
{
	const struct tl_attrs *sides[] = {&record->resource, &record->attributes};
	bool any = false;

	for (size_t s = 0; s < ARRAY_SIZE(sides); s++)
		for (uint32_t i = 0; i < sides[s]->n; i++) {
			if (!is_long(&sides[s]->items[i]))
				continue;
			if (!any) {
				tl_json_key(out, "unindexed");
				tl_buf_putc(out, '{');
				any = true;
			}
			put_attr(out, &sides[s]->items[i]);
		}
	if (any)
		tl_buf_putc(out, '}');
}

static const char *ecs_name(struct tl_span key)
{
	for (size_t i = 0; i < ARRAY_SIZE(ecs_names); i++)
		if (tl_span_is(key, ecs_names[i].otel))
			return ecs_names[i].ecs;
	return NULL;
}

static void put_named(struct tl_buf *out, const struct tl_attrs *attrs)
{
	for (uint32_t i = 0; i < attrs->n; i++) {
		const char *name = ecs_name(attrs->items[i].key);

		if (!name || is_long(&attrs->items[i]))
			continue;
		tl_json_key(out, name);
		put_value(out, &attrs->items[i]);
	}
}

/* ECS labels have no dots in their names. */
static void put_labels(struct tl_buf *out, const struct tl_attrs *attrs)
{
	for (uint32_t i = 0; i < attrs->n; i++) {
		const struct tl_attr *attr = &attrs->items[i];
		size_t at;

		if (ecs_name(attr->key) || is_long(attr))
			continue;
		put_comma(out);
		at = out->len;
		tl_json_string(out, attr->key);
		for (; at < out->len; at++)
			if (out->data[at] == '.')
				out->data[at] = '_';
		tl_buf_putc(out, ':');
		put_value(out, attr);
	}
}

static void put_ecs(struct tl_buf *out, const struct tl_record *r)
{
	put_time(out, "event.created", r->observed_ns);
	put_text(out, "event.id", r->uid);
	if (r->severity_number)
		put_number(out, "event.severity", r->severity_number);
	put_text(out, "message", r->body);
	put_text(out, "log.level", r->severity_text);
	put_text(out, "trace.id", r->trace_id);
	put_text(out, "span.id", r->span_id);
	put_named(out, &r->resource);
	put_named(out, &r->attributes);
	tl_json_key(out, "labels");
	tl_buf_putc(out, '{');
	put_labels(out, &r->resource);
	put_labels(out, &r->attributes);
	tl_buf_putc(out, '}');
	put_text(out, "ecs.version", tl_span_str(ECS_VERSION));
}

static void put_otel(struct tl_buf *out, struct tl_record *r, const char *data_stream)
{
	const char *set = data_stream ? strchr(data_stream, '-') : NULL;
	const char *space = set ? strrchr(data_stream, '-') : NULL;

	tl_attr_set(&r->attributes, "log.record.uid", r->uid);
	put_time(out, "observed_timestamp", r->observed_ns);
	if (r->severity_number)
		put_number(out, "severity_number", r->severity_number);
	put_text(out, "severity_text", r->severity_text);
	tl_json_key(out, "body");
	tl_buf_puts(out, "{\"text\":");
	tl_json_string(out, r->body);
	tl_buf_putc(out, '}');
	put_text(out, "trace_id", r->trace_id);
	put_text(out, "span_id", r->span_id);
	tl_json_key(out, "resource");
	tl_buf_putc(out, '{');
	put_object(out, "attributes", &r->resource);
	tl_buf_putc(out, '}');
	put_object(out, "attributes", &r->attributes);
	if (!set || space == set)
		return;
	put_text(out, "data_stream.type",
		 (struct tl_span){data_stream, (size_t)(set - data_stream)});
	put_text(out, "data_stream.dataset", (struct tl_span){set + 1, (size_t)(space - set) - 1});
	put_text(out, "data_stream.namespace", tl_span_str(space + 1));
}

int tl_elastic_map(const struct tl_elastic_mapper *mapper, struct tl_span json, struct tl_buf *out)
{
	struct tl_record *r = mapper->record;
	size_t start = out->len;

	tl_arena_reset(mapper->arena);
	if (tl_record_from_json(json, mapper->arena, r, NULL) < 0)
		return -EINVAL;
	tl_buf_putc(out, '{');
	put_time(out, "@timestamp", r->timestamp_ns ? r->timestamp_ns : r->observed_ns);
	if (mapper->mapping == TL_MAPPING_ECS)
		put_ecs(out, r);
	else if (mapper->mapping == TL_MAPPING_OTEL)
		put_otel(out, r, mapper->data_stream);
	if (mapper->mapping == TL_MAPPING_FLAT) {
		const char *brace = memchr(json.data, '{', json.len);

		tl_buf_putc(out, ',');
		tl_buf_add(out, brace + 1, json.len - (size_t)(brace + 1 - json.data));
	} else {
		put_unindexed(out, r);
		tl_buf_putc(out, '}');
	}
	if (!out->failed)
		return 0;
	out->len = start;
	return -ENOBUFS;
}

/* Our records are written without blanks, and a quote within a string has a backslash before it:
 * such a text can only be a key and the beginning of its value. */
static const struct {
	const char *key, *copy;
} copies[] = {
	{"\"service.name\":\"", ",\"service_name\":\""},
	{"\"correlation.id\":\"", ",\"correlation_id\":\""},
	{"\"correlation.how\":\"", ",\"correlation_how\":\""},
	{"\"correlation.why\":\"", ",\"correlation_why\":\""},
};

static void copy_value(struct tl_span document, const char *key, const char *copy,
		       struct tl_buf *out)
{
	const char *at = memmem(document.data, document.len, key, strlen(key));
	const char *end = document.data + document.len, *from, *p;

	if (!at)
		return;
	for (p = from = at + strlen(key); p < end && *p != '"'; p++)
		if (*p == '\\')
			p++;
	if (p >= end)
		return;
	tl_buf_puts(out, copy);
	tl_buf_add(out, from, (size_t)(p - from) + 1);
}

int tl_elastic_copies(struct tl_span document, struct tl_buf *out)
{
	size_t start = out->len;

	while (document.len && strchr(" \n\r\t", document.data[document.len - 1]))
		document.len--;
	if (!document.len || document.data[document.len - 1] != '}')
		return -EINVAL;
	document.len--;
	tl_buf_add(out, document.data, document.len);
	for (size_t i = 0; i < ARRAY_SIZE(copies); i++)
		copy_value(document, copies[i].key, copies[i].copy, out);
	tl_buf_putc(out, '}');
	if (!out->failed)
		return 0;
	out->len = start;
	return -ENOBUFS;
}

/* --- templates --- */

#define KEYWORD "{\"type\":\"keyword\",\"ignore_above\":1024}"
#define LONG "{\"type\":\"long\"}"
#define NANOS "{\"type\":\"date_nanos\"}"
#define TEXT "{\"type\":\"text\"}"

struct field {
	const char *name, *type; /* type NULL: the flat type of the server */
};

static const struct field flat_fields[] = {
	{"uid", "{\"type\":\"keyword\"}"},
	{"timestamp", NANOS},
	{"observed_timestamp", NANOS},
	{"severity_number", "{\"type\":\"byte\"}"},
	{"severity_text", KEYWORD},
	{"body", TEXT},
	{"trace_id", KEYWORD},
	{"span_id", KEYWORD},
	{"trace_flags", "{\"type\":\"short\"}"},
	{"resource", NULL},
	{"attributes", NULL},
	{NULL, NULL},
};

static const struct field ecs_fields[] = {
	{"event.created", NANOS},
	{"event.id", "{\"type\":\"keyword\"}"},
	{"event.severity", LONG},
	{"message", TEXT},
	{"log.level", KEYWORD},
	{"log.file.path", KEYWORD},
	{"trace.id", KEYWORD},
	{"span.id", KEYWORD},
	{"service.name", KEYWORD},
	{"service.version", KEYWORD},
	{"service.node.name", KEYWORD},
	{"host.name", KEYWORD},
	{"process.pid", LONG},
	{"process.thread.id", LONG},
	{"process.name", KEYWORD},
	{"process.executable", KEYWORD},
	{"process.command_line", KEYWORD},
	{"container.id", KEYWORD},
	{"container.name", KEYWORD},
	{"container.image.name", KEYWORD},
	{"orchestrator.namespace", KEYWORD},
	{"orchestrator.resource.name", KEYWORD},
	{"http.request.method", KEYWORD},
	{"http.response.status_code", "{\"type\":\"long\",\"ignore_malformed\":true}"},
	{"url.path", KEYWORD},
	{"client.address", KEYWORD},
	{"server.address", KEYWORD},
	{"error.type", KEYWORD},
	{"error.message", TEXT},
	{"error.stack_trace", TEXT},
	{"ecs.version", KEYWORD},
	{"labels", NULL},
	{NULL, NULL},
};

static const struct field otel_fields[] = {
	{"observed_timestamp", NANOS},
	{"severity_number", "{\"type\":\"byte\"}"},
	{"severity_text", KEYWORD},
	{"body.text", TEXT},
	{"trace_id", KEYWORD},
	{"span_id", KEYWORD},
	{"resource.attributes", NULL},
	{"attributes", NULL},
	{"data_stream.type", KEYWORD},
	{"data_stream.dataset", KEYWORD},
	{"data_stream.namespace", KEYWORD},
	{NULL, NULL},
};

/* What tl_elastic_copies adds. */
static const struct field copied_fields[] = {
	{"service_name", KEYWORD},
	{"correlation_id", KEYWORD},
	{"correlation_how", KEYWORD},
	{"correlation_why", KEYWORD},
	{NULL, NULL},
};

static void put_fields(struct tl_buf *out, const struct field *fields, const char *flat)
{
	for (; fields->name; fields++) {
		tl_json_key(out, fields->name);
		tl_buf_puts(out, fields->type ? fields->type : flat);
	}
}

static void put_settings(struct tl_buf *out, const struct tl_elastic_template *of)
{
	tl_json_key(out, "settings");
	tl_buf_putc(out, '{');
	if (of->shards > 0)
		put_number(out, "number_of_shards", of->shards);
	if (of->replicas >= 0)
		put_number(out, "number_of_replicas", of->replicas);
	tl_buf_putc(out, '}');
}

void tl_elastic_template(const struct tl_elastic_template *of, struct tl_buf *out)
{
	static const struct field *const fields[] = {flat_fields, ecs_fields, otel_fields};
	/* OpenSearch's flat_object has no ignore_above. */
	const char *flat = of->opensearch ? "{\"type\":\"flat_object\"}"
					  : "{\"type\":\"flattened\",\"ignore_above\":8191}";

	tl_buf_puts(out, "{\"index_patterns\":[");
	for (size_t i = 0; i < ARRAY_SIZE(of->patterns) && of->patterns[i]; i++)
		tl_buf_printf(out, "%s\"%s%s\"", i ? "," : "", of->patterns[i],
			      of->data_stream ? "" : "*");
	tl_buf_printf(out,
		      "],\"priority\":%d,\"_meta\":{\"managed_by\":\"tapline\",\"version\":2},%s"
		      "\"template\":{",
		      TL_TEMPLATE_PRIORITY, of->data_stream ? "\"data_stream\":{}," : "");
	put_settings(out, of);
	tl_json_key(out, "mappings");
	tl_buf_puts(out, "{\"dynamic\":false,\"properties\":{");
	if (of->data_stream || of->mapping != TL_MAPPING_FLAT) {
		tl_json_key(out, "@timestamp");
		tl_buf_puts(out, NANOS);
	}
	put_fields(out, fields[of->mapping], flat);
	if (of->opensearch && of->mapping == TL_MAPPING_FLAT)
		put_fields(out, copied_fields, flat);
	tl_buf_puts(out, "}}}}");
}
