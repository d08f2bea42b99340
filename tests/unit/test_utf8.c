/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "userspace/base/json.h"
#include "userspace/base/utf8.h"

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

/* All sequences of up to 3 bytes and the interesting ones of 4, against the definition by decoding.
 */
static bool reference_utf8(const unsigned char *p, size_t len)
{
	while (len) {
		size_t n = *p < 0x80	   ? 1
			   : *p >> 5 == 6  ? 2
			   : *p >> 4 == 14 ? 3
			   : *p >> 3 == 30 ? 4
					   : 0;
		static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
		uint32_t code;

		if (n == 0 || n > len)
			return false;
		code = n == 1 ? *p : *p & (0x7fu >> n);
		for (size_t i = 1; i < n; i++) {
			if (p[i] >> 6 != 2)
				return false;
			code = code << 6 | (p[i] & 0x3f);
		}
		if (code < least[n] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
			return false;
		p += n;
		len -= n;
	}
	return true;
}

static void utf8_is_judged_as_its_definition_says(void **state)
{
	static const unsigned char edge[] = {0,	   'a',	 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
					     0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
					     0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff};
	enum { N = sizeof(edge) };

	(void)state;
	for (unsigned i = 0; i < N * N * N * N; i++) {
		const unsigned char bytes[] = {edge[i % N], edge[i / N % N], edge[i / N / N % N],
					       edge[i / N / N / N]};

		for (size_t len = 0; len <= 4; len++) {
			struct tl_span span = guarded_bytes((const char *)bytes, len);

			assert_int_equal(tl_utf8_valid(span), reference_utf8(bytes, len));
		}
	}
}

static void one_bad_byte_is_found_at_every_place(void **state)
{
	(void)state;
	for (size_t len = 1; len < 100; len++) {
		char text[100];

		memset(text, 'a', len);
		assert_true(tl_utf8_valid(guarded_bytes(text, len)));
		for (size_t at = 0; at < len; at++) {
			text[at] = (char)0xc3;
			assert_false(tl_utf8_valid(guarded_bytes(text, len)));
			text[at] = 'a';
		}
	}
	assert_true(tl_utf8_valid((struct tl_span){NULL, 0}));
}

static void encode_writes_what_sequence_reads(void **state)
{
	static const struct {
		unsigned code;
		const char *bytes;
	} cases[] = {
		{'A', "A"},
		{0x7ff, "\xdf\xbf"},
		{0x800, "\xe0\xa0\x80"},
		{0xffff, "\xef\xbf\xbf"},
		{0x10000, "\xf0\x90\x80\x80"},
		{0x10ffff, "\xf4\x8f\xbf\xbf"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char out[4];
		size_t len = tl_utf8_encode(cases[i].code, out);

		assert_int_equal(len, strlen(cases[i].bytes));
		assert_memory_equal(out, cases[i].bytes, len);
		assert_int_equal(tl_utf8_sequence(out, out + len), len);
		assert_int_equal(tl_utf8_sequence(out, out + len - 1), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(utf8_is_judged_as_its_definition_says),
		cmocka_unit_test(one_bad_byte_is_found_at_every_place),
		cmocka_unit_test(encode_writes_what_sequence_reads),
	};

	return cmocka_run_group_tests(tests, make_guard, NULL);
}
