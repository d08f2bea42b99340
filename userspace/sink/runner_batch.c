/* SPDX-License-Identifier: Apache-2.0 */
/* From what was polled to what the sink decides. In the embedded mode the pipeline's outputs live
 * only during its callback, so they are copied; over Kafka the messages are the bus's own. Dead
 * letters go to the bus (topic dlq) or, where the sink commits by itself, to the sink: it stores
 * them in the same transaction. In the embedded mode a sink that does not take them leaves them to
 * a file. */
#include <stdio.h>

#include "userspace/base/metrics.h"
#include "userspace/base/msg.h"
#include "userspace/sink/runner_internal.h"

#define TYPES_MAX 32
#define DEAD_HEADERS 6

static struct tl_metric written = {.name = "tapline_sink_records_total",
				   .type = TL_COUNTER,
				   .labels = "result=\"written\"",
				   .help = "Messages by what became of them in the target."};
static struct tl_metric duplicates = {.name = "tapline_sink_records_total",
				      .type = TL_COUNTER,
				      .labels = "result=\"duplicate\"",
				      .help = "Messages by what became of them in the target."};
static struct tl_metric rejected = {.name = "tapline_sink_records_total",
				    .type = TL_COUNTER,
				    .labels = "result=\"rejected\"",
				    .help = "Messages by what became of them in the target."};
static struct tl_metric retries = {.name = "tapline_sink_retries_total",
				   .type = TL_COUNTER,
				   .help = "Items sent again because the target was away or busy."};

#define SKIPPED(topic_)                                                                            \
	{                                                                                          \
		.name = "tapline_sink_skipped_messages_total", .type = TL_COUNTER,                 \
		.labels = "topic=\"" topic_ "\"",                                                  \
		.help = "Messages of the local log that this sink has no place for.",              \
	}
static struct tl_metric skipped_metrics = SKIPPED("metrics"), skipped_http = SKIPPED("http"),
			skipped_dlq = SKIPPED("dlq");

/* Dead letters by type; a sink's types are a bounded set of names that live for ever. */
static struct {
	struct tl_metric metric;
	const char *type;
	char labels[64];
} buried[TYPES_MAX];

static void count_dead(const char *type)
{
	static bool registered;
	size_t i = 0;

	if (!registered) {
		tl_metric_register(&written);
		tl_metric_register(&duplicates);
		tl_metric_register(&rejected);
		tl_metric_register(&retries);
		tl_metric_register(&skipped_metrics);
		tl_metric_register(&skipped_http);
		tl_metric_register(&skipped_dlq);
		registered = true;
	}
	if (!type)
		return;
	while (i < TYPES_MAX - 1 && buried[i].type && strcmp(buried[i].type, type) != 0)
		i++;
	if (!buried[i].type) {
		buried[i].type = i == TYPES_MAX - 1 ? "other" : type;
		snprintf(buried[i].labels, sizeof(buried[i].labels), "type=\"%s\"", buried[i].type);
		buried[i].metric = (struct tl_metric){
			.name = "tapline_sink_dead_letters_total",
			.type = TL_COUNTER,
			.labels = buried[i].labels,
			.help = "Messages that the target will never take, by reason."};
		tl_metric_register(&buried[i].metric);
	}
	tl_metric_add(&buried[i].metric, 1);
}

static int add_to_batch(struct tl_runner *runner, const struct tl_message *message)
{
	if (runner->n_batch == runner->cap_batch) {
		size_t cap = runner->cap_batch ? runner->cap_batch * 2 : 1024;
		struct tl_message *batch = realloc(runner->batch, cap * sizeof(*batch));

		if (!batch)
			return -ENOMEM;
		runner->batch = batch;
		runner->cap_batch = cap;
	}
	runner->batch[runner->n_batch++] = *message;
	return 0;
}

static bool copy(struct tl_arena *arena, struct tl_span *span)
{
	size_t len = span->len;

	*span = tl_arena_copy(arena, *span);
	return span->data || !len;
}

/* What the sink does not take: in the embedded mode there is nobody else. */
static int left_out(struct tl_runner *runner, const struct tl_message *message)
{
	if (message->topic == TL_TOPIC_DLQ && runner->options->dead)
		return tl_dead_file_add(runner->options->dead, message, &runner->failed);
	tl_metric_add(message->topic == TL_TOPIC_METRICS ? &skipped_metrics
		      : message->topic == TL_TOPIC_HTTP	 ? &skipped_http
							 : &skipped_dlq,
		      1);
	return 0;
}

