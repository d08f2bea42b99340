/* SPDX-License-Identifier: Apache-2.0 */
/* What would give a wrong id, one test each: the hazards that pure logic has to meet. Each was seen
 * to fail with its guard taken out. Those of a runtime (its units' addresses, its TLS) and of
 * capture (io_uring, lost calls) are tested there. */
#include "tests/unit/correlate_fixture.h"

#define CONFIRMS 20
#define TASK ((uint8_t)(TL_UNIT_GOROUTINE + 1))

static const struct who t1 = {10, 11, 0, TL_UNIT_THREAD}, t2 = {10, 12, 0, TL_UNIT_THREAD},
			t3 = {10, 14, 0, TL_UNIT_THREAD}, logger = {10, 13, 0, TL_UNIT_THREAD},
			other = {20, 11, 0, TL_UNIT_THREAD}, g1 = {10, 11, 101, TL_UNIT_GOROUTINE},
			proto = {10, 11, 500, TASK}, task1 = {10, 11, 501, TASK},
			task2 = {10, 11, 502, TASK};

static const struct tl_corr_options few = {.gate_confirms = CONFIRMS};

/* 1 */
static void a_flushed_buffer_of_many_requests_lines_is_nobodys(void **state)
{
	struct bed bed;
	struct noted *noted;

	(void)state;
	bed_init(&bed, few);
	prove(&bed, &t1, &t2, CONFIRMS);
	request(&bed, 1, &t1, "a");
	noted = line_at(&bed, &t1, "buffered", TL_LINE_BATCHED, 0);
	answer(&bed, 1, &t1);
	assert_none(noted, TL_WHY_BATCHED);
	/* Nor is it evidence for its form. */
	for (int i = 0; i < 2 * CONFIRMS; i++) {
		request(&bed, 1, &t3, "b");
		answer(&bed, 1, &t3);
		assert_none(line_at(&bed, &t3, "flushed", TL_LINE_BATCHED, 0), TL_WHY_BATCHED);
	}
	request(&bed, 1, &t3, "c");
	answer(&bed, 1, &t3);
	assert_none(say(&bed, &t3, "flushed"), TL_WHY_AFTER_RESPONSE);
	bed_done(&bed);
}

/* 2 */
static void a_logger_threads_lines_are_nobodys(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	for (int i = 0; i < 2 * CONFIRMS; i++) {
		request(&bed, 1, &t1, "a");
		request(&bed, 2, &t2, "b");
		answer(&bed, 1, &t1);
		assert_none(say(&bed, &logger, "GET 200"), TL_WHY_FOREIGN);
		answer(&bed, 2, &t2);
		assert_none(say(&bed, &logger, "GET 200"), TL_WHY_FOREIGN);
	}
	bed_done(&bed);
}

/* 3 */
static void a_reused_thread_keeps_nothing_of_the_request_before(void **state)
{
	struct bed bed;
	struct noted *noted;

	(void)state;
	bed_init(&bed, few);
	prove(&bed, &t1, &t2, CONFIRMS);
	request(&bed, 1, &t1, "a");
	answer(&bed, 1, &t1);
	waits(&bed, &t1);
	assert_none(say(&bed, &t1, "between"), TL_WHY_AFTER_RESPONSE);
	request(&bed, 2, &t1, "b");
	noted = say(&bed, &t1, "during");
	answer(&bed, 2, &t1);
	assert_id(noted, TL_HOW_THREAD, "b");
	bed_done(&bed);
}

/* 4 */
static void a_task_whose_address_is_used_again_is_not_the_one_before(void **state)
{
	struct bed bed;
	struct noted *noted;

	(void)state;
	bed_init(&bed, few);
	for (int i = 0; i < CONFIRMS; i++) {
		request(&bed, 1, &proto, "x");
		request(&bed, 2, &proto, "y");
		say(&bed, &task1, "handling 1");
		say(&bed, &task2, "handling 2");
		answer(&bed, 1, &task1);
		answer(&bed, 2, &task2);
	}
	/* The address lives on in a job, then in the task of another request. */
	request(&bed, 2, &proto, "open");
	noted = say(&bed, &task1, "handling 3");
	request(&bed, 3, &proto, "b");
	answer(&bed, 3, &task1);
	assert_int_equal(noted->how, TL_HOW_NONE);
	bed_done(&bed);
}

/* 5 */
static void a_thread_born_in_a_request_inherits_nothing(void **state)
{
	const struct who born = {10, 19, 0, TL_UNIT_THREAD};
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	prove(&bed, &t1, &t2, CONFIRMS);
	request(&bed, 1, &t1, "a");
	assert_none(say(&bed, &born, "pool thread"), TL_WHY_FOREIGN);
	answer(&bed, 1, &t1);
	assert_none(say(&bed, &born, "pool thread"), TL_WHY_FOREIGN);
	bed_done(&bed);
}

