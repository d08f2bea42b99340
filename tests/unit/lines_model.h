/* SPDX-License-Identifier: Apache-2.0 */
/* What tl_streams and tl_lines should make of a script of events, done the slow and plain way: byte
 * by byte, every byte with its offset, every open line in one array. Knows the true losses, not the
 * kernel's counters. Joining is not modelled. */
#ifndef TL_TESTS_LINES_MODEL_H
#define TL_TESTS_LINES_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/lines.h"

#define MODEL_STREAMS 3
#define MODEL_LINE 64 /* bytes of a line with its newline at most: max_line is well below */

struct model_line {
	unsigned stream;
	uint32_t tgid, tid, last_tid; /* of the first and the last byte */
	uint64_t start_ns, end_ns;
	char body[MODEL_LINE];
	uint64_t offsets[MODEL_LINE]; /* of each byte of body, then of its newline */
	size_t len, n;		      /* bytes of body; offsets */
	uint8_t flags;
	size_t len_before; /* bytes of body, and flags, before the present event */
	uint8_t flags_before;
	bool full; /* the process's next write goes on */
};

struct model {
	size_t max_line;
	uint64_t partial_ns;
	struct model_line *open, *out; /* owned */
	size_t n_open, n_out, cap_open, cap_out;
	uint64_t offset[MODEL_STREAMS];
	bool after_hole[MODEL_STREAMS];
	struct {
		uint8_t flags;
		uint32_t tgid;
		uint64_t start_ns, end_ns;
	} call[MODEL_STREAMS][64];	  /* by tid: of one that goes on */
	uint64_t mixed[MODEL_STREAMS][8]; /* by tgid: start_ns of the process that is mixed */
	uint64_t hole_bytes;
};

static inline void model_push(struct model_line **list, size_t *n, size_t *cap,
			      const struct model_line *line)
{
	if (*n == *cap) {
		*cap = *cap ? *cap * 2 : 64;
		*list = realloc(*list, *cap * sizeof(**list));
	}
	(*list)[(*n)++] = *line;
}

static inline void model_emit(struct model *m, struct model_line *line, uint8_t flags)
{
	line->flags |= flags;
	model_push(&m->out, &m->n_out, &m->cap_out, line);
}

static inline void model_end_open(struct model *m, size_t i)
{
	model_emit(m, &m->open[i], TL_LINE_PARTIAL);
	m->open[i] = m->open[--m->n_open];
}

static inline size_t model_extents(const struct model_line *line)
{
	size_t n = line->n > 0;

	for (size_t i = 1; i < line->n; i++)
		n += line->offsets[i] != line->offsets[i - 1] + 1;
	return n;
}

static inline struct model_line model_begin(unsigned stream, const struct tl_event *h)
{
	return (struct model_line){.stream = stream,
				   .tgid = h->tgid,
				   .tid = h->tid,
				   .last_tid = h->tid,
				   .start_ns = h->start_ns,
				   .end_ns = h->time_ns};
}

/* The line is longer than allowed by one byte: emits its first part, leaves the rest. Flags follow
 * the bytes of the present event; of older bytes it is not known which of them a flag came from. */
static inline void model_split(struct model *m, struct model_line *line, const struct tl_event *h)
{
	size_t cut = m->max_line;
	struct model_line rest = model_begin(line->stream, h);

	for (size_t lead = cut; lead > 0 && lead + 3 >= cut; lead--) {
		unsigned char c = (unsigned char)line->body[lead];

		if ((c & 0xc0) == 0x80)
			continue;
		if (lead + (c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1) > cut)
			cut = lead;
		break;
	}
	rest.len = rest.n = line->len - cut;
	memcpy(rest.body, line->body + cut, rest.len);
	memcpy(rest.offsets, line->offsets + cut, rest.n * sizeof(rest.offsets[0]));
	if (cut < line->len_before) {
		rest.len_before = line->len_before - cut;
		rest.flags = rest.flags_before =
			line->flags_before & (TL_LINE_BATCHED | TL_LINE_BUFFERED | TL_LINE_SHARED);
		rest.tid = line->last_tid;
	}
	if (cut <= line->len_before)
		line->flags = line->flags_before;
	line->len = line->n = cut;
	model_emit(m, line, TL_LINE_SPLIT);
	*line = rest;
}

