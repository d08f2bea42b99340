/* SPDX-License-Identifier: Apache-2.0 */
/* The packed form of entries, written as it is in memory (little-endian; fields copied, never
 * pointed at). A version is only added to at the end of the fixed part, whose size is `fixed`, so
 * that version N+1 reads N. Internal to userspace/record. */
#ifndef TL_RECORD_ENTRY_FORMAT_H
#define TL_RECORD_ENTRY_FORMAT_H

#include "userspace/record/record.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "entries are little-endian");

#define TL_ENTRY_VERSION 1
#define TL_ENTRY_HAS_TRACE_FLAGS 1

/* After it: severity text, trace id, span id, body, then the attributes. */
struct tl_entry_fixed {
	uint8_t version;
	uint8_t fixed; /* bytes of this struct */
	uint8_t severity_number;
	uint8_t flags; /* TL_ENTRY_HAS_TRACE_FLAGS */
	uint32_t resource;
	uint64_t epoch, stream, offset;
	uint64_t timestamp_ns, observed_ns;
	uint32_t body_len;
	uint32_t dropped; /* attributes that did not fit */
	uint16_t n_attrs;
	uint16_t severity_len;
	uint8_t trace_id_len;
	uint8_t span_id_len;
	uint8_t trace_flags;
	uint8_t reserved;
};
_Static_assert(sizeof(struct tl_entry_fixed) == 64, "format");

/* After it: the attributes. */
struct tl_entry_resource_fixed {
	uint8_t version;
	uint8_t fixed;
	uint16_t n_attrs;
	uint32_t number;
	uint32_t dropped;
	uint32_t reserved;
};
_Static_assert(sizeof(struct tl_entry_resource_fixed) == 16, "format");

/* After it: key, value. */
struct tl_entry_attr_fixed {
	uint16_t key_len;
	uint8_t type; /* enum tl_attr_type */
	uint8_t reserved;
	uint32_t value_len;
};
_Static_assert(sizeof(struct tl_entry_attr_fixed) == 8, "format");

/* Takes the next attribute from `rest`. Returns false when it does not fit: malformed. */
static inline bool tl_entry_take_attr(struct tl_span *rest, struct tl_attr *ret)
{
	struct tl_entry_attr_fixed fixed;
	const char *p = rest->data;
	uint64_t size;

	if (rest->len < sizeof(fixed))
		return false;
	memcpy(&fixed, p, sizeof(fixed));
	size = sizeof(fixed) + (uint64_t)fixed.key_len + fixed.value_len;
	if (size > rest->len || fixed.type > TL_ATTR_LITERAL)
		return false;
	p += sizeof(fixed);
	*ret = (struct tl_attr){
		{p, fixed.key_len}, {p + fixed.key_len, fixed.value_len}, fixed.type};
	rest->data += size;
	rest->len -= size;
	return true;
}

#endif
