/* SPDX-License-Identifier: Apache-2.0 */
/* The rules that go by a line's place: tail, thread-bracket, unit-bracket; and what forms of lines
 * have to prove. Each hazard (docs/correlation.md) that would give a wrong id here has its test. */
#include "tests/unit/correlate_fixture.h"

#include "agent/correlate/form.h"
#include "userspace/base/clock.h"

#define CONFIRMS 20

/* Threads of one process, and units of another runtime (not of their own kind: two tasks). */
static const struct who t1 = {10, 11, 0, TL_UNIT_THREAD}, t2 = {10, 12, 0, TL_UNIT_THREAD},
			reactor = {10, 13, 0, TL_UNIT_THREAD}, w1 = {10, 14, 0, TL_UNIT_THREAD},
			w2 = {10, 15, 0, TL_UNIT_THREAD};

static const struct tl_corr_options few = {.gate_confirms = CONFIRMS};

static uint64_t lines_by(struct bed *bed, enum tl_how how)
{
	struct tl_corr_usage usage;

	tl_corr_usage(bed->corr, &usage);
	return usage.how[how];
}

static struct noted *access_log(struct bed *bed, const struct who *who, unsigned n)
{
	char text[128];

	snprintf(text, sizeof(text),
		 "127.0.0.%u - - [24/Nov/2026:19:%02u:00 +0000] \"GET /%u\" 200 %u", n % 250,
		 n % 60, n, n);
	return say(bed, who, text);
}

/* --- forms --- */

static void forms_mask_what_varies_and_keep_what_tells(void **state)
{
	static const char *const same[][2] = {
		{"10.0.0.1 - - [24/Nov/2026:10:00:00 +0000] \"GET /a HTTP/1.1\" 200 512",
		 "10.2.0.7 - - [25/Dec/2026:11:01:02 +0000] \"PUT /b?x HTTP/1.1\" 404 -"},
		{"took 12ms id=9f0b-77aa", "took 3ms id=beef-0000"},
		{"{\"level\":\"info\",\"msg\":\"done\",\"user\":\"ann\",\"n\":1}",
		 "{\"level\":\"warn\",\"msg\":\"done\",\"user\":\"bob\",\"n\":22}"},
		{"don't 1", "don't 2"},
		{"open 'a b' now", "open 'c' now"},
		{"id=fadedbee done", "id=0f1e2d3c done"},
		{"[ABCDEFabcdef]", "[123456123456]"},
	};
	static const char *const other[][2] = {
		{"job 1 started", "job 1 ended"},
		{"{\"msg\":\"done\"}", "{\"msg\":\"begun\"}"},
		{"{\"a\":\"x\"}", "{\"b\":\"x\"}"},
		{"", "x"},
		{"feed 1", "fade 1"},
		{"decaffeinated 1", "faded 1"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(same); i++)
		assert_true(tl_form_hash(tl_span_str(same[i][0])) ==
			    tl_form_hash(tl_span_str(same[i][1])));
	for (size_t i = 0; i < ARRAY_SIZE(other); i++)
		assert_true(tl_form_hash(tl_span_str(other[i][0])) !=
			    tl_form_hash(tl_span_str(other[i][1])));
}

/* --- tail --- */

/* One request on `who`, its access line behind the response. */
static struct noted *serve(struct bed *bed, unsigned conn, const struct who *who, unsigned n)
{
	char id[16];

	snprintf(id, sizeof(id), "r%u", n);
	waits(bed, who);
	request(bed, conn, who, id);
	answer(bed, conn, who);
	return access_log(bed, who, n);
}

/* An event loop: requests of two connections in turn, always another one open. */
static void prove_loop(struct bed *bed, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		request(bed, 1, &t1, "open");
		serve(bed, 2, &t1, i);
		answer(bed, 1, &t1);
		access_log(bed, &t1, i);
	}
}

static void an_access_line_right_behind_its_response_is_its_once_the_form_is_proved(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	prove_loop(&bed, CONFIRMS / 2);
	assert_int_equal(lines_by(&bed, TL_HOW_TAIL), 1);
	request(&bed, 1, &t1, "open");
	assert_id(serve(&bed, 2, &t1, 7), TL_HOW_TAIL, "r7");
	assert_int_equal(say(&bed, &t1, "another form")->how, TL_HOW_NONE);
	bed_done(&bed);
}

static void a_wait_ends_the_tail_of_an_event_loop(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	prove_loop(&bed, CONFIRMS);
	request(&bed, 1, &t1, "a");
	request(&bed, 2, &t1, "b");
	answer(&bed, 1, &t1);
	waits(&bed, &t1);
	assert_int_equal(access_log(&bed, &t1, 1)->how, TL_HOW_NONE);
	bed_done(&bed);
}

