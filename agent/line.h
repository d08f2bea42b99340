/* SPDX-License-Identifier: Apache-2.0 */
/* struct tl_line: one line of log on its way through the agent: assembled (lines.h), joined
 * (multiline.h), attributed (correlate/correlate.h), packed into a record (worker). Owned by
 * tl_lines until tl_lines_finish. */
#ifndef TL_AGENT_LINE_H
#define TL_AGENT_LINE_H

#include "bpf/event.h"
#include "userspace/base/buf.h"

/* Who wrote: a thread of one incarnation of a process, and its execution unit at the call. */
struct tl_writer {
	uint32_t tgid, tid;
	uint64_t start_ns;
	uint64_t unit;
	uint8_t unit_kind; /* enum tl_unit_kind */
};

/* Bytes [from, to) of the stream. A line of interleaved writers has several, ascending. */
struct tl_extent {
	uint64_t from, to;
};

#define TL_EXTENTS_MAX 64 /* more: the line is ended there and flagged TL_LINE_SPLIT */

enum tl_line_flag {
	TL_LINE_PARTIAL = 1, /* ended by time-out, exit or restart, not by a newline */
	TL_LINE_SPLIT = 2,   /* longer than the limit: the next record of the same writer goes on */
	TL_LINE_BATCHED = 4, /* one write carried several lines, or this process mixes its threads'
				lines so: whose is unknown */
	TL_LINE_JOINED = 8,  /* several text lines, joined */
	TL_LINE_SHARED = 16, /* pieces of several threads: no unit or thread wrote it alone */
	TL_LINE_BUFFERED = 32, /* the write looks like a flushed stdio buffer (the hint that names
				  the remedy) */
};

enum tl_line_stage {
	TL_LINE_OPEN, /* no newline yet */
	TL_LINE_JOIN, /* complete, waiting for a continuation */
	TL_LINE_HELD, /* waiting for its request to be proved */
	TL_LINE_DONE,
};

struct tl_line {
	uint64_t id;		 /* of this agent's life and the next (persisted) */
	uint64_t stream;	 /* stream number */
	struct tl_writer writer; /* of the first byte */
	uint64_t time_ns;	 /* CLOCK_MONOTONIC, exit of the call that wrote the first byte */
	uint64_t end_ns;	 /* exit of the call that wrote the last byte so far */
	uint64_t wait_ns;	 /* last return of the writer's thread from a wait before the last
				    byte; long ago when it is not known (event.h) */
	uint64_t template;	 /* hash of its text's form; private to correlate, 0 not made */
	uint32_t lost_gen;	 /* of the process at the last byte */
	uint8_t stage;		 /* enum tl_line_stage */
	uint8_t flags;		 /* enum tl_line_flag */
	uint8_t rule;		 /* multiline rule that is inside, 0 none */
	bool stderr_;		 /* written to fd 2 */
	struct tl_extent
		extents[TL_EXTENTS_MAX]; /* cover the bytes and the newline that ended it */
	uint32_t n_extents;
	struct tl_buf bytes;	     /* without the final newline (and CR before it) */
	uint64_t saved_len;	     /* bytes already in the local log as pending (state.h) */
	bool saved;		     /* a pending entry exists in the local log */
	bool dirty;		     /* changed since the last frame */
	uint64_t deadline_ns;	     /* monotonic: when the stage ends by itself */
	struct tl_line *next, *prev; /* list of the owner (private) */
	void *owner;		     /* private to lines.c */
	void *hold;		     /* private to correlate while HELD */
};

#endif
