/* SPDX-License-Identifier: Apache-2.0 */
/* The loop of a sink.
 *
 * One poll is one batch: it is written, its dead letters are seen to, and only then the positions
 * behind it are committed. A sink with a `commit` of its own is the truth about positions: they are
 * stored with the rows, the bus is told afterwards, and what the bus gives again (killed in
 * between, or a rebalance) is skipped by offset. Any other sink is idempotent by id: what the bus
 * gives again is written again and found to be there.
 *
 * A worker that was away while another had its partitions may find that the store knows other
 * positions: it reads them again and goes on. One that finds it again and again, with partitions
 * that stay its own, shares its store with another group: that is final.
 *
 * A sink that collects (sink.h) has a loop of its own: runner_collect.c.
 *
 * Nothing is held back while there is little traffic: a poll that does not fill a batch is written
 * at once, and only the next poll waits until `linger_ms` have passed, so that a trickle costs at
 * most so many requests a second. */
#include "userspace/sink/runner.h"

#include <time.h>

#include "userspace/base/clock.h"
#include "userspace/base/metrics.h"
#include "userspace/base/msg.h"
#include "userspace/sink/runner_internal.h"

#define POLL_MS 200u
#define DRAIN_NS (10 * TL_SEC)
#define LAG_EVERY_NS (5 * TL_SEC)
#define OVERTAKEN_MAX 3u
#define ARENA_MAX ((size_t)512 << 20)

static struct tl_metric batches = {
	.name = "tapline_sink_batches_total", .type = TL_COUNTER, .help = "Batches committed."};
static struct tl_metric skipped_again = {
	.name = "tapline_sink_rewinds_total",
	.type = TL_COUNTER,
	.help = "Batches that the bus gives again after a rebalance."};
static struct tl_metric overtaken = {
	.name = "tapline_sink_overtaken_total",
	.type = TL_COUNTER,
	.help = "Batches dropped because another worker had stored their partitions' positions."};
static struct tl_metric lag = {.name = "tapline_consumer_lag_records",
			       .type = TL_GAUGE,
			       .help = "Messages of our partitions that are not read yet."};

struct tl_partition *tl_runner_part(struct tl_runner *runner, int topic, int32_t partition)
{
	for (size_t i = 0; i < runner->n_parts; i++)
		if (runner->parts[i].partition == partition && runner->parts[i].topic == topic)
			return &runner->parts[i];
	return NULL;
}

static int add_part(struct tl_runner *runner, const struct tl_partition *partition)
{
	struct tl_partition *part = tl_runner_part(runner, partition->topic, partition->partition);

	if (part) {
		*part = *partition;
		return 0;
	}
	if (runner->n_parts == runner->cap_parts) {
		size_t cap = runner->cap_parts ? runner->cap_parts * 2 : 64;
		struct tl_partition *parts = realloc(runner->parts, cap * sizeof(*parts));

		if (!parts)
			return -ENOMEM;
		runner->parts = parts;
		runner->cap_parts = cap;
	}
	runner->parts[runner->n_parts++] = *partition;
	return 0;
}

/* Returns where reading begins, -1 the bus decides, or an error. In the embedded mode the one log
 * gives what the sink knows as partition 0 of the logs. */
static int64_t begin_collecting(struct tl_runner *runner, const struct tl_partition *partition)
{
	struct tl_mark mark = {.topic = partition->topic, .partition = partition->partition};
	int r;

	/* The local log has one position, so a sink that collects has one partition there: that of
	 * the records, which are made of topic raw. */
	if (runner->pipeline && partition->topic != TL_TOPIC_RAW)
		return -1;
	if (runner->pipeline)
		mark.topic = TL_TOPIC_LOGS;
	r = runner->bus->ops->marked(runner->bus, &mark, &runner->failed);
	if (r == 0)
		r = runner->sink->ops->assigned(runner->sink, &mark, &runner->failed);
	return r < 0 ? -1 : mark.offset;
}

static void on_assigned(void *arg, struct tl_partition *partitions, size_t n)
{
	struct tl_runner *runner = arg;

	runner->overtaken = 0;
	for (size_t i = 0; i < n && !runner->failed.code; i++) {
		struct tl_partition own = partitions[i];

		own.offset = -1;
		if (runner->transactional &&
		    runner->sink->ops->positions(runner->sink, &own, 1, &runner->failed) < 0)
			return;
		if (runner->sink->ops->advance)
			own.offset = begin_collecting(runner, &own);
		if (own.offset >= 0)
			partitions[i].offset = own.offset;
		if (add_part(runner, &own) < 0)
			tl_error_set(&runner->failed, -ENOMEM, "out of memory");
	}
}

