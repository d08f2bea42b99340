/* SPDX-License-Identifier: Apache-2.0 */
/* tl_capture: the BPF side as one object: probes what this kernel can, loads and attaches the
 * programs, pins or reuses the maps, and changes selection and verdicts. Needs CAP_BPF and
 * CAP_PERFMON (the inspector has them). Not thread-safe. */
#ifndef TL_AGENT_CAPTURE_H
#define TL_AGENT_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/event.h"
#include "userspace/base/cleanup.h"
#include "userspace/base/err.h"

enum tl_backend {
	TL_BACKEND_AUTO,
	TL_BACKEND_SYS_EXIT, /* tp_btf/sys_exit: 5.10 and newer */
	TL_BACKEND_MULTI, /* kretprobe.multi on __x64_sys_*: 6.16 and newer, where kprobes exist */
};

enum tl_ring_kind { TL_RING_AUTO, TL_RING_BPF, TL_RING_PERF };

struct tl_capture_options {
	enum tl_backend backend;
	enum tl_ring_kind ring;
	uint64_t ring_bytes;	/* power of two and page multiple (rounded up); perf: per CPU */
	const char *pin_dir;	/* bpffs folder for maps, links and ring, mode 0700; NULL: nothing
				   outlives us */
	bool wire;		/* capture sockets */
	uint32_t undecided_max; /* bytes, see tl_control */
	uint32_t wire_max;	/* bytes, see tl_control */
	uint64_t stall_ns;	/* see tl_control; 0 never */
	uint32_t max_streams, max_procs, max_socks; /* map sizes; 0 means 65536, 32768, 65536 */
};

struct tl_capture;

/* Mounts tracefs and bpffs where they are missing, loads, attaches, and writes one test byte
 * through a pipe of our own to see that an event comes out. With `pin_dir` and compatible pins
 * there (same TL_ABI and sizes) the maps and ring are taken over with everything still in them, and
 * programs are replaced without a moment in which none is attached.
 * `*ret_reused` tells. The caller owns `*ret_capture`.
 * Errors, each with what to do in `error`: -EPERM (which capability is missing, or
 * lockdown=confidentiality), -ENOTSUP no BTF, -EBUSY pins of another ABI that an agent still uses,
 * -EACCES pin_dir open to others. Nothing stays attached. */
int tl_capture_open(const struct tl_capture_options *options, struct tl_capture **ret_capture,
		    bool *ret_reused, struct tl_error *error);

/* Detaches and frees; with `keep_pinned` the pinned programs go on recording into the ring. */
void tl_capture_close(struct tl_capture *capture, bool keep_pinned);

/* Removes everything pinned in `pin_dir` (tapline's names only). */
int tl_capture_unpin(const char *pin_dir, struct tl_error *error);

/* Which backend and ring are in use and why, as one sentence each; borrowed. */
enum tl_backend tl_capture_backend(const struct tl_capture *capture);
const char *tl_capture_backend_why(const struct tl_capture *capture);
enum tl_ring_kind tl_capture_ring_kind(const struct tl_capture *capture);

/* What the worker needs, borrowed file descriptors: the ring map (BPF ring: mmap it; perf: one fd
 * per CPU) and the mmapable control and stats. */
struct tl_capture_fds {
	int ring;	     /* BPF ring buffer map, or -1 */
	uint64_t ring_bytes; /* of the ring, or of each perf buffer */
	int *perf;	     /* perf event fds, n_perf of them, or NULL */
	unsigned n_perf;
	int control; /* tl_control, mmapable array of one */
};
void tl_capture_fds(const struct tl_capture *capture, struct tl_capture_fds *ret_fds);

/* Selects or denies a process: tl_selected[tgid] = `how` (TL_SELECTED, TL_DENIED, 0). */
int tl_capture_select(struct tl_capture *capture, uint32_t tgid, uint8_t how);
/* What tl_selected[tgid] holds now (children that followed by fork too): TL_SELECTED, TL_DENIED, 0,
 * or -errno. */
