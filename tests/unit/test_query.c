/* SPDX-License-Identifier: Apache-2.0 */
#include "store_fixture.h"

#include <time.h>

#include "userspace/store/query.h"

#define FOUND_MAX 32

struct found {
	char uids[FOUND_MAX][16];
	size_t n;
};

/* Twelve records, seconds 0 to 11; one question is asked of the store and of each record in memory,
 * and both must agree. */
static int setup(void **state)
{
	static const char *const bodies[] = {
		"request started",
		"connection reset by peer",
		"payment refused for user 17",
		"connection timeout after 30 s",
		"reset the connection",
		"TimeoutError: read",
		"cache hit rate=0.93",
		"user 17 logged in",
		"disk \"sda\" is full",
		"request finished",
		"connection closed",
		"shutting down",
	};
	static const uint8_t severities[] = {9, 17, 17, 13, 9, 18, 5, 9, 21, 9, 9, 10};
	struct store_fixture *f;

	store_setup(state);
	f = *state;
	for (unsigned n = 0; n < ARRAY_SIZE(bodies); n++) {
		struct tl_record *r = new_record(f, n, bodies[n]);

		r->severity_number = severities[n];
		tl_attr_set(&r->resource, "service.name",
			    n % 3 ? TL_SPAN_LIT("cart") : TL_SPAN_LIT("billing"));
		if (n % 4 == 1)
			tl_attr_set(&r->attributes, "correlation.id", TL_SPAN_LIT("req-1"));
		if (n == 2)
			r->trace_id = TL_SPAN_LIT("4bf92f3577b34da6a3ce929d0e0e4736");
		tl_attr_set_u64(&r->attributes, &f->arena, "http.response.status_code",
				200 + n * 50);
		tl_attr_set_span(&r->attributes, TL_SPAN_LIT("log.batched"),
				 n == 7 ? TL_SPAN_LIT("true") : TL_SPAN_LIT("false"),
				 TL_ATTR_LITERAL);
		put_record(f);
	}
	return 0;
}

static int on_row(void *arg, const struct tl_row *row)
{
	struct found *found = arg;

	assert_true(found->n < FOUND_MAX);
	assert_true(row->json.len > 20);
	snprintf(found->uids[found->n++], sizeof(found->uids[0]), "%.*s",
		 (int)strcspn(row->json.data + 13, "\""), row->json.data + 13);
	return 0;
}

static struct found ask_store(struct store_fixture *f, const struct tl_query *query)
{
	struct found found = {.n = 0};
	struct tl_store_reader *reader;
	struct tl_error error = {0};

	assert_int_equal(tl_store_reader_open(f->path, &reader, &error), 0);
	if (tl_store_query(reader, query, on_row, &found, &error) < 0)
		fail_msg("%s", error.message);
	tl_store_reader_close(reader);
	return found;
}

static size_t count_in_memory(struct store_fixture *f, const struct tl_query *query)
{
	struct tl_record *record = calloc(1, sizeof(*record));
	sqlite3_stmt *stmt;
	size_t n = 0;

	assert_int_equal(sqlite3_prepare_v2(f->db, "SELECT record FROM logs", -1, &stmt, NULL),
			 SQLITE_OK);
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		struct tl_span json = tl_span_str((const char *)sqlite3_column_text(stmt, 0));

		tl_record_reset(record);
		assert_int_equal(tl_record_from_json(json, &f->arena, record, NULL), 0);
		n += tl_query_match(query, record);
	}
	sqlite3_finalize(stmt);
	free(record);
	return n;
}

/* `wanted`: the records' numbers in hex, newest first. */
static void assert_found(struct store_fixture *f, const char *text, const char *wanted)
{
	struct tl_query query = {.after = -1};
	struct tl_error error = {0};
	char got[FOUND_MAX + 1];
	struct found found;

	if (tl_query_parse(&query, text, &error) < 0)
		fail_msg("%s: %s", text, error.message);
	found = ask_store(f, &query);
	for (size_t i = 0; i < found.n; i++)
		got[i] = found.uids[i][0];
	got[found.n] = '\0';
	if (strcmp(got, wanted) != 0)
		fail_msg("`%s` finds `%s` instead of `%s`", text, got, wanted);
	if (count_in_memory(f, &query) != found.n)
		fail_msg("`%s` finds %zu in the store and %zu in memory", text, found.n,
			 count_in_memory(f, &query));
}

