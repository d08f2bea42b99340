/* SPDX-License-Identifier: Apache-2.0 */
/* tl_http1: an incremental parser of one direction of an HTTP/1 connection (RFC 9112). It is given
 * bytes as calls moved them, in any pieces, and calls back for each message. It buffers at most one
 * line, and only while that line is split; the buffer is zeroed after use. When the framing is not
 * certain any more it is `broken` and stays so until tl_http1_reset: it never guesses where a
 * message begins. One thread. */
#ifndef TL_CORRELATE_HTTP1_H
#define TL_CORRELATE_HTTP1_H

#include "userspace/base/buf.h"

#define TL_HTTP1_START_MAX 16384 /* bytes of a request or status line */
#define TL_HTTP1_LINE_MAX                                                                          \
	2048 /* bytes of a header line that are looked at; longer ones are skipped */
#define TL_HTTP1_HEAD_MAX 1048576 /* bytes of a header block or of trailers; more breaks */

enum tl_http1_state {
	TL_HTTP1_IDLE, /* between messages */
	TL_HTTP1_START_LINE,
	TL_HTTP1_HEADERS,
	TL_HTTP1_BODY, /* `left` bytes more */
	TL_HTTP1_CHUNK_SIZE,
	TL_HTTP1_CHUNK_DATA, /* `left` bytes more */
	TL_HTTP1_CHUNK_END,  /* the line end behind a chunk: `left` bytes more */
	TL_HTTP1_TRAILERS,
	TL_HTTP1_UNTIL_CLOSE,
	TL_HTTP1_TUNNEL, /* upgraded or CONNECT: no HTTP any more */
	TL_HTTP1_BROKEN,
};

/* What the owner knows of the body when the head is complete. */
enum tl_http1_body {
	TL_HTTP1_AS_SAID, /* the head says */
	TL_HTTP1_NO_BODY, /* the answer to HEAD */
	TL_HTTP1_SWITCH,  /* the answer that opens a tunnel: the message ends here, and HTTP with it
			   */
	TL_HTTP1_STOP,	  /* the message fits nothing: broken */
};

struct tl_http1_start {
	struct tl_span method,
		path; /* request: path without scheme, authority, query and fragment. Borrowed */
	int status;   /* response; 0 for a request */
};

struct tl_http1_ops {
	void (*begin)(void *arg); /* first byte of a message */
	void (*start)(void *arg,
		      const struct tl_http1_start *start); /* its first line is complete */
	void (*header)(void *arg, struct tl_span name,
		       struct tl_span value);	     /* trimmed; trailers are not told */
	enum tl_http1_body (*head)(void *arg);	     /* the header block is complete */
	void (*end)(void *arg, uint64_t body_bytes); /* the message is; never after a 1xx but 101 */
};

struct tl_http1 {
	const struct tl_http1_ops *ops;
	void *arg;
	size_t *used, used_max; /* bytes of lines buffered by all parsers that share it, and their
				   maximum; NULL: no maximum */
	char *line;		/* owned: a split line's beginning, or NULL */
	uint32_t line_len, line_cap; /* bytes */
	uint32_t head_bytes;	     /* of the block so far */
	uint64_t left;		     /* by state */
	uint64_t length;	     /* Content-Length */
	uint64_t body_bytes;	     /* of the message so far */
	uint64_t fed;		     /* bytes fed or skipped before those being looked at, ever */
	int status;
	uint8_t state; /* enum tl_http1_state */
	bool response;
	bool has_length, has_coding, chunked, http10;
	bool too_long; /* the line is past its limit: the rest of it is skipped */
	bool faulty;   /* this head's framing contradicts itself */
};

/* `ops` and `arg` are borrowed. `response` tells which direction it is. */
void tl_http1_init(struct tl_http1 *parser, bool response, const struct tl_http1_ops *ops,
		   void *arg);

/* Forgets the message under way and zeroes what was buffered: idle again. */
void tl_http1_reset(struct tl_http1 *parser);

/* Bytes moved and seen. Returns how many of them belong to HTTP: fewer when it ended within. */
size_t tl_http1_feed(struct tl_http1 *parser, const char *data, size_t len);

/* Bytes moved and not seen: body bytes are skipped by count; anything else breaks. */
void tl_http1_skip(struct tl_http1 *parser, uint64_t len);

/* The direction was closed: ends a body that lasts until then. */
void tl_http1_eof(struct tl_http1 *parser);

static inline bool tl_http1_broken(const struct tl_http1 *parser)
{
	return parser->state == TL_HTTP1_BROKEN;
}

/* Whether the bytes begin with a method in common use and a space: 2 yes; 1 too short to tell; 0
 * no. */
int tl_http1_looks_request(struct tl_span data);

/* The path of a request's target, without scheme, authority, query and fragment. Borrowed. */
struct tl_span tl_http1_path(struct tl_span target);

/* The same for `HTTP/1.`. */
int tl_http1_looks_response(struct tl_span data);

/* Whether they begin with the status line of a final response, its class included. */
bool tl_http1_looks_final(struct tl_span data);

#endif
