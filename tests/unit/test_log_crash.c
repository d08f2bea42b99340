/* SPDX-License-Identifier: Apache-2.0 */
/* Kills and power losses. */
#include "tests/unit/log_fixture.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* --- the tail --- */

#define TAIL 65536

struct tail {
	char bytes[2 * TAIL];
	char head[TL_LOG_HEAD_BYTES];
	char segment[512], head_path[512];
	size_t len;
	uint64_t ends[400]; /* of frame i */
	unsigned n;
};

static void put_file(const char *path, const char *bytes, size_t len)
{
	_cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
}

/* Writes a tail of frames of all sizes and keeps its bytes. */
static struct tail *make_tail(struct fixture *f)
{
	struct tail *tail = calloc(1, sizeof(*tail));
	struct tl_log_usage usage = {0};

	f->options.segment_bytes = 2 * TAIL;
	open_log(f);
	while (usage.end < TAIL) {
		check(f, append_number(f, tail->n, 8 + random_below(tail->n % 5 ? 100 : 1500)), 0);
		tl_log_usage(f->log, &usage);
		tail->ends[tail->n++] = usage.end;
	}
	kill_writer(f);
	newest_segment(f->dir, tail->segment);
	snprintf(tail->head_path, sizeof(tail->head_path), "%s/head", f->dir);
	tail->len = get_file(tail->segment, tail->bytes, sizeof(tail->bytes));
	assert_int_equal(tail->len, usage.end);
	return tail;
}

static void lay_out(struct fixture *f, const struct tail *tail, size_t len)
{
	char other[512];

	while (count_segments(f->dir) > 1) {
		newest_segment(f->dir, other);
		assert_int_equal(unlink(other), 0);
	}
	put_file(tail->segment, tail->bytes, len);
	put_file(tail->head_path, tail->head, sizeof(tail->head));
}

static int count_entry(void *arg, const struct tl_log_entry *entry)
{
	unsigned *n = arg;

	assert_int_equal(number_of(entry->data), *n);
	(*n)++;
	return 0;
}

static void a_tail_cut_at_any_byte_keeps_the_whole_frames_and_goes_on(void **state)
{
	struct fixture *f = *state;
	struct tail *tail = make_tail(f);
	unsigned whole = 0, seen;
	uint64_t id;

	other_boot(f->dir, 0);
	get_file(tail->head_path, tail->head, sizeof(tail->head));
	id = ((struct tl_log_head *)tail->head)->id;
	for (size_t cut = 0; cut <= tail->len; cut += SLOWER) {
		while (whole < tail->n && tail->ends[whole] <= cut)
			whole++;
		lay_out(f, tail, cut);
		open_log(f);
		assert_true(tl_log_id(f->log) != id);
		seen = 0;
		check(f, tl_log_recover(f->log, count_entry, &seen), 0);
		assert_int_equal(seen, whole);
		if (cut % 16 == 3) {
			check(f, append_number(f, whole, 50), 0);
			check(f, append_number(f, whole + 1, 50), 0);
			open_reader_at(f, "r", 0);
			expect_numbers(f, 0, whole + 2);
			expect_nothing(f, 0);
			assert_int_equal(tl_log_reader_id(f->reader), tl_log_id(f->log));
			close_reader(f);
		}
		close_log(f);
	}
	free(tail);
}

static void a_killed_append_is_all_there_or_not_at_all(void **state)
{
	struct fixture *f = *state;
	struct tail *tail = make_tail(f);
	unsigned first = tail->n - 4, whole = first, seen;
	struct tl_log_head *head;
	uint64_t id;

	/* The kernel runs on, the committed position is known: the kill came while the next frames
	 * were written. */
	get_file(tail->head_path, tail->head, sizeof(tail->head));
	head = (struct tl_log_head *)tail->head;
	id = head->id;
	head->committed = tail->ends[first - 1];
	for (size_t cut = tail->ends[first - 1]; cut <= tail->len; cut++) {
		while (whole < tail->n && tail->ends[whole] <= cut)
			whole++;
		lay_out(f, tail, cut);
		open_log(f);
		/* Nobody saw what is gone, but a torn frame always makes a new id. */
		assert_int_equal(tl_log_id(f->log) == id, cut == tail->ends[whole - 1]);
		seen = 0;
		check(f, tl_log_recover(f->log, count_entry, &seen), 0);
		assert_int_equal(seen, whole);
		check(f, append_number(f, whole, 50), 0);
		open_reader_at(f, "r", 0);
		expect_numbers(f, 0, whole + 1);
		expect_nothing(f, 0);
		close_reader(f);
		close_log(f);
	}
	free(tail);
}

