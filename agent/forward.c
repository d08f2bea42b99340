// SPDX-License-Identifier: Apache-2.0
/* The forwarder: one thread that reads the local log, makes messages and hands them to librdkafka.
 *
 * Every message in flight has a slot in a ring, in log order, with the position behind its entry. A
 * delivery report marks the slot; the acknowledged position is that of the last slot before the
 * first unmarked one, and only that is told to the log. The ring is larger than librdkafka's queue
 * may be, so a full queue is what stops the reading.
 *
 * Any message that fails makes the producer useless (gapless: nothing may overtake what failed, or
 * the stream worker, which drops positions at or below its mark, would drop it when it comes
 * again). Then: destroy, wait, look after broker and topics, make a new one, read again from the
 * acknowledged position. What the broker finds too large is tried once more alone, and then left
 * out and counted, because it would block everything behind it for ever.
 *
 * Thread: all but tl_forward_start, _stop and _usage run in the forwarder's own; usage is atomics
 * and one lock. */
#include <malloc.h>
#include <time.h>

#include "agent/forward_internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/msg.h"

#define BURST 256u /* entries between two looks at the delivery reports */
/* Messages in flight: few enough to stay in the CPU's caches (half the cost of a message at
 * 100,000), more when the broker is far. */
#define WINDOW_MIN 4096u
#define WINDOW_MAX (TL_FORWARD_SLOTS / 2)
#define WINDOW_WAIT_NS (4 * TL_MS)
#define COMMIT_NS (100 * TL_MS)
#define BUSY_WAIT_MS 5u /* for new entries while reports are due */
#define IDLE_WAIT_MS 200u
#define BACKOFF_MAX_NS (30 * TL_SEC)

/* Our ring in front of nothing in flight, the log read again from what is acknowledged. */
static int rewind_log(struct tl_forward *f, struct tl_error *error)
{
	uint64_t from = f->acked ? f->acked : TL_LOG_RESUME;
	struct tl_log_reader *reader;
	uint64_t skipped = 0;
	int r = tl_log_reader_open(f->options.log_dir, f->options.consumer, from, 0, &reader,
				   &skipped, error);

	if (r < 0)
		return r;
	if (f->reader)
		tl_log_reader_close(f->reader);
	f->reader = reader;
	f->head = f->tail = 0;
	f->value_head = f->value_tail = 0;
	f->read_to = 0;
	if (skipped)
		tl_msg(TL_WARNING, "%llu bytes of the log in %s were freed before they were sent",
		       (unsigned long long)skipped, f->options.log_dir);
	return 0;
}

/* What passes by itself or by somebody's hand: our place in the log needs a file, and a full disk
 * has no room for it. */
static bool is_passing(int r)
{
	return r == -ENOSPC || r == -EDQUOT || r == -ENOMEM || r == -EMFILE || r == -ENFILE;
}

/* Waits until the agent has made its log and it can be read. */
static int await_log(struct tl_forward *f, struct tl_error *error)
{
	for (;;) {
		int r = rewind_log(f, error);

		if ((r != -ENOENT && !is_passing(r)) || f->stopping)
			return r;
		if (is_passing(r))
			tl_forward_tell_away(f, error->message);
		usleep(r == -ENOENT ? 10000 : 200000);
	}
}

static int restart(struct tl_forward *f, struct tl_error *error)
{
	int r;

	tl_forward_close_producer(f);
	f->failed = 0;
	tl_kafka_watch_reset(&f->watch);
	r = tl_forward_await_kafka(f);
	r = r < 0 ? r : tl_forward_open_producer(f, error);
	r = r < 0 ? r : await_log(f, error);
	if (r == 0 && !f->away)
		__atomic_store_n(&f->connected, true, __ATOMIC_RELAXED);
	return r;
}

/* --- entries to messages --- */

/* Moves the acknowledged position over all marked slots; tells the log now and then, and whenever
 * `now`. */
static bool advance(struct tl_forward *f, bool now)
{
	uint64_t from = f->head, acked = f->acked;

	while (f->head < f->tail && (f->slots[f->head & (TL_FORWARD_SLOTS - 1)] & 1))
		acked = f->slots[f->head++ & (TL_FORWARD_SLOTS - 1)] >> 1;
	if (f->head != from)
		f->value_head = f->value_ends[(f->head - 1) & (TL_FORWARD_SLOTS - 1)];
	if (f->head == f->tail && f->read_to)
		acked = f->read_to;
	__atomic_store_n(&f->acked, acked, __ATOMIC_RELAXED);
	tl_forward_add(&f->records, f->head - from);
	if (f->head != from)
		f->backoff_ns = 0;
	if (acked != f->committed && (now || tl_mono_ns() - f->commit_ns >= COMMIT_NS)) {
		if (tl_log_reader_commit(f->reader, acked) == 0)
			f->committed = acked;
		f->commit_ns = tl_mono_ns();
	}
	return f->head != from;
}

