/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/store/tags.h"

#include <stdio.h>

#include "userspace/base/cleanup.h"

#define VALUE_MAX 200 /* longer values are texts that nobody asks for as a whole */

/* Beginnings of keys that get no tag: unique for each line, indexed otherwise, or the same always.
 */
static const char *const untagged[] = {
	"log.",		  "stream.",	     "thread.",	       "process.",
	"tapline.",	  "client.",	     "correlation.id", "correlation.s",
	"http.request.h", "http.response.h", "service.name.",  "user_agent.",
};

bool tl_tag_has(struct tl_span key, struct tl_span value)
{
	if (value.len == 0 || value.len > VALUE_MAX)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(untagged); i++) {
		size_t len = strlen(untagged[i]);

		if (key.len >= len && memcmp(key.data, untagged[i], len) == 0)
			return false;
	}
	return true;
}

/* FNV-1a: fixed for ever, unlike tl_hash. */
static uint64_t mix(uint64_t hash, struct tl_span text)
{
	for (size_t i = 0; i < text.len; i++)
		hash = (hash ^ (unsigned char)text.data[i]) * UINT64_C(0x100000001b3);
	return hash;
}

void tl_tag(struct tl_span key, struct tl_span value, char ret[TL_TAG_LEN + 1])
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint64_t hash = mix(UINT64_C(0xcbf29ce484222325), key);

	hash = mix((hash ^ 0xff) * UINT64_C(0x100000001b3), value);
	hash ^= hash >> 32;
	for (int i = 0; i < TL_TAG_LEN; i++, hash >>= 5)
		ret[i] = digits[hash & 31];
	ret[TL_TAG_LEN] = '\0';
}

void tl_tag_severity(unsigned class, char ret[TL_TAG_LEN + 1])
{
	char digit = (char)('0' + class);

	tl_tag(TL_SPAN_LIT("severity"), (struct tl_span){&digit, 1}, ret);
}

static void add(struct tl_buf *out, const char *tag)
{
	if (out->len)
		tl_buf_putc(out, ' ');
	tl_buf_add(out, tag, TL_TAG_LEN);
}

void tl_tags_add(const struct tl_record *record, struct tl_buf *out)
{
	const struct tl_attrs *sides[] = {&record->resource, &record->attributes};
	char tag[TL_TAG_LEN + 1];

	tl_tag_severity(tl_severity_class(record->severity_number), tag);
	add(out, tag);
	for (size_t s = 0; s < ARRAY_SIZE(sides); s++)
		for (uint32_t i = 0; i < sides[s]->n; i++) {
			const struct tl_attr *attr = &sides[s]->items[i];

			if (!tl_tag_has(attr->key, attr->value))
				continue;
			tl_tag(attr->key, attr->value, tag);
			add(out, tag);
		}
}
