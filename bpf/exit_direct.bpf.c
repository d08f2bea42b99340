// SPDX-License-Identifier: GPL-2.0-only
/* Capture programs from 6.2: pointers are followed by plain loads. (Both in one object: bpftool's
 * linker does not merge two declarations of a kernel function.) */
#define TL_DIRECT
#include "bpf/exit.bpf.h"

SEC("tp_btf/sys_exit")
int BPF_PROG(tl_exit_direct, struct pt_regs *regs, long ret)
{
	__u8 bits = tl_nr_bits(TL_NR(regs));

	if (bits)
		tl_call(ctx, regs, bits, ret);
	return 0;
}

/* The return of the system call functions themselves, for kernels that skip tracepoint programs
 * under contention. The arguments are those the call was entered with, kept on the task's kernel
 * stack. */
SEC("kretprobe.multi")
int tl_exit_multi(struct pt_regs *ctx)
{
	struct pt_regs *regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	__u8 bits = tl_nr_bits(TL_NR(regs));

	if (bits)
		tl_call(ctx, regs, bits, TL_RETURNED(ctx));
	return 0;
}
