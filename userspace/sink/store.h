/* SPDX-License-Identifier: Apache-2.0 */
/* The store sink's settings, for those who open it without an option table (the embedded mode), and
 * what its files share. */
#ifndef TL_SINK_STORE_H
#define TL_SINK_STORE_H

#include "userspace/sink/sink.h"
#include "userspace/store/schema.h"

struct tl_store_settings {
	const char *path;
	bool full_sync;
	uint64_t keep_ns;   /* older records are removed; 0 never */
	uint64_t max_bytes; /* the oldest records are removed above it; 0 no limit */
};

extern const struct tl_sink_ops tl_sink_store;

enum tl_store_statement {
	TL_STORE_LOG,
	TL_STORE_WORDS,
	TL_STORE_MARK,
	TL_STORE_EXCHANGE,
	TL_STORE_METRIC,
	TL_STORE_DEAD,
	TL_STORE_POSITION_SET,
	TL_STORE_POSITION_GET,
	TL_STORE_STATEMENTS
};

struct tl_store {
	struct tl_sink sink;
	const struct tl_store_settings *settings;
	sqlite3 *db;
	sqlite3_stmt *statements[TL_STORE_STATEMENTS];
	char source[400];
	bool open; /* a transaction is */
	struct tl_arena arena;
	struct tl_record record;
	struct tl_buf tags;
	struct {
		int64_t block; /* -1 none */
		uint64_t low, high;
	} mark; /* times of the block of rows that is being filled; not in its table yet */
	uint64_t pruned_ns; /* monotonic, of the last look at keep and max_bytes */
	struct tl_partition
		*known; /* positions as we stored them last: another writer would have moved them */
	size_t n_known, cap_known;
};

/* Rows of one message in the open transaction. Return 1 written, 0 it was there already, -EINVAL
 * the message is malformed (`reason`, 256 bytes, says how), -EIO SQLite failed. */
int tl_store_add_log(struct tl_store *store, const struct tl_message *message, char *reason);
int tl_store_add_exchange(struct tl_store *store, const struct tl_message *message, char *reason);
int tl_store_add_metric(struct tl_store *store, const struct tl_message *message, char *reason);
int tl_store_add_dead(struct tl_store *store, const struct tl_message *message);

/* Writes the mark of the block that is being filled; before each commit. Errors: -EIO. */
int tl_store_mark(struct tl_store *store);

/* Makes the SQL functions that the statements use. */
int tl_store_functions(sqlite3 *db);

/* Removes what is too old or too much, a bounded piece at a time, as a part of the open
 * transaction. Errors: -EIO. */
int tl_store_prune(struct tl_store *store);

#endif
