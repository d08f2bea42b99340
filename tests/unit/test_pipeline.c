/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/json.h"
#include "userspace/stream/pipeline.h"

#define OUTPUTS 64

struct output {
	int topic;
	char key[128], value[2048];
	size_t value_len;
	char headers[512]; /* "name=value;" each */
};

static struct output outputs[OUTPUTS];
static size_t n_outputs;
static int refuse_topic, refuse_with; /* the output callback fails so for this topic */
static struct tl_pipeline *pipeline;
static struct tl_error error;

static int collect(void *arg, const struct tl_message *message, const struct tl_record *record)
{
	struct output *out = &outputs[n_outputs];
	size_t n = 0;

	(void)arg;
	if (message->topic == TL_TOPIC_LOGS)
		assert_non_null(record);
	if (refuse_with && message->topic == refuse_topic)
		return refuse_with;
	assert_true(n_outputs++ < OUTPUTS);
	out->topic = message->topic;
	snprintf(out->key, sizeof(out->key), "%.*s", (int)message->key.len,
		 message->key.data ? message->key.data : "");
	assert_true(message->value.len < sizeof(out->value));
	memcpy(out->value, message->value.data, message->value.len);
	out->value[message->value.len] = '\0';
	out->value_len = message->value.len;
	out->headers[0] = '\0';
	for (uint32_t i = 0; i < message->n_headers; i++)
		n += (size_t)snprintf(
			out->headers + n, sizeof(out->headers) - n, "%.*s=%.*s;",
			(int)message->headers[i].key.len, message->headers[i].key.data,
			(int)message->headers[i].value.len, message->headers[i].value.data);
	return 0;
}

static void make(struct tl_pipeline_options options)
{
	options.output = collect;
	tl_pipeline_free(pipeline);
	pipeline = NULL;
	n_outputs = 0;
	refuse_with = 0;
	assert_int_equal(tl_pipeline_new(&options, &pipeline, &error), 0);
}

static int teardown(void **state)
{
	(void)state;
	tl_pipeline_free(pipeline);
	pipeline = NULL;
	return 0;
}

static int put(int topic, const char *json)
{
	const struct tl_message message = {
		.topic = topic,
		.partition = 3,
		.offset = 77,
		.key = TL_SPAN_LIT("2a9"),
		.value = tl_span_str(json),
		.headers = {{TL_SPAN_LIT("tapline-uid"), TL_SPAN_LIT("u-1-2")},
			    {TL_SPAN_LIT("x-request-id"), TL_SPAN_LIT("abc")}},
		.n_headers = 2,
	};

	return tl_pipeline_message(pipeline, &message);
}

/* A raw record of service `service` whose body is `body`, already escaped for JSON. */
static int put_line(const char *service, const char *second, const char *body)
{
	char json[1024];

	snprintf(json, sizeof(json),
		 "{\"uid\":\"9f0b6c1e5d2a4477-2a9-12c40\",\"timestamp\":\"2026-11-23T01:00:%s."
		 "000000000Z\","
		 "\"observed_timestamp\":\"2026-11-23T01:00:%s.000000000Z\",\"body\":\"%s\","
		 "\"resource\":{\"service.name\":\"%s\"},\"attributes\":{\"stream.id\":\"2a9\"}}",
		 second, second, body, service);
	return put(TL_TOPIC_RAW, json);
}

static void assert_in(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no %s in %s", part, text);
}

