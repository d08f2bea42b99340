// SPDX-License-Identifier: GPL-2.0-only
/* What happens once a process, a file or a socket: events that describe them are prepared in the
 * CPU's workbench (`ctl`) and put into the ring by the caller, who has the program's context that
 * perf output wants. Probe reads only: the same code on every kernel, and nothing here is hot. */
#include "bpf/maps.bpf.h"

#define S_IFSOCK 0140000
#define AF_UNIX 1
#define TICK_NS 10000000ULL /* a clock tick, the grain of start times in /proc */

/* Roots of file systems whose files are switches and counters, never logs. */
static __always_inline bool tl_is_pseudo_fs(__u64 magic)
{
	return magic == 0x09041934 /* anonymous inodes */ || magic == 0x9fa0 /* proc */ ||
	       magic == 0x62656572 /* sysfs */ || magic == 0x63677270 /* cgroup2 */ ||
	       magic == 0x27e0eb /* cgroup */ || magic == 0x64626720 /* debugfs */ ||
	       magic == 0x74726163 /* tracefs */ || magic == 0xcafe4a11 /* bpf */ ||
	       magic == 0x73636673 /* securityfs */;
}

static __always_inline void tl_ctl_head(struct tl_event *e, __u8 type, __u32 len)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct task_struct *task = (void *)bpf_get_current_task();

	__builtin_memset(e, 0, sizeof(*e));
	e->type = type;
	e->len = len;
	e->time_ns = bpf_ktime_get_ns();
	e->tgid = id >> 32;
	e->tid = id;
	e->start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
}

static const struct tl_proc tl_no_proc;

/* Makes the map entry of the current process if there is none of it yet, and prepares a PROC event.
 * Returns its length, 0 when the map is full. */
__noinline int tl_proc_event(__u32 cpu, __u32 what)
{
	struct tl_work *w = bpf_map_lookup_elem(&tl_work, &cpu);
	struct task_struct *task = (void *)bpf_get_current_task();
	struct tl_proc *p;
	struct tl_ev_proc *e;
	__u32 tgid;

	if (!w)
		return 0;
	e = (void *)w->ctl;
	tl_ctl_head(&e->h, TL_EV_PROC, 0);
	e->what = what;
	e->parent = 0;
	bpf_core_read(&task, sizeof(task), &task->group_leader);
	bpf_core_read_str(e->comm, sizeof(e->comm), &task->comm);
	tgid = e->h.tgid;
	p = bpf_map_lookup_elem(&tl_procs, &tgid);
	if (p && e->h.start_ns - p->start_ns < TICK_NS) {
		p->start_ns = e->h.start_ns;
		e->h.lost_gen = p->lost_gen;
		return sizeof(*e);
	}
	if (bpf_map_update_elem(&tl_procs, &tgid, &tl_no_proc, BPF_ANY))
		return 0;
	p = bpf_map_lookup_elem(&tl_procs, &tgid);
	if (!p)
		return 0;
	p->start_ns = e->h.start_ns;
	return sizeof(*e);
}

/* Puts one name of the path in front of the others, or crosses a mount. Returns 1 at the root. */
__noinline int tl_path_step(__u32 cpu)
{
	struct tl_work *w = bpf_map_lookup_elem(&tl_work, &cpu);
	struct dentry *d, *parent;
	struct mount *m, *up;
	const unsigned char *name;
	__u64 n, at;

	if (!w)
		return 1;
	d = (void *)w->dentry;
	m = (void *)w->mount;
	if (d == BPF_CORE_READ(m, mnt.mnt_root)) {
		up = BPF_CORE_READ(m, mnt_parent);
		w->dentry = (__u64)BPF_CORE_READ(m, mnt_mountpoint);
		w->mount = (__u64)up;
		return up == m || !up;
	}
	parent = BPF_CORE_READ(d, d_parent);
	if (!parent || (parent == d && w->path_at != TL_PATH_MAX))
		return 1;
	n = TL_BOUND(BPF_CORE_READ(d, d_name.len), 255);
	name = BPF_CORE_READ(d, d_name.name);
	if (w->path_at < n + 1) {
		w->path_cut = 1;
		return 1;
	}
	at = TL_BOUND(w->path_at - n - 1, TL_PATH_MAX);
	w->path[at] = '/';
	bpf_probe_read_kernel(w->path + at + 1, n, name);
	w->path_at = at;
	w->dentry = (__u64)parent;
	return parent == d;
}

