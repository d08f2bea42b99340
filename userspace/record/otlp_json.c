/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP/JSON: proto3's JSON with lowerCamelCase names, 64-bit integers and times as strings, enums
 * as numbers, and (unlike proto3's) trace and span ids in hex. */
#include <inttypes.h>
#include <math.h>

#include "userspace/record/base64.h"
#include "userspace/record/otlp_internal.h"

static void put_base64(struct tl_buf *out, struct tl_span bytes)
{
	size_t len = tl_base64_len(bytes.len);

	if (tl_buf_reserve(out, len) < 0)
		return;
	tl_base64_encode(bytes, out->data + out->len);
	out->len += len;
}

/* proto3's JSON has no numbers for these. */
static void put_double(struct tl_buf *out, double v)
{
	if (isfinite(v))
		tl_buf_printf(out, "%.17g", v);
	else
		tl_buf_puts(out, v > 0 ? "\"Infinity\"" : v < 0 ? "\"-Infinity\"" : "\"NaN\"");
}

static void put_value(struct tl_buf *out, const struct tl_otlp_value *value)
{
	switch (value->kind) {
	case TL_OTLP_BOOL:
		tl_buf_puts(out, value->integer ? "{\"boolValue\":true}" : "{\"boolValue\":false}");
		return;
	case TL_OTLP_INT:
		tl_buf_printf(out, "{\"intValue\":\"%" PRId64 "\"}", value->integer);
		return;
	case TL_OTLP_DOUBLE:
		tl_buf_puts(out, "{\"doubleValue\":");
		put_double(out, value->real);
		break;
	case TL_OTLP_STRING:
		tl_buf_puts(out, "{\"stringValue\":");
		tl_json_string(out, value->text);
		break;
	case TL_OTLP_BYTES:
		tl_buf_puts(out, "{\"bytesValue\":\"");
		put_base64(out, value->text);
		tl_buf_putc(out, '"');
		break;
	}
	tl_buf_putc(out, '}');
}

static void put_key_value(struct tl_buf *out, bool first, struct tl_span key,
			  const struct tl_otlp_value *value)
{
	tl_buf_puts(out, first ? "{\"key\":" : ",{\"key\":");
	tl_json_string(out, key);
	tl_buf_puts(out, ",\"value\":");
	put_value(out, value);
	tl_buf_putc(out, '}');
}

/* "attributes":[...] and how many are missing. */
static void put_attributes(struct tl_buf *out, struct tl_span uid, const struct tl_attrs *attrs)
{
	uint32_t dropped = attrs->dropped;
	bool first = true;

	tl_buf_puts(out, "\"attributes\":[");
	if (uid.len) {
		const struct tl_otlp_value value = tl_otlp_text(uid);

		put_key_value(out, first, TL_SPAN_LIT(TL_OTLP_UID), &value);
		first = false;
	}
	for (uint32_t i = 0; i < attrs->n; i++) {
		const struct tl_otlp_value value = tl_otlp_value_of(&attrs->items[i]);

		if (!tl_otlp_key_ok(attrs->items[i].key)) {
			dropped++;
			continue;
		}
		put_key_value(out, first, attrs->items[i].key, &value);
		first = false;
	}
	tl_buf_putc(out, ']');
	if (dropped)
		tl_buf_printf(out, ",\"droppedAttributesCount\":%u", dropped);
}

static void json_resource(const struct tl_attrs *resource, struct tl_buf *out)
{
	put_attributes(out, (struct tl_span){NULL, 0}, resource);
}

static void put_id(struct tl_buf *out, const char *name, struct tl_span hex, size_t bytes)
{
	unsigned char id[16];

	if (!tl_otlp_id(hex, id, bytes))
		return;
	tl_buf_printf(out, ",\"%s\":\"", name);
	for (size_t i = 0; i < bytes; i++)
		tl_buf_printf(out, "%02x", id[i]);
	tl_buf_putc(out, '"');
}

static void json_record(const struct tl_record *record, struct tl_buf *scratch,
			struct tl_buf *records)
{
	const struct tl_otlp_value body = tl_otlp_text(record->body);
	uint64_t time = record->timestamp_ns ? record->timestamp_ns : record->observed_ns;

	(void)scratch;
	tl_buf_printf(records, ",{\"timeUnixNano\":\"%" PRIu64 "\"", time);
	tl_buf_printf(records, ",\"observedTimeUnixNano\":\"%" PRIu64 "\"", record->observed_ns);
	if (record->severity_number)
		tl_buf_printf(records, ",\"severityNumber\":%u", record->severity_number);
	if (record->severity_text.len) {
		tl_buf_puts(records, ",\"severityText\":");
		tl_json_string(records, record->severity_text);
	}
	tl_buf_puts(records, ",\"body\":");
	put_value(records, &body);
	tl_buf_putc(records, ',');
	put_attributes(records, record->uid, &record->attributes);
	if (record->trace_flags >= 0)
		tl_buf_printf(records, ",\"flags\":%d", record->trace_flags);
	put_id(records, "traceId", record->trace_id, 16);
	put_id(records, "spanId", record->span_id, 8);
	tl_buf_putc(records, '}');
}

static void json_group(struct tl_span resource, struct tl_span records, bool first,
		       struct tl_buf *out)
{
	tl_buf_puts(out, first ? "{\"resourceLogs\":[{\"resource\":{" : ",{\"resource\":{");
	tl_buf_add(out, resource.data, resource.len);
	tl_buf_puts(out, "},\"scopeLogs\":[{\"scope\":{\"name\":\"" TL_OTLP_SCOPE
			 "\"},\"logRecords\":[");
	if (records.len) /* each begins with a comma */
		tl_buf_add(out, records.data + 1, records.len - 1);
	tl_buf_puts(out, "]}]}");
}

static void json_end(struct tl_buf *out)
{
	tl_buf_puts(out, out->len ? "]}" : "{\"resourceLogs\":[]}");
}

const struct tl_otlp_encoder tl_otlp_json = {
	.resource = json_resource,
	.record = json_record,
	.group = json_group,
	.end = json_end,
};
