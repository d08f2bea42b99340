/* SPDX-License-Identifier: Apache-2.0 */
/* What conn.c and conn_read.c share; private to them. */
#ifndef TL_CORRELATE_CONN_READ_H
#define TL_CORRELATE_CONN_READ_H

#include "agent/correlate/corr.h"

void tl_conn_init_parsers(struct tl_conn *conn);

/* Forgets the messages under way: buffers zeroed and freed, parsers idle. */
void tl_conn_drop_message(struct tl_conn *conn);

#endif
