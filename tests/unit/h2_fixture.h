/* SPDX-License-Identifier: Apache-2.0 */
/* One direction of HTTP/2 as a real peer writes it: HPACK by libnghttp2's encoder, frames by hand.
 */
#ifndef TL_TESTS_H2_FIXTURE_H
#define TL_TESTS_H2_FIXTURE_H

#include <nghttp2/nghttp2.h>

#include <assert.h>
#include <stdlib.h>

#include "userspace/base/buf.h"

enum {
	H2_DATA,
	H2_HEADERS,
	H2_PRIORITY,
	H2_RST,
	H2_SETTINGS,
	H2_PUSH,
	H2_PING,
	H2_CONTINUATION = 9
};

struct h2_peer {
	nghttp2_hd_deflater *deflater;
	struct tl_buf out;
};

static inline void h2_open(struct h2_peer *peer)
{
	*peer = (struct h2_peer){0};
	if (nghttp2_hd_deflate_new(&peer->deflater, 4096))
		abort();
}

static inline void h2_close(struct h2_peer *peer)
{
	nghttp2_hd_deflate_del(peer->deflater);
	tl_buf_done(&peer->out);
}

static inline void h2_frame(struct h2_peer *peer, uint8_t type, uint8_t flags, uint32_t stream,
			    const void *payload, size_t len)
{
	uint8_t head[9] = {(uint8_t)(len >> 16),
			   (uint8_t)(len >> 8),
			   (uint8_t)len,
			   type,
			   flags,
			   (uint8_t)(stream >> 24),
			   (uint8_t)(stream >> 16),
			   (uint8_t)(stream >> 8),
			   (uint8_t)stream};

	tl_buf_add(&peer->out, head, sizeof(head));
	if (len)
		tl_buf_add(&peer->out, payload, len);
}

/* How a header block is laid out. */
struct h2_shape {
	unsigned pad; /* bytes of padding; 0: the flag is not set either */
	bool priority;
	unsigned pieces; /* HEADERS and CONTINUATION frames; 0: one */
};

/* `fields` is name, value, name, value ..., NULL. `end`: END_STREAM. */
static inline void h2_headers(struct h2_peer *peer, uint32_t stream, bool end,
			      struct h2_shape shape, const char *const *fields)
{
	nghttp2_nv nv[32];
	uint8_t block[8192], payload[9000];
	size_t n = 0, at = 0;
	ssize_t len;
	unsigned pieces = shape.pieces ? shape.pieces : 1;

	for (; fields[2 * n]; n++)
		nv[n] = (nghttp2_nv){(uint8_t *)fields[2 * n], (uint8_t *)fields[2 * n + 1],
				     strlen(fields[2 * n]), strlen(fields[2 * n + 1]), 0};
	len = nghttp2_hd_deflate_hd(peer->deflater, block, sizeof(block), nv, n);
	if (len < 0)
		abort();
	for (unsigned i = 0; i < pieces; i++) {
		size_t part = i + 1 == pieces ? (size_t)len - at : (size_t)len / pieces, m = 0;
		uint8_t flags = i + 1 == pieces ? 0x4 : 0;

		if (!i) {
			flags |= (uint8_t)((end ? 0x1 : 0) | (shape.pad ? 0x8 : 0) |
					   (shape.priority ? 0x20 : 0));
			if (shape.pad)
				payload[m++] = (uint8_t)shape.pad;
			if (shape.priority) {
				memset(payload + m, 0, 5);
				m += 5;
			}
		}
		memcpy(payload + m, block + at, part);
		m += part;
		at += part;
		if (!i && shape.pad) {
			memset(payload + m, 0, shape.pad);
			m += shape.pad;
		}
		h2_frame(peer, i ? H2_CONTINUATION : H2_HEADERS, flags, stream, payload, m);
	}
}

#endif
