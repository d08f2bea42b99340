/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the log share: a log in a folder of its own, copies of it as a kill or a power
 * loss would leave them, and shorthands. */
#ifndef TL_TESTS_LOG_FIXTURE_H
#define TL_TESTS_LOG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "userspace/base/clock.h"
#include "userspace/base/fs.h"
#include "userspace/log/log_internal.h"

/* Fewer rounds under a sanitizer. */
#ifdef __SANITIZE_ADDRESS__
#define SLOWER 11
#else
#define SLOWER 1
#endif

struct fixture {
	char base[64];		/* removed at the end */
	char dir[80], copy[80]; /* of the log; of its copy */
	struct tl_log_options options;
	struct tl_log *log;
	struct tl_log_reader *reader;
	struct tl_error error;
};

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	/* In memory where there is such a place: most tests open a log thousands of times. */
	strcpy(f->base,
	       access("/dev/shm", W_OK) == 0 ? "/dev/shm/tl-log-XXXXXX" : "/tmp/tl-log-XXXXXX");
	assert_non_null(mkdtemp(f->base));
	snprintf(f->dir, sizeof(f->dir), "%s/log", f->base);
	snprintf(f->copy, sizeof(f->copy), "%s/copy", f->base);
	f->options = (struct tl_log_options){
		.dir = f->dir, .max_bytes = 1 << 20, .segment_bytes = 1 << 16};
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->reader)
		tl_log_reader_close(f->reader);
	if (f->log)
		tl_log_close(f->log);
	tl_remove_tree(f->base);
	free(f);
	return 0;
}

static inline void check(struct fixture *f, int r, int expected)
{
	if (r != expected)
		print_error("got %d, not %d: %s\n", r, expected, f->error.message);
	assert_int_equal(r, expected);
}

static inline void open_log(struct fixture *f)
{
	check(f, tl_log_open(&f->options, &f->log, &f->error), 0);
}

static inline void close_log(struct fixture *f)
{
	tl_log_close(f->log);
	f->log = NULL;
}

static inline void open_reader_at(struct fixture *f, const char *name, uint64_t position)
{
	check(f, tl_log_reader_open(f->options.dir, name, position, 0, &f->reader, NULL, &f->error),
	      0);
}

static inline void open_reader(struct fixture *f, const char *name)
{
	open_reader_at(f, name, TL_LOG_RESUME);
}

static inline void close_reader(struct fixture *f)
{
	tl_log_reader_close(f->reader);
	f->reader = NULL;
}

/* Appends one frame of `n` texts. */
static inline int append_texts(struct fixture *f, size_t n, const char *const *texts,
			       uint64_t *ret_position)
{
	struct tl_log_entry entries[16];

	for (size_t i = 0; i < n; i++)
		entries[i] = (struct tl_log_entry){1, tl_span_str(texts[i])};
	return tl_log_append(f->log, entries, n, ret_position);
}

static inline int append_text(struct fixture *f, const char *text)
{
	return append_texts(f, 1, &text, NULL);
}

/* Appends one entry of `len` bytes that begins with `number`; the rest follows from it. */
static inline int append_number(struct fixture *f, uint64_t number, size_t len)
{
	static char data[1 << 20];
	struct tl_log_entry entry = {1, {data, len}};

	memset(data, (int)(number * 31 + 7), len);
	memcpy(data, &number, sizeof(number));
	return tl_log_append(f->log, &entry, 1, NULL);
}

static inline uint64_t number_of(struct tl_span data)
{
	uint64_t number;

	assert_true(data.len >= sizeof(number));
	memcpy(&number, data.data, sizeof(number));
	for (size_t i = sizeof(number); i < data.len; i++)
		assert_int_equal((unsigned char)data.data[i], (unsigned char)(number * 31 + 7));
	return number;
}

static inline void expect_text(struct fixture *f, const char *text, struct tl_log_item *ret_item)
{
	struct tl_log_item item;

	check(f, tl_log_reader_next(f->reader, &item, &f->error), 1);
	if (!tl_span_is(item.data, text))
		print_error("got \"%.*s\", not \"%s\"\n", (int)item.data.len, item.data.data, text);
	assert_true(tl_span_is(item.data, text));
	if (ret_item)
		*ret_item = item;
}

