/* SPDX-License-Identifier: Apache-2.0 */
/* What outlives the agent: maps and links pinned, taken over by the next one. Needs root and a BPF
 * file system. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "agent/capture_internal.h"
#include "tests/capture/lib/harness.c" /* one program, one source for the build */

static char dir[64];

static int new_dir(void **state)
{
	static int serial;

	(void)state;
	snprintf(dir, sizeof(dir), "/sys/fs/bpf/tapline-test-%d-%d", (int)getpid(), serial++);
	harness_options.pin_dir = dir;
	return 0;
}

static int drop_dir(void **state)
{
	struct tl_error error;

	(void)state;
	return tl_capture_unpin(dir, &error);
}

/* Closes as an agent that ends: everything pinned goes on. */
static void leave(struct harness *h)
{
	munmap(h->control, (size_t)sysconf(_SC_PAGESIZE));
	tl_ring_close(h->ring);
	tl_capture_close(h->capture, true);
}

static bool open_again(struct harness *h)
{
	struct harness old = *h;

	harness_open(h, 16 << 20);
	h->events = old.events;
	h->n = old.n;
	h->cap = old.cap;
	return true;
}

static void takeovers_lose_and_repeat_nothing(void **state)
{
	struct harness h, old;
	struct tl_stats stats;
	uint64_t skipped;
	struct writer w;
	struct tally t;
	char path[128];

	(void)state;
	harness_open(&h, 16 << 20);
	writer_start(&h, &w, "paced", 0, make_file(O_WRONLY, path), -1, false);
	for (int i = 0; i < 4; i++) {
		harness_drain(&h);
		if (i % 2) {
			/* The old one is gone for a while: the kernel goes on recording. */
			leave(&h);
			open_again(&h);
		} else {
			/* The old one still stands beside the new one. */
			old = h;
			open_again(&h);
			leave(&old);
		}
	}
	writer_go(&w);
	writer_finish(&h, &w, true);
	harness_drain(&h);
	assert_int_equal(tl_capture_stats(h.capture, &stats), 0);
	skipped = stats.lost_events[TL_LOST_RECURSION];
	/* kretprobe.multi is skipped on a CPU whose current bpf(2) call was preempted, ours that
	 * takes over too. The kernel counts that: at most so many of the 100-byte writes may be
	 * missing, and none may come twice. */
	harness_tally(&h, (uint32_t)w.pid, !skipped, &t);
	assert_in_range(t.captured, w.written - 100 * skipped, w.written);
	assert_int_equal(t.lost, 0);
	assert_true(w.written > 10000);
	assert_int_equal(harness_stream(&h, &t.id).seen_bytes, t.captured);
	if (skipped)
		printf("# %llu times skipped by the kernel\n", (unsigned long long)skipped);
	writer_done(&w);
	unlink(path);
	harness_close(&h);
}

static void a_takeover_keeps_selection_and_events(void **state)
{
	struct harness h;
	struct writer w;
	struct tally t;
	int out, sink;

	(void)state;
	harness_open(&h, 1 << 20);
	make_pipe(&out, &sink);
	writer_start(&h, &w, "steps", 2, out, sink, false);
	writer_go(&w);
	writer_report(&w);
	leave(&h);
	writer_go(&w); /* nobody is there */
	writer_report(&w);
	harness_open(&h, 1 << 20);
	writer_finish(&h, &w, true);
	harness_tally(&h, (uint32_t)w.pid, true, &t);
	assert_int_equal(t.captured, 1000);
	writer_done(&w);
	harness_close(&h);
}

static int try_open(struct tl_error *error)
{
	struct tl_capture_options options = harness_options;
	struct tl_capture *capture;
	bool reused;
	int r;

	options.ring_bytes = 1 << 20;
	r = tl_capture_open(&options, &capture, &reused, error);
	if (r == 0) {
		tl_capture_close(capture, true);
		r = reused;
	}
	return r;
}

static void pins_of_another_abi_are_busy_while_an_agent_lives(void **state)
{
	struct tl_error error = {0};
	struct harness h;

	(void)state;
	harness_open(&h, 1 << 20);
	h.control->abi = TL_ABI + 1;
	h.control->heartbeat_ns = tl_mono_ns();
	assert_int_equal(try_open(&error), -EBUSY);
	assert_non_null(strstr(error.message, dir));
	h.control->heartbeat_ns = tl_mono_ns() - 3600 * TL_SEC;
	assert_int_equal(try_open(&error), 0); /* made anew, nothing reused */
	leave(&h);
	assert_int_equal(try_open(&error), 1);
}

static void pins_of_another_size_are_made_anew(void **state)
{
	struct tl_error error = {0};
	struct harness h;

	(void)state;
	harness_open(&h, 2 << 20);
	leave(&h);
	assert_int_equal(try_open(&error), 0);
}

static void a_folder_open_to_others_is_refused(void **state)
{
	struct tl_error error = {0};

	(void)state;
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(chmod(dir, 0755), 0);
	assert_int_equal(try_open(&error), -EACCES);
	assert_non_null(strstr(error.message, "0700"));
}

static void a_folder_on_another_file_system_is_refused(void **state)
{
	struct tl_error error = {0};

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/tapline-test-%d", (int)getpid());
	assert_int_equal(try_open(&error), -ENOTSUP);
	rmdir(dir);
}

static void without_privileges_the_missing_capabilities_are_named(void **state)
{
	struct tl_error error = {0};
	int status;
	pid_t pid;

	(void)state;
	harness_options.pin_dir = NULL;
	pid = fork();
	if (pid == 0) {
		if (setgid(65534) < 0 || setuid(65534) < 0)
			_exit(1);
		if (try_open(&error) == -EPERM && strstr(error.message, "CAP_BPF"))
			_exit(0);
		fprintf(stderr, "said: %s\n", error.message);
		_exit(2);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, new_dir, drop_dir)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		CASE(takeovers_lose_and_repeat_nothing),
		CASE(a_takeover_keeps_selection_and_events),
		CASE(pins_of_another_abi_are_busy_while_an_agent_lives),
		CASE(pins_of_another_size_are_made_anew),
		CASE(a_folder_open_to_others_is_refused),
		CASE(a_folder_on_another_file_system_is_refused),
		CASE(without_privileges_the_missing_capabilities_are_named),
	};

	tl_probe_mounts();
	return harness_main(argc, argv, tests, ARRAY_SIZE(tests), NULL, NULL);
}
