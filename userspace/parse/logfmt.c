/* SPDX-License-Identifier: Apache-2.0 */
/* logfmt: key=value key="quoted value" flag. A line is taken for logfmt when it begins with a pair
 * and has two pairs at least. */
#include "userspace/parse/parsers.h"

struct pair {
	struct tl_span key, value;
	bool quoted, escaped;
};

static bool is_key_char(char c)
{
	return tl_is_letter(c) || tl_is_digit(c) || c == '_' || c == '-' || c == '.' || c == '@' ||
	       c == '/';
}

static bool read_quoted(struct tl_span text, size_t *at, struct pair *ret)
{
	size_t start = *at + 1, i = start;

	while (i < text.len && text.data[i] != '"') {
		if (text.data[i] == '\\') {
			ret->escaped = true;
			i++;
		}
		i++;
	}
	if (i >= text.len)
		return false;
	ret->quoted = true;
	ret->value = (struct tl_span){text.data + start, i - start};
	*at = i + 1;
	return *at == text.len || text.data[*at] == ' ' || text.data[*at] == '\t';
}

/* Reads the pair at `*at`. Returns 1 a pair, 0 the end, -1 this is no logfmt. */
static int next_pair(struct tl_span text, size_t *at, struct pair *ret)
{
	size_t i = *at, start;

	while (i < text.len && (text.data[i] == ' ' || text.data[i] == '\t'))
		i++;
	if (i == text.len)
		return 0;
	*ret = (struct pair){0};
	start = i;
	while (i < text.len && is_key_char(text.data[i]))
		i++;
	if (i == start || i == text.len || text.data[i] != '=')
		return -1;
	ret->key = (struct tl_span){text.data + start, i - start};
	i++;
	if (i < text.len && text.data[i] == '"') {
		*at = i;
		return read_quoted(text, at, ret) ? 1 : -1;
	}
	start = i;
	while (i < text.len && text.data[i] != ' ' && text.data[i] != '\t' && text.data[i] != '"' &&
	       text.data[i] != '=')
		i++;
	if (i < text.len && (text.data[i] == '"' || text.data[i] == '='))
		return -1;
	ret->value = (struct tl_span){text.data + start, i - start};
	*at = i;
	return 1;
}

static struct tl_span unquote(struct tl_span value, struct tl_arena *arena)
{
	char *out = tl_arena_alloc(arena, value.len + 1);
	size_t n = 0;

	if (!out)
		return value;
	for (size_t i = 0; i < value.len; i++) {
		char c = value.data[i];

		if (c == '\\' && i + 1 < value.len) {
			c = value.data[++i];
			c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
		}
		out[n++] = c;
	}
	return (struct tl_span){out, n};
}

/* A JSON number of plain digits: kept as a literal. Others ("007", "1e999") stay text. */
static bool is_number(struct tl_span value)
{
	size_t i = value.len && value.data[0] == '-', digits = i;
	bool dot = false;

	if (value.len == 0 || value.len > 18)
		return false;
	for (; i < value.len; i++) {
		if (value.data[i] == '.' && !dot && i > digits && i + 1 < value.len)
			dot = true;
		else if (!tl_is_digit(value.data[i]))
			return false;
	}
	if (value.len == digits)
		return false;
	return value.data[digits] != '0' || value.len == digits + 1 ||
	       value.data[digits + 1] == '.';
}

static bool looks_like(struct tl_span text)
{
	struct pair pair;
	size_t at = 0;
	int n = 0, r;

	if (!text.len || !is_key_char(text.data[0]))
		return false;
	while ((r = next_pair(text, &at, &pair)) == 1)
		n++;
	return r == 0 && n >= 2;
}

static int parse_logfmt(struct tl_record *record, struct tl_arena *arena)
{
	struct tl_span text = record->body;
	uint32_t agent = record->attributes.n;
	struct pair pair;
	size_t at = 0;

	if (!looks_like(text))
		return 0;
	while (next_pair(text, &at, &pair) == 1) {
		bool number =
			!pair.quoted && (is_number(pair.value) || tl_span_is(pair.value, "true") ||
					 tl_span_is(pair.value, "false"));

		if (pair.escaped)
			pair.value = unquote(pair.value, arena);
		tl_field_put(record, tl_field_own_key(record, agent, pair.key, arena), pair.value,
			     number ? TL_ATTR_LITERAL : TL_ATTR_STRING);
	}
	return 1;
}

const struct tl_parser_ops tl_parser_logfmt = {
	.name = "logfmt",
	.about = "key=value pairs, values quoted where they have spaces.",
	.parse = parse_logfmt,
};
