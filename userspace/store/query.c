/* SPDX-License-Identifier: Apache-2.0 */
/* A query becomes one SELECT with bound values. Its driving side is chosen by hand, because it
 * decides between milliseconds and a walk over everything: words go through the full-text index,
 * ids and services through their indexes, else time. */
#include "userspace/store/query.h"

#include <stdio.h>

#include "userspace/parse/parser.h"
#include "userspace/store/schema.h"

#define VALUES_MAX (4 * TL_CONDITIONS_MAX)

struct tl_store_reader {
	sqlite3 *db;
	char *path;
	int64_t version; /* PRAGMA data_version of the last look */
};

struct builder {
	struct tl_buf sql;
	struct tl_buf match; /* full-text expression */
	struct {
		struct tl_span text; /* data NULL: a number */
		int64_t number;
	} values[VALUES_MAX];
	size_t n;
	char paths[TL_CONDITIONS_MAX][300]; /* JSON paths; more are refused by the query itself */
	size_t n_paths;
};

int tl_store_reader_open(const char *path, struct tl_store_reader **ret_reader,
			 struct tl_error *error)
{
	struct tl_store_reader *reader = calloc(1, sizeof(*reader));
	int r;

	if (!reader)
		return tl_error_set(error, -ENOMEM, "out of memory");
	reader->version = -1;
	reader->path = strdup(path);
	r = tl_store_open_read(path, &reader->db, error);
	if (r < 0) {
		tl_store_reader_close(reader);
		return r;
	}
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

static void bind(struct builder *b, struct tl_span text, int64_t number)
{
	if (b->n == VALUES_MAX)
		return;
	b->values[b->n].text = text;
	b->values[b->n++].number = number;
}

static void where_number(struct builder *b, const char *expression, int64_t number)
{
	tl_buf_printf(&b->sql, " AND %s ?", expression);
	bind(b, (struct tl_span){0}, number);
}

/* One word or phrase as the full-text engine wants it: in quotes, quotes doubled. */
static void add_word(struct tl_buf *match, struct tl_span word)
{
	bool prefix = word.len > 1 && word.data[word.len - 1] == '*';

	if (prefix)
		word.len--;
	if (match->len)
		tl_buf_putc(match, ' ');
	tl_buf_putc(match, '"');
	for (size_t i = 0; i < word.len; i++) {
		if (word.data[i] == '"')
			tl_buf_putc(match, '"');
		tl_buf_putc(match, word.data[i]);
	}
	tl_buf_puts(match, prefix ? "\"*" : "\"");
}

static struct tl_span unquoted(struct tl_span word)
{
	if (word.len >= 2 && word.data[0] == '"' && word.data[word.len - 1] == '"')
		return (struct tl_span){word.data + 1, word.len - 2};
	return word;
}

static bool is_negated(struct tl_span word)
{
	return word.len > 1 && (word.data[0] == '-' || word.data[0] == '!');
}

static bool has_words(const struct tl_query *query)
{
	for (size_t i = 0; i < query->n_words; i++)
		if (!is_negated(query->words[i]))
			return true;
	return false;
}

static void build_words(struct builder *b, const struct tl_query *query)
{
	for (size_t i = 0; i < query->n_words; i++)
		if (!is_negated(query->words[i]))
			add_word(&b->match, unquoted(query->words[i]));
	for (size_t i = 0; i < query->n_words; i++) {
		struct tl_span word = query->words[i];

		if (!is_negated(word))
			continue;
		word = unquoted((struct tl_span){word.data + 1, word.len - 1});
		tl_buf_puts(&b->sql, " AND instr(lower(l.body), lower(?)) = 0");
		bind(b, word, 0);
	}
	if (b->match.len) {
		tl_buf_puts(&b->sql, " AND logs_fts MATCH ?");
		bind(b, tl_buf_span(&b->match), 0);
	}
}

static const struct {
	const char *name, *column;
	bool logs_only;
} columns[] = {
	{"service", "l.service", false},
	{"service.name", "l.service", false},
	{"severity", "l.severity", true},
	{"severity_number", "l.severity", true},
	{"trace_id", "l.trace_id", false},
	{"trace", "l.trace_id", false},
	{"id", "l.correlation_id", false},
	{"correlation.id", "l.correlation_id", false},
	{"how", "l.how", true},
	{"correlation.how", "l.how", true},
	{"uid", "l.uid", false},
	{"body", "l.body", true},
};

static const char *column_of(const struct tl_query *query, struct tl_span field)
{
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
		if (tl_span_is(field, columns[i].name) &&
		    !(query->exchanges && columns[i].logs_only))
			return columns[i].column;
	return NULL;
}

static const char *operator_of(enum tl_compare compare)
{
	static const char *const operators[] = {
		[TL_IS] = "=",	      [TL_IS_NOT] = "IS NOT", [TL_LIKE] = "GLOB",
		[TL_AT_LEAST] = ">=", [TL_AT_MOST] = "<=",    [TL_ABOVE] = ">",
		[TL_BELOW] = "<",
	};

	return operators[compare];
}

static bool is_ordered(enum tl_compare compare)
{
	return compare >= TL_AT_LEAST;
}

/* A severity is a number or a word; without either 0, which callers refuse. */
static uint8_t severity_of(struct tl_span value)
{
	unsigned number = 0;

	for (size_t i = 0;
	     i < value.len && value.data[i] >= '0' && value.data[i] <= '9' && number < 100; i++)
		number = number * 10 + (unsigned)(value.data[i] - '0');
	if (number)
		return number <= 24 ? (uint8_t)number : 0;
	return tl_severity_word(value);
}

static int build_severity(struct builder *b, const struct tl_condition *c, const char *column,
			  struct tl_error *error)
{
	uint8_t severity = severity_of(c->value);

