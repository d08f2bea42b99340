// SPDX-License-Identifier: GPL-2.0-only
/* The end of a TCP socket that is being watched, and before it the moment in which this end sends
 * its last (close or shutdown). It may come in softirq, long after close(2), when the sockfs inode
 * is gone: tl_sock_ino still has its number. */
#include "bpf/maps.bpf.h"

#define TCP_FIN_WAIT1 4
#define TCP_CLOSE 7
#define TCP_LAST_ACK 9

static __always_inline void tl_emit_end(void *ctx, const struct tl_sock_key *key, __u32 tgid,
					const struct tl_proc *p, struct tl_stats *stats, __u8 flags)
{
	struct tl_ev_wire e = {};
	long err;

	e.h.type = TL_EV_SOCK;
	e.h.flags = flags;
	e.h.syscall_class = TL_CALL_CLOSE;
	e.h.time_ns = bpf_ktime_get_ns();
	e.h.tgid = tgid;
	e.h.tid = tgid;
	e.h.start_ns = p ? p->start_ns : 0;
	e.h.lost_gen = p ? p->lost_gen : 0;
	e.sock = key->sock;
	e.sock_ino = key->ino;
	e.family = TL_SOCK_INET;
	if (tl_perf)
		err = bpf_perf_event_output(ctx, &tl_ring, BPF_F_CURRENT_CPU, &e, sizeof(e));
	else
		err = bpf_ringbuf_output(&tl_ring, &e, sizeof(e), BPF_RB_NO_WAKEUP);
	if (err)
		__sync_fetch_and_add(&stats->lost_wire[TL_LOST_RING_FULL], 1);
	else
		__sync_fetch_and_add(&stats->wire_events, 1);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tl_sock_close, struct sock *sk, int old_state, int new_state)
{
	struct tl_sock_key key = {(__u64)sk, 0};
	struct tl_stats *stats = TL_LOOKUP0(tl_stats);
	struct tl_sock *s;
	__u32 tgid;
	__u64 *ino;

	bool over = new_state == TCP_CLOSE;

	if ((!over && new_state != TCP_FIN_WAIT1 && new_state != TCP_LAST_ACK) || !stats)
		return 0;
	ino = bpf_map_lookup_elem(&tl_sock_ino, &key.sock);
	if (!ino)
		return 0;
	key.ino = *ino;
	s = bpf_map_lookup_elem(&tl_socks, &key);
	if (s && (s->state == TL_SOCK_HTTP || s->state == TL_SOCK_TLS_HTTP)) {
		tgid = s->tgid;
		tl_emit_end(ctx, &key, tgid, bpf_map_lookup_elem(&tl_procs, &tgid), stats,
			    over ? 0 : TL_EVF_SHUT);
	}
	if (!over)
		return 0;
	bpf_map_delete_elem(&tl_socks, &key);
	bpf_map_delete_elem(&tl_sock_ino, &key.sock);
	return 0;
}
