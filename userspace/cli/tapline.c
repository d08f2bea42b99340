/* SPDX-License-Identifier: Apache-2.0 */
/* The people's command: finds the subcommand and gives it the rest. */
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/settings.h"
#include "userspace/base/text.h"
#include "userspace/cli/cli.h"
#include "userspace/sink/main.h"
#include "userspace/stream/worker.h"
#include "version.h"

const struct tl_command tl_commands[] = {
	{"run", "tap a command, or what already runs, on this host, with nothing else to install",
	 tl_run_main, &tl_run_spec, false},
	{"tail", "show records as they come", tl_tail_main, &tl_tail_spec, false},
	{"search", "find records by words, fields, time and request id", tl_search_main,
	 &tl_search_spec, false},
	{"status", "what an agent saw, delivered and lost, and why it trusts an id", tl_status_main,
	 &tl_status_spec, false},
	{"web", "a page over the store", tl_web_main, &tl_web_spec, false},
	{"config", "check a configuration file; print the reference", tl_config_main, NULL, false},
	{"agent", "capture and forward (a node's daemon)", tl_agent_main, &tl_agent_spec, false},
	{"stream", "parse, enrich, filter and count (Kafka to Kafka)", tl_stream_main,
	 &tl_stream_spec, false},
	{"sink", "carry records on: elasticsearch, otlp, file, store; from Kafka or a local log", tl_sink_main, NULL, false},
	{"unload", "take what a stopped agent left in the kernel out of it", tl_unload_main,
	 &tl_unload_spec, false},
	{"pipeline", "stream and store in one process over a local log", tl_pipeline_main, NULL,
	 true},
	{NULL, NULL, NULL, NULL, false},
};

static void usage(FILE *out)
{
	fputs("tapline captures what services already write, at the kernel's edge, and joins every "
	      "line to its request.\n\n"
	      "usage: tapline COMMAND [options]\n\n",
	      out);
	for (const struct tl_command *command = tl_commands; command->name; command++)
		if (!command->hidden)
			fprintf(out, "  %-8s %s\n", command->name, command->about);
	fputs("\nBegin with\n"
	      "  tapline run -- CMD ARG...       tap a command and see its lines\n"
	      "  tapline run --comm nginx        tap what already runs\n"
	      "  tapline search 'timeout'        find lines of earlier runs\n"
	      "\n`tapline COMMAND --help` tells more; docs/ has the rest.\n",
	      out);
}

static int unknown(const char *word)
{
	const char *names[ARRAY_SIZE(tl_commands)];
	const char *near;
	size_t n = 0;

	for (const struct tl_command *command = tl_commands; command->name; command++)
		if (!command->hidden)
			names[n++] = command->name;
	near = tl_nearest(word, names, n);
	fprintf(stderr, "tapline: there is no command `%s`", word);
	if (near)
		fprintf(stderr, "; did you mean `%s`?", near);
	fputs("\n(tapline --help lists them)\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : NULL;

	if (!word) {
		usage(stderr);
		return 2;
	}
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
		usage(stdout);
		return 0;
	}
	if (strcmp(word, "--version") == 0 || strcmp(word, "version") == 0) {
		printf("tapline %s\n", TL_VERSION);
		return 0;
	}
	for (const struct tl_command *command = tl_commands; command->name; command++)
		if (strcmp(word, command->name) == 0)
			return command->main(argc - 1, argv + 1);
	return unknown(word);
}
