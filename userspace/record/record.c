/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/record/record.h"

#include "userspace/base/json.h"
#include "userspace/base/utf8.h"

void tl_record_reset(struct tl_record *record)
{
	/* Not the attribute arrays: they are 10 KiB, and only their first n items mean anything. */
	record->uid = record->severity_text = record->body = (struct tl_span){NULL, 0};
	record->trace_id = record->span_id = (struct tl_span){NULL, 0};
	record->timestamp_ns = record->observed_ns = 0;
	record->severity_number = 0;
	record->trace_flags = -1;
	record->resource.n = record->resource.dropped = 0;
	record->attributes.n = record->attributes.dropped = 0;
}

void tl_attr_set_span(struct tl_attrs *attrs, struct tl_span key, struct tl_span value,
		      enum tl_attr_type type)
{
	uint32_t i = 0;

	while (i < attrs->n && !tl_span_eq(attrs->items[i].key, key))
		i++;
	if (i == TL_ATTRS_MAX) {
		attrs->dropped++;
		return;
	}
	attrs->items[i] = (struct tl_attr){.key = key, .value = value, .type = (uint8_t)type};
	if (i == attrs->n)
		attrs->n++;
}

void tl_attr_set(struct tl_attrs *attrs, const char *key, struct tl_span value)
{
	tl_attr_set_span(attrs, tl_span_str(key), value, TL_ATTR_STRING);
}

void tl_attr_set_u64(struct tl_attrs *attrs, struct tl_arena *arena, const char *key,
		     uint64_t value)
{
	char digits[20], *end = digits + sizeof(digits), *p = end;
	struct tl_span text;

	do {
		*--p = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	text = tl_arena_copy(arena, (struct tl_span){p, (size_t)(end - p)});
	if (!text.data) {
		attrs->dropped++;
		return;
	}
	tl_attr_set_span(attrs, tl_span_str(key), text, TL_ATTR_LITERAL);
}

struct tl_span tl_attr_key(struct tl_arena *arena, struct tl_span key)
{
	char *text, *to;

	if (tl_utf8_valid(key))
		return key;
	text = to = tl_arena_alloc(arena, 3 * key.len);
	if (!text)
		return (struct tl_span){NULL, 0};
	for (const char *p = key.data, *end = p + key.len; p < end;) {
		size_t n = tl_utf8_sequence(p, end);

		to = mempcpy(to, n ? p : "\xef\xbf\xbd", n ? n : 3);
		p += n ? n : 1;
	}
	return (struct tl_span){text, (size_t)(to - text)};
}

const struct tl_attr *tl_attr_get(const struct tl_attrs *attrs, const char *key)
{
	struct tl_span wanted = tl_span_str(key);

	for (uint32_t i = 0; i < attrs->n; i++)
		if (tl_span_eq(attrs->items[i].key, wanted))
			return &attrs->items[i];
	return NULL;
}

const char *tl_severity_text(uint8_t number)
{
	/* OpenTelemetry logs data model, "Displaying Severity". */
	static const char *const names[25] = {
		"",	  "TRACE",  "TRACE2", "TRACE3", "TRACE4", "DEBUG",  "DEBUG2",
		"DEBUG3", "DEBUG4", "INFO",   "INFO2",	"INFO3",  "INFO4",  "WARN",
		"WARN2",  "WARN3",  "WARN4",  "ERROR",	"ERROR2", "ERROR3", "ERROR4",
		"FATAL",  "FATAL2", "FATAL3", "FATAL4",
	};

	return number < 25 ? names[number] : "";
}

const char *tl_severity_range(uint8_t number)
{
	return number ? tl_severity_text((uint8_t)((number - 1) / 4 * 4 + 1)) : "";
}
