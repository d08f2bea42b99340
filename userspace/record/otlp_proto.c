/* SPDX-License-Identifier: Apache-2.0 */
/* The protobuf of OTLP logs. Field numbers: opentelemetry-proto, common/v1/common.proto,
 * resource/v1/resource.proto, logs/v1/logs.proto, collector/logs/v1/logs_service.proto. A message's
 * length stands before it: those of values and attributes are computed, a LogRecord is written to a
 * scratch buffer first. */
#include <endian.h>

#include "userspace/record/otlp_internal.h"

enum wire { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

enum {
	REQUEST_RESOURCE_LOGS = 1,

	RESOURCE_LOGS_RESOURCE = 1,
	RESOURCE_LOGS_SCOPE_LOGS = 2,

	RESOURCE_ATTRIBUTES = 1,
	RESOURCE_DROPPED = 2,

	SCOPE_LOGS_SCOPE = 1,
	SCOPE_LOGS_RECORDS = 2,
	SCOPE_NAME = 1,

	RECORD_TIME = 1,
	RECORD_SEVERITY_NUMBER = 2,
	RECORD_SEVERITY_TEXT = 3,
	RECORD_BODY = 5,
	RECORD_ATTRIBUTES = 6,
	RECORD_DROPPED = 7,
	RECORD_FLAGS = 8,
	RECORD_TRACE_ID = 9,
	RECORD_SPAN_ID = 10,
	RECORD_OBSERVED_TIME = 11,

	KEY_VALUE_KEY = 1,
	KEY_VALUE_VALUE = 2,

	ANY_STRING = 1,
	ANY_BOOL = 2,
	ANY_INT = 3,
	ANY_DOUBLE = 4,
	ANY_BYTES = 7,
};

static size_t varint_size(uint64_t v)
{
	return v ? (size_t)(63 - __builtin_clzll(v)) / 7 + 1 : 1;
}

static void put_varint(struct tl_buf *out, uint64_t v)
{
	char bytes[10];
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		bytes[n++] = (char)(v | 0x80);
	bytes[n++] = (char)v;
	tl_buf_add(out, bytes, n);
}

/* All field numbers here are below 16: a tag is one byte. */
static void put_tag(struct tl_buf *out, unsigned field, enum wire wire)
{
	tl_buf_putc(out, (char)(field << 3 | wire));
}

static void put_number(struct tl_buf *out, unsigned field, uint64_t v)
{
	put_tag(out, field, VARINT);
	put_varint(out, v);
}

static void put_fixed64(struct tl_buf *out, unsigned field, uint64_t v)
{
	v = htole64(v);
	put_tag(out, field, FIXED64);
	tl_buf_add(out, &v, sizeof(v));
}

static void put_fixed32(struct tl_buf *out, unsigned field, uint32_t v)
{
	v = htole32(v);
	put_tag(out, field, FIXED32);
	tl_buf_add(out, &v, sizeof(v));
}

static void put_length(struct tl_buf *out, unsigned field, size_t len)
{
	put_tag(out, field, BYTES);
	put_varint(out, len);
}

static void put_bytes(struct tl_buf *out, unsigned field, const void *data, size_t len)
{
	put_length(out, field, len);
	tl_buf_add(out, data, len);
}

static size_t bytes_size(size_t len)
{
	return 1 + varint_size(len) + len;
}

static size_t value_size(const struct tl_otlp_value *value)
{
	switch (value->kind) {
	case TL_OTLP_BOOL:
		return 2;
	case TL_OTLP_INT:
		return 1 + varint_size((uint64_t)value->integer);
	case TL_OTLP_DOUBLE:
		return 1 + sizeof(double);
	default:
		return bytes_size(value->text.len);
	}
}

static void put_value(struct tl_buf *out, unsigned field, const struct tl_otlp_value *value)
{
	uint64_t bits;

	put_length(out, field, value_size(value));
	switch (value->kind) {
	case TL_OTLP_BOOL:
		put_number(out, ANY_BOOL, (uint64_t)value->integer);
		break;
	case TL_OTLP_INT:
		put_number(out, ANY_INT, (uint64_t)value->integer);
		break;
	case TL_OTLP_DOUBLE:
		memcpy(&bits, &value->real, sizeof(bits));
		put_fixed64(out, ANY_DOUBLE, bits);
		break;
	default:
		put_bytes(out, value->kind == TL_OTLP_STRING ? ANY_STRING : ANY_BYTES,
			  value->text.data, value->text.len);
	}
}

static void put_key_value(struct tl_buf *out, unsigned field, struct tl_span key,
			  const struct tl_otlp_value *value)
{
	put_length(out, field, bytes_size(key.len) + bytes_size(value_size(value)));
	put_bytes(out, KEY_VALUE_KEY, key.data, key.len);
	put_value(out, KEY_VALUE_VALUE, value);
}

/* Returns how many are not there: dropped before, or without a key that could be sent. */
static uint32_t put_attributes(struct tl_buf *out, unsigned field, const struct tl_attrs *attrs)
{
	uint32_t dropped = attrs->dropped;

	for (uint32_t i = 0; i < attrs->n; i++) {
		const struct tl_otlp_value value = tl_otlp_value_of(&attrs->items[i]);

		if (tl_otlp_key_ok(attrs->items[i].key))
			put_key_value(out, field, attrs->items[i].key, &value);
		else
			dropped++;
	}
	return dropped;
}

static void proto_resource(const struct tl_attrs *resource, struct tl_buf *out)
{
	uint32_t dropped = put_attributes(out, RESOURCE_ATTRIBUTES, resource);

	if (dropped)
		put_number(out, RESOURCE_DROPPED, dropped);
}

static void put_ids(struct tl_buf *out, const struct tl_record *record)
{
	unsigned char id[16];

	if (tl_otlp_id(record->trace_id, id, 16))
		put_bytes(out, RECORD_TRACE_ID, id, 16);
	if (tl_otlp_id(record->span_id, id, 8))
		put_bytes(out, RECORD_SPAN_ID, id, 8);
}

/* In the order of the field numbers, as other encoders write it. */
static void proto_record(const struct tl_record *record, struct tl_buf *scratch,
			 struct tl_buf *records)
{
	const struct tl_otlp_value uid = tl_otlp_text(record->uid),
				   body = tl_otlp_text(record->body);
	uint64_t time = record->timestamp_ns ? record->timestamp_ns : record->observed_ns;
	uint32_t dropped;

