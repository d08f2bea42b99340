/* SPDX-License-Identifier: Apache-2.0 */
/* Writing. Room for a whole piece is made before it is written, so the pieces themselves are plain
 * stores. A string is copied in steps of 16 bytes (the last one overlapping the one before, so that
 * nothing outside of it is touched) while each step is tested for bytes that JSON wants escaped or
 * that are not ASCII. */
#include "userspace/base/clock.h"
#include "userspace/base/json.h"
#include "userspace/record/base64.h"
#include "userspace/record/record_emit.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define LOWS UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

static inline uint64_t load8(const char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Not 0 when some byte is below 0x20, above 0x7f, a quote or a backslash. */
static inline uint64_t special8(uint64_t v)
{
	uint64_t quote = v ^ LOWS * '"', slash = v ^ LOWS * '\\';

	return (((v - LOWS * 0x20) & ~v) | ((quote - LOWS) & ~quote) | ((slash - LOWS) & ~slash) |
		v) &
	       HIGHS;
}

static inline bool copy16(char *to, const char *from)
{
#if defined(__SSE2__)
	__m128i v = _mm_loadu_si128((const __m128i *)from);
	/* As signed bytes those above 0x7f are below 0x20 too. */
	__m128i bad = _mm_or_si128(_mm_cmplt_epi8(v, _mm_set1_epi8(0x20)),
				   _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
						_mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))));

	_mm_storeu_si128((__m128i *)to, v);
	return _mm_movemask_epi8(bad) != 0;
#else
	uint64_t a = load8(from), b = load8(from + 8);

	memcpy(to, &a, 8);
	memcpy(to + 8, &b, 8);
	return (special8(a) | special8(b)) != 0;
#endif
}

static inline bool copy_upto16(char *to, const char *from, size_t len)
{
	uint64_t a, b;

	if (len >= 8) {
		a = load8(from);
		b = load8(from + len - 8);
		memcpy(to, &a, 8);
		memcpy(to + len - 8, &b, 8);
		return (special8(a) | special8(b)) != 0;
	}
	a = LOWS * ' ';
	if (len >= 4) {
		memcpy(&a, from, 4);
		memcpy((char *)&a + 4, from + len - 4, 4);
		memcpy(to, &a, 4);
		memcpy(to + len - 4, (char *)&a + 4, 4);
	} else {
		for (size_t i = 0; i < len; i++)
			to[i] = ((char *)&a)[i] = from[i];
	}
	return special8(a) != 0;
}

/* Copies `s` to `to`. Returns false when it needs escapes: what was copied is then of no use. */
static inline bool copy_plain(char *to, struct tl_span s)
{
	size_t i = 0;

	if (s.len <= 16)
		return !copy_upto16(to, s.data, s.len);
	for (; i + 16 <= s.len; i += 16)
		if (copy16(to + i, s.data + i))
			return false;
	return !copy16(to + s.len - 16, s.data + s.len - 16);
}

/* No room is left from now on, so nothing more is written. */
static bool fail(struct tl_emit *emit)
{
	emit->failed = true;
	emit->end = emit->p;
	return false;
}

static bool grow(struct tl_emit *emit, size_t n)
{
	struct tl_buf *out = emit->out;

	if (emit->failed)
		return false;
	out->len = (size_t)(emit->p - out->data);
	if (tl_buf_reserve(out, n) < 0)
		return fail(emit);
	emit->p = out->data + out->len;
	emit->end = out->data + out->cap;
	return true;
}

static inline bool room(struct tl_emit *emit, size_t n)
{
	return __builtin_expect((size_t)(emit->end - emit->p) >= n, 1) || grow(emit, n);
}

static inline void raw(struct tl_emit *emit, const char *text, size_t len)
{
	memcpy(emit->p, text, len);
	emit->p += len;
}

#define RAW(emit, literal) raw(emit, literal, sizeof(literal) - 1)

/* Appends a JSON string and the byte `after`. */
static inline void string(struct tl_emit *emit, struct tl_span s, char after)
{
	if (!room(emit, s.len + 3))
		return;
	*emit->p = '"';
	if (__builtin_expect(copy_plain(emit->p + 1, s), 1)) {
		emit->p += s.len + 1;
		*emit->p++ = '"';
	} else {
		emit->out->len = (size_t)(emit->p - emit->out->data);
		tl_json_string(emit->out, s);
		emit->p = emit->out->data + emit->out->len;
		emit->end = emit->out->data + emit->out->cap;
		if (emit->out->failed)
			fail(emit);
		if (!room(emit, 1))
			return;
	}
	*emit->p++ = after;
}

