/* SPDX-License-Identifier: Apache-2.0 */
/* CPython with asyncio. What runs is told by the context (PyContext) of the thread's state: each
 * task has one of its own, copied when it was made. The state is found in the thread-specific slot
 * that the C API keeps for PyGILState_GetThisThreadState; its number is in _PyRuntime. (What
 * _PyRuntime says of the current thread is of no use: the lock is dropped around system calls.)
 *
 * Processes without the _asyncio module keep their threads as units, and so do threads without a
 * context. With the destructor of contexts probed, each context has a number of its own however
 * often its address is used; the destructor is read out of PyContext_Type. The copies are probed
 * for who made whom. */
#include <stdio.h>
#include <string.h>

#include "agent/runtimes/runtime.h"

/* Offsets of _PyRuntime's autoTSSkey._key and of PyThreadState's context and thread_id, from
 * Include/internal/pycore_runtime.h and Include/cpython/pystate.h of each release, as compiled for
 * x86-64 Linux (release builds: a debug build's layout is another). thread_id is compared with the
 * thread at each read, so that a wrong table gives no unit instead of a wrong one. */
static const struct {
	unsigned minor;
	uint32_t key, context, thread_id;
} layouts[] = {
	{8, 1396, 240, 176}, {9, 588, 240, 176},   {10, 588, 240, 176},
	{11, 596, 224, 152}, {12, 1548, 208, 136}, {13, 2164, 208, 152},
};

#define TYPE_DEALLOC 48 /* PyTypeObject.tp_dealloc */

/* The minor version: in the file since 3.11, in its name before. 0 unknown. */
static unsigned minor_of(const struct tl_module *module)
{
	struct tl_elf_symbol symbol;
	unsigned minor = 0;
	const char *name;
	uint32_t version;
	uint64_t at;

	if (tl_elf_symbol(module->elf, "Py_Version", &symbol)) {
		if (tl_elf_offset(module->elf, symbol.address, &at) &&
		    tl_elf_read(module->elf, at, &version, sizeof(version)) && version >> 24 == 3)
			return version >> 16 & 0xff;
		return 0;
	}
	name = strstr(module->info.name, "python3.");
	if (!name || sscanf(name, "python3.%u", &minor) != 1)
		return 0;
	name += strlen("python3.") + strspn(name + strlen("python3."), "0123456789");
	/* A letter behind it is another build: d debug, t without the lock. */
	return *name == '\0' || *name == '.' || *name == ' ' ? minor : 0;
}

static const char *find_layout(unsigned minor, size_t *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(layouts); i++)
		if (layouts[i].minor == minor) {
			*ret = i;
			return NULL;
		}
	return "its layout is not in the table";
}

/* The library, or the executable that holds it. */
static int open_python(const struct tl_runtime_view *view, struct tl_module *ret,
		       struct tl_elf_symbol *ret_runtime)
{
	static const char *const globs[] = {"libpython3.*.so*", ""};

	for (size_t i = 0; i < ARRAY_SIZE(globs); i++) {
		if (!tl_module_open(view, globs[i], ret))
			continue;
		if (tl_elf_symbol(ret->elf, "_PyRuntime", ret_runtime))
			return 1;
		tl_module_close(ret);
	}
	return 0;
}

static bool is_loaded(const struct tl_runtime_view *view, const char *glob)
{
	struct tl_module_info info;
	_cleanup_(closep) int fd = -1;

	return view->module(view->arg, glob, &info, &fd) >= 0;
}

static void add_probes(const struct tl_module *module, struct tl_runtime_unit *unit)
{
	struct tl_elf_symbol type, copy;
	uint64_t destructor, ino = module->info.ino;

	if (!tl_elf_symbol(module->elf, "PyContext_Type", &type) || type.type != STT_OBJECT ||
	    !tl_elf_pointer(module->elf, type.address + TYPE_DEALLOC, &destructor) ||
	    !tl_unit_probe(unit, module->elf, ino, destructor, TL_PROBE_PY_END))
		return;
	unit->probed |= TL_PROCF_VERSIONED;
	if (tl_elf_symbol(module->elf, "PyContext_CopyCurrent", &copy) && copy.type == STT_FUNC)
		(void)tl_unit_probe(unit, module->elf, ino, copy.address, TL_PROBE_PY_BORN);
}

static int refuse(struct tl_runtime_unit *ret, struct tl_error *error, const char *why)
{
	ret->refused = true;
	ret->unit = (struct tl_proc){.unit_kind = TL_UNIT_CONTEXT};
	tl_error_set(error, -ENOTSUP,
		     "%s: asyncio's tasks cannot be told apart, because %s; its lines will say "
		     "unit-unknown",
		     ret->version, why);
	return 1;
}

static int fill(const struct tl_runtime_view *view, const struct tl_module *module,
		uint64_t runtime, struct tl_runtime_unit *ret, struct tl_error *error)
{
	unsigned minor = minor_of(module);
	const char *why;
	size_t i = 0;
	int slot;

	snprintf(ret->version, sizeof(ret->version), minor ? "python3.%u" : "python3", minor);
	why = find_layout(minor, &i);
	if (why)
		return refuse(ret, error, why);
	if (!is_loaded(view, "libc.so.6"))
		return refuse(ret, error, "its C library is not glibc");
	slot = view->slot(view->arg, module->bias + runtime + layouts[i].key);
	if (slot < 0)
		return refuse(ret, error, "its thread state is not where it should be");
	ret->unit = (struct tl_proc){
		.unit_kind = TL_UNIT_CONTEXT,
		.tls_off = TL_GLIBC_SLOT(slot),
		.g_m_off = layouts[i].context,
		.m_curg_off = layouts[i].thread_id,
	};
	snprintf(ret->source, sizeof(ret->source), "table python3.%u", minor);
	if (view->sets & TL_PROBES_PYTHON)
		add_probes(module, ret);
	return 1;
}

static int live(const struct tl_runtime_view *view, struct tl_runtime_unit *ret,
		struct tl_error *error)
{
	struct tl_elf_symbol runtime;
	struct tl_module module;
	int r;

	if (!is_loaded(view, "_asyncio.*.so") || !open_python(view, &module, &runtime))
		return 0;
	r = fill(view, &module, runtime.address, ret, error);
	tl_module_close(&module);
	return r;
}

const struct tl_runtime_ops tl_runtime_cpython = {.name = "cpython", .live = live};
