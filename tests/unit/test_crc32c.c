/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "userspace/base/crc32c.h"

static void known_values_of_rfc_3720(void **state)
{
	unsigned char bytes[32];

	(void)state;
	assert_int_equal(tl_crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(tl_crc32c(0, "", 0), 0);
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(tl_crc32c(0, bytes, 32), 0x8a9136aa);
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(tl_crc32c(0, bytes, 32), 0x62a8ab43);
	for (int i = 0; i < 32; i++)
		bytes[i] = (unsigned char)i;
	assert_int_equal(tl_crc32c(0, bytes, 32), 0x46dd794e);
}

static uint32_t bit_by_bit(const unsigned char *p, size_t len)
{
	uint32_t crc = ~0u;

	for (; len; len--, p++) {
		crc ^= *p;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

static void every_length_and_alignment_agrees_with_the_definition(void **state)
{
	unsigned char bytes[128];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * i + 3);
	for (size_t at = 0; at < 16; at++)
		for (size_t len = 0; len + at < sizeof(bytes); len++)
			assert_int_equal(tl_crc32c(0, bytes + at, len),
					 bit_by_bit(bytes + at, len));
}

static void pieces_give_the_crc_of_the_whole(void **state)
{
	const char *text = "the quick brown fox jumps over the lazy dog";
	size_t len = strlen(text);

	(void)state;
	for (size_t cut = 0; cut <= len; cut++)
		assert_int_equal(tl_crc32c(tl_crc32c(0, text, cut), text + cut, len - cut),
				 tl_crc32c(0, text, len));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_values_of_rfc_3720),
		cmocka_unit_test(every_length_and_alignment_agrees_with_the_definition),
		cmocka_unit_test(pieces_give_the_crc_of_the_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