	if (!severity)
		return tl_error_set(
			error, -EINVAL,
			"severity `%.*s`: trace, debug, info, warn, error, fatal, or 1 to 24",
			(int)c->value.len, c->value.data);
	/* A name stands for its four numbers: ERROR is 17 to 20. */
	severity = (uint8_t)(severity - (severity - 1) % 4);
	if (c->compare == TL_IS || c->compare == TL_LIKE) {
		tl_buf_printf(&b->sql, " AND %s BETWEEN ? AND ?", column);
		bind(b, (struct tl_span){0}, severity);
		bind(b, (struct tl_span){0}, severity + 3);
		return 0;
	}
	if (c->compare == TL_IS_NOT)
		tl_buf_printf(&b->sql, " AND (%s < ? OR %s > %d)", column, column, severity + 3);
	else
		tl_buf_printf(&b->sql, " AND %s %s ?", column, operator_of(c->compare));
	bind(b, (struct tl_span){0},
	     c->compare == TL_AT_MOST || c->compare == TL_ABOVE ? severity + 3 : severity);
	return 0;
}

static int build_attribute(struct builder *b, const struct tl_condition *c, struct tl_error *error)
{
	static const char *const objects[] = {"attributes", "resource"};
	const char *compare = operator_of(c->compare);

	if (memchr(c->field.data, '"', c->field.len) || c->field.len > 200 ||
	    b->n_paths + 2 > TL_CONDITIONS_MAX)
		return tl_error_set(error, -EINVAL, "`%.*s` is no name of a field",
				    (int)c->field.len, c->field.data);
	tl_buf_puts(&b->sql, " AND coalesce(");
	for (size_t i = 0; i < 2; i++) {
		char *path = b->paths[b->n_paths++];

		snprintf(path, sizeof(b->paths[0]), "$.%s.\"%.*s\"", objects[i], (int)c->field.len,
			 c->field.data);
		tl_buf_puts(&b->sql, "json_extract(l.record, ?), ");
		bind(b, tl_span_str(path), 0);
	}
	tl_buf_puts(&b->sql, "NULL)");
	/* JSON's true and false come out as 1 and 0. */
	if (c->compare == TL_IS &&
	    (tl_span_is(c->value, "true") || tl_span_is(c->value, "false"))) {
		tl_buf_printf(&b->sql, " || '' IN (?, '%d')", tl_span_is(c->value, "true"));
		bind(b, c->value, 0);
		return 0;
	}
	/* Numbers are kept as numbers or as text, and are asked for as text: both sides become the
	 * same. */
	if (is_ordered(c->compare))
		tl_buf_printf(&b->sql, " + 0 %s ? + 0", compare);
	else
		tl_buf_printf(&b->sql, " || '' %s ?", compare);
	bind(b, c->value, 0);
	return 0;
}

static int build_condition(struct builder *b, const struct tl_query *query,
			   const struct tl_condition *c, struct tl_error *error)
{
	const char *column = column_of(query, c->field);

	if (tl_span_is(c->field, "request")) {
		tl_buf_puts(&b->sql, " AND (l.correlation_id = ? OR l.trace_id = ?)");
		bind(b, c->value, 0);
		bind(b, c->value, 0);
		return 0;
	}
	if (!column)
		return build_attribute(b, c, error);
	if (strcmp(column, "l.severity") == 0)
		return build_severity(b, c, column, error);
	tl_buf_printf(&b->sql, " AND %s %s ?", column, operator_of(c->compare));
	bind(b, c->value, 0);
	return 0;
}

static int build(struct builder *b, const struct tl_query *query, struct tl_error *error)
{
	int r = 0;

	if (query->exchanges && query->n_words)
		return tl_error_set(
			error, -EINVAL,
			"HTTP exchanges have no text: ask for fields, as url.path~*cart* or "
			"http.response.status_code>=500");
	if (has_words(query))
		tl_buf_puts(&b->sql, "SELECT l.id, l.observed, l.record FROM logs_fts f CROSS JOIN "
				     "logs l ON l.id = f.rowid WHERE 1");
	else
		tl_buf_printf(&b->sql, "SELECT l.id, l.observed, l.record FROM %s l WHERE 1",
			      query->exchanges ? "exchanges" : "logs");
	build_words(b, query);
	for (size_t i = 0; r == 0 && i < query->n_conditions; i++)
		r = build_condition(b, query, &query->conditions[i], error);
	if (query->since_ns)
		where_number(b, "l.observed >=", (int64_t)query->since_ns);
	if (query->until_ns)
		where_number(b, "l.observed <", (int64_t)query->until_ns);
	if (query->after >= 0)
		where_number(b, has_words(query) ? "f.rowid >" : "l.id >", query->after);
	/* The full-text index is walked by row, which on one host is the order of time too. */
	if (query->after >= 0)
		tl_buf_puts(&b->sql, has_words(query) ? " ORDER BY f.rowid" : " ORDER BY l.id");
	else
		tl_buf_puts(&b->sql, has_words(query) ? " ORDER BY f.rowid DESC"
						      : " ORDER BY l.observed DESC, l.id DESC");
	if (query->limit)
		tl_buf_printf(&b->sql, " LIMIT %zu", query->limit);
	tl_buf_putc(&b->sql, '\0');
	return r < 0 ? r : b->sql.failed ? tl_error_set(error, -ENOMEM, "out of memory") : 0;
}

static int run(struct tl_store_reader *reader, struct builder *b,
	       int (*each)(void *arg, const struct tl_row *row), void *arg, struct tl_error *error)
{
	_cleanup_(tl_sqlite_finalizep) sqlite3_stmt *stmt = NULL;
	int r, stopped = 0;

	if (sqlite3_prepare_v2(reader->db, b->sql.data, -1, &stmt, NULL) != SQLITE_OK)
		return tl_store_fail(reader->db, "cannot search", reader->path, error);
	for (size_t i = 0; i < b->n; i++) {
		if (b->values[i].text.data)
			sqlite3_bind_text(stmt, (int)i + 1, b->values[i].text.data,
					  (int)b->values[i].text.len, SQLITE_STATIC);
		else
			sqlite3_bind_int64(stmt, (int)i + 1, b->values[i].number);
	}
	while (!stopped && (r = sqlite3_step(stmt)) == SQLITE_ROW) {
		struct tl_row row = {
			.number = sqlite3_column_int64(stmt, 0),
			.observed_ns = (uint64_t)sqlite3_column_int64(stmt, 1),
			.json = {(const char *)sqlite3_column_text(stmt, 2),
				 (size_t)sqlite3_column_bytes(stmt, 2)},
		};

		stopped = each(arg, &row);
	}
	if (stopped)
		return stopped;
	return r == SQLITE_DONE ? 0
				: tl_store_fail(reader->db, "cannot search", reader->path, error);
}

int tl_store_query(struct tl_store_reader *reader, const struct tl_query *query,
		   int (*each)(void *arg, const struct tl_row *row), void *arg,
		   struct tl_error *error)
{
	struct builder *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return tl_error_set(error, -ENOMEM, "out of memory");
	r = build(b, query, error);
	if (r == 0)
		r = run(reader, b, each, arg, error);
	tl_buf_done(&b->sql);
	tl_buf_done(&b->match);
	free(b);
	return r;
}

static int64_t number(sqlite3 *db, const char *sql)
{
	_cleanup_(tl_sqlite_finalizep) sqlite3_stmt *stmt = NULL;

	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK ||
	    sqlite3_step(stmt) != SQLITE_ROW)
		return 0;
	return sqlite3_column_int64(stmt, 0);
}

int64_t tl_store_newest(struct tl_store_reader *reader, bool exchanges)
{
	return number(reader->db,
		      exchanges ? "SELECT max(id) FROM exchanges" : "SELECT max(id) FROM logs");
}

bool tl_store_changed(struct tl_store_reader *reader)
{
	int64_t version = number(reader->db, "PRAGMA data_version");
	bool changed = version != reader->version;

	reader->version = version;
	return changed;
}
