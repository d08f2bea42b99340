/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/json.h"

/* Inputs end at a page that may not be touched. */
static char *guard_end;

static int make_guard(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *map =
		mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	if (map == MAP_FAILED || mprotect(map + 2 * page, page, PROT_NONE) < 0)
		return -1;
	guard_end = map + 2 * page;
	return 0;
}

static struct tl_span guarded_bytes(const char *data, size_t len)
{
	memcpy(guard_end - len, data, len);
	return (struct tl_span){guard_end - len, len};
}

static struct tl_span guarded(const char *text)
{
	return guarded_bytes(text, strlen(text));
}

static void assert_written(const char *input, size_t len, const char *want)
{
	struct tl_buf out = {0};

	tl_json_string(&out, guarded_bytes(input, len));
	tl_buf_putc(&out, '\0');
	assert_false(out.failed);
	assert_string_equal(out.data, want);
	tl_buf_done(&out);
}

static void strings_are_escaped(void **state)
{
	(void)state;
	assert_written("", 0, "\"\"");
	assert_written("plain", 5, "\"plain\"");
	assert_written("a\"b\\c/d", 7, "\"a\\\"b\\\\c/d\"");
	assert_written("\b\f\n\r\t\x01\x1f\x7f", 8, "\"\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"");
	assert_written("\0", 1, "\"\\u0000\"");
	assert_written("h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", 12,
		       "\"h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"");
}

static void each_invalid_byte_becomes_a_replacement_character(void **state)
{
	(void)state;
	assert_written("a\xff"
		       "b",
		       3,
		       "\"a\xef\xbf\xbd"
		       "b\"");
	assert_written("\xc3", 1, "\"\xef\xbf\xbd\"");
	assert_written("\xe2\x82", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"");
	assert_written("\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	assert_written("\xc0\xaf", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"");
}

/* A special byte at every place of strings of every length around the vector steps. */
static void an_escape_is_found_at_every_place(void **state)
{
	static const char special[] = {'"', '\\', '\n', 0x1f, '\0'};

	(void)state;
	for (size_t len = 1; len < 70; len++) {
		for (size_t at = 0; at < len; at++) {
			char text[70], want[80];
			char c = special[(len + at) % sizeof(special)];
			struct tl_buf out = {0}, back = {0};

			memset(text, 'x', len);
			text[at] = c;
			tl_json_string(&out, guarded_bytes(text, len));
			memset(want, 'x', sizeof(want));
			assert_int_equal(out.data[0], '"');
			assert_memory_equal(out.data + 1, want, at);
			assert_int_equal(out.data[at + 1], '\\');
			assert_int_equal(
				tl_json_unescape((struct tl_span){out.data + 1, out.len - 2},
						 &back),
				0);
			assert_int_equal(back.len, len);
			assert_memory_equal(back.data, text, len);
			tl_buf_done(&out);
			tl_buf_done(&back);
		}
	}
}

static void a_string_that_does_not_fit_leaves_nothing(void **state)
{
	(void)state;
	for (size_t max = 2; max < 60; max++) {
		struct tl_buf out = {.max = max};

		tl_buf_putc(&out, '{');
		tl_json_string(&out, TL_SPAN_LIT("aaaa\n\n\n\x01\x01 and twenty more"));
		if (out.failed)
			assert_int_equal(out.len, 1);
		else
			assert_int_equal(out.len, 1 + 2 + 4 + 6 + 12 + 16);
		assert_int_equal(out.failed, max < 41);
		tl_buf_done(&out);
	}
}

static void keys_get_commas_where_they_must(void **state)
{
	struct tl_buf out = {0};

	(void)state;
	tl_json_key(&out, "x");
	tl_buf_clear(&out);
	tl_buf_putc(&out, '{');
	tl_json_key(&out, "a");
	tl_buf_puts(&out, "1");
	tl_json_key(&out, "b");
	tl_buf_putc(&out, '{');
	tl_json_key(&out, "c");
	tl_buf_puts(&out, "[]}}");
	assert_true(tl_span_is(tl_buf_span(&out), "{\"a\":1,\"b\":{\"c\":[]}}"));
	tl_buf_done(&out);
}

/* 0 when the document is valid to its end, -EINVAL else. */
static int check(struct tl_span document)
{
	struct tl_json_cursor cursor;
	struct tl_json_value value;
	struct tl_span key;
	const char *p = document.data;
	int r = tl_json_enter(&cursor, document);

	if (r < 0)
		return r;
	while (*p == ' ')
		p++;
	do
		r = *p == '{' ? tl_json_member(&cursor, &key, &value)
			      : tl_json_element(&cursor, &value);
	while (r > 0);
	return r == 0 && !tl_json_at_end(&cursor) ? -EINVAL : r;
}

static const char *const valid[] = {
	"{}",
	"[]",
	" { } ",
	"[ ]",
	"{\"a\":1}",
	"[1]",
	"[1,2]",
	"[ 1 , 2 ]",
	"{ \"a\" : 1 , \"b\" : [ ] }\n",
	"[true,false,null]",
	"[0,-0,10,1.5,-1.25e10,1E+2,1e-2]",
	"[\"\"]",
	"[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\"]",
	"[[[[]]],{}]",
	"{\"a\":{\"b\":{\"c\":[1,{\"d\":2}]}},\"e\":3}",
	"{\"\":\"\"}",
	"[\"0123456789abcdef0123\\n\"]",
	"[{\"a\":[],\"b\":{}},[{}]]",
	"{\"a\":\"}\",\"b\":\"]\"}",
};

static const char *const invalid[] = {
	"{",
	"[",
	"{]",
	"[}",
	"{\"a\"}",
	"{\"a\":}",
	"{\"a\":1,}",
	"[1,]",
	"[,1]",
	"{,}",
	"[1 2]",
	"{\"a\":1 \"b\":2}",
	"{a:1}",
	"{'a':1}",
	"[01]",
	"[-]",
	"[+1]",
	"[1.]",
	"[.5]",
	"[1e]",
	"[1e+]",
	"[tru]",
	"[truex]",
	"[nul",
	"[\"\\x\"]",
	"[\"\\u12g4\"]",
	"[\"\\u12\"]",
	"[\"a]",
	"[\"a\nb\"]",
	"[\"a\\\"]",
	"[\"a\x01\"]",
	"[1]]",
	"{}x",
	"{} {}",
	"[[1}]",
	"[[1,]]",
	"[{\"a\":1,}]",
	"[{\"a\"}]",
	"[{\"a\":}]",
	"[{1:2}]",
	"[[}]",
	"[{]]",
	"[\x00]",
	"[0x1]",
	"[NaN]",
	"[1,,2]",
	"[[1]",
	"{\"a\":{}",
	"{\"a\":[1,2}",
	"[{\"a\":1 \"b\":2}]",
	"[\"0123456789abcdef0123\n\"]",
	"[1}",
	"{\"a\":1]",
};

static void valid_documents_are_walked_to_their_end(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(valid); i++)
		if (check(guarded(valid[i])) != 0)
			fail_msg("refused: %s", valid[i]);
}

static void malformed_documents_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(invalid); i++)
		if (check(guarded(invalid[i])) != -EINVAL)
			fail_msg("taken: %s", invalid[i]);
}

