/* SPDX-License-Identifier: Apache-2.0 */
/* A source that each test program includes: there is one rule that makes a program of one file. */
#include "tests/capture/harness.h"

#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/capture/pattern.h"
#include "userspace/base/clock.h"

#define DEADLINE (20 * TL_SEC)

struct tl_capture_options harness_options = {
	.wire = true, .undecided_max = 1u << 30, .wire_max = 4096};
static char harness_writer[512];

static void die_with(const struct tl_error *error, const char *what)
{
	fail_msg("%s: %s", what, error->message);
}

void harness_open(struct harness *h, uint64_t ring_bytes)
{
	struct tl_capture_options options = harness_options;
	struct tl_error error = {0};
	struct tl_capture_fds fds;
	bool reused;

	memset(h, 0, sizeof(*h));
	options.ring_bytes = ring_bytes;
	if (tl_capture_open(&options, &h->capture, &reused, &error) < 0)
		die_with(&error, "capture");
	tl_capture_fds(h->capture, &fds);
	if (tl_ring_open(&fds, &h->ring, &error) < 0)
		die_with(&error, "ring");
	h->control = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED,
			  fds.control, 0);
	assert_true(h->control != MAP_FAILED);
}

void harness_forget_events(struct harness *h)
{
	while (h->n > 0)
		free(h->events[--h->n]);
}

void harness_close(struct harness *h)
{
	harness_forget_events(h);
	free(h->events);
	munmap(h->control, (size_t)sysconf(_SC_PAGESIZE));
	tl_ring_close(h->ring);
	tl_capture_close(h->capture, false);
}

static size_t event_size(const struct tl_event *e)
{
	static const size_t head[] = {
		[TL_EV_LOG] = sizeof(struct tl_ev_log),	  [TL_EV_FILE] = sizeof(struct tl_ev_file),
		[TL_EV_WIRE] = sizeof(struct tl_ev_wire), [TL_EV_SOCK] = sizeof(struct tl_ev_wire),
		[TL_EV_PROC] = sizeof(struct tl_ev_proc), [TL_EV_UNIT] = sizeof(struct tl_ev_unit),
		[TL_EV_CALL] = sizeof(struct tl_ev_unit),
	};

	assert_in_range(e->type, TL_EV_LOG, TL_EV_CALL);
	return head[e->type] + e->len;
}

void harness_drain(struct harness *h)
{
	const struct tl_event *e;

	while ((e = tl_ring_next(h->ring))) {
		size_t size = event_size(e);

		if (h->n == h->cap) {
			h->cap = h->cap ? 2 * h->cap : 1024;
			h->events = realloc(h->events, h->cap * sizeof(*h->events));
			assert_non_null(h->events);
		}
		h->events[h->n] = malloc(size);
		assert_non_null(h->events[h->n]);
		memcpy(h->events[h->n++], e, size);
		tl_ring_release(h->ring);
	}
}

/* In the child: descriptors in place, wait for the selection, become the writer. */
static _Noreturn void become_writer(const char *kind, int count, int out, int go, int report_fd)
{
	char number[16], byte;

	dup2(out, 1);
	dup2(go, WRITER_GO);
	dup2(report_fd, WRITER_REPORT);
	if (read(WRITER_GO, &byte, 1) != 1)
		_exit(8);
	snprintf(number, sizeof(number), "%d", count);
	execl(harness_writer, harness_writer, kind, number, NULL);
	_exit(8);
}

void writer_start(struct harness *h, struct writer *w, const char *kind, int count, int out,
		  int sink, bool unselected)
{
	int go[2], answer[2];

	memset(w, 0, sizeof(*w));
	assert_int_equal(pipe2(go, O_CLOEXEC), 0);
	assert_int_equal(pipe2(answer, O_CLOEXEC), 0);
	w->pid = fork();
	assert_true(w->pid >= 0);
	if (w->pid == 0)
		become_writer(kind, count, out, go[0], answer[1]);
	close(out);
	close(go[0]);
	close(answer[1]);
	w->go = go[1];
	w->report = answer[0];
	w->sink = sink;
	w->status = -1;
	if (!unselected)
		assert_int_equal(tl_capture_select(h->capture, (uint32_t)w->pid, TL_SELECTED), 0);
	writer_go(w);
}

