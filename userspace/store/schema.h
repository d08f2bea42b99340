/* SPDX-License-Identifier: Apache-2.0 */
/* The store's file: one SQLite database in WAL mode that one process writes (sink/store.c) and any
 * number read (store/query.h). All times are nanoseconds since 1970 UTC. The tables are in
 * schema.c. */
#ifndef TL_STORE_SCHEMA_H
#define TL_STORE_SCHEMA_H

#include <sqlite3.h>
#include <stdbool.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/err.h"

#define TL_STORE_VERSION                                                                           \
	2 /* PRAGMA user_version; a newer one is refused, an older one is changed by               \
	   * the next writer and can be read until then */
#define TL_STORE_BLOCK 1024 /* ids of logs to a row of `marks` */

/* Opens `path` for writing, makes the file (0600) and its tables when they are missing. `full`:
 * each commit survives a power cut, else only a killed process. The caller owns `*ret_db`
 * (sqlite3_close). Errors: -EACCES, -EROFS, -ENOSPC, -ENOENT (no such folder), -EBUSY another
 * process holds it, -EBADMSG it is no store of ours, -EPROTO made by a newer version; -EIO. */
int tl_store_open_write(const char *path, bool full, sqlite3 **ret_db, struct tl_error *error);

/* Opens an existing store for reading. Errors: -ENOENT there is none yet, -EACCES, -EBADMSG,
 * -EPROTO, -EIO. */
int tl_store_open_read(const char *path, sqlite3 **ret_db, struct tl_error *error);

/* Sets `error` to "<what> <path>: <why>" with advice by what SQLite says. Returns the errno. */
int tl_store_fail(sqlite3 *db, const char *what, const char *path, struct tl_error *error);

/* Runs statements without results. */
int tl_store_exec(sqlite3 *db, const char *sql, const char *path, struct tl_error *error);

static inline void tl_sqlite_closep(sqlite3 **db)
{
	if (*db)
		sqlite3_close(*db);
}

static inline void tl_sqlite_finalizep(sqlite3_stmt **stmt)
{
	sqlite3_finalize(*stmt);
}

#endif
