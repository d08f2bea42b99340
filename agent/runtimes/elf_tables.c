/* SPDX-License-Identifier: Apache-2.0 */
/* Symbols and relocations, read a whole table at a time, which may not be larger than TABLE_MAX. */
#include <string.h>

#include "agent/runtimes/elf_view.h"

#define TABLE_MAX ((uint64_t)64 << 20)

/* The content of a section; NULL when it has none, is too large or cannot be read. */
static void *read_table(const struct tl_elf *elf, const char *name, uint64_t *ret_size)
{
	const Elf64_Shdr *section = tl_elf_section(elf, name);
	_cleanup_(freep) char *table = NULL;

	if (!section || section->sh_type == SHT_NOBITS || !section->sh_size ||
	    section->sh_size > TABLE_MAX)
		return NULL;
	table = malloc(section->sh_size + 1);
	if (!table || !tl_elf_read(elf, section->sh_offset, table, section->sh_size))
		return NULL;
	table[section->sh_size] = '\0'; /* names end */
	*ret_size = section->sh_size;
	return TAKE_PTR(table);
}

static bool find_symbol(const struct tl_elf *elf, const char *table, const char *strings,
			const char *name, struct tl_elf_symbol *ret)
{
	uint64_t size = 0, names_size = 0;
	_cleanup_(freep) Elf64_Sym *symbols = read_table(elf, table, &size);
	_cleanup_(freep) char *names = symbols ? read_table(elf, strings, &names_size) : NULL;

	for (uint64_t i = 0; names && i < size / sizeof(*symbols); i++) {
		if (symbols[i].st_shndx == SHN_UNDEF || symbols[i].st_name >= names_size ||
		    strcmp(names + symbols[i].st_name, name) != 0)
			continue;
		*ret = (struct tl_elf_symbol){.address = symbols[i].st_value,
					      .size = symbols[i].st_size,
					      .type = ELF64_ST_TYPE(symbols[i].st_info)};
		return true;
	}
	return false;
}

bool tl_elf_symbol(const struct tl_elf *elf, const char *name, struct tl_elf_symbol *ret)
{
	return find_symbol(elf, ".dynsym", ".dynstr", name, ret) ||
	       find_symbol(elf, ".symtab", ".strtab", name, ret);
}

static int by_address(const void *a, const void *b)
{
	const struct tl_elf_relocation *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

bool tl_elf_relocations(const struct tl_elf *elf, struct tl_elf_relocation **ret, size_t *ret_n)
{
	uint64_t size = 0;
	_cleanup_(freep) Elf64_Rela *table = read_table(elf, ".rela.dyn", &size);
	size_t n = table ? size / sizeof(*table) : 0, kept = 0;
	_cleanup_(freep) struct tl_elf_relocation *all = calloc(n ? n : 1, sizeof(*all));

	if (!all)
		return false;
	for (size_t i = 0; i < n; i++)
		if (ELF64_R_TYPE(table[i].r_info) == R_X86_64_RELATIVE)
			all[kept++] = (struct tl_elf_relocation){table[i].r_offset,
								 (uint64_t)table[i].r_addend};
	qsort(all, kept, sizeof(*all), by_address);
	*ret = TAKE_PTR(all);
	*ret_n = kept;
	return true;
}

bool tl_elf_pointer(const struct tl_elf *elf, uint64_t address, uint64_t *ret)
{
	_cleanup_(freep) struct tl_elf_relocation *all = NULL;
	struct tl_elf_relocation key = {.address = address}, *found;
	uint64_t at;
	size_t n;

	if (!tl_elf_relocations(elf, &all, &n))
		return false;
	found = bsearch(&key, all, n, sizeof(*all), by_address);
	if (found) {
		*ret = found->value;
		return true;
	}
	return tl_elf_offset(elf, address, &at) && tl_elf_read(elf, at, ret, sizeof(*ret));
}
