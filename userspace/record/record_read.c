/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a record's JSON back. Spans point into the document wherever a string has no escapes. */
#include "userspace/base/clock.h"
#include "userspace/base/json.h"
#include "userspace/record/base64.h"
#include "userspace/record/record_emit.h"

struct reading {
	struct tl_arena *arena;
	struct tl_record *record;
	struct tl_error *error;
	bool have_time, have_observed;
};

static int arena_full(struct reading *reading)
{
	return tl_error_set(reading->error, -ENOBUFS,
			    "the record does not fit the memory set aside for one");
}

static int unescape(struct reading *reading, struct tl_span raw, struct tl_span *ret)
{
	/* Decoding never makes text longer, so a buffer of this size that must not grow is enough.
	 */
	struct tl_buf buf = {
		.data = tl_arena_alloc(reading->arena, raw.len), .cap = raw.len, .max = raw.len};
	int r;

	if (!buf.data)
		return arena_full(reading);
	r = tl_json_unescape(raw, &buf);
	if (r < 0)
		return tl_error_set(reading->error, -EINVAL,
				    "a string of the record has a malformed escape");
	*ret = tl_buf_span(&buf);
	return 0;
}

/* The text of any value: a string's characters, "" for null, else its JSON. */
static int text_of(struct reading *reading, const struct tl_json_value *value, struct tl_span *ret)
{
	if (value->type == TL_JSON_STRING && value->escaped)
		return unescape(reading, value->raw, ret);
	*ret = value->type == TL_JSON_NULL ? (struct tl_span){NULL, 0} : value->raw;
	return 0;
}

static int set_attr(struct reading *reading, struct tl_attrs *attrs, struct tl_span key,
		    const struct tl_json_value *value)
{
	bool literal = value->type == TL_JSON_NUMBER || value->type == TL_JSON_BOOL;
	struct tl_span text;
	uint64_t dropped;
	int r = 0;

	if (value->type == TL_JSON_NULL)
		return 0; /* in the data model an attribute without a value is one that is not there
			   */
	if (tl_span_is(key, TL_DROPPED_KEY) && tl_json_u64(value, &dropped) == 0) {
		attrs->dropped += (uint32_t)dropped;
		return 0;
	}
	if (key.len && memchr(key.data, '\\', key.len))
		r = unescape(reading, key, &key);
	if (r == 0)
		r = text_of(reading, value, &text);
	key = tl_attr_key(reading->arena, key);
	if (r == 0 && !key.data)
		return arena_full(reading);
	if (r == 0)
		tl_attr_set_span(attrs, key, text, literal ? TL_ATTR_LITERAL : TL_ATTR_STRING);
	return r;
}

static int read_attrs(struct reading *reading, const char *name, struct tl_attrs *attrs,
		      const struct tl_json_value *value)
{
	struct tl_json_cursor cursor;
	struct tl_json_value member;
	struct tl_span key;
	int r;

	if (value->type == TL_JSON_NULL)
		return 0;
	if (value->type != TL_JSON_OBJECT)
		return tl_error_set(reading->error, -EINVAL, "\"%s\" of the record is no object",
				    name);
	r = tl_json_enter(&cursor, value->raw);
	while (r == 0 && (r = tl_json_member(&cursor, &key, &member)) == 1)
		r = set_attr(reading, attrs, key, &member);
	if (r == -EINVAL && reading->error && !reading->error->code)
		tl_error_set(reading->error, r, "\"%s\" of the record is malformed JSON", name);
	return r;
}

static int read_time(struct reading *reading, const char *name, const struct tl_json_value *value,
		     uint64_t *ret, bool *ret_have)
{
	if (value->type == TL_JSON_NULL)
		return 0;
	if (value->type != TL_JSON_STRING ||
	    tl_time_parse(value->raw.data, value->raw.len, ret) < 0)
		return tl_error_set(
			reading->error, -EINVAL,
			"\"%s\" of the record is no time like 2026-11-23T01:00:00.123456789Z",
			name);
	*ret_have = true;
	return 0;
}

static int read_small(struct reading *reading, const char *name, const struct tl_json_value *value,
		      unsigned max, unsigned *ret)
{
	uint64_t v;

	if (tl_json_u64(value, &v) < 0 || v > max)
		return tl_error_set(reading->error, -EINVAL,
				    "\"%s\" of the record is no number from 0 to %u", name, max);
	*ret = (unsigned)v;
	return 0;
}

