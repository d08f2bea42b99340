/* SPDX-License-Identifier: Apache-2.0 */
/* The files of one topic, numbered. Only the newest is written, only at its end; what lies behind
 * its committed length, and every file with a higher number, is of a batch that was never
 * committed: a process that opens the folder again cuts it off. With zstd each commit is a frame of
 * its own, so that a cut leaves a whole file.
 *
 * A full disk is waited for: nothing may be dropped, and what is read again later is the same. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "userspace/base/clock.h"
#include "userspace/base/msg.h"
#include "userspace/sink/file.h"

#define OUT_BYTES ((size_t)1 << 20)
#define SPACE_WAIT_US 500000u

static int fail(const struct tl_file_series *series, const char *what, int error_number,
		struct tl_error *error)
{
	return tl_error_set(error, -error_number, "cannot %s %s/%s: %s", what,
			    series->settings->path, series->now.name, strerror(error_number));
}

static const char *suffix(const struct tl_file_series *series)
{
	return series->settings->zstd ? ".ndjson.zst" : ".ndjson";
}

/* The number of a file of ours of this topic; 0 another file. */
static uint64_t number_of(const struct tl_file_series *series, const char *name)
{
	size_t len = strlen(series->topic);
	unsigned long long number;
	int end = 0;

	if (strncmp(name, series->topic, len) != 0 ||
	    sscanf(name + len, "-%*8[0-9]T%*6[0-9]Z-%8llu%n", &number, &end) != 1 || !end)
		return 0;
	name += len + (size_t)end;
	return strcmp(name, ".ndjson") == 0 || strcmp(name, ".ndjson.zst") == 0 ? number : 0;
}

/* Files that were begun and never committed. Their numbers are used again. */
static int drop_uncommitted(const struct tl_file_series *series, struct tl_error *error)
{
	int fd = openat(series->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!dir)
		return fail(series, "read", errno, error);
	while ((entry = readdir(dir)))
		if (number_of(series, entry->d_name) > series->committed.number)
			unlinkat(series->dir, entry->d_name, 0);
	closedir(dir);
	return 0;
}

static bool same_kind(const struct tl_file_series *series)
{
	const char *dot = strchr(series->committed.name, '.');

	return dot && strcmp(dot, suffix(series)) == 0;
}

/* Goes on with the newest file. One that is gone, or shorter than it was, is left alone. */
static int resume(struct tl_file_series *series, struct tl_error *error)
{
	struct stat st;
	int fd;

	series->now = series->committed;
	if (!series->committed.name[0])
		return 0;
	fd = openat(series->dir, series->committed.name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno != ENOENT)
		return fail(series, "open", errno, error);
	if (fd < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size < series->committed.bytes) {
		if (fd >= 0)
			tl_msg(TL_WARNING,
			       "%s/%s is %llu bytes shorter than it was (a power cut without "
			       "--sync commit?): these are lost",
			       series->settings->path, series->committed.name,
			       (unsigned long long)(series->committed.bytes -
						    (uint64_t)st.st_size));
		series->now.name[0] = 0;
		closep(&fd);
		return 0;
	}
	if (ftruncate(fd, (off_t)series->committed.bytes) < 0 || lseek(fd, 0, SEEK_END) < 0) {
		int e = errno;

		close(fd);
		return fail(series, "write to", e, error);
	}
	if (!same_kind(series)) {
		series->now.name[0] = 0;
		close(fd);
		return 0;
	}
	series->fd = fd;
	return 0;
}

static int open_zstd(struct tl_file_series *series)
{
	series->zstd = ZSTD_createCCtx();
	if (!series->zstd)
		return -ENOMEM;
	ZSTD_CCtx_setParameter(series->zstd, ZSTD_c_compressionLevel, (int)series->settings->level);
	ZSTD_CCtx_setParameter(series->zstd, ZSTD_c_checksumFlag, 1);
	return 0;
}

int tl_file_series_open(struct tl_file_series *series, struct tl_error *error)
{
	int r = drop_uncommitted(series, error);

	if (r == 0 && series->settings->zstd && open_zstd(series) < 0)
		return tl_error_set(error, -ENOMEM, "out of memory");
	return r < 0 ? r : resume(series, error);
}

void tl_file_series_close(struct tl_file_series *series)
{
	closep(&series->fd);
	series->fd = -1;
	tl_buf_done(&series->out);
	ZSTD_freeCCtx(series->zstd);
	series->zstd = NULL;
}

int tl_file_wait_for_space(const struct tl_file_series *series, struct tl_error *error)
{
	static struct tl_msg_gate gate;

	tl_msg_limited(&gate, 30000, TL_WARNING,
		       "no space left for %s; waiting until there is some (nothing is lost)",
		       series->settings->path);
	if (series->stop && *series->stop)
		return tl_error_set(error, -EINTR, "stopped while the disk was full");
	usleep(SPACE_WAIT_US);
	return 0;
}

