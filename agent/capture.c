/* SPDX-License-Identifier: Apache-2.0 */
/* tl_capture: opening by trial (the backend that is wanted, then what else works), and the calls on
 * the maps. Single fields of values that the programs count in are changed by small programs of
 * ours (bpf/ctl.bpf.c), run here and there only. */
#include "agent/capture.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/capture_internal.h"
#include "bpf/tapline.skel.h"

#define RING_DEFAULT (16u << 20)

static uint64_t ring_size(uint64_t wanted)
{
	uint64_t size = (uint64_t)sysconf(_SC_PAGESIZE);

	while (size < (wanted ?: RING_DEFAULT) && size < (1u << 30))
		size *= 2;
	return size;
}

static void why(struct tl_capture *capture, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void why(struct tl_capture *capture, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(capture->why, sizeof(capture->why), format, args);
	va_end(args);
}

/* Loads, attaches and tests one backend; nothing stays when it fails. */
static int try_backend(struct tl_capture *capture, const struct tl_capture_options *options,
		       enum tl_backend backend, struct tl_error *error)
{
	int r;

	capture->backend = backend;
	r = tl_capture_load(capture, options, error);
	/* The maps of a running system hold its events: no test among them. */
	if (r == 0 && !capture->reused)
		r = tl_capture_test(capture, error);
	if (r < 0)
		tl_capture_unload(capture);
	return r;
}

/* Plain loads are cheaper; where the verifier wants none of them, probe reads do. */
static int try_sys_exit(struct tl_capture *capture, const struct tl_capture_options *options,
			struct tl_error *error)
{
	int r;

	capture->direct = tl_probe_direct();
	r = try_backend(capture, options, TL_BACKEND_SYS_EXIT, error);
	if (r == 0 || r == -EPERM || !capture->direct)
		return r;
	capture->direct = false;
	return try_backend(capture, options, TL_BACKEND_SYS_EXIT, error);
}

static int try_auto(struct tl_capture *capture, const struct tl_capture_options *options,
		    struct tl_error *error)
{
	struct tl_error multi = {0};
	int r;

	if (!tl_probe_tracepoints_lose()) {
		why(capture,
		    "sys_exit, the cheaper one: this kernel does not skip tracepoint programs");
		return try_sys_exit(capture, options, error);
	}
	r = try_backend(capture, options, TL_BACKEND_MULTI, &multi);
	if (r == 0) {
		why(capture,
		    "kretprobe.multi: this kernel skips tracepoint programs under CPU contention");
		return 0;
	}
	if (r == -EPERM)
		return tl_error_set(error, r, "%s", multi.message);
	why(capture,
	    "sys_exit, although this kernel skips tracepoint programs under CPU contention "
	    "(counted as "
	    "\"recursion\"): kretprobe.multi is not to be had: %.140s",
	    multi.message);
	return try_sys_exit(capture, options, error);
}

static int try_wanted(struct tl_capture *capture, const struct tl_capture_options *options,
		      struct tl_error *error)
{
	switch (options->backend) {
	case TL_BACKEND_SYS_EXIT:
		why(capture, "sys_exit, as asked%s",
		    tl_probe_tracepoints_lose() ? "; this kernel skips tracepoint programs under "
						  "CPU contention (counted as \"recursion\")"
						: "");
		return try_sys_exit(capture, options, error);
	case TL_BACKEND_MULTI:
		why(capture, "kretprobe.multi, as asked");
		return try_backend(capture, options, TL_BACKEND_MULTI, error);
	default:
		return try_auto(capture, options, error);
	}
}

static enum tl_ring_kind choose_ring(enum tl_ring_kind wanted)
{
	if (wanted != TL_RING_AUTO)
		return wanted;
	/* 0 means that the kernel said no; anything else, the absence of privileges too, shows at
	 * the load. */
	return libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, NULL) == 0 ? TL_RING_PERF
									  : TL_RING_BPF;
}

static int prepare_pins(struct tl_capture *capture, const struct tl_capture_options *options,
			struct tl_error *error)
{
	int r;

	if (!options->pin_dir)
		return 0;
	capture->pin_dir = strdup(options->pin_dir);
	if (!capture->pin_dir)
		return tl_error_set(error, -ENOMEM, "out of memory");
	r = tl_pin_check_dir(capture->pin_dir, error);
	return r < 0 ? r
		     : tl_pin_probe(capture->pin_dir, capture, options, &capture->reused, error);
}

