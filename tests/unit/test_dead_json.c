/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters as lines of JSON, in a file that does not grow without end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "userspace/base/fs.h"
#include "userspace/base/json.h"
#include "userspace/sink/dead_json.h"

static const struct tl_message letter = {
	.topic = TL_TOPIC_DLQ,
	.key = {"k\"1", 3},
	.value = {"{\"a\":1}", 7},
	.headers = {{{"tapline-reason", 14}, {"bad: because", 12}},
		    {{"traceparent", 11}, {"00-", 3}},
		    {{"tapline-offset", 14}, {"17", 2}}},
	.n_headers = 3,
};

static void assert_text(struct tl_span line, const char *key, const char *expected)
{
	struct tl_json_value value;
	struct tl_buf text = {0};

	assert_int_equal(tl_json_find(line, key, &value), 1);
	assert_int_equal(tl_json_unescape(value.raw, &text), 0);
	assert_int_equal(text.len, strlen(expected));
	assert_memory_equal(text.data, expected, text.len);
	tl_buf_done(&text);
}

static void a_letter_tells_reason_place_and_bytes(void **state)
{
	struct tl_buf line = {0};
	struct tl_json_value value;

	(void)state;
	assert_int_equal(tl_dead_json(&letter, &line), 0);
	assert_int_equal(line.data[line.len - 1], '\n');
	assert_text(tl_buf_span(&line), "reason", "bad: because");
	assert_text(tl_buf_span(&line), "offset", "17");
	assert_text(tl_buf_span(&line), "key", "k\"1");
	assert_text(tl_buf_span(&line), "value", "{\"a\":1}");
	assert_int_equal(tl_json_find(tl_buf_span(&line), "traceparent", &value), 0);
	tl_buf_done(&line);
}

static void bytes_that_are_no_text_are_base64(void **state)
{
	struct tl_message binary = letter;
	struct tl_buf line = {0};

	(void)state;
	binary.value = TL_SPAN_LIT("\xff\xfe\x41");
	assert_int_equal(tl_dead_json(&binary, &line), 0);
	assert_text(tl_buf_span(&line), "value_base64", "//5B");
	tl_buf_done(&line);
}

static size_t size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? 0 : (size_t)st.st_size;
}

static void the_file_keeps_the_newest_letters_within_twice_its_maximum(void **state)
{
	char dir[] = "/tmp/tapline-dead.XXXXXX", path[64], older[64];
	struct tl_dead_file *file;
	struct tl_error error = {0};

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/dead.ndjson", dir);
	snprintf(older, sizeof(older), "%s/dead.ndjson.1", dir);
	assert_int_equal(tl_dead_file_new(path, 1000, &file), 0);
	assert_int_equal(size_of(path), 0);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(tl_dead_file_add(file, &letter, &error), 0);
		assert_in_range(size_of(path), 1, 1000);
		assert_in_range(size_of(older), 0, 1000);
	}
	assert_true(size_of(older) > 800);
	tl_dead_file_free(file);
	(void)tl_remove_tree(dir);
}

static void a_folder_that_is_gone_is_told(void **state)
{
	struct tl_dead_file *file;
	struct tl_error error = {0};

	(void)state;
	assert_int_equal(tl_dead_file_new("/no/such/folder/dead.ndjson", 1000, &file), 0);
	assert_int_equal(tl_dead_file_add(file, &letter, &error), -ENOENT);
	assert_non_null(strstr(error.message, "/no/such/folder"));
	tl_dead_file_free(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_letter_tells_reason_place_and_bytes),
		cmocka_unit_test(bytes_that_are_no_text_are_base64),
		cmocka_unit_test(the_file_keeps_the_newest_letters_within_twice_its_maximum),
		cmocka_unit_test(a_folder_that_is_gone_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
