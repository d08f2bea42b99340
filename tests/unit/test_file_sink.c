/* SPDX-License-Identifier: Apache-2.0 */
/* The file sink: what is committed is there once, what is not is gone, whatever ended the process
 * before. A "kill" is a close without commit or rollback of files that the kernel already has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zstd.h>

#include "userspace/base/clock.h"
#include "userspace/base/fs.h"
#include "userspace/sink/file.h"

struct world {
	char dir[64];
	struct tl_file_settings settings;
	char *topics[4];
	struct tl_sink *sink;
	struct tl_dead_letter dead[1000];
	struct tl_sink_result result;
	struct tl_buf content;
	volatile int stop;
	struct tl_error error;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	snprintf(w->dir, sizeof(w->dir), "/tmp/tapline-file.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->topics[0] = "logs";
	w->topics[1] = "dlq";
	w->settings = (struct tl_file_settings){.path = w->dir,
						.max_bytes = 1 << 20,
						.level = 3,
						.sync = TL_FILE_SYNC_NEVER,
						.topics = {w->topics, 2}};
	w->result.dead = w->dead;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	if (w->sink)
		w->sink->ops->close(w->sink);
	(void)tl_remove_tree(w->dir);
	tl_buf_done(&w->content);
	free(w);
	return 0;
}

static void open_sink(struct world *w)
{
	if (tl_sink_file.open(&w->settings, &w->sink, &w->error) < 0)
		fail_msg("%s", w->error.message);
	w->sink->ops->source(w->sink, "test");
}

static void close_sink(struct world *w)
{
	w->sink->ops->close(w->sink);
	w->sink = NULL;
}

static int write_range(struct world *w, int from, int to)
{
	for (int i = from; i < to; i++) {
		char text[64];
		struct tl_message message = {.topic = TL_TOPIC_LOGS};
		int r;

		snprintf(text, sizeof(text), "{\"n\":%d}", i);
		message.value = tl_span_str(text);
		r = w->sink->ops->write(w->sink, &message, 1, &w->result, &w->stop, &w->error);
		if (r < 0)
			return r;
	}
	return 0;
}

static void commit_to(struct world *w, int64_t offset)
{
	struct tl_partition p = {TL_TOPIC_LOGS, 0, offset};

	if (w->sink->ops->commit(w->sink, &p, 1, &w->error) < 0)
		fail_msg("%s", w->error.message);
}

static int64_t position(struct world *w)
{
	struct tl_partition p = {TL_TOPIC_LOGS, 0, 77};

	assert_int_equal(w->sink->ops->positions(w->sink, &p, 1, &w->error), 0);
	return p.offset;
}

static int is_logs(const struct dirent *entry)
{
	return strncmp(entry->d_name, "logs-", 5) == 0;
}

/* All lines of all files in order, decompressed, in w->content; returns the number of files. */
static int read_all(struct world *w)
{
	struct dirent **names;
	int n = scandir(w->dir, &names, is_logs, alphasort);

	tl_buf_clear(&w->content);
	for (int i = 0; i < n; i++) {
		char path[400];
		struct tl_buf raw = {0};

		snprintf(path, sizeof(path), "%s/%s", w->dir, names[i]->d_name);
		assert_int_equal(tl_file_read(path, 64 << 20, &raw, NULL), 0);
		if (strstr(path, ".zst")) {
			char *out = malloc(1 << 20);
			ZSTD_DCtx *d = ZSTD_createDCtx();
			size_t k = ZSTD_decompressDCtx(d, out, 1 << 20, raw.data, raw.len);

			assert_false(ZSTD_isError(k));
			tl_buf_add(&w->content, out, k);
			ZSTD_freeDCtx(d);
			free(out);
		} else {
			tl_buf_add(&w->content, raw.data, raw.len);
		}
		tl_buf_done(&raw);
		free(names[i]);
	}
	free(names);
	return n;
}

static void assert_lines(struct world *w, int n)
{
	char expected[64];
	size_t at = 0;

	read_all(w);
	for (int i = 0; i < n; i++) {
		int len = snprintf(expected, sizeof(expected), "{\"n\":%d}\n", i);

		assert_true(at + (size_t)len <= w->content.len);
		assert_memory_equal(w->content.data + at, expected, (size_t)len);
		at += (size_t)len;
	}
	assert_int_equal(at, w->content.len);
}

static void committed_lines_are_there_with_their_position(void **state)
{
	struct world *w = *state;

	open_sink(w);
	assert_int_equal(position(w), -1);
	write_range(w, 0, 10);
	commit_to(w, 10);
	close_sink(w);
	open_sink(w);
	assert_int_equal(position(w), 10);
	write_range(w, 10, 20);
	commit_to(w, 20);
	assert_lines(w, 20);
	assert_int_equal(read_all(w), 1);
}

static void a_kill_before_the_commit_leaves_nothing_of_the_batch(void **state)
{
	struct world *w = *state;

	for (int kind = 0; kind < 2; kind++) {
		w->settings.zstd = kind;
		open_sink(w);
		write_range(w, kind * 20, kind * 20 + 10);
		commit_to(w, 10);
		/* More than is kept in memory, so that the kernel has some of it. */
		write_range(w, 1000000, 1200000);
		close_sink(w);
		open_sink(w);
		assert_int_equal(position(w), 10);
		write_range(w, kind * 20 + 10, kind * 20 + 20);
		commit_to(w, 20);
		close_sink(w);
	}
	assert_lines(w, 40);
}