static int pin(struct tl_capture *capture, struct tl_error *error)
{
	int r;

	if (!capture->pin_dir)
		return 0;
	r = tl_pin_check_dir(capture->pin_dir, error);
	return r < 0 ? r : tl_pin_all(capture, error);
}

static void capture_free(struct tl_capture *capture)
{
	tl_capture_unload(capture);
	free(capture->pin_dir);
	free(capture);
}
TL_DEFINE_CLEANUP(struct tl_capture *, capture_free);

int tl_capture_open(const struct tl_capture_options *options, struct tl_capture **ret_capture,
		    bool *ret_reused, struct tl_error *error)
{
	_cleanup_(capture_freep) struct tl_capture *capture = calloc(1, sizeof(*capture));
	int r;

	if (!capture)
		return tl_error_set(error, -ENOMEM, "out of memory for the capture");
	capture->hook = -1;
	tl_probe_mounts();
	r = tl_probe_kernel(error);
	if (r < 0)
		return r;
	capture->ring = choose_ring(options->ring);
	capture->ring_bytes = ring_size(options->ring_bytes);
	r = prepare_pins(capture, options, error);
	if (r < 0)
		return r;
	r = try_wanted(capture, options, error);
	if (r < 0)
		return r;
	tl_capture_select(capture, (uint32_t)getpid(), TL_DENIED);
	r = pin(capture, error);
	if (r < 0)
		return r;
	*ret_reused = capture->reused;
	*ret_capture = TAKE_PTR(capture);
	return 0;
}

void tl_capture_close(struct tl_capture *capture, bool keep_pinned)
{
	struct tl_error error;

	if (!capture)
		return;
	if (capture->pin_dir && !keep_pinned)
		(void)tl_capture_unpin(capture->pin_dir, &error);
	capture_free(capture);
}

enum tl_backend tl_capture_backend(const struct tl_capture *capture)
{
	return capture->backend;
}

const char *tl_capture_backend_why(const struct tl_capture *capture)
{
	return capture->why;
}

enum tl_ring_kind tl_capture_ring_kind(const struct tl_capture *capture)
{
	return capture->ring;
}

void tl_capture_fds(const struct tl_capture *capture, struct tl_capture_fds *ret_fds)
{
	*ret_fds = (struct tl_capture_fds){
		.ring = capture->ring == TL_RING_BPF ? bpf_map__fd(capture->skel->maps.tl_ring)
						     : -1,
		.ring_bytes = capture->ring_bytes,
		.perf = capture->perf,
		.n_perf = capture->n_perf,
		.control = bpf_map__fd(capture->skel->maps.tl_control),
	};
}

int tl_capture_select(struct tl_capture *capture, uint32_t tgid, uint8_t how)
{
	if (tgid >= TL_PID_SLOTS)
		return -EINVAL;
	__atomic_store_n(&capture->selected[tgid], how, __ATOMIC_RELAXED);
	return 0;
}

int tl_capture_selected(struct tl_capture *capture, uint32_t tgid)
{
	if (tgid >= TL_PID_SLOTS)
		return -EINVAL;
	return __atomic_load_n(&capture->selected[tgid], __ATOMIC_RELAXED);
}

int tl_capture_select_cgroup(struct tl_capture *capture, uint64_t cgroup_id, bool on)
{
	int fd = bpf_map__fd(capture->skel->maps.tl_cgroups);
	uint64_t next;
	uint8_t one = 1;

	if (on && bpf_map_update_elem(fd, &cgroup_id, &one, BPF_ANY) < 0)
		return -errno;
	if (!on && bpf_map_delete_elem(fd, &cgroup_id) < 0 && errno != ENOENT)
		return -errno;
	capture->control->by_cgroup = bpf_map_get_next_key(fd, NULL, &next) == 0;
	return 0;
}

int tl_capture_select_all(struct tl_capture *capture, bool on)
{
	capture->control->select_all = on;
	return 0;
}

int tl_capture_run(const struct bpf_program *program, const uint64_t *args, size_t n)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = args,
		    .ctx_size_in = (uint32_t)(n * sizeof(*args)));
	int r = bpf_prog_test_run_opts(bpf_program__fd(program), &opts);

	return r < 0 ? -errno : (int)opts.retval;
}

