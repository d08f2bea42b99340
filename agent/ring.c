/* SPDX-License-Identifier: Apache-2.0 */
/* The BPF ring buffer, read by hand.
 *
 * The kernel gives three regions of the map: a page with the consumer position (ours to write), a
 * page with the producer position, and the data, mapped twice in a row so that a record that wraps
 * is still contiguous (kernel/bpf/ringbuf.c). Positions only grow; a position modulo the size is
 * the offset in the data. A record is an 8-byte header (length with a BUSY and a DISCARD bit) and
 * its bytes, padded to 8. BUSY is cleared with release semantics when the record is complete; we
 * stop at the first busy one, which keeps the reservation order.
 *
 * Two cursors: `read` walks the records, the consumer position in the shared page frees them.
 * libbpf's own reader moves the shared one after each callback; ours moves it only when the events'
 * effects are in the local log, so that a reader killed at any instant finds them again.
 *
 * Wake-ups: the map's file is readable whenever anything is unread, which would turn every poll
 * into a busy loop (unreleased events count as unread). An edge-triggered epoll in front of it
 * reports forced wake-ups only. */
#include "agent/ring.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include "agent/ring_perf.h"
#include "userspace/base/metrics.h"

#define RECORD_BUSY (1u << 31)
#define RECORD_DISCARD (1u << 30)
#define RECORD_HEADER 8u

struct tl_ring {
	struct tl_ring_perf *perf; /* not NULL: everything below but epoll is unused */
	uint64_t *consumer;	   /* shared with the kernel, ours to write */
	const uint64_t *producer;  /* shared, read-only */
	const char *data;
	uint64_t mask;	/* size - 1 */
	uint64_t read;	/* cursor: position of the next record to look at */
	uint64_t limit; /* producer position as last seen: all before it is reserved */
	size_t page;
	int epoll; /* -1 when the descriptor cannot be polled */
};

static struct tl_metric malformed = {
	.name = "tapline_agent_ring_malformed_total",
	.help = "Events from the kernel that were shorter than they said and were left out.",
	.type = TL_COUNTER,
};

void tl_ring_count_malformed(void)
{
	tl_metric_add(&malformed, 1);
}

bool tl_event_fits(const struct tl_event *event, size_t size)
{
	static const size_t head[] = {
		[TL_EV_LOG] = sizeof(struct tl_ev_log),	  [TL_EV_FILE] = sizeof(struct tl_ev_file),
		[TL_EV_WIRE] = sizeof(struct tl_ev_wire), [TL_EV_SOCK] = sizeof(struct tl_ev_wire),
		[TL_EV_PROC] = sizeof(struct tl_ev_proc), [TL_EV_UNIT] = sizeof(struct tl_ev_unit),
		[TL_EV_CALL] = sizeof(struct tl_ev_unit),
	};

	if (size < sizeof(*event))
		return false;
	/* A type of a newer ABI passes: whoever does not know it leaves it alone. */
	if (event->type >= ARRAY_SIZE(head))
		return true;
	return size >= head[event->type] && event->len <= size - head[event->type];
}

/* Adds the descriptors to an edge-triggered epoll; without one the caller's timer is all there is.
 */
static int open_epoll(const struct tl_capture_fds *fds)
{
	_cleanup_(closep) int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	struct epoll_event pending;

	if (epoll < 0)
		return -1;
	for (unsigned i = 0; i < fds->n_perf; i++)
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, fds->perf[i], &event) < 0)
			return -1;
	if (fds->ring >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fds->ring, &event) < 0)
		return -1;
	/* Adding reports what is there already. */
	while (epoll_wait(epoll, &pending, 1, 0) > 0)
		;
	return TAKE_FD(epoll);
}

static int map_failed(struct tl_error *error, int e)
{
	return tl_error_set(error, -e, "cannot map the ring buffer: %s%s", strerror(e),
			    e == EPERM ? "; the descriptor was opened without write access" : "");
}

static int map_ring(struct tl_ring *ring, const struct tl_capture_fds *fds, struct tl_error *error)
{
	uint64_t size = fds->ring_bytes;
	void *p;

	ring->page = (size_t)sysconf(_SC_PAGESIZE);
	if (size < ring->page || (size & (size - 1)) != 0)
		return tl_error_set(error, -EINVAL,
				    "a ring of %llu bytes is not a power of two of pages",
				    (unsigned long long)size);
	ring->mask = size - 1;
	p = mmap(NULL, ring->page, PROT_READ | PROT_WRITE, MAP_SHARED, fds->ring, 0);
	if (p == MAP_FAILED)
		return map_failed(error, errno);
	ring->consumer = p;
	p = mmap(NULL, ring->page + 2 * size, PROT_READ, MAP_SHARED, fds->ring, (off_t)ring->page);
	if (p == MAP_FAILED)
		return map_failed(error, errno);
	ring->producer = p;
	ring->data = (const char *)p + ring->page;
	/* Headers outside the allow-list live in here: not for core files. */
	(void)madvise(p, ring->page + 2 * size, MADV_DONTDUMP);
	ring->read = __atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE);
	ring->limit = ring->read;
	return 0;
}

