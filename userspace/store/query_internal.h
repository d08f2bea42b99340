/* SPDX-License-Identifier: Apache-2.0 */
/* Private to query*.c and report.c: a question on its way to SQL. */
#ifndef TL_STORE_QUERY_INTERNAL_H
#define TL_STORE_QUERY_INTERNAL_H

#include "userspace/store/query.h"
#include "userspace/store/schema.h"

#define TL_VALUES_MAX (8 * TL_CONDITIONS_MAX)

/* The row that is looked at, told by the SQL function tl_at(id, observed), the first term of each
 * WHERE: a search that is out of time goes on from there. */
struct tl_scan {
	struct tl_query_place at, before_at; /* this row, and the one before it */
	uint64_t rows;
	uint64_t deadline_ns, hard_ns; /* monotonic; 0 none */
	bool timed_out;
};

struct tl_store_reader {
	sqlite3 *db;
	char *path;
	int64_t data_version; /* PRAGMA data_version of the last look */
	bool has_tags;	      /* version 2 and later */
	struct tl_scan scan;
};

struct tl_builder {
	struct tl_buf sql;
	struct tl_buf match; /* full-text expression of the words ... */
	struct tl_buf tags;  /* ... and of the fields */
	struct {
		struct tl_span text; /* data NULL: a number */
		int64_t number;
	} values[TL_VALUES_MAX];
	size_t n;
	bool by_words;		 /* the full-text index is walked */
	int64_t low_id, high_id; /* rows of the time range, where they are known; 0 open */
};

/* Writes "SELECT <columns> FROM ... WHERE ..." without an order into b->sql; logs or exchanges are
 * `l`. `b` must be zero and live until the statement is done (tl_builder_done). Errors: -EINVAL;
 * -ENOMEM. */
int tl_builder_select(struct tl_builder *b, struct tl_store_reader *reader,
		      const struct tl_query *query, const char *columns, struct tl_error *error);
void tl_builder_done(struct tl_builder *b);

/* Adds a value for the next `?`. */
void tl_builder_bind(struct tl_builder *b, struct tl_span text, int64_t number);

/* Prepares b->sql and binds its values. Errors: -EINVAL, -EIO. */
int tl_builder_prepare(struct tl_builder *b, struct tl_store_reader *reader,
		       sqlite3_stmt **ret_stmt, struct tl_error *error);

/* Starts the clock of a search; 0: none. */
void tl_scan_begin(struct tl_store_reader *reader, uint64_t budget_ns);

#endif
