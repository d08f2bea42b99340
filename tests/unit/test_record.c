/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/clock.h"
#include "userspace/base/json.h"
#include "userspace/record/base64.h"
#include "userspace/record/record.h"

/* The record of the design, with both times written to the nanosecond. */
static const char golden[] =
	"{\"uid\":\"9f0b6c1e5d2a4477-2a9-12c40\",\"timestamp\":\"2026-11-23T01:00:00.121000000Z\","
	"\"observed_timestamp\":\"2026-11-23T01:00:00.123456789Z\",\"severity_number\":17,"
	"\"severity_text\":\"ERROR\","
	"\"body\":\"payment "
	"refused\",\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"span_id\":"
	"\"00f067aa0ba902b7\","
	"\"resource\":{\"service.name\":\"cart\",\"host.name\":\"n1\",\"process.pid\":\"812\","
	"\"container.id\":\"abc\"},"
	"\"attributes\":{\"log.iostream\":\"stdout\",\"thread.id\":\"815\",\"stream.id\":\"2a9\","
	"\"stream.ranges\":\"12c40-12c6a\",\"correlation.id\":\"a1b2\",\"correlation.how\":"
	"\"unit\","
	"\"correlation.source\":\"x-request-id\",\"http.response.status_code\":500}}";

struct fixture {
	struct tl_record record, again;
	struct tl_arena arena;
	struct tl_buf json;
	struct tl_error error;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	tl_record_reset(&f->record);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	tl_arena_done(&f->arena);
	tl_buf_done(&f->json);
	free(f);
	return 0;
}

static void fill_golden(struct fixture *f)
{
	struct tl_record *r = &f->record;

	r->uid = TL_SPAN_LIT("9f0b6c1e5d2a4477-2a9-12c40");
	assert_int_equal(tl_time_parse("2026-11-23T01:00:00.121Z", 24, &r->timestamp_ns), 0);
	assert_int_equal(tl_time_parse("2026-11-23T01:00:00.123456789Z", 30, &r->observed_ns), 0);
	r->severity_number = 17;
	r->severity_text = tl_span_str(tl_severity_text(17));
	r->body = TL_SPAN_LIT("payment refused");
	r->trace_id = TL_SPAN_LIT("4bf92f3577b34da6a3ce929d0e0e4736");
	r->span_id = TL_SPAN_LIT("00f067aa0ba902b7");
	tl_attr_set(&r->resource, "service.name", TL_SPAN_LIT("cart"));
	tl_attr_set(&r->resource, "host.name", TL_SPAN_LIT("n1"));
	tl_attr_set(&r->resource, "process.pid", TL_SPAN_LIT("812"));
	tl_attr_set(&r->resource, "container.id", TL_SPAN_LIT("abc"));
	tl_attr_set(&r->attributes, "log.iostream", TL_SPAN_LIT("stdout"));
	tl_attr_set(&r->attributes, "thread.id", TL_SPAN_LIT("815"));
	tl_attr_set(&r->attributes, "stream.id", TL_SPAN_LIT("2a9"));
	tl_attr_set(&r->attributes, "stream.ranges", TL_SPAN_LIT("12c40-12c6a"));
	tl_attr_set(&r->attributes, "correlation.id", TL_SPAN_LIT("a1b2"));
	tl_attr_set(&r->attributes, "correlation.how", TL_SPAN_LIT("unit"));
	tl_attr_set(&r->attributes, "correlation.source", TL_SPAN_LIT("x-request-id"));
	tl_attr_set_u64(&r->attributes, &f->arena, "http.response.status_code", 500);
}

static void render(struct fixture *f)
{
	tl_buf_clear(&f->json);
	assert_int_equal(tl_record_to_json(&f->record, &f->json), 0);
	assert_int_equal(tl_buf_putc(&f->json, '\0'), 0);
	f->json.len--;
	assert_true(tl_utf8_valid(tl_buf_span(&f->json)));
}

