/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to a store: which records have these words, fields, times and ids. A reader never waits
 * for the writer and sees whole commits only. One thread per reader. */
#ifndef TL_STORE_QUERY_H
#define TL_STORE_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "userspace/base/buf.h"
#include "userspace/base/cleanup.h"
#include "userspace/base/err.h"
#include "userspace/record/record.h"

enum tl_compare { TL_IS, TL_IS_NOT, TL_LIKE, TL_AT_LEAST, TL_AT_MOST, TL_ABOVE, TL_BELOW };

struct tl_condition {
	struct tl_span field; /* "service", "severity", "id", a column, or the key of an attribute
				 or resource attribute */
	struct tl_span value; /* TL_LIKE: with * and ? */
	enum tl_compare compare;
};

#define TL_CONDITIONS_MAX 32

/* Where a search stands: the row it saw last. */
struct tl_query_place {
	int64_t number;	     /* 0: at the newest */
	int64_t observed_ns; /* of the same row */
};

struct tl_query {
	struct tl_span
		words[TL_CONDITIONS_MAX]; /* all must be in the body; "two words" is a phrase, word*
					     a beginning, !word or -word none */
	size_t n_words;
	struct tl_condition conditions[TL_CONDITIONS_MAX];
	size_t n_conditions;
	uint64_t since_ns, until_ns; /* of observed; 0 open */
	int64_t after;	/* rows with a greater number only, oldest first; -1: the newest that match,
			   newest first */
	size_t limit;	/* 0 is no limit */
	bool exchanges; /* HTTP exchanges instead of log records */
	struct tl_query_place
		before;	    /* go on behind this place, towards older rows; with after < 0 */
	uint64_t budget_ns; /* longest time to search, about; 0: as long as it takes */
};

/* Adds what a person typed: words, "phrases", !word, FIELD=VALUE, !=, ~ (with * and ?), >=, <=, >,
 * <. Spans point into `text`. What is in quotes is never a field. Errors: -EINVAL with what is
 * wrong; -E2BIG too many. */
int tl_query_parse(struct tl_query *query, const char *text, struct tl_error *error);

/* Adds one argument of a command line, whose quotes the shell took away: a text with blanks is a
 * phrase, unless it has conditions. Errors: as tl_query_parse. */
int tl_query_argument(struct tl_query *query, const char *text, struct tl_error *error);

/* Adds FIELD=VALUE (or another comparison). Errors: -E2BIG. */
int tl_query_condition(struct tl_query *query, const char *field, enum tl_compare compare,
		       const char *value, struct tl_error *error);

/* Adds one condition: the record's request or trace is `id`. Errors: -E2BIG. */
int tl_query_id(struct tl_query *query, const char *id, struct tl_error *error);

/* "10m", "2h" (before now), "14:30", "2026-11-23", "2026-11-23 14:30[:05]" (local time), or RFC
 * 3339 with Z. Errors: -EINVAL. */
int tl_query_time(const char *text, uint64_t now_ns, uint64_t *ret_ns, struct tl_error *error);

/* True when a record (not from a store) matches. Words are found as parts of the body, whatever
 * their case. */
bool tl_query_match(const struct tl_query *query, const struct tl_record *record);

struct tl_row {
	int64_t number; /* grows with each record of the store */
	uint64_t observed_ns;
	struct tl_span json; /* the record; valid during the callback */
};

struct tl_store_reader;

/* Errors: -ENOENT there is no store yet, -EACCES, -EBADMSG, -EPROTO a newer version's, -EIO. */
int tl_store_reader_open(const char *path, struct tl_store_reader **ret_reader,
			 struct tl_error *error);
void tl_store_reader_close(struct tl_store_reader *reader);
TL_DEFINE_CLEANUP(struct tl_store_reader *, tl_store_reader_close);

/* Hands the rows that match to `each`, until it returns other than 0, which is then returned.
 * Errors: -EINVAL a word or number that cannot be looked for; -EIO. */
int tl_store_query(struct tl_store_reader *reader, const struct tl_query *query,
		   int (*each)(void *arg, const struct tl_row *row), void *arg,
		   struct tl_error *error);

enum tl_search_end {
	TL_END_ALL,   /* nothing more matches */
	TL_END_LIMIT, /* the limit was reached, or `each` stopped it */
	TL_END_TIME,  /* the budget is used up */
};

struct tl_search {
	enum tl_search_end end;
	struct tl_query_place
		place; /* unless TL_END_ALL: go on from here (`before`, or `after` its number) */
};

/* As tl_store_query, and says in `*ret` how it ended. Rows come by time of observation; where words
 * or fields are looked for, by number, which on one host is the same but for moments. Errors: as
 * tl_store_query; -ETIMEDOUT not even two rows were seen in the budget and three seconds more. */
int tl_store_search(struct tl_store_reader *reader, const struct tl_query *query,
		    int (*each)(void *arg, const struct tl_row *row), void *arg,
		    struct tl_search *ret, struct tl_error *error);

/* The number of the newest row (0 none). */
int64_t tl_store_newest(struct tl_store_reader *reader, bool exchanges);

/* True when something was committed since the last call (true the first time). */
bool tl_store_changed(struct tl_store_reader *reader);

#endif
