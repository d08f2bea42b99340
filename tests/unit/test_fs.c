/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "userspace/base/fs.h"

static char dir[64];

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/tapline-fs-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	return tl_remove_tree(dir);
}

static const char *in_dir(const char *name)
{
	static char path[4][256];
	static unsigned turn;
	char *out = path[turn++ % 4];

	snprintf(out, sizeof(path[0]), "%s/%s", dir, name);
	return out;
}

static unsigned entries(void)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	assert_non_null(d);
	for (struct dirent *entry; (entry = readdir(d));)
		n += entry->d_name[0] != '.';
	closedir(d);
	return n;
}

static void mkdir_makes_all_parents_and_is_content_when_they_exist(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(tl_mkdir_p(in_dir("a/b//c/"), 0750, NULL), 0);
	assert_int_equal(stat(in_dir("a/b/c"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0750);
	assert_int_equal(tl_mkdir_p(in_dir("a/b/c"), 0750, NULL), 0);
	assert_int_equal(tl_mkdir_p("/", 0750, NULL), 0);
}

static void mkdir_below_a_file_is_enotdir_and_names_it(void **state)
{
	struct tl_error error = {0};

	(void)state;
	assert_int_equal(tl_file_replace(in_dir("file"), TL_SPAN_LIT("x"), false, NULL), 0);
	assert_int_equal(tl_mkdir_p(in_dir("file/sub"), 0755, &error), -ENOTDIR);
	assert_non_null(strstr(error.message, "/file"));
	assert_int_equal(tl_mkdir_p(in_dir("file"), 0755, &error), -ENOTDIR);
	assert_int_equal(tl_mkdir_p("", 0755, &error), -EINVAL);
}

static void replace_leaves_the_new_content_and_no_other_file(void **state)
{
	struct tl_buf text = {0};

	(void)state;
	assert_int_equal(tl_file_replace(in_dir("f"), TL_SPAN_LIT("first"), true, NULL), 0);
	assert_int_equal(tl_file_replace(in_dir("f"), TL_SPAN_LIT("second"), false, NULL), 0);
	assert_int_equal(tl_file_read(in_dir("f"), 100, &text, NULL), 0);
	assert_true(tl_span_is(tl_buf_span(&text), "second"));
	assert_int_equal(entries(), 1);
	tl_buf_done(&text);
}

static void failed_replace_keeps_the_old_and_cleans_up(void **state)
{
	struct tl_error error = {0};

	(void)state;
	/* A folder cannot be replaced by a file: only the rename at the end fails. */
	assert_int_equal(tl_mkdir_p(in_dir("d"), 0755, NULL), 0);
	assert_int_equal(tl_file_replace(in_dir("d"), TL_SPAN_LIT("x"), false, &error), -EISDIR);
	assert_non_null(strstr(error.message, in_dir("d")));
	assert_int_equal(entries(), 1);
	assert_int_equal(tl_file_replace(in_dir("none/f"), TL_SPAN_LIT("x"), false, &error),
			 -ENOENT);
}

static void read_appends_up_to_max_and_refuses_more(void **state)
{
	struct tl_buf text = {0};
	struct tl_error error = {0};

	(void)state;
	tl_file_replace(in_dir("f"), TL_SPAN_LIT("12345"), false, NULL);
	tl_buf_puts(&text, "0");
	assert_int_equal(tl_file_read(in_dir("f"), 5, &text, &error), 0);
	assert_true(tl_span_is(tl_buf_span(&text), "012345"));
	assert_int_equal(tl_file_read(in_dir("f"), 4, &text, &error), -EFBIG);
	assert_true(tl_span_is(tl_buf_span(&text), "012345"));
	assert_non_null(strstr(error.message, "larger than 4 bytes"));
	assert_int_equal(tl_file_read(in_dir("nope"), 4, &text, &error), -ENOENT);
	assert_non_null(strstr(error.message, "/nope"));
	tl_buf_done(&text);
}

static void read_takes_large_files_and_procfs(void **state)
{
	struct tl_buf big = {0}, text = {0};

	(void)state;
	for (int i = 0; i < 300000; i++)
		tl_buf_putc(&big, (char)('a' + i % 26));
	tl_file_replace(in_dir("big"), tl_buf_span(&big), false, NULL);
	assert_int_equal(tl_file_read(in_dir("big"), 1 << 20, &text, NULL), 0);
	assert_true(tl_span_eq(tl_buf_span(&big), tl_buf_span(&text)));
	tl_buf_clear(&text);
	assert_int_equal(tl_file_read("/proc/self/status", 1 << 16, &text, NULL), 0);
	assert_memory_equal(text.data, "Name:", 5);
	tl_buf_done(&big);
	tl_buf_done(&text);
}

static void remove_tree_takes_links_away_but_not_their_targets(void **state)
{
	(void)state;
	tl_mkdir_p(in_dir("keep"), 0755, NULL);
	tl_file_replace(in_dir("keep/f"), TL_SPAN_LIT("x"), false, NULL);
	tl_mkdir_p(in_dir("gone/x/y"), 0755, NULL);
	tl_file_replace(in_dir("gone/x/f"), TL_SPAN_LIT("x"), false, NULL);
	assert_int_equal(symlink("../keep", in_dir("gone/link")), 0);
	assert_int_equal(tl_remove_tree(in_dir("gone")), 0);
	assert_int_equal(access(in_dir("gone"), F_OK), -1);
	assert_int_equal(access(in_dir("keep/f"), F_OK), 0);
	assert_int_equal(tl_remove_tree(in_dir("gone")), 0);
}

static void random_bytes_differ(void **state)
{
	unsigned char a[1000] = {0}, b[1000] = {0};

	(void)state;
	tl_random(a, sizeof(a));
	tl_random(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_memory_not_equal(a + 500, b, 500);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(mkdir_makes_all_parents_and_is_content_when_they_exist),
		TEST(mkdir_below_a_file_is_enotdir_and_names_it),
		TEST(replace_leaves_the_new_content_and_no_other_file),
		TEST(failed_replace_keeps_the_old_and_cleans_up),
		TEST(read_appends_up_to_max_and_refuses_more),
		TEST(read_takes_large_files_and_procfs),
		TEST(remove_tree_takes_links_away_but_not_their_targets),
		cmocka_unit_test(random_bytes_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
