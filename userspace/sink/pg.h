/* SPDX-License-Identifier: Apache-2.0 */
/* tl_pg: one connection to PostgreSQL that never blocks for ever. Every wait has a deadline and
 * looks at a stop flag; every failure is of one class, by SQLSTATE, and has a sentence that names
 * server, database and user but never a password. One thread. */
#ifndef TL_SINK_PG_H
#define TL_SINK_PG_H

#include <libpq-fe.h>

#include "userspace/base/buf.h"
#include "userspace/base/cleanup.h"
#include "userspace/base/err.h"

TL_DEFINE_CLEANUP(PGresult *, PQclear);

struct tl_pg {
	PGconn *conn;		  /* NULL: not connected */
	const char *dsn;	  /* borrowed; may hold a password */
	uint64_t timeout_ns;	  /* longest wait for an answer */
	const volatile int *stop; /* may be NULL; set: waits end within some seconds */
	uint64_t stopped_ns;	  /* monotonic, when `stop` was first seen */
	unsigned failures;	  /* attempts since the last success: the next back-off */
	char where[256];	  /* "127.0.0.1:5432, database x, user y" */
	char state[6];		  /* SQLSTATE of the last failure, "" when the server gave none */
	char why[320];		  /* the last failure, one line */
};

/* What the functions below return on failure:
 * -EAGAIN   the server is away, busy, full or restarting: the connection was dropped, try again
 * -EBADMSG  the server refuses the data of this statement: another row may do
 * -EPROTO   a person must act (rights, password, a table that is gone): tl_pg_fail says how
 * -EINTR    stopped */

/* Connects, one attempt. Does nothing when connected. */
int tl_pg_connect(struct tl_pg *pg);

/* Closes the connection, if there is one; a transaction that is open ends without a commit. */
void tl_pg_drop(struct tl_pg *pg);

/* Runs statements without parameters; results are dropped. */
int tl_pg_exec(struct tl_pg *pg, const char *sql);

/* Runs one statement with text parameters. The caller owns `*ret_result` (PQclear). */
int tl_pg_ask(struct tl_pg *pg, const char *sql, int n, const char *const *values,
	      PGresult **ret_result);

/* Begins a COPY ... FROM STDIN; until its end nothing else may be run. */
int tl_pg_copy_begin(struct tl_pg *pg, const char *sql);

/* Hands over all of `data`, waiting for the server where it must. */
int tl_pg_copy_put(struct tl_pg *pg, struct tl_span data);

/* Hands over as much of `data` as goes without waiting, and returns the number of bytes taken.
 * Failures show at the end of the copy. */
size_t tl_pg_copy_push(struct tl_pg *pg, struct tl_span data);

/* Ends the COPY and waits for the verdict on all of its rows. */
int tl_pg_copy_end(struct tl_pg *pg);

/* Waits before the next attempt: 100 ms doubled up to 10 s, of which a random half to whole. Says
 * why at times. Returns 0 or -EINTR. */
int tl_pg_back_off(struct tl_pg *pg);

/* "<what>: <why> (<where>)<what to do>" into `error`. Returns `code` as an errno of the cause:
 * -EACCES, -ENOENT, -ECONNREFUSED, -ENOSPC, -EINTR, -EPROTO. */
int tl_pg_fail(const struct tl_pg *pg, int code, const char *what, struct tl_error *error);

/* What the SQLSTATE says to do with a failed statement: -EAGAIN, -EBADMSG or -EPROTO. "" is
 * -EAGAIN. */
int tl_pg_class(const char *state);

#endif
