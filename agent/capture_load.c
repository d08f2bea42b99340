/* SPDX-License-Identifier: Apache-2.0 */
/* Load and attach. The program attached to system calls (the hook) only jumps into a slot of a
 * program array; the capture program sits in the slot. Taking over from a running agent means
 * storing into that slot: every call is seen by the old program or by the new one. The process and
 * socket programs are attached beside the old ones before those go: what they do twice for a moment
 * is the same as once (a second PROC event, a second removal). */
#include <linux/perf_event.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "agent/capture_internal.h"
#include "userspace/base/fs.h"
#include "bpf/tapline.skel.h"

/* What libbpf said last, for the error; a capture is opened by one thread. */
static char said[256];

static int keep_said(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[256];
	va_list again;

	if (level == LIBBPF_DEBUG)
		return 0;
	va_copy(again, args);
	vsnprintf(line, sizeof(line), format, again);
	va_end(again);
	/* For developers: the whole log of the verifier. */
	if (getenv("TAPLINE_BPF_LOG"))
		vfprintf(stderr, format, args);
	/* The first message names the cause, later ones repeat that something failed. */
	if (!said[0] && !strchr(line, '{'))
		snprintf(said, sizeof(said), "%.*s", (int)strcspn(line, "\n"), line);
	return 0;
}

static void choose_programs(struct tl_capture *capture, bool wire)
{
	struct tapline_bpf *skel = capture->skel;
	bool multi = capture->backend == TL_BACKEND_MULTI;

	bpf_program__set_autoload(skel->progs.tl_exit, !multi);
	bpf_program__set_autoload(skel->progs.tl_exit_core, !multi && !capture->direct);
	bpf_program__set_autoload(skel->progs.tl_exit_direct, !multi && capture->direct);
	bpf_program__set_autoload(skel->progs.tl_multi, multi);
	bpf_program__set_autoload(skel->progs.tl_exit_multi, multi);
	bpf_program__set_autoload(skel->progs.tl_sock_close, wire);
	tl_uprobe_choose(capture);
}

static int set_ring(struct tl_capture *capture)
{
	struct bpf_map *ring = capture->skel->maps.tl_ring;
	int r;

	capture->skel->rodata->tl_perf = capture->ring == TL_RING_PERF;
	capture->skel->rodata->tl_ring_size = capture->ring_bytes;
	tl_random((void *)&capture->skel->rodata->tl_owner, sizeof(uint32_t));
	if (capture->ring == TL_RING_BPF)
		return bpf_map__set_max_entries(ring, capture->ring_bytes);
	r = bpf_map__set_type(ring, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	if (r == 0)
		r = bpf_map__set_key_size(ring, 4);
	if (r == 0)
		r = bpf_map__set_value_size(ring, 4);
	return r == 0 ? bpf_map__set_max_entries(ring, libbpf_num_possible_cpus()) : r;
}

static int set_maps(struct tl_capture *capture, const struct tl_capture_options *options)
{
	struct tapline_bpf *skel = capture->skel;
	const struct {
		struct bpf_map *map;
		uint32_t entries;
	} sizes[] = {
		{skel->maps.tl_streams, options->max_streams ?: 65536},
		{skel->maps.tl_procs, options->max_procs ?: 32768},
		{skel->maps.tl_socks, options->max_socks ?: 65536},
		{skel->maps.tl_sock_ino, options->max_socks ?: 65536},
		{skel->maps.tl_work, (uint32_t)libbpf_num_possible_cpus()},
	};
	int r = set_ring(capture);

	for (size_t i = 0; i < ARRAY_SIZE(sizes) && r == 0; i++)
		r = bpf_map__set_max_entries(sizes[i].map, sizes[i].entries);
	skel->rodata->tl_wire = options->wire;
	return r;
}

static int map_shared(struct tl_capture *capture, struct tl_error *error)
{
	void *p = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED,
		       bpf_map__fd(capture->skel->maps.tl_control), 0);

	if (p == MAP_FAILED)
		return tl_error_set(error, -errno, "cannot map tl_control: %s", strerror(errno));
	capture->control = p;
	p = mmap(NULL, TL_PID_SLOTS, PROT_READ | PROT_WRITE, MAP_SHARED,
		 bpf_map__fd(capture->skel->maps.tl_selected), 0);
	if (p == MAP_FAILED)
		return tl_error_set(error, -errno, "cannot map tl_selected: %s", strerror(errno));
	capture->selected = p;
	return 0;
}

static void set_control(struct tl_capture *capture, const struct tl_capture_options *options)
{
	struct tl_control *control = capture->control;

	if (!capture->reused) {
		control->follow_fork = 1;
		tl_random(&control->maps_id, sizeof(control->maps_id));
	}
	control->stall_ns = options->stall_ns;
	control->ring_bytes = capture->ring_bytes;
	control->undecided_max = options->undecided_max;
	control->wire_max = options->wire_max < TL_WIRE_MAX ? options->wire_max : TL_WIRE_MAX;
	control->wire = options->wire;
	control->abi = TL_ABI;
	control->probes_owner = capture->skel->rodata->tl_owner;
}

static int open_perf_cpu(struct tl_capture *capture, int cpu)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_BPF_OUTPUT,
		.sample_period = 1,
		.sample_type = PERF_SAMPLE_RAW,
		.watermark = 1,
		.wakeup_watermark = (uint32_t)(capture->ring_bytes / 4),
	};
	_cleanup_(closep) int fd =
		(int)syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd < 0)
		return errno == ENODEV ? 0 : -errno; /* a CPU that is not online */
	if (bpf_map_update_elem(bpf_map__fd(capture->skel->maps.tl_ring), &cpu, &fd, BPF_ANY) < 0 ||
	    ioctl(fd, PERF_EVENT_IOC_ENABLE, 0) < 0)
		return -errno;
	capture->perf[capture->n_perf++] = TAKE_FD(fd);
	return 0;
}

