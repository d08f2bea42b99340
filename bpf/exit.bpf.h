/* SPDX-License-Identifier: GPL-2.0-only */
/* The body of every capture program: one system call at its exit. The order of the tests is the
 * cost of everybody else's calls: the number, then the process, then what is behind the descriptor;
 * user memory is read last. */
#ifndef TL_EXIT_BPF_H
#define TL_EXIT_BPF_H

#define TL_EINPROGRESS -115

#include "bpf/log.bpf.h"
#include "bpf/wire.bpf.h"

static __always_inline bool tl_is_selected(const struct tl_control *control, __u32 tgid)
{
	struct tl_selection *selection = TL_LOOKUP0(tl_selected);
	__u8 how = selection ? selection->how[tgid & (TL_PID_SLOTS - 1)] : TL_DENIED;

	if (how)
		return how == TL_SELECTED;
	return control->select_all || (control->by_cgroup && tl_cgroup_selected());
}

/* Whether no agent has been alive for so long that there is nobody to capture for. */
static __always_inline bool tl_is_stalled(const struct tl_control *c, __u64 now)
{
	return c->stall_ns && c->heartbeat_ns && now > c->heartbeat_ns + c->stall_ns;
}

/* sendmmsg and recvmmsg on a stream socket: one message is like sendmsg; more are not followed. */
static __always_inline bool tl_one_message(struct tl_hit *h)
{
	__u32 len = 0;

	if (h->call != TL_CALL_SENDMMSG && h->call != TL_CALL_RECVMMSG)
		return true;
	if (h->ret != 1 || bpf_probe_read_user(&len, 4, (void *)(TL_ARG2(h->regs) + 56))) {
		tl_wire_lose(h, TL_LOST_TOO_LONG);
		return false;
	}
	h->ret = len;
	return true;
}

static __always_inline bool tl_is_peek(const struct tl_hit *h)
{
	if (h->call == TL_CALL_RECVFROM || h->call == TL_CALL_RECVMMSG)
		return TL_ARG4(h->regs) & TL_MSG_PEEK;
	return h->call == TL_CALL_RECVMSG && (TL_ARG3(h->regs) & TL_MSG_PEEK);
}

/* Whether a write on this unix socket goes to a log: the socket is known as one, or its peer is. */
static __always_inline bool tl_is_unix_log(struct tl_hit *h, __u64 sk, __u16 type)
{
	struct tl_sock_key key = {sk, h->found.id.ino};
	__u64 name = 0;

	h->found.kind = TL_FILE_UNIX;
	if (bpf_map_lookup_elem(&tl_streams, &h->found.id))
		return true;
	if (type == SOCK_STREAM && bpf_map_lookup_elem(&tl_socks, &key))
		return false;
	if (h->drop || h->call == TL_CALL_CONNECT)
		return false;
	if (h->call == TL_CALL_SENDTO)
		name = TL_ARG5(h->regs);
	else if (h->call == TL_CALL_SENDMSG || h->call == TL_CALL_SENDMMSG)
		bpf_probe_read_user(&name, sizeof(name),
				    (void *)TL_ARG2(h->regs)); /* msg_name comes first */
	return tl_unix_target(h->cpu, tl_scalar(sk), name);
}

static __always_inline bool tl_futex_waits(const struct pt_regs *regs, long ret)
{
	__u32 op = TL_ARG2(regs) & 0x7f;

	/* EAGAIN: the word had changed already. */
	return ret != -11 && op < 32 && (TL_FUTEX_WAITS & (1u << op));
}

/* A wait, as `bits` of its number say. Others' waits cost the look at whether they are selected. */
static __always_inline void tl_wait(const struct pt_regs *regs, __u8 bits, long ret)
{
	struct tl_control *control = TL_LOOKUP0(tl_control);
	__u64 id = bpf_get_current_pid_tgid();

	if (!control || !tl_is_selected(control, id >> 32))
		return;
	bits &= TL_NR_WAITS;
	if (bits == TL_NR_WAIT || (bits == TL_NR_POLL && TL_ARG2(regs) > 1) ||
	    (bits == TL_NR_FUTEX && tl_futex_waits(regs, ret)))
		tl_note_wait();
}

