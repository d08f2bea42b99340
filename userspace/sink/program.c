/* SPDX-License-Identifier: Apache-2.0 */
/* tapline-sink: finds the sink by its name, loads its settings and Kafka's from one table, and runs
 * the loop over Kafka or, with --log-dir, over an agent's local log. The table of a sink is the
 * common rows and then its own, whose settings lie behind the common ones. */
#include "userspace/sink/main.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/clock.h"
#include "userspace/base/msg.h"
#include "userspace/base/text.h"
#include "userspace/bus/kafka.h"
#include "userspace/sink/direct.h"
#include "userspace/sink/runner.h"
#include "userspace/web/metrics_server.h"

#define ROWS_MAX 64
#define SINKS_MAX 16
#define COLLECT_BYTES (24u << 20)
#define COLLECT_BATCH 4000	/* takes copies anyway: more at once is only memory */
#define FETCH_BYTES (16u << 20) /* fetched ahead: some batches; more makes no sink faster */
#define FIELD(member) offsetof(struct tl_sink_common, member)

struct tl_sink_common {
	struct tl_kafka_settings kafka;
	struct tl_direct_settings direct;
	const char *group, *instance, *metrics;
	bool accept_gap, quiet;
	int64_t batch;
	uint64_t batch_bytes, linger_ns;
	_Alignas(16) char own[]; /* the sink's settings */
};

static const struct tl_option common[] = {
	TL_KAFKA_OPTIONS_IF(struct tl_sink_common, kafka, false),
	TL_DIRECT_OPTIONS(struct tl_sink_common, direct),
	{.name = "group",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(group),
	 .metavar = "NAME",
	 .help = "Consumer group; default tapline-sink-TYPE. Another name begins at the oldest "
		 "record. With --log-dir the name of this reader of the log."},
	{.name = "instance",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(instance),
	 .metavar = "NAME",
	 .help = "Stable name of this worker in its group, so that a restarted one goes on at "
		 "once; default the "
		 "host's name. Workers of one group need different names."},
	{.name = "batch",
	 .type = TL_OPT_INT,
	 .offset = FIELD(batch),
	 .value = "10000",
	 .min = 1,
	 .max = 100000,
	 .metavar = "N",
	 .help = "Records written and committed together, at most."},
	{.name = "batch-size",
	 .type = TL_OPT_SIZE,
	 .offset = FIELD(batch_bytes),
	 .value = "32MiB",
	 .metavar = "SIZE",
	 .help = "Bytes handed to the target together, at most."},
	{.name = "linger",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(linger_ns),
	 .value = "100ms",
	 .metavar = "TIME",
	 .help = "Batches that are not full are at least so far apart."},
	{.name = "accept-gap",
	 .type = TL_OPT_BOOL,
	 .offset = FIELD(accept_gap),
	 .value = "false",
	 .help = "Go on where records were deleted by retention before they were read; else that "
		 "is an error."},
	{.name = "metrics",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(metrics),
	 .metavar = "HOST:PORT",
	 .help = "Serve Prometheus metrics on http://HOST:PORT/metrics."},
	{.name = "quiet",
	 .type = TL_OPT_BOOL,
	 .offset = FIELD(quiet),
	 .value = "false",
	 .letter = 'q',
	 .help = "Say only warnings and errors."},
};

struct table {
	struct tl_conf_spec spec;
	struct tl_option rows[ROWS_MAX];
	char program[64], section[64], usage[128];
};

static struct table tables[SINKS_MAX];
static volatile int stop, give_up;

/* What section `stream` of a file says for the cluster holds without Kafka too. */
static const char *const base_keys[] = {"parser", "service-parser", "drop", "redact",
					"set",	  "window",	    NULL};

static void make_table(const struct tl_sink_ops *sink, struct table *table)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(common); i++)
		table->rows[n++] = common[i];
	for (const struct tl_option *row = sink->options; row->name && n < ROWS_MAX - 1; row++) {
		table->rows[n] = *row;
		table->rows[n++].offset += offsetof(struct tl_sink_common, own);
	}
	snprintf(table->program, sizeof(table->program), "tapline sink %s", sink->name);
	snprintf(table->section, sizeof(table->section), "sink.%s", sink->name);
	snprintf(table->usage, sizeof(table->usage),
		 "tapline sink %s --brokers HOST:PORT | --log-dir DIR [options]", sink->name);
	table->spec = (struct tl_conf_spec){.program = table->program,
					    .section = table->section,
					    .usage = table->usage,
					    .about = sink->about,
					    .list = "sinks",
					    .list_type = sink->name,
					    .list_base = "stream",
					    .list_base_keys = base_keys,
					    .options = table->rows};
}

