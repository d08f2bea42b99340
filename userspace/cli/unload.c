/* SPDX-License-Identifier: Apache-2.0 */
/* `tapline unload`: takes the pinned programs, maps and ring of a stopped agent out of the kernel.
 */
#include <stdio.h>

#include "agent/capture.h"
#include "userspace/base/msg.h"
#include "userspace/cli/cli.h"

struct settings {
	const char *pin_dir;
};

static const struct tl_option options[] = {
	{.name = "pin",
	 .type = TL_OPT_STRING,
	 .offset = offsetof(struct settings, pin_dir),
	 .value = "/sys/fs/bpf/tapline",
	 .metavar = "DIR",
	 .help = "The agent's --pin folder."},
	{.name = NULL},
};

const struct tl_conf_spec tl_unload_spec = {
	.program = "tapline unload",
	.section = "unload",
	.usage = "tapline unload [--pin DIR]",
	.about = "Takes what a stopped agent left pinned (programs, maps, ring) out of the kernel. "
		 "What the ring still held and\n"
		 "no agent took is lost; start the agent once more to take it first.",
	.options = options,
};

int tl_unload_main(int argc, char **argv)
{
	struct settings settings;
	struct tl_conf *conf = NULL;
	struct tl_error error = {0};
	int rest, r;

	tl_msg_init("tapline", TL_INFO);
	r = tl_cli_load(&tl_unload_spec, argc, argv, &settings, &conf, &rest);
	if (r)
		return r - 1;
	r = tl_capture_unpin(settings.pin_dir, &error);
	if (r < 0)
		tl_msg(TL_ERROR, "%s", error.message);
	tl_conf_free(conf);
	return r < 0 ? 1 : 0;
}
