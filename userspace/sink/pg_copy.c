/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/sink/pg_copy.h"

#include <endian.h>

#define OID_INT8 20

static void put16(struct tl_buf *out, uint16_t value)
{
	value = htobe16(value);
	tl_buf_add(out, &value, sizeof(value));
}

static void put32(struct tl_buf *out, uint32_t value)
{
	value = htobe32(value);
	tl_buf_add(out, &value, sizeof(value));
}

void tl_copy_row(struct tl_buf *out, int16_t n)
{
	put16(out, (uint16_t)n);
}

void tl_copy_null(struct tl_buf *out)
{
	put32(out, UINT32_MAX);
}

void tl_copy_i16(struct tl_buf *out, int16_t value)
{
	put32(out, sizeof(value));
	put16(out, (uint16_t)value);
}

void tl_copy_i32(struct tl_buf *out, int32_t value)
{
	put32(out, sizeof(value));
	put32(out, (uint32_t)value);
}

/* Length and value in one piece: most fields are such. */
static void put_field64(struct tl_buf *out, uint64_t value)
{
	struct {
		uint32_t len;
		uint64_t value;
	} __attribute__((packed)) field = {htobe32(sizeof(value)), htobe64(value)};

	tl_buf_add(out, &field, sizeof(field));
}

void tl_copy_i64(struct tl_buf *out, int64_t value)
{
	put_field64(out, (uint64_t)value);
}

void tl_copy_f64(struct tl_buf *out, double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	put_field64(out, bits);
}

void tl_copy_bytes(struct tl_buf *out, struct tl_span value)
{
	put32(out, (uint32_t)value.len);
	tl_buf_add(out, value.data, value.len);
}

void tl_copy_time(struct tl_buf *out, uint64_t wall_ns)
{
	tl_copy_i64(out, (int64_t)(wall_ns / 1000) - TL_COPY_EPOCH_US);
}

/* Sets the length of a field that began at `begin` (where its length is). */
static void patch_length(struct tl_buf *out, size_t begin)
{
	uint32_t len;

	if (out->failed)
		return;
	len = htobe32((uint32_t)(out->len - begin - sizeof(len)));
	memcpy(out->data + begin, &len, sizeof(len));
}

void tl_copy_text(struct tl_buf *out, struct tl_span value, bool null_if_empty)
{
	size_t begin = out->len;
	const char *nul;

	if (null_if_empty && !value.len) {
		tl_copy_null(out);
		return;
	}
	if (!value.len || !memchr(value.data, 0, value.len)) {
		tl_copy_bytes(out, value);
		return;
	}
	put32(out, 0);
	while ((nul = memchr(value.data, 0, value.len))) {
		tl_buf_add(out, value.data, (size_t)(nul - value.data));
		tl_buf_puts(out, "\xef\xbf\xbd");
		value.len -= (size_t)(nul - value.data) + 1;
		value.data = nul + 1;
	}
	tl_buf_add(out, value.data, value.len);
	patch_length(out, begin);
}

/* Every escape is stepped over, so that the second half of an escaped backslash begins none. */
static void hide_nul(char *json, size_t len)
{
	for (size_t i = 0; i + 1 < len; i++) {
		char *backslash = memchr(json + i, '\\', len - i - 1);

		if (!backslash)
			return;
		i = (size_t)(backslash - json) + 1;
		if (len - i >= 5 && memcmp(json + i, "u0000", 5) == 0)
			memcpy(json + i, "ufffd", 5);
	}
}

void tl_copy_jsonb(struct tl_buf *out, struct tl_span json)
{
	size_t begin = out->len + sizeof(uint32_t) + 1;

	put32(out, (uint32_t)json.len + 1);
	tl_buf_putc(out, 1); /* the format's version */
	tl_buf_add(out, json.data, json.len);
	if (!out->failed)
		hide_nul(out->data + begin, json.len);
}

void tl_copy_i64_array(struct tl_buf *out, const uint64_t *values, size_t n)
{
	put32(out, (uint32_t)(20 + 12 * n));
	put32(out, 1); /* dimensions */
	put32(out, 0); /* no NULLs */
	put32(out, OID_INT8);
	put32(out, (uint32_t)n);
	put32(out, 1); /* the first index */
	for (size_t i = 0; i < n; i++)
		put_field64(out, values[i]);
}

bool tl_copy_read(struct tl_span rows, size_t *at, size_t n, uint64_t *ret_value)
{
	uint64_t value = 0;

	if (rows.len - *at < n)
		return false;
	for (size_t i = 0; i < n; i++)
		value = value << 8 | (unsigned char)rows.data[*at + i];
	*at += n;
	*ret_value = value;
	return true;
}

bool tl_copy_read_field(struct tl_span rows, size_t *at, struct tl_span *ret_field)
{
	uint64_t len;

	if (!tl_copy_read(rows, at, 4, &len))
		return false;
	if (len == UINT32_MAX) {
		*ret_field = (struct tl_span){0};
		return true;
	}
	if (rows.len - *at < len)
		return false;
	*ret_field = (struct tl_span){rows.data + *at, len};
	*at += len;
	return true;
}

uint64_t tl_copy_number(struct tl_span field)
{
	uint64_t value = 0;
	size_t at = 0;

	return tl_copy_read(field, &at, field.len, &value) ? value : 0;
}

double tl_copy_double(struct tl_span field)
{
	uint64_t bits = tl_copy_number(field);
	double value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}
