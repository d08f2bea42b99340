/* SPDX-License-Identifier: Apache-2.0 */
/* Pins: DIR/<map> for each map that outlives the agent, DIR/hook_exit or hook_multi (program) and
 * the same + _link, and DIR/link_* for the process and socket programs. What is pinned goes on
 * recording when the agent dies. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "agent/capture_internal.h"
#include "bpf/tapline.skel.h"
#include "userspace/base/clock.h"
#include "userspace/base/fs.h"

#define BPF_FS_MAGIC 0xcafe4a11
#define IN_USE_NS (10 * TL_SEC) /* a heartbeat this young means that an agent lives */

static const char *const map_names[] = {
	"tl_streams", "tl_procs", "tl_socks", "tl_sock_ino", "tl_selected",   "tl_cgroups",
	"tl_control", "tl_stats", "tl_ring",  "tl_prog",     "tl_prog_multi", "tl_waits",
};

static const char *const link_names[TL_LINKS] = {
	[TL_LINK_FORK] = "link_fork",
	[TL_LINK_EXEC] = "link_exec",
	[TL_LINK_EXIT] = "link_exit",
	[TL_LINK_SOCK] = "link_sock",
};

static const char *hook_name(enum tl_backend backend)
{
	return backend == TL_BACKEND_MULTI ? "hook_multi" : "hook_exit";
}

static const char *pin_path(char out[512], const char *dir, const char *name, const char *suffix)
{
	snprintf(out, 512, "%s/%s%s", dir, name, suffix);
	return out;
}

int tl_pin_check_dir(const char *dir, struct tl_error *error)
{
	struct statfs fs;
	struct stat st;
	int r = tl_mkdir_p(dir, 0700, error);

	if (r < 0)
		return r;
	if (statfs(dir, &fs) < 0 || fs.f_type != BPF_FS_MAGIC)
		return tl_error_set(error, -ENOTSUP,
				    "%s is not on a BPF file system: mount one (mount -t bpf bpf "
				    "/sys/fs/bpf) or choose a folder there",
				    dir);
	if (stat(dir, &st) < 0)
		return tl_error_set(error, -errno, "cannot look at %s: %s", dir, strerror(errno));
	if (st.st_uid != geteuid() || (st.st_mode & 077))
		return tl_error_set(
			error, -EACCES,
			"%s is open to others (owner %u, mode %03o): chown it to uid %u and "
			"chmod it 0700",
			dir, st.st_uid, st.st_mode & 0777, geteuid());
	return 0;
}

/* What a pinned map must look like; 0 entries: any. */
static bool same_shape(int fd, uint32_t type, uint32_t key, uint32_t value, uint32_t entries)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return false;
	return info.type == type && info.key_size == key && info.value_size == value &&
	       (!entries || info.max_entries == entries);
}

struct shape {
	const char *name;
	uint32_t type, key, value, entries;
};

static bool has_shape(const char *dir, const struct shape *shape)
{
	char path[512];
	_cleanup_(closep) int fd = bpf_obj_get(pin_path(path, dir, shape->name, ""));

	return fd >= 0 && same_shape(fd, shape->type, shape->key, shape->value, shape->entries);
}

static bool all_fit(const char *dir, const struct tl_capture *capture,
		    const struct tl_capture_options *o)
{
	bool perf = capture->ring == TL_RING_PERF;
	const struct shape shapes[] = {
		{"tl_streams", BPF_MAP_TYPE_HASH, sizeof(struct tl_file_id),
		 sizeof(struct tl_stream), o->max_streams ?: 65536},
		{"tl_procs", BPF_MAP_TYPE_HASH, 4, sizeof(struct tl_proc), o->max_procs ?: 32768},
		{"tl_waits", BPF_MAP_TYPE_HASH, 4, 8, 0},
		{"tl_socks", BPF_MAP_TYPE_LRU_HASH, sizeof(struct tl_sock_key),
		 sizeof(struct tl_sock), o->max_socks ?: 65536},
		{"tl_sock_ino", BPF_MAP_TYPE_LRU_HASH, 8, 8, o->max_socks ?: 65536},
		{"tl_selected", BPF_MAP_TYPE_ARRAY, 4, TL_PID_SLOTS, 1},
		{"tl_cgroups", BPF_MAP_TYPE_HASH, 8, 1, 0},
		{"tl_control", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct tl_control), 1},
		{"tl_stats", BPF_MAP_TYPE_PERCPU_ARRAY, 4, sizeof(struct tl_stats), 1},
		{"tl_ring", perf ? BPF_MAP_TYPE_PERF_EVENT_ARRAY : BPF_MAP_TYPE_RINGBUF,
		 perf ? 4 : 0, perf ? 4 : 0, perf ? 0 : (uint32_t)capture->ring_bytes},
		{"tl_prog", BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1},
		{"tl_prog_multi", BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++)
		if (!has_shape(dir, &shapes[i]))
			return false;
	return true;
}