static void damage_before_the_promised_position_is_ebadmsg_and_the_remedy_works(void **state)
{
	struct fixture *f = *state;
	struct tail *tail = make_tail(f);

	get_file(tail->head_path, tail->head, sizeof(tail->head));
	for (int i = 0; i < 3000 / SLOWER; i++) {
		size_t at = random_below((unsigned)tail->len);
		char was = tail->bytes[at];
		unsigned seen = 0, whole = 0;

		tail->bytes[at] ^= (char)(1 << random_below(8));
		lay_out(f, tail, tail->len);
		check(f, tl_log_open(&f->options, &f->log, &f->error), -EBADMSG);
		assert_non_null(strstr(f->error.message, "00000000000000000000.seg at byte "));
		assert_non_null(strstr(f->error.message, tail->head_path));
		/* Nothing was touched. */
		assert_int_equal(get_file(tail->segment, tail->bytes, sizeof(tail->bytes)),
				 tail->len);

		assert_int_equal(unlink(tail->head_path), 0);
		open_log(f);
		check(f, tl_log_recover(f->log, count_entry, &seen), 0);
		while (tail->ends[whole] <= at)
			whole++;
		assert_int_equal(seen, at < 64 ? 0 : whole);
		close_log(f);
		tail->bytes[at] = was;
	}
	free(tail);
}

/* --- log ids and consumers over a power loss --- */

static void the_log_id_changes_exactly_when_positions_may_repeat(void **state)
{
	struct fixture *f = *state;
	uint64_t id;

	open_log(f);
	id = tl_log_id(f->log);
	assert_true(id != 0);
	check(f, append_text(f, "1"), 0);
	close_log(f);
	open_log(f);
	assert_int_equal(tl_log_id(f->log), id);
	check(f, append_text(f, "2"), 0);
	kill_writer(f);
	open_log(f); /* killed, but nothing torn */
	assert_int_equal(tl_log_id(f->log), id);
	check(f, append_text(f, "3"), 0);
	close_log(f);
	other_boot(f->dir, 0);
	open_log(f); /* another boot, but closed */
	assert_int_equal(tl_log_id(f->log), id);
	check(f, append_text(f, "4"), 0);
	kill_writer(f);
	other_boot(f->dir, 0);
	open_log(f);
	assert_true(tl_log_id(f->log) != id);
	id = tl_log_id(f->log);
	kill_writer(f);
	open_log(f); /* chosen but not yet used: kept */
	assert_int_equal(tl_log_id(f->log), id);
	check(f, append_text(f, "5"), 0);
	open_reader(f, "r");
	for (const char *text = "1\0"
				"2\0"
				"3\0"
				"4\0"
				"5\0";
	     *text; text += 2) {
		expect_text(f, text, NULL);
		assert_int_equal(tl_log_reader_id(f->reader) == id, *text == '5');
	}
	expect_nothing(f, 0);
}

static void a_consumer_that_was_past_the_cut_misses_nothing_new(void **state)
{
	struct fixture *f = *state;
	struct tl_log_item item;
	char path[512];
	uint64_t kept, n;

	f->options.max_bytes = 1 << 16;
	f->options.segment_bytes = 1 << 12;
	open_log(f);
	check(f, append_number(f, 0, 100), 0);
	check(f, append_number(f, 1, 100), 0);
	kept = tl_log_id(f->log);
	open_reader(f, "r");
	expect_numbers(f, 0, 1);
	check(f, tl_log_reader_next(f->reader, &item, &f->error), 1);
	check(f, tl_log_reader_commit(f->reader, item.next), 0);
	close_reader(f);
	kill_writer(f);
	other_boot(f->dir, 0);
	newest_segment(f->dir, path);
	assert_int_equal(truncate(path, (off_t)item.position), 0); /* loses entry 1 */
	open_log(f);
	assert_true(tl_log_id(f->log) != kept);
	for (n = 100; append_number(f, n, 100) == 0;)
		n++; /* far past the consumer's old position: nothing of it may be freed */
	assert_true(n > 300);
	open_reader(f, "r");
	expect_numbers(f, 100, n);
	expect_nothing(f, 0);
}

static int note_state(void *arg, const struct tl_log_entry *entry)
{
	if (entry->type == (TL_LOG_PRIVATE | 16))
		memcpy(arg, entry->data.data, sizeof(uint64_t));
	return 0;
}

static void say_state(void *arg, struct tl_log *log)
{
	tl_log_checkpoint_add(log, TL_LOG_PRIVATE | 16, (struct tl_span){arg, sizeof(uint64_t)});
}

static void a_segment_without_its_first_frame_is_not_there(void **state)
{
	struct fixture *f = *state;
	uint64_t writer_state = 1, seen;
	char path[512];

	f->options.segment_bytes = 1 << 14;
	f->options.checkpoint = say_state;
	f->options.arg = &writer_state;
	open_log(f);
	check(f, append_number(f, 0, 10000), 0);
	writer_state = 2; /* with the next frame, which begins a segment */
	check(f, append_number(f, 1, 10000), 0);
	kill_writer(f);
	other_boot(f->dir, 0);
	newest_segment(f->dir, path);
	assert_int_equal(truncate(path, 64 + 16 + 16 + 500),
			 0); /* header and checkpoint are whole */
	open_log(f);
	check(f, tl_log_recover(f->log, note_state, &seen), 0);
	assert_int_equal(seen, 1);
}

