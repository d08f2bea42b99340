/* SPDX-License-Identifier: Apache-2.0 */
/* The timescale sink without a server: binary COPY to the byte, messages as rows, roll-up sums. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "userspace/base/cleanup.h"
#include "userspace/sink/pg_copy.h"
#include "userspace/sink/timescale.h"

#define TIMES                                                                                      \
	"\"window_start\":\"2026-11-24T17:00:10.000000000Z\",\"window_end\":\"2026-11-24T17:"      \
	"00:20.000000000Z\""

struct world {
	struct tl_ts ts;
	struct tl_ts_settings settings;
	char reason[256];
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->settings.logs = true;
	w->ts.settings = &w->settings;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < TL_TS_TABLES; i++) {
		tl_buf_done(&w->ts.tables[i].data);
		free(w->ts.tables[i].index);
	}
	tl_buf_done(&w->ts.scratch);
	free(w);
	return 0;
}

#define assert_bytes(buf, literal)                                                                 \
	do {                                                                                       \
		assert_int_equal((buf)->len, sizeof(literal) - 1);                                 \
		assert_memory_equal((buf)->data, literal, sizeof(literal) - 1);                    \
	} while (0)

static void fields_are_as_the_manual_has_them(void **state)
{
	_cleanup_(tl_buf_done) struct tl_buf out = {0};

	(void)state;
	tl_copy_row(&out, 6);
	tl_copy_null(&out);
	tl_copy_i16(&out, -2);
	tl_copy_i32(&out, 258);
	tl_copy_i64(&out, -1);
	tl_copy_f64(&out, 1.5);
	tl_copy_text(&out, TL_SPAN_LIT("ab"), false);
	assert_bytes(&out, "\0\6"
			   "\xff\xff\xff\xff"
			   "\0\0\0\2\xff\xfe"
			   "\0\0\0\4\0\0\1\2"
			   "\0\0\0\x8\xff\xff\xff\xff\xff\xff\xff\xff"
			   "\0\0\0\x8\x3f\xf8\0\0\0\0\0\0"
			   "\0\0\0\2"
			   "ab");
}

static void times_are_microseconds_since_2000(void **state)
{
	_cleanup_(tl_buf_done) struct tl_buf out = {0};

	(void)state;
	tl_copy_time(&out, UINT64_C(946684800000000000));
	tl_copy_time(&out, UINT64_C(946684800000001999));
	tl_copy_time(&out, UINT64_C(946684799999999000));
	assert_bytes(&out, "\0\0\0\x8\0\0\0\0\0\0\0\0"
			   "\0\0\0\x8\0\0\0\0\0\0\0\1"
			   "\0\0\0\x8\xff\xff\xff\xff\xff\xff\xff\xff");
}

static void arrays_have_one_dimension_from_one(void **state)
{
	static const uint64_t values[] = {1, 515};
	_cleanup_(tl_buf_done) struct tl_buf out = {0};

	(void)state;
	tl_copy_i64_array(&out, values, 2);
	assert_bytes(&out, "\0\0\0\x2c"
			   "\0\0\0\1\0\0\0\0\0\0\0\x14\0\0\0\2\0\0\0\1"
			   "\0\0\0\x8\0\0\0\0\0\0\0\1"
			   "\0\0\0\x8\0\0\0\0\0\0\2\3");
}

static void nul_becomes_a_replacement_in_text(void **state)
{
	_cleanup_(tl_buf_done) struct tl_buf out = {0};

	(void)state;
	tl_copy_text(&out, TL_SPAN_LIT("a\0b\0"), false);
	assert_bytes(&out, "\0\0\0\x8"
			   "a\xef\xbf\xbd"
			   "b\xef\xbf\xbd");
	tl_buf_clear(&out);
	tl_copy_text(&out, TL_SPAN_LIT(""), true);
	assert_bytes(&out, "\xff\xff\xff\xff");
	tl_buf_clear(&out);
	tl_copy_text(&out, TL_SPAN_LIT(""), false);
	assert_bytes(&out, "\0\0\0\0");
}

static void assert_jsonb(const char *json, const char *want)
{
	_cleanup_(tl_buf_done) struct tl_buf out = {0};

	tl_copy_jsonb(&out, tl_span_str(json));
	assert_int_equal(out.data[3], strlen(want) + 1);
	assert_int_equal(out.data[4], 1);
	assert_true(tl_span_is((struct tl_span){out.data + 5, out.len - 5}, want));
}

static void escaped_nul_becomes_a_replacement_in_jsonb(void **state)
{
	(void)state;
	assert_jsonb("{}", "{}");
	assert_jsonb("\"\\u0000\"", "\"\\ufffd\"");
	assert_jsonb("\"a\\\\u0000\"", "\"a\\\\u0000\"");
	assert_jsonb("\"a\\\\\\u0000\"", "\"a\\\\\\ufffd\"");
	assert_jsonb("\"\\u0001\\\"\\u0000\\u0000\"", "\"\\u0001\\\"\\ufffd\\ufffd\"");
	assert_jsonb("\"\\u000\"", "\"\\u000\"");
	assert_jsonb("\\", "\\");
}

static int add(struct world *w, int topic, struct tl_span value)
{
	struct tl_message message = {.topic = topic, .value = value};
	enum tl_ts_table table;

	return tl_ts_add(&w->ts, &message, 0, &table, w->reason);
}

static int add_metric(struct world *w, const char *json)
{
	return add(w, TL_TOPIC_METRICS, tl_span_str(json));
}

/* Field `n` of row `row` in a table. */
static struct tl_span field(struct world *w, enum tl_ts_table table, size_t row, size_t n)
{
	const struct tl_ts_rows *rows = &w->ts.tables[table];
	struct tl_span data = tl_buf_span(&rows->data), out = {0};
	size_t at = row ? rows->index[row - 1].end : 0;
	uint64_t fields;