/* The pipeline's output callback. */
static int on_output(void *arg, const struct tl_message *message, const struct tl_record *record)
{
	struct tl_runner *runner = arg;
	struct tl_message own = *message;
	bool ok = copy(&runner->arena, &own.key) && copy(&runner->arena, &own.value);

	(void)record;
	if (!runner->takes[message->topic])
		return left_out(runner, message);
	if (runner->sink->ops->advance)
		own.partition = 0;
	for (uint32_t i = 0; ok && i < own.n_headers; i++)
		ok = copy(&runner->arena, &own.headers[i].key) &&
		     copy(&runner->arena, &own.headers[i].value);
	return ok ? add_to_batch(runner, &own) : -ENOMEM;
}

static int prepare_embedded(struct tl_runner *runner, const struct tl_message *message)
{
	int r = 0;

	if (message->topic == TL_TOPIC_HTTP)
		r = runner->takes[TL_TOPIC_HTTP] ? add_to_batch(runner, message)
						 : left_out(runner, message);
	return r < 0 ? r : tl_pipeline_message(runner->pipeline, message);
}

/* Tells a collecting sink how far the log was read, also where that gave no record. */
static int add_place(struct tl_runner *runner)
{
	const struct tl_message *last = &runner->polled[runner->n_polled - 1];

	return add_to_batch(runner, &(struct tl_message){.topic = TL_TOPIC_LOGS,
							 .partition = TL_PLACE,
							 .offset = last->offset});
}

int tl_runner_prepare(struct tl_runner *runner, struct tl_error *error)
{
	int r = 0;

	runner->n_batch = 0;
	tl_arena_reset(&runner->arena);
	for (size_t i = 0; r == 0 && i < runner->n_polled; i++) {
		const struct tl_message *message = &runner->polled[i];
		const struct tl_partition *part =
			tl_runner_part(runner, message->topic, message->partition);

		if (runner->transactional && part && message->offset < part->offset)
			continue;
		r = runner->pipeline ? prepare_embedded(runner, message)
				     : add_to_batch(runner, message);
	}
	if (r == 0 && runner->pipeline)
		r = tl_pipeline_flush(runner->pipeline);
	if (r == 0 && runner->pipeline && runner->sink->ops->advance && runner->n_polled)
		r = add_place(runner);
	if (r < 0)
		return tl_error_set(error, r, "a batch could not be prepared: %s", strerror(-r));
	return 0;
}

static struct tl_span text_span(struct tl_arena *arena, int64_t number)
{
	return tl_arena_printf(arena, "%lld", (long long)number);
}

/* The input as it was, and why and where it ended. */
static struct tl_message dead_message(struct tl_runner *runner, const struct tl_message *message,
				      const struct tl_dead_letter *dead)
{
	static const char *const topics[] = TL_TOPIC_NAMES;
	struct tl_message out = *message;
	struct tl_header *h;

	if (out.n_headers > TL_HEADERS_MAX - DEAD_HEADERS)
		out.n_headers = TL_HEADERS_MAX - DEAD_HEADERS;
	h = out.headers + out.n_headers;
	h[0] = (struct tl_header){
		TL_SPAN_LIT("tapline-reason"),
		tl_arena_printf(&runner->arena, "%s: %s", dead->type, dead->reason)};
	h[1] = (struct tl_header){TL_SPAN_LIT("tapline-stage"), TL_SPAN_LIT("sink")};
	h[2] = (struct tl_header){TL_SPAN_LIT("tapline-topic"),
				  tl_span_str(topics[message->topic])};
	h[3] = (struct tl_header){TL_SPAN_LIT("tapline-partition"),
				  text_span(&runner->arena, message->partition)};
	h[4] = (struct tl_header){TL_SPAN_LIT("tapline-offset"),
				  text_span(&runner->arena, message->offset)};
	out.n_headers += 5;
	out.topic = TL_TOPIC_DLQ;
	out.partition = -1;
	return out;
}

