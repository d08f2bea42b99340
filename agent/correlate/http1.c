/* SPDX-License-Identifier: Apache-2.0 */
/* The parser walks lines and counted bytes. A line that lies whole in one piece is read in place; a
 * split one is collected in a buffer whose size grows with it up to the limit of its kind. Limits
 * apply to lines in place too, so that the result does not depend on how the bytes were cut.
 *
 * Framing follows RFC 9112 section 6.3. Where two headers disagree about it (lengths that differ,
 * an unknown final transfer coding on a request, folded lines, a space before the colon of a
 * framing header) real servers disagree too: the parser breaks, and the connection's lines say
 * `desync`. */
#include "agent/correlate/http1_line.h"

#include "userspace/base/cleanup.h"

#define FIRST_LINE_CAP 256u

void tl_http1_init(struct tl_http1 *parser, bool response, const struct tl_http1_ops *ops,
		   void *arg)
{
	*parser = (struct tl_http1){.ops = ops, .arg = arg, .response = response};
}

static void free_line(struct tl_http1 *parser)
{
	if (!parser->line)
		return;
	explicit_bzero(parser->line, parser->line_len);
	free(TAKE_PTR(parser->line));
	if (parser->used)
		*parser->used -= parser->line_cap;
}

static void drop_line(struct tl_http1 *parser)
{
	free_line(parser);
	parser->line_len = parser->line_cap = 0;
	parser->too_long = false;
}

static void to_state(struct tl_http1 *parser, enum tl_http1_state state)
{
	parser->state = (uint8_t)state;
}

static void broken(struct tl_http1 *parser)
{
	drop_line(parser);
	to_state(parser, TL_HTTP1_BROKEN);
}

void tl_http1_reset(struct tl_http1 *parser)
{
	drop_line(parser);
	to_state(parser, TL_HTTP1_IDLE);
}

static void begin_message(struct tl_http1 *parser)
{
	parser->length = parser->body_bytes = 0;
	parser->head_bytes = 0;
	parser->status = 0;
	parser->has_length = parser->has_coding = parser->chunked = parser->http10 =
		parser->faulty = false;
	to_state(parser, TL_HTTP1_START_LINE);
	parser->ops->begin(parser->arg);
}

static void on_start_line(struct tl_http1 *parser, struct tl_span line)
{
	bool ok = !parser->too_long && (parser->response ? tl_http1_status_line(parser, line)
							 : tl_http1_request_line(parser, line));

	if (ok)
		to_state(parser, TL_HTTP1_HEADERS);
	else
		broken(parser);
}

static void end_message(struct tl_http1 *parser)
{
	to_state(parser, TL_HTTP1_IDLE);
	parser->ops->end(parser->arg, parser->body_bytes);
}

static void begin_body(struct tl_http1 *parser)
{
	if (parser->has_coding && parser->chunked) {
		to_state(parser, TL_HTTP1_CHUNK_SIZE);
	} else if (parser->has_coding) {
		to_state(parser, parser->response ? TL_HTTP1_UNTIL_CLOSE : TL_HTTP1_BROKEN);
	} else if (parser->has_length && parser->length) {
		parser->left = parser->length;
		to_state(parser, TL_HTTP1_BODY);
	} else if (parser->response && !parser->has_length) {
		to_state(parser, TL_HTTP1_UNTIL_CLOSE);
	} else {
		end_message(parser);
	}
}

static bool bodiless(int status)
{
	return (status >= 100 && status < 200) || status == 204 || status == 304;
}

static void on_head(struct tl_http1 *parser)
{
	enum tl_http1_body body;

	if (parser->faulty) {
		broken(parser);
		return;
	}
	body = parser->ops->head(parser->arg);
	if (body == TL_HTTP1_STOP) {
		broken(parser);
	} else if (body == TL_HTTP1_SWITCH || (parser->response && parser->status == 101)) {
		to_state(parser, TL_HTTP1_TUNNEL);
		parser->ops->end(parser->arg, 0);
	} else if (parser->response && parser->status < 200) {
		to_state(parser, TL_HTTP1_IDLE);
	} else if (body == TL_HTTP1_NO_BODY || (parser->response && bodiless(parser->status))) {
		end_message(parser);
	} else {
		begin_body(parser);
	}
}

/* Size, then perhaps extensions, which do not matter. */
static void on_chunk_size(struct tl_http1 *parser, struct tl_span line)
{
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < line.len; i++) {
		char c = (char)(line.data[i] | 0x20);
		unsigned digit = line.data[i] >= '0' && line.data[i] <= '9'
					 ? (unsigned)(line.data[i] - '0')
				 : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
							: 16;

		if (digit > 15)
			break;
		if (n >> 59) {
			broken(parser);
			return;
		}
		n = n << 4 | digit;
	}
	if (i == 0 ||
	    (i < line.len && line.data[i] != ';' && line.data[i] != ' ' && line.data[i] != '\t')) {
		broken(parser);
		return;
	}
	parser->left = n;
	parser->head_bytes = 0;
	to_state(parser, n ? TL_HTTP1_CHUNK_DATA : TL_HTTP1_TRAILERS);
}

static void on_line(struct tl_http1 *parser, struct tl_span line)
{
	if (line.len && line.data[line.len - 1] == '\r')
		line.len--;
	switch ((enum tl_http1_state)parser->state) {
	case TL_HTTP1_START_LINE:
		on_start_line(parser, line);
		break;
	case TL_HTTP1_HEADERS:
		if (line.len)
			tl_http1_header_line(parser, line);
		else
			on_head(parser);
		break;
	case TL_HTTP1_CHUNK_SIZE:
		on_chunk_size(parser, line);
		break;
	case TL_HTTP1_TRAILERS:
		if (!line.len)
			end_message(parser);
		break;
	default:
		broken(parser);
	}
}

