/* SPDX-License-Identifier: Apache-2.0 */
/* The store sink: rows and the positions behind them in one SQLite transaction, so exactly once. A
 * record that comes twice under its uid (sent again by an agent) is ignored. One writer: what
 * another one stored meanwhile is noticed at commit. */
#include "userspace/sink/store.h"

#include <stdio.h>

#include "userspace/base/clock.h"

#define FIELD(member) offsetof(struct tl_store_settings, member)

static const int topics[] = {TL_TOPIC_LOGS, TL_TOPIC_HTTP, TL_TOPIC_METRICS, TL_TOPIC_DLQ};
static const char *const topic_names[] = TL_TOPIC_NAMES;

static const struct tl_option options[] = {
	{.name = "path",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(path),
	 .metavar = "FILE",
	 .required = true,
	 .help = "SQLite file that holds everything; made when it is missing."},
	{.name = "full-sync",
	 .type = TL_OPT_BOOL,
	 .offset = FIELD(full_sync),
	 .value = "false",
	 .help = "Sync each commit to the disk. Without it a power cut may take the newest commits "
		 "back, positions and "
		 "rows together, and they are read from Kafka again."},
	{.name = "keep",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(keep_ns),
	 .value = "0",
	 .metavar = "TIME",
	 .help = "Remove records older than this, for example 7d; 0 keeps all."},
	{.name = "max-size",
	 .type = TL_OPT_SIZE,
	 .offset = FIELD(max_bytes),
	 .value = "0",
	 .metavar = "SIZE",
	 .help = "Remove the oldest records while the file holds more than this; 0 is no limit."},
	{.name = NULL},
};

static const char *const sql[TL_STORE_STATEMENTS] = {
	[TL_STORE_LOG] = "INSERT OR IGNORE INTO logs(uid, observed, timestamp, severity, service, "
			 "correlation_id, trace_id, how, body,"
			 " record, tags) VALUES(?,?,?,?,?,?,?,?,?,?,?)",
	[TL_STORE_WORDS] = "INSERT INTO logs_fts(rowid, body, tags) VALUES(?,?,?)",
	[TL_STORE_MARK] =
		"INSERT INTO marks(block, low, high) VALUES(?,?,?) ON CONFLICT DO UPDATE SET"
		" low = min(low, excluded.low), high = max(high, excluded.high)",
	[TL_STORE_EXCHANGE] = "INSERT OR IGNORE INTO exchanges(uid, observed, service, "
			      "correlation_id, trace_id, method, path, status,"
			      " duration, direction, record) VALUES(?,?,?,?,?,?,?,?,?,?,?)",
	[TL_STORE_METRIC] = "INSERT INTO metrics(name, window_start, window_end, labels, count, "
			    "sum, min, max, buckets)"
			    " VALUES(?,?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET count = count + "
			    "excluded.count,"
			    " sum = sum + excluded.sum, min = min(min, excluded.min), max = "
			    "max(max, excluded.max),"
			    " buckets = tl_add_buckets(buckets, excluded.buckets)",
	[TL_STORE_DEAD] = "INSERT INTO dead_letters(received, reason, stage, topic, partition, "
			  "\"offset\", key, value)"
			  " VALUES(?,?,?,?,?,?,?,?)",
	[TL_STORE_POSITION_SET] =
		"INSERT INTO positions(source, topic, partition, next_offset) VALUES(?,?,?,?)"
		" ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset",
	[TL_STORE_POSITION_GET] = "SELECT next_offset FROM positions WHERE source = ? AND topic = "
				  "? AND partition = ?",
};

static int fail(struct tl_store *store, const char *what, struct tl_error *error)
{
	return tl_store_fail(store->db, what, store->settings->path, error);
}

static void store_rollback(struct tl_sink *sink)
{
	struct tl_store *store = (struct tl_store *)sink;

	if (store->open && !sqlite3_get_autocommit(store->db))
		sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
	store->open = false;
	store->mark.block = -1;
}

