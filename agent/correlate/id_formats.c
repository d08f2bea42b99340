/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/correlate/id_formats.h"

#include <stdio.h>

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static bool is_lower_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* Length of the run of hex digits at the front. */
static size_t hex_run(struct tl_span s)
{
	size_t n = 0;

	while (n < s.len && is_hex(s.data[n]))
		n++;
	return n;
}

static bool all_lower_hex(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!is_lower_hex(s[i]))
			return false;
	return true;
}

static bool all_zero(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] != '0')
			return false;
	return true;
}

/* Takes `n` bytes off the front. */
static void skip(struct tl_span *s, size_t n)
{
	s->data += n;
	s->len -= n;
}

/* Writes `n` hex digits right-aligned into `width` digits, zeros in front, lower case, NUL behind.
 */
static void pad_hex(char *out, size_t width, const char *digits, size_t n)
{
	memset(out, '0', width - n);
	for (size_t i = 0; i < n; i++)
		out[width - n + i] =
			digits[i] >= 'A' && digits[i] <= 'F' ? (char)(digits[i] | 0x20) : digits[i];
	out[width] = '\0';
}

/* Sets the trace id from 1 to 32 digits; all zeros are no id. */
static bool set_trace(struct tl_id_trace *ret, const char *digits, size_t n)
{
	if (n < 1 || n > 32 || all_zero(digits, n))
		return false;
	pad_hex(ret->id, 32, digits, n);
	return true;
}

static bool set_span(struct tl_id_trace *ret, const char *digits, size_t n)
{
	if (n < 1 || n > 16 || all_zero(digits, n))
		return false;
	pad_hex(ret->span, 16, digits, n);
	return true;
}

static unsigned hex_value(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a') + 10;
}

/* A decimal number of 64 bits without sign; nothing may follow. */
static bool read_decimal(struct tl_span s, uint64_t *ret)
{
	uint64_t n = 0;

	if (s.len < 1 || s.len > 20)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned digit = (unsigned)(s.data[i] - '0');

		if (digit > 9 || __builtin_mul_overflow(n, UINT64_C(10), &n) ||
		    __builtin_add_overflow(n, digit, &n))
			return false;
	}
	*ret = n;
	return true;
}

bool tl_id_read_opaque(struct tl_span *value, struct tl_id_trace *ret)
{
	(void)ret;
	if (value->len < 1 || value->len > 255)
		return false;
	for (size_t i = 0; i < value->len; i++)
		if (value->data[i] < 0x20 || value->data[i] > 0x7e)
			return false;
	return true;
}

bool tl_id_read_traceparent(struct tl_span *value, struct tl_id_trace *ret)
{
	const char *s = value->data;
	bool version_0;

	if (value->len < 55 || !all_lower_hex(s, 2) || memcmp(s, "ff", 2) == 0)
		return false;
	version_0 = memcmp(s, "00", 2) == 0;
	if (value->len > 55 && (version_0 || s[55] != '-'))
		return false;
	if (s[2] != '-' || s[35] != '-' || s[52] != '-')
		return false;
	if (!all_lower_hex(s + 3, 32) || !all_lower_hex(s + 36, 16) || !all_lower_hex(s + 53, 2))
		return false;
	if (!set_trace(ret, s + 3, 32) || !set_span(ret, s + 36, 16))
		return false;
	ret->flags = (int)(hex_value(s[53]) << 4 | hex_value(s[54]));
	/* Only the first 55 characters of a later version are understood. */
	return tl_id_read_opaque(value, ret);
}

static bool is_b3_flag(char c)
{
	return c == '0' || c == '1' || c == 'd';
}

bool tl_id_b3_is_flag(struct tl_span value)
{
	return value.len == 1 && is_b3_flag(value.data[0]);
}

bool tl_id_read_b3_trace(struct tl_span *value, struct tl_id_trace *ret)
{
	size_t n = hex_run(*value);

	return n == value->len && (n == 16 || n == 32) && set_trace(ret, value->data, n);
}

bool tl_id_read_b3_span(struct tl_span *value, struct tl_id_trace *ret)
{
	return value->len == 16 && hex_run(*value) == 16 && set_span(ret, value->data, 16);
}

bool tl_id_read_b3(struct tl_span *value, struct tl_id_trace *ret)
{
	struct tl_span rest = *value;
	size_t n = hex_run(rest);

	if ((n != 16 && n != 32) || rest.len < n + 17 || rest.data[n] != '-' ||
	    !set_trace(ret, rest.data, n))
		return false;
	skip(&rest, n + 1);
	if (hex_run(rest) != 16 || !set_span(ret, rest.data, 16))
		return false;
	skip(&rest, 16);
	if (!rest.len)
		return true;
	if (rest.len < 2 || rest.data[0] != '-' || !is_b3_flag(rest.data[1]))
		return false;
	ret->flags = rest.data[1] != '0';
	skip(&rest, 2);
	return !rest.len || (rest.len == 17 && rest.data[0] == '-' &&
			     hex_run((struct tl_span){rest.data + 1, 16}) == 16);
}

/* The next field of a uber-trace-id: hex digits of at most `max`, then a colon (plain or escaped)
 * unless it is the last. */
