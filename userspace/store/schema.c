/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/store/schema.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "userspace/store/tags.h"

#define APPLICATION_ID 0x7461706c /* "tapl": what file(1) and we recognise the file by */
#define BUSY_MS 30000

/* Words and fields are found through logs_fts, whose text is logs.body and logs.tags (external
 * content: not kept twice; tags.h). Indexes serve the other questions that people ask: by time, by
 * request, by trace, by service and time. `marks` says between which times the rows of a block of
 * ids were observed, so that a time range bounds a walk over the full-text index too. */
static const char schema[] =
	"CREATE TABLE IF NOT EXISTS logs(id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, "
	"observed INTEGER NOT NULL,"
	" timestamp INTEGER NOT NULL, severity INTEGER NOT NULL, service TEXT, correlation_id "
	"TEXT, trace_id TEXT, how TEXT,"
	" body TEXT, record TEXT NOT NULL, tags TEXT);"
	"CREATE INDEX IF NOT EXISTS logs_observed ON logs(observed);"
	"CREATE INDEX IF NOT EXISTS logs_correlation ON logs(correlation_id) WHERE correlation_id "
	"IS NOT NULL;"
	"CREATE INDEX IF NOT EXISTS logs_trace ON logs(trace_id) WHERE trace_id IS NOT NULL;"
	"CREATE INDEX IF NOT EXISTS logs_service ON logs(service, observed);"
	"CREATE VIRTUAL TABLE IF NOT EXISTS logs_fts USING fts5(body, tags, content='logs', "
	"content_rowid='id', columnsize=0);"
	"INSERT INTO logs_fts(logs_fts, rank) VALUES('automerge', 8);"
	"CREATE TABLE IF NOT EXISTS marks(block INTEGER PRIMARY KEY, low INTEGER NOT NULL, high "
	"INTEGER NOT NULL);"
	"CREATE TABLE IF NOT EXISTS exchanges(id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, "
	"observed INTEGER NOT NULL,"
	" service TEXT, correlation_id TEXT, trace_id TEXT, method TEXT, path TEXT, status "
	"INTEGER, duration REAL,"
	" direction TEXT, record TEXT NOT NULL);"
	"CREATE INDEX IF NOT EXISTS exchanges_observed ON exchanges(observed);"
	"CREATE INDEX IF NOT EXISTS exchanges_correlation ON exchanges(correlation_id) WHERE "
	"correlation_id IS NOT NULL;"
	"CREATE INDEX IF NOT EXISTS exchanges_trace ON exchanges(trace_id) WHERE trace_id IS NOT "
	"NULL;"
	"CREATE TABLE IF NOT EXISTS metrics(name TEXT NOT NULL, window_start INTEGER NOT NULL, "
	"window_end INTEGER NOT NULL,"
	" labels TEXT NOT NULL, count INTEGER NOT NULL, sum REAL NOT NULL, min REAL NOT NULL, max "
	"REAL NOT NULL, buckets TEXT,"
	" PRIMARY KEY(window_start, name, labels)) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS dead_letters(id INTEGER PRIMARY KEY, received INTEGER NOT "
	"NULL, reason TEXT, stage TEXT,"
	" topic TEXT, partition INTEGER, \"offset\" INTEGER, key BLOB, value BLOB);"
	"CREATE TABLE IF NOT EXISTS positions(source TEXT NOT NULL, topic TEXT NOT NULL, partition "
	"INTEGER NOT NULL,"
	" next_offset INTEGER NOT NULL, PRIMARY KEY(source, topic, partition)) WITHOUT ROWID;";

static int errno_of(int code)
{
	switch (code & 0xff) {
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return -EACCES;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EBADMSG;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_INTERRUPT:
		return -EINTR;
	default:
		return -EIO;
	}
}

static const char *advice(int code)
{
	switch (code) {
	case -EACCES:
	case -EROFS:
		return "; check the rights of the file and its folder";
	case -ENOSPC:
		return "; make room on the disk";
	case -EBUSY:
		return "; another process writes to it";
	case -EBADMSG:
		return "; it is damaged or no SQLite file: move it away to begin anew";
	default:
		return "";
	}
}

int tl_store_fail(sqlite3 *db, const char *what, const char *path, struct tl_error *error)
{
	int code = errno_of(sqlite3_extended_errcode(db)), system = sqlite3_system_errno(db);

	if ((sqlite3_errcode(db) & 0xff) == SQLITE_CANTOPEN && system)
		code = -system;
	return tl_error_set(error, code, "%s %s: %s%s", what, path,
			    code == -system ? strerror(system) : sqlite3_errmsg(db), advice(code));
}

int tl_store_exec(sqlite3 *db, const char *sql, const char *path, struct tl_error *error)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK)
		return 0;
	return tl_store_fail(db, "cannot use the store", path, error);
}

static int read_pragma(sqlite3 *db, const char *sql, const char *path, int64_t *ret,
		       struct tl_error *error)
{
	_cleanup_(tl_sqlite_finalizep) sqlite3_stmt *stmt = NULL;

	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK ||
	    sqlite3_step(stmt) != SQLITE_ROW)
		return tl_store_fail(db, "cannot read", path, error);
	*ret = sqlite3_column_int64(stmt, 0);
	return 0;
}

/* What version 1 had not: tags in the full-text index, and marks. Before the schema is made. */
static const char from_version_1[] =
	"ALTER TABLE logs ADD COLUMN tags TEXT; UPDATE logs SET tags = tl_tags(record); DROP TABLE "
	"logs_fts;";
