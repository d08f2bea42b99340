/* SPDX-License-Identifier: Apache-2.0 */
/* The thread rule: what proves it, what closes it, what is held and how it is released; and random
 * traces of whole servers whose truth is known, through the fuzz entry. */
#include "tests/unit/correlate_fixture.h"

#include "tests/fuzz/fuzz_correlate.c"
#include "userspace/base/clock.h"

#define CONFIRMS 10

static const struct who t1 = {10, 11, 0, TL_UNIT_THREAD}, t2 = {10, 12, 0, TL_UNIT_THREAD},
			t3 = {10, 13, 0, TL_UNIT_THREAD}, p1 = {20, 21, 0, TL_UNIT_THREAD},
			p2 = {20, 22, 0, TL_UNIT_THREAD};

static const struct tl_corr_options few = {.gate_confirms = CONFIRMS};

static uint64_t contradicts(struct bed *bed)
{
	struct tl_corr_usage usage;

	tl_corr_usage(bed->corr, &usage);
	return usage.contradicts;
}

static void before_the_gate_is_open_nothing_is_held_and_lines_say_so(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	prove(&bed, &t1, &t2, CONFIRMS - 2);
	request(&bed, 1, &t1, "a");
	assert_none(line(&bed, &t1), TL_WHY_GATE_CLOSED);
	answer(&bed, 1, &t1);
	assert_none(line(&bed, &t1), TL_WHY_AFTER_RESPONSE);
	assert_none(line(&bed, &t3), TL_WHY_FOREIGN);
	bed_done(&bed);
}

static void an_open_gate_holds_lines_until_the_same_thread_answers(void **state)
{
	struct bed bed;
	struct noted *first, *second;

	(void)state;
	bed_init(&bed, few);
	prove(&bed, &t1, &t2, CONFIRMS);
	request(&bed, 1, &t1, "a");
	request(&bed, 2, &t2, "b");
	first = line(&bed, &t1);
	second = line(&bed, &t1);
	assert_int_equal(first->how, HELD);
	assert_none(line(&bed, &t3), TL_WHY_FOREIGN);
	answer(&bed, 1, &t1);
	assert_id(first, TL_HOW_THREAD, "a");
	assert_id(second, TL_HOW_THREAD, "a");
	assert_true(first->order < second->order);
	assert_none(line(&bed, &t1), TL_WHY_AFTER_RESPONSE);
	bed_done(&bed);
}

static void one_request_at_a_time_proves_nothing(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	for (int i = 0; i < 10 * CONFIRMS; i++) {
		request(&bed, 1, &t1, "a");
		assert_none(line(&bed, &t1), TL_WHY_GATE_CLOSED);
		answer(&bed, 1, &t1);
	}
	bed_done(&bed);
}

static void one_answer_by_another_thread_closes_the_gate_for_good(void **state)
{
	struct bed bed;
	struct noted *held;

	(void)state;
	bed_init(&bed, few);
	prove(&bed, &t1, &t2, CONFIRMS);
	request(&bed, 1, &t1, "a");
	held = line(&bed, &t1);
	assert_int_equal(held->how, HELD);
	answer(&bed, 1, &t3);
	assert_int_equal(held->how, TL_HOW_NONE);
	prove(&bed, &t1, &t2, 4 * CONFIRMS);
	request(&bed, 1, &t1, "b");
	assert_none(line(&bed, &t1), TL_WHY_GATE_CLOSED);
	assert_int_equal(contradicts(&bed), 1);
	bed_done(&bed);
}

static void
a_closed_gate_releases_the_lines_of_other_threads_and_processes_of_the_service(void **state)
{
	struct bed bed;
	struct noted *held, *other;

	(void)state;
	bed_init(&bed, few);
	tl_corr_service(bed.corr, 10, bed.start_ns, 7);
	tl_corr_service(bed.corr, 20, bed.start_ns, 7);
	prove(&bed, &t1, &t2, CONFIRMS);
	/* Evidence is pooled: the second process needs none of its own. */
	request(&bed, 1, &p1, "a");
	held = line(&bed, &p1);
	request(&bed, 2, &t1, "b");
	other = line(&bed, &t1);
	assert_int_equal(held->how, HELD);
	request(&bed, 3, &p2, "c");
	answer(&bed, 3, &p1);
	assert_none(held, TL_WHY_GATE_CLOSED);
	assert_none(other, TL_WHY_GATE_CLOSED);
	bed_done(&bed);
}

static void a_forked_child_belongs_to_its_parents_service(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	tl_corr_service(bed.corr, 10, bed.start_ns, 7);
	prove(&bed, &t1, &t2, CONFIRMS);
	proc_event(&bed, TL_PROC_FORK, 20, 10, 0);
	request(&bed, 1, &p1, "a");
	assert_int_equal(line(&bed, &p1)->how, HELD);
	answer(&bed, 1, &p1);
	assert_id(&bed.lines[0], TL_HOW_THREAD, "a");
	bed_done(&bed);
}

