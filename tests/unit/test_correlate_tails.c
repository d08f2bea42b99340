/* SPDX-License-Identifier: Apache-2.0 */
/* Work that a thread takes without a call that is seen, right behind a response: the first line of
 * it must not pass for the tail of that response, however regularly it stands there. Each was seen
 * to fail with its guard taken out. */
#include "tests/unit/correlate_fixture.h"

#include "userspace/base/clock.h"

#define CONFIRMS 20

static const struct who t1 = {10, 11, 0, TL_UNIT_THREAD}, t2 = {10, 12, 0, TL_UNIT_THREAD},
			reactor = {10, 13, 0, TL_UNIT_THREAD}, w1 = {10, 14, 0, TL_UNIT_THREAD};

static const struct tl_corr_options few = {.gate_confirms = CONFIRMS};

/* Long after the threads have waited. */
static void start(struct bed *bed)
{
	bed_init(bed, few);
	bed->now += 10 * TL_SEC;
	bed->start_ns += 10 * TL_SEC;
}

static uint64_t tails(struct bed *bed)
{
	struct tl_corr_usage usage;

	tl_corr_usage(bed->corr, &usage);
	return usage.how[TL_HOW_TAIL];
}

static void serve(struct bed *bed, unsigned conn, const struct who *who, const char *id)
{
	request(bed, conn, who, id);
	answer(bed, conn, who);
}

/* A backlog: whenever the worker has answered, the next request was read long before, and the first
 * it says of that one stands right behind the response; once each time. The reactor answers some of
 * what it reads by itself. */
static void work_off(struct bed *bed, unsigned n)
{
	request(bed, 1, &reactor, "1");
	request(bed, 2, &reactor, "2");
	for (unsigned i = 0; i < n; i++) {
		unsigned conn = 1 + i % 2;

		answer(bed, conn, &w1);
		request(bed, conn, &reactor, "next");
		say(bed, &w1, "begin 1");
	}
	answer(bed, 1, &w1);
	answer(bed, 2, &w1);
}

/* Seen for real with a pool under load: 2,880 wrong ids. */
static void the_next_jobs_first_line_is_no_tail_of_the_last_response(void **state)
{
	struct bed bed;

	(void)state;
	start(&bed);
	work_off(&bed, 4 * CONFIRMS);
	assert_int_equal(tails(&bed), 0);
	bed_done(&bed);
}

static void nor_is_it_where_other_threads_read_for_themselves(void **state)
{
	struct bed bed;

	(void)state;
	start(&bed);
	for (unsigned i = 0; i < 2 * CONFIRMS; i++) {
		serve(&bed, 3, &t1, "own");
		say(&bed, &t1, "done 1");
		if (i == CONFIRMS)
			work_off(&bed, 4 * CONFIRMS);
	}
	/* They are believed until somebody is seen to answer what another has read. */
	assert_int_equal(tails(&bed), 2);
	bed_done(&bed);
}

/* We came when they were at work: requests on connection 5 are read by the reactor and answered by
 * the worker, but its pieces never tell where one begins. */
