/* SPDX-License-Identifier: Apache-2.0 */
/* Packing and unpacking of records. Unpacking trusts nothing but what was checked against the
 * entry's length: a log may come from a newer program or a bad disk. */
#include "userspace/record/entry.h"

#include "userspace/base/json.h"
#include "userspace/record/entry_format.h"
#include "userspace/record/record_emit.h"
#include "userspace/record/resources.h"

static char *put_hex(char *p, uint64_t v, int digits)
{
	for (int i = digits - 1; i >= 0; i--)
		*p++ = "0123456789abcdef"[v >> (4 * i) & 15];
	return p;
}

static int hex_digits(uint64_t v)
{
	return v ? (67 - __builtin_clzll(v)) / 4 : 1;
}

size_t tl_uid_format(const struct tl_uid *uid, char out[TL_UID_MAX])
{
	char *p = put_hex(out, uid->epoch, 16);

	*p++ = '-';
	p = put_hex(p, uid->stream, hex_digits(uid->stream));
	*p++ = '-';
	p = put_hex(p, uid->offset, hex_digits(uid->offset));
	*p = '\0';
	return (size_t)(p - out);
}

/* --- packing --- */

static int attrs_size(const struct tl_attrs *attrs, size_t *ret)
{
	size_t size = 0;

	for (uint32_t i = 0; i < attrs->n; i++) {
		const struct tl_attr *attr = &attrs->items[i];

		if (attr->key.len > UINT16_MAX || attr->value.len > UINT32_MAX)
			return -EINVAL;
		size += sizeof(struct tl_entry_attr_fixed) + attr->key.len + attr->value.len;
	}
	*ret = size;
	return 0;
}

static char *put_span(char *p, struct tl_span s)
{
	if (s.len)
		memcpy(p, s.data, s.len);
	return p + s.len;
}

static char *put_attrs(char *p, const struct tl_attrs *attrs)
{
	for (uint32_t i = 0; i < attrs->n; i++) {
		const struct tl_attr *attr = &attrs->items[i];
		struct tl_entry_attr_fixed fixed = {
			.key_len = (uint16_t)attr->key.len,
			.type = attr->type,
			.value_len = (uint32_t)attr->value.len,
		};

		memcpy(p, &fixed, sizeof(fixed));
		p = put_span(p + sizeof(fixed), attr->key);
		p = put_span(p, attr->value);
	}
	return p;
}

static struct tl_entry_fixed fixed_part(const struct tl_record *record, const struct tl_uid *uid,
					uint32_t resource)
{
	return (struct tl_entry_fixed){
		.version = TL_ENTRY_VERSION,
		.fixed = sizeof(struct tl_entry_fixed),
		.severity_number = record->severity_number,
		.flags = record->trace_flags >= 0 ? TL_ENTRY_HAS_TRACE_FLAGS : 0,
		.resource = resource,
		.epoch = uid->epoch,
		.stream = uid->stream,
		.offset = uid->offset,
		.timestamp_ns = record->timestamp_ns,
		.observed_ns = record->observed_ns,
		.body_len = (uint32_t)record->body.len,
		.dropped = record->attributes.dropped,
		.n_attrs = (uint16_t)record->attributes.n,
		.severity_len = (uint16_t)record->severity_text.len,
		.trace_id_len = (uint8_t)record->trace_id.len,
		.span_id_len = (uint8_t)record->span_id.len,
		.trace_flags = (uint8_t)(record->trace_flags >= 0 ? record->trace_flags : 0),
	};
}

