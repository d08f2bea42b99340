/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/runtimes/elf_view.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static bool in_file(const struct tl_elf *elf, uint64_t offset, uint64_t len)
{
	return offset <= elf->size && len <= elf->size - offset;
}

bool tl_elf_read(const struct tl_elf *elf, uint64_t offset, void *out, size_t len)
{
	char *at = out;

	if (!in_file(elf, offset, len))
		return false;
	while (len) {
		ssize_t n = pread(elf->fd, at, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return true;
}

static bool good_header(const Elf64_Ehdr *header)
{
	return memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 &&
	       header->e_ident[EI_CLASS] == ELFCLASS64 && header->e_ident[EI_DATA] == ELFDATA2LSB &&
	       header->e_machine == EM_X86_64 &&
	       (header->e_type == ET_EXEC || header->e_type == ET_DYN);
}

static void read_segments(struct tl_elf *elf)
{
	unsigned n = elf->header.e_phnum < TL_ELF_SEGMENTS ? elf->header.e_phnum : TL_ELF_SEGMENTS;

	if (elf->header.e_phentsize != sizeof(Elf64_Phdr))
		return;
	if (tl_elf_read(elf, elf->header.e_phoff, elf->segments, n * sizeof(Elf64_Phdr)))
		elf->n_segments = n;
}

static void read_sections(struct tl_elf *elf)
{
	unsigned n = elf->header.e_shnum < TL_ELF_SECTIONS ? elf->header.e_shnum : TL_ELF_SECTIONS;
	const Elf64_Shdr *names;
	uint64_t len;

	if (!n || elf->header.e_shentsize != sizeof(Elf64_Shdr) || elf->header.e_shstrndx >= n)
		return;
	if (!tl_elf_read(elf, elf->header.e_shoff, elf->sections, n * sizeof(Elf64_Shdr)))
		return;
	names = &elf->sections[elf->header.e_shstrndx];
	len = names->sh_size < sizeof(elf->names) - 1 ? names->sh_size : sizeof(elf->names) - 1;
	if (names->sh_type == SHT_NOBITS || !tl_elf_read(elf, names->sh_offset, elf->names, len))
		return;
	elf->names[len] = '\0';
	elf->n_sections = n;
}

int tl_elf_open(int fd, struct tl_elf *ret)
{
	struct stat st;

	memset(ret, 0, sizeof(*ret));
	ret->fd = fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	ret->size = st.st_size > 0 ? (uint64_t)st.st_size : 0;
	if (!tl_elf_read(ret, 0, &ret->header, sizeof(ret->header)) || !good_header(&ret->header))
		return 0;
	read_segments(ret);
	read_sections(ret);
	return 1;
}

const Elf64_Shdr *tl_elf_section(const struct tl_elf *elf, const char *name)
{
	for (unsigned i = 0; i < elf->n_sections; i++) {
		const Elf64_Shdr *section = &elf->sections[i];

		if (section->sh_name >= sizeof(elf->names) ||
		    strcmp(elf->names + section->sh_name, name) != 0)
			continue;
		if (section->sh_type == SHT_NOBITS ||
		    in_file(elf, section->sh_offset, section->sh_size))
			return section;
	}
	return NULL;
}

bool tl_elf_offset(const struct tl_elf *elf, uint64_t address, uint64_t *ret_offset)
{
	for (unsigned i = 0; i < elf->n_segments; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];

		if (segment->p_type != PT_LOAD || address < segment->p_vaddr ||
		    address - segment->p_vaddr >= segment->p_filesz)
			continue;
		if (__builtin_add_overflow(segment->p_offset, address - segment->p_vaddr,
					   ret_offset))
			return false;
		return *ret_offset < elf->size;
	}
	return false;
}

const Elf64_Phdr *tl_elf_segment(const struct tl_elf *elf, uint32_t type)
{
	for (unsigned i = 0; i < elf->n_segments; i++)
		if (elf->segments[i].p_type == type)
			return &elf->segments[i];
	return NULL;
}

bool tl_elf_is_code(const struct tl_elf *elf, uint64_t address)
{
	for (unsigned i = 0; i < elf->n_segments; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];

		if (segment->p_type == PT_LOAD && (segment->p_flags & PF_X) &&
		    address >= segment->p_vaddr && address - segment->p_vaddr < segment->p_filesz)
			return true;
	}
	return false;
}

bool tl_elf_tls_relative(const struct tl_elf *elf, uint64_t at, int32_t *ret)
{
	const Elf64_Phdr *segment = tl_elf_segment(elf, PT_TLS);
	uint64_t align, size;

	if (!segment || segment->p_memsz > (1u << 30) || at > segment->p_memsz)
		return false;
	align = segment->p_align ? segment->p_align : 1;
	if ((align & (align - 1)) || align > (1u << 20))
		return false;
	size = (segment->p_memsz + align - 1) & ~(align - 1);
	*ret = (int32_t)((int64_t)at - (int64_t)size);
	return true;
}