static void another_connection_ends_the_tail_of_an_event_loop(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	prove_loop(&bed, CONFIRMS);
	request(&bed, 1, &t1, "a");
	answer(&bed, 1, &t1);
	get(&bed, 3, &t1, "GET / HTTP/1.1\r\n\r\n");
	assert_int_equal(access_log(&bed, &t1, 2)->how, TL_HOW_NONE);
	bed_done(&bed);
}

static void lines_behind_a_wait_prove_no_tail_of_an_event_loop(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	for (unsigned i = 0; i < CONFIRMS; i++) {
		request(&bed, 1, &t1, "open");
		request(&bed, 2, &t1, "b");
		answer(&bed, 2, &t1);
		waits(&bed, &t1);
		access_log(&bed, &t1, i);
		answer(&bed, 1, &t1);
		waits(&bed, &t1);
		request(&bed, 3, &t1, "c");
		access_log(&bed, &t1, i);
		answer(&bed, 3, &t1);
	}
	request(&bed, 1, &t1, "a");
	answer(&bed, 1, &t1);
	assert_int_equal(access_log(&bed, &t1, 1)->how, TL_HOW_NONE);
	bed_done(&bed);
}

static void an_event_loop_that_answers_two_and_then_logs_both_is_found_out_first(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	prove_loop(&bed, CONFIRMS);
	request(&bed, 1, &t1, "a");
	request(&bed, 2, &t1, "b");
	answer(&bed, 1, &t1);
	answer(&bed, 2, &t1);
	/* The first line is a's, but b's was the last response: b would be wrong. */
	assert_int_equal(access_log(&bed, &t1, 1)->how, TL_HOW_NONE);
	assert_int_equal(access_log(&bed, &t1, 2)->how, TL_HOW_NONE);
	request(&bed, 1, &t1, "open");
	assert_int_equal(serve(&bed, 2, &t1, 7)->how, TL_HOW_NONE);
	bed_done(&bed);
}

static void a_form_also_written_while_nothing_is_served_proves_no_tail(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	prove_loop(&bed, CONFIRMS / 2 - 1);
	waits(&bed, &t1);
	access_log(&bed, &t1, 1); /* a timer that uses the same form */
	prove_loop(&bed, CONFIRMS);
	assert_int_equal(lines_by(&bed, TL_HOW_TAIL), 0);
	bed_done(&bed);
}

/* Two threads that each read and answer, and log behind their responses after a wait for a lock. */
static struct noted *serve_slowly(struct bed *bed, unsigned conn, const struct who *who,
				  const char *id, unsigned n)
{
	request(bed, conn, who, id);
	answer(bed, conn, who);
	waits(bed, who);
	return access_log(bed, who, n);
}

static void prove_threads(struct bed *bed, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		request(bed, 1, &t1, "x");
		request(bed, 2, &t2, "y");
		answer(bed, 1, &t1);
		answer(bed, 2, &t2);
		waits(bed, &t1);
		waits(bed, &t2);
		access_log(bed, &t1, i);
		access_log(bed, &t2, i);
	}
}

static void a_thread_that_serves_alone_may_wait_before_its_access_line(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	prove_threads(&bed, CONFIRMS);
	assert_id(serve_slowly(&bed, 1, &t1, "a", 1), TL_HOW_TAIL, "a");
	/* Long after, it is not. */
	request(&bed, 1, &t1, "b");
	answer(&bed, 1, &t1);
	bed.now += 2 * TL_SEC;
	assert_none(access_log(&bed, &t1, 1), TL_WHY_AFTER_RESPONSE);
	bed_done(&bed);
}

static void a_lone_threads_access_line_behind_a_wait_is_not_believed(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	/* No overlap: it may be an event loop, where only what follows at once is certain. */
	for (unsigned i = 0; i < 2 * CONFIRMS; i++)
		assert_int_equal(serve_slowly(&bed, 1, &t1, "x", i)->how, TL_HOW_NONE);
	assert_id(serve(&bed, 1, &t1, 7), TL_HOW_TAIL, "r7");
	bed_done(&bed);
}

static void a_job_on_the_threads_that_serve_gets_no_request(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	/* Its form stands behind some responses, not behind each. */
	for (unsigned i = 0; i < 10 * CONFIRMS; i++) {
		prove_threads(&bed, 1);
		if (i % 3 == 0)
			assert_int_equal(say(&bed, &t1, "job 1 done")->how, TL_HOW_NONE);
	}
	assert_id(serve_slowly(&bed, 1, &t1, "a", 1), TL_HOW_TAIL, "a");
	assert_int_equal(say(&bed, &t1, "job 2 done")->how, TL_HOW_NONE);
	bed_done(&bed);
}

