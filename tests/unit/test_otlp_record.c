/* SPDX-License-Identifier: Apache-2.0 */
/* The OTLP encodings. The protobuf golden was serialized by another implementation (Python's
 * opentelemetry-proto 1.39.1) from the same values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "userspace/base/json.h"
#include "userspace/record/otlp.h"

static const char json_record[] =
	"{\"uid\":\"9f0b6c1e5d2a4477-2a9-12c40\",\"timestamp\":\"2026-11-23T01:00:00.121000000Z\","
	"\"observed_timestamp\":\"2026-11-23T01:00:00.123456789Z\",\"severity_number\":17,"
	"\"severity_text\":\"ERROR\",\"body\":\"payment refused\","
	"\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"span_id\":\"00f067aa0ba902b7\","
	"\"trace_flags\":1,\"resource\":{\"service.name\":\"cart\",\"process.pid\":\"812\"},"
	"\"attributes\":{\"log.iostream\":\"stdout\",\"thread.id\":\"815\","
	"\"http.response.status_code\":500,\"ok\":true,\"ratio\":0.25,\"below\":-3}}";

static const char golden_proto[] =
	"0ac0020a2c0a160a0c736572766963652e6e616d6512060a04636172740a120a0b70726f63657373"
	"2e706964120318ac06128f020a090a077461706c696e651281020940f08230c986ea1810111a0545"
	"52524f522a110a0f7061796d656e742072656675736564322e0a0e6c6f672e7265636f72642e7569"
	"64121c0a1a396630623663316535643261343437372d3261392d313263343032180a0c6c6f672e69"
	"6f73747265616d12080a067374646f757432100a097468726561642e6964120318af0632200a1968"
	"7474702e726573706f6e73652e7374617475735f636f6465120318f40332080a026f6b1202100132"
	"120a05726174696f120921000000000000d03f32140a0562656c6f77120b18fdffffffffffffffff"
	"0145010000004a104bf92f3577b34da6a3ce929d0e0e4736520800f067aa0ba902b759156da830c9"
	"86ea18";

static const char golden_json[] =
	"{\"resourceLogs\":[{\"resource\":{\"attributes\":["
	"{\"key\":\"service.name\",\"value\":{\"stringValue\":\"cart\"}},"
	"{\"key\":\"process.pid\",\"value\":{\"intValue\":\"812\"}}]},"
	"\"scopeLogs\":[{\"scope\":{\"name\":\"tapline\"},\"logRecords\":["
	"{\"timeUnixNano\":\"1795395600121000000\",\"observedTimeUnixNano\":"
	"\"1795395600123456789\","
	"\"severityNumber\":17,\"severityText\":\"ERROR\","
	"\"body\":{\"stringValue\":\"payment refused\"},\"attributes\":["
	"{\"key\":\"log.record.uid\",\"value\":{\"stringValue\":\"9f0b6c1e5d2a4477-2a9-12c40\"}},"
	"{\"key\":\"log.iostream\",\"value\":{\"stringValue\":\"stdout\"}},"
	"{\"key\":\"thread.id\",\"value\":{\"intValue\":\"815\"}},"
	"{\"key\":\"http.response.status_code\",\"value\":{\"intValue\":\"500\"}},"
	"{\"key\":\"ok\",\"value\":{\"boolValue\":true}},"
	"{\"key\":\"ratio\",\"value\":{\"doubleValue\":0.25}},"
	"{\"key\":\"below\",\"value\":{\"intValue\":\"-3\"}}],\"flags\":1,"
	"\"traceId\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"spanId\":\"00f067aa0ba902b7\"}"
	"]}]}]}";

struct fixture {
	struct tl_otlp *otlp;
	struct tl_arena arena;
	struct tl_record record;
	struct tl_buf out;
	size_t groups, records, largest;
};

static const struct tl_otlp_limits roomy = {.groups = 100};

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->otlp)
		tl_otlp_free(f->otlp);
	tl_arena_done(&f->arena);
	tl_buf_done(&f->out);
	free(f);
	return 0;
}

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct fixture));
	return *state ? 0 : -1;
}

static void open_builder(struct fixture *f, enum tl_otlp_encoding encoding,
			 const struct tl_otlp_limits *limits)
{
	assert_int_equal(tl_otlp_new(encoding, limits, &f->otlp), 0);
}

static int add(struct fixture *f, const char *json)
{
	tl_arena_reset(&f->arena);
	assert_int_equal(tl_record_from_json(tl_span_str(json), &f->arena, &f->record, NULL), 0);
	return tl_otlp_add(f->otlp, &f->record);
}

static void assert_hex(struct tl_span bytes, const char *hex)
{
	char text[4096];

	assert_true(bytes.len * 2 < sizeof(text));
	for (size_t i = 0; i < bytes.len; i++)
		snprintf(text + 2 * i, 3, "%02x", (unsigned char)bytes.data[i]);
	text[2 * bytes.len] = 0;
	assert_string_equal(text, hex);
}

static void one_record_in_protobuf_is_what_another_encoder_writes(void **state)
{
	struct fixture *f = *state;

	open_builder(f, TL_OTLP_PROTOBUF, &roomy);
	assert_int_equal(add(f, json_record), 0);
	assert_int_equal(tl_otlp_write(f->otlp, &f->out), 0);
	assert_hex(tl_buf_span(&f->out), golden_proto);
	assert_int_equal(tl_otlp_count(f->otlp), 0);
}

static void one_record_in_json_is_golden(void **state)
{
	struct fixture *f = *state;

	open_builder(f, TL_OTLP_JSON, &roomy);
	assert_int_equal(add(f, json_record), 0);
	assert_int_equal(tl_otlp_write(f->otlp, &f->out), 0);
	tl_buf_putc(&f->out, 0);
	assert_string_equal(f->out.data, golden_json);
}

static int on_group(void *arg, uint64_t resource, struct tl_span request, size_t records)
{
	struct fixture *f = arg;

	(void)resource;
	f->groups++;
	f->records += records;
	if (request.len > f->largest)
		f->largest = request.len;
	return 0;
}

#define RECORD_OF(service, body)                                                                   \
	"{\"uid\":\"1-2-3\",\"observed_timestamp\":\"2026-11-23T01:00:00Z\",\"body\":\"" body      \
	"\",\"resource\":{\"service.name\":\"" service "\"}}"

static void records_of_one_resource_share_a_group(void **state)
{
	struct fixture *f = *state;

	open_builder(f, TL_OTLP_PROTOBUF, &roomy);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(add(f, RECORD_OF("a", "x")), 0);
		assert_int_equal(add(f, RECORD_OF("b", "x")), 0);
	}
	assert_int_equal(tl_otlp_count(f->otlp), 6);
	assert_int_equal(tl_otlp_each(f->otlp, on_group, f), 0);
	assert_int_equal(f->groups, 2);
	assert_int_equal(f->records, 6);
	assert_int_equal(tl_otlp_count(f->otlp), 0);
}

static void a_request_of_all_is_the_groups_one_behind_another(void **state)
{
	static const struct tl_otlp_limits limits = {.groups = 3};
	struct fixture *f = *state;
	struct tl_json_value logs;

	open_builder(f, TL_OTLP_JSON, &limits);
	assert_int_equal(add(f, RECORD_OF("a", "x")), 0);
	assert_int_equal(add(f, RECORD_OF("b", "y")), 0);
	assert_int_equal(add(f, RECORD_OF("a", "z")), 0);
	assert_int_equal(tl_otlp_write(f->otlp, &f->out), 0);
	assert_int_equal(tl_json_find(tl_buf_span(&f->out), "resourceLogs", &logs), 1);
	/* Emptied, it takes others. */
	assert_int_equal(add(f, RECORD_OF("c", "x")), 0);
	assert_int_equal(tl_otlp_count(f->otlp), 1);
}