	assert_true(tl_copy_read(data, &at, 2, &fields));
	assert_true(n < fields);
	for (size_t i = 0; i <= n; i++)
		assert_true(tl_copy_read_field(data, &at, &out));
	return out;
}

static void a_metrics_message_is_a_row(void **state)
{
	struct world *w = *state;
	struct tl_span buckets;

	assert_int_equal(add_metric(w, "{" TIMES ",\"name\":\"a\\\"b\",\"labels\":{\"k\":\"v\"},"
				       "\"count\":3,\"sum\":1.5,\"min\":-1,\"max\":2e3,"
				       "\"buckets\":[1,2],\"new_key\":[{}]}"),
			 1);
	assert_int_equal(tl_copy_number(field(w, TL_TS_METRICS, 0, 0)),
			 UINT64_C(1795539610000000) - TL_COPY_EPOCH_US);
	assert_int_equal(tl_copy_number(field(w, TL_TS_METRICS, 0, 1)),
			 UINT64_C(1795539620000000) - TL_COPY_EPOCH_US);
	assert_true(tl_span_is(field(w, TL_TS_METRICS, 0, 2), "a\"b"));
	assert_true(tl_span_is(field(w, TL_TS_METRICS, 0, 3), "\1{\"k\":\"v\"}"));
	assert_int_equal(tl_copy_number(field(w, TL_TS_METRICS, 0, 4)), 3);
	assert_true(tl_copy_double(field(w, TL_TS_METRICS, 0, 5)) == 1.5);
	assert_true(tl_copy_double(field(w, TL_TS_METRICS, 0, 6)) == -1);
	assert_true(tl_copy_double(field(w, TL_TS_METRICS, 0, 7)) == 2000);
	buckets = field(w, TL_TS_METRICS, 0, 8);
	assert_int_equal(buckets.len, 44);
}

static void a_message_that_is_no_metrics_row_is_told_and_leaves_nothing(void **state)
{
	static const struct {
		const char *json, *reason;
	} cases[] = {
		{"", "no JSON object"},
		{"[]", "malformed JSON"},
		{"{" TIMES "}", "name is missing"},
		{"{" TIMES ",\"name\":\"a\",\"labels\":{},\"count\":1,\"sum\":1,\"min\":1}",
		 "max is missing"},
		{"{" TIMES
		 ",\"name\":\"a\",\"labels\":{},\"count\":1.5,\"sum\":1,\"min\":1,\"max\":"
		 "1}",
		 "count is not"},
		{"{" TIMES ",\"name\":\"a\",\"labels\":{},\"count\":1,\"sum\":\"1\",\"min\":1,"
		 "\"max\":1}",
		 "sum is not"},
		{"{" TIMES
		 ",\"name\":\"\",\"labels\":{},\"count\":1,\"sum\":1,\"min\":1,\"max\":1}",
		 "name is empty"},
		{"{" TIMES ",\"name\":\"a\",\"labels\":{},\"count\":1,\"sum\":1,\"min\":1,\"max\":1"
		 "}x",
		 "malformed JSON"},
		{"{\"name\":\"\xff\"}", "not UTF-8"},
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(add_metric(w, cases[i].json), -EINVAL);
		assert_non_null(strstr(w->reason, cases[i].reason));
	}
	assert_int_equal(w->ts.tables[TL_TS_METRICS].n, 0);
	assert_int_equal(w->ts.tables[TL_TS_METRICS].data.len, 0);
}