static void two_of_a_form_behind_one_response_refute_it(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	prove_threads(&bed, CONFIRMS);
	request(&bed, 1, &t1, "a");
	answer(&bed, 1, &t1);
	assert_id(access_log(&bed, &t1, 1), TL_HOW_TAIL, "a");
	assert_none(access_log(&bed, &t1, 2), TL_WHY_AFTER_RESPONSE);
	assert_int_equal(serve_slowly(&bed, 1, &t1, "b", 1)->how, TL_HOW_NONE);
	bed_done(&bed);
}

static void the_tail_of_a_request_ends_with_a_lost_event(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	prove_threads(&bed, CONFIRMS);
	request(&bed, 1, &t1, "a");
	answer(&bed, 1, &t1);
	bed.lost_gen++;
	assert_int_equal(access_log(&bed, &t1, 1)->how, TL_HOW_NONE);
	bed_done(&bed);
}

static void a_response_finished_by_another_thread_has_no_tail(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	prove_threads(&bed, CONFIRMS);
	request(&bed, 1, &t1, "a");
	put(&bed, 1, &t1, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
	put(&bed, 1, &t2, "cd");
	assert_int_equal(access_log(&bed, &t1, 1)->how, TL_HOW_NONE);
	assert_int_equal(access_log(&bed, &t2, 2)->how, TL_HOW_NONE);
	bed_done(&bed);
}

static void the_id_in_a_tail_line_that_names_another_request_gives_none(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	for (unsigned i = 0; i < CONFIRMS; i++) {
		request(&bed, 3, &t1, "x");
		request(&bed, 4, &t2, "y");
		answer(&bed, 3, &t1);
		say(&bed, &t1, "served 1");
		answer(&bed, 4, &t2);
		say(&bed, &t2, "served 2");
	}
	request(&bed, 4, &t2, "req-0000aaaa");
	request(&bed, 3, &t1, "req-1111bbbb");
	answer(&bed, 3, &t1);
	assert_none(say(&bed, &t1, "served req-0000aaaa"), TL_WHY_AMBIGUOUS);
	/* Both have lost their credit. */
	request(&bed, 3, &t1, "c");
	answer(&bed, 3, &t1);
	assert_none(say(&bed, &t1, "served 3"), TL_WHY_AFTER_RESPONSE);
	assert_none(say(&bed, &t1, "still at req-0000aaaa"), TL_WHY_AFTER_RESPONSE);
	bed_done(&bed);
}

/* --- thread, where requests never overlap --- */

static void prove_alone(struct bed *bed, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		waits(bed, &t1);
		request(bed, 1, &t1, "x");
		say(bed, &t1, "handling 1");
		answer(bed, 1, &t1);
	}
}

static void a_thread_that_was_given_nothing_else_owns_its_lines_without_overlap(void **state)
{
	struct bed bed;
	struct noted *held;

	(void)state;
	bed_init(&bed, few);
	bed.now += 10 * TL_SEC; /* so that what was long ago is not before the clock's begin */
	bed.start_ns += 10 * TL_SEC;
	prove_alone(&bed, CONFIRMS);
	for (unsigned i = 0; i < CONFIRMS; i++)
		assert_none(&bed.lines[i], TL_WHY_GATE_CLOSED);
	waits(&bed, &t1);
	request(&bed, 1, &t1, "a");
	held = say(&bed, &t1, "handling 1");
	assert_int_equal(held->how, HELD);
	answer(&bed, 1, &t1);
	assert_id(held, TL_HOW_THREAD, "a");
	bed_done(&bed);
}

static void a_joined_line_has_no_form_and_needs_one(void **state)
{
	struct bed bed;
	struct noted *noted;

	(void)state;
	bed_init(&bed, few);
	bed.now += 10 * TL_SEC;
	bed.start_ns += 10 * TL_SEC;
	prove_alone(&bed, CONFIRMS);
	waits(&bed, &t1);
	request(&bed, 1, &t1, "a");
	noted = line_at(&bed, &t1, "handling 1", TL_LINE_JOINED, 0);
	answer(&bed, 1, &t1);
	assert_none(noted, TL_WHY_GATE_CLOSED);
	bed_done(&bed);
}

static void an_event_loop_with_little_to_do_proves_nothing(void **state)
{
	struct bed bed;
	struct noted *before;

	(void)state;
	bed_init(&bed, few);
	prove_alone(&bed, CONFIRMS);
	/* It went back to the loop between reading and answering: what it says may be a timer's. */
	waits(&bed, &t1);
	request(&bed, 1, &t1, "a");
	before = say(&bed, &t1, "handling 1");
	waits(&bed, &t1);
	assert_int_equal(say(&bed, &t1, "handling 1")->how, HELD); /* in order, behind the other */
	answer(&bed, 1, &t1);
	assert_none(before, TL_WHY_GATE_CLOSED);
	assert_none(&bed.lines[bed.n_lines - 1], TL_WHY_GATE_CLOSED);
	/* A timer of the same round, whose form also comes when nothing is served. */
	for (int i = 0; i < 2; i++) {
		waits(&bed, &t1);
		say(&bed, &t1, "tick 1");
	}
	request(&bed, 1, &t1, "b");
	assert_none(say(&bed, &t1, "tick 2"), TL_WHY_GATE_CLOSED);
	answer(&bed, 1, &t1);
	bed_done(&bed);
}

