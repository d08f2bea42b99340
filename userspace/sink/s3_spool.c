/* SPDX-License-Identifier: Apache-2.0 */
/* Records wait on disk, packed as they will be sent: an unlinked file for each generation and hour,
 * so that a killed process leaves nothing behind. Compressors are few; one that is needed elsewhere
 * ends its frame, and a later record of that file begins another (frames that follow each other are
 * one zstd file). */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/clock.h"
#include "userspace/base/crc32c.h"
#include "userspace/base/fs.h"
#include "userspace/base/json.h"
#include "userspace/sink/s3_spool.h"

#define MIX UINT64_C(0x9e3779b97f4a7c15)

int tl_s3_spool_file(const struct tl_s3_spool *spool)
{
	int fd = open(spool->dir, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
	char path[4200];

	if (fd >= 0)
		return fd;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)
		return -errno;
	/* A file system without it. */
	snprintf(path, sizeof(path), "%s/tapline-s3-XXXXXX", spool->dir);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(path);
	return fd;
}

int tl_s3_spool_init(struct tl_s3_spool *spool, const char *dir, int level, struct tl_error *error)
{
	const char *tmp = getenv("TMPDIR");
	_cleanup_(closep) int fd = -1;
	int r;

	snprintf(spool->dir, sizeof(spool->dir), "%s", dir ? dir : tmp && *tmp ? tmp : "/var/tmp");
	spool->level = level;
	spool->out_size = ZSTD_CStreamOutSize();
	spool->out = malloc(spool->out_size);
	if (!spool->out)
		return tl_error_set(error, -ENOMEM, "out of memory");
	r = tl_mkdir_p(spool->dir, 0700, error);
	if (r < 0)
		return error ? tl_error_wrap(error, "--spool") : r;
	fd = tl_s3_spool_file(spool);
	if (fd < 0)
		return tl_error_set(error, fd,
				    "--spool %s: no file can be made there: %s; choose another "
				    "folder, with room for --spool-size",
				    spool->dir, strerror(-fd));
	return 0;
}

void tl_s3_spool_done(struct tl_s3_spool *spool)
{
	for (size_t i = 0; i < TL_S3_STREAMS; i++)
		ZSTD_freeCCtx(spool->streams[i].zstd);
	free(spool->out);
	tl_buf_done(&spool->line);
}

int tl_s3_file_init(struct tl_s3_spool *spool, struct tl_s3_file *file, uint32_t hour)
{
	int fd = tl_s3_spool_file(spool);

	if (fd < 0)
		return fd;
	*file = (struct tl_s3_file){.hour = hour, .fd = fd, .stream = -1};
	spool->files++;
	return 0;
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Feeds `in`, or with ZSTD_e_end ends the frame. */
static int feed(struct tl_s3_spool *spool, struct tl_s3_file *file, struct tl_span in,
		ZSTD_EndDirective how)
{
	ZSTD_CCtx *zstd = spool->streams[file->stream].zstd;
	ZSTD_inBuffer from = {in.data, in.len, 0};
	size_t left;

	do {
		ZSTD_outBuffer to = {spool->out, spool->out_size, 0};
		int r;

		left = ZSTD_compressStream2(zstd, &to, &from, how);
		if (ZSTD_isError(left))
			return -ENOMEM;
		r = to.pos ? write_all(file->fd, spool->out, to.pos) : 0;
		if (r < 0)
			return r;
		file->bytes += to.pos;
		spool->bytes += to.pos;
	} while (how == ZSTD_e_end ? left > 0 : from.pos < from.size);
	return 0;
}

int tl_s3_file_seal(struct tl_s3_spool *spool, struct tl_s3_file *file)
{
	int r = 0;

	if (file->stream >= 0) {
		r = feed(spool, file, (struct tl_span){0}, ZSTD_e_end);
		spool->streams[file->stream].file = NULL;
		file->stream = -1;
	}
	return r;
}

/* An idle compressor, else the least recently used. */
static int take_stream(struct tl_s3_spool *spool, struct tl_s3_file *file)
{
	int at = 0, r = 0;

	for (int i = 0; i < TL_S3_STREAMS; i++) {
		struct tl_s3_stream *s = &spool->streams[i], *best = &spool->streams[at];

		if (best->file && (!s->file || s->used < best->used))
			at = i;
	}
	if (spool->streams[at].file)
		r = tl_s3_file_seal(spool, spool->streams[at].file);
	if (r < 0)
		return r;
	if (!spool->streams[at].zstd) {
		ZSTD_CCtx *zstd = spool->streams[at].zstd = ZSTD_createCCtx();

		if (!zstd)
			return -ENOMEM;
		ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, spool->level);
		ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
	}
	spool->streams[at].file = file;
	file->stream = at;
	return 0;
}