static void words_are_found_whatever_their_case(void **state)
{
	assert_found(*state, "connection", "a431");
	assert_found(*state, "CONNECTION reset", "41");
	assert_found(*state, "\"connection reset\"", "1");
	assert_found(*state, "timeout*", "53");
	assert_found(*state, "request !finished", "0");
	assert_found(*state, "connection -reset", "a3");
	assert_found(*state, "\"disk \"", "8");
	assert_found(*state, "nowhere", "");
	assert_found(*state, "", "ba9876543210");
}

static void hostile_words_are_words(void **state)
{
	struct store_fixture *f = *state;
	static const char *const texts[] = {
		"connection OR reset", "body:x", "(", ")", "*", "^a", "a\\b", "';DROP",
		"NEAR(a,b)",	       "\"a'b\""};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct tl_query query = {.after = -1};

		assert_int_equal(tl_query_parse(&query, texts[i], NULL), 0);
		(void)ask_store(f, &query);
	}
	assert_int_equal(ask(f, "SELECT count(*) FROM logs"), 12);
}

static void fields_are_compared(void **state)
{
	assert_found(*state, "service=billing", "9630");
	assert_found(*state, "service!=billing", "ba875421");
	assert_found(*state, "service~c*t connection", "a41");
	assert_found(*state, "id=req-1", "951");
	assert_found(*state, "request=4bf92f3577b34da6a3ce929d0e0e4736", "2");
	assert_found(*state, "request=req-1", "951");
	assert_found(*state, "http.response.status_code=500", "6");
	assert_found(*state, "http.response.status_code>=650", "ba9");
	assert_found(*state, "http.response.status_code<300", "10");
	assert_found(*state, "http.response.status_code!=500 severity<info", "");
	assert_found(*state, "log.batched=true", "7");
	assert_found(*state, "no.such.key=1", "");
	assert_found(*state, "service=\"billing\" \"user 17\"", "");
}

static void severity_is_a_word_or_a_number(void **state)
{
	assert_found(*state, "severity>=error", "8521");
	assert_found(*state, "severity=error", "521");
	assert_found(*state, "severity>warn", "8521");
	assert_found(*state, "severity<=debug", "6");
	assert_found(*state, "severity!=info", "865321");
	assert_found(*state, "severity>=21", "8");
}

static void times_bound_the_search(void **state)
{
	struct store_fixture *f = *state;
	struct tl_query query = {
		.after = -1, .since_ns = T0 + 3 * TL_SEC, .until_ns = T0 + 6 * TL_SEC};

	assert_int_equal(ask_store(f, &query).n, 3);
	assert_int_equal(count_in_memory(f, &query), 3);
}

static void limit_gives_the_newest_and_after_what_follows(void **state)
{
	struct store_fixture *f = *state;
	struct tl_query query = {.after = -1, .limit = 2};
	struct found found = ask_store(f, &query);

	assert_int_equal(found.n, 2);
	assert_string_equal(found.uids[0], "b");
	query.after = 10;
	query.limit = 0;
	found = ask_store(f, &query);
	assert_int_equal(found.n, 2);
	assert_string_equal(found.uids[0], "a");
	assert_string_equal(found.uids[1], "b");
}

/* Asks for `limit` rows at a time from where the last answer ended. */
static void assert_pages(struct store_fixture *f, const char *text, size_t limit,
			 const char *wanted)
{
	struct tl_query query = {.after = -1, .limit = limit};
	struct tl_search search = {.end = TL_END_LIMIT};
	struct tl_store_reader *reader;
	struct found found = {.n = 0};
	char got[FOUND_MAX + 1];

	assert_int_equal(tl_query_parse(&query, text, NULL), 0);
	assert_int_equal(tl_store_reader_open(f->path, &reader, NULL), 0);
	for (int i = 0; search.end == TL_END_LIMIT && i < FOUND_MAX; i++) {
		assert_int_equal(tl_store_search(reader, &query, on_row, &found, &search, NULL), 0);
		query.before = search.place;
	}
	tl_store_reader_close(reader);
	for (size_t i = 0; i < found.n; i++)
		got[i] = found.uids[i][0];
	got[found.n] = '\0';
	assert_string_equal(got, wanted);
}

