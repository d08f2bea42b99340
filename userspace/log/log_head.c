/* SPDX-License-Identifier: Apache-2.0 */
/* The head page. The writer stores `committed`, then bumps `seq`, then looks at `waiting`; a reader
 * sets `waiting`, then reads `seq`, then looks at `committed`, and only then sleeps on that `seq`.
 * With all of these sequentially consistent one of the two always sees the other, so no wake is
 * lost. The page is in a file: it survives a killed writer, and the futex works between processes.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "userspace/base/crc32c.h"
#include "userspace/base/fs.h"
#include "userspace/log/log_internal.h"

/* Given its name only when whole and on disk: a store into a page of a hole could end in SIGBUS on
 * a full disk. */
static int create_head(int dir_fd)
{
	static const char temporary[] = "head.tmp";
	char page[TL_LOG_HEAD_BYTES] = {0};
	struct tl_log_head *head = (struct tl_log_head *)page;
	_cleanup_(closep) int fd = -1;
	int r;

	head->magic = TL_LOG_HEAD_MAGIC;
	head->version = TL_LOG_VERSION;
	fd = openat(dir_fd, temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = tl_log_pwrite(fd, (struct tl_span){page, sizeof(page)}, 0);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && renameat(dir_fd, temporary, dir_fd, "head") < 0)
		r = -errno;
	if (r < 0)
		unlinkat(dir_fd, temporary, 0);
	return r;
}

static int map_existing(int dir_fd, struct tl_log_head **ret_head)
{
	_cleanup_(closep) int fd = openat(dir_fd, "head", O_RDWR | O_CLOEXEC);
	struct tl_log_head *head;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size != TL_LOG_HEAD_BYTES)
		return -EBADMSG;
	head = mmap(NULL, TL_LOG_HEAD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (head == MAP_FAILED)
		return -errno;
	if (head->magic != TL_LOG_HEAD_MAGIC || head->version != TL_LOG_VERSION) {
		tl_log_head_unmap(head);
		return -EBADMSG;
	}
	*ret_head = head;
	return 0;
}

int tl_log_head_map(int dir_fd, bool create, struct tl_log_head **ret_head)
{
	int r = map_existing(dir_fd, ret_head);

	if (!create || (r != -ENOENT && r != -EBADMSG))
		return r;
	r = create_head(dir_fd);
	return r < 0 ? r : map_existing(dir_fd, ret_head);
}

void tl_log_head_unmap(struct tl_log_head *head)
{
	munmap(head, TL_LOG_HEAD_BYTES);
}

static uint32_t head_crc(const struct tl_log_head *head)
{
	uint32_t crc = tl_crc32c(0, &head->id, sizeof(head->id));

	return tl_crc32c(crc, head->boot, sizeof(head->boot));
}

void tl_log_head_set(struct tl_log_head *head, uint64_t id, const uint8_t boot[16])
{
	__atomic_store_n(&head->id, id, __ATOMIC_RELAXED);
	memcpy(head->boot, boot, sizeof(head->boot));
	head->crc = head_crc(head);
}

bool tl_log_head_valid(const struct tl_log_head *head)
{
	return head->id != 0 && head->crc == head_crc(head);
}

void tl_log_head_wake(struct tl_log_head *head)
{
	__atomic_fetch_add(&head->seq, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&head->waiting, __ATOMIC_SEQ_CST) == 0)
		return;
	__atomic_store_n(&head->waiting, 0, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &head->seq, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void tl_log_head_publish(struct tl_log_head *head, uint64_t committed)
{
	__atomic_store_n(&head->committed, committed, __ATOMIC_SEQ_CST);
	tl_log_head_wake(head);
}

uint32_t tl_log_head_watch(struct tl_log_head *head)
{
	__atomic_store_n(&head->waiting, 1, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&head->seq, __ATOMIC_SEQ_CST);
}

void tl_log_head_sleep(struct tl_log_head *head, uint32_t seen, unsigned timeout_ms)
{
	struct timespec timeout = {timeout_ms / 1000, (long)(timeout_ms % 1000) * 1000000};

	syscall(SYS_futex, &head->seq, FUTEX_WAIT, seen, &timeout, NULL, 0);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void tl_log_boot_id(uint8_t out[16])
{
	_cleanup_(tl_buf_done) struct tl_buf text = {.max = 4096};
	unsigned digits = 0;

	memset(out, 0, 16);
	tl_file_read("/proc/sys/kernel/random/boot_id", 256, &text, NULL);
	for (size_t i = 0; i < text.len && digits < 32; i++) {
		int v = hex_digit(text.data[i]);

		if (v < 0)
			continue;
		out[digits / 2] = (uint8_t)(out[digits / 2] << 4 | v);
		digits++;
	}
	if (digits < 32)
		tl_random(out, 16);
}