static int to_bus(struct tl_runner *runner, struct tl_message *out, struct tl_error *error)
{
	int r = runner->bus->ops->produce(runner->bus, out, error);

	if (r != -EMSGSIZE)
		return r;
	/* It fitted its own topic but not this one: the headers still say where the bytes are. */
	out->value = (struct tl_span){"", 0};
	out->headers[out->n_headers++] =
		(struct tl_header){TL_SPAN_LIT("tapline-truncated"), TL_SPAN_LIT("true")};
	return runner->bus->ops->produce(runner->bus, out, error);
}

static const volatile int *write_stop(const struct tl_runner *runner)
{
	return runner->options->give_up ? runner->options->give_up : runner->options->stop;
}

static int to_sink(struct tl_runner *runner, const struct tl_message *out, struct tl_error *error)
{
	struct tl_dead_letter none;
	struct tl_sink_result result = {.dead = &none};

	return runner->sink->ops->write(runner->sink, out, 1, &result, write_stop(runner), error);
}

static int bury(struct tl_runner *runner, const struct tl_message *messages,
		const struct tl_sink_result *result, struct tl_error *error)
{
	static struct tl_msg_gate gate;
	int r = 0;

	for (size_t i = 0; r == 0 && i < result->n_dead; i++) {
		const struct tl_dead_letter *dead = &result->dead[i];
		struct tl_message out = dead_message(runner, &messages[dead->message], dead);

		tl_msg_limited(&gate, 30000, TL_WARNING,
			       "a record is refused for good and goes to the dead letters: %s: %s",
			       dead->type, dead->reason);
		if (runner->options->dead && !runner->takes[TL_TOPIC_DLQ])
			r = tl_dead_file_add(runner->options->dead, &out, error);
		else
			r = runner->transactional ? to_sink(runner, &out, error)
						  : to_bus(runner, &out, error);
		if (r == 0)
			count_dead(dead->type);
	}
	return r;
}

static int write_slice(struct tl_runner *runner, const struct tl_message *messages, size_t n,
		       struct tl_error *error)
{
	struct tl_sink_result result = {.dead = runner->dead};
	int r = runner->sink->ops->write(runner->sink, messages, n, &result, write_stop(runner),
					 error);

	count_dead(NULL);
	tl_metric_add(&written, result.written);
	tl_metric_add(&duplicates, result.duplicates);
	tl_metric_add(&rejected, result.rejected);
	tl_metric_add(&retries, result.retries);
	/* A collecting sink that takes no more has decided what came before. */
	if (r < 0 && r != -EBUSY)
		return r;
	return result.n_dead ? (bury(runner, messages, &result, error) ?: r) : r;
}

int tl_runner_write(struct tl_runner *runner, struct tl_error *error)
{
	int r = 0;

	if (runner->cap_dead < runner->n_batch) {
		free(TAKE_PTR(runner->dead));
		runner->cap_dead = 0;
		runner->dead = calloc(runner->n_batch, sizeof(*runner->dead));
		if (!runner->dead)
			return tl_error_set(error, -ENOMEM, "out of memory");
		runner->cap_dead = runner->n_batch;
	}
	for (size_t i = 0, n; r == 0 && i < runner->n_batch; i += n) {
		size_t bytes = 0;

		for (n = 0;
		     i + n < runner->n_batch && (n == 0 || bytes < runner->options->batch_bytes);
		     n++)
			bytes += runner->batch[i + n].value.len;
		r = write_slice(runner, runner->batch + i, n, error);
	}
	return r;
}

void tl_runner_show(struct tl_runner *runner)
{
	if (!runner->options->show)
		return;
	for (size_t i = 0; i < runner->n_batch; i++) {
		const struct tl_message *message = &runner->batch[i];

		if (message->topic != TL_TOPIC_LOGS)
			continue;
		tl_arena_reset(&runner->show_arena);
		if (tl_record_from_json(message->value, &runner->show_arena, &runner->record,
					NULL) == 0)
			runner->options->show(runner->options->arg, message, &runner->record);
	}
	runner->options->show(runner->options->arg, NULL, NULL);
}

int tl_runner_pipeline(struct tl_runner *runner, struct tl_error *error)
{
	struct tl_pipeline_options pipeline = *runner->options->pipeline;

	pipeline.output = on_output;
	pipeline.arg = runner;
	return tl_pipeline_new(&pipeline, &runner->pipeline, error);
}
