/* SPDX-License-Identifier: GPL-2.0-only */
/* From a file descriptor of the current task to the file behind it. Two builds of the same text:
 * with TL_DIRECT (6.2 and newer) pointers are followed by plain loads, about 70 ns in all; without,
 * each step is a probe read, five times dearer. No lock is held: a thread that closes the
 * descriptor meanwhile makes us see another file or none, as it makes the service itself. */
#ifndef TL_FILE_BPF_H
#define TL_FILE_BPF_H

#include "bpf/maps.bpf.h"

#define S_IFMT 0170000
#define S_IFIFO 0010000
#define S_IFCHR 0020000
#define S_IFREG 0100000
#define S_IFSOCK 0140000
#define FMODE_WRITE 2
#define O_ACCMODE 3
#define O_WRONLY 1
#define O_APPEND 02000

#ifdef TL_DIRECT
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;

#define TL_TASK() ((__u64)bpf_get_current_task_btf())
/* The field `f` of the T at the kernel address `p`; 0 where nothing is mapped. */
#define TL_GET(T, p, f) (((T *)bpf_rdonly_cast((const void *)(p), bpf_core_type_id_kernel(T)))->f)
/* Two neighbouring pointers anywhere: a list_head is nothing else. */
#define TL_PAIR(p, ret_a, ret_b)                                                                   \
	do {                                                                                       \
		(ret_a) = (__u64)TL_GET(struct list_head, p, next);                                \
		(ret_b) = (__u64)TL_GET(struct list_head, p, prev);                                \
	} while (0)
#else
#define TL_TASK() bpf_get_current_task()
#define TL_GET(T, p, f)                                                                            \
	({                                                                                         \
		T *_p = (void *)(p);                                                               \
		__typeof__(((T *)0)->f) _v = 0;                                                    \
		bpf_core_read(&_v, sizeof(_v), &_p->f);                                            \
		_v;                                                                                \
	})
#define TL_PAIR(p, ret_a, ret_b)                                                                   \
	do {                                                                                       \
		__u64 _pair[2] = {};                                                               \
		bpf_probe_read_kernel(_pair, sizeof(_pair), (const void *)(p));                    \
		(ret_a) = _pair[0];                                                                \
		(ret_b) = _pair[1];                                                                \
	} while (0)
#endif

/* A kernel address as a plain number, as global functions take it: the verifier may know it as a
 * pointer. */
static __always_inline __u64 tl_scalar(__u64 pointer)
{
	__u64 number = 0;

	bpf_probe_read_kernel(&number, sizeof(number), &pointer);
	return number;
}

struct tl_found {
	__u64 file, inode; /* kernel addresses */
	struct tl_file_id id;
	__u32 mode; /* i_mode */
	__u32 kind; /* enum tl_file_kind, once it is a candidate */
	__u8 std;   /* TL_EVF_STDOUT or TL_EVF_STDERR when it is behind fd 1 or 2 */
};

/* Finds what is behind `fd`; false when there is nothing. For a read it does not matter what is
 * behind fd 1 and 2. */
static __always_inline bool tl_find(__u64 task, __u32 fd, bool in, struct tl_found *ret)
{
	__u64 files = (__u64)TL_GET(struct task_struct, task, files);
	__u64 fdt = (__u64)TL_GET(struct files_struct, files, fdt);
	__u64 slots, file, one, two, next;

	if (fd >= TL_GET(struct fdtable, fdt, max_fds))
		return false;
	slots = (__u64)TL_GET(struct fdtable, fdt, fd);
	TL_PAIR(slots + 8, one, two);
	if (fd == 1)
		file = one;
	else if (fd == 2)
		file = two;
	else
		TL_PAIR(slots + 8ULL * fd, file, next);
	if (!file)
		return false;
	ret->file = file;
	ret->std = file == one ? TL_EVF_STDOUT : file == two ? TL_EVF_STDERR : 0;
	ret->inode = (__u64)TL_GET(struct file, file, f_inode);
	ret->mode = TL_GET(struct inode, ret->inode, i_mode);
	/* /dev/stdout opened by name (nginx's access_log) is another struct file of the same inode.
	 */
	if (!in && !ret->std && (ret->mode & S_IFMT) != S_IFSOCK) {
		if (one && (__u64)TL_GET(struct file, one, f_inode) == ret->inode)
			ret->std = TL_EVF_STDOUT;
		else if (two && (__u64)TL_GET(struct file, two, f_inode) == ret->inode)
			ret->std = TL_EVF_STDERR;
	}
	return true;
}

static __always_inline void tl_find_id(struct tl_found *f)
{
	__u64 sb = (__u64)TL_GET(struct inode, f->inode, i_sb);

	f->id.ino = TL_GET(struct inode, f->inode, i_ino);
	f->id.gen = TL_GET(struct inode, f->inode, i_generation);
	f->id.dev = TL_GET(struct super_block, sb, s_dev);
}

/* Consoles, serial lines and pseudo terminals by their major numbers. */
static __always_inline bool tl_is_tty(__u32 rdev)
{
	__u32 major = rdev >> 20;

	return major == 4 || major == 5 || (major >= 136 && major <= 143) || major == 188 ||
	       major == 204 || major == 229;
}

/* Whether a file that is no socket can be a log, and of which kind. Behind fd 1 or 2: a pipe, a
 * terminal, or a regular file that is only written (a daemon that closed its fd 1 opens its
 * database there). Else a regular file, by its path. */
static __always_inline bool tl_is_candidate(struct tl_found *f)
{
	__u32 type = f->mode & S_IFMT;

	if (type == S_IFREG) {
		__u32 flags = TL_GET(struct file, f->file, f_flags);

		f->kind = TL_FILE_REGULAR;
		return !f->std || (flags & O_ACCMODE) == O_WRONLY || (flags & O_APPEND);
	}
	if (!f->std)
		return false;
	f->kind = type == S_IFIFO ? TL_FILE_PIPE : TL_FILE_TTY;
	return type == S_IFIFO ||
	       (type == S_IFCHR && tl_is_tty(TL_GET(struct inode, f->inode, i_rdev)));
}

/* Whether the current call came by a 32-bit entry. */
static __always_inline bool tl_is_compat(__u64 task)
{
	return TL_GET(struct task_struct, task, thread_info.status) & 2;
}

#endif