/* --- thread-bracket --- */

/* The reactor reads two requests, workers log and answer them. */
static void hand_over(struct bed *bed, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		request(bed, 1, &reactor, "x");
		request(bed, 2, &reactor, "y");
		waits(bed, &w1);
		waits(bed, &w2);
		say(bed, &w1, "working 1");
		say(bed, &w2, "working 2");
		answer(bed, 1, &w1);
		answer(bed, 2, &w2);
	}
}

static void a_worker_that_answers_owns_its_lines_since_it_took_the_job(void **state)
{
	struct bed bed;
	struct noted *first, *second, *other;

	(void)state;
	bed_init(&bed, few);
	hand_over(&bed, CONFIRMS);
	request(&bed, 1, &reactor, "a");
	request(&bed, 2, &reactor, "b");
	waits(&bed, &w1);
	waits(&bed, &w2);
	first = say(&bed, &w1, "working 3");
	other = say(&bed, &w2, "working 4");
	second = say(&bed, &w1, "working 5");
	assert_int_equal(first->how, HELD);
	answer(&bed, 1, &w1);
	assert_id(first, TL_HOW_THREAD_BRACKET, "a");
	assert_id(second, TL_HOW_THREAD_BRACKET, "a");
	assert_int_equal(other->how, HELD);
	answer(&bed, 2, &w2);
	assert_id(other, TL_HOW_THREAD_BRACKET, "b");
	bed_done(&bed);
}

static void nothing_is_held_before_hand_over_is_proved(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	hand_over(&bed, CONFIRMS / 2 - 1);
	request(&bed, 1, &reactor, "a");
	waits(&bed, &w1);
	assert_none(say(&bed, &w1, "working 1"), TL_WHY_FOREIGN);
	bed_done(&bed);
}

static void a_wait_between_line_and_response_cuts_the_bracket(void **state)
{
	struct bed bed;
	struct noted *noted;

	(void)state;
	bed_init(&bed, few);
	hand_over(&bed, CONFIRMS);
	request(&bed, 1, &reactor, "a");
	waits(&bed, &w1);
	noted = say(&bed, &w1, "working 1");
	waits(&bed, &w1);
	answer(&bed, 1, &w1);
	assert_none(noted, TL_WHY_CUT);
	bed_done(&bed);
}

static void a_job_of_the_pool_between_two_requests_is_told_by_its_form(void **state)
{
	struct bed bed;
	struct noted *job, *own;

	(void)state;
	bed_init(&bed, few);
	hand_over(&bed, CONFIRMS);
	/* It runs when nothing is asked, too. */
	waits(&bed, &w1);
	say(&bed, &w1, "job 1");
	request(&bed, 1, &reactor, "a");
	waits(&bed, &w1);
	job = say(&bed, &w1, "job 2");
	own = say(&bed, &w1, "working 1");
	answer(&bed, 1, &w1);
	assert_none(job, TL_WHY_UNPROVED);
	assert_id(own, TL_HOW_THREAD_BRACKET, "a");
	bed_done(&bed);
}

static void a_form_not_yet_known_is_not_believed(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	hand_over(&bed, CONFIRMS);
	request(&bed, 1, &reactor, "a");
	waits(&bed, &w1);
	assert_none(say(&bed, &w1, "never seen before"), TL_WHY_UNPROVED);
	answer(&bed, 1, &w1);
	bed_done(&bed);
}

static void a_line_before_its_requests_header_is_ambient_from_then_on(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	hand_over(&bed, CONFIRMS);
	request(&bed, 2, &reactor, "other");
	waits(&bed, &w1);
	say(&bed, &w1, "working 1");
	request(&bed, 1, &reactor, "a");
	answer(&bed, 1, &w1);
	assert_none(&bed.lines[bed.n_lines - 1], TL_WHY_FOREIGN);
	request(&bed, 1, &reactor, "b");
	waits(&bed, &w1);
	assert_none(say(&bed, &w1, "working 2"), TL_WHY_UNPROVED);
	bed_done(&bed);
}

