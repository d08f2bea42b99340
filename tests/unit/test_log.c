/* SPDX-License-Identifier: Apache-2.0 */
/* The log's contract, promise by promise. Crashes are in test_log_crash.c, everything at random in
 * test_log_model.c. */
#include "tests/unit/log_fixture.h"

static void entries_come_back_in_order_with_their_positions(void **state)
{
	const char *const frame[] = {"one", "", "three three"};
	struct tl_log_item a, b, c;
	struct fixture *f = *state;
	uint64_t position;

	open_log(f);
	check(f, append_texts(f, 3, frame, &position), 0);
	check(f, append_text(f, "four"), 0);
	open_reader(f, "forwarder");
	expect_text(f, "one", &a);
	assert_int_equal(a.position, position);
	assert_int_equal(a.type, 1);
	expect_text(f, "", &b);
	assert_int_equal(b.position, a.next);
	expect_text(f, "three three", &c);
	assert_int_equal(c.position, b.next);
	expect_text(f, "four", &a);
	assert_true(a.position > c.next - 1);
	expect_nothing(f, 0);
	check(f, append_text(f, "five"), 0);
	expect_text(f, "five", NULL);
	expect_nothing(f, 0);
	assert_int_equal(tl_log_reader_id(f->reader), tl_log_id(f->log));
}

static void an_empty_frame_and_binary_data_are_fine(void **state)
{
	struct tl_log_entry entry = {0x3fff, TL_SPAN_LIT("a\0b\xff")};
	struct fixture *f = *state;
	struct tl_log_item item;

	open_log(f);
	check(f, tl_log_append(f->log, NULL, 0, NULL), 0);
	check(f, tl_log_append(f->log, &entry, 1, NULL), 0);
	open_reader(f, "r");
	check(f, tl_log_reader_next(f->reader, &item, &f->error), 1);
	assert_true(tl_span_eq(item.data, entry.data));
	assert_int_equal(item.type, 0x3fff);
	expect_nothing(f, 0);
}

static void a_second_writer_is_ebusy_until_the_first_closes(void **state)
{
	struct fixture *f = *state;
	struct tl_log *second;

	open_log(f);
	check(f, tl_log_open(&f->options, &second, &f->error), -EBUSY);
	assert_non_null(strstr(f->error.message, f->dir));
	close_log(f);
	open_log(f);
}

static void reading_where_no_log_is_gives_enoent(void **state)
{
	struct fixture *f = *state;

	check(f, tl_log_reader_open(f->dir, "r", TL_LOG_RESUME, 0, &f->reader, NULL, &f->error),
	      -ENOENT);
	assert_int_equal(mkdir(f->dir, 0700), 0);
	check(f, tl_log_reader_open(f->dir, "r", TL_LOG_RESUME, 0, &f->reader, NULL, &f->error),
	      -ENOENT);
	check(f, tl_log_reader_open(f->dir, "R", TL_LOG_RESUME, 0, &f->reader, NULL, &f->error),
	      -EINVAL);
	check(f, tl_log_reader_open(f->dir, "../r", TL_LOG_RESUME, 0, &f->reader, NULL, &f->error),
	      -EINVAL);
	check(f, tl_log_reader_open(f->dir, "", TL_LOG_RESUME, 0, &f->reader, NULL, &f->error),
	      -EINVAL);
}

static void the_reader_of_a_closed_log_gets_enodata_and_goes_on_when_it_opens_again(void **state)
{
	struct fixture *f = *state;

	open_log(f);
	open_reader(f, "r");
	expect_nothing(f, 0);
	check(f, append_text(f, "last"), 0);
	close_log(f);
	expect_text(f, "last", NULL);
	expect_nothing(f, -ENODATA);
	expect_nothing(f, -ENODATA);
	open_log(f);
	expect_nothing(f, 0);
	check(f, append_text(f, "more"), 0);
	expect_text(f, "more", NULL);
}