static void a_full_group_asks_to_be_emptied_and_takes_one_large_record(void **state)
{
	static const struct tl_otlp_limits limits = {.groups = 4, .group_bytes = 100};
	static char large[4096];
	struct fixture *f = *state;

	open_builder(f, TL_OTLP_PROTOBUF, &limits);
	assert_int_equal(add(f, RECORD_OF("a", "x")), 0);
	assert_int_equal(add(f, RECORD_OF("a", "x")), -ENOBUFS);
	assert_int_equal(add(f, RECORD_OF("b", "x")), 0);
	assert_int_equal(tl_otlp_each(f->otlp, on_group, f), 0);
	snprintf(large, sizeof(large),
		 "{\"uid\":\"1-2-3\",\"observed_timestamp\":\"2026-11-23T01:00:00Z\","
		 "\"body\":\"%02000d\"}",
		 7);
	assert_int_equal(add(f, large), 0);
	assert_int_equal(add(f, large), -ENOBUFS);
}

static void too_many_resources_are_enobufs(void **state)
{
	static const struct tl_otlp_limits limits = {.groups = 2};
	struct fixture *f = *state;

	open_builder(f, TL_OTLP_PROTOBUF, &limits);
	assert_int_equal(add(f, RECORD_OF("a", "x")), 0);
	assert_int_equal(add(f, RECORD_OF("b", "x")), 0);
	assert_int_equal(add(f, RECORD_OF("c", "x")), -ENOBUFS);
	assert_int_equal(tl_otlp_each(f->otlp, on_group, f), 0);
	assert_int_equal(add(f, RECORD_OF("c", "x")), 0);
}