static void what_a_worker_says_after_its_response_is_not_the_next_requests(void **state)
{
	struct bed bed;
	struct noted *late;

	(void)state;
	bed_init(&bed, few);
	hand_over(&bed, CONFIRMS);
	/* A late line of a's, while b waits in the queue: the worker goes on without waiting. */
	for (int i = 0; i < 3; i++) {
		request(&bed, 1, &reactor, "a");
		request(&bed, 2, &reactor, "b");
		waits(&bed, &w1);
		say(&bed, &w1, "working 1");
		answer(&bed, 1, &w1);
		late = say(&bed, &w1, "late 1");
		answer(&bed, 2, &w1);
		assert_int_equal(late->how, TL_HOW_NONE);
	}
	bed_done(&bed);
}

static void a_thread_that_answers_what_it_read_ends_the_belief_in_hand_over(void **state)
{
	struct bed bed;
	struct noted *held;

	(void)state;
	bed_init(&bed, few);
	hand_over(&bed, CONFIRMS);
	request(&bed, 1, &reactor, "a");
	waits(&bed, &w1);
	held = say(&bed, &w1, "working 1");
	request(&bed, 2, &reactor, "b");
	answer(&bed, 2, &reactor);
	answer(&bed, 1, &w1);
	assert_int_equal(held->how, TL_HOW_NONE);
	bed_done(&bed);
}

static void a_held_line_whose_worker_never_answers_is_none(void **state)
{
	struct bed bed;
	struct noted *held;

	(void)state;
	bed_init(&bed, few);
	hand_over(&bed, CONFIRMS);
	request(&bed, 1, &reactor, "a");
	waits(&bed, &w1);
	held = say(&bed, &w1, "working 1");
	assert_int_equal(held->how, HELD);
	bed.now += 600 * TL_MS;
	tl_corr_tick(bed.corr, bed.now);
	assert_none(held, TL_WHY_UNANSWERED);
	/* And its form is ambient once nobody can come any more. */
	bed.now += 40 * TL_SEC;
	tl_corr_tick(bed.corr, bed.now);
	answer(&bed, 1, &reactor);
	bed_done(&bed);
}

/* --- echo: executor threads that ask another service --- */

static void ask(struct bed *bed, unsigned conn, const struct who *who, const char *id)
{
	char text[128];

	snprintf(text, sizeof(text), "GET /other HTTP/1.1\r\nX-Request-Id: %s\r\n\r\n", id);
	put(bed, conn, who, text);
}

