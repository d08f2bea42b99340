// SPDX-License-Identifier: GPL-2.0-only
/* Calls of several segments or more than a chunk: a small machine whose state is the CPU's
 * workbench. tl_next prepares one event at a time, over all segments of all messages; who calls it
 * puts the event into the ring. Each function is global, so that the verifier looks at it once and
 * a loop around a call costs it next to nothing: 64 x 128 steps, 16 segments a step, where a plain
 * loop of 1024 segments is refused. What cannot be read or placed is counted at its place. */
#include "bpf/maps.bpf.h"

#define TL_GATHER_STEP 16

enum tl_gather_result {
	TL_GATHER_MORE,	 /* call again */
	TL_GATHER_FULL,	 /* the chunk is full, or what follows cannot be read */
	TL_GATHER_END,	 /* nothing is left */
	TL_GATHER_FAULT, /* `seg_left` bytes cannot be read, and `fill` is 0 */
};

struct tl_user_mmsghdr {
	__u64 name;
	__u32 name_len, pad;
	__u64 iov, iov_count;
	__u64 control, control_len;
	__u32 flags, pad2;
	__u32 msg_len, pad3;
};

/* Takes the next segment of the array, reading 8 at once. */
static __always_inline int tl_next_segment(struct tl_work *w)
{
	__u32 at = w->iov_next & 7;

	if (w->iov_next >= w->iov_count)
		return -1;
	if (!at) {
		__u64 n = TL_BOUND(w->iov_count - w->iov_next, 8);

		if (bpf_probe_read_user(w->iovs, n * 16, (void *)(w->iov + 16ULL * w->iov_next)))
			return -1;
	}
	w->seg_base = w->iovs[at].base;
	w->seg_left = w->iovs[at].len;
	w->iov_next++;
	return 0;
}

__noinline int tl_gather(__u32 cpu)
{
	struct tl_work *w = bpf_map_lookup_elem(&tl_work, &cpu);

	if (!w)
		return TL_GATHER_END;
	for (int i = 0; i < TL_GATHER_STEP; i++) {
		__u64 fill, n;

		if (!w->left)
			return TL_GATHER_END;
		if (w->fill >= TL_CHUNK)
			return TL_GATHER_FULL;
		if (!w->seg_left) {
			if (tl_next_segment(w))
				return TL_GATHER_END;
			continue;
		}
		fill = TL_BOUND(w->fill, TL_CHUNK);
		n = TL_CHUNK - fill;
		if (n > w->seg_left)
			n = w->seg_left;
		if (n > w->left)
			n = w->left;
		n = TL_BOUND(n, TL_CHUNK);
		if (bpf_probe_read_user(w->data + fill, n, (void *)w->seg_base))
			return w->fill ? TL_GATHER_FULL : TL_GATHER_FAULT;
		w->seg_base += n;
		w->seg_left -= n;
		w->left -= n;
		w->fill += n;
	}
	return TL_GATHER_MORE;
}

/* Counts `bytes` of the call on the workbench as lost by `cause`. */
__noinline int tl_lose(__u32 cpu, __u32 cause, __u64 bytes)
{
	struct tl_work *w = bpf_map_lookup_elem(&tl_work, &cpu);
	struct tl_stats *stats = TL_LOOKUP0(tl_stats);
	struct tl_stream *s;
	struct tl_proc *p;

	if (!w || !stats || cause >= TL_CAUSES)
		return 0;
	s = bpf_map_lookup_elem(&tl_streams, &w->file);
	if (s) {
		__sync_fetch_and_add(&s->lost_bytes, bytes);
		__sync_fetch_and_add(&s->lost_calls, 1);
		s->lost_cause = cause;
	}
	p = bpf_map_lookup_elem(&tl_procs, &w->tgid);
	if (p) {
		__sync_fetch_and_add(&p->lost_gen, 1);
		w->log.h.lost_gen = p->lost_gen;
	}
	__sync_fetch_and_add(&stats->lost_events[cause], 1);
	__sync_fetch_and_add(&stats->lost_bytes[cause], bytes);
	return 0;
}

/* Takes the next message of a sendmmsg as the call to read. */
__noinline int tl_next_message(__u32 cpu)
{
	struct tl_work *w = bpf_map_lookup_elem(&tl_work, &cpu);
	struct tl_stats *stats = TL_LOOKUP0(tl_stats);
	struct tl_user_mmsghdr *m;
	struct tl_stream *s;

	if (!w || !stats)
		return 0;
	m = (void *)w->iovs; /* not in use before the first segment is read */
	if (bpf_probe_read_user(m, sizeof(*m), (void *)w->msgs)) {
		__sync_fetch_and_add(&stats->lost_events[TL_LOST_FAULT], w->msgs_left);
		w->msgs_left = 0;
		return 0;
	}
	w->msgs += sizeof(*m);
	w->msgs_left--;
	w->iov = m->iov;
	w->iov_count = m->iov_count;
	w->iov_next = 0;
	w->seg_left = 0;
	w->call_off = 0;
	w->call_len = w->left = m->msg_len;
	w->log.call_len = m->msg_len;
	w->log.h.flags |= TL_EVF_FIRST;
	s = bpf_map_lookup_elem(&tl_streams, &w->file);
	if (s)
		__sync_fetch_and_add(&s->seen_bytes, m->msg_len);
	stats->seen_bytes += m->msg_len;
	if (w->drop) {
		w->left = 0;
		tl_lose(cpu, w->drop - 1, m->msg_len);
	}
	return 0;
}

