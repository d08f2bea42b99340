/* SPDX-License-Identifier: GPL-2.0-only */
/* The socket side: calls on stream sockets that look like HTTP. Of an unknown socket the first
 * bytes of each call are compared with the request methods and "HTTP/"; nothing else is read before
 * one fits, and after 32 calls without one the socket is ignored. A single byte or the beginning of
 * a method fits as well: headers may come in any pieces. */
#ifndef TL_WIRE_BPF_H
#define TL_WIRE_BPF_H

#include "bpf/hit.bpf.h"

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define TL_IPPROTO_TCP 6
#define TL_TCP_CLOSE 7
#define TL_MSG_PEEK 2
#define TL_SOCK_TRIES 32
#define TL_MMSG_WIRE 8 /* messages of one sendmmsg or recvmmsg on a stream socket */

#ifdef TL_DIRECT
#define TL_PLACE_ON_BENCH tl_place_direct
#else
#define TL_PLACE_ON_BENCH tl_place_core
#endif

static __always_inline void tl_wire_lose(struct tl_hit *h, __u32 cause)
{
	__sync_fetch_and_add(&h->stats->lost_wire[cause], 1);
	if (h->proc)
		__sync_fetch_and_add(&h->proc->lost_gen, 1);
}

static const struct tl_sock tl_no_sock;

/* The socket's entry; made, with the old one of a struct sock used anew removed, when it has none.
 */
static __always_inline struct tl_sock *tl_find_sock(struct tl_hit *h, const struct tl_sock_key *key)
{
	struct tl_sock *s = bpf_map_lookup_elem(&tl_socks, key);
	__u64 *ino;

	if (s)
		return s;
	ino = bpf_map_lookup_elem(&tl_sock_ino, &key->sock);
	if (ino && *ino != key->ino) {
		struct tl_sock_key old = {key->sock, *ino};

		bpf_map_delete_elem(&tl_socks, &old);
	}
	bpf_map_update_elem(&tl_sock_ino, &key->sock, &key->ino, BPF_ANY);
	bpf_map_update_elem(&tl_socks, key, &tl_no_sock, BPF_NOEXIST);
	s = bpf_map_lookup_elem(&tl_socks, key);
	if (!s)
		tl_wire_lose(h, TL_LOST_MAP_FULL);
	return s;
}

/* What one WIRE event says of its call. */
struct tl_moved {
	__u64 sk, ino, bytes;
	__u32 len; /* copied */
	__u16 family;
	__u8 flags;
};

/* Who is at the other end of a unix socket. */
static __always_inline void tl_unix_peer(__u64 sk, struct tl_ev_wire *e)
{
	__u64 *remote = (__u64 *)e->remote_addr;
	__u64 socket;

	remote[0] = (__u64)TL_GET(struct unix_sock, sk, peer);
	if (!remote[0])
		return;
	socket = (__u64)TL_GET(struct sock, remote[0], sk_socket);
	if (socket)
		remote[1] = TL_GET(struct socket_alloc, socket, vfs_inode.i_ino);
}

/* Where the call's bytes lie. The counters move under us when segments come in; what matters,
 * `seq`, is of one load each way, and the agent takes a base that changes for a torn one. */
static __always_inline void tl_tcp_place(__u64 sk, __u64 bytes, __u8 flags, struct tl_ev_wire *e)
{
	__u64 in = TL_GET(struct tcp_sock, sk, bytes_received);
	__u64 out = TL_GET(struct tcp_sock, sk, bytes_acked);
	__u32 next = TL_GET(struct tcp_sock, sk, rcv_nxt);
	__u32 una = TL_GET(struct tcp_sock, sk, snd_una);

	e->base_in = next - (__u32)in;
	e->base_out = una - (__u32)out;
	if (flags & TL_EVF_RECV) {
		e->seq = TL_GET(struct tcp_sock, sk, copied_seq) - (__u32)bytes;
		e->wraps = (in - (__u32)(next - e->seq)) >> 32;
	} else {
		e->seq = TL_GET(struct tcp_sock, sk, write_seq) - (__u32)bytes;
		e->wraps = (out + (__s32)(e->seq - una)) >> 32;
	}
	e->placed = 1;
}