int tl_capture_selected(struct tl_capture *capture, uint32_t tgid);
/* Selects every process of the cgroup with this id (inode number in the unified hierarchy, or in a
 * v1 one when the host has no unified hierarchy with processes). `on` false removes it. */
int tl_capture_select_cgroup(struct tl_capture *capture, uint64_t cgroup_id, bool on);
int tl_capture_select_all(struct tl_capture *capture, bool on);

/* Tells how the execution unit of a process is read (tl_proc fields other than start_ns and
 * lost_gen). */
int tl_capture_set_unit(struct tl_capture *capture, uint32_t tgid, uint64_t start_ns,
			const struct tl_proc *unit);

/* --- uprobes: capture_uprobe.c --- */

/* What a probe does. */
enum tl_probe_kind {
	TL_PROBE_GO_BORN,   /* at a RET of runtime.newproc1 */
	TL_PROBE_GO_QUEUED, /* where runtime.newproc calls runtime.runqput */
	TL_PROBE_GO_ASKS,   /* net/http.(*persistConn).roundTrip */
	TL_PROBE_GO_WRITES, /* net/http.(*persistConn).writeLoop */
	TL_PROBE_PY_BORN,   /* return of PyContext_CopyCurrent */
	TL_PROBE_PY_END,    /* destructor of contexts */
	TL_PROBE_TLS_READ,
	TL_PROBE_TLS_WRITE,
	TL_PROBE_TLS_READ_EX,
	TL_PROBE_TLS_WRITE_EX,
	TL_PROBE_TLS_HANDSHAKE,
	TL_PROBE_TLS_END,
	TL_PROBE_TLS_LEAVE, /* return of any but the last */
	TL_PROBE_GO_TLS_READ,
	TL_PROBE_GO_TLS_WRITE,
	TL_PROBE_GO_TLS_HANDSHAKE,
	TL_PROBE_GO_TLS_LEAVE, /* at a RET of them */
	TL_PROBE_KINDS
};

struct tl_uprobe; /* one attachment */

/* Attaches to the instruction at `offset` of the file `path` in the process `tgid` only. The caller
 * owns `*ret_probe`. Errors: -EINVAL no instruction that can be probed; -ENOTSUP the program is not
 * loaded (with perf rings there is none for TLS); others from the kernel. */
int tl_capture_probe(struct tl_capture *capture, uint32_t tgid, const char *path, uint64_t offset,
		     enum tl_probe_kind kind, struct tl_uprobe **ret_probe);
/* Detaches, in a while: returns at once. NULL is allowed. */
void tl_uprobe_free(struct tl_uprobe *probe);

/* Tells the programs that nothing is probed any more: for maps that were taken over. */
void tl_capture_unprobed(struct tl_capture *capture);

/* Forgets the SSL objects of a process that ended. */
void tl_capture_forget_tls(struct tl_capture *capture, uint32_t tgid);

/* Decides a file. Errors: -ENOENT it has aged out. */
int tl_capture_decide(struct tl_capture *capture, const struct tl_file_id *file,
		      enum tl_verdict verdict);

/* Stops looking at a socket that is no HTTP. */
int tl_capture_ignore_sock(struct tl_capture *capture, const struct tl_sock_key *sock);

/* Forgets a stream (it was closed or is stale). `*ret_last` (may be NULL) gets its final counters.
 */
int tl_capture_forget(struct tl_capture *capture, const struct tl_file_id *file,
		      struct tl_stream *ret_last);

/* One stream's counters. Errors: -ENOENT it is not (or no longer) in the map. */
int tl_capture_stream(struct tl_capture *capture, const struct tl_file_id *file,
		      struct tl_stream *ret);

/* Calls `each` for every stream in the map; a value other than 0 stops and is returned. */
int tl_capture_streams(struct tl_capture *capture,
		       int (*each)(void *arg, const struct tl_file_id *file,
				   const struct tl_stream *stream),
		       void *arg);

/* Sum over the CPUs, with TL_LOST_RECURSION filled in from the programs' recursion_misses. */
int tl_capture_stats(struct tl_capture *capture, struct tl_stats *ret_stats);

#endif
