// SPDX-License-Identifier: GPL-2.0-only
/* Uprobes: where a unit is born or ends, and the plaintext of TLS libraries. Each is attached to
 * one process (agent/inspector_probe.c), and does nothing in one that the agent does not know.
 *
 * Unlike the system call programs these may be preempted by another of their kind on the same CPU:
 * the CPU's workbench is not theirs, and everything is built on the stack or in the ring itself.
 * Probe reads only: the same code on every kernel.
 *
 * TLS: the library's read or write is on the thread's stack while it reads or writes the socket, so
 * the call nested in it tells which socket the SSL object uses (tl_tls_note). Objects over memory
 * buffers have no nested call, hence no socket, hence no events. */
#include "bpf/wire.bpf.h"

/* The process's entry, and who it is; NULL when it is not ours. */
static __always_inline struct tl_proc *tl_our_proc(struct tl_hit *h, void *ctx)
{
	__u32 tgid;

	h->ctx = ctx;
	h->id = bpf_get_current_pid_tgid();
	tgid = h->id >> 32;
	h->proc = bpf_map_lookup_elem(&tl_procs, &tgid);
	h->control = TL_LOOKUP0(tl_control);
	h->stats = TL_LOOKUP0(tl_stats);
	return h->control && h->stats && h->control->probes_owner == tl_owner ? h->proc : NULL;
}

/* --- births and ends --- */

static __always_inline void tl_emit_unit(struct tl_hit *h, __u8 type, __u8 kind, __u64 unit,
					 __u64 parent)
{
	struct tl_ev_unit e = {};
	long err;

	e.h.type = type;
	e.h.unit_kind = kind;
	e.h.flags = h->call;
	e.h.time_ns = bpf_ktime_get_ns();
	e.h.tgid = h->id >> 32;
	e.h.tid = h->id;
	e.h.start_ns = h->proc->start_ns;
	e.h.unit = unit;
	e.h.lost_gen = h->proc->lost_gen;
	e.h.waited_ns = TL_WAITED_MAX;
	e.parent = parent;
	if (tl_perf)
		err = bpf_perf_event_output(h->ctx, &tl_ring, BPF_F_CURRENT_CPU, &e, sizeof(e));
	else
		err = bpf_ringbuf_output(&tl_ring, &e, sizeof(e), BPF_RB_NO_WAKEUP);
	if (err)
		tl_wire_lose(h, TL_LOST_RING_FULL);
}

static __always_inline void tl_born(struct tl_hit *h, __u8 kind, __u64 unit, __u64 parent)
{
	tl_emit_unit(h, TL_EV_UNIT, kind, unit, parent);
}

/* At the entry of a method of net/http's persistConn, which comes in AX. */
static __always_inline void tl_go_call(struct pt_regs *ctx, __u8 flags)
{
	struct tl_hit h = {.call = flags};
	struct tl_proc *p = tl_our_proc(&h, ctx);
	__u64 unit;

	if (!p || p->unit_kind != TL_UNIT_GOROUTINE || !ctx->ax)
		return;
	unit = tl_unit(h.id >> 32);
	if (unit)
		tl_emit_unit(&h, TL_EV_CALL, TL_UNIT_GOROUTINE, unit, ctx->ax);
}

SEC("uprobe")
int tl_go_asks(struct pt_regs *ctx)
{
	tl_go_call(ctx, 0);
	return 0;
}

SEC("uprobe")
int tl_go_writes(struct pt_regs *ctx)
{
	tl_go_call(ctx, TL_EVF_FIRST);
	return 0;
}

/* On the system stack: the goroutine that says `go` still is the thread's current one. */
static __always_inline int tl_go_new(struct pt_regs *ctx, __u64 g)
{
	struct tl_hit h = {};
	struct tl_proc *p = tl_our_proc(&h, ctx);
	__u64 id = 0;

	if (!p || p->unit_kind != TL_UNIT_GOROUTINE || !p->g_goid_off)
		return 0;
	if (bpf_probe_read_user(&id, sizeof(id), (void *)(g + p->g_goid_off)) || !id)
		return 0;
	tl_born(&h, TL_UNIT_GOROUTINE, id, tl_unit(h.id >> 32));
	return 0;
}

