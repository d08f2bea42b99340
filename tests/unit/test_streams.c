/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: which files are logs, and offsets in ring order with holes where the kernel refused
 * bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "agent/streams.h"

static struct tl_streams *streams;
static int reader, decided, decide_error;
static enum tl_verdict verdict;

static int pipe_reader(void *arg, uint32_t tgid, const struct tl_file_id *file)
{
	(void)arg;
	assert_int_equal(tgid, 100);
	assert_true(file->ino > 0);
	return reader;
}

static int decide(void *arg, const struct tl_file_id *file, enum tl_verdict what)
{
	(void)arg;
	(void)file;
	decided++;
	verdict = what;
	return decide_error;
}

static int setup(void **state)
{
	const struct tl_streams_options options = {
		.max = 8, .pipe_reader = pipe_reader, .decide = decide};

	(void)state;
	reader = decided = decide_error = 0;
	streams = tl_streams_new(&options);
	return streams ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	tl_streams_free(streams);
	streams = NULL;
	return 0;
}

static struct tl_stream_info *see(uint64_t ino, enum tl_file_kind kind, uint8_t flags,
				  uint32_t f_flags, const char *path)
{
	static struct {
		struct tl_ev_file file;
		char path[256];
	} event;
	size_t len = strlen(path);

	memset(&event, 0, sizeof(event));
	event.file.h = (struct tl_event){
		.type = TL_EV_FILE, .flags = flags, .len = (uint32_t)len, .tgid = 100};
	event.file.file = (struct tl_file_id){.ino = ino, .dev = 1};
	event.file.kind = kind;
	event.file.f_flags = f_flags;
	event.file.path_len = (uint32_t)len;
	memcpy(event.path, path, len);
	return tl_streams_file(streams, &event.file);
}

static struct tl_stream_info *see_pipe(uint64_t ino)
{
	return see(ino, TL_FILE_PIPE, TL_EVF_STDOUT, O_WRONLY, "");
}

static struct tl_stream_info *bytes(uint64_t ino, uint32_t len, uint64_t lost, uint64_t *ret_offset,
				    uint64_t *ret_hole)
{
	const struct tl_ev_log event = {
		.h = {.len = len, .tgid = 101, .time_ns = 55, .flags = TL_EVF_UNDECIDED},
		.file = {.ino = ino, .dev = 1},
		.lost_bytes = lost};

	return tl_streams_bytes(streams, &event, ret_offset, ret_hole);
}

static void assert_bytes(uint64_t ino, uint32_t len, uint64_t lost, uint64_t offset, uint64_t hole)
{
	uint64_t got_offset = 0, got_hole = 0;

	assert_non_null(bytes(ino, len, lost, &got_offset, &got_hole));
	assert_int_equal(got_offset, offset);
	assert_int_equal(got_hole, hole);
}