static void nor_is_it_where_what_is_handed_over_came_on_connections_met_in_the_middle(void **state)
{
	struct bed bed;

	(void)state;
	start(&bed);
	put(&bed, 5, &w1, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	for (unsigned i = 0; i < 4 * CONFIRMS; i++) {
		get(&bed, 5, &reactor, "rest of one\r\n\r\nGET /begin of the ne");
		request(&bed, 2, &t2, "overlaps");
		serve(&bed, 1, &w1, "own");
		answer(&bed, 2, &t2);
		if (i % 2)
			waits(&bed, &w1);
		say(&bed, &w1, "begin 1");
		put(&bed, 5, &w1, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	}
	assert_int_equal(tails(&bed), 0);
	bed_done(&bed);
}

/* Its header is read by one, its body by the other. */
static void who_reads_the_body_may_not_have_read_the_request(void **state)
{
	struct bed bed;

	(void)state;
	start(&bed);
	get(&bed, 5, &reactor,
	    "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
	put(&bed, 5, &reactor, "HTTP/1.1 100 Continue\r\n\r\n");
	get(&bed, 5, &w1, "x");
	answer(&bed, 5, &w1);
	for (unsigned i = 0; i < 2 * CONFIRMS; i++) {
		serve(&bed, 3, &t1, "own");
		say(&bed, &t1, "begin 1");
	}
	assert_int_equal(tails(&bed), 0);
	bed_done(&bed);
}

/* nginx's workers call themselves otherwise once they are at work. */
static void a_process_that_changes_its_name_keeps_its_habits(void **state)
{
	struct bed bed;

	(void)state;
	start(&bed);
	tl_corr_service(bed.corr, 10, bed.start_ns, 7);
	serve(&bed, 3, &t1, "own");
	work_off(&bed, 1);
	tl_corr_service(bed.corr, 10, bed.start_ns, 8);
	for (unsigned i = 0; i < 2 * CONFIRMS; i++) {
		serve(&bed, 3, &t2, "own");
		say(&bed, &t2, "begin 1");
	}
	assert_int_equal(tails(&bed), 0);
	bed_done(&bed);
}

/* A queue that one thread works off, and each request leaves a job behind: the job of the request
 * before last stands behind the last response, once each time. Only the first response lacks it. */
static void a_job_that_each_request_leaves_behind_is_no_tail_of_the_next(void **state)
{
	struct bed bed;

	(void)state;
	start(&bed);
	request(&bed, 2, &t2, "open");
	serve(&bed, 1, &t1, "first");
	for (unsigned i = 0; i < 2 * CONFIRMS; i++) {
		serve(&bed, 1, &t1, "next");
		say(&bed, &t1, "cleaned 1");
	}
	assert_int_equal(tails(&bed), 0);
	bed_done(&bed);
}

/* An event loop that finds one job behind each response, and waits for the other. */
static void a_job_that_is_also_waited_for_is_no_tail(void **state)
{
	struct bed bed;

	(void)state;
	start(&bed);
	request(&bed, 2, &t2, "open");
	request(&bed, 3, &w1, "two");
	request(&bed, 4, &w1, "at once");
	answer(&bed, 3, &w1);
	answer(&bed, 4, &w1);
	for (unsigned i = 0; i < 2 * CONFIRMS; i++) {
		serve(&bed, 1, &t1, "a");
		say(&bed, &t1, "job 1");
		waits(&bed, &t1);
		say(&bed, &t1, "job 2");
	}
	assert_int_equal(tails(&bed), 0);
	bed_done(&bed);
}

static void begin_answer(struct bed *bed, unsigned conn)
{
	put(bed, conn, &t1, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
}

/* A proxy that passes two responses on as they come. */
static void of_several_responses_under_way_the_one_that_ended_last_has_the_tail(void **state)
{
	struct bed bed;

	(void)state;
	start(&bed);
	for (unsigned i = 0; i < 2 * CONFIRMS; i++) {
		request(&bed, 1, &t1, "a");
		request(&bed, 2, &t1, "b");
		begin_answer(&bed, 1 + i % 2);
		begin_answer(&bed, 2 - i % 2);
		put(&bed, 1, &t1, "cd");
		say(&bed, &t1, "access 1");
		put(&bed, 2, &t1, "cd");
		say(&bed, &t1, "access 1");
	}
	assert_id(&bed.lines[bed.n_lines - 2], TL_HOW_TAIL, "a");
	assert_id(&bed.lines[bed.n_lines - 1], TL_HOW_TAIL, "b");
	/* And the one that has no line is found, whichever was begun first. */
	request(&bed, 1, &t1, "a");
	request(&bed, 2, &t1, "b");
	begin_answer(&bed, 1);
	begin_answer(&bed, 2);
	put(&bed, 2, &t1, "cd");
	say(&bed, &t1, "access 1");
	put(&bed, 1, &t1, "cd");
	serve(&bed, 2, &t1, "c");
	assert_int_equal(say(&bed, &t1, "access 1")->how, TL_HOW_NONE);
	bed_done(&bed);
}

/* A proxy: what it is told by the service behind it is for another request. */
static void bytes_from_behind_end_the_tail_of_an_event_loop(void **state)
{
	struct bed bed;

	(void)state;
	start(&bed);
	for (unsigned i = 0; i < CONFIRMS; i++) {
		request(&bed, 2, &t1, "open");
		serve(&bed, 1, &t1, "a");
		say(&bed, &t1, "access 1");
		answer(&bed, 2, &t1);
		say(&bed, &t1, "access 1");
	}
	request(&bed, 2, &t1, "b");
	put(&bed, 101, &t1, "GET / HTTP/1.1\r\nX-Request-Id: b\r\n\r\n");
	serve(&bed, 1, &t1, "a");
	assert_id(say(&bed, &t1, "access 1"), TL_HOW_TAIL, "a");
	serve(&bed, 1, &t1, "c");
	get(&bed, 101, &t1, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(say(&bed, &t1, "access 1")->how, TL_HOW_NONE);
	bed_done(&bed);
}

/* A timer of an event loop that runs once behind each response, some time later. */
static void lines_that_came_after_a_wait_vouch_for_none_that_comes_at_once(void **state)
{
	struct bed bed;

	(void)state;
	start(&bed);
	request(&bed, 3, &t1, "two");
	request(&bed, 4, &t1, "at once");
	for (unsigned i = 0; i < 2 * CONFIRMS; i++) {
		serve(&bed, 1, &t1, "a");
		waits(&bed, &t1);
		say(&bed, &t1, "tick 1");
	}
	serve(&bed, 1, &t1, "b");
	assert_int_equal(say(&bed, &t1, "tick 1")->how, TL_HOW_NONE);
	bed_done(&bed);
}

static void a_response_finished_by_another_goroutine_has_no_tail(void **state)
{
	static const struct who g1 = {10, 11, 501, TL_UNIT_GOROUTINE},
				g2 = {10, 11, 502, TL_UNIT_GOROUTINE},
				g3 = {10, 11, 503, TL_UNIT_GOROUTINE};
	struct bed bed;

	(void)state;
	start(&bed);
	request(&bed, 2, &g3, "open");
	for (unsigned i = 0; i < CONFIRMS; i++) {
		serve(&bed, 1, &g1, "x");
		say(&bed, &g1, "done 1");
	}
	serve(&bed, 1, &g1, "a");
	assert_id(say(&bed, &g1, "done 1"), TL_HOW_TAIL, "a");
	request(&bed, 1, &g1, "b");
	put(&bed, 1, &g1, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
	put(&bed, 1, &g2, "cd");
	assert_int_equal(say(&bed, &g1, "done 1")->how, TL_HOW_NONE);
	bed_done(&bed);
}

/* What it serves was asked for before we came: its lines seem to stand where nothing is served. */
static void what_a_process_said_when_we_met_it_at_work_is_no_evidence(void **state)
{
	struct bed bed;

	(void)state;
	start(&bed);
	bed.start_ns -= 10 * TL_SEC;
	serve(&bed, 1, &t1, "a");
	say(&bed, &t2, "access 1");
	for (unsigned i = 0; i < 2 * CONFIRMS; i++) {
		serve(&bed, 1, &t1, "a");
		say(&bed, &t1, "access 1");
	}
	assert_int_equal(tails(&bed), 0);
	bed.now += TL_SEC;
	waits(&bed, &t1);
	for (unsigned i = 0; i < CONFIRMS; i++) {
		serve(&bed, 1, &t1, "a");
		say(&bed, &t1, "access 1");
	}
	assert_int_equal(tails(&bed), 1);
	bed_done(&bed);
}

static void a_line_that_was_lost_is_no_evidence_against_its_form(void **state)
{
	struct bed bed;

	(void)state;
	start(&bed);
	for (unsigned i = 0; i < CONFIRMS; i++) {
		serve(&bed, 1, &t1, "a");
		say(&bed, &t1, "access 1");
	}
	serve(&bed, 1, &t1, "b");
	bed.lost_gen++; /* its line */
	serve(&bed, 1, &t1, "c");
	assert_id(say(&bed, &t1, "access 1"), TL_HOW_TAIL, "c");
	/* One that was not is. */
	serve(&bed, 1, &t1, "d");
	serve(&bed, 1, &t1, "e");
	assert_int_equal(say(&bed, &t1, "access 1")->how, TL_HOW_NONE);
	bed_done(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_next_jobs_first_line_is_no_tail_of_the_last_response),
		cmocka_unit_test(nor_is_it_where_other_threads_read_for_themselves),
		cmocka_unit_test(
			nor_is_it_where_what_is_handed_over_came_on_connections_met_in_the_middle),
		cmocka_unit_test(who_reads_the_body_may_not_have_read_the_request),
		cmocka_unit_test(a_process_that_changes_its_name_keeps_its_habits),
		cmocka_unit_test(a_job_that_each_request_leaves_behind_is_no_tail_of_the_next),
		cmocka_unit_test(a_job_that_is_also_waited_for_is_no_tail),
		cmocka_unit_test(
			of_several_responses_under_way_the_one_that_ended_last_has_the_tail),
		cmocka_unit_test(bytes_from_behind_end_the_tail_of_an_event_loop),
		cmocka_unit_test(lines_that_came_after_a_wait_vouch_for_none_that_comes_at_once),
		cmocka_unit_test(a_response_finished_by_another_goroutine_has_no_tail),
		cmocka_unit_test(what_a_process_said_when_we_met_it_at_work_is_no_evidence),
		cmocka_unit_test(a_line_that_was_lost_is_no_evidence_against_its_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
