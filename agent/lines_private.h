/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of tl_lines (lines.c, lines_bytes.c, lines_store.c, lines_join.c, lines_state.c).
 *
 * A *group* is one process on one stream; a *slot* is a line with what only we know of it. A slot
 * that is not just being worked on is *parked* in one list, each in order of the last byte, so that
 * the head has the next deadline. What waits is found by its *key*: the execution unit of a writer
 * (goroutine, else thread) within the group. */
#ifndef TL_AGENT_LINES_PRIVATE_H
#define TL_AGENT_LINES_PRIVATE_H

#include "agent/lines.h"
#include "agent/multiline.h"
#include "userspace/base/map.h"

enum tl_park {
	TL_PARK_NONE,
	TL_PARK_OPEN,  /* unterminated, continued by its own unit */
	TL_PARK_FULL,  /* unterminated end of a full stdio buffer, continued by whoever writes next
			*/
	TL_PARK_JOIN,  /* complete, waits for a continuation */
	TL_PARK_MARK,  /* empty: a hole was before the stream's next byte, whose line is a partial
			  one */
	TL_PARK_HELD,  /* handed to `ready` and not finished yet */
	TL_PARK_MIXED, /* empty: tells a restart that its group is mixed; lives as long as the
			  process is known */
	TL_PARKS
};

/* A buffer's rest lies in the process's memory and may come much later than the rest of a plain
 * half line. */
#define TL_FULL_PATIENCE 30u

struct tl_slot {
	struct tl_line line;	/* first: a line is its slot */
	struct tl_writer last;	/* of the newest byte */
	struct tl_group *group; /* NULL for a mark */
	struct tl_stream_lines *stream;
	uint64_t key;	/* where it is filed while parked */
	size_t counted; /* its share of tl_lines.bytes while parked */
	enum tl_park park;
	bool rest;   /* begins in mid-line: neither starts nor continues a block */
	bool orphan; /* recovery: its first bytes are unknown (lines_state.c) */
	struct tl_slot *dirty_next, *dirty_prev; /* while line.dirty */
	struct tl_slot *group_next, *group_prev; /* open, full and joining ones of the group */
	struct tl_slot *free_next;
};

struct tl_group_key {
	uint64_t stream, start_ns;
	uint32_t tgid, pad;
};

struct tl_group {
	struct tl_group_key key;
	struct tl_stream_lines *stream;
	struct tl_slot *full;  /* parked TL_PARK_FULL */
	struct tl_slot *joint; /* joining, of the process: lines out of shared buffers */
	struct tl_slot *mixed; /* parked TL_PARK_MIXED: a write of several records was seen, its
				  threads share a buffer */
	struct tl_slot *first, *last;		    /* what waits */
	struct tl_group *stream_next, *stream_prev; /* of the same stream */
	struct tl_group *proc_next, *proc_prev;	    /* of the same process */
	struct tl_group *idle_next, *idle_prev;	    /* while nothing waits */
	bool idle;
};

struct tl_stream_lines {
	uint64_t number;
	struct tl_group *groups;
	struct tl_slot *mark;
	bool batched;  /* a full stdio buffer was seen */
	bool messages; /* datagrams: each call is a line of its own, newlines in it are content */
};

struct tl_list {
	struct tl_line *head, *tail;
};

struct tl_id_list {
	uint64_t *ids; /* owned */
	size_t n, cap;
};

struct tl_lines {
	struct tl_lines_options options;
	struct tl_multiline *multiline;
	bool joins;		     /* tl_multiline_on */
	struct tl_map *streams;	     /* number -> struct tl_stream_lines * */
	struct tl_map *groups;	     /* struct tl_group_key -> struct tl_group * */
	struct tl_map *procs;	     /* (start, tgid) -> first struct tl_group * */
	struct tl_map *writers;	     /* (group, key) -> struct tl_waiting */
	struct tl_group *last_group; /* of the last event */
	struct tl_list lists[TL_PARKS];
	struct tl_group *idle_first, *idle_last;
	size_t n_idle;
	struct tl_slot *dirty_first;
	struct tl_slot *pool;
	size_t n_pool;
	struct tl_slot *handing; /* is with `ready` right now */
	uint64_t next_id;
	uint64_t now_ns; /* of the newest event */
	uint64_t n_parked, n_marks,
		bytes;		 /* n_parked counts the marks too, TL_PARK_MIXED is in none */
	struct tl_id_list ended; /* saved lines that are finished: for the next frame */
	bool state_lost;	 /* an end could not be remembered: the next frame must fail */
	struct tl_lines_usage usage;
	struct tl_map *recovering; /* id -> struct tl_slot *; NULL when not */
	struct tl_id_list resume;  /* recovered ids that are held */
	struct tl_buf scratch;	   /* a line's text, while it is looked at */
};

/* --- lines_join.c --- */

/* Appends [from, to) to the extents. False when they are full. */
bool tl_extent_add(struct tl_line *line, uint64_t from, uint64_t to);
/* The line's text is whole: joins it, lets it wait, or hands it out. It is not parked. `rest`: what
 * follows in the same event; `more`: the call goes on in another. */
void tl_slot_complete(struct tl_lines *lines, struct tl_slot *slot, struct tl_span rest, bool more);
/* Ends a parked line as it is: an open one partial, a joining one whole, one without bytes
 * silently. */
void tl_slot_end(struct tl_lines *lines, struct tl_slot *slot);
/* Hands the line to `ready`. It is not parked. */
void tl_slot_deliver(struct tl_lines *lines, struct tl_slot *slot);

/* --- lines.c --- */

/* Ends the least recently written until the maxima hold. Held lines are their holder's, who has a
 * maximum too. */
void tl_lines_bound(struct tl_lines *lines);

/* --- lines_state.c --- */

/* Ends recovery: puts recovered lines where they were. */
void tl_lines_settle(struct tl_lines *lines);
/* Ends recovery: releases recovered lines. */
void tl_lines_drop_recovered(struct tl_lines *lines);

#endif
