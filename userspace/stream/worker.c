/* SPDX-License-Identifier: Apache-2.0 */
/* One transaction a batch: the outputs, the input positions and the marks of resent messages become
 * visible together or not at all. A batch ends when `batch` messages were taken or
 * `commit-interval` has passed. When the bus says that it aborted (broker away, rebalance),
 * everything that this batch changed in memory is forgotten and the same inputs come again. A
 * killed worker leaves an open transaction; its successor of the same instance fences it and goes
 * on. */
#include "userspace/stream/worker.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "userspace/base/clock.h"
#include "userspace/base/metrics.h"
#include "userspace/base/msg.h"
#include "userspace/bus/kafka.h"
#include "userspace/stream/marks.h"
#include "userspace/stream/otlp_output.h"
#include "userspace/stream/pipeline_settings.h"
#include "userspace/web/metrics_server.h"

#define POLL_MAX 512
#define MARKS_MAX 65536
#define STOP_SECONDS 20 /* from SIGTERM to giving the last batch up */

struct settings {
	struct tl_kafka_settings kafka;
	struct tl_pipeline_settings pipeline;
	const char *group, *instance, *metrics;
	uint64_t commit_ns;
	int64_t batch;
	bool accept_gap, quiet;
};

#define FIELD(member) offsetof(struct settings, member)

static const struct tl_option options[] = {
	TL_KAFKA_OPTIONS(struct settings, kafka),
	{.name = "group",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(group),
	 .value = "tapline-stream",
	 .metavar = "NAME",
	 .help = "Consumer group: workers of one group share the partitions."},
	{.name = "instance",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(instance),
	 .metavar = "NAME",
	 .help = "Stable name of this worker, unlike any other's of the group: a restarted one "
		 "resumes at once. Default: "
		 "the host's name."},
	TL_PIPELINE_OPTIONS(struct settings, pipeline),
	{.name = "commit-interval",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(commit_ns),
	 .value = "200ms",
	 .metavar = "TIME",
	 .help = "Longest time between two transactions: what outputs wait before they are "
		 "visible."},
	{.name = "batch",
	 .type = TL_OPT_INT,
	 .offset = FIELD(batch),
	 .value = "10000",
	 .min = 1,
	 .max = 1000000,
	 .metavar = "N",
	 .help = "Most messages in one transaction."},
	{.name = "otlp-topic",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(kafka.otlp_topic),
	 .metavar = "NAME",
	 .help = "Write the finished records to this topic too, as OTLP protobuf, in the same "
		 "transaction: for a Collector's kafkareceiver (encoding otlp_proto), for example "
		 "otlp_logs."},
	{.name = "accept-gap",
	 .type = TL_OPT_BOOL,
	 .offset = FIELD(accept_gap),
	 .value = "false",
	 .help = "Go on behind a gap that the topics' retention has made."},
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
	{.name = NULL},
};

const struct tl_conf_spec tl_stream_spec = {
	.program = "tapline stream",
	.section = "stream",
	.usage = "tapline stream --brokers HOST:PORT [options]",
	.about = "Reads tapline.raw and tapline.http, parses, enriches, filters and redacts, and "
		 "writes tapline.logs,\n"
		 "tapline.metrics and tapline.dlq, one transaction a batch: each line once, "
		 "whatever is killed.\n\n"
		 "  tapline stream --brokers kafka:9092\n"
		 "  tapline stream --brokers kafka:9092 --drop 'attributes.url.path=/healthz' "
		 "--service-parser 'cart=json'",
	.options = options,
};

struct worker {
	struct settings settings;
	struct tl_bus *bus;
	struct tl_marks *marks;
	struct tl_pipeline *pipeline;
	struct tl_otlp_output *otlp; /* NULL: no such topic is wanted */
	struct tl_message messages[POLL_MAX];
	uint64_t batch_start_ns;
	int64_t in_batch;
	int listener_error; /* of a rebalance, told by the loop */
	struct tl_error error;
};

static volatile sig_atomic_t stop_asked;

static struct tl_metric received = {.name = "tapline_stream_received_records_total",
				    .help = "Messages read.",
				    .type = TL_COUNTER};
static struct tl_metric resent = {.name = "tapline_stream_resent_records_total",
				  .help = "Messages dropped because an agent had sent them before.",
				  .type = TL_COUNTER};
static struct tl_metric committed = {.name = "tapline_stream_transactions_total",
				     .help = "Transactions, by result.",
				     .type = TL_COUNTER,
				     .labels = "result=\"committed\""};