int tl_ring_open(const struct tl_capture_fds *fds, struct tl_ring **ret_ring,
		 struct tl_error *error)
{
	_cleanup_(tl_ring_closep) struct tl_ring *ring = calloc(1, sizeof(*ring));
	int r;

	if (!ring)
		return tl_error_set(error, -ENOMEM, "out of memory for the ring");
	ring->epoll = -1;
	tl_metric_register(&malformed);
	if (fds->ring >= 0)
		r = map_ring(ring, fds, error);
	else
		r = tl_ring_perf_open(fds, &ring->perf, error);
	if (r < 0)
		return r;
	ring->epoll = open_epoll(fds);
	*ret_ring = TAKE_PTR(ring);
	return 0;
}

void tl_ring_close(struct tl_ring *ring)
{
	if (!ring)
		return;
	tl_ring_perf_closep(&ring->perf);
	if (ring->consumer)
		munmap(ring->consumer, ring->page);
	if (ring->producer)
		munmap((void *)(uintptr_t)ring->producer, ring->page + 2 * (ring->mask + 1));
	closep(&ring->epoll);
	free(ring);
}

/* Looks at the record under the cursor: its header, or 0 when nothing finished is there (no record
 * is 0 bytes long). */
static uint32_t peek(struct tl_ring *ring)
{
	uint32_t header;

	if (ring->read >= ring->limit) {
		ring->limit = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
		if (ring->read >= ring->limit)
			return 0;
	}
	header = __atomic_load_n((const uint32_t *)(ring->data + (ring->read & ring->mask)),
				 __ATOMIC_ACQUIRE);
	return header & RECORD_BUSY ? 0 : header;
}

static uint64_t record_size(uint32_t header)
{
	return ((uint64_t)(header & ~RECORD_DISCARD) + RECORD_HEADER + 7) & ~UINT64_C(7);
}

static const struct tl_event *take(struct tl_ring *ring)
{
	uint32_t header;

	if (ring->perf)
		return tl_ring_perf_next(ring->perf);
	while ((header = peek(ring)) != 0) {
		const char *data = ring->data + (ring->read & ring->mask) + RECORD_HEADER;
		const struct tl_event *event = (const struct tl_event *)data;

		ring->read += record_size(header);
		if (header & RECORD_DISCARD)
			continue;
		if (tl_event_fits(event, header))
			return event;
		tl_ring_count_malformed();
	}
	return NULL;
}

const struct tl_event *tl_ring_next(struct tl_ring *ring)
{
	const struct tl_event *event = take(ring);
	struct epoll_event pending;

	if (event || ring->epoll < 0)
		return event;
	/* A wake-up is spent once the ring was seen empty after it: first take it, then look again.
	 * Left there it would turn the caller's poll into a busy loop. */
	(void)epoll_wait(ring->epoll, &pending, 1, 0);
	return take(ring);
}

uint64_t tl_ring_position(const struct tl_ring *ring)
{
	return ring->perf ? tl_ring_perf_position(ring->perf) : ring->read;
}

void tl_ring_release(struct tl_ring *ring)
{
	if (ring->perf)
		tl_ring_perf_release(ring->perf);
	else
		/* Release: the kernel may overwrite the records once it sees this. */
		__atomic_store_n(ring->consumer, ring->read, __ATOMIC_RELEASE);
}

void tl_ring_skip_to(struct tl_ring *ring, uint64_t position)
{
	uint32_t header;

	if (ring->perf)
		return;
	/* A position past the end is not of this ring: better twice than never. */
	if (position > __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE))
		return;
	while (ring->read < position && (header = peek(ring)) != 0)
		ring->read += record_size(header);
}

uint64_t tl_ring_pending(const struct tl_ring *ring)
{
	if (ring->perf)
		return tl_ring_perf_pending(ring->perf);
	return __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE) -
	       __atomic_load_n(ring->consumer, __ATOMIC_RELAXED);
}

uint64_t tl_ring_size(const struct tl_ring *ring)
{
	return ring->perf ? tl_ring_perf_size(ring->perf) : ring->mask + 1;
}

uint64_t tl_ring_lost(const struct tl_ring *ring)
{
	return ring->perf ? tl_ring_perf_lost(ring->perf) : 0;
}

int tl_ring_poll_fd(const struct tl_ring *ring)
{
	return ring->epoll;
}