/* At a RET of runtime.newproc1, which returns the new g in AX. */
SEC("uprobe")
int tl_go_born(struct pt_regs *ctx)
{
	return tl_go_new(ctx, ctx->ax);
}

/* Where runtime.newproc calls runtime.runqput with it as the second argument: a call is emulated by
 * the kernel, where a return is stepped over, which takes two traps. */
SEC("uprobe")
int tl_go_queued(struct pt_regs *ctx)
{
	return tl_go_new(ctx, ctx->bx);
}

/* At the return of PyContext_CopyCurrent: a copy of the running context, for a task, a callback or
 * another thread. */
SEC("uprobe")
int tl_py_born(struct pt_regs *ctx)
{
	struct tl_hit h = {};
	struct tl_proc *p = tl_our_proc(&h, ctx);
	struct tl_context_key key = {ctx->ax, 0, 0};
	__u64 number, parent;

	if (!p || p->unit_kind != TL_UNIT_CONTEXT || !(p->flags & TL_PROCF_VERSIONED) ||
	    !key.address)
		return 0;
	key.tgid = h.id >> 32;
	parent = tl_unit(key.tgid);
	number = bpf_ktime_get_ns() | TL_UNIT_VERSIONED;
	if (bpf_map_update_elem(&tl_contexts, &key, &number, BPF_ANY))
		return 0;
	tl_born(&h, TL_UNIT_CONTEXT, number, parent == TL_UNIT_NONE ? 0 : parent);
	return 0;
}

/* At the entry of the destructor of contexts. */
SEC("uprobe")
int tl_py_end(struct pt_regs *ctx)
{
	struct tl_context_key key = {ctx->di, bpf_get_current_pid_tgid() >> 32, 0};

	bpf_map_delete_elem(&tl_contexts, &key);
	return 0;
}

/* --- TLS libraries --- */

static __always_inline void tl_caller(const struct tl_proc *p, __u64 id, struct tl_tls_caller *ret)
{
	ret->tgid = id >> 32;
	ret->kind = p->unit_kind == TL_UNIT_GOROUTINE;
	ret->who = ret->kind ? tl_unit(id >> 32) : (__u32)id;
}

/* Who is in a TLS library's call reads or writes a socket: that is the SSL object's. */
__noinline int tl_tls_note(__u64 sk, __u64 ino, __u32 family)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct tl_tls_sock sock = {sk, ino, family};
	struct tl_tls_caller caller = {};
	struct tl_tls_key key = {};
	struct tl_tls_call *call;
	__u32 tgid = id >> 32;
	struct tl_proc *p = bpf_map_lookup_elem(&tl_procs, &tgid);

	if (!p)
		return 0;
	tl_caller(p, id, &caller);
	call = bpf_map_lookup_elem(&tl_tls_calls, &caller);
	if (!call)
		return 0;
	if (call->sk == sk && call->ino == ino)
		return 1;
	key.ssl = call->ssl;
	key.tgid = tgid;
	if (bpf_map_update_elem(&tl_tls_socks, &key, &sock, BPF_ANY)) {
		call->sk = 0;
		return 0;
	}
	call->sk = sk;
	call->ino = ino;
	call->family = family;
	return 1;
}

