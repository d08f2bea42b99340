/* SPDX-License-Identifier: Apache-2.0 */
/* Line assembly: who continues whose bytes, and where a line ends. Joining is off but where it is
 * meant. */
#include "tests/unit/lines_fixture.h"

static struct bed bed;

static int setup(void **state)
{
	(void)state;
	bed_init(&bed);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bed_done(&bed);
	return 0;
}

static void reopen(struct tl_lines_options options)
{
	tl_lines_free(bed.lines);
	bed_open(&bed, &options);
}

static void lines_of_one_write_come_out_at_once_with_their_extents(void **state)
{
	(void)state;
	bed_puts(&bed, 1, "one\ntwo\r\n\nthree\n");
	assert_int_equal(bed.n, 4);
	assert_line(&bed, 0, "one", TL_LINE_BATCHED);
	assert_line(&bed, 1, "two", TL_LINE_BATCHED);
	assert_line(&bed, 2, "", TL_LINE_BATCHED);
	assert_line(&bed, 3, "three", TL_LINE_BATCHED);
	assert_int_equal(bed.got[1].extents[0].from, 4);
	assert_int_equal(bed.got[1].extents[0].to, 9);
	assert_int_equal(bed.got[2].extents[0].from, 9);
	assert_int_equal(bed.got[2].extents[0].to, 10);
	assert_int_equal(bed.got[3].extents[0].to, 16);
}

static void a_half_line_is_continued_by_its_own_thread_only(void **state)
{
	(void)state;
	bed_puts(&bed, 1, "a1 ");
	bed_puts(&bed, 2, "b1 ");
	bed_puts(&bed, 1, "a2\n");
	bed_puts(&bed, 3, "whole\n");
	bed_puts(&bed, 2, "b2\n");
	assert_int_equal(bed.n, 3);
	assert_line(&bed, 0, "a1 a2", 0);
	assert_line(&bed, 1, "whole", 0);
	assert_line(&bed, 2, "b1 b2", 0);
	assert_int_equal(bed.got[0].n_extents, 2);
	assert_int_equal(bed.got[0].extents[0].from, 0);
	assert_int_equal(bed.got[0].extents[0].to, 3);
	assert_int_equal(bed.got[0].extents[1].from, 6);
	assert_int_equal(bed.got[0].extents[1].to, 9);
}

static void a_full_buffer_is_continued_by_whichever_thread_flushes_next(void **state)
{
	static const size_t sizes[] = {1024, 4096, 8192, 12288, 65536};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		bed_forget(&bed);
		bed_full(&bed, 1, "begin", sizes[i]);
		bed_puts(&bed, 2, "END\nnext\n");
		assert_true(bed.n > 2);
		assert_int_equal(bed.got[0].flags, TL_LINE_BATCHED | TL_LINE_BUFFERED);
		assert_int_equal(bed.got[bed.n - 2].flags,
				 TL_LINE_BATCHED | TL_LINE_BUFFERED | TL_LINE_SHARED);
		assert_non_null(strstr(bed.got[bed.n - 2].body, "xEND"));
		assert_int_equal(bed.got[bed.n - 2].writer.tid, 1);
		assert_line(&bed, bed.n - 1, "next", TL_LINE_BATCHED | TL_LINE_BUFFERED);
	}
	assert_true(tl_lines_batched(bed.lines, 1));
	assert_false(tl_lines_batched(bed.lines, 2));
}

static void a_write_of_another_size_is_no_full_buffer(void **state)
{
	(void)state;
	bed_full_line(&bed, 1, "begin", 4095);
	bed_puts(&bed, 2, "other\n");
	bed_puts(&bed, 1, "END\n");
	assert_int_equal(bed.n, 2);
	assert_line(&bed, 0, "other", 0);
	assert_non_null(strstr(bed.got[1].body, "xEND"));
	assert_int_equal(bed.got[1].flags, 0);
}

static void a_buffer_size_that_ends_in_a_newline_is_no_full_buffer(void **state)
{
	char data[4096];

	(void)state;
	memset(data, 'y', sizeof(data));
	data[4095] = '\n';
	bed_write(&bed, 0, 100, 1, data, sizeof(data));
	bed_puts(&bed, 2, "a\n");
	assert_int_equal(bed.n, 2);
	for (size_t i = 0; i < bed.n; i++)
		assert_int_equal(bed.got[i].flags, 0);
	assert_false(tl_lines_batched(bed.lines, 1));
}