void writer_go(struct writer *w)
{
	assert_int_equal(write(w->go, ".", 1), 1);
}

uint64_t writer_report(struct writer *w)
{
	struct pollfd p = {.fd = w->report, .events = POLLIN};
	uint64_t value = 0;

	assert_int_equal(poll(&p, 1, 20000), 1);
	assert_int_equal(read(w->report, &value, sizeof(value)), sizeof(value));
	return value;
}

static void empty_sink(struct writer *w)
{
	ssize_t n;

	if (w->sink < 0)
		return;
	do {
		w->read = realloc(w->read, w->n_read + 65536);
		assert_non_null(w->read);
		n = read(w->sink, w->read + w->n_read, 65536);
		w->n_read += n > 0 ? (size_t)n : 0;
	} while (n > 0);
}

static bool has_ended(struct harness *h, pid_t pid)
{
	for (size_t i = h->n; i-- > 0;) {
		const struct tl_ev_proc *e = (const void *)h->events[i];

		if (e->h.type == TL_EV_PROC && e->what == TL_PROC_EXIT &&
		    e->h.tgid == (uint32_t)pid)
			return true;
	}
	return false;
}

void writer_finish(struct harness *h, struct writer *w, bool drain)
{
	uint64_t limit = tl_mono_ns() + DEADLINE, ended;
	struct pollfd p = {.fd = w->sink, .events = POLLIN};

	if (w->sink >= 0)
		fcntl(w->sink, F_SETFL, O_NONBLOCK);
	while (waitpid(w->pid, &w->status, WNOHANG) == 0) {
		poll(&p, w->sink >= 0 && w->status != 0, 1);
		empty_sink(w);
		if (drain)
			harness_drain(h);
		if (tl_mono_ns() > limit) {
			kill(w->pid, SIGKILL);
			waitpid(w->pid, &w->status, 0);
			fail_msg("the writer did not end");
		}
	}
	empty_sink(w);
	if (WIFEXITED(w->status) && WEXITSTATUS(w->status) == 0)
		w->written = writer_report(w);
	/* An end that the kernel skipped (7.x) is waited for in vain: 30 ms are more than a perf
	 * buffer holds back. */
	ended = tl_mono_ns();
	while (drain && !has_ended(h, w->pid) && tl_mono_ns() - ended < 30 * TL_MS)
		harness_drain(h);
}

void writer_done(struct writer *w)
{
	close(w->go);
	close(w->report);
	closep(&w->sink);
	free(w->read);
}

static void check_bytes(const struct tl_ev_log *e, uint64_t at)
{
	const char *data = (const char *)(e + 1);

	for (size_t i = 0; i < e->h.len; i++)
		if (data[i] != pattern_at(at + i))
			fail_msg("byte %zu of %u at offset %llu is wrong", i, e->h.len,
				 (unsigned long long)at);
}

static void tally_log(const struct tl_ev_log *e, bool exact, struct tally *t)
{
	assert_true(t->files > 0); /* its FILE event comes first */
	/* The counter only grows; an event that waited for another CPU may carry an older view of
	 * it. */
	if (e->lost_bytes > t->lost)
		t->lost = e->lost_bytes;
	if (exact)
		check_bytes(e, t->captured + t->lost);
	assert_true(e->call_off + e->h.len <= e->call_len);
	t->captured += e->h.len;
	t->events++;
	t->flags |= e->h.flags;
}

void harness_tally(struct harness *h, uint32_t tgid, bool exact, struct tally *ret)
{
	struct tally t = {0};

	for (size_t i = 0; i < h->n; i++) {
		const struct tl_ev_file *f = (const void *)h->events[i];
		const struct tl_ev_log *e = (const void *)h->events[i];

		if (tgid && e->h.tgid != tgid)
			continue;
		if (e->h.type == TL_EV_FILE && !t.files++) {
			t.id = f->file;
			t.kind = f->kind;
			memcpy(t.path, f + 1, f->path_len);
		}
		if (e->h.type == TL_EV_LOG && !memcmp(&e->file, &t.id, sizeof(t.id)))
			tally_log(e, exact, &t);
	}
	if (t.files) {
		uint64_t lost = harness_stream(h, &t.id).lost_bytes;

		assert_true(lost >= t.lost);
		t.lost = lost;
	}
	*ret = t;
}