static void on_revoked(void *arg, const struct tl_partition *partitions, size_t n)
{
	struct tl_runner *runner = arg;

	for (size_t i = 0; i < n; i++) {
		struct tl_partition *part =
			tl_runner_part(runner, partitions[i].topic, partitions[i].partition);

		if (runner->sink->ops->revoked)
			runner->sink->ops->revoked(runner->sink, partitions[i].topic,
						   partitions[i].partition);
		if (part)
			*part = runner->parts[--runner->n_parts];
	}
}

void tl_runner_drop(struct tl_runner *runner)
{
	if (runner->sink->ops->rollback)
		runner->sink->ops->rollback(runner->sink);
	if (runner->pipeline)
		tl_pipeline_abort(runner->pipeline);
	runner->n_batch = 0;
}

/* The next offsets after all that was polled, one a partition; `moved` has room for one a message.
 */
static size_t moved_parts(const struct tl_runner *runner, struct tl_partition *moved)
{
	size_t n = 0, last = 0;

	for (size_t i = 0; i < runner->n_polled; i++) {
		const struct tl_message *m = &runner->polled[i];

		/* Messages come in runs of one partition. */
		if (last >= n || moved[last].topic != m->topic ||
		    moved[last].partition != m->partition)
			for (last = 0; last < n; last++)
				if (moved[last].topic == m->topic &&
				    moved[last].partition == m->partition)
					break;
		if (last == n)
			moved[n++] = (struct tl_partition){m->topic, m->partition, 0};
		if (m->offset >= moved[last].offset)
			moved[last].offset = m->offset + 1;
	}
	return n;
}

/* Messages that the sink has already must not move its positions back. */
static size_t only_forward(struct tl_runner *runner, struct tl_partition *moved, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		const struct tl_partition *part =
			tl_runner_part(runner, moved[i].topic, moved[i].partition);

		if (!part || moved[i].offset > part->offset)
			moved[kept++] = moved[i];
	}
	return kept;
}

static int commit_sink(struct tl_runner *runner, struct tl_error *error)
{
	_cleanup_(freep) struct tl_partition *moved = calloc(runner->n_polled, sizeof(*moved));
	size_t n;
	int r;

	if (!moved)
		return tl_error_set(error, -ENOMEM, "out of memory");
	n = only_forward(runner, moved, moved_parts(runner, moved));
	if (n == 0)
		return 0;
	r = runner->sink->ops->commit(runner->sink, moved, n, error);
	for (size_t i = 0; r == 0 && i < n; i++)
		if (add_part(runner, &moved[i]) < 0)
			r = tl_error_set(error, -ENOMEM, "out of memory");
	return r;
}

/* Another writer had moved the positions. Returns -EAGAIN to go on from where the store stands, or
 * a final error. */
static int on_overtaken(struct tl_runner *runner, struct tl_error *error)
{
	int r;

	if (runner->pipeline || ++runner->overtaken > OVERTAKEN_MAX)
		return -ESTALE;
	tl_msg(TL_WARNING, "%s; a batch is dropped, going on from the positions stored there",
	       error->message);
	tl_metric_add(&overtaken, 1);
	r = runner->sink->ops->positions(runner->sink, runner->parts, runner->n_parts, error);
	r = r < 0 ? r : runner->bus->ops->abort(runner->bus, error);
	return r < 0 ? r : -EAGAIN;
}

static int do_batch(struct tl_runner *runner, struct tl_error *error)
{
	int r = tl_runner_prepare(runner, error);

	if (r == 0)
		r = tl_runner_write(runner, error);
	if (r == 0 && runner->transactional)
		r = commit_sink(runner, error);
	if (r < 0) {
		tl_runner_drop(runner);
		return r == -ESTALE && runner->transactional ? on_overtaken(runner, error) : r;
	}
	r = runner->bus->ops->commit(runner->bus, error);
	if (r == 0 || runner->transactional)
		tl_runner_show(runner);
	if (r == 0)
		tl_metric_add(&batches, 1);
	runner->n_batch = 0;
	return r;
}

static void pace(const struct tl_runner *runner, uint64_t last_ns)
{
	uint64_t due = last_ns + runner->options->linger_ms * TL_MS, now = tl_mono_ns();
	struct timespec ts;

	if (now >= due)
		return;
	ts = (struct timespec){(time_t)((due - now) / TL_SEC), (long)((due - now) % TL_SEC)};
	nanosleep(&ts, NULL);
}

void tl_runner_note_lag(struct tl_runner *runner, uint64_t *last_ns)
{
	uint64_t now = tl_mono_ns();
	int64_t n;

	if (now - *last_ns < LAG_EVERY_NS)
		return;
	*last_ns = now;
	n = runner->bus->ops->lag(runner->bus);
	if (n >= 0)
		tl_metric_set(&lag, (uint64_t)n);
}

int tl_runner_poll_error(struct tl_runner *runner, int r, const struct tl_error *error)
{
	switch (r) {
	case -EAGAIN:
		tl_metric_add(&skipped_again, 1);
		tl_runner_drop(runner);
		return 0;
	case -ENODATA:
		return 1;
	case -EBADMSG:
		tl_msg(TL_ERROR, "%s", error->message);
		return 0;
	default:
		return r;
	}
}