int tl_entry_pack(const struct tl_record *record, const struct tl_uid *uid,
		  uint32_t resource_number, struct tl_buf *out)
{
	struct tl_entry_fixed fixed = fixed_part(record, uid, resource_number);
	size_t size;
	char *p;

	if (attrs_size(&record->attributes, &size) < 0 || record->body.len > UINT32_MAX ||
	    record->severity_text.len > UINT16_MAX || record->trace_id.len > UINT8_MAX ||
	    record->span_id.len > UINT8_MAX)
		return -EINVAL;
	size += sizeof(fixed) + record->severity_text.len + record->trace_id.len +
		record->span_id.len + record->body.len;
	if (tl_buf_reserve(out, size) < 0)
		return -ENOBUFS;
	p = out->data + out->len;
	memcpy(p, &fixed, sizeof(fixed));
	p = put_span(p + sizeof(fixed), record->severity_text);
	p = put_span(p, record->trace_id);
	p = put_span(p, record->span_id);
	p = put_span(p, record->body);
	put_attrs(p, &record->attributes);
	out->len += size;
	return 0;
}

int tl_entry_pack_resource(uint32_t number, const struct tl_attrs *resource, struct tl_buf *out)
{
	struct tl_entry_resource_fixed fixed = {
		.version = TL_ENTRY_VERSION,
		.fixed = sizeof(fixed),
		.n_attrs = (uint16_t)resource->n,
		.number = number,
		.dropped = resource->dropped,
	};
	size_t size;

	if (number == 0 || attrs_size(resource, &size) < 0)
		return -EINVAL;
	if (tl_buf_reserve(out, sizeof(fixed) + size) < 0)
		return -ENOBUFS;
	memcpy(out->data + out->len, &fixed, sizeof(fixed));
	put_attrs(out->data + out->len + sizeof(fixed), resource);
	out->len += sizeof(fixed) + size;
	return 0;
}

/* --- unpacking --- */

static struct tl_span take(struct tl_span *rest, size_t len)
{
	struct tl_span s = {rest->data, len};

	rest->data += len;
	rest->len -= len;
	return s;
}

/* Reads the fixed part and the texts; `*ret_rest` is the attributes. Attributes of `record` are
 * emptied, its uid too. */
static int unpack(struct tl_span data, struct tl_entry_fixed *fixed, struct tl_record *record,
		  struct tl_span *ret_rest)
{
	struct tl_span rest = data;

	if (data.len < sizeof(*fixed))
		return -EBADMSG;
	memcpy(fixed, data.data, sizeof(*fixed));
	if (fixed->version == 0 || fixed->version > TL_ENTRY_VERSION ||
	    fixed->fixed < sizeof(*fixed) || fixed->n_attrs > TL_ATTRS_MAX ||
	    data.len < (uint64_t)fixed->fixed + fixed->severity_len + fixed->trace_id_len +
			       fixed->span_id_len + fixed->body_len)
		return -EBADMSG;
	take(&rest, fixed->fixed);
	tl_record_reset(record);
	record->timestamp_ns = fixed->timestamp_ns;
	record->observed_ns = fixed->observed_ns;
	record->severity_number = fixed->severity_number;
	record->trace_flags = fixed->flags & TL_ENTRY_HAS_TRACE_FLAGS ? fixed->trace_flags : -1;
	record->severity_text = take(&rest, fixed->severity_len);
	record->trace_id = take(&rest, fixed->trace_id_len);
	record->span_id = take(&rest, fixed->span_id_len);
	record->body = take(&rest, fixed->body_len);
	*ret_rest = rest;
	return 0;
}

static struct tl_uid uid_of(const struct tl_entry_fixed *fixed)
{
	return (struct tl_uid){fixed->epoch, fixed->stream, fixed->offset};
}

int tl_entry_peek(struct tl_span data, struct tl_uid *ret_uid, struct tl_record *ret_record)
{
	struct tl_entry_fixed fixed;
	struct tl_span rest;
	int r = unpack(data, &fixed, ret_record, &rest);

	if (r == 0)
		*ret_uid = uid_of(&fixed);
	return r;
}

