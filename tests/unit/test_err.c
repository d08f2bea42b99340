/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "userspace/base/err.h"

static void set_returns_its_code_and_keeps_the_sentence(void **state)
{
	struct tl_error error = {0};

	(void)state;
	assert_int_equal(tl_error_set(&error, -ENOENT, "no %s here", "file"), -ENOENT);
	assert_int_equal(error.code, -ENOENT);
	assert_string_equal(error.message, "no file here");
}

static void set_without_an_error_returns_the_code(void **state)
{
	(void)state;
	assert_int_equal(tl_error_set(NULL, -EIO, "unseen"), -EIO);
}

static void set_may_quote_the_old_message(void **state)
{
	struct tl_error error = {0};

	(void)state;
	tl_error_set(&error, -EIO, "disk");
	tl_error_set(&error, -EPIPE, "broken after <%s>", error.message);
	assert_string_equal(error.message, "broken after <disk>");
}

static void newlines_become_spaces(void **state)
{
	struct tl_error error = {0};

	(void)state;
	tl_error_set(&error, -EIO, "a\nb\r");
	tl_error_wrap(&error, "c\nd");
	assert_string_equal(error.message, "c d: a b ");
}

static void wrap_puts_its_text_in_front(void **state)
{
	struct tl_error error = {0};

	(void)state;
	tl_error_set(&error, -EACCES, "cannot open x");
	assert_int_equal(tl_error_wrap(&error, "starting %d", 7), -EACCES);
	assert_string_equal(error.message, "starting 7: cannot open x");
}

static void long_messages_are_cut_at_the_size(void **state)
{
	struct tl_error error = {0};
	char text[2000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	tl_error_set(&error, -EIO, "%s", text);
	assert_int_equal(strlen(error.message), sizeof(error.message) - 1);
	tl_error_wrap(&error, "front");
	assert_int_equal(strlen(error.message), sizeof(error.message) - 1);
	assert_memory_equal(error.message, "front: xx", 9);
	tl_error_wrap(&error, "%s", text);
	assert_in_range(strlen(error.message), sizeof(error.message) - 3,
			sizeof(error.message) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_returns_its_code_and_keeps_the_sentence),
		cmocka_unit_test(set_without_an_error_returns_the_code),
		cmocka_unit_test(set_may_quote_the_old_message),
		cmocka_unit_test(newlines_become_spaces),
		cmocka_unit_test(wrap_puts_its_text_in_front),
		cmocka_unit_test(long_messages_are_cut_at_the_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