static void number(struct tl_emit *emit, uint64_t v)
{
	char digits[20], *end = digits + sizeof(digits), *p = end;

	do {
		*--p = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	raw(emit, p, (size_t)(end - p));
}

static void time_string(struct tl_emit *emit, uint64_t ns)
{
	tl_time_format(ns, emit->p);
	emit->p += TL_TIME_LEN;
}

void tl_emit_begin(struct tl_emit *emit, struct tl_buf *out, size_t expected)
{
	size_t max = out->max ? out->max : (size_t)1 << 30;

	*emit = (struct tl_emit){.out = out, .begin = out->len};
	/* What is expected may be too much where what is needed is not. */
	if (expected > max - out->len)
		expected = max - out->len;
	if (tl_buf_reserve(out, expected) < 0) {
		emit->failed = true;
		return;
	}
	emit->p = out->data + out->len;
	emit->end = out->data + out->cap;
}

int tl_emit_end(struct tl_emit *emit)
{
	if (emit->failed)
		emit->out->len = emit->begin;
	else
		emit->out->len = (size_t)(emit->p - emit->out->data);
	return emit->failed ? -ENOBUFS : 0;
}

static void optional(struct tl_emit *emit, const char *key, size_t key_len, struct tl_span value)
{
	if (value.len == 0 || !room(emit, key_len))
		return;
	raw(emit, key, key_len);
	string(emit, value, ',');
}

#define OPTIONAL(emit, key, value) optional(emit, "\"" key "\":", sizeof(key) + 2, value)

void tl_emit_head(struct tl_emit *emit, const struct tl_record *record)
{
	if (!room(emit, 160))
		return;
	RAW(emit, "{\"uid\":");
	string(emit, record->uid, ',');
	if (!room(emit, 160))
		return;
	RAW(emit, "\"timestamp\":\"");
	time_string(emit, record->timestamp_ns ? record->timestamp_ns : record->observed_ns);
	RAW(emit, "\",\"observed_timestamp\":\"");
	time_string(emit, record->observed_ns);
	RAW(emit, "\",");
	if (record->severity_number) {
		RAW(emit, "\"severity_number\":");
		number(emit, record->severity_number);
		RAW(emit, ",");
	}
	OPTIONAL(emit, "severity_text", record->severity_text);
	if (!room(emit, 8))
		return;
	RAW(emit, "\"body\":");
	string(emit, record->body, ',');
	OPTIONAL(emit, "trace_id", record->trace_id);
	OPTIONAL(emit, "span_id", record->span_id);
	if (record->trace_flags >= 0 && room(emit, 64)) {
		RAW(emit, "\"trace_flags\":");
		number(emit, (uint64_t)record->trace_flags);
		RAW(emit, ",");
	}
}

void tl_emit_resource_text(struct tl_emit *emit, struct tl_span text)
{
	if (!room(emit, text.len + 16))
		return;
	RAW(emit, "\"resource\":");
	raw(emit, text.data, text.len);
}

static void dropped_attr(struct tl_emit *emit, uint32_t dropped)
{
	if (dropped == 0 || !room(emit, 64))
		return;
	RAW(emit, "\"" TL_DROPPED_KEY "\":");
	number(emit, dropped);
	RAW(emit, ",");
}

/* Every member is written with a comma behind it; the last one becomes the brace. */
static void close_object(struct tl_emit *emit)
{
	if (!room(emit, 2))
		return;
	if (emit->p[-1] == ',')
		emit->p--;
	*emit->p++ = '}';
}

void tl_emit_attr(struct tl_emit *emit, struct tl_span key, struct tl_span value, unsigned type)
{
	string(emit, key, ':');
	if (type == TL_ATTR_STRING) {
		string(emit, value, ',');
	} else if (room(emit, value.len + 1)) {
		raw(emit, value.data, value.len);
		*emit->p++ = ',';
	}
}

void tl_emit_attrs_object(struct tl_emit *emit, const struct tl_attrs *attrs)
{
	if (!room(emit, 1))
		return;
	*emit->p++ = '{';
	for (uint32_t i = 0; i < attrs->n; i++)
		tl_emit_attr(emit, attrs->items[i].key, attrs->items[i].value,
			     attrs->items[i].type);
	dropped_attr(emit, attrs->dropped);
	close_object(emit);
}

void tl_emit_attributes_begin(struct tl_emit *emit)
{
	if (room(emit, 16))
		RAW(emit, ",\"attributes\":{");
}

void tl_emit_attributes_end(struct tl_emit *emit, uint32_t dropped,
			    const struct tl_span *base64_body)
{
	dropped_attr(emit, dropped);
	if (base64_body && room(emit, tl_base64_len(base64_body->len) + 32)) {
		RAW(emit, "\"" TL_BASE64_KEY "\":\"");
		tl_base64_encode(*base64_body, emit->p);
		emit->p += tl_base64_len(base64_body->len);
		RAW(emit, "\",");
	}
	close_object(emit);
	if (room(emit, 1))
		*emit->p++ = '}';
}

static size_t expected_size(const struct tl_record *record)
{
	/* Keys and values of usual attributes; a guess only saves growing in between. */
	return 512 + record->body.len + 64 * (size_t)(record->resource.n + record->attributes.n);
}

int tl_record_to_json(const struct tl_record *record, struct tl_buf *out)
{
	bool text = tl_utf8_valid(record->body);
	const struct tl_attrs *attrs = &record->attributes;
	struct tl_emit emit;

	tl_emit_begin(&emit, out, expected_size(record));
	tl_emit_head(&emit, record);
	tl_emit_resource_text(&emit, (struct tl_span){"", 0});
	tl_emit_attrs_object(&emit, &record->resource);
	tl_emit_attributes_begin(&emit);
	for (uint32_t i = 0; i < attrs->n; i++) {
		/* The body's exact bytes have this key: one that a service made up gives way. */
		if (!text && tl_span_is(attrs->items[i].key, TL_BASE64_KEY))
			continue;
		tl_emit_attr(&emit, attrs->items[i].key, attrs->items[i].value,
			     attrs->items[i].type);
	}
	tl_emit_attributes_end(&emit, attrs->dropped, text ? NULL : &record->body);
	return tl_emit_end(&emit);
}