/* Walks the path of `file` into ctl, after the event's struct. Returns its length. */
static __always_inline __u32 tl_path(struct tl_work *w, __u32 cpu, struct file *file)
{
	struct vfsmount *mnt = BPF_CORE_READ(file, f_path.mnt);
	int i;

	w->dentry = (__u64)BPF_CORE_READ(file, f_path.dentry);
	w->mount = (__u64)mnt - bpf_core_field_offset(struct mount, mnt);
	w->path_at = TL_PATH_MAX;
	w->path_cut = 0;
	for (i = 0; i < 80; i++)
		if (tl_path_step(cpu))
			break;
	if (i == 80)
		w->path_cut = 1;
	bpf_probe_read_kernel(w->ctl + sizeof(struct tl_ev_file),
			      TL_BOUND(TL_PATH_MAX - w->path_at, TL_PATH_MAX),
			      w->path + TL_BOUND(w->path_at, TL_PATH_MAX));
	return TL_PATH_MAX - w->path_at;
}

/* Prepares the FILE event of `file`, whose id is on the workbench. `kind_and_flags`: enum
 * tl_file_kind, TL_EVF_* << 8. Returns its length, or -1 when it is no log by its file system. */
__noinline int tl_file_event(__u32 cpu, __u64 file, __s32 fd, __u32 kind_and_flags)
{
	struct tl_work *w = bpf_map_lookup_elem(&tl_work, &cpu);
	struct file *f = (void *)file;
	struct tl_ev_file *e;
	__u32 kind = kind_and_flags & 0xff, n = 0;

	if (!w)
		return 0;
	if (kind == TL_FILE_REGULAR && tl_is_pseudo_fs(BPF_CORE_READ(f, f_inode, i_sb, s_magic)))
		return -1;
	e = (void *)w->ctl;
	if (kind == TL_FILE_UNIX) {
		n = TL_BOUND(w->unix_len, 108);
		bpf_probe_read_kernel(w->ctl + sizeof(*e), n, w->unix_path);
	} else if (kind != TL_FILE_PIPE) {
		n = tl_path(w, cpu, f);
	}
	tl_ctl_head(&e->h, TL_EV_FILE, n);
	e->h.flags = kind_and_flags >> 8;
	if (kind == TL_FILE_REGULAR || kind == TL_FILE_TTY)
		e->h.flags |= w->path_cut ? TL_EVF_TRUNC : 0;
	e->file = w->file;
	e->kind = kind;
	e->f_flags = BPF_CORE_READ(f, f_flags);
	e->fd = fd;
	e->path_len = n;
	return sizeof(*e) + n;
}

#define TL_STARTS(path, literal)                                                                   \
	({                                                                                         \
		bool _same = true;                                                                 \
		_Pragma("unroll") for (unsigned _i = 0; _i < sizeof(literal) - 1; _i++) _same &=   \
			(path)[_i] == (literal)[_i];                                               \
		_same;                                                                             \
	})
#define TL_IS(path, literal) (TL_STARTS(path, literal) && !(path)[sizeof(literal) - 1])

/* Whether a unix socket's peer (or the address at the user address `name`) is a log: journald's or
 * syslog's by the path it is bound to, which is left on the workbench. */
__noinline int tl_unix_target(__u32 cpu, __u64 sk, __u64 name)
{
	struct tl_work *w = bpf_map_lookup_elem(&tl_work, &cpu);
	struct unix_sock *u = (void *)sk;
	struct unix_address *addr;
	char *path;
	long n = 0;

	if (!w)
		return 0;
	path = w->unix_path;
	__builtin_memset(path, 0, 32);
	if (name) {
		n = bpf_probe_read_user_str(path, 108, (void *)(name + 2));
	} else {
		u = (void *)BPF_CORE_READ(u, peer);
		if (!u)
			return 0;
		addr = BPF_CORE_READ(u, addr);
		if (!addr)
			return 0;
		n = bpf_probe_read_kernel_str(
			path, 108,
			(void *)((__u64)addr + bpf_core_field_offset(struct unix_address, name) +
				 2));
	}
	if (n <= 1)
		return 0;
	w->unix_len = n - 1;
	if (TL_IS(path, "/dev/log"))
		return 1;
	if (!TL_STARTS(path, "/run/systemd/journal/"))
		return 0;
	path += sizeof("/run/systemd/journal/") - 1;
	return TL_IS(path, "stdout") || TL_IS(path, "socket") || TL_IS(path, "dev-log") ||
	       TL_IS(path, "syslog");
}

