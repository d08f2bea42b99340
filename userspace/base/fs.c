/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/base/fs.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "userspace/base/cleanup.h"

/* What a person can do about an errno of a file operation; "" where the error says it all. */
static const char *remedy(int error_number)
{
	switch (error_number) {
	case EACCES:
	case EPERM:
		return "; check who owns it and its folders, or run as a user who may";
	case EROFS:
		return "; the file system is read-only, choose a folder on another one";
	case ENOSPC:
	case EDQUOT:
		return "; free some space or choose a folder on another disk";
	case ENOTDIR:
		return "; a part of the path is a file, not a folder";
	case ENOENT:
		return "; check the path";
	default:
		return "";
	}
}

static int fail(struct tl_error *error, int error_number, const char *action, const char *path)
{
	return tl_error_set(error, -error_number, "cannot %s %s: %s%s", action, path,
			    strerror(error_number), remedy(error_number));
}

static int make_one(const char *path, unsigned mode, struct tl_error *error)
{
	struct stat st;
	int e;

	if (mkdir(path, mode) == 0)
		return 0;
	e = errno;
	/* A parent that is there may answer EROFS or EACCES instead of EEXIST. */
	if (stat(path, &st) == 0)
		e = S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
	return e ? fail(error, e, "make the folder", path) : 0;
}

int tl_mkdir_p(const char *path, unsigned mode, struct tl_error *error)
{
	char part[PATH_MAX];
	size_t len = strlen(path);
	int r;

	if (len == 0)
		return fail(error, EINVAL, "make the folder", "\"\"");
	if (len >= sizeof(part))
		return fail(error, ENAMETOOLONG, "make the folder", path);
	memcpy(part, path, len + 1);
	for (char *p = part + 1; *p; p++) {
		if (*p != '/' || p[-1] == '/')
			continue;
		*p = '\0';
		r = make_one(part, mode, error);
		if (r < 0)
			return r;
		*p = '/';
	}
	return make_one(path, mode, error);
}

static int write_all(int fd, struct tl_span data)
{
	while (data.len) {
		ssize_t n = write(fd, data.data, data.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data.data += n;
		data.len -= (size_t)n;
	}
	return 0;
}

/* After a rename the new name itself is durable only once its folder is synced. */
static int sync_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	_cleanup_(closep) int fd = -1;
	char parent[PATH_MAX] = ".";

	if (slash)
		snprintf(parent, sizeof(parent), "%.*s", slash == path ? 1 : (int)(slash - path),
			 path);
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

static int write_temporary(const char *temporary, struct tl_span data, bool sync)
{
	_cleanup_(closep) int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int r;

	if (fd < 0)
		return -errno;
	r = write_all(fd, data);
	if (r < 0)
		return r;
	if (sync && fsync(fd) < 0)
		return -errno;
	/* Some file systems tell of a failed write only here. */
	return close(TAKE_FD(fd)) < 0 ? -errno : 0;
}

int tl_file_replace(const char *path, struct tl_span data, bool sync, struct tl_error *error)
{
	char temporary[PATH_MAX];
	uint64_t unique;
	int r;

	tl_random(&unique, sizeof(unique));
	r = snprintf(temporary, sizeof(temporary), "%s.%016llx.tmp", path,
		     (unsigned long long)unique);
	if ((size_t)r >= sizeof(temporary))
		return fail(error, ENAMETOOLONG, "write", path);
	r = write_temporary(temporary, data, sync);
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0) {
		unlink(temporary);
		return fail(error, -r, "write", path);
	}
	r = sync ? sync_parent(path) : 0;
	return r < 0 ? fail(error, -r, "sync the folder of", path) : 0;
}

/* Sizes of procfs files are not known before they are read: reads until the end. */
static int read_all(int fd, size_t max, struct tl_buf *out)
{
	size_t begin = out->len, chunk = 4096;

	for (;;) {
		size_t room = max - (out->len - begin);
		ssize_t n;
		int r;

		/* One byte past the maximum tells a file that just fits from one that does not. */
		if (chunk > room)
			chunk = room + 1;
		r = tl_buf_reserve(out, chunk);
		if (r < 0)
			return r;
		n = read(fd, out->data + out->len, chunk);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		if ((size_t)n > room)
			return -EFBIG;
		out->len += (size_t)n;
		if (chunk < 65536)
			chunk *= 2;
	}
}

int tl_file_read(const char *path, size_t max, struct tl_buf *out, struct tl_error *error)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t begin = out->len;
	int r;

	if (fd < 0)
		return fail(error, errno, "read", path);
	r = read_all(fd, max, out);
	if (r == 0)
		return 0;
	out->len = begin;
	if (r == -EFBIG)
		return tl_error_set(error, r, "cannot read %s: it is larger than %zu bytes", path,
				    max);
	return fail(error, -r, "read", path);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
	(void)st;
	(void)type;
	(void)walk;
	return remove(path) < 0 && errno != ENOENT ? -errno : 0;
}

int tl_remove_tree(const char *path)
{
	int r = nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);

	if (r == -1)
		return errno == ENOENT ? 0 : -errno;
	return r;
}

void tl_random(void *out, size_t len)
{
	char *p = out;

	while (len) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			abort(); /* the arguments are wrong: there is no other way to fail */
		p += n;
		len -= (size_t)n;
	}
}
