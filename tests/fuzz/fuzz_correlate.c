/* SPDX-License-Identifier: Apache-2.0 */
/* A model of two servers, whose schedule is the input: a Go one (a goroutine per connection,
 * threads drawn at random) and one with a pool of threads that each serve one request at a time;
 * both answer clients that pipeline, split headers, leave, send no id, or retry with the same one;
 * events get lost; background threads and goroutines log at any time. The model knows whose each
 * line is. A wrong id aborts; none is always allowed. Then the same tables get bytes that are no
 * trace at all.
 *
 * Every line names its truth in a way that tl_corr cannot read (line->id); one line in four also
 * names its request's id in the text. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/correlate/correlate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Right lines by level, all runs: for the unit test. */
uint64_t fuzz_right[TL_HOWS];

#define CONNS 8
#define THREADS 4
#define FUZZ_LINES 64

enum phase { IDLE, READING, WORKING, ANSWERING };

struct model_conn {
	enum phase phase;
	uint32_t ino;	  /* of the socket: a new one after each close */
	uint32_t request; /* truth: number of the request being served */
	uint32_t queued;  /* a second one that came in the same read */
	unsigned thread;  /* pool server: who serves it */
	bool no_id;
};

struct model_line {
	struct tl_line line;
	uint32_t truth; /* request number, 0 nobody's */
	bool held;
	struct model_line *next; /* free */
};

struct model {
	struct tl_corr *corr;
	const uint8_t *data;
	size_t size;
	uint64_t now;
	uint32_t lost_gen, requests, inos;
	bool go; /* else the pool */
	bool busy[THREADS];
	struct model_conn conns[CONNS];
	struct model_line lines[FUZZ_LINES];
	struct model_line *free;
};

static unsigned draw(struct model *m, unsigned n)
{
	if (!m->size)
		return 0;
	m->size--;
	return *m->data++ % n;
}

static void id_text(uint32_t request, char out[32])
{
	snprintf(out, 32, "req-%08xab", request * 2654435761u);
}

static void judge(struct model_line *model, const struct tl_attribution *a)
{
	char id[32];

	if ((a->how == TL_HOW_NONE) != (a->why != TL_WHY_NOTHING))
		abort();
	if (a->how == TL_HOW_NONE)
		return;
	id_text(model->truth, id);
	if (!model->truth || !a->ids || a->ids->primary < 0)
		abort();
	if (a->ids->id[a->ids->primary].kind != TL_ID_GENERATED &&
	    !tl_ids_has(a->ids, tl_span_str(id)))
		abort();
	fuzz_right[a->how]++;
}

static void put_back(struct model *m, struct model_line *model)
{
	tl_buf_clear(&model->line.bytes);
	model->held = false;
	model->next = m->free;
	m->free = model;
}

static void fuzz_released(void *arg, struct tl_line *line, const struct tl_attribution *a)
{
	struct model_line *model = (struct model_line *)line;

	if (!model->held)
		abort();
	judge(model, a);
	put_back(arg, model);
}

static struct tl_event model_event(struct model *m, uint32_t tid, uint64_t unit)
{
	m->now += 1000;
	return (struct tl_event){.type = TL_EV_WIRE,
				 .unit_kind = m->go ? TL_UNIT_GOROUTINE : TL_UNIT_THREAD,
				 .time_ns = m->now,
				 .tgid = 100,
				 .tid = tid,
				 .start_ns = 1000000000,
				 .unit = m->go ? unit : 0,
				 .lost_gen = m->lost_gen};
}

static void move(struct model *m, unsigned conn, uint32_t tid, uint64_t unit, bool received,
		 const char *text, size_t len)
{
	struct tl_ev_wire event = {.h = model_event(m, tid, unit),
				   .sock = 0x100 + conn,
				   .sock_ino = m->conns[conn].ino,
				   .call_len = len};

	event.h.flags = received ? TL_EVF_RECV : 0;
	event.h.len = (uint32_t)len;
	if (len > 1 && draw(m, 64) == 63) {
		m->lost_gen++;
		return;
	}
	tl_corr_wire(m->corr, &event, text);
}

