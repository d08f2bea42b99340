/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/parse/parsers.h"

static const struct {
	const char *name;
	enum tl_field field;
} fields[] = {
	{"msg", TL_FIELD_MESSAGE},
	{"message", TL_FIELD_MESSAGE},
	{"@m", TL_FIELD_MESSAGE},
	{"event", TL_FIELD_MESSAGE},
	{"body", TL_FIELD_MESSAGE},
	{"level", TL_FIELD_SEVERITY},
	{"lvl", TL_FIELD_SEVERITY},
	{"severity", TL_FIELD_SEVERITY},
	{"loglevel", TL_FIELD_SEVERITY},
	{"log.level", TL_FIELD_SEVERITY},
	{"levelname", TL_FIELD_SEVERITY},
	{"@l", TL_FIELD_SEVERITY},
	{"severity_text", TL_FIELD_SEVERITY},
	{"ts", TL_FIELD_TIME},
	{"time", TL_FIELD_TIME},
	{"timestamp", TL_FIELD_TIME},
	{"@timestamp", TL_FIELD_TIME},
	{"@t", TL_FIELD_TIME},
	{"datetime", TL_FIELD_TIME},
	{"asctime", TL_FIELD_TIME},
	{"trace_id", TL_FIELD_TRACE_ID},
	{"traceid", TL_FIELD_TRACE_ID},
	{"trace.id", TL_FIELD_TRACE_ID},
	{"span_id", TL_FIELD_SPAN_ID},
	{"spanid", TL_FIELD_SPAN_ID},
	{"span.id", TL_FIELD_SPAN_ID},
};

enum tl_field tl_field_find(struct tl_span name)
{
	if (name.len < 2 || name.len > 13)
		return TL_FIELD_OTHER;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (tl_span_ieq(name, fields[i].name))
			return fields[i].field;
	return TL_FIELD_OTHER;
}

static bool is_hex(struct tl_span s, size_t len)
{
	bool zero = true;

	if (s.len != len)
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = s.data[i];

		if (!tl_is_digit(c) && !(c >= 'a' && c <= 'f') && !(c >= 'A' && c <= 'F'))
			return false;
		zero &= c == '0';
	}
	return !zero;
}

static bool take_severity(struct tl_record *record, struct tl_span value)
{
	uint8_t number = tl_severity_word(value);

	if (!number || record->severity_number)
		return false;
	record->severity_number = number;
	record->severity_text = tl_span_str(tl_severity_text(number));
	return true;
}

static bool take_time(struct tl_record *record, struct tl_span value)
{
	uint64_t ns;

	if (!tl_timestamp_parse(value, record->observed_ns, &ns))
		return false;
	record->timestamp_ns = ns;
	return true;
}

/* The line's own trace is the line's word; one that the agent proved from the request is not
 * replaced by another. */
static bool take_id(struct tl_span *id, struct tl_span value, size_t len)
{
	if (!is_hex(value, len) || (id->len && !tl_span_eq(*id, value)))
		return false;
	*id = value;
	return true;
}

bool tl_field_put(struct tl_record *record, struct tl_span name, struct tl_span value,
		  enum tl_attr_type type)
{
	bool taken = false;

	switch (tl_field_find(name)) {
	case TL_FIELD_MESSAGE:
		if (type == TL_ATTR_STRING) {
			record->body = value;
			return true;
		}
		break;
	case TL_FIELD_SEVERITY:
		taken = take_severity(record, value);
		break;
	case TL_FIELD_TIME:
		taken = take_time(record, value);
		break;
	case TL_FIELD_TRACE_ID:
		taken = take_id(&record->trace_id, value, 32);
		break;
	case TL_FIELD_SPAN_ID:
		taken = take_id(&record->span_id, value, 16);
		break;
	default:
		break;
	}
	if (!taken)
		tl_attr_set_span(&record->attributes, name, value, type);
	return false;
}

/* Names that only tapline gives: a line that carries one must not be able to forge it, even where
 * tapline gave none. */
static bool is_ours(struct tl_span key)
{
	static const struct tl_span prefixes[] = {
		{"correlation.", 12}, {"stream.", 7}, {"tapline.", 8}};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (key.len > prefixes[i].len &&
		    memcmp(key.data, prefixes[i].data, prefixes[i].len) == 0)
			return true;
	return false;
}

struct tl_span tl_field_own_key(const struct tl_record *record, uint32_t own, struct tl_span key,
				struct tl_arena *arena)
{
	key = tl_attr_key(arena, key);
	if (is_ours(key))
		return tl_arena_printf(arena, "log.%.*s", (int)key.len, key.data);
	for (uint32_t i = 0; i < own; i++)
		if (tl_span_eq(record->attributes.items[i].key, key))
			return tl_arena_printf(arena, "log.%.*s", (int)key.len, key.data);
	return key;
}

int tl_digits(const char *at, size_t n)
{
	int number = 0;

	for (size_t i = 0; i < n; i++) {
		if (!tl_is_digit(at[i]))
			return -1;
		number = number * 10 + (at[i] - '0');
	}
	return number;
}
