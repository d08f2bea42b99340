/* SPDX-License-Identifier: Apache-2.0 */
/* Three things must be known: that it is Go (the build information that the linker writes, or the
 * pc table), the offsets of three fields (DWARF when there is some, else a table by version), and
 * where a thread keeps its g (go_tls.c). Whatever is not known for certain refuses the process:
 * then the unit kind stays GOROUTINE with no offset of the goid, which the kernel side reads as "no
 * unit", so that a Go process never falls back to its threads.
 *
 * Build information (src/cmd/link/internal/ld/data.go, src/debug/buildinfo): 14 bytes of magic,
 * pointer size, flags; with flag 2 (Go 1.18 and newer) the version follows at 32 as a length and
 * its bytes; before, a pointer to a Go string stands at 16. */
#include "agent/runtimes/go.h"

#include <stdio.h>
#include <string.h>

#define INFO_MAGIC "\xff Go buildinf:"
#define INFO_MAGIC_LEN 14
#define INFO_LEN 32
#define INFO_ALIGN 16
#define SEARCH_MAX (1u << 20) /* bytes of the data segment searched where there are no sections */
#define G_M_OFFSET 48

/* Layouts of runtime.g and runtime.m, from src/runtime/runtime2.go of each release (amd64). 1.23
 * put syscallbp in front of goid; 1.25 took ret out of gobuf, which stands in both structs. */
static const struct {
	unsigned from, to; /* minor versions, inclusive */
	struct tl_go_offsets offsets;
	const char *name;
} layouts[] = {
	{17, 22, {G_M_OFFSET, 192, 152}, "table go1.17-go1.22"},
	{23, 24, {G_M_OFFSET, 192, 160}, "table go1.23-go1.24"},
	{25, 26, {G_M_OFFSET, 184, 152}, "table go1.25-go1.26"},
};

/* --- version --- */

static bool find_info_in(const struct tl_elf *elf, uint64_t offset, uint64_t len, uint64_t *ret_at)
{
	_cleanup_(freep) char *data = NULL;
	size_t n = len < SEARCH_MAX ? (size_t)len : SEARCH_MAX;

	data = malloc(n ? n : 1);
	if (!data || !tl_elf_read(elf, offset, data, n))
		return false;
	for (size_t i = 0; i + INFO_LEN <= n; i += INFO_ALIGN) {
		if (memcmp(data + i, INFO_MAGIC, INFO_MAGIC_LEN) != 0)
			continue;
		*ret_at = offset + i;
		return true;
	}
	return false;
}

/* File offset of the build information. */
static bool find_info(const struct tl_elf *elf, uint64_t *ret_at)
{
	const Elf64_Shdr *section = tl_elf_section(elf, ".go.buildinfo");

	if (section && section->sh_type != SHT_NOBITS)
		return find_info_in(elf, section->sh_offset, section->sh_size, ret_at);
	for (unsigned i = 0; i < elf->n_segments; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];

		if (segment->p_type == PT_LOAD && (segment->p_flags & PF_W) &&
		    find_info_in(elf, segment->p_offset, segment->p_filesz, ret_at))
			return true;
	}
	return false;
}

static bool copy_version(const struct tl_elf *elf, uint64_t offset, uint64_t len, char *out,
			 size_t size)
{
	if (len < 1 || len >= size || !tl_elf_read(elf, offset, out, len))
		return false;
	out[len] = '\0';
	for (const char *c = out; *c; c++)
		if (*c < 0x20 || *c > 0x7e)
			return false;
	return strlen(out) == len;
}

