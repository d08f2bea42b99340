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

/* The segment of that type, NULL none. */
const Elf64_Phdr *tl_elf_segment(const struct tl_elf *elf, uint32_t type);

#endif
