/* SPDX-License-Identifier: Apache-2.0 */
/* The agent is two processes. The *inspector* has the privileges: it loads and attaches, changes
 * BPF maps, and reads other users' /proc. It never parses captured bytes and never speaks to the
 * network. The *worker* (CapEff 0, no_new_privs, not dumpable) does everything else and asks the
 * inspector by these calls over a SOCK_SEQPACKET pair: one request, one reply, in order; each is
 * bounded to TL_INSPECT_MAX bytes. The inspector checks every request's length and type, acts only
 * on processes that are selected, and ends when the worker's end closes; the worker ends when the
 * inspector's does. */
#ifndef TL_AGENT_INSPECTOR_H
#define TL_AGENT_INSPECTOR_H

#include <sys/types.h>

#include "agent/capture.h"

#define TL_INSPECT_MAX 65536

/* What to select, from flags and configuration. All lists may be empty; a process that matches any
 * is selected. */
struct tl_selectors {
	const uint32_t *pids;
	size_t n_pids;
	const char *const *comms;
	size_t n_comms; /* glob on comm */
	const char *const *exes;
	size_t n_exes; /* glob on the executable's path */
	const char *const *cgroups;
	size_t n_cgroups; /* glob on the cgroup path */
	const char *const *containers;
	size_t n_containers; /* prefix of a container id (12+ hex) in the cgroup path */
	const char *const *units;
	size_t n_units; /* systemd unit, "nginx.service" */
	const char *const *exclude_comms;
	size_t n_exclude_comms; /* never, whatever else matches */
	bool all;
	bool follow_fork;
};

/* --- inspector side --- */

/* Serves requests on `fd` until the worker closes it or a stop is asked for; scans /proc for
 * matching processes at start, on request and every `scan_ms`. Denies `denied` (this system's own
 * processes) first. Returns 0 or an error. */
struct tl_inspector_options {
	struct tl_capture *capture; /* borrowed */
	const struct tl_selectors *selectors;
	const pid_t *denied;
	size_t n_denied;
	unsigned scan_ms; /* 0: only at start and on request */
	const volatile int
		*stop; /* NULL, or ends the service within a second of becoming non-zero */
};
int tl_inspector_serve(int fd, const struct tl_inspector_options *options, struct tl_error *error);

/* Drops to no capabilities at all (effective, permitted, inheritable, ambient, bounding),
 * no_new_privs, PR_SET_DUMPABLE 0, dies with its parent (SIGTERM). Call in the worker after fork,
 * and after tl_ring_open: mapping perf buffers takes CAP_IPC_LOCK. Returns 0 or -errno. */
int tl_drop_privileges(struct tl_error *error);

/* Checks that the process may load BPF; `error` names the missing capability and how to grant it,
 * and the lockdown mode. */
int tl_check_privileges(struct tl_error *error);

/* Whether CAP_IPC_LOCK is there: without it perf buffers are limited in size. */
bool tl_may_lock_memory(void);

/* --- worker side: blocking calls on the worker's end of the pair --- */

struct tl_proc_info {
	uint32_t tgid, ppid, uid;
	uint64_t start_ns; /* start_boottime as events carry it, to the clock tick (10 ms) that
			      /proc shows */
	uint32_t vpid;	   /* pid in its innermost namespace */
	char comm[16];
	char exe[512];	       /* readlink; " (deleted)" kept off */
	char cmdline[1024];    /* NULs as spaces, cut */
	char cgroup[512];      /* the most telling line's path */
	char container_id[72]; /* 64 hex or empty */
	uint64_t cgroup_id;
};

/* Errors: -ESRCH it is gone; -EPERM it is not selected. With `ret_exe_fd` not NULL also passes
 * /proc/PID/exe opened for reading (owned by the caller, -1 when it could not be opened): the
 * worker parses executables, not the inspector. */
int tl_inspect_process(int fd, uint32_t tgid, struct tl_proc_info *ret_info, int *ret_exe_fd);