int tl_capture_set_unit(struct tl_capture *capture, uint32_t tgid, uint64_t start_ns,
			const struct tl_proc *unit)
{
	const uint64_t args[] = {
		tgid,
		start_ns,
		(uint64_t)unit->flags << 16 | unit->unit_kind,
		(uint64_t)(int64_t)unit->tls_off,
		(uint64_t)unit->g_m_off << 32 | unit->m_curg_off,
		unit->g_goid_off,
	};
	int r = tl_capture_run(capture->skel->progs.tl_ctl_unit, args, ARRAY_SIZE(args));

	return r == 1 ? 0 : r < 0 ? r : -ENOSPC;
}

int tl_capture_decide(struct tl_capture *capture, const struct tl_file_id *file,
		      enum tl_verdict verdict)
{
	const uint64_t args[] = {file->ino, (uint64_t)file->gen << 32 | file->dev, verdict};
	int r = tl_capture_run(capture->skel->progs.tl_ctl_decide, args, ARRAY_SIZE(args));

	return r == 1 ? 0 : r < 0 ? r : -ENOENT;
}

int tl_capture_ignore_sock(struct tl_capture *capture, const struct tl_sock_key *sock)
{
	const struct tl_sock ignored = {.state = TL_SOCK_IGNORED};

	if (bpf_map_update_elem(bpf_map__fd(capture->skel->maps.tl_socks), sock, &ignored,
				BPF_EXIST) < 0)
		return -errno;
	return 0;
}

int tl_capture_stream(struct tl_capture *capture, const struct tl_file_id *file,
		      struct tl_stream *ret)
{
	struct tl_stream stream;

	if (bpf_map_lookup_elem(bpf_map__fd(capture->skel->maps.tl_streams), file, &stream) < 0)
		return -errno;
	*ret = stream;
	return 0;
}

int tl_capture_forget(struct tl_capture *capture, const struct tl_file_id *file,
		      struct tl_stream *ret_last)
{
	int fd = bpf_map__fd(capture->skel->maps.tl_streams);
	struct tl_stream last;

	if (bpf_map_lookup_elem(fd, file, &last) < 0 || bpf_map_delete_elem(fd, file) < 0)
		return -errno;
	if (ret_last)
		*ret_last = last;
	return 0;
}

int tl_capture_streams(struct tl_capture *capture,
		       int (*each)(void *arg, const struct tl_file_id *file,
				   const struct tl_stream *stream),
		       void *arg)
{
	int fd = bpf_map__fd(capture->skel->maps.tl_streams), r;
	struct tl_file_id key, next;
	struct tl_stream stream;

	/* A key that was removed meanwhile starts the walk anew: bounded by the map's size. */
	for (bool more = bpf_map_get_next_key(fd, NULL, &next) == 0; more;
	     more = bpf_map_get_next_key(fd, &key, &next) == 0) {
		key = next;
		if (bpf_map_lookup_elem(fd, &key, &stream) < 0)
			continue;
		r = each(arg, &key, &stream);
		if (r != 0)
			return r;
	}
	return 0;
}

int tl_capture_stats(struct tl_capture *capture, struct tl_stats *ret_stats)
{
	size_t cpus = (size_t)libbpf_num_possible_cpus(),
	       words = sizeof(struct tl_stats) / sizeof(uint64_t);
	_cleanup_(freep) struct tl_stats *each = calloc(cpus, sizeof(*each));
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);
	struct tl_stats sum = {0};
	int zero = 0;

	if (!each)
		return -ENOMEM;
	if (bpf_map_lookup_elem(bpf_map__fd(capture->skel->maps.tl_stats), &zero, each) < 0)
		return -errno;
	for (size_t cpu = 0; cpu < cpus; cpu++)
		for (size_t i = 0; i < words; i++)
			((uint64_t *)&sum)[i] += ((const uint64_t *)&each[cpu])[i];
	if (capture->hook >= 0 && bpf_obj_get_info_by_fd(capture->hook, &info, &len) == 0)
		sum.lost_events[TL_LOST_RECURSION] = info.recursion_misses;
	*ret_stats = sum;
	return 0;
}
