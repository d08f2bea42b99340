/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of every request, which carry credentials: no message shows a value. */
#include <ctype.h>
#include <stdio.h>

#include "userspace/sink/otlp.h"

void tl_otlp_headers_done(struct tl_otlp_headers *headers)
{
	for (size_t i = 0; i < headers->n; i++) {
		explicit_bzero(headers->lines[i], strlen(headers->lines[i]));
		free(headers->lines[i]);
	}
	memset(headers, 0, sizeof(*headers));
}

static struct tl_span trim(struct tl_span s)
{
	while (s.len && isspace((unsigned char)s.data[0]))
		s = (struct tl_span){s.data + 1, s.len - 1};
	while (s.len && isspace((unsigned char)s.data[s.len - 1]))
		s.len--;
	return s;
}

/* RFC 9110: token characters. */
static bool is_name(struct tl_span name)
{
	for (size_t i = 0; i < name.len; i++)
		if (!isalnum((unsigned char)name.data[i]) &&
		    !strchr("!#$%&'*+-.^_`|~", name.data[i]))
			return false;
	return name.len > 0;
}

/* A value may not begin another header. */
static bool is_value(const char *value)
{
	for (; *value; value++)
		if (((unsigned char)*value < 0x20 && *value != '\t') || *value == 0x7f)
			return false;
	return true;
}

static int set(struct tl_otlp_headers *headers, struct tl_span name, const char *value,
	       struct tl_error *error)
{
	size_t i = 0;
	char *line;

	if (!is_name(name) || !is_value(value))
		return tl_error_set(error, -EINVAL, "header %zu is none: write NAME=VALUE",
				    headers->n + 1);
	while (i < headers->n && (strncasecmp(headers->lines[i], name.data, name.len) != 0 ||
				  headers->lines[i][name.len] != ':'))
		i++;
	if (i == TL_OTLP_HEADERS_MAX)
		return tl_error_set(error, -EINVAL, "more than %d headers", TL_OTLP_HEADERS_MAX);
	if (asprintf(&line, "%.*s: %s", (int)name.len, name.data, value) < 0)
		return tl_error_set(error, -ENOMEM, "out of memory");
	free(headers->lines[i]);
	headers->lines[i] = line;
	if (i == headers->n)
		headers->n++;
	return 0;
}

static int hex(char c)
{
	return isdigit((unsigned char)c)    ? c - '0'
	       : isxdigit((unsigned char)c) ? (c | 0x20) - 'a' + 10
					    : -1;
}

/* Percent-decodes into a copy that the caller frees; `decode` false: only a copy. */
static char *value_of(struct tl_span text, bool decode)
{
	char *out = malloc(text.len + 1);
	size_t n = 0;

	for (size_t i = 0; out && i < text.len; i++) {
		if (decode && text.data[i] == '%' && i + 2 < text.len &&
		    hex(text.data[i + 1]) >= 0 && hex(text.data[i + 2]) >= 0) {
			out[n++] = (char)(hex(text.data[i + 1]) << 4 | hex(text.data[i + 2]));
			i += 2;
		} else {
			out[n++] = text.data[i];
		}
	}
	if (out)
		out[n] = 0;
	return out;
}

static int add_one(struct tl_otlp_headers *headers, struct tl_span item, const char *separators,
		   bool decode, struct tl_error *error)
{
	size_t at = 0;
	char *value;
	int r;

	while (at < item.len && !strchr(separators, item.data[at]))
		at++;
	if (at == item.len)
		return tl_error_set(error, -EINVAL, "header %zu is none: write NAME=VALUE",
				    headers->n + 1);
	value = value_of(trim((struct tl_span){item.data + at + 1, item.len - at - 1}), decode);
	if (!value)
		return tl_error_set(error, -ENOMEM, "out of memory");
	r = set(headers, trim((struct tl_span){item.data, at}), value, error);
	explicit_bzero(value, strlen(value));
	free(value);
	return r;
}

static int add_all(struct tl_otlp_headers *headers, const char *text, char between,
		   const char *separators, bool decode, struct tl_error *error)
{
	int r = 0;

	while (r == 0 && *text) {
		const char *end = strchrnul(text, between);
		struct tl_span item = trim((struct tl_span){text, (size_t)(end - text)});

		if (item.len && (decode || item.data[0] != '#'))
			r = add_one(headers, item, separators, decode, error);
		text = *end ? end + 1 : end;
	}
	return r;
}

int tl_otlp_headers_add(struct tl_otlp_headers *headers, const char *list, struct tl_error *error)
{
	return add_all(headers, list, ',', "=", true, error);
}

int tl_otlp_headers_file(struct tl_otlp_headers *headers, const char *text, struct tl_error *error)
{
	return add_all(headers, text, '\n', ":=", false, error);
}
