/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/correlate/http1_line.h"

static const char *const methods[] = {
	"GET",	   "POST",	"HEAD",	      "PUT",	   "DELETE", "OPTIONS", "PATCH",
	"CONNECT", "TRACE",	"PROPFIND",   "PROPPATCH", "MKCOL",  "COPY",	"MOVE",
	"LOCK",	   "UNLOCK",	"REPORT",     "SEARCH",	   "PURGE",  "QUERY",	"MERGE",
	"NOTIFY",  "SUBSCRIBE", "MKACTIVITY", "CHECKOUT",
};

static bool is_token_char(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(struct tl_span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_token_char(s.data[i]))
			return false;
	return s.len > 0;
}

static struct tl_span trim(struct tl_span s)
{
	while (s.len && (s.data[0] == ' ' || s.data[0] == '\t')) {
		s.data++;
		s.len--;
	}
	while (s.len && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* Sets `http10`. False for anything but HTTP/1.0 and HTTP/1.1. */
static bool read_version(struct tl_http1 *parser, struct tl_span s)
{
	if (s.len != 8 || memcmp(s.data, "HTTP/1.", 7) != 0 ||
	    (s.data[7] != '0' && s.data[7] != '1'))
		return false;
	parser->http10 = s.data[7] == '0';
	return true;
}

/* Keeps the path alone: a query, a fragment or a user's password in the authority are nobody's
 * business here. */
struct tl_span tl_http1_path(struct tl_span target)
{
	const char *end, *scheme = target.len ? memmem(target.data, target.len, "://", 3) : NULL;

	if (target.len && target.data[0] != '/' && scheme) {
		size_t skip = (size_t)(scheme - target.data) + 3;

		target.data += skip;
		target.len -= skip;
		for (; target.len && !strchr("/?#", target.data[0]); target.len--)
			target.data++;
		if (!target.len || target.data[0] != '/')
			return TL_SPAN_LIT("/");
	}
	for (end = target.data; end < target.data + target.len && *end != '?' && *end != '#'; end++)
		;
	return (struct tl_span){target.data, (size_t)(end - target.data)};
}

bool tl_http1_request_line(struct tl_http1 *parser, struct tl_span line)
{
	const char *space = line.len ? memchr(line.data, ' ', line.len) : NULL;
	const char *last = line.len ? memrchr(line.data, ' ', line.len) : NULL;
	struct tl_http1_start start = {.status = 0};

	if (!space || last == space)
		return false;
	start.method = (struct tl_span){line.data, (size_t)(space - line.data)};
	if (start.method.len > 32 || !is_token(start.method))
		return false;
	if (!read_version(parser,
			  (struct tl_span){last + 1, (size_t)(line.data + line.len - last - 1)}))
		return false;
	start.path = tl_http1_path(trim((struct tl_span){space + 1, (size_t)(last - space - 1)}));
	parser->ops->start(parser->arg, &start);
	return true;
}

bool tl_http1_status_line(struct tl_http1 *parser, struct tl_span line)
{
	struct tl_http1_start start = {.status = 0};

	if (line.len < 12 || !read_version(parser, (struct tl_span){line.data, 8}) ||
	    line.data[8] != ' ')
		return false;
	for (int i = 9; i < 12; i++) {
		if (line.data[i] < '0' || line.data[i] > '9')
			return false;
		start.status = start.status * 10 + (line.data[i] - '0');
	}
	if (start.status < 100 || (line.len > 12 && line.data[12] != ' '))
		return false;
	parser->status = start.status;
	parser->ops->start(parser->arg, &start);
	return true;
}

static void on_content_length(struct tl_http1 *parser, struct tl_span value)
{
	uint64_t n = 0;

	if (!value.len)
		parser->faulty = true;
	for (size_t i = 0; i < value.len; i++) {
		unsigned digit = (unsigned)(value.data[i] - '0');

		if (digit > 9 || __builtin_mul_overflow(n, UINT64_C(10), &n) ||
		    __builtin_add_overflow(n, digit, &n)) {
			parser->faulty = true;
			return;
		}
	}
	if (parser->has_length && parser->length != n)
		parser->faulty = true;
	parser->has_length = true;
	parser->length = n;
}

/* Only the last coding matters for the framing; `chunked` anywhere else is faulty. */
static void on_transfer_encoding(struct tl_http1 *parser, struct tl_span value)
{
	const char *comma = value.len ? memrchr(value.data, ',', value.len) : NULL;
	size_t from = comma ? (size_t)(comma - value.data) + 1 : 0;

	if (parser->chunked || parser->http10)
		parser->faulty = true;
	parser->has_coding = true;
	parser->chunked =
		tl_span_ieq(trim((struct tl_span){value.data + from, value.len - from}), "chunked");
}

void tl_http1_header_line(struct tl_http1 *parser, struct tl_span line)
{
	const char *colon = memchr(line.data, ':', line.len);
	struct tl_span name = {line.data, colon ? (size_t)(colon - line.data) : 0}, value;
	bool length, coding;

	/* A folded line changes the value of the header before it. */
	if (line.data[0] == ' ' || line.data[0] == '\t')
		parser->faulty = true;
	/* A line without a name, or with a bare CR, ends the header for some servers (CPython's)
	 * and not for others: whose id is behind it? */
	if (!parser->response && (!is_token(name) || memchr(line.data, '\r', line.len)))
		parser->faulty = true;
	if (!colon)
		return;
	length = tl_span_ieq(trim(name), "content-length");
	coding = tl_span_ieq(trim(name), "transfer-encoding");
	if ((length || coding) && (parser->too_long || !is_token(name)))
		parser->faulty = true;
	if (parser->too_long || !is_token(name))
		return;
	value = trim((struct tl_span){colon + 1, line.len - name.len - 1});
	if (length)
		on_content_length(parser, value);
	else if (coding)
		on_transfer_encoding(parser, value);
	else
		parser->ops->header(parser->arg, name, value);
}

int tl_http1_looks_request(struct tl_span data)
{
	int best = 0;

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		size_t len = strlen(methods[i]), n = data.len < len ? data.len : len;

		if (memcmp(data.data, methods[i], n) != 0)
			continue;
		if (data.len > len && data.data[len] == ' ')
			return 2;
		if (data.len <= len)
			best = 1;
	}
	return best;
}

bool tl_http1_looks_final(struct tl_span data)
{
	return data.len >= 10 && tl_http1_looks_response(data) == 2 && data.data[9] >= '2';
}

int tl_http1_looks_response(struct tl_span data)
{
	size_t n = data.len < 7 ? data.len : 7;

	if (memcmp(data.data, "HTTP/1.", n) != 0)
		return 0;
	return data.len >= 7 ? 2 : 1;
}