/* Who moves the bytes of a connection: its goroutine on any thread, or its pool thread. */
static uint32_t tid_of(struct model *m, unsigned conn)
{
	return m->go ? 200 + draw(m, 3) : 300 + m->conns[conn].thread;
}

static void write_line(struct model *m, uint32_t tid, uint64_t unit, uint32_t truth)
{
	struct model_line *model = m->free;
	struct tl_event event = model_event(m, tid, unit);
	struct tl_attribution a;
	char id[32], text[64];

	if (!model)
		return;
	m->free = model->next;
	id_text(truth, id);
	snprintf(text, sizeof(text), "%s %s", draw(m, 4) == 0 && truth ? id : "working", "on it");
	model->truth = truth;
	model->held = true;
	model->line = (struct tl_line){.time_ns = event.time_ns,
				       .end_ns = event.time_ns,
				       .lost_gen = m->lost_gen,
				       .bytes = model->line.bytes};
	model->line.writer = (struct tl_writer){.tgid = 100,
						.tid = tid,
						.start_ns = event.start_ns,
						.unit = event.unit,
						.unit_kind = event.unit_kind};
	tl_buf_puts(&model->line.bytes, text);
	if (!tl_corr_line(m->corr, &model->line, &a))
		return;
	judge(model, &a);
	put_back(m, model);
}

static size_t request_text(struct model *m, struct model_conn *conn, uint32_t *ret_request,
			   char *out, size_t size)
{
	char id[32];

	/* A retry sends the same id again: a request of its own with the same answer. */
	*ret_request = m->requests && draw(m, 16) == 0 ? m->requests : ++m->requests;
	id_text(*ret_request, id);
	conn->no_id = draw(m, 8) == 0;
	return (size_t)(conn->no_id
				? snprintf(out, size, "GET /x?y HTTP/1.1\r\nHost: h\r\n\r\n")
				: snprintf(out, size,
					   "GET /x?y HTTP/1.1\r\nX-Request-Id: %s\r\n\r\n", id));
}

/* A request arrives: whole, split after its first byte (which another goroutine reads), in two
 * pieces, or two at once. */
static void arrive(struct model *m, unsigned c)
{
	struct model_conn *conn = &m->conns[c];
	char text[512];
	size_t len = request_text(m, conn, &conn->request, text, sizeof(text)), cut;

	if (!m->go) {
		for (conn->thread = 0; conn->thread < THREADS && m->busy[conn->thread];
		     conn->thread++)
			;
		if (conn->thread == THREADS)
			return;
		m->busy[conn->thread] = true;
	}
	conn->phase = WORKING;
	conn->queued = 0;
	switch (draw(m, 8)) {
	case 0:
		move(m, c, m->go ? 200 : tid_of(m, c), m->go ? 900 + c : 0, true, text, 1);
		move(m, c, tid_of(m, c), 1 + c, true, text + 1, len - 1);
		break;
	case 1:
		cut = 1 + draw(m, (unsigned)len - 1);
		move(m, c, tid_of(m, c), 1 + c, true, text, cut);
		write_line(m, tid_of(m, c), 1 + c, 0);
		move(m, c, tid_of(m, c), 1 + c, true, text + cut, len - cut);
		break;
	case 2:
		len += request_text(m, conn, &conn->queued, text + len, sizeof(text) - len);
		move(m, c, tid_of(m, c), 1 + c, true, text, len);
		break;
	default:
		move(m, c, tid_of(m, c), 1 + c, true, text, len);
	}
}

static void hang_up(struct model *m, unsigned c)
{
	struct tl_ev_wire event = {
		.h = model_event(m, 1, 0), .sock = 0x100 + c, .sock_ino = m->conns[c].ino};

	event.h.type = TL_EV_SOCK;
	tl_corr_wire(m->corr, &event, NULL);
	m->conns[c].ino = ++m->inos;
	if (!m->go && m->conns[c].phase != IDLE)
		m->busy[m->conns[c].thread] = false;
	m->conns[c].phase = IDLE;
	m->conns[c].request = m->conns[c].queued = 0;
}

