/* SPDX-License-Identifier: Apache-2.0 */
/* tl_http2: one direction of an HTTP/2 connection (RFC 9113), headers by libnghttp2's HPACK
 * decoder (RFC 7541). It is given bytes as calls moved them, in any pieces, and buffers none but a
 * frame's 9-byte head; what the decoder keeps is bounded by a budget that parsers share.
 *
 * It can begin in mid-stream. The dynamic table is then filled with entries whose value is not
 * known: indices count from the newest entry, and an unknown entry takes no more room than a real
 * one, so each index means the same here as at the peer, or is unknown. A header block that is lost
 * in part makes all unknown again. Where frames begin is believed when they tile a call's bytes.
 * One thread. */
#ifndef TL_CORRELATE_HTTP2_H
#define TL_CORRELATE_HTTP2_H

#include <nghttp2/nghttp2.h>

#include "userspace/base/buf.h"

#define TL_HTTP2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define TL_HTTP2_PREFACE_LEN 24

struct tl_http2_ops {
	void (*begin)(void *arg, uint32_t stream); /* a HEADERS frame's head is complete */
	/* Borrowed; names are lower case. A name that is not known is `?`; its value is known when
	 * it is not empty. */
	void (*field)(void *arg, struct tl_span name, struct tl_span value);
	/* The block is complete. `unknown`: fields are missing; `end`: nothing follows on the
	 * stream. */
	void (*head)(void *arg, uint32_t stream, bool unknown, bool end);
	void (*data)(void *arg, uint32_t stream, uint64_t bytes, bool end); /* a DATA frame */
	void (*reset)(void *arg, uint32_t stream);			    /* RST_STREAM */
};

struct tl_http2 {
	const struct tl_http2_ops *ops;
	void *arg;
	size_t *used, used_max;	       /* bytes of all decoders that share it */
	nghttp2_hd_inflater *inflater; /* owned; NULL: made when it is needed */
	nghttp2_mem memory;	       /* of it, counted */
	uint64_t fed;		       /* bytes fed or skipped before those being looked at, ever */
	uint64_t frame_at;	       /* `fed` at the current frame's first byte */
	uint32_t preface;	       /* bytes of the preface still to come */
	uint32_t left;		       /* bytes of the frame's payload still to come */
	uint32_t lead;	 /* of them, before the header block: priority, promised stream */
	uint32_t pad;	 /* of them, behind it */
	uint32_t stream; /* of the frame */
	uint32_t block;	 /* stream whose header block is not complete; 0 none */
	uint8_t head[9], head_len;
	uint8_t type, flags; /* of the frame */
	bool pad_length;     /* the pad length byte comes next */
	bool fresh;	     /* the table is known from its first entry */
	bool end_stream;     /* of the HEADERS frame that began the block */
	bool unknown;	     /* the block has fields that are not known */
	bool pushed;	     /* the block is of a PUSH_PROMISE */
	bool broken;	     /* this is not HTTP/2, or where frames begin is not known */
};

/* `ops`, `arg` and `used` are borrowed. `preface`: a client's direction from its first byte. */
void tl_http2_init(struct tl_http2 *parser, const struct tl_http2_ops *ops, void *arg, size_t *used,
		   size_t used_max);

/* From its first byte: the preface is expected (in a client's direction), and the table is empty.
 */
void tl_http2_start(struct tl_http2 *parser, bool client);

/* Anywhere: frames are found again, the table is unknown. */
void tl_http2_lost(struct tl_http2 *parser);
void tl_http2_done(struct tl_http2 *parser);

void tl_http2_feed(struct tl_http2 *parser, const char *data, size_t len);

/* Bytes that moved and were not seen. */
void tl_http2_skip(struct tl_http2 *parser, uint64_t len);

/* Whether the bytes, the first of a call, are whole frames or begin with one and the head of
 * another: then frames begin here. Never true for the preface. */
bool tl_http2_tiles(struct tl_span data);

/* Who sent these bytes, which begin a frame: 1 a client, 2 a server, 0 that cannot be told. */
int tl_http2_sender(struct tl_span data);

#endif
