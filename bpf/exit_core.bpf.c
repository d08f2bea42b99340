// SPDX-License-Identifier: GPL-2.0-only
/* sys_exit for kernels before 6.2: pointers are followed by probe reads. */
#include "bpf/exit.bpf.h"

SEC("tp_btf/sys_exit")
int BPF_PROG(tl_exit_core, struct pt_regs *regs, long ret)
{
	__u8 bits = tl_nr_bits(TL_NR(regs));

	if (bits)
		tl_call(ctx, regs, bits, ret);
	return 0;
}