static void drop(struct tl_forward *f, const struct tl_log_item *item, const char *why)
{
	static struct tl_msg_gate gate;

	tl_forward_add(&f->dropped, 1);
	tl_msg_limited(&gate, 10000, TL_WARNING, "the log's entry at %llu was not sent: %s",
		       (unsigned long long)item->position, why);
}

static void drop_too_large(struct tl_forward *f, const struct tl_log_item *item)
{
	drop(f, item, "the broker finds it larger than the topic's max.message.bytes");
	f->skip_at = 0;
}

/* Takes the slot first: the report may come at any later poll. Returns false when librdkafka's
 * queue is full or useless. */
static bool send_one(struct tl_forward *f, const struct tl_log_item *item,
		     const struct tl_message *message)
{
	while (!f->failed && !f->stop_now) {
		rd_kafka_resp_err_t err;

		f->slots[f->tail & (TL_FORWARD_SLOTS - 1)] = item->next << 1;
		err = tl_forward_produce(f, message);
		if (!err) {
			f->tail++;
			return true;
		}
		if (err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
			drop(f, item, "larger than message.max.bytes");
			return true;
		}
		if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
			f->failed = err;
			return false;
		}
		rd_kafka_poll(f->rk, 100);
		tl_forward_watch(f, advance(f, false));
	}
	return false;
}

/* Reads and produces up to BURST entries. Returns their number, 0 none now, -ENODATA the end, or an
 * error of the log. */
static int pump(struct tl_forward *f, struct tl_error *error)
{
	int n = 0;

	while (n < (int)BURST && f->tail - f->head < f->window) {
		struct tl_message message;
		struct tl_log_item item;
		int r = tl_log_reader_next(f->reader, &item, error);

		if (r <= 0)
			return n ? n : r;
		n++;
		r = tl_entry_message(f->codec, tl_log_reader_id(f->reader), &item, &message);
		if (r < 0)
			drop(f, &item,
			     r == -ENOENT ? "its resource is not known" : "it is malformed");
		else if (r > 0 && f->skip_at == item.next)
			drop_too_large(f, &item);
		else if (r > 0 && !send_one(f, &item, &message)) {
			f->left++;
			return n;
		}
		if (!item.context)
			f->read_to = item.next;
	}
	return n;
}

/* --- the thread --- */

static void back_off(struct tl_forward *f)
{
	uint64_t until;

	f->backoff_ns = f->backoff_ns ? f->backoff_ns * 2 : TL_SEC / 4;
	if (f->backoff_ns > BACKOFF_MAX_NS)
		f->backoff_ns = BACKOFF_MAX_NS;
	until = tl_mono_ns() + f->backoff_ns;
	while (tl_mono_ns() < until && !f->stop_now)
		usleep(20000);
}

/* A producer that failed: what it had in flight will be sent again. */
static int replace_producer(struct tl_forward *f, struct tl_error *error)
{
	char why[256] = "";
	rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(f->rk, why, sizeof(why));
	struct tl_error told = {0};

	advance(f, true);
	f->left = 0;
	tl_forward_add(&f->retries, f->tail - f->head);
	tl_kafka_fail(&told, f->rk, f->failed, fatal ? why : NULL,
		      "a new Kafka producer is made, %llu messages are sent again",
		      (unsigned long long)(f->tail - f->head));
	tl_forward_set_last_error(f, told.message);
	tl_msg(TL_WARNING, "%s", told.message);
	back_off(f);
	return restart(f, error);
}

/* Past the messages that were refused for their size, batches are full again. */
static bool careful_is_over(const struct tl_forward *f)
{
	return f->careful && f->acked >= f->too_large_at && f->head == f->tail;
}

static int end_careful(struct tl_forward *f, struct tl_error *error)
{
	advance(f, true);
	f->too_large_at = f->skip_at = 0;
	return restart(f, error);
}

/* Takes the reports that are there. With the window full it waits for one, and a wait that was long
 * means that the window, not our own speed, is what limits. Caught up, it is small again. */
static void serve_reports(struct tl_forward *f)
{
	uint64_t from;

	if (f->tail - f->head < f->window) {
		rd_kafka_poll(f->rk, 0);
		if (f->head == f->tail)
			f->window = WINDOW_MIN;
		return;
	}
	from = tl_mono_ns();
	rd_kafka_poll(f->rk, 50);
	if (tl_mono_ns() - from > WINDOW_WAIT_NS && f->window < WINDOW_MAX)
		f->window *= 2;
}

/* One round. Returns 1 go on, 0 all is done, or a final error. */
static int round_trip(struct tl_forward *f, struct tl_error *error)
{
	int n = pump(f, error);
	bool progress;

	if (n < 0 && n != -ENODATA)
		return n;
	serve_reports(f);
	progress = advance(f, n <= 0 && f->head == f->tail);
	tl_forward_watch(f, progress);
	if (f->failed || careful_is_over(f)) {
		int r = f->failed ? replace_producer(f, error) : end_careful(f, error);

		return r < 0 ? r : 1;
	}
	if (n > 0)
		return 1;
	if (f->head == f->tail && (f->stopping || n == -ENODATA)) {
		advance(f, true);
		return 0;
	}
	if (n == -ENODATA || f->stopping)
		rd_kafka_poll(f->rk, 20);
	else
		tl_log_reader_wait(f->reader, f->head == f->tail ? IDLE_WAIT_MS : BUSY_WAIT_MS);
	return 1;
}

