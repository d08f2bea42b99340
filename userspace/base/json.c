/* SPDX-License-Identifier: Apache-2.0 */
/* The reader. The cursor keeps no state but a place: the byte before it tells what may come. `{` or
 * `[` there means that nothing was read yet, else a comma or the closing bracket must follow. A
 * value that is stepped over is checked to the last bracket, without recursion: 64 levels of
 * nesting fit the bits of a word. Only whether strings are UTF-8 is left to the caller. */
#include "userspace/base/json.h"

#include <errno.h>

#include "userspace/base/json_scan.h"

static inline const char *skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
		p++;
	return p;
}

/* `p` is after the opening quote. Returns the closing one, NULL when there is none or a byte is not
 * allowed. */
static inline const char *find_quote(const char *p, const char *end, bool *ret_escaped)
{
	*ret_escaped = false;
	for (;;) {
		p = find_special(p, end, false);
		if (p == end)
			return NULL;
		if (*p == '"')
			return p;
		if (*p != '\\')
			return NULL;
		*ret_escaped = true;
		p = skip_escape(p, end);
		if (!p)
			return NULL;
	}
}

static inline const char *skip_digits(const char *p, const char *end)
{
	while (p < end && (unsigned char)(*p - '0') < 10)
		p++;
	return p;
}

/* Returns the byte after the number at `p`, NULL when it is not one. */
static const char *skip_number(const char *p, const char *end)
{
	const char *digits;

	if (*p == '-')
		p++;
	digits = p;
	p = skip_digits(p, end);
	if (p == digits || (*digits == '0' && p - digits > 1))
		return NULL;
	if (p < end && *p == '.') {
		digits = ++p;
		p = skip_digits(p, end);
		if (p == digits)
			return NULL;
	}
	if (p < end && (*p | 0x20) == 'e') {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		digits = p;
		p = skip_digits(p, end);
		if (p == digits)
			return NULL;
	}
	return p;
}

static const char *skip_word(const char *p, const char *end, const char *word, size_t len)
{
	if ((size_t)(end - p) < len || memcmp(p, word, len) != 0)
		return NULL;
	return p + len;
}

/* A value that is no container, at `p` < end. Returns the byte after it, NULL when it is malformed.
 */
static inline const char *read_scalar(const char *p, const char *end, struct tl_json_value *value)
{
	const char *after;

	value->escaped = false;
	value->raw.data = p;
	switch (*p) {
	case '"':
		after = find_quote(p + 1, end, &value->escaped);
		if (!after)
			return NULL;
		value->type = TL_JSON_STRING;
		value->raw = (struct tl_span){p + 1, (size_t)(after - p - 1)};
		return after + 1;
	case 't':
		after = skip_word(p, end, "true", 4);
		value->type = TL_JSON_BOOL;
		break;
	case 'f':
		after = skip_word(p, end, "false", 5);
		value->type = TL_JSON_BOOL;
		break;
	case 'n':
		after = skip_word(p, end, "null", 4);
		value->type = TL_JSON_NULL;
		break;
	default:
		after = skip_number(p, end);
		value->type = TL_JSON_NUMBER;
		break;
	}
	if (after)
		value->raw.len = (size_t)(after - p);
	return after;
}

/* `p` is where a key must be. Returns where its value must be, NULL when malformed. */
static inline const char *read_key(const char *p, const char *end, struct tl_span *key,
				   bool *escaped)
{
	const char *quote;

	if (p == end || *p != '"')
		return NULL;
	quote = find_quote(p + 1, end, escaped);
	if (!quote)
		return NULL;
	*key = (struct tl_span){p + 1, (size_t)(quote - p - 1)};
	p = skip_space(quote + 1, end);
	if (p == end || *p != ':')
		return NULL;
	return skip_space(p + 1, end);
}

/* The brackets that are open, innermost in the lowest bit; 1 is an object. */
struct nesting {
	uint64_t objects;
	unsigned depth;
};

static bool open_bracket(struct nesting *nesting, char bracket)
{
	/* The document itself is one level. */
	if (nesting->depth == TL_JSON_MAX_DEPTH - 1)
		return false;
	nesting->objects = nesting->objects << 1 | (bracket == '{');
	nesting->depth++;
	return true;
}

/* Steps from the end of a value at `p` over closing brackets and the comma, to where the next value
 * must be, or to the end of the container when `depth` falls to 0. NULL when malformed. */
static const char *close_brackets(struct nesting *nesting, const char *p, const char *end)
{
	struct tl_span key;
	bool escaped;

	while (nesting->depth) {
		bool in_object = nesting->objects & 1;

		p = skip_space(p, end);
		if (p == end)
			return NULL;
		if (*p == ',') {
			p = skip_space(p + 1, end);
			return in_object ? read_key(p, end, &key, &escaped) : p;
		}
		if (*p != (in_object ? '}' : ']'))
			return NULL;
		nesting->objects >>= 1;
		nesting->depth--;
		p++;
	}
	return p;
}

