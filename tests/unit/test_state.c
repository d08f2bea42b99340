/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: what lines put into them, and what they make of them after a restart. test_lines_kills.c
 * does it at random. */
#include "tests/unit/lines_fixture.h"
#include "tests/unit/log_fixture.h"

static size_t count_type(const struct tl_frame *frame, uint16_t type, size_t *ret_bytes)
{
	size_t n = 0;

	*ret_bytes = 0;
	for (size_t i = 0; i < frame->n; i++)
		if (frame->entries[i].type == type) {
			n++;
			*ret_bytes += frame->entries[i].len;
		}
	return n;
}

static void a_line_within_one_frame_is_never_saved_and_bytes_only_once(void **state)
{
	struct tl_frame frame = {0};
	const size_t head = sizeof(struct tl_state_line) + sizeof(struct tl_extent);
	struct bed bed;
	size_t bytes;

	(void)state;
	bed_init(&bed);
	bed_puts(&bed, 1, "whole\n");
	tl_lines_save(bed.lines, &frame, false);
	assert_int_equal(frame.n, 0);
	bed_puts(&bed, 1, "twelve bytes");
	tl_lines_save(bed.lines, &frame, false);
	assert_int_equal(count_type(&frame, TL_STATE_LINE, &bytes), 1);
	assert_int_equal(bytes, head + 12);
	tl_frame_clear(&frame);
	tl_lines_save(bed.lines, &frame, false);
	assert_int_equal(frame.n, 0);
	bed_puts(&bed, 1, " and 6");
	tl_lines_save(bed.lines, &frame, false);
	assert_int_equal(count_type(&frame, TL_STATE_LINE, &bytes), 1);
	assert_int_equal(bytes, head + 6);
	tl_frame_clear(&frame);
	tl_lines_save(bed.lines, &frame, true);
	assert_int_equal(count_type(&frame, TL_STATE_LINE, &bytes), 1);
	assert_int_equal(bytes, head + 18);
	tl_frame_clear(&frame);
	bed_puts(&bed, 1, "\n");
	tl_lines_save(bed.lines, &frame, false);
	assert_int_equal(count_type(&frame, TL_STATE_LINE_END, &bytes), 1);
	assert_int_equal(frame.n, 1);
	tl_frame_done(&frame);
	bed_done(&bed);
}

/* A new life that knows what is in `frame`. */
static void restart(struct bed *bed, const struct tl_frame *frame,
		    const struct tl_lines_options *options)
{
	tl_lines_free(bed->lines);
	bed->hold = false;
	bed->n_held = 0;
	bed_open(bed, options);
	for (size_t i = 0; i < frame->n; i++)
		assert_int_equal(tl_lines_recover(bed->lines, frame->entries[i].type,
						  (struct tl_span){frame->bytes.data +
									   frame->entries[i].from,
								   frame->entries[i].len}),
				 0);
}

static void held_lines_are_given_again_by_resume(void **state)
{
	struct tl_frame frame = {0};
	struct tl_lines_options options;
	struct bed bed;

	(void)state;
	bed_init(&bed);
	options = bed_options(&bed);
	bed.hold = true;
	bed_puts(&bed, 1, "one\n");
	bed_puts(&bed, 1, "two\n");
	bed_puts(&bed, 1, "open");
	tl_lines_save(bed.lines, &frame, false);
	restart(&bed, &frame, &options);
	assert_int_equal(bed.n, 0);
	tl_lines_resume(bed.lines);
	assert_int_equal(bed.n, 2);
	assert_line(&bed, 0, "one", 0);
	assert_line(&bed, 1, "two", 0);
	assert_int_equal(tl_lines_next_id(bed.lines), 4);
	bed_puts(&bed, 1, " line\n");
	assert_line(&bed, 2, "open line", 0);
	tl_frame_clear(&frame);
	tl_lines_save(bed.lines, &frame, false);
	assert_int_equal(frame.n, 3);
	assert_int_equal(frame.entries[0].type, TL_STATE_LINE_END);
	tl_frame_done(&frame);
	bed_done(&bed);
}

