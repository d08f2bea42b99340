/* SPDX-License-Identifier: Apache-2.0 */
/* Records carry streams: parameters (names and values, each with its length, cut anywhere), the
 * request's body, the response (header lines, then the body). An empty record ends a stream. */
#include "agent/correlate/fastcgi.h"

enum {
	BEGIN_REQUEST = 1,
	ABORT_REQUEST = 2,
	END_REQUEST = 3,
	PARAMS = 4,
	STDIN = 5,
	STDOUT = 6,
	STDERR = 7,
};

/* The content of BEGIN_REQUEST, 8 bytes. */
#define FLAGS_AT 2
#define KEEP_CONN 1

/* Of the stream of parameters, or of the response. */
enum state { LENGTHS, NAME, VALUE, LINES, BODY };

void tl_fastcgi_init(struct tl_fastcgi *parser, bool response, const struct tl_http1_ops *ops,
		     void *arg, int *status)
{
	memset(parser, 0, sizeof(*parser));
	parser->response = response;
	parser->ops = ops;
	parser->arg = arg;
	parser->status = status;
}

static void begin_request(struct tl_fastcgi *parser, uint16_t id)
{
	parser->id = id;
	parser->told = false;
	parser->body_bytes = 0;
	parser->name_left = parser->value_left = 0;
	parser->line_len = parser->name_len = parser->lengths_len = 0;
	parser->method_len = parser->path_len = 0;
	parser->state = parser->response ? LINES : LENGTHS;
}

void tl_fastcgi_reset(struct tl_fastcgi *parser)
{
	explicit_bzero(parser->line, sizeof(parser->line));
	explicit_bzero(parser->path, sizeof(parser->path));
	begin_request(parser, 0);
	parser->left = parser->pad = 0;
	parser->head_len = 0;
	parser->broken = false;
}

static void broken(struct tl_fastcgi *parser)
{
	tl_fastcgi_reset(parser);
	parser->broken = true;
}

/* --- parameters --- */

static struct tl_span named(const struct tl_fastcgi *parser)
{
	return (struct tl_span){parser->name, parser->name_len};
}

/* HTTP_X_REQUEST_ID is what x-request-id was. */
static void tell_header(struct tl_fastcgi *parser, struct tl_span value)
{
	char name[sizeof(parser->name)];
	size_t n = parser->name_len - 5u;

	for (size_t i = 0; i < n; i++) {
		char c = parser->name[5 + i];

		name[i] = (char)(c == '_' ? '-' : c >= 'A' && c <= 'Z' ? c | 0x20 : c);
	}
	parser->ops->header(parser->arg, (struct tl_span){name, n}, value);
}

static void on_param(struct tl_fastcgi *parser)
{
	struct tl_span value = {parser->line, parser->line_len};

	if (tl_span_is(named(parser), "REQUEST_METHOD") && value.len <= sizeof(parser->method)) {
		memcpy(parser->method, value.data, value.len);
		parser->method_len = (uint16_t)value.len;
	} else if (tl_span_is(named(parser), "REQUEST_URI") ||
		   (tl_span_is(named(parser), "SCRIPT_NAME") && !parser->path_len)) {
		struct tl_span path = tl_http1_path(value);

		memcpy(parser->path, path.data, path.len);
		parser->path_len = (uint16_t)path.len;
	} else if (parser->name_len > 5 && memcmp(parser->name, "HTTP_", 5) == 0) {
		tell_header(parser, value);
	}
	explicit_bzero(parser->line, parser->line_len);
	parser->line_len = parser->name_len = 0;
	parser->state = LENGTHS;
}

static size_t length_bytes(uint8_t first)
{
	return first & 0x80 ? 4 : 1;
}