static void a_record_is_a_row_with_its_ids_as_columns(void **state)
{
	struct world *w = *state;

	assert_int_equal(
		add(w, TL_TOPIC_LOGS,
		    TL_SPAN_LIT("{\"uid\":\"9f-2a9-1\",\"timestamp\":\"2026-11-23T01:00:00.1Z\","
				"\"observed_timestamp\":\"2026-11-23T01:00:00.123456789Z\","
				"\"severity_number\":17,\"body\":\"a\\u0000b\\n\",\"resource\":{"
				"\"service.name\":\"cart\"},\"attributes\":{\"correlation.id\":"
				"\"r\\\"1\",\"x\":\"\\u0000\"}}")),
		1);
	assert_true(tl_span_is(field(w, TL_TS_LOGS, 0, 0), "9f-2a9-1"));
	assert_int_equal(tl_copy_number(field(w, TL_TS_LOGS, 0, 1)),
			 UINT64_C(1795395600123456) - TL_COPY_EPOCH_US);
	assert_int_equal(tl_copy_number(field(w, TL_TS_LOGS, 0, 2)),
			 UINT64_C(1795395600100000) - TL_COPY_EPOCH_US);
	assert_int_equal(tl_copy_number(field(w, TL_TS_LOGS, 0, 3)), 17);
	assert_null(field(w, TL_TS_LOGS, 0, 4).data);
	assert_true(tl_span_is(field(w, TL_TS_LOGS, 0, 5), "cart"));
	assert_true(tl_span_is(field(w, TL_TS_LOGS, 0, 6), "a\xef\xbf\xbd"
							   "b\n"));
	assert_true(tl_span_is(field(w, TL_TS_LOGS, 0, 9), "r\"1"));
	assert_true(tl_span_is(field(w, TL_TS_LOGS, 0, 13),
			       "\1{\"correlation.id\":\"r\\\"1\",\"x\":\"\\ufffd\"}"));
}

static void long_texts_of_an_index_are_cut_at_a_character(void **state)
{
	struct world *w = *state;
	char json[2048];
	int len = snprintf(json, sizeof(json),
			   "{\"uid\":\"1\",\"observed_timestamp\":\"2026-11-23T01:00:00Z\","
			   "\"resource\":{\"service.name\":\"%0499d\xc3\xa9more\"}}",
			   7);

	assert_int_equal(add(w, TL_TOPIC_LOGS, (struct tl_span){json, (size_t)len}), 1);
	assert_int_equal(field(w, TL_TS_LOGS, 0, 5).len, 499);
}

static void records_are_left_out_unless_wanted(void **state)
{
	struct world *w = *state;

	w->settings.logs = false;
	assert_int_equal(add(w, TL_TOPIC_LOGS, TL_SPAN_LIT("{}")), 0);
	assert_int_equal(add(w, TL_TOPIC_HTTP, TL_SPAN_LIT("{}")), 0);
}

static void a_dead_letter_of_any_bytes_is_a_row(void **state)
{
	struct world *w = *state;
	struct tl_message message = {
		.topic = TL_TOPIC_DLQ,
		.value = TL_SPAN_LIT("\xff\0x"),
		.headers = {{TL_SPAN_LIT("tapline-reason"), TL_SPAN_LIT("bad\0 news")},
			    {TL_SPAN_LIT("tapline-stage"), TL_SPAN_LIT("\xff")},
			    {TL_SPAN_LIT("tapline-offset"), TL_SPAN_LIT("12")},
			    {TL_SPAN_LIT("tapline-partition"), TL_SPAN_LIT("x")}},
		.n_headers = 4,
	};
	enum tl_ts_table table;

	assert_int_equal(tl_ts_add(&w->ts, &message, 0, &table, w->reason), 1);
	assert_int_equal(table, TL_TS_DEAD);
	assert_true(tl_span_is(field(w, TL_TS_DEAD, 0, 1), "bad\xef\xbf\xbd news"));
	assert_true(tl_span_is(field(w, TL_TS_DEAD, 0, 2), "(not UTF-8)"));
	assert_null(field(w, TL_TS_DEAD, 0, 4).data);
	assert_int_equal(tl_copy_number(field(w, TL_TS_DEAD, 0, 5)), 12);
	assert_true(tl_span_eq(field(w, TL_TS_DEAD, 0, 7), TL_SPAN_LIT("\xff\0x")));
}