static void save_all(struct bed *bed, struct tl_frame *frame, bool all)
{
	tl_frame_clear(frame);
	tl_lines_save(bed->lines, frame, all);
}

static void a_mixed_process_is_mixed_after_a_restart_until_it_ends(void **state)
{
	struct tl_frame frame = {0};
	struct tl_lines_options options;
	struct tl_lines_usage usage;
	struct bed bed;

	(void)state;
	bed_init(&bed);
	options = bed_options(&bed);
	bed_puts(&bed, 1, "one\ntwo\n");
	for (int i = 0; i < 2; i++) {
		save_all(&bed, &frame, i);
		assert_int_equal(frame.n, 1);
		restart(&bed, &frame, &options);
		bed_forget(&bed);
		bed_puts(&bed, 2, "three\n");
		assert_line(&bed, 0, "three", TL_LINE_BATCHED);
		bed_write(&bed, 0, 200, 200, "another's\n", 10);
		assert_line(&bed, 1, "another's", 0);
		save_all(&bed, &frame, false);
		assert_int_equal(frame.n, 0);
	}
	tl_lines_usage(bed.lines, &usage);
	assert_int_equal(usage.open, 0);
	tl_lines_exit(bed.lines, 100, 100000);
	save_all(&bed, &frame, false);
	assert_int_equal(frame.n, 1);
	assert_int_equal(frame.entries[0].type, TL_STATE_LINE_END);
	save_all(&bed, &frame, true);
	assert_int_equal(frame.n, 0);
	tl_frame_done(&frame);
	bed_done(&bed);
}

static void the_rest_of_a_split_line_begins_no_block_after_a_restart(void **state)
{
	struct tl_frame frame = {0};
	struct tl_lines_options options;
	struct bed bed;

	(void)state;
	bed_init(&bed);
	options = bed_options(&bed);
	options.multiline = "auto";
	options.max_line = 10;
	restart(&bed, &frame, &options);
	bed_puts(&bed, 1, "0123456789ERROR");
	tl_lines_save(bed.lines, &frame, false);
	restart(&bed, &frame, &options);
	bed_puts(&bed, 1, "\n");
	assert_int_equal(bed.n, 2);
	assert_line(&bed, 1, "ERROR", 0);
	tl_frame_done(&frame);
	bed_done(&bed);
}

/* A frame that was not written yet may be told of a line that ended before the checkpoint in front
 * of it. */
static void the_end_of_an_unknown_line_removes_its_bytes(void **state)
{
	struct tl_frame frame = {0};
	struct tl_lines_options options;
	struct tl_lines_usage usage;
	struct bed bed;

	(void)state;
	bed_init(&bed);
	options = bed_options(&bed);
	bed_puts(&bed, 1, "first");
	tl_lines_save(bed.lines, &frame, false);
	tl_frame_clear(&frame);
	bed_puts(&bed, 1, " second");
	tl_lines_save(bed.lines, &frame, false);
	bed_puts(&bed, 1, " third\n");
	tl_lines_save(bed.lines, &frame, false);
	assert_int_equal(frame.n, 2);
	restart(&bed, &frame, &options);
	tl_lines_resume(bed.lines);
	tl_lines_usage(bed.lines, &usage);
	assert_int_equal(usage.open, 0);
	assert_int_equal(usage.lost_bytes, 0);
	tl_frame_done(&frame);
	bed_done(&bed);
}

static void a_damaged_entry_is_refused(void **state)
{
	struct tl_frame frame = {0};
	struct tl_state_line line;
	struct bed bed, other;

	(void)state;
	bed_init(&bed);
	bed_init(&other);
	bed_puts(&bed, 1, "open");
	tl_lines_save(bed.lines, &frame, false);
	for (size_t len = 0; len < frame.entries[0].len; len++)
		assert_int_equal(tl_lines_recover(other.lines, TL_STATE_LINE,
						  (struct tl_span){frame.bytes.data, len}),
				 -EBADMSG);
	memcpy(&line, frame.bytes.data, sizeof(line));
	line.n_extents = TL_EXTENTS_MAX + 1;
	memcpy(frame.bytes.data, &line, sizeof(line));
	assert_int_equal(tl_lines_recover(other.lines, TL_STATE_LINE, tl_buf_span(&frame.bytes)),
			 -EBADMSG);
	assert_int_equal(tl_lines_recover(other.lines, TL_STATE_LINE_END, TL_SPAN_LIT("short")),
			 -EBADMSG);
	assert_int_equal(tl_lines_recover(other.lines, TL_STATE_WORKER, TL_SPAN_LIT("12345678")),
			 -EBADMSG);
	tl_frame_done(&frame);
	bed_done(&bed);
	bed_done(&other);
}