static uint32_t line_limit(const struct tl_http1 *parser)
{
	return parser->state == TL_HTTP1_START_LINE ? TL_HTTP1_START_MAX : TL_HTTP1_LINE_MAX;
}

static bool grow_line(struct tl_http1 *parser, uint32_t need)
{
	uint32_t cap = parser->line_cap ? parser->line_cap : FIRST_LINE_CAP;
	char *grown;

	if (need <= parser->line_cap)
		return true;
	while (cap < need)
		cap *= 2;
	if (parser->used && *parser->used + cap > parser->used_max)
		return false;
	grown = malloc(cap);
	if (!grown)
		return false;
	if (parser->line_len)
		memcpy(grown, parser->line, parser->line_len);
	free_line(parser);
	parser->line = grown;
	parser->line_cap = cap;
	if (parser->used)
		*parser->used += cap;
	return true;
}

/* Keeps the beginning of a split line, as far as its limit goes. */
static bool keep_line(struct tl_http1 *parser, const char *data, size_t len)
{
	uint32_t room = line_limit(parser) - parser->line_len;
	uint32_t take = len < room ? (uint32_t)len : room;

	if (take < len)
		parser->too_long = true;
	if (!take)
		return true;
	if (!grow_line(parser, parser->line_len + take))
		return false;
	memcpy(parser->line + parser->line_len, data, take);
	parser->line_len += take;
	return true;
}

static void finish_line(struct tl_http1 *parser, struct tl_span line)
{
	if (line.len > line_limit(parser)) {
		line.len = line_limit(parser);
		parser->too_long = true;
	}
	on_line(parser, line);
	drop_line(parser);
}

/* One line, or its part in this piece. Returns the bytes taken. */
static size_t feed_line(struct tl_http1 *parser, const char *data, size_t len)
{
	const char *lf = memchr(data, '\n', len);
	size_t take = lf ? (size_t)(lf - data) : len;
	uint64_t total = (uint64_t)parser->head_bytes + take + (lf != NULL);

	if (total > TL_HTTP1_HEAD_MAX) {
		broken(parser);
		return len;
	}
	parser->head_bytes = (uint32_t)total;
	if (lf && !parser->line_len) {
		finish_line(parser, (struct tl_span){data, take});
		return take + 1;
	}
	if (!keep_line(parser, data, take)) {
		broken(parser);
		return len;
	}
	if (!lf)
		return len;
	finish_line(parser, (struct tl_span){parser->line, parser->line_len});
	return take + 1;
}

/* Counted bytes: body, chunk, or the line end behind one. Returns those that belong to it. */
static uint64_t take_counted(struct tl_http1 *parser, uint64_t len)
{
	uint64_t take = len < parser->left ? len : parser->left;

	parser->left -= take;
	if (parser->state != TL_HTTP1_CHUNK_END)
		parser->body_bytes += take;
	if (parser->left)
		return take;
	if (parser->state == TL_HTTP1_BODY) {
		end_message(parser);
	} else if (parser->state == TL_HTTP1_CHUNK_DATA) {
		parser->left = 2;
		to_state(parser, TL_HTTP1_CHUNK_END);
	} else {
		to_state(parser, TL_HTTP1_CHUNK_SIZE);
	}
	return take;
}

/* The two bytes behind a chunk must be its line end: anything else means that the count is wrong.
 */
static size_t feed_chunk_end(struct tl_http1 *parser, const char *data)
{
	if (parser->left == 2 && *data == '\n')
		parser->left = 1; /* a bare line feed */
	else if (*data != (parser->left == 2 ? '\r' : '\n')) {
		broken(parser);
		return 1;
	}
	take_counted(parser, 1);
	return 1;
}

static size_t feed_some(struct tl_http1 *parser, const char *data, size_t len)
{
	switch ((enum tl_http1_state)parser->state) {
	case TL_HTTP1_IDLE:
		if (*data == '\r' || *data == '\n')
			return 1;
		begin_message(parser);
		return 0;
	case TL_HTTP1_BODY:
	case TL_HTTP1_CHUNK_DATA:
		return (size_t)take_counted(parser, len);
	case TL_HTTP1_CHUNK_END:
		return feed_chunk_end(parser, data);
	case TL_HTTP1_UNTIL_CLOSE:
		parser->body_bytes += len;
		return len;
	case TL_HTTP1_TUNNEL:
	case TL_HTTP1_BROKEN:
		return len;
	default:
		return feed_line(parser, data, len);
	}
}

size_t tl_http1_feed(struct tl_http1 *parser, const char *data, size_t len)
{
	const char *begin = data;
	size_t of_http = len;

	while (len) {
		size_t taken = feed_some(parser, data, len);

		data += taken;
		len -= taken;
		parser->fed += taken;
		if (parser->state == TL_HTTP1_TUNNEL && of_http > (size_t)(data - begin))
			of_http = (size_t)(data - begin);
	}
	return of_http;
}

void tl_http1_skip(struct tl_http1 *parser, uint64_t len)
{
	parser->fed += len;
	while (len) {
		switch ((enum tl_http1_state)parser->state) {
		case TL_HTTP1_BODY:
		case TL_HTTP1_CHUNK_DATA:
		case TL_HTTP1_CHUNK_END:
			len -= take_counted(parser, len);
			break;
		case TL_HTTP1_UNTIL_CLOSE:
			parser->body_bytes += len;
			return;
		case TL_HTTP1_TUNNEL:
		case TL_HTTP1_BROKEN:
			return;
		default:
			broken(parser);
			return;
		}
	}
}

void tl_http1_eof(struct tl_http1 *parser)
{
	if (parser->state == TL_HTTP1_UNTIL_CLOSE)
		end_message(parser);
}