static int open_perf(struct tl_capture *capture, struct tl_error *error)
{
	int cpus = libbpf_num_possible_cpus(), r;

	if (capture->ring != TL_RING_PERF)
		return 0;
	capture->perf = calloc((size_t)cpus, sizeof(int));
	if (!capture->perf)
		return tl_error_set(error, -ENOMEM, "out of memory for the perf buffers");
	for (int cpu = 0; cpu < cpus; cpu++) {
		r = open_perf_cpu(capture, cpu);
		if (r < 0)
			return tl_error_set(error, r, "cannot open the perf buffer of CPU %d: %s",
					    cpu, strerror(-r));
	}
	return 0;
}

static int attach_multi(struct tl_capture *capture, struct tl_error *error)
{
	_cleanup_(freep) const char **names = NULL;
	struct bpf_kprobe_multi_opts opts = {.sz = sizeof(opts), .retprobe = true};
	int r = tl_probe_syscalls(&names, &opts.cnt, error);

	if (r < 0)
		return r;
	opts.syms = names;
	capture->links[TL_LINK_HOOK] =
		bpf_program__attach_kprobe_multi_opts(capture->skel->progs.tl_multi, NULL, &opts);
	return capture->links[TL_LINK_HOOK]
		       ? 0
		       : tl_probe_explain(-errno, "attaching kretprobe.multi", said, error);
}

/* Puts the capture program into its slot and has the hook jump there. */
static int attach_hook(struct tl_capture *capture, struct tl_error *error)
{
	struct tapline_bpf *skel = capture->skel;
	bool multi = capture->backend == TL_BACKEND_MULTI;
	struct bpf_map *slot = multi ? skel->maps.tl_prog_multi : skel->maps.tl_prog;
	struct bpf_program *hook = multi ? skel->progs.tl_multi : skel->progs.tl_exit;
	struct bpf_program *body = multi	     ? skel->progs.tl_exit_multi
				   : capture->direct ? skel->progs.tl_exit_direct
						     : skel->progs.tl_exit_core;
	int zero = 0, fd = bpf_program__fd(body);

	if (bpf_map_update_elem(bpf_map__fd(slot), &zero, &fd, BPF_ANY) < 0)
		return tl_probe_explain(-errno, "putting the capture program into its slot", "",
					error);
	if (capture->reused) {
		tl_pin_drop_other_hook(capture->pin_dir, capture->backend);
		if (tl_pin_has_hook(capture->pin_dir, capture->backend, &capture->hook))
			return 0;
	}
	capture->hook = dup(bpf_program__fd(hook));
	if (multi)
		return attach_multi(capture, error);
	capture->links[TL_LINK_HOOK] = bpf_program__attach(hook);
	return capture->links[TL_LINK_HOOK]
		       ? 0
		       : tl_probe_explain(-errno, "attaching to sys_exit", said, error);
}

static int attach(struct tl_capture *capture, bool wire, struct tl_error *error)
{
	struct tapline_bpf *skel = capture->skel;
	struct bpf_program *others[TL_LINKS] = {
		[TL_LINK_FORK] = skel->progs.tl_fork,
		[TL_LINK_EXEC] = skel->progs.tl_exec,
		[TL_LINK_EXIT] = skel->progs.tl_proc_exit,
		[TL_LINK_SOCK] = wire ? skel->progs.tl_sock_close : NULL,
	};

	for (int i = 0; i < TL_LINKS; i++) {
		if (!others[i])
			continue;
		capture->links[i] = bpf_program__attach(others[i]);
		if (!capture->links[i])
			return tl_probe_explain(-errno, bpf_program__name(others[i]), said, error);
	}
	return attach_hook(capture, error);
}

int tl_capture_load(struct tl_capture *capture, const struct tl_capture_options *options,
		    struct tl_error *error)
{
	int r;

	said[0] = '\0';
	libbpf_set_print(keep_said);
	capture->skel = tapline_bpf__open();
	if (!capture->skel)
		return tl_probe_explain(-errno, "reading the BPF object", said, error);
	choose_programs(capture, options->wire);
	r = set_maps(capture, options);
	if (r < 0)
		return tl_probe_explain(r, "sizing the maps", said, error);
	if (capture->reused) {
		r = tl_pin_reuse(capture->pin_dir, capture->skel->obj, error);
		if (r < 0)
			return r;
	}
	r = tapline_bpf__load(capture->skel);
	if (r < 0)
		return tl_probe_explain(r, "loading the BPF programs", said, error);
	r = map_shared(capture, error);
	if (r < 0)
		return r;
	set_control(capture, options);
	r = open_perf(capture, error);
	return r < 0 ? r : attach(capture, options->wire, error);
}

void tl_capture_unload(struct tl_capture *capture)
{
	for (int i = 0; i < TL_LINKS; i++) {
		bpf_link__destroy(capture->links[i]);
		capture->links[i] = NULL;
	}
	if (capture->control)
		munmap(capture->control, (size_t)sysconf(_SC_PAGESIZE));
	capture->control = NULL;
	if (capture->selected)
		munmap(capture->selected, TL_PID_SLOTS);
	capture->selected = NULL;
	while (capture->n_perf > 0)
		close(capture->perf[--capture->n_perf]);
	free(capture->perf);
	capture->perf = NULL;
	closep(&capture->hook);
	capture->hook = -1;
	tapline_bpf__destroy(capture->skel);
	capture->skel = NULL;
}
