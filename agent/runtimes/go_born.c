/* SPDX-License-Identifier: Apache-2.0 */
/* Where goroutines are born: the returns of runtime.newproc1, which hands the new g over. The
 * function is found by its symbol or, in stripped binaries, in the pc table, which Go keeps for its
 * own tracebacks (src/internal/abi/symtab.go, src/runtime/symtab.go; Go 1.18 and newer). That it is
 * a Go function is seen in its prologue, which compares the stack pointer with g's limit; where its
 * returns are, by decoding it whole. Any doubt: no probe. */
#include "agent/runtimes/go.h"

#include <string.h>
#include <sys/stat.h>

#include "agent/runtimes/x86_length.h"

#define NAME "runtime.newproc1"
#define BODY_MAX 16384
#define RETURNS_MAX 16
#define FUNCTIONS_MAX (4u << 20)

struct pc_header {
	uint32_t magic;
	uint8_t pad[2], quantum, pointer;
	uint64_t functions, files, text, names, units, file_table, pc_table, lines;
};

/* Where the code begins that entries count from: said in the header (with a relocation in
 * position-independent files), or left out (Go 1.26). */
static bool text_start(const struct tl_elf *elf, const Elf64_Shdr *table,
		       const struct pc_header *header, uint64_t *ret)
{
	const Elf64_Shdr *text = tl_elf_section(elf, ".text");
	uint64_t at = table->sh_addr + offsetof(struct pc_header, text);

	if (!tl_elf_pointer(elf, at, ret))
		*ret = header->text;
	if (*ret)
		return true;
	if (!text)
		return false;
	*ret = text->sh_addr;
	return true;
}

static bool has_name(const struct tl_elf *elf, uint64_t at)
{
	char name[sizeof(NAME)];

	return tl_elf_read(elf, at, name, sizeof(name)) && memcmp(name, NAME, sizeof(NAME)) == 0;
}

/* The table: pairs of (entry, offset of the description), both from `lines` and text on. */
static bool search_functions(const struct tl_elf *elf, uint64_t table,
			     const struct pc_header *header, uint32_t *ret_entry, uint32_t *ret_end)
{
	uint64_t lines = table + header->lines;
	uint32_t batch[2 * 512 + 1];

	for (uint64_t i = 0; i < header->functions; i += 512) {
		uint64_t n = header->functions - i < 512 ? header->functions - i : 512;

		/* One entry more: where the last one ends. */
		if (!tl_elf_read(elf, lines + 8 * i, batch, 8 * n + 4))
			return false;
		for (uint64_t k = 0; k < n; k++) {
			int32_t name;

			if (!tl_elf_read(elf, lines + batch[2 * k + 1] + 4, &name, sizeof(name)))
				return false;
			if (name <= 0 || !has_name(elf, table + header->names + (uint64_t)name))
				continue;
			*ret_entry = batch[2 * k];
			*ret_end = batch[2 * k + 2];
			return *ret_end > *ret_entry;
		}
	}
	return false;
}

static bool in_pc_table(const struct tl_elf *elf, struct tl_elf_symbol *ret)
{
	const Elf64_Shdr *table = tl_elf_section(elf, ".gopclntab");
	struct pc_header header;
	uint32_t entry, end;
	uint64_t text;

	/* Position-independent ones of older linkers. */
	if (!table)
		table = tl_elf_section(elf, ".data.rel.ro.gopclntab");
	if (!table || !tl_elf_read(elf, table->sh_offset, &header, sizeof(header)))
		return false;
	if ((header.magic != 0xfffffff0 && header.magic != 0xfffffff1) || header.quantum != 1 ||
	    header.pointer != 8 || header.functions > FUNCTIONS_MAX ||
	    header.names > table->sh_size || header.lines > table->sh_size)
		return false;
	if (!text_start(elf, table, &header, &text) ||
	    !search_functions(elf, table->sh_offset, &header, &entry, &end))
		return false;
	*ret = (struct tl_elf_symbol){.address = text + entry, .size = end - entry};
	return true;
}

/* cmp 0x10(%r14), some register: the stack check, within the first instructions. */
static bool is_go_function(const unsigned char *code, size_t n)
{
	for (size_t i = 0; i + 4 <= n && i < 20; i++)
		if ((code[i] == 0x49 || code[i] == 0x4d) && code[i + 1] == 0x3b &&
		    (code[i + 2] & 0xc7) == 0x46 && code[i + 3] == 0x10)
			return true;
	return false;
}

bool tl_go_born(const struct tl_elf *elf, struct tl_runtime_unit *unit)
{
	_cleanup_(freep) unsigned char *body = malloc(BODY_MAX);
	uint32_t returns[RETURNS_MAX];
	struct tl_elf_symbol function;
	struct stat st;
	uint64_t at;
	int n;

	if (!body || fstat(elf->fd, &st) < 0)
		return false;
	if ((!tl_elf_symbol(elf, NAME, &function) || !function.size) &&
	    !in_pc_table(elf, &function))
		return false;
	if (function.size > BODY_MAX || !tl_elf_offset(elf, function.address, &at) ||
	    !tl_elf_read(elf, at, body, function.size) || !is_go_function(body, function.size))
		return false;
	n = tl_x86_returns(body, function.size, returns, RETURNS_MAX);
	if (n <= 0)
		return false;
	for (int i = 0; i < n; i++)
		if (!tl_unit_probe(unit, elf, st.st_ino, function.address + returns[i],
				   TL_PROBE_GO_BORN))
			return false;
	return true;
}