static void pages_follow_each_other_without_gap_or_overlap(void **state)
{
	for (size_t limit = 1; limit < 14; limit++) {
		assert_pages(*state, "", limit, "ba9876543210");
		assert_pages(*state, "connection", limit, "a431");
		assert_pages(*state, "service=cart", limit, "ba875421");
		assert_pages(*state, "request=req-1", limit, "951");
		assert_pages(*state, "severity>=error", limit, "8521");
	}
}

static int count_row(void *arg, const struct tl_row *row)
{
	size_t *n = arg;

	*n += row->json.len > 0;
	return 0;
}

/* Searches with no time at all, so in as many parts as there can be. Returns the rows found. */
static size_t count_in_parts(struct store_fixture *f, const char *text)
{
	struct tl_query query = {.after = -1, .budget_ns = 1};
	struct tl_search search = {.end = TL_END_TIME};
	struct tl_store_reader *reader;
	size_t n = 0, parts = 0;

	assert_int_equal(tl_query_parse(&query, text, NULL), 0);
	assert_int_equal(tl_store_reader_open(f->path, &reader, NULL), 0);
	for (; search.end == TL_END_TIME && parts < 4000; parts++) {
		assert_int_equal(tl_store_search(reader, &query, count_row, &n, &search, NULL), 0);
		query.before = search.place;
	}
	tl_store_reader_close(reader);
	assert_true(parts > 10);
	assert_int_equal(search.end, TL_END_ALL);
	return n;
}

static void search_out_of_time_goes_on_where_it_stood(void **state)
{
	struct store_fixture *f = *state;

	for (unsigned n = 20; n < 1020; n++) {
		new_record(f, n, n == 25 ? "the needle in hay" : "hay");
		put_record(f);
	}
	assert_int_equal(count_in_parts(f, "body~*needle*"), 1);
	assert_int_equal(count_in_parts(f, "body~*hay*"), 1000);
	assert_int_equal(count_in_parts(f, "hay body~*a*"), 1000);
}

static void time_range_bounds_words_too(void **state)
{
	struct store_fixture *f = *state;
	struct tl_query query = {
		.after = -1, .since_ns = T0 + 1 * TL_SEC, .until_ns = T0 + 5 * TL_SEC};

	assert_int_equal(tl_query_parse(&query, "connection", NULL), 0);
	assert_int_equal(ask_store(f, &query).n, 3);
	query.since_ns = T0 + 100 * TL_SEC;
	query.until_ns = 0;
	assert_int_equal(ask_store(f, &query).n, 0);
}

static void store_of_version_1_is_read_and_then_brought_up(void **state)
{
	struct store_fixture *f = *state;
	sqlite3 *db;

	tl_sink_store.close(f->sink);
	f->sink = NULL;
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(
		sqlite3_exec(db,
			     "DROP TABLE logs_fts; DROP TABLE marks; ALTER TABLE logs DROP COLUMN "
			     "tags; CREATE VIRTUAL TABLE logs_fts USING fts5(body, content='logs', "
			     "content_rowid='id'); INSERT INTO logs_fts(logs_fts) "
			     "VALUES('rebuild'); PRAGMA user_version=1",
			     NULL, NULL, NULL),
		SQLITE_OK);
	sqlite3_close(db);
	for (int i = 0; i < 2; i++) {
		assert_found(f, "connection -reset", "a3");
		assert_found(f, "severity>=error service=cart", "8521");
		assert_found(f, "http.response.status_code=500", "6");
		assert_pages(f, "connection", 1, "a431");
		if (i == 0)
			open_sink(f);
	}
	assert_int_equal(ask(f, "PRAGMA user_version"), TL_STORE_VERSION);
	assert_int_equal(ask(f, "SELECT count(*) FROM logs WHERE tags IS NULL"), 0);
	assert_int_equal(ask(f, "SELECT count(*) FROM marks"), 1);
}

