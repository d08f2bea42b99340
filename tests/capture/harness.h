/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a writer under a capture and keeps every event that came out of the ring. One writer at a
 * time; all functions fail the test themselves (cmocka). */
#ifndef TL_TESTS_CAPTURE_HARNESS_H
#define TL_TESTS_CAPTURE_HARNESS_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/capture.h"
#include "agent/ring.h"

struct harness {
	struct tl_capture *capture;
	struct tl_ring *ring;
	struct tl_control *control; /* mapped */
	struct tl_event **events;   /* owned copies, in ring order */
	size_t n, cap;
};

/* Chosen by --backend and --ring. */
extern struct tl_capture_options harness_options;

void harness_open(struct harness *h, uint64_t ring_bytes);
void harness_close(struct harness *h);
void harness_forget_events(struct harness *h);

/* Moves what is in the ring to `events`. */
void harness_drain(struct harness *h);

struct writer {
	pid_t pid;
	int go, report; /* owned */
	int sink;	/* owned: our end of its fd 1, or -1 */
	char *read;	/* owned: what came out of the sink */
	size_t n_read;
	uint64_t written;
	int status;
};

/* Starts `writer KIND COUNT` with `out` (closed here) as its fd 1, selected before it executes
 * unless `unselected`. `sink` is our end, emptied while it runs, or -1. */
void writer_start(struct harness *h, struct writer *w, const char *kind, int count, int out,
		  int sink, bool unselected);
/* One byte on its go descriptor. */
void writer_go(struct writer *w);
uint64_t writer_report(struct writer *w);
/* Empties the sink until the writer has ended, then drains the ring up to its end. With `drain`
 * false the ring is left. */
void writer_finish(struct harness *h, struct writer *w, bool drain);
void writer_done(struct writer *w);

struct tally {
	uint64_t captured, lost; /* bytes; lost as the offsets tell */
	size_t events, files;
	uint8_t flags; /* of all LOG events together */
	uint32_t kind; /* of the FILE event */
	char path[TL_PATH_MAX + 1];
	struct tl_file_id id;
};

/* Adds up the LOG events of `tgid` (0: of any process) on one stream and checks each byte against
 * the pattern at its offset
 * (`exact`), and that the stream's FILE event came first. */
void harness_tally(struct harness *h, uint32_t tgid, bool exact, struct tally *ret);

/* The stream's counters in the kernel's map. */
struct tl_stream harness_stream(struct harness *h, const struct tl_file_id *id);

/* Runs a writer on `out`: all that it wrote must come out, byte for byte, with no loss. */
void expect_exact(struct harness *h, const char *kind, int count, int out, int sink,
		  struct tally *t);
void to_pipe(struct harness *h, const char *kind, int count, struct tally *t);
void to_file(struct harness *h, const char *kind, int count, struct tally *t);

/* Events of a process (0: of any) and of a type (0: any). */
size_t count_events(struct harness *h, uint32_t tgid, uint8_t type);

/* The main of a test program: options (backend, ring, path of the writer), a filter, the tests. */
int harness_main(int argc, char **argv, const struct CMUnitTest *tests, size_t n,
		 CMFixtureFunction setup, CMFixtureFunction teardown);

/* A pipe whose write end becomes a writer's fd 1. */
void make_pipe(int *ret_out, int *ret_sink);
/* A new file in the temporary folder; `flags` as for open. The path goes to `path` (at least 128
 * bytes). */
int make_file(int flags, char *path);

#endif