static void be_told(struct bed *bed, unsigned conn, const struct who *who)
{
	get(bed, conn, who, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

/* The reactor reads and answers; executors ask another service for it and say what they were told.
 */
static void execute(struct bed *bed, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		request(bed, 1, &reactor, "req-1111aaaa");
		request(bed, 2, &reactor, "req-2222bbbb");
		waits(bed, &w1);
		waits(bed, &w2);
		ask(bed, 101, &w1, "req-1111aaaa");
		ask(bed, 102, &w2, "req-2222bbbb");
		be_told(bed, 101, &w1);
		say(bed, &w1, "told 1");
		be_told(bed, 102, &w2);
		say(bed, &w2, "told 2");
		answer(bed, 2, &reactor);
		answer(bed, 1, &reactor);
	}
}

static void who_asks_another_service_with_an_open_requests_id_works_for_it(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	execute(&bed, CONFIRMS);
	request(&bed, 1, &reactor, "req-3333cccc");
	request(&bed, 2, &reactor, "req-4444dddd");
	waits(&bed, &w1);
	ask(&bed, 101, &w1, "req-4444dddd");
	be_told(&bed, 101, &w1);
	assert_id(say(&bed, &w1, "told 1"), TL_HOW_ECHO, "req-4444dddd");
	assert_none(say(&bed, &w1, "another form"), TL_WHY_FOREIGN);
	waits(&bed, &w1);
	assert_int_equal(say(&bed, &w1, "told 2")->how, TL_HOW_NONE);
	bed_done(&bed);
}

static void the_next_job_begun_without_a_pause_is_not_the_one_before(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	/* Each job begins with a line; under a backlog it follows the told one at once. */
	for (unsigned i = 0; i < 4 * CONFIRMS; i++) {
		request(&bed, 1, &reactor, "req-1111aaaa");
		request(&bed, 2, &reactor, "req-2222bbbb");
		for (unsigned k = 1; k <= 2; k++) {
			assert_int_not_equal(say(&bed, &w1, "job begins")->how, TL_HOW_ECHO);
			ask(&bed, 101, &w1, k == 1 ? "req-1111aaaa" : "req-2222bbbb");
			be_told(&bed, 101, &w1);
			say(&bed, &w1, "told 1");
		}
		answer(&bed, 2, &reactor);
		answer(&bed, 1, &reactor);
	}
	bed_done(&bed);
}

static void a_loop_that_asks_for_several_requests_at_once_gets_nothing_by_echo(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	execute(&bed, CONFIRMS);
	request(&bed, 1, &reactor, "req-3333cccc");
	request(&bed, 2, &reactor, "req-4444dddd");
	ask(&bed, 101, &w1, "req-3333cccc");
	ask(&bed, 102, &w1, "req-4444dddd");
	be_told(&bed, 101, &w1);
	assert_int_equal(say(&bed, &w1, "told 1")->how, TL_HOW_NONE);
	waits(&bed, &w2);
	ask(&bed, 103, &w2, "req-4444dddd");
	be_told(&bed, 103, &w2);
	assert_int_equal(say(&bed, &w2, "told 1")->how, TL_HOW_NONE);
	bed_done(&bed);
}

static void an_outbound_request_with_ids_of_two_is_nobodys(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	execute(&bed, CONFIRMS);
	request(&bed, 1, &reactor, "req-3333cccc");
	request(&bed, 2, &reactor, "req-4444dddd");
	waits(&bed, &w1);
	put(&bed, 101, &w1,
	    "GET / HTTP/1.1\r\nX-Request-Id: req-3333cccc\r\nX-Correlation-Id: "
	    "req-4444dddd\r\n\r\n");
	be_told(&bed, 101, &w1);
	assert_int_equal(say(&bed, &w1, "told 1")->how, TL_HOW_NONE);
	/* And once its request is over, nothing is. */
	waits(&bed, &w2);
	ask(&bed, 102, &w2, "req-4444dddd");
	be_told(&bed, 102, &w2);
	answer(&bed, 2, &reactor);
	assert_int_equal(say(&bed, &w2, "told 1")->how, TL_HOW_NONE);
	bed_done(&bed);
}

static void a_thread_that_asks_with_anothers_id_disagrees_with_what_it_has_read(void **state)
{
	struct bed bed;
	struct noted *held;

	(void)state;
	bed_init(&bed, few);
	prove_threads(&bed, CONFIRMS);
	request(&bed, 1, &t1, "req-3333cccc");
	request(&bed, 2, &t2, "req-4444dddd");
	ask(&bed, 101, &t1, "req-4444dddd");
	be_told(&bed, 101, &t1);
	held = say(&bed, &t1, "told 1");
	answer(&bed, 1, &t1);
	assert_none(held, TL_WHY_AMBIGUOUS);
	bed_done(&bed);
}

/* Two requests in one segment: which of them the thread is at, no weaker rule may say. */
static void where_several_fit_by_the_stronger_rule_the_weaker_is_not_asked(void **state)
{
	struct bed bed;
	struct noted *noted;

	(void)state;
	bed_init(&bed, few);
	for (unsigned i = 0; i < CONFIRMS; i++) {
		request(&bed, 1, &t1, "req-1111aaaa");
		request(&bed, 2, &t2, "req-2222bbbb");
		ask(&bed, 101, &w1, "req-1111aaaa");
		ask(&bed, 102, &w2, "req-2222bbbb");
		be_told(&bed, 101, &w1);
		say(&bed, &w1, "told 1");
		be_told(&bed, 102, &w2);
		say(&bed, &w2, "told 2");
		answer(&bed, 1, &t1);
		answer(&bed, 2, &t2);
	}
	request(&bed, 1, &t1, "req-3333cccc");
	ask(&bed, 101, &t1, "req-3333cccc");
	be_told(&bed, 101, &t1);
	noted = say(&bed, &t1, "told 1");
	answer(&bed, 1, &t1);
	assert_id(noted, TL_HOW_THREAD, "req-3333cccc");
	get(&bed, 3, &t1,
	    "GET / HTTP/1.1\r\nX-Request-Id: req-4444dddd\r\n\r\n"
	    "GET / HTTP/1.1\r\nX-Request-Id: req-5555eeee\r\n\r\n");
	ask(&bed, 101, &t1, "req-4444dddd");
	be_told(&bed, 101, &t1);
	assert_none(say(&bed, &t1, "told 1"), TL_WHY_AMBIGUOUS);
	bed_done(&bed);
}

/* --- units that are not of their own kind (asyncio contexts and their like) --- */

#define TASK ((uint8_t)(TL_UNIT_GOROUTINE + 1))

static const struct who proto = {10, 11, 500, TASK}, task1 = {10, 11, 501, TASK},
			task2 = {10, 11, 502, TASK};

static void tasks(struct bed *bed, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		request(bed, 1, &proto, "x");
		request(bed, 2, &proto, "y");
		say(bed, &task1, "handling 1");
		say(bed, &task2, "handling 2");
		answer(bed, 2, &task2);
		answer(bed, 1, &task1);
	}
}

