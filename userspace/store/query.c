/* SPDX-License-Identifier: Apache-2.0 */
/* Readers and searches. A search that has a budget is stopped by SQLite's progress handler once the
 * time is over and tells the last row it looked at, so that whoever asks goes on from there: any
 * question is answered in time, if in parts. */
#include "userspace/store/query.h"

#include <stdio.h>

#include "userspace/base/clock.h"
#include "userspace/base/json.h"
#include "userspace/store/query_internal.h"

#define STEPS 500 /* of SQLite's machine between two looks at the clock */
#define HARD_NS                                                                                    \
	(3 * TL_SEC) /* past the budget: a search that has not seen two rows is given up           \
		      */
#define TAGS_VERSION 2

static int64_t number(sqlite3 *db, const char *sql)
{
	_cleanup_(tl_sqlite_finalizep) sqlite3_stmt *stmt = NULL;

	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK ||
	    sqlite3_step(stmt) != SQLITE_ROW)
		return 0;
	return sqlite3_column_int64(stmt, 0);
}

/* tl_at(id, observed): notes the row, is true. */
static void sql_at(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	struct tl_scan *scan = sqlite3_user_data(context);

	(void)argc;
	scan->before_at = scan->at;
	scan->at.number = sqlite3_value_int64(argv[0]);
	scan->at.observed_ns = sqlite3_value_int64(argv[1]);
	scan->rows++;
	sqlite3_result_int(context, 1);
}

/* tl_field(record, key): text of an attribute, or of a resource attribute; NULL when it has none.
 */
static void sql_field(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	static const char *const sides[] = {"attributes", "resource"};
	struct tl_span record = {(const char *)sqlite3_value_text(argv[0]),
				 (size_t)sqlite3_value_bytes(argv[0])};
	const char *key = (const char *)sqlite3_value_text(argv[1]);
	_cleanup_(tl_buf_done) struct tl_buf text = {0};
	struct tl_json_value side, value;

	(void)argc;
	for (size_t i = 0; key && i < ARRAY_SIZE(sides); i++) {
		if (tl_json_find(record, sides[i], &side) != 1 || side.type != TL_JSON_OBJECT ||
		    tl_json_find(side.raw, key, &value) != 1 || value.type == TL_JSON_NULL)
			continue;
		if (value.escaped && tl_json_unescape(value.raw, &text) == 0)
			value.raw = tl_buf_span(&text);
		sqlite3_result_text(context, value.raw.data, (int)value.raw.len, SQLITE_TRANSIENT);
		return;
	}
	sqlite3_result_null(context);
}

static int on_progress(void *arg)
{
	struct tl_scan *scan = arg;
	uint64_t now;

	if (!scan->deadline_ns)
		return 0;
	now = tl_mono_ns();
	if (now < scan->deadline_ns || (scan->rows < 2 && now < scan->hard_ns))
		return 0;
	scan->timed_out = true;
	return 1;
}

static int add_functions(struct tl_store_reader *reader, struct tl_error *error)
{
	if (sqlite3_create_function(reader->db, "tl_at", 2, SQLITE_UTF8, &reader->scan, sql_at,
				    NULL, NULL) != SQLITE_OK ||
	    sqlite3_create_function(reader->db, "tl_field", 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC,
				    NULL, sql_field, NULL, NULL) != SQLITE_OK)
		return tl_store_fail(reader->db, "cannot read", reader->path, error);
	sqlite3_progress_handler(reader->db, STEPS, on_progress, &reader->scan);
	return 0;
}

int tl_store_reader_open(const char *path, struct tl_store_reader **ret_reader,
			 struct tl_error *error)
{
	struct tl_store_reader *reader = calloc(1, sizeof(*reader));
	int r;

	if (!reader)
		return tl_error_set(error, -ENOMEM, "out of memory");
	reader->data_version = -1;
	reader->path = strdup(path);
	r = reader->path ? tl_store_open_read(path, &reader->db, error)
			 : tl_error_set(error, -ENOMEM, "out of memory");
	if (r == 0)
		r = add_functions(reader, error);
	if (r < 0) {
		tl_store_reader_close(reader);
		return r;
	}
	reader->has_tags = number(reader->db, "PRAGMA user_version") >= TAGS_VERSION;
	*ret_reader = reader;
	return 0;
}

