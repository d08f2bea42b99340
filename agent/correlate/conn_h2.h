/* SPDX-License-Identifier: Apache-2.0 */
/* A connection that speaks HTTP/2: its streams are requests of the connection's queue, in any
 * order; private to correlate/. Frames are read by whoever reads for all streams, so no thread or
 * unit owns a request here, unless a runtime's probe says so (tl_corr_bind_stream). */
#ifndef TL_CORRELATE_CONN_H2_H
#define TL_CORRELATE_CONN_H2_H

#include "agent/correlate/corr.h"

/* Whether the call's bytes begin HTTP/2: 0 no; 1 a client's preface; 2 frames of a client, 3 of a
 * server, in mid-stream. */
int tl_conn_h2_looks(struct tl_span data);

/* The connection speaks HTTP/2 from now on; `start`: from its first byte. False without memory. */
bool tl_conn_h2_begin(struct tl_conn *conn, bool start);

/* Reads what corr->event moved, but for its first `from` bytes. The connection may be gone
 * afterwards. */
void tl_conn_h2_read(struct tl_corr *corr, struct tl_conn *conn, const char *data, uint64_t from);

/* What is known of its frames and tables is lost. */
void tl_conn_h2_lost(struct tl_conn *conn);

void tl_conn_h2_free(struct tl_conn *conn);

#endif
