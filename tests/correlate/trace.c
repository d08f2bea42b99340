/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/correlate/trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/map.h"

#define MAGIC "TLTRACE1"
#define ITEM_MAX (1u << 20)
#define PLAIN_MAX (1u << 30)
#define VALUES_MAX (1u << 24)

enum field_kind { NUMBER, VALUE, TIME }; /* VALUE: by index; TIME: difference to the one before */

struct field {
	uint16_t offset;
	uint8_t size, kind;
};

#define F(type, member, how)                                                                       \
	{                                                                                          \
		offsetof(struct type, member), sizeof(((struct type *)0)->member), how             \
	}
#define HEAD(type)                                                                                 \
	F(type, h.unit_kind, NUMBER), F(type, h.flags, NUMBER), F(type, h.syscall_class, NUMBER),  \
		F(type, h.len, NUMBER), F(type, h.time_ns, TIME), F(type, h.tgid, VALUE),          \
		F(type, h.tid, VALUE), F(type, h.start_ns, VALUE), F(type, h.unit, VALUE),         \
		F(type, h.lost_gen, NUMBER)

/* New members of the structs go to the ends of these, as NUMBER: older readers skip them. */
static const struct field log_fields[] = {
	HEAD(tl_ev_log),
	F(tl_ev_log, file.ino, VALUE),
	F(tl_ev_log, file.dev, VALUE),
	F(tl_ev_log, file.gen, VALUE),
	F(tl_ev_log, lost_bytes, NUMBER),
	F(tl_ev_log, call_off, NUMBER),
	F(tl_ev_log, call_len, NUMBER),
	F(tl_ev_log, h.waited_ns, NUMBER),
};
static const struct field file_fields[] = {
	HEAD(tl_ev_file),
	F(tl_ev_file, file.ino, VALUE),
	F(tl_ev_file, file.dev, VALUE),
	F(tl_ev_file, file.gen, VALUE),
	F(tl_ev_file, kind, NUMBER),
	F(tl_ev_file, f_flags, NUMBER),
	F(tl_ev_file, fd, NUMBER),
	F(tl_ev_file, path_len, NUMBER),
	F(tl_ev_file, h.waited_ns, NUMBER),
};
static const struct field wire_fields[] = {
	HEAD(tl_ev_wire),
	F(tl_ev_wire, sock, VALUE),
	F(tl_ev_wire, sock_ino, VALUE),
	F(tl_ev_wire, call_len, NUMBER),
	F(tl_ev_wire, family, NUMBER),
	F(tl_ev_wire, local_port, NUMBER),
	F(tl_ev_wire, remote_port, NUMBER),
	F(tl_ev_wire, h.waited_ns, NUMBER),
	F(tl_ev_wire, placed, NUMBER),
	F(tl_ev_wire, seq, NUMBER),
	F(tl_ev_wire, wraps, NUMBER),
	F(tl_ev_wire, base_in, NUMBER),
	F(tl_ev_wire, base_out, NUMBER),
};
static const struct field proc_fields[] = {
	HEAD(tl_ev_proc),
	F(tl_ev_proc, what, NUMBER),
	F(tl_ev_proc, parent, VALUE),
	F(tl_ev_proc, h.waited_ns, NUMBER),
};
static const struct field unit_fields[] = {
	HEAD(tl_ev_unit),
	F(tl_ev_unit, parent, VALUE),
};

struct shape {
	const struct field *fields;
	uint32_t n, size;
};

#define SHAPE(fields, type)                                                                        \
	{                                                                                          \
		fields, ARRAY_SIZE(fields), sizeof(struct type)                                    \
	}
static const struct shape shapes[] = {
	[TL_EV_LOG] = SHAPE(log_fields, tl_ev_log),
	[TL_EV_FILE] = SHAPE(file_fields, tl_ev_file),
	[TL_EV_WIRE] = SHAPE(wire_fields, tl_ev_wire),
	[TL_EV_SOCK] = SHAPE(wire_fields, tl_ev_wire),
	[TL_EV_PROC] = SHAPE(proc_fields, tl_ev_proc),
	[TL_EV_UNIT] = SHAPE(unit_fields, tl_ev_unit),
};

static uint64_t load(const void *base, const struct field *field)
{
	uint64_t value = 0;

	memcpy(&value, (const char *)base + field->offset, field->size);
	return value;
}

/* --- writing --- */

struct tl_trace_writer {
	FILE *file;
	struct tl_buf item;
	struct tl_map *values; /* u64 -> u32 index */
	uint64_t last_ns;
};

