/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: built in a buffer, written by one pwrite, read back through a buffer that is filled in
 * pieces of READ_CHUNK (it stays in the CPU's cache) or of a whole frame where that is larger. A
 * mapping would be no faster, for each byte is read for the CRC anyway, and would turn a bad sector
 * or a file cut by someone else into SIGBUS. */
#include "userspace/base/crc32c.h"
#include "userspace/log/log_internal.h"

#define READ_CHUNK ((size_t)256 << 10)

static uint64_t padded(uint64_t len)
{
	return (len + 7) & ~UINT64_C(7);
}

uint64_t tl_log_frame_size(const struct tl_log_entry *entries, size_t n)
{
	uint64_t size = sizeof(struct tl_log_frame_header);

	for (size_t i = 0; i < n; i++)
		size += sizeof(struct tl_log_entry_header) + padded(entries[i].data.len);
	return size;
}

void tl_log_frame_begin(struct tl_buf *buf)
{
	static const struct tl_log_frame_header nothing;

	tl_buf_clear(buf);
	tl_buf_add(buf, &nothing, sizeof(nothing));
}

void tl_log_frame_add(struct tl_buf *buf, uint16_t type, struct tl_span data)
{
	struct tl_log_entry_header header = {.type = type, .len = (uint32_t)data.len};
	uint64_t pad = padded(data.len) - data.len;
	char *p;

	if (data.len > UINT32_MAX || tl_buf_reserve(buf, sizeof(header) + data.len + pad) < 0) {
		buf->failed = true;
		return;
	}
	p = buf->data + buf->len;
	memcpy(p, &header, sizeof(header));
	if (data.len)
		memcpy(p + sizeof(header), data.data, data.len);
	memset(p + sizeof(header) + data.len, 0, pad);
	buf->len += sizeof(header) + data.len + pad;
}

static uint32_t frame_crc(const struct tl_log_frame_header *header, const char *payload,
			  uint64_t id, uint64_t position)
{
	uint64_t place[2] = {id, position};
	uint32_t sizes[3] = {header->magic, header->len, header->count};
	uint32_t crc = tl_crc32c(0, place, sizeof(place));

	crc = tl_crc32c(crc, sizes, sizeof(sizes));
	return tl_crc32c(crc, payload, header->len);
}

void tl_log_frame_end(struct tl_buf *buf, uint32_t magic, uint32_t count, uint64_t id,
		      uint64_t position)
{
	struct tl_log_frame_header header = {.magic = magic, .count = count};

	if (buf->failed)
		return;
	header.len = (uint32_t)(buf->len - sizeof(header));
	header.crc = frame_crc(&header, buf->data + sizeof(header), id, position);
	memcpy(buf->data, &header, sizeof(header));
}

int tl_log_frame_next(struct tl_log_frame *frame, struct tl_log_entry *ret_entry,
		      uint64_t *ret_position)
{
	struct tl_log_entry_header header;
	uint64_t size;

	if (frame->left == 0)
		return frame->rest.len ? -EBADMSG : 0;
	if (frame->rest.len < sizeof(header))
		return -EBADMSG;
	memcpy(&header, frame->rest.data, sizeof(header));
	size = sizeof(header) + padded(header.len);
	if (size > frame->rest.len)
		return -EBADMSG;
	ret_entry->type = header.type;
	ret_entry->data = (struct tl_span){frame->rest.data + sizeof(header), header.len};
	*ret_position = frame->position;
	frame->position += size;
	frame->rest.data += size;
	frame->rest.len -= size;
	frame->left--;
	return 1;
}

void tl_log_scan_begin(struct tl_log_scan *scan, int fd, uint64_t start, uint64_t id)
{
	scan->fd = fd;
	scan->start = start;
	scan->id = id;
	scan->position = start + sizeof(struct tl_log_segment_header);
	scan->buf_position = scan->position;
	scan->buf_len = 0;
}

void tl_log_scan_done(struct tl_log_scan *scan)
{
	free(scan->buf);
	*scan = (struct tl_log_scan){.fd = -1};
}

/* Drops what lies before `position` and makes the buffer large enough for `size` bytes from there.
 */
static int make_room(struct tl_log_scan *scan, size_t size)
{
	uint64_t skip = scan->position - scan->buf_position;
	char *buf;

	if (skip >= scan->buf_len || scan->position < scan->buf_position)
		scan->buf_len = 0;
	else if (skip)
		memmove(scan->buf, scan->buf + skip, scan->buf_len -= skip);
	scan->buf_position = scan->position;
	if (size <= scan->cap)
		return 0;
	buf = realloc(scan->buf, size);
	if (!buf)
		return -ENOMEM;
	scan->buf = buf;
	scan->cap = size;
	return 0;
}

/* Makes `need` bytes from `position` on present in the buffer, and reads more while it is at it,
 * never past `limit`: what lies behind may still change. Sets `*ret` to them. Returns how many of
 * the needed ones there are. */
static int64_t fill(struct tl_log_scan *scan, size_t need, uint64_t limit, const char **ret)
{
	size_t size = need > READ_CHUNK ? need : READ_CHUNK;
	int r;

	if (scan->position >= scan->buf_position &&
	    scan->position + need <= scan->buf_position + scan->buf_len) {
		*ret = scan->buf + (scan->position - scan->buf_position);
		return (int64_t)need;
	}
	r = make_room(scan, size);
	if (r < 0)
		return r;
	if (size > limit - scan->position)
		size = limit - scan->position;
	while (scan->buf_len < need) {
		ssize_t n = pread(scan->fd, scan->buf + scan->buf_len, size - scan->buf_len,
				  (off_t)(scan->position - scan->start + scan->buf_len));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -EIO;
		if (n == 0)
			break;
		scan->buf_len += (size_t)n;
	}
	*ret = scan->buf;
	return (int64_t)(scan->buf_len < need ? scan->buf_len : need);
}

static bool header_plausible(const struct tl_log_frame_header *header, uint64_t room)
{
	if (header->magic != TL_LOG_FRAME_MAGIC && header->magic != TL_LOG_CHECKPOINT_MAGIC)
		return false;
	return header->len % 8 == 0 && header->len <= room &&
	       header->count <= header->len / sizeof(struct tl_log_entry_header);
}

int tl_log_scan_frame(struct tl_log_scan *scan, uint64_t limit, struct tl_log_frame *ret_frame)
{
	struct tl_log_frame_header header;
	uint64_t room = limit - scan->position;
	const char *p;
	int64_t n;

	if (scan->position >= limit)
		return 0;
	n = fill(scan, room < sizeof(header) ? (size_t)room : sizeof(header), limit, &p);
	if (n <= 0)
		return n == 0 ? -ENODATA : (int)n;
	if (n < (int64_t)sizeof(header))
		return -EBADMSG;
	memcpy(&header, p, sizeof(header));
	if (!header_plausible(&header, room - sizeof(header)))
		return -EBADMSG;
	n = fill(scan, sizeof(header) + header.len, limit, &p);
	if (n < 0)
		return (int)n;
	if (n < (int64_t)(sizeof(header) + header.len) ||
	    frame_crc(&header, p + sizeof(header), scan->id, scan->position) != header.crc)
		return -EBADMSG;
	ret_frame->position = scan->position + sizeof(header);
	ret_frame->left = header.count;
	ret_frame->rest = (struct tl_span){p + sizeof(header), header.len};
	scan->position += sizeof(header) + header.len;
	return 1;
}

int tl_log_scan_resync(struct tl_log_scan *scan, uint64_t limit)
{
	struct tl_log_frame frame;
	int r = -EBADMSG;

	/* Everything in a segment is aligned to 8 and so is its start. */
	while (r == -EBADMSG && scan->position < limit) {
		uint64_t at = scan->position += 8;

		r = tl_log_scan_frame(scan, limit, &frame);
		scan->position = at;
	}
	if (r == 0 || r == -ENODATA || scan->position > limit)
		scan->position = limit;
	return r == -ENOMEM || r == -EIO ? r : 0;
}