static void a_raw_record_becomes_a_parsed_one_with_the_same_key_and_headers(void **state)
{
	(void)state;
	make((struct tl_pipeline_options){.parser = "auto"});
	assert_int_equal(
		put_line("cart", "01",
			 "{\\\"level\\\":\\\"error\\\",\\\"msg\\\":\\\"refused\\\",\\\"n\\\":7}"),
		0);
	assert_int_equal(n_outputs, 1);
	assert_int_equal(outputs[0].topic, TL_TOPIC_LOGS);
	assert_string_equal(outputs[0].key, "2a9");
	assert_string_equal(outputs[0].headers, "tapline-uid=u-1-2;x-request-id=abc;");
	assert_string_equal(
		outputs[0].value,
		"{\"uid\":\"9f0b6c1e5d2a4477-2a9-12c40\",\"timestamp\":\"2026-11-23T01:00:01."
		"000000000Z\","
		"\"observed_timestamp\":\"2026-11-23T01:00:01.000000000Z\",\"severity_number\":17,"
		"\"severity_text\":\"ERROR\",\"body\":\"refused\",\"resource\":{\"service.name\":"
		"\"cart\"},"
		"\"attributes\":{\"stream.id\":\"2a9\",\"n\":7}}");
}

static void no_record_goes_to_the_dead_letters_as_it_came(void **state)
{
	(void)state;
	make((struct tl_pipeline_options){.parser = "auto"});
	assert_int_equal(put(TL_TOPIC_RAW, "{\"uid\":\"half"), 0);
	assert_int_equal(n_outputs, 1);
	assert_int_equal(outputs[0].topic, TL_TOPIC_DLQ);
	assert_string_equal(outputs[0].value, "{\"uid\":\"half");
	assert_in(outputs[0].headers, "tapline-uid=u-1-2;x-request-id=abc;tapline-reason=");
	assert_in(outputs[0].headers,
		  ";tapline-stage=parse;tapline-topic=raw;tapline-partition=3;tapline-offset=77;");
	assert_int_equal(tl_pipeline_flush(pipeline), 0);
	assert_int_equal(n_outputs, 1);
}

static void a_record_too_large_for_the_topic_is_a_dead_letter_not_the_end(void **state)
{
	(void)state;
	make((struct tl_pipeline_options){.parser = "auto"});
	refuse_topic = TL_TOPIC_LOGS;
	refuse_with = -EMSGSIZE;
	assert_int_equal(put_line("cart", "01", "x"), 0);
	assert_int_equal(n_outputs, 1);
	assert_int_equal(outputs[0].topic, TL_TOPIC_DLQ);
	assert_in(outputs[0].headers, "too large");
}

static void an_output_that_fails_ends_the_batch_with_its_error(void **state)
{
	(void)state;
	make((struct tl_pipeline_options){.parser = "auto"});
	refuse_topic = TL_TOPIC_LOGS;
	refuse_with = -EAGAIN;
	assert_int_equal(put_line("cart", "01", "x"), -EAGAIN);
}

/* Sum of `member` over the METRICS outputs whose value contains `part`. */
static uint64_t sum_of(const char *member, const char *part)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n_outputs; i++) {
		struct tl_span json = {outputs[i].value, outputs[i].value_len};
		struct tl_json_value value;
		uint64_t n;

		if (outputs[i].topic != TL_TOPIC_METRICS || !strstr(outputs[i].value, part))
			continue;
		assert_int_equal(tl_json_find(json, member, &value), 1);
		assert_int_equal(tl_json_u64(&value, &n), 0);
		sum += n;
	}
	return sum;
}

static void counts_add_up_to_the_lines_by_service_severity_and_window(void **state)
{
	(void)state;
	make((struct tl_pipeline_options){.parser = "auto"});
	put_line("cart", "01", "ERROR one");
	put_line("cart", "09", "ERROR two");
	put_line("cart", "11", "error: three");
	put_line("cart", "02", "INFO four");
	put_line("pay", "03", "five");
	n_outputs = 0;
	assert_int_equal(tl_pipeline_flush(pipeline), 0);
	assert_int_equal(n_outputs, 4);
	assert_int_equal(sum_of("count", "\"log.records\""), 5);
	assert_int_equal(sum_of("count", "\"severity_text\":\"ERROR\""), 3);
	assert_int_equal(sum_of("count", "\"severity_text\":\"UNSET\""), 1);
	assert_int_equal(sum_of("sum", "\"log.records\""), 9 + 9 + 12 + 9 + 4);
	assert_string_equal(
		outputs[0].value,
		"{\"window_start\":\"2026-11-23T01:00:00.000000000Z\","
		"\"window_end\":\"2026-11-23T01:00:10.000000000Z\",\"name\":\"log.records\","
		"\"labels\":{\"service.name\":\"cart\",\"severity_text\":\"ERROR\"},"
		"\"count\":2,\"sum\":18,\"min\":9,\"max\":9}");
	n_outputs = 0;
	assert_int_equal(tl_pipeline_flush(pipeline), 0);
	assert_int_equal(n_outputs, 0);
}

