/* SPDX-License-Identifier: Apache-2.0 */
/* tl_elf: a distrustful look into an executable: 64-bit little-endian x86-64 ELF, read with pread,
 * every offset and size checked against the file, every count bounded. Private to runtimes/. */
#ifndef TL_RUNTIMES_ELF_VIEW_H
#define TL_RUNTIMES_ELF_VIEW_H

#include <elf.h>
#include <stdbool.h>
#include <stdint.h>

#include "userspace/base/cleanup.h"

#define TL_ELF_SEGMENTS 64
#define TL_ELF_SECTIONS 256

struct tl_elf {
	int fd;	       /* borrowed */
	uint64_t size; /* of the file */
	Elf64_Ehdr header;
	Elf64_Phdr segments[TL_ELF_SEGMENTS];
	Elf64_Shdr sections[TL_ELF_SECTIONS];
	unsigned n_segments, n_sections; /* sections may be none: they can be stripped */
	char names[8192];		 /* of sections, NUL-terminated at the end */
};

/* Returns 1 with `*ret`; 0 it is no such ELF; -EIO and others from reading. */
int tl_elf_open(int fd, struct tl_elf *ret);

/* Reads exactly `len` bytes at `offset`; false when the file has not got them. */
bool tl_elf_read(const struct tl_elf *elf, uint64_t offset, void *out, size_t len);

/* The section or NULL. Its range lies in the file (unless it has no bytes there). */
const Elf64_Shdr *tl_elf_section(const struct tl_elf *elf, const char *name);

/* File offset of a virtual address; false when it is not in the file. */
bool tl_elf_offset(const struct tl_elf *elf, uint64_t address, uint64_t *ret_offset);

/* A symbol of the dynamic table or, when it is not there, of the full one. False when it is in
 * neither, or undefined. */
struct tl_elf_symbol {
	uint64_t address, size;
	uint8_t type; /* STT_* */
};
bool tl_elf_symbol(const struct tl_elf *elf, const char *name, struct tl_elf_symbol *ret);

/* The pointer at a virtual address, as it is once the file is loaded, relative to the load address:
 * what a relative relocation says, else the file's content. */
bool tl_elf_pointer(const struct tl_elf *elf, uint64_t address, uint64_t *ret);

/* Many of them: all relative relocations, sorted by address. The caller frees `*ret`. */
struct tl_elf_relocation {
	uint64_t address, value;
};
bool tl_elf_relocations(const struct tl_elf *elf, struct tl_elf_relocation **ret, size_t *ret_n);

/* Whether the address is code. */
bool tl_elf_is_code(const struct tl_elf *elf, uint64_t address);

/* A variable at `at` of the TLS block, relative to the thread pointer, which stands at the block's
 * aligned end: for the executable's own block only. */
bool tl_elf_tls_relative(const struct tl_elf *elf, uint64_t at, int32_t *ret);

/* The segment of that type, NULL none. */
const Elf64_Phdr *tl_elf_segment(const struct tl_elf *elf, uint32_t type);

#endif
