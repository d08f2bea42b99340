/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/mman.h>
#include <unistd.h>

#include "userspace/record/entry.h"
#include "userspace/record/entry_format.h"

struct fixture {
	struct tl_record record, again;
	struct tl_arena arena;
	struct tl_buf entry, resource, json, expected;
	struct tl_resources *resources;
	struct tl_uid uid;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct tl_record *r = &f->record;

	tl_record_reset(r);
	f->resources = tl_resources_new(4);
	f->uid = (struct tl_uid){UINT64_C(0x9f0b6c1e5d2a4477), 0x2a9, 0x12c40};
	r->timestamp_ns = UINT64_C(1795395600121000000);
	r->observed_ns = UINT64_C(1795395600123456789);
	r->severity_number = 17;
	r->severity_text = TL_SPAN_LIT("ERROR");
	r->body = TL_SPAN_LIT("payment \"refused\"\r\n\0\xc3\xbc");
	r->trace_id = TL_SPAN_LIT("4bf92f3577b34da6a3ce929d0e0e4736");
	r->span_id = TL_SPAN_LIT("00f067aa0ba902b7");
	r->trace_flags = 1;
	tl_attr_set(&r->resource, "service.name", TL_SPAN_LIT("cart"));
	tl_attr_set(&r->resource, "weird", TL_SPAN_LIT("\"\n"));
	tl_attr_set(&r->attributes, "log.iostream", TL_SPAN_LIT("stdout"));
	tl_attr_set(&r->attributes, "x", TL_SPAN_LIT("\x01"));
	tl_attr_set_u64(&r->attributes, &f->arena, "http.response.status_code", 500);
	assert_int_equal(tl_entry_pack_resource(7, &r->resource, &f->resource), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	tl_arena_done(&f->arena);
	tl_buf_done(&f->entry);
	tl_buf_done(&f->resource);
	tl_buf_done(&f->json);
	tl_buf_done(&f->expected);
	tl_resources_free(f->resources);
	free(f);
	return 0;
}

static void pack(struct fixture *f)
{
	tl_buf_clear(&f->entry);
	assert_int_equal(tl_entry_pack(&f->record, &f->uid, 7, &f->entry), 0);
	assert_int_equal(tl_resources_learn(f->resources, tl_buf_span(&f->resource)), 0);
}

static void assert_json_equal(struct fixture *f)
{
	char uid[TL_UID_MAX];

	f->record.uid = (struct tl_span){uid, tl_uid_format(&f->uid, uid)};
	tl_buf_clear(&f->expected);
	assert_int_equal(tl_record_to_json(&f->record, &f->expected), 0);

	tl_buf_clear(&f->json);
	assert_int_equal(tl_entry_to_json(tl_buf_span(&f->entry), f->resources, &f->json), 0);
	assert_true(tl_span_eq(tl_buf_span(&f->json), tl_buf_span(&f->expected)));

	assert_int_equal(
		tl_entry_to_record(tl_buf_span(&f->entry), f->resources, &f->arena, &f->again), 0);
	tl_buf_clear(&f->json);
	assert_int_equal(tl_record_to_json(&f->again, &f->json), 0);
	assert_true(tl_span_eq(tl_buf_span(&f->json), tl_buf_span(&f->expected)));
}

static void a_uid_is_epoch_stream_and_offset_in_hex(void **state)
{
	struct tl_uid uid = {UINT64_C(0x9f0b6c1e5d2a4477), 0x2a9, 0x12c40};
	char out[TL_UID_MAX];

	(void)state;
	assert_int_equal(tl_uid_format(&uid, out), 26);
	assert_string_equal(out, "9f0b6c1e5d2a4477-2a9-12c40");
	uid = (struct tl_uid){1, 0, 0};
	assert_int_equal(tl_uid_format(&uid, out), 20);
	assert_string_equal(out, "0000000000000001-0-0");
	uid = (struct tl_uid){UINT64_MAX, UINT64_MAX, UINT64_MAX};
	assert_int_equal(tl_uid_format(&uid, out), TL_UID_MAX - 2);
	assert_string_equal(out, "ffffffffffffffff-ffffffffffffffff-ffffffffffffffff");
}

static void an_entry_gives_the_record_and_the_same_json_both_ways(void **state)
{
	struct fixture *f = *state;

	pack(f);
	assert_json_equal(f);
	assert_int_equal(f->again.trace_flags, 1);
	assert_true(tl_span_eq(f->again.body, f->record.body));

	f->record.trace_flags = -1;
	f->record.trace_id = f->record.span_id = f->record.severity_text =
		(struct tl_span){NULL, 0};
	f->record.severity_number = 0;
	pack(f);
	assert_json_equal(f);

	f->record.body = TL_SPAN_LIT("\xff\xfe bad");
	f->record.attributes.dropped = 3;
	tl_attr_set(&f->record.attributes, "log.body.base64", TL_SPAN_LIT("forged"));
	pack(f);
	assert_json_equal(f);
}

static void an_entry_without_resource_needs_none(void **state)
{
	struct fixture *f = *state;

	f->record.resource.n = 0;
	assert_int_equal(tl_entry_pack(&f->record, &f->uid, 0, &f->entry), 0);
	assert_json_equal(f);
}

static void a_resource_never_announced_is_enoent(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(tl_entry_pack(&f->record, &f->uid, 7, &f->entry), 0);
	assert_int_equal(tl_buf_puts(&f->json, "before"), 0);
	assert_int_equal(tl_entry_to_json(tl_buf_span(&f->entry), f->resources, &f->json), -ENOENT);
	assert_true(tl_span_is(tl_buf_span(&f->json), "before"));
	assert_int_equal(
		tl_entry_to_record(tl_buf_span(&f->entry), f->resources, &f->arena, &f->again),
		-ENOENT);
}

static void learn_number(struct fixture *f, uint32_t number, const char *service)
{
	tl_attr_set(&f->record.resource, "service.name", tl_span_str(service));
	tl_buf_clear(&f->resource);
	assert_int_equal(tl_entry_pack_resource(number, &f->record.resource, &f->resource), 0);
	assert_int_equal(tl_resources_learn(f->resources, tl_buf_span(&f->resource)), 0);
}

static int knows(struct fixture *f, uint32_t number)
{
	tl_buf_clear(&f->entry);
	tl_buf_clear(&f->json);
	assert_int_equal(tl_entry_pack(&f->record, &f->uid, number, &f->entry), 0);
	return tl_entry_to_json(tl_buf_span(&f->entry), f->resources, &f->json);
}

static void the_resource_announced_longest_ago_is_forgotten_first(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 1; i <= 4; i++)
		learn_number(f, i, "a");
	learn_number(f, 1, "a"); /* again: 2 is the oldest now */
	learn_number(f, 5, "a");
	assert_int_equal(knows(f, 1), 0);
	assert_int_equal(knows(f, 2), -ENOENT);
	assert_int_equal(knows(f, 3), 0);
	learn_number(f, 3, "other"); /* changed: takes no further place */
	assert_int_equal(knows(f, 4), 0);
	assert_int_equal(knows(f, 3), 0);
	assert_non_null(memmem(f->json.data, f->json.len, "\"other\"", 7));
	for (uint32_t i = 100; i < 10000; i++)
		learn_number(f, i, "many");
	assert_int_equal(knows(f, 9999), 0);
	assert_int_equal(knows(f, 9995), -ENOENT);
}