/* `p` is at a bracket. Returns the byte after its partner, NULL when what is between is malformed
 * or too deep. */
static const char *skip_container(const char *p, const char *end)
{
	struct nesting nesting = {0};
	struct tl_json_value value;
	struct tl_span key;
	bool escaped;

	do {
		if (p == end)
			return NULL;
		if (*p == '{' || *p == '[') {
			char partner = *p == '{' ? '}' : ']';

			if (!open_bracket(&nesting, *p))
				return NULL;
			p = skip_space(p + 1, end);
			if (p == end || *p != partner) {
				if (partner == '}')
					p = read_key(p, end, &key, &escaped);
				if (!p)
					return NULL;
				continue;
			}
		} else {
			p = read_scalar(p, end, &value);
		}
		if (!p)
			return NULL;
		p = close_brackets(&nesting, p, end);
		if (!p)
			return NULL;
	} while (nesting.depth);
	return p;
}

static inline const char *read_value(const char *p, const char *end, struct tl_json_value *value)
{
	const char *after;

	if (p == end)
		return NULL;
	if (*p != '{' && *p != '[')
		return read_scalar(p, end, value);
	after = skip_container(p, end);
	if (!after)
		return NULL;
	value->type = *p == '{' ? TL_JSON_OBJECT : TL_JSON_ARRAY;
	value->escaped = false;
	value->raw = (struct tl_span){p, (size_t)(after - p)};
	return after;
}

int tl_json_enter(struct tl_json_cursor *cursor, struct tl_span document)
{
	const char *end = document.data + document.len, *p;

	if (document.len == 0)
		return -EINVAL;
	p = skip_space(document.data, end);
	if (p == end || (*p != '{' && *p != '['))
		return -EINVAL;
	cursor->at = p + 1;
	cursor->end = end;
	return 0;
}

/* Steps over what must stand in front of the next member or element. Returns 1 and its place, 0 at
 * the closing bracket and the place after it, -EINVAL. */
static inline int next_item(const struct tl_json_cursor *cursor, char opening, char closing,
			    const char **ret_at)
{
	const char *p = skip_space(cursor->at, cursor->end);
	bool is_first = cursor->at[-1] == opening;

	if (p == cursor->end)
		return -EINVAL;
	if (*p == closing) {
		*ret_at = p + 1;
		return 0;
	}
	if (is_first) {
		*ret_at = p;
		return 1;
	}
	if (*p != ',')
		return -EINVAL;
	*ret_at = skip_space(p + 1, cursor->end);
	return 1;
}

static inline int next_member(struct tl_json_cursor *cursor, struct tl_span *key, bool *key_escaped,
			      struct tl_json_value *value)
{
	const char *p;
	int r = next_item(cursor, '{', '}', &p);

	if (r < 0)
		return r;
	if (r > 0) {
		p = read_key(p, cursor->end, key, key_escaped);
		if (p)
			p = read_value(p, cursor->end, value);
		if (!p)
			return -EINVAL;
	}
	cursor->at = p;
	return r;
}

int tl_json_member(struct tl_json_cursor *cursor, struct tl_span *ret_key,
		   struct tl_json_value *ret_value)
{
	struct tl_json_value value;
	struct tl_span key;
	bool escaped;
	int r = next_member(cursor, &key, &escaped, &value);

	if (r > 0) {
		*ret_key = key;
		*ret_value = value;
	}
	return r;
}

int tl_json_element(struct tl_json_cursor *cursor, struct tl_json_value *ret_value)
{
	struct tl_json_value value;
	const char *p;
	int r = next_item(cursor, '[', ']', &p);

	if (r < 0)
		return r;
	if (r > 0) {
		p = read_value(p, cursor->end, &value);
		if (!p)
			return -EINVAL;
		*ret_value = value;
	}
	cursor->at = p;
	return r;
}

bool tl_json_at_end(const struct tl_json_cursor *cursor)
{
	return skip_space(cursor->at, cursor->end) == cursor->end;
}

/* Whether the raw key, with escapes in it, spells `key`. Keys asked for are short; a longer one is
 * no match. */
static bool escaped_key_is(struct tl_span raw, struct tl_span key)
{
	char decoded[256];
	struct tl_buf buf = {.data = decoded, .cap = sizeof(decoded), .max = sizeof(decoded)};

	return tl_json_unescape(raw, &buf) == 0 && tl_span_eq(tl_buf_span(&buf), key);
}

int tl_json_find(struct tl_span object, const char *key, struct tl_json_value *ret_value)
{
	struct tl_span wanted = tl_span_str(key), raw;
	struct tl_json_cursor cursor;
	struct tl_json_value value;
	bool escaped;
	int r = tl_json_enter(&cursor, object);

	if (r < 0)
		return r;
	for (;;) {
		r = next_member(&cursor, &raw, &escaped, &value);
		if (r <= 0)
			return r;
		if (escaped ? escaped_key_is(raw, wanted) : tl_span_eq(raw, wanted)) {
			*ret_value = value;
			return 1;
		}
	}
}
