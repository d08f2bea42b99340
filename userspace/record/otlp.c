/* SPDX-License-Identifier: Apache-2.0 */
/* Building a request: each record is encoded at once into the buffer of its resource's group. A
 * group is found by its encoded resource, so what an encoder writes for two resources must differ
 * where they do. */
#include "userspace/record/otlp.h"

#include <stdio.h>
#include <stdlib.h>

#include "userspace/base/map.h"
#include "userspace/record/otlp_internal.h"

/* A buffer that one large batch has blown up is not kept. */
#define KEEP_BYTES ((size_t)1 << 20)

struct group {
	uint64_t hash;
	struct tl_buf resource, records;
	size_t n;
};

struct tl_otlp {
	const struct tl_otlp_encoder *encoder;
	struct tl_otlp_limits limits;
	struct group *groups; /* cap_groups of them; the first n_groups are in use */
	size_t n_groups, cap_groups, count, bytes;
	struct tl_map *by_hash; /* hash of the encoded resource -> index */
	struct tl_buf resource, record, scratch, request;
};

int tl_otlp_new(enum tl_otlp_encoding encoding, const struct tl_otlp_limits *limits,
		struct tl_otlp **ret_otlp)
{
	_cleanup_(tl_otlp_freep) struct tl_otlp *otlp = calloc(1, sizeof(*otlp));

	if (!otlp)
		return -ENOMEM;
	otlp->encoder = encoding == TL_OTLP_JSON ? &tl_otlp_json : &tl_otlp_protobuf;
	otlp->limits = *limits;
	otlp->by_hash = tl_map_new(sizeof(uint64_t), sizeof(uint32_t), limits->groups);
	if (!otlp->by_hash)
		return -ENOMEM;
	*ret_otlp = TAKE_PTR(otlp);
	return 0;
}

static void group_done(struct group *group)
{
	tl_buf_done(&group->resource);
	tl_buf_done(&group->records);
}

void tl_otlp_free(struct tl_otlp *otlp)
{
	for (size_t i = 0; i < otlp->cap_groups; i++)
		group_done(&otlp->groups[i]);
	free(otlp->groups);
	if (otlp->by_hash)
		tl_map_free(otlp->by_hash);
	tl_buf_done(&otlp->resource);
	tl_buf_done(&otlp->record);
	tl_buf_done(&otlp->scratch);
	tl_buf_done(&otlp->request);
	free(otlp);
}

void tl_otlp_clear(struct tl_otlp *otlp)
{
	for (size_t i = 0; i < otlp->n_groups; i++) {
		struct group *group = &otlp->groups[i];

		tl_map_del(otlp->by_hash, &group->hash);
		if (group->records.cap > KEEP_BYTES)
			tl_buf_done(&group->records);
		tl_buf_clear(&group->records);
		tl_buf_clear(&group->resource);
		group->n = 0;
	}
	otlp->n_groups = otlp->count = otlp->bytes = 0;
}

size_t tl_otlp_count(const struct tl_otlp *otlp)
{
	return otlp->count;
}