static void a_consumer_resumes_where_it_committed_even_in_mid_frame(void **state)
{
	const char *const frame[] = {"1", "2", "3"};
	struct fixture *f = *state;
	struct tl_log_item item;

	open_log(f);
	check(f, append_texts(f, 3, frame, NULL), 0);
	open_reader(f, "r");
	expect_text(f, "1", &item);
	expect_text(f, "2", NULL);
	check(f, tl_log_reader_commit(f->reader, item.next), 0);
	close_reader(f);
	open_reader(f, "r");
	expect_text(f, "2", &item);
	check(f, tl_log_reader_commit(f->reader, item.next + 1), -EINVAL);
	expect_text(f, "3", &item);
	check(f, tl_log_reader_commit(f->reader, item.next), 0);
	check(f, tl_log_reader_commit(f->reader, 0), 0); /* never back */
	close_reader(f);
	open_reader(f, "r");
	expect_nothing(f, 0);
	close_reader(f);
	open_reader(f, "other");
	expect_text(f, "1", NULL);
}

static void a_position_opens_there_or_is_refused(void **state)
{
	struct fixture *f = *state;
	uint64_t id, second;
	const char *text = "2";
	struct tl_log_usage usage;

	open_log(f);
	id = tl_log_id(f->log);
	check(f, append_text(f, "1"), 0);
	check(f, append_texts(f, 1, &text, &second), 0);
	tl_log_usage(f->log, &usage);
	check(f, tl_log_reader_open(f->dir, "r", second, id, &f->reader, NULL, &f->error), 0);
	expect_text(f, "2", NULL);
	close_reader(f);
	check(f, tl_log_reader_open(f->dir, "r", usage.end, id, &f->reader, NULL, &f->error), 0);
	expect_nothing(f, 0);
	close_reader(f);
	check(f, tl_log_reader_open(f->dir, "r", usage.end + 8, 0, &f->reader, NULL, &f->error),
	      -EINVAL);
	check(f, tl_log_reader_open(f->dir, "r", second, id ^ 1, &f->reader, NULL, &f->error),
	      -EINVAL);
	/* Refused and new: it holds nothing. */
	check(f, tl_log_reader_open(f->dir, "never", second, id ^ 1, &f->reader, NULL, &f->error),
	      -EINVAL);
	check(f, tl_log_consumer_remove(f->dir, "r"), 0);
	check(f, tl_log_consumer_remove(f->dir, "r"), 0);
	tl_log_usage(f->log, &usage);
	assert_int_equal(usage.oldest_unread, 0);
}

static uint64_t fill_up(struct fixture *f, uint64_t from, size_t len)
{
	int r;

	while ((r = append_number(f, from, len)) == 0)
		from++;
	check(f, r, -ENOSPC);
	return from;
}

static void read_numbers(struct fixture *f, uint64_t from, uint64_t to, bool commit)
{
	struct tl_log_item item;

	for (; from < to; from++) {
		check(f, tl_log_reader_next(f->reader, &item, &f->error), 1);
		assert_int_equal(number_of(item.data), from);
		if (commit)
			check(f, tl_log_reader_commit(f->reader, item.next), 0);
	}
}

static void append_past_max_bytes_is_enospc_while_a_reader_is_behind(void **state)
{
	struct fixture *f = *state;
	uint64_t n, more;
	struct tl_log_usage usage;

	open_log(f);
	open_reader(f, "slow");
	n = fill_up(f, 0, 1000);
	tl_log_usage(f->log, &usage);
	assert_true(usage.used_bytes <= usage.max_bytes &&
		    usage.used_bytes > usage.max_bytes - 2000);
	check(f, append_number(f, n, 1000), -ENOSPC);
	read_numbers(f, 0, n / 2, false);
	check(f, append_number(f, n, 1000), -ENOSPC); /* read is not committed */
	close_reader(f);
	open_reader(f, "slow");
	read_numbers(f, 0, n / 2, true);
	more = fill_up(f, n, 1000);
	assert_in_range(more - n, n / 2 - 70, n / 2);
	read_numbers(f, n / 2, more, true);
	expect_nothing(f, 0);
	tl_log_usage(f->log, &usage);
	assert_int_equal(usage.oldest_unread, usage.end);
}

static void without_any_consumer_nothing_is_deleted(void **state)
{
	struct fixture *f = *state;
	uint64_t n;

	open_log(f);
	n = fill_up(f, 0, 5000);
	close_log(f);
	open_log(f);
	check(f, append_number(f, n, 5000), -ENOSPC);
	open_reader(f, "late");
	read_numbers(f, 0, n, false);
}