static const struct tl_conf_spec *spec_of(size_t i)
{
	if (!tables[i].spec.program)
		make_table(tl_sinks[i], &tables[i]);
	return &tables[i].spec;
}

size_t tl_sink_specs(const struct tl_conf_spec **specs, size_t max)
{
	size_t n = 0;

	for (; tl_sinks[n] && n < max && n < SINKS_MAX; n++)
		specs[n] = spec_of(n);
	return n;
}

static int usage(FILE *out, int status)
{
	fputs("Usage: tapline sink TYPE --brokers HOST:PORT [options]\n"
	      "       tapline sink TYPE --log-dir DIR [options]\n"
	      "       tapline sink --config FILE        all of its list `sinks:`\n\n"
	      "Carries finished records from Kafka, or straight from an agent's local log, to "
	      "where they are searched. Types:\n\n",
	      out);
	for (size_t i = 0; tl_sinks[i]; i++) {
		size_t line = strcspn(tl_sinks[i]->about, ".:\n");

		fprintf(out, "  %-14s %.*s\n", tl_sinks[i]->name, (int)line, tl_sinks[i]->about);
	}
	fputs("\n`tapline sink TYPE --help` lists the options of one.\n", out);
	return status;
}

static int unknown(const char *word)
{
	const char *names[SINKS_MAX], *near;
	size_t n = 0;

	for (; tl_sinks[n] && n < SINKS_MAX; n++)
		names[n] = tl_sinks[n]->name;
	near = tl_nearest(word, names, n);
	fprintf(stderr, "tapline sink: there is no sink `%s`", word);
	if (near)
		fprintf(stderr, "; did you mean `%s`?", near);
	fputs("\n(tapline sink --help lists them)\n", stderr);
	return 2;
}

static unsigned drain_s;

static void on_stop(int signal_number)
{
	/* The second one means it. */
	if (signal_number == SIGALRM || stop)
		give_up = 1;
	stop = 1;
	if (signal_number != SIGALRM)
		alarm(drain_s);
}

