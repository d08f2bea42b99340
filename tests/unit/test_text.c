/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "userspace/base/clock.h"
#include "userspace/base/cleanup.h"
#include "userspace/base/text.h"

static uint64_t size_of(const char *text)
{
	uint64_t v = 0;

	assert_int_equal(tl_size_parse(text, &v), 0);
	return v;
}

static void sizes_are_powers_of_1024(void **state)
{
	(void)state;
	assert_int_equal(size_of("512"), 512);
	assert_int_equal(size_of("0"), 0);
	assert_int_equal(size_of("64k"), 65536);
	assert_int_equal(size_of("64K"), 65536);
	assert_int_equal(size_of("10MiB"), 10 << 20);
	assert_int_equal(size_of("1G"), 1 << 30);
	assert_int_equal(size_of("2TB"), UINT64_C(2) << 40);
	assert_int_equal(size_of("5B"), 5);
	assert_int_equal(size_of("18446744073709551615"), UINT64_MAX);
}

static void sizes_that_are_none_are_refused(void **state)
{
	static const char *const bad[] = {"",	 "k",	"-1", "1.5k", "1kk", "1kb",
					  "1ki", "1 k", "1x", "1iB",  " 1",  "0x10"};
	uint64_t v = 9;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(tl_size_parse(bad[i], &v), -EINVAL);
	assert_int_equal(tl_size_parse("18446744073709551616", &v), -ERANGE);
	assert_int_equal(tl_size_parse("17000000T", &v), -ERANGE);
	assert_int_equal(v, 9);
}

static uint64_t duration_of(const char *text)
{
	uint64_t v = 0;

	assert_int_equal(tl_duration_parse(text, &v), 0);
	return v;
}

static void durations_have_units_and_a_bare_number_is_seconds(void **state)
{
	(void)state;
	assert_int_equal(duration_of("250ms"), 250 * TL_MS);
	assert_int_equal(duration_of("20s"), 20 * TL_SEC);
	assert_int_equal(duration_of("20"), 20 * TL_SEC);
	assert_int_equal(duration_of("5m"), 300 * TL_SEC);
	assert_int_equal(duration_of("2h"), 7200 * TL_SEC);
	assert_int_equal(duration_of("7d"), 7 * 86400 * TL_SEC);
	assert_int_equal(duration_of("3us"), 3000);
	assert_int_equal(duration_of("3ns"), 3);
}

static void durations_that_are_none_are_refused(void **state)
{
	static const char *const bad[] = {"", "s", "-1s", "1.5s", "1x", "1 s", "1S", "1mss"};
	uint64_t v = 9;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(tl_duration_parse(bad[i], &v), -EINVAL);
	assert_int_equal(tl_duration_parse("99999999999d", &v), -ERANGE);
	assert_int_equal(v, 9);
}

static void a_slip_finds_its_name_and_another_word_none(void **state)
{
	static const char *const names[] = {"agent.state", "brokers", "comm", "color", "pid"};
	size_t n = ARRAY_SIZE(names);

	(void)state;
	assert_string_equal(tl_nearest("agent.stat", names, n), "agent.state");
	assert_string_equal(tl_nearest("borkers", names, n), "brokers");
	assert_string_equal(tl_nearest("BROKER", names, n), "brokers");
	assert_string_equal(tl_nearest("colour", names, n), "color");
	assert_string_equal(tl_nearest("pdi", names, n), "pid");
	assert_string_equal(tl_nearest("com", names, n), "comm");
	assert_null(tl_nearest("password", names, n));
	assert_null(tl_nearest("xyz", names, n));
	assert_null(tl_nearest("coxx", names, n));
	assert_null(tl_nearest("", names, n));
	assert_null(tl_nearest("comm", names, 0));
}

static void the_nearest_of_several_wins(void **state)
{
	static const char *const names[] = {"max-lines", "max-line", "min-lines"};

	(void)state;
	assert_string_equal(tl_nearest("max-linez", names, 3), "max-lines");
	assert_string_equal(tl_nearest("max-lin", names, 3), "max-line");
}

static void very_long_words_are_refused_not_overrun(void **state)
{
	char word[500];
	const char *const names[] = {word, "short"};

	(void)state;
	memset(word, 'a', sizeof(word) - 1);
	word[sizeof(word) - 1] = '\0';
	assert_null(tl_nearest(word, names, 2));
	assert_string_equal(tl_nearest("shortt", names, 2), "short");
}

static void globs_match_names(void **state)
{
	(void)state;
	assert_true(tl_glob_match("nginx", "nginx"));
	assert_false(tl_glob_match("nginx", "nginx2"));
	assert_true(tl_glob_match("*", ""));
	assert_true(tl_glob_match("py*3", "python3"));
	assert_true(tl_glob_match("*a*b*c", "xxaxxbbxxcxc"));
	assert_false(tl_glob_match("*a*b*c", "xxaxxbbxxcxd"));
	assert_true(tl_glob_match("w?rker", "worker"));
	assert_false(tl_glob_match("w?rker", "wrker"));
	assert_false(tl_glob_match("", "x"));
	assert_true(tl_glob_match("", ""));
}

static void a_star_in_a_path_stops_at_a_slash_and_two_do_not(void **state)
{
	(void)state;
	assert_true(tl_glob_match("/var/log/*.log", "/var/log/a.log"));
	assert_false(tl_glob_match("/var/log/*.log", "/var/log/x/a.log"));
	assert_true(tl_glob_match("/var/log/**", "/var/log/x/y/a"));
	assert_true(tl_glob_match("/var/log/**", "/var/log/a"));
	assert_false(tl_glob_match("/var/log/**", "/var/lib/a"));
	assert_true(tl_glob_match("/srv/**/log/*.txt", "/srv/a/b/log/c.txt"));
	assert_true(tl_glob_match("/srv/**/log/*.txt", "/srv/log/c.txt"));
	assert_false(tl_glob_match("/srv/**/log/*.txt", "/srv/a/xlog/c.txt"));
	assert_true(tl_glob_match("/srv/**/log/*.txt", "/srv/log/x/log/c.txt"));
	assert_false(tl_glob_match("/srv/?/x", "/srv///x"));
	assert_true(tl_glob_match("**/a*b/c", "x/ab/aXb/c"));
	/* Without a slash it is about the end of a path too. */
	assert_true(tl_glob_match("*.log", "/var/log/a.log"));
	assert_true(tl_glob_match("?dev?null", "/dev/null"));
}

static void a_hostile_pattern_ends_soon(void **state)
{
	char text[2001];

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_false(tl_glob_match("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", text));
	assert_false(tl_glob_match("/**a*a*a*a**a*a*a*a**a*a*a*b", text));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_powers_of_1024),
		cmocka_unit_test(sizes_that_are_none_are_refused),
		cmocka_unit_test(durations_have_units_and_a_bare_number_is_seconds),
		cmocka_unit_test(durations_that_are_none_are_refused),
		cmocka_unit_test(a_slip_finds_its_name_and_another_word_none),
		cmocka_unit_test(the_nearest_of_several_wins),
		cmocka_unit_test(very_long_words_are_refused_not_overrun),
		cmocka_unit_test(globs_match_names),
		cmocka_unit_test(a_star_in_a_path_stops_at_a_slash_and_two_do_not),
		cmocka_unit_test(a_hostile_pattern_ends_soon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
