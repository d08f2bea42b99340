/* SPDX-License-Identifier: Apache-2.0 */
/* struct tl_runtime_ops: how the execution unit of a language runtime is found. A runtime is one
 * file and one line in runtimes.c. Detection runs in the unprivileged worker on open files of the
 * process: hostile files must not hurt (bounded, no trust in any offset). A version that is not
 * known for certain is refused: then the process has no unit, and its lines say `unit-unknown`;
 * never a guess.
 *
 * There are two moments. `detect` looks at the executable when the process appears. `live` looks at
 * the files that it has mapped, when it has begun to serve: an interpreter's modules and a virtual
 * machine's threads are there only then. */
#ifndef TL_RUNTIMES_RUNTIME_H
#define TL_RUNTIMES_RUNTIME_H

#include <stdbool.h>

#include "agent/inspector.h"
#include "agent/runtimes/elf_view.h"
#include "userspace/base/err.h"

#define TL_RUNTIME_PROBES 64

/* Sets of probes that a person may switch off. */
enum tl_probe_set { TL_PROBES_GO = 1, TL_PROBES_PYTHON = 2, TL_PROBES_TLS = 4 };

struct tl_runtime_unit {
	struct tl_proc unit; /* unit_kind and offsets for the kernel; unit_kind THREAD: threads are
				the unit */
	char version[32];    /* "go1.19.8" */
	char source[64];     /* where the offsets came from: "DWARF", "table go1.17-go1.22" */
	bool refused; /* it is this runtime, but its unit cannot be read: `error` of detect says why
		       */
	uint16_t probed; /* TL_PROCF_* that hold once all probes are attached */
	struct tl_probe_at probes[TL_RUNTIME_PROBES];
	unsigned n_probes;
};

/* What is behind a live process. Calls as in agent/inspector.h, for the process. */
struct tl_runtime_view {
	void *arg;
	int (*module)(void *arg, const char *glob, struct tl_module_info *ret, int *ret_fd);
	int (*slot)(void *arg, uint64_t address);
	int (*jvm)(void *arg, const struct tl_jvm_words *words, struct tl_jvm_layout *ret);
	unsigned sets; /* enum tl_probe_set: wanted */
};

struct tl_runtime_ops {
	const char *name; /* "go" */
	/* Looks at an executable (read-only, position does not matter). Returns 1 it is this
	 * runtime (`*ret` filled; refused or not), 0 it is another, negative errno when it could
	 * not be read. May be NULL. */
	int (*detect)(int exe_fd, unsigned sets, struct tl_runtime_unit *ret,
		      struct tl_error *error);
	/* Looks at a process that serves. Returns 1 it is this runtime (`*ret` filled; refused or
	 * not), 0 it is not, or not yet. May be NULL. */
	int (*live)(const struct tl_runtime_view *view, struct tl_runtime_unit *ret,
		    struct tl_error *error);
};

/* Ends with NULL. */
extern const struct tl_runtime_ops *const tl_runtimes[];

/* Tries all. Returns the ops or NULL (threads). */
const struct tl_runtime_ops *tl_runtime_detect(int exe_fd, unsigned sets,
					       struct tl_runtime_unit *ret, struct tl_error *error);
const struct tl_runtime_ops *tl_runtime_live(const struct tl_runtime_view *view,
					     struct tl_runtime_unit *ret, struct tl_error *error);

/* TLS libraries, whatever runtime uses them: adds their probes to `unit`. Returns 1 there is one,
 * 0 none (yet). */
int tl_tls_live(const struct tl_runtime_view *view, struct tl_runtime_unit *unit);

/* --- for the runtimes --- */

/* A mapped file. */
struct tl_module {
	struct tl_module_info info;
	int fd;
	struct tl_elf *elf; /* owned */
	uint64_t bias;	    /* what is added to its addresses in the process */
};

/* Opens the first that matches. Returns 1, or 0 when there is none that can be read; the caller
 * closes it. */
int tl_module_open(const struct tl_runtime_view *view, const char *glob, struct tl_module *ret);
void tl_module_close(struct tl_module *module);

/* Adds a probe at the address `at` of a file (its own, not the process's). False when that is not
 * code of the file, or there is no room. */
bool tl_unit_probe(struct tl_runtime_unit *unit, const struct tl_elf *elf, uint64_t ino,
		   uint64_t at, enum tl_probe_kind kind);

/* Where a thread keeps the value of a thread-specific slot, relative to the thread pointer: glibc's
 * struct pthread, member specific_1stblock (the same from 2.4 to 2.41 on x86-64). */
#define TL_GLIBC_SLOT(n) (0x310 + 16 * (n) + 8)

#endif