static void an_aborted_batch_counts_nothing(void **state)
{
	(void)state;
	make((struct tl_pipeline_options){.parser = "auto"});
	put_line("cart", "01", "one");
	tl_pipeline_abort(pipeline);
	put_line("cart", "01", "one again");
	n_outputs = 0;
	tl_pipeline_flush(pipeline);
	assert_int_equal(sum_of("count", "log.records"), 1);
}

static void past_max_series_lines_are_counted_under_other(void **state)
{
	char service[16];

	(void)state;
	make((struct tl_pipeline_options){.parser = "auto", .max_series = 4});
	for (int i = 0; i < 20; i++) {
		snprintf(service, sizeof(service), "s%d", i);
		assert_int_equal(put_line(service, "01", "x"), 0);
	}
	n_outputs = 0;
	assert_int_equal(tl_pipeline_flush(pipeline), 0);
	assert_int_equal(n_outputs, 5);
	assert_int_equal(sum_of("count", "log.records"), 20);
	assert_int_equal(sum_of("count", "_other"), 16);
}

static void a_gap_is_passed_on_and_is_no_line(void **state)
{
	(void)state;
	make((struct tl_pipeline_options){.parser = "auto"});
	put(TL_TOPIC_RAW,
	    "{\"uid\":\"9f0b6c1e5d2a4477-2a9-1\",\"timestamp\":\"2026-11-23T01:00:01Z\","
	    "\"observed_timestamp\":\"2026-11-23T01:00:01Z\",\"severity_number\":13,\"severity_"
	    "text\":\"WARN\","
	    "\"body\":\"tapline: 512 bytes lost here "
	    "(ring)\",\"resource\":{\"service.name\":\"cart\"},"
	    "\"attributes\":{\"tapline.gap.bytes\":512,\"tapline.gap.cause\":\"ring\"}}");
	assert_int_equal(n_outputs, 1);
	tl_pipeline_flush(pipeline);
	assert_int_equal(sum_of("count", "\"log.records\""), 0);
	assert_int_equal(sum_of("count", "\"log.gaps\""), 1);
	assert_int_equal(sum_of("sum", "\"log.gaps\""), 512);
}

static void http_exchanges_are_counted_by_route_and_status(void **state)
{
	static const char *const paths[] = {"/item/17", "/item/4711", "/item/0af7651916cd43dd",
					    "/item/list"};
	char json[1024];

	(void)state;
	make((struct tl_pipeline_options){.parser = "auto"});
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		snprintf(json, sizeof(json),
			 "{\"uid\":\"u-1-%zu\",\"timestamp\":\"2026-11-23T01:00:01Z\",\"observed_"
			 "timestamp\":\"2026-11-23T01:00:01Z\","
			 "\"body\":\"GET %s "
			 "200\",\"resource\":{\"service.name\":\"cart\"},\"attributes\":{"
			 "\"http.request.method\":\"GET\",\"url.path\":\"%s\",\"http.response."
			 "status_code\":200,"
			 "\"network.direction\":\"server\",\"http.server.request.duration\":0.02}}",
			 i, paths[i], paths[i]);
		assert_int_equal(put(TL_TOPIC_HTTP, json), 0);
	}
	assert_int_equal(n_outputs, 0);
	tl_pipeline_flush(pipeline);
	assert_int_equal(n_outputs, 2);
	assert_int_equal(sum_of("count", "\"http.route\":\"/item/{id}\""), 3);
	assert_int_equal(sum_of("count", "\"http.response.status_code\":\"200\""), 4);
	assert_in(outputs[0].value, "\"buckets\":[0,0,3,0,0,0,0,0,0,0,0,0,0,0,0]");
}