static void store_close(struct tl_sink *sink)
{
	struct tl_store *store = (struct tl_store *)sink;

	store_rollback(sink);
	for (size_t i = 0; i < TL_STORE_STATEMENTS; i++)
		sqlite3_finalize(store->statements[i]);
	if (store->db)
		sqlite3_close(store->db);
	tl_arena_done(&store->arena);
	tl_buf_done(&store->tags);
	free(store->known);
	free(store);
}

static int prepare(struct tl_store *store, struct tl_error *error)
{
	if (tl_store_functions(store->db) < 0)
		return fail(store, "cannot use", error);
	for (size_t i = 0; i < TL_STORE_STATEMENTS; i++)
		if (sqlite3_prepare_v3(store->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &store->statements[i], NULL) != SQLITE_OK)
			return fail(store, "cannot use", error);
	return 0;
}

static int store_open(const void *settings, struct tl_sink **ret_sink, struct tl_error *error)
{
	struct tl_store *store = calloc(1, sizeof(*store));
	int r;

	if (!store)
		return tl_error_set(error, -ENOMEM, "out of memory");
	store->sink.ops = &tl_sink_store;
	store->mark.block = -1;
	store->settings = settings;
	r = tl_store_open_write(store->settings->path, store->settings->full_sync, &store->db,
				error);
	r = r < 0 ? r : prepare(store, error);
	if (r < 0) {
		store_close(&store->sink);
		return r;
	}
	*ret_sink = &store->sink;
	return 0;
}

