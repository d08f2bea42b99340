/* SPDX-License-Identifier: Apache-2.0 */
/* A connection between a web server and a FastCGI application (php-fpm); private to correlate/. Its
 * requests are read and answered as those of HTTP/1 are. */
#ifndef TL_CORRELATE_CONN_FCGI_H
#define TL_CORRELATE_CONN_FCGI_H

#include "agent/correlate/corr.h"

/* The connection speaks FastCGI. False without memory. */
bool tl_conn_fcgi_begin(struct tl_conn *conn);

/* Bytes of one direction: `seen` of `moved`. True when what they are is not known any more. */
bool tl_conn_fcgi_feed(struct tl_conn *conn, bool of_request, const char *data, uint64_t seen,
		       uint64_t moved);

/* Whether no request is being read. */
bool tl_conn_fcgi_idle(const struct tl_conn *conn);

/* Whether nothing comes any more: the end of a Unix socket, which web servers make one of for each
 * request, is told by nothing else. */
bool tl_conn_fcgi_over(const struct tl_conn *conn);

void tl_conn_fcgi_reset(struct tl_conn *conn);
void tl_conn_fcgi_free(struct tl_conn *conn);

#endif