static void every_cut_of_a_document_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(valid); i++) {
		size_t end = strlen(valid[i]);

		while (strchr(" \n", valid[i][end - 1]))
			end--;
		for (size_t len = 0; len < end; len++)
			if (check(guarded_bytes(valid[i], len)) != -EINVAL)
				fail_msg("taken: the first %zu bytes of %s", len, valid[i]);
	}
}

static void what_does_not_begin_with_a_bracket_cannot_be_entered(void **state)
{
	struct tl_json_cursor cursor;

	(void)state;
	assert_int_equal(tl_json_enter(&cursor, guarded("")), -EINVAL);
	assert_int_equal(tl_json_enter(&cursor, guarded("  ")), -EINVAL);
	assert_int_equal(tl_json_enter(&cursor, guarded("1")), -EINVAL);
	assert_int_equal(tl_json_enter(&cursor, guarded("plain text")), -EINVAL);
	assert_int_equal(tl_json_enter(&cursor, (struct tl_span){NULL, 0}), -EINVAL);
}

static void members_give_keys_types_and_raw_values(void **state)
{
	static const struct {
		const char *key, *raw;
		enum tl_json_type type;
		bool escaped;
	} want[] = {
		{"s", "x", TL_JSON_STRING, false},
		{"e\\n", "a\\tb", TL_JSON_STRING, true},
		{"n", "-1.5e3", TL_JSON_NUMBER, false},
		{"t", "true", TL_JSON_BOOL, false},
		{"z", "null", TL_JSON_NULL, false},
		{"o", "{\"in\": [1, \"}\"]}", TL_JSON_OBJECT, false},
		{"a", "[{}, []]", TL_JSON_ARRAY, false},
	};
	struct tl_json_cursor cursor;
	struct tl_json_value value;
	struct tl_span key;

	(void)state;
	assert_int_equal(
		tl_json_enter(&cursor, guarded("{\"s\":\"x\", \"e\\n\":\"a\\tb\",\"n\":-1.5e3,"
					       "\"t\":true,\"z\" : null,\"o\":{\"in\": [1, \"}\"]},"
					       "\"a\":[{}, []] } ")),
		0);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_int_equal(tl_json_member(&cursor, &key, &value), 1);
		assert_true(tl_span_is(key, want[i].key));
		assert_true(tl_span_is(value.raw, want[i].raw));
		assert_int_equal(value.type, want[i].type);
		assert_int_equal(value.escaped, want[i].escaped);
	}
	assert_int_equal(tl_json_member(&cursor, &key, &value), 0);
	assert_true(tl_json_at_end(&cursor));
}