static int read_number(struct reading *reading, struct tl_span key,
		       const struct tl_json_value *value)
{
	bool severity = tl_span_is(key, "severity_number");
	unsigned v = 0;
	int r;

	if (value->type == TL_JSON_NULL)
		return 0;
	r = severity ? read_small(reading, "severity_number", value, 24, &v)
		     : read_small(reading, "trace_flags", value, 255, &v);
	if (r == 0 && severity)
		reading->record->severity_number = (uint8_t)v;
	else if (r == 0)
		reading->record->trace_flags = (int)v;
	return r;
}

static struct tl_span *text_field(struct tl_record *record, struct tl_span key)
{
	if (tl_span_is(key, "uid"))
		return &record->uid;
	if (tl_span_is(key, "body"))
		return &record->body;
	if (tl_span_is(key, "severity_text"))
		return &record->severity_text;
	if (tl_span_is(key, "trace_id"))
		return &record->trace_id;
	if (tl_span_is(key, "span_id"))
		return &record->span_id;
	return NULL;
}

static int read_member(struct reading *reading, struct tl_span key,
		       const struct tl_json_value *value)
{
	struct tl_record *record = reading->record;
	struct tl_span *text = text_field(record, key);

	if (text)
		return text_of(reading, value, text);
	if (tl_span_is(key, "timestamp"))
		return read_time(reading, "timestamp", value, &record->timestamp_ns,
				 &reading->have_time);
	if (tl_span_is(key, "observed_timestamp"))
		return read_time(reading, "observed_timestamp", value, &record->observed_ns,
				 &reading->have_observed);
	if (tl_span_is(key, "severity_number") || tl_span_is(key, "trace_flags"))
		return read_number(reading, key, value);
	if (tl_span_is(key, "resource"))
		return read_attrs(reading, "resource", &record->resource, value);
	if (tl_span_is(key, "attributes"))
		return read_attrs(reading, "attributes", &record->attributes, value);
	return set_attr(reading, &record->attributes, key, value);
}

/* The attribute becomes the body again. One that is no base64 was not written by us: it stays what
 * it is. */
static int restore_body(struct reading *reading)
{
	struct tl_attrs *attrs = &reading->record->attributes;
	const struct tl_attr *found = tl_attr_get(attrs, TL_BASE64_KEY);
	size_t len;
	char *bytes;

	if (!found || found->type != TL_ATTR_STRING)
		return 0;
	bytes = tl_arena_alloc(reading->arena, found->value.len / 4 * 3);
	if (!bytes)
		return arena_full(reading);
	if (tl_base64_decode(found->value, bytes, &len) < 0)
		return 0;
	reading->record->body = (struct tl_span){bytes, len};
	attrs->n--;
	for (uint32_t i = (uint32_t)(found - attrs->items); i < attrs->n; i++)
		attrs->items[i] = attrs->items[i + 1];
	return 0;
}

static int complete(struct reading *reading)
{
	struct tl_record *record = reading->record;

	if (!reading->have_observed && !reading->have_time)
		return tl_error_set(reading->error, -EINVAL,
				    "the record has no observed_timestamp");
	if (!reading->have_observed)
		record->observed_ns = record->timestamp_ns;
	if (!reading->have_time)
		record->timestamp_ns = record->observed_ns;
	return restore_body(reading);
}

int tl_record_from_json(struct tl_span json, struct tl_arena *arena, struct tl_record *ret_record,
			struct tl_error *error)
{
	struct tl_error reason = {0};
	struct reading reading = {.arena = arena, .record = ret_record, .error = &reason};
	struct tl_json_cursor cursor;
	struct tl_json_value value;
	struct tl_span key;
	int r;

	tl_record_reset(ret_record);
	r = tl_json_enter(&cursor, json);
	while (r == 0 && (r = tl_json_member(&cursor, &key, &value)) == 1)
		r = read_member(&reading, key, &value);
	if (r == 0 && !tl_json_at_end(&cursor))
		r = -EINVAL;
	if (r == 0)
		r = complete(&reading);
	if (r < 0 && !reason.code)
		tl_error_set(&reason, r, "the record is no JSON object");
	return r < 0 ? tl_error_set(error, r, "%s", reason.message) : 0;
}
