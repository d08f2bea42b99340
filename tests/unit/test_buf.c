/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "userspace/base/buf.h"

static void appends_follow_each_other(void **state)
{
	struct tl_buf buf = {0};

	(void)state;
	tl_buf_puts(&buf, "ab");
	tl_buf_putc(&buf, 'c');
	tl_buf_add(&buf, "d\0e", 3);
	tl_buf_printf(&buf, "%d-%s", 42, "x");
	assert_false(buf.failed);
	assert_int_equal(buf.len, 10);
	assert_memory_equal(buf.data, "abcd\0e42-x", 10);
	tl_buf_done(&buf);
	assert_null(buf.data);
	assert_int_equal(buf.cap, 0);
}

static void append_of_nothing_needs_no_memory(void **state)
{
	struct tl_buf buf = {0};

	(void)state;
	assert_int_equal(tl_buf_add(&buf, NULL, 0), 0);
	assert_null(buf.data);
}

static void append_past_max_is_enobufs_and_appends_nothing(void **state)
{
	struct tl_buf buf = {.max = 5};

	(void)state;
	assert_int_equal(tl_buf_add(&buf, "abcde", 5), 0);
	assert_int_equal(tl_buf_putc(&buf, 'f'), -ENOBUFS);
	assert_int_equal(tl_buf_reserve(&buf, SIZE_MAX), -ENOBUFS);
	assert_int_equal(buf.len, 5);
	assert_true(buf.cap <= 5);
	tl_buf_done(&buf);
}

static void failed_sticks_until_clear(void **state)
{
	struct tl_buf buf = {.max = 3};

	(void)state;
	tl_buf_puts(&buf, "long");
	tl_buf_puts(&buf, "ok");
	assert_true(buf.failed);
	tl_buf_clear(&buf);
	assert_false(buf.failed);
	assert_int_equal(buf.len, 0);
	assert_int_equal(tl_buf_puts(&buf, "ok"), 0);
	tl_buf_done(&buf);
}

static void printf_fills_a_buffer_exactly_to_its_max(void **state)
{
	(void)state;
	for (size_t max = 1; max < 300; max++) {
		struct tl_buf buf = {.max = max};

		assert_int_equal(tl_buf_printf(&buf, "%0*d", (int)max, 7), 0);
		assert_false(buf.failed);
		assert_int_equal(buf.len, max);
		assert_int_equal(buf.data[max - 1], '7');
		assert_true(buf.cap <= max);
		assert_int_equal(tl_buf_printf(&buf, "%d", 1), -ENOBUFS);
		assert_int_equal(buf.len, max);
		tl_buf_done(&buf);
	}
}

static void growth_is_amortised(void **state)
{
	struct tl_buf buf = {0};
	size_t growths = 0, cap = 0;

	(void)state;
	for (int i = 0; i < 1000000; i++) {
		tl_buf_putc(&buf, (char)i);
		growths += buf.cap != cap;
		cap = buf.cap;
	}
	assert_true(growths < 20);
	assert_int_equal(buf.len, 1000000);
	tl_buf_done(&buf);
}

static void consume_removes_the_beginning(void **state)
{
	struct tl_buf buf = {0};

	(void)state;
	tl_buf_puts(&buf, "abcdef");
	tl_buf_consume(&buf, 0);
	tl_buf_consume(&buf, 2);
	assert_true(tl_span_is(tl_buf_span(&buf), "cdef"));
	tl_buf_consume(&buf, 4);
	assert_int_equal(buf.len, 0);
	tl_buf_done(&buf);
}

static void spans_compare_bytes_and_ignore_ascii_case_on_request(void **state)
{
	struct tl_span span = TL_SPAN_LIT("X-Request-Id");

	(void)state;
	assert_true(tl_span_ieq(span, "x-request-ID"));
	assert_false(tl_span_ieq(span, "x-request-i"));
	assert_false(tl_span_ieq(span, "x-request-idx"));
	assert_false(tl_span_ieq(TL_SPAN_LIT("@["), "`{"));
	assert_true(tl_span_ieq((struct tl_span){NULL, 0}, ""));
	assert_false(tl_span_is(span, "x-request-id"));
	assert_true(tl_span_eq((struct tl_span){NULL, 0}, tl_span_str("")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(appends_follow_each_other),
		cmocka_unit_test(append_of_nothing_needs_no_memory),
		cmocka_unit_test(append_past_max_is_enobufs_and_appends_nothing),
		cmocka_unit_test(failed_sticks_until_clear),
		cmocka_unit_test(printf_fills_a_buffer_exactly_to_its_max),
		cmocka_unit_test(growth_is_amortised),
		cmocka_unit_test(consume_removes_the_beginning),
		cmocka_unit_test(spans_compare_bytes_and_ignore_ascii_case_on_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
