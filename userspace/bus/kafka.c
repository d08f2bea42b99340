// SPDX-License-Identifier: Apache-2.0
/* The Kafka bus: a consumer of a group with static membership, and a producer beside it. Opening
 * says what is wrong with brokers, credentials and topics; polling hands out messages one by one (a
 * batch call of librdkafka may mix messages from before and after a rebalance that it serves
 * meanwhile). */
#include <inttypes.h>
#include <stdio.h>

#include "userspace/base/clock.h"
#include "userspace/base/msg.h"
#include "userspace/bus/kafka_internal.h"

#define WAIT_MS 30000u
#define STRANDED_NS (10 * TL_SEC) /* a member of an old generation may be left what it has */

static const char position_key[] = "tapline-position";

size_t tl_position_format(uint64_t log_id, uint64_t position, char out[TL_POSITION_MAX])
{
	static const char hex[] = "0123456789abcdef";
	char digits[20];
	size_t n = 0, len = 17;

	for (int i = 0; i < 16; i++)
		out[i] = hex[log_id >> (60 - 4 * i) & 15];
	out[16] = ':';
	do {
		digits[n++] = (char)('0' + position % 10);
		position /= 10;
	} while (position);
	while (n)
		out[len++] = digits[--n];
	out[len] = '\0';
	return len;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int tl_position_parse(struct tl_span text, uint64_t *ret_log_id, uint64_t *ret_position)
{
	uint64_t id = 0, position = 0;

	if (text.len < 18 || text.len >= TL_POSITION_MAX || text.data[16] != ':')
		return -EINVAL;
	for (size_t i = 0; i < 16; i++) {
		if (hex_digit(text.data[i]) < 0)
			return -EINVAL;
		id = id << 4 | (uint64_t)hex_digit(text.data[i]);
	}
	for (size_t i = 17; i < text.len; i++) {
		unsigned digit = (unsigned)(text.data[i] - '0');

		if (digit > 9 || __builtin_mul_overflow(position, 10, &position) ||
		    __builtin_add_overflow(position, digit, &position))
			return -EINVAL;
	}
	*ret_log_id = id;
	*ret_position = position;
	return 0;
}

static void read_headers(const rd_kafka_message_t *from, struct tl_message *to)
{
	rd_kafka_headers_t *headers;
	const char *name;
	const void *value;
	size_t size;

	if (rd_kafka_message_headers(from, &headers))
		return;
	while (to->n_headers < TL_HEADERS_MAX &&
	       !rd_kafka_header_get_all(headers, to->n_headers, &name, &value, &size)) {
		struct tl_header *header = &to->headers[to->n_headers++];

		header->key = tl_span_str(name);
		header->value = (struct tl_span){value, value ? size : 0};
		if (strcmp(name, position_key) == 0)
			tl_position_parse(header->value, &to->log_id, &to->log_position);
	}
}

static void convert(const rd_kafka_message_t *from, const struct tl_kafka_part *part,
		    struct tl_message *to)
{
	rd_kafka_timestamp_type_t kind;
	int64_t ms = rd_kafka_message_timestamp(from, &kind);

	to->topic = part->topic;
	to->partition = from->partition;
	to->offset = from->offset;
	to->key = (struct tl_span){from->key, from->key_len};
	to->value = (struct tl_span){from->payload, from->len};
	to->n_headers = 0;
	to->timestamp_ns = ms > 0 ? (uint64_t)ms * 1000000u : 0;
	to->log_id = to->log_position = 0;
	read_headers(from, to);
}

/* An event of the consumer that is no message. Returns 0 when it is only news. */
static int consumer_error(struct tl_bus_kafka *b, const rd_kafka_message_t *message,
			  struct tl_error *error)
{
	rd_kafka_resp_err_t err = message->err;
	char why[256];

	if (err == RD_KAFKA_RESP_ERR__FATAL) {
		err = rd_kafka_fatal_error(b->consumer, why, sizeof(why));
		return tl_kafka_fail(error, b->consumer, err, why, "group %s", b->options.group);
	}
	switch (tl_kafka_errno(err)) {
	case -ECONNREFUSED:
		return 0;
	case -EACCES:
	case -ENOENT:
	case -ERANGE:
	case -ESTALE:
		return tl_kafka_fail(error, b->consumer, err, rd_kafka_message_errstr(message),
				     "group %s", b->options.group);
	default:
		tl_msg(TL_DEBUG, "group %s: %s", b->options.group,
		       rd_kafka_message_errstr(message));
		return 0;
	}
}

/* Outages are told once, when they begin and when they end. */
static void watch_connection(struct tl_bus_kafka *b, bool got_something)
{
	char why[256];
	rd_kafka_resp_err_t err = tl_kafka_watch_read(&b->watch, why, sizeof(why));

	if (!err && !b->away)
		return;
	if (got_something && b->away) {
		tl_msg(TL_INFO, "Kafka at %s is back", b->options.kafka->brokers);
		b->away = false;
	}
	if (got_something && err)
		tl_kafka_watch_reset(&b->watch);
	if (!got_something && !b->away && tl_kafka_watch_down(&b->watch)) {
		tl_msg(TL_WARNING, "Kafka at %s cannot be reached (%s); waiting",
		       b->options.kafka->brokers, why);
		b->away = true;
	}
}

/* Fetches one more input. Returns 1 kept, 0 nothing now, or an error. */
static int fetch(struct tl_bus_kafka *b, unsigned timeout_ms, struct tl_error *error)
{
	rd_kafka_message_t *message = rd_kafka_consumer_poll(b->consumer, (int)timeout_ms);
	struct tl_kafka_part *part;
	int r;

	b->polled_ns = tl_mono_ns();
	if (!message)
		return 0;
	if (message->err) {
		r = consumer_error(b, message, error);
		rd_kafka_message_destroy(message);
		return r;
	}
	part = tl_kafka_part_of(b, message);
	if (!part || message->offset < part->next) {
		rd_kafka_message_destroy(message);
		return 0;
	}
	r = tl_kafka_keep(b, message);
	return r < 0 ? tl_error_set(error, r, "out of memory") : 1;
}

static size_t kept_max(const struct tl_bus_kafka *b)
{
	return b->options.memory_bytes ? b->options.memory_bytes : TL_KEPT_BYTES;
}

/* What is kept is not ours to give while we are no member, and to poll is to join again. */
static bool gives_nothing(struct tl_bus_kafka *b)
{
	if (rd_kafka_assignment_lost(b->consumer))
		return true;
	if (b->stranded_ns && tl_mono_ns() - b->stranded_ns > STRANDED_NS)
		b->stranded_ns = 0;
	return b->stranded_ns != 0;
}

static int kafka_poll(struct tl_bus *bus, struct tl_message *messages, size_t max,
		      unsigned timeout_ms, struct tl_error *error)
{
	struct tl_bus_kafka *b = tl_bus_kafka(bus);
	size_t n = 0;

	while (n < max) {
		rd_kafka_message_t *message;
		struct tl_kafka_part *part;

		bool stranded = n == 0 && gives_nothing(b);

		if (b->given == b->n_kept || stranded) {
			bool full = b->n_kept >= TL_KEPT_MESSAGES || b->kept_bytes >= kept_max(b);
			int r = full && !stranded ? 0 : fetch(b, n ? 0 : timeout_ms, error);

			if (b->failed.code) {
				*error = b->failed;
				return error->code;
			}
			if (b->rewound) {
				b->rewound = false;
				return -EAGAIN;
			}
			if (r < 0)
				return r;
			if (b->given == b->n_kept || stranded)
				break;
		}
		message = b->kept[b->given++];
		part = tl_kafka_part_of(b, message);
		convert(message, part, &messages[n++]);
		part->next = message->offset + 1;
	}
	watch_connection(b, n > 0);
	if (b->producer && n == 0)
		rd_kafka_poll(b->producer, 0);
	return (int)n;
}

static int kafka_subscribe(struct tl_bus *bus, const int *topics, size_t n,
			   const struct tl_bus_listener *listener, struct tl_error *error)
{
	struct tl_bus_kafka *b = tl_bus_kafka(bus);
	_cleanup_(rd_kafka_topic_partition_list_destroyp) rd_kafka_topic_partition_list_t *list =
		NULL;
	rd_kafka_resp_err_t err;
	int r = b->transactional ? 0
				 : tl_kafka_prepare(b->options.kafka, topics, n, WAIT_MS, false,
						    NULL, error);

	if (r < 0)
		return r;
	if (listener)
		b->listener = *listener;
	list = rd_kafka_topic_partition_list_new((int)n);
	for (size_t i = 0; i < n; i++)
		rd_kafka_topic_partition_list_add(list, b->names[topics[i]], RD_KAFKA_PARTITION_UA);
	err = rd_kafka_subscribe(b->consumer, list);
	if (err)
		return tl_kafka_fail(error, b->consumer, err, NULL, "group %s", b->options.group);
	b->subscribed = true;
	return 0;
}

static int kafka_pause(struct tl_bus *bus, bool on)
{
	struct tl_bus_kafka *b = tl_bus_kafka(bus);
	_cleanup_(rd_kafka_topic_partition_list_destroyp) rd_kafka_topic_partition_list_t *list =
		NULL;
	rd_kafka_resp_err_t err = rd_kafka_assignment(b->consumer, &list);

	if (!err)
		err = on ? rd_kafka_pause_partitions(b->consumer, list)
			 : rd_kafka_resume_partitions(b->consumer, list);
	return tl_kafka_errno(err);
}

static int64_t kafka_lag(struct tl_bus *bus)
{
	struct tl_bus_kafka *b = tl_bus_kafka(bus);
	int64_t sum = 0;

	for (size_t i = 0; i < b->n_parts; i++) {
		const struct tl_kafka_part *p = &b->parts[i];
		int64_t low, high;

		if (rd_kafka_get_watermark_offsets(b->consumer, b->names[p->topic], p->partition,
						   &low, &high) ||
		    high < 0)
			return -1;
		sum += high - (p->next >= 0 ? p->next : low > 0 ? low : 0);
	}
	return sum;
}

static void kafka_close(struct tl_bus *bus)
{
	struct tl_bus_kafka *b = tl_bus_kafka(bus);
	struct tl_error error = {0};

	b->closing = true;
	memset(&b->listener, 0, sizeof(b->listener));
	if (b->in_txn && b->producer)
		tl_kafka_abort(bus, &error);
	for (size_t i = 0; i < b->n_kept; i++)
		rd_kafka_message_destroy(b->kept[i]);
	b->n_kept = b->given = 0;
	if (b->consumer && b->subscribed)
		rd_kafka_consumer_close(b->consumer);
	if (b->reader)
		rd_kafka_destroy(b->reader);
	if (b->producer)
		rd_kafka_destroy(b->producer);
	if (b->consumer)
		rd_kafka_destroy(b->consumer);
	free(b->kept);
	free(b->parts);
	free(b);
}

static const struct tl_bus_ops kafka_ops = {
	.name = "kafka",
	.subscribe = kafka_subscribe,
	.poll = kafka_poll,
	.produce = tl_kafka_produce,
	.commit = tl_kafka_commit,
	.abort = tl_kafka_abort,
	.take = tl_kafka_take,
	.mark = tl_kafka_mark,
	.marked = tl_kafka_marked,
	.pause = kafka_pause,
	.read_all = tl_kafka_read_all,
	.lag = kafka_lag,
	.close = kafka_close,
};

static uint64_t poll_interval(rd_kafka_t *rk)
{
	char ms[24] = "";
	size_t size = sizeof(ms);

	rd_kafka_conf_get(rd_kafka_conf(rk), "max.poll.interval.ms", ms, &size);
	return strtoull(ms, NULL, 10) * TL_MS;
}

static int open_consumer(struct tl_bus_kafka *b, struct tl_error *error)
{
	/* Offsets never move by themselves; where to begin is decided in kafka_group.c. */
	const struct tl_kafka_property fixed[] = {
		{"enable.auto.commit", "false"},
		{"enable.auto.offset.store", "false"},
		{"isolation.level", "read_committed"},
		{"group.id", b->options.group},
		{"auto.offset.reset", b->options.accept_gap ? "earliest" : "error"},
		{NULL, NULL}};
	char prefetch[24] = "65536", piece[24] = "1048576";
	const struct tl_kafka_property defaults[] = {
		{"partition.assignment.strategy", "cooperative-sticky"},
		{"session.timeout.ms", "30000"},
		{"queued.max.messages.kbytes", prefetch},
		{"fetch.message.max.bytes", piece},
		{"fetch.wait.max.ms", "100"},
		{"fetch.error.backoff.ms", "50"},
		{NULL, NULL}};
	rd_kafka_conf_t *conf;
	int r;

	/* A full queue costs a second (librdkafka before 2.2 looks again after so long), and an
	 * answer of the broker is much larger unpacked: small answers overshoot less. */
	if (b->options.memory_bytes) {
		snprintf(prefetch, sizeof(prefetch), "%" PRIu64, b->options.memory_bytes / 1024);
		snprintf(piece, sizeof(piece), "%" PRIu64, b->options.memory_bytes / 192);
	}
	r = tl_kafka_conf_new(b->options.kafka, defaults, fixed, &b->watch, &conf, error);
	if (r < 0)
		return r;
	if (b->options.instance)
		rd_kafka_conf_set(conf, "group.instance.id", b->options.instance, NULL, 0);
	rd_kafka_conf_set_rebalance_cb(conf, tl_kafka_on_rebalance);
	r = tl_kafka_new(RD_KAFKA_CONSUMER, conf, &b->consumer, error);
	if (r < 0)
		return r;
	rd_kafka_poll_set_consumer(b->consumer);
	b->poll_interval_ns = poll_interval(b->consumer);
	b->polled_ns = tl_mono_ns();
	return 0;
}

static int open_all(struct tl_bus_kafka *b, struct tl_error *error)
{
	static const int all[] = {TL_TOPIC_RAW, TL_TOPIC_HTTP,	TL_TOPIC_LOGS, TL_TOPIC_METRICS,
				  TL_TOPIC_DLQ, TL_TOPIC_MARKS, TL_TOPIC_OTLP};
	size_t n = ARRAY_SIZE(all) - (b->options.kafka->otlp_topic ? 0 : 1);
	int r = 0;

	for (int i = 0; r == 0 && i < TL_TOPICS; i++)
		r = tl_kafka_topic_name(b->options.kafka, i, b->names[i]);
	if (r < 0)
		return tl_error_set(
			error, r,
			"a topic's name is too long: Kafka's topic names have 249 bytes at most");
	r = tl_kafka_prepare(b->options.kafka, all, b->transactional ? n : 0, WAIT_MS, false, NULL,
			     error);
	if (r == 0 && b->transactional)
		r = tl_kafka_open_producer(b, error);
	return r < 0 ? r : open_consumer(b, error);
}

int tl_bus_kafka_open(const struct tl_bus_options *options, struct tl_bus **ret_bus,
		      struct tl_error *error)
{
	struct tl_bus_kafka *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return tl_error_set(error, -ENOMEM, "out of memory");
	b->bus.ops = &kafka_ops;
	b->options = *options;
	b->transactional = options->transactional;
	r = open_all(b, error);
	if (r < 0) {
		kafka_close(&b->bus);
		return r;
	}
	*ret_bus = &b->bus;
	return 0;
}