/* `what`: the call, all but its socket. */
static __always_inline int tl_tls_enter(struct pt_regs *ctx, struct tl_tls_call *what)
{
	struct tl_hit h = {};
	struct tl_proc *p = tl_our_proc(&h, ctx);
	struct tl_tls_caller caller = {};
	struct tl_tls_key key = {};
	struct tl_tls_call *outer;
	struct tl_tls_sock *sock;

	if (!p || !(p->flags & TL_PROCF_TLS))
		return 0;
	tl_caller(p, h.id, &caller);
	if (!what->len) { /* a handshake, perhaps inside a read or write */
		outer = bpf_map_lookup_elem(&tl_tls_calls, &caller);
		if (outer && outer->len && outer->ssl == what->ssl) {
			outer->nested = 1;
			return 0;
		}
	}
	key.ssl = what->ssl;
	key.tgid = caller.tgid;
	sock = bpf_map_lookup_elem(&tl_tls_socks, &key);
	if (sock) {
		what->sk = sock->sk;
		what->ino = sock->ino;
		what->family = sock->family;
	}
	bpf_map_update_elem(&tl_tls_calls, &caller, what, BPF_ANY);
	return 0;
}

/* int SSL_read(SSL *ssl, void *buf, int num), and the same with const for SSL_write. */
static __always_inline int tl_tls_plain(struct pt_regs *ctx, bool in)
{
	struct tl_tls_call call = {.ssl = ctx->di, .buf = ctx->si, .len = (__u32)ctx->dx, .in = in};

	return call.len ? tl_tls_enter(ctx, &call) : 0;
}

/* int SSL_read_ex(SSL *ssl, void *buf, size_t num, size_t *readbytes) */
static __always_inline int tl_tls_ex(struct pt_regs *ctx, bool in)
{
	struct tl_tls_call call = {
		.ssl = ctx->di, .buf = ctx->si, .len = ctx->dx, .ret_len = ctx->cx, .in = in};

	return call.len ? tl_tls_enter(ctx, &call) : 0;
}

/* func (c *Conn) Read(b []byte) (int, error): in registers since Go 1.17. */
static __always_inline int tl_tls_go(struct pt_regs *ctx, bool in)
{
	struct tl_tls_call call = {.ssl = ctx->ax, .buf = ctx->bx, .len = ctx->cx, .in = in};

	return call.len ? tl_tls_enter(ctx, &call) : 0;
}

SEC("uprobe")
int tl_tls_read(struct pt_regs *ctx)
{
	return tl_tls_plain(ctx, true);
}

SEC("uprobe")
int tl_tls_write(struct pt_regs *ctx)
{
	return tl_tls_plain(ctx, false);
}

SEC("uprobe")
int tl_tls_read_ex(struct pt_regs *ctx)
{
	return tl_tls_ex(ctx, true);
}

SEC("uprobe")
int tl_tls_write_ex(struct pt_regs *ctx)
{
	return tl_tls_ex(ctx, false);
}

SEC("uprobe")
int tl_tls_go_read(struct pt_regs *ctx)
{
	return tl_tls_go(ctx, true);
}

SEC("uprobe")
int tl_tls_go_write(struct pt_regs *ctx)
{
	return tl_tls_go(ctx, false);
}

/* SSL_do_handshake and its callers: nothing of it is emitted, but the socket is seen. */
SEC("uprobe")
int tl_tls_handshake(struct pt_regs *ctx)
{
	struct tl_tls_call call = {.ssl = ctx->di, .in = true};

	return tl_tls_enter(ctx, &call);
}

/* (*Conn).handshakeContext: each connection begins with one, so that the address of a Conn that was
 * collected finds its new socket before its first byte. */
SEC("uprobe")
int tl_tls_go_handshake(struct pt_regs *ctx)
{
	struct tl_tls_call call = {.ssl = ctx->ax, .in = true};

	return tl_tls_enter(ctx, &call);
}

/* SSL_free: the address may be another object's soon. */
SEC("uprobe")
int tl_tls_end(struct pt_regs *ctx)
{
	struct tl_tls_key key = {ctx->di, bpf_get_current_pid_tgid() >> 32, 0};

	bpf_map_delete_elem(&tl_tls_socks, &key);
	return 0;
}