static void catch_signals(const struct tl_sink_common *s)
{
	struct sigaction action = {.sa_handler = on_stop};

	drain_s = s->direct.log_dir ? (unsigned)(s->direct.drain_ns / TL_SEC) + 1 : 0;
	sigaction(SIGALRM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* The id that tells one Kafka cluster from another: what a store's offsets belong to. */
static int cluster_id(const struct tl_kafka_settings *settings, char *out, size_t size,
		      struct tl_error *error)
{
	_cleanup_(rd_kafka_destroyp) rd_kafka_t *rk = NULL;
	rd_kafka_conf_t *conf;
	char *id;
	int r = tl_kafka_conf_new(settings, NULL, NULL, NULL, &conf, error);

	r = r < 0 ? r : tl_kafka_new(RD_KAFKA_PRODUCER, conf, &rk, error);
	if (r < 0)
		return r;
	id = rd_kafka_clusterid(rk, 30000);
	if (!id)
		return tl_error_set(error, -ECONNREFUSED,
				    "Kafka at %s does not tell its cluster id; check --brokers",
				    settings->brokers);
	snprintf(out, size, "kafka:%s:%s", id, settings->topic_prefix);
	rd_kafka_mem_free(rk, id);
	return 0;
}

static size_t batch_of(const struct tl_sink_common *s, const struct tl_sink *sink)
{
	size_t most = sink->ops->advance ? COLLECT_BATCH : (size_t)s->batch;

	return (size_t)s->batch < most ? (size_t)s->batch : most;
}

static int run_loop(const struct tl_sink_common *s, struct tl_bus *bus, struct tl_sink *sink,
		    struct tl_error *error)
{
	char source[400] = "";
	struct tl_sink_runner_options options = {
		.bus = bus,
		.sink = sink,
		.source = source,
		.batch_messages = batch_of(s, sink),
		.batch_bytes = s->batch_bytes,
		.linger_ms = (unsigned)(s->linger_ns / TL_MS),
		.stop = &stop,
	};
	int r = sink->ops->commit || sink->ops->advance
			? cluster_id(&s->kafka, source, sizeof(source), error)
			: 0;

	return r < 0 ? r : tl_sink_run(&options, error);
}

static int run_kafka(const struct tl_sink_ops *ops, const struct tl_sink_common *s,
		     struct tl_sink *sink, struct tl_error *error)
{
	char group[128], host[128] = "sink";
	struct tl_bus_options options = {.kafka = &s->kafka,
					 .group = s->group,
					 .instance = s->instance,
					 .accept_gap = s->accept_gap,
					 .memory_bytes =
						 ops->advance ? COLLECT_BYTES : FETCH_BYTES};
	struct tl_bus *bus = NULL;
	int r;

	snprintf(group, sizeof(group), "tapline-sink-%s", ops->name);
	gethostname(host, sizeof(host) - 1);
	if (!options.group)
		options.group = group;
	if (!options.instance)
		options.instance = host;
	r = tl_bus_kafka_open(&options, &bus, error);
	if (r < 0)
		return r;
	tl_msg(TL_INFO, "group %s, instance %s: writing", options.group, options.instance);
	catch_signals(s);
	r = run_loop(s, bus, sink, error);
	bus->ops->close(bus);
	return r;
}

static int run_direct(const struct tl_sink_ops *ops, const struct tl_sink_common *s,
		      struct tl_sink *sink, struct tl_error *error)
{
	struct tl_sink_runner_options options = {
		.sink = sink,
		.batch_messages = batch_of(s, sink),
		.batch_bytes = s->batch_bytes,
		.linger_ms = (unsigned)(s->linger_ns / TL_MS),
		.stop = &stop,
		.give_up = &give_up,
	};

	return tl_direct_run(&s->direct, s->group ? s->group : ops->name, &options, error);
}

static int run(const struct tl_sink_ops *ops, struct tl_sink_common *s, struct tl_error *error)
{
	struct tl_sink *sink = NULL;
	int r;

	if (!s->kafka.brokers && !s->direct.log_dir)
		s->direct.log_dir = s->direct.default_log_dir;
	if (!s->kafka.brokers == !s->direct.log_dir)
		return tl_error_set(error, -EINVAL,
				    "give --brokers HOST:PORT (records from Kafka) or --log-dir "
				    "DIR (straight from an agent's log)%s",
				    s->kafka.brokers ? ", not both" : "");
	/* Told to stop while it waits for its target, it still owes what is in the log. */
	if (s->direct.log_dir)
		catch_signals(s);
	r = s->metrics ? tl_metrics_serve(s->metrics, error) : 0;
	r = r < 0 ? r : ops->open(s->own, &sink, error);
	if (r < 0)
		return r;
	r = s->direct.log_dir ? run_direct(ops, s, sink, error) : run_kafka(ops, s, sink, error);
	sink->ops->close(sink);
	if (r == 0 && s->direct.log_dir && s->direct.until_end)
		r = tl_direct_left(s->direct.log_dir, s->group ? s->group : ops->name, error);
	return r;
}

static int load_and_run(size_t i, int argc, char **argv)
{
	_cleanup_(freep) struct tl_sink_common *settings =
		calloc(1, sizeof(*settings) + tl_sinks[i]->settings_size);
	struct tl_error error = {0};
	struct tl_conf *conf = NULL;
	int rest, r;

	if (!settings)
		return 1;
	r = tl_conf_load(spec_of(i), argc, argv, settings, &conf, &rest, &error);
	if (r < 0) {
		tl_msg(TL_ERROR, "%s", error.message);
		return 2;
	}
	if (r > 0)
		return 0;
	if (rest < argc) {
		tl_msg(TL_ERROR, "`%s` is not understood here (tapline sink %s --help)", argv[rest],
		       tl_sinks[i]->name);
		return 2;
	}
	tl_msg_init("tapline-sink", settings->quiet ? TL_WARNING : TL_INFO);
	r = run(tl_sinks[i], settings, &error);
	if (r < 0)
		tl_msg(TL_ERROR, "%s", error.message);
	if (r < 0)
		r = r == -EINVAL && !settings->kafka.brokers && !settings->direct.log_dir ? 2 : 1;
	else if (r > 0)
		r = TL_SINK_LEFT;
	tl_conf_free(conf);
	return r;
}

int tl_sink_main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : NULL;

	tl_msg_init("tapline-sink", TL_INFO);
	if (!word)
		return usage(stderr, 2);
	if (strncmp(word, "--config", 8) == 0 || strncmp(word, "--log-dir", 9) == 0)
		return tl_sink_all_main(argc, argv);
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		return usage(stdout, 0);
	for (size_t i = 0; tl_sinks[i] && i < SINKS_MAX; i++)
		if (strcmp(tl_sinks[i]->name, word) == 0)
			return load_and_run(i, argc - 1, argv + 1);
	return unknown(word);
}
