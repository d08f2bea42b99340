// SPDX-License-Identifier: GPL-2.0-only
/* Changes of single fields that the agent asks for. Attached to nothing: run by BPF_PROG_TEST_RUN.
 * A map update from user space would replace the whole value, and with it the counts that other
 * CPUs add in the meantime. */
#include "bpf/maps.bpf.h"

#define TICK_NS 10000000ULL

/* args: inode number, generation << 32 | device, enum tl_verdict. Returns 1 when it is decided. */
SEC("raw_tp")
int tl_ctl_decide(struct bpf_raw_tracepoint_args *ctx)
{
	struct tl_file_id id = {ctx->args[0], (__u32)ctx->args[1], ctx->args[1] >> 32};
	struct tl_stream *s = bpf_map_lookup_elem(&tl_streams, &id);

	if (!s)
		return 0;
	s->verdict = ctx->args[2];
	return 1;
}

/* args: tgid, start_ns to a clock tick, flags << 16 | unit_kind, tls_off, g_m_off << 32 | m_curg_off, g_goid_off.
 * Returns 1 when the process is there, 2 when the map is full. An entry made here has no exact
 * start yet. */
SEC("raw_tp")
int tl_ctl_unit(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 tgid = ctx->args[0];
	__u64 start = ctx->args[1] - ctx->args[1] % TICK_NS;
	struct tl_proc *p = bpf_map_lookup_elem(&tl_procs, &tgid), fresh = {};

	if (!p || p->start_ns - p->start_ns % TICK_NS != start) {
		fresh.start_ns = start;
		if (bpf_map_update_elem(&tl_procs, &tgid, &fresh, BPF_ANY))
			return 2;
		p = bpf_map_lookup_elem(&tl_procs, &tgid);
		if (!p)
			return 2;
	}
	p->tls_off = ctx->args[3];
	p->g_m_off = ctx->args[4] >> 32;
	p->m_curg_off = ctx->args[4];
	p->g_goid_off = ctx->args[5];
	p->flags = (p->flags & TL_PROCF_TLS_TOLD) | (__u16)(ctx->args[2] >> 16);
	p->unit_kind = ctx->args[2];
	return 1;
}

/* args: tgid. Its probes are gone with the agent that had attached them. */
SEC("raw_tp")
int tl_ctl_unprobed(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 tgid = ctx->args[0];
	struct tl_proc *p = bpf_map_lookup_elem(&tl_procs, &tgid);

	if (p)
		p->flags = 0;
	return 0;
}
