/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of per-CPU perf buffers over memory that is laid out as the kernel does it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/perf_event.h>
#include <string.h>
#include <sys/mman.h>

#include "agent/ring.h"
#include "userspace/base/clock.h"

#define PERF_BYTES 4096u
#define CPUS 3

static struct tl_ring *ring;

static struct {
	int fds[CPUS];
	struct perf_event_mmap_page *page[CPUS];
	char *data[CPUS];
} perf;

static int open_perf(void **state)
{
	struct tl_capture_fds fds = {
		.ring = -1, .ring_bytes = PERF_BYTES, .perf = perf.fds, .n_perf = CPUS};
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct tl_error error = {0};

	(void)state;
	for (int i = 0; i < CPUS; i++) {
		char *map;

		perf.fds[i] = memfd_create("perf", MFD_CLOEXEC);
		assert_int_equal(ftruncate(perf.fds[i], (off_t)(page + PERF_BYTES)), 0);
		map = mmap(NULL, page + PERF_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, perf.fds[i],
			   0);
		assert_ptr_not_equal(map, MAP_FAILED);
		perf.page[i] = (struct perf_event_mmap_page *)map;
		perf.data[i] = map + page;
	}
	assert_int_equal(tl_ring_open(&fds, &ring, &error), 0);
	return 0;
}

static int close_perf(void **state)
{
	(void)state;
	tl_ring_close(ring);
	ring = NULL;
	for (int i = 0; i < CPUS; i++) {
		munmap(perf.page[i], (size_t)sysconf(_SC_PAGESIZE) + PERF_BYTES);
		close(perf.fds[i]);
	}
	return 0;
}

static void perf_put(int cpu, const struct perf_event_header *header, const void *payload,
		     size_t len)
{
	uint64_t head = perf.page[cpu]->data_head;
	char record[4096] = {0};

	assert_true(head + header->size - perf.page[cpu]->data_tail <= PERF_BYTES);
	memcpy(record, header, sizeof(*header));
	memcpy(record + sizeof(*header), payload, len);
	for (size_t i = 0; i < header->size; i++)
		perf.data[cpu][(head + i) % PERF_BYTES] = record[i];
	__atomic_store_n(&perf.page[cpu]->data_head, head + header->size, __ATOMIC_RELEASE);
}

static void perf_sample(int cpu, uint64_t time_ns, uint32_t tid, size_t len, char fill)
{
	struct tl_ev_log event = {
		.h = {.type = TL_EV_LOG, .len = (uint32_t)len, .tid = tid, .time_ns = time_ns}};
	size_t raw = ((sizeof(event) + len + 4 + 7) & ~7ul) - 4;
	struct perf_event_header header = {.type = PERF_RECORD_SAMPLE,
					   .size = (uint16_t)(8 + 4 + raw)};
	uint32_t size = (uint32_t)raw;
	char payload[4096];

	memcpy(payload, &size, 4);
	memcpy(payload + 4, &event, sizeof(event));
	memset(payload + 4 + sizeof(event), fill, raw - sizeof(event));
	perf_put(cpu, &header, payload, 4 + raw);
}

static void perf_lost(int cpu, uint64_t n)
{
	struct perf_event_header header = {.type = PERF_RECORD_LOST, .size = 24};
	uint64_t payload[2] = {7, n};

	perf_put(cpu, &header, payload, sizeof(payload));
}

static void expect_event(uint32_t tid, size_t len, char fill)
{
	const struct tl_event *event = tl_ring_next(ring);
	const char *data;

	assert_non_null(event);
	assert_int_equal(event->tid, tid);
	assert_int_equal(event->len, len);
	data = (const char *)event + sizeof(struct tl_ev_log);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(data[i], fill);
}

static void perf_buffers_are_merged_by_time(void **state)
{
	(void)state;
	perf_sample(0, 100, 1, 10, 'a');
	perf_sample(0, 400, 4, 10, 'a');
	perf_sample(1, 200, 2, 10, 'b');
	perf_sample(2, 300, 3, 10, 'c');
	perf_sample(2, 500, 5, 10, 'c');
	expect_event(1, 10, 'a');
	expect_event(2, 10, 'b');
	expect_event(3, 10, 'c');
	expect_event(4, 10, 'a');
	expect_event(5, 10, 'c');
	assert_null(tl_ring_next(ring));
	assert_int_equal(tl_ring_position(ring), 5);
}

