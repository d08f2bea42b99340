/* SPDX-License-Identifier: Apache-2.0 */
/* `tapline pipeline`, started by `tapline run`: the stages of the cluster in one process over the
 * local log. What was committed to the store is shown, so what a person saw can be found. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/clock.h"
#include "userspace/base/map.h"
#include "userspace/base/msg.h"
#include "userspace/cli/cli.h"
#include "userspace/cli/format.h"
#include "userspace/log/log.h"
#include "userspace/sink/runner.h"
#include "userspace/sink/store.h"

#define FIELD(member) offsetof(struct settings, member)
#define CONSUMER "pipeline"
#define LOG_WAIT_MS 120000u
#define BATCH 4096u
#define BATCH_BYTES ((size_t)32 << 20)
#define HINTED_MAX 256u
#define WINDOW_NS (10 * TL_SEC)
#define SERIES_MAX 4096u
#define OUT_BYTES ((size_t)256 << 10)

enum output { OUT_TEXT, OUT_JSON, OUT_NONE };

struct settings {
	const char *log, *parser;
	struct tl_store_settings store;
	int output;
};

struct screen {
	int output;
	struct tl_format format;
	struct tl_buf out;
	bool gone;	       /* nobody reads our stdout any more */
	struct tl_map *hinted; /* services whose buffering was named */
};

static const char *const outputs[] = {"text", "json", "none", NULL};
static volatile int stop;

static const struct tl_option options[] = {
	{.name = "log",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(log),
	 .metavar = "DIR",
	 .required = true,
	 .help = "Folder of the agent's local log."},
	{.name = "store",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(store.path),
	 .metavar = "FILE",
	 .required = true,
	 .help = "SQLite file that keeps the records."},
	{.name = "output",
	 .type = TL_OPT_ENUM,
	 .offset = FIELD(output),
	 .value = "text",
	 .choices = outputs,
	 .letter = 'o',
	 .help = "What is printed."},
	{.name = "parser",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(parser),
	 .value = "auto",
	 .metavar = "NAME",
	 .help = "How lines are parsed."},
	{.name = "keep",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(store.keep_ns),
	 .value = "0",
	 .metavar = "TIME",
	 .help = "Remove records older than this; 0 keeps all."},
	{.name = "max-size",
	 .type = TL_OPT_SIZE,
	 .offset = FIELD(store.max_bytes),
	 .value = "2GiB",
	 .metavar = "SIZE",
	 .help = "Remove the oldest records while the store holds more than this; 0 is no limit."},
	{.name = NULL},
};

const struct tl_conf_spec tl_pipeline_spec = {
	.program = "tapline pipeline",
	.section = "pipeline",
	.usage = "tapline pipeline --log DIR --store FILE [options]",
	.about = "Parses what an agent's local log holds, stores it and prints it, until the log "
		 "is closed. Used by tapline run.",
	.options = options,
};

static struct tl_span value_of(const struct tl_attrs *attrs, const char *key)
{
	const struct tl_attr *attr = tl_attr_get(attrs, key);

	return attr ? attr->value : (struct tl_span){0};
}

static bool begins(struct tl_span text, const char *with)
{
	return text.len >= strlen(with) && memcmp(text.data, with, strlen(with)) == 0;
}

static const char *remedy(struct tl_span program)
{
	if (begins(program, "python"))
		return "set PYTHONUNBUFFERED=1 or start it as python3 -u";
	if (begins(program, "ruby"))
		return "set $stdout.sync = true in it";
	return "start it under stdbuf -oL, or use tapline run --tty";
}

/* Lines that come by the bufferful come late and cannot be told apart by request. */
static void hint(struct screen *screen, const struct tl_record *record)
{
	struct tl_span service = value_of(&record->resource, "service.name");
	struct tl_span program = value_of(&record->resource, "process.executable.name");
	uint64_t key = tl_hash(service.data, service.len);
	bool is_new;

	if (!value_of(&record->attributes, "log.batched").len ||
	    !tl_map_put(screen->hinted, &key, &is_new) || !is_new)
		return;
	tl_msg(TL_WARNING,
	       "%.*s keeps its output in a buffer: lines come late and in blocks, and miss their "
	       "requests; %s",
	       (int)service.len, service.data, remedy(program));
}