/* `len` bytes of print()ed lines; the last byte is a newline. */
static void flush_lines(uint32_t tid, size_t len)
{
	char *data = malloc(len);

	memset(data, 'p', len);
	for (size_t i = 40; i < len; i += 41)
		data[i] = '\n';
	data[len - 1] = '\n';
	bed_write(&bed, 0, 100, tid, data, len);
	free(data);
}

/* It flushes at the end of the print that fills it, so that its sizes tell nothing. */
static void a_python_flush_of_many_lines_is_batched(void **state)
{
	(void)state;
	for (size_t len = 8175; len <= 8191; len++) {
		bed_forget(&bed);
		flush_lines(1, len);
		assert_true(bed.n >= 199);
		for (size_t i = 0; i < bed.n; i++)
			assert_int_equal(bed.got[i].flags, TL_LINE_BATCHED | TL_LINE_BUFFERED);
	}
	assert_true(tl_lines_batched(bed.lines, 1));
	assert_false(tl_lines_batched(bed.lines, 2));
}

static void after_a_mixed_write_single_lines_of_the_process_are_batched_too(void **state)
{
	(void)state;
	bed_puts(&bed, 1, "alone\n");
	bed_puts(&bed, 2, "half ");
	bed_puts(&bed, 1, "two\nin one\n");
	bed_puts(&bed, 2, "line\n");
	bed_puts(&bed, 3, "single\n");
	bed_write(&bed, 0, 200, 200, "another process\n", 16);
	bed_write(&bed, 1, 100, 1, "another stream\n", 15);
	assert_int_equal(bed.n, 7);
	assert_line(&bed, 0, "alone", 0);
	assert_line(&bed, 1, "two", TL_LINE_BATCHED);
	assert_line(&bed, 2, "in one", TL_LINE_BATCHED);
	assert_line(&bed, 3, "half line", TL_LINE_BATCHED);
	assert_line(&bed, 4, "single", TL_LINE_BATCHED);
	assert_line(&bed, 5, "another process", 0);
	assert_line(&bed, 6, "another stream", 0);
	tl_lines_exit(bed.lines, 100, 100000);
	bed_puts(&bed, 3, "its end forgets it\n");
	assert_line(&bed, 7, "its end forgets it", 0);
}

static void put_goroutine(uint64_t unit, const char *data, size_t len)
{
	struct tl_ev_log event = bed_call(&bed, 100, 1, len);

	event.h.unit_kind = TL_UNIT_GOROUTINE;
	event.h.unit = unit;
	bed_event(&bed, 0, &event, data);
}

/* A bufio.Writer is the program's own; fmt.Print of two lines is one goroutine's. */
static void goroutines_small_multi_line_writes_do_not_stick(void **state)
{
	char large[1024];

	(void)state;
	put_goroutine(7, "one\ntwo\n", 8);
	put_goroutine(7, "three\n", 6);
	assert_line(&bed, 1, "two", TL_LINE_BATCHED);
	assert_line(&bed, 2, "three", 0);
	memset(large, 'y', sizeof(large));
	large[1000] = large[1022] = '\n';
	put_goroutine(8, large, 1023);
	put_goroutine(7, "four\n", 5);
	assert_line(&bed, 5, "four", 0);
	large[1023] = '\n';
	put_goroutine(8, large, 1024);
	put_goroutine(7, "five\n", 5);
	assert_int_equal(bed.got[6].flags, TL_LINE_BATCHED | TL_LINE_BUFFERED);
	assert_line(&bed, 9, "five", TL_LINE_BATCHED);
}

/* The whole text of 8 threads goes through one buffer of 4096 bytes; whichever thread fills it
 * flushes it. */
static void eight_threads_on_one_stdio_buffer_keep_every_line_whole(void **state)
{
	static char text[1 << 20];
	size_t len = 0, lines = 0, at = 0;

	(void)state;
	srand(7);
	while (len < sizeof(text) - 300) {
		len += (size_t)sprintf(text + len, "line %zu of thread %d ", lines++, rand() % 8);
		for (int i = rand() % 200; i; i--)
			text[len++] = (char)('a' + i % 26);
		text[len++] = '\n';
	}
	for (; at < len; at += 4096)
		bed_write(&bed, 0, 100, 1 + (uint32_t)rand() % 8, text + at,
			  len - at < 4096 ? len - at : 4096);
	assert_int_equal(bed.n, lines);
	for (size_t i = 0; i < lines; i++) {
		char want[48];

		snprintf(want, sizeof(want), "line %zu of thread ", i);
		assert_memory_equal(bed.got[i].body, want, strlen(want));
		assert_true(bed.got[i].flags & TL_LINE_BATCHED || i + 40 > lines);
	}
}

