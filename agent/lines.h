/* SPDX-License-Identifier: Apache-2.0 */
/* tl_lines: makes lines of writes, per (stream, process), in ring order.
 *
 * An unterminated write of a stdio buffer's size (1024, 4096, 8192, 65536 or a multiple of 4096) is
 * continued by the next write of the process on that stream, whoever makes it: a shared stdio
 * flushes where its buffer ends, in mid-line. Any other unterminated write is continued by its own
 * thread only. Chunks of one call (TL_EVF_MORE) belong together. A complete line goes to the
 * multi-line joiner of its (stream, writer thread); then to `ready`.
 *
 * A line ends at LF; CR before it is cut. NULs and invalid UTF-8 are content. Lines past `max_line`
 * are split, flagged. An unterminated line ends after `partial_ns` without more bytes, or when its
 * process ends, flagged partial. One thread. */
#ifndef TL_AGENT_LINES_H
#define TL_AGENT_LINES_H

#include "agent/state.h"
#include "agent/streams.h"

struct tl_lines;

struct tl_lines_options {
	uint32_t max_line;   /* bytes of body; default TL_BODY_MAX */
	uint32_t max_open;   /* lines open, joining or held at once; past it the oldest is finished
				partial */
	uint64_t max_bytes;  /* bytes in them; as max_open */
	uint64_t partial_ns; /* default 1 s */
	uint64_t join_ns;    /* how long a joiner waits for a continuation, default 250 ms */
	const char *multiline; /* "auto" (java, python, go), "off", or a comma list of rules */
	const char *const *custom;
	size_t n_custom; /* "name=REGEX": a line that does not match REGEX continues the one before
			  */
	/* A line is complete. The callee ends it with tl_lines_finish, now or later (then it sets
	 * stage TL_LINE_HELD). */
	void (*ready)(void *arg, struct tl_line *line);
	void *arg;
};

int tl_lines_new(const struct tl_lines_options *options, struct tl_lines **ret_lines,
		 struct tl_error *error);
void tl_lines_free(struct tl_lines *lines);
TL_DEFINE_CLEANUP(struct tl_lines *, tl_lines_free);

/* Bytes of `event` (data follows it) at `offset` of `stream`. */
void tl_lines_bytes(struct tl_lines *lines, struct tl_stream_info *stream,
		    const struct tl_ev_log *event, const char *data, uint64_t offset);

/* A hole in the stream: what was open of it before and could be continued across the hole is ended,
 * flagged partial. */
void tl_lines_hole(struct tl_lines *lines, uint64_t stream);

/* The process ended: its open lines are partial, its joins complete. */
void tl_lines_exit(struct tl_lines *lines, uint32_t tgid, uint64_t start_ns);

/* Ends what waits longer than its deadline. Returns the next deadline, UINT64_MAX none. */
uint64_t tl_lines_tick(struct tl_lines *lines, uint64_t now_ns);

/* Ends everything that is open or joining (shutdown). */
void tl_lines_flush(struct tl_lines *lines);

/* The line's record is in the frame being built (or was dropped and counted): frees it. */
void tl_lines_finish(struct tl_lines *lines, struct tl_line *line);

/* State. After recovery every recovered line is open, joining or held as it was; held ones are
 * given to `ready` by tl_lines_resume (their evidence is gone: the caller attributes them `none`,
 * why `restart`). */
void tl_lines_save(struct tl_lines *lines, struct tl_frame *frame, bool all);
int tl_lines_recover(struct tl_lines *lines, uint16_t type, struct tl_span data);
void tl_lines_resume(struct tl_lines *lines);
uint64_t tl_lines_next_id(const struct tl_lines *lines);
void tl_lines_set_next_id(struct tl_lines *lines, uint64_t id);

struct tl_lines_usage {
	uint64_t open, bytes; /* now */
	uint64_t partial, split, joined,
		forced;	     /* ever; forced: ended early because a maximum was reached */
	uint64_t lost_bytes; /* ever: no memory for them, cause TL_LOST_MEMORY */
};
void tl_lines_usage(const struct tl_lines *lines, struct tl_lines_usage *ret);

/* Whether the stream's writes look like a full stdio buffer (for the hint that names the remedy).
 */
bool tl_lines_batched(const struct tl_lines *lines, uint64_t stream);

#endif
