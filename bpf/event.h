/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The only contract between the BPF programs and the agent: events in the ring, and the keys and
 * values of the maps both sides touch. Fixed-width fields, no implicit holes, sizes asserted below;
 * TL_ABI changes with any of it. All times are CLOCK_MONOTONIC nanoseconds at the syscall's exit.
 * Process and thread ids are those of the initial pid namespace. */
#ifndef TL_EVENT_H
#define TL_EVENT_H

#ifdef __bpf__
#include "vmlinux.h"
#else
#include <linux/types.h>
#endif

#define TL_ABI 5

/* Why bytes or events did not arrive. One enum for both sides: the kernel counts in `tl_stats`, the
 * agent in its ledger, and every gap record, drop metric and status line names one of these
 * (tl_cause_names below). */
enum tl_cause {
	TL_LOST_RING_FULL,   /* the ring refused the reservation */
	TL_LOST_FAULT,	     /* user memory could not be read at exit */
	TL_LOST_UNDECIDED,   /* a file past its undecided budget before the agent decided */
	TL_LOST_MAP_FULL,    /* no room in the stream, socket or process map */
	TL_LOST_TOO_LONG,    /* past the chunk limit of one call */
	TL_LOST_IOVECS,	     /* iovecs past the limit of one call */
	TL_LOST_COMPAT,	     /* a 32-bit system call: seen, not read */
	TL_LOST_RECURSION,   /* the kernel skipped the program (events, not bytes) */
	TL_LOST_READER_GONE, /* perf array whose reader died, or the maps were made anew */
	TL_LOST_LOG_FULL,    /* the local log refused the append */
	TL_LOST_MEMORY,	     /* agent: an assembly or hold table was full */
	TL_LOST_STALLED,     /* no heartbeat of an agent: programs return at once */
	TL_CAUSES
};

#define TL_CAUSE_NAMES                                                                             \
	{                                                                                          \
		"ring_full", "fault", "undecided", "map_full", "too_long", "iovecs", "compat",     \
			"recursion", "reader_gone", "log_full", "memory", "stalled"                \
	}

enum tl_event_type {
	TL_EV_LOG = 1, /* bytes written to a log stream: struct tl_ev_log, then data */
	TL_EV_FILE, /* a file seen first: struct tl_ev_file, then its path; precedes its LOG events
		       in the ring */
	TL_EV_WIRE, /* bytes on a stream socket: struct tl_ev_wire, then the first bytes of them */
	TL_EV_SOCK, /* a watched socket ended: struct tl_ev_wire without data */
	TL_EV_PROC, /* a selected process forked, executed or ended: struct tl_ev_proc */
	TL_EV_UNIT, /* a unit was born of another: struct tl_ev_unit (uprobes) */
	TL_EV_CALL, /* a unit and a client's connection: struct tl_ev_unit (uprobes) */
};

/* tl_event.flags */
#define TL_EVF_MORE                                                                                \
	0x01 /* LOG: the same call goes on in a later event of the same thread (chunks) */
#define TL_EVF_SHUT                                                                                \
	0x01 /* SOCK: this end sends no more, but may still read; WIRE: the connection had ended   \
		before the call, nothing can be sent on it any more */
#define TL_EVF_UNDECIDED 0x02 /* LOG: the file's verdict was not known yet */
#define TL_EVF_RECV 0x04      /* WIRE: bytes came in; else they went out */
#define TL_EVF_EOF 0x08	      /* WIRE: a read returned 0 */
#define TL_EVF_TRUNC 0x10  /* WIRE: fewer bytes follow than moved (call_len says how many moved) */
#define TL_EVF_STDERR 0x20 /* LOG, FILE: the file is the process's fd 2 and not its fd 1 */
#define TL_EVF_STDOUT 0x40 /* LOG, FILE: the file is the process's fd 1 (perhaps its fd 2 too) */
#define TL_EVF_FIRST 0x80  /* LOG: first chunk of a call */

enum tl_unit_kind {
	TL_UNIT_THREAD = 0, /* unit is 0: the thread is the unit */
	TL_UNIT_GOROUTINE,  /* unit is the goid; 0 when it could not be read: then there is no unit
			     */
	TL_UNIT_CONTEXT,    /* CPython with asyncio: unit is the running context (PyContext). With
			       TL_UNIT_VERSIONED a number of its own, of which its address is no part;
			       else its bare address, which another one may get after it. A thread
			       without a context has kind THREAD */
	TL_UNIT_VTHREAD,    /* JVM: unit is the identifier of the virtual thread (never reused). A
			       platform thread has kind THREAD */
	TL_UNIT_KINDS
};
#define TL_UNIT_VERSIONED (1ULL << 63)