/* Whether the plaintext is HTTP, as tl_wire_probe asks of other sockets. */
static __always_inline bool tl_tls_is_http(struct tl_sock *s, __u64 buf, __u64 n)
{
	__u64 v = 0;

	if (s->state == TL_SOCK_TLS_HTTP)
		return true;
	if (s->state == TL_SOCK_IGNORED)
		return false;
	n = TL_BOUND(n, 8);
	if (!bpf_probe_read_user(&v, n, (void *)buf) && tl_looks_like(v, n) == TL_LIKE_HTTP) {
		s->state = TL_SOCK_TLS_HTTP;
		return true;
	}
	s->state = ++s->tries >= TL_SOCK_TRIES ? TL_SOCK_IGNORED : TL_SOCK_TLS;
	return false;
}

/* `n` bytes of plaintext went through the call. */
static __always_inline void tl_tls_emit(struct tl_hit *h, const struct tl_tls_call *c, __u64 n)
{
	struct tl_sock_key key = {c->sk, c->ino};
	struct tl_moved m = {.sk = c->sk,
			     .ino = c->ino,
			     .bytes = n,
			     .family = c->family,
			     .flags = c->in ? TL_EVF_RECV : 0};
	__u32 max = h->control->wire_max < TL_WIRE_MAX ? h->control->wire_max : TL_WIRE_MAX;
	struct tl_sock *s = tl_find_sock(h, &key);
	struct tl_ev_wire e;
	int cause;

	if (!s || !tl_tls_is_http(s, c->buf, n))
		return;
	s->tgid = h->id >> 32;
	m.len = n > max ? max : n;
	if (m.len < n)
		m.flags |= TL_EVF_TRUNC;
	h->now = bpf_ktime_get_ns();
	h->call = TL_CALL_TLS;
	tl_set_unit(h);
	/* Not on the workbench: a program at a uprobe may be preempted by one at a system call. */
	tl_wire_place(&e, m.sk, m.family, m.bytes, m.flags, TL_CALL_TLS);
	tl_wire_head(h, &m, &e);
	cause = tl_wire_copy(&e, m.len, c->buf);
	if (cause >= 0)
		tl_wire_lose(h, cause);
	else
		__sync_fetch_and_add(&h->stats->wire_events, 1);
}

/* The return of any of them: `n` is the length, below 1 an error. */
static __always_inline int tl_tls_return(struct pt_regs *ctx, __s64 n)
{
	struct tl_hit h = {};
	struct tl_proc *p = tl_our_proc(&h, ctx);
	struct tl_tls_caller caller = {};
	struct tl_tls_call *have, call;
	__u64 len = n;

	if (!p)
		return 0;
	tl_caller(p, h.id, &caller);
	if (!(p->flags & TL_PROCF_TLS))
		return 0;
	have = bpf_map_lookup_elem(&tl_tls_calls, &caller);
	if (!have) {
		/* Begun before it was probed, or too many are under way: a part is missing. */
		if (n > 0)
			tl_wire_lose(&h, TL_LOST_MAP_FULL);
		return 0;
	}
	if (have->nested) {
		have->nested = 0;
		return 0;
	}
	call = *have;
	bpf_map_delete_elem(&tl_tls_calls, &caller);
	if (tl_perf || !tl_wire || !h.control->wire || !call.sk || !call.len || n <= 0)
		return 0;
	if (call.ret_len && bpf_probe_read_user(&len, sizeof(len), (void *)call.ret_len))
		return 0;
	if (len && len <= call.len)
		tl_tls_emit(&h, &call, len);
	return 0;
}

SEC("uprobe")
int tl_tls_leave(struct pt_regs *ctx)
{
	return tl_tls_return(ctx, (__s32)ctx->ax);
}

/* At a RET of Go's. */
SEC("uprobe")
int tl_tls_go_leave(struct pt_regs *ctx)
{
	return tl_tls_return(ctx, ctx->ax);
}