/* Reads the pinned control block, whatever its size is there. */
static int read_control(const char *dir, struct tl_control *ret)
{
	char path[512], value[4096] = {0};
	_cleanup_(closep) int fd = bpf_obj_get(pin_path(path, dir, "tl_control", ""));
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info), zero = 0;

	if (fd < 0)
		return -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0 || info.value_size > sizeof(value) ||
	    bpf_map_lookup_elem(fd, &zero, value) < 0)
		return -EINVAL;
	memcpy(ret, value, sizeof(*ret));
	return 0;
}

int tl_pin_probe(const char *dir, const struct tl_capture *capture,
		 const struct tl_capture_options *options, bool *ret_reuse, struct tl_error *error)
{
	struct tl_control control;
	int r = read_control(dir, &control);
	uint64_t now = tl_mono_ns();

	*ret_reuse = r == 0 && control.abi == TL_ABI && all_fit(dir, capture, options);
	if (r == -ENOENT || *ret_reuse)
		return 0;
	if (r == 0 && control.heartbeat_ns && now - control.heartbeat_ns < IN_USE_NS)
		return tl_error_set(
			error, -EBUSY,
			"%s holds the maps of a running agent with another ABI (%u, ours is "
			"%u) or other sizes: stop it first, or give this one a pin folder of its "
			"own",
			dir, control.abi, TL_ABI);
	return tl_capture_unpin(dir, error);
}

int tl_pin_reuse(const char *dir, struct bpf_object *object, struct tl_error *error)
{
	for (size_t i = 0; i < ARRAY_SIZE(map_names); i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(object, map_names[i]);
		char path[512];
		_cleanup_(closep) int fd = bpf_obj_get(pin_path(path, dir, map_names[i], ""));

		if (fd < 0 || bpf_map__reuse_fd(map, fd) < 0)
			return tl_error_set(error, -errno, "cannot take over %s: %s", path,
					    strerror(errno));
	}
	return 0;
}

bool tl_pin_has_hook(const char *dir, enum tl_backend backend, int *ret_prog)
{
	char path[512];
	_cleanup_(closep) int link = bpf_obj_get(pin_path(path, dir, hook_name(backend), "_link"));
	int prog = bpf_obj_get(pin_path(path, dir, hook_name(backend), ""));

	if (link < 0 || prog < 0) {
		closep(&prog);
		return false;
	}
	*ret_prog = prog;
	return true;
}

static void drop(const char *dir, const char *name, const char *suffix)
{
	char path[512];

	unlink(pin_path(path, dir, name, suffix));
}

void tl_pin_drop_other_hook(const char *dir, enum tl_backend backend)
{
	enum tl_backend other =
		backend == TL_BACKEND_MULTI ? TL_BACKEND_SYS_EXIT : TL_BACKEND_MULTI;

	drop(dir, hook_name(other), "_link");
	drop(dir, hook_name(other), "");
}

static int pin(int fd, const char *path, struct tl_error *error)
{
	if (bpf_obj_pin(fd, path) < 0)
		return tl_error_set(error, -errno, "cannot pin %s: %s", path, strerror(errno));
	return 0;
}

int tl_pin_all(struct tl_capture *capture, struct tl_error *error)
{
	const char *dir = capture->pin_dir, *hook = hook_name(capture->backend);
	char path[512];
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(map_names) && r == 0; i++)
		if (access(pin_path(path, dir, map_names[i], ""), F_OK) < 0)
			r = pin(bpf_map__fd(bpf_object__find_map_by_name(capture->skel->obj,
									 map_names[i])),
				path, error);
	for (int i = 0; i < TL_LINKS && r == 0; i++) {
		if (!capture->links[i] || i == TL_LINK_HOOK)
			continue;
		/* The old agent's link goes now, with the new program attached beside it. */
		unlink(pin_path(path, dir, link_names[i], ""));
		r = pin(bpf_link__fd(capture->links[i]), path, error);
	}
	if (r < 0 || !capture->links[TL_LINK_HOOK])
		return r;
	drop(dir, hook, "");
	drop(dir, hook, "_link");
	r = pin(capture->hook, pin_path(path, dir, hook, ""), error);
	return r < 0 ? r
		     : pin(bpf_link__fd(capture->links[TL_LINK_HOOK]),
			   pin_path(path, dir, hook, "_link"), error);
}

int tl_capture_unpin(const char *dir, struct tl_error *error)
{
	/* The hooks go first: nothing records into maps that are being removed. */
	drop(dir, "hook_exit", "_link");
	drop(dir, "hook_multi", "_link");
	drop(dir, "hook_exit", "");
	drop(dir, "hook_multi", "");
	for (int i = 0; i < TL_LINKS; i++)
		if (link_names[i])
			drop(dir, link_names[i], "");
	for (size_t i = 0; i < ARRAY_SIZE(map_names); i++)
		drop(dir, map_names[i], "");
	if (rmdir(dir) < 0 && errno != ENOENT && errno != ENOTEMPTY)
		return tl_error_set(error, -errno, "cannot remove %s: %s", dir, strerror(errno));
	return 0;
}
