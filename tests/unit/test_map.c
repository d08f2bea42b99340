/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "userspace/base/map.h"

static void put_then_get_then_delete(void **state)
{
	_cleanup_(tl_map_freep) struct tl_map *map = tl_map_new(8, 4, 100);
	uint64_t key = 5, other = 6;
	bool is_new = false;
	uint32_t *value;

	(void)state;
	assert_null(tl_map_get(map, &key));
	value = tl_map_put(map, &key, &is_new);
	assert_true(is_new);
	assert_int_equal(*value, 0);
	*value = 77;
	value = tl_map_put(map, &key, &is_new);
	assert_false(is_new);
	assert_int_equal(*value, 77);
	assert_int_equal(*(uint32_t *)tl_map_get(map, &key), 77);
	assert_false(tl_map_del(map, &other));
	assert_true(tl_map_del(map, &key));
	assert_null(tl_map_get(map, &key));
	assert_int_equal(tl_map_count(map), 0);
	value = tl_map_put(map, &key, NULL);
	assert_int_equal(*value, 0);
}

static void put_past_max_is_null_and_a_known_key_still_fits(void **state)
{
	_cleanup_(tl_map_freep) struct tl_map *map = tl_map_new(4, 0, 1000);

	(void)state;
	for (uint32_t i = 0; i < 1000; i++)
		assert_non_null(tl_map_put(map, &i, NULL));
	for (uint32_t i = 1000; i < 1100; i++)
		assert_null(tl_map_put(map, &i, NULL));
	assert_non_null(tl_map_put(map, &(uint32_t){7}, NULL));
	assert_true(tl_map_del(map, &(uint32_t){7}));
	assert_non_null(tl_map_put(map, &(uint32_t){1000}, NULL));
	assert_int_equal(tl_map_count(map), 1000);
}

/* A million random steps of put, delete and get beside a plain array that knows the truth. */
static void random_steps_agree_with_an_array(void **state)
{
	enum { KEYS = 3000 };
	_cleanup_(tl_map_freep) struct tl_map *map = tl_map_new(12, 8, KEYS);
	static uint64_t truth[KEYS];
	size_t count = 0;
	uint64_t random = 88172645463325252ull;

	(void)state;
	for (uint64_t step = 1; step <= 1000000; step++) {
		char key[12] = {0};
		uint32_t k;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		k = (uint32_t)(random % KEYS);
		memcpy(key + 4, &k, sizeof(k));
		/* Waves of more puts, then more deletes, so that the table fills and empties. */
		if ((random >> 32) % 100 < (step / 50000 % 2 ? 30u : 60u)) {
			bool is_new;
			uint64_t *value = tl_map_put(map, key, &is_new);

			assert_int_equal(*value, truth[k]);
			assert_int_equal(is_new, truth[k] == 0);
			count += is_new;
			truth[k] = *value = step;
		} else if (random >> 63) {
			assert_int_equal(tl_map_del(map, key), truth[k] != 0);
			count -= truth[k] != 0;
			truth[k] = 0;
		} else {
			uint64_t *value = tl_map_get(map, key);

			assert_int_equal(value ? *value : 0, truth[k]);
		}
		assert_int_equal(tl_map_count(map), count);
	}
}

static void next_walks_each_entry_once(void **state)
{
	_cleanup_(tl_map_freep) struct tl_map *map = tl_map_new(4, 4, 500);
	unsigned char seen[500] = {0};
	const void *key;
	size_t iter = 0, n = 0;
	void *value;

	(void)state;
	for (uint32_t i = 0; i < 500; i++)
		*(uint32_t *)tl_map_put(map, &i, NULL) = i * 3;
	while (tl_map_next(map, &iter, &key, &value)) {
		uint32_t k = *(const uint32_t *)key;

		assert_int_equal(*(uint32_t *)value, k * 3);
		assert_int_equal(seen[k]++, 0);
		n++;
	}
	assert_int_equal(n, 500);
	assert_false(tl_map_next(map, &iter, &key, &value));
}

/* Flipping any one bit of a key of any length flips about half of the hash. */
static void one_bit_of_the_key_changes_half_of_the_hash(void **state)
{
	unsigned char key[80];

	(void)state;
	for (size_t len = 1; len <= sizeof(key); len++) {
		unsigned flipped = 0, tried = 0;

		for (unsigned round = 0; round < 16; round++) {
			for (size_t i = 0; i < len; i++)
				key[i] = (unsigned char)(i * 37 + round * 101);
			for (size_t bit = 0; bit < len * 8; bit++) {
				uint64_t before = tl_hash(key, len), after;

				key[bit / 8] ^= (unsigned char)(1 << bit % 8);
				after = tl_hash(key, len);
				assert_true(before != after);
				flipped += (unsigned)__builtin_popcountll(before ^ after);
				tried += 64;
				key[bit / 8] ^= (unsigned char)(1 << bit % 8);
			}
		}
		assert_in_range(flipped * 100 / tried, 45, 55);
	}
}

static void lengths_of_zeros_hash_differently(void **state)
{
	static const unsigned char zeros[100];

	(void)state;
	for (size_t a = 0; a < sizeof(zeros); a++)
		for (size_t b = a + 1; b < sizeof(zeros); b++)
			assert_true(tl_hash(zeros, a) != tl_hash(zeros, b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(put_then_get_then_delete),
		cmocka_unit_test(put_past_max_is_null_and_a_known_key_still_fits),
		cmocka_unit_test(random_steps_agree_with_an_array),
		cmocka_unit_test(next_walks_each_entry_once),
		cmocka_unit_test(one_bit_of_the_key_changes_half_of_the_hash),
		cmocka_unit_test(lengths_of_zeros_hash_differently),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