static void a_second_header_before_the_first_answer_contradicts(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	prove(&bed, &t1, &t2, CONFIRMS);
	request(&bed, 1, &t1, "a");
	request(&bed, 2, &t1, "b");
	assert_int_equal(contradicts(&bed), 1);
	assert_none(line(&bed, &t1), TL_WHY_GATE_CLOSED);
	bed_done(&bed);
}

static void a_pipelining_client_proves_and_disproves_nothing(void **state)
{
	struct bed bed;
	static const char two[] = "GET / HTTP/1.1\r\nX-Request-Id: a\r\n\r\nGET / "
				  "HTTP/1.1\r\nX-Request-Id: b\r\n\r\n";
	struct noted *after;

	(void)state;
	bed_init(&bed, few);
	prove(&bed, &t1, &t2, CONFIRMS);
	get(&bed, 1, &t1, two);
	assert_none(line(&bed, &t1), TL_WHY_AMBIGUOUS);
	answer(&bed, 1, &t1);
	assert_none(line(&bed, &t1), TL_WHY_AMBIGUOUS);
	answer(&bed, 1, &t1);
	assert_int_equal(contradicts(&bed), 0);
	request(&bed, 1, &t1, "c");
	after = line(&bed, &t1);
	answer(&bed, 1, &t1);
	assert_id(after, TL_HOW_THREAD, "c");
	bed_done(&bed);
}

static void an_answer_that_lasts_until_close_does_not_contradict_the_next_request(void **state)
{
	struct bed bed;
	struct noted *held, *next;

	(void)state;
	bed_init(&bed, few);
	prove(&bed, &t1, &t2, CONFIRMS);
	request(&bed, 1, &t1, "a");
	put(&bed, 1, &t1, "HTTP/1.0 200 OK\r\n\r\n");
	held = line(&bed, &t1);
	put(&bed, 1, &t1, "body");
	request(&bed, 2, &t1, "b");
	assert_id(held, TL_HOW_THREAD, "a");
	next = line(&bed, &t1);
	answer(&bed, 2, &t1);
	assert_id(next, TL_HOW_THREAD, "b");
	closed(&bed, 1);
	assert_int_equal(contradicts(&bed), 0);
	assert_int_equal(bed.response_bytes, 4);
	bed_done(&bed);
}