static void files_behind_stdout_are_logs_by_kind_and_mode(void **state)
{
	static const struct {
		enum tl_file_kind kind;
		uint8_t flags;
		uint32_t f_flags;
		const char *path;
		int reader;
		enum tl_verdict want;
	} cases[] = {
		{TL_FILE_PIPE, TL_EVF_STDOUT, O_WRONLY, "", 0, TL_VERDICT_LOG},
		{TL_FILE_PIPE, TL_EVF_STDERR, O_WRONLY, "", -ESRCH, TL_VERDICT_LOG},
		{TL_FILE_PIPE, TL_EVF_STDOUT, O_WRONLY, "", 1, TL_VERDICT_IGNORE},
		{TL_FILE_PIPE, 0, O_WRONLY, "", 0, TL_VERDICT_IGNORE},
		{TL_FILE_TTY, TL_EVF_STDOUT, O_RDWR, "/dev/pts/1", 0, TL_VERDICT_LOG},
		{TL_FILE_TTY, 0, O_RDWR, "/dev/pts/1", 0, TL_VERDICT_IGNORE},
		{TL_FILE_REGULAR, TL_EVF_STDOUT, O_WRONLY, "/srv/out", 0, TL_VERDICT_LOG},
		{TL_FILE_REGULAR, TL_EVF_STDERR, O_RDWR | O_APPEND, "/srv/out", 0, TL_VERDICT_LOG},
		{TL_FILE_REGULAR, TL_EVF_STDOUT, O_RDWR, "/srv/data.db", 0, TL_VERDICT_IGNORE},
		{TL_FILE_REGULAR, 0, O_WRONLY, "/srv/data.db", 0, TL_VERDICT_IGNORE},
		{TL_FILE_REGULAR, 0, O_RDWR, "/srv/app/x.log", 0, TL_VERDICT_LOG},
		{TL_FILE_REGULAR, 0, O_WRONLY, "/var/log/nginx/access", 0, TL_VERDICT_LOG},
		{TL_FILE_REGULAR, 0, O_WRONLY, "/var/log/wtmp", 0, TL_VERDICT_IGNORE},
		{TL_FILE_REGULAR, 0, O_RDWR, "/var/log/journal/abc/system.journal", 0,
		 TL_VERDICT_IGNORE},
		{TL_FILE_UNIX, TL_EVF_STDOUT, O_RDWR, "/run/systemd/journal/stdout", 0,
		 TL_VERDICT_LOG},
		{TL_FILE_UNIX, 0, O_RDWR, "/run/systemd/journal/socket", 0, TL_VERDICT_LOG},
		{TL_FILE_UNIX, 0, O_RDWR, "/dev/log", 0, TL_VERDICT_LOG},
		{TL_FILE_UNIX, TL_EVF_STDOUT, O_RDWR, "/run/mysqld.sock", 0, TL_VERDICT_IGNORE},
		{TL_FILE_OTHER, TL_EVF_STDOUT, O_WRONLY, "/dev/null", 0, TL_VERDICT_IGNORE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tl_stream_info *info;

		reader = cases[i].reader;
		info = see(7, cases[i].kind, cases[i].flags, cases[i].f_flags, cases[i].path);
		assert_non_null(info);
		if (verdict != cases[i].want)
			print_error("case %zu: %s\n", i, cases[i].path);
		assert_int_equal(verdict, cases[i].want);
		assert_int_equal(info->verdict, cases[i].want);
		tl_streams_remove(streams, info->number);
	}
}

static void named_paths_replace_the_default_ones(void **state)
{
	char glob[] = "/srv/**/trace";
	const char *const paths[] = {glob};
	const struct tl_streams_options options = {.max = 8, .paths = paths, .n_paths = 1};

	(void)state;
	tl_streams_free(streams);
	streams = tl_streams_new(&options);
	glob[1] = 'X';
	assert_int_equal(see(1, TL_FILE_REGULAR, 0, O_WRONLY, "/srv/a/b/trace")->verdict,
			 TL_VERDICT_LOG);
	assert_int_equal(see(2, TL_FILE_REGULAR, 0, O_WRONLY, "/srv/a.log")->verdict,
			 TL_VERDICT_IGNORE);
}

static void offsets_grow_by_bytes_and_by_what_was_refused(void **state)
{
	struct tl_stream_info *info;

	(void)state;
	info = see_pipe(7);
	assert_bytes(7, 10, 0, 0, 0);
	assert_bytes(7, 10, 0, 10, 0);
	assert_bytes(7, 5, 100, 120, 100);
	assert_bytes(7, 5, 101, 126, 1);
	assert_int_equal(info->next_offset, 131);
	assert_int_equal(info->last_tgid, 101);
	assert_int_equal(info->last_ns, 55);
	assert_true(info->dirty);
}

static void a_snapshot_read_before_but_placed_after_makes_no_hole(void **state)
{
	(void)state;
	see_pipe(7);
	assert_bytes(7, 10, 50, 50, 50);
	assert_bytes(7, 10, 20, 60, 0);
	assert_bytes(7, 10, 50, 70, 0);
}

static void a_counter_that_began_anew_is_noticed_after_a_file_event(void **state)
{
	(void)state;
	see_pipe(7);
	assert_bytes(7, 10, 50, 50, 50);
	assert_int_equal(see_pipe(7)->number, 1);
	assert_bytes(7, 10, 8, 68, 8);
	assert_bytes(7, 10, 9, 79, 1);
}

static void trailing_loss_is_a_hole_once(void **state)
{
	struct tl_stream_row row = {.file = {.ino = 7, .dev = 1}, .stream = {.lost_bytes = 30}};
	struct tl_stream_info *info;
	uint64_t offset;

	(void)state;
	assert_int_equal(tl_streams_trailing(streams, &row, &info, &offset), 0);
	see_pipe(7);
	assert_bytes(7, 10, 0, 0, 0);
	assert_int_equal(tl_streams_trailing(streams, &row, &info, &offset), 30);
	assert_int_equal(offset, 10);
	assert_int_equal(info->number, 1);
	assert_int_equal(info->next_offset, 40);
	assert_int_equal(tl_streams_trailing(streams, &row, &info, &offset), 0);
	assert_bytes(7, 10, 30, 40, 0);
}

static void bytes_of_ignored_and_unknown_streams_are_dropped_and_unknown_ones_counted(void **state)
{
	uint64_t offset, hole;

	(void)state;
	see(7, TL_FILE_OTHER, TL_EVF_STDOUT, O_WRONLY, "/dev/null");
	assert_null(bytes(7, 10, 0, &offset, &hole));
	assert_int_equal(tl_streams_unknown_bytes(streams), 0);
	assert_null(bytes(8, 10, 0, &offset, &hole));
	assert_int_equal(tl_streams_unknown_bytes(streams), 10);
}

static void a_verdict_the_kernel_did_not_take_is_told_again(void **state)
{
	(void)state;
	decide_error = -EAGAIN;
	see_pipe(7);
	assert_int_equal(decided, 1);
	assert_bytes(7, 1, 0, 0, 0);
	assert_int_equal(decided, 2);
	decide_error = 0;
	assert_bytes(7, 1, 0, 1, 0);
	assert_bytes(7, 1, 0, 2, 0);
	assert_int_equal(decided, 3);
}

static void an_identity_used_again_gets_a_new_number(void **state)
{
	struct tl_stream_info *first, *second;
	size_t iter = 0;

	(void)state;
	first = see(7, TL_FILE_REGULAR, TL_EVF_STDOUT, O_WRONLY, "/srv/a");
	assert_bytes(7, 10, 0, 0, 0);
	assert_int_equal(see(7, TL_FILE_REGULAR, TL_EVF_STDOUT, O_WRONLY, "/srv/a")->number,
			 first->number);
	second = see(7, TL_FILE_REGULAR, TL_EVF_STDOUT, O_WRONLY, "/srv/b");
	assert_int_equal(second->number, 2);
	assert_bytes(7, 10, 0, 0, 0);
	assert_int_equal(tl_streams_get(streams, 1)->next_offset, 10);
	assert_string_equal(tl_streams_get(streams, 1)->path, "/srv/a");
	while (tl_streams_next(streams, &iter))
		;
	tl_streams_remove(streams, 1);
	assert_null(tl_streams_get(streams, 1));
	assert_bytes(7, 10, 0, 10, 0);
	assert_int_equal(see_pipe(8)->number, 3);
}

static void past_max_a_stream_is_refused_and_counted(void **state)
{
	uint64_t offset, hole;

	(void)state;
	for (uint64_t ino = 1; ino <= 8; ino++)
		assert_non_null(see_pipe(ino));
	assert_null(see_pipe(9));
	assert_int_equal(tl_streams_refused(streams), 1);
	assert_null(bytes(9, 10, 0, &offset, &hole));
	assert_int_equal(tl_streams_unknown_bytes(streams), 10);
	tl_streams_remove(streams, 3);
	assert_int_equal(see_pipe(9)->number, 9);
}

static void a_walk_goes_on_over_removals(void **state)
{
	struct tl_stream_info *info;
	size_t iter = 0, n = 0;

	(void)state;
	for (uint64_t ino = 1; ino <= 8; ino++)
		see_pipe(ino);
	while ((info = tl_streams_next(streams, &iter))) {
		n++;
		tl_streams_remove(streams, info->number);
	}
	assert_int_equal(n, 8);
}

static void recover(const struct tl_frame *frame)
{
	for (size_t i = 0; i < frame->n; i++)
		assert_int_equal(tl_streams_recover(streams, frame->entries[i].type,
						    (struct tl_span){frame->bytes.data +
									     frame->entries[i].from,
								     frame->entries[i].len}),
				 0);
}

static void streams_come_back_as_they_were(void **state)
{
	struct tl_frame frame = {0};
	struct tl_stream_info *info;

	(void)state;
	see(7, TL_FILE_REGULAR, TL_EVF_STDERR, O_WRONLY, "/srv/a");
	see_pipe(8);
	see_pipe(9);
	info = see(7, TL_FILE_REGULAR, TL_EVF_STDOUT, O_WRONLY, "/srv/b");
	assert_bytes(7, 10, 4, 4, 4);
	info->records = 3;
	info->delivered_bytes = 9;
	tl_streams_save(streams, &frame, false);
	assert_int_equal(frame.n, 4);
	tl_streams_remove(streams, 2);
	tl_streams_save(streams, &frame, false);
	assert_int_equal(frame.n, 5);
	assert_bytes(7, 10, 4, 14, 0);
	tl_streams_save(streams, &frame, false);
	assert_int_equal(frame.n, 6);
	teardown(NULL);
	setup(NULL);
	recover(&frame);
	assert_null(tl_streams_get(streams, 2));
	assert_string_equal(tl_streams_get(streams, 1)->path, "/srv/a");
	info = tl_streams_get(streams, 4);
	assert_string_equal(info->path, "/srv/b");
	assert_int_equal(info->next_offset, 24);
	assert_int_equal(info->records, 3);
	assert_int_equal(info->delivered_bytes, 9);
	assert_int_equal(info->std, TL_EVF_STDOUT);
	assert_int_equal(tl_streams_next_number(streams), 5);
	assert_bytes(7, 1, 5, 25, 1);
	assert_int_equal(decided, 0);
	tl_frame_clear(&frame);
	tl_streams_save(streams, &frame, false);
	assert_int_equal(frame.n, 1);
	tl_frame_clear(&frame);
	tl_streams_save(streams, &frame, true);
	assert_int_equal(frame.n, 3);
	tl_frame_done(&frame);
}

static void an_identity_moved_within_one_frame_comes_back_at_its_new_number(void **state)
{
	struct tl_frame frame = {0};
	uint64_t offset, hole;

	(void)state;
	see_pipe(6);
	see(7, TL_FILE_REGULAR, TL_EVF_STDOUT, O_WRONLY, "/srv/a");
	tl_streams_save(streams, &frame, false);
	/* The new number takes the free place in front of the old one's. */
	tl_streams_remove(streams, 1);
	see(7, TL_FILE_REGULAR, TL_EVF_STDOUT, O_WRONLY, "/srv/b");
	tl_streams_save(streams, &frame, false);
	teardown(NULL);
	setup(NULL);
	recover(&frame);
	assert_int_equal(bytes(7, 1, 0, &offset, &hole)->number, 3);
	tl_frame_done(&frame);
}

static void a_damaged_entry_is_refused(void **state)
{
	struct tl_frame frame = {0};

	(void)state;
	see(7, TL_FILE_REGULAR, TL_EVF_STDOUT, O_WRONLY, "/srv/a");
	tl_streams_save(streams, &frame, false);
	teardown(NULL);
	setup(NULL);
	for (size_t len = 0; len < frame.bytes.len; len++)
		assert_int_equal(tl_streams_recover(streams, TL_STATE_STREAM,
						    (struct tl_span){frame.bytes.data, len}),
				 -EBADMSG);
	assert_int_equal(tl_streams_recover(streams, TL_STATE_STREAM_END, TL_SPAN_LIT("abc")),
			 -EBADMSG);
	tl_frame_done(&frame);
}

static void a_forgotten_stream_goes_once_its_bytes_are_told(void **state)
{
	struct tl_stream_info *info = see_pipe(7);
	const struct tl_file_id file = info->file;
	uint64_t number = info->number;

	(void)state;
	assert_bytes(7, 10, 0, 0, 0);
	tl_streams_forgotten(streams, &file);
	tl_streams_sweep(streams);
	assert_non_null(tl_streams_get(streams, number));
	info->delivered_bytes = 4;
	info->gap_bytes = 6;
	tl_streams_sweep(streams);
	assert_null(tl_streams_get(streams, number));
}

static void what_is_written_to_a_forgotten_file_is_a_new_stream(void **state)
{
	struct tl_stream_info *info = see_pipe(7);
	const struct tl_file_id file = info->file;
	uint64_t number = info->number;

	(void)state;
	assert_bytes(7, 10, 3, 3, 3);
	tl_streams_forgotten(streams, &file);
	info = see_pipe(7);
	assert_int_not_equal(info->number, number);
	assert_bytes(7, 10, 0, 0, 0);
	assert_non_null(tl_streams_get(streams, number));
}

static void recovered_streams_without_a_row_are_forgotten(void **state)
{
	struct tl_frame frame = {0};
	struct tl_stream_row row = {.file = {.ino = 8, .dev = 1}};

	(void)state;
	(void)see_pipe(7);
	(void)see_pipe(8);
	tl_streams_save(streams, &frame, true);
	(void)teardown(NULL);
	(void)setup(NULL);
	for (size_t i = 0; i < frame.n; i++)
		assert_int_equal(tl_streams_recover(
					 streams, frame.entries[i].type,
					 (struct tl_span){frame.bytes.data + frame.entries[i].from,
							  frame.entries[i].len}),
				 0);
	tl_frame_done(&frame);
	tl_streams_row(streams, &row);
	tl_streams_forgotten_unseen(streams);
	tl_streams_sweep(streams);
	assert_null(tl_streams_get(streams, 1));
	assert_non_null(tl_streams_get(streams, 2));
}

static void the_last_row_of_a_forgotten_entry_says_nothing_of_the_new_one(void **state)
{
	struct tl_stream_row row = {.file = {.ino = 7, .dev = 1}, .stream = {.lost_bytes = 9}};
	struct tl_stream_info *info = see_pipe(7);
	uint64_t offset;

	(void)state;
	info->last_ns = UINT64_C(60000000000);
	assert_int_equal(tl_streams_trailing(streams, &row, &info, &offset), 0);
	row.stream.last_ns = info->last_ns;
	assert_int_equal(tl_streams_trailing(streams, &row, &info, &offset), 9);
}

static void what_moved_unseen_is_told_of_its_stream(void **state)
{
	struct tl_stream_row row = {.file = {.ino = 7, .dev = 1}, .stream = {.blind_bytes = 5}};
	const struct tl_stream_info *info = see_pipe(7);

	(void)state;
	tl_streams_row(streams, &row);
	assert_int_equal(info->blind_bytes, 5);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(files_behind_stdout_are_logs_by_kind_and_mode),
		TEST(named_paths_replace_the_default_ones),
		TEST(offsets_grow_by_bytes_and_by_what_was_refused),
		TEST(a_snapshot_read_before_but_placed_after_makes_no_hole),
		TEST(a_counter_that_began_anew_is_noticed_after_a_file_event),
		TEST(trailing_loss_is_a_hole_once),
		TEST(bytes_of_ignored_and_unknown_streams_are_dropped_and_unknown_ones_counted),
		TEST(a_verdict_the_kernel_did_not_take_is_told_again),
		TEST(an_identity_used_again_gets_a_new_number),
		TEST(past_max_a_stream_is_refused_and_counted),
		TEST(a_walk_goes_on_over_removals),
		TEST(streams_come_back_as_they_were),
		TEST(an_identity_moved_within_one_frame_comes_back_at_its_new_number),
		TEST(a_forgotten_stream_goes_once_its_bytes_are_told),
		TEST(what_is_written_to_a_forgotten_file_is_a_new_stream),
		TEST(recovered_streams_without_a_row_are_forgotten),
		TEST(the_last_row_of_a_forgotten_entry_says_nothing_of_the_new_one),
		TEST(what_moved_unseen_is_told_of_its_stream),
		TEST(a_damaged_entry_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