static int write_out(struct tl_file_series *series, struct tl_error *error)
{
	size_t at = 0;

	while (at < series->out.len) {
		ssize_t n = write(series->fd, series->out.data + at, series->out.len - at);
		int r = 0;

		if (n >= 0)
			at += (size_t)n;
		else if (errno == ENOSPC || errno == EDQUOT)
			r = tl_file_wait_for_space(series, error);
		else if (errno != EINTR)
			r = fail(series, "write to", errno, error);
		if (r < 0)
			return r;
	}
	series->now.bytes += series->out.len;
	tl_buf_clear(&series->out);
	return 0;
}

static int pack(struct tl_file_series *series, struct tl_span in, ZSTD_EndDirective end)
{
	ZSTD_inBuffer from = {in.data, in.len, 0};
	size_t left;

	do {
		ZSTD_outBuffer to;
		int r = tl_buf_reserve(&series->out, ZSTD_CStreamOutSize());

		if (r < 0)
			return r;
		to = (ZSTD_outBuffer){series->out.data, series->out.cap, series->out.len};
		left = ZSTD_compressStream2(series->zstd, &to, &from, end);
		series->out.len = to.pos;
		if (ZSTD_isError(left))
			return -ENOMEM;
	} while (end == ZSTD_e_end ? left : from.pos < from.size);
	return 0;
}

static int begin_file(struct tl_file_series *series, struct tl_error *error)
{
	uint64_t now = tl_wall_ns();
	time_t seconds = (time_t)(now / TL_SEC);
	char stamp[32];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
	series->now = (struct tl_file_place){.number = series->now.number + 1, .opened_ns = now};
	snprintf(series->now.name, sizeof(series->now.name), "%s-%s-%08llu%s", series->topic, stamp,
		 (unsigned long long)series->now.number, suffix(series));
	series->fd = openat(series->dir, series->now.name,
			    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	return series->fd < 0 ? fail(series, "make", errno, error) : 0;
}

static bool is_due(const struct tl_file_series *series)
{
	const struct tl_file_settings *s = series->settings;

	return (s->max_bytes && series->now.bytes >= s->max_bytes) ||
	       (s->every_ns && tl_wall_ns() - series->now.opened_ns >= s->every_ns);
}

/* Only with the first line of a batch: a batch never spans files of a series. */
static int choose_file(struct tl_file_series *series, struct tl_error *error)
{
	if (series->fd >= 0 && !series->dirty && is_due(series)) {
		if (series->settings->sync == TL_FILE_SYNC_ROTATE && fdatasync(series->fd) < 0)
			return fail(series, "sync", errno, error);
		close(series->fd);
		series->fd = -1;
	}
	return series->fd >= 0 ? 0 : begin_file(series, error);
}

int tl_file_series_add(struct tl_file_series *series, struct tl_span line, struct tl_error *error)
{
	int r = choose_file(series, error);

	if (r < 0)
		return r;
	series->dirty = true;
	if (series->zstd) {
		r = pack(series, line, ZSTD_e_continue);
		r = r < 0 ? r : pack(series, TL_SPAN_LIT("\n"), ZSTD_e_continue);
	} else {
		r = tl_buf_add(&series->out, line.data, line.len);
		r = r < 0 ? r : tl_buf_putc(&series->out, '\n');
	}
	if (r < 0)
		return tl_error_set(error, -ENOMEM, "out of memory");
	return series->out.len < OUT_BYTES ? 0 : write_out(series, error);
}

int tl_file_series_flush(struct tl_file_series *series, struct tl_error *error)
{
	int r = 0;

	if (!series->dirty)
		return 0;
	if (series->zstd && pack(series, (struct tl_span){"", 0}, ZSTD_e_end) < 0)
		r = tl_error_set(error, -ENOMEM, "out of memory");
	r = r < 0 ? r : write_out(series, error);
	if (r == 0 && series->settings->sync == TL_FILE_SYNC_COMMIT && fdatasync(series->fd) < 0)
		r = fail(series, "sync", errno, error);
	return r;
}

void tl_file_series_committed(struct tl_file_series *series)
{
	series->committed = series->now;
	series->dirty = false;
}

void tl_file_series_rollback(struct tl_file_series *series)
{
	if (!series->dirty)
		return;
	series->dirty = false;
	tl_buf_clear(&series->out);
	if (series->zstd)
		ZSTD_CCtx_reset(series->zstd, ZSTD_reset_session_only);
	if (series->fd < 0 || series->now.number != series->committed.number) {
		/* A file of this batch alone; the one before it has had its last line. */
		if (series->fd >= 0) {
			unlinkat(series->dir, series->now.name, 0);
			close(series->fd);
			series->fd = -1;
		}
		series->now.number = series->committed.number;
		series->now.name[0] = 0;
		return;
	}
	series->now = series->committed;
	if (ftruncate(series->fd, (off_t)series->committed.bytes) < 0 ||
	    lseek(series->fd, 0, SEEK_END) < 0) {
		close(series->fd);
		series->fd = -1;
	}
}
