/* SPDX-License-Identifier: GPL-2.0-only */
/* The maps and load-time constants that all programs share. Every object declares them weak; the
 * linker makes them one. Sizes are the defaults: the loader sets them, and may turn tl_ring into a
 * perf event array, before the load. */
#ifndef TL_MAPS_BPF_H
#define TL_MAPS_BPF_H

#include "bpf/event.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

/* Load-time constants: what they switch off, the verifier removes. */
extern const volatile bool tl_perf;	  /* tl_ring is a perf event array */
extern const volatile bool tl_wire;	  /* sockets are captured */
extern const volatile __u64 tl_ring_size; /* bytes of the BPF ring buffer */
extern const volatile __u32 tl_owner;	  /* random: this load of the programs */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct tl_file_id);
	__type(value, struct tl_stream);
} tl_streams __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, __u32);
	__type(value, struct tl_proc);
} tl_procs __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u64);
} tl_waits __weak SEC(".maps");

/* Least recently used ones make room: unix sockets end without a tracepoint. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct tl_sock_key);
	__type(value, struct tl_sock);
} tl_socks __weak SEC(".maps");

/* The newest inode number of each struct sock, for when its end is seen: then the number is gone.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, __u64);
} tl_sock_ino __weak SEC(".maps");

/* One byte a process id, mapped by the loader. */
struct tl_selection {
	__u8 how[TL_PID_SLOTS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tl_selection);
} tl_selected __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, __u8);
} tl_cgroups __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tl_control);
} tl_control __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tl_stats);
} tl_stats __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} tl_ring __weak SEC(".maps");

#define TL_WIRE_HEAD sizeof(struct tl_ev_wire)
#define TL_CTL_MAX (sizeof(struct tl_ev_file) + TL_PATH_MAX)

/* Contexts of CPython: least recently used ones make room, and get a new number if they come back.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 131072);
	__type(key, struct tl_context_key);
	__type(value, __u64);
} tl_contexts __weak SEC(".maps");

/* A read or write of a TLS library, under way. */
struct tl_tls_call {
	__u64 ssl, buf, len;
	__u64 ret_len; /* user address of the size_t that gets the length; 0: it is returned */
	__u64 sk, ino; /* the socket that was read or written meanwhile; 0 none yet */
	__u16 family, in;
	__u32 nested; /* in a handshake inside the call */
};

/* Who is inside: a goroutine may go on on another thread. */
struct tl_tls_caller {
	__u64 who; /* thread, or goid */
	__u32 tgid, kind;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct tl_tls_caller);
	__type(value, struct tl_tls_call);
} tl_tls_calls __weak SEC(".maps");

/* Which socket an SSL object uses, as seen last; removed at its end, and with its process. Nothing
 * makes room by itself: of an object that is not here nothing is shown, rather than a part. */
struct tl_tls_sock {
	__u64 sk, ino;
	__u64 family;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct tl_tls_key);
	__type(value, struct tl_tls_sock);
} tl_tls_socks __weak SEC(".maps");

/* One CPU's workbench. A program owns it from its first use to its end: programs of one attachment
 * never nest on a CPU (where they run preemptibly, the kernel skips the second). An event's struct
 * ends where `data` begins. The buffer is twice a chunk, so that "start below a chunk, at most a
 * chunk more" needs no relation the verifier cannot see. */
struct tl_work {
	/* the call being read */
	struct tl_file_id file;
	__u64 msgs;	/* user address of mmsghdr of the next message, for sendmmsg */
	__u64 iov;	/* user address of the iovec array */
	__u64 seg_base; /* the segment being read, and what is left of it */
	__u64 seg_left;
	__u64 left; /* bytes of the call not yet read */
	__u32 msgs_left;
	__u32 iov_next, iov_count;
	__u32 fill;	/* bytes in `data` */
	__u32 call_off; /* offset of `data` in the call */
	__u32 call_len;
	__u32 fresh; /* the stream's lost_bytes in `log` is of this moment */
	__u32 drop;  /* 1 + enum tl_cause: every message is lost */
	__u32 tgid, pad0;
	struct tl_ev_log log; /* what all the call's events begin with */
	struct {
		__u64 base, len;
	} iovs[8];
	/* a control event (PROC, FILE) under way, or the name of a unix socket's peer */
	__u32 unix_len;
	__u32 pad;
	char unix_path[112];
	__u8 ctl[TL_CTL_MAX];
	/* path walk: names are written towards the front */
	__u64 dentry, mount;
	__u32 path_at, path_cut;
	char path[TL_PATH_MAX + 256];
	__u8 head[TL_WIRE_HEAD];
	__u8 data[2 * TL_CHUNK];
};

/* By CPU, not per-CPU: values there end at 32 KiB. The loader sets the number. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tl_work);
} tl_work __weak SEC(".maps");

/* x bounded by the constant m with a compare that the compiler cannot take apart: what the verifier
 * wants to see. */
#define TL_BOUND(x, m)                                                                             \
	({                                                                                         \
		__u64 _x = (x);                                                                    \
		asm volatile("if %0 <= %1 goto +1; %0 = %1" : "+r"(_x) : "i"(m));                  \
		_x;                                                                                \
	})

#define TL_LOOKUP0(map)                                                                            \
	({                                                                                         \
		__u32 _zero = 0;                                                                   \
		bpf_map_lookup_elem(&map, &_zero);                                                 \
	})

/* Functions that more than one object calls, or that branch much. Global ones are verified once, on
 * their own, where the ways through a function that is inlined multiply with the ways that lead to
 * it: 5.10 compares all numbers of a program that calls any of them, so that ways hardly meet again
 * there, and ends at a million steps (142,000 are needed with a BPF ring, 187,000 with a perf
 * array). Contracts stand where they are defined. */
int tl_gather(__u32 cpu);
int tl_next(__u32 cpu);
int tl_next_message(__u32 cpu);
int tl_step(__u32 cpu);
int tl_steps(__u32 cpu);
int tl_next_event(__u32 cpu);
int tl_account(__u32 cpu, __s64 error);
int tl_lose(__u32 cpu, __u32 cause, __u64 bytes);
int tl_wire_fill(__u32 cpu);
int tl_path_step(__u32 cpu);
int tl_file_event(__u32 cpu, __u64 file, __s32 fd, __u32 kind_and_flags);
int tl_proc_event(__u32 cpu, __u32 what);
int tl_unix_target(__u32 cpu, __u64 sk, __u64 name);
__u64 tl_unit(__u32 tgid);
#define TL_UNIT_NONE (~0ULL) /* of tl_unit: the thread is the unit */
int tl_tls_note(__u64 sk, __u64 ino, __u32 family);
bool tl_cgroup_selected(void);
enum tl_like { TL_LIKE_NOTHING, TL_LIKE_HTTP, TL_LIKE_TLS };
int tl_looks_like(__u64 v, __u32 n); /* enum tl_like */
int tl_note_wait(void);

#endif