static void peek_and_attr_read_what_headers_need(void **state)
{
	struct fixture *f = *state;
	struct tl_span value;
	struct tl_uid uid;

	pack(f);
	assert_int_equal(tl_entry_peek(tl_buf_span(&f->entry), &uid, &f->again), 0);
	assert_memory_equal(&uid, &f->uid, sizeof(uid));
	assert_true(tl_span_eq(f->again.trace_id, f->record.trace_id));
	assert_int_equal(f->again.attributes.n, 0);
	assert_int_equal(tl_entry_attr(tl_buf_span(&f->entry), "log.iostream", &value), 1);
	assert_true(tl_span_is(value, "stdout"));
	assert_int_equal(tl_entry_attr(tl_buf_span(&f->entry), "http.response.status_code", &value),
			 1);
	assert_true(tl_span_is(value, "500"));
	assert_int_equal(tl_entry_attr(tl_buf_span(&f->entry), "service.name", &value), 0);
}

static void attributes_to_the_limit_survive(void **state)
{
	struct fixture *f = *state;
	struct tl_span key;

	for (int i = 0; i < 200; i++) {
		key = tl_arena_printf(&f->arena, "k%d", i);
		tl_attr_set_span(&f->record.attributes, key, key, TL_ATTR_STRING);
	}
	pack(f);
	assert_json_equal(f);
	assert_int_equal(f->again.attributes.n, TL_ATTRS_MAX);
	assert_int_equal(f->again.attributes.dropped, 200 + 3 - TL_ATTRS_MAX);
}

static void a_megabyte_body_survives(void **state)
{
	struct fixture *f = *state;
	size_t len = 1 << 20;
	char *body = malloc(len);

	memset(body, '\n', len);
	f->record.body = (struct tl_span){body, len};
	pack(f);
	assert_json_equal(f);
	free(body);
}

static void texts_longer_than_the_form_holds_are_einval(void **state)
{
	struct fixture *f = *state;
	static char longest[70000];

	memset(longest, 'a', sizeof(longest));
	f->record.trace_id = (struct tl_span){longest, 256};
	assert_int_equal(tl_entry_pack(&f->record, &f->uid, 7, &f->entry), -EINVAL);
	f->record.trace_id.len = 0;
	tl_attr_set_span(&f->record.attributes, (struct tl_span){longest, 65536}, TL_SPAN_LIT("v"),
			 TL_ATTR_STRING);
	assert_int_equal(tl_entry_pack(&f->record, &f->uid, 7, &f->entry), -EINVAL);
	assert_int_equal(f->entry.len, 0);
	assert_int_equal(tl_entry_pack_resource(0, &f->record.resource, &f->entry), -EINVAL);
}