static void reader_sees_that_something_was_committed(void **state)
{
	struct store_fixture *f = *state;
	struct tl_store_reader *reader;

	assert_int_equal(tl_store_reader_open(f->path, &reader, NULL), 0);
	assert_true(tl_store_changed(reader));
	assert_false(tl_store_changed(reader));
	assert_int_equal(tl_store_newest(reader, false), 12);
	new_record(f, 99, "more");
	put_record(f);
	assert_true(tl_store_changed(reader));
	assert_int_equal(tl_store_newest(reader, false), 13);
	assert_int_equal(tl_store_newest(reader, true), 0);
	tl_store_reader_close(reader);
}

static void wrong_questions_are_refused_with_a_sentence(void **state)
{
	struct store_fixture *f = *state;
	struct tl_query query = {.after = -1};
	struct tl_error error = {0};
	struct tl_store_reader *reader;
	struct found found = {.n = 0};
	char many[2 * TL_CONDITIONS_MAX + 3] = "";

	assert_int_equal(tl_query_parse(&query, "\"open", &error), -EINVAL);
	assert_non_null(strstr(error.message, "quote"));
	for (size_t i = 0; i <= TL_CONDITIONS_MAX; i++)
		strcat(many, "w ");
	assert_int_equal(tl_query_parse(&query, many, &error), -E2BIG);

	query = (struct tl_query){.after = -1};
	assert_int_equal(tl_query_parse(&query, "severity=loud", &error), 0);
	assert_int_equal(tl_store_reader_open(f->path, &reader, &error), 0);
	assert_int_equal(tl_store_query(reader, &query, on_row, &found, &error), -EINVAL);
	assert_non_null(strstr(error.message, "loud"));
	tl_store_reader_close(reader);
	assert_int_equal(tl_store_reader_open("/tmp/no/such/store", &reader, &error), -ENOENT);
}

static void arguments_of_a_command_line_keep_their_blanks(void **state)
{
	struct tl_query query = {.after = -1};

	(void)state;
	assert_int_equal(tl_query_argument(&query, "connection reset", NULL), 0);
	assert_int_equal(query.n_words, 1);
	assert_true(tl_span_is(query.words[0], "connection reset"));
	assert_int_equal(tl_query_argument(&query, "service=cart timeout", NULL), 0);
	assert_int_equal(query.n_words, 2);
	assert_int_equal(query.n_conditions, 1);
}

static void times_are_read_as_people_write_them(void **state)
{
	uint64_t ns, now = T0 + 1800 * TL_SEC;

	(void)state;
	setenv("TZ", "UTC", 1);
	tzset();
	assert_int_equal(tl_query_time("10m", now, &ns, NULL), 0);
	assert_int_equal(ns, now - 600 * TL_SEC);
	assert_int_equal(tl_query_time("2026-11-23T01:00:00Z", now, &ns, NULL), 0);
	assert_int_equal(ns, T0);
	assert_int_equal(tl_query_time("2026-11-23 01:00", now, &ns, NULL), 0);
	assert_int_equal(ns, T0);
	assert_int_equal(tl_query_time("01:00", now, &ns, NULL), 0);
	assert_int_equal(ns, T0);
	assert_int_equal(tl_query_time("2026-11-23", now, &ns, NULL), 0);
	assert_int_equal(ns, T0 - 3600 * TL_SEC);
	assert_int_equal(tl_query_time("soon", now, &ns, NULL), -EINVAL);
	assert_int_equal(tl_query_time("25:00", now, &ns, NULL), -EINVAL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, store_teardown)
	const struct CMUnitTest tests[] = {
		T(words_are_found_whatever_their_case),
		T(hostile_words_are_words),
		T(fields_are_compared),
		T(severity_is_a_word_or_a_number),
		T(times_bound_the_search),
		T(limit_gives_the_newest_and_after_what_follows),
		T(pages_follow_each_other_without_gap_or_overlap),
		T(search_out_of_time_goes_on_where_it_stood),
		T(time_range_bounds_words_too),
		T(store_of_version_1_is_read_and_then_brought_up),
		T(reader_sees_that_something_was_committed),
		T(wrong_questions_are_refused_with_a_sentence),
		cmocka_unit_test(arguments_of_a_command_line_keep_their_blanks),
		cmocka_unit_test(times_are_read_as_people_write_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
