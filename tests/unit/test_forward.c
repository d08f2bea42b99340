/* SPDX-License-Identifier: Apache-2.0 */
/* The forwarder against librdkafka's mock cluster, which is good for injecting errors (it knows no
 * transactions and does not check sequences: tests/integration has the real broker). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "agent/forward.h"
#include "tests/tools/sample_log.h"
#include "userspace/base/fs.h"
#include "userspace/base/msg.h"
#include "userspace/bus/kafka.h"

#define PRODUCE 0 /* Kafka protocol guide: the ApiKey of ProduceRequest */
#define WAIT_NS (20 * TL_SEC)

struct fixture {
	rd_kafka_t *host; /* of the mock cluster */
	rd_kafka_mock_cluster_t *cluster;
	char dir[64];
	struct tl_log *log;
	struct tl_buf bytes;
	uint64_t lines;
	struct tl_kafka_settings kafka;
	struct tl_forward_options options;
	struct tl_forward *forward;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct tl_log_options log = {0};
	struct tl_error error = {0};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char why[128];

	rd_kafka_conf_set_log_cb(conf, NULL);
	tl_msg_init("test_forward", TL_ERROR);
	f->host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
	f->cluster = rd_kafka_mock_cluster_new(f->host, 1);
	assert_int_equal(rd_kafka_mock_topic_create(f->cluster, "tapline.raw", 1, 1), 0);
	assert_int_equal(rd_kafka_mock_topic_create(f->cluster, "tapline.http", 1, 1), 0);
	snprintf(f->dir, sizeof(f->dir), "/tmp/tapline-forward-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	log.dir = f->dir;
	log.max_bytes = 64 << 20;
	assert_int_equal(tl_log_open(&log, &f->log, &error), 0);
	assert_int_equal(sample_resource(f->log), 0);
	f->kafka =
		(struct tl_kafka_settings){.brokers = rd_kafka_mock_cluster_bootstraps(f->cluster),
					   .partitions = 1,
					   .replication = 1,
					   .compression = "lz4"};
	f->options = (struct tl_forward_options){
		.kafka = &f->kafka, .log_dir = f->dir, .consumer = "kafka"};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->forward)
		tl_forward_stop(f->forward, 0);
	if (f->log)
		tl_log_close(f->log);
	rd_kafka_mock_cluster_destroy(f->cluster);
	rd_kafka_destroy(f->host);
	tl_remove_tree(f->dir);
	tl_buf_done(&f->bytes);
	free(f);
	return 0;
}

static void append(struct fixture *f, uint64_t lines, bool ids)
{
	for (uint64_t end = f->lines + lines; f->lines < end; f->lines += SAMPLE_FRAME)
		assert_int_equal(sample_frame(f->log, f->lines, ids, &f->bytes), 0);
}

static void start(struct fixture *f)
{
	struct tl_error error = {0};

	if (tl_forward_start(&f->options, &f->forward, &error) < 0)
		fail_msg("%s", error.message);
}

static void wait_for(struct fixture *f,
		     bool (*done)(struct fixture *f, const struct tl_forward_usage *usage),
		     const char *what)
{
	uint64_t deadline = tl_mono_ns() + WAIT_NS;
	struct tl_forward_usage usage;

	for (;;) {
		tl_forward_usage(f->forward, &usage);
		if (done(f, &usage))
			return;
		if (tl_mono_ns() > deadline)
			fail_msg("never came: %s (%" PRIu64 " records, %s)", what, usage.records,
				 usage.last_error);
		usleep(1000);
	}
}

static bool all_sent(struct fixture *f, const struct tl_forward_usage *usage)
{
	return usage->records >= f->lines && usage->in_flight == 0;
}

static bool is_away(struct fixture *f, const struct tl_forward_usage *usage)
{
	(void)f;
	return !usage->connected && usage->last_error[0];
}

/* The fatal error may be noticed before any delivery report fails, so it is the sending again that
 * tells. */
static bool was_replaced(struct fixture *f, const struct tl_forward_usage *usage)
{
	(void)f;
	return usage->retries > 0;
}

static uint64_t stop(struct fixture *f)
{
	return tl_forward_stop(TAKE_PTR(f->forward), 20000);
}

struct seen {
	uint64_t n, last, first_times;
	bool ids;
};