static void an_error_leaves_the_results_alone(void **state)
{
	struct tl_json_value value = {.type = TL_JSON_BOOL};
	struct tl_json_cursor cursor;
	struct tl_span key = TL_SPAN_LIT("old");

	(void)state;
	assert_int_equal(tl_json_enter(&cursor, guarded("{\"k\":tru}")), 0);
	assert_int_equal(tl_json_member(&cursor, &key, &value), -EINVAL);
	assert_true(tl_span_is(key, "old"));
	assert_int_equal(value.type, TL_JSON_BOOL);
}

static int check_depth(unsigned depth)
{
	char text[800];
	size_t len = 0;

	for (unsigned i = 0; i < depth; i++)
		len += (size_t)sprintf(text + len, i % 2 ? "{\"a\":" : "[");
	text[len++] = '1';
	for (unsigned i = depth; i-- > 0;)
		text[len++] = i % 2 ? '}' : ']';
	return check(guarded_bytes(text, len));
}

static void nesting_is_taken_to_64_levels_and_refused_past_them(void **state)
{
	(void)state;
	for (unsigned depth = 1; depth <= TL_JSON_MAX_DEPTH; depth++)
		assert_int_equal(check_depth(depth), 0);
	assert_int_equal(check_depth(TL_JSON_MAX_DEPTH + 1), -EINVAL);
	assert_int_equal(check_depth(100), -EINVAL);
}

static void find_takes_the_first_top_level_member(void **state)
{
	struct tl_json_value value;

	(void)state;
	assert_int_equal(tl_json_find(guarded("{\"x\":{\"a\":1},\"a\":2,\"a\":3}"), "a", &value),
			 1);
	assert_true(tl_span_is(value.raw, "2"));
	assert_int_equal(tl_json_find(guarded("{\"ab\":1}"), "a", &value), 0);
	assert_int_equal(tl_json_find(guarded("{\"ab\":1"), "a", &value), -EINVAL);
	assert_int_equal(tl_json_find(guarded("[1]"), "a", &value), -EINVAL);
	assert_int_equal(tl_json_find(guarded("{\"\\u0061\\n\":4}"), "a\n", &value), 1);
	assert_true(tl_span_is(value.raw, "4"));
}

static void assert_unescaped(const char *raw, const char *want, size_t len)
{
	struct tl_buf out = {0};

	assert_int_equal(tl_json_unescape(guarded(raw), &out), 0);
	assert_int_equal(out.len, len);
	assert_memory_equal(out.data, want, len);
	tl_buf_done(&out);
}