static int read_back(struct fixture *f, struct tl_span json)
{
	f->error = (struct tl_error){0};
	return tl_record_from_json(json, &f->arena, &f->again, &f->error);
}

static void assert_attrs_equal(const struct tl_attrs *a, const struct tl_attrs *b)
{
	assert_int_equal(a->n, b->n);
	assert_int_equal(a->dropped, b->dropped);
	for (uint32_t i = 0; i < a->n; i++) {
		assert_true(tl_span_eq(a->items[i].key, b->items[i].key));
		assert_true(tl_span_eq(a->items[i].value, b->items[i].value));
		assert_int_equal(a->items[i].type, b->items[i].type);
	}
}

static void assert_round_trip(struct fixture *f)
{
	const struct tl_record *a = &f->record, *b = &f->again;

	render(f);
	assert_int_equal(read_back(f, tl_buf_span(&f->json)), 0);
	assert_true(tl_span_eq(a->uid, b->uid));
	assert_int_equal(a->timestamp_ns, b->timestamp_ns);
	assert_int_equal(a->observed_ns, b->observed_ns);
	assert_int_equal(a->severity_number, b->severity_number);
	assert_true(tl_span_eq(a->severity_text, b->severity_text));
	assert_true(tl_span_eq(a->body, b->body));
	assert_true(tl_span_eq(a->trace_id, b->trace_id));
	assert_true(tl_span_eq(a->span_id, b->span_id));
	assert_int_equal(a->trace_flags, b->trace_flags);
	assert_attrs_equal(&a->resource, &b->resource);
	assert_attrs_equal(&a->attributes, &b->attributes);
}

static void a_record_is_written_as_in_the_design(void **state)
{
	struct fixture *f = *state;

	fill_golden(f);
	render(f);
	assert_string_equal(f->json.data, golden);
}

static void what_is_written_reads_back_the_same(void **state)
{
	struct fixture *f = *state;

	fill_golden(f);
	assert_round_trip(f);
	f->record.trace_flags = 1;
	assert_round_trip(f);
	assert_non_null(strstr(f->json.data, "\"trace_flags\":1,\"resource\""));
	f->record.trace_flags = 0;
	assert_round_trip(f);
}

static void an_empty_record_has_its_times_and_empty_objects(void **state)
{
	struct fixture *f = *state;

	f->record.observed_ns = 1;
	render(f);
	assert_string_equal(
		f->json.data,
		"{\"uid\":\"\",\"timestamp\":\"1970-01-01T00:00:00.000000001Z\","
		"\"observed_timestamp\":\"1970-01-01T00:00:00.000000001Z\",\"body\":\"\","
		"\"resource\":{},\"attributes\":{}}");
}

static void nul_crlf_quotes_and_other_scripts_stay_as_they_are(void **state)
{
	static const char body[] =
		"a\0b\r\n\tc\"d\\e\x1b[31m\x7f gr\xc3\xbc\xc3\x9f \xf0\x9f\x99\x82 \xe2\x80\xa8";
	struct fixture *f = *state;

	fill_golden(f);
	f->record.body = (struct tl_span){body, sizeof(body) - 1};
	tl_attr_set(&f->record.attributes, "we\"ird\nkey", TL_SPAN_LIT("x\0y"));
	tl_attr_set(&f->record.attributes, "empty", TL_SPAN_LIT(""));
	assert_round_trip(f);
	assert_non_null(strstr(f->json.data, "a\\u0000b\\r\\n\\tc\\\"d\\\\e\\u001b[31m"));
	assert_null(strstr(f->json.data, "base64"));
}

static void every_length_and_place_of_a_special_byte_is_escaped(void **state)
{
	static const char specials[] = {0, 0x1f, '"', '\\', (char)0xc3};
	struct fixture *f = *state;
	char body[80];

	f->record.timestamp_ns = f->record.observed_ns = 5;
	for (size_t len = 0; len < 70; len++) {
		for (size_t at = 0; at <= len; at++) {
			memset(body, 'x', len + 1);
			if (at < len)
				body[at] = specials[(len + at) % 5];
			if (at < len && body[at] == (char)0xc3)
				body[at + 1] = (char)0xa9; /* one byte longer than len allows:
							      sometimes cut in two */
			f->record.body = (struct tl_span){body, len};
			assert_round_trip(f);
		}
	}
}