/* --- real kills --- */

struct shared {
	uint64_t read; /* atomic: numbers the reader has seen in a row */
	uint64_t appended;
	uint64_t again; /* the reader: how many came twice, or out of order, or were lost */
};

static int last_number(void *arg, const struct tl_log_entry *entry)
{
	if (entry->type == 1 || entry->type == (TL_LOG_PRIVATE | 16))
		memcpy(arg, entry->data.data, sizeof(uint64_t));
	return 0;
}

static void say_last(void *arg, struct tl_log *log)
{
	tl_log_checkpoint_add(log, TL_LOG_PRIVATE | 16, (struct tl_span){arg, sizeof(uint64_t)});
}

/* Appends numbers after the last one it finds, until it is killed or has made `limit` frames. */
static void write_until_killed(struct fixture *f, unsigned limit)
{
	static char data[40000];
	uint64_t last = 0;

	f->options.checkpoint = say_last;
	f->options.arg = &last;
	if (tl_log_open(&f->options, &f->log, &f->error) < 0 ||
	    tl_log_recover(f->log, last_number, &last) < 0) {
		fprintf(stderr, "writer: %s\n", f->error.message);
		_exit(1);
	}
	for (unsigned i = 0; i < limit; i++) {
		uint64_t numbers[3] = {last + 1, last + 2, last + 3};
		struct tl_log_entry entries[3] = {
			{1, {(char *)&numbers[0], 8}},
			{1, {data, 8 + (last * 7919) % (sizeof(data) - 8)}},
			{1, {(char *)&numbers[2], 8}},
		};
		uint64_t deadline = tl_mono_ns() + 20 * TL_SEC;
		int r;

		memcpy(data, &numbers[1], 8);
		/* Full: the reader is at it, unless it failed. */
		while ((r = tl_log_append(f->log, entries, 3, NULL)) == -ENOSPC &&
		       tl_mono_ns() < deadline)
			usleep(200);
		if (r < 0)
			_exit(2);
		last += 3;
	}
	tl_log_close(f->log);
	_exit(0);
}

static void read_until_closed(struct fixture *f, struct shared *shared)
{
	uint64_t expected = 1, number;
	struct tl_log_item item;
	int r;

	while ((r = tl_log_reader_next(f->reader, &item, &f->error)) != -ENODATA) {
		if (r == 0) {
			tl_log_reader_wait(f->reader, 100);
			continue;
		}
		if (r < 0 || item.data.len < 8) {
			fprintf(stderr, "reader: %d %s\n", r, f->error.message);
			_exit(1);
		}
		memcpy(&number, item.data.data, 8);
		if (number != expected) {
			fprintf(stderr, "reader: %" PRIu64 " instead of %" PRIu64 "\n", number,
				expected);
			_exit(2);
		}
		__atomic_store_n(&shared->read, expected++, __ATOMIC_RELAXED);
		if (number % 7 == 0 && tl_log_reader_commit(f->reader, item.next) < 0)
			_exit(3);
	}
	_exit(0);
}

static pid_t spawn_writer(struct fixture *f, unsigned limit)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		write_until_killed(f, limit);
	return pid;
}

static void wait_for(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_writer_killed_200_times_loses_and_repeats_nothing(void **state)
{
	struct shared *shared =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct fixture *f = *state;
	uint64_t before_last;
	pid_t reader;

	f->options.max_bytes = 4 << 20;
	f->options.segment_bytes = 1 << 19;
	open_log(f);
	close_log(f);
	open_reader(f, "r");
	open_log(f); /* not closed while the reader begins */
	kill_writer(f);
	close_reader(f);
	open_reader(f, "r");
	reader = fork();
	if (reader == 0)
		read_until_closed(f, shared);
	for (int i = 0; i < 200; i++) {
		pid_t writer = spawn_writer(f, UINT32_MAX);

		usleep(random_below(8000));
		kill(writer, SIGKILL);
		assert_int_equal(waitpid(writer, NULL, 0), writer);
		f->options.sync_ms = i % 2 ? 2 : 0;
	}
	before_last = __atomic_load_n(&shared->read, __ATOMIC_RELAXED);
	wait_for(spawn_writer(f, 10));
	wait_for(reader);
	print_message("%" PRIu64 " entries through 200 kills\n", shared->read);
	assert_true(before_last > 1000);
	assert_true(shared->read >= before_last + 30 && shared->read % 3 == 0);
	munmap(shared, 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_tail_cut_at_any_byte_keeps_the_whole_frames_and_goes_on),
		TEST(a_killed_append_is_all_there_or_not_at_all),
		TEST(damage_before_the_promised_position_is_ebadmsg_and_the_remedy_works),
		TEST(a_segment_without_its_first_frame_is_not_there),
		TEST(the_log_id_changes_exactly_when_positions_may_repeat),
		TEST(a_consumer_that_was_past_the_cut_misses_nothing_new),
		TEST(a_writer_killed_200_times_loses_and_repeats_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
