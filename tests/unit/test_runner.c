/* SPDX-License-Identifier: Apache-2.0 */
/* The sink's loop over a bus and sinks in memory that fail on demand. The bus gives numbered
 * messages of two partitions and, like the Kafka bus, gives what was not committed again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "userspace/base/cleanup.h"
#include "userspace/sink/runner.h"

#define PARTS 2
#define PER_PART 50
#define DEAD_MAX 64

struct fake_bus {
	struct tl_bus bus;
	struct tl_bus_listener listener;
	int64_t committed[PARTS], next[PARTS];
	int commits, aborts, polls;
	int fail_commit, rewind_commit, rewind_poll, rewind_produce; /* on the n-th call, 0 never */
	char values[PARTS][PER_PART][16];
	struct tl_span dead[DEAD_MAX];
	size_t n_dead, n_dead_visible;
	int produced;
	bool assigned;
};

struct fake_sink {
	struct tl_sink sink;
	int written[PARTS][PER_PART]; /* visible writes of each message */
	int pending[PARTS][PER_PART];
	int64_t stored[PARTS]; /* its own positions; -1 none */
	int64_t given[PARTS];
	int writes, fail_write, stop_write;
	int overtaken; /* so many commits find that another worker stored the next 3 messages */
	size_t largest;
	int bad; /* messages whose number is a multiple of it are dead */
	char source[32];
	int dead_to_me;
};

static struct fake_bus *the_bus(struct tl_bus *bus)
{
	return (struct fake_bus *)bus;
}

static int fake_subscribe(struct tl_bus *bus, const int *topics, size_t n,
			  const struct tl_bus_listener *listener, struct tl_error *error)
{
	(void)topics, (void)n, (void)error;
	the_bus(bus)->listener = *listener;
	return 0;
}

static void rewind_bus(struct fake_bus *b)
{
	memcpy(b->next, b->committed, sizeof(b->next));
	b->n_dead = b->n_dead_visible;
}

static void assign(struct fake_bus *b)
{
	struct tl_partition parts[PARTS];

	b->assigned = true;
	for (int p = 0; p < PARTS; p++)
		parts[p] = (struct tl_partition){TL_TOPIC_LOGS, p,
						 b->committed[p] ? b->committed[p] : -1};
	b->listener.assigned(b->listener.arg, parts, PARTS);
	for (int p = 0; p < PARTS; p++)
		b->next[p] = b->committed[p] = parts[p].offset >= 0 ? parts[p].offset : 0;
}

static int fake_poll(struct tl_bus *bus, struct tl_message *messages, size_t max,
		     unsigned timeout_ms, struct tl_error *error)
{
	struct fake_bus *b = the_bus(bus);
	size_t n = 0;

	(void)timeout_ms, (void)error;
	if (!b->assigned)
		assign(b);
	if (++b->polls == b->rewind_poll) {
		rewind_bus(b);
		return -EAGAIN;
	}
	for (int p = 0; p < PARTS; p++)
		for (; n < max && b->next[p] < PER_PART; n++) {
			struct tl_message *m = &messages[n];
			int64_t at = b->next[p]++;

			*m = (struct tl_message){
				.topic = TL_TOPIC_LOGS, .partition = p, .offset = at};
			snprintf(b->values[p][at], sizeof(b->values[p][at]), "%d:%d", p, (int)at);
			m->value = tl_span_str(b->values[p][at]);
			m->key = TL_SPAN_LIT("k");
		}
	return n ? (int)n : -ENODATA;
}

static int fake_produce(struct tl_bus *bus, const struct tl_message *message,
			struct tl_error *error)
{
	struct fake_bus *b = the_bus(bus);

