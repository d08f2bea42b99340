/* SPDX-License-Identifier: Apache-2.0 */
/* `tapline tail`: the newest records, then what comes. A store is asked again whenever something
 * was committed to it. */
#include "userspace/cli/tail.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "userspace/base/msg.h"
#include "userspace/bus/kafka.h"
#include "userspace/cli/cli.h"

#define FIELD(member) offsetof(struct tl_tail_settings, member)
#define LOOK_NS 20000000L

static volatile int stop;

static const struct tl_option options[] = {
	{.name = "follow",
	 .type = TL_OPT_BOOL,
	 .offset = FIELD(follow),
	 .value = "true",
	 .letter = 'f',
	 .help = "Go on with what comes; --no-follow ends after the newest."},
	{.name = "lines",
	 .type = TL_OPT_INT,
	 .offset = FIELD(lines),
	 .value = "10",
	 .min = 0,
	 .max = 1000000,
	 .letter = 'n',
	 .metavar = "N",
	 .help = "How many of those that are there already (over Kafka: of each partition)."},
	TL_FILTER_OPTIONS(struct tl_tail_settings, filter),
	TL_KAFKA_OPTIONS_IF(struct tl_tail_settings, kafka, false),
	{.name = NULL},
};

const struct tl_conf_spec tl_tail_spec = {
	.program = "tapline tail",
	.section = "tail",
	.usage = "tapline tail [WORD | FIELD=VALUE]... [options]",
	.about = "Shows the newest records of a store, or with --brokers of the topic "
		 "tapline.logs, and then those that come. "
		 "Words and fields choose, as in tapline search.\n\n"
		 "  tapline tail\n"
		 "  tapline tail service=cart --severity warn\n"
		 "  tapline tail --brokers kafka:9092 -o json 'how!=none' | jq .body",
	.options = options,
};

struct newest {
	struct tl_printer *printer;
	char **rows; /* copies, newest first */
	size_t n, max;
	int64_t last; /* greatest number seen */
};

static int keep(void *arg, const struct tl_row *row)
{
	struct newest *newest = arg;

	if (newest->n == newest->max)
		return 1;
	newest->rows[newest->n] = strndup(row->json.data, row->json.len);
	return newest->rows[newest->n] ? (newest->n++, 0) : -ENOMEM;
}

static int print_row(void *arg, const struct tl_row *row)
{
	struct newest *newest = arg;

	newest->last = row->number;
	tl_printer_add(newest->printer, row->json);
	return newest->printer->gone;
}

/* Prints the newest that match. What is committed meanwhile has greater numbers than `last` and
 * comes next. */
static int print_newest(struct tl_store_reader *reader, struct tl_query *query,
			struct newest *newest, struct tl_error *error)
{
	int r = 0;

	newest->last = tl_store_newest(reader, query->exchanges);
	query->limit = newest->max;
	newest->rows = calloc(newest->max + 1, sizeof(*newest->rows));
	if (!newest->rows)
		return tl_error_set(error, -ENOMEM, "out of memory");
	if (newest->max)
		r = tl_store_query(reader, query, keep, newest, error);
	for (size_t i = newest->n; i-- > 0;) {
		if (r >= 0)
			tl_printer_add(newest->printer, tl_span_str(newest->rows[i]));
		free(newest->rows[i]);
	}
	free(newest->rows);
	tl_printer_flush(newest->printer);
	return r < 0 ? r : 0;
}

static int follow(struct tl_store_reader *reader, struct tl_query *query, struct newest *newest,
		  struct tl_error *error)
{
	const struct timespec look = {0, LOOK_NS};
	int r = 0;

	query->limit = 0;
	while (r == 0 && !stop && !newest->printer->gone) {
		if (tl_store_changed(reader)) {
			int64_t now = tl_store_newest(reader, query->exchanges);

			/* Numbers begin anew once everything was removed. */
			if (now < newest->last)
				newest->last = 0;
			query->after = newest->last;
			r = tl_store_query(reader, query, print_row, newest, error);
			newest->last = newest->last > now ? newest->last : now;
			tl_printer_flush(newest->printer);
		}
		nanosleep(&look, NULL);
	}
	return r < 0 ? r : 0;
}

/* With --follow a store that is not there yet is waited for. */
static int open_store(const struct tl_tail_settings *settings, struct tl_store_reader **ret_reader,
		      struct tl_error *error)
{
	const struct timespec look = {0, 10 * LOOK_NS};
	bool told = false;
	char path[4096];
	int r;

	tl_filter_store(&settings->filter, path, sizeof(path));
	while ((r = tl_store_reader_open(path, ret_reader, error)) == -ENOENT && settings->follow &&
	       !stop) {
		if (!told)
			tl_msg(TL_INFO, "%s; waiting for it", error->message);
		told = true;
		nanosleep(&look, NULL);
	}
	return r;
}

static int tail_store(const struct tl_tail_settings *settings, struct tl_query *query,
		      struct tl_printer *printer, struct tl_error *error)
{
	_cleanup_(tl_store_reader_closep) struct tl_store_reader *reader = NULL;
	struct newest newest = {.printer = printer, .max = (size_t)settings->lines};
	int r = open_store(settings, &reader, error);

	if (r < 0)
		return stop ? 0 : r;
	r = print_newest(reader, query, &newest, error);
	if (r < 0 || !settings->follow)
		return r;
	return follow(reader, query, &newest, error);
}

static void on_stop(int signal_number)
{
	(void)signal_number;
	stop = 1;
}

static int run(const struct tl_tail_settings *settings, int n, char **words, struct tl_error *error)
{
	static struct tl_printer printer;
	struct sigaction action = {.sa_handler = on_stop};
	struct tl_query query;
	int r = tl_filter_query(&settings->filter, n, words, &query, error);

	if (r < 0)
		return r;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	tl_printer_init(&printer, &settings->filter, !settings->follow);
	if (settings->kafka.brokers)
		r = tl_tail_kafka(settings, &query, &printer, &stop, error);
	else
		r = tail_store(settings, &query, &printer, error);
	tl_printer_done(&printer);
	return r;
}

int tl_tail_main(int argc, char **argv)
{
	struct tl_tail_settings settings = {0};
	struct tl_conf *conf = NULL;
	struct tl_error error = {0};
	int rest, r;

	tl_msg_init("tapline", TL_INFO);
	r = tl_cli_load(&tl_tail_spec, argc, argv, &settings, &conf, &rest);
	if (r)
		return r - 1;
	r = run(&settings, argc - rest, argv + rest, &error);
	if (r < 0)
		tl_msg(TL_ERROR, "%s", error.message);
	tl_conf_free(conf);
	return r < 0 ? (r == -EINVAL || r == -E2BIG ? 2 : 1) : 0;
}