/* The part of a WIRE event that the socket tells: from `family` on. A call moved `bytes` on it. */
static __always_inline void tl_wire_place(struct tl_ev_wire *e, __u64 sk, __u16 family, __u64 bytes,
					  __u8 flags, __u8 call)
{
	const struct sock *s = (void *)sk;

	e->family = family;
	e->local_port = e->remote_port = e->placed = 0;
	__builtin_memset(e->local_addr, 0, 48);
	if (family == AF_UNIX)
		return tl_unix_peer(sk, e);
	/* Plaintext lies nowhere: what was sent is its ciphertext. */
	if (call != TL_CALL_TLS && TL_GET(struct sock, sk, sk_protocol) == TL_IPPROTO_TCP)
		tl_tcp_place(sk, bytes, flags, e);
	e->local_port = TL_GET(struct sock, sk, __sk_common.skc_num);
	e->remote_port = __builtin_bswap16(TL_GET(struct sock, sk, __sk_common.skc_dport));
	if (family == AF_INET) {
		*(__u32 *)e->local_addr = TL_GET(struct sock, sk, __sk_common.skc_rcv_saddr);
		*(__u32 *)e->remote_addr = TL_GET(struct sock, sk, __sk_common.skc_daddr);
	} else {
		bpf_core_read(e->local_addr, 16, &s->__sk_common.skc_v6_rcv_saddr);
		bpf_core_read(e->remote_addr, 16, &s->__sk_common.skc_v6_daddr);
	}
}

/* The same for the event on the workbench. Global, so that all its ways are verified once and not
 * behind each way to it; by name, as it reads pointers in either of two ways (file.bpf.h). */
__weak __noinline int TL_PLACE_ON_BENCH(__u32 cpu, __u64 sk, __u32 family, __u64 bytes,
					__u32 flags_and_call)
{
	struct tl_work *w = bpf_map_lookup_elem(&tl_work, &cpu);

	if (w)
		tl_wire_place((void *)w->head, sk, family, bytes, flags_and_call,
			      flags_and_call >> 8);
	return 0;
}

/* The part of a WIRE event that the call tells. */
static __always_inline void tl_wire_head(const struct tl_hit *h, const struct tl_moved *m,
					 struct tl_ev_wire *e)
{
	tl_head(h, &e->h, TL_EV_WIRE, m->flags, m->len);
	e->sock = m->sk;
	e->sock_ino = m->ino;
	e->call_len = m->bytes;
}

#define TL_WIRE_CLASS(SZ)                                                                          \
	do {                                                                                       \
		struct {                                                                           \
			struct tl_ev_wire e;                                                       \
			__u8 data[SZ];                                                             \
		} *r = bpf_ringbuf_reserve(&tl_ring, sizeof(*r), 0);                               \
                                                                                                   \
		if (!r)                                                                            \
			return TL_LOST_RING_FULL;                                                  \
		if (len && bpf_probe_read_user(r->data, TL_BOUND(len, SZ), (void *)base)) {        \
			bpf_ringbuf_discard(r, BPF_RB_NO_WAKEUP);                                  \
			return TL_LOST_FAULT;                                                      \
		}                                                                                  \
		r->e = *e;                                                                         \
		bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);                                           \
		return -1;                                                                         \
	} while (0)

/* Puts the event and one segment of `len` bytes into the ring. Returns -1, or the cause of its
 * loss.
 */
static __always_inline int tl_wire_copy(const struct tl_ev_wire *e, __u32 len, __u64 base)
{
	if (len <= 256)
		TL_WIRE_CLASS(256);
	if (len <= 1024)
		TL_WIRE_CLASS(1024);
	if (len <= 4096)
		TL_WIRE_CLASS(4096);
	TL_WIRE_CLASS(16384);
}

/* Gathers `len` bytes of several segments behind the event on the workbench and puts both into the
 * ring. Returns -1, or the cause of its loss. */
static __always_inline int tl_wire_gather(struct tl_hit *h, struct tl_work *w, __u32 len,
					  const struct tl_segments *seg)
{
	__u64 n;
	long err;

	tl_start_reading(w, seg, len);
	if (len && (__u32)tl_wire_fill(h->cpu) != len)
		return TL_LOST_FAULT;
	n = TL_BOUND(TL_WIRE_HEAD + len, TL_WIRE_HEAD + TL_WIRE_MAX);
	if (tl_perf)
		err = bpf_perf_event_output(h->ctx, &tl_ring, BPF_F_CURRENT_CPU, w->head, n);
	else
		err = bpf_ringbuf_output(&tl_ring, w->head, n, BPF_RB_NO_WAKEUP);
	return err ? TL_LOST_RING_FULL : -1;
}

/* The connection had been reset before it was accepted: its end was told when nobody watched it. */
static __always_inline bool tl_is_over(const struct tl_moved *m)
{
	const struct sock *sk = (void *)m->sk;
	__u8 state = 0;

	if (m->family != AF_UNIX)
		bpf_core_read(&state, sizeof(state), (const void *)&sk->__sk_common.skc_state);
	return state == TL_TCP_CLOSE;
}