static void a_full_buffer_is_enobufs_and_unchanged(void **state)
{
	struct fixture *f = *state;
	struct tl_buf out = {.max = 40};

	assert_int_equal(tl_entry_pack(&f->record, &f->uid, 7, &out), -ENOBUFS);
	assert_int_equal(out.len, 0);
	tl_buf_done(&out);
	assert_int_equal(tl_entry_pack_resource(7, &f->record.resource, &out), -ENOBUFS);
	tl_buf_done(&out);
	pack(f);
	assert_int_equal(tl_entry_to_json(tl_buf_span(&f->entry), f->resources, &out), -ENOBUFS);
	assert_int_equal(out.len, 0);
	tl_buf_done(&out);
}

/* Puts `data` right before a page that may not be touched. */
struct guard {
	char *map;
	size_t page;
};

static struct tl_span guarded(struct guard *guard, struct tl_span data)
{
	if (!guard->map) {
		guard->page = (size_t)sysconf(_SC_PAGESIZE);
		guard->map = mmap(NULL, 2 * guard->page, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_int_equal(mprotect(guard->map + guard->page, guard->page, PROT_NONE), 0);
	}
	memcpy(guard->map + guard->page - data.len, data.data, data.len);
	return (struct tl_span){guard->map + guard->page - data.len, data.len};
}

static void no_prefix_of_an_entry_crashes(void **state)
{
	struct fixture *f = *state;
	struct guard guard = {0};
	struct tl_span value;
	struct tl_uid uid;

	pack(f);
	for (size_t n = 0; n < f->entry.len; n++) {
		struct tl_span part = guarded(&guard, (struct tl_span){f->entry.data, n});

		tl_buf_clear(&f->json);
		assert_int_equal(tl_entry_to_json(part, f->resources, &f->json), -EBADMSG);
		assert_int_equal(f->json.len, 0);
		assert_int_equal(tl_entry_to_record(part, f->resources, &f->arena, &f->again),
				 -EBADMSG);
		assert_in_range((unsigned)-tl_entry_peek(part, &uid, &f->again), 0, EBADMSG);
		assert_int_equal(tl_entry_attr(part, "no such", &value), -EBADMSG);
	}
	for (size_t n = 0; n < f->resource.len; n++)
		assert_int_equal(
			tl_resources_learn(f->resources,
					   guarded(&guard, (struct tl_span){f->resource.data, n})),
			-EBADMSG);
	munmap(guard.map, 2 * guard.page);
}

static void changed_bytes_never_crash(void **state)
{
	struct fixture *f = *state;
	struct guard guard = {0};
	unsigned seed = 7;

	pack(f);
	for (int i = 0; i < 20000; i++) {
		struct tl_span data =
			guarded(&guard, tl_buf_span(i % 2 ? &f->entry : &f->resource));
		char *p = guard.map + guard.page - data.len;

		for (int flips = 0; flips < 1 + i % 3; flips++) {
			seed = seed * 1103515245 + 12345;
			p[(seed >> 8) % data.len] ^= (char)(1 << (seed >> 28) % 8);
		}
		tl_buf_clear(&f->json);
		tl_arena_reset(&f->arena);
		if (i % 2) {
			tl_entry_to_json(data, f->resources, &f->json);
			tl_entry_to_record(data, f->resources, &f->arena, &f->again);
		} else {
			tl_resources_learn(f->resources, data);
		}
	}
	munmap(guard.map, 2 * guard.page);
}

static void a_newer_fixed_part_is_skipped_and_a_newer_version_refused(void **state)
{
	struct fixture *f = *state;
	struct tl_buf longer = {0};

	pack(f);
	tl_buf_add(&longer, f->entry.data, sizeof(struct tl_entry_fixed));
	tl_buf_add(&longer, "8 bytes.", 8);
	tl_buf_add(&longer, f->entry.data + sizeof(struct tl_entry_fixed),
		   f->entry.len - sizeof(struct tl_entry_fixed));
	longer.data[1] += 8;
	tl_buf_clear(&f->entry);
	tl_buf_add(&f->entry, longer.data, longer.len);
	assert_json_equal(f);
	f->entry.data[0] = TL_ENTRY_VERSION + 1;
	assert_int_equal(tl_entry_to_json(tl_buf_span(&f->entry), f->resources, &f->json),
			 -EBADMSG);
	tl_buf_done(&longer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_uid_is_epoch_stream_and_offset_in_hex),
		TEST(an_entry_gives_the_record_and_the_same_json_both_ways),
		TEST(an_entry_without_resource_needs_none),
		TEST(a_resource_never_announced_is_enoent),
		TEST(the_resource_announced_longest_ago_is_forgotten_first),
		TEST(peek_and_attr_read_what_headers_need),
		TEST(attributes_to_the_limit_survive),
		TEST(a_megabyte_body_survives),
		TEST(texts_longer_than_the_form_holds_are_einval),
		TEST(a_full_buffer_is_enobufs_and_unchanged),
		TEST(no_prefix_of_an_entry_crashes),
		TEST(changed_bytes_never_crash),
		TEST(a_newer_fixed_part_is_skipped_and_a_newer_version_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
