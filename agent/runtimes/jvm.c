/* SPDX-License-Identifier: Apache-2.0 */
/* HotSpot's virtual threads (JDK 21 and newer). libjvm.so exports gHotSpotVMStructs, a table of
 * (type, field) for debuggers; it is filled in when the virtual machine starts, so that the file
 * gives the names and the addresses of the words, and the process their values
 * (src/hotspot/share/runtime/vmStructs.hpp). A thread's JavaThread is in a thread-specific slot,
 * which is found by looking into all threads. A virtual thread is mounted while
 * JavaThread::_cont_entry is set; _monitor_owner_id is its java.lang.Thread.threadId() then (JDK 24
 * and newer: JEP 491 made it follow each mount). Older ones have no such field: mounted virtual
 * threads have no unit there. Without _cont_entry (JDK 17) threads are the unit. */
#include <stdio.h>
#include <string.h>

#include "agent/runtimes/runtime.h"

#define ENTRIES_MAX 20000

/* One entry of the table in the file. */
struct vm_entry {
	uint64_t type, field, kind, is_static, offset, address;
};

struct table {
	const struct tl_elf *elf;
	struct tl_elf_relocation *relocations; /* owned */
	size_t n_relocations;
};

/* The pointer at an address of the file; 0 none. */
static uint64_t pointer(const struct table *table, uint64_t address)
{
	size_t low = 0, high = table->n_relocations;
	uint64_t at, value;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (table->relocations[middle].address < address)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < table->n_relocations && table->relocations[low].address == address)
		return table->relocations[low].value;
	return tl_elf_offset(table->elf, address, &at) &&
			       tl_elf_read(table->elf, at, &value, sizeof(value))
		       ? value
		       : 0;
}

static bool is_text(const struct table *table, uint64_t address, const char *text)
{
	char have[32];
	size_t len = strlen(text) + 1;
	uint64_t at;

	return len <= sizeof(have) && tl_elf_offset(table->elf, address, &at) &&
	       tl_elf_read(table->elf, at, have, len) && memcmp(have, text, len) == 0;
}

/* What is looked for, and where in `struct tl_jvm_words` it goes. */
static const struct {
	const char *type, *field;
	size_t to;
	bool is_static;
} fields[] = {
	{"ThreadsSMRSupport", "_java_thread_list", offsetof(struct tl_jvm_words, list), true},
	{"ThreadsList", "_length", offsetof(struct tl_jvm_words, length), false},
	{"ThreadsList", "_threads", offsetof(struct tl_jvm_words, threads), false},
	{"Thread", "_osthread", offsetof(struct tl_jvm_words, os_thread), false},
	{"OSThread", "_pthread_id", offsetof(struct tl_jvm_words, pthread), false},
	{"JavaThread", "_cont_entry", offsetof(struct tl_jvm_words, entry), false},
	{"JavaThread", "_monitor_owner_id", offsetof(struct tl_jvm_words, id), false},
	{"JavaThread", "_lock_id", offsetof(struct tl_jvm_words, id), false}, /* its name in 24 */
};

static void note(const struct table *table, uint64_t entry, uint64_t bias,
		 struct tl_jvm_words *words)
{
	uint64_t type = pointer(table, entry + offsetof(struct vm_entry, type));
	uint64_t field = pointer(table, entry + offsetof(struct vm_entry, field)), value;

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		if (!is_text(table, field, fields[i].field) ||
		    !is_text(table, type, fields[i].type))
			continue;
		value = fields[i].is_static
				? pointer(table, entry + offsetof(struct vm_entry, address))
				: entry + offsetof(struct vm_entry, offset);
		value += bias;
		memcpy((char *)words + fields[i].to, &value, sizeof(value));
	}
}

static bool read_words(const struct tl_module *module, struct tl_jvm_words *ret)
{
	struct table table = {.elf = module->elf};
	_cleanup_(freep) struct tl_elf_relocation *relocations = NULL;
	struct tl_elf_symbol symbol;
	uint64_t entry;

	memset(ret, 0, sizeof(*ret));
	if (!tl_elf_symbol(module->elf, "gHotSpotVMStructs", &symbol) ||
	    !tl_elf_relocations(module->elf, &relocations, &table.n_relocations))
		return false;
	table.relocations = relocations;
	entry = pointer(&table, symbol.address);
	for (int i = 0; i < ENTRIES_MAX && pointer(&table, entry); i++) {
		note(&table, entry, module->bias, ret);
		entry += sizeof(struct vm_entry);
	}
	return ret->list && ret->length && ret->threads && ret->os_thread && ret->pthread &&
	       ret->entry;
}

static int live(const struct tl_runtime_view *view, struct tl_runtime_unit *ret,
		struct tl_error *error)
{
	struct tl_module module;
	struct tl_jvm_words words;
	struct tl_jvm_layout layout;
	bool known;

	if (!tl_module_open(view, "libjvm.so", &module))
		return 0;
	known = read_words(&module, &words);
	tl_module_close(&module);
	/* Before virtual threads, or not HotSpot: threads. */
	if (!known)
		return 0;
	snprintf(ret->version, sizeof(ret->version), "jvm");
	snprintf(ret->source, sizeof(ret->source), "gHotSpotVMStructs");
	if (view->jvm(view->arg, &words, &layout) < 0) {
		ret->refused = true;
		tl_error_set(error, -ENOTSUP,
			     "virtual threads cannot be told apart, because the JVM's threads are "
			     "not where they should be; its threads are the unit");
		return 1;
	}
	ret->unit = (struct tl_proc){
		.unit_kind = TL_UNIT_VTHREAD,
		.tls_off = TL_GLIBC_SLOT(layout.slot),
		.g_m_off = layout.entry,
		.m_curg_off = layout.id,
	};
	return 1;
}

const struct tl_runtime_ops tl_runtime_jvm = {.name = "jvm", .live = live};