	(void)error;
	assert_int_equal(message->topic, TL_TOPIC_DLQ);
	if (++b->produced == b->rewind_produce) {
		rewind_bus(b);
		return -EAGAIN;
	}
	assert_true(b->n_dead < DEAD_MAX);
	b->dead[b->n_dead++] = message->value;
	assert_int_equal(message->n_headers, 5);
	assert_true(tl_span_is(message->headers[0].key, "tapline-reason"));
	assert_true(tl_span_is(message->headers[0].value, "bad_type: because"));
	assert_true(tl_span_is(message->headers[1].value, "sink"));
	assert_true(tl_span_is(message->headers[2].value, "logs"));
	assert_true(tl_span_is(message->key, "k"));
	return 0;
}

static int fake_commit(struct tl_bus *bus, struct tl_error *error)
{
	struct fake_bus *b = the_bus(bus);

	b->commits++;
	if (b->commits == b->fail_commit)
		return tl_error_set(error, -ESTALE, "fenced");
	if (b->commits == b->rewind_commit) {
		rewind_bus(b);
		return -EAGAIN;
	}
	memcpy(b->committed, b->next, sizeof(b->committed));
	b->n_dead_visible = b->n_dead;
	return 0;
}

static int64_t fake_lag(struct tl_bus *bus)
{
	(void)bus;
	return -1;
}

static int fake_abort(struct tl_bus *bus, struct tl_error *error)
{
	(void)error;
	the_bus(bus)->aborts++;
	rewind_bus(the_bus(bus));
	return 0;
}

static const struct tl_bus_ops fake_bus_ops = {.name = "fake",
					       .subscribe = fake_subscribe,
					       .poll = fake_poll,
					       .produce = fake_produce,
					       .commit = fake_commit,
					       .abort = fake_abort,
					       .lag = fake_lag};

static int fake_write(struct tl_sink *sink, const struct tl_message *messages, size_t n,
		      struct tl_sink_result *result, const volatile int *stop,
		      struct tl_error *error)
{
	struct fake_sink *s = (struct fake_sink *)sink;

	(void)stop;
	if (++s->writes == s->fail_write)
		return tl_error_set(error, -EIO, "disk");
	if (s->writes == s->stop_write)
		return -EINTR;
	if (n > s->largest)
		s->largest = n;
	for (size_t i = 0; i < n; i++) {
		const struct tl_message *m = &messages[i];

		if (m->topic == TL_TOPIC_DLQ) {
			s->dead_to_me++;
			continue;
		}
		if (s->bad && m->offset % s->bad == 0) {
			struct tl_dead_letter *dead = &result->dead[result->n_dead++];

			dead->message = i;
			dead->type = "bad_type";
			snprintf(dead->reason, sizeof(dead->reason), "because");
		} else if (sink->ops->commit) {
			s->pending[m->partition][m->offset]++;
		} else {
			s->written[m->partition][m->offset] = 1; /* idempotent */
		}
		result->written++;
	}
	return 0;
}

static void fake_rollback(struct tl_sink *sink)
{
	struct fake_sink *s = (struct fake_sink *)sink;

	memset(s->pending, 0, sizeof(s->pending));
}

static int fake_sink_commit(struct tl_sink *sink, const struct tl_partition *partitions, size_t n,
			    struct tl_error *error)
{
	struct fake_sink *s = (struct fake_sink *)sink;

	if (s->overtaken > 0) {
		int p = partitions[0].partition;

		s->overtaken--;
		for (int i = 0; i < 3; i++) {
			s->stored[p] = s->stored[p] < 0 ? 0 : s->stored[p];
			s->written[p][s->stored[p]++]++;
		}
		return tl_error_set(error, -ESTALE, "another");
	}
	for (size_t i = 0; i < n; i++) {
		assert_true(partitions[i].offset > s->stored[partitions[i].partition]);
		s->stored[partitions[i].partition] = partitions[i].offset;
	}
	for (int p = 0; p < PARTS; p++)
		for (int i = 0; i < PER_PART; i++)
			s->written[p][i] += s->pending[p][i];
	fake_rollback(sink);
	return 0;
}