static void a_response_finished_by_another_thread_ends_the_claim_on_later_lines(void **state)
{
	struct bed bed;
	struct noted *before, *between;

	(void)state;
	bed_init(&bed, few);
	prove(&bed, &t1, &t2, CONFIRMS);
	request(&bed, 1, &t1, "a");
	before = line(&bed, &t1);
	put(&bed, 1, &t1, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
	assert_id(before, TL_HOW_THREAD, "a");
	between = line(&bed, &t1);
	assert_int_equal(between->how, HELD);
	put(&bed, 1, &t2, "cd");
	assert_none(between, TL_WHY_UNANSWERED);
	bed_done(&bed);
}

static void held_lines_are_released_in_order_and_others_queue_behind(void **state)
{
	struct bed bed;
	struct noted *first, *shared, *field, *last;

	(void)state;
	bed_init(&bed, few);
	prove(&bed, &t1, &t2, CONFIRMS);
	request(&bed, 1, &t1, "a");
	first = line(&bed, &t1);
	shared = line_at(&bed, &t1, "x", TL_LINE_SHARED, 0);
	field = say(&bed, &t1, "{\"trace_id\":\"abc\"}");
	last = line(&bed, &t1);
	assert_int_equal(shared->how, HELD);
	assert_int_equal(field->how, HELD);
	answer(&bed, 1, &t1);
	assert_id(first, TL_HOW_THREAD, "a");
	assert_none(shared, TL_WHY_SHARED);
	assert_id(field, TL_HOW_APP, "");
	assert_id(last, TL_HOW_THREAD, "a");
	assert_true(first->order < shared->order && shared->order < field->order &&
		    field->order < last->order);
	bed_done(&bed);
}

static void a_hold_ends_at_its_time_and_falls_back_to_the_text(void **state)
{
	struct bed bed;
	struct noted *held, *named;
	uint64_t deadline;

	(void)state;
	bed_init(&bed, few);
	prove(&bed, &t1, &t2, CONFIRMS);
	request(&bed, 1, &t1, "req-abcd1234");
	held = line(&bed, &t1);
	named = say(&bed, &t1, "still at req-abcd1234");
	deadline = tl_corr_tick(bed.corr, bed.now);
	assert_true(deadline > bed.now && deadline <= bed.now + 500 * TL_MS);
	assert_int_equal(held->how, HELD);
	assert_int_equal(tl_corr_tick(bed.corr, bed.now + 501 * TL_MS), UINT64_MAX);
	assert_none(held, TL_WHY_UNANSWERED);
	assert_id(named, TL_HOW_INLINE, "req-abcd1234");
	bed_done(&bed);
}

static void no_more_is_held_than_the_limit_and_order_is_kept(void **state)
{
	struct tl_corr_options options = {.gate_confirms = CONFIRMS, .hold_bytes = 8192};
	struct tl_corr_usage usage;
	struct bed bed;

	(void)state;
	bed_init(&bed, options);
	prove(&bed, &t1, &t2, CONFIRMS);
	request(&bed, 1, &t1, "a");
	for (int i = 0; i < 100; i++) {
		line(&bed, &t1);
		tl_corr_usage(bed.corr, &usage);
		assert_true(usage.held_bytes <= 8192);
	}
	assert_true(usage.why[TL_WHY_FULL] > 0 && usage.full > 0);
	answer(&bed, 1, &t1);
	for (unsigned i = 1; i < bed.n_lines; i++)
		assert_true(bed.lines[i - 1].order < bed.lines[i].order);
	bed_done(&bed);
}

static void loss_and_exit_release_what_is_held_as_none(void **state)
{
	struct bed bed;
	struct noted *held;

	(void)state;
	bed_init(&bed, few);
	prove(&bed, &t1, &t2, CONFIRMS);
	request(&bed, 1, &t1, "a");
	held = line(&bed, &t1);
	bed.lost_gen++;
	answer(&bed, 1, &t1);
	assert_none(held, TL_WHY_LOST);
	request(&bed, 1, &t1, "b");
	held = line(&bed, &t1);
	assert_int_equal(held->how, HELD);
	proc_event(&bed, TL_PROC_EXIT, 10, 0, 0);
	assert_none(held, TL_WHY_UNANSWERED);
	bed_done(&bed);
}

static void threads_of_a_runtime_with_units_are_never_believed(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	prove(&bed, &t1, &t2, CONFIRMS);
	request(&bed, 1, &t1, "a");
	assert_int_equal(line(&bed, &t1)->how, HELD);
	line(&bed, &(struct who){10, 14, 0, TL_UNIT_GOROUTINE});
	assert_none(&bed.lines[0], TL_WHY_GATE_CLOSED);
	bed_done(&bed);
}

static bool gate_open;

static void on_gate(void *arg, const struct tl_gate_row *row)
{
	struct tl_gate_row *ret = arg;

	if (row->rule == TL_HOW_THREAD)
		*ret = *row;
	if (row->rule == TL_HOW_THREAD)
		gate_open |= row->state == TL_GATE_OPEN;
}

static void gates_show_their_evidence(void **state)
{
	struct tl_gate_row row = {0};
	struct bed bed;

	(void)state;
	bed_init(&bed, few);
	tl_corr_service(bed.corr, 10, bed.start_ns, 7);
	prove(&bed, &t1, &t2, CONFIRMS);
	tl_corr_gates(bed.corr, on_gate, &row);
	assert_int_equal(row.service, 7);
	assert_int_equal(row.tgid, 10);
	assert_int_equal(row.confirms, CONFIRMS);
	assert_true(gate_open);
	bed_done(&bed);
}

static void random_servers_never_get_a_wrong_id(void **state)
{
	unsigned seed = 20261124;
	uint8_t input[4096];

	(void)state;
	for (int round = 0; round < 1500; round++) {
		for (size_t i = 0; i < sizeof(input); i++)
			input[i] = (uint8_t)(rand_r(&seed) >> 8);
		LLVMFuzzerTestOneInput(input, sizeof(input));
	}
	/* The model server must have been served, else this tests nothing. */
	assert_true(fuzz_right[TL_HOW_UNIT] > 1000);
	assert_true(fuzz_right[TL_HOW_THREAD] > 1000);
	assert_true(fuzz_right[TL_HOW_INLINE] > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(before_the_gate_is_open_nothing_is_held_and_lines_say_so),
		cmocka_unit_test(an_open_gate_holds_lines_until_the_same_thread_answers),
		cmocka_unit_test(one_request_at_a_time_proves_nothing),
		cmocka_unit_test(one_answer_by_another_thread_closes_the_gate_for_good),
		cmocka_unit_test(
			a_closed_gate_releases_the_lines_of_other_threads_and_processes_of_the_service),
		cmocka_unit_test(a_forked_child_belongs_to_its_parents_service),
		cmocka_unit_test(a_second_header_before_the_first_answer_contradicts),
		cmocka_unit_test(a_pipelining_client_proves_and_disproves_nothing),
		cmocka_unit_test(
			an_answer_that_lasts_until_close_does_not_contradict_the_next_request),
		cmocka_unit_test(
			a_response_finished_by_another_thread_ends_the_claim_on_later_lines),
		cmocka_unit_test(held_lines_are_released_in_order_and_others_queue_behind),
		cmocka_unit_test(a_hold_ends_at_its_time_and_falls_back_to_the_text),
		cmocka_unit_test(no_more_is_held_than_the_limit_and_order_is_kept),
		cmocka_unit_test(loss_and_exit_release_what_is_held_as_none),
		cmocka_unit_test(threads_of_a_runtime_with_units_are_never_believed),
		cmocka_unit_test(gates_show_their_evidence),
		cmocka_unit_test(random_servers_never_get_a_wrong_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