static void chunks_of_one_call_hold_together_between_other_writers(void **state)
{
	struct tl_ev_log first = bed_call(&bed, 100, 1, 6), second, third;

	(void)state;
	first.h.flags |= TL_EVF_MORE;
	first.call_len = 20;
	second = third = first;
	second.h.flags = TL_EVF_MORE;
	second.call_off = 6;
	third.h.flags = 0;
	third.call_off = 12;
	third.h.len = 8;
	bed_event(&bed, 0, &first, "chunk ");
	bed_puts(&bed, 2, "other\n");
	bed_event(&bed, 0, &second, "one tw");
	bed_full_line(&bed, 3, "a full buffer", 1024);
	bed_event(&bed, 0, &third, "o three\n");
	assert_line(&bed, 0, "other", 0);
	assert_line(&bed, bed.n - 1, "chunk one two three", 0);
	assert_int_equal(bed.got[bed.n - 1].n_extents, 3);
}

static void a_full_buffer_of_several_chunks_is_seen_by_the_calls_length(void **state)
{
	static char data[65536];
	size_t before;

	(void)state;
	memset(data, 'z', sizeof(data));
	for (size_t i = 99; i < sizeof(data) - 100; i += 100)
		data[i] = '\n';
	for (uint32_t off = 0; off < sizeof(data); off += TL_CHUNK) {
		struct tl_ev_log event = bed_call(&bed, 100, 1, TL_CHUNK);

		event.call_len = sizeof(data);
		event.call_off = off;
		event.h.flags = (off ? 0 : TL_EVF_FIRST) |
				(off + TL_CHUNK < sizeof(data) ? TL_EVF_MORE : 0);
		bed_event(&bed, 0, &event, data + off);
	}
	before = bed.n;
	bed_puts(&bed, 2, "!\n");
	assert_int_equal(bed.n, before + 1);
	assert_int_equal(bed.got[0].flags, TL_LINE_BATCHED | TL_LINE_BUFFERED);
	assert_int_equal(bed.got[before].flags,
			 TL_LINE_BATCHED | TL_LINE_BUFFERED | TL_LINE_SHARED);
}

static void forked_children_on_one_pipe_are_told_apart(void **state)
{
	(void)state;
	bed_write(&bed, 0, 100, 100, "parent ", 7);
	bed_write(&bed, 0, 200, 200, "child ", 6);
	bed_write(&bed, 0, 100, 100, "one\n", 4);
	bed_write(&bed, 0, 200, 200, "two\n", 4);
	assert_line(&bed, 0, "parent one", 0);
	assert_line(&bed, 1, "child two", 0);
	bed_full(&bed, 100, "", 4096);
	bed_forget(&bed);
	bed_write(&bed, 0, 200, 200, "x\n", 2);
	assert_line(&bed, 0, "x", 0);
}

static void a_goroutine_is_followed_from_thread_to_thread(void **state)
{
	struct tl_ev_log event = bed_call(&bed, 100, 1, 5);

	(void)state;
	event.h.unit_kind = TL_UNIT_GOROUTINE;
	event.h.unit = 7;
	bed_event(&bed, 0, &event, "half ");
	event.h.unit = 8;
	bed_event(&bed, 0, &event, "full\n");
	event.h.unit = 7;
	event.h.tid = 2;
	bed_event(&bed, 0, &event, "line\n");
	assert_line(&bed, 0, "full", 0);
	assert_line(&bed, 1, "half line", 0);
}

static void crlf_split_over_two_writes_is_cut(void **state)
{
	(void)state;
	bed_puts(&bed, 1, "split\r");
	bed_puts(&bed, 1, "\n");
	bed_puts(&bed, 1, "mid\rdle\n");
	bed_puts(&bed, 1, "\r");
	bed_puts(&bed, 1, "\n");
	assert_int_equal(bed.n, 3);
	assert_line(&bed, 0, "split", 0);
	assert_line(&bed, 1, "mid\rdle", 0);
	assert_line(&bed, 2, "", 0);
	assert_int_equal(bed.got[0].extents[0].to, 7);
}