static struct tl_metric aborted = {.name = "tapline_stream_transactions_total",
				   .help = "Transactions, by result.",
				   .type = TL_COUNTER,
				   .labels = "result=\"aborted\""};
static struct tl_metric lag = {
	.name = "tapline_stream_lag_records", .help = "Messages not read yet.", .type = TL_GAUGE};

/* A broker that is away would keep the last commit, and so the program, for as long as it takes.
 * Ending without it is as good as being killed: the next worker takes the same inputs. */
static void on_stop(int signal_number)
{
	(void)signal_number;
	stop_asked = 1;
	alarm(STOP_SECONDS);
}

static void on_alarm(int signal_number)
{
	static const char text[] = "tapline-stream: warning: Kafka did not answer in time, the "
				   "last batch is left to the next "
				   "worker\n";

	(void)signal_number;
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(1);
	_exit(1);
}

static void forget_batch(struct worker *worker)
{
	tl_pipeline_abort(worker->pipeline);
	tl_marks_abort(worker->marks);
	if (worker->otlp)
		tl_otlp_output_abort(worker->otlp);
	if (worker->in_batch)
		tl_metric_add(&aborted, 1);
	worker->in_batch = 0;
}

static void on_assigned(void *arg, struct tl_partition *partitions, size_t n)
{
	struct worker *worker = arg;

	for (size_t i = 0; i < n && worker->listener_error == 0; i++)
		worker->listener_error =
			tl_marks_load(worker->marks, worker->bus, &partitions[i], &worker->error);
}

static void on_revoked(void *arg, const struct tl_partition *partitions, size_t n)
{
	struct worker *worker = arg;

	forget_batch(worker);
	for (size_t i = 0; i < n; i++)
		tl_marks_drop(worker->marks, &partitions[i]);
}

static int on_output(void *arg, const struct tl_message *message, const struct tl_record *record)
{
	struct worker *worker = arg;
	int r = worker->bus->ops->produce(worker->bus, message, &worker->error);

	if (r == 0 && worker->otlp && message->topic == TL_TOPIC_LOGS)
		r = tl_otlp_output_add(worker->otlp, worker->bus, record, &worker->error);
	return r;
}

static int take(struct worker *worker, int n)
{
	uint64_t before = tl_marks_resent(worker->marks);

	for (int i = 0; i < n; i++) {
		int r;

		if (!tl_marks_take(worker->marks, &worker->messages[i]))
			continue;
		r = tl_pipeline_message(worker->pipeline, &worker->messages[i]);
		if (r < 0)
			return r;
	}
	if (worker->in_batch == 0)
		worker->batch_start_ns = tl_mono_ns();
	worker->in_batch += n;
	tl_metric_add(&received, (uint64_t)n);
	tl_metric_add(&resent, tl_marks_resent(worker->marks) - before);
	return 0;
}

static int commit(struct worker *worker)
{
	int r = tl_pipeline_flush(worker->pipeline);

	if (r == 0 && worker->otlp)
		r = tl_otlp_output_flush(worker->otlp, worker->bus, &worker->error);
	if (r == 0)
		r = tl_marks_write(worker->marks, worker->bus, &worker->error);
	if (r == 0)
		r = worker->bus->ops->commit(worker->bus, &worker->error);
	if (r < 0)
		return r;
	tl_marks_commit(worker->marks);
	tl_metric_add(&committed, 1);
	worker->in_batch = 0;
	return 0;
}

static unsigned wait_ms(const struct worker *worker)
{
	uint64_t passed;

	if (!worker->in_batch)
		return 500;
	passed = tl_mono_ns() - worker->batch_start_ns;
	return passed >= worker->settings.commit_ns
		       ? 0
		       : (unsigned)((worker->settings.commit_ns - passed) / TL_MS) + 1;
}

static bool is_due(const struct worker *worker)
{
	return worker->in_batch &&
	       (worker->in_batch >= worker->settings.batch ||
		tl_mono_ns() - worker->batch_start_ns >= worker->settings.commit_ns);
}

/* One round. Returns 0, -EAGAIN (everything of the batch was taken back), or a final error. */
static int step(struct worker *worker)
{
	struct tl_bus *bus = worker->bus;
	int n = bus->ops->poll(bus, worker->messages, POLL_MAX, wait_ms(worker), &worker->error),
	    r = 0;

	if (worker->listener_error < 0)
		return worker->listener_error;
	if (n < 0)
		return n;
	if (n > 0)
		r = take(worker, n);
	if (r == 0 && is_due(worker))
		r = commit(worker);
	return r;
}