/* Emits one WIRE event; of the bytes moved, `m->len` could be copied. */
static __always_inline void tl_wire_emit(struct tl_hit *h, struct tl_moved *m,
					 const struct tl_segments *seg)
{
	struct tl_work *w = bpf_map_lookup_elem(&tl_work, &h->cpu);
	__u32 max = h->control->wire_max;
	struct tl_ev_wire *e;
	int cause;

	if (!w)
		return tl_wire_lose(h, TL_LOST_FAULT);
	if (max > TL_WIRE_MAX)
		max = TL_WIRE_MAX;
	if (m->len > max)
		m->len = max;
	if (m->len < m->bytes)
		m->flags |= TL_EVF_TRUNC;
	if (tl_is_over(m))
		m->flags |= TL_EVF_SHUT;
	e = (void *)w->head;
	TL_PLACE_ON_BENCH(h->cpu, tl_scalar(m->sk), m->family, m->bytes, m->flags | h->call << 8);
	tl_wire_head(h, m, e);
	cause = tl_perf || m->len > seg->len ? tl_wire_gather(h, w, m->len, seg)
					     : tl_wire_copy(e, m->len, seg->base);
	if (cause >= 0)
		tl_wire_lose(h, cause);
	else
		__sync_fetch_and_add(&h->stats->wire_events, 1);
}

/* Tells the agent, once, that the process speaks TLS: then its library is looked for. */
static __always_inline void tl_tell_tls(struct tl_hit *h)
{
	struct tl_work *w = bpf_map_lookup_elem(&tl_work, &h->cpu);
	__u32 n;

	if (!w || (h->proc->flags & TL_PROCF_TLS_TOLD))
		return;
	n = tl_proc_event(h->cpu, TL_PROC_TLS);
	if (n && !tl_emit_ctl(h, w, n))
		h->proc->flags |= TL_PROCF_TLS_TOLD;
}

/* Looks at the first bytes on a socket not yet known to be HTTP. Returns whether it is now. */
static __always_inline bool tl_wire_probe(struct tl_hit *h, struct tl_sock *s,
					  const struct tl_segments *seg, __u64 n)
{
	int like = TL_LIKE_NOTHING;
	__u64 v = 0;

	if (n > seg->len)
		n = seg->len;
	n = TL_BOUND(n, 8);
	if (n && !bpf_probe_read_user(&v, n, (void *)seg->base))
		like = tl_looks_like(v, n);
	if (like == TL_LIKE_HTTP) {
		s->state = TL_SOCK_HTTP;
		return true;
	}
	if (like == TL_LIKE_TLS) {
		s->tries = 0;
		s->state = TL_SOCK_TLS;
		tl_tell_tls(h);
		return false;
	}
	if (++s->tries >= TL_SOCK_TRIES)
		s->state = TL_SOCK_IGNORED;
	return false;
}

/* A call that moved `h->ret` bytes on the stream socket `sk`, seen or (sendfile, splice) not.
 * Returns whether the socket is watched. */
static __always_inline bool tl_wire_call(struct tl_hit *h, __u64 sk, __u16 family, __u8 flags)
{
	struct tl_sock_key key = {sk, h->found.id.ino};
	bool seen = h->call != TL_CALL_SENDFILE && h->call != TL_CALL_SPLICE;
	struct tl_moved m = {
		.sk = sk,
		.ino = key.ino,
		.bytes = h->ret,
		.family = family,
		.len = !seen		      ? 0
		       : h->ret > TL_WIRE_MAX ? TL_WIRE_MAX
					      : h->ret,
		.flags = flags | (h->ret ? 0 : TL_EVF_EOF),
	};
	struct tl_segments seg = {};
	struct tl_sock *s;

	if (h->drop)
		return false;
	if (h->call == TL_CALL_CONNECT) {
		m.bytes = m.len = m.flags = 0;
		tl_wire_emit(h, &m, &seg);
		return true;
	}
	s = tl_find_sock(h, &key);
	if (s && (h->proc->flags & TL_PROCF_TLS))
		tl_tls_note(tl_scalar(sk), key.ino, family);
	if (!s || s->state == TL_SOCK_IGNORED || (s->state == TL_SOCK_NEW && !m.len))
		return false;
	/* Its plaintext comes from the TLS library. */
	if (s->state == TL_SOCK_TLS || s->state == TL_SOCK_TLS_HTTP) {
		tl_tell_tls(h); /* an agent that came after it */
		return s->state == TL_SOCK_TLS_HTTP;
	}
	if (m.len && !tl_segments(h, &seg)) {
		tl_wire_lose(h, TL_LOST_FAULT);
		return false;
	}
	if (s->state == TL_SOCK_NEW && !tl_wire_probe(h, s, &seg, h->ret))
		return false;
	s->tgid = h->id >> 32;
	tl_wire_emit(h, &m, &seg);
	return true;
}

#endif
