/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>

#include "userspace/base/msg.h"

int tl_cli_load(const struct tl_conf_spec *spec, int argc, char **argv, void *settings,
		struct tl_conf **ret_conf, int *ret_rest)
{
	struct tl_error error = {0};
	int r = tl_conf_load(spec, argc, argv, settings, ret_conf, ret_rest, &error);

	if (r < 0) {
		tl_msg(TL_ERROR, "%s", error.message);
		return 2 + 1;
	}
	return r ? 0 + 1 : 0;
}

void tl_cli_store_path(char *out, size_t size)
{
	const char *store = getenv("TAPLINE_STORE"), *state = getenv("XDG_STATE_HOME"),
		   *home = getenv("HOME");

	if (store && *store)
		snprintf(out, size, "%s", store);
	else if (state && *state)
		snprintf(out, size, "%s/tapline/tapline.db", state);
	else
		snprintf(out, size, "%s/.local/state/tapline/tapline.db",
			 home && *home ? home : "/root");
}
