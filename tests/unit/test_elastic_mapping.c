/* SPDX-License-Identifier: Apache-2.0 */
/* The shapes of documents and their templates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "userspace/base/json.h"
#include "userspace/sink/elastic_mapping.h"

static const char record[] =
	"{\"uid\":\"e-1-0\",\"timestamp\":\"2026-11-23T01:00:00.100000000Z\","
	"\"observed_timestamp\":\"2026-11-23T01:00:00.123456789Z\",\"severity_number\":17,"
	"\"severity_text\":\"ERROR\",\"body\":\"say \\\"service.name\\\":\\\"x\\\"\","
	"\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\","
	"\"resource\":{\"service.name\":\"ca\\\"rt\",\"process.pid\":\"812\"},"
	"\"attributes\":{\"thread.id\":815,\"correlation.how\":\"unit\",\"deep.key\":\"v\"}}";

static struct tl_arena arena;
static struct tl_record scratch;
static struct tl_buf out;

static int teardown(void **state)
{
	(void)state;
	tl_arena_done(&arena);
	tl_buf_done(&out);
	out = (struct tl_buf){0};
	return 0;
}

static const char *map(enum tl_elastic_mapping mapping, const char *data_stream)
{
	struct tl_elastic_mapper mapper = {mapping, data_stream, &arena, &scratch};

	tl_buf_clear(&out);
	assert_int_equal(tl_elastic_map(&mapper, tl_span_str(record), &out), 0);
	tl_buf_putc(&out, '\0');
	return out.data;
}

static void ecs_has_the_names_of_the_schema_and_labels_for_the_rest(void **state)
{
	(void)state;
	assert_string_equal(
		map(TL_MAPPING_ECS, NULL),
		"{\"@timestamp\":\"2026-11-23T01:00:00.100000000Z\","
		"\"event.created\":\"2026-11-23T01:00:00.123456789Z\",\"event.id\":\"e-1-0\","
		"\"event.severity\":17,\"message\":\"say \\\"service.name\\\":\\\"x\\\"\","
		"\"log.level\":\"ERROR\",\"trace.id\":\"4bf92f3577b34da6a3ce929d0e0e4736\","
		"\"service.name\":\"ca\\\"rt\",\"process.pid\":\"812\",\"process.thread.id\":815,"
		"\"labels\":{\"correlation_how\":\"unit\",\"deep_key\":\"v\"},"
		"\"ecs.version\":\"8.11.0\"}");
}

static void otel_keeps_names_and_says_its_data_stream(void **state)
{
	(void)state;
	assert_string_equal(
		map(TL_MAPPING_OTEL, "logs-tapline.otel-default"),
		"{\"@timestamp\":\"2026-11-23T01:00:00.100000000Z\","
		"\"observed_timestamp\":\"2026-11-23T01:00:00.123456789Z\",\"severity_number\":17,"
		"\"severity_text\":\"ERROR\",\"body\":{\"text\":\"say "
		"\\\"service.name\\\":\\\"x\\\"\"},"
		"\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\","
		"\"resource\":{\"attributes\":{\"service.name\":\"ca\\\"rt\",\"process.pid\":"
		"\"812\"}},"
		"\"attributes\":{\"thread.id\":815,\"correlation.how\":\"unit\",\"deep.key\":\"v\","
		"\"log.record.uid\":\"e-1-0\"},\"data_stream.type\":\"logs\","
		"\"data_stream.dataset\":\"tapline.otel\",\"data_stream.namespace\":\"default\"}");
}

static void flat_in_a_data_stream_only_gets_a_timestamp(void **state)
{
	const char *json = map(TL_MAPPING_FLAT, "logs-x-y");
	static const char head[] = "{\"@timestamp\":\"2026-11-23T01:00:00.100000000Z\",";

	(void)state;
	assert_memory_equal(json, head, strlen(head));
	assert_string_equal(json + strlen(head), record + 1);
}

static void copies_are_of_members_not_of_text(void **state)
{
	size_t len = strlen(record) - 1;

	(void)state;
	tl_buf_clear(&out);
	assert_int_equal(tl_elastic_copies(tl_span_str(record), &out), 0);
	tl_buf_putc(&out, '\0');
	assert_memory_equal(out.data, record, len);
	assert_string_equal(out.data + len,
			    ",\"service_name\":\"ca\\\"rt\",\"correlation_how\":\"unit\"}");
	assert_int_equal(tl_elastic_copies(TL_SPAN_LIT("[1]"), &out), -EINVAL);
}

static void what_is_no_record_is_refused(void **state)
{
	struct tl_elastic_mapper mapper = {TL_MAPPING_ECS, NULL, &arena, &scratch};

	(void)state;
	tl_buf_clear(&out);
	assert_int_equal(tl_elastic_map(&mapper, TL_SPAN_LIT("{\"uid\":"), &out), -EINVAL);
	assert_int_equal(out.len, 0);
}

static void templates_are_json_for_each_mapping_and_server(void **state)
{
	(void)state;
	for (int i = 0; i < 12; i++) {
		struct tl_elastic_template of = {.mapping = (enum tl_elastic_mapping)(i % 3),
						 .opensearch = i & 4,
						 .data_stream = i >= 6,
						 .patterns = {"a-", "b-"},
						 .shards = 2,
						 .replicas = 0};
		struct tl_json_value value;
		struct tl_json_cursor cursor;
		struct tl_span key;
		int members = 0, r;

		tl_buf_clear(&out);
		tl_elastic_template(&of, &out);
		assert_int_equal(tl_json_enter(&cursor, tl_buf_span(&out)), 0);
		while ((r = tl_json_member(&cursor, &key, &value)) == 1)
			members++;
		assert_int_equal(r, 0);
		assert_true(tl_json_at_end(&cursor));
		assert_int_equal(members, of.data_stream ? 5 : 4);
		assert_int_equal(memmem(out.data, out.len, "service_name", 12) != NULL,
				 of.opensearch && of.mapping == TL_MAPPING_FLAT);
	}
}

#define TEST(f) cmocka_unit_test_teardown(f, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ecs_has_the_names_of_the_schema_and_labels_for_the_rest),
		TEST(otel_keeps_names_and_says_its_data_stream),
		TEST(flat_in_a_data_stream_only_gets_a_timestamp),
		TEST(copies_are_of_members_not_of_text),
		TEST(what_is_no_record_is_refused),
		TEST(templates_are_json_for_each_mapping_and_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
