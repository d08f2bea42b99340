/* SPDX-License-Identifier: Apache-2.0 */
/* The registry: a runtime is one file and one line here. */
#include "agent/runtimes/runtime.h"

#include <string.h>

#include "agent/runtimes/go.h"

const struct tl_runtime_ops *const tl_runtimes[] = {
	&tl_runtime_go,
	NULL,
};

const struct tl_runtime_ops *tl_runtime_detect(int exe_fd, struct tl_runtime_unit *ret,
					       struct tl_error *error)
{
	for (size_t i = 0; tl_runtimes[i]; i++) {
		struct tl_runtime_unit unit;

		memset(&unit, 0, sizeof(unit));
		if (tl_runtimes[i]->detect(exe_fd, &unit, error) != 1)
			continue;
		*ret = unit;
		return tl_runtimes[i];
	}
	return NULL;
}