static void a_task_that_answers_owns_its_lines_between_header_and_response(void **state)
{
	struct bed bed;
	struct noted *first, *second;

	(void)state;
	bed_init(&bed, few);
	tasks(&bed, CONFIRMS);
	request(&bed, 1, &proto, "a");
	request(&bed, 2, &proto, "b");
	first = say(&bed, &task1, "handling 3");
	second = say(&bed, &task2, "handling 4");
	assert_int_equal(first->how, HELD);
	answer(&bed, 2, &task2);
	assert_id(second, TL_HOW_UNIT_BRACKET, "b");
	answer(&bed, 1, &task1);
	assert_id(first, TL_HOW_UNIT_BRACKET, "a");
	bed_done(&bed);
}

static void a_task_that_writes_for_several_requests_at_once_is_nobodys(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	tasks(&bed, CONFIRMS);
	request(&bed, 1, &proto, "a");
	request(&bed, 2, &proto, "b");
	answer(&bed, 2, &task1);
	answer(&bed, 1, &task1);
	request(&bed, 1, &proto, "c");
	assert_int_equal(say(&bed, &task1, "handling 3")->how, TL_HOW_NONE);
	bed_done(&bed);
}

/* --- switches and ids --- */

static void a_level_that_is_switched_off_does_not_speak(void **state)
{
	static const enum tl_how off[] = {TL_HOW_TAIL, TL_HOW_THREAD, TL_HOW_THREAD_BRACKET};
	struct bed bed;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(off); i++) {
		struct tl_corr_options options = few;

		options.levels = TL_LEVELS_ALL & ~(1u << off[i]);
		bed_init(&bed, options);
		if (off[i] == TL_HOW_THREAD_BRACKET)
			hand_over(&bed, 2 * CONFIRMS);
		else
			prove_threads(&bed, 2 * CONFIRMS);
		assert_int_equal(lines_by(&bed, off[i]), 0);
		bed_done(&bed);
	}
}

static void a_guess_is_a_candidate_only_and_only_when_asked_for(void **state)
{
	struct tl_corr_options options = few;
	struct tl_line line_ = {.writer = {10, 99, 500000000, 0, TL_UNIT_THREAD}};
	struct tl_attribution a;
	struct bed bed;

	(void)state;
	for (int on = 0; on < 2; on++) {
		options.levels = TL_LEVELS_ALL | (on ? TL_LEVEL_SINGLE : 0);
		bed_init(&bed, options);
		request(&bed, 1, &t1, "a");
		tl_buf_clear(&line_.bytes);
		tl_buf_puts(&line_.bytes, "whose");
		line_.time_ns = line_.end_ns = bed.now + 1000;
		assert_int_equal(tl_corr_line(bed.corr, &line_, &a), 1);
		assert_int_equal(a.how, TL_HOW_NONE);
		assert_int_equal(a.candidate != NULL, on);
		request(&bed, 2, &t2, "b");
		assert_int_equal(tl_corr_line(bed.corr, &line_, &a), 1);
		assert_null(a.candidate);
		bed_done(&bed);
	}
	tl_buf_done(&line_.bytes);
}

static void levels_are_read_from_a_list(void **state)
{
	struct tl_error error = {0};
	uint32_t levels;

	(void)state;
	assert_int_equal(tl_levels_parse("default", &levels, &error), 0);
	assert_int_equal(levels, TL_LEVELS_ALL | TL_LEVELS_GIVEN);
	assert_int_equal(tl_levels_parse("unit,tail", &levels, &error), 0);
	assert_int_equal(levels, 1u << TL_HOW_UNIT | 1u << TL_HOW_TAIL | TL_LEVELS_GIVEN);
	assert_int_equal(tl_levels_parse("-tail,single", &levels, &error), 0);
	assert_int_equal(levels, (TL_LEVELS_ALL & ~(1u << TL_HOW_TAIL)) | TL_LEVEL_SINGLE |
					 TL_LEVELS_GIVEN);
	assert_int_equal(tl_levels_parse("", &levels, &error), 0);
	assert_int_equal(levels, TL_LEVELS_GIVEN);
	assert_int_equal(tl_levels_parse("unit,none", &levels, &error), -EINVAL);
	assert_non_null(strstr(error.message, "\"none\" is no level"));
}