/* Whether the current task's cgroup was selected. A process that lives in version 1 hierarchies
 * only is in the root of the unified one (id 1): then the memory controller's directory is meant.
 */
__noinline bool tl_cgroup_selected(void)
{
	__u64 id = bpf_get_current_cgroup_id();

	if (id <= 1 && bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id)) {
		struct task_struct *task = (void *)bpf_get_current_task();
		struct css_set *set = BPF_CORE_READ(task, cgroups);
		struct cgroup_subsys_state *css = NULL;

		bpf_probe_read_kernel(
			&css, sizeof(css),
			(void *)((__u64)set + bpf_core_field_offset(struct css_set, subsys) +
				 8 * bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id)));
		id = BPF_CORE_READ(css, cgroup, kn, id);
	}
	return bpf_map_lookup_elem(&tl_cgroups, &id) != NULL;
}

#define TL_TOKEN(a, b, c, d, e, f, g, h)                                                           \
	((__u64)(a) | (__u64)(b) << 8 | (__u64)(c) << 16 | (__u64)(d) << 24 | (__u64)(e) << 32 |   \
	 (__u64)(f) << 40 | (__u64)(g) << 48 | (__u64)(h) << 56)

/* A FastCGI BEGIN_REQUEST record: version 1, type 1, any request id, 8 bytes of content. */
#define TL_FASTCGI_BEGIN TL_TOKEN(1, 1, 0, 0, 0, 8, 0, 0)
#define TL_FASTCGI_MASK TL_TOKEN(0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0)

/* Whether the first n bytes of `have` agree with the token, as far as both go. */
static __always_inline bool tl_token(__u64 have, __u32 n, __u64 token, __u32 len)
{
	__u32 m = n < len ? n : len;
	__u64 mask = m >= 8 ? ~0ULL : (1ULL << (m * 8)) - 1;

	return !((have ^ token) & mask);
}

static __always_inline bool tl_is_http(__u64 v, __u32 n)
{
	return tl_token(v, n, TL_TOKEN('G', 'E', 'T', ' ', 0, 0, 0, 0), 4) ||
	       tl_token(v, n, TL_TOKEN('H', 'T', 'T', 'P', '/', 0, 0, 0), 5) ||
	       tl_token(v, n, TL_TOKEN('P', 'O', 'S', 'T', ' ', 0, 0, 0), 5) ||
	       tl_token(v, n, TL_TOKEN('P', 'U', 'T', ' ', 0, 0, 0, 0), 4) ||
	       tl_token(v, n, TL_TOKEN('H', 'E', 'A', 'D', ' ', 0, 0, 0), 5) ||
	       tl_token(v, n, TL_TOKEN('D', 'E', 'L', 'E', 'T', 'E', ' ', 0), 7) ||
	       tl_token(v, n, TL_TOKEN('O', 'P', 'T', 'I', 'O', 'N', 'S', ' '), 8) ||
	       tl_token(v, n, TL_TOKEN('P', 'A', 'T', 'C', 'H', ' ', 0, 0), 6) ||
	       tl_token(v, n, TL_TOKEN('C', 'O', 'N', 'N', 'E', 'C', 'T', ' '), 8) ||
	       tl_token(v, n, TL_TOKEN('T', 'R', 'A', 'C', 'E', ' ', 0, 0), 6) ||
	       tl_token(v, n, TL_TOKEN('P', 'R', 'I', ' ', '*', ' ', 'H', 'T'), 8) ||
	       (n == 8 && (v & TL_FASTCGI_MASK) == TL_FASTCGI_BEGIN);
}

/* A TLS record's header: type, version 3.x. */
static __always_inline bool tl_is_tls(__u64 v, __u32 n)
{
	__u8 type = v, major = v >> 8, minor = v >> 16;

	return n >= 3 && type >= 0x14 && type <= 0x17 && major == 3 && minor <= 4;
}

/* What the first bytes on a stream are, given as a number of up to `n` <= 8 of them. */
__noinline int tl_looks_like(__u64 v, __u32 n)
{
	if (tl_is_http(v, n))
		return TL_LIKE_HTTP;
	return tl_is_tls(v, n) ? TL_LIKE_TLS : TL_LIKE_NOTHING;
}
