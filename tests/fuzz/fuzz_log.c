/* SPDX-License-Identifier: Apache-2.0 */
/* A damaged segment of the local log: whatever its bytes are, the scan ends, gives no entry outside
 * of its frame, and finds whole frames behind damage. The input is put behind a good frame, and
 * once more with its checksum made right, so that what lies behind that is reached. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "userspace/base/crc32c.h"
#include "userspace/log/log_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ID 77
#define START 0

static void must(bool ok)
{
	if (!ok)
		abort();
}

static int read_all(int fd, uint64_t end)
{
	struct tl_log_scan scan = {0};
	struct tl_log_frame frame;
	struct tl_log_entry entry;
	uint64_t position, last = 0;
	int frames = 0, r;

	tl_log_scan_begin(&scan, fd, START, ID);
	while ((r = tl_log_scan_frame(&scan, end, &frame)) == 1 || r == -EBADMSG) {
		if (r == -EBADMSG) {
			must(tl_log_scan_resync(&scan, end) >= 0);
			must(scan.position > last || scan.position == end);
			last = scan.position;
			if (scan.position == end)
				break;
			continue;
		}
		frames++;
		while ((r = tl_log_frame_next(&frame, &entry, &position)) == 1)
			for (size_t i = 0; i < entry.data.len; i++)
				(void)((volatile const char *)entry.data.data)[i];
		must(scan.position > last);
		last = scan.position;
	}
	tl_log_scan_done(&scan);
	return frames;
}

static void append_frame(struct tl_buf *file, struct tl_span data)
{
	struct tl_buf frame = {0};

	tl_log_frame_begin(&frame);
	tl_log_frame_add(&frame, 1, data);
	tl_log_frame_end(&frame, TL_LOG_FRAME_MAGIC, 1, ID, START + file->len);
	tl_buf_add(file, frame.data, frame.len);
	tl_buf_done(&frame);
}

/* The bytes as the contents of a frame whose checksum is right. */
static void append_forged(struct tl_buf *file, struct tl_span data)
{
	struct tl_buf frame = {0};

	tl_log_frame_begin(&frame);
	tl_buf_add(&frame, data.data, data.len & ~(size_t)7);
	tl_log_frame_end(&frame, TL_LOG_FRAME_MAGIC, data.len ? (uint8_t)data.data[0] : 0, ID,
			 START + file->len);
	tl_buf_add(file, frame.data, frame.len);
	tl_buf_done(&frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tl_span bytes = {(const char *)data, size};
	struct tl_buf file = {0};
	char header[sizeof(struct tl_log_segment_header)] = {0};
	int fd = memfd_create("segment", MFD_CLOEXEC);

	must(fd >= 0);
	tl_buf_add(&file, header, sizeof(header));
	append_frame(&file, TL_SPAN_LIT("first"));
	append_forged(&file, bytes);
	tl_buf_add(&file, data, size & ~(size_t)7);
	append_frame(&file, TL_SPAN_LIT("last"));
	must(write(fd, file.data, file.len) == (ssize_t)file.len);
	/* The first and the last at least: what is between them may be anything. */
	must(read_all(fd, START + file.len) >= 2);
	close(fd);
	tl_buf_done(&file);
	return 0;
}