static bool skip_third(void *arg, size_t row)
{
	(void)arg;
	return row == 2;
}

static void rollups_add_what_shares_minute_name_and_labels(void **state)
{
	static const char *const rows[] = {
		"{" TIMES
		",\"name\":\"a\",\"labels\":{\"k\":\"v\"},\"count\":3,\"sum\":1.5,\"min\":"
		"2,\"max\":3,\"buckets\":[1]}",
		"{\"window_start\":\"2026-11-24T17:00:59Z\",\"window_end\":\"2026-11-24T17:01:"
		"09Z\","
		"\"name\":\"a\",\"labels\":{\"k\":\"v\"},\"count\":4,\"sum\":0.25,\"min\":-1,"
		"\"max\":9,\"buckets\":[2,0,5]}",
		"{" TIMES
		",\"name\":\"a\",\"labels\":{\"k\":\"v\"},\"count\":100,\"sum\":1,\"min\":"
		"-99,\"max\":99}",
	};
	struct world *w = *state;
	_cleanup_(tl_buf_done) struct tl_buf out = {0};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(add_metric(w, rows[i]), 1);
	assert_int_equal(tl_ts_rollup(tl_buf_span(&w->ts.tables[TL_TS_METRICS].data), skip_third,
				      NULL, &out),
			 0);
	assert_true(tl_span_is(tl_buf_span(&out),
			       "[{\"bucket\":\"2026-11-24T17:00:00.000000000Z\",\"name\":\"a\","
			       "\"labels\":{\"k\":\"v\"},\"count\":7,\"sum\":1.75,\"min\":-1,"
			       "\"max\":9,\"buckets\":[3,0,5]}]"));
}

static bool skip_none(void *arg, size_t row)
{
	(void)arg;
	(void)row;
	return false;
}

static void rollups_keep_any_number_of_series_apart(void **state)
{
	struct world *w = *state;
	_cleanup_(tl_buf_done) struct tl_buf out = {0};
	size_t objects = 0;

	for (int i = 0; i < 3000; i++) {
		char json[512];

		snprintf(json, sizeof(json),
			 "{\"window_start\":\"2026-11-24T17:%02d:00Z\",\"window_end\":\"2026-11-"
			 "24T18:00:00Z\",\"name\":\"n%d\",\"labels\":{\"k\":%d},\"count\":1,"
			 "\"sum\":1,\"min\":1,\"max\":1}",
			 i % 10, i / 10 % 3, i % 1000);
		assert_int_equal(add_metric(w, json), 1);
	}
	assert_int_equal(
		tl_ts_rollup(tl_buf_span(&w->ts.tables[TL_TS_METRICS].data), skip_none, NULL, &out),
		0);
	for (const char *p = out.data;
	     (p = memmem(p, (size_t)(out.data + out.len - p), "bucket", 6)); p++)
		objects++;
	assert_int_equal(objects, 3000);
}

static void sqlstates_say_what_to_do_with_a_failure(void **state)
{
	static const char *const again[] = {"",	     "08006", "40001", "40P01", "53100", "53300",
					    "55P03", "57P01", "57P03", "58030", "XX000", "25006"};
	static const char *const row[] = {"22P02", "22003", "23514", "54000", "P0001"};
	static const char *const person[] = {"28P01", "3D000", "42501", "42P01", "0A000"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(again); i++)
		assert_int_equal(tl_pg_class(again[i]), -EAGAIN);
	for (size_t i = 0; i < ARRAY_SIZE(row); i++)
		assert_int_equal(tl_pg_class(row[i]), -EBADMSG);
	for (size_t i = 0; i < ARRAY_SIZE(person); i++)
		assert_int_equal(tl_pg_class(person[i]), -EPROTO);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(fields_are_as_the_manual_has_them),
		T(times_are_microseconds_since_2000),
		T(arrays_have_one_dimension_from_one),
		T(nul_becomes_a_replacement_in_text),
		T(escaped_nul_becomes_a_replacement_in_jsonb),
		T(a_metrics_message_is_a_row),
		T(a_message_that_is_no_metrics_row_is_told_and_leaves_nothing),
		T(a_record_is_a_row_with_its_ids_as_columns),
		T(long_texts_of_an_index_are_cut_at_a_character),
		T(records_are_left_out_unless_wanted),
		T(a_dead_letter_of_any_bytes_is_a_row),
		T(rollups_add_what_shares_minute_name_and_labels),
		T(rollups_keep_any_number_of_series_apart),
		T(sqlstates_say_what_to_do_with_a_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
