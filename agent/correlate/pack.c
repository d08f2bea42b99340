/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/correlate/pack.h"

#include <stdlib.h>

struct packed_id {
	const char *header;
	uint16_t len;
	uint8_t kind;
	bool duplicate, response;
};

/* Then `n` struct packed_id, then the values back to back. */
struct tl_packed {
	_Alignas(8) uint32_t n;
	uint32_t dropped, traceparents, bytes;
	int32_t primary, trace_flags;
	char trace_id[33], span_id[17];
};

static struct packed_id *entries(const struct tl_packed *packed)
{
	return (struct packed_id *)(packed + 1);
}

static char *values(const struct tl_packed *packed)
{
	return (char *)(entries(packed) + packed->n);
}

struct tl_packed *tl_ids_pack(const struct tl_ids *ids)
{
	struct tl_packed *packed;
	size_t bytes = 0;
	char *at;

	for (uint32_t i = 0; i < ids->n; i++)
		bytes += ids->id[i].len;
	packed = calloc(1, sizeof(*packed) + ids->n * sizeof(struct packed_id) + bytes);
	if (!packed)
		return NULL;
	packed->n = ids->n;
	packed->bytes = (uint32_t)bytes;
	packed->dropped = ids->dropped;
	packed->traceparents = ids->traceparents;
	packed->primary = ids->primary;
	packed->trace_flags = ids->trace_flags;
	memcpy(packed->trace_id, ids->trace_id, sizeof(packed->trace_id));
	memcpy(packed->span_id, ids->span_id, sizeof(packed->span_id));
	at = values(packed);
	for (uint32_t i = 0; i < ids->n; i++) {
		const struct tl_id *id = &ids->id[i];
		struct packed_id *entry = &entries(packed)[i];

		entry->header = id->header;
		entry->len = id->len;
		entry->kind = id->kind;
		entry->duplicate = id->duplicate;
		entry->response = id->response;
		memcpy(at, id->value, id->len);
		at += id->len;
	}
	return packed;
}

void tl_ids_unpack(const struct tl_packed *packed, struct tl_ids *ret)
{
	const char *at;

	tl_ids_init(ret);
	if (!packed)
		return;
	ret->n = packed->n;
	ret->dropped = packed->dropped;
	ret->traceparents = packed->traceparents;
	ret->primary = packed->primary;
	ret->trace_flags = packed->trace_flags;
	memcpy(ret->trace_id, packed->trace_id, sizeof(ret->trace_id));
	memcpy(ret->span_id, packed->span_id, sizeof(ret->span_id));
	at = values(packed);
	for (uint32_t i = 0; i < packed->n; i++) {
		const struct packed_id *entry = &entries(packed)[i];
		struct tl_id *id = &ret->id[i];

		id->header = entry->header;
		id->len = entry->len;
		id->kind = entry->kind;
		id->duplicate = entry->duplicate;
		id->response = entry->response;
		memcpy(id->value, at, entry->len);
		at += entry->len;
	}
}

int tl_ids_packed_primary(const struct tl_packed *packed)
{
	return packed ? packed->primary : -1;
}

bool tl_ids_packed_equal(const struct tl_packed *a, const struct tl_packed *b)
{
	if (!a || !b || !a->n || a->n != b->n || a->bytes != b->bytes)
		return false;
	for (uint32_t i = 0; i < a->n; i++)
		if (entries(a)[i].header != entries(b)[i].header ||
		    entries(a)[i].len != entries(b)[i].len)
			return false;
	return memcmp(values(a), values(b), a->bytes) == 0;
}
