/* SPDX-License-Identifier: Apache-2.0 */
/* Tags: short words that stand for "field has this value". They are kept in the full-text index
 * beside the words of the body, so that any mix of words, fields and severities is one walk over
 * posting lists and not over rows. A tag is a hash: two values may share one, so who searches by a
 * tag still compares the field itself. Part of the store's format: a change needs a new
 * TL_STORE_VERSION. Pure functions, any thread. */
#ifndef TL_STORE_TAGS_H
#define TL_STORE_TAGS_H

#include "userspace/record/record.h"

#define TL_TAG_LEN 6
#define TL_SEVERITY_CLASSES 7 /* unset, TRACE, DEBUG, INFO, WARN, ERROR, FATAL */

/* 0 for unset, else 1 (TRACE) to 6 (FATAL). */
static inline unsigned tl_severity_class(unsigned severity_number)
{
	return severity_number ? (severity_number - 1) / 4 + 1 : 0;
}

/* True when records that have `key` (of resource or attributes) as `value` carry a tag for it. Ids,
 * positions and what else is nearly unique have none: indexes or nobody ask for them. */
bool tl_tag_has(struct tl_span key, struct tl_span value);

/* Writes the tag of a field's value, NUL-terminated. */
void tl_tag(struct tl_span key, struct tl_span value, char ret[TL_TAG_LEN + 1]);

/* The tag of a severity class. */
void tl_tag_severity(unsigned class, char ret[TL_TAG_LEN + 1]);

/* Appends all tags of a record, a blank between two. */
void tl_tags_add(const struct tl_record *record, struct tl_buf *out);

#endif