static int begin(struct tl_store *store, struct tl_error *error)
{
	if (store->open)
		return 0;
	if (sqlite3_exec(store->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
		return fail(store, "cannot write to", error);
	store->open = true;
	return 0;
}

static int add(struct tl_store *store, const struct tl_message *message, char *reason)
{
	switch (message->topic) {
	case TL_TOPIC_LOGS:
		return tl_store_add_log(store, message, reason);
	case TL_TOPIC_HTTP:
		return tl_store_add_exchange(store, message, reason);
	case TL_TOPIC_METRICS:
		return tl_store_add_metric(store, message, reason);
	default:
		return tl_store_add_dead(store, message);
	}
}

static int store_write(struct tl_sink *sink, const struct tl_message *messages, size_t n,
		       struct tl_sink_result *result, const volatile int *stop,
		       struct tl_error *error)
{
	struct tl_store *store = (struct tl_store *)sink;
	int r = begin(store, error);

	(void)stop;
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		char reason[sizeof(result->dead->reason)];

		r = add(store, &messages[i], reason);
		if (r == -EIO)
			return fail(store, "cannot write to", error);
		if (r < 0) {
			struct tl_dead_letter *dead = &result->dead[result->n_dead++];

			dead->message = i;
			dead->type = "malformed_record";
			snprintf(dead->reason, sizeof(dead->reason), "%s", reason);
		} else if (r == 0) {
			result->duplicates++;
		} else {
			result->written++;
		}
	}
	return 0;
}

static void store_source(struct tl_sink *sink, const char *name)
{
	struct tl_store *store = (struct tl_store *)sink;

	snprintf(store->source, sizeof(store->source), "%s", name);
	store->n_known = 0;
}

static void bind_place(struct tl_store *store, sqlite3_stmt *stmt,
		       const struct tl_partition *partition)
{
	sqlite3_bind_text(stmt, 1, store->source, -1, SQLITE_STATIC);
	sqlite3_bind_text(stmt, 2, topic_names[partition->topic], -1, SQLITE_STATIC);
	sqlite3_bind_int(stmt, 3, partition->partition);
}

static int get_position(struct tl_store *store, const struct tl_partition *partition, int64_t *ret,
			struct tl_error *error)
{
	sqlite3_stmt *stmt = store->statements[TL_STORE_POSITION_GET];
	int r;

	bind_place(store, stmt, partition);
	r = sqlite3_step(stmt);
	*ret = r == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : -1;
	sqlite3_reset(stmt);
	return r == SQLITE_ROW || r == SQLITE_DONE ? 0 : fail(store, "cannot read", error);
}

static struct tl_partition *known(struct tl_store *store, const struct tl_partition *partition)
{
	for (size_t i = 0; i < store->n_known; i++)
		if (store->known[i].topic == partition->topic &&
		    store->known[i].partition == partition->partition)
			return &store->known[i];
	return NULL;
}

static int remember(struct tl_store *store, const struct tl_partition *partition)
{
	struct tl_partition *mine = known(store, partition);

	if (mine) {
		*mine = *partition;
		return 0;
	}
	if (store->n_known == store->cap_known) {
		size_t cap = store->cap_known ? store->cap_known * 2 : 64;
		struct tl_partition *grown = realloc(store->known, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		store->known = grown;
		store->cap_known = cap;
	}
	store->known[store->n_known++] = *partition;
	return 0;
}

static int store_positions(struct tl_sink *sink, struct tl_partition *partitions, size_t n,
			   struct tl_error *error)
{
	struct tl_store *store = (struct tl_store *)sink;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		r = get_position(store, &partitions[i], &partitions[i].offset, error);
		if (r == 0 && remember(store, &partitions[i]) < 0)
			r = tl_error_set(error, -ENOMEM, "out of memory");
	}
	return r;
}

/* The write lock is ours, so what we read here stays true until the commit. */
static int move(struct tl_store *store, const struct tl_partition *partition,
		struct tl_error *error)
{
	sqlite3_stmt *stmt = store->statements[TL_STORE_POSITION_SET];
	const struct tl_partition *mine = known(store, partition);
	int64_t stored;
	int r = get_position(store, partition, &stored, error);

	if (r < 0)
		return r;
	if (stored != (mine ? mine->offset : -1))
		return tl_error_set(error, -ESTALE,
				    "another process stores %s [%d] in %s; only one may: stop the "
				    "other, or give each its "
				    "own file",
				    topic_names[partition->topic], partition->partition,
				    store->settings->path);
	bind_place(store, stmt, partition);
	sqlite3_bind_int64(stmt, 4, partition->offset);
	r = sqlite3_step(stmt);
	sqlite3_reset(stmt);
	return r == SQLITE_DONE ? 0 : fail(store, "cannot write to", error);
}

static int store_commit(struct tl_sink *sink, const struct tl_partition *partitions, size_t n,
			struct tl_error *error)
{
	struct tl_store *store = (struct tl_store *)sink;
	int r = begin(store, error);

	for (size_t i = 0; r == 0 && i < n; i++)
		r = move(store, &partitions[i], error);
	if (r == 0 && tl_store_mark(store) < 0)
		r = fail(store, "cannot write to", error);
	if (r == 0 && tl_store_prune(store) < 0)
		r = fail(store, "cannot remove old records from", error);
	if (r == 0 && sqlite3_exec(store->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
		r = fail(store, "cannot write to", error);
	if (r < 0) {
		store_rollback(sink);
		return r;
	}
	store->open = false;
	for (size_t i = 0; i < n; i++)
		if (remember(store, &partitions[i]) < 0)
			return tl_error_set(error, -ENOMEM, "out of memory");
	return 0;
}

const struct tl_sink_ops tl_sink_store = {
	.name = "store",
	.about = "Keeps records, HTTP exchanges, metrics and dead letters in one SQLite file, each "
		 "exactly once: for tapline "
		 "search, tail and web. One process writes to a file; any number read it "
		 "meanwhile.\n\n"
		 "  tapline sink store --brokers kafka:9092 --path /var/lib/tapline/store.db "
		 "--keep 7d",
	.topics = topics,
	.n_topics = ARRAY_SIZE(topics),
	.options = options,
	.settings_size = sizeof(struct tl_store_settings),
	.open = store_open,
	.write = store_write,
	.source = store_source,
	.commit = store_commit,
	.positions = store_positions,
	.rollback = store_rollback,
	.close = store_close,
};
