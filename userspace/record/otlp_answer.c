/* SPDX-License-Identifier: Apache-2.0 */
/* What an OTLP server says: ExportLogsServiceResponse after 200, google.rpc.Status after 4xx and
 * 5xx (or a proxy's page). */
#include <stdlib.h>

#include "userspace/base/json.h"
#include "userspace/record/otlp_internal.h"

/* One line of printable text. */
static void copy_text(struct tl_span text, char *out, size_t size)
{
	size_t n = text.len < size - 1 ? text.len : size - 1;

	/* Not in the midst of a character. */
	while (n && n < text.len && ((unsigned char)text.data[n] & 0xc0) == 0x80)
		n--;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text.data[i];

		out[i] = c < 0x20 || c == 0x7f ? ' ' : (char)c;
	}
	out[n] = 0;
}

static void copy_json_string(const struct tl_json_value *value, char *out, size_t size)
{
	_cleanup_(tl_buf_done) struct tl_buf text = {.max = 65536};

	if (value->type == TL_JSON_STRING && tl_json_unescape(value->raw, &text) == 0)
		copy_text(tl_buf_span(&text), out, size);
}

static int proto_partial(struct tl_span at, struct tl_otlp_answer *ret)
{
	struct tl_span bytes;
	uint64_t number;
	int field;

	while ((field = tl_otlp_field(&at, &number, &bytes)) > 0) {
		if (field == 1)
			ret->rejected = number > INT64_MAX ? 0 : number;
		else if (field == 2)
			copy_text(bytes, ret->message, sizeof(ret->message));
	}
	return field;
}

static int proto_answer(struct tl_span at, struct tl_otlp_answer *ret)
{
	struct tl_span bytes;
	uint64_t number;
	int field;

	while ((field = tl_otlp_field(&at, &number, &bytes)) > 0)
		if (field == 1 && proto_partial(bytes, ret) < 0)
			return -EBADMSG;
	return field;
}

/* int64 is a string in proto3's JSON, and a number by those who do not know. */
static uint64_t json_number(const struct tl_json_value *value)
{
	char copy[24];

	if (value->raw.len >= sizeof(copy))
		return 0;
	memcpy(copy, value->raw.data, value->raw.len);
	copy[value->raw.len] = 0;
	return copy[0] == '-' ? 0 : strtoull(copy, NULL, 10);
}

static int json_answer(struct tl_span body, struct tl_otlp_answer *ret)
{
	struct tl_json_value partial, value;
	int r = tl_json_find(body, "partialSuccess", &partial);

	if (r <= 0)
		return r < 0 ? -EBADMSG : 0;
	if (partial.type != TL_JSON_OBJECT)
		return partial.type == TL_JSON_NULL ? 0 : -EBADMSG;
	if (tl_json_find(partial.raw, "rejectedLogRecords", &value) == 1)
		ret->rejected = json_number(&value);
	if (tl_json_find(partial.raw, "errorMessage", &value) == 1)
		copy_json_string(&value, ret->message, sizeof(ret->message));
	return 0;
}

int tl_otlp_read_answer(enum tl_otlp_encoding encoding, struct tl_span body,
			struct tl_otlp_answer *ret)
{
	*ret = (struct tl_otlp_answer){0};
	if (!body.len)
		return 0;
	return encoding == TL_OTLP_JSON ? json_answer(body, ret) : proto_answer(body, ret);
}

static bool proto_status(struct tl_span at, struct tl_span *ret)
{
	struct tl_span bytes;
	uint64_t number;
	int field;

	*ret = (struct tl_span){NULL, 0};
	while ((field = tl_otlp_field(&at, &number, &bytes)) > 0)
		if (field == 2 && tl_utf8_valid(bytes))
			*ret = bytes;
	return field == 0 && ret->len;
}

void tl_otlp_read_status(struct tl_span body, char *out, size_t size)
{
	struct tl_json_value value;
	struct tl_span message;

	out[0] = 0;
	if (tl_json_find(body, "message", &value) == 1)
		copy_json_string(&value, out, size);
	else if (proto_status(body, &message))
		copy_text(message, out, size);
	else
		copy_text(body, out, size);
}