static inline bool model_buffer_size(uint32_t n)
{
	return n == 1024 || n % 4096 == 0;
}

/* Index of the open line that the event goes on with, n_open for none. */
static inline size_t model_find(const struct model *m, unsigned stream, const struct tl_event *h,
				bool full)
{
	size_t i = 0;

	for (; i < m->n_open; i++) {
		const struct model_line *line = &m->open[i];

		if (line->stream == stream && line->tgid == h->tgid &&
		    line->start_ns == h->start_ns && line->full == full &&
		    (full || line->last_tid == h->tid))
			break;
	}
	return i;
}

static inline void model_hole(struct model *m, unsigned stream, uint64_t bytes)
{
	for (size_t i = 0; i < m->n_open;)
		if (m->open[i].stream == stream)
			model_end_open(m, i);
		else
			i++;
	memset(m->call[stream], 0, sizeof(m->call[stream]));
	m->offset[stream] += bytes;
	m->hole_bytes += bytes;
	m->after_hole[stream] = true;
}

/* What the event says of its lines. All writers are threads, so that any call of two lines mixes
 * its process for good. */
static inline uint8_t model_flags(struct model *m, unsigned stream, const struct tl_ev_log *e,
				  const char *data, uint8_t own)
{
	bool first = e->call_off == 0, more = e->h.flags & TL_EVF_MORE,
	     ends = data[e->h.len - 1] == '\n';
	bool inner = false, full = first && model_find(m, stream, &e->h, true) < m->n_open;
	uint64_t *mixed = &m->mixed[stream][e->h.tgid % 8];
	__auto_type call = &m->call[stream][e->h.tid];
	uint8_t before = first ? 0 : own | call->flags, flags = 0;

	for (uint32_t i = 0; i + 1 < e->h.len; i++)
		inner |= data[i] == '\n';
	if (!first && m->after_hole[stream])
		flags = TL_LINE_BATCHED | TL_LINE_BUFFERED;
	else if (before & TL_LINE_BATCHED)
		flags = before & (TL_LINE_BATCHED | TL_LINE_BUFFERED);
	else if (inner || (ends && more)) {
		*mixed = e->h.start_ns;
		flags = TL_LINE_BATCHED | (e->call_len >= 1024 ? TL_LINE_BUFFERED : 0);
	}
	if (model_buffer_size(e->call_len) && (more || !first || !ends))
		flags |= TL_LINE_BATCHED | TL_LINE_BUFFERED;
	if (full && (more || inner))
		flags |= TL_LINE_BATCHED | TL_LINE_BUFFERED;
	if (*mixed == e->h.start_ns)
		flags |= TL_LINE_BATCHED;
	call->flags = more ? flags : 0;
	call->tgid = e->h.tgid;
	call->start_ns = e->h.start_ns;
	call->end_ns = e->h.time_ns;
	return flags;
}

static inline void model_keep(struct model *m, struct model_line *line, const struct tl_ev_log *e)
{
	size_t i;

	line->full = !(e->h.flags & TL_EVF_MORE) && model_buffer_size(e->call_len);
	i = model_find(m, line->stream, &e->h, line->full);
	if (i < m->n_open && line->full) {
		struct model_line before = m->open[i];
		struct tl_event as = {
			.tgid = before.tgid, .tid = before.last_tid, .start_ns = before.start_ns};

		/* It goes back to its last writer, where there is no other. */
		m->open[i] = m->open[--m->n_open];
		before.full = false;
		if (model_find(m, before.stream, &as, false) < m->n_open)
			model_emit(m, &before, TL_LINE_PARTIAL);
		else
			model_push(&m->open, &m->n_open, &m->cap_open, &before);
	} else if (i < m->n_open) {
		model_end_open(m, i);
	}
	model_push(&m->open, &m->n_open, &m->cap_open, line);
}

