/* SPDX-License-Identifier: Apache-2.0 */
/* Ids in the text of lines: fields of their own, tokens, and what happens when two levels disagree.
 */
#include "tests/unit/correlate_fixture.h"

#include "agent/correlate/inline.h"

static const struct who g1 = {10, 11, 101, TL_UNIT_GOROUTINE},
			g2 = {10, 12, 102, TL_UNIT_GOROUTINE},
			background = {10, 12, 900, TL_UNIT_GOROUTINE};

static void batched_and_shared_lines_are_nobodys_but_may_name_their_own(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	request(&bed, 1, &g1, "req-abcd1234");
	assert_none(line_at(&bed, &g1, "x", TL_LINE_BATCHED, 0), TL_WHY_BATCHED);
	assert_none(line_at(&bed, &g1, "x", TL_LINE_SHARED, 0), TL_WHY_SHARED);
	assert_id(line_at(&bed, &g1, "id=req-abcd1234 done", TL_LINE_BATCHED, 0), TL_HOW_INLINE,
		  "req-abcd1234");
	bed_done(&bed);
}

static void the_lines_own_field_passes_through(void **state)
{
	static const char *const with[] = {
		"{\"msg\":\"x\",\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\"}",
		"{\"traceId\":\"a\"}",
		"{\"trace\":{\"id\":\"abc\"}}",
		"{\"dd\":{\"trace_id\":\"12\"}}",
		"level=info request_id=r1 msg=x",
		"[main] requestId=\"r 1\" x",
		"{\"dd.trace_id\":123}",
	};
	static const char *const without[] = {
		"{\"trace_id\":\"\"}",
		"{\"trace_id\":\"00000000000000000000000000000000\"}",
		"{\"trace_id\":null}",
		"GET /x?trace_id=abc HTTP/1.1",
		"request_id= x",
		"trace_id",
		"{\"msg\":\"trace_id=abc\"}",
	};
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	for (size_t i = 0; i < ARRAY_SIZE(with); i++)
		assert_id(say(&bed, &background, with[i]), TL_HOW_APP, "");
	for (size_t i = 0; i < ARRAY_SIZE(without); i++)
		assert_none(say(&bed, &background, without[i]), TL_WHY_NO_REQUEST);
	bed_done(&bed);
	bed_init(&bed, (struct tl_corr_options){.levels = TL_LEVELS_ALL & ~(1u << TL_HOW_APP |
									    1u << TL_HOW_INLINE)});
	assert_none(say(&bed, &background, with[0]), TL_WHY_NO_REQUEST);
	bed_done(&bed);
}

static void a_text_with_exactly_one_id_is_that_requests(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	request(&bed, 1, &g1, "req-abcd1234");
	request(&bed, 2, &g2, "req-abcd5678");
	assert_id(say(&bed, &background, "done (req-abcd1234) in 5ms"), TL_HOW_INLINE,
		  "req-abcd1234");
	assert_id(say(&bed, &background, "req-abcd5678"), TL_HOW_INLINE, "req-abcd5678");
	assert_none(say(&bed, &background, "req-abcd1234 req-abcd5678"), TL_WHY_FOREIGN);
	assert_none(say(&bed, &background, "req-abcd1234-2"), TL_WHY_FOREIGN);
	assert_none(say(&bed, &background, "xreq-abcd1234"), TL_WHY_FOREIGN);
	assert_none(say(&bed, &background, "req-abcd12345"), TL_WHY_FOREIGN);
	answer(&bed, 1, &g1);
	assert_id(say(&bed, &g1, "access req-abcd1234 200"), TL_HOW_INLINE, "req-abcd1234");
	bed.now += 40 * UINT64_C(1000000000);
	tl_corr_tick(bed.corr, bed.now);
	assert_int_equal(say(&bed, &background, "req-abcd1234")->how, TL_HOW_NONE);
	bed_done(&bed);
}

static void ids_that_could_be_anything_are_not_looked_for_in_text(void **state)
{
	static const char *const ids[] = {"1", "12345678", "database", "2026-11-24T10:00:00",
					  "GET"};
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
		request(&bed, 10 + i, &(struct who){10, 11, 300 + i, TL_UNIT_GOROUTINE}, ids[i]);
		assert_none(say(&bed, &background, ids[i]), TL_WHY_FOREIGN);
	}
	bed_done(&bed);
}