static inline void expect_nothing(struct fixture *f, int code)
{
	struct tl_log_item item;

	check(f, tl_log_reader_next(f->reader, &item, &f->error), code);
}

static inline size_t get_file(const char *path, char *bytes, size_t max)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, bytes, max);

	assert_true(fd >= 0 && n >= 0);
	return (size_t)n;
}

static inline void copy_file(const char *from, const char *to)
{
	_cleanup_(closep) int in = open(from, O_RDONLY),
			      out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	static char buf[1 << 20];
	ssize_t n;

	assert_true(in >= 0 && out >= 0);
	while ((n = read(in, buf, sizeof(buf))) > 0)
		assert_int_equal(write(out, buf, (size_t)n), n);
}

static inline void copy_tree(const char *from, const char *to)
{
	DIR *dir = opendir(from);
	struct dirent *entry;
	char a[512], b[512];
	struct stat st;

	assert_non_null(dir);
	assert_int_equal(mkdir(to, 0700), 0);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(a, sizeof(a), "%s/%s", from, entry->d_name);
		snprintf(b, sizeof(b), "%s/%s", to, entry->d_name);
		assert_int_equal(stat(a, &st), 0);
		if (S_ISDIR(st.st_mode))
			copy_tree(a, b);
		else
			copy_file(a, b);
	}
	closedir(dir);
}

/* Leaves a copy of the log as a kill at this instant would, and makes it the log of the fixture's
 * options. The log itself is closed. */
static inline void kill_writer(struct fixture *f)
{
	tl_remove_tree(f->copy);
	copy_tree(f->dir, f->copy);
	close_log(f);
	tl_remove_tree(f->dir);
	assert_int_equal(rename(f->copy, f->dir), 0);
}

static inline struct tl_log_head *map_head(const char *dir)
{
	_cleanup_(closep) int fd = open(dir, O_RDONLY | O_DIRECTORY);
	struct tl_log_head *head;

	assert_int_equal(tl_log_head_map(fd, false, &head), 0);
	return head;
}

/* As if the machine had been started again since; what is past `synced` may be lost. */
static inline void other_boot(const char *dir, uint64_t synced)
{
	struct tl_log_head *head = map_head(dir);
	uint8_t boot[16];

	memcpy(boot, head->boot, sizeof(boot));
	boot[0] ^= 1;
	tl_log_head_set(head, head->id, boot);
	head->synced = synced;
	tl_log_head_unmap(head);
}

/* Path of the newest segment and where it starts. */
static inline uint64_t newest_segment(const char *dir, char path[512])
{
	_cleanup_(closep) int fd = open(dir, O_RDONLY | O_DIRECTORY);
	struct tl_log_segments segments = {0};
	char name[TL_LOG_NAME];
	uint64_t start;

	assert_int_equal(tl_log_segments_load(fd, &segments), 0);
	assert_true(segments.n > 0);
	start = segments.items[segments.n - 1].start;
	tl_log_segment_name(start, name);
	snprintf(path, 512, "%s/%s", dir, name);
	tl_log_segments_done(&segments);
	return start;
}

static inline size_t count_segments(const char *dir)
{
	_cleanup_(closep) int fd = open(dir, O_RDONLY | O_DIRECTORY);
	struct tl_log_segments segments = {0};
	size_t n;

	assert_int_equal(tl_log_segments_load(fd, &segments), 0);
	n = segments.n;
	tl_log_segments_done(&segments);
	return n;
}

/* The tests are single files, so each has its own generator. */
static uint64_t random_state = 88172645463325252u;

static inline void random_seed(uint64_t seed)
{
	random_state = seed * 2 + 1;
}

static inline unsigned random_below(unsigned n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)(random_state >> 16) % n;
}

/* Reads the entries that append_number made. */
static inline void expect_numbers(struct fixture *f, uint64_t from, uint64_t to)
{
	struct tl_log_item item;

	for (; from < to; from++) {
		check(f, tl_log_reader_next(f->reader, &item, &f->error), 1);
		assert_int_equal(number_of(item.data), from);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
