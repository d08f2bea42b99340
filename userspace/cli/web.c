/* SPDX-License-Identifier: Apache-2.0 */
/* `tapline web`: the search page over a store. */
#include <signal.h>
#include <stdio.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/msg.h"
#include "userspace/cli/cli.h"
#include "userspace/web/server.h"

#define FIELD(member) offsetof(struct settings, member)

struct settings {
	const char *store, *listen, *token;
};

static const struct tl_option options[] = {
	{.name = "store",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(store),
	 .metavar = "FILE",
	 .env = "TAPLINE_STORE",
	 .help = "The store to search. Default: tapline.db in ~/.local/state/tapline."},
	{.name = "listen",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(listen),
	 .value = "127.0.0.1:9470",
	 .metavar = "HOST:PORT",
	 .help = "Where to serve; addresses that others can reach need --token-file."},
	{.name = "token-file",
	 .type = TL_OPT_SECRET,
	 .offset = FIELD(token),
	 .metavar = "FILE",
	 .help = "File with a token that the page and the API then ask for: "
		 "http://HOST:PORT/?token=TOKEN."},
	{.name = NULL},
};

const struct tl_conf_spec tl_web_spec = {
	.program = "tapline web",
	.section = "web",
	.usage = "tapline web [--store FILE] [--listen HOST:PORT]",
	.about = "Serves a page that searches a store and follows what comes, and its API as JSON "
		 "(/api/search, /api/tail).\n\n"
		 "  tapline web --store /var/lib/tapline/store.db",
	.options = options,
};

static void wait_for_end(void)
{
	sigset_t set;
	int signal_number;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigwait(&set, &signal_number);
}

/* Before the server's thread is there, so that it inherits the mask. */
static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

int tl_web_main(int argc, char **argv)
{
	struct settings settings = {0};
	struct tl_web_options web;
	struct tl_conf *conf = NULL;
	struct tl_error error = {0};
	char store[4096];
	uint16_t port;
	int rest, r;

	tl_msg_init("tapline", TL_INFO);
	r = tl_cli_load(&tl_web_spec, argc, argv, &settings, &conf, &rest);
	if (r)
		return r - 1;
	if (settings.store)
		snprintf(store, sizeof(store), "%s", settings.store);
	else
		tl_cli_store_path(store, sizeof(store));
	web = (struct tl_web_options){store, settings.listen, settings.token};
	block_signals();
	r = tl_web_serve(&web, &port, &error);
	if (r < 0) {
		tl_msg(TL_ERROR, "%s", error.message);
		tl_conf_free(conf);
		return r == -EINVAL ? 2 : 1;
	}
	tl_msg(TL_INFO, "searching %s at http://%s/ (port %u)", store, settings.listen, port);
	wait_for_end();
	tl_conf_free(conf);
	return 0;
}