static bool uber_field(struct tl_span *rest, size_t max, bool last, struct tl_span *ret_field)
{
	size_t n = hex_run(*rest);

	*ret_field = (struct tl_span){rest->data, n};
	if (n < 1 || n > max)
		return false;
	skip(rest, n);
	if (last)
		return rest->len == 0;
	if (rest->len && rest->data[0] == ':')
		skip(rest, 1);
	else if (rest->len >= 3 && rest->data[0] == '%' && rest->data[1] == '3' &&
		 (rest->data[2] | 0x20) == 'a')
		skip(rest, 3);
	else
		return false;
	return true;
}

bool tl_id_read_uber(struct tl_span *value, struct tl_id_trace *ret)
{
	struct tl_span rest = *value, trace, span, parent, flags;

	if (!uber_field(&rest, 32, false, &trace) || !uber_field(&rest, 16, false, &span) ||
	    !uber_field(&rest, 16, false, &parent) || !uber_field(&rest, 2, true, &flags))
		return false;
	if (!set_trace(ret, trace.data, trace.len) || !set_span(ret, span.data, span.len))
		return false;
	ret->flags = (int)(hex_value(flags.data[flags.len - 1]) & 1);
	return true;
}

bool tl_id_read_datadog(struct tl_span *value, struct tl_id_trace *ret)
{
	char digits[17];
	uint64_t n;

	if (!read_decimal(*value, &n) || !n)
		return false;
	snprintf(digits, sizeof(digits), "%016llx", (unsigned long long)n);
	return set_trace(ret, digits, 16);
}

bool tl_id_read_datadog_span(struct tl_span *value, struct tl_id_trace *ret)
{
	char digits[17];
	uint64_t n;

	if (!read_decimal(*value, &n) || !n)
		return false;
	snprintf(digits, sizeof(digits), "%016llx", (unsigned long long)n);
	return set_span(ret, digits, 16);
}

/* Finds `key=value` in a list with `separator`; spaces around an item do not count. */
static bool find_item(struct tl_span list, char separator, const char *key,
		      struct tl_span *ret_item, struct tl_span *ret_value)
{
	size_t key_len = strlen(key);

	while (list.len) {
		const char *end = memchr(list.data, separator, list.len);
		struct tl_span item = {list.data, end ? (size_t)(end - list.data) : list.len};

		skip(&list, item.len + (end ? 1 : 0));
		while (item.len && item.data[0] == ' ')
			skip(&item, 1);
		while (item.len && item.data[item.len - 1] == ' ')
			item.len--;
		if (item.len <= key_len || memcmp(item.data, key, key_len) != 0 ||
		    item.data[key_len] != '=')
			continue;
		*ret_item = item;
		*ret_value = (struct tl_span){item.data + key_len + 1, item.len - key_len - 1};
		return true;
	}
	return false;
}

/* Other tags are the application's business: the value is narrowed to the one that is half an id.
 */
bool tl_id_read_datadog_tags(struct tl_span *value, struct tl_id_trace *ret)
{
	struct tl_span item, upper;

	if (!find_item(*value, ',', "_dd.p.tid", &item, &upper))
		return false;
	if (upper.len != 16 || hex_run(upper) != 16)
		return false;
	*value = item;
	if (ret->id[0])
		for (size_t i = 0; i < 16; i++)
			ret->id[i] = upper.data[i] >= 'A' && upper.data[i] <= 'F'
					     ? (char)(upper.data[i] | 0x20)
					     : upper.data[i];
	return true;
}

bool tl_id_read_amazon(struct tl_span *value, struct tl_id_trace *ret)
{
	struct tl_span item, root, part;
	char digits[32];

	if (!tl_id_read_opaque(value, ret) || !find_item(*value, ';', "Root", &item, &root))
		return false;
	if (root.len != 35 || root.data[0] != '1' || root.data[1] != '-' || root.data[10] != '-')
		return false;
	memcpy(digits, root.data + 2, 8);
	memcpy(digits + 8, root.data + 11, 24);
	if (hex_run((struct tl_span){digits, 32}) != 32 || !set_trace(ret, digits, 32))
		return false;
	if (find_item(*value, ';', "Parent", &item, &part) && part.len == 16 && hex_run(part) == 16)
		set_span(ret, part.data, 16);
	if (find_item(*value, ';', "Sampled", &item, &part) && part.len == 1 &&
	    (part.data[0] == '0' || part.data[0] == '1'))
		ret->flags = part.data[0] - '0';
	return true;
}

bool tl_id_read_cloud(struct tl_span *value, struct tl_id_trace *ret)
{
	struct tl_span rest = *value, number;
	const char *semicolon;
	char digits[17];
	uint64_t span;

	if (hex_run(rest) != 32 || !set_trace(ret, rest.data, 32))
		return false;
	skip(&rest, 32);
	if (rest.len && rest.data[0] == '/') {
		skip(&rest, 1);
		semicolon = rest.len ? memchr(rest.data, ';', rest.len) : NULL;
		number = (struct tl_span){rest.data,
					  semicolon ? (size_t)(semicolon - rest.data) : rest.len};
		if (!read_decimal(number, &span))
			return false;
		snprintf(digits, sizeof(digits), "%016llx", (unsigned long long)span);
		set_span(ret, digits, 16);
		skip(&rest, number.len);
	}
	if (!rest.len)
		return true;
	if (rest.len != 4 || memcmp(rest.data, ";o=", 3) != 0 || rest.data[3] < '0' ||
	    rest.data[3] > '3')
		return false;
	ret->flags = (rest.data[3] - '0') & 1;
	return true;
}
