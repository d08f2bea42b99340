/* SPDX-License-Identifier: Apache-2.0 */
/* What people type: words and conditions, times. */
#include <ctype.h>
#include <stdio.h>
#include <time.h>

#include "userspace/base/clock.h"
#include "userspace/base/text.h"
#include "userspace/store/query.h"

static bool is_field_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '-' || c == '/' ||
	       c == '@';
}

static const struct {
	const char *text;
	enum tl_compare compare;
} operators[] = {
	{"!=", TL_IS_NOT}, {">=", TL_AT_LEAST}, {"<=", TL_AT_MOST}, {"=", TL_IS},
	{"~", TL_LIKE},	   {">", TL_ABOVE},	{"<", TL_BELOW},
};

/* Length of the token at `text`: up to a blank outside quotes. */
static size_t token_length(const char *text)
{
	bool quoted = false;
	size_t n = 0;

	for (; text[n] && (quoted || !isspace((unsigned char)text[n])); n++)
		if (text[n] == '"')
			quoted = !quoted;
	return n;
}

static struct tl_span strip_quotes(struct tl_span text)
{
	if (text.len >= 2 && text.data[0] == '"' && text.data[text.len - 1] == '"')
		return (struct tl_span){text.data + 1, text.len - 2};
	return text;
}

/* Returns true when the token is FIELD OPERATOR VALUE. */
static bool as_condition(struct tl_span token, struct tl_condition *ret)
{
	size_t n = 0;

	if (token.len == 0 || (!isalpha((unsigned char)token.data[0]) && token.data[0] != '_'))
		return false;
	while (n < token.len && is_field_char(token.data[n]))
		n++;
	for (size_t i = 0; i < ARRAY_SIZE(operators); i++) {
		size_t len = strlen(operators[i].text);

		if (token.len - n < len || memcmp(token.data + n, operators[i].text, len) != 0)
			continue;
		ret->field = (struct tl_span){token.data, n};
		ret->value =
			strip_quotes((struct tl_span){token.data + n + len, token.len - n - len});
		ret->compare = operators[i].compare;
		return true;
	}
	return false;
}

static int add_token(struct tl_query *query, struct tl_span token, struct tl_error *error)
{
	struct tl_condition condition;

	if (as_condition(token, &condition)) {
		if (query->n_conditions == TL_CONDITIONS_MAX)
			return tl_error_set(error, -E2BIG, "more than %d conditions",
					    TL_CONDITIONS_MAX);
		query->conditions[query->n_conditions++] = condition;
		return 0;
	}
	if (token.len == 2 && token.data[0] == '"' && token.data[1] == '"')
		return 0;
	if (token.data[0] == '"' && (token.len == 1 || token.data[token.len - 1] != '"'))
		return tl_error_set(error, -EINVAL, "a quote is not closed in: %.*s",
				    (int)token.len, token.data);
	if (query->n_words == TL_CONDITIONS_MAX)
		return tl_error_set(error, -E2BIG, "more than %d words", TL_CONDITIONS_MAX);
	query->words[query->n_words++] = token;
	return 0;
}

int tl_query_parse(struct tl_query *query, const char *text, struct tl_error *error)
{
	int r = 0;

	while (r == 0 && *text) {
		size_t n;

		while (isspace((unsigned char)*text))
			text++;
		n = token_length(text);
		if (n)
			r = add_token(query, (struct tl_span){text, n}, error);
		text += n;
	}
	return r;
}

int tl_query_argument(struct tl_query *query, const char *text, struct tl_error *error)
{
	struct tl_query tried = *query;
	size_t blank = strcspn(text, " \t\n");

	if (!text[blank] || strchr(text, '"'))
		return tl_query_parse(query, text, error);
	if (tl_query_parse(&tried, text, error) == 0 && tried.n_conditions > query->n_conditions) {
		*query = tried;
		return 0;
	}
	if (query->n_words == TL_CONDITIONS_MAX)
		return tl_error_set(error, -E2BIG, "more than %d words", TL_CONDITIONS_MAX);
	query->words[query->n_words++] = tl_span_str(text);
	return 0;
}

int tl_query_condition(struct tl_query *query, const char *field, enum tl_compare compare,
		       const char *value, struct tl_error *error)
{
	if (query->n_conditions == TL_CONDITIONS_MAX)
		return tl_error_set(error, -E2BIG, "more than %d conditions", TL_CONDITIONS_MAX);
	query->conditions[query->n_conditions++] =
		(struct tl_condition){tl_span_str(field), tl_span_str(value), compare};
	return 0;
}

int tl_query_id(struct tl_query *query, const char *id, struct tl_error *error)
{
	return tl_query_condition(query, "request", TL_IS, id, error);
}

/* Local time: a date, a time of today, or both. */
static bool parse_local(const char *text, uint64_t now_ns, uint64_t *ret_ns)
{
	static const char *const formats[] = {
		"%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M",
		"%Y-%m-%d",	     "%H:%M:%S",	  "%H:%M"};
	time_t now = (time_t)(now_ns / TL_SEC), then;

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		struct tm tm;
		const char *end;

		localtime_r(&now, &tm);
		tm.tm_sec = 0;
		if (formats[i][1] == 'Y')
			tm.tm_hour = tm.tm_min = 0;
		end = strptime(text, formats[i], &tm);
		if (!end || *end)
			continue;
		tm.tm_isdst = -1;
		then = mktime(&tm);
		if (then < 0)
			return false;
		*ret_ns = (uint64_t)then * TL_SEC;
		return true;
	}
	return false;
}

int tl_query_time(const char *text, uint64_t now_ns, uint64_t *ret_ns, struct tl_error *error)
{
	uint64_t ns;

	if (tl_time_parse(text, strlen(text), &ns) == 0 || parse_local(text, now_ns, &ns)) {
		*ret_ns = ns;
		return 0;
	}
	if (tl_duration_parse(text, &ns) == 0) {
		*ret_ns = ns < now_ns ? now_ns - ns : 1;
		return 0;
	}
	return tl_error_set(
		error, -EINVAL,
		"`%s` is no time: write 10m, 2h, 14:30, 2026-11-23, \"2026-11-23 14:30\" or "
		"2026-11-23T14:30:00Z",
		text);
}
