/* SPDX-License-Identifier: Apache-2.0 */
/* Traces of the first level: goroutines, loss, desync, restarts, full tables. Threads:
 * test_correlate_threads.c; ids in the text of lines: test_correlate_inline.c. */
#include "tests/unit/correlate_fixture.h"

static const struct who g1 = {10, 11, 101, TL_UNIT_GOROUTINE},
			g2 = {10, 12, 102, TL_UNIT_GOROUTINE},
			background = {10, 12, 900, TL_UNIT_GOROUTINE},
			unread = {10, 13, 0, TL_UNIT_GOROUTINE};

static void a_goroutine_owns_its_lines_between_header_and_response(void **state)
{
	struct bed bed;
	struct who moved = g1;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	assert_none(line(&bed, &g1), TL_WHY_NO_REQUEST);
	request(&bed, 1, &g1, "a");
	request(&bed, 2, &g2, "b");
	moved.tid = 12;
	assert_id(line(&bed, &moved), TL_HOW_UNIT, "a");
	moved.tid = 11;
	moved.unit = 102;
	assert_id(line(&bed, &moved), TL_HOW_UNIT, "b");
	assert_none(line(&bed, &background), TL_WHY_FOREIGN);
	assert_none(line(&bed, &unread), TL_WHY_UNIT_UNKNOWN);
	answer(&bed, 1, &g1);
	assert_none(line(&bed, &g1), TL_WHY_AFTER_RESPONSE);
	request(&bed, 1, &g1, "c");
	assert_id(line(&bed, &g1), TL_HOW_UNIT, "c");
	assert_string_equal(bed.path, "/p");
	assert_string_equal(bed.exchange_id, "a");
	assert_int_equal(bed.exchanges, 1);
	bed_done(&bed);
}

static void the_owner_is_who_completes_the_header_not_who_read_its_first_byte(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	request(&bed, 1, &g1, "a");
	answer(&bed, 1, &g1);
	get(&bed, 1, &background, "G");
	assert_none(line(&bed, &background), TL_WHY_FOREIGN);
	get(&bed, 1, &g1, "ET / HTTP/1.1\r\nX-Request-Id: b\r\n\r\n");
	assert_id(line(&bed, &g1), TL_HOW_UNIT, "b");
	assert_none(line(&bed, &background), TL_WHY_FOREIGN);
	bed_done(&bed);
}

static void a_late_line_gets_the_request_of_its_own_time(void **state)
{
	struct bed bed;
	uint64_t in_a, in_b, between;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	request(&bed, 1, &g1, "a");
	in_a = bed.now += 1000;
	answer(&bed, 1, &g1);
	between = bed.now += 1000;
	request(&bed, 1, &g1, "b");
	in_b = bed.now += 1000;
	answer(&bed, 1, &g1);
	assert_id(line_at(&bed, &g1, "x", 0, in_b), TL_HOW_UNIT, "b");
	assert_id(line_at(&bed, &g1, "x", 0, in_a), TL_HOW_UNIT, "a");
	assert_none(line_at(&bed, &g1, "x", 0, between), TL_WHY_AFTER_RESPONSE);
	bed_done(&bed);
}

static void pipelined_requests_of_one_goroutine_are_ambiguous_and_no_evidence(void **state)
{
	struct bed bed;
	struct tl_corr_usage usage;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	get(&bed, 1, &g1,
	    "GET / HTTP/1.1\r\nX-Request-Id: a\r\n\r\nGET / HTTP/1.1\r\nX-Request-Id: b\r\n\r\n");
	assert_none(line(&bed, &g1), TL_WHY_AMBIGUOUS);
	answer(&bed, 1, &g1);
	assert_none(line(&bed, &g1), TL_WHY_AMBIGUOUS);
	answer(&bed, 1, &g1);
	tl_corr_usage(bed.corr, &usage);
	assert_int_equal(usage.contradicts, 0);
	assert_int_equal(bed.complete, 2);
	assert_string_equal(bed.exchange_id, "b");
	request(&bed, 1, &g1, "c");
	assert_id(line(&bed, &g1), TL_HOW_UNIT, "c");
	bed_done(&bed);
}

