/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "userspace/base/clock.h"

static void times_are_written_as_rfc3339_with_nanoseconds(void **state)
{
	char text[TL_TIME_LEN + 1];

	(void)state;
	tl_time_format(UINT64_C(1795395600) * TL_SEC + 123456789, text);
	assert_string_equal(text, "2026-11-23T01:00:00.123456789Z");
	tl_time_format(UINT64_C(1795395600) * TL_SEC + 1, text);
	assert_string_equal(text, "2026-11-23T01:00:00.000000001Z");
	tl_time_format(0, text);
	assert_string_equal(text, "1970-01-01T00:00:00.000000000Z");
	tl_time_format(UINT64_MAX, text);
	assert_string_equal(text, "2554-07-21T23:34:33.709551615Z");
}

/* Every 11 hours and some over 200 years, against the C library. */
static void dates_agree_with_the_c_library(void **state)
{
	(void)state;
	for (uint64_t second = 0; second < UINT64_C(6311433600); second += 39677) {
		char text[TL_TIME_LEN + 1], date[11], want[64];
		time_t t = (time_t)second;
		struct tm tm;

		gmtime_r(&t, &tm);
		tl_time_format(second * TL_SEC + second % 997, text);
		snprintf(want, sizeof(want), "%04d-%02d-%02dT%02d:%02d:%02d.%09uZ",
			 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
			 tm.tm_sec, (unsigned)(second % 997));
		assert_string_equal(text, want);
		tl_date_format(second * TL_SEC, '.', date);
		strftime(want, sizeof(want), "%Y.%m.%d", &tm);
		assert_string_equal(date, want);
	}
}

static void parse_reads_what_format_writes(void **state)
{
	(void)state;
	for (uint64_t t = 7; t < UINT64_C(6300000000000000000); t += UINT64_C(97654321987654321)) {
		char text[TL_TIME_LEN + 1];
		uint64_t back = 0;

		tl_time_format(t, text);
		assert_int_equal(tl_time_parse(text, TL_TIME_LEN, &back), 0);
		assert_int_equal(back, t);
	}
}

static int parse(const char *text, uint64_t *ret)
{
	return tl_time_parse(text, strlen(text), ret);
}

static void parse_takes_zero_to_nine_fraction_digits(void **state)
{
	uint64_t t;

	(void)state;
	assert_int_equal(parse("1970-01-01T00:00:01Z", &t), 0);
	assert_int_equal(t, TL_SEC);
	assert_int_equal(parse("1970-01-01T00:00:01.5Z", &t), 0);
	assert_int_equal(t, TL_SEC + TL_SEC / 2);
	assert_int_equal(parse("2024-02-29T00:00:00.000001Z", &t), 0);
	assert_int_equal(t, UINT64_C(1709164800) * TL_SEC + 1000);
}

static void parse_refuses_what_is_no_time_and_leaves_the_result(void **state)
{
	static const char *const bad[] = {
		"",
		"Z",
		"2026-11-23",
		"2026-11-23T01:00:00",
		"2026-11-23 01:00:00Z",
		"2026-11-23T01:00:00.1234567890Z",
		"2026-11-23T01:00:00.12a4Z",
		"2026-13-01T00:00:00Z",
		"2026-00-01T00:00:00Z",
		"2026-02-29T00:00:00Z",
		"2100-02-29T00:00:00Z",
		"2026-04-31T00:00:00Z",
		"2026-01-00T00:00:00Z",
		"2026-01-01T24:00:00Z",
		"2026-01-01T00:60:00Z",
		"2026-01-01T00:00:60Z",
		"1969-12-31T23:59:59Z",
		"9999-01-01T00:00:00Z",
		"2026-11-23T01:00:00+1Z",
		"2026/11/23T01:00:00Z",
		"2026-11-23T01.00:00Z",
		"+026-11-23T01:00:00Z",
	};
	uint64_t t = 99;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse(bad[i], &t), -EINVAL);
		assert_int_equal(t, 99);
	}
}

static void monotonic_plus_offset_is_the_wall_time(void **state)
{
	int64_t offset = tl_mono_to_wall_offset();
	uint64_t before = tl_wall_ns(), mono = tl_mono_ns(), after = tl_wall_ns();
	uint64_t wall = mono + (uint64_t)offset;

	(void)state;
	assert_true(wall + 5 * TL_MS > before);
	assert_true(wall < after + 5 * TL_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_are_written_as_rfc3339_with_nanoseconds),
		cmocka_unit_test(dates_agree_with_the_c_library),
		cmocka_unit_test(parse_reads_what_format_writes),
		cmocka_unit_test(parse_takes_zero_to_nine_fraction_digits),
		cmocka_unit_test(parse_refuses_what_is_no_time_and_leaves_the_result),
		cmocka_unit_test(monotonic_plus_offset_is_the_wall_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
