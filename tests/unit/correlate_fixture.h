/* SPDX-License-Identifier: Apache-2.0 */
/* A bed for traces: events are made one after another, a microsecond apart; lines and exchanges are
 * noted as they are told. */
#ifndef TL_TESTS_CORRELATE_FIXTURE_H
#define TL_TESTS_CORRELATE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "agent/correlate/correlate.h"
#include "agent/correlate/hop.h"

#define MAX_LINES 4096
#define HELD (-1)

struct who {
	uint32_t tgid, tid;
	uint64_t unit;
	uint8_t kind;
};

struct noted {
	struct tl_line line;
	int how; /* enum tl_how, HELD while it is held */
	int why;
	char id[64];	/* primary */
	unsigned order; /* of its decision */
};

struct bed {
	struct tl_corr *corr;
	uint64_t now;
	uint32_t lost_gen;
	uint64_t start_ns;
	struct noted *lines;
	unsigned n_lines, decided;
	unsigned exchanges, complete, servers, ignored;
	int status; /* of the last exchange */
	char path[64], exchange_id[64];
	char hop[33], hop_before[33], parent[33]; /* of the last exchange; the one before */
	uint64_t request_bytes, response_bytes;
	uint32_t waited_ns; /* of the next events; 0: TL_WAITED_MAX */
	bool batched;
	bool deaf;	    /* nobody is told what happens */
	uint64_t waits[64]; /* when each thread (id modulo) waited last; 0 never */
};

static inline void copy_id(char out[64], const struct tl_ids *ids)
{
	out[0] = '\0';
	if (ids && ids->primary >= 0)
		snprintf(out, 64, "%.*s",
			 ids->id[ids->primary].len < 63 ? ids->id[ids->primary].len : 63,
			 ids->id[ids->primary].value);
}

static inline void note(struct bed *bed, struct noted *noted, const struct tl_attribution *a)
{
	noted->how = (int)a->how;
	noted->why = (int)a->why;
	copy_id(noted->id, a->ids);
	noted->order = ++bed->decided;
	assert_int_equal(a->how == TL_HOW_NONE, a->why != TL_WHY_NOTHING);
	assert_int_equal(a->ids != NULL, a->how != TL_HOW_NONE && a->how != TL_HOW_APP);
}

static inline void on_released(void *arg, struct tl_line *line, const struct tl_attribution *a)
{
	struct noted *noted = (struct noted *)line;

	assert_int_equal(line->stage, TL_LINE_HELD);
	assert_int_equal(noted->how, HELD);
	note(arg, noted, a);
}

static inline void on_exchange(void *arg, const struct tl_exchange *x)
{
	struct bed *bed = arg;

	bed->exchanges++;
	bed->complete += x->complete;
	bed->servers += x->server;
	bed->status = x->status;
	snprintf(bed->path, sizeof(bed->path), "%.*s", (int)x->path.len, x->path.data);
	copy_id(bed->exchange_id, x->ids);
	memcpy(bed->hop_before, bed->hop, sizeof(bed->hop));
	tl_hop_text(&x->hop, bed->hop);
	tl_hop_text(&x->parent, bed->parent);
	if (!tl_place_known(&x->parent))
		bed->parent[0] = '\0';
	bed->request_bytes = x->request_bytes;
	bed->response_bytes = x->response_bytes;
	assert_true(x->request_ns <= x->header_ns && x->header_ns <= x->end_ns);
}

static inline void on_ignore(void *arg, uint64_t sock, uint64_t ino)
{
	(void)sock;
	(void)ino;
	((struct bed *)arg)->ignored++;
}

static inline void bed_init(struct bed *bed, struct tl_corr_options options)
{
	*bed = (struct bed){.now = 1000000000, .start_ns = 500000000};
	bed->lines = calloc(MAX_LINES, sizeof(*bed->lines));
	options.released = on_released;
	options.exchange = on_exchange;
	options.ignore = on_ignore;
	options.instance = "0123456789abcdef";
	options.arg = bed;
	assert_int_equal(tl_corr_new(&options, &bed->corr, NULL), 0);
}

static inline void bed_done(struct bed *bed)
{
	tl_corr_flush(bed->corr);
	for (unsigned i = 0; i < bed->n_lines; i++)
		assert_int_not_equal(bed->lines[i].how, HELD);
	tl_corr_free(bed->corr);
	for (unsigned i = 0; i < bed->n_lines; i++)
		tl_buf_done(&bed->lines[i].line.bytes);
	free(bed->lines);
}

/* The thread waits, and returns now. */
static inline void waits(struct bed *bed, const struct who *who)
{
	bed->now += 1000;
	bed->waits[who->tid % 64] = bed->now;
}

static inline uint32_t waited_ns(const struct bed *bed, const struct who *who)
{
	uint64_t at = bed->waits[who->tid % 64];

	return at && bed->now - at < TL_WAITED_MAX ? (uint32_t)(bed->now - at) : TL_WAITED_MAX;
}

static inline struct tl_event head_of(struct bed *bed, const struct who *who, uint8_t type)
{
	bed->now += 1000;
	return (struct tl_event){.type = type,
				 .unit_kind = who->kind,
				 .time_ns = bed->now,
				 .tgid = who->tgid,
				 .tid = who->tid,
				 .start_ns = bed->start_ns,
				 .unit = who->unit,
				 .lost_gen = bed->lost_gen,
				 .waited_ns =
					 bed->waited_ns ? bed->waited_ns : waited_ns(bed, who)};
}