static void an_id_born_in_the_response_reaches_the_lines_that_wait_for_it(void **state)
{
	struct bed bed;
	struct noted *held, *behind;

	(void)state;
	bed_init(&bed, few);
	prove_threads(&bed, CONFIRMS);
	get(&bed, 1, &t1, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
	held = say(&bed, &t1, "handling 1");
	put(&bed, 1, &t1, "HTTP/1.1 200 OK\r\nX-Request-Id: born-1\r\nContent-Length: 0\r\n\r\n");
	behind = access_log(&bed, &t1, 1);
	assert_id(held, TL_HOW_THREAD, "born-1");
	assert_id(behind, TL_HOW_TAIL, "born-1");
	assert_string_equal(bed.exchange_id, "born-1");
	bed_done(&bed);
}

static void forms_past_the_maximum_are_never_believed(void **state)
{
	struct bed bed;
	struct tl_corr_usage usage;
	char text[64];

	(void)state;
	bed_init(&bed, few);
	request(&bed, 3, &t2, "open");
	for (unsigned i = 0; i < TL_FORMS_MAX + 10; i++) {
		request(&bed, 1, &t1, "a");
		answer(&bed, 1, &t1);
		snprintf(text, sizeof(text), "form %c%c%c", 'a' + i % 26, 'a' + i / 26 % 26,
			 'a' + i / 676);
		say(&bed, &t1, text);
	}
	tl_corr_usage(bed.corr, &usage);
	assert_true(usage.full > 0);
	prove_threads(&bed, 2 * CONFIRMS);
	assert_int_equal(lines_by(&bed, TL_HOW_TAIL), 0);
	bed_done(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms_mask_what_varies_and_keep_what_tells),
		cmocka_unit_test(
			an_access_line_right_behind_its_response_is_its_once_the_form_is_proved),
		cmocka_unit_test(a_wait_ends_the_tail_of_an_event_loop),
		cmocka_unit_test(another_connection_ends_the_tail_of_an_event_loop),
		cmocka_unit_test(lines_behind_a_wait_prove_no_tail_of_an_event_loop),
		cmocka_unit_test(
			an_event_loop_that_answers_two_and_then_logs_both_is_found_out_first),
		cmocka_unit_test(a_form_also_written_while_nothing_is_served_proves_no_tail),
		cmocka_unit_test(a_thread_that_serves_alone_may_wait_before_its_access_line),
		cmocka_unit_test(a_lone_threads_access_line_behind_a_wait_is_not_believed),
		cmocka_unit_test(a_job_on_the_threads_that_serve_gets_no_request),
		cmocka_unit_test(two_of_a_form_behind_one_response_refute_it),
		cmocka_unit_test(the_tail_of_a_request_ends_with_a_lost_event),
		cmocka_unit_test(a_response_finished_by_another_thread_has_no_tail),
		cmocka_unit_test(the_id_in_a_tail_line_that_names_another_request_gives_none),
		cmocka_unit_test(
			a_thread_that_was_given_nothing_else_owns_its_lines_without_overlap),
		cmocka_unit_test(a_joined_line_has_no_form_and_needs_one),
		cmocka_unit_test(an_event_loop_with_little_to_do_proves_nothing),
		cmocka_unit_test(a_worker_that_answers_owns_its_lines_since_it_took_the_job),
		cmocka_unit_test(nothing_is_held_before_hand_over_is_proved),
		cmocka_unit_test(a_wait_between_line_and_response_cuts_the_bracket),
		cmocka_unit_test(a_job_of_the_pool_between_two_requests_is_told_by_its_form),
		cmocka_unit_test(a_form_not_yet_known_is_not_believed),
		cmocka_unit_test(a_line_before_its_requests_header_is_ambient_from_then_on),
		cmocka_unit_test(what_a_worker_says_after_its_response_is_not_the_next_requests),
		cmocka_unit_test(a_thread_that_answers_what_it_read_ends_the_belief_in_hand_over),
		cmocka_unit_test(a_held_line_whose_worker_never_answers_is_none),
		cmocka_unit_test(who_asks_another_service_with_an_open_requests_id_works_for_it),
		cmocka_unit_test(the_next_job_begun_without_a_pause_is_not_the_one_before),
		cmocka_unit_test(
			a_loop_that_asks_for_several_requests_at_once_gets_nothing_by_echo),
		cmocka_unit_test(an_outbound_request_with_ids_of_two_is_nobodys),
		cmocka_unit_test(
			a_thread_that_asks_with_anothers_id_disagrees_with_what_it_has_read),
		cmocka_unit_test(where_several_fit_by_the_stronger_rule_the_weaker_is_not_asked),
		cmocka_unit_test(a_task_that_answers_owns_its_lines_between_header_and_response),
		cmocka_unit_test(a_task_that_writes_for_several_requests_at_once_is_nobodys),
		cmocka_unit_test(a_level_that_is_switched_off_does_not_speak),
		cmocka_unit_test(a_guess_is_a_candidate_only_and_only_when_asked_for),
		cmocka_unit_test(levels_are_read_from_a_list),
		cmocka_unit_test(an_id_born_in_the_response_reaches_the_lines_that_wait_for_it),
		cmocka_unit_test(forms_past_the_maximum_are_never_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