#define TL_UNIT_NAMES                                                                              \
	{                                                                                          \
		"thread", "goroutine"                                                              \
	}

/* Every event begins so. Ring records have size classes: `len` says what is meant, not the record's
 * size. */
struct tl_event {
	__u8 type;	    /* enum tl_event_type */
	__u8 unit_kind;	    /* enum tl_unit_kind */
	__u8 flags;	    /* TL_EVF_* */
	__u8 syscall_class; /* enum tl_call */
	__u32 len;	    /* bytes of data after the event's struct */
	__u64 time_ns;	    /* CLOCK_MONOTONIC */
	__u32 tgid, tid;
	__u64 start_ns; /* start_boottime of the thread group leader: with tgid the identity of a
			   process */
	__u64 unit;	/* execution unit within the process, by unit_kind */
	__u32 lost_gen; /* the process's count of refused events (log or wire) before this one */
	/* LOG, WIRE: how long ago the thread last returned from a call in which it may have been
	 * given other work: a wait for one of several things (futex, epoll, poll of more than one
	 * descriptor, accept ...) or a read of a pipe, an event descriptor or a unix socket. A
	 * sleep, or a wait for one descriptor, gives no other work. At most TL_WAITED_MAX, which
	 * also means: longer ago, or never seen to wait. Not kept where threads are not the unit
	 * (goroutines). */
	__u32 waited_ns;
};

#define TL_WAITED_MAX 0xffffffffu

enum tl_call {
	TL_CALL_OTHER,
	TL_CALL_WRITE,
	TL_CALL_WRITEV,
	TL_CALL_PWRITE,
	TL_CALL_PWRITEV,
	TL_CALL_SENDTO,
	TL_CALL_SENDMSG,
	TL_CALL_SENDMMSG,
	TL_CALL_SENDFILE,
	TL_CALL_SPLICE,
	TL_CALL_READ,
	TL_CALL_READV,
	TL_CALL_RECVFROM,
	TL_CALL_RECVMSG,
	TL_CALL_RECVMMSG,
	TL_CALL_ACCEPT,
	TL_CALL_CONNECT,
	TL_CALL_CLOSE,
	TL_CALL_TLS, /* no system call: plaintext that a TLS library gave or took (uprobes) */
};

/* What a file is, for ever different from any other: the inode's generation and, because pipes and
 * sockets have none and inode numbers wrap, the agent ages entries out (map `tl_streams`). For
 * files told by fd (pipe, tty, regular file behind fd 1 or 2) `tgid` is 0 as well: one pipe shared
 * by many workers is one stream. */
struct tl_file_id {
	__u64 ino;
	__u32 dev; /* kernel encoding: major << 20 | minor */
	__u32 gen; /* i_generation */
};

struct tl_ev_log {
	struct tl_event h;
	struct tl_file_id file;
	__u64 lost_bytes; /* the stream's lost_bytes before this event: offsets grow by its
			     increase, then by `len` */
	__u64 f_pos;	/* file position after the call, 0 for pipes, sockets and ttys; information
			   only */
	__u32 call_off; /* offset of this chunk in what the call wrote */
	__u32 call_len; /* bytes that the call wrote in all (its return value) */
};

enum tl_file_kind { TL_FILE_REGULAR, TL_FILE_PIPE, TL_FILE_TTY, TL_FILE_UNIX, TL_FILE_OTHER };

struct tl_ev_file {
	struct tl_event h;
	struct tl_file_id file;
	__u32 kind;	/* enum tl_file_kind */
	__u32 f_flags;	/* O_* of the open file */
	__s32 fd;	/* number in the process at the time */
	__u32 path_len; /* bytes of path that follow (= h.len): absolute, or the unix peer's bound
			 * path; may be cut at the front (TL_EVF_TRUNC); 0 for pipes */
};

enum tl_sock_family { TL_SOCK_UNIX = 1, TL_SOCK_INET = 2, TL_SOCK_INET6 = 10 };

/* One call on a socket that still looks like HTTP (or h2, FastCGI), or a connect(2) of any stream
 * socket (syscall_class TL_CALL_CONNECT, no bytes). `data` holds the first h.len of call_len bytes.
 * A call whose event was refused raises the process's lost_gen: a change ends every open
 * attribution of the process. */
