/* SPDX-License-Identifier: GPL-2.0-only */
/* One system call of a selected process, at its exit: what the log side and the socket side share.
 */
#ifndef TL_HIT_BPF_H
#define TL_HIT_BPF_H

#include "bpf/arch.bpf.h"
#include "bpf/file.bpf.h"

#define TL_MSGHDR_IOV 16 /* msg_iov and msg_iovlen in a struct msghdr */

struct tl_hit {
	void *ctx; /* the program's, for perf output */
	struct pt_regs *regs;
	struct tl_control *control;
	struct tl_stats *stats;
	struct tl_proc *proc;
	__u64 task, id, now; /* task_struct, pid_tgid, monotonic time */
	__u64 unit;
	long ret;
	__u32 call, cpu, fd, unit_kind;
	__u32 drop; /* 1 + enum tl_cause: known beforehand to be lost */
	struct tl_found found;
};

/* Where the bytes of a call are. The first segment is known; `iov` has all of them when there are
 * more. */
struct tl_segments {
	__u64 base, len;
	__u64 iov, iov_count;
};

static __always_inline __u32 tl_waited(const struct tl_hit *h)
{
	__u32 tid = h->id;
	__u64 *at;

	if (!tl_wire || h->proc->unit_kind == TL_UNIT_GOROUTINE)
		return TL_WAITED_MAX;
	at = bpf_map_lookup_elem(&tl_waits, &tid);
	return at && h->now - *at < TL_WAITED_MAX ? h->now - *at : TL_WAITED_MAX;
}

static __always_inline void tl_head(const struct tl_hit *h, struct tl_event *e, __u8 type,
				    __u8 flags, __u32 len)
{
	e->type = type;
	e->unit_kind = h->unit_kind;
	e->flags = flags;
	e->syscall_class = h->call;
	e->len = len;
	e->time_ns = h->now;
	e->tgid = h->id >> 32;
	e->tid = h->id;
	e->start_ns = h->proc->start_ns;
	e->unit = h->unit;
	e->lost_gen = h->proc->lost_gen;
	e->waited_ns = tl_waited(h);
}

/* The wake-up flag of a BPF ring record of `n` bytes: wakes when the fill crosses a quarter, half
 * or three quarters of the ring. Negative when a log event of that size would take the fill above
 * 7/8. */
static __always_inline long tl_ring_room(__u64 n)
{
	__u64 pending = bpf_ringbuf_query(&tl_ring, BPF_RB_AVAIL_DATA);

	if (pending + n > tl_ring_size / 8 * 7)
		return -1;
	return (pending ^ (pending + n)) & ~(tl_ring_size / 4 - 1) ? BPF_RB_FORCE_WAKEUP
								   : BPF_RB_NO_WAKEUP;
}

/* Puts the control event of `n` bytes that is on the workbench into the ring, and wakes the agent:
 * a file waits for its verdict, a process for its runtime to be known. They are few. */
static __always_inline long tl_emit_ctl(struct tl_hit *h, struct tl_work *w, __u64 n)
{
	long err;

	n = TL_BOUND(n, TL_CTL_MAX);
	if (tl_perf)
		err = bpf_perf_event_output(h->ctx, &tl_ring, BPF_F_CURRENT_CPU, w->ctl, n);
	else
		err = bpf_ringbuf_output(&tl_ring, w->ctl, n, BPF_RB_FORCE_WAKEUP);
	if (err)
		__sync_fetch_and_add(&h->stats->lost_wire[TL_LOST_RING_FULL], 1);
	return err;
}

/* Who runs in the process right now. */
static __always_inline void tl_set_unit(struct tl_hit *h)
{
	h->unit_kind = h->proc->unit_kind;
	h->unit = 0;
	if (h->unit_kind == TL_UNIT_THREAD)
		return;
	h->unit = tl_unit(h->id >> 32);
	if (h->unit == TL_UNIT_NONE) {
		h->unit_kind = TL_UNIT_THREAD;
		h->unit = 0;
	}
}

/* Finds the process's entry, made at its first event; sets the unit. False when there is no room
 * for it. */
static __always_inline bool tl_find_proc(struct tl_hit *h)
{
	__u32 tgid = h->id >> 32;
	struct tl_proc *p = bpf_map_lookup_elem(&tl_procs, &tgid);

#ifdef TL_DIRECT
	__u64 leader = (__u64)TL_GET(struct task_struct, h->task, group_leader);

	if (p && p->start_ns != TL_GET(struct task_struct, leader, start_boottime))
		p = NULL;
#else
	/* Entries of dead processes are removed at their end; one that the agent made has its start
	 * to a tick. */
	if (p && !(p->start_ns % 10000000))
		p = NULL;
#endif
	if (!p) {
		struct tl_work *w = bpf_map_lookup_elem(&tl_work, &h->cpu);
		__u32 n = w ? tl_proc_event(h->cpu, TL_PROC_SELECTED) : 0;

		if (n)
			tl_emit_ctl(h, w, n);
		p = bpf_map_lookup_elem(&tl_procs, &tgid);
		if (!p)
			return false;
	}
	h->proc = p;
	tl_set_unit(h);
	return true;
}

/* Reads where the bytes are that the call moved. False when that cannot be read. */
static __always_inline bool tl_segments(struct tl_hit *h, struct tl_segments *s)
{
	s->base = TL_ARG2(h->regs);
	s->len = h->ret;
	switch (h->call) {
	case TL_CALL_WRITEV:
	case TL_CALL_READV:
	case TL_CALL_PWRITEV:
		s->iov = s->base;
		s->iov_count = TL_ARG3(h->regs);
		break;
	case TL_CALL_SENDMSG:
	case TL_CALL_RECVMSG:
	case TL_CALL_SENDMMSG:
	case TL_CALL_RECVMMSG:
		if (bpf_probe_read_user(&s->iov, 16, (void *)(s->base + TL_MSGHDR_IOV)))
			return false;
		break;
	default:
		return true;
	}
	return s->iov_count && !bpf_probe_read_user(&s->base, 16, (void *)s->iov);
}

/* Sets the workbench up to read `left` bytes. */
static __always_inline void tl_start_reading(struct tl_work *w, const struct tl_segments *s,
					     __u64 left)
{
	w->left = left;
	w->fill = 0;
	w->iov = s->iov;
	w->iov_count = s->iov_count;
	w->iov_next = 0;
	w->seg_left = 0;
	if (!s->iov) {
		w->seg_base = s->base;
		w->seg_left = s->len;
	}
}

#endif