/* "go1.19.8", with whatever the builder put behind it. */
static bool read_version(const struct tl_elf *elf, uint64_t info, char *out, size_t size)
{
	unsigned char head[INFO_LEN], len;
	uint64_t pointer, at, string[2];

	if (!tl_elf_read(elf, info, head, sizeof(head)))
		return false;
	if (head[15] & 2)
		return tl_elf_read(elf, info + INFO_LEN, &len, 1) && len < 0x80 &&
		       copy_version(elf, info + INFO_LEN + 1, len, out, size);
	if (head[14] != 8 || head[15] & 1)
		return false;
	memcpy(&pointer, head + 16, sizeof(pointer));
	if (!tl_elf_offset(elf, pointer, &at) || !tl_elf_read(elf, at, string, sizeof(string)))
		return false;
	return tl_elf_offset(elf, string[0], &at) && copy_version(elf, at, string[1], out, size);
}

/* The minor number of a release: "go1.19", "go1.19.8", with a builder's suffix after a space, `-`
 * or `+`. 0 for anything else: betas, candidates and development trees have layouts of their own.
 */
static unsigned release_minor(const char *version)
{
	unsigned minor = 0;
	const char *c;

	if (strncmp(version, "go1.", 4) != 0)
		return 0;
	for (c = version + 4; *c >= '0' && *c <= '9' && minor < 1000; c++)
		minor = minor * 10 + (unsigned)(*c - '0');
	if (*c == '.')
		for (c++; *c >= '0' && *c <= '9'; c++)
			;
	return *c == '\0' || *c == ' ' || *c == '-' || *c == '+' ? minor : 0;
}

/* --- detection --- */

static bool from_table(const char *version, struct tl_go_offsets *ret, const char **ret_name)
{
	unsigned minor = release_minor(version);

	for (size_t i = 0; i < ARRAY_SIZE(layouts); i++) {
		if (minor < layouts[i].from || minor > layouts[i].to)
			continue;
		*ret = layouts[i].offsets;
		*ret_name = layouts[i].name;
		return true;
	}
	return false;
}

static int refuse(struct tl_runtime_unit *ret, struct tl_error *error, const char *why)
{
	ret->refused = true;
	ret->unit = (struct tl_proc){.unit_kind = TL_UNIT_GOROUTINE};
	tl_error_set(
		error, -ENOTSUP,
		"%s: goroutines cannot be told apart, because %s; its lines will say unit-unknown",
		ret->version, why);
	return 1;
}

static int detect(int exe_fd, unsigned sets, struct tl_runtime_unit *ret, struct tl_error *error)
{
	_cleanup_(freep) struct tl_elf *elf = malloc(sizeof(*elf));
	struct tl_go_offsets offsets;
	char version[128] = "go (version unknown)";
	const char *source = "DWARF", *why = NULL;
	uint64_t info;
	int32_t tls;
	int r;

	if (!elf)
		return tl_error_set(error, -ENOMEM, "no memory to look at an executable");
	r = tl_elf_open(exe_fd, elf);
	if (r < 0)
		return tl_error_set(error, r, "cannot read the executable: %s", strerror(-r));
	if (r == 0)
		return 0;
	if (!find_info(elf, &info)) {
		if (!tl_elf_section(elf, ".gopclntab"))
			return 0;
	} else if (!read_version(elf, info, version, sizeof(version))) {
		snprintf(version, sizeof(version), "go (version unknown)");
	}
	snprintf(ret->version, sizeof(ret->version), "%.31s", version);
	if (!tl_go_dwarf(exe_fd, &offsets) && !from_table(version, &offsets, &source))
		return refuse(ret, error,
			      "it has no DWARF, and this version's layout is not in the table");
	if (!tl_go_tls(elf, &tls, &why))
		return refuse(ret, error, why);
	ret->unit = (struct tl_proc){
		.unit_kind = TL_UNIT_GOROUTINE,
		.tls_off = tls,
		.g_m_off = offsets.g_m,
		.m_curg_off = offsets.m_curg,
		.g_goid_off = offsets.g_goid,
	};
	snprintf(ret->source, sizeof(ret->source), "%s", source);
	if (sets & TL_PROBES_GO)
		(void)tl_go_born(elf, ret);
	if (sets & TL_PROBES_GO)
		(void)tl_go_calls(elf, ret);
	return 1;
}

const struct tl_runtime_ops tl_runtime_go = {.name = "go", .detect = detect};
