/* SPDX-License-Identifier: Apache-2.0 */
/* What is too old or too much leaves a bounded piece at a time, every few seconds, oldest first, in
 * the transaction of a batch: readers never wait and the writer hardly. The pages that become free
 * are used again; the file does not shrink. */
#include "userspace/base/clock.h"
#include "userspace/base/metrics.h"
#include "userspace/sink/store.h"

#define EVERY_NS (2 * TL_SEC)
#define SHARE 10 /* per cent of the rows at most in one piece, by size */
#define PIECE 20000

static struct tl_metric removed_old = {.name = "tapline_store_removed_records_total",
				       .type = TL_COUNTER,
				       .labels = "cause=\"keep\"",
				       .help = "Records removed from the store."};
static struct tl_metric removed_size = {.name = "tapline_store_removed_records_total",
					.type = TL_COUNTER,
					.labels = "cause=\"max_size\"",
					.help = "Records removed from the store."};

static void register_metrics(void)
{
	static bool done;

	if (done)
		return;
	done = true;
	tl_metric_register(&removed_old);
	tl_metric_register(&removed_size);
}

static int64_t number(sqlite3 *db, const char *sql)
{
	_cleanup_(tl_sqlite_finalizep) sqlite3_stmt *stmt = NULL;

	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK ||
	    sqlite3_step(stmt) != SQLITE_ROW)
		return -1;
	return sqlite3_column_int64(stmt, 0);
}

static int run(struct tl_store *store, const char *sql, int64_t first, int64_t second)
{
	_cleanup_(tl_sqlite_finalizep) sqlite3_stmt *stmt = NULL;

	if (sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL) != SQLITE_OK)
		return -EIO;
	sqlite3_bind_int64(stmt, 1, first);
	sqlite3_bind_int64(stmt, 2, second);
	return sqlite3_step(stmt) == SQLITE_DONE ? 0 : -EIO;
}

/* Removes up to `n` logs observed before `before`, oldest first, words before rows; and what else
 * is as old. */
static int remove_logs(struct tl_store *store, int64_t before, int64_t n, struct tl_metric *metric)
{
	int r = run(store,
		    "INSERT INTO logs_fts(logs_fts, rowid, body, tags) SELECT 'delete', id, body, "
		    "tags FROM "
		    "logs WHERE id IN"
		    " (SELECT id FROM logs WHERE observed < ?1 ORDER BY observed, id LIMIT ?2)",
		    before, n);

	r = r < 0 ? r
		  : run(store,
			"DELETE FROM logs WHERE id IN (SELECT id FROM logs WHERE observed < ?1"
			" ORDER BY observed, id LIMIT ?2)",
			before, n);
	if (r == 0)
		tl_metric_add(metric, (uint64_t)sqlite3_changes(store->db));
	r = r < 0 ? r
		  : run(store,
			"DELETE FROM exchanges WHERE id IN (SELECT id FROM exchanges WHERE "
			"observed < ?1"
			" ORDER BY observed LIMIT ?2)",
			before, n);
	r = r < 0 ? r : run(store, "DELETE FROM metrics WHERE window_end < ?1 AND ?2", before, 1);
	/* Rows that did not fit into the piece keep theirs. */
	r = r < 0 ? r
		  : run(store,
			"DELETE FROM marks WHERE block < (SELECT min(id) / ?2 FROM logs) AND ?1",
			before, TL_STORE_BLOCK);
	return r < 0 ? r
		     : run(store, "DELETE FROM dead_letters WHERE received < ?1 AND ?2", before, 1);
}

/* The time before which a piece of the rows lies. */
static int64_t time_of_piece(struct tl_store *store, int64_t n)
{
	_cleanup_(tl_sqlite_finalizep) sqlite3_stmt *stmt = NULL;

	if (sqlite3_prepare_v2(store->db,
			       "SELECT observed FROM logs ORDER BY observed LIMIT 1 OFFSET ?", -1,
			       &stmt, NULL) != SQLITE_OK)
		return -1;
	sqlite3_bind_int64(stmt, 1, n);
	return sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : -1;
}

static int by_size(struct tl_store *store)
{
	int64_t used =
		number(store->db,
		       "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count,"
		       " pragma_freelist_count, pragma_page_size");
	int64_t rows, n, before;

	if (used < 0)
		return -EIO;
	if ((uint64_t)used <= store->settings->max_bytes)
		return 0;
	rows = number(store->db, "SELECT max(id) - min(id) + 1 FROM logs");
	n = rows * SHARE / 100 < PIECE ? rows * SHARE / 100 : PIECE;
	before = n > 0 ? time_of_piece(store, n) : -1;
	return before < 0 ? 0 : remove_logs(store, before, n, &removed_size);
}

int tl_store_prune(struct tl_store *store)
{
	uint64_t now = tl_mono_ns();
	int r = 0;

	register_metrics();
	if ((!store->settings->keep_ns && !store->settings->max_bytes) ||
	    now - store->pruned_ns < EVERY_NS)
		return 0;
	store->pruned_ns = now;
	if (store->settings->keep_ns)
		r = remove_logs(store, (int64_t)(tl_wall_ns() - store->settings->keep_ns), PIECE,
				&removed_old);
	if (r == 0 && store->settings->max_bytes)
		r = by_size(store);
	return r;
}
