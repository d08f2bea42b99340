/* SPDX-License-Identifier: Apache-2.0 */
/* Where g is. Every call from assembly into compiled code loads g into R14 (the internal ABI,
 * Go 1.17 and newer), so a binary says it hundreds of times, stripped or not, in one of two forms
 * that no C compiler writes for this register in this way:
 *
 *   64 4c 8b 34 25 OFFSET            mov %fs:OFFSET, %r14
 *   49 c7 c6 OFFSET  64 4d 8b 36     mov $OFFSET, %r14; mov %fs:(%r14), %r14     (PIE, after the
 * linker's relaxation) 4c 8b 35 DISPLACEMENT 64 4d 8b 36 the same through a GOT slot, whose
 * relocation or content says it
 *
 * All of them must agree. Where the symbol runtime.tlsg and a TLS segment are there, they must
 * agree as well. */
#include "agent/runtimes/go.h"

#include <string.h>

#define BLOCK ((size_t)1 << 20)
#define OVERLAP 16 /* longest form */
#define TEXT_MAX ((uint64_t)1 << 30)
#define ENOUGH 256 /* loads that agree */
#define AT_LEAST 3
#define SYMBOLS_MAX (8u << 20)

struct votes {
	int32_t offset;
	unsigned n;
	bool split; /* they do not agree */
};

static void vote(struct votes *votes, int32_t offset)
{
	if (votes->n && votes->offset != offset)
		votes->split = true;
	votes->offset = offset;
	votes->n++;
}

static int32_t load32(const unsigned char *p)
{
	int32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* The addend of the TPOFF64 relocation of a GOT slot. */
static bool slot_relocation(const struct tl_elf *elf, uint64_t slot, int64_t *ret_addend)
{
	const Elf64_Shdr *section = tl_elf_section(elf, ".rela.dyn");
	uint64_t n = section ? section->sh_size / sizeof(Elf64_Rela) : 0;
	Elf64_Rela batch[256];

	for (uint64_t i = 0; i < n && i < SYMBOLS_MAX; i += 256) {
		uint64_t m = n - i < 256 ? n - i : 256;

		if (!tl_elf_read(elf, section->sh_offset + i * sizeof(batch[0]), batch,
				 m * sizeof(batch[0])))
			return false;
		for (uint64_t k = 0; k < m; k++) {
			if (batch[k].r_offset != slot ||
			    ELF64_R_TYPE(batch[k].r_info) != R_X86_64_TPOFF64)
				continue;
			*ret_addend = batch[k].r_addend;
			return true;
		}
	}
	return false;
}

static void vote_slot(const struct tl_elf *elf, uint64_t slot, struct votes *votes)
{
	uint64_t file_at;
	int64_t value;
	int32_t offset;

	if (slot_relocation(elf, slot, &value)) {
		if (value >= 0 && tl_elf_tls_relative(elf, (uint64_t)value, &offset))
			vote(votes, offset);
		return;
	}
	if (tl_elf_offset(elf, slot, &file_at) &&
	    tl_elf_read(elf, file_at, &value, sizeof(value)) && value < 0 && value > -(1 << 24))
		vote(votes, (int32_t)value);
}

static void scan_block(const struct tl_elf *elf, const unsigned char *p, size_t len,
		       uint64_t address, struct votes *votes)
{
	static const unsigned char direct[] = {0x64, 0x4c, 0x8b, 0x34, 0x25},
				   immediate[] = {0x49, 0xc7, 0xc6}, slot[] = {0x4c, 0x8b, 0x35},
				   indirect[] = {0x64, 0x4d, 0x8b, 0x36};

	for (size_t i = 0; i + OVERLAP <= len && votes->n < ENOUGH; i++) {
		if (memcmp(p + i, direct, sizeof(direct)) == 0)
			vote(votes, load32(p + i + 5));
		else if (memcmp(p + i + 7, indirect, sizeof(indirect)) != 0)
			continue;
		else if (memcmp(p + i, immediate, sizeof(immediate)) == 0)
			vote(votes, load32(p + i + 3));
		else if (memcmp(p + i, slot, sizeof(slot)) == 0)
			vote_slot(elf, address + i + 7 + (uint64_t)(int64_t)load32(p + i + 3),
				  votes);
	}
}

static void scan_segment(const struct tl_elf *elf, const Elf64_Phdr *segment, unsigned char *block,
			 struct votes *votes)
{
	uint64_t end = segment->p_filesz < TEXT_MAX ? segment->p_filesz : TEXT_MAX;

	for (uint64_t at = 0; at < end && votes->n < ENOUGH; at += BLOCK - OVERLAP) {
		size_t len = end - at < BLOCK ? (size_t)(end - at) : BLOCK;

		if (!tl_elf_read(elf, segment->p_offset + at, block, len))
			return;
		scan_block(elf, block, len, segment->p_vaddr + at, votes);
	}
}

/* runtime.tlsg as the symbol table has it. */
static bool symbol_offset(const struct tl_elf *elf, int32_t *ret)
{
	const Elf64_Shdr *symbols = tl_elf_section(elf, ".symtab"),
			 *names = tl_elf_section(elf, ".strtab");
	uint64_t n = symbols && names ? symbols->sh_size / sizeof(Elf64_Sym) : 0;
	static const char wanted[] = "runtime.tlsg";
	char name[sizeof(wanted)];
	Elf64_Sym batch[256];

	for (uint64_t i = 0; i < n && i < SYMBOLS_MAX; i += 256) {
		uint64_t m = n - i < 256 ? n - i : 256;

		if (!tl_elf_read(elf, symbols->sh_offset + i * sizeof(batch[0]), batch,
				 m * sizeof(batch[0])))
			return false;
		for (uint64_t k = 0; k < m; k++) {
			if (ELF64_ST_TYPE(batch[k].st_info) != STT_TLS ||
			    batch[k].st_name >= names->sh_size)
				continue;
			if (tl_elf_read(elf, names->sh_offset + batch[k].st_name, name,
					sizeof(name)) &&
			    memcmp(name, wanted, sizeof(wanted)) == 0)
				return tl_elf_tls_relative(elf, batch[k].st_value, ret);
		}
	}
	return false;
}

bool tl_go_tls(const struct tl_elf *elf, int32_t *ret_offset, const char **ret_why)
{
	_cleanup_(freep) unsigned char *block = malloc(BLOCK);
	struct votes votes = {.n = 0};
	int32_t symbol;

	*ret_why = "its code does not tell where a thread keeps its goroutine";
	for (unsigned i = 0; block && i < elf->n_segments; i++)
		if (elf->segments[i].p_type == PT_LOAD && (elf->segments[i].p_flags & PF_X))
			scan_segment(elf, &elf->segments[i], block, &votes);
	if (votes.n < AT_LEAST)
		return false;
	*ret_why = "its code and symbols do not agree where a thread keeps its goroutine";
	if (votes.split || (symbol_offset(elf, &symbol) && symbol != votes.offset))
		return false;
	*ret_offset = votes.offset;
	return true;
}
