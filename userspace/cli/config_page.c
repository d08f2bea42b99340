/* SPDX-License-Identifier: Apache-2.0 */
/* `tapline config page FILE`: the pages of docs/sinks are written by hand but for what a sink's
 * descriptor says: what it reads, where its positions are, its settings. `make docs` makes those
 * parts, tests/check.sh looks whether they are current. */
#include <stdio.h>
#include <string.h>

#include "userspace/base/msg.h"
#include "userspace/cli/cli.h"
#include "userspace/sink/sink.h"

#define BEGIN_MARK "<!-- settings of "
#define END_MARK "<!-- end of settings -->\n"

static void put_topics(const struct tl_sink_ops *sink)
{
	static const char *const names[] = TL_TOPIC_NAMES;

	fputs("Reads", stdout);
	for (size_t i = 0; i < sink->n_topics; i++)
		printf("%s `%s%s`", i ? "," : "", TL_DEFAULT_TOPIC_PREFIX, names[sink->topics[i]]);
}

static void put_settings(const struct tl_sink_ops *sink)
{
	put_topics(sink);
	fputs(sink->advance
		      ? "; its positions are stored ahead of the data, with the decision what "
			"an object holds"
	      : sink->commit ? "; its positions are stored with the data, in one step"
			     : "; its positions are stored after the data",
	      stdout);
	printf(". Settings of its own (section `sink.%s` of the YAML file; those that every sink "
	       "has: [configuration.md](../configuration.md#tapline-sink-%s)):\n\n",
	       sink->name, sink->name);
	tl_conf_markdown_table(sink->options, stdout);
}

/* Returns the sink that the line begins the settings of, or NULL; `*bad` says that there is none of
 * this name. */
static const struct tl_sink_ops *begins(const char *line, bool *bad)
{
	const struct tl_sink_ops *sink;
	char name[32];

	if (sscanf(line, BEGIN_MARK "%31[a-z0-9]", name) != 1)
		return NULL;
	sink = tl_sink_find(name);
	*bad = !sink;
	return sink;
}

int tl_config_page(const char *path)
{
	FILE *file = fopen(path, "r");
	bool skip = false, bad = false;
	char line[4096];

	if (!file) {
		tl_msg(TL_ERROR, "%s: %m", path);
		return 1;
	}
	while (!bad && fgets(line, sizeof(line), file)) {
		const struct tl_sink_ops *sink = begins(line, &bad);

		skip = skip && strcmp(line, END_MARK) != 0;
		if (!skip)
			fputs(line, stdout);
		if (sink) {
			put_settings(sink);
			skip = true;
		}
	}
	fclose(file);
	if (bad || skip)
		tl_msg(TL_ERROR, "%s: %s", path,
		       bad ? "settings of a sink that is not there"
			   : "\"" END_MARK "\" is missing");
	return bad || skip;
}