static inline void model_log(struct model *m, unsigned stream, const struct tl_ev_log *e,
			     const char *data, uint64_t hole)
{
	bool first = e->call_off == 0, has = false;
	uint8_t flags;
	struct model_line line;
	size_t own, i;

	if (hole)
		model_hole(m, stream, hole);
	own = model_find(m, stream, &e->h, false);
	flags = model_flags(m, stream, e, data, own < m->n_open ? m->open[own].flags : 0);
	i = first ? model_find(m, stream, &e->h, true) : m->n_open;
	if (i == m->n_open)
		i = own;
	if (m->after_hole[stream]) {
		line = model_begin(stream, &e->h);
		line.flags = TL_LINE_PARTIAL;
		has = true;
		m->after_hole[stream] = false;
	} else if (i < m->n_open) {
		line = m->open[i];
		m->open[i] = m->open[--m->n_open];
		has = true;
		line.len_before = line.len;
		line.flags_before = line.flags;
	}
	for (i = 0; i < e->h.len; i++) {
		uint64_t at = m->offset[stream]++;
		bool crlf = data[i] == '\r' && i + 1 < e->h.len && data[i + 1] == '\n';

		if (!has)
			line = model_begin(stream, &e->h);
		has = true;
		if (line.n && model_extents(&line) == TL_EXTENTS_MAX &&
		    line.offsets[line.n - 1] + 1 != at) {
			model_emit(m, &line, TL_LINE_SPLIT);
			line = model_begin(stream, &e->h);
		}
		line.offsets[line.n++] = at;
		if (data[i] != '\n') {
			line.body[line.len++] = data[i];
			if (line.len > m->max_line && !crlf)
				model_split(m, &line, &e->h);
		}
		if (line.tid != e->h.tid)
			line.flags |= TL_LINE_SHARED;
		line.flags |= flags;
		line.end_ns = e->h.time_ns;
		if (data[i] != '\n')
			continue;
		if (line.len && line.body[line.len - 1] == '\r')
			line.len--;
		model_emit(m, &line, 0);
		has = false;
	}
	if (!has) {
		/* What the thread left open before this call is not what its next chunk goes on
		 * with. */
		i = model_find(m, stream, &e->h, false);
		if (flags && e->h.flags & TL_EVF_MORE && i < m->n_open)
			model_end_open(m, i);
		return;
	}
	line.last_tid = e->h.tid;
	model_keep(m, &line, e);
}

static inline void model_exit(struct model *m, uint32_t tgid, uint64_t start_ns)
{
	for (unsigned s = 0; s < MODEL_STREAMS; s++)
		if (m->mixed[s][tgid % 8] == start_ns)
			m->mixed[s][tgid % 8] = 0;
	for (unsigned s = 0; s < MODEL_STREAMS; s++)
		for (unsigned tid = 0; tid < 64; tid++)
			if (m->call[s][tid].tgid == tgid && m->call[s][tid].start_ns == start_ns)
				m->call[s][tid].flags = 0;
	for (size_t i = 0; i < m->n_open;)
		if (m->open[i].tgid == tgid && m->open[i].start_ns == start_ns)
			model_end_open(m, i);
		else
			i++;
}

static inline void model_tick(struct model *m, uint64_t now)
{
	for (unsigned s = 0; s < MODEL_STREAMS; s++)
		for (unsigned tid = 0; tid < 64; tid++)
			if (m->call[s][tid].end_ns + m->partial_ns <= now)
				m->call[s][tid].flags = 0;
	for (size_t i = 0; i < m->n_open;)
		if (m->open[i].end_ns + m->partial_ns * (m->open[i].full ? 30 : 1) <= now)
			model_end_open(m, i);
		else
			i++;
}

static inline void model_flush(struct model *m)
{
	while (m->n_open)
		model_end_open(m, 0);
}

static inline void model_done(struct model *m)
{
	free(m->open);
	free(m->out);
	memset(m, 0, sizeof(*m));
}

#endif