static uint32_t length_at(const uint8_t *p)
{
	if (!(p[0] & 0x80))
		return p[0];
	return (uint32_t)(p[0] & 0x7f) << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Two lengths of 1 or 4 bytes. */
static void feed_length(struct tl_fastcgi *parser, uint8_t byte)
{
	size_t first, need;

	parser->lengths[parser->lengths_len++] = byte;
	first = length_bytes(parser->lengths[0]);
	need = parser->lengths_len > first ? first + length_bytes(parser->lengths[first])
					   : first + 1;
	if (parser->lengths_len < need)
		return;
	parser->name_left = length_at(parser->lengths);
	parser->value_left = length_at(parser->lengths + first);
	parser->lengths_len = 0;
	parser->state = NAME;
	if (!parser->name_left)
		parser->state = VALUE;
	if (!parser->name_left && !parser->value_left)
		on_param(parser);
}

/* Copies as much as there is room for; what is longer is cut, and then is no id. */
static size_t keep(char *to, uint16_t *len, size_t max, const char *data, size_t n, uint32_t *left)
{
	size_t take = n < *left ? n : *left, room = max - *len, copy = take < room ? take : room;

	memcpy(to + *len, data, copy);
	*len = (uint16_t)(*len + copy);
	*left -= (uint32_t)take;
	return take;
}

static size_t feed_params(struct tl_fastcgi *parser, const char *data, size_t len)
{
	size_t n;

	switch ((enum state)parser->state) {
	case NAME:
		n = keep(parser->name, &parser->name_len, sizeof(parser->name), data, len,
			 &parser->name_left);
		if (!parser->name_left)
			parser->state = VALUE;
		if (!parser->name_left && !parser->value_left)
			on_param(parser);
		return n;
	case VALUE:
		n = keep(parser->line, &parser->line_len, sizeof(parser->line), data, len,
			 &parser->value_left);
		if (!parser->value_left)
			on_param(parser);
		return n;
	default:
		feed_length(parser, (uint8_t)*data);
		return 1;
	}
}

static void end_params(struct tl_fastcgi *parser)
{
	struct tl_http1_start start = {
		.method = {parser->method, parser->method_len},
		.path = {parser->path, parser->path_len},
	};

	if (parser->state != LENGTHS || parser->lengths_len)
		return broken(parser);
	parser->told = true;
	parser->ops->start(parser->arg, &start);
	if (parser->ops->head(parser->arg) == TL_HTTP1_STOP)
		broken(parser);
}

/* --- the response --- */

static struct tl_span trimmed(struct tl_span s)
{
	while (s.len && (*s.data == ' ' || *s.data == '\t')) {
		s.data++;
		s.len--;
	}
	while (s.len && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
		s.len--;
	return s;
}

static void set_status(struct tl_fastcgi *parser, struct tl_span value)
{
	int status = 0;

	for (size_t i = 0; i < value.len && i < 3 && value.data[i] >= '0' && value.data[i] <= '9';
	     i++)
		status = status * 10 + (value.data[i] - '0');
	if (status >= 200)
		*parser->status = status;
}

static void on_line(struct tl_fastcgi *parser)
{
	struct tl_span line = {parser->line, parser->line_len}, name, value;
	const char *colon = line.len ? memchr(line.data, ':', line.len) : NULL;

	if (!colon)
		return;
	name = (struct tl_span){line.data, (size_t)(colon - line.data)};
	value = trimmed((struct tl_span){colon + 1, line.len - name.len - 1});
	if (tl_span_ieq(name, "status"))
		set_status(parser, value);
	else
		parser->ops->header(parser->arg, name, value);
}

static void tell_head(struct tl_fastcgi *parser)
{
	struct tl_http1_start start = {.status = *parser->status};

	parser->told = true;
	parser->state = BODY;
	parser->ops->start(parser->arg, &start);
	if (parser->ops->head(parser->arg) == TL_HTTP1_STOP)
		broken(parser);
}

static size_t feed_response(struct tl_fastcgi *parser, const char *data, size_t len)
{
	const char *lf = memchr(data, '\n', len);
	uint32_t take = (uint32_t)(lf ? (size_t)(lf - data) : len), all = take;

	if (parser->state == BODY) {
		parser->body_bytes += len;
		return len;
	}
	keep(parser->line, &parser->line_len, sizeof(parser->line), data, take, &all);
	if (!lf)
		return len;
	if (parser->line_len && parser->line[parser->line_len - 1] == '\r')
		parser->line_len--;
	if (parser->line_len)
		on_line(parser);
	else
		tell_head(parser);
	explicit_bzero(parser->line, parser->line_len);
	parser->line_len = 0;
	return take + 1;
}

/* A request's first record in this direction: the response has no other beginning. */
static void begin_response(struct tl_fastcgi *parser, uint16_t id)
{
	begin_request(parser, id);
	*parser->status = 200;
	parser->began_at = parser->fed;
	parser->ops->begin(parser->arg);
}

static void end_response(struct tl_fastcgi *parser)
{
	if (!parser->told)
		tell_head(parser);
	if (parser->broken)
		return;
	parser->ops->end(parser->arg, parser->body_bytes);
	parser->id = 0;
}

/* --- records --- */

static void end_record(struct tl_fastcgi *parser)
{
	bool empty = !(parser->head[4] | parser->head[5]);

	parser->head_len = 0;
	if (parser->type == PARAMS && empty) {
		end_params(parser);
	} else if (parser->type == STDIN && empty) {
		parser->ops->end(parser->arg, parser->body_bytes);
		parser->id = 0;
	} else if (parser->type == END_REQUEST) {
		end_response(parser);
	}
}

/* Whether the record may come now; begins the request that it begins. */
static bool accept_record(struct tl_fastcgi *parser, uint16_t id)
{
	bool of_response =
		parser->type == END_REQUEST || parser->type == STDOUT || parser->type == STDERR;

	if (parser->head[0] != 1 || !parser->type || parser->type > 11)
		return false;
	if (!id || parser->type > 8) /* management */
		return !id && parser->type > 8;
	if (parser->response) {
		if (of_response && !parser->id)
			begin_response(parser, id);
		return of_response && parser->id == id;
	}
	if (parser->type == BEGIN_REQUEST) {
		if (parser->id || parser->left != 8)
			return false;
		begin_request(parser, id);
		parser->ops->begin(parser->arg);
		return true;
	}
	if (parser->type == PARAMS && parser->told)
		return false;
	return !of_response && parser->id == id && (parser->type != STDIN || parser->told);
}

static void begin_record(struct tl_fastcgi *parser)
{
	const uint8_t *head = parser->head;

	parser->type = head[1];
	parser->left = (uint32_t)head[4] << 8 | head[5];
	parser->pad = head[6];
	if (!accept_record(parser, (uint16_t)(head[2] << 8 | head[3])))
		return broken(parser);
	if (!parser->left && !parser->pad)
		end_record(parser);
}

static size_t feed_head(struct tl_fastcgi *parser, const char *data, size_t len)
{
	size_t want = sizeof(parser->head) - parser->head_len, n = len < want ? len : want;

	if (!parser->head_len && !parser->id)
		parser->began_at = parser->fed;
	memcpy(parser->head + parser->head_len, data, n);
	parser->head_len = (uint8_t)(parser->head_len + n);
	if (parser->head_len == sizeof(parser->head))
		begin_record(parser);
	return n;
}

/* Two bytes say what the application is, then come flags. */
static void on_begin_body(struct tl_fastcgi *parser, const char *data, size_t len)
{
	size_t at = 8 - parser->left;

	if (data && at <= FLAGS_AT && at + len > FLAGS_AT)
		parser->closes = !(data[FLAGS_AT - at] & KEEP_CONN);
}

/* Content, then padding. `data` NULL: not seen. */
static size_t feed_record(struct tl_fastcgi *parser, const char *data, size_t len)
{
	uint32_t *part = parser->left ? &parser->left : &parser->pad;
	size_t n = len < *part ? len : *part;
	bool body = parser->type == STDIN || (parser->type == STDOUT && parser->state == BODY);

	if (part == &parser->pad || parser->type == STDERR || parser->type == END_REQUEST ||
	    parser->type > STDERR)
		; /* not looked at */
	else if (parser->type == BEGIN_REQUEST)
		on_begin_body(parser, data, n);
	else if (body)
		parser->body_bytes += n;
	else if (!data)
		broken(parser);
	else
		n = parser->type == PARAMS ? feed_params(parser, data, n)
					   : feed_response(parser, data, n);
	if (parser->broken)
		return n;
	*part -= (uint32_t)n;
	if (!parser->left && !parser->pad)
		end_record(parser);
	return n;
}

void tl_fastcgi_feed(struct tl_fastcgi *parser, const char *data, size_t len)
{
	while (len) {
		size_t n = parser->broken ? len
			   : parser->head_len < sizeof(parser->head)
				   ? feed_head(parser, data, len)
				   : feed_record(parser, data, len);

		data += n;
		len -= n;
		parser->fed += n;
	}
}

void tl_fastcgi_skip(struct tl_fastcgi *parser, uint64_t len)
{
	while (len && !parser->broken && parser->head_len == sizeof(parser->head)) {
		size_t n = feed_record(parser, NULL, (size_t)len);

		len -= n;
		parser->fed += n;
	}
	if (len)
		broken(parser);
	parser->fed += len;
}

int tl_fastcgi_looks(struct tl_span data)
{
	static const uint8_t want[8] = {1, 1, 0, 0, 0, 8}, mask[8] = {0xff, 0xff, 0, 0, 0xff, 0xff};
	size_t n = data.len < sizeof(want) ? data.len : sizeof(want);

	for (size_t i = 0; i < n; i++)
		if (((uint8_t)data.data[i] & mask[i]) != want[i])
			return 0;
	return n == sizeof(want) ? 2 : n ? 1 : 0;
}
