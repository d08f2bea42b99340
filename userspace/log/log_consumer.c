/* SPDX-License-Identifier: Apache-2.0 */
/* A consumer's file is 24 bytes written by one pwrite: a process killed in it leaves the old or the new ones, and a
 * power loss too, for they lie in one sector. The writer may read while they change; the CRC tells, and it looks again. */
#include <dirent.h>
#include <fcntl.h>
#include <stddef.h>

#include "userspace/base/crc32c.h"
#include "userspace/log/log_internal.h"

#define NAME_LEN_MAX 64
#define TRIES 4

bool tl_log_consumer_name_valid(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > NAME_LEN_MAX)
		return false;
	return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static uint32_t crc_of(const struct tl_log_consumer *consumer)
{
	return tl_crc32c(0, consumer, offsetof(struct tl_log_consumer, crc));
}

int tl_log_consumer_read(int fd, struct tl_log_consumer *ret)
{
	for (int i = 0; i < TRIES; i++) {
		struct tl_log_consumer consumer;
		ssize_t n = pread(fd, &consumer, sizeof(consumer), 0);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == sizeof(consumer) && consumer.crc == crc_of(&consumer)) {
			*ret = consumer;
			return 0;
		}
	}
	return -EBADMSG;
}

int tl_log_consumer_write(int fd, uint64_t position, uint64_t id)
{
	struct tl_log_consumer consumer = { .position = position, .id = id };

	consumer.crc = crc_of(&consumer);
	return tl_log_pwrite(fd, (struct tl_span){ (const char *)&consumer, sizeof(consumer) }, 0);
}

uint64_t tl_log_resolve(const struct tl_log_segments *segments, uint64_t position, uint64_t id)
{
	size_t last = segments->n;

	if (last == 0)
		return position;
	while (last > 0 && segments->items[last - 1].id != id)
		last--;
	if (last == 0)
		return segments->items[0].start;
	if (position > segments->items[last - 1].end)
		position = segments->items[last - 1].end;
	return position < segments->items[0].start ? segments->items[0].start : position;
}

static uint64_t resume_position(int consumers_fd, const char *name, const struct tl_log_segments *segments)
{
	_cleanup_(closep) int fd = openat(consumers_fd, name, O_RDONLY | O_CLOEXEC);
	struct tl_log_consumer consumer;

	if (fd < 0 && errno == ENOENT)
		return UINT64_MAX; /* removed meanwhile */
	if (fd < 0 || tl_log_consumer_read(fd, &consumer) < 0)
		return segments->n ? segments->items[0].start : 0;
	return tl_log_resolve(segments, consumer.position, consumer.id);
}

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

uint64_t tl_log_consumers_min(int consumers_fd, const struct tl_log_segments *segments)
{
	int fd = openat(consumers_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(closedirp) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	uint64_t min = UINT64_MAX;
	struct dirent *entry;

	if (!dir) {
		/* Out of descriptors, perhaps: whoever cannot be asked has read nothing. */
		if (fd >= 0)
			close(fd);
		return segments->n ? segments->items[0].start : 0;
	}
	while ((entry = readdir(dir))) {
		uint64_t position;

		if (!tl_log_consumer_name_valid(entry->d_name))
			continue;
		position = resume_position(consumers_fd, entry->d_name, segments);
		if (position < min)
			min = position;
	}
	return min;
}