static void nul_and_broken_utf8_are_content(void **state)
{
	(void)state;
	bed_write(&bed, 0, 100, 1, "a\0b\xff\xc3\n", 6);
	assert_int_equal(bed.got[0].len, 5);
	assert_memory_equal(bed.got[0].body, "a\0b\xff\xc3", 5);
}

static void a_hole_ends_what_was_open_and_the_next_line_is_partial(void **state)
{
	(void)state;
	bed_puts(&bed, 1, "before");
	bed_puts(&bed, 2, "other");
	tl_lines_hole(bed.lines, 1);
	assert_int_equal(bed.n, 2);
	assert_line(&bed, 0, "before", TL_LINE_PARTIAL);
	assert_line(&bed, 1, "other", TL_LINE_PARTIAL);
	bed.offset[0] += 50;
	bed_puts(&bed, 3, "end of a lost line\n");
	bed_puts(&bed, 3, "whole\n");
	assert_int_equal(bed.n, 4);
	assert_line(&bed, 2, "end of a lost line", TL_LINE_PARTIAL);
	assert_line(&bed, 3, "whole", 0);
	assert_int_equal(bed.got[2].writer.tid, 3);
	assert_int_equal(bed.got[2].extents[0].from, 61);
}

static void a_hole_of_one_stream_leaves_the_others_alone(void **state)
{
	(void)state;
	bed_write(&bed, 1, 100, 1, "half", 4);
	tl_lines_hole(bed.lines, 1);
	tl_lines_hole(bed.lines, 1);
	bed_write(&bed, 1, 100, 1, " line\n", 6);
	assert_int_equal(bed.n, 1);
	assert_line(&bed, 0, "half line", 0);
}

static void a_line_past_the_limit_is_split_between_utf8_sequences(void **state)
{
	struct tl_lines_options options = bed_options(&bed);

	(void)state;
	options.max_line = 10;
	reopen(options);
	bed_puts(&bed, 1,
		 "123456789\xe2\x82\xac"
		 "bc\n");
	assert_int_equal(bed.n, 2);
	assert_line(&bed, 0, "123456789", TL_LINE_SPLIT);
	assert_line(&bed, 1,
		    "\xe2\x82\xac"
		    "bc",
		    0);
	bed_forget(&bed);
	bed_puts(&bed, 1, "12345678\xf0\x9f");
	bed_puts(&bed, 2, "z\n");
	bed_puts(&bed, 1, "\x98\x80!\n");
	assert_int_equal(bed.n, 3);
	assert_line(&bed, 1, "12345678", TL_LINE_SPLIT);
	assert_line(&bed, 2, "\xf0\x9f\x98\x80!", 0);
	assert_int_equal(bed.got[2].n_extents, 2);
	assert_int_equal(bed.got[2].extents[0].to - bed.got[2].extents[0].from, 2);
	assert_int_equal(bed.got[1].extents[0].to, bed.got[2].extents[0].from);
}

static void a_line_of_just_the_limit_is_whole(void **state)
{
	struct tl_lines_options options = bed_options(&bed);

	(void)state;
	options.max_line = 10;
	reopen(options);
	bed_puts(&bed, 1, "1234567890\r\n");
	bed_puts(&bed, 1, "1234567890");
	bed_puts(&bed, 1, "\n");
	assert_int_equal(bed.n, 2);
	assert_line(&bed, 0, "1234567890", 0);
	assert_line(&bed, 1, "1234567890", 0);
	bed_puts(&bed, 1, "1234567890123456789012345");
	bed_puts(&bed, 1, "\n");
	assert_int_equal(bed.n, 5);
	assert_line(&bed, 2, "1234567890", TL_LINE_SPLIT);
	assert_line(&bed, 3, "1234567890", TL_LINE_SPLIT);
	assert_line(&bed, 4, "12345", 0);
}

static void more_extents_than_fit_split_the_line(void **state)
{
	(void)state;
	for (int i = 0; i < TL_EXTENTS_MAX + 1; i++) {
		bed_puts(&bed, 1, "a");
		bed_puts(&bed, 2, "z\n");
	}
	bed_forget(&bed);
	bed_puts(&bed, 1, "end\n");
	assert_int_equal(bed.n, 1);
	assert_line(&bed, 0, "aend", 0);
	assert_int_equal(bed.got[0].n_extents, 2);
}

