/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "userspace/base/clock.h"
#include "userspace/parse/parser.h"

#define OBSERVED (UINT64_C(1764000000) * TL_SEC) /* 2025-11-24T16:00:00Z */

static struct tl_record record;
static struct tl_arena arena;

static int parse(const char *parser, const char *text)
{
	tl_record_reset(&record);
	tl_arena_reset(&arena);
	record.observed_ns = record.timestamp_ns = OBSERVED;
	record.body = tl_span_str(text);
	tl_attr_set(&record.attributes, "stream.id", TL_SPAN_LIT("2a9"));
	return tl_parser_find(parser)->parse(&record, &arena);
}

static void assert_attr(const char *key, const char *value)
{
	const struct tl_attr *attr = tl_attr_get(&record.attributes, key);

	if (!attr)
		fail_msg("no attribute %s", key);
	if (!tl_span_is(attr->value, value))
		fail_msg("%s is %.*s, not %s", key, (int)attr->value.len, attr->value.data, value);
}

static void assert_time(const char *expected)
{
	char text[TL_TIME_LEN + 1];

	tl_time_format(record.timestamp_ns, text);
	assert_string_equal(text, expected);
}

static void json_fields_find_their_places(void **state)
{
	(void)state;
	assert_int_equal(parse("auto",
			       "{\"level\":\"warn\",\"ts\":\"2026-11-23T01:02:03.5+01:00\",\"msg\":"
			       "\"low \\\"disk\\\"\","
			       "\"free\":12,\"ok\":true,\"deep\":{\"a\":[1]},\"nothing\":null,"
			       "\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\"}"),
			 1);
	assert_true(tl_span_is(record.body, "low \"disk\""));
	assert_int_equal(record.severity_number, 13);
	assert_time("2026-11-23T00:02:03.500000000Z");
	assert_attr("free", "12");
	assert_int_equal(tl_attr_get(&record.attributes, "free")->type, TL_ATTR_LITERAL);
	assert_attr("deep", "{\"a\":[1]}");
	assert_null(tl_attr_get(&record.attributes, "nothing"));
	assert_true(tl_span_is(record.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736"));
}

static void a_line_cannot_forge_what_tapline_says(void **state)
{
	(void)state;
	parse("json", "{\"msg\":\"x\",\"stream.id\":\"1\",\"correlation.id\":\"evil\","
		      "\"correlation.how\":\"unit\"}");
	assert_attr("stream.id", "2a9");
	assert_attr("log.stream.id", "1");
	assert_null(tl_attr_get(&record.attributes, "correlation.id"));
	assert_attr("log.correlation.id", "evil");
	parse("logfmt", "msg=x correlation.id=evil");
	assert_null(tl_attr_get(&record.attributes, "correlation.id"));
}

static void an_agents_trace_is_not_replaced_by_the_lines(void **state)
{
	(void)state;
	tl_record_reset(&record);
	record.body =
		TL_SPAN_LIT("{\"msg\":\"x\",\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\"}");
	record.trace_id = TL_SPAN_LIT("00000000000000000000000000000abc");
	tl_parser_find("json")->parse(&record, &arena);
	assert_true(tl_span_is(record.trace_id, "00000000000000000000000000000abc"));
	assert_attr("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736");
}

static void half_json_is_raw(void **state)
{
	static const char *const lines[] = {"{\"a\":1", "{\"a\":1} trailing", "{",
					    "{}}",	"{\"a\":\"\\x\"}",    "{'a':1}"};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		assert_int_equal(parse("json", lines[i]), 0);
		assert_true(tl_span_is(record.body, lines[i]));
		assert_int_equal(record.attributes.n, 1);
	}
}

static void logfmt_pairs_become_attributes(void **state)
{
	(void)state;
	assert_int_equal(parse("auto", "time=2026-11-23T01:02:03Z level=error msg=\"it "
				       "\\\"broke\\\"\" n=12 zip=007 ok=true"),
			 1);
	assert_true(tl_span_is(record.body, "it \"broke\""));
	assert_int_equal(record.severity_number, 17);
	assert_time("2026-11-23T01:02:03.000000000Z");
	assert_attr("n", "12");
	assert_int_equal(tl_attr_get(&record.attributes, "n")->type, TL_ATTR_LITERAL);
	assert_int_equal(tl_attr_get(&record.attributes, "zip")->type, TL_ATTR_STRING);
}

static void prose_with_an_equals_sign_is_no_logfmt(void **state)
{
	(void)state;
	assert_int_equal(parse("logfmt", "x=1"), 0);
	assert_int_equal(parse("logfmt", "the answer=42 is known"), 0);
	assert_int_equal(parse("logfmt", "a=b c=\"d"), 0);
	assert_int_equal(parse("logfmt", ""), 0);
}

static void access_lines_give_http_attributes(void **state)
{
	(void)state;
	assert_int_equal(parse("auto", "10.0.0.1 - bob [23/Nov/2026:01:02:03 +0100] \"GET "
				       "/a/b?token=s HTTP/1.1\" 502 17 \"-\" \"curl\""),
			 1);
	assert_attr("client.address", "10.0.0.1");
	assert_attr("user.name", "bob");
	assert_attr("url.path", "/a/b");
	assert_attr("http.response.status_code", "502");
	assert_int_equal(record.severity_number, 17);
	assert_time("2026-11-23T00:02:03.000000000Z");
	assert_int_equal(
		parse("access", "127.0.0.1 - - [24/Nov/2026 16:20:31] \"GET / HTTP/1.0\" 200 -"),
		1);
	assert_time("2026-11-24T16:20:31.000000000Z");
	assert_int_equal(
		parse("access",
		      "127.0.0.1 - - [24/Nov/2026 16:20:31] code 404, message File not found"),
		0);
}

static void severities_are_found_where_loggers_put_them(void **state)
{
	static const struct {
		const char *line;
		uint8_t number;
	} rows[] = {
		{"ERROR something", 17},
		{"2026-11-23 01:02:03,456 - app - ERROR - broke", 17},
		{"2026/11/23 01:02:03 [warn] 12#12: *1 upstream", 13},
		{"INFO:root:hello", 9},
		{"error: no such file", 17},
		{"[2026-11-23 01:02:03] production.DEBUG: x", 5},
		{"E1123 01:02:03.456789 1 main.go:1] x", 17},
		{"<11>Nov 23 01:02:03 host app: x", 17},
		{"WARNING  careful", 13},
		{"an error that a sentence mentions", 0},
		{"no information here", 0},
		{"FATAL boom", 21},
		{"msg level=warn x", 13},
		{"", 0},
		{"x", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tl_span word;

		if (tl_severity_detect(tl_span_str(rows[i].line), &word) != rows[i].number)
			fail_msg("`%s` is not %u", rows[i].line, rows[i].number);
	}
}

static void level_numbers_of_pino_are_read(void **state)
{
	(void)state;
	assert_int_equal(tl_severity_word(TL_SPAN_LIT("30")), 9);
	assert_int_equal(tl_severity_word(TL_SPAN_LIT("50")), 17);
	assert_int_equal(tl_severity_word(TL_SPAN_LIT("70")), 0);
	assert_int_equal(tl_severity_word(TL_SPAN_LIT("W")), 13);
}

static void timestamps_of_all_forms_are_read(void **state)
{
	static const struct {
		const char *text, *time;
		size_t taken;
	} rows[] = {
		{"2026-11-23T01:02:03Z x", "2026-11-23T01:02:03.000000000Z", 20},
		{"2026-11-23 01:02:03,456 x", "2026-11-23T01:02:03.456000000Z", 23},
		{"[2026-11-23T01:02:03.123456789-05:30] x", "2026-11-23T06:32:03.123456789Z", 36},
		{"2026/11/23 01:02:03 x", "2026-11-23T01:02:03.000000000Z", 19},
		{"1764000000 x", "2025-11-24T16:00:00.000000000Z", 10},
		{"1764000000.25 x", "2025-11-24T16:00:00.250000000Z", 13},
		{"1764000000123 x", "2025-11-24T16:00:00.123000000Z", 13},
		{"Nov 24 16:00:01 host x", "2025-11-24T16:00:01.000000000Z", 15},
		{"Jan  1 00:00:00 host x", "2026-01-01T00:00:00.000000000Z", 15},
		{"I1124 16:00:01.5 x", "2025-11-24T16:00:01.500000000Z", 16},
		{"2024-02-29 00:00:00", "2024-02-29T00:00:00.000000000Z", 19},
		{"2026-02-29 00:00:00", NULL, 0},
		{"2026-13-01 00:00:00", NULL, 0},
		{"12345 things", NULL, 0},
		{"no time here at all", NULL, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[TL_TIME_LEN + 1];
		uint64_t ns = 0;
		size_t n = tl_timestamp_detect(tl_span_str(rows[i].text), OBSERVED, &ns);

		if (n != rows[i].taken)
			fail_msg("`%s`: %zu bytes", rows[i].text, n);
		if (!n)
			continue;
		tl_time_format(ns, text);
		assert_string_equal(text, rows[i].time);
	}
}

/* Every prefix and every single changed byte of every good line: no crash, and no read past the end
 * (run with SAN=address). */
static void damaged_lines_do_no_harm(void **state)
{
	static const char *const lines[] = {
		"{\"level\":\"warn\",\"ts\":\"2026-11-23T01:02:03.5+01:00\",\"msg\":\"low "
		"\\\"disk\\\"\",\"deep\":{\"a\":[1]}}",
		"time=2026-11-23T01:02:03Z level=error msg=\"it \\\"broke\\\"\" n=12",
		"10.0.0.1 - bob [23/Nov/2026:01:02:03 +0100] \"GET /a?t=s HTTP/1.1\" 502 17 \"-\" "
		"\"curl\"",
		"<11>Nov 23 01:02:03 host app[1]: ERROR x",
		"I1124 16:00:01.5 x",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		for (size_t len = 0; len <= strlen(lines[i]); len++)
			for (int byte = 0; byte < 256; byte += 5) {
				char *copy = malloc(len ? len : 1);

				memcpy(copy, lines[i], len);
				if (len)
					copy[len - 1] = (char)byte;
				tl_record_reset(&record);
				tl_arena_reset(&arena);
				record.observed_ns = OBSERVED;
				record.body = (struct tl_span){copy, len};
				(void)tl_parser_find("auto")->parse(&record, &arena);
				free(copy);
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_fields_find_their_places),
		cmocka_unit_test(a_line_cannot_forge_what_tapline_says),
		cmocka_unit_test(an_agents_trace_is_not_replaced_by_the_lines),
		cmocka_unit_test(half_json_is_raw),
		cmocka_unit_test(logfmt_pairs_become_attributes),
		cmocka_unit_test(prose_with_an_equals_sign_is_no_logfmt),
		cmocka_unit_test(access_lines_give_http_attributes),
		cmocka_unit_test(severities_are_found_where_loggers_put_them),
		cmocka_unit_test(level_numbers_of_pino_are_read),
		cmocka_unit_test(timestamps_of_all_forms_are_read),
		cmocka_unit_test(damaged_lines_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
