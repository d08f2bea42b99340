/* SPDX-License-Identifier: Apache-2.0 */
/* What conn.c and conn_read.c share; private to them. */
#ifndef TL_CORRELATE_CONN_READ_H
#define TL_CORRELATE_CONN_READ_H

#include "agent/correlate/corr.h"

void tl_conn_init_parsers(struct tl_conn *conn);

/* Forgets the messages under way: buffers zeroed and freed, parsers idle. */
void tl_conn_drop_message(struct tl_conn *conn);

/* The actor of the call being read. */
struct tl_actor_key tl_conn_mover(const struct tl_conn *conn);

/* The callbacks of HTTP/1; their argument is the connection. */
const struct tl_http1_ops *tl_conn_request_ops(void);
const struct tl_http1_ops *tl_conn_response_ops(void);

/* A request begins `offset` bytes into the call's. */
void tl_conn_begin_request(struct tl_conn *conn, uint64_t offset);

/* --- a head as it is gathered, whatever the protocol --- */

void tl_conn_set_method(struct tl_conn *conn, struct tl_span method);
void tl_conn_set_path(struct tl_conn *conn, struct tl_span path); /* without its query */

/* A header of the request being read; of the response to conn->answers (HTTP/1: the oldest
 * request). Those that can hold no id are left alone. */
void tl_conn_request_header(struct tl_conn *conn, struct tl_span name, struct tl_span value);
void tl_conn_response_header(struct tl_conn *conn, struct tl_span name, struct tl_span value);

/* The head is complete: the ids are the request's. `keep` false: they are dropped. */
void tl_conn_take_request_ids(struct tl_conn *conn, struct tl_request *request);
void tl_conn_take_response_ids(struct tl_conn *conn, struct tl_request *request, bool keep);

/* Forgets what was gathered of a request's head. */
void tl_conn_drop_head(struct tl_conn *conn);

#endif