/* One poll and its batch. Returns as on_poll_error. */
static int round_trip(struct tl_runner *runner, struct tl_error *error)
{
	size_t max = runner->options->batch_messages;
	int r = runner->bus->ops->poll(runner->bus, runner->polled, max, POLL_MS, error);

	if (runner->failed.code) {
		if (error)
			*error = runner->failed;
		return runner->failed.code;
	}
	if (r < 0)
		return tl_runner_poll_error(runner, r, error);
	runner->n_polled = (size_t)r;
	if (r == 0)
		return 0;
	r = do_batch(runner, error);
	if (r == -EINTR)
		return 1;
	return r == -EAGAIN ? tl_runner_poll_error(runner, r, error) : r;
}

/* Told to stop, a worker ends after its batch: others go on from there. The embedded mode has no
 * others, so it first reads what is in the log, for a time. */
static bool is_over(const struct tl_runner *runner, uint64_t *stopped_ns)
{
	if (!runner->options->stop || !*runner->options->stop)
		return false;
	if (!runner->pipeline)
		return true;
	if (!*stopped_ns)
		*stopped_ns = tl_mono_ns();
	else if (runner->n_polled == 0)
		return true;
	if (runner->options->give_up)
		return *runner->options->give_up;
	return tl_mono_ns() - *stopped_ns > DRAIN_NS;
}

static int loop(struct tl_runner *runner, struct tl_error *error)
{
	uint64_t lag_ns = 0, stopped_ns = 0;
	int r = 0;

	while (r == 0 && !is_over(runner, &stopped_ns)) {
		uint64_t began = tl_mono_ns();

		runner->n_polled = 0;
		r = round_trip(runner, error);
		tl_runner_note_lag(runner, &lag_ns);
		if (r == 0 && runner->n_polled &&
		    runner->n_polled < runner->options->batch_messages)
			pace(runner, began);
	}
	return r < 0 ? r : 0;
}

static int begin(struct tl_runner *runner, struct tl_error *error)
{
	static const int embedded[] = {TL_TOPIC_RAW, TL_TOPIC_HTTP};
	const struct tl_sink_ops *sink = runner->sink->ops;
	const int *topics = runner->sink->topics ? runner->sink->topics : sink->topics;
	size_t n_topics = runner->sink->topics ? runner->sink->n_topics : sink->n_topics;
	struct tl_bus_listener listener = {on_assigned, on_revoked, runner};
	int r = 0;

	runner->polled = calloc(runner->options->batch_messages, sizeof(*runner->polled));
	if (!runner->polled)
		return tl_error_set(error, -ENOMEM, "out of memory");
	runner->arena.max = ARENA_MAX;
	for (size_t i = 0; i < n_topics; i++)
		runner->takes[topics[i]] = true;
	/* Their positions in the one log would be others than those of the logs. */
	if (sink->advance && runner->options->pipeline)
		runner->takes[TL_TOPIC_DLQ] = false;
	runner->transactional = sink->commit != NULL;
	runner->sink->stop =
		runner->options->give_up ? runner->options->give_up : runner->options->stop;
	if ((runner->transactional || sink->advance) && sink->source)
		sink->source(runner->sink, runner->options->source ? runner->options->source : "");
	if (runner->options->pipeline)
		r = tl_runner_pipeline(runner, error);
	if (r < 0)
		return r;
	if (runner->pipeline)
		return runner->bus->ops->subscribe(runner->bus, embedded, ARRAY_SIZE(embedded),
						   &listener, error);
	return runner->bus->ops->subscribe(runner->bus, topics, n_topics, &listener, error);
}

static void done(struct tl_runner *runner)
{
	if (runner->pipeline)
		tl_pipeline_free(runner->pipeline);
	tl_arena_done(&runner->arena);
	tl_arena_done(&runner->show_arena);
	free(runner->polled);
	free(runner->batch);
	free(runner->dead);
	free(runner->parts);
	free(runner);
}

int tl_sink_run(const struct tl_sink_runner_options *options, struct tl_error *error)
{
	struct tl_runner *runner = calloc(1, sizeof(*runner));
	struct tl_error unseen = {0};
	static bool registered;
	int r;

	if (!runner)
		return tl_error_set(error, -ENOMEM, "out of memory");
	if (!registered) {
		tl_metric_register(&batches);
		tl_metric_register(&skipped_again);
		tl_metric_register(&overtaken);
		tl_metric_register(&lag);
		registered = true;
	}
	runner->options = options;
	runner->bus = options->bus;
	runner->sink = options->sink;
	r = begin(runner, error ? error : &unseen);
	if (r == 0)
		r = runner->sink->ops->advance ? tl_runner_collect(runner, error ? error : &unseen)
					       : loop(runner, error ? error : &unseen);
	done(runner);
	return r;
}