/* Reads the topic from its beginning until `n` different messages were seen. */
static void read_topic(struct fixture *f, uint64_t n,
		       void (*each)(struct seen *seen, const rd_kafka_message_t *message),
		       struct seen *seen)
{
	struct tl_error error = {0};
	_cleanup_(rd_kafka_topic_partition_list_destroyp) rd_kafka_topic_partition_list_t *list =
		NULL;
	_cleanup_(rd_kafka_destroyp) rd_kafka_t *rk = NULL;
	uint64_t deadline = tl_mono_ns() + WAIT_NS;
	rd_kafka_conf_t *conf;

	assert_int_equal(tl_kafka_conf_new(&f->kafka, NULL, NULL, NULL, &conf, &error), 0);
	rd_kafka_conf_set(conf, "group.id", "reader", NULL, 0);
	assert_int_equal(tl_kafka_new(RD_KAFKA_CONSUMER, conf, &rk, &error), 0);
	list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(list, "tapline.raw", 0)->offset = 0;
	assert_int_equal(rd_kafka_assign(rk, list), 0);
	while (seen->first_times < n) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, 100);

		if (tl_mono_ns() > deadline)
			fail_msg("%" PRIu64 " of %" PRIu64 " messages", seen->first_times, n);
		if (!message)
			continue;
		assert_int_equal(message->err, 0);
		each(seen, message);
		rd_kafka_message_destroy(message);
	}
}

static struct tl_span header(const rd_kafka_message_t *message, const char *name)
{
	rd_kafka_headers_t *headers;
	const void *value;
	size_t size;

	if (rd_kafka_message_headers(message, &headers) ||
	    rd_kafka_header_get_last(headers, name, &value, &size))
		return (struct tl_span){0};
	return (struct tl_span){value, size};
}

/* The law of resends: what comes for the first time comes in the order of positions. */
static void look(struct seen *seen, const rd_kafka_message_t *message)
{
	uint64_t id, position;

	assert_int_equal(tl_position_parse(header(message, "tapline-position"), &id, &position), 0);
	assert_true(id != 0);
	seen->n++;
	if (position <= seen->last)
		return;
	seen->last = position;
	seen->first_times++;
}

static void check_one(struct seen *seen, const rd_kafka_message_t *message)
{
	char uid[TL_UID_MAX], key[20];
	struct tl_uid expected = {SAMPLE_EPOCH, 1 + seen->n % SAMPLE_STREAMS, seen->n * 128};
	size_t len = tl_uid_format(&expected, uid);

	assert_true(tl_span_is(header(message, "tapline-uid"), uid));
	snprintf(key, sizeof(key), "%" PRIx64, expected.stream);
	assert_true(tl_span_is((struct tl_span){message->key, message->key_len}, key));
	assert_true(tl_span_is(header(message, "x-request-id"),
			       seen->ids ? "0af7651916cd43dd" : NULL) ||
		    !seen->ids);
	assert_int_equal(header(message, "x-request-id").len, seen->ids ? 16 : 0);
	assert_true(message->len > 300 && memcmp(message->payload, "{\"uid\":\"", 8) == 0);
	assert_memory_equal((const char *)message->payload + 8, uid, len);
	look(seen, message);
}

static void every_record_arrives_with_its_uid_position_and_ids(void **state)
{
	struct fixture *f = *state;
	struct seen seen = {.ids = true};

	append(f, 200, true);
	start(f);
	wait_for(f, all_sent, "all records acknowledged");
	tl_log_close(TAKE_PTR(f->log));
	assert_int_equal(stop(f), 0);
	read_topic(f, 200, check_one, &seen);
	assert_int_equal(seen.n, 200);
}

static void lines_without_a_request_have_two_headers_only(void **state)
{
	struct fixture *f = *state;
	struct seen seen = {.ids = false};

	append(f, 40, false);
	start(f);
	wait_for(f, all_sent, "all records acknowledged");
	read_topic(f, 40, check_one, &seen);
}

/* What the log may free, told by a reader of the same name. */
static uint64_t first_unfreed(struct fixture *f)
{
	struct tl_log_reader *reader;
	struct tl_log_item item = {0};
	struct tl_error error = {0};

	assert_int_equal(
		tl_log_reader_open(f->dir, "kafka", TL_LOG_RESUME, 0, &reader, NULL, &error), 0);
	while (tl_log_reader_next(reader, &item, &error) == 1 && item.context)
		;
	tl_log_reader_close(reader);
	return item.position;
}