static void invalid_utf8_is_readable_and_lossless(void **state)
{
	struct fixture *f = *state;
	const struct tl_attr *attr;

	fill_golden(f);
	f->record.body = TL_SPAN_LIT("ok \xff\xc0\x80 \xed\xa0\x80 end");
	assert_round_trip(f);
	assert_non_null(
		strstr(f->json.data, "\"body\":\"ok \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd "));
	assert_non_null(strstr(f->json.data, ",\"log.body.base64\":\"b2sg/8CAIO2ggCBlbmQ=\"}}"));
	assert_null(tl_attr_get(&f->again.attributes, "log.body.base64"));

	/* An attribute of that name that a service made up neither doubles the key nor wins. */
	tl_attr_set(&f->record.attributes, "log.body.base64", TL_SPAN_LIT("AAAA"));
	render(f);
	assert_int_equal(read_back(f, tl_buf_span(&f->json)), 0);
	assert_true(tl_span_eq(f->again.body, f->record.body));

	f->record.body = TL_SPAN_LIT("fine");
	tl_attr_set(&f->record.attributes, "log.body.base64", TL_SPAN_LIT("not base64"));
	render(f);
	assert_int_equal(read_back(f, tl_buf_span(&f->json)), 0);
	assert_true(tl_span_is(f->again.body, "fine"));
	attr = tl_attr_get(&f->again.attributes, "log.body.base64");
	assert_non_null(attr);
	assert_true(tl_span_is(attr->value, "not base64"));
}

static void names_that_are_written_alike_are_one(void **state)
{
	struct fixture *f = *state;
	static const char json[] = "{\"observed_timestamp\":\"2026-11-23T01:00:00.123456789Z\","
				   "\"attributes\":{\"a\xf0\":1,\"a\xef\xbf\xbd\":2}}";

	assert_int_equal(tl_record_from_json(TL_SPAN_LIT(json), &f->arena, &f->record, &f->error),
			 0);
	render(f);
	assert_non_null(strstr(f->json.data, "\"attributes\":{\"a\xef\xbf\xbd\":2}"));
}

static void any_bytes_of_any_length_survive(void **state)
{
	struct fixture *f = *state;
	char body[300];
	unsigned seed = 12345;

	f->record.timestamp_ns = f->record.observed_ns = 5;
	for (int i = 0; i < 3000; i++) {
		size_t len = (size_t)i % sizeof(body);

		for (size_t j = 0; j < len; j++)
			body[j] = (char)((seed = seed * 1103515245 + 12345) >> 16);
		f->record.body = (struct tl_span){body, len};
		assert_round_trip(f);
		tl_arena_reset(&f->arena);
	}
}

static void attributes_past_the_limit_are_counted(void **state)
{
	struct fixture *f = *state;
	struct tl_span key;

	f->record.timestamp_ns = f->record.observed_ns = 5;
	for (int i = 0; i < TL_ATTRS_MAX + 7; i++) {
		key = tl_arena_printf(&f->arena, "key.%d", i);
		tl_attr_set_span(&f->record.attributes, key, key, TL_ATTR_STRING);
	}
	assert_int_equal(f->record.attributes.n, TL_ATTRS_MAX);
	assert_int_equal(f->record.attributes.dropped, 7);
	tl_attr_set(&f->record.attributes, "key.0", TL_SPAN_LIT("replaced although full"));
	assert_int_equal(f->record.attributes.dropped, 7);
	assert_round_trip(f);
	assert_non_null(strstr(f->json.data, "\"tapline.attributes.dropped\":7}"));
	assert_int_equal(f->again.attributes.dropped, 7);
}

