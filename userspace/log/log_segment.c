/* SPDX-License-Identifier: Apache-2.0 */
/* Segment files and the frames in them. A frame's CRC begins with the log id and the frame's
 * position: bytes that look like a frame (a line that someone logged, an old file copied back,
 * blocks a crash mixed up) are not one unless they were written at this place of this log, whose id
 * nobody outside knows. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>

#include "userspace/base/crc32c.h"
#include "userspace/log/log_internal.h"

void tl_log_segment_name(uint64_t start, char out[TL_LOG_NAME])
{
	snprintf(out, TL_LOG_NAME, "%020" PRIu64 ".seg", start);
}

static bool parse_name(const char *name, uint64_t *ret_start)
{
	char again[TL_LOG_NAME];
	uint64_t start;

	if (sscanf(name, "%20" SCNu64, &start) != 1)
		return false;
	tl_log_segment_name(start, again);
	if (strcmp(name, again) != 0)
		return false;
	*ret_start = start;
	return true;
}

static uint32_t header_crc(const struct tl_log_segment_header *header)
{
	return tl_crc32c(0, header, offsetof(struct tl_log_segment_header, crc));
}

static int read_header(int fd, uint64_t start, uint64_t *ret_id)
{
	struct tl_log_segment_header header;
	ssize_t n;

	do {
		n = pread(fd, &header, sizeof(header), 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n != sizeof(header) || header.magic != TL_LOG_SEGMENT_MAGIC ||
	    header.crc != header_crc(&header) || header.version != TL_LOG_VERSION ||
	    header.start != start || header.id == 0)
		return -EBADMSG;
	*ret_id = header.id;
	return 0;
}

int tl_log_segment_open(int dir_fd, uint64_t start, bool write, int *ret_fd, uint64_t *ret_id)
{
	_cleanup_(closep) int fd = -1;
	char name[TL_LOG_NAME];
	int r;

	tl_log_segment_name(start, name);
	fd = openat(dir_fd, name, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = read_header(fd, start, ret_id);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int compare_segments(const void *a, const void *b)
{
	const struct tl_log_segment *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

int tl_log_segments_reserve(struct tl_log_segments *segments)
{
	size_t cap = segments->cap ? segments->cap * 2 : 16;
	struct tl_log_segment *items;

	if (segments->n < segments->cap)
		return 0;
	items = realloc(segments->items, cap * sizeof(*items));
	if (!items)
		return -ENOMEM;
	segments->items = items;
	segments->cap = cap;
	return 0;
}

/* A file that vanishes between the listing and here was freed by the writer: not a segment any
 * more. */
static int load_one(int dir_fd, uint64_t start, struct tl_log_segments *segments)
{
	struct tl_log_segment segment = {.start = start};
	_cleanup_(closep) int fd = -1;
	char name[TL_LOG_NAME];
	struct stat st;
	int r;

	tl_log_segment_name(start, name);
	fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	segment.end = start + (uint64_t)st.st_size;
	r = read_header(fd, start, &segment.id);
	if (r < 0 && r != -EBADMSG)
		return r;
	r = tl_log_segments_reserve(segments);
	if (r == 0)
		segments->items[segments->n++] = segment;
	return r;
}

int tl_log_segments_load(int dir_fd, struct tl_log_segments *segments)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;
	DIR *dir;
	int r = 0;

	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	segments->n = 0;
	while (r == 0 && (entry = readdir(dir))) {
		uint64_t start;

		if (parse_name(entry->d_name, &start))
			r = load_one(dir_fd, start, segments);
	}
	closedir(dir);
	if (segments->n)
		qsort(segments->items, segments->n, sizeof(*segments->items), compare_segments);
	return r;
}

void tl_log_segments_done(struct tl_log_segments *segments)
{
	free(segments->items);
	*segments = (struct tl_log_segments){0};
}

int tl_log_pwrite(int fd, struct tl_span data, uint64_t offset)
{
	while (data.len) {
		ssize_t n = pwrite(fd, data.data, data.len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? -ENOSPC
										    : -EIO;
		if (n == 0)
			return -ENOSPC;
		data.data += n;
		data.len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

static int space_error(void)
{
	return errno == EDQUOT ? -ENOSPC : -errno;
}

int tl_log_segment_create(int dir_fd, struct tl_log_segment_header *header,
			  struct tl_span checkpoint, struct tl_span frame, bool sync, int *ret_fd)
{
	static const char temporary[] = "segment.tmp";
	_cleanup_(closep) int fd = -1;
	char name[TL_LOG_NAME];
	int r;

	header->magic = TL_LOG_SEGMENT_MAGIC;
	header->version = TL_LOG_VERSION;
	header->size = sizeof(*header);
	header->crc = header_crc(header);
	fd = openat(dir_fd, temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return space_error();
	r = tl_log_pwrite(fd, (struct tl_span){(const char *)header, sizeof(*header)}, 0);
	if (r == 0)
		r = tl_log_pwrite(fd, checkpoint, sizeof(*header));
	if (r == 0)
		r = tl_log_pwrite(fd, frame, sizeof(*header) + checkpoint.len);
	if (r == 0 && sync && fdatasync(fd) < 0)
		r = space_error();
	tl_log_segment_name(header->start, name);
	if (r == 0 && renameat(dir_fd, temporary, dir_fd, name) < 0)
		r = space_error();
	if (r == 0 && sync && fsync(dir_fd) < 0)
		r = -EIO;
	if (r < 0) {
		unlinkat(dir_fd, temporary, 0);
		return r;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}
