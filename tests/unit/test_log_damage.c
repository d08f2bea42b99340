/* SPDX-License-Identifier: Apache-2.0 */
/* Bad disks and full ones. TL_LOG_FLIPS=100000 tries that many flipped bits. */
#include "tests/unit/log_fixture.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#define TAIL 65536

struct original {
	uint64_t position[2000], end[2000]; /* of entry i: its own, and its frame's end */
	uint64_t frame[2000];
	uint64_t n;
};

static void make_original(struct fixture *f, struct original *o)
{
	struct tl_log_usage usage = {0};
	static char data[4][600];

	f->options.segment_bytes = 16384;
	f->options.max_bytes = 1 << 20;
	open_log(f);
	while (usage.end < TAIL) {
		struct tl_log_entry entries[4];
		unsigned n = 1 + random_below(4);
		uint64_t begin, at;

		for (unsigned i = 0; i < n; i++) {
			uint64_t number = o->n + i;
			size_t len = 8 + random_below(500);

			memset(data[i], (int)(number * 31 + 7), len);
			memcpy(data[i], &number, 8);
			entries[i] = (struct tl_log_entry){1, {data[i], len}};
		}
		check(f, tl_log_append(f->log, entries, n, &at), 0);
		begin = at - 16;
		tl_log_usage(f->log, &usage);
		for (unsigned i = 0; i < n; i++, o->n++) {
			o->position[o->n] = at;
			o->frame[o->n] = begin;
			o->end[o->n] = usage.end;
			at += 8 + (entries[i].data.len + 7) / 8 * 8;
		}
	}
	close_log(f);
}

/* Reads all; every item must be an original one, in order. Returns how many entries are missing and
 * checks that each missing one was in the frame that holds byte `at`. */
static void read_around(struct fixture *f, const struct original *o, uint64_t at)
{
	uint64_t next = 0, missing = 0;
	struct tl_log_item item;
	int r;

	open_reader_at(f, "r", 0);
	while ((r = tl_log_reader_next(f->reader, &item, &f->error)) != -ENODATA) {
		if (r == -EBADMSG)
			continue;
		check(f, r, 1);
		for (; next < number_of(item.data); next++, missing++)
			assert_true(o->frame[next] <= at && at < o->end[next]);
		assert_int_equal(number_of(item.data), next);
		assert_int_equal(item.position, o->position[next]);
		next++;
	}
	for (; next < o->n; next++, missing++)
		assert_true(o->frame[next] <= at && at < o->end[next]);
	/* A flip in a segment's header or checkpoint costs no entry, but is told. */
	assert_true(tl_log_reader_damaged(f->reader) > 0);
	close_reader(f);
}

static void a_flipped_bit_costs_its_frame_only_and_is_never_accepted(void **state)
{
	struct original *o = calloc(1, sizeof(*o));
	struct tl_log_segments segments = {0};
	struct fixture *f = *state;
	const char *wanted = getenv("TL_LOG_FLIPS");
	int dir_fd, rounds = wanted ? atoi(wanted) : 10000 / SLOWER;

	make_original(f, o);
	dir_fd = open(f->dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(tl_log_segments_load(dir_fd, &segments), 0);
	assert_true(segments.n >= 4);
	for (int i = 0; i < rounds; i++) {
		const struct tl_log_segment *segment =
			&segments.items[random_below((unsigned)segments.n)];
		uint64_t at = random_below((unsigned)(segment->end - segment->start));
		char name[TL_LOG_NAME], byte, was;
		int fd;

		tl_log_segment_name(segment->start, name);
		fd = openat(dir_fd, name, O_RDWR);
		assert_int_equal(pread(fd, &was, 1, (off_t)at), 1);
		byte = was ^ (char)(1 << random_below(8));
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
		read_around(f, o, segment->start + at);
		assert_int_equal(pwrite(fd, &was, 1, (off_t)at), 1);
		close(fd);
	}
	tl_log_segments_done(&segments);
	close(dir_fd);
	free(o);
}

static void a_missing_segment_is_told_and_stepped_over(void **state)
{
	struct original *o = calloc(1, sizeof(*o));
	struct tl_log_segments segments = {0};
	struct fixture *f = *state;
	struct tl_log_item item;
	char name[TL_LOG_NAME];
	uint64_t gap, next = 0;
	int dir_fd;

	make_original(f, o);
	dir_fd = open(f->dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(tl_log_segments_load(dir_fd, &segments), 0);
	open_reader(f, "r");
	gap = segments.items[2].end - segments.items[1].start;
	for (int i = 1; i <= 2; i++) {
		tl_log_segment_name(segments.items[i].start, name);
		assert_int_equal(unlinkat(dir_fd, name, 0), 0);
	}
	for (; o->position[next] < segments.items[1].start; next++) {
		check(f, tl_log_reader_next(f->reader, &item, &f->error), 1);
		assert_int_equal(number_of(item.data), next);
	}
	check(f, tl_log_reader_next(f->reader, &item, &f->error), -EBADMSG);
	assert_int_equal(tl_log_reader_damaged(f->reader), gap);
	while (o->position[next] < segments.items[3].start)
		next++;
	expect_numbers(f, next, o->n);
	expect_nothing(f, -ENODATA);
	tl_log_segments_done(&segments);
	close(dir_fd);
	free(o);
}

static void bytes_that_look_like_a_frame_are_not_one_elsewhere(void **state)
{
	struct fixture *f = *state;
	char path[512], bytes[4096], byte;
	struct tl_log_entry entry = {1, {bytes, 0}};
	struct tl_log_item item;
	uint64_t forged;
	size_t len;
	int fd;

	open_log(f);
	check(f, append_text(f, "genuine"), 0);
	newest_segment(f->dir, path);
	len = get_file(path, bytes, sizeof(bytes));
	entry.data = (struct tl_span){bytes, len}; /* the file so far, as someone's log line */
	check(f, tl_log_append(f->log, &entry, 1, &forged), 0);
	check(f, append_text(f, "last"), 0);
	fd = open(path, O_RDWR);
	assert_int_equal(pread(fd, &byte, 1, (off_t)forged - 16), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)forged - 16), 1);
	close(fd);
	open_reader(f, "r");
	expect_text(f, "genuine", NULL);
	check(f, tl_log_reader_next(f->reader, &item, &f->error), -EBADMSG);
	expect_text(f, "last", NULL);
	expect_nothing(f, 0);
}

