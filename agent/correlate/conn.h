/* SPDX-License-Identifier: Apache-2.0 */
/* tl_conn: a connection by the identity of its socket, its two parsers and its queue of open
 * requests; private to correlate/. */
#ifndef TL_CORRELATE_CONN_H
#define TL_CORRELATE_CONN_H

#include "agent/correlate/corr.h"

struct tl_conn *tl_conn_find(const struct tl_corr *corr, const struct tl_sock_key *key);

/* A connection whose first bytes are those of corr->event. NULL: it does not look like HTTP, or
 * (`*ret_full`) there is no room. */
struct tl_conn *tl_conn_new(struct tl_corr *corr, const char *data, bool *ret_full);

/* The open request of an HTTP/2 stream, NULL none. */
struct tl_request *tl_conn_stream(const struct tl_conn *conn, uint32_t stream);

/* The process used it: its list and its place among all are brought up to date. */
void tl_conn_use(struct tl_corr *corr, struct tl_conn *conn, struct tl_cproc *proc);

/* Reads what corr->event moved. The connection may be gone afterwards. */
void tl_conn_read(struct tl_corr *corr, struct tl_conn *conn, const char *data);

/* The framing is not known any more: open requests end with `why`. Returns to work when a read
 * begins with a method token and nothing is in flight. */
void tl_conn_desync(struct tl_conn *conn, enum tl_why why);

/* The socket is gone: what is open ends, complete when its response lasted until now. Frees the
 * connection. */
void tl_conn_end(struct tl_conn *conn);

/* This end sends no more: a server's open requests end, as tl_conn_end, and what still comes in is
 * the rest of a body. A client may still get its answer. */
void tl_conn_shut(struct tl_conn *conn);

void tl_conn_free_all(struct tl_corr *corr);

#endif
