/* SPDX-License-Identifier: Apache-2.0 */
/* The test write. A child of ours (no thread of ours may be captured meanwhile) has a pipe as its
 * fd 1, is selected, and writes one byte: programs attached, selection, file walk, maps and ring
 * work when its stream shows that byte and no loss. The events are then taken back: nothing else is
 * selected yet, so the ring holds nothing but them. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "agent/capture_internal.h"
#include "bpf/tapline.skel.h"

#define PID_NS_INITIAL                                                                             \
	0xeffffffcu /* inode of the initial pid namespace (include/linux/proc_ns.h) */

/* In the child: waits for `go`, writes, ends. */
static _Noreturn void write_one(int go, int out)
{
	char byte = '.';

	if (dup2(out, 1) < 0 || read(go, &byte, 1) != 1 || write(1, &byte, 1) != 1)
		_exit(1);
	_exit(0);
}

static int run_child(struct tl_capture *capture, int out)
{
	int go[2], status = -1;
	pid_t pid;

	if (pipe2(go, 0) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		write_one(go[0], out);
	if (pid > 0) {
		tl_capture_select(capture, (uint32_t)pid, TL_SELECTED);
		if (write(go[1], ".", 1) == 1)
			waitpid(pid, &status, 0);
		tl_capture_select(capture, (uint32_t)pid, 0);
	}
	close(go[0]);
	close(go[1]);
	return status == 0 ? 0 : -ECHILD;
}

/* Everything in the ring is ours and read: the consumer catches up with the producer. */
static void empty_ring(struct tl_capture *capture)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int fd = bpf_map__fd(capture->skel->maps.tl_ring);
	uint64_t *consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	const uint64_t *producer = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, (off_t)page);

	if (consumer != MAP_FAILED && producer != MAP_FAILED)
		__atomic_store_n(consumer, __atomic_load_n(producer, __ATOMIC_ACQUIRE),
				 __ATOMIC_RELEASE);
	if (consumer != MAP_FAILED)
		munmap(consumer, page);
	if (producer != MAP_FAILED)
		munmap((void *)producer, page);
}

/* A perf buffer exists while it is mapped: without one the kernel refuses samples. Unmapping
 * forgets what is in it. */
static void map_perf(struct tl_capture *capture, void **maps, size_t bytes)
{
	for (unsigned i = 0; i < capture->n_perf; i++)
		maps[i] =
			mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, capture->perf[i], 0);
}

static void unmap_perf(struct tl_capture *capture, void **maps, size_t bytes)
{
	for (unsigned i = 0; i < capture->n_perf; i++)
		if (maps[i] != MAP_FAILED)
			munmap(maps[i], bytes);
}

static void zero_stats(struct tl_capture *capture)
{
	size_t cpus = (size_t)libbpf_num_possible_cpus();
	_cleanup_(freep) struct tl_stats *none = calloc(cpus, sizeof(*none));
	int zero = 0;

	if (none)
		bpf_map_update_elem(bpf_map__fd(capture->skel->maps.tl_stats), &zero, none,
				    BPF_ANY);
}

static int judge(struct tl_capture *capture, const struct stat *st, struct tl_error *error)
{
	struct tl_file_id id = {
		.ino = st->st_ino,
		.dev = major(st->st_dev) << 20 | minor(st->st_dev),
	};
	struct tl_stream s = {0};
	struct stat ns;

	if (tl_capture_forget(capture, &id, &s) == 0 && s.seen_bytes == 1 && s.lost_bytes == 0)
		return 0;
	if (stat("/proc/self/ns/pid", &ns) == 0 && ns.st_ino != PID_NS_INITIAL)
		return tl_error_set(
			error, -EIO,
			"tapline runs in a pid namespace of its own and cannot tell processes "
			"by their ids: run it in the host's (docker --pid=host, hostPID: true)");
	return tl_error_set(error, -EIO, "the programs are attached, but a test write was %s",
			    s.seen_bytes ? "lost" : "not seen");
}

int tl_capture_test(struct tl_capture *capture, struct tl_error *error)
{
	size_t bytes = capture->ring_bytes + (size_t)sysconf(_SC_PAGESIZE);
	_cleanup_(freep) void **maps = calloc(capture->n_perf + 1, sizeof(*maps));
	struct stat st;
	int fds[2], r;

	if (!maps || pipe2(fds, 0) < 0)
		return tl_error_set(error, -errno, "no memory or descriptors for a test write");
	fstat(fds[1], &st);
	map_perf(capture, maps, bytes);
	r = run_child(capture, fds[1]);
	close(fds[0]);
	close(fds[1]);
	r = r < 0 ? tl_error_set(error, r, "the child for the test write failed")
		  : judge(capture, &st, error);
	unmap_perf(capture, maps, bytes);
	if (capture->ring == TL_RING_BPF)
		empty_ring(capture);
	zero_stats(capture);
	return r;
}
