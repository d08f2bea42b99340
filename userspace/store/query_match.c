/* SPDX-License-Identifier: Apache-2.0 */
/* The same questions put to a record in memory, for records that come from Kafka. */
#include <stdlib.h>

#include "userspace/base/text.h"
#include "userspace/parse/parser.h"
#include "userspace/store/query.h"

#define TEXT_MAX 4096

static bool contains(struct tl_span text, struct tl_span word)
{
	for (size_t i = 0; word.len && i + word.len <= text.len; i++) {
		size_t n = 0;

		while (n < word.len &&
		       ((text.data[i + n] ^ word.data[n]) == 0 ||
			(((text.data[i + n] ^ word.data[n]) == 0x20) &&
			 (word.data[n] | 0x20) >= 'a' && (word.data[n] | 0x20) <= 'z')))
			n++;
		if (n == word.len)
			return true;
	}
	return false;
}

static bool match_word(const struct tl_record *record, struct tl_span word)
{
	bool negated = word.len > 1 && (word.data[0] == '-' || word.data[0] == '!');

	if (negated)
		word.data++, word.len--;
	if (word.len >= 2 && word.data[0] == '"')
		word.data++, word.len -= 2;
	else if (word.len > 1 && word.data[word.len - 1] == '*')
		word.len--;
	return contains(record->body, word) != negated;
}

static struct tl_span attribute(const struct tl_record *record, struct tl_span key)
{
	const struct tl_attrs *sides[] = {&record->attributes, &record->resource};

	for (size_t i = 0; i < 2; i++)
		for (uint32_t k = 0; k < sides[i]->n; k++)
			if (tl_span_eq(sides[i]->items[k].key, key))
				return sides[i]->items[k].value;
	return (struct tl_span){0};
}

static struct tl_span field(const struct tl_record *record, struct tl_span name)
{
	if (tl_span_is(name, "service"))
		return attribute(record, TL_SPAN_LIT("service.name"));
	if (tl_span_is(name, "id"))
		return attribute(record, TL_SPAN_LIT("correlation.id"));
	if (tl_span_is(name, "how"))
		return attribute(record, TL_SPAN_LIT("correlation.how"));
	if (tl_span_is(name, "trace_id") || tl_span_is(name, "trace"))
		return record->trace_id;
	if (tl_span_is(name, "uid"))
		return record->uid;
	if (tl_span_is(name, "body"))
		return record->body;
	return attribute(record, name);
}

static void copy_text(struct tl_span text, char out[TEXT_MAX])
{
	size_t len = text.len < TEXT_MAX - 1 ? text.len : TEXT_MAX - 1;

	if (len)
		memcpy(out, text.data, len);
	out[len] = '\0';
}

static bool compare_numbers(double a, enum tl_compare compare, double b)
{
	switch (compare) {
	case TL_AT_LEAST:
		return a >= b;
	case TL_AT_MOST:
		return a <= b;
	case TL_ABOVE:
		return a > b;
	default:
		return a < b;
	}
}

static bool match_severity(const struct tl_record *record, const struct tl_condition *c)
{
	char text[TEXT_MAX];
	int wanted, band, has = record->severity_number;

	copy_text(c->value, text);
	wanted = text[0] >= '0' && text[0] <= '9' ? atoi(text) : tl_severity_word(c->value);
	if (wanted < 1 || wanted > 24)
		return false;
	band = wanted - (wanted - 1) % 4;
	switch (c->compare) {
	case TL_IS:
	case TL_LIKE:
		return has >= band && has <= band + 3;
	case TL_IS_NOT:
		return has < band || has > band + 3;
	case TL_AT_MOST:
	case TL_ABOVE:
		return compare_numbers(has, c->compare, band + 3);
	default:
		return compare_numbers(has, c->compare, band);
	}
}

static bool match_condition(const struct tl_record *record, const struct tl_condition *c)
{
	char has[TEXT_MAX], wanted[TEXT_MAX];
	struct tl_span value;

	if (tl_span_is(c->field, "request"))
		return tl_span_eq(record->trace_id, c->value) ||
		       tl_span_eq(attribute(record, TL_SPAN_LIT("correlation.id")), c->value);
	if (tl_span_is(c->field, "severity") || tl_span_is(c->field, "severity_number"))
		return match_severity(record, c);
	value = field(record, c->field);
	if (c->compare == TL_IS || c->compare == TL_IS_NOT)
		return tl_span_eq(value, c->value) == (c->compare == TL_IS);
	if (!value.data)
		return false;
	copy_text(value, has);
	copy_text(c->value, wanted);
	if (c->compare == TL_LIKE)
		return tl_glob_match(wanted, has);
	return compare_numbers(strtod(has, NULL), c->compare, strtod(wanted, NULL));
}

bool tl_query_match(const struct tl_query *query, const struct tl_record *record)
{
	if ((query->since_ns && record->observed_ns < query->since_ns) ||
	    (query->until_ns && record->observed_ns >= query->until_ns))
		return false;
	for (size_t i = 0; i < query->n_words; i++)
		if (!match_word(record, query->words[i]))
			return false;
	for (size_t i = 0; i < query->n_conditions; i++)
		if (!match_condition(record, &query->conditions[i]))
			return false;
	return true;
}