/* Whether the read end of the pipe behind `file` (seen in `tgid` as `pipe_fd`) is held by a
 * selected process other than the writers: 1 yes, 0 no. Such a pipe is plumbing (`app | tee`), not
 * a log. */
int tl_inspect_pipe_reader(int fd, uint32_t tgid, const struct tl_file_id *file);

int tl_inspect_decide(int fd, const struct tl_file_id *file, enum tl_verdict verdict);
int tl_inspect_ignore_sock(int fd, const struct tl_sock_key *sock);
int tl_inspect_set_unit(int fd, uint32_t tgid, uint64_t start_ns, const struct tl_proc *unit);
/* A file that a process has mapped. */
struct tl_module_info {
	uint64_t start;	 /* address of its first mapping ... */
	uint64_t offset; /* ... which is this part of the file */
	uint64_t ino;
	char name[64]; /* base name, cut */
};

/* The first mapped file whose base name matches the glob; an empty one means the executable. The
 * caller owns `*ret_fd`. Errors: -ESRCH, -EPERM; -ENOENT none; -ESTALE it was replaced on disk. */
int tl_inspect_module(int fd, uint32_t tgid, const char *glob, struct tl_module_info *ret,
		      int *ret_fd);

struct tl_probe_at {
	uint64_t ino;	 /* of a file that the process has mapped */
	uint64_t offset; /* in it, of an instruction */
	uint32_t kind;	 /* enum tl_probe_kind */
	uint32_t pad;
};

/* Attaches a uprobe, for this process. Errors: -ESRCH, -EPERM; -ENOENT no code there; -ENOSPC too
 * many; others from the kernel. */
int tl_inspect_probe(int fd, uint32_t tgid, uint64_t start_ns, const struct tl_probe_at *at);

/* The slot of thread-specific data (0 to 31) whose number stands at `address` of the process.
 * Errors: -ERANGE there is no such number; -EFAULT. */
int tl_inspect_slot(int fd, uint32_t tgid, uint64_t address);

/* Addresses in a JVM: of its list of threads, and of the words that hold offsets of fields. */
struct tl_jvm_words {
	uint64_t list;		  /* ThreadsSMRSupport::_java_thread_list itself */
	uint64_t length, threads; /* offsets of ThreadsList::_length, _threads */
	uint64_t os_thread;	  /* of Thread::_osthread */
	uint64_t pthread;	  /* of OSThread::_pthread_id */
	uint64_t entry;		  /* of JavaThread::_cont_entry */
	uint64_t id;		  /* of JavaThread::_monitor_owner_id; 0 it has none */
};

struct tl_jvm_layout {
	uint32_t slot;	    /* of thread-specific data, that holds the JavaThread */
	uint32_t entry, id; /* offsets in it; id 0: none */
	uint32_t pad;
};

/* Reads the layout and finds the slot, the same in all threads looked at. Errors: -ENOENT there is
 * none; -ERANGE no such layout; -EFAULT. */
int tl_inspect_jvm(int fd, uint32_t tgid, const struct tl_jvm_words *words,
		   struct tl_jvm_layout *ret);

int tl_inspect_forget(int fd, const struct tl_file_id *file, struct tl_stream *ret_last);
int tl_inspect_stats(int fd, struct tl_stats *ret_stats);
/* Scans /proc now, so that a process that just appeared is selected. Returns how many are selected.
 */
int tl_inspect_scan(int fd);

/* One stream's counters. Errors: -ENOENT. */
int tl_inspect_stream(int fd, const struct tl_file_id *file, struct tl_stream *ret);

/* All streams of the kernel's map, in pieces: start with *cursor = 0; fills up to `max` rows;
 * returns their number, 0 at the end. Rows are those present when cursor was 0. */
struct tl_stream_row {
	struct tl_file_id file;
	struct tl_stream stream;
};
int tl_inspect_streams(int fd, uint32_t *cursor, struct tl_stream_row *rows, size_t max);

#endif
