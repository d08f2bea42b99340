/* SPDX-License-Identifier: Apache-2.0 */
/* A tl_lines whose finished lines are kept for looking at, and events to feed it: one clock, one
 * offset per stream. */
#ifndef TL_TESTS_LINES_FIXTURE_H
#define TL_TESTS_LINES_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/lines.h"

#define BED_STREAMS 8
#define MS UINT64_C(1000000)

struct got {
	uint64_t id, stream;
	struct tl_extent extents[TL_EXTENTS_MAX];
	uint32_t n_extents;
	char *body;
	size_t len;
	uint8_t flags;
	struct tl_writer writer;
	uint64_t time_ns, end_ns;
};

struct bed {
	struct tl_lines *lines;
	struct got *got;
	size_t n, cap;
	bool hold; /* lines are kept held, in `held` */
	struct tl_line *held[256];
	size_t n_held;
	uint64_t now; /* of the next event */
	uint64_t offset[BED_STREAMS];
	struct tl_stream_info info[BED_STREAMS];
};

static inline void bed_keep(struct bed *bed, const struct tl_line *line)
{
	struct got *got;

	if (bed->n == bed->cap) {
		bed->cap = bed->cap ? bed->cap * 2 : 64;
		bed->got = realloc(bed->got, bed->cap * sizeof(*bed->got));
		assert_non_null(bed->got);
	}
	got = &bed->got[bed->n++];
	got->id = line->id;
	got->stream = line->stream;
	memcpy(got->extents, line->extents, sizeof(got->extents));
	got->n_extents = line->n_extents;
	got->len = line->bytes.len;
	got->body = malloc(got->len + 1);
	memcpy(got->body, got->len ? line->bytes.data : "", got->len);
	got->body[got->len] = 0;
	got->flags = line->flags;
	got->writer = line->writer;
	got->time_ns = line->time_ns;
	got->end_ns = line->end_ns;
}

static inline void bed_finish(struct bed *bed, struct tl_line *line)
{
	bed_keep(bed, line);
	tl_lines_finish(bed->lines, line);
}

static inline void bed_ready(void *arg, struct tl_line *line)
{
	struct bed *bed = arg;

	assert_true(line->n_extents > 0);
	if (!bed->hold) {
		bed_finish(bed, line);
		return;
	}
	assert_true(bed->n_held < 256);
	line->stage = TL_LINE_HELD;
	bed->held[bed->n_held++] = line;
}

static inline struct tl_lines_options bed_options(struct bed *bed)
{
	return (struct tl_lines_options){.ready = bed_ready, .arg = bed, .multiline = "off"};
}

static inline void bed_open(struct bed *bed, const struct tl_lines_options *options)
{
	struct tl_error error = {0};

	assert_int_equal(tl_lines_new(options, &bed->lines, &error), 0);
}

static inline void bed_init(struct bed *bed)
{
	struct tl_lines_options options = bed_options(bed);

	memset(bed, 0, sizeof(*bed));
	for (size_t i = 0; i < BED_STREAMS; i++)
		bed->info[i] = (struct tl_stream_info){
			.number = i + 1, .kind = TL_FILE_PIPE, .path = (char *)""};
	bed->now = 1000 * MS;
	bed_open(bed, &options);
}

static inline void bed_forget(struct bed *bed)
{
	for (size_t i = 0; i < bed->n; i++)
		free(bed->got[i].body);
	bed->n = 0;
}

static inline void bed_done(struct bed *bed)
{
	bed_forget(bed);
	free(bed->got);
	tl_lines_free(bed->lines);
	memset(bed, 0, sizeof(*bed));
}

/* One event as it is. `offset` moves on. */
static inline void bed_event(struct bed *bed, unsigned stream, const struct tl_ev_log *event,
			     const char *data)
{
	uint64_t offset = bed->offset[stream];

	bed->offset[stream] += event->h.len;
	tl_lines_bytes(bed->lines, &bed->info[stream], event, data, offset);
}

static inline struct tl_ev_log bed_call(struct bed *bed, uint32_t tgid, uint32_t tid, size_t len)
{
	struct tl_ev_log event = {
		.h = {.type = TL_EV_LOG,
		      .flags = TL_EVF_STDOUT | TL_EVF_FIRST,
		      .len = (uint32_t)len,
		      .tgid = tgid,
		      .tid = tid,
		      .start_ns = tgid * 1000,
		      .time_ns = bed->now},
		.call_len = (uint32_t)len,
	};

	bed->now += 1000;
	return event;
}

/* One write of one event. */
static inline void bed_write(struct bed *bed, unsigned stream, uint32_t tgid, uint32_t tid,
			     const char *data, size_t len)
{
	struct tl_ev_log event = bed_call(bed, tgid, tid, len);

	bed_event(bed, stream, &event, data);
}

static inline void bed_puts(struct bed *bed, uint32_t tid, const char *text)
{
	bed_write(bed, 0, 100, tid, text, strlen(text));
}

/* A write of `len` bytes that ends in mid-line: `head`, then lines of 63 x and a newline, then x to
 * the end. */
static inline void bed_full(struct bed *bed, uint32_t tid, const char *head, size_t len)
{
	char *data = malloc(len);
	size_t n = strlen(head);

	memset(data, 'x', len);
	memcpy(data, head, n);
	for (size_t i = n + 63; i + 64 < len; i += 64)
		data[i] = '\n';
	bed_write(bed, 0, 100, tid, data, len);
	free(data);
}

/* A write of `len` bytes without a newline: `head`, then x. */
static inline void bed_full_line(struct bed *bed, uint32_t tid, const char *head, size_t len)
{
	char *data = malloc(len);

	memset(data, 'x', len);
	memcpy(data, head, strlen(head));
	bed_write(bed, 0, 100, tid, data, len);
	free(data);
}

/* The next line that came out has this text and these flags. */
#define assert_line(bed, i, text, want)                                                            \
	do {                                                                                       \
		assert_true((i) < (bed)->n);                                                       \
		assert_string_equal((bed)->got[i].body, text);                                     \
		assert_int_equal((bed)->got[i].flags, (want));                                     \
	} while (0)

#endif
