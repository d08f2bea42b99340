// SPDX-License-Identifier: GPL-2.0-only
/* What is attached to system calls: two programs that only jump into a slot of tl_prog. A new agent
 * replaces the slot: each call is seen by the old program or by the new one, never by both, never
 * by none, which two attached programs could not do (and bpf_link_update refuses this program
 * type). They carry no policy, so that they never need replacing. */
#include "bpf/maps.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} tl_prog SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} tl_prog_multi SEC(".maps");

SEC("tp_btf/sys_exit")
int tl_exit(void *ctx)
{
	bpf_tail_call(ctx, &tl_prog, 0);
	return 0;
}

SEC("kretprobe.multi")
int tl_multi(void *ctx)
{
	bpf_tail_call(ctx, &tl_prog_multi, 0);
	return 0;
}