static void nothing_is_freed_before_the_broker_has_it(void **state)
{
	struct fixture *f = *state;
	struct tl_forward_usage usage;
	uint64_t before;

	append(f, 100, false);
	start(f);
	wait_for(f, all_sent, "the first records acknowledged");
	rd_kafka_mock_broker_set_down(f->cluster, 1);
	append(f, 500, false);
	wait_for(f, is_away, "the outage noticed");
	tl_forward_usage(f->forward, &usage);
	assert_int_equal(usage.records, 100);
	before = usage.position;
	rd_kafka_mock_broker_set_up(f->cluster, 1);
	wait_for(f, all_sent, "all records acknowledged after the outage");
	tl_forward_usage(f->forward, &usage);
	assert_true(usage.position > before);
	assert_true(usage.connected);
	assert_string_equal(usage.last_error, "");
}

static void a_stop_while_the_broker_is_away_leaves_all_in_the_log(void **state)
{
	struct fixture *f = *state;
	struct tl_forward_usage usage;

	append(f, 100, false);
	start(f);
	wait_for(f, all_sent, "the first records acknowledged");
	rd_kafka_mock_broker_set_down(f->cluster, 1);
	append(f, 60, false);
	wait_for(f, is_away, "the outage noticed");
	tl_forward_usage(f->forward, &usage);
	assert_int_equal(tl_forward_stop(TAKE_PTR(f->forward), 10), 60);
	assert_true(first_unfreed(f) >= usage.position);
	rd_kafka_mock_broker_set_up(f->cluster, 1);
	f->lines = 60;
	start(f);
	wait_for(f, all_sent, "the rest acknowledged by the next forwarder");
}

static void a_fatal_producer_is_replaced_and_order_holds(void **state)
{
	struct fixture *f = *state;
	struct seen seen = {0};
	struct tl_forward_usage usage;

	append(f, 100, false);
	start(f);
	wait_for(f, all_sent, "the first records acknowledged");
	rd_kafka_mock_push_request_errors(f->cluster, PRODUCE, 2,
					  RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS,
					  RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS);
	append(f, 5000, false);
	wait_for(f, was_replaced, "a new producer");
	wait_for(f, all_sent, "all records acknowledged");
	tl_forward_usage(f->forward, &usage);
	assert_true(usage.retries > 0);
	assert_int_equal(usage.records, f->lines);
	read_topic(f, f->lines, look, &seen);
	tl_log_close(TAKE_PTR(f->log));
	assert_int_equal(stop(f), 0);
}

static void what_the_broker_finds_too_large_does_not_stop_the_rest(void **state)
{
	struct fixture *f = *state;
	struct tl_forward_usage usage;
	struct seen seen = {0};

	append(f, 100, false);
	/* Refused in company, refused alone: left out. */
	rd_kafka_mock_push_request_errors(f->cluster, PRODUCE, 2,
					  RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
					  RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
	start(f);
	f->lines -= 1;
	wait_for(f, all_sent, "all records but one acknowledged");
	tl_forward_usage(f->forward, &usage);
	assert_int_equal(usage.dropped, 1);
	tl_log_close(TAKE_PTR(f->log));
	assert_int_equal(stop(f), 0);
	read_topic(f, 99, look, &seen);
}

static void a_wrong_property_is_refused_at_start(void **state)
{
	struct fixture *f = *state;
	char *property = "acks=1";
	struct tl_forward *forward;
	struct tl_error error = {0};

	f->kafka.properties = (struct tl_list){&property, 1};
	assert_int_equal(tl_forward_start(&f->options, &forward, &error), -EINVAL);
	assert_non_null(strstr(error.message, "acks"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_record_arrives_with_its_uid_position_and_ids,
						setup, teardown),
		cmocka_unit_test_setup_teardown(lines_without_a_request_have_two_headers_only,
						setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_freed_before_the_broker_has_it, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			a_stop_while_the_broker_is_away_leaves_all_in_the_log, setup, teardown),
		cmocka_unit_test_setup_teardown(a_fatal_producer_is_replaced_and_order_holds, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			what_the_broker_finds_too_large_does_not_stop_the_rest, setup, teardown),
		cmocka_unit_test_setup_teardown(a_wrong_property_is_refused_at_start, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
