/* SPDX-License-Identifier: Apache-2.0 */
/* Access lines in the common and combined log formats (Apache, nginx, python http.server): client
 * ident user [time] "METHOD path PROTOCOL" status size ["referer" "agent"]. The body stays as it
 * is. The query string is cut off the path. */
#include "userspace/parse/parsers.h"

static bool take(struct tl_span *text, char end, struct tl_span *ret)
{
	const char *at = text->len ? memchr(text->data, end, text->len) : NULL;

	if (!at)
		return false;
	*ret = (struct tl_span){text->data, (size_t)(at - text->data)};
	text->data += ret->len + 1;
	text->len -= ret->len + 1;
	return true;
}

static bool expect(struct tl_span *text, char c)
{
	if (!text->len || text->data[0] != c)
		return false;
	text->data++;
	text->len--;
	return true;
}

struct access {
	struct tl_span client, user, time, method, path, protocol, status, size;
};

static bool read_request(struct tl_span request, struct access *a)
{
	struct tl_span rest = request;
	const char *query;

	if (!take(&rest, ' ', &a->method) || !a->method.len || a->method.len > 16)
		return false;
	for (size_t i = 0; i < a->method.len; i++)
		if (a->method.data[i] < 'A' || a->method.data[i] > 'Z')
			return false;
	if (!take(&rest, ' ', &a->path))
		return false;
	a->protocol = rest;
	query = a->path.len ? memchr(a->path.data, '?', a->path.len) : NULL;
	if (query)
		a->path.len = (size_t)(query - a->path.data);
	return rest.len > 5 && memcmp(rest.data, "HTTP/", 5) == 0;
}

static bool read_access(struct tl_span text, struct access *a)
{
	struct tl_span ident, request;
	const char *end;

	if (!take(&text, ' ', &a->client) || !a->client.len || !take(&text, ' ', &ident) ||
	    !take(&text, ' ', &a->user) || !expect(&text, '[') || !take(&text, ']', &a->time) ||
	    !expect(&text, ' ') || !expect(&text, '"') || !take(&text, '"', &request) ||
	    !expect(&text, ' ') || !read_request(request, a))
		return false;
	end = text.len ? memchr(text.data, ' ', text.len) : NULL;
	a->status = (struct tl_span){text.data, end ? (size_t)(end - text.data) : text.len};
	if (a->status.len != 3 || tl_digits(a->status.data, 3) < 100)
		return false;
	text.data += a->status.len, text.len -= a->status.len;
	if (expect(&text, ' '))
		while (a->size.len < text.len && tl_is_digit(text.data[a->size.len]))
			a->size = (struct tl_span){text.data, a->size.len + 1};
	return true;
}

static int parse_access(struct tl_record *record, struct tl_arena *arena)
{
	struct tl_attrs *attributes = &record->attributes;
	struct access a = {0};
	uint64_t when;

	(void)arena;
	if (record->body.len < 30 || !read_access(record->body, &a))
		return 0;
	if (tl_timestamp_parse(a.time, record->observed_ns, &when))
		record->timestamp_ns = when;
	tl_attr_set(attributes, "client.address", a.client);
	if (a.user.len && !tl_span_is(a.user, "-"))
		tl_attr_set(attributes, "user.name", a.user);
	tl_attr_set(attributes, "http.request.method", a.method);
	tl_attr_set(attributes, "url.path", a.path);
	tl_attr_set(attributes, "network.protocol.version",
		    (struct tl_span){a.protocol.data + 5, a.protocol.len - 5});
	tl_attr_set_span(attributes, TL_SPAN_LIT("http.response.status_code"), a.status,
			 TL_ATTR_LITERAL);
	if (a.size.len && a.size.len < 16 && (a.size.len == 1 || a.size.data[0] != '0'))
		tl_attr_set_span(attributes, TL_SPAN_LIT("http.response.body.size"), a.size,
				 TL_ATTR_LITERAL);
	if (!record->severity_number) {
		record->severity_number = a.status.data[0] == '5'   ? 17
					  : a.status.data[0] == '4' ? 13
								    : 9;
		record->severity_text = tl_span_str(tl_severity_text(record->severity_number));
	}
	return 1;
}

const struct tl_parser_ops tl_parser_access = {
	.name = "access",
	.about = "Access logs in the common and combined formats (Apache, nginx, python "
		 "http.server).",
	.parse = parse_access,
};
