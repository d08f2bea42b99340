/* SPDX-License-Identifier: Apache-2.0 */
/* Lengths of instructions as compilers write them, checked against the disassembler's knowledge of
 * them (the encodings and lengths here are from objdump's listing of libc, libcrypto and gofmt). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "agent/runtimes/x86_length.h"
#include "userspace/base/cleanup.h"

#define I(text)                                                                                    \
	{                                                                                          \
		sizeof(text) - 1, text                                                             \
	}

static const struct {
	size_t len;
	const char *code;
} known[] = {
	I("\xc3"),				       /* ret */
	I("\xf3\xc3"),				       /* repz ret */
	I("\xc2\x08\x00"),			       /* ret $8 */
	I("\x49\x3b\x66\x10"),			       /* cmp 0x10(%r14),%rsp */
	I("\x4c\x8d\x64\x24\xe8"),		       /* lea -0x18(%rsp),%r12 */
	I("\x4c\x8d\xa4\x24\x70\xff\xff\xff"),	       /* lea -0x90(%rsp),%r12 */
	I("\x0f\x86\x8b\x01\x00\x00"),		       /* jbe */
	I("\x76\x10"),				       /* jbe, short */
	I("\x48\x8b\x05\x12\x34\x56\x00"),	       /* mov 0x563412(%rip),%rax */
	I("\x64\x48\x8b\x04\x25\xf8\xff\xff\xff"),     /* mov %fs:0xfffffffffffffff8,%rax */
	I("\x48\xb8\x01\x02\x03\x04\x05\x06\x07\x08"), /* movabs */
	I("\x66\xb8\x01\x02"),			       /* mov $0x201,%ax */
	I("\xb8\x01\x02\x03\x04"),		       /* mov $0x4030201,%eax */
	I("\xf6\x40\x10\x01"),			       /* testb $1,0x10(%rax) */
	I("\xf7\xd8"),				       /* neg %eax */
	I("\xf7\xc1\x00\x00\x01\x00"),		       /* test $0x10000,%ecx */
	I("\x66\x81\x78\x10\x34\x12"),		       /* cmpw $0x1234,0x10(%rax) */
	I("\xe8\x00\x00\x00\x00"),		       /* call */
	I("\xff\x25\x10\x20\x30\x00"),		       /* jmp *0x302010(%rip) */
	I("\x0f\x1f\x84\x00\x00\x00\x00\x00"),	       /* nopl 0(%rax,%rax,1) */
	I("\x66\x2e\x0f\x1f\x84\x00\x00\x00\x00\x00"), /* cs nopw */
	I("\x44\x0f\x11\x7c\x24\x20"),		       /* movups %xmm15,0x20(%rsp) */
	I("\x66\x0f\x3a\x0f\xc1\x08"),		       /* palignr $8,%xmm1,%xmm0 */
	I("\xf2\x48\x0f\x38\xf1\xc2"),		       /* crc32 %rdx,%rax */
	I("\xc5\xfe\x6f\x06"),			       /* vmovdqu (%rsi),%ymm0 */
	I("\xc4\xe2\x7d\x78\xc0"),		       /* vpbroadcastb %xmm0,%ymm0 */
	I("\xc4\xe3\x7d\x39\xc1\x01"),		       /* vextracti128 $1,%ymm0,%xmm1 */
	I("\x62\xf1\xfe\x48\x6f\x06"),		       /* vmovdqu64 (%rsi),%zmm0 */
	I("\xf0\x48\x0f\xb1\x0f"),		       /* lock cmpxchg %rcx,(%rdi) */
	I("\x0f\x05"),				       /* syscall */
	I("\x0f\x0b"),				       /* ud2 */
	I("\xcc"),				       /* int3, padding */
};

static void known_instructions_have_their_lengths(void **state)
{
	unsigned char code[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		memset(code, 0x90, sizeof(code));
		memcpy(code, known[i].code, known[i].len);
		if (tl_x86_length(code, sizeof(code)) != known[i].len)
			fail_msg("instruction %zu: %zu instead of %zu", i,
				 tl_x86_length(code, sizeof(code)), known[i].len);
		/* Cut short it has none. */
		for (size_t n = 0; n < known[i].len; n++)
			assert_true(tl_x86_length(code, n) <= n);
		if (known[i].code[0] != '\xf3')
			assert_int_equal(tl_x86_length(code, known[i].len - 1), 0);
	}
}

static void what_is_not_for_64_bits_is_unknown(void **state)
{
	static const char *const unknown[] = {"\x06", "\x9a",	  "\xea",     "\xd6",
					      "\x82", "\x0f\x04", "\x66\xe8", "\xa0"};
	unsigned char code[16];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		memset(code, 0, sizeof(code));
		memcpy(code, unknown[i], strlen(unknown[i]));
		assert_int_equal(tl_x86_length(code, sizeof(code)), 0);
	}
}

static void returns_are_found_and_not_in_other_instructions(void **state)
{
	/* push; mov $0xc3c3c3c3,%eax; pop; ret; xor; ret; int3 */
	static const unsigned char code[] = {0x55, 0xb8, 0xc3, 0xc3, 0xc3, 0xc3, 0x5d,
					     0xc3, 0x31, 0xc0, 0xc3, 0xcc, 0xcc};
	uint32_t at[2];

	(void)state;
	assert_int_equal(tl_x86_returns(code, sizeof(code), at, 2), 2);
	assert_int_equal(at[0], 7);
	assert_int_equal(at[1], 10);
	assert_int_equal(tl_x86_returns(code, sizeof(code), at, 1), -E2BIG);
	assert_int_equal(tl_x86_returns(code, 4, at, 2), -ENOTSUP); /* ends amid one */
}

static void calls_of_functions_are_found(void **state)
{
	/* at 0x1000: call 0x2000; mov $0xe8,%eax; call 0x3000; ret */
	static const unsigned char code[] = {0xe8, 0xfb, 0x0f, 0x00, 0x00, 0xb8, 0xe8, 0x00,
					     0x00, 0x00, 0xe8, 0xf1, 0x1f, 0x00, 0x00, 0xc3};
	static const uint64_t targets[] = {0x3000, 0x2000};
	uint32_t at[2], target[2];

	(void)state;
	assert_int_equal(tl_x86_calls(code, sizeof(code), 0x1000, targets, 2, at, target, 2), 2);
	assert_int_equal(at[0], 0);
	assert_int_equal(target[0], 1);
	assert_int_equal(at[1], 10);
	assert_int_equal(target[1], 0);
	assert_int_equal(tl_x86_calls(code, sizeof(code), 0x1000, targets, 2, at, target, 1),
			 -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_instructions_have_their_lengths),
		cmocka_unit_test(what_is_not_for_64_bits_is_unknown),
		cmocka_unit_test(returns_are_found_and_not_in_other_instructions),
		cmocka_unit_test(calls_of_functions_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
