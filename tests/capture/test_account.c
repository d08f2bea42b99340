/* SPDX-License-Identifier: Apache-2.0 */
/* What is not captured is counted: verdicts, budgets, a dead agent, full rings, contention. */
#include <sys/wait.h>

#include "tests/capture/lib/harness.c" /* one program, one source for the build */

static struct harness h;

static int open_all(void **state)
{
	(void)state;
	harness_open(&h, 8 << 20);
	printf("# %s\n", tl_capture_backend_why(h.capture));
	return 0;
}

static int close_all(void **state)
{
	(void)state;
	harness_close(&h);
	return 0;
}

static int forget(void **state)
{
	(void)state;
	harness_forget_events(&h);
	return 0;
}

#define CASE(f) cmocka_unit_test_setup(f, forget)

static void a_decided_file_is_captured_or_ignored(void **state)
{
	struct writer w;
	struct tally t;
	int out, sink;

	(void)state;
	make_pipe(&out, &sink);
	writer_start(&h, &w, "steps", 3, out, sink, false);
	writer_go(&w);
	writer_report(&w);
	for (uint64_t end = tl_mono_ns() + TL_SEC;
	     count_events(&h, (uint32_t)w.pid, TL_EV_LOG) < 1 && tl_mono_ns() < end;)
		harness_drain(&h);
	harness_tally(&h, (uint32_t)w.pid, true, &t);
	assert_int_equal(tl_capture_decide(h.capture, &t.id, TL_VERDICT_LOG), 0);
	writer_go(&w);
	writer_report(&w);
	assert_int_equal(tl_capture_decide(h.capture, &t.id, TL_VERDICT_IGNORE), 0);
	writer_go(&w);
	writer_report(&w);
	writer_finish(&h, &w, true);
	harness_tally(&h, (uint32_t)w.pid, true, &t);
	assert_int_equal(t.captured, 1000);
	assert_int_equal(t.events, 2);
	for (size_t i = 0, n = 0; i < h.n; i++)
		if (h.events[i]->type == TL_EV_LOG)
			assert_int_equal(h.events[i]->flags & TL_EVF_UNDECIDED,
					 n++ ? 0 : TL_EVF_UNDECIDED);
	writer_done(&w);
}

static void past_the_undecided_budget_bytes_are_counted(void **state)
{
	struct writer w;
	struct tally t;
	char path[128];

	(void)state;
	close(make_file(O_WRONLY, path));
	setenv("WRITER_FILE", path, 1);
	h.control->undecided_max = 1050;
	writer_start(&h, &w, "file", 30, open("/dev/null", O_WRONLY | O_CLOEXEC), -1, false);
	writer_finish(&h, &w, true);
	h.control->undecided_max = harness_options.undecided_max;
	harness_tally(&h, (uint32_t)w.pid, true, &t);
	assert_int_equal(t.captured, 1050);
	assert_int_equal(t.lost, 30 * 64 - 1050);
	assert_int_equal(harness_stream(&h, &t.id).lost_cause, TL_LOST_UNDECIDED);
	writer_done(&w);
	unlink(path);
}

static void a_dead_agent_stops_the_capture_and_bytes_are_counted(void **state)
{
	struct writer w;
	struct tally t;
	int out, sink;

	(void)state;
	make_pipe(&out, &sink);
	writer_start(&h, &w, "steps", 2, out, sink, false);
	writer_go(&w);
	writer_report(&w);
	h.control->heartbeat_ns = tl_mono_ns() - TL_SEC;
	h.control->stall_ns = TL_MS;
	writer_go(&w);
	writer_report(&w);
	h.control->stall_ns = 0;
	writer_finish(&h, &w, true);
	harness_tally(&h, (uint32_t)w.pid, true, &t);
	assert_int_equal(t.captured, 500);
	assert_int_equal(t.lost, 500);
	assert_int_equal(harness_stream(&h, &t.id).lost_cause, TL_LOST_STALLED);
	writer_done(&w);
}

static int add_blind(void *arg, const struct tl_file_id *file, const struct tl_stream *stream)
{
	(void)file;
	*(uint64_t *)arg += stream->blind_bytes;
	return 0;
}

static uint64_t blind_of_streams(void)
{
	uint64_t sum = 0;

	assert_int_equal(tl_capture_streams(h.capture, add_blind, &sum), 0);
	return sum;
}

