/* SPDX-License-Identifier: Apache-2.0 */
/* Threads and time: waiting readers and the sync thread. */
#include "tests/unit/log_fixture.h"

#include <pthread.h>

static void *append_soon(void *arg)
{
	struct fixture *f = arg;

	usleep(20000);
	append_text(f, "wake");
	return NULL;
}

static void waiting_ends_with_an_append_and_with_the_timeout(void **state)
{
	struct fixture *f = *state;
	uint64_t begin = tl_mono_ns();
	pthread_t thread;

	open_log(f);
	open_reader(f, "r");
	tl_log_reader_wait(f->reader, 30);
	assert_true(tl_mono_ns() - begin >= 29 * TL_MS);
	begin = tl_mono_ns();
	assert_int_equal(pthread_create(&thread, NULL, append_soon, f), 0);
	tl_log_reader_wait(f->reader, 20000);
	pthread_join(thread, NULL);
	assert_true(tl_mono_ns() - begin < 10 * TL_SEC);
	tl_log_reader_wait(f->reader, 20000); /* something is there: does not wait */
	expect_text(f, "wake", NULL);
	close_log(f);
	tl_log_reader_wait(f->reader, 20000); /* closed is news */
	expect_nothing(f, -ENODATA);
	assert_true(tl_mono_ns() - begin < 10 * TL_SEC);
	tl_log_reader_wait(f->reader, 10); /* but only once */
	expect_nothing(f, -ENODATA);
}

static uint64_t synced(const struct fixture *f)
{
	struct tl_log_head *head = map_head(f->dir);
	uint64_t v = __atomic_load_n(&head->synced, __ATOMIC_ACQUIRE);

	tl_log_head_unmap(head);
	return v;
}

static void appends_are_synced_in_time_and_never_under_sync_0(void **state)
{
	struct fixture *f = *state;
	uint64_t deadline = tl_mono_ns() + 10 * TL_SEC;
	struct tl_log_usage usage;

	f->options.sync_ms = 5;
	open_log(f);
	check(f, append_text(f, "x"), 0);
	tl_log_usage(f->log, &usage);
	while (synced(f) < usage.end && tl_mono_ns() < deadline)
		usleep(1000);
	assert_int_equal(synced(f), usage.end);
	for (uint64_t i = 0; i < 100; i++)
		check(f, append_number(f, i, 5000), 0);
	check(f, tl_log_sync(f->log), 0);
	tl_log_usage(f->log, &usage);
	assert_int_equal(synced(f), usage.end);
	close_log(f);

	f->options.sync_ms = 0;
	open_log(f);
	check(f, append_text(f, "y"), 0);
	assert_int_equal(synced(f), usage.end);
	close_log(f);
	assert_true(synced(f) > usage.end);
}

struct race {
	struct fixture *f;
	unsigned begin; /* both threads go on when it is 1 */
	unsigned delay; /* turns of an empty loop before the append */
};

static void *append_first(void *arg)
{
	struct race *race = arg;

	while (!__atomic_load_n(&race->begin, __ATOMIC_ACQUIRE))
		;
	for (volatile unsigned i = 0; i < race->delay; i++)
		;
	append_text(race->f, "first");
	return NULL;
}

/* The first segment is made by the first append: a reader that looked before, and then at the end,
 * would begin behind it. */
static void a_consumer_that_comes_while_the_first_frame_is_written_reads_it(void **state)
{
	struct fixture *f = *state;

	for (unsigned round = 0; round < 2000 / SLOWER; round++) {
		struct race race = {.f = f, .delay = round * 7 % 4000};
		pthread_t thread;

		open_log(f);
		assert_int_equal(pthread_create(&thread, NULL, append_first, &race), 0);
		__atomic_store_n(&race.begin, 1, __ATOMIC_RELEASE);
		open_reader(f, "r");
		pthread_join(thread, NULL);
		expect_text(f, "first", NULL);
		close_reader(f);
		close_log(f);
		tl_remove_tree(f->dir);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(waiting_ends_with_an_append_and_with_the_timeout),
		TEST(appends_are_synced_in_time_and_never_under_sync_0),
		TEST(a_consumer_that_comes_while_the_first_frame_is_written_reads_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
