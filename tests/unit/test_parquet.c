/* SPDX-License-Identifier: Apache-2.0 */
/* The Parquet writer's own parts. Whole files are read back value by value by DuckDB, which shares
 * no code with us: tests/integration/s3.sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "userspace/sink/parquet_internal.h"
#include "userspace/sink/parquet_record.h"

#define N 5000

static uint64_t varint(const uint8_t **p)
{
	uint64_t v = 0;
	unsigned shift = 0;

	do
		v |= (uint64_t)(**p & 0x7f) << shift, shift += 7;
	while (*(*p)++ & 0x80);
	return v;
}

/* Reads the hybrid encoding as the specification has it. */
static void decode(const struct tl_buf *buf, unsigned width, uint32_t *out, size_t n)
{
	const uint8_t *p = (const uint8_t *)buf->data, *end = p + buf->len;
	size_t at = 0;

	while (at < n) {
		uint64_t head = varint(&p);

		if (head & 1) {
			for (size_t i = 0; i < (head >> 1) * 8; i++) {
				uint32_t v = 0;

				for (unsigned b = 0; b < width; b++)
					v |= (uint32_t)(p[(i * width + b) / 8] >>
								(i * width + b) % 8 &
							1)
					     << b;
				if (at < n)
					out[at++] = v;
			}
			p += (head >> 1) * width;
		} else {
			uint32_t v = 0;

			memcpy(&v, p, (width + 7) / 8);
			p += (width + 7) / 8;
			for (uint64_t i = 0; i < head >> 1; i++)
				out[at++] = v;
		}
		assert_true(p <= end);
	}
	assert_int_equal(at, n);
	assert_ptr_equal(p, end);
}

static void numbers_survive_runs_and_packing(void **state)
{
	static uint32_t in[N], out[N];

	(void)state;
	srand(7);
	for (unsigned width = 1; width <= 17; width++) {
		for (int runs = 0; runs < 4; runs++) {
			struct tl_buf buf = {0};
			size_t n = (size_t)(rand() % N) + 1;

			for (size_t i = 0; i < n; i++)
				in[i] = i && rand() % 10 < 3 * runs
						? in[i - 1]
						: (uint32_t)rand() & ((1u << width) - 1);
			assert_int_equal(tl_pq_hybrid(&buf, in, 4, n, width), 0);
			decode(&buf, width, out, n);
			assert_memory_equal(in, out, n * sizeof(*in));
			tl_buf_done(&buf);
		}
	}
}

struct file {
	struct tl_buf bytes;
	size_t fail_at; /* the write that reaches it fails; 0 none */
};

static int take(void *arg, const void *data, size_t len)
{
	struct file *file = arg;

	if (file->fail_at && file->bytes.len + len > file->fail_at)
		return -ENOSPC;
	return tl_buf_add(&file->bytes, data, len);
}

static int write_rows(struct file *file, unsigned rows)
{
	struct tl_record_rows *r;
	int e = tl_record_rows_new(1, 4096, take, file, &r);

	if (e < 0)
		return e;
	for (unsigned i = 0; e == 0 && i < rows; i++) {
		char json[200];

		snprintf(json, sizeof(json),
			 "{\"uid\":\"%u\",\"body\":\"b%u\",\"attributes\":{\"k\":%u}}", i, i % 3,
			 i);
		e = tl_record_rows_add(r, tl_span_str(json));
	}
	e = e < 0 ? e : tl_record_rows_finish(r);
	tl_record_rows_free(r);
	return e;
}

static void a_file_begins_and_ends_with_its_magic(void **state)
{
	struct file file = {0};
	uint32_t footer;

	(void)state;
	assert_int_equal(write_rows(&file, 500), 0);
	assert_memory_equal(file.bytes.data, "PAR1", 4);
	assert_memory_equal(file.bytes.data + file.bytes.len - 4, "PAR1", 4);
	memcpy(&footer, file.bytes.data + file.bytes.len - 8, 4);
	assert_true(footer < file.bytes.len);
	tl_buf_done(&file.bytes);
}

static void a_failing_write_is_told_wherever_it_happens(void **state)
{
	struct file whole = {0};

	(void)state;
	assert_int_equal(write_rows(&whole, 300), 0);
	for (size_t at = 1; at < whole.bytes.len; at += 101) {
		struct file file = {.fail_at = at};

		assert_int_equal(write_rows(&file, 300), -ENOSPC);
		tl_buf_done(&file.bytes);
	}
	tl_buf_done(&whole.bytes);
}

static void the_same_rows_are_the_same_bytes(void **state)
{
	struct file a = {0}, b = {0};

	(void)state;
	assert_int_equal(write_rows(&a, 1000), 0);
	assert_int_equal(write_rows(&b, 1000), 0);
	assert_int_equal(a.bytes.len, b.bytes.len);
	assert_memory_equal(a.bytes.data, b.bytes.data, a.bytes.len);
	tl_buf_done(&a.bytes);
	tl_buf_done(&b.bytes);
}

static void what_is_no_object_is_refused(void **state)
{
	struct file file = {0};
	struct tl_record_rows *r;

	(void)state;
	assert_int_equal(tl_record_rows_new(1, 4096, take, &file, &r), 0);
	assert_int_equal(tl_record_rows_add(r, TL_SPAN_LIT("")), -EINVAL);
	assert_int_equal(tl_record_rows_add(r, TL_SPAN_LIT("{\"uid\":")), -EINVAL);
	tl_record_rows_free(r);
	tl_buf_done(&file.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_survive_runs_and_packing),
		cmocka_unit_test(a_file_begins_and_ends_with_its_magic),
		cmocka_unit_test(a_failing_write_is_told_wherever_it_happens),
		cmocka_unit_test(the_same_rows_are_the_same_bytes),
		cmocka_unit_test(what_is_no_object_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
