/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <zlib.h>

#include "userspace/record/record.h"
#include "userspace/sink/bulk.h"

#define OBSERVED "2026-11-23T01:00:00.123456789Z"
#define HEAD                                                                                       \
	"{\"uid\":\"9f-2a9-12c40\",\"timestamp\":\"2026-11-23T01:00:00.121000000Z\",\"observed_"   \
	"timestamp\":\"" OBSERVED "\""

static void assert_key(const char *json, const char *uid, const char *observed)
{
	struct tl_bulk_key key;

	assert_int_equal(tl_bulk_key(tl_span_str(json), &key), 0);
	assert_true(tl_span_is(key.uid, uid));
	assert_true(tl_span_is(key.observed, observed));
}

static void key_of_what_record_to_json_writes(void **state)
{
	static struct tl_record record;
	_cleanup_(tl_buf_done) struct tl_buf json = {0};
	struct tl_bulk_key key;

	(void)state;
	tl_record_reset(&record);
	record.uid = TL_SPAN_LIT("9f0b6c1e5d2a4477-2a9-12c40");
	record.observed_ns = UINT64_C(1795395600123456789);
	record.body = TL_SPAN_LIT("x");
	assert_int_equal(tl_record_to_json(&record, &json), 0);
	assert_int_equal(tl_bulk_key(tl_buf_span(&json), &key), 0);
	assert_true(tl_span_eq(key.uid, record.uid));
	assert_true(tl_span_is(key.observed, OBSERVED));
}

static void key_is_found_in_any_order_and_with_blanks(void **state)
{
	(void)state;
	assert_key(HEAD ",\"body\":\"x\"}", "9f-2a9-12c40", OBSERVED);
	assert_key("{ \"body\": \"\\\"uid\\\":\", \"observed_timestamp\" : \"" OBSERVED
		   "\", \"uid\":\"a\\\"b\"}",
		   "a\\\"b", OBSERVED);
	assert_key("{\"uid\":\"a\",\"timestamp\":\"2026-11-23T01:00:00Z\",\"observed_timestamp\":"
		   "\"2026-11-24T01:00:00Z\"}",
		   "a", "2026-11-24T01:00:00Z");
	/* A member named so inside of another is not it. */
	assert_key("{\"uid\":\"a\",\"attributes\":{\"observed_timestamp\":\"2020-01-01\"},"
		   "\"observed_timestamp\":\"" OBSERVED "\"}",
		   "a", OBSERVED);
}

static void key_refuses_what_is_no_record(void **state)
{
	static const char *const bad[] = {
		"",
		"x",
		"{}",
		"[]",
		"{\"uid\":\"\",\"observed_timestamp\":\"" OBSERVED "\"}",
		"{\"uid\":7,\"observed_timestamp\":\"" OBSERVED "\"}",
		"{\"uid\":\"a\"}",
		"{\"uid\":\"a\",\"observed_timestamp\":\"yesterday\"}",
		"{\"uid\":\"a\",\"observed_timestamp\":\"2026-11\"}",
		"{\"uid\":\"a\",\"observed_timestamp\":17}",
		"{\"uid\":\"a\",\"timestamp\":\"2026-11-23T01:00:00.121000000Z\",\"observed_timest",
	};
	char longer[700];
	struct tl_bulk_key key;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(tl_bulk_key(tl_span_str(bad[i]), &key), -EINVAL);
	snprintf(longer, sizeof(longer),
		 "{\"uid\":\"%0513d\",\"observed_timestamp\":\"" OBSERVED "\"}", 1);
	assert_int_equal(tl_bulk_key(tl_span_str(longer), &key), -EINVAL);
}

static void every_cut_of_a_record_is_read_without_overrun(void **state)
{
	static const char json[] = HEAD ",\"body\":\"x\"}";
	struct tl_bulk_key key;

	(void)state;
	for (size_t n = 0; n < sizeof(json) - 1; n++) {
		char *copy = malloc(n + 1); /* so that the sanitizer sees a read past the end */

		memcpy(copy, json, n);
		(void)tl_bulk_key((struct tl_span){copy, n}, &key);
		free(copy);
	}
}

static void item_has_index_of_its_day_and_document_on_one_line(void **state)
{
	static const char document[] = HEAD ",\n\"body\":\"x\"}";
	_cleanup_(tl_buf_done) struct tl_buf body = {0};
	struct tl_bulk_key key;

	(void)state;
	assert_int_equal(tl_bulk_key(tl_span_str(document), &key), 0);
	assert_int_equal(tl_bulk_add(&body, "tapline-logs-2026.11.23", &key, tl_span_str(document)), 0);
	assert_true(tl_span_is(tl_buf_span(&body),
			       "{\"create\":{\"_index\":\"tapline-logs-2026.11.23\",\"_id\":\"9f-"
			       "2a9-12c40\"}}\n" HEAD ", \"body\":\"x\"}\n"));
}