static void bytes_moved_unseen_are_counted_blind(void **state)
{
	struct tl_stats before, after;
	struct writer w;
	char path[128];

	(void)state;
	assert_int_equal(tl_capture_stats(h.capture, &before), 0);
	writer_start(&h, &w, "sendfile", 1234, make_file(O_WRONLY, path), -1, false);
	writer_finish(&h, &w, true);
	assert_int_equal(w.status, 0);
	assert_int_equal(tl_capture_stats(h.capture, &after), 0);
	assert_int_equal(after.blind_bytes - before.blind_bytes, 1234 + 1000);
	/* The second call found the entry that a write between them made. */
	assert_int_equal(blind_of_streams(), 1000);
	writer_done(&w);
	unlink(path);
}

static void thirty_two_bit_writes_are_counted(void **state)
{
	struct tl_stats before, after;
	struct writer w;
	int out, sink;

	(void)state;
	tl_capture_stats(h.capture, &before);
	make_pipe(&out, &sink);
	writer_start(&h, &w, "compat", 5, out, sink, false);
	writer_finish(&h, &w, true);
	if (w.status || tl_capture_backend(h.capture) == TL_BACKEND_MULTI) {
		writer_done(&w);
		skip();
	}
	tl_capture_stats(h.capture, &after);
	assert_int_equal(after.lost_bytes[TL_LOST_COMPAT] - before.lost_bytes[TL_LOST_COMPAT], 450);
	assert_int_equal(count_events(&h, (uint32_t)w.pid, TL_EV_LOG), 0);
	writer_done(&w);
}

/* A ring that holds a part: what came out and what was counted add up to what was written, each
 * byte in its place. */
static void a_full_ring_loses_an_exact_number_of_bytes(void **state)
{
	static const char *const kinds[] = {"small", "writev", "big"};
	static const int counts[] = {3000, 300, 2};
	struct harness tiny;
	char path[128];

	(void)state;
	harness_open(&tiny, 64 << 10);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct writer w;
		struct tally t;

		writer_start(&tiny, &w, kinds[i], counts[i], make_file(O_WRONLY, path), -1, false);
		writer_finish(&tiny, &w, false);
		assert_int_equal(w.status, 0);
		for (uint64_t end = tl_mono_ns() + 20 * TL_MS; tl_mono_ns() < end;)
			harness_drain(&tiny);
		harness_tally(&tiny, (uint32_t)w.pid, true, &t);
		assert_true(t.captured > 0);
		assert_true(t.lost > 0);
		assert_int_equal(t.captured + t.lost, w.written);
		assert_int_equal(harness_stream(&tiny, &t.id).lost_cause, TL_LOST_RING_FULL);
		harness_forget_events(&tiny);
		writer_done(&w);
		unlink(path);
	}
	harness_close(&tiny);
}

static void eight_writers_at_once_lose_nothing_uncounted(void **state)
{
	struct tl_stats stats;
	struct writer w;
	struct tally t;
	char path[128];

	(void)state;
	writer_start(&h, &w, "storm", 4000, make_file(O_WRONLY | O_APPEND, path), -1, false);
	writer_finish(&h, &w, true);
	assert_int_equal(w.status, 0);
	harness_tally(&h, 0, false, &t);
	tl_capture_stats(h.capture, &stats);
	printf("# %llu of %llu bytes, %llu counted lost, %llu times skipped\n",
	       (unsigned long long)t.captured, (unsigned long long)w.written,
	       (unsigned long long)t.lost,
	       (unsigned long long)stats.lost_events[TL_LOST_RECURSION]);
	if (!stats.lost_events[TL_LOST_RECURSION])
		assert_int_equal(t.captured + t.lost, w.written);
	if (tl_capture_backend(h.capture) == TL_BACKEND_MULTI)
		assert_int_equal(stats.lost_events[TL_LOST_RECURSION], 0);
	writer_done(&w);
	unlink(path);
}

static void writers_that_hang_do_not_hide_others(void **state)
{
	struct tally t;

	(void)state;
	to_file(&h, "blocked", 2000, &t);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		CASE(a_decided_file_is_captured_or_ignored),
		CASE(past_the_undecided_budget_bytes_are_counted),
		CASE(a_dead_agent_stops_the_capture_and_bytes_are_counted),
		CASE(bytes_moved_unseen_are_counted_blind),
		CASE(thirty_two_bit_writes_are_counted),
		CASE(a_full_ring_loses_an_exact_number_of_bytes),
		CASE(eight_writers_at_once_lose_nothing_uncounted),
		CASE(writers_that_hang_do_not_hide_others),
	};

	return harness_main(argc, argv, tests, ARRAY_SIZE(tests), open_all, close_all);
}