static bool contains(const struct tl_buf *buf, const char *bytes, size_t len)
{
	return memmem(buf->data, buf->len, bytes, len) != NULL;
}

static void a_body_that_is_no_utf8_goes_as_bytes(void **state)
{
	struct fixture *f = *state;

	/* log.body.base64 of ff fe 41: AnyValue.bytes_value, field 7 */
	open_builder(f, TL_OTLP_PROTOBUF, &roomy);
	assert_int_equal(add(f,
			     "{\"uid\":\"1-2-3\",\"observed_timestamp\":\"2026-11-23T01:00:00Z\","
			     "\"body\":\"??A\",\"attributes\":{\"log.body.base64\":\"//5B\"}}"),
			 0);
	assert_int_equal(tl_otlp_write(f->otlp, &f->out), 0);
	assert_true(contains(&f->out, "\x2a\x05\x3a\x03\xff\xfe\x41", 7));
	tl_otlp_free(f->otlp);
	open_builder(f, TL_OTLP_JSON, &roomy);
	assert_int_equal(tl_otlp_add(f->otlp, &f->record), 0);
	tl_buf_clear(&f->out);
	assert_int_equal(tl_otlp_write(f->otlp, &f->out), 0);
	assert_true(contains(&f->out, "{\"bytesValue\":\"//5B\"}", 21));
}

static void ids_that_are_none_are_left_out(void **state)
{
	struct fixture *f = *state;

	open_builder(f, TL_OTLP_JSON, &roomy);
	assert_int_equal(add(f,
			     "{\"uid\":\"1-2-3\",\"observed_timestamp\":\"2026-11-23T01:00:00Z\","
			     "\"trace_id\":\"00000000000000000000000000000000\","
			     "\"span_id\":\"00f067aa0ba902bx\"}"),
			 0);
	assert_int_equal(add(f,
			     "{\"uid\":\"1-2-4\",\"observed_timestamp\":\"2026-11-23T01:00:00Z\","
			     "\"trace_id\":\"4bf9\"}"),
			 0);
	assert_int_equal(tl_otlp_write(f->otlp, &f->out), 0);
	assert_false(contains(&f->out, "traceId", 7));
	assert_false(contains(&f->out, "spanId", 6));
}

static void numbers_keep_their_kind_and_range(void **state)
{
	struct fixture *f = *state;

	open_builder(f, TL_OTLP_JSON, &roomy);
	assert_int_equal(
		add(f, "{\"uid\":\"1-2-3\",\"observed_timestamp\":\"2026-11-23T01:00:00Z\","
		       "\"attributes\":{\"big\":9223372036854775807,\"more\":9223372036854775808,"
		       "\"exp\":1e3,\"huge\":1e999,\"no\":false,\"thread.id\":\"main\"}}"),
		0);
	assert_int_equal(tl_otlp_write(f->otlp, &f->out), 0);
	tl_buf_putc(&f->out, 0);
	assert_non_null(strstr(f->out.data, "{\"intValue\":\"9223372036854775807\"}"));
	assert_non_null(strstr(f->out.data, "{\"doubleValue\":9.2233720368547758e+18}"));
	assert_non_null(strstr(f->out.data, "{\"doubleValue\":1000}"));
	assert_non_null(strstr(f->out.data, "{\"doubleValue\":\"Infinity\"}"));
	assert_non_null(strstr(f->out.data, "{\"boolValue\":false}"));
	assert_non_null(strstr(f->out.data, "{\"stringValue\":\"main\"}"));
}