static void the_slowest_of_several_consumers_holds_and_a_removed_one_does_not(void **state)
{
	struct tl_log_reader *slow;
	struct fixture *f = *state;
	uint64_t n;

	open_log(f);
	check(f, append_number(f, 0, 100), 0);
	check(f, tl_log_reader_open(f->dir, "slow", TL_LOG_RESUME, 0, &slow, NULL, &f->error), 0);
	open_reader(f, "fast");
	n = fill_up(f, 1, 5000);
	read_numbers(f, 0, n, true);
	check(f, append_number(f, n, 5000), -ENOSPC);
	tl_log_reader_close(slow);
	check(f, append_number(f, n, 5000), -ENOSPC); /* it may come back */
	check(f, tl_log_consumer_remove(f->dir, "slow"), 0);
	check(f, append_number(f, n, 5000), 0);
}

static void a_damaged_consumer_file_holds_everything_and_starts_over(void **state)
{
	struct fixture *f = *state;
	char path[512];
	uint64_t n;
	int fd;

	open_log(f);
	check(f, append_number(f, 0, 5000), 0);
	open_reader(f, "r");
	n = fill_up(f, 1, 5000);
	read_numbers(f, 0, n, true);
	close_reader(f);
	snprintf(path, sizeof(path), "%s/consumers/r", f->dir);
	fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "x", 1, 3), 1);
	close(fd);
	check(f, append_number(f, n, 5000), -ENOSPC);
	open_reader(f, "r");
	read_numbers(f, 0, n, true);
	check(f, append_number(f, n, 5000), 0);
}

static void a_freed_position_moves_up_and_says_by_how_much(void **state)
{
	struct fixture *f = *state;
	uint64_t n, more, skipped = 0;
	struct tl_log_item item;

	open_log(f);
	check(f, append_number(f, 0, 5000), 0);
	open_reader(f, "r");
	n = fill_up(f, 1, 5000);
	read_numbers(f, 0, n, true);
	more = fill_up(f, n, 5000);
	close_reader(f);
	check(f, tl_log_reader_open(f->dir, "r", 80, 0, &f->reader, &skipped, &f->error), 0);
	check(f, tl_log_reader_next(f->reader, &item, &f->error), 1);
	assert_true(skipped > 500000 && item.position > 80 + skipped &&
		    item.position <= 80 + skipped + 200);
	assert_true(number_of(item.data) > 1 && number_of(item.data) <= n);
	read_numbers(f, number_of(item.data) + 1, more, false);
}

static void a_log_of_two_segments_moves_on(void **state)
{
	struct fixture *f = *state;
	struct tl_log_item item;

	f->options.max_bytes = 8192;
	f->options.segment_bytes = 4096;
	open_log(f);
	open_reader(f, "r");
	for (uint64_t i = 0; i < 1000; i++) {
		size_t len = i % 2 ? 4000 : 3000; /* each a segment of its own */

		check(f, append_number(f, i, len), 0);
		check(f, tl_log_reader_next(f->reader, &item, &f->error), 1);
		assert_int_equal(number_of(item.data), i);
		check(f, tl_log_reader_commit(f->reader, item.next), 0);
		assert_true(count_segments(f->dir) <= 2);
	}
}

static void sizes_are_checked(void **state)
{
	struct fixture *f = *state;

	f->options.segment_bytes = 4095;
	check(f, tl_log_open(&f->options, &f->log, &f->error), -EINVAL);
	f->options.segment_bytes = (1 << 19) + 1;
	check(f, tl_log_open(&f->options, &f->log, &f->error), -EINVAL);
	f->options.segment_bytes = 4096;
	open_log(f);
	check(f, append_number(f, 0, 4096), -EMSGSIZE);
	check(f, append_number(f, 0, 4096 - 24), 0);
	close_log(f);
	f->options.max_bytes = f->options.segment_bytes = 0;
	open_log(f);
}

/* --- checkpoints and context --- */

static void checkpoint(void *arg, struct tl_log *log)
{
	int *calls = arg;
	char text[32];

	snprintf(text, sizeof(text), "private %d", *calls);
	tl_log_checkpoint_add(log, TL_LOG_PRIVATE | 16, tl_span_str(text));
	snprintf(text, sizeof(text), "context %d", *calls);
	tl_log_checkpoint_add(log, TL_LOG_CONTEXT | 3, tl_span_str(text));
	(*calls)++;
}

static void append_typed(struct fixture *f, uint16_t type, const char *text)
{
	struct tl_log_entry entry = {type, tl_span_str(text)};

	check(f, tl_log_append(f->log, &entry, 1, NULL), 0);
}

