/* SPDX-License-Identifier: Apache-2.0 */
/* A consumer's file is 24 bytes written by one pwrite: a process killed in it leaves the old or the
 * new ones, and a power loss too, for they lie in one sector. The writer may read while they
 * change; the CRC tells, and it looks again. */
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
	struct tl_log_consumer consumer = {.position = position, .id = id};

	consumer.crc = crc_of(&consumer);
	return tl_log_pwrite(fd, (struct tl_span){(const char *)&consumer, sizeof(consumer)}, 0);
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

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

/* Calls `visit` with each consumer's name. Errors: -errno the folder cannot be read. */
static int for_each(int consumers_fd, void (*visit)(void *arg, const char *name), void *arg)
{
	_cleanup_(closep) int fd = openat(consumers_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(closedirp) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir)
		return -errno;
	TAKE_FD(fd);
	while ((entry = readdir(dir)))
		if (tl_log_consumer_name_valid(entry->d_name))
			visit(arg, entry->d_name);
	return 0;
}

struct minimum {
	int consumers_fd;
	const struct tl_log_segments *segments;
	uint64_t min;
};

/* Whoever cannot be asked has read nothing. */
static uint64_t nothing_read(const struct tl_log_segments *segments)
{
	return segments->n ? segments->items[0].start : 0;
}

static void take_minimum(void *arg, const char *name)
{
	struct minimum *minimum = arg;
	_cleanup_(closep) int fd = openat(minimum->consumers_fd, name, O_RDONLY | O_CLOEXEC);
	struct tl_log_consumer consumer;
	uint64_t position = nothing_read(minimum->segments);

	if (fd < 0 && errno == ENOENT)
		return; /* removed meanwhile */
	if (fd >= 0 && tl_log_consumer_read(fd, &consumer) == 0)
		position = tl_log_resolve(minimum->segments, consumer.position, consumer.id);
	if (position < minimum->min)
		minimum->min = position;
}

uint64_t tl_log_consumers_min(int consumers_fd, const struct tl_log_segments *segments)
{
	struct minimum minimum = {consumers_fd, segments, UINT64_MAX};

	if (for_each(consumers_fd, take_minimum, &minimum) < 0)
		return nothing_read(segments);
	return minimum.min;
}

struct pulling {
	int consumers_fd;
	const struct tl_log_segments *segments;
	size_t keep;
	uint64_t end;
};

static void pull_back(void *arg, const char *name)
{
	const struct pulling *pulling = arg;
	const struct tl_log_segments kept = {.items = pulling->segments->items, .n = pulling->keep};
	_cleanup_(closep) int fd = openat(pulling->consumers_fd, name, O_RDWR | O_CLOEXEC);
	struct tl_log_consumer consumer;
	uint64_t position;

	if (fd < 0 || tl_log_consumer_read(fd, &consumer) < 0)
		return;
	position = tl_log_resolve(pulling->segments, consumer.position, consumer.id);
	if (position > pulling->end)
		position = pulling->end;
	if (kept.n && tl_log_resolve(&kept, consumer.position, consumer.id) != position)
		tl_log_consumer_write(fd, position, kept.items[kept.n - 1].id);
}

void tl_log_consumers_pull_back(int consumers_fd, const struct tl_log_segments *segments,
				size_t keep, uint64_t end)
{
	struct pulling pulling = {consumers_fd, segments, keep, end};

	/* One that cannot be written stands under a log id that is gone: it begins at the oldest,
	 * which loses nothing. */
	for_each(consumers_fd, pull_back, &pulling);
}
