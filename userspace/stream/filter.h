/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of the pipeline in their parsed form: drop FIELD=GLOB, set resource.KEY=VALUE,
 * SERVICE=PARSER. Read-only after birth. */
#ifndef TL_STREAM_FILTER_H
#define TL_STREAM_FILTER_H

#include "userspace/base/cleanup.h"
#include "userspace/base/err.h"
#include "userspace/record/record.h"

struct tl_rules;

/* Reads "FIELD=VALUE" texts. Errors: -EINVAL one has no `=` (names it, with `what`). */
int tl_rules_new(const char *what, const char *const *texts, size_t n, struct tl_rules **ret,
		 struct tl_error *error);
void tl_rules_free(struct tl_rules *rules);
TL_DEFINE_CLEANUP(struct tl_rules *, tl_rules_free);

/* Whether a rule's glob matches the record's field: body, severity_text, resource.KEY,
 * attributes.KEY, or a bare KEY of either. */
bool tl_rules_match(const struct tl_rules *rules, const struct tl_record *record);

/* Adds each "resource.KEY=VALUE" or "attributes.KEY=VALUE" where the key is absent. */
void tl_rules_set(const struct tl_rules *rules, struct tl_record *record);

/* The VALUE of the rule whose FIELD glob matches `name`, or NULL. Borrowed. */
const char *tl_rules_find(const struct tl_rules *rules, struct tl_span name);

#endif