/* The record as one line. */
static int make_line(struct tl_s3_spool *spool, struct tl_span record)
{
	char *p, *end;

	tl_buf_clear(&spool->line);
	if (tl_buf_add(&spool->line, record.data, record.len) < 0 ||
	    tl_buf_putc(&spool->line, '\n') < 0)
		return -ENOMEM;
	p = spool->line.data;
	end = p + record.len;
	while ((p = memchr(p, '\n', (size_t)(end - p))))
		*p = ' ';
	return 0;
}

int tl_s3_file_add(struct tl_s3_spool *spool, struct tl_s3_file *file, struct tl_span record)
{
	struct tl_span line;
	int r = make_line(spool, record);

	if (r == 0 && file->stream < 0)
		r = take_stream(spool, file);
	if (r < 0)
		return r;
	line = tl_buf_span(&spool->line);
	spool->streams[file->stream].used = ++spool->clock;
	file->records++;
	file->raw += line.len;
	file->digest =
		file->digest * MIX + (tl_crc32c(0, line.data, line.len) | (uint64_t)line.len << 32);
	return feed(spool, file, line, ZSTD_e_continue);
}

void tl_s3_file_drop(struct tl_s3_spool *spool, struct tl_s3_file *file)
{
	if (file->stream >= 0) {
		ZSTD_CCtx_reset(spool->streams[file->stream].zstd, ZSTD_reset_session_only);
		spool->streams[file->stream].file = NULL;
	}
	spool->bytes -= file->bytes;
	spool->files--;
	close(file->fd);
	file->fd = -1;
}

void tl_s3_content(const struct tl_s3_file *file, char out[TL_S3_CONTENT_MAX])
{
	snprintf(out, TL_S3_CONTENT_MAX, "%llu-%llu-%016llx", (unsigned long long)file->records,
		 (unsigned long long)file->raw, (unsigned long long)file->digest);
}

static int parse_hour(struct tl_span time, uint32_t *ret_hour)
{
	static __thread char known[13];
	static __thread uint32_t hour;
	uint64_t ns;

	/* "2026-11-23T01:" is nearly always that of the record before. */
	if (time.len > 13 && memcmp(time.data, known, 13) == 0 && time.data[13] == ':') {
		*ret_hour = hour;
		return 0;
	}
	if (time.len < 14 || tl_time_parse(time.data, time.len, &ns) < 0)
		return -EINVAL;
	hour = (uint32_t)(ns / (3600 * TL_SEC));
	memcpy(known, time.data, sizeof(known));
	*ret_hour = hour;
	return 0;
}

int tl_s3_hour(struct tl_span json, uint32_t *ret_hour)
{
	struct tl_span time = {0}, uid = {0}, key;
	struct tl_json_cursor cursor;
	struct tl_json_value value;
	int r = tl_json_enter(&cursor, json);

	if (r == 0 && cursor.at[-1] == '[')
		return -EINVAL;
	while (r == 0 && (r = tl_json_member(&cursor, &key, &value)) > 0) {
		if (value.type == TL_JSON_STRING && tl_span_is(key, "uid"))
			uid = value.raw;
		if (value.type == TL_JSON_STRING && tl_span_is(key, "observed_timestamp"))
			time = value.raw;
		r = 0;
	}
	if (r < 0 || !tl_json_at_end(&cursor) || !uid.len)
		return -EINVAL;
	return parse_hour(time, ret_hour);
}