static int fake_positions(struct tl_sink *sink, struct tl_partition *partitions, size_t n,
			  struct tl_error *error)
{
	struct fake_sink *s = (struct fake_sink *)sink;

	(void)error;
	assert_string_equal(s->source, "here");
	for (size_t i = 0; i < n; i++)
		partitions[i].offset = s->stored[partitions[i].partition];
	return 0;
}

static void fake_source(struct tl_sink *sink, const char *name)
{
	snprintf(((struct fake_sink *)sink)->source, sizeof(((struct fake_sink *)sink)->source),
		 "%s", name);
}

static const int logs[] = {TL_TOPIC_LOGS};
static const struct tl_sink_ops plain_ops = {
	.name = "plain", .topics = logs, .n_topics = 1, .write = fake_write};
static const struct tl_sink_ops own_ops = {
	.name = "own",
	.topics = logs,
	.n_topics = 1,
	.write = fake_write,
	.commit = fake_sink_commit,
	.positions = fake_positions,
	.rollback = fake_rollback,
	.source = fake_source,
};

struct world {
	struct fake_bus bus;
	struct fake_sink sink;
	struct tl_sink_runner_options options;
	volatile int stop;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->bus.bus.ops = &fake_bus_ops;
	w->sink.sink.ops = &plain_ops;
	w->sink.stored[0] = w->sink.stored[1] = -1;
	w->options = (struct tl_sink_runner_options){.bus = &w->bus.bus,
						     .sink = &w->sink.sink,
						     .source = "here",
						     .batch_messages = 7,
						     .batch_bytes = 1 << 20,
						     .stop = &w->stop};
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static int run(struct world *w)
{
	struct tl_error error = {0};

	return tl_sink_run(&w->options, &error);
}

/* What is not dead is written once, and the bus knows of all of it. */
static void assert_once(const struct world *w)
{
	for (int p = 0; p < PARTS; p++)
		for (int i = 0; i < PER_PART; i++)
			assert_int_equal(w->sink.written[p][i],
					 !(w->sink.bad && i % w->sink.bad == 0));
}

static void all_is_written_and_committed(void **state)
{
	struct world *w = *state;

	assert_int_equal(run(w), 0);
	assert_once(w);
	assert_int_equal(w->bus.committed[0] + w->bus.committed[1], PARTS * PER_PART);
	assert_int_equal(w->bus.commits, (PARTS * PER_PART + 6) / 7);
}

static void slices_hold_no_more_than_batch_bytes(void **state)
{
	struct world *w = *state;

	w->options.batch_bytes = 8; /* two messages of four bytes or so */
	assert_int_equal(run(w), 0);
	assert_once(w);
	assert_true(w->sink.largest <= 3);
}

static void dead_letters_are_produced_before_the_commit(void **state)
{
	struct world *w = *state;

	w->sink.bad = 10;
	assert_int_equal(run(w), 0);
	assert_once(w);
	assert_int_equal(w->bus.n_dead_visible, PARTS * PER_PART / 10);
	assert_true(tl_span_is(w->bus.dead[1], "0:10"));
}

static void failed_write_commits_nothing_and_ends(void **state)
{
	struct world *w = *state;

	w->sink.fail_write = 3;
	assert_int_equal(run(w), -EIO);
	assert_int_equal(w->bus.commits, 2);
	assert_int_equal(w->bus.committed[0], 14);
}

static void stop_in_a_write_ends_well_and_commits_nothing_of_it(void **state)
{
	struct world *w = *state;

	w->sink.stop_write = 3;
	assert_int_equal(run(w), 0);
	assert_int_equal(w->bus.committed[0], 14);
}

static void rewound_batches_are_written_again(void **state)
{
	struct world *w = *state;

	w->bus.rewind_commit = 3;
	w->bus.rewind_poll = 6;
	w->bus.rewind_produce = 4;
	w->sink.bad = 5;
	assert_int_equal(run(w), 0);
	assert_once(w);
	assert_int_equal(w->bus.n_dead_visible, PARTS * PER_PART / 5);
}

static void fenced_worker_ends_with_the_error(void **state)
{
	struct world *w = *state;

	w->bus.fail_commit = 2;
	assert_int_equal(run(w), -ESTALE);
}

static void transactional_sink_has_everything_once_though_the_bus_forgets(void **state)
{
	struct world *w = *state;

	w->sink.sink.ops = &own_ops;
	w->bus.rewind_commit = 3; /* stored, and the bus gives it again */
	w->bus.rewind_poll = 7;
	w->sink.bad = 7;
	assert_int_equal(run(w), 0);
	assert_once(w);
	assert_int_equal(w->sink.stored[0], PER_PART);
	assert_int_equal(w->sink.stored[1], PER_PART);
	assert_int_equal(w->sink.dead_to_me, PARTS * 8);
	assert_int_equal(w->bus.n_dead, 0);
}

static void transactional_sink_begins_where_it_stored_not_where_the_bus_was(void **state)
{
	struct world *w = *state;

	w->sink.sink.ops = &own_ops;
	w->sink.stored[0] = 20;
	w->bus.committed[0] = 10; /* killed between the two commits */
	w->bus.committed[1] = 30; /* the store is new to this one: the group's word counts */
	assert_int_equal(run(w), 0);
	for (int i = 0; i < PER_PART; i++) {
		assert_int_equal(w->sink.written[0][i], i >= 20);
		assert_int_equal(w->sink.written[1][i], i >= 30);
	}
}

/* A power cut may take the store's newest commits back, but not the group's. */
static void store_that_is_behind_the_group_reads_again(void **state)
{
	struct world *w = *state;

	w->sink.sink.ops = &own_ops;
	w->sink.stored[0] = w->sink.stored[1] = 20;
	w->bus.committed[0] = w->bus.committed[1] = 30;
	assert_int_equal(run(w), 0);
	assert_int_equal(w->sink.written[0][20], 1);
	assert_int_equal(w->sink.written[0][19], 0);
}

static void failed_write_of_a_transactional_sink_leaves_nothing_half(void **state)
{
	struct world *w = *state;

	w->sink.sink.ops = &own_ops;
	w->options.batch_bytes = 8;
	w->sink.fail_write = 2; /* the second slice of the first batch */
	assert_int_equal(run(w), -EIO);
	assert_int_equal(w->sink.stored[0], -1);
	assert_int_equal(w->sink.pending[0][0], 0);
	assert_int_equal(w->sink.written[0][0], 0);
}

static void overtaken_sink_goes_on_from_where_the_store_stands(void **state)
{
	struct world *w = *state;

	w->sink.sink.ops = &own_ops;
	w->sink.overtaken = 3;
	assert_int_equal(run(w), 0);
	assert_once(w);
	assert_int_equal(w->sink.stored[0], PER_PART);
	assert_int_equal(w->bus.aborts, 3);
}

static void sink_that_is_overtaken_again_and_again_ends(void **state)
{
	struct world *w = *state;

	w->sink.sink.ops = &own_ops;
	w->sink.overtaken = 4;
	assert_int_equal(run(w), -ESTALE);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(all_is_written_and_committed),
		T(slices_hold_no_more_than_batch_bytes),
		T(dead_letters_are_produced_before_the_commit),
		T(failed_write_commits_nothing_and_ends),
		T(stop_in_a_write_ends_well_and_commits_nothing_of_it),
		T(rewound_batches_are_written_again),
		T(fenced_worker_ends_with_the_error),
		T(overtaken_sink_goes_on_from_where_the_store_stands),
		T(sink_that_is_overtaken_again_and_again_ends),
		T(transactional_sink_has_everything_once_though_the_bus_forgets),
		T(transactional_sink_begins_where_it_stored_not_where_the_bus_was),
		T(store_that_is_behind_the_group_reads_again),
		T(failed_write_of_a_transactional_sink_leaves_nothing_half),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