static void flush(struct screen *screen)
{
	const char *at = screen->out.data, *end = at + screen->out.len;

	while (at < end && !screen->gone) {
		ssize_t n = write(STDOUT_FILENO, at, (size_t)(end - at));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			screen->gone = true;
		else
			at += n;
	}
	tl_buf_clear(&screen->out);
}

static void show(void *arg, const struct tl_message *message, const struct tl_record *record)
{
	struct screen *screen = arg;

	if (!record) {
		flush(screen);
		return;
	}
	hint(screen, record);
	if (screen->output == OUT_NONE || screen->gone)
		return;
	if (screen->output == OUT_TEXT) {
		tl_format_record(&screen->format, record, &screen->out);
	} else {
		tl_buf_add(&screen->out, message->value.data, message->value.len);
		tl_buf_putc(&screen->out, '\n');
	}
	if (screen->out.len >= OUT_BYTES)
		flush(screen);
}

static void on_stop(int signal_number)
{
	(void)signal_number;
	stop = 1;
}

/* What the store's positions belong to. The id is read through a consumer of its own, which is then
 * forgotten. */
static int log_source(const char *dir, char *out, size_t size, struct tl_error *error)
{
	_cleanup_(tl_log_reader_closep) struct tl_log_reader *reader = NULL;
	int r = tl_log_reader_open(dir, CONSUMER "-id", TL_LOG_RESUME, 0, &reader, NULL, error);

	if (r < 0)
		return r;
	snprintf(out, size, "log:%016llx", (unsigned long long)tl_log_reader_id(reader));
	return tl_log_consumer_remove(dir, CONSUMER "-id");
}

static int run_stages(const struct settings *settings, struct tl_bus *bus, struct tl_sink *sink,
		      struct screen *screen, struct tl_error *error)
{
	char source[64];
	struct tl_pipeline_options pipeline = {
		.parser = settings->parser, .window_ns = WINDOW_NS, .max_series = SERIES_MAX};
	struct tl_sink_runner_options runner = {
		.bus = bus,
		.sink = sink,
		.source = source,
		.batch_messages = BATCH,
		.batch_bytes = BATCH_BYTES,
		.stop = &stop,
		.pipeline = &pipeline,
		.show = show,
		.arg = screen,
	};
	struct sigaction action = {.sa_handler = on_stop};
	int r = log_source(settings->log, source, sizeof(source), error);

	if (r < 0)
		return r;
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	return tl_sink_run(&runner, error);
}

static int run(const struct settings *settings, struct screen *screen, struct tl_error *error)
{
	struct tl_sink *sink = NULL;
	struct tl_bus *bus = NULL;
	int r = tl_sink_store.open(&settings->store, &sink, error);

	if (r < 0)
		return r;
	/* Until there is a log a signal simply ends us. */
	r = tl_bus_local_open(settings->log, CONSUMER, LOG_WAIT_MS, &bus, error);
	if (r == 0) {
		r = run_stages(settings, bus, sink, screen, error);
		flush(screen);
		bus->ops->close(bus);
	}
	sink->ops->close(sink);
	return r;
}

int tl_pipeline_main(int argc, char **argv)
{
	struct settings settings = {0};
	struct screen screen = {0};
	struct tl_error error = {0};
	struct tl_conf *conf = NULL;
	int rest, r;

	tl_msg_init("tapline", TL_INFO);
	r = tl_cli_load(&tl_pipeline_spec, argc, argv, &settings, &conf, &rest);
	if (r)
		return r - 1;
	signal(SIGPIPE, SIG_IGN);
	screen.output = settings.output;
	screen.format.colour = tl_format_colours(STDOUT_FILENO);
	screen.hinted = tl_map_new(sizeof(uint64_t), sizeof(char), HINTED_MAX);
	r = screen.hinted ? run(&settings, &screen, &error)
			  : tl_error_set(&error, -ENOMEM, "out of memory");
	if (r < 0)
		tl_msg(TL_ERROR, "%s", error.message);
	tl_buf_done(&screen.out);
	if (screen.hinted)
		tl_map_free(screen.hinted);
	tl_conf_free(conf);
	return r < 0 ? 1 : 0;
}