static void put(struct tl_buf *buf, uint64_t value)
{
	while (value >= 0x80) {
		tl_buf_putc(buf, (char)(value | 0x80));
		value >>= 7;
	}
	tl_buf_putc(buf, (char)value);
}

static void put_value(struct tl_trace_writer *writer, uint64_t value)
{
	bool added = false;
	uint32_t *index = tl_map_put(writer->values, &value, &added);

	if (!index)
		abort();
	if (added)
		*index = (uint32_t)tl_map_count(writer->values) - 1;
	put(&writer->item, *index);
	if (added)
		put(&writer->item, value);
}

static void put_field(struct tl_trace_writer *writer, const void *base, const struct field *field)
{
	uint64_t value = load(base, field);
	int64_t step;

	switch (field->kind) {
	case VALUE:
		put_value(writer, value);
		break;
	case TIME:
		step = (int64_t)(value - writer->last_ns);
		put(&writer->item, (uint64_t)step << 1 ^ (uint64_t)(step >> 63));
		writer->last_ns = value;
		break;
	default:
		put(&writer->item, value);
	}
}

struct tl_trace_writer *tl_trace_create(const char *path)
{
	struct tl_trace_writer *writer = calloc(1, sizeof(*writer));

	if (!writer)
		return NULL;
	writer->values = tl_map_new(8, 4, VALUES_MAX);
	writer->file = fopen(path, "we");
	if (!writer->file || !writer->values || fwrite(MAGIC, 8, 1, writer->file) != 1) {
		tl_trace_close(writer);
		return NULL;
	}
	return writer;
}

static void put_event(struct tl_trace_writer *writer, const struct tl_event *event)
{
	const struct shape *shape = &shapes[event->type];

	put(&writer->item, event->type);
	put(&writer->item, shape->n);
	for (uint32_t i = 0; i < shape->n; i++)
		put_field(writer, event, &shape->fields[i]);
	tl_buf_add(&writer->item, (const char *)event + shape->size, event->len);
}

bool tl_trace_write(struct tl_trace_writer *writer, const struct tl_trace_item *item)
{
	struct tl_buf *buf = &writer->item;
	unsigned char head[4];

	tl_buf_clear(buf);
	tl_buf_putc(buf, (char)item->kind);
	if (item->kind == TL_TRACE_EVENT) {
		put_event(writer, item->event);
	} else if (item->kind == TL_TRACE_SERVICE) {
		put(buf, item->tgid);
		put_value(writer, item->start_ns);
		put(buf, item->service);
	} else {
		put(buf, item->now_ns);
	}
	for (int i = 0; i < 4; i++)
		head[i] = (unsigned char)(buf->len >> (8 * i));
	if (fwrite(head, 4, 1, writer->file) != 1 ||
	    fwrite(buf->data, buf->len, 1, writer->file) != 1)
		return false;
	return item->kind != TL_TRACE_TICK || fflush(writer->file) == 0;
}

void tl_trace_close(struct tl_trace_writer *writer)
{
	if (!writer)
		return;
	if (writer->file)
		fclose(writer->file);
	tl_map_free(writer->values);
	tl_buf_done(&writer->item);
	free(writer);
}

/* --- reading --- */

struct tl_trace {
	unsigned char *data;
	size_t len, at, end; /* end: of the item being read */
	uint64_t *values;
	size_t n_values, values_room;
	uint64_t last_ns;
	bool bad;
	_Alignas(8) unsigned char event[sizeof(struct tl_ev_wire) + ITEM_MAX];
};

static uint64_t get(struct tl_trace *trace)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		unsigned char c;

		if (trace->at >= trace->end)
			break;
		c = trace->data[trace->at++];
		value |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80))
			return value;
	}
	trace->bad = true;
	return 0;
}

static uint64_t get_value(struct tl_trace *trace)
{
	uint64_t index = get(trace);

	if (index < trace->n_values)
		return trace->values[index];
	if (index > trace->n_values || trace->bad) {
		trace->bad = true;
		return 0;
	}
	if (trace->n_values == trace->values_room) {
		size_t room = trace->values_room ? trace->values_room * 2 : 1024;
		uint64_t *grown = realloc(trace->values, room * sizeof(*grown));

		if (!grown)
			abort();
		trace->values = grown;
		trace->values_room = room;
	}
	return trace->values[trace->n_values++] = get(trace);
}

