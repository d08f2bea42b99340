/* SPDX-License-Identifier: Apache-2.0 */
/* tl_fastcgi: one direction of a FastCGI connection (specification 1.0), told by the callbacks of
 * tl_http1: what a web server hands on of a request in parameters is its method, path and headers,
 * and what the application answers begins with headers. One request at a time: a second one on the
 * connection before the first is over breaks. Buffers at most one parameter or header line; zeroed
 * after use. One thread. */
#ifndef TL_CORRELATE_FASTCGI_H
#define TL_CORRELATE_FASTCGI_H

#include "agent/correlate/http1.h"

#define TL_FASTCGI_VALUE_MAX 2048 /* bytes of a value or line that are looked at */

struct tl_fastcgi {
	const struct tl_http1_ops *ops;
	void *arg;
	int *status;	   /* where the owner looks for the response's */
	uint64_t fed;	   /* bytes fed or skipped before those being looked at, ever */
	uint64_t began_at; /* `fed` at the first byte of the record that began the request */
	uint64_t body_bytes;
	uint32_t left, pad;		/* of the record's content and padding */
	uint32_t name_left, value_left; /* of the parameter being read */
	uint16_t id;			/* of the request under way, 0 none */
	uint16_t line_len, name_len;
	uint8_t head[8], head_len;
	uint8_t type; /* of the record */
	uint8_t lengths[8], lengths_len;
	uint8_t state; /* private */
	bool response, broken;
	bool closes; /* the connection ends with the response to the request that began last */
	bool told;   /* the head was */
	char name[64];
	char line[TL_FASTCGI_VALUE_MAX]; /* a parameter's value, or a header line */
	char method[32], path[TL_FASTCGI_VALUE_MAX];
	uint16_t method_len, path_len;
};

/* `ops`, `arg` and `status` are borrowed. `response`: the application's direction. */
void tl_fastcgi_init(struct tl_fastcgi *parser, bool response, const struct tl_http1_ops *ops,
		     void *arg, int *status);

/* Forgets the request under way and zeroes what was buffered. */
void tl_fastcgi_reset(struct tl_fastcgi *parser);

void tl_fastcgi_feed(struct tl_fastcgi *parser, const char *data, size_t len);

/* Bytes that moved and were not seen: bodies only, else it breaks. */
void tl_fastcgi_skip(struct tl_fastcgi *parser, uint64_t len);

static inline bool tl_fastcgi_idle(const struct tl_fastcgi *parser)
{
	return !parser->id && !parser->head_len;
}

/* Whether the bytes begin a request: 2 yes, 1 too short to tell, 0 no. */
int tl_fastcgi_looks(struct tl_span data);

#endif
