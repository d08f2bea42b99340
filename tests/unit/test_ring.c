/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of the BPF ring buffer over memory that is laid out as the kernel does it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>

#include "agent/ring.h"

#define BUSY (1u << 31)
#define DISCARD (1u << 30)
#define RING_BYTES 8192u

/* The kernel's end of a ring in a memfd. The second copy of the data is written by hand: a memfd
 * has no double mapping. */
struct fake {
	int fd;
	size_t page;
	char *map;
	uint64_t *consumer, *producer;
	char *data;
};

static struct fake fake;
static struct tl_ring *ring;

static struct tl_capture_fds fake_fds(void)
{
	return (struct tl_capture_fds){.ring = fake.fd, .ring_bytes = RING_BYTES, .control = -1};
}

static int open_ring(void **state)
{
	struct tl_capture_fds fds;
	struct tl_error error = {0};

	(void)state;
	fake.page = (size_t)sysconf(_SC_PAGESIZE);
	fake.fd = memfd_create("ring", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fake.fd, (off_t)(2 * fake.page + 2 * RING_BYTES)), 0);
	fake.map = mmap(NULL, 2 * fake.page + 2 * RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
			fake.fd, 0);
	assert_ptr_not_equal(fake.map, MAP_FAILED);
	fake.consumer = (uint64_t *)fake.map;
	fake.producer = (uint64_t *)(fake.map + fake.page);
	fake.data = fake.map + 2 * fake.page;
	fds = fake_fds();
	assert_int_equal(tl_ring_open(&fds, &ring, &error), 0);
	return 0;
}

static int close_ring(void **state)
{
	(void)state;
	tl_ring_close(ring);
	ring = NULL;
	munmap(fake.map, 2 * fake.page + 2 * RING_BYTES);
	close(fake.fd);
	return 0;
}

static void put_bytes(uint64_t position, const void *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		size_t at = (position + i) % RING_BYTES;

		fake.data[at] = fake.data[at + RING_BYTES] = ((const char *)bytes)[i];
	}
}

/* Reserves and fills a LOG event with `len` bytes of `fill`; `flags` go into the record's header.
 * Returns its position. */
static uint64_t produce(uint32_t flags, uint32_t tid, size_t len, char fill)
{
	uint64_t position = *fake.producer;
	uint32_t header[2] = {(uint32_t)(sizeof(struct tl_ev_log) + len) | flags, 0};
	struct tl_ev_log event = {.h = {.type = TL_EV_LOG, .len = (uint32_t)len, .tid = tid}};
	char data[4096];

	assert_true(position + sizeof(header) + sizeof(event) + len - *fake.consumer <= RING_BYTES);
	memset(data, fill, sizeof(data));
	put_bytes(position, header, sizeof(header));
	put_bytes(position + sizeof(header), &event, sizeof(event));
	put_bytes(position + sizeof(header) + sizeof(event), data, len);
	__atomic_store_n(fake.producer,
			 (position + sizeof(header) + sizeof(event) + len + 7) & ~UINT64_C(7),
			 __ATOMIC_RELEASE);
	return position;
}

static void clear_flag(uint64_t position, uint32_t flag)
{
	uint32_t header;

	memcpy(&header, fake.data + position % RING_BYTES, sizeof(header));
	header &= ~flag;
	put_bytes(position, &header, sizeof(header));
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

static void an_empty_ring_gives_nothing(void **state)
{
	(void)state;
	assert_null(tl_ring_next(ring));
	assert_int_equal(tl_ring_pending(ring), 0);
	assert_int_equal(tl_ring_size(ring), RING_BYTES);
	assert_int_equal(tl_ring_lost(ring), 0);
}

static void events_come_in_reservation_order(void **state)
{
	(void)state;
	for (uint32_t i = 1; i <= 5; i++)
		produce(0, i, i * 7, (char)('a' + i));
	for (uint32_t i = 1; i <= 5; i++)
		expect_event(i, i * 7, (char)('a' + i));
	assert_null(tl_ring_next(ring));
	assert_int_equal(tl_ring_position(ring), *fake.producer);
}

static void reading_frees_nothing_until_release(void **state)
{
	(void)state;
	produce(0, 1, 100, 'x');
	expect_event(1, 100, 'x');
	assert_int_equal(*fake.consumer, 0);
	assert_int_equal(tl_ring_pending(ring), *fake.producer);
	tl_ring_release(ring);
	assert_int_equal(*fake.consumer, *fake.producer);
	assert_int_equal(tl_ring_pending(ring), 0);
}

static void release_frees_up_to_the_read_cursor_only(void **state)
{
	uint64_t second;

	(void)state;
	produce(0, 1, 10, 'x');
	second = produce(0, 2, 10, 'y');
	expect_event(1, 10, 'x');
	tl_ring_release(ring);
	assert_int_equal(*fake.consumer, second);
	expect_event(2, 10, 'y');
}

static void a_record_over_the_end_is_contiguous(void **state)
{
	(void)state;
	/* Records of changing sizes over several laps put the border everywhere in a record. */
	for (uint32_t tid = 1; tid <= 100; tid++) {
		produce(0, tid, 1000 - tid, (char)tid);
		expect_event(tid, 1000 - tid, (char)tid);
		tl_ring_release(ring);
	}
	assert_true(*fake.producer > 8 * RING_BYTES);
}

static void a_full_ring_is_read_whole(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 8; i++)
		produce(0, i, 1024 - 8 - sizeof(struct tl_ev_log), 'f');
	assert_int_equal(tl_ring_pending(ring), RING_BYTES);
	for (unsigned i = 0; i < 8; i++)
		expect_event(i, 1024 - 8 - sizeof(struct tl_ev_log), 'f');
	assert_null(tl_ring_next(ring));
}