struct tl_stream harness_stream(struct harness *h, const struct tl_file_id *id)
{
	struct tl_stream stream = {0};

	assert_int_equal(tl_capture_stream(h->capture, id, &stream), 0);
	return stream;
}

void make_pipe(int *ret_out, int *ret_sink)
{
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	*ret_sink = p[0];
	*ret_out = p[1];
}

int make_file(int flags, char *path)
{
	static int serial;
	int fd;

	snprintf(path, 128, "/tmp/tapline-capture-%d-%d.out", (int)getpid(), serial++);
	fd = open(path, flags | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	return fd;
}

/* Runs a writer on `out`: all that it wrote must come out, byte for byte. */
void expect_exact(struct harness *h, const char *kind, int count, int out, int sink,
		  struct tally *t)
{
	struct writer w;

	writer_start(h, &w, kind, count, out, sink, false);
	writer_finish(h, &w, true);
	assert_int_equal(w.status, 0);
	harness_tally(h, (uint32_t)w.pid, true, t);
	assert_int_equal(t->captured, w.written);
	assert_int_equal(t->lost, 0);
	assert_true(w.written > 0);
	assert_int_equal(harness_stream(h, &t->id).seen_bytes, w.written);
	if (sink >= 0)
		assert_int_equal(w.n_read, w.written);
	writer_done(&w);
}

void to_pipe(struct harness *h, const char *kind, int count, struct tally *t)
{
	int out, sink;

	make_pipe(&out, &sink);
	expect_exact(h, kind, count, out, sink, t);
	assert_int_equal(t->kind, TL_FILE_PIPE);
}

void to_file(struct harness *h, const char *kind, int count, struct tally *t)
{
	char path[128];
	int out = make_file(O_WRONLY, path);

	expect_exact(h, kind, count, out, -1, t);
	assert_int_equal(t->kind, TL_FILE_REGULAR);
	assert_string_equal(t->path, path);
	unlink(path);
}

size_t count_events(struct harness *h, uint32_t tgid, uint8_t type)
{
	size_t n = 0;

	for (size_t i = 0; i < h->n; i++)
		n += (!tgid || h->events[i]->tgid == tgid) && (!type || h->events[i]->type == type);
	return n;
}

static int usage(const char *name)
{
	fprintf(stderr,
		"usage: %s [--backend=sys_exit|multi] [--ring=bpf|perf] [--writer=PATH] [FILTER]\n",
		name);
	return 2;
}

int harness_main(int argc, char **argv, const struct CMUnitTest *tests, size_t n,
		 CMFixtureFunction setup, CMFixtureFunction teardown)
{
	static char self[400];

	snprintf(self, sizeof(self), "%s", argv[0]);
	snprintf(harness_writer, sizeof(harness_writer), "%s/writer", dirname(self));
	for (int i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "--writer=", 9))
			snprintf(harness_writer, sizeof(harness_writer), "%s", argv[i] + 9);
		else if (!strcmp(argv[i], "--backend=sys_exit"))
			harness_options.backend = TL_BACKEND_SYS_EXIT;
		else if (!strcmp(argv[i], "--backend=multi"))
			harness_options.backend = TL_BACKEND_MULTI;
		else if (!strcmp(argv[i], "--ring=perf"))
			harness_options.ring = TL_RING_PERF;
		else if (!strcmp(argv[i], "--ring=bpf"))
			harness_options.ring = TL_RING_BPF;
		else if (argv[i][0] == '-')
			return usage(argv[0]);
		else
			cmocka_set_test_filter(argv[i]);
	}
	return _cmocka_run_group_tests(argv[0], tests, n, setup, teardown);
}