static void a_reader_in_mid_segment_is_given_the_context_before_it(void **state)
{
	struct fixture *f = *state;
	struct tl_log_item item;
	int calls = 0;

	f->options.checkpoint = checkpoint;
	f->options.arg = &calls;
	open_log(f);
	append_typed(f, 1, "a");
	append_typed(f, TL_LOG_CONTEXT | 3, "more context");
	append_typed(f, TL_LOG_PRIVATE | 17, "secret");
	append_typed(f, 1, "b");
	append_typed(f, TL_LOG_CONTEXT | 3, "later context");
	append_typed(f, 1, "c");
	open_reader(f, "all");
	expect_text(f, "context 0", &item);
	assert_false(item.context);
	expect_text(f, "a", NULL);
	expect_text(f, "more context", NULL);
	expect_text(f, "b", &item);
	expect_text(f, "later context", NULL);
	expect_text(f, "c", NULL);
	expect_nothing(f, 0);
	close_reader(f);

	open_reader_at(f, "mid", item.position);
	expect_text(f, "context 0", &item);
	assert_true(item.context);
	check(f, tl_log_reader_commit(f->reader, item.next), 0);
	expect_text(f, "more context", &item);
	assert_true(item.context && item.type == (TL_LOG_CONTEXT | 3));
	expect_text(f, "b", &item);
	assert_false(item.context);
	expect_text(f, "later context", &item);
	assert_false(item.context);
	expect_text(f, "c", &item);
	check(f, tl_log_reader_commit(f->reader, item.next), 0);
	close_reader(f);

	open_reader(f, "mid"); /* at the end: context still comes, for what will follow */
	expect_text(f, "context 0", &item);
	expect_text(f, "more context", &item);
	expect_text(f, "later context", &item);
	assert_true(item.context);
	expect_nothing(f, 0);
	assert_int_equal(calls, 1);
}

struct seen {
	char text[1000];
	int stop_after;
};

static int note(void *arg, const struct tl_log_entry *entry)
{
	struct seen *seen = arg;

	strncat(seen->text, entry->data.data, entry->data.len);
	strcat(seen->text, ";");
	return --seen->stop_after == 0 ? 77 : 0;
}

static void every_segment_begins_with_a_checkpoint_and_recovery_walks_the_newest(void **state)
{
	struct fixture *f = *state;
	struct seen seen = {0};
	int calls = 0;

	f->options.checkpoint = checkpoint;
	f->options.arg = &calls;
	open_log(f);
	check(f, tl_log_recover(f->log, note, &seen), 0);
	assert_string_equal(seen.text, "");
	assert_int_equal(calls, 0); /* the writer has to recover before it can say what it knows */
	for (uint64_t i = 0; calls < 3; i++)
		check(f, append_number(f, i, 10000), 0);
	append_typed(f, 1, "record");
	append_typed(f, TL_LOG_PRIVATE | 16, "state");
	close_log(f);
	open_log(f);
	check(f, tl_log_recover(f->log, note, &seen), 0);
	assert_memory_equal(seen.text, "private 2;context 2;", 20);
	assert_non_null(strstr(seen.text, ";record;state;"));
	assert_int_equal(calls, 3);
	seen = (struct seen){.stop_after = 1};
	check(f, tl_log_recover(f->log, note, &seen), 77);
	assert_string_equal(seen.text, "private 2;");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(entries_come_back_in_order_with_their_positions),
		TEST(an_empty_frame_and_binary_data_are_fine),
		TEST(a_second_writer_is_ebusy_until_the_first_closes),
		TEST(reading_where_no_log_is_gives_enoent),
		TEST(the_reader_of_a_closed_log_gets_enodata_and_goes_on_when_it_opens_again),
		TEST(a_consumer_resumes_where_it_committed_even_in_mid_frame),
		TEST(a_position_opens_there_or_is_refused),
		TEST(append_past_max_bytes_is_enospc_while_a_reader_is_behind),
		TEST(without_any_consumer_nothing_is_deleted),
		TEST(the_slowest_of_several_consumers_holds_and_a_removed_one_does_not),
		TEST(a_damaged_consumer_file_holds_everything_and_starts_over),
		TEST(a_freed_position_moves_up_and_says_by_how_much),
		TEST(a_log_of_two_segments_moves_on),
		TEST(sizes_are_checked),
		TEST(a_reader_in_mid_segment_is_given_the_context_before_it),
		TEST(every_segment_begins_with_a_checkpoint_and_recovery_walks_the_newest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