/* `moved` bytes, of which the text is seen. */
static inline void wire(struct bed *bed, unsigned conn, const struct who *who, uint8_t flags,
			const char *text, size_t moved)
{
	struct tl_ev_wire event = {.h = head_of(bed, who, TL_EV_WIRE),
				   .sock = 0x1000 + conn,
				   .sock_ino = conn,
				   .call_len = moved};

	if (bed->deaf)
		return;
	event.h.flags = flags;
	event.h.len = (uint32_t)(strlen(text) < moved ? strlen(text) : moved);
	if (event.h.len < moved)
		event.h.flags |= TL_EVF_TRUNC;
	tl_corr_wire(bed->corr, &event, text);
}

static inline void get(struct bed *bed, unsigned conn, const struct who *who, const char *text)
{
	wire(bed, conn, who, TL_EVF_RECV, text, strlen(text));
}

static inline void put(struct bed *bed, unsigned conn, const struct who *who, const char *text)
{
	wire(bed, conn, who, 0, text, strlen(text));
}

static inline void request(struct bed *bed, unsigned conn, const struct who *who, const char *id)
{
	char text[256];

	snprintf(text, sizeof(text), "GET /p?secret=1 HTTP/1.1\r\nX-Request-Id: %s\r\n\r\n", id);
	get(bed, conn, who, text);
}

static inline void answer(struct bed *bed, unsigned conn, const struct who *who)
{
	put(bed, conn, who, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

static inline void socket_event(struct bed *bed, unsigned conn, uint8_t flags)
{
	struct who nobody = {.tgid = 0};
	struct tl_ev_wire event = {
		.h = head_of(bed, &nobody, TL_EV_SOCK), .sock = 0x1000 + conn, .sock_ino = conn};

	event.h.flags = flags;
	tl_corr_wire(bed->corr, &event, NULL);
}

static inline void closed(struct bed *bed, unsigned conn)
{
	socket_event(bed, conn, 0);
}

/* This end sends no more. */
static inline void shut(struct bed *bed, unsigned conn)
{
	socket_event(bed, conn, TL_EVF_SHUT);
}

static inline void proc_event(struct bed *bed, uint32_t what, uint32_t tgid, uint32_t parent,
			      uint64_t service)
{
	struct who who = {.tgid = tgid, .tid = tgid};
	struct tl_ev_proc event = {
		.h = head_of(bed, &who, TL_EV_PROC), .what = what, .parent = parent};

	tl_corr_proc(bed->corr, &event, service);
}

/* A line written now (or, `at` not 0, then), with `flags`. */
static inline struct noted *line_at(struct bed *bed, const struct who *who, const char *text,
				    uint8_t flags, uint64_t at)
{
	struct noted *noted = &bed->lines[bed->n_lines++];
	struct tl_attribution a;

	assert_true(bed->n_lines < MAX_LINES);
	bed->now += 1000;
	noted->line = (struct tl_line){.id = bed->n_lines,
				       .time_ns = at ? at : bed->now,
				       .lost_gen = bed->lost_gen,
				       .flags = flags};
	noted->line.end_ns = noted->line.time_ns;
	noted->line.wait_ns = noted->line.time_ns - waited_ns(bed, who);
	noted->line.writer = (struct tl_writer){.tgid = who->tgid,
						.tid = who->tid,
						.start_ns = bed->start_ns,
						.unit = who->unit,
						.unit_kind = who->kind};
	tl_buf_puts(&noted->line.bytes, text);
	noted->how = HELD;
	if (tl_corr_line(bed->corr, &noted->line, &a))
		note(bed, noted, &a);
	return noted;
}

static inline struct noted *line(struct bed *bed, const struct who *who)
{
	return line_at(bed, who, "hello", 0, 0);
}

static inline struct noted *say(struct bed *bed, const struct who *who, const char *text)
{
	return line_at(bed, who, text, 0, 0);
}

static inline void check_id(const struct noted *noted, int how, const char *id, const char *file,
			    int at)
{
	_assert_int_equal((uintmax_t)noted->how, (uintmax_t)how, file, at);
	_assert_string_equal(noted->id, id, file, at);
}

static inline void check_none(const struct noted *noted, int why, const char *file, int at)
{
	_assert_int_equal((uintmax_t)noted->how, TL_HOW_NONE, file, at);
	_assert_int_equal((uintmax_t)noted->why, (uintmax_t)why, file, at);
}

#define assert_id(line, how, id) check_id(line, how, id, __FILE__, __LINE__)
#define assert_none(line, why) check_none(line, why, __FILE__, __LINE__)

/* Opens the thread gate of the process of `a` and `b` (two threads that work at the same time). */
static inline void prove(struct bed *bed, const struct who *a, const struct who *b,
			 unsigned confirms)
{
	for (unsigned i = 0; i < confirms; i += 2) {
		request(bed, 900, a, "warm");
		request(bed, 901, b, "warm");
		answer(bed, 900, a);
		answer(bed, 901, b);
	}
}

#endif