static void a_rollback_leaves_nothing_of_the_batch(void **state)
{
	struct world *w = *state;

	for (int kind = 0; kind < 2; kind++) {
		w->settings.zstd = kind;
		open_sink(w);
		write_range(w, 1000000, 1200000);
		w->sink->ops->rollback(w->sink);
		write_range(w, kind * 20, kind * 20 + 10);
		commit_to(w, 10);
		write_range(w, 1000000, 1000010);
		w->sink->ops->rollback(w->sink);
		write_range(w, kind * 20 + 10, kind * 20 + 20);
		commit_to(w, 20);
		close_sink(w);
	}
	assert_lines(w, 40);
}

static void files_end_by_size_and_a_kill_may_come_at_any_time(void **state)
{
	struct world *w = *state;

	w->settings.max_bytes = 100;
	for (int i = 0; i < 100; i += 10) {
		open_sink(w);
		assert_int_equal(position(w), i ? i : -1);
		write_range(w, i, i + 10);
		commit_to(w, i + 10);
		write_range(w, 5000, 5010); /* begins a file that is never committed */
		close_sink(w);
	}
	open_sink(w);
	assert_lines(w, 100);
	assert_in_range(read_all(w), 5, 10);
}

static void files_end_by_age(void **state)
{
	struct world *w = *state;

	w->settings.every_ns = 1;
	open_sink(w);
	for (int i = 0; i < 3; i++) {
		write_range(w, i, i + 1);
		commit_to(w, i + 1);
	}
	assert_lines(w, 3);
	assert_int_equal(read_all(w), 3);
}

static void two_processes_may_not_write_to_one_folder(void **state)
{
	struct world *w = *state;
	struct tl_sink *second;

	open_sink(w);
	assert_int_equal(tl_sink_file.open(&w->settings, &second, &w->error), -EBUSY);
}

static void a_source_has_its_own_positions(void **state)
{
	struct world *w = *state;

	open_sink(w);
	commit_to(w, 10);
	w->sink->ops->source(w->sink, "another \"log\"");
	assert_int_equal(position(w), -1);
	commit_to(w, 3);
	close_sink(w);
	open_sink(w);
	assert_int_equal(position(w), 10);
	w->sink->ops->source(w->sink, "another \"log\"");
	assert_int_equal(position(w), 3);
}

static void what_is_no_line_of_json_is_dead(void **state)
{
	struct world *w = *state;
	struct tl_message messages[3] = {
		{.topic = TL_TOPIC_LOGS, .value = TL_SPAN_LIT("{\"a\":\n1}")},
		{.topic = TL_TOPIC_LOGS, .value = TL_SPAN_LIT("{\"n\":0}")},
		{.topic = TL_TOPIC_LOGS, .value = TL_SPAN_LIT("text")},
	};

	open_sink(w);
	assert_int_equal(w->sink->ops->write(w->sink, messages, 3, &w->result, &w->stop, &w->error),
			 0);
	commit_to(w, 3);
	assert_int_equal(w->result.n_dead, 2);
	assert_int_equal(w->result.written, 1);
	assert_lines(w, 1);
}

static void a_damaged_state_is_refused(void **state)
{
	struct world *w = *state;
	char path[100];

	open_sink(w);
	commit_to(w, 10);
	close_sink(w);
	snprintf(path, sizeof(path), "%s/.state.json", w->dir);
	assert_int_equal(tl_file_replace(path, TL_SPAN_LIT("{\"files\":"), false, NULL), 0);
	assert_int_equal(tl_sink_file.open(&w->settings, &w->sink, &w->error), -EBADMSG);
	w->sink = NULL;
	assert_non_null(strstr(w->error.message, "move the folder away"));
}

/* In a child that is SIGKILLed at a random time; the parent goes on from the position. */
static void killed_at_random_points_each_line_is_there_once(void **state)
{
	struct world *w = *state;
	int lines = 20000, kills = 0;

	w->settings.max_bytes = 20000;
	w->settings.zstd = true;
	for (;;) {
		pid_t pid = fork();
		int64_t at;

		if (pid == 0) {
			open_sink(w);
			at = position(w);
			for (int i = at < 0 ? 0 : (int)at; i < lines; i += 50) {
				write_range(w, i, i + 50);
				commit_to(w, i + 50);
			}
			_exit(0);
		}
		usleep(1000 + (unsigned)rand() % 15000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		kills++;
		open_sink(w);
		at = position(w);
		close_sink(w);
		if (at == lines)
			break;
		assert_true(kills < 10000);
	}
	assert_lines(w, lines);
	assert_true(kills > 5);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(committed_lines_are_there_with_their_position),
		TEST(a_kill_before_the_commit_leaves_nothing_of_the_batch),
		TEST(a_rollback_leaves_nothing_of_the_batch),
		TEST(files_end_by_size_and_a_kill_may_come_at_any_time),
		TEST(files_end_by_age),
		TEST(two_processes_may_not_write_to_one_folder),
		TEST(a_source_has_its_own_positions),
		TEST(what_is_no_line_of_json_is_dead),
		TEST(a_damaged_state_is_refused),
		TEST(killed_at_random_points_each_line_is_there_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