int tl_entry_attr(struct tl_span data, const char *key, struct tl_span *ret_value)
{
	struct tl_span rest, wanted = tl_span_str(key);
	struct tl_entry_fixed fixed;
	struct tl_record record;
	struct tl_attr attr;
	int r = unpack(data, &fixed, &record, &rest);

	for (unsigned i = 0; r == 0 && i < fixed.n_attrs; i++) {
		if (!tl_entry_take_attr(&rest, &attr))
			return -EBADMSG;
		if (tl_span_eq(attr.key, wanted)) {
			*ret_value = attr.value;
			return 1;
		}
	}
	return r;
}

static int copy_resource(const struct tl_resources *resources, uint32_t number,
			 struct tl_attrs *attrs)
{
	const struct tl_resource *resource;

	if (number == 0)
		return 0;
	resource = tl_resources_get(resources, number);
	if (!resource)
		return -ENOENT;
	memcpy(attrs->items, resource->attrs, resource->n * sizeof(*attrs->items));
	attrs->n = resource->n;
	attrs->dropped = resource->dropped;
	return 0;
}

int tl_entry_to_record(struct tl_span data, const struct tl_resources *resources,
		       struct tl_arena *arena, struct tl_record *ret_record)
{
	struct tl_attrs *attrs = &ret_record->attributes;
	struct tl_entry_fixed fixed;
	char uid[TL_UID_MAX];
	struct tl_uid numbers;
	struct tl_span rest;
	int r = unpack(data, &fixed, ret_record, &rest);

	if (r < 0)
		return r;
	for (; attrs->n < fixed.n_attrs; attrs->n++)
		if (!tl_entry_take_attr(&rest, &attrs->items[attrs->n]))
			return -EBADMSG;
	attrs->dropped = fixed.dropped;
	r = copy_resource(resources, fixed.resource, &ret_record->resource);
	if (r < 0)
		return r;
	numbers = uid_of(&fixed);
	ret_record->uid = tl_arena_copy(arena, (struct tl_span){uid, tl_uid_format(&numbers, uid)});
	return ret_record->uid.data ? 0 : -ENOBUFS;
}

static int emit_attributes(struct tl_emit *emit, struct tl_span rest, unsigned n, bool text)
{
	struct tl_attr attr;

	tl_emit_attributes_begin(emit);
	for (unsigned i = 0; i < n; i++) {
		if (!tl_entry_take_attr(&rest, &attr))
			return -EBADMSG;
		if (text || !tl_span_is(attr.key, TL_BASE64_KEY))
			tl_emit_attr(emit, attr.key, attr.value, attr.type);
	}
	return 0;
}

int tl_entry_to_json(struct tl_span data, const struct tl_resources *resources, struct tl_buf *out)
{
	const struct tl_resource *resource = NULL;
	struct tl_entry_fixed fixed;
	struct tl_record record; /* only its first fields are used */
	char uid[TL_UID_MAX];
	struct tl_uid numbers;
	struct tl_emit emit;
	struct tl_span rest;
	bool text;
	int r = unpack(data, &fixed, &record, &rest);

	if (r < 0)
		return r;
	if (fixed.resource && !(resource = tl_resources_get(resources, fixed.resource)))
		return -ENOENT;
	numbers = uid_of(&fixed);
	record.uid = (struct tl_span){uid, tl_uid_format(&numbers, uid)};
	text = tl_utf8_valid(record.body);
	tl_emit_begin(&emit, out, 512 + data.len * 2 + (resource ? resource->json.len : 0));
	tl_emit_head(&emit, &record);
	tl_emit_resource_text(&emit, resource ? tl_buf_span(&resource->json) : TL_SPAN_LIT("{}"));
	r = emit_attributes(&emit, rest, fixed.n_attrs, text);
	if (r < 0)
		emit.failed = true;
	else
		tl_emit_attributes_end(&emit, fixed.dropped, text ? NULL : &record.body);
	return tl_emit_end(&emit) < 0 && r == 0 ? -ENOBUFS : r;
}