static void a_second_request_read_by_another_goroutine_makes_both_ambiguous(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	request(&bed, 1, &g1, "a");
	request(&bed, 1, &g2, "b");
	assert_none(line(&bed, &g1), TL_WHY_AMBIGUOUS);
	assert_none(line(&bed, &g2), TL_WHY_AMBIGUOUS);
	bed_done(&bed);
}

static void the_answer_to_head_has_no_body_whatever_its_length_says(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	get(&bed, 1, &g1, "HEAD / HTTP/1.1\r\n\r\n");
	put(&bed, 1, &g1, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
	assert_none(line(&bed, &g1), TL_WHY_AFTER_RESPONSE);
	request(&bed, 1, &g1, "b");
	assert_id(line(&bed, &g1), TL_HOW_UNIT, "b");
	assert_int_equal(bed.complete, 1);
	bed_done(&bed);
}

static void a_header_that_came_with_the_end_of_the_body_before_is_ambiguous(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	get(&bed, 1, &g1, "POST / HTTP/1.1\r\nX-Request-Id: a\r\nContent-Length: 4\r\n\r\nab");
	answer(&bed, 1, &g1);
	get(&bed, 1, &g1, "cdGET / HTTP/1.1\r\nX-Request-Id: b\r\n\r\n");
	assert_none(line(&bed, &g1), TL_WHY_AMBIGUOUS);
	bed_done(&bed);
}

static void an_event_loop_that_hands_off_closes_the_unit_rule(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	request(&bed, 1, &g1, "a");
	request(&bed, 2, &g1, "b");
	assert_none(line(&bed, &g1), TL_WHY_AMBIGUOUS);
	answer(&bed, 1, &g2);
	answer(&bed, 2, &g2);
	request(&bed, 1, &g1, "c");
	assert_none(line(&bed, &g1), TL_WHY_GATE_CLOSED);
	bed_done(&bed);
}

static void a_response_by_another_goroutine_closes_the_unit_rule_of_the_service(void **state)
{
	struct bed bed;
	const struct who other = {20, 21, 201, TL_UNIT_GOROUTINE};

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	tl_corr_service(bed.corr, 10, bed.start_ns, 77);
	tl_corr_service(bed.corr, 20, bed.start_ns, 77);
	request(&bed, 1, &g1, "a");
	answer(&bed, 1, &g2);
	request(&bed, 3, &other, "c");
	assert_none(line(&bed, &other), TL_WHY_GATE_CLOSED);
	bed_done(&bed);
}

static void a_refused_event_ends_what_was_open_for_why_lost(void **state)
{
	struct bed bed;
	uint64_t before;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	request(&bed, 1, &g1, "a");
	before = bed.now += 1000;
	bed.lost_gen = 1;
	assert_none(line(&bed, &g1), TL_WHY_LOST);
	assert_none(line_at(&bed, &g1, "x", 0, before), TL_WHY_LOST);
	/* The response is not believed any more, and a new request in step again. */
	answer(&bed, 1, &g1);
	assert_none(line(&bed, &g1), TL_WHY_LOST);
	request(&bed, 1, &g1, "b");
	assert_id(line(&bed, &g1), TL_HOW_UNIT, "b");
	answer(&bed, 1, &g1);
	assert_int_equal(bed.complete, 1);
	bed_done(&bed);
}

static void a_connection_that_lost_step_comes_back_only_when_nothing_is_in_flight(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	wire(&bed, 1, &g1, TL_EVF_RECV, "GET / HTTP/1.1\r\nX-Request-Id: a\r\n\r\nGET / HTT", 5000);
	assert_none(line(&bed, &g1), TL_WHY_DESYNC);
	request(&bed, 1, &g1, "b");
	assert_none(line(&bed, &g1), TL_WHY_DESYNC);
	bed_done(&bed);
	/* A body that hid the end of its response: one answer later it is in step. */
	bed_init(&bed, (struct tl_corr_options){0});
	request(&bed, 1, &g1, "a");
	wire(&bed, 1, &g1, 0, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nab", 5000);
	assert_none(line(&bed, &g1), TL_WHY_DESYNC);
	put(&bed, 1, &g1, "0\r\n\r\n");
	request(&bed, 1, &g1, "b");
	assert_id(line(&bed, &g1), TL_HOW_UNIT, "b");
	bed_done(&bed);
}

static void a_connection_met_at_its_response_waits_for_the_next_request(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	assert_none(line(&bed, &g1), TL_WHY_NO_REQUEST);
	answer(&bed, 1, &g1);
	assert_int_equal(bed.exchanges, 0);
	request(&bed, 1, &g1, "b");
	assert_id(line(&bed, &g1), TL_HOW_UNIT, "b");
	answer(&bed, 1, &g1);
	assert_int_equal(bed.complete, 1);
	bed_done(&bed);
}

static void a_tunnel_ends_its_request_and_is_not_looked_at_again(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	request(&bed, 1, &g1, "a");
	put(&bed, 1, &g1, "HTTP/1.1 101 Switching Protocols\r\n\r\n");
	assert_none(line(&bed, &g1), TL_WHY_AFTER_RESPONSE);
	request(&bed, 1, &g1, "inner");
	assert_none(line(&bed, &g1), TL_WHY_AFTER_RESPONSE);
	assert_int_equal(bed.ignored, 1);
	assert_int_equal(bed.status, 101);
	bed_done(&bed);
}

static void client_exchanges_are_told_and_bind_nothing(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	put(&bed, 1, &g1,
	    "POST /out?q HTTP/1.1\r\nX-Request-Id: out\r\nContent-Length: 3\r\n\r\nabc");
	assert_none(line(&bed, &g1), TL_WHY_NO_REQUEST);
	get(&bed, 1, &g1, "HTTP/1.0 200 OK\r\n\r\nuntil close");
	assert_int_equal(bed.exchanges, 0);
	wire(&bed, 1, &g1, TL_EVF_RECV | TL_EVF_EOF, "", 0);
	assert_int_equal(bed.complete, 1);
	assert_int_equal(bed.servers, 0);
	assert_int_equal(bed.request_bytes, 3);
	assert_int_equal(bed.response_bytes, 11);
	assert_string_equal(bed.path, "/out");
	put(&bed, 2, &g1, "GET /x HTTP/1.1\r\n\r\n");
	closed(&bed, 2);
	assert_int_equal(bed.exchanges, 2);
	assert_int_equal(bed.complete, 1);
	assert_int_equal(bed.status, 0);
	bed_done(&bed);
}

static void a_request_without_an_id_gets_one_that_stays(void **state)
{
	struct bed bed;
	struct noted *first;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	get(&bed, 1, &g1, "GET / HTTP/1.1\r\n\r\n");
	first = line(&bed, &g1);
	assert_int_equal(first->how, TL_HOW_UNIT);
	assert_int_equal(strlen(first->id), 32);
	put(&bed, 1, &g1, "HTTP/1.1 200 OK\r\nX-Request-Id: born\r\nContent-Length: 1\r\n\r\n");
	assert_id(line(&bed, &g1), TL_HOW_UNIT, first->id);
	put(&bed, 1, &g1, "x");
	assert_string_equal(bed.exchange_id, first->id);
	bed_done(&bed);
}

static void another_process_of_the_same_number_inherits_nothing(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	request(&bed, 1, &g1, "req-abcd1234");
	bed.start_ns += UINT64_C(5000000000);
	assert_none(say(&bed, &g1, "req-abcd1234"), TL_WHY_NO_REQUEST);
	request(&bed, 2, &g2, "b");
	assert_none(line(&bed, &g1), TL_WHY_FOREIGN);
	assert_int_equal(bed.exchanges, 1);
	bed_done(&bed);
}

static void exec_and_exit_end_everything_but_late_lines_still_find_their_request(void **state)
{
	struct bed bed;
	uint64_t in_a;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	request(&bed, 1, &g1, "a");
	in_a = bed.now += 1000;
	answer(&bed, 1, &g1);
	proc_event(&bed, TL_PROC_EXIT, 10, 0, 0);
	assert_id(line_at(&bed, &g1, "x", 0, in_a), TL_HOW_UNIT, "a");
	bed_done(&bed);
	bed_init(&bed, (struct tl_corr_options){0});
	request(&bed, 1, &g1, "a");
	proc_event(&bed, TL_PROC_EXEC, 10, 0, 5);
	assert_int_equal(line(&bed, &g1)->how, TL_HOW_NONE);
	assert_int_equal(bed.exchanges, 1);
	bed_done(&bed);
}

static void full_tables_give_none_and_are_counted(void **state)
{
	struct tl_corr_options small = {.max_conns = 2, .max_requests = 64, .max_procs = 64};
	struct tl_corr_usage usage;
	struct bed bed;

	(void)state;
	bed_init(&bed, small);
	request(&bed, 1, &g1, "a");
	request(&bed, 2, &g2, "b");
	request(&bed, 3, &background, "c");
	assert_none(line(&bed, &background), TL_WHY_FULL);
	/* What is not seen may have been theirs as well. */
	assert_none(line(&bed, &g1), TL_WHY_FULL);
	tl_corr_usage(bed.corr, &usage);
	assert_true(usage.full > 0);
	bed_done(&bed);
	small = (struct tl_corr_options){.max_conns = 64, .max_requests = 2, .max_procs = 1};
	bed_init(&bed, small);
	request(&bed, 1, &g1, "a");
	request(&bed, 2, &g2, "b");
	request(&bed, 3, &background, "c");
	assert_none(line(&bed, &background), TL_WHY_FULL);
	request(&bed, 4, &(struct who){30, 30, 5, TL_UNIT_GOROUTINE}, "d");
	assert_none(line(&bed, &(struct who){30, 30, 5, TL_UNIT_GOROUTINE}), TL_WHY_FULL);
	bed_done(&bed);
}

static void switched_off_every_line_says_so(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){.off = true});
	request(&bed, 1, &g1, "a");
	assert_none(line(&bed, &g1), TL_WHY_OFF);
	assert_int_equal(bed.exchanges, 0);
	bed_done(&bed);
}

