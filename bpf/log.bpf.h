/* SPDX-License-Identifier: GPL-2.0-only */
/* The log side: a write to a file that is, or may be, a log. The fast path is one segment up to a
 * chunk, copied straight into a ring record of the next larger size class; everything else goes
 * over the workbench (gather.bpf.c). */
#ifndef TL_LOG_BPF_H
#define TL_LOG_BPF_H

#include "bpf/hit.bpf.h"

/* Counts `bytes` of `s` as lost by `cause`. */
static __always_inline void tl_log_lose(struct tl_hit *h, struct tl_stream *s, __u32 cause,
					__u64 bytes)
{
	__sync_fetch_and_add(&s->lost_bytes, bytes);
	__sync_fetch_and_add(&s->lost_calls, 1);
	s->lost_cause = cause;
	if (h->proc)
		__sync_fetch_and_add(&h->proc->lost_gen, 1);
	__sync_fetch_and_add(&h->stats->lost_events[cause], 1);
	__sync_fetch_and_add(&h->stats->lost_bytes[cause], bytes);
}

/* Everything of a LOG event but its data. */
static __always_inline void tl_log_head(const struct tl_hit *h, const struct tl_stream *s,
					struct tl_ev_log *e, __u32 len)
{
	__u8 undecided = s->verdict == TL_VERDICT_UNDECIDED ? TL_EVF_UNDECIDED : 0;

	tl_head(h, &e->h, TL_EV_LOG, h->found.std | TL_EVF_FIRST | undecided, len);
	e->file = h->found.id;
	e->lost_bytes = s->lost_bytes;
	e->f_pos = h->found.kind == TL_FILE_REGULAR ? TL_GET(struct file, h->found.file, f_pos) : 0;
	e->call_off = 0;
	e->call_len = h->ret;
}

/* A record of the class of `SZ` bytes of data: fills it, or tells why not. */
#define TL_LOG_CLASS(SZ)                                                                           \
	do {                                                                                       \
		struct {                                                                           \
			struct tl_ev_log e;                                                        \
			__u8 data[SZ];                                                             \
		} * r;                                                                             \
		long wake = tl_ring_room(sizeof(*r));                                              \
                                                                                                   \
		r = wake < 0 ? NULL : bpf_ringbuf_reserve(&tl_ring, sizeof(*r), 0);                \
		if (!r)                                                                            \
			return TL_LOST_RING_FULL;                                                  \
		if (bpf_probe_read_user(r->data, TL_BOUND(len, SZ), (void *)base)) {               \
			bpf_ringbuf_discard(r, BPF_RB_NO_WAKEUP);                                  \
			return TL_LOST_FAULT;                                                      \
		}                                                                                  \
		tl_log_head(h, s, &r->e, len);                                                     \
		bpf_ringbuf_submit(r, wake);                                                       \
		return -1;                                                                         \
	} while (0)

/* Copies one segment of at most a chunk. Returns -1, or the cause of its loss. */
static __always_inline int tl_log_copy(struct tl_hit *h, struct tl_stream *s, __u64 base, __u64 len)
{
	if (len <= 128)
		TL_LOG_CLASS(128);
	if (len <= 256)
		TL_LOG_CLASS(256);
	if (len <= 512)
		TL_LOG_CLASS(512);
	if (len <= 1024)
		TL_LOG_CLASS(1024);
	if (len <= 2048)
		TL_LOG_CLASS(2048);
	if (len <= 4096)
		TL_LOG_CLASS(4096);
	if (len <= 8192)
		TL_LOG_CLASS(8192);
	TL_LOG_CLASS(16384);
}

/* Reads the call on the workbench to its end, one event after another. */
static __always_inline void tl_log_run(struct tl_hit *h, struct tl_work *w)
{
	if (!tl_perf) {
		for (int i = 0; i < 128; i++)
			if (tl_steps(h->cpu))
				break;
	} else {
		for (int i = 0; i < 512; i++) {
			__u64 n = tl_next_event(h->cpu);

			if (!n)
				break;
			n = TL_BOUND(n, sizeof(struct tl_ev_log) + TL_CHUNK);
			tl_account(h->cpu, bpf_perf_event_output(
						   h->ctx, &tl_ring, BPF_F_CURRENT_CPU,
						   w->head + sizeof(w->head) - sizeof(w->log), n));
		}
	}
	if (w->left)
		tl_lose(h->cpu, TL_LOST_TOO_LONG, w->left);
	__sync_fetch_and_add(&h->stats->lost_events[TL_LOST_TOO_LONG], w->msgs_left);
	w->left = 0;
	w->msgs_left = 0;
}

static const struct tl_stream tl_no_stream;

/* The file's entry, made at first sight; NULL, counted, when there is no room or no agent to decide
 * it. */
static __always_inline struct tl_stream *tl_find_stream(struct tl_hit *h)
{
	struct tl_stream *s = bpf_map_lookup_elem(&tl_streams, &h->found.id);

	__u32 cause = TL_LOST_MAP_FULL;

	if (s)
		return s;
	if (h->drop == 1 + TL_LOST_STALLED) {
		cause = TL_LOST_STALLED;
	} else {
		bpf_map_update_elem(&tl_streams, &h->found.id, &tl_no_stream, BPF_NOEXIST);
		s = bpf_map_lookup_elem(&tl_streams, &h->found.id);
		if (s)
			return s;
	}
	__sync_fetch_and_add(&h->stats->lost_events[cause], 1);
	__sync_fetch_and_add(&h->stats->lost_bytes[cause], h->ret);
	return NULL;
}