static void escapes_are_decoded(void **state)
{
	(void)state;
	assert_unescaped("a\\\"\\\\\\/\\b\\f\\n\\r\\tz", "a\"\\/\b\f\n\r\tz", 10);
	assert_unescaped("\\u0041\\u00e9\\u20AC\\u0000", "A\xc3\xa9\xe2\x82\xac\0", 7);
	assert_unescaped("\\ud83d\\ude00", "\xf0\x9f\x98\x80", 4);
	assert_unescaped("\\uDBFF\\uDFFF", "\xf4\x8f\xbf\xbf", 4);
}

static void lone_surrogates_become_replacement_characters(void **state)
{
	(void)state;
	assert_unescaped("\\ud83d", "\xef\xbf\xbd", 3);
	assert_unescaped("\\ude00x", "\xef\xbf\xbdx", 4);
	assert_unescaped("\\ude00\\ude01", "\xef\xbf\xbd\xef\xbf\xbd", 6);
	assert_unescaped("\\ud83dx", "\xef\xbf\xbdx", 4);
	assert_unescaped("\\ud83d\\u0041",
			 "\xef\xbf\xbd"
			 "A",
			 4);
	assert_unescaped("\\ud83d\\ud83d\\ude00", "\xef\xbf\xbd\xf0\x9f\x98\x80", 7);
}

static void a_bad_escape_appends_nothing(void **state)
{
	static const char *const bad[] = {"a\\", "a\\x", "a\\u12", "a\\u12G4", "\\n\\"};
	struct tl_buf out = {0}, small = {.max = 3};

	(void)state;
	tl_buf_puts(&out, "k");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(tl_json_unescape(guarded(bad[i]), &out), -EINVAL);
		assert_int_equal(out.len, 1);
	}
	assert_int_equal(tl_json_unescape(guarded("ab\\ncd"), &small), -ENOBUFS);
	assert_int_equal(small.len, 0);
	tl_buf_done(&out);
	tl_buf_done(&small);
}

static int u64(const char *raw, uint64_t *ret)
{
	struct tl_json_value value = {.type = TL_JSON_NUMBER, .raw = guarded(raw)};

	return tl_json_u64(&value, ret);
}

static void numbers_are_read_when_they_fit(void **state)
{
	struct tl_json_value text = {.type = TL_JSON_STRING, .raw = TL_SPAN_LIT("1")};
	uint64_t v = 5;

	(void)state;
	assert_int_equal(tl_json_u64(&text, &v), -EINVAL);
	assert_int_equal(u64("-1", &v), -ERANGE);
	assert_int_equal(u64("1.5", &v), -EINVAL);
	assert_int_equal(u64("1e3", &v), -EINVAL);
	assert_int_equal(u64("18446744073709551616", &v), -ERANGE);
	assert_int_equal(u64("99999999999999999999999", &v), -ERANGE);
	assert_int_equal(v, 5);
	assert_int_equal(u64("18446744073709551615", &v), 0);
	assert_int_equal(v, UINT64_MAX);
	assert_int_equal(u64("0", &v), 0);
	assert_int_equal(v, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strings_are_escaped),
		cmocka_unit_test(each_invalid_byte_becomes_a_replacement_character),
		cmocka_unit_test(an_escape_is_found_at_every_place),
		cmocka_unit_test(a_string_that_does_not_fit_leaves_nothing),
		cmocka_unit_test(keys_get_commas_where_they_must),
		cmocka_unit_test(valid_documents_are_walked_to_their_end),
		cmocka_unit_test(malformed_documents_are_refused),
		cmocka_unit_test(every_cut_of_a_document_is_refused),
		cmocka_unit_test(what_does_not_begin_with_a_bracket_cannot_be_entered),
		cmocka_unit_test(members_give_keys_types_and_raw_values),
		cmocka_unit_test(an_error_leaves_the_results_alone),
		cmocka_unit_test(nesting_is_taken_to_64_levels_and_refused_past_them),
		cmocka_unit_test(find_takes_the_first_top_level_member),
		cmocka_unit_test(escapes_are_decoded),
		cmocka_unit_test(lone_surrogates_become_replacement_characters),
		cmocka_unit_test(a_bad_escape_appends_nothing),
		cmocka_unit_test(numbers_are_read_when_they_fit),
	};

	return cmocka_run_group_tests(tests, make_guard, NULL);
}
