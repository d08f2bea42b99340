/* SPDX-License-Identifier: Apache-2.0 */
/* Kills, power losses, bad disks and full ones. */
#include "tests/unit/log_fixture.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#ifdef __SANITIZE_ADDRESS__
#define SLOWER 11
#else
#define SLOWER 1
#endif

static unsigned random_below(unsigned n)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (unsigned)(x >> 16) % n;
}

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

static size_t get_file(const char *path, char *bytes, size_t max)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, bytes, max);

	assert_true(fd >= 0 && n >= 0);
	return (size_t)n;
}

/* Writes a tail of frames of all sizes and keeps its bytes. */
static struct tail *make_tail(struct fixture *f)
{
	struct tail *tail = calloc(1, sizeof(*tail));
	struct tl_log_usage usage = { 0 };

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

static void read_numbers(struct fixture *f, uint64_t from, uint64_t to)
{
	struct tl_log_item item;

	for (; from < to; from++) {
		check(f, tl_log_reader_next(f->reader, &item, &f->error), 1);
		assert_int_equal(number_of(item.data), from);
	}
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
			read_numbers(f, 0, whole + 2);
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

	/* The kernel runs on, the committed position is known: the kill came while the next frames were written. */
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
		read_numbers(f, 0, whole + 1);
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
		assert_int_equal(get_file(tail->segment, tail->bytes, sizeof(tail->bytes)), tail->len);

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

/* --- bad disks --- */

struct original {
	uint64_t position[2000], end[2000]; /* of entry i: its own, and its frame's end */
	uint64_t frame[2000];
	uint64_t n;
};

static void make_original(struct fixture *f, struct original *o)
{
	struct tl_log_usage usage = { 0 };
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
			entries[i] = (struct tl_log_entry){ 1, { data[i], len } };
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

/* Reads all; every item must be an original one, in order. Returns how many entries are missing and checks that each missing one
 * was in the frame that holds byte `at`. */
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
	struct tl_log_segments segments = { 0 };
	struct fixture *f = *state;
	int dir_fd;

	make_original(f, o);
	dir_fd = open(f->dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(tl_log_segments_load(dir_fd, &segments), 0);
	assert_true(segments.n >= 4);
	for (int i = 0; i < 100000 / SLOWER / SLOWER; i++) {
		const struct tl_log_segment *segment = &segments.items[random_below((unsigned)segments.n)];
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
	struct tl_log_segments segments = { 0 };
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
	read_numbers(f, next, o->n);
	expect_nothing(f, -ENODATA);
	tl_log_segments_done(&segments);
	close(dir_fd);
	free(o);
}

static void bytes_that_look_like_a_frame_are_not_one_elsewhere(void **state)
{
	struct fixture *f = *state;
	char path[512], bytes[4096], byte;
	struct tl_log_entry entry = { 1, { bytes, 0 } };
	struct tl_log_item item;
	uint64_t forged;
	size_t len;
	int fd;

	open_log(f);
	check(f, append_text(f, "genuine"), 0);
	newest_segment(f->dir, path);
	len = get_file(path, bytes, sizeof(bytes));
	entry.data = (struct tl_span){ bytes, len }; /* the file so far, as someone's log line */
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
	for (const char *text = "1\0" "2\0" "3\0" "4\0" "5\0"; *text; text += 2) {
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
	read_numbers(f, 0, 1);
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
	read_numbers(f, 100, n);
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
	read_numbers(f, 0, 2);
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
	read_numbers(f, 0, n);
	from = n;
	for (int rounds = 0; rounds < 20; rounds++) {
		struct tl_log_item item = { 0 };

		check(f, tl_log_reader_commit(f->reader, item.next), 0);
		close_reader(f);
		open_reader(f, "r");
		while ((r = tl_log_reader_next(f->reader, &item, &f->error)) == 1)
			check(f, tl_log_reader_commit(f->reader, item.next), 0);
		check(f, r, 0);
		while ((r = append_number(f, n, 3000)) == 0)
			n++;
		check(f, r, -ENOSPC);
		assert_true(n > from + 200);
		read_numbers(f, from, n);
		from = n;
	}
}

/* --- real kills --- */

struct shared {
	uint64_t read;    /* atomic: numbers the reader has seen in a row */
	uint64_t appended;
	uint64_t again;   /* the reader: how many came twice, or out of order, or were lost */
};

static int last_number(void *arg, const struct tl_log_entry *entry)
{
	if (entry->type == 1 || entry->type == (TL_LOG_PRIVATE | 16))
		memcpy(arg, entry->data.data, sizeof(uint64_t));
	return 0;
}

static void say_last(void *arg, struct tl_log *log)
{
	tl_log_checkpoint_add(log, TL_LOG_PRIVATE | 16, (struct tl_span){ arg, sizeof(uint64_t) });
}

/* Appends numbers after the last one it finds, until it is killed or has made `limit` frames. */
static void write_until_killed(struct fixture *f, unsigned limit)
{
	static char data[40000];
	uint64_t last = 0;

	f->options.checkpoint = say_last;
	f->options.arg = &last;
	if (tl_log_open(&f->options, &f->log, &f->error) < 0 || tl_log_recover(f->log, last_number, &last) < 0) {
		fprintf(stderr, "writer: %s\n", f->error.message);
		_exit(1);
	}
	for (unsigned i = 0; i < limit; i++) {
		uint64_t numbers[3] = { last + 1, last + 2, last + 3 };
		struct tl_log_entry entries[3] = {
			{ 1, { (char *)&numbers[0], 8 } },
			{ 1, { data, 8 + (last * 7919) % (sizeof(data) - 8) } },
			{ 1, { (char *)&numbers[2], 8 } },
		};
		int r;

		memcpy(data, &numbers[1], 8);
		/* Full: the reader is at it. */
		while ((r = tl_log_append(f->log, entries, 3, NULL)) == -ENOSPC)
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
			fprintf(stderr, "reader: %" PRIu64 " instead of %" PRIu64 "\n", number, expected);
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
	struct shared *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
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
		TEST(a_flipped_bit_costs_its_frame_only_and_is_never_accepted),
		TEST(a_missing_segment_is_told_and_stepped_over),
		TEST(bytes_that_look_like_a_frame_are_not_one_elsewhere),
		TEST(the_log_id_changes_exactly_when_positions_may_repeat),
		TEST(a_consumer_that_was_past_the_cut_misses_nothing_new),
		TEST(a_short_write_leaves_the_log_as_it_was),
		cmocka_unit_test_setup_teardown(a_full_disk_is_enospc_and_recovers_when_segments_are_read, setup,
						unmount),
		TEST(a_writer_killed_200_times_loses_and_repeats_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