static void setting_a_key_again_replaces_it(void **state)
{
	struct fixture *f = *state;

	tl_attr_set(&f->record.attributes, "a", TL_SPAN_LIT("1"));
	tl_attr_set(&f->record.attributes, "b", TL_SPAN_LIT("2"));
	tl_attr_set_u64(&f->record.attributes, &f->arena, "a", UINT64_MAX);
	assert_int_equal(f->record.attributes.n, 2);
	assert_true(
		tl_span_is(tl_attr_get(&f->record.attributes, "a")->value, "18446744073709551615"));
	assert_int_equal(tl_attr_get(&f->record.attributes, "a")->type, TL_ATTR_LITERAL);
	assert_null(tl_attr_get(&f->record.attributes, "c"));
}

static void deeper_json_is_kept_as_text_and_unknown_keys_become_attributes(void **state)
{
	struct fixture *f = *state;
	const struct tl_attrs *attrs = &f->again.attributes;

	assert_int_equal(
		read_back(f, TL_SPAN_LIT(" {\"observed_timestamp\":\"2026-11-23T01:00:00Z\","
					 "\"level\":\"info\",\"n\":-1.5e3,\"none\":null,"
					 "\"user\":{\"id\":[1,{\"x\":\"\\u00e9\"}]},\"attributes\":"
					 "{\"o\":{ \"a\" : [ ] },\"t\":true,\"e\\n\":\"\\u00e9\"},"
					 "\"resource\":null} ")),
		0);
	assert_true(tl_span_is(tl_attr_get(attrs, "level")->value, "info"));
	assert_true(tl_span_is(tl_attr_get(attrs, "n")->value, "-1.5e3"));
	assert_int_equal(tl_attr_get(attrs, "n")->type, TL_ATTR_LITERAL);
	assert_null(tl_attr_get(attrs, "none"));
	assert_true(
		tl_span_is(tl_attr_get(attrs, "user")->value, "{\"id\":[1,{\"x\":\"\\u00e9\"}]}"));
	assert_int_equal(tl_attr_get(attrs, "user")->type, TL_ATTR_STRING);
	assert_true(tl_span_is(tl_attr_get(attrs, "o")->value, "{ \"a\" : [ ] }"));
	assert_true(tl_span_is(tl_attr_get(attrs, "t")->value, "true"));
	assert_true(tl_span_is(tl_attr_get(attrs, "e\n")->value, "\xc3\xa9"));
	assert_int_equal(f->again.timestamp_ns, f->again.observed_ns);
	assert_int_equal(f->again.trace_flags, -1);

	f->record = f->again;
	assert_round_trip(f);
}

static void malformed_records_are_refused_with_a_reason(void **state)
{
	static const char *const bad[] = {
		"",
		"x",
		"[]",
		"[{}]",
		"null",
		"{",
		"{}",
		"{\"body\":\"x\"}",
		"{\"observed_timestamp\":\"yesterday\"}",
		"{\"observed_timestamp\":5}",
		"{\"observed_timestamp\":\"2026-11-23T01:00:00Z\"} x",
		"{\"observed_timestamp\":\"2026-11-23T01:00:00Z\",\"severity_number\":25}",
		"{\"observed_timestamp\":\"2026-11-23T01:00:00Z\",\"severity_number\":\"x\"}",
		"{\"observed_timestamp\":\"2026-11-23T01:00:00Z\",\"trace_flags\":256}",
		"{\"observed_timestamp\":\"2026-11-23T01:00:00Z\",\"attributes\":[]}",
		"{\"observed_timestamp\":\"2026-11-23T01:00:00Z\",\"resource\":\"x\"}",
		"{\"observed_timestamp\":\"2026-11-23T01:00:00Z\",\"body\":\"\\x\"}",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(read_back(f, tl_span_str(bad[i])), -EINVAL);
		assert_true(strlen(f->error.message) > 10);
	}
}

