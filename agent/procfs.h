/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc says about processes. `proc` is a descriptor of the folder, so that tests can use one
 * of their own. Everything read here is written by strangers: bounded, cut, never trusted to be
 * complete. No state, any thread. */
#ifndef TL_AGENT_PROCFS_H
#define TL_AGENT_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/inspector.h"

struct tl_cgroup;
struct tl_cgroup_mounts;

/* Opens /proc; the caller closes it. Returns the descriptor or -errno. */
int tl_procfs_open(void);

struct tl_procfs_stat {
	char comm[16];
	char state; /* 'R', 'S', ... 'Z' zombie, 'X' dead */
	uint32_t ppid;
	uint64_t start_ns; /* start_boottime, cut to the clock tick */
	bool kernel_thread;
};

/* Reads /proc/PID/stat. Errors: -ESRCH no such process; -EBADMSG unreadable content. */
int tl_procfs_stat(int proc, uint32_t pid, struct tl_procfs_stat *ret);

struct tl_procfs_status {
	uint32_t tgid; /* other than `pid` when that is a thread */
	uint32_t uid;  /* real */
	uint32_t vpid; /* number in the innermost pid namespace */
};

/* Reads /proc/PID/status. Errors as tl_procfs_stat. */
int tl_procfs_status(int proc, uint32_t pid, struct tl_procfs_status *ret);

/* Writes the executable's path, without " (deleted)". Errors: -ESRCH; -EACCES not ours to read;
 * -ENOENT a kernel thread. */
int tl_procfs_exe(int proc, uint32_t pid, char *out, size_t size);

/* Opens the executable for reading. Returns the descriptor (the caller's) or -errno. */
int tl_procfs_open_exe(int proc, uint32_t pid);

/* Reads /proc/PID/cgroup. Errors: -ESRCH. */
int tl_procfs_cgroup(int proc, uint32_t pid, struct tl_cgroup *ret);

/* Everything about one process. What could not be read is empty or 0, except that it is there at
 * all. Errors: -ESRCH it is gone (or went while we looked). */
int tl_procfs_info(int proc, uint32_t pid, const struct tl_cgroup_mounts *mounts,
		   struct tl_proc_info *ret);

/* Whether a start time of an event and one of /proc are of the same process: equal to the tick. */
bool tl_procfs_same_start(uint64_t event_ns, uint64_t proc_ns);

/* Calls `each` for every process (thread group leader); a value other than 0 stops and is returned.
 */
int tl_procfs_each(int proc, int (*each)(void *arg, uint32_t pid), void *arg);

/* Whether the process has the pipe (dev as in struct tl_file_id) open for reading, and for writing.
 * Errors: -ESRCH. At most TL_PROCFS_FDS_MAX of its descriptors are looked at. */
#define TL_PROCFS_FDS_MAX 4096
int tl_procfs_pipe_ends(int proc, uint32_t pid, const struct tl_file_id *file, bool *ret_reads,
			bool *ret_writes);

#endif
