/* SPDX-License-Identifier: Apache-2.0 */
/* The application's own id field: its line goes through as it is. JSON (top level, or one level
 * down in the objects that frameworks nest it in), or logfmt-like `key=value` words. An empty, null
 * or all-zero value is no id: tracing libraries print those when there is no request. */
#include "agent/correlate/inline.h"
#include "userspace/base/json.h"

#define KEY(text)                                                                                  \
	{                                                                                          \
		text, sizeof(text) - 1                                                             \
	}

static const struct tl_span keys[] = {
	KEY("trace_id"),	 KEY("traceid"),
	KEY("trace.id"),	 KEY("dd.trace_id"),
	KEY("oteltraceid"),	 KEY("trace-id"),
	KEY("request_id"),	 KEY("requestid"),
	KEY("request.id"),	 KEY("request-id"),
	KEY("x_request_id"),	 KEY("x-request-id"),
	KEY("correlation_id"),	 KEY("correlationid"),
	KEY("correlation.id"),	 KEY("correlation-id"),
	KEY("x-correlation-id"), KEY("req_id"),
	KEY("http.request.id"),	 KEY("logging.googleapis.com/trace"),
};

/* Objects that hold the id under a shorter name. */
static const struct {
	const char *object, *member;
} nested[] = {
	{"trace", "id"},
	{"dd", "trace_id"},
	{"request", "id"},
	{"req", "id"},
	{"attributes", "trace_id"},
	{"fields", "trace_id"},
	{"fields", "request_id"},
	{"mdc", "traceid"},
	{"context", "trace_id"},
	{"context", "request_id"},
	{"extra", "request_id"},
	{"properties", "requestid"},
};

static bool is_key(struct tl_span name)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (name.len == keys[i].len && tl_span_ieq(name, keys[i].data))
			return true;
	return false;
}

static bool is_value(struct tl_span value)
{
	bool nonzero = false;

	for (size_t i = 0; i < value.len; i++)
		nonzero |= value.data[i] != '0' && value.data[i] != '-';
	return nonzero && !tl_span_ieq(value, "null") && !tl_span_ieq(value, "none") &&
	       !tl_span_ieq(value, "undefined") && !tl_span_ieq(value, "nil");
}

static bool json_value(const struct tl_json_value *value, struct tl_span *ret_id)
{
	if ((value->type != TL_JSON_STRING && value->type != TL_JSON_NUMBER) ||
	    !is_value(value->raw))
		return false;
	*ret_id = value->raw;
	return true;
}

static bool in_object(struct tl_span object, const char *member, struct tl_span *ret_id)
{
	struct tl_json_cursor cursor;
	struct tl_json_value value;
	struct tl_span key;

	if (tl_json_enter(&cursor, object) < 0)
		return false;
	while (tl_json_member(&cursor, &key, &value) == 1)
		if (tl_span_ieq(key, member) && json_value(&value, ret_id))
			return true;
	return false;
}

static bool in_nested(struct tl_span key, struct tl_span object, struct tl_span *ret_id)
{
	for (size_t i = 0; i < ARRAY_SIZE(nested); i++)
		if (tl_span_ieq(key, nested[i].object) &&
		    in_object(object, nested[i].member, ret_id))
			return true;
	return false;
}

static bool in_json(struct tl_span text, struct tl_span *ret_id)
{
	struct tl_json_cursor cursor;
	struct tl_json_value value;
	struct tl_span key;

	if (tl_json_enter(&cursor, text) < 0)
		return false;
	while (tl_json_member(&cursor, &key, &value) == 1) {
		if (is_key(key) && json_value(&value, ret_id))
			return true;
		if (value.type == TL_JSON_OBJECT && in_nested(key, value.raw, ret_id))
			return true;
	}
	return false;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '[' || c == ']' || c == ',' || c == '(' || c == ')';
}

/* The value behind `=`, to the next space or its closing quote. */
static struct tl_span logfmt_value(struct tl_span rest)
{
	size_t n = 0;

	if (rest.len && rest.data[0] == '"') {
		const char *end = memchr(rest.data + 1, '"', rest.len - 1);

		return (struct tl_span){rest.data + 1, end ? (size_t)(end - rest.data) - 1 : 0};
	}
	while (n < rest.len && !is_space(rest.data[n]))
		n++;
	return (struct tl_span){rest.data, n};
}

static bool in_logfmt(struct tl_span text, struct tl_span *ret_id)
{
	const char *end = text.data + text.len, *equals = text.data;

	while (equals < end && (equals = memchr(equals, '=', (size_t)(end - equals)))) {
		const char *from = equals;
		struct tl_span value;

		while (from > text.data && !is_space(from[-1]) && from[-1] != '"')
			from--;
		equals++;
		if (!is_key((struct tl_span){from, (size_t)(equals - 1 - from)}))
			continue;
		value = logfmt_value((struct tl_span){equals, (size_t)(end - equals)});
		if (!is_value(value))
			continue;
		*ret_id = value;
		return true;
	}
	return false;
}

/* --- the scan in front --- */

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Whether what stands before `end` may be a key: all end in "id" or, one, in "trace". */
static bool ends_like_key(const char *from, const char *end)
{
	char last, before;

	if (end - from < 2)
		return false;
	last = lower(end[-1]);
	before = lower(end[-2]);
	return (last == 'd' && before == 'i') || (last == 'e' && before == 'c');
}

/* Whether `name`, between two quotes, is a key of the id, or of an object that holds it under the
 * mere name `id`; other nested ones have a name of `keys` inside. */
static bool is_json_key(struct tl_span name)
{
	switch (name.len ? lower(name.data[name.len - 1]) : 0) {
	case 'd':
		return ends_like_key(name.data, name.data + name.len) && is_key(name);
	case 'e':
		return is_key(name) || tl_span_ieq(name, "trace");
	case 't':
		return tl_span_ieq(name, "request");
	case 'q':
		return tl_span_ieq(name, "req");
	default:
		return false;
	}
}

/* A key of JSON stands between two quotes, without another in it. */
static bool json_may_have(struct tl_span text)
{
	const char *end = text.data + text.len, *open = NULL, *quote = text.data;

	while (quote < end && (quote = memchr(quote, '"', (size_t)(end - quote)))) {
		if (open && is_json_key((struct tl_span){open + 1, (size_t)(quote - open) - 1}))
			return true;
		open = quote++;
	}
	return false;
}

static bool logfmt_may_have(struct tl_span text)
{
	const char *end = text.data + text.len, *equals = text.data;

	while (equals < end && (equals = memchr(equals, '=', (size_t)(end - equals)))) {
		if (ends_like_key(text.data, equals))
			return true;
		equals++;
	}
	return false;
}

static bool is_json(struct tl_span text)
{
	size_t skip = 0;

	while (skip < text.len && (text.data[skip] == ' ' || text.data[skip] == '\t'))
		skip++;
	return skip < text.len && text.data[skip] == '{';
}

bool tl_app_id_find(struct tl_span text, struct tl_span *ret_id)
{
	return is_json(text) ? in_json(text, ret_id) : in_logfmt(text, ret_id);
}

bool tl_app_id(struct tl_span text, struct tl_span *ret_id)
{
	if (!text.len || !(is_json(text) ? json_may_have(text) : logfmt_may_have(text)))
		return false;
	return tl_app_id_find(text, ret_id);
}