/* Puts the FILE event of a new stream into the ring, before the first LOG event of any CPU. Two
 * CPUs may both do it. Returns whether it is there; the stream is ignored from now on when its file
 * system has no logs. */
static __always_inline bool tl_announce(struct tl_hit *h, struct tl_stream *s)
{
	struct tl_work *w = bpf_map_lookup_elem(&tl_work, &h->cpu);
	int n;

	if (!w)
		return false;
	w->file = h->found.id;
	n = tl_file_event(h->cpu, tl_scalar(h->found.file), h->fd,
			  h->found.kind | h->found.std << 8);
	if (n < 0) {
		s->verdict = TL_VERDICT_IGNORE;
		return false;
	}
	if (tl_emit_ctl(h, w, n))
		return false;
	s->announced = 1;
	return true;
}

/* How much of `n` bytes an undecided stream may still take. */
static __always_inline __u64 tl_undecided_room(struct tl_hit *h, struct tl_stream *s, __u64 n)
{
	__u32 used = s->undecided_bytes, max = h->control->undecided_max;

	if (used >= max)
		return 0;
	if (n > max - used)
		n = max - used;
	__sync_fetch_and_add(&s->undecided_bytes, (__u32)n);
	return n;
}

/* Copies the first `take` bytes of the call into the ring. */
static __always_inline void tl_log_take(struct tl_hit *h, struct tl_stream *s, __u64 take)
{
	bool mmsg = h->call == TL_CALL_SENDMMSG;
	struct tl_segments seg = {};
	struct tl_work *w;
	int cause;

	if (!mmsg && !tl_segments(h, &seg))
		return tl_log_lose(h, s, TL_LOST_FAULT, take);
	if (!tl_perf && take <= TL_CHUNK && take <= seg.len && !mmsg) {
		cause = tl_log_copy(h, s, seg.base, take);
		if (cause >= 0)
			return tl_log_lose(h, s, cause, take);
		h->stats->emitted_events++;
		h->stats->emitted_bytes += take;
		return;
	}
	w = bpf_map_lookup_elem(&tl_work, &h->cpu);
	if (!w)
		return;
	tl_start_reading(w, &seg, take);
	tl_log_head(h, s, &w->log, 0);
	w->fresh = 1;
	w->file = h->found.id;
	w->tgid = h->id >> 32;
	w->call_off = 0;
	w->drop = h->drop;
	w->msgs_left = 0;
	if (mmsg) {
		w->left = 0;
		w->msgs = TL_ARG2(h->regs);
		w->msgs_left = h->ret;
	}
	tl_log_run(h, w);
}

/* A write of `h->ret` bytes (sendmmsg: messages) to a candidate. */
static __always_inline void tl_log_call(struct tl_hit *h)
{
	struct tl_stream *s = tl_find_stream(h);
	bool mmsg = h->call == TL_CALL_SENDMMSG, silent;
	__u64 take = h->ret;

	if (!s || s->verdict == TL_VERDICT_IGNORE)
		return;
	s->last_ns = h->now;
	silent = !s->announced && h->drop != 1 + TL_LOST_STALLED && !tl_announce(h, s);
	if (s->verdict == TL_VERDICT_IGNORE)
		return;
	h->stats->seen_calls++;
	if (!mmsg) {
		__sync_fetch_and_add(&s->seen_bytes, take);
		h->stats->seen_bytes += take;
	}
	if (silent && !h->drop)
		h->drop = 1 + TL_LOST_RING_FULL;
	/* What a process prints is surely meant to be read: only other files wait for the agent's
	 * word with a budget. */
	if (!h->drop && !h->found.std && s->verdict == TL_VERDICT_UNDECIDED) {
		take = tl_undecided_room(h, s, mmsg ? 1 : take);
		if (mmsg && !take)
			h->drop = 1 + TL_LOST_UNDECIDED;
	}
	if (!h->drop || mmsg) {
		if (take || mmsg)
			tl_log_take(h, s, take);
		if (!mmsg && take < (__u64)h->ret)
			tl_log_lose(h, s, TL_LOST_UNDECIDED, h->ret - take);
		return;
	}
	tl_log_lose(h, s, (h->drop - 1) & 15, take);
}

/* Bytes that a call moves into a log without showing them: counted, not seen. One that nobody has
 * written to yet has no entry, and is not announced here: the verifier goes through that once more
 * for each way that leads here. */
static __always_inline void tl_log_blind(struct tl_hit *h)
{
	struct tl_stream *s = bpf_map_lookup_elem(&tl_streams, &h->found.id);

	if (!s ? !h->found.std : s->verdict == TL_VERDICT_IGNORE)
		return;
	h->stats->blind_bytes += h->ret;
	if (!s)
		return;
	s->last_ns = h->now;
	__sync_fetch_and_add(&s->blind_bytes, h->ret);
}

#endif
