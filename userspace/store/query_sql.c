/* SPDX-License-Identifier: Apache-2.0 */
/* A query becomes one SELECT with bound values. Its driving side is chosen by hand, because it
 * decides between milliseconds and a walk over everything: an id or a trace          its index;
 * words are then looked up row by row words, fields, severities one walk over the full-text index
 * (words and tags, bounded by the rows of the time range); each condition is compared again on the
 * row, since tags are hashes else                      services and time by their indexes. */
#include <stdio.h>

#include "userspace/parse/parser.h"
#include "userspace/store/query_internal.h"
#include "userspace/store/tags.h"

void tl_builder_bind(struct tl_builder *b, struct tl_span text, int64_t number)
{
	if (b->n == TL_VALUES_MAX)
		return;
	b->values[b->n].text = text;
	b->values[b->n++].number = number;
}

static void bind_text(struct tl_builder *b, struct tl_span text)
{
	tl_builder_bind(b, (struct tl_span){text.data ? text.data : "", text.len}, 0);
}

static void bind_number(struct tl_builder *b, int64_t number)
{
	tl_builder_bind(b, (struct tl_span){0}, number);
}

static void where_number(struct tl_builder *b, const char *expression, int64_t number)
{
	tl_buf_printf(&b->sql, " AND %s ?", expression);
	bind_number(b, number);
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

static void build_words(struct tl_builder *b, const struct tl_query *query)
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
		bind_text(b, word);
	}
}

static const struct {
	const char *name, *column;
	const char *key; /* of its tag; NULL: has an index of its own, or none */
	bool logs_only;
	bool pins; /* few rows have one value */
} columns[] = {
	{"service", "l.service", "service.name", false, false},
	{"service.name", "l.service", "service.name", false, false},
	{"severity", "l.severity", NULL, true, false},
	{"severity_number", "l.severity", NULL, true, false},
	{"trace_id", "l.trace_id", NULL, false, true},
	{"trace", "l.trace_id", NULL, false, true},
	{"id", "l.correlation_id", NULL, false, true},
	{"correlation.id", "l.correlation_id", NULL, false, true},
	{"how", "l.how", "correlation.how", true, false},
	{"correlation.how", "l.how", "correlation.how", true, false},
	{"uid", "l.uid", NULL, false, true},
	{"body", "l.body", NULL, true, false},
};

