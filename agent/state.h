/* SPDX-License-Identifier: Apache-2.0 */
/* What the worker must know again after it was killed at any instant, kept as private entries of
 * the local log beside the records of the same frame: the frame is atomic, so records, ring
 * position and open lines never disagree. Bytes of an open or held line are written once, as they
 * come; a line that begins and ends within one frame is never written here at all. */
#ifndef TL_AGENT_STATE_H
#define TL_AGENT_STATE_H

#include "agent/line.h"
#include "userspace/record/entry.h"

enum tl_state_type {
	TL_STATE_WORKER = TL_ENTRY_STATE, /* struct tl_state_worker */
	TL_STATE_STREAM,     /* struct tl_state_stream, then path bytes: new or changed stream */
	TL_STATE_STREAM_END, /* u64 stream number */
	TL_STATE_LINE,	     /* struct tl_state_line, extents, then new bytes of the line */
	TL_STATE_LINE_END,   /* u64 line id: finished (its record is in the same frame) */
	TL_STATE_RESOURCE, /* u32 number, u32 pad, u32 tgid, u32 pad, u64 start_ns: a live process's
			      resource */
};

struct tl_state_worker {
	uint64_t epoch;	  /* of uids: random, new whenever the pinned maps or the log are new */
	uint64_t maps_id; /* of the maps and ring that the position is of (struct tl_control) */
	uint64_t ring_position; /* all before it is in the log */
	uint64_t next_stream, next_line;
	uint32_t next_resource;
	uint32_t pad;
};

struct tl_state_stream {
	uint64_t number;
	struct tl_file_id file;
	uint64_t next_offset; /* of the next byte in ring order, holes included */
	uint64_t lost_bytes;  /* of the kernel's counter, as far as turned into holes */
	uint64_t delivered_bytes, records;
	uint32_t kind;	  /* enum tl_file_kind */
	uint32_t verdict; /* enum tl_verdict */
	uint32_t f_flags;
	uint32_t std; /* TL_EVF_STDOUT | TL_EVF_STDERR as first seen */
	uint32_t path_len, pad;
};

struct tl_state_line {
	uint64_t id, stream;
	struct tl_writer writer;
	uint64_t time_ns, end_ns;
	uint64_t from_len; /* the bytes that follow go behind the first from_len of the line (0:
			      from the start) */
	uint32_t lost_gen;
	uint8_t stage, flags, rule, stderr_;
	uint32_t n_extents; /* all extents follow, then the bytes */
	uint32_t n_bytes;
	struct tl_writer last; /* who wrote the newest byte: continues an own unterminated write */
};

/* A frame under construction: entries with their bytes, appended by one tl_log_append. */
struct tl_frame {
	struct tl_buf bytes; /* data of all entries, back to back */
	struct tl_frame_entry {
		uint16_t type;
		size_t from, len;
	} * entries; /* owned */
	size_t n, cap;
	bool failed; /* out of memory: nothing may be appended */
};

void tl_frame_clear(struct tl_frame *frame);
void tl_frame_done(struct tl_frame *frame);
/* Copies `data` into a new entry. */
void tl_frame_add(struct tl_frame *frame, uint16_t type, const void *data, size_t len);
/* Begins an entry whose bytes the caller appends to frame->bytes, until tl_frame_end. */
void tl_frame_begin(struct tl_frame *frame, uint16_t type);
void tl_frame_end(struct tl_frame *frame);
/* Appends all as one log frame. Errors: those of tl_log_append; -ENOMEM. The frame keeps its
 * entries on error. */
int tl_frame_append(struct tl_frame *frame, struct tl_log *log, uint64_t *ret_position);

#endif
