/* SPDX-License-Identifier: Apache-2.0 */
/* Reads single lines of an HTTP/1 head; private to http1.c. Lines come without their line end. */
#ifndef TL_CORRELATE_HTTP1_LINE_H
#define TL_CORRELATE_HTTP1_LINE_H

#include "agent/correlate/http1.h"

/* A request line or a status line: tells `ops->start` and sets the version (and status). False when
 * it is none. */
bool tl_http1_request_line(struct tl_http1 *parser, struct tl_span line);
bool tl_http1_status_line(struct tl_http1 *parser, struct tl_span line);

/* A header line of at least one byte: takes what frames the body, tells the rest to `ops->header`.
 * Sets `faulty` where real servers would not agree about the framing. */
void tl_http1_header_line(struct tl_http1 *parser, struct tl_span line);

#endif