static uint64_t get_field(struct tl_trace *trace, uint8_t kind)
{
	uint64_t value;

	if (kind == VALUE)
		return get_value(trace);
	value = get(trace);
	if (kind == TIME)
		value = trace->last_ns += value >> 1 ^ (~(value & 1) + 1);
	return value;
}

static int inflate(struct tl_trace *trace, unsigned char *packed, size_t len)
{
	unsigned long long size = ZSTD_getFrameContentSize(packed, len);

	if (size > PLAIN_MAX)
		return -EBADMSG;
	trace->data = malloc(size ? size : 1);
	if (!trace->data)
		return -ENOMEM;
	trace->len = ZSTD_decompress(trace->data, size, packed, len);
	return ZSTD_isError(trace->len) ? -EBADMSG : 0;
}

static int read_file(const char *path, unsigned char **ret_data, size_t *ret_len)
{
	FILE *file = fopen(path, "re");
	unsigned char *data;
	long size;

	if (!file)
		return -errno;
	fseek(file, 0, SEEK_END);
	size = ftell(file);
	rewind(file);
	data = malloc((size_t)size + 1);
	if (!data || size < 0 || fread(data, 1, (size_t)size, file) != (size_t)size) {
		free(data);
		fclose(file);
		return -EIO;
	}
	fclose(file);
	*ret_data = data;
	*ret_len = (size_t)size;
	return 0;
}

int tl_trace_open(const char *path, struct tl_trace **ret_trace)
{
	struct tl_trace *trace = calloc(1, sizeof(*trace));
	unsigned char *data = NULL;
	size_t len = 0;
	int r;

	if (!trace)
		return -ENOMEM;
	r = read_file(path, &data, &len);
	if (r == 0 && len >= 4 && memcmp(data, "\x28\xb5\x2f\xfd", 4) == 0) {
		r = inflate(trace, data, len);
		free(data);
	} else {
		trace->data = data;
		trace->len = len;
	}
	if (r == 0 && (trace->len < 8 || memcmp(trace->data, MAGIC, 8) != 0))
		r = -EBADMSG;
	if (r < 0) {
		tl_trace_free(trace);
		return r;
	}
	tl_trace_rewind(trace);
	*ret_trace = trace;
	return 0;
}

void tl_trace_rewind(struct tl_trace *trace)
{
	trace->at = 8;
	trace->n_values = 0;
	trace->last_ns = 0;
	trace->bad = false;
}

static void get_event(struct tl_trace *trace, struct tl_trace_item *item)
{
	struct tl_event *event = (struct tl_event *)trace->event;
	uint64_t type = get(trace), n = get(trace);
	const struct shape *shape;

	if (type >= ARRAY_SIZE(shapes) || !shapes[type].n) {
		trace->bad = true;
		return;
	}
	shape = &shapes[type];
	memset(trace->event, 0, shape->size);
	event->type = (uint8_t)type;
	for (uint64_t i = 0; i < n && !trace->bad; i++) {
		uint64_t value = get_field(trace, i < shape->n ? shape->fields[i].kind : NUMBER);

		if (i < shape->n)
			memcpy(trace->event + shape->fields[i].offset, &value,
			       shape->fields[i].size);
	}
	if (trace->bad || trace->end - trace->at != event->len) {
		trace->bad = true;
		return;
	}
	memcpy(trace->event + shape->size, trace->data + trace->at, event->len);
	item->event = event;
}

int tl_trace_next(struct tl_trace *trace, struct tl_trace_item *item)
{
	size_t len = 0;

	/* A recorder that was killed leaves a torn tail. */
	if (trace->len - trace->at < 4)
		return 0;
	for (int i = 0; i < 4; i++)
		len |= (size_t)trace->data[trace->at++] << (8 * i);
	if (len < 1 || len > ITEM_MAX)
		return -EBADMSG;
	if (len > trace->len - trace->at)
		return 0;
	trace->end = trace->at + len;
	*item = (struct tl_trace_item){.kind = trace->data[trace->at++]};
	if (item->kind == TL_TRACE_EVENT) {
		get_event(trace, item);
	} else if (item->kind == TL_TRACE_SERVICE) {
		item->tgid = (uint32_t)get(trace);
		item->start_ns = get_value(trace);
		item->service = get(trace);
	} else {
		item->now_ns = get(trace);
	}
	trace->at = trace->end;
	return trace->bad ? -EBADMSG : 1;
}

void tl_trace_free(struct tl_trace *trace)
{
	if (!trace)
		return;
	free(trace->data);
	free(trace->values);
	free(trace);
}