/* Each prefix ends at a page that may not be touched. */
static void no_prefix_of_a_record_crashes_or_reads_past_its_end(void **state)
{
	struct fixture *f = *state;
	size_t page = (size_t)sysconf(_SC_PAGESIZE), len = sizeof(golden) - 1;
	char *map =
		mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(map != MAP_FAILED && len < page);
	assert_int_equal(mprotect(map + page, page, PROT_NONE), 0);
	for (size_t n = 0; n < len; n++) {
		memcpy(map + page - n, golden, n);
		assert_int_equal(read_back(f, (struct tl_span){map + page - n, n}), -EINVAL);
		/* The writer may not look past a body's end either. */
		tl_record_reset(&f->record);
		f->record.body = (struct tl_span){map + page - n, n};
		render(f);
	}
	memcpy(map + page - len, golden, len);
	assert_int_equal(read_back(f, (struct tl_span){map + page - len, len}), 0);
	munmap(map, 2 * page);
}

static void a_full_buffer_or_arena_is_enobufs(void **state)
{
	struct fixture *f = *state;
	struct tl_arena small = {.max = 16};
	size_t len;

	fill_golden(f);
	f->record.body = TL_SPAN_LIT("line\nline \xff\n");
	render(f);
	len = f->json.len;
	for (size_t max = 1; max < len; max++) {
		struct tl_buf out = {.max = max};

		assert_int_equal(tl_record_to_json(&f->record, &out), -ENOBUFS);
		assert_int_equal(out.len, 0);
		tl_buf_done(&out);
	}
	assert_int_equal(tl_record_from_json(tl_buf_span(&f->json), &small, &f->again, &f->error),
			 -ENOBUFS);
	tl_arena_done(&small);
}

static void base64_is_padded_and_strict(void **state)
{
	static const char *const text[] = {"",	       "Zg==",	   "Zm8=",    "Zm9v",
					   "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
	static const char *const bad[] = {
		"Z", "Zg=", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm9\n"};
	char out[16];
	size_t len;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(text); i++) {
		assert_int_equal(tl_base64_len(i), strlen(text[i]));
		tl_base64_encode((struct tl_span){"foobar", i}, out);
		assert_memory_equal(out, text[i], strlen(text[i]));
		assert_int_equal(tl_base64_decode(tl_span_str(text[i]), out, &len), 0);
		assert_int_equal(len, i);
		assert_memory_equal(out, "foobar", i);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(tl_base64_decode(tl_span_str(bad[i]), out, &len), -EINVAL);
}

static void severities_have_the_names_of_otel(void **state)
{
	(void)state;
	assert_string_equal(tl_severity_text(0), "");
	assert_string_equal(tl_severity_text(1), "TRACE");
	assert_string_equal(tl_severity_text(5), "DEBUG");
	assert_string_equal(tl_severity_text(9), "INFO");
	assert_string_equal(tl_severity_text(13), "WARN");
	assert_string_equal(tl_severity_text(17), "ERROR");
	assert_string_equal(tl_severity_text(21), "FATAL");
	assert_string_equal(tl_severity_text(24), "FATAL4");
	assert_string_equal(tl_severity_text(25), "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_record_is_written_as_in_the_design),
		TEST(what_is_written_reads_back_the_same),
		TEST(an_empty_record_has_its_times_and_empty_objects),
		TEST(nul_crlf_quotes_and_other_scripts_stay_as_they_are),
		TEST(every_length_and_place_of_a_special_byte_is_escaped),
		TEST(invalid_utf8_is_readable_and_lossless),
		TEST(names_that_are_written_alike_are_one),
		TEST(any_bytes_of_any_length_survive),
		TEST(attributes_past_the_limit_are_counted),
		TEST(setting_a_key_again_replaces_it),
		TEST(deeper_json_is_kept_as_text_and_unknown_keys_become_attributes),
		TEST(malformed_records_are_refused_with_a_reason),
		TEST(no_prefix_of_a_record_crashes_or_reads_past_its_end),
		TEST(a_full_buffer_or_arena_is_enobufs),
		TEST(base64_is_padded_and_strict),
		TEST(severities_have_the_names_of_otel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
