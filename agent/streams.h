/* SPDX-License-Identifier: Apache-2.0 */
/* tl_streams: every file that selected processes write, by identity: its number (minted at first
 * sight, never reused in an epoch), its verdict, and the offset of its next byte. Offsets are given
 * in ring order, never from f_pos; what the kernel refused becomes a hole: the event's snapshot of
 * `lost_bytes` has grown. Records, gap records and drops therefore tile the stream. One thread. */
#ifndef TL_AGENT_STREAMS_H
#define TL_AGENT_STREAMS_H

#include "agent/inspector.h"
#include "agent/state.h"

#define TL_STREAMS_MAX 65536u /* kept, here and in the kernel */

struct tl_stream_info {
	uint64_t number;
	struct tl_file_id file;
	uint32_t kind, verdict, f_flags, std;
	uint64_t next_offset, lost_bytes;  /* as struct tl_state_stream */
	uint64_t delivered_bytes, records; /* in finished records */
	uint64_t gap_bytes;		   /* in gap records */
	uint64_t gaps[TL_CAUSES];	   /* of them since this worker started, by cause */
	uint64_t blind_bytes; /* moved into it unseen (sendfile, splice): in no offset, in no record
			       */
	uint64_t last_ns;     /* monotonic, last event */
	uint32_t last_tgid;   /* process that wrote last: names a gap's resource */
	char *path;	      /* owned; "" for pipes */
	bool dirty;
};

struct tl_streams;

struct tl_streams_options {
	size_t max; /* streams kept; more are refused and counted */
	const char *const *paths;
	size_t n_paths; /* globs of regular files that are logs: default /var/log (all below) and
			 *.log */
	/* Decides about a pipe: 1 its reader is a selected process (plumbing), 0 a log, <0 could
	 * not tell (log). */
	int (*pipe_reader)(void *arg, uint32_t tgid, const struct tl_file_id *file);
	/* Tells the kernel. */
	int (*decide)(void *arg, const struct tl_file_id *file, enum tl_verdict verdict);
	void *arg;
};

struct tl_streams *tl_streams_new(const struct tl_streams_options *options);
void tl_streams_free(struct tl_streams *streams);
TL_DEFINE_CLEANUP(struct tl_streams *, tl_streams_free);

/* A file seen first, or again after a restart: decides and tells the kernel. A known identity whose
 * generation of use is surely over (kind or path differ) gets a new number. Returns the stream,
 * NULL when the table is full (counted). */
struct tl_stream_info *tl_streams_file(struct tl_streams *streams, const struct tl_ev_file *event);

/* Bytes: assigns their offset. `*ret_offset` is the first byte's; `*ret_hole` how many bytes before
 * it were refused by the kernel (a gap [offset - hole, offset)). NULL for an unknown or ignored
 * stream (drop the event). */
struct tl_stream_info *tl_streams_bytes(struct tl_streams *streams, const struct tl_ev_log *event,
					uint64_t *ret_offset, uint64_t *ret_hole);

/* The kernel's counter read at leisure: trailing loss with no later event. Returns the hole's size,
 * 0 none; the gap is
 * [*ret_offset, *ret_offset + hole). Call only when the ring was drained to its end after the
 * counter was read. */
uint64_t tl_streams_trailing(struct tl_streams *streams, const struct tl_stream_row *row,
			     struct tl_stream_info **ret_stream, uint64_t *ret_offset);

/* Takes notice of the kernel's entry: it is there, and what moved into it unseen. */
void tl_streams_row(struct tl_streams *streams, const struct tl_stream_row *row);
/* The kernel has no entry for it any more: the next FILE event of this identity begins a new
 * stream. */
void tl_streams_forgotten(struct tl_streams *streams, const struct tl_file_id *file);
/* The same for all of which no row was seen since they were recovered. */
void tl_streams_forgotten_unseen(struct tl_streams *streams);
/* Removes those that the kernel has forgotten, or whose identity another stream has by now, as soon
 * as every byte of them is in a record or a gap record. Call only when the ring was drained to its
 * end after they were forgotten. */
void tl_streams_sweep(struct tl_streams *streams);

struct tl_stream_info *tl_streams_get(struct tl_streams *streams, uint64_t number);
struct tl_stream_info *tl_streams_next(struct tl_streams *streams, size_t *iter);
/* Forgets it (adds TL_STATE_STREAM_END to the next frame). */
void tl_streams_remove(struct tl_streams *streams, uint64_t number);

/* State: adds changed streams to `frame` (all of them when `all`), and takes them back on recovery.
 */
void tl_streams_save(struct tl_streams *streams, struct tl_frame *frame, bool all);
int tl_streams_recover(struct tl_streams *streams, uint16_t type, struct tl_span data);
uint64_t tl_streams_next_number(const struct tl_streams *streams);
void tl_streams_set_next_number(struct tl_streams *streams, uint64_t number);

/* Streams refused because the table was full. */
uint64_t tl_streams_refused(const struct tl_streams *streams);
/* Bytes of streams that no FILE event named, or that were refused: dropped, cause TL_LOST_MAP_FULL.
 */
uint64_t tl_streams_unknown_bytes(const struct tl_streams *streams);

#endif