/* Index into `columns`, -1: an attribute. */
static int column_of(const struct tl_query *query, struct tl_span field)
{
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
		if (tl_span_is(field, columns[i].name) &&
		    !(query->exchanges && columns[i].logs_only))
			return (int)i;
	return -1;
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

/* Adds tags of which a row must have one. */
static void want_tag(struct tl_builder *b, const char *tag, bool first)
{
	if (first && b->tags.len)
		tl_buf_puts(&b->tags, ") AND (");
	else if (!first)
		tl_buf_puts(&b->tags, " OR ");
	tl_buf_printf(&b->tags, "\"%s\"", tag);
}

static void want_field(struct tl_builder *b, struct tl_span key, struct tl_span value)
{
	char tag[TL_TAG_LEN + 1];

	tl_tag(key, value, tag);
	want_tag(b, tag, true);
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

static bool class_fits(unsigned class, enum tl_compare compare, unsigned wanted)
{
	switch (compare) {
	case TL_IS_NOT:
		return class != wanted;
	case TL_AT_LEAST:
		return class >= wanted;
	case TL_AT_MOST:
		return class <= wanted;
	case TL_ABOVE:
		return class > wanted;
	case TL_BELOW:
		return class < wanted;
	default:
		return class == wanted;
	}
}

/* Most rows are INFO or have none: who wants these finds them anyhow. */
static void want_classes(struct tl_builder *b, enum tl_compare compare, unsigned wanted)
{
	char tag[TL_TAG_LEN + 1];
	bool first = true;

	if (class_fits(tl_severity_class(9), compare, wanted) || class_fits(0, compare, wanted))
		return;
	for (unsigned class = 1; class < TL_SEVERITY_CLASSES; class ++)
		if (class_fits(class, compare, wanted)) {
			tl_tag_severity(class, tag);
			want_tag(b, tag, first);
			first = false;
		}
	if (first)
		want_tag(b, "none", true);
}

static int build_severity(struct tl_builder *b, const struct tl_condition *c,
			  struct tl_error *error)
{
	uint8_t severity = severity_of(c->value);

	if (!severity)
		return tl_error_set(
			error, -EINVAL,
			"severity `%.*s`: trace, debug, info, warn, error, fatal, or 1 to 24",
			(int)c->value.len, c->value.data);
	want_classes(b, c->compare, tl_severity_class(severity));
	/* A name stands for its four numbers: ERROR is 17 to 20. */
	severity = (uint8_t)(severity - (severity - 1) % 4);
	if (c->compare == TL_IS || c->compare == TL_LIKE) {
		tl_buf_puts(&b->sql, " AND l.severity BETWEEN ? AND ?");
		bind_number(b, severity);
		bind_number(b, severity + 3);
		return 0;
	}
	if (c->compare == TL_IS_NOT)
		tl_buf_printf(&b->sql, " AND (l.severity < ? OR l.severity > %d)", severity + 3);
	else
		tl_buf_printf(&b->sql, " AND l.severity %s ?", operator_of(c->compare));
	bind_number(b,
		    c->compare == TL_AT_MOST || c->compare == TL_ABOVE ? severity + 3 : severity);
	return 0;
}

static int build_attribute(struct tl_builder *b, const struct tl_condition *c,
			   struct tl_error *error)
{
	if (memchr(c->field.data, '"', c->field.len) || c->field.len > 200)
		return tl_error_set(error, -EINVAL, "`%.*s` is no name of a field",
				    (int)c->field.len, c->field.data);
	if (c->compare == TL_IS && tl_tag_has(c->field, c->value))
		want_field(b, c->field, c->value);
	/* Numbers are asked for as text: for an order both sides become numbers. */
	tl_buf_printf(&b->sql,
		      is_ordered(c->compare) ? " AND tl_field(l.record, ?) + 0 %s ? + 0"
					     : " AND tl_field(l.record, ?) %s ?",
		      operator_of(c->compare));
	bind_text(b, c->field);
	bind_text(b, c->value);
	return 0;
}

static int build_condition(struct tl_builder *b, const struct tl_query *query,
			   const struct tl_condition *c, struct tl_error *error)
{
	int column = column_of(query, c->field);

	if (tl_span_is(c->field, "request")) {
		tl_buf_puts(&b->sql, " AND (l.correlation_id = ? OR l.trace_id = ?)");
		bind_text(b, c->value);
		bind_text(b, c->value);
		return 0;
	}
	if (column < 0)
		return build_attribute(b, c, error);
	if (strcmp(columns[column].column, "l.severity") == 0)
		return build_severity(b, c, error);
	if (columns[column].key && c->compare == TL_IS && c->value.len)
		want_field(b, tl_span_str(columns[column].key), c->value);
	tl_buf_printf(&b->sql, " AND %s %s ?", columns[column].column, operator_of(c->compare));
	bind_text(b, c->value);
	return 0;
}

static bool is_pinned(const struct tl_query *query)
{
	for (size_t i = 0; i < query->n_conditions; i++) {
		const struct tl_condition *c = &query->conditions[i];
		int column = column_of(query, c->field);

		if (c->compare == TL_IS &&
		    (tl_span_is(c->field, "request") || (column >= 0 && columns[column].pins)))
			return true;
	}
	return false;
}

/* service=X alone has an index that keeps the order of time. */
static bool only_service(const struct tl_query *query)
{
	for (size_t i = 0; i < query->n_conditions; i++) {
		int column = column_of(query, query->conditions[i].field);

		if (column < 0 || strcmp(columns[column].column, "l.service") != 0)
			return false;
	}
	return true;
}

static void build_match(struct tl_builder *b, const struct tl_store_reader *reader, bool pinned,
			struct tl_buf *out)
{
	if (b->match.len && !reader->has_tags)
		tl_buf_add(out, b->match.data, b->match.len);
	else if (b->match.len)
		tl_buf_printf(out, "body : (%.*s)", (int)b->match.len, b->match.data);
	if (b->tags.len && reader->has_tags && !pinned)
		tl_buf_printf(out, "%stags : ((%.*s))", out->len ? " AND " : "", (int)b->tags.len,
			      b->tags.data);
}

/* Ids between which all rows of the time range are. */
static void bound_ids(struct tl_builder *b, struct tl_store_reader *reader,
		      const struct tl_query *query)
{
	_cleanup_(tl_sqlite_finalizep) sqlite3_stmt *stmt = NULL;

	if (!reader->has_tags || (!query->since_ns && !query->until_ns) ||
	    sqlite3_prepare_v2(
		    reader->db,
		    "SELECT min(block), max(block) FROM marks WHERE high >= ? AND low < ?", -1,
		    &stmt, NULL) != SQLITE_OK)
		return;
	sqlite3_bind_int64(stmt, 1, (int64_t)query->since_ns);
	sqlite3_bind_int64(stmt, 2, query->until_ns ? (int64_t)query->until_ns : INT64_MAX);
	if (sqlite3_step(stmt) != SQLITE_ROW)
		return;
	b->low_id = sqlite3_column_int64(stmt, 0) * TL_STORE_BLOCK;
	b->high_id = sqlite3_column_type(stmt, 1) == SQLITE_NULL
			     ? 1 /* no row */
			     : (sqlite3_column_int64(stmt, 1) + 1) * TL_STORE_BLOCK;
}

static void build_bounds(struct tl_builder *b, const struct tl_query *query)
{
	if (query->since_ns)
		where_number(b, "l.observed >=", (int64_t)query->since_ns);
	if (query->until_ns)
		where_number(b, "l.observed <", (int64_t)query->until_ns);
	if (b->by_words && b->high_id) {
		where_number(b, "f.rowid >=", b->low_id);
		where_number(b, "f.rowid <", b->high_id);
	}
	if (query->after >= 0)
		where_number(b, b->by_words ? "f.rowid >" : "l.id >", query->after);
	else if (query->before.number && b->by_words)
		where_number(b, "f.rowid <", query->before.number);
	else if (query->before.number) {
		tl_buf_puts(&b->sql, " AND (l.observed, l.id) < (?, ?)");
		bind_number(b, query->before.observed_ns);
		bind_number(b, query->before.number);
	}
}

/* The conditions, into b->sql; what they want of the full-text index, into b->match and b->tags. */
static int build_where(struct tl_builder *b, const struct tl_query *query, struct tl_error *error)
{
	int r = 0;

	build_words(b, query);
	for (size_t i = 0; r == 0 && i < query->n_conditions; i++)
		r = build_condition(b, query, &query->conditions[i], error);
	return r;
}

int tl_builder_select(struct tl_builder *b, struct tl_store_reader *reader,
		      const struct tl_query *query, const char *select, struct tl_error *error)
{
	_cleanup_(tl_buf_done) struct tl_buf match = {0}, where = {0};
	bool pinned = is_pinned(query);
	int r;

	if (query->exchanges && query->n_words)
		return tl_error_set(
			error, -EINVAL,
			"HTTP exchanges have no text: ask for fields, as url.path~*cart* or "
			"http.response.status_code>=500");
	r = build_where(b, query, error);
	if (r < 0)
		return r;
	where = b->sql;
	b->sql = (struct tl_buf){0};
	if (!query->exchanges)
		build_match(b, reader, pinned, &match);
	b->by_words = match.len && !pinned && (b->match.len || !only_service(query));
	if (b->by_words)
		bound_ids(b, reader, query);
	tl_buf_printf(&b->sql, "SELECT %s FROM %s WHERE tl_at(l.id, l.observed)", select,
		      b->by_words	 ? "logs_fts f CROSS JOIN logs l ON l.id = f.rowid"
		      : query->exchanges ? "exchanges l"
					 : "logs l");
	if (where.len)
		tl_buf_add(&b->sql, where.data, where.len);
	build_bounds(b, query);
	if (b->by_words)
		tl_buf_puts(&b->sql, " AND logs_fts MATCH ?");
	else if (b->match.len)
		tl_buf_puts(&b->sql,
			    " AND EXISTS(SELECT 1 FROM logs_fts WHERE logs_fts MATCH ? AND "
			    "rowid = l.id)");
	tl_buf_clear(&b->match);
	tl_buf_add(&b->match, match.data, match.len);
	if (match.len && (b->by_words || pinned))
		bind_text(b, tl_buf_span(&b->match));
	return b->sql.failed || b->match.failed ? tl_error_set(error, -ENOMEM, "out of memory") : 0;
}

void tl_builder_done(struct tl_builder *b)
{
	tl_buf_done(&b->sql);
	tl_buf_done(&b->match);
	tl_buf_done(&b->tags);
}

int tl_builder_prepare(struct tl_builder *b, struct tl_store_reader *reader,
		       sqlite3_stmt **ret_stmt, struct tl_error *error)
{
	sqlite3_stmt *stmt;

	if (sqlite3_prepare_v2(reader->db, b->sql.data, (int)b->sql.len, &stmt, NULL) != SQLITE_OK)
		return tl_store_fail(reader->db, "cannot search", reader->path, error);
	for (size_t i = 0; i < b->n; i++) {
		if (b->values[i].text.data)
			sqlite3_bind_text(stmt, (int)i + 1, b->values[i].text.data,
					  (int)b->values[i].text.len, SQLITE_STATIC);
		else
			sqlite3_bind_int64(stmt, (int)i + 1, b->values[i].number);
	}
	*ret_stmt = stmt;
	return 0;
}
