/* SPDX-License-Identifier: Apache-2.0 */
/* Per-CPU perf buffers, merged into one order.
 *
 * Each buffer is a control page and 2^n data pages, mapped writable so that the kernel respects our
 * tail (perf_event_open(2), "MMAP layout"). Records lie at 8-byte borders and may wrap around the
 * end; a BPF sample's payload begins 12 bytes into its record and is therefore not aligned. Each
 * payload is copied once into a shadow of the buffer at the place where it stood plus 8: aligned,
 * contiguous (the shadow has room for one record behind its end), and free until the kernel gets
 * the space back, because the kernel does not reuse it before.
 *
 * Order: a round first takes the time, then every buffer's head. An event older than that time by 2
 * ms is then surely in view on every CPU, so all events of the round up to this horizon can be
 * merged by their times; younger ones wait for a later round. The tails move on release only, to
 * just after the last event given out. */
#include "agent/ring_perf.h"

#include <linux/perf_event.h>
#include <string.h>
#include <sys/mman.h>

#include "agent/ring.h"
#include "userspace/base/clock.h"

#define RECORD_MAX 65536u /* perf_event_header.size is 16 bits wide */
#define SAMPLE_HEAD 12u	  /* perf_event_header and the payload's u32 size */

struct cpu_buffer {
	struct perf_event_mmap_page *page; /* control page; data follows it */
	const char *data;
	char *shadow;	/* owned: size + RECORD_MAX bytes */
	uint64_t read;	/* position of the next record to look at */
	uint64_t given; /* all before it may be released: events given out, records passed over */
	uint64_t head;	/* of this round */
	const struct tl_event *event; /* at the front, not given out yet, or NULL */
	uint64_t event_end;	      /* position after `event` */
};

struct tl_ring_perf {
	struct cpu_buffer *cpus; /* owned */
	unsigned n_cpus;
	unsigned current;    /* buffer the run below is taken from */
	uint64_t run_until;  /* no other buffer has an event older than this */
	uint64_t horizon;    /* of this round: nothing younger is given out */
	uint64_t size, mask; /* of each buffer's data */
	size_t map_bytes;
	uint64_t count; /* events given out */
	uint64_t lost;
};

static int map_cpu(struct tl_ring_perf *perf, struct cpu_buffer *cpu, int fd,
		   struct tl_error *error)
{
	void *p = mmap(NULL, perf->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int e = errno;

	if (p == MAP_FAILED)
		return tl_error_set(
			error, -e, "cannot map a perf buffer of %zu bytes: %s%s", perf->map_bytes,
			strerror(e),
			e == EPERM ? "; raise the locked memory limit (ulimit -l) or make the "
				     "ring smaller"
				   : "");
	cpu->page = p;
	cpu->data = (const char *)p + (perf->map_bytes - perf->size);
	cpu->shadow = malloc(perf->size + RECORD_MAX);
	if (!cpu->shadow)
		return tl_error_set(error, -ENOMEM, "out of memory for the perf buffers");
	(void)madvise(p, perf->map_bytes, MADV_DONTDUMP);
	cpu->read = __atomic_load_n(&cpu->page->data_tail, __ATOMIC_RELAXED);
	cpu->given = cpu->head = cpu->read;
	return 0;
}

int tl_ring_perf_open(const struct tl_capture_fds *fds, struct tl_ring_perf **ret_perf,
		      struct tl_error *error)
{
	_cleanup_(tl_ring_perf_closep) struct tl_ring_perf *perf = calloc(1, sizeof(*perf));
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int r;

