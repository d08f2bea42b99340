/* SPDX-License-Identifier: Apache-2.0 */
/* The registry: a runtime is one file and one line here. */
#include "agent/runtimes/runtime.h"

#include <string.h>

#include "agent/runtimes/go.h"

#define PAGE 4096

extern const struct tl_runtime_ops tl_runtime_cpython, tl_runtime_jvm;

const struct tl_runtime_ops *const tl_runtimes[] = {
	&tl_runtime_go,
	&tl_runtime_cpython,
	&tl_runtime_jvm,
	NULL,
};

const struct tl_runtime_ops *tl_runtime_detect(int exe_fd, unsigned sets,
					       struct tl_runtime_unit *ret, struct tl_error *error)
{
	for (size_t i = 0; tl_runtimes[i]; i++) {
		struct tl_runtime_unit unit;

		memset(&unit, 0, sizeof(unit));
		if (!tl_runtimes[i]->detect ||
		    tl_runtimes[i]->detect(exe_fd, sets, &unit, error) != 1)
			continue;
		*ret = unit;
		return tl_runtimes[i];
	}
	return NULL;
}

const struct tl_runtime_ops *tl_runtime_live(const struct tl_runtime_view *view,
					     struct tl_runtime_unit *ret, struct tl_error *error)
{
	for (size_t i = 0; tl_runtimes[i]; i++) {
		struct tl_runtime_unit unit;

		memset(&unit, 0, sizeof(unit));
		if (!tl_runtimes[i]->live || tl_runtimes[i]->live(view, &unit, error) != 1)
			continue;
		*ret = unit;
		return tl_runtimes[i];
	}
	return NULL;
}

/* The segment of which the first mapping is a part tells where the file was loaded to. */
static bool find_bias(struct tl_module *module)
{
	for (unsigned i = 0; i < module->elf->n_segments; i++) {
		const Elf64_Phdr *segment = &module->elf->segments[i];

		if (segment->p_type != PT_LOAD ||
		    segment->p_offset / PAGE != module->info.offset / PAGE)
			continue;
		module->bias = module->info.start - segment->p_vaddr / PAGE * PAGE;
		return true;
	}
	return false;
}

int tl_module_open(const struct tl_runtime_view *view, const char *glob, struct tl_module *ret)
{
	struct tl_module module = {.fd = -1};

	if (view->module(view->arg, glob, &module.info, &module.fd) < 0)
		return 0;
	module.elf = malloc(sizeof(*module.elf));
	if (module.elf && tl_elf_open(module.fd, module.elf) == 1 && find_bias(&module)) {
		*ret = module;
		return 1;
	}
	tl_module_close(&module);
	return 0;
}

void tl_module_close(struct tl_module *module)
{
	free(TAKE_PTR(module->elf));
	closep(&module->fd);
	module->fd = -1;
}

bool tl_unit_probe(struct tl_runtime_unit *unit, const struct tl_elf *elf, uint64_t ino,
		   uint64_t at, enum tl_probe_kind kind)
{
	uint64_t offset;

	if (unit->n_probes == TL_RUNTIME_PROBES || !tl_elf_is_code(elf, at) ||
	    !tl_elf_offset(elf, at, &offset))
		return false;
	unit->probes[unit->n_probes++] =
		(struct tl_probe_at){.ino = ino, .offset = offset, .kind = kind};
	return true;
}
