/* SPDX-License-Identifier: Apache-2.0 */
/* The Go runtime (gc toolchain, x86-64): the unit is the goroutine, its id is goid in the runtime's
 * struct g. */
#ifndef TL_RUNTIMES_GO_H
#define TL_RUNTIMES_GO_H

#include "agent/runtimes/elf_view.h"
#include "agent/runtimes/runtime.h"

extern const struct tl_runtime_ops tl_runtime_go;

/* --- private to go*.c --- */

struct tl_go_offsets {
	uint32_t g_m, m_curg, g_goid; /* bytes */
};

/* Reads them from DWARF. False when there is none, or not all of them are told. */
bool tl_go_dwarf(int exe_fd, struct tl_go_offsets *ret);

/* Where g is, relative to the thread pointer. False with `*ret_why` (static text) when the binary
 * does not tell for certain. */
bool tl_go_tls(const struct tl_elf *elf, int32_t *ret_offset, const char **ret_why);

/* Adds the probes that tell of new goroutines. False, adding nothing that is wrong, when the
 * binary does not tell for certain where: then children have no parents. */
bool tl_go_born(const struct tl_elf *elf, struct tl_runtime_unit *unit);

/* Adds the probes of crypto/tls. False, adding nothing, when it is not there or does not tell for
 * certain. */
bool tl_go_crypto(const struct tl_elf *elf, struct tl_runtime_unit *unit);

/* Adds the probes that tell for whom net/http's client writes. False as above: then what a handler
 * asks of others is nobody's child. */
bool tl_go_calls(const struct tl_elf *elf, struct tl_runtime_unit *unit);

#endif
