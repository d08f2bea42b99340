/* SPDX-License-Identifier: Apache-2.0 */
/* The application's own id field: its line goes through as it is. JSON (top level, or one level
 * down in the objects that frameworks nest it in), or logfmt-like `key=value` words. An empty, null
 * or all-zero value is no id: tracing libraries print those when there is no request. */
#include "agent/correlate/inline.h"
#include "userspace/base/json.h"

static const char *const keys[] = {
	"trace_id",	    "traceid",	     "trace.id",	"dd.trace_id",
	"oteltraceid",	    "trace-id",	     "request_id",	"requestid",
	"request.id",	    "request-id",    "x_request_id",	"x-request-id",
	"correlation_id",   "correlationid", "correlation.id",	"correlation-id",
	"x-correlation-id", "req_id",	     "http.request.id", "logging.googleapis.com/trace",
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
		if (tl_span_ieq(name, keys[i]))
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

bool tl_app_id(struct tl_span text, struct tl_span *ret_id)
{
	size_t skip = 0;

	if (!text.len)
		return false;
	while (skip < text.len && (text.data[skip] == ' ' || text.data[skip] == '\t'))
		skip++;
	if (skip < text.len && text.data[skip] == '{')
		return in_json(text, ret_id);
	return in_logfmt(text, ret_id);
}