/* FNV-1a: tl_hash may differ from version to version, and this one chooses partitions. */
static uint64_t stable_hash(struct tl_span s)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < s.len; i++)
		hash = (hash ^ (unsigned char)s.data[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static struct group *new_group(struct tl_otlp *otlp)
{
	if (otlp->n_groups == otlp->cap_groups) {
		size_t cap = otlp->cap_groups ? otlp->cap_groups * 2 : 16;
		struct group *groups = realloc(otlp->groups, cap * sizeof(*groups));

		if (!groups)
			return NULL;
		memset(groups + otlp->cap_groups, 0, (cap - otlp->cap_groups) * sizeof(*groups));
		otlp->groups = groups;
		otlp->cap_groups = cap;
	}
	return &otlp->groups[otlp->n_groups];
}

/* Nearly always a record has the resource of the one before it. */
static struct group *last_group(const struct tl_otlp *otlp, struct tl_span resource)
{
	struct group *last = otlp->n_groups ? &otlp->groups[otlp->n_groups - 1] : NULL;

	return last && tl_span_eq(tl_buf_span(&last->resource), resource) ? last : NULL;
}

/* Finds or makes the group of `resource`. Errors: -ENOBUFS the table is full, or two resources
 * share a hash; -ENOMEM. */
static int find_group(struct tl_otlp *otlp, struct tl_span resource, struct group **ret)
{
	struct group *group = last_group(otlp, resource);
	uint64_t hash;
	uint32_t *index;
	bool is_new;

	*ret = group;
	if (group)
		return 0;
	hash = stable_hash(resource);
	group = new_group(otlp);
	if (!group)
		return -ENOMEM;
	index = tl_map_put(otlp->by_hash, &hash, &is_new);
	if (!index)
		return -ENOBUFS;
	if (!is_new) {
		*ret = &otlp->groups[*index];
		return tl_span_eq(tl_buf_span(&(*ret)->resource), resource) ? 0 : -ENOBUFS;
	}
	if (tl_buf_add(&group->resource, resource.data, resource.len) < 0) {
		tl_map_del(otlp->by_hash, &hash);
		tl_buf_clear(&group->resource);
		return -ENOMEM;
	}
	*index = (uint32_t)otlp->n_groups++;
	group->hash = hash;
	*ret = group;
	return 0;
}

static bool is_full(const struct tl_otlp *otlp, const struct group *group, size_t more)
{
	const struct tl_otlp_limits *limits = &otlp->limits;

	return (limits->bytes && otlp->count && otlp->bytes + more > limits->bytes) ||
	       (limits->group_bytes && group->n && group->records.len + more > limits->group_bytes);
}

int tl_otlp_add(struct tl_otlp *otlp, const struct tl_record *record)
{
	struct group *group;
	int r;

	tl_buf_clear(&otlp->resource);
	tl_buf_clear(&otlp->record);
	otlp->encoder->resource(&record->resource, &otlp->resource);
	otlp->encoder->record(record, &otlp->scratch, &otlp->record);
	if (otlp->resource.failed || otlp->record.failed || otlp->scratch.failed)
		return -ENOMEM;
	r = find_group(otlp, tl_buf_span(&otlp->resource), &group);
	if (r < 0)
		return r;
	if (is_full(otlp, group, otlp->record.len))
		return -ENOBUFS;
	if (tl_buf_add(&group->records, otlp->record.data, otlp->record.len) < 0)
		return -ENOMEM;
	group->n++;
	otlp->count++;
	otlp->bytes += otlp->record.len;
	return 0;
}

int tl_otlp_write(struct tl_otlp *otlp, struct tl_buf *out)
{
	for (size_t i = 0; i < otlp->n_groups; i++)
		otlp->encoder->group(tl_buf_span(&otlp->groups[i].resource),
				     tl_buf_span(&otlp->groups[i].records), i == 0, out);
	otlp->encoder->end(out);
	tl_otlp_clear(otlp);
	return out->failed ? -ENOBUFS : 0;
}

int tl_otlp_each(struct tl_otlp *otlp,
		 int (*each)(void *arg, uint64_t resource, struct tl_span request, size_t records),
		 void *arg)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < otlp->n_groups; i++) {
		const struct group *group = &otlp->groups[i];

		if (!group->n)
			continue;
		tl_buf_clear(&otlp->request);
		otlp->encoder->group(tl_buf_span(&group->resource), tl_buf_span(&group->records),
				     true, &otlp->request);
		otlp->encoder->end(&otlp->request);
		r = otlp->request.failed
			    ? -ENOMEM
			    : each(arg, group->hash, tl_buf_span(&otlp->request), group->n);
	}
	tl_otlp_clear(otlp);
	return r;
}

static const char *const integers[] = {"process.pid", "process.parent_pid", "thread.id"};

/* A JSON number as int64, when it is a whole one that fits. */
static bool whole(struct tl_span text, int64_t *ret)
{
	char copy[24], *end;

	if (!text.len || text.len >= sizeof(copy) || (text.data[0] != '-' && text.data[0] < '0') ||
	    text.data[0] > '9')
		return false;
	memcpy(copy, text.data, text.len);
	copy[text.len] = 0;
	errno = 0;
	*ret = strtoll(copy, &end, 10);
	return !errno && !*end;
}

static double real_of(struct tl_span text)
{
	char copy[64];
	size_t len = text.len < sizeof(copy) ? text.len : sizeof(copy) - 1;

	memcpy(copy, text.data, len);
	copy[len] = 0;
	return strtod(copy, NULL);
}

struct tl_otlp_value tl_otlp_text(struct tl_span text)
{
	return (struct tl_otlp_value){.kind = tl_utf8_valid(text) ? TL_OTLP_STRING : TL_OTLP_BYTES,
				      .text = text};
}

struct tl_otlp_value tl_otlp_value_of(const struct tl_attr *attr)
{
	struct tl_otlp_value value = {.text = attr->value};

	if (attr->type == TL_ATTR_LITERAL) {
		value.kind = TL_OTLP_BOOL;
		value.integer = tl_span_is(attr->value, "true");
		if (value.integer || tl_span_is(attr->value, "false"))
			return value;
		value.kind = whole(attr->value, &value.integer) ? TL_OTLP_INT : TL_OTLP_DOUBLE;
		if (value.kind == TL_OTLP_DOUBLE)
			value.real = real_of(attr->value);
		return value;
	}
	for (size_t i = 0; i < ARRAY_SIZE(integers); i++)
		if (tl_span_is(attr->key, integers[i]) && whole(attr->value, &value.integer)) {
			value.kind = TL_OTLP_INT;
			return value;
		}
	return tl_otlp_text(attr->value);
}

bool tl_otlp_key_ok(struct tl_span key)
{
	return key.len && tl_utf8_valid(key);
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool tl_otlp_id(struct tl_span hex, unsigned char *out, size_t bytes)
{
	unsigned char any = 0;

	if (hex.len != 2 * bytes)
		return false;
	for (size_t i = 0; i < bytes; i++) {
		int high = digit(hex.data[2 * i]), low = digit(hex.data[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i] = (unsigned char)(high << 4 | low);
		any |= out[i];
	}
	return any;
}
