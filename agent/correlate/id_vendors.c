/* SPDX-License-Identifier: Apache-2.0 */
/* Formats of single vendors. Sources: SkyWalking cross process propagation headers v3 (sw8), Sentry
 * SDK performance (sentry-trace), OpenCensus binary encoding (grpc-trace-bin), .NET
 * HierarchicalRequestId (request-id), Cloudflare HTTP headers (cf-ray). */
#include "agent/correlate/id_formats.h"

#include "userspace/record/base64.h"

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static bool all_hex(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!is_hex(s[i]))
			return false;
	return n > 0;
}

static bool is_base64(struct tl_span s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.data[i];

		if (!((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
		      c == '+' || c == '/' || c == '='))
			return false;
	}
	return s.len > 0;
}

/* Lower case, and not all zeros. */
static bool take_hex(char *out, const char *s, size_t n)
{
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		out[i] = s[i] >= 'A' && s[i] <= 'F' ? (char)(s[i] | 0x20) : s[i];
		any |= s[i] != '0';
	}
	out[n] = '\0';
	if (!any)
		out[0] = '\0';
	return any;
}

static bool all_digits(struct tl_span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.data[i] < '0' || s.data[i] > '9')
			return false;
	return s.len > 0;
}

/* The part before the next `-`; `rest` goes on behind it. */
static struct tl_span next_field(struct tl_span *rest)
{
	const char *dash = rest->len ? memchr(rest->data, '-', rest->len) : NULL;
	struct tl_span field = {rest->data, dash ? (size_t)(dash - rest->data) : rest->len};
	size_t used = field.len + (dash != NULL);

	rest->data += used;
	rest->len -= used;
	return field;
}

/* Eight fields: sampled, trace id, segment id, span, service, instance, endpoint, address. Names
 * and the endpoint are not ids: the value is narrowed to what is. */
bool tl_id_read_skywalking(struct tl_span *value, struct tl_id_trace *ret)
{
	struct tl_span rest = *value, field[8];

	(void)ret;
	for (int i = 0; i < 8; i++)
		field[i] = next_field(&rest);
	if (rest.len || field[0].len != 1 || (field[0].data[0] != '0' && field[0].data[0] != '1'))
		return false;
	if (!is_base64(field[1]) || !is_base64(field[2]) || !all_digits(field[3]))
		return false;
	for (int i = 4; i < 8; i++)
		if (!is_base64(field[i]))
			return false;
	value->len = (size_t)(field[2].data + field[2].len - value->data);
	return value->len <= 255;
}

/* 32hex-16hex, then perhaps -0 or -1. */
bool tl_id_read_sentry(struct tl_span *value, struct tl_id_trace *ret)
{
	const char *s = value->data;

	if ((value->len != 49 && value->len != 51) || !all_hex(s, 32) || s[32] != '-' ||
	    !all_hex(s + 33, 16))
		return false;
	if (value->len == 51 && (s[49] != '-' || (s[50] != '0' && s[50] != '1')))
		return false;
	if (!take_hex(ret->id, s, 32) || !take_hex(ret->span, s + 33, 16))
		return false;
	if (value->len == 51)
		ret->flags = s[50] - '0';
	return true;
}

static void to_hex(char *out, const unsigned char *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
}

/* Base64, padded or not, of: version 0; field 0, 16 bytes; field 1, 8 bytes; field 2, 1 byte. */
bool tl_id_read_grpc_trace(struct tl_span *value, struct tl_id_trace *ret)
{
	unsigned char bytes[32];
	char text[41], hex[32];
	size_t n;

	if ((value->len != 39 && value->len != 40) || !is_base64(*value))
		return false;
	memcpy(text, value->data, value->len);
	if (value->len == 39)
		text[39] = '=';
	if (tl_base64_decode((struct tl_span){text, 40}, (char *)bytes, &n) < 0 || n != 29)
		return false;
	if (bytes[0] || bytes[1] || bytes[18] != 1 || bytes[27] != 2)
		return false;
	to_hex(hex, bytes + 2, 16);
	if (!take_hex(ret->id, hex, 32))
		return false;
	to_hex(hex, bytes + 19, 8);
	take_hex(ret->span, hex, 16);
	ret->flags = bytes[28] & 1;
	return true;
}

/* |root.id_id. : each hop adds to it; what all have is the root. */
bool tl_id_read_hierarchical(struct tl_span *value, struct tl_id_trace *ret)
{
	const char *dot;

	if (!tl_id_read_opaque(value, ret) || value->data[0] != '|')
		return false;
	dot = memchr(value->data, '.', value->len);
	return dot && dot > value->data + 1;
}

/* The same, of a root that is a trace id. */
bool tl_id_read_hierarchical_trace(struct tl_span *value, struct tl_id_trace *ret)
{
	if (!tl_id_read_hierarchical(value, ret) || value->len < 34 || value->data[33] != '.' ||
	    !all_hex(value->data + 1, 32) || !take_hex(ret->id, value->data + 1, 32))
		return false;
	if (value->len >= 50 && all_hex(value->data + 34, 16))
		take_hex(ret->span, value->data + 34, 16);
	return true;
}

/* Anything but the above. */
bool tl_id_read_request_id(struct tl_span *value, struct tl_id_trace *ret)
{
	return tl_id_read_opaque(value, ret) && value->data[0] != '|';
}

/* 16 hex digits, then perhaps the data centre's three letters. */
bool tl_id_read_cf_ray(struct tl_span *value, struct tl_id_trace *ret)
{
	(void)ret;
	if (value->len < 16 || !all_hex(value->data, 16))
		return false;
	if (value->len == 16)
		return true;
	if (value->len != 20 || value->data[16] != '-')
		return false;
	for (size_t i = 17; i < 20; i++)
		if (value->data[i] < 'A' || value->data[i] > 'Z')
			return false;
	return true;
}

static bool is_uuid(struct tl_span s)
{
	if (s.len != 36)
		return false;
	for (size_t i = 0; i < 36; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? s.data[i] != '-' : !is_hex(s.data[i]))
			return false;
	return true;
}

bool tl_id_same(struct tl_span a, struct tl_span b)
{
	if (tl_span_eq(a, b))
		return true;
	return is_uuid(a) && is_uuid(b) && memcmp(a.data, b.data, 14) == 0 &&
	       memcmp(a.data + 15, b.data + 15, 21) == 0;
}