static void a_frame_keeps_its_entries_in_order(void **state)
{
	struct tl_frame frame = {0};

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		tl_frame_begin(&frame, (uint16_t)i);
		tl_buf_add(&frame.bytes, &i, i % 3);
		tl_frame_end(&frame);
	}
	assert_int_equal(frame.n, 1000);
	for (unsigned i = 1; i < 1000; i++) {
		assert_int_equal(frame.entries[i].type, i);
		assert_int_equal(frame.entries[i].len, i % 3);
		assert_int_equal(frame.entries[i].from,
				 frame.entries[i - 1].from + frame.entries[i - 1].len);
	}
	tl_frame_clear(&frame);
	assert_int_equal(frame.n, 0);
	tl_frame_done(&frame);
}

static void a_frame_without_memory_is_not_appended(void **state)
{
	struct tl_frame frame = {.bytes = {.max = 10}};

	(void)state;
	tl_frame_add(&frame, 1, "12345678", 8);
	assert_false(frame.failed);
	tl_frame_add(&frame, 2, "12345678", 8);
	assert_true(frame.failed);
	assert_int_equal(tl_frame_append(&frame, NULL, NULL), -ENOMEM);
	tl_frame_clear(&frame);
	assert_false(frame.failed);
	tl_frame_done(&frame);
}

static int collect(void *arg, const struct tl_log_entry *entry)
{
	struct tl_frame *frame = arg;

	tl_frame_add(frame, entry->type, entry->data.data, entry->data.len);
	return 0;
}

static void a_frame_comes_back_from_its_log_entry_by_entry(void **state)
{
	struct fixture *f = *state;
	struct tl_frame frame = {0}, back = {0};

	tl_frame_add(&frame, TL_STATE_LINE_END, "12345678", 8);
	tl_frame_add(&frame, TL_STATE_STREAM_END, "", 0);
	tl_frame_add(&frame, TL_STATE_WORKER, "worker", 6);
	assert_int_equal(tl_log_open(&f->options, &f->log, &f->error), 0);
	assert_int_equal(tl_frame_append(&frame, f->log, NULL), 0);
	assert_int_equal(frame.n, 3);
	tl_log_close(TAKE_PTR(f->log));
	assert_int_equal(tl_log_open(&f->options, &f->log, &f->error), 0);
	assert_int_equal(tl_log_recover(f->log, collect, &back), 0);
	assert_int_equal(back.n, frame.n);
	assert_int_equal(back.bytes.len, frame.bytes.len);
	assert_memory_equal(back.bytes.data, frame.bytes.data, frame.bytes.len);
	for (size_t i = 0; i < frame.n; i++) {
		assert_int_equal(back.entries[i].type, frame.entries[i].type);
		assert_int_equal(back.entries[i].len, frame.entries[i].len);
	}
	tl_frame_done(&frame);
	tl_frame_done(&back);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_frame_comes_back_from_its_log_entry_by_entry,
						setup, teardown),
		cmocka_unit_test(a_frame_keeps_its_entries_in_order),
		cmocka_unit_test(a_frame_without_memory_is_not_appended),
		cmocka_unit_test(a_line_within_one_frame_is_never_saved_and_bytes_only_once),
		cmocka_unit_test(held_lines_are_given_again_by_resume),
		cmocka_unit_test(a_mixed_process_is_mixed_after_a_restart_until_it_ends),
		cmocka_unit_test(the_rest_of_a_split_line_begins_no_block_after_a_restart),
		cmocka_unit_test(the_end_of_an_unknown_line_removes_its_bytes),
		cmocka_unit_test(a_damaged_entry_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