static void what_never_was_http_is_left_alone(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	get(&bed, 1, &g1, "\x16\x03\x01 tls");
	assert_int_equal(bed.ignored, 0);
	get(&bed, 2, &g1, "GET key\r\n");
	assert_int_equal(bed.ignored, 1);
	assert_int_equal(bed.exchanges, 0);
	bed_done(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_goroutine_owns_its_lines_between_header_and_response),
		cmocka_unit_test(the_owner_is_who_completes_the_header_not_who_read_its_first_byte),
		cmocka_unit_test(a_late_line_gets_the_request_of_its_own_time),
		cmocka_unit_test(pipelined_requests_of_one_goroutine_are_ambiguous_and_no_evidence),
		cmocka_unit_test(a_second_request_read_by_another_goroutine_makes_both_ambiguous),
		cmocka_unit_test(the_answer_to_head_has_no_body_whatever_its_length_says),
		cmocka_unit_test(a_header_that_came_with_the_end_of_the_body_before_is_ambiguous),
		cmocka_unit_test(an_event_loop_that_hands_off_closes_the_unit_rule),
		cmocka_unit_test(
			a_response_by_another_goroutine_closes_the_unit_rule_of_the_service),
		cmocka_unit_test(a_refused_event_ends_what_was_open_for_why_lost),
		cmocka_unit_test(
			a_connection_that_lost_step_comes_back_only_when_nothing_is_in_flight),
		cmocka_unit_test(a_connection_met_at_its_response_waits_for_the_next_request),
		cmocka_unit_test(a_tunnel_ends_its_request_and_is_not_looked_at_again),
		cmocka_unit_test(client_exchanges_are_told_and_bind_nothing),
		cmocka_unit_test(a_request_without_an_id_gets_one_that_stays),
		cmocka_unit_test(another_process_of_the_same_number_inherits_nothing),
		cmocka_unit_test(
			exec_and_exit_end_everything_but_late_lines_still_find_their_request),
		cmocka_unit_test(full_tables_give_none_and_are_counted),
		cmocka_unit_test(switched_off_every_line_says_so),
		cmocka_unit_test(what_never_was_http_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
