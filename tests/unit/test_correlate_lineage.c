/* SPDX-License-Identifier: Apache-2.0 */
/* Children: goroutines and tasks that were born of a unit that was at a request. */
#include "tests/unit/correlate_fixture.h"

#include "agent/correlate/lineage.h"

static const struct who server = {7, 11, 101, TL_UNIT_GOROUTINE},
			child = {7, 12, 102, TL_UNIT_GOROUTINE},
			grandchild = {7, 13, 103, TL_UNIT_GOROUTINE},
			other = {7, 14, 104, TL_UNIT_GOROUTINE};
static const struct who reader = {7, 11, TL_UNIT_VERSIONED | 1, TL_UNIT_CONTEXT},
			task = {7, 11, TL_UNIT_VERSIONED | 2, TL_UNIT_CONTEXT},
			subtask = {7, 11, TL_UNIT_VERSIONED | 3, TL_UNIT_CONTEXT},
			task2 = {7, 11, TL_UNIT_VERSIONED | 4, TL_UNIT_CONTEXT};

static void born(struct bed *bed, const struct who *who, uint64_t parent)
{
	struct tl_ev_unit event = {.h = head_of(bed, who, TL_EV_UNIT), .parent = parent};

	tl_corr_unit(bed->corr, &event);
}

static void a_child_has_the_request_of_its_birth(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	request(&bed, 1, &server, "a");
	born(&bed, &child, server.unit);
	born(&bed, &grandchild, child.unit);
	assert_id(line(&bed, &child), TL_HOW_UNIT, "a");
	assert_id(line(&bed, &grandchild), TL_HOW_UNIT, "a");
	answer(&bed, 1, &server);
	/* It keeps it, whatever its parent is at by now. */
	request(&bed, 1, &server, "b");
	assert_id(line(&bed, &server), TL_HOW_UNIT, "b");
	assert_id(line(&bed, &child), TL_HOW_UNIT, "a");
	assert_id(line(&bed, &grandchild), TL_HOW_UNIT, "a");
	bed_done(&bed);
}

static void a_child_born_between_requests_has_none(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	born(&bed, &grandchild, server.unit);
	request(&bed, 1, &server, "a");
	assert_none(line(&bed, &grandchild), TL_WHY_FOREIGN);
	answer(&bed, 1, &server);
	born(&bed, &child, server.unit);
	born(&bed, &other, 0);
	request(&bed, 1, &server, "b");
	assert_none(line(&bed, &child), TL_WHY_AFTER_RESPONSE);
	assert_none(line(&bed, &other), TL_WHY_FOREIGN);
	bed_done(&bed);
}

static void a_child_that_lives_on_is_nobodys_some_time_after_the_response(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	request(&bed, 1, &server, "a");
	born(&bed, &child, server.unit);
	answer(&bed, 1, &server);
	bed.now += TL_LINEAGE_NS - 1000000;
	assert_id(line(&bed, &child), TL_HOW_UNIT, "a");
	bed.now += 2000000;
	assert_none(line(&bed, &child), TL_WHY_AFTER_RESPONSE);
	bed_done(&bed);
}

static void a_child_that_reads_a_request_has_that_one(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	request(&bed, 1, &server, "a");
	born(&bed, &child, server.unit);
	request(&bed, 2, &child, "b");
	assert_id(line(&bed, &child), TL_HOW_UNIT, "b");
	answer(&bed, 2, &child);
	assert_none(line(&bed, &child), TL_WHY_AFTER_RESPONSE);
	bed_done(&bed);
}

static void children_of_pipelined_requests_are_ambiguous(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	get(&bed, 1, &server,
	    "GET /1 HTTP/1.1\r\nX-Request-Id: a\r\n\r\nGET /2 HTTP/1.1\r\nX-Request-Id: b\r\n\r\n");
	born(&bed, &child, server.unit);
	assert_none(line(&bed, &child), TL_WHY_AMBIGUOUS);
	bed_done(&bed);
}

static void a_refused_event_since_the_birth_is_lost(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){0});
	request(&bed, 1, &server, "a");
	born(&bed, &child, server.unit);
	bed.lost_gen++;
	assert_none(line(&bed, &child), TL_WHY_LOST);
	bed_done(&bed);
}

/* Requests that overlap, read by one context and answered by another, open the gate of brackets. */
static void open_bracket(struct bed *bed, unsigned confirms)
{
	for (unsigned i = 0; i < confirms; i += 2) {
		struct who one = task, two = task2;

		one.unit = TL_UNIT_VERSIONED | (1000 + i);
		two.unit = TL_UNIT_VERSIONED | (1001 + i);
		request(bed, 900, &reader, "warm");
		request(bed, 901, &reader, "warm");
		say(bed, &one, "at work");
		say(bed, &two, "at work");
		answer(bed, 900, &one);
		answer(bed, 901, &two);
	}
}

static void a_subtask_waits_for_the_answer_of_its_task(void **state)
{
	struct bed bed;
	struct noted *early, *late, *foreign;

	(void)state;
	bed_init(&bed, (struct tl_corr_options){.gate_confirms = 20});
	open_bracket(&bed, 24);
	request(&bed, 1, &reader, "a");
	request(&bed, 2, &reader, "b");
	born(&bed, &task, reader.unit);
	born(&bed, &task2, reader.unit);
	born(&bed, &subtask, task.unit);
	early = say(&bed, &subtask, "at work");
	assert_int_equal(early->how, HELD);
	answer(&bed, 2, &task2);
	assert_int_equal(early->how, HELD);
	answer(&bed, 1, &task);
	assert_id(early, TL_HOW_UNIT_BRACKET, "a");
	late = say(&bed, &subtask, "at work");
	assert_id(late, TL_HOW_UNIT_BRACKET, "a");
	foreign = say(&bed, &reader, "at work");
	assert_int_not_equal(foreign->how, TL_HOW_UNIT_BRACKET);
	bed_done(&bed);
}

static void the_oldest_births_make_room(void **state)
{
	struct tl_lineage *lineage = tl_lineage_new(4);
	struct tl_actor_key key = {.proc = 1, .kind = TL_UNIT_GOROUTINE};
	struct tl_birth birth = {.born_ns = 1};

	(void)state;
	for (key.id = 1; key.id <= 6; key.id++)
		tl_lineage_add(lineage, &key, &birth);
	key.id = 2;
	assert_null(tl_lineage_find(lineage, &key));
	key.id = 3;
	assert_non_null(tl_lineage_find(lineage, &key));
	/* Born again, it goes by its newer birth. */
	birth.born_ns = 2;
	tl_lineage_add(lineage, &key, &birth);
	for (key.id = 7; key.id <= 9; key.id++)
		tl_lineage_add(lineage, &key, &birth);
	key.id = 3;
	assert_int_equal(tl_lineage_find(lineage, &key)->born_ns, 2);
	tl_lineage_free(lineage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_child_has_the_request_of_its_birth),
		cmocka_unit_test(a_child_born_between_requests_has_none),
		cmocka_unit_test(a_child_that_lives_on_is_nobodys_some_time_after_the_response),
		cmocka_unit_test(a_child_that_reads_a_request_has_that_one),
		cmocka_unit_test(children_of_pipelined_requests_are_ambiguous),
		cmocka_unit_test(a_refused_event_since_the_birth_is_lost),
		cmocka_unit_test(a_subtask_waits_for_the_answer_of_its_task),
		cmocka_unit_test(the_oldest_births_make_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
