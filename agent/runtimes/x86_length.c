/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/runtimes/x86_length.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum {
	M = 1,	    /* ModRM */
	I8 = 2,	    /* immediate of 1 byte */
	IZ = 4,	    /* ... of 4 bytes, of 2 with the operand size prefix */
	I16 = 8,    /* ... of 2 */
	BAD = 0x80, /* not in 64-bit mode, or not known here */
};

/* Opcodes of one byte. Prefixes and escapes are dealt with before. */
static const uint8_t one_byte[256] = {
	/* 00 */ M,
	M,
	M,
	M,
	I8,
	IZ,
	BAD,
	BAD,
	M,
	M,
	M,
	M,
	I8,
	IZ,
	BAD,
	BAD,
	/* 10 */ M,
	M,
	M,
	M,
	I8,
	IZ,
	BAD,
	BAD,
	M,
	M,
	M,
	M,
	I8,
	IZ,
	BAD,
	BAD,
	/* 20 */ M,
	M,
	M,
	M,
	I8,
	IZ,
	BAD,
	BAD,
	M,
	M,
	M,
	M,
	I8,
	IZ,
	BAD,
	BAD,
	/* 30 */ M,
	M,
	M,
	M,
	I8,
	IZ,
	BAD,
	BAD,
	M,
	M,
	M,
	M,
	I8,
	IZ,
	BAD,
	BAD,
	/* 40 */ BAD,
	BAD,
	BAD,
	BAD,
	BAD,
	BAD,
	BAD,
	BAD,
	BAD,
	BAD,
	BAD,
	BAD,
	BAD,
	BAD,
	BAD,
	BAD,
	/* 50 */ 0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	/* 60 */ BAD,
	BAD,
	BAD,
	M,
	BAD,
	BAD,
	BAD,
	BAD,
	IZ,
	M | IZ,
	I8,
	M | I8,
	0,
	0,
	0,
	0,
	/* 70 */ I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	/* 80 */ M | I8,
	M | IZ,
	BAD,
	M | I8,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	BAD,
	/* 90 */ 0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	BAD,
	0,
	0,
	0,
	0,
	0,
	/* a0 */ BAD,
	BAD,
	BAD,
	BAD,
	0,
	0,
	0,
	0,
	I8,
	IZ,
	0,
	0,
	0,
	0,
	0,
	0,
	/* b0 */ I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	/* c0 */ M | I8,
	M | I8,
	I16,
	0,
	BAD,
	BAD,
	M | I8,
	M | IZ,
	I16 | I8,
	0,
	I16,
	0,
	0,
	I8,
	BAD,
	0,
	/* d0 */ M,
	M,
	M,
	M,
	BAD,
	BAD,
	BAD,
	0,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	/* e0 */ I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	IZ,
	IZ,
	BAD,
	I8,
	0,
	0,
	0,
	0,
	/* f0 */ BAD,
	0,
	BAD,
	BAD,
	0,
	0,
	M,
	M,
	0,
	0,
	0,
	0,
	0,
	0,
	M,
	M,
};

/* Opcodes behind 0F. */
static const uint8_t two_bytes[256] = {
	/* 00 */ M,
	M,
	M,
	M,
	BAD,
	0,
	0,
	0,
	0,
	0,
	BAD,
	0,
	BAD,
	M,
	0,
	BAD,
	/* 10 */ M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	/* 20 */ M,
	M,
	M,
	M,
	BAD,
	BAD,
	BAD,
	BAD,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	/* 30 */ 0,
	0,
	0,
	0,
	0,
	0,
	BAD,
	0,
	BAD,
	BAD,
	BAD,
	BAD,
	BAD,
	BAD,
	BAD,
	BAD,
	/* 40 */ M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	/* 50 */ M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	/* 60 */ M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	/* 70 */ M | I8,
	M | I8,
	M | I8,
	M | I8,
	M,
	M,
	M,
	0,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	/* 80 */ IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	/* 90 */ M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	/* a0 */ 0,
	0,
	0,
	M,
	M | I8,
	M,
	BAD,
	BAD,
	0,
	0,
	0,
	M,
	M | I8,
	M,
	M,
	M,
	/* b0 */ M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M | I8,
	M,
	M,
	M,
	M,
	M,
	/* c0 */ M,
	M,
	M | I8,
	M,
	M | I8,
	M | I8,
	M | I8,
	M,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	/* d0 */ M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	/* e0 */ M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	/* f0 */ M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
};

struct decoder {
	const unsigned char *code;
	size_t n, at;
	bool small; /* operand size prefix */
	bool wide;  /* REX.W */
};

/* The next byte, or -1 at the end. */
static int next(struct decoder *d)
{
	return d->at < d->n ? d->code[d->at++] : -1;
}

static void read_prefixes(struct decoder *d)
{
	for (; d->at < d->n; d->at++) {
		unsigned char c = d->code[d->at];

		if (c == 0x66)
			d->small = true;
		else if (c != 0x26 && c != 0x2e && c != 0x36 && c != 0x3e && c != 0x64 &&
			 c != 0x65 && c != 0x67 && c != 0xf0 && c != 0xf2 && c != 0xf3)
			break;
	}
	if (d->at < d->n && (d->code[d->at] & 0xf0) == 0x40)
		d->wide = d->code[d->at++] & 8;
}

