/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of tl_capture: capture.c (life and calls), capture_probe.c (what this kernel
 * can), capture_load.c (load and attach), capture_pin.c (pins), capture_test.c (the test write). */
#ifndef TL_AGENT_CAPTURE_INTERNAL_H
#define TL_AGENT_CAPTURE_INTERNAL_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "agent/capture.h"

struct tapline_bpf;

/* Programs that are attached, in the order of `links`. The hook is the one for system calls. */
enum tl_link { TL_LINK_HOOK, TL_LINK_FORK, TL_LINK_EXEC, TL_LINK_EXIT, TL_LINK_SOCK, TL_LINKS };

struct tl_capture {
	struct tapline_bpf *skel;
	struct bpf_link
		*links[TL_LINKS]; /* owned; NULL: not attached, or (hook) the pinned one goes on */
	int hook; /* program whose recursion_misses count: owned descriptor, or -1 */
	enum tl_backend backend;
	enum tl_ring_kind ring;
	uint64_t ring_bytes;
	char why[320]; /* why this backend */
	bool direct;   /* programs follow pointers by plain loads */
	char *pin_dir; /* owned, NULL: nothing is pinned */
	bool reused;   /* maps were taken over */
	int *perf;     /* owned perf event descriptors */
	unsigned n_perf;
	struct tl_control *control; /* mapped */
	uint8_t *selected;	    /* mapped: TL_PID_SLOTS bytes */
};

/* --- capture.c --- */

/* Runs one of our small programs once. Returns what it returned, or -errno. */
int tl_capture_run(const struct bpf_program *program, const uint64_t *args, size_t n);

/* --- capture_probe.c --- */

/* Mounts tracefs and bpffs where they are missing; failures show later, where one of them is
 * needed. */
void tl_probe_mounts(void);

/* Refuses kernels on which nothing can work, with the reason. Errors: -ENOTSUP, -EPERM. */
int tl_probe_kernel(struct tl_error *error);

/* Whether tracepoint programs of this kernel are skipped under contention (7.2 and newer). */
bool tl_probe_tracepoints_lose(void);

/* Whether plain loads through cast pointers are to be had (6.2 and newer). */
bool tl_probe_direct(void);

/* The system call functions that kretprobe.multi can attach to here, as a list of `*ret_n` borrowed
 * names (the array is the caller's). Errors: -ENOTSUP with the reason: no kprobes, or tracefs
 * cannot be read. */
int tl_probe_syscalls(const char ***ret_names, size_t *ret_n, struct tl_error *error);

/* Turns a failed load into words; `what` was tried, `log` is what libbpf said last. Returns `r`. */
int tl_probe_explain(int r, const char *what, const char *log, struct tl_error *error);

/* --- capture_load.c --- */

/* Loads the programs of `capture->backend` and attaches them; takes over the maps in `pin_dir` when
 * `capture->reused`. */
int tl_capture_load(struct tl_capture *capture, const struct tl_capture_options *options,
		    struct tl_error *error);

/* Undoes it, as far as it got. What is pinned stays. */
void tl_capture_unload(struct tl_capture *capture);

/* --- capture_uprobe.c --- */

/* Chooses the uprobe programs to load. */
void tl_uprobe_choose(struct tl_capture *capture);

/* --- capture_pin.c --- */

/* Checks or makes the folder (0700, ours, on a bpffs). Errors: -EACCES, -ENOTSUP no bpffs. */
int tl_pin_check_dir(const char *dir, struct tl_error *error);

/* Whether compatible maps are there: `*ret_reuse`. Incompatible ones that nobody uses are removed.
 * Errors: -EBUSY. */
int tl_pin_probe(const char *dir, const struct tl_capture *capture,
		 const struct tl_capture_options *options, bool *ret_reuse, struct tl_error *error);

/* Has the maps of `object` be the pinned ones; call before the load. */
int tl_pin_reuse(const char *dir, struct bpf_object *object, struct tl_error *error);

/* Pins all maps, links and the hook's program that are not pinned yet; a link there is replaced. */
int tl_pin_all(struct tl_capture *capture, struct tl_error *error);

/* Whether the hook of `backend` is pinned, so that it need not be attached. `*ret_prog` gets its
 * program. */
bool tl_pin_has_hook(const char *dir, enum tl_backend backend, int *ret_prog);

/* Removes the pinned hook of the backend that is not `backend`. */
void tl_pin_drop_other_hook(const char *dir, enum tl_backend backend);

/* --- capture_test.c --- */

/* A child of ours is selected and writes one byte into a pipe that is its fd 1: sees that it was
 * captured, and removes what it left. Errors: -EIO it was not. */
int tl_capture_test(struct tl_capture *capture, struct tl_error *error);

#endif