	if (!perf)
		return tl_error_set(error, -ENOMEM, "out of memory for the perf buffers");
	perf->size = fds->ring_bytes;
	perf->mask = perf->size - 1;
	perf->map_bytes = page + perf->size;
	if (fds->n_perf == 0 || perf->size < page || (perf->size & perf->mask) != 0)
		return tl_error_set(error, -EINVAL,
				    "%u perf buffers of %llu bytes: need some, each a power of "
				    "two of pages",
				    fds->n_perf, (unsigned long long)perf->size);
	perf->cpus = calloc(fds->n_perf, sizeof(*perf->cpus));
	if (!perf->cpus)
		return tl_error_set(error, -ENOMEM, "out of memory for the perf buffers");
	for (; perf->n_cpus < fds->n_perf; perf->n_cpus++) {
		r = map_cpu(perf, &perf->cpus[perf->n_cpus], fds->perf[perf->n_cpus], error);
		if (r < 0) {
			perf->n_cpus++;
			return r;
		}
	}
	*ret_perf = TAKE_PTR(perf);
	return 0;
}

void tl_ring_perf_close(struct tl_ring_perf *perf)
{
	if (!perf)
		return;
	for (unsigned i = 0; i < perf->n_cpus; i++) {
		if (perf->cpus[i].page)
			munmap(perf->cpus[i].page, perf->map_bytes);
		free(perf->cpus[i].shadow);
	}
	free(perf->cpus);
	free(perf);
}

/* Copies `len` bytes at `position` out of a buffer, over its end where they wrap. */
static void copy_out(const struct tl_ring_perf *perf, const struct cpu_buffer *cpu,
		     uint64_t position, void *out, size_t len)
{
	size_t from = position & perf->mask;
	size_t first = perf->size - from < len ? perf->size - from : len;

	memcpy(out, cpu->data + from, first);
	memcpy((char *)out + first, cpu->data, len - first);
}

static void count_lost(struct tl_ring_perf *perf, const struct cpu_buffer *cpu,
		       const struct perf_event_header *header)
{
	uint64_t id_lost[2];

	if (header->size < sizeof(*header) + sizeof(id_lost))
		return;
	copy_out(perf, cpu, cpu->read + sizeof(*header), id_lost, sizeof(id_lost));
	perf->lost += id_lost[1];
}

/* Makes a sample the front event of its buffer. Returns false when it is none of ours. */
static bool take_sample(struct tl_ring_perf *perf, struct cpu_buffer *cpu,
			const struct perf_event_header *header)
{
	char *place = cpu->shadow + (cpu->read & perf->mask) + sizeof(*header);
	uint32_t raw;

	if (header->size < SAMPLE_HEAD)
		return false;
	copy_out(perf, cpu, cpu->read + sizeof(*header), &raw, sizeof(raw));
	if (raw > header->size - SAMPLE_HEAD)
		return false;
	copy_out(perf, cpu, cpu->read + SAMPLE_HEAD, place, raw);
	if (!tl_event_fits((const struct tl_event *)place, raw))
		return false;
	cpu->event = (const struct tl_event *)place;
	cpu->event_end = cpu->read + header->size;
	return true;
}

/* Finds the buffer's front event within this round's head; passes over everything else. */
static void load_front(struct tl_ring_perf *perf, struct cpu_buffer *cpu)
{
	struct perf_event_header header;

	while (!cpu->event && cpu->read < cpu->head) {
		bool sample;

		copy_out(perf, cpu, cpu->read, &header, sizeof(header));
		/* A size of 0 would loop for ever; it means that the buffer is not what we think.
		 */
		if (header.size < sizeof(header) || header.size > cpu->head - cpu->read) {
			tl_ring_count_malformed();
			cpu->read = cpu->head;
			break;
		}
		sample = header.type == PERF_RECORD_SAMPLE;
		if (header.type == PERF_RECORD_LOST)
			count_lost(perf, cpu, &header);
		if (sample && !take_sample(perf, cpu, &header))
			tl_ring_count_malformed();
		cpu->read += header.size;
	}
	if (!cpu->event)
		cpu->given = cpu->read;
}

/* A new round: time first, then the heads (see the top of this file). */
static void begin_round(struct tl_ring_perf *perf)
{
	perf->horizon = tl_mono_ns() - TL_RING_HOLD_BACK_NS;
	for (unsigned i = 0; i < perf->n_cpus; i++)
		perf->cpus[i].head =
			__atomic_load_n(&perf->cpus[i].page->data_head, __ATOMIC_ACQUIRE);
	perf->run_until = 0;
}

/* Chooses the buffer with the oldest front event, and how far it may go on before another one is
 * older. */
static bool choose(struct tl_ring_perf *perf)
{
	uint64_t oldest = UINT64_MAX, second = UINT64_MAX;

	for (unsigned i = 0; i < perf->n_cpus; i++) {
		struct cpu_buffer *cpu = &perf->cpus[i];

		load_front(perf, cpu);
		if (!cpu->event)
			continue;
		if (cpu->event->time_ns < oldest) {
			second = oldest;
			oldest = cpu->event->time_ns;
			perf->current = i;
		} else if (cpu->event->time_ns < second) {
			second = cpu->event->time_ns;
		}
	}
	perf->run_until = second < perf->horizon ? second : perf->horizon;
	return oldest <= perf->horizon;
}

static const struct tl_event *give(struct tl_ring_perf *perf, struct cpu_buffer *cpu)
{
	const struct tl_event *event = TAKE_PTR(cpu->event);

	cpu->given = cpu->event_end;
	perf->count++;
	return event;
}

const struct tl_event *tl_ring_perf_next(struct tl_ring_perf *perf)
{
	struct cpu_buffer *cpu = &perf->cpus[perf->current];

	if (perf->run_until) {
		load_front(perf, cpu);
		if (cpu->event && cpu->event->time_ns <= perf->run_until)
			return give(perf, cpu);
		if (choose(perf))
			return give(perf, &perf->cpus[perf->current]);
	}
	begin_round(perf);
	if (choose(perf))
		return give(perf, &perf->cpus[perf->current]);
	perf->run_until = 0;
	return NULL;
}

uint64_t tl_ring_perf_position(const struct tl_ring_perf *perf)
{
	return perf->count;
}

void tl_ring_perf_release(struct tl_ring_perf *perf)
{
	for (unsigned i = 0; i < perf->n_cpus; i++)
		__atomic_store_n(&perf->cpus[i].page->data_tail, perf->cpus[i].given,
				 __ATOMIC_RELEASE);
}

uint64_t tl_ring_perf_pending(const struct tl_ring_perf *perf)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < perf->n_cpus; i++)
		sum += __atomic_load_n(&perf->cpus[i].page->data_head, __ATOMIC_ACQUIRE) -
		       perf->cpus[i].given;
	return sum;
}

uint64_t tl_ring_perf_size(const struct tl_ring_perf *perf)
{
	return perf->size * perf->n_cpus;
}

uint64_t tl_ring_perf_lost(const struct tl_ring_perf *perf)
{
	return perf->lost;
}
