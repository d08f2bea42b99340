/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of Go programs that are probed: runtime.newproc1, which hands a new g over, and those
 * of crypto/tls. A function is found by its symbol or, in stripped binaries, in the pc table, which
 * Go keeps for its own tracebacks (src/internal/abi/symtab.go, src/runtime/symtab.go; Go 1.18 and
 * newer). That it is a Go function is seen in its prologue, which compares the stack pointer with
 * g's limit; where its returns are, by decoding it whole. Any doubt: no probe. */
#include "agent/runtimes/go.h"

#include <string.h>
#include <sys/stat.h>

#include "agent/runtimes/x86_length.h"

#define NAME_MAX_LEN 64
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

static bool has_name(const struct tl_elf *elf, uint64_t at, const char *name)
{
	char have[NAME_MAX_LEN];
	size_t len = strlen(name) + 1;

	return len <= sizeof(have) && tl_elf_read(elf, at, have, len) &&
	       memcmp(have, name, len) == 0;
}

/* The table: pairs of (entry, offset of the description), both from `lines` and text on. */
static bool search_functions(const struct tl_elf *elf, uint64_t table,
			     const struct pc_header *header, const char *wanted,
			     uint32_t *ret_entry, uint32_t *ret_end)
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
			if (name <= 0 ||
			    !has_name(elf, table + header->names + (uint64_t)name, wanted))
				continue;
			*ret_entry = batch[2 * k];
			*ret_end = batch[2 * k + 2];
			return *ret_end > *ret_entry;
		}
	}
	return false;
}

static bool in_pc_table(const struct tl_elf *elf, const char *name, struct tl_elf_symbol *ret)
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
	    !search_functions(elf, table->sh_offset, &header, name, &entry, &end))
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

struct function {
	uint64_t address;
	size_t size;
	unsigned char body[BODY_MAX];
};

static bool find_function(const struct tl_elf *elf, const char *name, struct function *ret)
{
	struct tl_elf_symbol symbol;
	uint64_t at;

	if ((!tl_elf_symbol(elf, name, &symbol) || !symbol.size) &&
	    !in_pc_table(elf, name, &symbol))
		return false;
	if (symbol.size > BODY_MAX || !tl_elf_offset(elf, symbol.address, &at) ||
	    !tl_elf_read(elf, at, ret->body, symbol.size) ||
	    !is_go_function(ret->body, symbol.size))
		return false;
	ret->address = symbol.address;
	ret->size = symbol.size;
	return true;
}

static bool probe_returns(const struct tl_elf *elf, uint64_t ino, const struct function *function,
			  enum tl_probe_kind kind, struct tl_runtime_unit *unit)
{
	uint32_t returns[RETURNS_MAX];
	int n = tl_x86_returns(function->body, function->size, returns, RETURNS_MAX);

	for (int i = 0; i < n; i++)
		if (!tl_unit_probe(unit, elf, ino, function->address + returns[i], kind))
			return false;
	return n > 0;
}

/* runtime.newproc runs a function on the system stack that calls newproc1, and then runqput with
 * what it returned: these two, once each, in this order. */
static bool probe_queue(const struct tl_elf *elf, uint64_t ino, struct function *function,
			struct tl_runtime_unit *unit)
{
	uint64_t targets[2];
	uint32_t at[2], target[2];

	if (!find_function(elf, "runtime.newproc1", function))
		return false;
	targets[0] = function->address;
	if (!find_function(elf, "runtime.runqput", function))
		return false;
	targets[1] = function->address;
	if (!find_function(elf, "runtime.newproc.func1", function))
		return false;
	return tl_x86_calls(function->body, function->size, function->address, targets, 2, at,
			    target, 2) == 2 &&
	       target[0] == 0 && target[1] == 1 &&
	       tl_unit_probe(unit, elf, ino, function->address + at[1], TL_PROBE_GO_QUEUED);
}

bool tl_go_born(const struct tl_elf *elf, struct tl_runtime_unit *unit)
{
	_cleanup_(freep) struct function *function = malloc(sizeof(*function));
	struct stat st;

	if (!function || fstat(elf->fd, &st) < 0)
		return false;
	return probe_queue(elf, st.st_ino, function, unit) ||
	       (find_function(elf, "runtime.newproc1", function) &&
		probe_returns(elf, st.st_ino, function, TL_PROBE_GO_BORN, unit));
}

bool tl_go_crypto(const struct tl_elf *elf, struct tl_runtime_unit *unit)
{
	static const struct {
		const char *name;
		enum tl_probe_kind kind;
	} wanted[] = {
		{"crypto/tls.(*Conn).handshakeContext", TL_PROBE_GO_TLS_HANDSHAKE},
		{"crypto/tls.(*Conn).Read", TL_PROBE_GO_TLS_READ},
		{"crypto/tls.(*Conn).Write", TL_PROBE_GO_TLS_WRITE},
	};
	_cleanup_(freep) struct function *function = malloc(sizeof(*function));
	uint64_t entries[ARRAY_SIZE(wanted)];
	unsigned before = unit->n_probes;
	struct stat st;
	bool all = function && fstat(elf->fd, &st) == 0;

	for (size_t i = 0; i < ARRAY_SIZE(wanted) && all; i++) {
		all = find_function(elf, wanted[i].name, function) &&
		      probe_returns(elf, st.st_ino, function, TL_PROBE_GO_TLS_LEAVE, unit);
		entries[i] = function->address;
	}
	/* The entries last: one without its return would leave its note behind. */
	for (size_t i = 0; i < ARRAY_SIZE(wanted) && all; i++)
		all = tl_unit_probe(unit, elf, st.st_ino, entries[i], wanted[i].kind);
	if (!all)
		unit->n_probes = before;
	return all;
}

bool tl_go_calls(const struct tl_elf *elf, struct tl_runtime_unit *unit)
{
	_cleanup_(freep) struct function *function = malloc(sizeof(*function));
	uint64_t asks;
	struct stat st;

	if (!function || fstat(elf->fd, &st) < 0 ||
	    !find_function(elf, "net/http.(*persistConn).roundTrip", function))
		return false;
	asks = function->address;
	return find_function(elf, "net/http.(*persistConn).writeLoop", function) &&
	       tl_unit_probe(unit, elf, st.st_ino, function->address, TL_PROBE_GO_WRITES) &&
	       tl_unit_probe(unit, elf, st.st_ino, asks, TL_PROBE_GO_ASKS);
}
