/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/correlate/http2.h"

#include <stdlib.h>

#include "userspace/base/cleanup.h"

#define TABLE_MAX                                                                                  \
	65536u /* the largest dynamic table that is followed; a larger one makes unknown */
#define TABLE_FIRST 4096u /* its size before anybody says otherwise */
#define FRAME_MAX 16384u  /* payload of a frame where nobody allowed more */

enum {
	DATA = 0,
	HEADERS = 1,
	PRIORITY = 2,
	RST_STREAM = 3,
	SETTINGS = 4,
	PUSH_PROMISE = 5,
	PING = 6,
	GOAWAY = 7,
	WINDOW_UPDATE = 8,
	CONTINUATION = 9,
};

enum { END_STREAM = 0x1, END_HEADERS = 0x4, PADDED = 0x8, HAS_PRIORITY = 0x20 };

/* --- memory of the decoder, counted --- */

struct block {
	_Alignas(16) size_t size;
};

static bool has_room(const struct tl_http2 *parser, size_t more)
{
	return !parser->used || *parser->used + more <= parser->used_max;
}

static void *take(size_t size, void *arg)
{
	struct tl_http2 *parser = arg;
	struct block *block;

	if (!has_room(parser, size + sizeof(*block)))
		return NULL;
	block = malloc(size + sizeof(*block));
	if (!block)
		return NULL;
	block->size = size;
	if (parser->used)
		*parser->used += size + sizeof(*block);
	return block + 1;
}

/* Header values were in it. */
static void give(void *memory, void *arg)
{
	struct tl_http2 *parser = arg;
	struct block *block = (struct block *)memory - 1;

	if (!memory)
		return;
	if (parser->used)
		*parser->used -= block->size + sizeof(*block);
	explicit_bzero(memory, block->size);
	free(block);
}

static void *take_zeroed(size_t n, size_t size, void *arg)
{
	void *memory = size && n > SIZE_MAX / size ? NULL : take(n * size, arg);

	return memory ? memset(memory, 0, n * size) : NULL;
}

static void *take_anew(void *memory, size_t size, void *arg)
{
	size_t old = memory ? ((struct block *)memory - 1)->size : 0;
	void *grown = take(size, arg);

	if (!grown)
		return NULL;
	if (memory)
		memcpy(grown, memory, old < size ? old : size);
	give(memory, arg);
	return grown;
}

/* --- the decoder --- */

/* Gives the decoder a block of our own: entries named `?`, as many as there can be. */
static bool fill_unknown(struct nghttp2_hd_inflater *inflater)
{
	static const uint8_t entry[] = {0x40, 1, '?', 0};

	for (uint32_t n = TABLE_FIRST / 33; n; n--) {
		nghttp2_nv nv;
		size_t at = 0;
		int flags = 0;

		while (at < sizeof(entry)) {
			ssize_t r = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, entry + at,
							   sizeof(entry) - at, 1);

			if (r < 0)
				return false;
			at += (size_t)r;
		}
		if (nghttp2_hd_inflate_end_headers(inflater) != 0)
			return false;
	}
	return true;
}

static void drop_decoder(struct tl_http2 *parser)
{
	if (parser->inflater)
		nghttp2_hd_inflate_del(TAKE_PTR(parser->inflater));
}

/* Sizes up to TABLE_MAX are the peers' business; one of them says so in the block. */
static bool make_decoder(struct tl_http2 *parser)
{
	if (parser->inflater)
		return true;
	parser->memory = (nghttp2_mem){parser, take, give, take_zeroed, take_anew};
	if (nghttp2_hd_inflate_new2(&parser->inflater, &parser->memory) != 0) {
		parser->inflater = NULL;
		return false;
	}
	if (nghttp2_hd_inflate_change_table_size(parser->inflater, TABLE_MAX) == 0 &&
	    (parser->fresh || fill_unknown(parser->inflater)))
		return true;
	drop_decoder(parser);
	return false;
}

/* What the block says and enters is lost, in part at least. */
static void forget(struct tl_http2 *parser)
{
	drop_decoder(parser);
	parser->fresh = false;
	parser->unknown = true;
}

static void decode(struct tl_http2 *parser, const char *data, size_t len, bool final)
{
	size_t at = 0;
	int flags = 0;

	if (parser->unknown && !parser->inflater)
		return; /* the rest of a block that was lost */
	if (!make_decoder(parser))
		return forget(parser);
	do {
		nghttp2_nv nv;
		ssize_t r = nghttp2_hd_inflate_hd2(parser->inflater, &nv, &flags,
						   (const uint8_t *)data + at, len - at, final);

		if (r < 0)
			return forget(parser);
		at += (size_t)r;
		if (flags & NGHTTP2_HD_INFLATE_EMIT) {
			if (nv.namelen == 1 && nv.name[0] == '?')
				parser->unknown = true;
			if (!parser->pushed)
				parser->ops->field(parser->arg,
						   (struct tl_span){(char *)nv.name, nv.namelen},
						   (struct tl_span){(char *)nv.value, nv.valuelen});
		}
	} while (!(flags & NGHTTP2_HD_INFLATE_FINAL) &&
		 ((flags & NGHTTP2_HD_INFLATE_EMIT) || at < len));
	if (final)
		nghttp2_hd_inflate_end_headers(parser->inflater);
}