static void an_unterminated_line_ends_partial_when_its_time_is_over(void **state)
{
	uint64_t then = bed.now;

	(void)state;
	bed_puts(&bed, 1, "prompt> ");
	assert_int_equal(tl_lines_tick(bed.lines, then + 999 * MS), then + 1000 * MS);
	assert_int_equal(bed.n, 0);
	assert_int_equal(tl_lines_tick(bed.lines, then + 1000 * MS), UINT64_MAX);
	assert_line(&bed, 0, "prompt> ", TL_LINE_PARTIAL);
	bed_puts(&bed, 1, "rest\n");
	assert_line(&bed, 1, "rest", 0);
}

static void the_rest_of_a_full_buffer_is_waited_for_longer(void **state)
{
	uint64_t then = bed.now;

	(void)state;
	bed_full(&bed, 1, "", 4096);
	bed_forget(&bed);
	assert_int_equal(tl_lines_tick(bed.lines, then + 1000 * MS), then + 30000 * MS);
	assert_int_equal(bed.n, 0);
	tl_lines_tick(bed.lines, then + 30000 * MS);
	assert_int_equal(bed.n, 1);
	assert_int_equal(bed.got[0].flags, TL_LINE_PARTIAL | TL_LINE_BATCHED | TL_LINE_BUFFERED);
}

static void an_exit_ends_the_lines_of_its_process_only(void **state)
{
	(void)state;
	bed_write(&bed, 0, 100, 1, "dying", 5);
	bed_write(&bed, 1, 100, 2, "too", 3);
	bed_write(&bed, 0, 200, 200, "living", 6);
	tl_lines_exit(bed.lines, 100, 1);
	assert_int_equal(bed.n, 0);
	tl_lines_exit(bed.lines, 100, 100000);
	assert_int_equal(bed.n, 2);
	bed_write(&bed, 0, 200, 200, "\n", 1);
	assert_line(&bed, 2, "living", 0);
	tl_lines_flush(bed.lines);
	assert_int_equal(bed.n, 3);
}

static void past_max_open_the_oldest_is_finished_partial(void **state)
{
	struct tl_lines_options options = bed_options(&bed);
	struct tl_lines_usage usage;

	(void)state;
	options.max_open = 4;
	reopen(options);
	for (uint32_t tid = 1; tid <= 6; tid++)
		bed_puts(&bed, tid, "half");
	tl_lines_usage(bed.lines, &usage);
	assert_int_equal(usage.open, 4);
	assert_int_equal(usage.bytes, 16);
	assert_int_equal(usage.forced, 2);
	assert_int_equal(usage.partial, 2);
	assert_int_equal(bed.n, 2);
	assert_line(&bed, 0, "half", TL_LINE_PARTIAL);
	assert_int_equal(bed.got[0].writer.tid, 1);
}

static void the_oldest_is_the_one_written_to_longest_ago_of_any_kind(void **state)
{
	struct tl_lines_options options = bed_options(&bed);

	(void)state;
	options.max_open = 3;
	reopen(options);
	bed_full(&bed, 1, "", 1024);
	bed_forget(&bed);
	bed_write(&bed, 1, 100, 2, "half", 4);
	bed_write(&bed, 2, 100, 3, "half", 4);
	bed_write(&bed, 3, 100, 4, "half", 4);
	assert_int_equal(bed.n, 1);
	assert_int_equal(bed.got[0].writer.tid, 1);
	bed_full(&bed, 5, "", 1024);
	assert_int_equal(bed.got[bed.n - 1].writer.tid, 2);
}

static void past_max_bytes_the_oldest_is_finished_partial(void **state)
{
	struct tl_lines_options options = bed_options(&bed);
	struct tl_lines_usage usage;

	(void)state;
	options.max_bytes = 100;
	reopen(options);
	for (uint32_t tid = 1; tid <= 5; tid++)
		bed_puts(&bed, tid, "thirty bytes, but no newline: ");
	tl_lines_usage(bed.lines, &usage);
	assert_int_equal(usage.open, 3);
	assert_int_equal(usage.bytes, 90);
	assert_int_equal(bed.n, 2);
}