static void answers_tell_what_was_rejected(void **state)
{
	static const char proto[] = "\x0a\x0b\x08\x05\x12\x07"
				    "too old";
	struct tl_otlp_answer answer;

	(void)state;
	assert_int_equal(tl_otlp_read_answer(TL_OTLP_PROTOBUF, TL_SPAN_LIT(proto), &answer), 0);
	assert_int_equal(answer.rejected, 5);
	assert_string_equal(answer.message, "too old");
	assert_int_equal(
		tl_otlp_read_answer(TL_OTLP_JSON,
				    TL_SPAN_LIT("{\"partialSuccess\":{\"rejectedLogRecords\":\"5\","
						"\"errorMessage\":\"too\\nold\"}}"),
				    &answer),
		0);
	assert_int_equal(answer.rejected, 5);
	assert_string_equal(answer.message, "too old");
}

static void answers_without_news_are_full_success(void **state)
{
	struct tl_otlp_answer answer;

	(void)state;
	assert_int_equal(tl_otlp_read_answer(TL_OTLP_PROTOBUF, TL_SPAN_LIT(""), &answer), 0);
	assert_int_equal(answer.rejected, 0);
	assert_int_equal(tl_otlp_read_answer(TL_OTLP_PROTOBUF, TL_SPAN_LIT("\x0a\x00"), &answer),
			 0);
	assert_int_equal(answer.rejected, 0);
	assert_int_equal(
		tl_otlp_read_answer(TL_OTLP_JSON, TL_SPAN_LIT("{\"partialSuccess\":{}}"), &answer),
		0);
	assert_int_equal(answer.rejected, 0);
	assert_int_equal(tl_otlp_read_answer(TL_OTLP_JSON, TL_SPAN_LIT("{}"), &answer), 0);
}

static void answers_that_are_none_are_ebadmsg(void **state)
{
	struct tl_otlp_answer answer;

	(void)state;
	assert_int_equal(tl_otlp_read_answer(TL_OTLP_PROTOBUF, TL_SPAN_LIT("<html>"), &answer),
			 -EBADMSG);
	assert_int_equal(tl_otlp_read_answer(TL_OTLP_PROTOBUF, TL_SPAN_LIT("\x0a\x7f"), &answer),
			 -EBADMSG);
	assert_int_equal(tl_otlp_read_answer(TL_OTLP_JSON, TL_SPAN_LIT("<html>"), &answer),
			 -EBADMSG);
}

static void reasons_are_found_in_every_form(void **state)
{
	char reason[64];

	(void)state;
	tl_otlp_read_status(TL_SPAN_LIT("\x08\x03\x12\x05"
					"wrong"),
			    reason, sizeof(reason));
	assert_string_equal(reason, "wrong");
	tl_otlp_read_status(TL_SPAN_LIT("{\"code\":3,\"message\":\"bad \\u0041\"}"), reason,
			    sizeof(reason));
	assert_string_equal(reason, "bad A");
	tl_otlp_read_status(TL_SPAN_LIT("404 page\nnot found"), reason, sizeof(reason));
	assert_string_equal(reason, "404 page not found");
	tl_otlp_read_status(TL_SPAN_LIT(""), reason, sizeof(reason));
	assert_string_equal(reason, "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(one_record_in_protobuf_is_what_another_encoder_writes),
		TEST(one_record_in_json_is_golden),
		TEST(records_of_one_resource_share_a_group),
		TEST(a_request_of_all_is_the_groups_one_behind_another),
		TEST(a_full_group_asks_to_be_emptied_and_takes_one_large_record),
		TEST(too_many_resources_are_enobufs),
		TEST(a_body_that_is_no_utf8_goes_as_bytes),
		TEST(ids_that_are_none_are_left_out),
		TEST(numbers_keep_their_kind_and_range),
		cmocka_unit_test(answers_tell_what_was_rejected),
		cmocka_unit_test(answers_without_news_are_full_success),
		cmocka_unit_test(answers_that_are_none_are_ebadmsg),
		cmocka_unit_test(reasons_are_found_in_every_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
