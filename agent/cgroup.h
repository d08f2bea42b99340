/* SPDX-License-Identifier: Apache-2.0 */
/* What a control group's path tells: container, pod, systemd unit, and the id by which the kernel
 * side knows it. Pure, but for tl_cgroup_id and tl_cgroup_mounts_read, which look at the file
 * system. Any thread. */
#ifndef TL_AGENT_CGROUP_H
#define TL_AGENT_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The hierarchies that matter, of /proc/PID/cgroup (cgroups(7)). */
enum tl_cgroup_tree { TL_CGROUP_UNIFIED, TL_CGROUP_MEMORY, TL_CGROUP_SYSTEMD, TL_CGROUP_TREES };

struct tl_cgroup {
	char path[TL_CGROUP_TREES]
		 [512]; /* "" when the process is in no such tree; cut at the size */
};

/* Reads the text of /proc/PID/cgroup. Lines that make no sense are passed over. */
void tl_cgroup_parse(const char *text, struct tl_cgroup *ret);

/* The path that says most: the first of unified, systemd, memory that is not the root; "/" else.
 * Borrowed. */
const char *tl_cgroup_telling(const struct tl_cgroup *cgroup);

/* Finds the innermost container id in a path: 64 hex digits with nothing of a word around them, as
 * Docker, containerd, CRI-O and Podman name their groups. Writes it with a NUL. */
bool tl_cgroup_container(const char *path, char out[72]);

/* Finds the Kubernetes pod's uid ("kubepods...pod<uid>"), underscores turned into the dashes they
 * stand for. */
bool tl_cgroup_pod(const char *path, char out[40]);

/* Finds the innermost systemd service of a path, without user managers ("user@1000.service").
 * Writes the whole unit name. */
bool tl_cgroup_unit(const char *path, char *out, size_t size);

/* Where the trees are mounted; "" where they are not. */
struct tl_cgroup_mounts {
	char path[TL_CGROUP_TREES][256];
};

/* Reads `proc`/self/mountinfo. Returns 0 or -errno. */
int tl_cgroup_mounts_read(int proc, struct tl_cgroup_mounts *ret);

/* The id that the kernel side compares: inode number of the process's folder in the unified tree,
 * or, when it sits in the unified root, of the one in the v1 memory tree. 0 when it cannot be
 * found. */
uint64_t tl_cgroup_id(const struct tl_cgroup_mounts *mounts, const struct tl_cgroup *cgroup);

#endif