static void a_busy_record_stops_the_reader_until_it_is_done(void **state)
{
	uint64_t busy;

	(void)state;
	produce(0, 1, 8, 'a');
	busy = produce(BUSY, 2, 8, 'b');
	produce(0, 3, 8, 'c');
	expect_event(1, 8, 'a');
	assert_null(tl_ring_next(ring));
	assert_null(tl_ring_next(ring));
	tl_ring_release(ring);
	assert_int_equal(*fake.consumer, busy);
	clear_flag(busy, BUSY);
	expect_event(2, 8, 'b');
	expect_event(3, 8, 'c');
}

static void discarded_records_are_passed_over(void **state)
{
	(void)state;
	produce(DISCARD, 1, 8, 'a');
	produce(0, 2, 8, 'b');
	produce(DISCARD, 3, 80, 'c');
	expect_event(2, 8, 'b');
	assert_null(tl_ring_next(ring));
	tl_ring_release(ring);
	assert_int_equal(*fake.consumer, *fake.producer);
}

static void a_new_reader_finds_unreleased_events_again(void **state)
{
	struct tl_capture_fds fds = fake_fds();
	struct tl_error error = {0};

	(void)state;
	produce(0, 1, 8, 'a');
	produce(0, 2, 8, 'b');
	expect_event(1, 8, 'a');
	tl_ring_release(ring);
	expect_event(2, 8, 'b');
	tl_ring_close(ring);
	assert_int_equal(tl_ring_open(&fds, &ring, &error), 0);
	expect_event(2, 8, 'b');
}

static void skip_to_leaves_out_what_the_log_has(void **state)
{
	uint64_t third;

	(void)state;
	produce(0, 1, 8, 'a');
	produce(DISCARD, 2, 8, 'b');
	third = produce(0, 3, 8, 'c');
	tl_ring_skip_to(ring, third);
	assert_int_equal(tl_ring_position(ring), third);
	assert_int_equal(*fake.consumer, 0);
	expect_event(3, 8, 'c');
}

static void skip_to_stops_at_a_busy_record(void **state)
{
	uint64_t busy;

	(void)state;
	produce(0, 1, 8, 'a');
	busy = produce(BUSY, 2, 8, 'b');
	produce(0, 3, 8, 'c');
	tl_ring_skip_to(ring, *fake.producer);
	assert_int_equal(tl_ring_position(ring), busy);
}

static void skip_to_a_position_of_another_ring_skips_nothing(void **state)
{
	(void)state;
	produce(0, 1, 8, 'a');
	tl_ring_skip_to(ring, *fake.producer + 8);
	expect_event(1, 8, 'a');
}

static void an_event_longer_than_its_record_is_left_out(void **state)
{
	uint64_t liar;
	uint32_t len = 4000;

	(void)state;
	liar = produce(0, 1, 8, 'a');
	put_bytes(liar + 8 + offsetof(struct tl_event, len), &len, sizeof(len));
	produce(0, 2, 8, 'b');
	expect_event(2, 8, 'b');
}

static void a_size_that_is_no_power_of_two_is_einval(void **state)
{
	struct tl_capture_fds fds = fake_fds();
	struct tl_error error = {0};
	struct tl_ring *none = NULL;

	(void)state;
	fds.ring_bytes = 12288;
	assert_int_equal(tl_ring_open(&fds, &none, &error), -EINVAL);
	assert_null(none);
	assert_true(error.message[0]);
}

#define RING_TEST(f) cmocka_unit_test_setup_teardown(f, open_ring, close_ring)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RING_TEST(an_empty_ring_gives_nothing),
		RING_TEST(events_come_in_reservation_order),
		RING_TEST(reading_frees_nothing_until_release),
		RING_TEST(release_frees_up_to_the_read_cursor_only),
		RING_TEST(a_record_over_the_end_is_contiguous),
		RING_TEST(a_full_ring_is_read_whole),
		RING_TEST(a_busy_record_stops_the_reader_until_it_is_done),
		RING_TEST(discarded_records_are_passed_over),
		RING_TEST(a_new_reader_finds_unreleased_events_again),
		RING_TEST(skip_to_leaves_out_what_the_log_has),
		RING_TEST(skip_to_stops_at_a_busy_record),
		RING_TEST(skip_to_a_position_of_another_ring_skips_nothing),
		RING_TEST(an_event_longer_than_its_record_is_left_out),
		RING_TEST(a_size_that_is_no_power_of_two_is_einval),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