/* A call on a socket. Returns whether it is a write to a log, which is still to be captured. */
static __always_inline bool tl_socket_call(struct tl_hit *h, bool in)
{
	__u64 socket = (__u64)TL_GET(struct file, h->found.file, private_data);
	__u64 sk = (__u64)TL_GET(struct socket, socket, sk);
	__u16 family = TL_GET(struct sock, sk, __sk_common.skc_family);
	__u16 type = TL_GET(struct socket, socket, type);

	tl_find_id(&h->found);
	if (family == AF_UNIX && !in && tl_is_unix_log(h, sk, type))
		return true;
	if (!tl_wire || !h->control->wire || type != SOCK_STREAM ||
	    (family != AF_INET && family != AF_INET6 && family != AF_UNIX)) {
		if (in && family == AF_UNIX)
			tl_note_wait();
		return false;
	}
	if (tl_is_peek(h) || !tl_find_proc(h) || !tl_one_message(h))
		return false;
	if (!tl_wire_call(h, sk, family, in ? TL_EVF_RECV : 0) && in && family == AF_UNIX)
		tl_note_wait();
	return false;
}

/* Bytes that went into a file without being shown; if it is no socket, they may have come out of
 * one. */
static __always_inline bool tl_moved_unseen(struct tl_hit *h, bool *in)
{
	if ((h->found.mode & S_IFMT) == S_IFSOCK)
		return true;
	if (tl_is_candidate(&h->found)) {
		tl_find_id(&h->found);
		tl_log_blind(h);
	}
	if (h->call != TL_CALL_SPLICE || !tl_find(h->task, TL_ARG1(h->regs), true, &h->found))
		return false;
	*in = true;
	return (h->found.mode & S_IFMT) == S_IFSOCK;
}

/* What a call moved to or from the descriptor `fd`. */
static __always_inline void tl_fd_call(struct tl_hit *h, bool in)
{
	if (!tl_find(h->task, h->fd, in, &h->found))
		return;
	if ((h->call == TL_CALL_SENDFILE || h->call == TL_CALL_SPLICE) && !tl_moved_unseen(h, &in))
		return;
	if ((h->found.mode & S_IFMT) == S_IFSOCK) {
		if (!tl_socket_call(h, in))
			return;
	} else {
		if (in && (h->found.mode & S_IFMT) != S_IFREG)
			tl_note_wait();
		if (in || !tl_is_candidate(&h->found))
			return;
		tl_find_id(&h->found);
	}
	if (tl_find_proc(h))
		return tl_log_call(h);
	__sync_fetch_and_add(&h->stats->lost_events[TL_LOST_MAP_FULL], 1);
	__sync_fetch_and_add(&h->stats->lost_bytes[TL_LOST_MAP_FULL], h->ret);
}

/* A call that can be of interest: `bits` is its entry in tl_nr. */
static __always_inline void tl_call(void *ctx, struct pt_regs *regs, __u8 bits, long ret)
{
	struct tl_hit h = {.ctx = ctx, .regs = regs, .ret = ret, .call = bits & TL_NR_CALL};
	bool in = h.call >= TL_CALL_READ && h.call <= TL_CALL_RECVMMSG;

	if (bits & TL_NR_WAITS)
		return tl_wait(regs, bits, ret);
	if (h.call == TL_CALL_CONNECT)
		h.ret = ret == TL_EINPROGRESS ? 0 : ret;
	if (h.ret < 0 ||
	    (!h.ret && h.call != TL_CALL_CONNECT && !(in && h.call != TL_CALL_RECVMMSG)))
		return;
	h.control = TL_LOOKUP0(tl_control);
	h.id = bpf_get_current_pid_tgid();
	if (!h.control || !tl_is_selected(h.control, h.id >> 32))
		return;
	h.task = TL_TASK();
	h.fd = TL_ARG1(regs);
	if (tl_is_compat(h.task)) {
		if (!(bits & TL_NR_WRITE32))
			return;
		h.call = TL_CALL_OTHER;
		h.drop = 1 + TL_LOST_COMPAT;
		h.fd = TL_COMPAT_ARG1(regs);
		in = false;
	} else if (!h.call) {
		return;
	}
	h.stats = TL_LOOKUP0(tl_stats);
	if (!h.stats)
		return;
	h.cpu = bpf_get_smp_processor_id();
	h.now = bpf_ktime_get_ns();
	if (tl_is_stalled(h.control, h.now))
		h.drop = 1 + TL_LOST_STALLED;
	if (h.call == TL_CALL_SPLICE)
		h.fd = TL_ARG3(regs);
	tl_fd_call(&h, in);
}

static __always_inline __u8 tl_nr_bits(__u64 nr)
{
	return nr < TL_NR_MAX ? tl_nr[nr] : 0;
}

#endif