/* 7 */
static void a_connection_handed_to_another_process_is_that_ones(void **state)
{
	struct bed bed;
	struct noted *noted;

	(void)state;
	bed_init(&bed, few);
	tl_corr_service(bed.corr, 10, bed.start_ns, 7);
	tl_corr_service(bed.corr, 20, bed.start_ns, 7);
	prove(&bed, &t1, &t2, CONFIRMS);
	request(&bed, 1, &t1, "a");
	answer(&bed, 1, &t1);
	/* The same socket, in a worker whose thread has the same number. */
	request(&bed, 1, &other, "b");
	assert_none(say(&bed, &t1, "parent"), TL_WHY_AFTER_RESPONSE);
	noted = say(&bed, &other, "worker");
	answer(&bed, 1, &other);
	assert_id(noted, TL_HOW_THREAD, "b");
	bed_done(&bed);
}

/* 8 */
static void after_an_upgrade_no_line_is_the_requests(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	get(&bed, 1, &g1, "GET /ws HTTP/1.1\r\nX-Request-Id: a\r\nUpgrade: websocket\r\n\r\n");
	assert_id(line(&bed, &g1), TL_HOW_UNIT, "a");
	put(&bed, 1, &g1, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
	put(&bed, 1, &g1, "\x81\x02hi");
	assert_none(line(&bed, &g1), TL_WHY_AFTER_RESPONSE);
	bed_done(&bed);
}

/* 9 */
static void two_open_requests_of_one_id_are_one_answer(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	request(&bed, 1, &t1, "probe-1234abcd");
	request(&bed, 2, &t2, "probe-1234abcd");
	assert_id(say(&bed, &logger, "seen probe-1234abcd"), TL_HOW_INLINE, "probe-1234abcd");
	request(&bed, 3, &logger, "probe-9999ffff");
	assert_int_equal(say(&bed, &logger, "probe-1234abcd and probe-9999ffff")->how, TL_HOW_NONE);
	bed_done(&bed);
}

/* 10 */
static void a_line_written_across_the_end_of_a_request_is_not_its(void **state)
{
	struct bed bed;
	struct noted *noted;
	struct tl_attribution a;

	(void)state;
	bed_init(&bed, few);
	request(&bed, 1, &g1, "a");
	noted = &bed.lines[bed.n_lines++];
	noted->line = (struct tl_line){.time_ns = bed.now + 1,
				       .writer = {10, 11, bed.start_ns, 101, TL_UNIT_GOROUTINE}};
	tl_buf_puts(&noted->line.bytes, "begun in a");
	answer(&bed, 1, &g1);
	request(&bed, 1, &g1, "b");
	noted->line.end_ns = bed.now + 1;
	assert_int_equal(tl_corr_line(bed.corr, &noted->line, &a), 1);
	note(&bed, noted, &a);
	assert_none(noted, TL_WHY_AMBIGUOUS);
	bed_done(&bed);
}

/* 11 */
static void what_was_under_way_when_we_came_stays_unknown(void **state)
{
	struct bed bed;
	struct noted *noted;

	(void)state;
	bed_init(&bed, few);
	prove(&bed, &t1, &t2, CONFIRMS);
	/* The response of a request we have not seen; then the next one on that connection. */
	assert_none(say(&bed, &logger, "begun before us"), TL_WHY_FOREIGN);
	put(&bed, 5, &logger, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(say(&bed, &logger, "still of that")->how, TL_HOW_NONE);
	request(&bed, 5, &logger, "next");
	noted = say(&bed, &logger, "of the next");
	answer(&bed, 5, &logger);
	assert_id(noted, TL_HOW_THREAD, "next");
	/* And one met in the middle of a body. */
	get(&bed, 6, &t1, "rest of a body\r\n");
	assert_int_equal(say(&bed, &t1, "whose?")->how, TL_HOW_NONE);
	bed_done(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flushed_buffer_of_many_requests_lines_is_nobodys),
		cmocka_unit_test(a_logger_threads_lines_are_nobodys),
		cmocka_unit_test(a_reused_thread_keeps_nothing_of_the_request_before),
		cmocka_unit_test(a_task_whose_address_is_used_again_is_not_the_one_before),
		cmocka_unit_test(a_thread_born_in_a_request_inherits_nothing),
		cmocka_unit_test(a_connection_handed_to_another_process_is_that_ones),
		cmocka_unit_test(after_an_upgrade_no_line_is_the_requests),
		cmocka_unit_test(two_open_requests_of_one_id_are_one_answer),
		cmocka_unit_test(a_line_written_across_the_end_of_a_request_is_not_its),
		cmocka_unit_test(what_was_under_way_when_we_came_stays_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
