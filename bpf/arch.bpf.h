/* SPDX-License-Identifier: GPL-2.0-only */
/* What differs between architectures: system call numbers and where the registers of a call are. At
 * the exit of a call on x86-64 the argument registers and the number are still those of the entry.
 */
#ifndef TL_ARCH_BPF_H
#define TL_ARCH_BPF_H

#include "bpf/event.h"

#if !defined(__TARGET_ARCH_x86)
#error "only x86-64 is known: add the numbers and registers of this architecture"
#endif

#define TL_ARG1(regs) ((regs)->di)
#define TL_ARG2(regs) ((regs)->si)
#define TL_ARG3(regs) ((regs)->dx)
#define TL_ARG4(regs) ((regs)->r10)
#define TL_ARG5(regs) ((regs)->r8)
#define TL_ARG6(regs) ((regs)->r9)
#define TL_COMPAT_ARG1(regs) ((regs)->bx)
#define TL_NR(regs) ((regs)->orig_ax)
#define TL_RETURNED(regs) ((regs)->ax)
#define TL_TS_COMPAT 2 /* thread_info.status: the call came by a 32-bit entry */

#define TL_NR_MAX 512
/* Futex operations that wait: WAIT, LOCK_PI, WAIT_BITSET, WAIT_REQUEUE_PI, LOCK_PI2. */
#define TL_FUTEX_WAITS (1 << 0 | 1 << 6 | 1 << 9 | 1 << 11 | 1 << 13)
#define TL_NR_CALL 0x1f	 /* enum tl_call */
#define TL_NR_WAIT 0x20	 /* the thread may be given other work in it */
#define TL_NR_FUTEX 0x40 /* the same, for some operations */
#define TL_NR_POLL 0x60	 /* the same, for more than one descriptor */
#define TL_NR_WAITS 0x60
#define TL_NR_WRITE32 0x80 /* for a 32-bit caller this number is a write */

/* What to do with each number; 0: nothing. */
static const __u8 tl_nr[TL_NR_MAX] = {
	[0] = TL_CALL_READ,	  [1] = TL_CALL_WRITE,	   [4] = TL_NR_WRITE32, /* write */
	[18] = TL_CALL_PWRITE,	  [19] = TL_CALL_READV,	   [20] = TL_CALL_WRITEV,
	[40] = TL_CALL_SENDFILE,  [44] = TL_CALL_SENDTO,   [45] = TL_CALL_RECVFROM,
	[42] = TL_CALL_CONNECT,	  [46] = TL_CALL_SENDMSG,  [47] = TL_CALL_RECVMSG,
	[146] = TL_NR_WRITE32, /* writev */
	[181] = TL_NR_WRITE32, /* pwrite64 */
	[275] = TL_CALL_SPLICE,	  [296] = TL_CALL_PWRITEV, [299] = TL_CALL_RECVMMSG,
	[307] = TL_CALL_SENDMMSG, [326] = TL_CALL_SPLICE, /* copy_file_range: the same arguments */
	[328] = TL_CALL_PWRITEV,			  /* pwritev2 */
	[334] = TL_NR_WRITE32,				  /* pwritev */
	[369] = TL_NR_WRITE32,				  /* sendto */
	[370] = TL_NR_WRITE32,				  /* sendmsg */
	[379] = TL_NR_WRITE32,				  /* pwritev2 */
	[7] = TL_NR_POLL,				  /* poll */
	[23] = TL_NR_WAIT,				  /* select */
	[34] = TL_NR_WAIT,				  /* pause */
	[43] = TL_NR_WAIT,				  /* accept */
	[65] = TL_NR_WAIT,				  /* semop */
	[70] = TL_NR_WAIT,				  /* msgrcv */
	[128] = TL_NR_WAIT,				  /* rt_sigtimedwait */
	[130] = TL_NR_WAIT,				  /* rt_sigsuspend */
	[202] = TL_NR_FUTEX,	  [208] = TL_NR_WAIT,	  /* io_getevents */
	[220] = TL_NR_WAIT,				  /* semtimedop */
	[232] = TL_NR_WAIT,				  /* epoll_wait */
	[243] = TL_NR_WAIT,				  /* mq_timedreceive */
	[270] = TL_NR_WAIT,				  /* pselect6 */
	[271] = TL_NR_POLL,				  /* ppoll */
	[281] = TL_NR_WAIT,				  /* epoll_pwait */
	[288] = TL_NR_WAIT,				  /* accept4 */
	[426] = TL_NR_WAIT,				  /* io_uring_enter */
	[441] = TL_NR_WAIT,				  /* epoll_pwait2 */
	[449] = TL_NR_WAIT,				  /* futex_waitv */
	[455] = TL_NR_WAIT,				  /* futex_wait */
};

#endif
