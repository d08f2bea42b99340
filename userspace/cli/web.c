/* SPDX-License-Identifier: Apache-2.0 */
/* `tapline web`: the search page over a store. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/msg.h"
#include "userspace/cli/cli.h"
#include "userspace/web/server.h"

#define FIELD(member) offsetof(struct settings, member)

struct settings {
	const char *store, *listen, *state_dir, *token;
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
	{.name = "state",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(state_dir),
	 .value = "/var/lib/tapline/agent",
	 .metavar = "DIR",
	 .help = "State folder of this host's agent, whose status the page shows as health."},
	{.name = "token-file",
	 .type = TL_OPT_SECRET,
	 .offset = FIELD(token),
	 .metavar = "FILE",
	 .help = "File with a token of 16 characters or more that the API then asks for; "
		 "http://HOST:PORT/?token=TOKEN lets a browser in."},
	{.name = NULL},
};

const struct tl_conf_spec tl_web_spec = {
	.program = "tapline web",
	.section = "web",
	.usage = "tapline web [--store FILE] [--listen HOST:PORT]",
	.about =
		"Serves the live page over a store: what comes, searches, the lines of one request "
		"across services, charts and health; and its API (docs/web.md).\n\n"
		"  tapline web --store /var/lib/tapline/store.db",
	.options = options,
};

/* As a person opens it: the port that was chosen, and a name where any address or none was given.
 */
static void shown_address(const char *listen, uint16_t port, char *out, size_t size)
{
	int host = (int)(strrchr(listen, ':') - listen);

	if (host == 0 || strncmp(listen, "0.0.0.0:", 8) == 0 || strncmp(listen, "[::]:", 5) == 0)
		snprintf(out, size, "%s:%u", host ? "HOST" : "127.0.0.1", port);
	else
		snprintf(out, size, "%.*s:%u", host, listen, port);
}

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
	char store[4096], at[300];
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
	web = (struct tl_web_options){.store = store,
				      .listen = settings.listen,
				      .state = settings.state_dir,
				      .token = settings.token};
	block_signals();
	r = tl_web_serve(&web, &port, &error);
	if (r < 0) {
		tl_msg(TL_ERROR, "%s", error.message);
		tl_conf_free(conf);
		return r == -EINVAL ? 2 : 1;
	}
	shown_address(settings.listen, port, at, sizeof(at));
	tl_msg(TL_INFO, "the page is at http://%s/%s, over %s", at,
	       settings.token ? "?token=..." : "", store);
	wait_for_end();
	tl_conf_free(conf);
	return 0;
}