	tl_buf_clear(scratch);
	put_fixed64(scratch, RECORD_TIME, time);
	if (record->severity_number)
		put_number(scratch, RECORD_SEVERITY_NUMBER, record->severity_number);
	if (record->severity_text.len && tl_utf8_valid(record->severity_text))
		put_bytes(scratch, RECORD_SEVERITY_TEXT, record->severity_text.data,
			  record->severity_text.len);
	put_value(scratch, RECORD_BODY, &body);
	if (record->uid.len)
		put_key_value(scratch, RECORD_ATTRIBUTES, TL_SPAN_LIT(TL_OTLP_UID), &uid);
	dropped = put_attributes(scratch, RECORD_ATTRIBUTES, &record->attributes);
	if (dropped)
		put_number(scratch, RECORD_DROPPED, dropped);
	if (record->trace_flags >= 0)
		put_fixed32(scratch, RECORD_FLAGS, (uint32_t)record->trace_flags);
	put_ids(scratch, record);
	put_fixed64(scratch, RECORD_OBSERVED_TIME, record->observed_ns);
	put_bytes(records, SCOPE_LOGS_RECORDS, scratch->data, scratch->len);
}

/* A request is the concatenation of its parts: protobuf joins repeated fields. */
static void proto_group(struct tl_span resource, struct tl_span records, bool first,
			struct tl_buf *out)
{
	const size_t name = sizeof(TL_OTLP_SCOPE) - 1;
	size_t scope_logs = bytes_size(bytes_size(name)) + records.len;

	(void)first;
	put_length(out, REQUEST_RESOURCE_LOGS, bytes_size(resource.len) + bytes_size(scope_logs));
	put_bytes(out, RESOURCE_LOGS_RESOURCE, resource.data, resource.len);
	put_length(out, RESOURCE_LOGS_SCOPE_LOGS, scope_logs);
	put_length(out, SCOPE_LOGS_SCOPE, bytes_size(name));
	put_bytes(out, SCOPE_NAME, TL_OTLP_SCOPE, name);
	tl_buf_add(out, records.data, records.len);
}

static void proto_end(struct tl_buf *out)
{
	(void)out;
}

const struct tl_otlp_encoder tl_otlp_protobuf = {
	.resource = proto_resource,
	.record = proto_record,
	.group = proto_group,
	.end = proto_end,
};

static int get_varint(struct tl_span *at, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; at->len && shift < 64; shift += 7) {
		unsigned char byte = (unsigned char)*at->data;

		at->data++;
		at->len--;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret = v;
			return 0;
		}
	}
	return -EBADMSG;
}

static int skip(struct tl_span *at, uint64_t n, struct tl_span *ret)
{
	if (n > at->len)
		return -EBADMSG;
	*ret = (struct tl_span){at->data, (size_t)n};
	at->data += n;
	at->len -= (size_t)n;
	return 0;
}

int tl_otlp_field(struct tl_span *at, uint64_t *ret_number, struct tl_span *ret_bytes)
{
	uint64_t tag, len = 0;
	int r;

	*ret_number = 0;
	*ret_bytes = (struct tl_span){NULL, 0};
	if (!at->len)
		return 0;
	if (get_varint(at, &tag) < 0 || tag >> 3 == 0 || tag >> 3 > INT32_MAX)
		return -EBADMSG;
	switch (tag & 7) {
	case VARINT:
		r = get_varint(at, ret_number);
		break;
	case FIXED64:
		r = skip(at, 8, ret_bytes);
		break;
	case FIXED32:
		r = skip(at, 4, ret_bytes);
		break;
	case BYTES:
		r = get_varint(at, &len);
		r = r < 0 ? r : skip(at, len, ret_bytes);
		break;
	default:
		r = -EBADMSG;
	}
	return r < 0 ? r : (int)(tag >> 3);
}
