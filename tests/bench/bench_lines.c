/* SPDX-License-Identifier: Apache-2.0 */
/* What a line costs in tl_streams_bytes + tl_lines_bytes: ns per line, one core, no log and no
 * correlation behind it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/lines.h"
#include "userspace/base/clock.h"

#define ROUNDS 5
#define LINES 2000000u

static struct tl_lines *lines;
static struct tl_streams *streams;
static uint64_t lines_seen, bytes_seen;

static void ready(void *arg, struct tl_line *line)
{
	(void)arg;
	lines_seen++;
	bytes_seen += line->bytes.len;
	tl_lines_finish(lines, line);
}

static struct tl_file_id file_of(unsigned i)
{
	return (struct tl_file_id){.ino = 1000 + i, .dev = 5, .gen = 7};
}

static void open_all(unsigned n_streams)
{
	const struct tl_streams_options stream_options = {.max = 65536};
	const struct tl_lines_options line_options = {.ready = ready};

	streams = tl_streams_new(&stream_options);
	if (!streams || tl_lines_new(&line_options, &lines, NULL) < 0)
		abort();
	for (unsigned i = 0; i < n_streams; i++) {
		struct tl_ev_file event = {
			.h = {.flags = TL_EVF_STDOUT}, .file = file_of(i), .kind = TL_FILE_PIPE};

		if (!tl_streams_file(streams, &event))
			abort();
	}
}

static void close_all(void)
{
	tl_lines_free(lines);
	tl_streams_free(streams);
}

struct load {
	const char *name;
	const char *text;   /* of one line, filled up to `len` */
	size_t len;	    /* bytes of a line with its newline */
	unsigned per_write; /* lines of one write */
	unsigned streams;   /* writes go round them */
	unsigned halves;    /* a write has only half of a line */
};

static void write_once(const struct load *load, const char *data, size_t len, unsigned i,
		       uint64_t now)
{
	unsigned stream = i % load->streams;
	const struct tl_ev_log event = {
		.h = {.type = TL_EV_LOG,
		      .flags = TL_EVF_FIRST | TL_EVF_STDOUT,
		      .len = (uint32_t)len,
		      .time_ns = now,
		      .tgid = 100 + stream,
		      .tid = 100 + stream,
		      .start_ns = 5},
		.file = file_of(stream),
		.call_len = (uint32_t)len,
	};
	uint64_t offset, hole;
	struct tl_stream_info *info = tl_streams_bytes(streams, &event, &offset, &hole);

	tl_lines_bytes(lines, info, &event, data, offset);
}

static double run(const struct load *load)
{
	size_t len = load->len * load->per_write;
	char *data = malloc(len);
	unsigned writes = LINES / load->per_write;
	uint64_t start, ns;

	for (unsigned i = 0; i < load->per_write; i++) {
		char *line = data + i * load->len;

		memset(line, 'x', load->len);
		memcpy(line, load->text, strlen(load->text));
		line[load->len - 1] = '\n';
	}
	open_all(load->streams);
	lines_seen = 0;
	start = tl_mono_ns();
	for (unsigned i = 0; i < writes; i++) {
		if (load->halves) {
			write_once(load, data, len / 2, i, start + i);
			write_once(load, data + len / 2, len - len / 2, i, start + i);
		} else {
			write_once(load, data, len, i, start + i);
		}
	}
	tl_lines_flush(lines);
	ns = tl_mono_ns() - start;
	close_all();
	free(data);
	if (!lines_seen)
		abort();
	return (double)ns / LINES;
}

int main(void)
{
	static const struct load loads[] = {
		{"128 B, a line a write",
		 "2026-01-02T03:04:05.678Z INFO [http-1] com.example.Orders - taken ", 128, 1, 1,
		 0},
		{"128 B, JSON",
		 "{\"ts\":\"2026-01-02T03:04:05Z\",\"level\":\"info\",\"msg\":\"taken\",\"n\":1}",
		 128, 1, 1, 0},
		{"128 B, 64 streams in turn", "2026-01-02T03:04:05.678Z INFO taken ", 128, 1, 64,
		 0},
		{"128 B, 30 lines a write", "2026-01-02T03:04:05.678Z INFO taken ", 128, 30, 1, 0},
		{"128 B, in two writes", "2026-01-02T03:04:05.678Z INFO taken ", 128, 1, 1, 1},
		{"128 B, level ERROR", "2026-01-02T03:04:05.678Z ERROR refused ", 128, 1, 1, 0},
		{"1 KiB - 1, a line a write", "2026-01-02T03:04:05.678Z INFO taken ", 1023, 1, 1,
		 0},
	};

	for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
		double best = 1e9;

		for (int round = 0; round < ROUNDS; round++) {
			double ns = run(&loads[i]);

			best = ns < best ? ns : best;
		}
		printf("%-28s %7.1f ns/line %6.2f M lines/s\n", loads[i].name, best, 1e3 / best);
	}
	return 0;
}
