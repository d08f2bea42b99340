/* SPDX-License-Identifier: Apache-2.0 */
/* struct tl_runtime_ops: how the execution unit of a language runtime is found. A runtime is one
 * file and one line in runtimes.c. Detection runs in the unprivileged worker on an open executable:
 * hostile files must not hurt (bounded, no trust in any offset). A version that is not known for
 * certain is refused: then the process has no unit, and its lines say `unit-unknown`; never a
 * guess. */
#ifndef TL_RUNTIMES_RUNTIME_H
#define TL_RUNTIMES_RUNTIME_H

#include "bpf/event.h"
#include <stdbool.h>

#include "userspace/base/err.h"

struct tl_runtime_unit {
	struct tl_proc unit; /* unit_kind and offsets for the kernel; unit_kind THREAD: threads are
				the unit */
	char version[32];    /* "go1.19.8" */
	char source[64];     /* where the offsets came from: "DWARF", "table go1.17-go1.22" */
	bool refused; /* it is this runtime, but its unit cannot be read: `error` of detect says why
		       */
};

struct tl_runtime_ops {
	const char *name; /* "go" */
	/* Looks at an executable (read-only, position does not matter). Returns 1 it is this
	 * runtime (`*ret` filled; refused or not), 0 it is another, negative errno when it could
	 * not be read. */
	int (*detect)(int exe_fd, struct tl_runtime_unit *ret, struct tl_error *error);
};

/* Ends with NULL. */
extern const struct tl_runtime_ops *const tl_runtimes[];

/* Tries all. Returns the ops or NULL (threads). */
const struct tl_runtime_ops *tl_runtime_detect(int exe_fd, struct tl_runtime_unit *ret,
					       struct tl_error *error);

#endif