static const char from_version_1_filled[] =
	"INSERT INTO logs_fts(rowid, body, tags) SELECT id, body, tags FROM logs;"
	"INSERT INTO marks(block, low, high) SELECT id / 1024, min(observed), max(observed) FROM "
	"logs GROUP BY 1;";

/* Returns 1 when the file is empty, 0 when it is a store of a version we know. */
static int check_identity(sqlite3 *db, const char *path, struct tl_error *error)
{
	int64_t id, version, tables;
	int r = read_pragma(db, "PRAGMA application_id", path, &id, error);

	r = r < 0 ? r : read_pragma(db, "PRAGMA user_version", path, &version, error);
	r = r < 0 ? r : read_pragma(db, "SELECT count(*) FROM sqlite_master", path, &tables, error);
	if (r < 0)
		return r;
	if (tables == 0 && id == 0)
		return 1;
	if (id != APPLICATION_ID)
		return tl_error_set(error, -EBADMSG,
				    "%s is an SQLite file of another program; name another file",
				    path);
	if (version > TL_STORE_VERSION)
		return tl_error_set(
			error, -EPROTO,
			"%s was made by a newer tapline (store version %lld, this one knows %d); "
			"use that one",
			path, (long long)version, TL_STORE_VERSION);
	return 0;
}

static int open_db(const char *path, int flags, sqlite3 **ret_db, struct tl_error *error)
{
	_cleanup_(tl_sqlite_closep) sqlite3 *db = NULL;

	if (sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
		if (!db)
			return tl_error_set(error, -ENOMEM, "out of memory");
		return tl_store_fail(db, "cannot open the store", path, error);
	}
	sqlite3_extended_result_codes(db, 1);
	sqlite3_busy_timeout(db, BUSY_MS);
	*ret_db = TAKE_PTR(db);
	return 0;
}

/* tl_tags(record): for stores that were made before there were tags. */
static void sql_tags(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	struct tl_span json = {(const char *)sqlite3_value_text(argv[0]),
			       (size_t)sqlite3_value_bytes(argv[0])};
	struct tl_record *record = calloc(1, sizeof(*record));
	_cleanup_(tl_buf_done) struct tl_buf tags = {0};
	struct tl_arena arena = {0};

	(void)argc;
	if (!record) {
		sqlite3_result_error_nomem(context);
		return;
	}
	tl_record_reset(record);
	(void)tl_record_from_json(json, &arena, record, NULL);
	tl_tags_add(record, &tags);
	sqlite3_result_text(context, tags.data, (int)tags.len, SQLITE_TRANSIENT);
	tl_arena_done(&arena);
	free(record);
}

static int upgrade(sqlite3 *db, int64_t version, const char *path, struct tl_error *error)
{
	if (version != 1)
		return tl_store_exec(db, schema, path, error);
	if (sqlite3_create_function(db, "tl_tags", 1, SQLITE_UTF8, NULL, sql_tags, NULL, NULL) !=
	    SQLITE_OK)
		return tl_store_fail(db, "cannot use", path, error);
	return tl_store_exec(db, from_version_1, path, error) ?: tl_store_exec(db, schema, path, error)
	       ?: tl_store_exec(db, from_version_1_filled, path, error);
}

static int make_tables(sqlite3 *db, const char *path, struct tl_error *error)
{
	char pragmas[128];
	int64_t version = 0;
	int r;

	snprintf(pragmas, sizeof(pragmas), "PRAGMA application_id=%d; PRAGMA user_version=%d",
		 APPLICATION_ID, TL_STORE_VERSION);
	r = tl_store_exec(db, "BEGIN IMMEDIATE", path, error);
	r = r < 0 ? r : read_pragma(db, "PRAGMA user_version", path, &version, error);
	r = r < 0 ? r : upgrade(db, version, path, error);
	r = r < 0 ? r : tl_store_exec(db, pragmas, path, error);
	return r < 0 ? r : tl_store_exec(db, "COMMIT", path, error);
}

int tl_store_open_write(const char *path, bool full, sqlite3 **ret_db, struct tl_error *error)
{
	_cleanup_(tl_sqlite_closep) sqlite3 *db = NULL;
	mode_t mask = umask(0077); /* log lines may hold anything: ours alone */
	int r = open_db(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db, error);

	if (r == 0)
		r = check_identity(db, path, error);
	if (r >= 0)
		r = tl_store_exec(db, "PRAGMA journal_mode=WAL", path, error);
	umask(mask);
	if (r == 0)
		r = make_tables(db, path, error);
	if (r == 0)
		r = tl_store_exec(db,
				  full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL",
				  path, error);
	if (r == 0)
		r = tl_store_exec(db,
				  "PRAGMA cache_size=-32768; PRAGMA temp_store=MEMORY; PRAGMA "
				  "wal_autocheckpoint=8000",
				  path, error);
	if (r < 0)
		return r;
	*ret_db = TAKE_PTR(db);
	return 0;
}

int tl_store_open_read(const char *path, sqlite3 **ret_db, struct tl_error *error)
{
	_cleanup_(tl_sqlite_closep) sqlite3 *db = NULL;
	int r;

	if (access(path, F_OK) < 0)
		return tl_error_set(error, -errno,
				    "there is no store at %s (%s); `tapline run` and `tapline sink "
				    "store` make one, "
				    "--store names another",
				    path, strerror(errno));
	r = open_db(path, SQLITE_OPEN_READONLY, &db, error);
	if (r == 0)
		r = check_identity(db, path, error);
	if (r == 1)
		return tl_error_set(error, -ENOENT, "the store at %s is empty yet", path);
	if (r < 0)
		return r;
	*ret_db = TAKE_PTR(db);
	return 0;
}