static int run(struct worker *worker)
{
	uint64_t next_lag_ns = 0;
	int r = 0;

	while (!stop_asked && r == 0) {
		r = step(worker);
		if (r == -EAGAIN) {
			forget_batch(worker);
			r = worker->bus->ops->abort(worker->bus, &worker->error);
			if (r == -EAGAIN)
				r = 0;
		}
		if (tl_mono_ns() >= next_lag_ns) {
			int64_t left = worker->bus->ops->lag(worker->bus);

			tl_metric_set(&lag, left > 0 ? (uint64_t)left : 0);
			next_lag_ns = tl_mono_ns() + TL_SEC;
		}
	}
	if (r == 0 && worker->in_batch)
		r = commit(worker);
	return r == -EAGAIN
		       ? 0
		       : r; /* at the end: what was taken back comes again to the next worker */
}

static int make_pipeline(struct worker *worker)
{
	const struct settings *settings = &worker->settings;
	struct tl_pipeline_options pipeline = tl_pipeline_options_of(&settings->pipeline);

	pipeline.output = on_output;
	pipeline.arg = worker;
	worker->marks = tl_marks_new(MARKS_MAX);
	if (!worker->marks)
		return tl_error_set(&worker->error, -ENOMEM, "no memory for the marks");
	if (settings->kafka.otlp_topic && tl_otlp_output_new(&worker->otlp) < 0)
		return tl_error_set(&worker->error, -ENOMEM, "no memory for the OTLP output");
	return tl_pipeline_new(&pipeline, &worker->pipeline, &worker->error);
}

static int open_bus(struct worker *worker)
{
	static const int inputs[] = {TL_TOPIC_RAW, TL_TOPIC_HTTP};
	static char host[256];
	const struct tl_bus_listener listener = {on_assigned, on_revoked, worker};
	struct tl_bus_options bus = {
		.kafka = &worker->settings.kafka,
		.group = worker->settings.group,
		.instance = worker->settings.instance,
		.transactional = true,
		.accept_gap = worker->settings.accept_gap,
	};
	int r;

	if (!bus.instance) {
		gethostname(host, sizeof(host) - 1);
		bus.instance = host;
	}
	r = tl_bus_kafka_open(&bus, &worker->bus, &worker->error);
	if (r < 0)
		return r;
	return worker->bus->ops->subscribe(worker->bus, inputs, ARRAY_SIZE(inputs), &listener,
					   &worker->error);
}

static void register_metrics(void)
{
	tl_metric_register(&received);
	tl_metric_register(&resent);
	tl_metric_register(&committed);
	tl_metric_register(&aborted);
	tl_metric_register(&lag);
}

static int work(struct worker *worker)
{
	const struct settings *settings = &worker->settings;
	int r = make_pipeline(worker);

	register_metrics();
	if (r == 0 && settings->metrics)
		r = tl_metrics_serve(settings->metrics, &worker->error);
	if (r == 0)
		r = open_bus(worker);
	if (r == 0) {
		tl_msg(TL_INFO, "reading %sraw and %shttp from %s", settings->kafka.topic_prefix,
		       settings->kafka.topic_prefix, settings->kafka.brokers);
		r = run(worker);
	}
	if (worker->bus)
		worker->bus->ops->close(worker->bus);
	tl_pipeline_free(worker->pipeline);
	tl_marks_free(worker->marks);
	tl_otlp_output_free(worker->otlp);
	return r;
}

int tl_stream_main(int argc, char **argv)
{
	static struct worker worker;
	const struct sigaction action = {.sa_handler = on_stop}, late = {.sa_handler = on_alarm};
	struct tl_conf *conf = NULL;
	int rest, r;

	tl_msg_init("tapline-stream", TL_INFO);
	r = tl_conf_load(&tl_stream_spec, argc, argv, &worker.settings, &conf, &rest,
			 &worker.error);
	if (r != 0) {
		if (r < 0)
			tl_msg(TL_ERROR, "%s", worker.error.message);
		return r < 0 ? 2 : 0;
	}
	if (worker.settings.quiet)
		tl_msg_init("tapline-stream", TL_WARNING);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGALRM, &late, NULL);
	signal(SIGPIPE, SIG_IGN);
	r = work(&worker);
	if (r < 0)
		tl_msg(TL_ERROR, "%s",
		       worker.error.message[0] ? worker.error.message : strerror(-r));
	tl_conf_free(conf);
	return r < 0 ? (r == -EINVAL ? 2 : 1) : 0;
}