static void equal_ids_of_a_retry_are_one_answer_and_a_shared_trace_is_two(void **state)
{
	struct bed bed;
	static const char trace[] =
		"GET / HTTP/1.1\r\nX-Request-Id: %s\r\ntraceparent: "
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n";
	char text[256];

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	request(&bed, 1, &g1, "retry-abcd1234");
	request(&bed, 2, &g2, "retry-abcd1234");
	assert_id(say(&bed, &background, "retry-abcd1234"), TL_HOW_INLINE, "retry-abcd1234");
	snprintf(text, sizeof(text), trace, "one-11112222aa");
	get(&bed, 3, &(struct who){10, 11, 103, TL_UNIT_GOROUTINE}, text);
	snprintf(text, sizeof(text), trace, "two-11112222bb");
	get(&bed, 4, &(struct who){10, 11, 104, TL_UNIT_GOROUTINE}, text);
	assert_none(say(&bed, &background, "in 4bf92f3577b34da6a3ce929d0e0e4736"), TL_WHY_FOREIGN);
	assert_id(say(&bed, &background, "4bf92f3577b34da6a3ce929d0e0e4736 two-11112222bb"),
		  TL_HOW_INLINE, "two-11112222bb");
	bed_done(&bed);
}

static void two_levels_that_disagree_give_none_and_count_against_the_weaker(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	request(&bed, 1, &g1, "req-abcd1234");
	request(&bed, 2, &g2, "req-abcd5678");
	assert_id(say(&bed, &g1, "about req-abcd1234"), TL_HOW_UNIT, "req-abcd1234");
	assert_none(say(&bed, &g1, "about req-abcd5678"), TL_WHY_AMBIGUOUS);
	assert_none(say(&bed, &background, "about req-abcd5678"), TL_WHY_FOREIGN);
	assert_id(say(&bed, &g1, "plain"), TL_HOW_UNIT, "req-abcd1234");
	bed_done(&bed);
}

/* Texts of pieces that matter, in any order: the scan in front of the search must never turn away
 * what the search finds. */
static void the_quick_scan_finds_what_the_search_finds(void **state)
{
	static const char *const pieces[] = {
		"{",
		"}",
		"\"",
		":",
		",",
		" ",
		"=",
		"\\\"",
		"\"trace_id\"",
		"\"Request_ID\"",
		"\"req\"",
		"\"id\"",
		"\"dd\"",
		"\"a1\"",
		"trace_id=",
		"TraceId=",
		"x-request-id=",
		"req_id=\"",
		"pid=",
		"=7f",
		"7f",
		"null",
		"0",
		"logging.googleapis.com/trace=",
		"[",
		"]",
		"(",
		"\"mdc\":{\"traceid\":\"9\"}",
		"{\"trace\":{\"id\":\"9\"}",
		"{\"trace\" : {\"ID\" : \"9\"}",
		"id=",
	};
	unsigned seed = 5, found = 0;

	(void)state;
	for (int round = 0; round < 300000; round++) {
		char text[256] = "";
		struct tl_span slow = {0}, quick = {0};
		bool has;

		if (rand_r(&seed) % 3 == 0)
			strcat(text, "{");
		for (int n = rand_r(&seed) % 9; n > 0; n--)
			strcat(text, pieces[(unsigned)rand_r(&seed) % ARRAY_SIZE(pieces)]);
		has = text[0] && tl_app_id_find(tl_span_str(text), &slow);
		found += has;
		assert_int_equal(tl_app_id(tl_span_str(text), &quick), has);
		if (has)
			assert_true(slow.data == quick.data && slow.len == quick.len);
	}
	assert_true(found > 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(batched_and_shared_lines_are_nobodys_but_may_name_their_own),
		cmocka_unit_test(the_lines_own_field_passes_through),
		cmocka_unit_test(a_text_with_exactly_one_id_is_that_requests),
		cmocka_unit_test(ids_that_could_be_anything_are_not_looked_for_in_text),
		cmocka_unit_test(equal_ids_of_a_retry_are_one_answer_and_a_shared_trace_is_two),
		cmocka_unit_test(two_levels_that_disagree_give_none_and_count_against_the_weaker),
		cmocka_unit_test(the_quick_scan_finds_what_the_search_finds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
