/* SPDX-License-Identifier: Apache-2.0 */
/* tl_probes: the inspector's hands in a selected process: finds files it has mapped, attaches
 * uprobes to them, and reads the few words that say where a runtime keeps its thread's state.
 * Private to the inspector; one thread. What to probe is the worker's to find out (it parses the
 * files): an offset is accepted only inside a file that the process runs code from, and a probe is
 * for that process alone. No memory of a process goes to the worker, only a small number that is
 * an index of a thread-specific slot. */
#ifndef TL_AGENT_INSPECTOR_PROBE_H
#define TL_AGENT_INSPECTOR_PROBE_H

#include "agent/inspector.h"

#define TL_PROBES_MAX 16384	  /* attachments at once */
#define TL_PROBES_PER_PROCESS 256 /* of them in one process */

struct tl_probes;

/* `capture` and `proc` (a descriptor of /proc) are borrowed. NULL: out of memory. */
struct tl_probes *tl_probes_new(struct tl_capture *capture, int proc);
void tl_probes_free(struct tl_probes *probes);
TL_DEFINE_CLEANUP(struct tl_probes *, tl_probes_free);

/* The first mapped file whose base name matches the glob (empty: the executable). The caller owns
 * `*ret_fd`. Errors: -ESRCH; -ENOENT none; -ESTALE the file at that path is another by now. */
int tl_probes_module(struct tl_probes *probes, uint32_t tgid, const char *glob,
		     struct tl_module_info *ret, int *ret_fd);

/* Attaches in the process of that start. Errors: -ESRCH; -ENOENT no code of that file is mapped at
 * that offset; -ENOSPC too many; others from tl_capture_probe. */
int tl_probes_attach(struct tl_probes *probes, uint32_t tgid, uint64_t start_ns,
		     const struct tl_probe_at *at);

/* Detaches what ended processes have left. */
void tl_probes_sweep(struct tl_probes *probes);

/* The slot of pthread_getspecific (0 to 31) whose number lies at `address`. Errors: -ERANGE it is
 * no such number; -EFAULT. */
int tl_probes_slot(uint32_t tgid, uint64_t address);

/* As tl_inspect_jvm. */
int tl_probes_jvm(uint32_t tgid, const struct tl_jvm_words *words, struct tl_jvm_layout *ret);

#endif
