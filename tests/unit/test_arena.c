/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "userspace/base/arena.h"

static void every_pointer_is_aligned_and_its_own(void **state)
{
	struct tl_arena arena = {0};
	char *p[500];

	(void)state;
	for (int i = 0; i < 500; i++) {
		p[i] = tl_arena_alloc(&arena, (size_t)i);
		assert_non_null(p[i]);
		assert_int_equal((uintptr_t)p[i] % 16, 0);
		memset(p[i], i & 0xff, (size_t)i);
	}
	for (int i = 0; i < 500; i++)
		for (int j = 0; j < i; j++)
			assert_int_equal((unsigned char)p[i][j], i & 0xff);
	tl_arena_done(&arena);
}

static void a_request_past_max_is_null_and_the_rest_still_usable(void **state)
{
	struct tl_arena arena = {.max = 1024};

	(void)state;
	assert_non_null(tl_arena_alloc(&arena, 1000));
	assert_null(tl_arena_alloc(&arena, 100));
	assert_non_null(tl_arena_alloc(&arena, 16));
	assert_null(tl_arena_alloc(&arena, 1));
	assert_null(tl_arena_alloc(&arena, SIZE_MAX));
	assert_null(tl_arena_alloc(&arena, SIZE_MAX - 15));
	tl_arena_reset(&arena);
	assert_non_null(tl_arena_alloc(&arena, 1024));
	tl_arena_done(&arena);
}

static void without_a_maximum_it_is_64_mib(void **state)
{
	struct tl_arena arena = {0};

	(void)state;
	assert_null(tl_arena_alloc(&arena, ((size_t)64 << 20) + 1));
	assert_non_null(tl_arena_alloc(&arena, (size_t)64 << 20));
	tl_arena_done(&arena);
}

static void reset_keeps_a_block_for_the_next_round(void **state)
{
	struct tl_arena arena = {0};
	struct tl_arena_block *kept;

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_non_null(tl_arena_alloc(&arena, 1000));
	assert_non_null(tl_arena_alloc(&arena, (size_t)8 << 20)); /* a giant is not kept */
	tl_arena_reset(&arena);
	kept = arena.blocks;
	assert_non_null(kept);
	assert_int_equal(arena.used, 0);
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 50; i++)
			assert_non_null(tl_arena_alloc(&arena, 1000));
		tl_arena_reset(&arena);
		assert_ptr_equal(arena.blocks, kept);
	}
	tl_arena_done(&arena);
	assert_null(arena.blocks);
}

static void a_copy_has_the_bytes_and_an_empty_one_is_not_null(void **state)
{
	struct tl_arena arena = {.max = 64};
	struct tl_span s = tl_arena_copy(&arena, TL_SPAN_LIT("a\0b")), empty;

	(void)state;
	assert_true(tl_span_eq(s, TL_SPAN_LIT("a\0b")));
	empty = tl_arena_copy(&arena, (struct tl_span){NULL, 0});
	assert_non_null(empty.data);
	assert_int_equal(empty.len, 0);
	s = tl_arena_copy(&arena, TL_SPAN_LIT("0123456789012345678901234567890123456789"));
	assert_null(s.data);
	assert_int_equal(s.len, 0);
	tl_arena_done(&arena);
}

static void printf_formats_or_has_no_room(void **state)
{
	struct tl_arena arena = {.max = 32};

	(void)state;
	assert_true(tl_span_is(tl_arena_printf(&arena, "%d-%s", 7, "x"), "7-x"));
	assert_null(tl_arena_printf(&arena, "%032d", 7).data);
	tl_arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_pointer_is_aligned_and_its_own),
		cmocka_unit_test(a_request_past_max_is_null_and_the_rest_still_usable),
		cmocka_unit_test(without_a_maximum_it_is_64_mib),
		cmocka_unit_test(reset_keeps_a_block_for_the_next_round),
		cmocka_unit_test(a_copy_has_the_bytes_and_an_empty_one_is_not_null),
		cmocka_unit_test(printf_formats_or_has_no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