/* Writes the event's struct in front of the bytes gathered. Returns the record's length. */
static __always_inline int tl_put_head(struct tl_work *w)
{
	struct tl_ev_log *e = (void *)(w->head + sizeof(w->head) - sizeof(*e));
	struct tl_stream *s;

	if (!w->fresh) {
		s = bpf_map_lookup_elem(&tl_streams, &w->file);
		if (s)
			w->log.lost_bytes = s->lost_bytes;
	}
	w->fresh = 0;
	*e = w->log;
	e->h.len = w->fill;
	e->call_off = w->call_off;
	if (w->left)
		e->h.flags |= TL_EVF_MORE;
	w->log.h.flags &= ~TL_EVF_FIRST;
	w->call_off += w->fill;
	return sizeof(*e) + w->fill;
}

/* Prepares the next event. Returns its length, 0 when all is read, 1 to be called again. */
__noinline int tl_next(__u32 cpu)
{
	struct tl_work *w = bpf_map_lookup_elem(&tl_work, &cpu);
	int result = TL_GATHER_MORE;
	__u64 bad;

	if (!w)
		return 0;
	if (!w->left) {
		if (!w->msgs_left)
			return 0;
		tl_next_message(cpu);
		return 1;
	}
	w->fill = 0;
	for (int i = 0; i < 160 && result == TL_GATHER_MORE; i++)
		result = tl_gather(cpu);
	if (w->fill)
		return tl_put_head(w);
	bad = result == TL_GATHER_FAULT && w->seg_left < w->left ? w->seg_left : w->left;
	w->seg_left = 0;
	w->left -= bad;
	w->call_off += bad;
	tl_lose(cpu, result == TL_GATHER_FAULT ? TL_LOST_FAULT : TL_LOST_IOVECS, bad);
	return 1;
}

/* The same, past what yields no event; 0 when nothing is left. */
__noinline int tl_next_event(__u32 cpu)
{
	for (int i = 0; i < 256; i++) {
		int n = tl_next(cpu);

		if (n != 1)
			return n;
	}
	return 0;
}

/* Counts the event that tl_next prepared as emitted, or with `error` as refused by the ring. */
__noinline int tl_account(__u32 cpu, __s64 error)
{
	struct tl_work *w = bpf_map_lookup_elem(&tl_work, &cpu);
	struct tl_stats *stats = TL_LOOKUP0(tl_stats);

	if (!w || !stats)
		return 0;
	if (error)
		return tl_lose(cpu, TL_LOST_RING_FULL, w->fill);
	stats->emitted_events++;
	stats->emitted_bytes += w->fill;
	return 0;
}

/* One event into the BPF ring buffer. */
__noinline int tl_step(__u32 cpu)
{
	struct tl_work *w = bpf_map_lookup_elem(&tl_work, &cpu);
	__u64 n, pending, quarter = tl_ring_size / 4;
	long error = -1;

	/* Verified on its own, called or not: a perf event array is no ring. */
	if (tl_perf || !w)
		return 0;
	n = tl_next(cpu);
	if (n <= 1)
		return n;
	pending = bpf_ringbuf_query(&tl_ring, BPF_RB_AVAIL_DATA);
	n = TL_BOUND(n, sizeof(struct tl_ev_log) + TL_CHUNK);
	if (pending + n <= tl_ring_size / 8 * 7)
		error = bpf_ringbuf_output(
			&tl_ring, w->head + sizeof(w->head) - sizeof(struct tl_ev_log), n,
			(pending ^ (pending + n)) & ~(quarter - 1) ? BPF_RB_FORCE_WAKEUP
								   : BPF_RB_NO_WAKEUP);
	tl_account(cpu, error);
	return 1;
}

/* Up to 64 events; 1 when it is done. */
__noinline int tl_steps(__u32 cpu)
{
	for (int i = 0; i < 64; i++)
		if (!tl_step(cpu))
			return 1;
	return 0;
}

/* Gathers the first `left` bytes of a socket call into `data`. */
__noinline int tl_wire_fill(__u32 cpu)
{
	struct tl_work *w = bpf_map_lookup_elem(&tl_work, &cpu);
	int result = TL_GATHER_MORE;

	if (!w)
		return 0;
	w->fill = 0;
	for (int i = 0; i < 160 && result == TL_GATHER_MORE; i++)
		result = tl_gather(cpu);
	return w->fill;
}
