/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/procfs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "agent/cgroup.h"
#include "userspace/base/clock.h"

#define PF_KTHREAD 0x00200000u /* include/linux/sched.h; field 9 of /proc/PID/stat */

int tl_procfs_open(void)
{
	int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* A process that ends while it is read shows as either of these. */
static int gone(int e)
{
	return e == ENOENT || e == ESRCH ? -ESRCH : -e;
}

/* Reads a small file of a process, NUL-terminated, cut at the size. Returns its length or -errno.
 */
static ssize_t read_small(int proc, uint32_t pid, const char *name, char *out, size_t size)
{
	_cleanup_(closep) int fd = -1;
	char path[64];
	size_t len = 0;

	snprintf(path, sizeof(path), "%u/%s", pid, name);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return gone(errno);
	while (len + 1 < size) {
		ssize_t n = read(fd, out + len, size - 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return gone(errno);
		if (n == 0)
			break;
		len += (size_t)n;
	}
	out[len] = '\0';
	return (ssize_t)len;
}

static uint64_t tick_ns(void)
{
	static long hertz;

	if (!hertz)
		hertz = sysconf(_SC_CLK_TCK);
	return TL_SEC / (uint64_t)(hertz > 0 ? hertz : 100);
}

int tl_procfs_stat(int proc, uint32_t pid, struct tl_procfs_stat *ret)
{
	struct tl_procfs_stat stat = {0};
	unsigned long long ticks;
	char text[1024], *open, *close;
	unsigned flags;
	ssize_t n = read_small(proc, pid, "stat", text, sizeof(text));

	if (n < 0)
		return (int)n;
	/* The name may hold spaces and brackets: it ends at the last one. */
	open = strchr(text, '(');
	close = strrchr(text, ')');
	if (!open || !close || close < open)
		return -EBADMSG;
	*close = '\0';
	snprintf(stat.comm, sizeof(stat.comm), "%s", open + 1);
	/* Fields 3 state, 4 ppid, 9 flags, 22 starttime. */
	if (sscanf(close + 1,
		   " %c %u %*d %*d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
		   &stat.state, &stat.ppid, &flags, &ticks) != 4)
		return -EBADMSG;
	stat.kernel_thread = flags & PF_KTHREAD;
	stat.start_ns = ticks * tick_ns();
	*ret = stat;
	return 0;
}

/* The line of a status file that begins with `key` and a colon; what follows it, or NULL. */
static const char *status_line(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, len) == 0 && line[len] == ':')
			return line + len + 1;
	}
	return NULL;
}

int tl_procfs_status(int proc, uint32_t pid, struct tl_procfs_status *ret)
{
	struct tl_procfs_status status = {.tgid = pid, .vpid = pid};
	const char *line;
	char text[4096];
	ssize_t n = read_small(proc, pid, "status", text, sizeof(text));

	if (n < 0)
		return (int)n;
	line = status_line(text, "Tgid");
	if (!line || sscanf(line, "%u", &status.tgid) != 1)
		return -EBADMSG;
	line = status_line(text, "Uid");
	if (!line || sscanf(line, "%u", &status.uid) != 1)
		return -EBADMSG;
	/* One number per nested namespace, ours first; the line is missing without CONFIG_PID_NS.
	 */
	line = status_line(text, "NSpid");
	for (int used; line && sscanf(line, " %u%n", &status.vpid, &used) == 1; line += used)
		if (line[used] == '\n')
			break;
	*ret = status;
	return 0;
}

int tl_procfs_exe(int proc, uint32_t pid, char *out, size_t size)
{
	static const char deleted[] = " (deleted)";
	char path[32], target[4096];
	ssize_t n;

	snprintf(path, sizeof(path), "%u/exe", pid);
	n = readlinkat(proc, path, target, sizeof(target) - 1);
	if (n < 0 && errno == ENOENT) {
		struct tl_procfs_stat stat;

		return tl_procfs_stat(proc, pid, &stat) < 0 ? -ESRCH : -ENOENT;
	}
	if (n < 0)
		return gone(errno);
	target[n] = '\0';
	if ((size_t)n > sizeof(deleted) - 1 &&
	    strcmp(target + n - (sizeof(deleted) - 1), deleted) == 0)
		target[n - (ssize_t)(sizeof(deleted) - 1)] = '\0';
	snprintf(out, size, "%.*s", (int)size - 1, target);
	return 0;
}

int tl_procfs_open_exe(int proc, uint32_t pid)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "%u/exe", pid);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? gone(errno) : fd;
}

int tl_procfs_cgroup(int proc, uint32_t pid, struct tl_cgroup *ret)
{
	char text[8192];
	ssize_t n = read_small(proc, pid, "cgroup", text, sizeof(text));

	if (n < 0)
		return (int)n;
	tl_cgroup_parse(text, ret);
	return 0;
}

