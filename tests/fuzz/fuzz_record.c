/* SPDX-License-Identifier: Apache-2.0 */
/* Records as JSON and as entries of the local log: what is read is written so that it is read the
 * same again, and the two ways from an entry to JSON agree byte for byte. The first byte chooses.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "userspace/base/arena.h"
#include "userspace/base/json.h"
#include "userspace/record/entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tl_record record, again;
static struct tl_arena arena, other;

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void from_json(struct tl_span json)
{
	struct tl_buf one = {.max = 64 << 20}, two = {.max = 64 << 20};
	struct tl_error error = {0};

	if (tl_record_from_json(json, &arena, &record, &error) == 0 &&
	    tl_record_to_json(&record, &one) == 0) {
		must(tl_record_from_json(tl_buf_span(&one), &other, &again, &error) == 0);
		must(tl_record_to_json(&again, &two) == 0);
		must(tl_span_eq(tl_buf_span(&one), tl_buf_span(&two)));
		must(tl_utf8_valid(tl_buf_span(&one)));
	}
	tl_buf_done(&one);
	tl_buf_done(&two);
}

static void from_entry(struct tl_span data)
{
	_cleanup_(tl_resources_freep) struct tl_resources *resources = tl_resources_new(4);
	struct tl_buf direct = {.max = 64 << 20}, by_record = {.max = 64 << 20};
	struct tl_span value;
	struct tl_uid uid;
	int r;

	must(resources != NULL);
	(void)tl_resources_learn(resources, data);
	(void)tl_entry_attr(data, "a", &value);
	(void)tl_entry_peek(data, &uid, &again);
	r = tl_entry_to_record(data, resources, &arena, &record);
	must((tl_entry_to_json(data, resources, &direct) == 0) == (r == 0));
	if (r == 0) {
		must(tl_record_to_json(&record, &by_record) == 0);
		must(tl_span_eq(tl_buf_span(&direct), tl_buf_span(&by_record)));
	}
	tl_buf_done(&direct);
	tl_buf_done(&by_record);
}

/* A record with these bytes in it, packed and taken out again. */
static void pack(struct tl_span bytes)
{
	struct tl_uid uid = {1, 2, 3}, back;
	struct tl_buf out = {.max = 64 << 20};

	tl_record_reset(&record);
	record.observed_ns = record.timestamp_ns = 1;
	record.body = bytes;
	tl_attr_set(&record.attributes, "a", bytes);
	if (tl_entry_pack(&record, &uid, 0, &out) == 0) {
		must(tl_entry_peek(tl_buf_span(&out), &back, &again) == 0);
		must(back.offset == 3 && tl_span_eq(again.body, bytes));
		from_entry(tl_buf_span(&out));
	}
	tl_buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tl_span rest;

	if (!size)
		return 0;
	rest = (struct tl_span){(const char *)data + 1, size - 1};
	tl_arena_reset(&arena);
	tl_arena_reset(&other);
	if (data[0] % 3 == 0)
		from_json(rest);
	else if (data[0] % 3 == 1)
		from_entry(rest);
	else
		pack(rest);
	return 0;
}
