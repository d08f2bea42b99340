/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/stream/filter.h"

#include <string.h>

#include "userspace/base/text.h"

#define FIELD_MAX                                                                                  \
	4096 /* bytes of a field that a glob looks at: enough to tell what a line is about */

struct rule {
	char *field, *value; /* one allocation, owned by field */
};

struct tl_rules {
	struct rule *rules;
	size_t n;
};

int tl_rules_new(const char *what, const char *const *texts, size_t n, struct tl_rules **ret,
		 struct tl_error *error)
{
	_cleanup_(tl_rules_freep) struct tl_rules *rules = calloc(1, sizeof(*rules));

	if (!rules || !(rules->rules = calloc(n ? n : 1, sizeof(*rules->rules))))
		return tl_error_set(error, -ENOMEM, "no memory for %s rules", what);
	for (; rules->n < n; rules->n++) {
		struct rule *rule = &rules->rules[rules->n];
		char *equals;

		rule->field = strdup(texts[rules->n]);
		if (!rule->field)
			return tl_error_set(error, -ENOMEM, "no memory for %s rules", what);
		equals = strchr(rule->field, '=');
		if (!equals || equals == rule->field) {
			free(rule->field);
			return tl_error_set(error, -EINVAL, "%s rule `%s`: write FIELD=VALUE", what,
					    texts[rules->n]);
		}
		*equals = 0;
		rule->value = equals + 1;
	}
	*ret = TAKE_PTR(rules);
	return 0;
}

void tl_rules_free(struct tl_rules *rules)
{
	if (!rules)
		return;
	for (size_t i = 0; i < rules->n; i++)
		free(rules->rules[i].field);
	free(rules->rules);
	free(rules);
}

static const char *after(const char *field, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(field, prefix, len) == 0 ? field + len : NULL;
}

static struct tl_span field_of(const struct tl_record *record, const char *field)
{
	const struct tl_attr *attr = NULL;
	const char *key;

	if (strcmp(field, "body") == 0)
		return record->body;
	if (strcmp(field, "severity_text") == 0)
		return record->severity_text;
	key = after(field, "resource.");
	if (key)
		attr = tl_attr_get(&record->resource, key);
	key = after(field, "attributes.");
	if (!attr && key)
		attr = tl_attr_get(&record->attributes, key);
	if (!attr)
		attr = tl_attr_get(&record->attributes, field);
	if (!attr)
		attr = tl_attr_get(&record->resource, field);
	return attr ? attr->value : (struct tl_span){0};
}

bool tl_rules_match(const struct tl_rules *rules, const struct tl_record *record)
{
	char text[FIELD_MAX + 1];

	for (size_t i = 0; i < rules->n; i++) {
		struct tl_span field = field_of(record, rules->rules[i].field);
		size_t len = field.len < FIELD_MAX ? field.len : FIELD_MAX;

		if (!field.data)
			continue;
		memcpy(text, field.data, len);
		text[len] = 0;
		if (tl_glob_match(rules->rules[i].value, text))
			return true;
	}
	return false;
}

void tl_rules_set(const struct tl_rules *rules, struct tl_record *record)
{
	for (size_t i = 0; i < rules->n; i++) {
		const struct rule *rule = &rules->rules[i];
		const char *key = after(rule->field, "attributes.");
		struct tl_attrs *attrs = key ? &record->attributes : &record->resource;

		if (!key)
			key = after(rule->field, "resource.");
		if (!key)
			key = rule->field;
		if (!tl_attr_get(attrs, key))
			tl_attr_set(attrs, key, tl_span_str(rule->value));
	}
}

const char *tl_rules_find(const struct tl_rules *rules, struct tl_span name)
{
	char text[256];
	size_t len = name.len < sizeof(text) - 1 ? name.len : sizeof(text) - 1;

	if (!name.data)
		return NULL;
	memcpy(text, name.data, len);
	text[len] = 0;
	for (size_t i = 0; i < rules->n; i++)
		if (tl_glob_match(rules->rules[i].field, text))
			return rules->rules[i].value;
	return NULL;
}