static void a_held_line_lives_until_it_is_finished(void **state)
{
	struct tl_lines_usage usage;

	(void)state;
	bed.hold = true;
	bed_puts(&bed, 1, "one\n");
	bed_puts(&bed, 1, "two\n");
	tl_lines_usage(bed.lines, &usage);
	assert_int_equal(usage.open, 2);
	assert_int_equal(tl_lines_tick(bed.lines, UINT64_MAX - 1), UINT64_MAX);
	bed_finish(&bed, bed.held[1]);
	bed_finish(&bed, bed.held[0]);
	assert_line(&bed, 0, "two", 0);
	assert_line(&bed, 1, "one", 0);
	tl_lines_usage(bed.lines, &usage);
	assert_int_equal(usage.open, 0);
	assert_int_equal(usage.bytes, 0);
}

static void a_datagram_is_one_line_whatever_newlines_it_has(void **state)
{
	static char path[] = "/run/systemd/journal/socket",
		    stream_path[] = "/run/systemd/journal/stdout";

	(void)state;
	bed.info[0].kind = TL_FILE_UNIX;
	bed.info[0].path = path;
	bed_puts(&bed, 1, "MESSAGE=x\nPRIORITY=6\n");
	bed_puts(&bed, 1, "<13>no newline");
	assert_int_equal(bed.n, 2);
	assert_line(&bed, 0, "MESSAGE=x\nPRIORITY=6", 0);
	assert_line(&bed, 1, "<13>no newline", 0);
	bed.info[1].kind = TL_FILE_UNIX;
	bed.info[1].path = stream_path;
	bed_write(&bed, 1, 100, 1, "a\nb\n", 4);
	assert_int_equal(bed.n, 4);
}

static void a_lines_times_are_those_of_its_first_and_last_call(void **state)
{
	uint64_t first = bed.now, second;

	(void)state;
	bed_puts(&bed, 1, "a");
	second = bed.now;
	bed_puts(&bed, 1, "b\n");
	assert_int_equal(bed.got[0].time_ns, first);
	assert_int_equal(bed.got[0].end_ns, second);
}

static void idle_processes_are_forgotten_and_lines_still_come(void **state)
{
	(void)state;
	for (uint32_t tgid = 1; tgid <= 20000; tgid++) {
		bed_write(&bed, tgid % 8, tgid, tgid, "short life\n", 11);
		tl_lines_exit(bed.lines, tgid, tgid * 1000);
	}
	assert_int_equal(bed.n, 20000);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(lines_of_one_write_come_out_at_once_with_their_extents),
		TEST(a_half_line_is_continued_by_its_own_thread_only),
		TEST(a_full_buffer_is_continued_by_whichever_thread_flushes_next),
		TEST(a_write_of_another_size_is_no_full_buffer),
		TEST(a_buffer_size_that_ends_in_a_newline_is_no_full_buffer),
		TEST(a_python_flush_of_many_lines_is_batched),
		TEST(after_a_mixed_write_single_lines_of_the_process_are_batched_too),
		TEST(goroutines_small_multi_line_writes_do_not_stick),
		TEST(eight_threads_on_one_stdio_buffer_keep_every_line_whole),
		TEST(chunks_of_one_call_hold_together_between_other_writers),
		TEST(a_full_buffer_of_several_chunks_is_seen_by_the_calls_length),
		TEST(forked_children_on_one_pipe_are_told_apart),
		TEST(a_goroutine_is_followed_from_thread_to_thread),
		TEST(crlf_split_over_two_writes_is_cut),
		TEST(nul_and_broken_utf8_are_content),
		TEST(a_hole_ends_what_was_open_and_the_next_line_is_partial),
		TEST(a_hole_of_one_stream_leaves_the_others_alone),
		TEST(a_line_past_the_limit_is_split_between_utf8_sequences),
		TEST(a_line_of_just_the_limit_is_whole),
		TEST(more_extents_than_fit_split_the_line),
		TEST(an_unterminated_line_ends_partial_when_its_time_is_over),
		TEST(the_rest_of_a_full_buffer_is_waited_for_longer),
		TEST(an_exit_ends_the_lines_of_its_process_only),
		TEST(past_max_open_the_oldest_is_finished_partial),
		TEST(the_oldest_is_the_one_written_to_longest_ago_of_any_kind),
		TEST(past_max_bytes_the_oldest_is_finished_partial),
		TEST(a_held_line_lives_until_it_is_finished),
		TEST(a_datagram_is_one_line_whatever_newlines_it_has),
		TEST(a_lines_times_are_those_of_its_first_and_last_call),
		TEST(idle_processes_are_forgotten_and_lines_still_come),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