static void item_that_does_not_fit_leaves_the_body_as_it_was(void **state)
{
	_cleanup_(tl_buf_done) struct tl_buf body = {.max = 40};
	struct tl_bulk_key key = {TL_SPAN_LIT("a"), TL_SPAN_LIT(OBSERVED)};

	(void)state;
	assert_int_equal(tl_bulk_add(&body, "p-", &key, TL_SPAN_LIT("{}")), -ENOBUFS);
	assert_int_equal(body.len, 0);
}

static void gzip_packs_one_body_after_another(void **state)
{
	_cleanup_(tl_gzip_freep) struct tl_gzip *gzip = NULL;
	_cleanup_(tl_buf_done) struct tl_buf out = {0};
	char back[64];

	(void)state;
	assert_int_equal(tl_gzip_new(1, &gzip), 0);
	for (int i = 0; i < 3; i++) {
		char text[64];
		int len = snprintf(text, sizeof(text), "body number %d body number %d", i, i);
		z_stream z = {0};

		assert_int_equal(tl_gzip_pack(gzip, (struct tl_span){text, (size_t)len}, &out), 0);
		assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
		z.next_in = (Bytef *)out.data, z.avail_in = (uInt)out.len;
		z.next_out = (Bytef *)back, z.avail_out = sizeof(back);
		assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
		assert_int_equal(z.total_out, len);
		assert_memory_equal(back, text, (size_t)len);
		inflateEnd(&z);
	}
}

static void long_attributes_move_where_they_are_not_indexed(void **state)
{
	_cleanup_(tl_buf_done) struct tl_buf document = {0}, out = {0};
	struct tl_bulk_key key;
	char wanted[128];

	(void)state;
	assert_int_equal(tl_bulk_sift(TL_SPAN_LIT(HEAD ",\"attributes\":{\"a\":\"1\"}}"), &out), 0);
	assert_int_equal(out.len, 0);
	tl_buf_puts(&document, HEAD ",\"resource\":{},\"attributes\":{\"a\":\"q\\\"\",\"long\":\"");
	for (int i = 0; i < 33000; i++)
		tl_buf_putc(&document, 'x');
	tl_buf_puts(&document, "\",\"n\":5}}");
	assert_int_equal(tl_bulk_sift(tl_buf_span(&document), &out), 1);
	assert_int_equal(tl_bulk_key(tl_buf_span(&out), &key), 0);
	snprintf(wanted, sizeof(wanted),
		 ",\"attributes\":{\"a\":\"q\\\"\",\"n\":5},\"unindexed\":{\"long\":\"x");
	assert_non_null(memmem(out.data, out.len, wanted, strlen(wanted)));
	assert_true(tl_span_is((struct tl_span){out.data + out.len - 4, 4}, "x\"}}"));
	tl_buf_clear(&out);
	assert_int_equal(tl_bulk_sift(TL_SPAN_LIT("{\"a\":{\"b\":"), &out), -EINVAL);
	assert_int_equal(out.len, 0);
}

struct seen {
	struct tl_bulk_item items[8];
	size_t n;
};

static void on_item(void *arg, const struct tl_bulk_item *item)
{
	struct seen *seen = arg;

	assert_int_equal(item->index, seen->n);
	assert_true(seen->n < ARRAY_SIZE(seen->items));
	seen->items[seen->n++] = *item;
}

static void answer_tells_each_items_verdict_in_order(void **state)
{
	static const char answer[] =
		"{\"took\":3,\"errors\":true,\"items\":[{\"create\":{\"_id\":\"a\",\"status\":201}}"
		","
		"{\"create\":{\"status\":409,\"error\":{\"type\":\"version_conflict_engine_"
		"exception\",\"reason\":\"[b]: exists\"}}},"
		"{\"create\":{\"status\":429,\"error\":{\"type\":\"es_rejected_execution_"
		"exception\",\"reason\":\"full\"}}},"
		"{\"create\":{\"status\":400,\"error\":{\"type\":\"mapper_parsing_exception\","
		"\"reason\":\"no \\\"x\\\"\"}}},"
		"{\"create\":{\"status\":503,\"error\":{\"type\":\"unavailable_shards_exception\","
		"\"reason\":\"\"}}},"
		"{\"create\":{\"status\":403,\"error\":{\"type\":\"cluster_block_exception\","
		"\"reason\":\"disk\"}}},"
		"{\"create\":{\"status\":500,\"error\":{\"type\":\"null_pointer_exception\"}}},"
		"{\"create\":{\"status\":404,\"error\":{\"type\":\"index_not_found_exception\","
		"\"reason\":\"no such index\"}}}]}";
	static const enum tl_bulk_verdict verdicts[] = {
		TL_BULK_WRITTEN, TL_BULK_DUPLICATE, TL_BULK_RETRY,  TL_BULK_DEAD,
		TL_BULK_RETRY,	 TL_BULK_RETRY,	    TL_BULK_FAILED, TL_BULK_DEAD};
	struct seen seen = {.n = 0};
	char reason[64];

	(void)state;
	assert_int_equal(tl_bulk_answer(tl_span_str(answer), 8, on_item, &seen), 0);
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(seen.items[i].verdict, verdicts[i]);
	assert_string_equal(seen.items[3].type, "mapper_parsing_exception");
	assert_string_equal(seen.items[6].type, "other");
	tl_bulk_text(seen.items[3].reason, reason, sizeof(reason));
	assert_string_equal(reason, "no \"x\"");
}