struct tl_ev_wire {
	struct tl_event h;
	__u64 sock;	/* kernel address of struct sock, an opaque key */
	__u64 sock_ino; /* its sockfs inode number: with `sock` an identity that survives dup and fd
			   reuse */
	__u64 call_len; /* bytes moved */
	__u16 family;	/* enum tl_sock_family */
	__u16 local_port, remote_port; /* host order; 0 for unix sockets */
	__u16 placed;		       /* 1: the four below are of this call (TCP) */
	/* IPv4 in the first 4 bytes. A unix socket's remote_addr is its peer's `sock` and
	 * `sock_ino` (0 as long as it is not accepted). */
	__u8 local_addr[16], remote_addr[16];
	/* Where the call's first byte lies in its direction of the TCP connection, as the peer's
	 * kernel has it too: its sequence number, how often 2^32 bytes had gone before it, and the
	 * sequence number at which each direction began (of the end that opened the connection:
	 * one less, for its SYN). */
	__u32 seq, wraps, base_in, base_out;
};

enum tl_proc_what {
	TL_PROC_FORK = 1,
	TL_PROC_EXEC,
	TL_PROC_EXIT,
	TL_PROC_SELECTED,
	TL_PROC_TLS, /* it speaks TLS on a socket: told once */
};

struct tl_ev_proc {
	struct tl_event h;
	__u32 what;   /* enum tl_proc_what */
	__u32 parent; /* FORK: the parent's tgid (h.tgid is the child's) */
	char comm[16];
};

/* h.unit was born on the thread h.tid, while that ran `parent`; both of kind h.unit_kind. What the
 * number meant before is over. */
struct tl_ev_unit {
	struct tl_event h;
	/* 0: none, or not known. CALL: the address of the runtime's object for a client's
	 * connection, whose next request h.unit asks for; with TL_EVF_FIRST h.unit is the one that
	 * writes whatever is asked of it. */
	__u64 parent;
};

/* --- maps (names as bpftool shows them) --- */

/* tl_streams: hash, struct tl_file_id -> struct tl_stream. Made by the kernel at first sight,
 * decided by the agent. */
enum tl_verdict {
	TL_VERDICT_UNDECIDED = 0,
	TL_VERDICT_LOG,	   /* capture */
	TL_VERDICT_IGNORE, /* not a log: return at once */
};

struct tl_stream {
	__u64 seen_bytes;      /* bytes of all calls on it while not ignored; atomic add */
	__u64 lost_bytes;      /* of them refused; atomic add; never reset */
	__u64 lost_calls;      /* events refused */
	__u64 blind_bytes;     /* moved into it by calls that do not show them; atomic add */
	__u64 last_ns;	       /* last call, for ageing */
	__u32 verdict;	       /* enum tl_verdict */
	__u32 announced;       /* 1 once its FILE event is in the ring */
	__u32 undecided_bytes; /* captured while undecided, capped by tl_config.undecided_max */
	__u32 lost_cause;      /* enum tl_cause of the newest loss */
};

/* tl_procs: hash, tgid -> struct tl_proc. A process is selected when tl_selected[tgid] is not 0. */
struct tl_proc {
	__u64 start_ns;	  /* of the group leader; an event of another start is not this process */
	__u32 lost_gen;	  /* atomic add */
	__u16 unit_kind;  /* enum tl_unit_kind: how the offsets below are meant */
	__u16 flags;	  /* TL_PROCF_* */
	__s32 tls_off;	  /* GOROUTINE: g at fsbase + tls_off. CONTEXT: PyThreadState * there;
			     VTHREAD: JavaThread * there */
	__u32 g_m_off;	  /* g->m. CONTEXT: PyThreadState.context. VTHREAD: _cont_entry, not NULL
			     while a virtual thread is mounted */
	__u32 m_curg_off; /* m->curg. CONTEXT: PyThreadState.thread_id, which must be the thread's.
			     VTHREAD: the 64-bit identifier of what runs; 0 not to be had */
	__u32 g_goid_off; /* g->goid */
};

#define TL_PROCF_VERSIONED 1 /* CONTEXT: the end of each context is probed: numbers are given */
#define TL_PROCF_TLS 2	     /* its TLS library is probed */
#define TL_PROCF_TLS_TOLD 4  /* set by the kernel: TL_PROC_TLS was told */

/* tl_tls_socks: hash, struct tl_tls_key -> the socket that an SSL object uses. */
struct tl_tls_key {
	__u64 ssl;
	__u32 tgid, pad;
};

/* tl_contexts: hash, struct tl_context_key -> the context's number. Made at its birth, or when it
 * is seen first; removed at its end (uprobes). */
struct tl_context_key {
	__u64 address;
	__u32 tgid, pad;
};