void tl_store_reader_close(struct tl_store_reader *reader)
{
	if (reader->db)
		sqlite3_close(reader->db);
	free(reader->path);
	free(reader);
}

void tl_scan_begin(struct tl_store_reader *reader, uint64_t budget_ns)
{
	uint64_t now = budget_ns ? tl_mono_ns() : 0;

	reader->scan = (struct tl_scan){0};
	if (budget_ns) {
		reader->scan.deadline_ns = now + budget_ns;
		reader->scan.hard_ns = now + budget_ns + HARD_NS;
	}
}

static int run(struct tl_store_reader *reader, struct tl_builder *b,
	       int (*each)(void *arg, const struct tl_row *row), void *arg, size_t limit,
	       struct tl_search *ret, struct tl_error *error)
{
	_cleanup_(tl_sqlite_finalizep) sqlite3_stmt *stmt = NULL;
	size_t n = 0;
	int stopped = 0, r = tl_builder_prepare(b, reader, &stmt, error);

	if (r < 0)
		return r;
	while (!stopped && (r = sqlite3_step(stmt)) == SQLITE_ROW) {
		struct tl_row row = {
			.number = sqlite3_column_int64(stmt, 0),
			.observed_ns = (uint64_t)sqlite3_column_int64(stmt, 1),
			.json = {(const char *)sqlite3_column_text(stmt, 2),
				 (size_t)sqlite3_column_bytes(stmt, 2)},
		};

		ret->place = (struct tl_query_place){row.number, (int64_t)row.observed_ns};
		stopped = each(arg, &row);
		n++;
	}
	if (stopped || (limit && n == limit)) {
		ret->end = TL_END_LIMIT;
		return stopped;
	}
	if (r != SQLITE_DONE && reader->scan.timed_out && reader->scan.rows >= 2) {
		ret->end = TL_END_TIME;
		ret->place = reader->scan.before_at;
		return 0;
	}
	ret->end = TL_END_ALL;
	if (r != SQLITE_DONE && reader->scan.timed_out)
		return tl_error_set(error, -ETIMEDOUT,
				    "the search takes too long: choose a time, or more words");
	return r == SQLITE_DONE ? 0
				: tl_store_fail(reader->db, "cannot search", reader->path, error);
}

static void add_order(struct tl_builder *b, const struct tl_query *query)
{
	/* The full-text index is walked by row, which on one host is the order of time too. */
	if (query->after >= 0)
		tl_buf_puts(&b->sql, b->by_words ? " ORDER BY f.rowid" : " ORDER BY l.id");
	else
		tl_buf_puts(&b->sql, b->by_words ? " ORDER BY f.rowid DESC"
						 : " ORDER BY l.observed DESC, l.id DESC");
	if (query->limit)
		tl_buf_printf(&b->sql, " LIMIT %zu", query->limit);
}

int tl_store_search(struct tl_store_reader *reader, const struct tl_query *query,
		    int (*each)(void *arg, const struct tl_row *row), void *arg,
		    struct tl_search *ret, struct tl_error *error)
{
	struct tl_builder *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return tl_error_set(error, -ENOMEM, "out of memory");
	tl_scan_begin(reader, query->budget_ns);
	r = tl_builder_select(b, reader, query, "l.id, l.observed, l.record", error);
	if (r == 0) {
		add_order(b, query);
		r = run(reader, b, each, arg, query->limit, ret, error);
	}
	tl_scan_begin(reader, 0);
	tl_builder_done(b);
	free(b);
	return r;
}

int tl_store_query(struct tl_store_reader *reader, const struct tl_query *query,
		   int (*each)(void *arg, const struct tl_row *row), void *arg,
		   struct tl_error *error)
{
	struct tl_search search;

	return tl_store_search(reader, query, each, arg, &search, error);
}

int64_t tl_store_newest(struct tl_store_reader *reader, bool exchanges)
{
	return number(reader->db,
		      exchanges ? "SELECT max(id) FROM exchanges" : "SELECT max(id) FROM logs");
}

bool tl_store_changed(struct tl_store_reader *reader)
{
	int64_t version = number(reader->db, "PRAGMA data_version");
	bool changed = version != reader->data_version;

	reader->data_version = version;
	return changed;
}