static void answer_that_is_cut_or_of_other_size_decides_nothing(void **state)
{
	static const char answer[] = "{\"errors\":false,\"items\":[{\"create\":{\"status\":201}},{"
				     "\"create\":{\"status\":201}}]}";
	static const char *const others[] = {
		"",
		"ok",
		"<html>",
		"{}",
		"{\"items\":{}}",
		"{\"items\":[1,2]}",
		"{\"items\":[{\"create\":{}},{\"create\":{\"status\":201}}]}",
		"{\"items\":[{\"create\":{\"status\":201}},{\"create\":{\"status\":\"x\"}}]}"};
	struct seen seen = {.n = 0};

	(void)state;
	for (size_t n = 0; n < sizeof(answer) - 2; n++) /* what is missing then is the last brace */
		assert_int_equal(tl_bulk_answer((struct tl_span){answer, n}, 2, on_item, &seen),
				 -EBADMSG);
	assert_int_equal(tl_bulk_answer(tl_span_str(answer), 1, on_item, &seen), -EBADMSG);
	assert_int_equal(tl_bulk_answer(tl_span_str(answer), 3, on_item, &seen), -EBADMSG);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_int_equal(tl_bulk_answer(tl_span_str(others[i]), 2, on_item, &seen),
				 -EBADMSG);
	assert_int_equal(seen.n, 0);
	assert_int_equal(tl_bulk_answer(tl_span_str(answer), 2, on_item, &seen), 0);
	assert_int_equal(seen.n, 2);
}

static void status_of_the_whole_request_is_judged(void **state)
{
	(void)state;
	assert_int_equal(tl_bulk_whole(200), TL_BULK_ITEMS);
	assert_int_equal(tl_bulk_whole(0), TL_BULK_AGAIN);
	assert_int_equal(tl_bulk_whole(429), TL_BULK_AGAIN);
	assert_int_equal(tl_bulk_whole(500), TL_BULK_AGAIN);
	assert_int_equal(tl_bulk_whole(503), TL_BULK_AGAIN);
	assert_int_equal(tl_bulk_whole(413), TL_BULK_SPLIT);
	assert_int_equal(tl_bulk_whole(400), TL_BULK_SPLIT);
	assert_int_equal(tl_bulk_whole(401), TL_BULK_REFUSED);
	assert_int_equal(tl_bulk_whole(403), TL_BULK_REFUSED);
	assert_int_equal(tl_bulk_whole(404), TL_BULK_REFUSED);
}

static void reason_of_a_whole_answer_is_one_line(void **state)
{
	char reason[32];

	(void)state;
	tl_bulk_reason(
		TL_SPAN_LIT(
			"{\"error\":{\"type\":\"t\",\"reason\":\"two\\nlines\"},\"status\":400}"),
		reason, sizeof(reason));
	assert_string_equal(reason, "two lines");
	tl_bulk_reason(
		TL_SPAN_LIT("{\"error\":\"Incorrect HTTP method for uri [/]\",\"status\":405}"),
		reason, sizeof(reason));
	assert_string_equal(reason, "Incorrect HTTP method for uri [");
	tl_bulk_reason(TL_SPAN_LIT("<html>"), reason, sizeof(reason));
	assert_string_equal(reason, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(key_of_what_record_to_json_writes),
		cmocka_unit_test(key_is_found_in_any_order_and_with_blanks),
		cmocka_unit_test(key_refuses_what_is_no_record),
		cmocka_unit_test(every_cut_of_a_record_is_read_without_overrun),
		cmocka_unit_test(item_has_index_of_its_day_and_document_on_one_line),
		cmocka_unit_test(item_that_does_not_fit_leaves_the_body_as_it_was),
		cmocka_unit_test(gzip_packs_one_body_after_another),
		cmocka_unit_test(long_attributes_move_where_they_are_not_indexed),
		cmocka_unit_test(answer_tells_each_items_verdict_in_order),
		cmocka_unit_test(answer_that_is_cut_or_of_other_size_decides_nothing),
		cmocka_unit_test(status_of_the_whole_request_is_judged),
		cmocka_unit_test(reason_of_a_whole_answer_is_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