static void rules_drop_redact_set_and_choose_the_parser(void **state)
{
	static const char *const drop[] = {"body=*healthz*", "severity_text=DEBUG"};
	static const char *const redact[] = {"\\b\\d{4}-\\d{4}\\b"};
	static const char *const set[] = {"resource.env=prod", "resource.service.name=never"};
	static const char *const services[] = {"pay*=raw"};

	(void)state;
	make((struct tl_pipeline_options){.parser = "json",
					  .drop = drop,
					  .n_drop = 2,
					  .redact = redact,
					  .n_redact = 1,
					  .set = set,
					  .n_set = 2,
					  .services = services,
					  .n_services = 1});
	put_line("cart", "01", "GET /healthz");
	put_line("cart", "01", "{\\\"level\\\":\\\"debug\\\",\\\"msg\\\":\\\"x\\\"}");
	assert_int_equal(n_outputs, 0);
	put_line("cart", "01",
		 "{\\\"msg\\\":\\\"card 1234-5678\\\",\\\"other\\\":\\\"1111-2222 too\\\"}");
	assert_in(outputs[0].value, "\"body\":\"card [redacted]\"");
	assert_in(outputs[0].value, "\"other\":\"[redacted] too\"");
	assert_in(outputs[0].value, "\"resource\":{\"service.name\":\"cart\",\"env\":\"prod\"}");
	put_line("payments", "01", "{\\\"msg\\\":\\\"kept whole\\\"}");
	assert_in(outputs[1].value, "\"body\":\"{\\\"msg\\\":\\\"kept whole\\\"}\"");
}

static void wrong_settings_are_refused_by_name(void **state)
{
	static const char *const bad[] = {"("};
	struct tl_pipeline *none = NULL;
	struct tl_pipeline_options options = {.parser = "jsn", .output = collect};

	(void)state;
	assert_int_equal(tl_pipeline_new(&options, &none, &error), -EINVAL);
	assert_in(error.message, "jsn");
	options = (struct tl_pipeline_options){.redact = bad, .n_redact = 1, .output = collect};
	assert_int_equal(tl_pipeline_new(&options, &none, &error), -EINVAL);
	assert_in(error.message, "redact");
	options = (struct tl_pipeline_options){.drop = bad, .n_drop = 1, .output = collect};
	assert_int_equal(tl_pipeline_new(&options, &none, &error), -EINVAL);
	assert_null(none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(
			a_raw_record_becomes_a_parsed_one_with_the_same_key_and_headers, teardown),
		cmocka_unit_test_teardown(no_record_goes_to_the_dead_letters_as_it_came, teardown),
		cmocka_unit_test_teardown(
			a_record_too_large_for_the_topic_is_a_dead_letter_not_the_end, teardown),
		cmocka_unit_test_teardown(an_output_that_fails_ends_the_batch_with_its_error,
					  teardown),
		cmocka_unit_test_teardown(counts_add_up_to_the_lines_by_service_severity_and_window,
					  teardown),
		cmocka_unit_test_teardown(an_aborted_batch_counts_nothing, teardown),
		cmocka_unit_test_teardown(past_max_series_lines_are_counted_under_other, teardown),
		cmocka_unit_test_teardown(a_gap_is_passed_on_and_is_no_line, teardown),
		cmocka_unit_test_teardown(http_exchanges_are_counted_by_route_and_status, teardown),
		cmocka_unit_test_teardown(rules_drop_redact_set_and_choose_the_parser, teardown),
		cmocka_unit_test_teardown(wrong_settings_are_refused_by_name, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