static void read_cmdline(int proc, uint32_t pid, char *out, size_t size)
{
	ssize_t n = read_small(proc, pid, "cmdline", out, size);

	if (n < 0)
		n = 0;
	while (n > 0 && out[n - 1] == '\0')
		n--;
	out[n] = '\0';
	for (ssize_t i = 0; i < n; i++)
		if (out[i] == '\0')
			out[i] = ' ';
}

static void read_cgroup(int proc, uint32_t pid, const struct tl_cgroup_mounts *mounts,
			struct tl_proc_info *info)
{
	struct tl_cgroup cgroup;

	if (tl_procfs_cgroup(proc, pid, &cgroup) < 0)
		return;
	snprintf(info->cgroup, sizeof(info->cgroup), "%s", tl_cgroup_telling(&cgroup));
	(void)tl_cgroup_container(info->cgroup, info->container_id);
	if (mounts)
		info->cgroup_id = tl_cgroup_id(mounts, &cgroup);
}

int tl_procfs_info(int proc, uint32_t pid, const struct tl_cgroup_mounts *mounts,
		   struct tl_proc_info *ret)
{
	struct tl_proc_info info = {.tgid = pid, .vpid = pid};
	struct tl_procfs_stat stat, again;
	struct tl_procfs_status status;
	int r;

	r = tl_procfs_stat(proc, pid, &stat);
	if (r < 0)
		return r;
	info.ppid = stat.ppid;
	info.start_ns = stat.start_ns;
	memcpy(info.comm, stat.comm, sizeof(info.comm));
	if (tl_procfs_status(proc, pid, &status) == 0) {
		info.uid = status.uid;
		info.vpid = status.vpid;
	}
	(void)tl_procfs_exe(proc, pid, info.exe, sizeof(info.exe));
	read_cmdline(proc, pid, info.cmdline, sizeof(info.cmdline));
	read_cgroup(proc, pid, mounts, &info);
	/* All of it must be of one process: the number may have been given to another meanwhile. A
	 * zombie has lost what tells it apart. */
	if (tl_procfs_stat(proc, pid, &again) < 0 || again.start_ns != stat.start_ns ||
	    again.state == 'Z')
		return -ESRCH;
	*ret = info;
	return 0;
}

bool tl_procfs_same_start(uint64_t event_ns, uint64_t proc_ns)
{
	return event_ns / tick_ns() == proc_ns / tick_ns();
}

static bool number(const char *name, uint32_t *ret)
{
	char *end;
	unsigned long n;

	if (name[0] < '0' || name[0] > '9')
		return false;
	n = strtoul(name, &end, 10);
	if (*end || n > UINT32_MAX)
		return false;
	*ret = (uint32_t)n;
	return true;
}

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static DIR *open_dir(int at, const char *path)
{
	int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (fd >= 0 && !dir)
		close(fd);
	return dir;
}

int tl_procfs_each(int proc, int (*each)(void *arg, uint32_t pid), void *arg)
{
	_cleanup_(closedirp) DIR *dir = open_dir(proc, ".");
	struct dirent *entry;
	uint32_t pid;
	int r;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		if (!number(entry->d_name, &pid))
			continue;
		r = each(arg, pid);
		if (r != 0)
			return r;
	}
	return 0;
}

/* The access mode out of /proc/PID/fdinfo/FD, or -1. */
static int access_mode(int proc, uint32_t pid, uint32_t fd)
{
	char name[32], text[1024];
	const char *line;
	unsigned flags;

	snprintf(name, sizeof(name), "fdinfo/%u", fd);
	if (read_small(proc, pid, name, text, sizeof(text)) < 0)
		return -1;
	line = status_line(text, "flags");
	return line && sscanf(line, "%o", &flags) == 1 ? (int)(flags & O_ACCMODE) : -1;
}

static bool is_file(int dir, const char *name, const struct tl_file_id *file)
{
	struct stat st;

	/* Follows the link to the open file itself; neither opens nor blocks. */
	return fstatat(dir, name, &st, 0) == 0 && st.st_ino == file->ino &&
	       (major(st.st_dev) << 20 | minor(st.st_dev)) == file->dev;
}

int tl_procfs_pipe_ends(int proc, uint32_t pid, const struct tl_file_id *file, bool *ret_reads,
			bool *ret_writes)
{
	_cleanup_(closedirp) DIR *dir = NULL;
	bool reads = false, writes = false;
	struct dirent *entry;
	char path[32];
	uint32_t fd;

	snprintf(path, sizeof(path), "%u/fd", pid);
	dir = open_dir(proc, path);
	if (!dir)
		return gone(errno);
	for (unsigned n = 0; n < TL_PROCFS_FDS_MAX && (entry = readdir(dir)); n++) {
		int mode;

		if (!number(entry->d_name, &fd) || !is_file(dirfd(dir), entry->d_name, file))
			continue;
		mode = access_mode(proc, pid, fd);
		reads |= mode == O_RDONLY || mode == O_RDWR;
		writes |= mode == O_WRONLY || mode == O_RDWR;
	}
	*ret_reads = reads;
	*ret_writes = writes;
	return 0;
}