/* --- frames --- */

void tl_http2_init(struct tl_http2 *parser, const struct tl_http2_ops *ops, void *arg, size_t *used,
		   size_t used_max)
{
	*parser = (struct tl_http2){
		.ops = ops, .arg = arg, .used = used, .used_max = used_max, .broken = true};
}

static void restart(struct tl_http2 *parser)
{
	drop_decoder(parser);
	parser->preface = parser->left = parser->lead = parser->pad = parser->block = 0;
	parser->head_len = 0;
	parser->pad_length = parser->unknown = parser->pushed = parser->broken = false;
}

void tl_http2_start(struct tl_http2 *parser, bool client)
{
	restart(parser);
	parser->fresh = true;
	parser->preface = client ? TL_HTTP2_PREFACE_LEN : 0;
}

void tl_http2_lost(struct tl_http2 *parser)
{
	restart(parser);
	parser->fresh = false;
}

void tl_http2_done(struct tl_http2 *parser)
{
	drop_decoder(parser);
	parser->broken = true;
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void broken(struct tl_http2 *parser)
{
	drop_decoder(parser);
	parser->broken = true;
}

static bool is_block(const struct tl_http2 *parser)
{
	return parser->type == HEADERS || parser->type == PUSH_PROMISE ||
	       parser->type == CONTINUATION;
}

/* The header block's part in this frame is over; the frame perhaps not: padding. */
static void end_block(struct tl_http2 *parser)
{
	uint32_t stream = parser->block;

	parser->block = 0;
	if (!parser->pushed)
		parser->ops->head(parser->arg, stream, parser->unknown, parser->end_stream);
	parser->unknown = parser->pushed = false;
}

static void end_frame(struct tl_http2 *parser)
{
	if (is_block(parser) && (parser->flags & END_HEADERS) && parser->block) {
		/* Its bytes were given as they came: this says that there are no more. */
		decode(parser, "", 0, true);
		end_block(parser);
	} else if (parser->type == DATA && (parser->flags & END_STREAM)) {
		parser->ops->data(parser->arg, parser->stream, 0, true);
	} else if (parser->type == RST_STREAM) {
		parser->ops->reset(parser->arg, parser->stream);
	}
	parser->head_len = 0;
}

static void begin_headers(struct tl_http2 *parser)
{
	parser->block = parser->stream;
	parser->pushed = parser->type == PUSH_PROMISE;
	parser->lead = parser->pushed ? 4 : (parser->flags & HAS_PRIORITY) ? 5 : 0;
	parser->end_stream = parser->type == HEADERS && (parser->flags & END_STREAM);
	parser->unknown = false;
	if (!parser->pushed)
		parser->ops->begin(parser->arg, parser->stream);
}

/* The frame's head is complete. */
static void begin_frame(struct tl_http2 *parser)
{
	const uint8_t *head = parser->head;

	parser->left = be32(head) >> 8;
	parser->type = head[3];
	parser->flags = head[4];
	parser->stream = be32(head + 5) & 0x7fffffff;
	parser->lead = parser->pad = 0;
	parser->pad_length = false;
	/* Nothing may come between the frames of a block. */
	if (parser->block ? parser->type != CONTINUATION || parser->stream != parser->block
			  : parser->type == CONTINUATION)
		return broken(parser);
	if ((parser->type == HEADERS || parser->type == DATA || parser->type == RST_STREAM) &&
	    !parser->stream)
		return broken(parser);
	if (parser->type == HEADERS || parser->type == PUSH_PROMISE)
		begin_headers(parser);
	parser->pad_length = parser->type != CONTINUATION && (parser->flags & PADDED) &&
			     (parser->type == DATA || is_block(parser));
	if (parser->pad_length + parser->lead > parser->left)
		return broken(parser);
	if (!parser->left)
		end_frame(parser);
}

static size_t feed_preface(struct tl_http2 *parser, const char *data, size_t len)
{
	size_t n = len < parser->preface ? len : parser->preface;

	if (memcmp(&TL_HTTP2_PREFACE[TL_HTTP2_PREFACE_LEN - parser->preface], data, n) != 0)
		broken(parser);
	parser->preface -= (uint32_t)n;
	return n;
}

static size_t feed_head(struct tl_http2 *parser, const char *data, size_t len)
{
	size_t want = sizeof(parser->head) - parser->head_len, n = len < want ? len : want;

	if (!parser->head_len)
		parser->frame_at = parser->fed;
	memcpy(parser->head + parser->head_len, data, n);
	parser->head_len = (uint8_t)(parser->head_len + n);
	if (parser->head_len == sizeof(parser->head))
		begin_frame(parser);
	return n;
}

/* Payload in its parts: pad length, lead, content, padding. `data` NULL: not seen. */
static size_t feed_payload(struct tl_http2 *parser, const char *data, size_t len)
{
	size_t n = len < parser->left ? len : parser->left;

	if (parser->pad_length) {
		n = 1;
		parser->pad_length = false;
		if (data)
			parser->pad = (uint8_t)*data;
		if (!data || parser->pad + parser->lead > parser->left - 1) {
			broken(parser);
			return n;
		}
	} else if (parser->lead) {
		n = n < parser->lead ? n : parser->lead;
		parser->lead -= (uint32_t)n;
	} else if (parser->left > parser->pad) {
		n = n < parser->left - parser->pad ? n : parser->left - parser->pad;
		if (is_block(parser) && parser->block) {
			if (data)
				decode(parser, data, n, false);
			else
				forget(parser);
		} else if (parser->type == DATA) {
			parser->ops->data(parser->arg, parser->stream, n, false);
		}
	}
	parser->left -= (uint32_t)n;
	if (!parser->left && !parser->broken)
		end_frame(parser);
	return n;
}

void tl_http2_feed(struct tl_http2 *parser, const char *data, size_t len)
{
	while (len) {
		size_t n = parser->broken    ? len
			   : parser->preface ? feed_preface(parser, data, len)
			   : parser->head_len < sizeof(parser->head)
				   ? feed_head(parser, data, len)
				   : feed_payload(parser, data, len);

		data += n;
		len -= n;
		parser->fed += n;
	}
}

void tl_http2_skip(struct tl_http2 *parser, uint64_t len)
{
	while (len && !parser->broken && !parser->preface &&
	       parser->head_len == sizeof(parser->head)) {
		size_t n = feed_payload(parser, NULL, len < SIZE_MAX ? (size_t)len : SIZE_MAX);

		len -= n;
		parser->fed += n;
	}
	if (len)
		broken(parser);
	parser->fed += len;
}

/* --- in mid-stream --- */

/* Whether a frame may have such a head. */
static bool plausible(const uint8_t *head)
{
	uint32_t len = be32(head) >> 8, stream = be32(head + 5);

	if (len > FRAME_MAX || (stream & 0x80000000u))
		return false;
	switch (head[3]) {
	case DATA:
		return stream && !(head[4] & ~(END_STREAM | PADDED));
	case HEADERS:
		return stream && len &&
		       !(head[4] & ~(END_STREAM | END_HEADERS | PADDED | HAS_PRIORITY));
	case PRIORITY:
		return stream && len == 5;
	case RST_STREAM:
		return stream && len == 4;
	case SETTINGS:
		return !stream && len % 6 == 0 && head[4] <= 1 && !(head[4] && len);
	case PING:
		return !stream && len == 8 && head[4] <= 1;
	case GOAWAY:
		return !stream && len >= 8;
	case WINDOW_UPDATE:
		return len == 4 && !head[4];
	default:
		return false;
	}
}

bool tl_http2_tiles(struct tl_span data)
{
	size_t at = 0;
	unsigned frames = 0;

	while (data.len - at >= 9) {
		const uint8_t *head = (const uint8_t *)data.data + at;

		if (!plausible(head))
			return false;
		frames++;
		at += 9 + (be32(head) >> 8);
		if (at >= data.len)
			break;
	}
	/* Whole frames; or one at least, and the next one's head was plausible. */
	return frames && (at == data.len || (frames > 1 && at > data.len));
}

/* The index of the static table that the first field names, 0 none. */
static uint32_t first_index(uint8_t byte)
{
	uint32_t index;

	if (byte & 0x80)
		return byte & 0x7f;
	if (byte & 0x40)
		return byte & 0x3f;
	index = byte & 0x0f;
	return (byte & 0xf0) == 0x20 ? 0 : index;
}

int tl_http2_sender(struct tl_span data)
{
	size_t at = 9;
	uint32_t index;

	if (data.len < 10 || data.data[3] != HEADERS)
		return 0;
	at += (data.data[4] & PADDED ? 1 : 0) + (data.data[4] & HAS_PRIORITY ? 5 : 0);
	if (at >= data.len)
		return 0;
	index = first_index((uint8_t)data.data[at]);
	/* :authority, :method, :path, :scheme; :status. */
	return index >= 1 && index <= 7 ? 1 : index >= 8 && index <= 14 ? 2 : 0;
}