static void a_young_perf_event_waits_for_older_ones(void **state)
{
	uint64_t young = tl_mono_ns() + TL_SEC;

	(void)state;
	perf_sample(0, young, 2, 10, 'a');
	perf_sample(1, 100, 1, 10, 'b');
	expect_event(1, 10, 'b');
	assert_null(tl_ring_next(ring));
	tl_ring_release(ring);
	/* What waits is not given back to the kernel. */
	assert_int_equal(perf.page[0]->data_tail, 0);
	assert_int_equal(perf.page[1]->data_tail, perf.page[1]->data_head);
	assert_int_equal(tl_ring_pending(ring), perf.page[0]->data_head);
}

static void a_perf_event_is_given_out_once_it_is_old_enough(void **state)
{
	uint64_t deadline = tl_mono_ns() + 5 * TL_SEC;
	const struct tl_event *event = NULL;
	uint64_t made = tl_mono_ns();

	(void)state;
	perf_sample(2, made, 9, 10, 'z');
	while (!event && tl_mono_ns() < deadline)
		event = tl_ring_next(ring);
	assert_non_null(event);
	assert_int_equal(event->tid, 9);
	assert_true(tl_mono_ns() - made >= 2 * TL_MS);
}

static void perf_samples_over_the_end_are_whole_and_aligned(void **state)
{
	(void)state;
	for (uint32_t i = 1; i < 200; i++) {
		const struct tl_event *event;

		perf_sample(i % CPUS, i, i, 700 + i, (char)i);
		event = tl_ring_next(ring);
		assert_non_null(event);
		assert_int_equal((uintptr_t)event % 8, 0);
		assert_int_equal(event->tid, i);
		for (size_t k = 0; k < event->len; k++)
			assert_int_equal(((const char *)event)[sizeof(struct tl_ev_log) + k],
					 (char)i);
		tl_ring_release(ring);
	}
}

static void perf_events_stay_valid_until_release(void **state)
{
	const struct tl_event *held[3];

	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		perf_sample(0, 10 + i, i, 1000, (char)('p' + i));
	for (uint32_t i = 0; i < 3; i++)
		held[i] = tl_ring_next(ring);
	assert_int_equal(perf.page[0]->data_tail, 0);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(held[i]->tid, i);
		assert_int_equal(((const char *)held[i])[sizeof(struct tl_ev_log) + 999], 'p' + i);
	}
	tl_ring_release(ring);
	assert_int_equal(perf.page[0]->data_tail, perf.page[0]->data_head);
}

static void release_frees_only_perf_events_that_were_given_out(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		perf_sample(0, 10 + i, i, 1000, 'r');
	expect_event(0, 1000, 'r');
	tl_ring_release(ring);
	assert_int_equal(perf.page[0]->data_tail, perf.page[0]->data_head / 3);
	expect_event(1, 1000, 'r');
	expect_event(2, 1000, 'r');
	tl_ring_release(ring);
	assert_int_equal(perf.page[0]->data_tail, perf.page[0]->data_head);
}

static void lost_perf_samples_are_counted(void **state)
{
	(void)state;
	perf_lost(1, 5);
	perf_sample(1, 10, 1, 10, 'a');
	perf_lost(2, 2);
	expect_event(1, 10, 'a');
	assert_null(tl_ring_next(ring));
	assert_int_equal(tl_ring_lost(ring), 7);
	tl_ring_release(ring);
	assert_int_equal(perf.page[2]->data_tail, perf.page[2]->data_head);
}

#define PERF_TEST(f) cmocka_unit_test_setup_teardown(f, open_perf, close_perf)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PERF_TEST(perf_buffers_are_merged_by_time),
		PERF_TEST(a_young_perf_event_waits_for_older_ones),
		PERF_TEST(a_perf_event_is_given_out_once_it_is_old_enough),
		PERF_TEST(perf_samples_over_the_end_are_whole_and_aligned),
		PERF_TEST(perf_events_stay_valid_until_release),
		PERF_TEST(release_frees_only_perf_events_that_were_given_out),
		PERF_TEST(lost_perf_samples_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