/* tl_waits: hash, tid -> time (CLOCK_MONOTONIC) of the thread's last return from a wait. Kept for
 * selected processes whose unit is the thread; removed when the thread ends. A full map raises the
 * process's lost_gen: a wait that is not known could join a line to the request before it. */

/* tl_socks: hash, struct tl_sock_key -> struct tl_sock. */
struct tl_sock_key {
	__u64 sock, ino;
};

enum tl_sock_state {
	TL_SOCK_NEW = 0,  /* nothing that looks like HTTP yet; `tries` counts calls looked at */
	TL_SOCK_HTTP,	  /* events flow */
	TL_SOCK_IGNORED,  /* not HTTP: only this flag is read */
	TL_SOCK_TLS,	  /* TLS: calls on it are not looked at; `tries` counts its plaintext's */
	TL_SOCK_TLS_HTTP, /* TLS whose plaintext is HTTP: events flow from the TLS library */
};

struct tl_sock {
	__u32 state; /* enum tl_sock_state */
	__u32 tgid;  /* process that used it last */
	__u32 tries;
	__u32 pad;
};

/* tl_stats: per-CPU array of one; everything since load. */
struct tl_stats {
	__u64 seen_calls, seen_bytes; /* log calls of selected processes on files not ignored */
	__u64 emitted_events, emitted_bytes; /* LOG events in the ring */
	__u64 wire_events;		     /* WIRE and SOCK events in the ring */
	__u64 lost_events[TL_CAUSES];	     /* by cause */
	__u64 lost_bytes[TL_CAUSES];	     /* log bytes by cause */
	__u64 lost_wire[TL_CAUSES];	     /* wire and control events by cause */
	__u64 blind_bytes; /* moved by calls whose payload is not seen: sendfile, splice to a log */
};

/* tl_control: array of one, mmapable; written by the agent, read by the programs at each event. */
struct tl_control {
	__u64 heartbeat_ns; /* CLOCK_MONOTONIC of the agent's last sign of life; 0 = never stalls */
	__u64 stall_ns;	  /* older than this: programs return at once, counted TL_LOST_STALLED; 0 =
			     never */
	__u64 ring_bytes; /* size of the ring; log events are refused above 7/8 of it */
	__u64 maps_id;	  /* random, made with the maps: a ring position of other maps means nothing
			     here */
	__u32 undecided_max; /* bytes captured of an undecided file */
	__u32 wire_max;	     /* bytes copied of one socket call, <= TL_WIRE_MAX */
	__u32 wire;	     /* 0: no wire side at all */
	__u32 select_all;    /* 1: every process that is not denied */
	__u32 follow_fork;   /* 1: children of selected processes are selected */
	__u32 abi;	     /* TL_ABI */
	__u32 by_cgroup;     /* 1: processes whose cgroup id is in tl_cgroups are selected */
	__u32 probes_owner; /* whose uprobe programs may speak: those of an agent that ended go away
			       only slowly */
};

#define TL_SELECTED 1 /* values of tl_selected[tgid] */
#define TL_DENIED 2
#define TL_PID_SLOTS (4u << 20) /* pid_max on 64-bit: a byte for each */

#define TL_CHUNK 16384u	    /* bytes of one LOG event at most */
#define TL_CHUNKS_MAX 4096u /* chunks of one call at most: 64 MiB */
#define TL_IOVECS_MAX 1024u /* iovecs of one call at most (UIO_MAXIOV) */
#define TL_WIRE_MAX 16384u
#define TL_PATH_MAX 1024u

#ifndef __bpf__
#include <stddef.h>
#define TL_ASSERT_SIZE(T, n)                                                                       \
	_Static_assert(sizeof(T) == (n), #T " has a hole or changed: raise TL_ABI")
TL_ASSERT_SIZE(struct tl_event, 48);
TL_ASSERT_SIZE(struct tl_file_id, 16);
TL_ASSERT_SIZE(struct tl_ev_log, 88);
TL_ASSERT_SIZE(struct tl_ev_file, 80);
TL_ASSERT_SIZE(struct tl_ev_wire, 128);
TL_ASSERT_SIZE(struct tl_ev_proc, 72);
TL_ASSERT_SIZE(struct tl_ev_unit, 56);
TL_ASSERT_SIZE(struct tl_context_key, 16);
TL_ASSERT_SIZE(struct tl_tls_key, 16);
TL_ASSERT_SIZE(struct tl_stream, 56);
TL_ASSERT_SIZE(struct tl_proc, 32);
TL_ASSERT_SIZE(struct tl_sock, 16);
_Static_assert(offsetof(struct tl_event, time_ns) == 8, "events are read by 8");
#endif

#endif