/* ModRM, SIB and displacement. Returns the reg field, -1 at the end. */
static int skip_modrm(struct decoder *d)
{
	int modrm = next(d), mod = modrm >> 6, rm = modrm & 7, sib;

	if (modrm < 0)
		return -1;
	if (mod == 3)
		return modrm >> 3 & 7;
	if (rm == 4) {
		sib = next(d);
		if (sib < 0)
			return -1;
		if (mod == 0 && (sib & 7) == 5)
			d->at += 4;
	} else if (mod == 0 && rm == 5) {
		d->at += 4;
	}
	d->at += mod == 1 ? 1 : mod == 2 ? 4 : 0;
	return modrm >> 3 & 7;
}

/* Everything behind an opcode of that form. */
static bool skip_rest(struct decoder *d, uint8_t form)
{
	if (form == BAD)
		return false;
	if ((form & M) && skip_modrm(d) < 0)
		return false;
	if (form & I8)
		d->at += 1;
	if (form & I16)
		d->at += 2;
	if (form & IZ)
		d->at += d->small && !d->wide ? 2 : 4;
	return true;
}

/* An opcode of map 1 (0F), 2 (0F 38) or 3 (0F 3A). */
static bool skip_mapped(struct decoder *d, int map, bool vector)
{
	int opcode = next(d);

	if (opcode < 0)
		return false;
	if (map == 2)
		return skip_rest(d, M);
	if (map == 3)
		return skip_rest(d, M | I8);
	if (map != 1)
		return false;
	/* The system's instructions and jumps have no vector form. */
	if (vector && (opcode < 0x10 || (opcode >= 0x80 && opcode < 0x90)))
		return false;
	return skip_rest(d, two_bytes[opcode]);
}

static bool skip_escaped(struct decoder *d)
{
	int c = next(d);

	if (c == 0x38)
		return skip_mapped(d, 2, false);
	if (c == 0x3a)
		return skip_mapped(d, 3, false);
	if (c < 0)
		return false;
	d->at--;
	/* With the operand size prefix, processors disagree about the length of jumps. */
	if (c >= 0x80 && c < 0x90 && d->small)
		return false;
	return skip_mapped(d, 1, false);
}

/* VEX (C4, C5) and EVEX (62): no other prefix gives operands another size then. */
static bool skip_vector(struct decoder *d, int escape)
{
	int map = 1, c = next(d);

	if (c < 0)
		return false;
	if (escape == 0xc4)
		map = c & 0x1f;
	if (escape == 0x62)
		map = c & 7;
	d->at += escape == 0xc4 ? 1 : escape == 0x62 ? 2 : 0;
	return skip_mapped(d, map, true);
}

static bool skip_one_byte(struct decoder *d, int opcode)
{
	int reg;

	if (opcode >= 0xb8 && opcode <= 0xbf && d->wide) {
		d->at += 8;
		return true;
	}
	if (opcode >= 0xe8 && opcode <= 0xe9 && d->small)
		return false;
	if (opcode == 0xf6 || opcode == 0xf7) {
		reg = skip_modrm(d);
		if (reg < 0)
			return false;
		return reg > 1 || skip_rest(d, opcode == 0xf6 ? I8 : IZ);
	}
	return skip_rest(d, one_byte[opcode]);
}

size_t tl_x86_length(const unsigned char *code, size_t n)
{
	struct decoder d = {.code = code, .n = n < 15 ? n : 15};
	int opcode;
	bool good;

	read_prefixes(&d);
	opcode = next(&d);
	if (opcode < 0)
		return 0;
	if (opcode == 0x0f)
		good = skip_escaped(&d);
	else if (opcode == 0xc4 || opcode == 0xc5 || opcode == 0x62)
		good = skip_vector(&d, opcode);
	else
		good = skip_one_byte(&d, opcode);
	return good && d.at <= d.n ? d.at : 0;
}

int tl_x86_returns(const unsigned char *code, size_t n, uint32_t *ret, size_t max)
{
	size_t found = 0, length;

	for (size_t at = 0; at < n; at += length) {
		length = tl_x86_length(code + at, n - at);
		if (!length)
			return -ENOTSUP;
		if (code[at] != 0xc3)
			continue;
		if (found == max)
			return -E2BIG;
		ret[found++] = (uint32_t)at;
	}
	return (int)found;
}

int tl_x86_calls(const unsigned char *code, size_t n, uint64_t address, const uint64_t *targets,
		 size_t n_targets, uint32_t *ret_at, uint32_t *ret_target, size_t max)
{
	size_t found = 0, length;
	int32_t distance;

	for (size_t at = 0; at < n; at += length) {
		length = tl_x86_length(code + at, n - at);
		if (!length)
			return -ENOTSUP;
		if (code[at] != 0xe8)
			continue;
		memcpy(&distance, code + at + 1, sizeof(distance));
		for (size_t i = 0; i < n_targets; i++) {
			if (address + at + length + (uint64_t)(int64_t)distance != targets[i])
				continue;
			if (found == max)
				return -E2BIG;
			ret_at[found] = (uint32_t)at;
			ret_target[found++] = (uint32_t)i;
		}
	}
	return (int)found;
}
