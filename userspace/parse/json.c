/* SPDX-License-Identifier: Apache-2.0 */
/* One JSON object a line. Deeper values are kept as their JSON text under their key. A key that the
 * agent set already (correlation.id, stream.id …) is the agent's: the line's own goes under "log."
 * + key, so that no text can forge it. */
#include "userspace/base/json.h"
#include "userspace/parse/parsers.h"

static bool unescape(struct tl_span raw, struct tl_arena *arena, struct tl_span *ret)
{
	char *room = tl_arena_alloc(arena, raw.len + 1);
	struct tl_buf out = {.data = room, .cap = raw.len + 1, .max = raw.len + 1};

	/* Unescaping never makes text longer, so the buffer cannot grow out of the arena. */
	if (!room || tl_json_unescape(raw, &out) < 0 || out.data != room)
		return false;
	*ret = (struct tl_span){room, out.len};
	return true;
}

static int put_member(struct tl_record *record, uint32_t own, struct tl_span key,
		      const struct tl_json_value *value, struct tl_arena *arena)
{
	struct tl_span text = value->raw;

	if (memchr(key.data, '\\', key.len) && !unescape(key, arena, &key))
		return -EINVAL;
	if (value->type == TL_JSON_NULL)
		return 0;
	if (value->type == TL_JSON_STRING && value->escaped && !unescape(text, arena, &text))
		return -EINVAL;
	tl_field_put(record, tl_field_own_key(record, own, key, arena), text,
		     value->type == TL_JSON_NUMBER || value->type == TL_JSON_BOOL ? TL_ATTR_LITERAL
										  : TL_ATTR_STRING);
	return 0;
}

/* First pass: is it one whole well-formed object? Then nothing of a half-read line is left in the
 * record. */
static bool is_object(struct tl_span text)
{
	struct tl_json_cursor cursor;
	struct tl_json_value value;
	struct tl_span key;
	int r;

	if (!text.len || text.data[0] != '{' || tl_json_enter(&cursor, text) < 0)
		return false;
	while ((r = tl_json_member(&cursor, &key, &value)) == 1)
		;
	return r == 0 && tl_json_at_end(&cursor);
}

/* What a parser may change besides the attributes behind the agent's own. */
struct before {
	struct tl_span body, severity_text, trace_id, span_id;
	uint64_t timestamp_ns;
	uint8_t severity_number;
	uint32_t n, dropped;
};

static struct before remember(const struct tl_record *record)
{
	return (struct before){
		.body = record->body,
		.severity_text = record->severity_text,
		.trace_id = record->trace_id,
		.span_id = record->span_id,
		.timestamp_ns = record->timestamp_ns,
		.severity_number = record->severity_number,
		.n = record->attributes.n,
		.dropped = record->attributes.dropped,
	};
}

static void restore(struct tl_record *record, const struct before *before)
{
	record->body = before->body;
	record->severity_text = before->severity_text;
	record->trace_id = before->trace_id;
	record->span_id = before->span_id;
	record->timestamp_ns = before->timestamp_ns;
	record->severity_number = before->severity_number;
	record->attributes.n = before->n;
	record->attributes.dropped = before->dropped;
}

static int parse_json(struct tl_record *record, struct tl_arena *arena)
{
	const struct before before = remember(record);
	struct tl_json_cursor cursor;
	struct tl_json_value value;
	struct tl_span key;

	if (!is_object(before.body) || tl_json_enter(&cursor, before.body) < 0)
		return 0;
	while (tl_json_member(&cursor, &key, &value) == 1)
		if (put_member(record, before.n, key, &value, arena) < 0) {
			restore(record, &before);
			return 0;
		}
	return 1;
}

const struct tl_parser_ops tl_parser_json = {
	.name = "json",
	.about = "One JSON object a line: known fields by name, the rest as attributes.",
	.parse = parse_json,
};