static void respond(struct model *m, unsigned c)
{
	static const char whole[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";
	static const char chunked[] =
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: "
		"chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
	struct model_conn *conn = &m->conns[c];
	const char *text = draw(m, 2) ? whole : chunked;
	size_t len = strlen(text), cut = draw(m, 3) ? len : 1 + draw(m, (unsigned)len - 1);

	move(m, c, tid_of(m, c), 1 + c, false, text, cut);
	if (cut < len) {
		write_line(m, tid_of(m, c), 1 + c, conn->request);
		move(m, c, tid_of(m, c), 1 + c, false, text + cut, len - cut);
	}
	/* A deferred line, after the answer. */
	if (draw(m, 2))
		write_line(m, tid_of(m, c), 1 + c, conn->request);
	conn->request = conn->queued;
	conn->queued = 0;
	if (conn->request)
		return;
	conn->phase = IDLE;
	if (!m->go)
		m->busy[conn->thread] = false;
}

static void step(struct model *m)
{
	unsigned c = draw(m, CONNS), what = draw(m, 16);
	struct model_conn *conn = &m->conns[c];

	if (what == 0)
		write_line(m, 400, 990, 0);
	else if (what == 1)
		hang_up(m, c);
	else if (what == 2)
		tl_corr_tick(m->corr, m->now += 100000000);
	else if (conn->phase == IDLE)
		arrive(m, c);
	else if (what < 10)
		write_line(m, tid_of(m, c), 1 + c, conn->request);
	else
		respond(m, c);
}

/* Bytes that are no trace: only that nothing breaks. */
static void noise(struct model *m)
{
	while (m->size > 8) {
		struct tl_ev_wire event = {.h = model_event(m, draw(m, 4), draw(m, 4)),
					   .sock = draw(m, 4),
					   .sock_ino = 7};

		event.h.type = draw(m, 8) ? TL_EV_WIRE : TL_EV_SOCK;
		event.h.syscall_class = draw(m, 8) ? TL_CALL_READ : TL_CALL_CONNECT;
		event.placed = (uint16_t)draw(m, 2);
		event.family = draw(m, 2) ? TL_SOCK_UNIX : TL_SOCK_INET;
		event.seq = draw(m, 4);
		event.h.tgid = 500 + draw(m, 2);
		event.h.flags = (uint8_t)draw(m, 256);
		event.call_len = draw(m, 3);
		event.h.len = draw(m, (unsigned)m->size);
		event.h.len = event.h.len < m->size ? event.h.len : (uint32_t)m->size;
		event.call_len += event.h.len;
		tl_corr_wire(m->corr, &event, (const char *)m->data);
		m->data += event.h.len;
		m->size -= event.h.len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct model *m = calloc(1, sizeof(*m));
	struct tl_corr_options options = {
		.released = fuzz_released, .gate_confirms = 12, .hold_bytes = 64 << 10, .arg = m};

	if (!m)
		return 0;
	m->data = data;
	m->size = size;
	m->now = 2000000000;
	m->go = draw(m, 2);
	options.max_conns = draw(m, 8) ? 64 : 4;
	options.max_requests = draw(m, 8) ? 64 : 6;
	options.max_procs = 4;
	if (tl_corr_new(&options, &m->corr, NULL) < 0)
		abort();
	for (unsigned i = 0; i < FUZZ_LINES; i++)
		put_back(m, &m->lines[i]);
	for (unsigned i = 0; i < CONNS; i++)
		m->conns[i].ino = ++m->inos;
	while (m->size > 256)
		step(m);
	noise(m);
	tl_corr_flush(m->corr);
	for (unsigned i = 0; i < FUZZ_LINES; i++) {
		if (m->lines[i].held)
			abort();
		tl_buf_done(&m->lines[i].line.bytes);
	}
	tl_corr_free(m->corr);
	free(m);
	return 0;
}