static uint64_t count_left(struct tl_forward *f)
{
	struct tl_error error = {0};
	struct tl_log_item item;
	uint64_t n = f->left + f->tail - f->head;

	while (f->reader && tl_log_reader_next(f->reader, &item, &error) > 0)
		n += !item.context && (item.type == TL_ENTRY_RECORD || item.type == TL_ENTRY_HTTP);
	return n;
}

static void *run(void *arg)
{
	struct tl_forward *f = arg;
	struct tl_error error = {0};
	int r = restart(f, &error);

	while (r >= 0 && !f->stop_now) {
		r = round_trip(f, &error);
		if (r == 0)
			break;
	}
	if (r < 0 && r != -EINTR && r != -ENOENT) {
		tl_msg(TL_ERROR, "lines are not sent to Kafka any more, restart the agent: %s",
		       error.message);
		tl_forward_tell_away(f, error.message);
	}
	if (f->rk && f->reader)
		advance(f, true);
	f->left = count_left(f);
	tl_forward_close_producer(f);
	return NULL;
}

static void release(struct tl_forward *f)
{
	if (f->reader)
		tl_log_reader_close(f->reader);
	if (f->codec)
		tl_entry_codec_free(f->codec);
	tl_forward_close_producer(f);
	pthread_mutex_destroy(&f->lock);
	free(f->slots);
	free(f->values);
	free(f->value_ends);
	free(f);
}
TL_DEFINE_CLEANUP(struct tl_forward *, release);

/* librdkafka makes a buffer of up to 1 MB for each request. Given back to the kernel each time,
 * they cost page faults that are a quarter of all the CPU a line takes; kept, they cost some MB.
 * Process-wide, once. */
static void keep_memory(void)
{
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
	mallopt(M_TOP_PAD, 1 << 20);
}

int tl_forward_start(const struct tl_forward_options *options, struct tl_forward **ret_forward,
		     struct tl_error *error)
{
	_cleanup_(releasep) struct tl_forward *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return tl_error_set(error, -ENOMEM, "out of memory");
	keep_memory();
	pthread_mutex_init(&f->lock, NULL);
	f->options = *options;
	f->window = WINDOW_MIN;
	f->slots = calloc(TL_FORWARD_SLOTS, sizeof(*f->slots));
	f->values = malloc(TL_FORWARD_VALUES);
	f->value_ends = calloc(TL_FORWARD_SLOTS, sizeof(*f->value_ends));
	if (!f->slots || !f->values || !f->value_ends || tl_entry_codec_new(&f->codec) < 0)
		return tl_error_set(error, -ENOMEM, "out of memory");
	/* A first producer only to hear what librdkafka says about the configuration. */
	r = tl_forward_open_producer(f, error);
	if (r < 0)
		return r;
	r = -pthread_create(&f->thread, NULL, run, f);
	if (r < 0)
		return tl_error_set(error, r, "no thread for the forwarder");
	*ret_forward = TAKE_PTR(f);
	return 0;
}

uint64_t tl_forward_stop(struct tl_forward *forward, unsigned drain_ms)
{
	struct timespec until;
	uint64_t left;

	__atomic_store_n(&forward->stopping, 1, __ATOMIC_RELAXED);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += drain_ms / 1000;
	until.tv_nsec += (long)(drain_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	if (pthread_timedjoin_np(forward->thread, NULL, &until) != 0) {
		__atomic_store_n(&forward->stop_now, 1, __ATOMIC_RELAXED);
		pthread_join(forward->thread, NULL);
	}
	left = forward->left;
	if (forward->options.last)
		tl_forward_usage(forward, forward->options.last);
	release(forward);
	return left;
}

void tl_forward_usage(struct tl_forward *forward, struct tl_forward_usage *ret)
{
	ret->records = __atomic_load_n(&forward->records, __ATOMIC_RELAXED);
	ret->bytes = __atomic_load_n(&forward->bytes, __ATOMIC_RELAXED);
	ret->in_flight = __atomic_load_n(&forward->tail, __ATOMIC_RELAXED) -
			 __atomic_load_n(&forward->head, __ATOMIC_RELAXED);
	ret->retries = __atomic_load_n(&forward->retries, __ATOMIC_RELAXED);
	ret->failures = __atomic_load_n(&forward->failures, __ATOMIC_RELAXED);
	ret->dropped = __atomic_load_n(&forward->dropped, __ATOMIC_RELAXED);
	ret->position = __atomic_load_n(&forward->acked, __ATOMIC_RELAXED);
	ret->connected = __atomic_load_n(&forward->connected, __ATOMIC_RELAXED);
	pthread_mutex_lock(&forward->lock);
	snprintf(ret->last_error, sizeof(ret->last_error), "%s", forward->last_error);
	pthread_mutex_unlock(&forward->lock);
}
