// SPDX-License-Identifier: Apache-2.0
/* Reads one partition of a changelog to its end, through a handle of its own that belongs to no
 * group.
 *
 * "End" is the high watermark when the reading begins, asked of the broker; and only what is
 * committed is handed on. Where the last stable offset is behind it, a transaction is still being
 * decided (the predecessor's markers are on their way): waiting for it is what makes the newest
 * mark ours and not one batch old. */
#include "userspace/base/clock.h"
#include "userspace/bus/kafka_internal.h"

#define ASK_MS 30000
#define AGAIN_US 100000u
#define READ_TIMEOUT_NS (120 * TL_SEC) /* longer than any transaction.timeout.ms of ours */

struct read {
	rd_kafka_topic_partition_list_t *list;
	const char *name;
	int32_t partition;
	int64_t end; /* -1 not known yet */
	void (*each)(void *arg, struct tl_span key, struct tl_span value);
	void *arg;
};

static int open_reader(struct tl_bus_kafka *b, struct tl_error *error)
{
	static const struct tl_kafka_property fixed[] = {
		{"isolation.level", "read_committed"},
		{"enable.partition.eof", "true"},
		{"enable.auto.commit", "false"},
		{"enable.auto.offset.store", "false"},
		{"auto.offset.reset", "earliest"},
		{"group.id", "tapline-changelog"},
		/* Each partition is read alone, and at its end a fetch must not linger. */
		{"fetch.wait.max.ms", "5"},
		{"fetch.error.backoff.ms", "5"},
		{NULL, NULL}};
	rd_kafka_conf_t *conf;
	int r;

	if (b->reader)
		return 0;
	r = tl_kafka_conf_new(b->options.kafka, NULL, fixed, &b->producer_watch, &conf, error);
	return r < 0 ? r : tl_kafka_new(RD_KAFKA_CONSUMER, conf, &b->reader, error);
}

/* Returns 1 at the end, 0 go on, or an error. */
static int take(struct tl_bus_kafka *b, struct read *read, const rd_kafka_message_t *message,
		struct tl_error *error)
{
	int64_t low;

	/* What was fetched for the partition read before may still be on its way. */
	if (message->rkt && message->partition != read->partition)
		return 0;
	if (!message->err) {
		read->each(read->arg, (struct tl_span){message->key, message->key_len},
			   (struct tl_span){message->payload, message->len});
		return 0;
	}
	if (message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
		if (tl_kafka_is_passing(message->err))
			return 0;
		return tl_kafka_fail(error, b->reader, message->err,
				     rd_kafka_message_errstr(message), "cannot read %s",
				     read->name);
	}
	/* The end that was told is the stable one. The fetch's answer had the high watermark beside
	 * it; asking the broker for the end would give a read_committed handle the stable one
	 * again. */
	if (read->end < 0 && rd_kafka_get_watermark_offsets(b->reader, read->name, read->partition,
							    &low, &read->end))
		read->end = -1;
	return read->end >= 0 && message->offset >= read->end;
}

static int read_to_end(struct tl_bus_kafka *b, struct read *read, struct tl_error *error)
{
	uint64_t deadline = tl_mono_ns() + READ_TIMEOUT_NS;

	for (;;) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(b->reader, 100);
		int r = message ? take(b, read, message, error) : 0;

		if (message)
			rd_kafka_message_destroy(message);
		if (r != 0)
			return r < 0 ? r : 0;
		if (tl_mono_ns() > deadline)
			return tl_error_set(error, -ETIMEDOUT,
					    "%s [%d] could not be read to its end: is a broker "
					    "down, or a transaction of "
					    "another program open there?",
					    read->name, read->partition);
	}
}

/* "Beginning" as a number: librdkafka looks a logical offset up again only after 500 ms when it
 * does not know the leader yet, as at a worker's start. */
static rd_kafka_resp_err_t ask_beginning(struct tl_bus_kafka *b, const struct read *read,
					 int64_t *ret_low)
{
	uint64_t deadline = tl_mono_ns() + READ_TIMEOUT_NS;
	int64_t high;

	for (;;) {
		rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(
			b->reader, read->name, read->partition, ret_low, &high, ASK_MS);

		if (!tl_kafka_is_passing(err) || tl_mono_ns() > deadline)
			return err;
		usleep(AGAIN_US);
	}
}

int tl_kafka_read_all(struct tl_bus *bus, int topic, int32_t partition,
		      void (*each)(void *arg, struct tl_span key, struct tl_span value), void *arg,
		      struct tl_error *error)
{
	struct tl_bus_kafka *b = tl_bus_kafka(bus);
	struct read read = {.name = b->names[topic],
			    .partition = partition,
			    .end = -1,
			    .each = each,
			    .arg = arg};
	_cleanup_(rd_kafka_topic_partition_list_destroyp) rd_kafka_topic_partition_list_t *list =
		NULL;
	rd_kafka_resp_err_t err;
	int64_t low;
	int r = open_reader(b, error);

	if (r < 0)
		return r;
	err = ask_beginning(b, &read, &low);
	if (err)
		return tl_kafka_fail(error, b->reader, err, NULL,
				     "cannot ask for the beginning of %s", read.name);
	list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(list, read.name, partition)->offset = low;
	err = rd_kafka_assign(b->reader, list);
	if (err)
		return tl_kafka_fail(error, b->reader, err, NULL, "cannot read %s", read.name);
	r = read_to_end(b, &read, error);
	rd_kafka_assign(b->reader, NULL);
	return r;
}