/* --- full disks --- */

static void a_short_write_leaves_the_log_as_it_was(void **state)
{
	struct rlimit limit, unlimited;
	struct fixture *f = *state;
	struct stat st;
	char path[512];
	struct tl_log_usage usage;

	open_log(f);
	check(f, append_number(f, 0, 1000), 0);
	newest_segment(f->dir, path);
	tl_log_usage(f->log, &usage);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
	signal(SIGXFSZ, SIG_IGN);
	for (uint64_t room = 0; room < 1024; room += 13) {
		limit = unlimited;
		limit.rlim_cur = usage.end + room;
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
		check(f, append_number(f, 1, 1000), -ENOSPC);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_size, usage.end);
	}
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
	check(f, append_number(f, 1, 1000), 0);
	open_reader(f, "r");
	expect_numbers(f, 0, 2);
	expect_nothing(f, 0);
}

static int unmount(void **state)
{
	struct fixture *f = *state;
	char base[64];

	if (f->reader)
		close_reader(f);
	if (f->log)
		close_log(f);
	strcpy(base, f->base);
	umount2(base, MNT_DETACH);
	return teardown(state);
}

static void a_full_disk_is_enospc_and_recovers_when_segments_are_read(void **state)
{
	struct fixture *f = *state;
	uint64_t n = 0, from, id;
	int r;

	if (mount("tl-log-test", f->base, "tmpfs", 0, "size=1m") < 0) {
		print_message("skipped: cannot mount a small tmpfs (%s)\n", strerror(errno));
		skip();
	}
	f->options.max_bytes = UINT64_C(1) << 30;
	f->options.segment_bytes = 2 << 20;
	check(f, tl_log_open(&f->options, &f->log, &f->error), -ENOSPC);
	assert_non_null(strstr(f->error.message, "are free"));
	f->options.segment_bytes = 1 << 16;
	open_log(f);
	id = tl_log_id(f->log);
	open_reader(f, "r");
	while ((r = append_number(f, n, 3000)) == 0)
		n++;
	check(f, r, -ENOSPC);
	assert_true(n > 250 && n < 350);
	check(f, append_number(f, n, 3000), -ENOSPC);
	close_log(f);
	open_log(f); /* a full disk does not keep what is there from being read */
	assert_int_equal(tl_log_id(f->log), id);
	expect_numbers(f, 0, n);
	from = n;
	for (int rounds = 0; rounds < 20; rounds++) {
		struct tl_log_item item = {0};

		close_reader(f);
		open_reader(f, "r");
		while ((r = tl_log_reader_next(f->reader, &item, &f->error)) == 1)
			check(f, tl_log_reader_commit(f->reader, item.next), 0);
		check(f, r, 0);
		while ((r = append_number(f, n, 3000)) == 0)
			n++;
		check(f, r, -ENOSPC);
		assert_true(n > from + 200);
		expect_numbers(f, from, n);
		from = n;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_flipped_bit_costs_its_frame_only_and_is_never_accepted),
		TEST(a_missing_segment_is_told_and_stepped_over),
		TEST(bytes_that_look_like_a_frame_are_not_one_elsewhere),
		TEST(a_short_write_leaves_the_log_as_it_was),
		cmocka_unit_test_setup_teardown(
			a_full_disk_is_enospc_and_recovers_when_segments_are_read, setup, unmount),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
