/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of typed entries in YAML files, as `sinks:` is one: each entry holds the settings of one
 * program's table beside its type. */
#include <stdlib.h>
#include <string.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/conf_walk.h"

/* The value of `key` in a mapping, or NULL. */
static const yaml_node_t *member(struct tl_conf_walk *walk, const yaml_node_t *mapping,
				 const char *key)
{
	if (!mapping || mapping->type != YAML_MAPPING_NODE)
		return NULL;
	for (yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
	     pair < mapping->data.mapping.pairs.top; pair++) {
		const yaml_node_t *node = yaml_document_get_node(walk->document, pair->key);

		if (node->type == YAML_SCALAR_NODE &&
		    strcmp((const char *)node->data.scalar.value, key) == 0)
			return yaml_document_get_node(walk->document, pair->value);
	}
	return NULL;
}

/* Entry `i` of a list, or NULL (reported when the list is none). */
static const yaml_node_t *entry_of(struct tl_conf_walk *walk, const yaml_node_t *list,
				   const char *name, long i)
{
	if (tl_conf_is_null(list))
		return NULL;
	if (list->type != YAML_SEQUENCE_NODE) {
		tl_conf_report(walk, tl_conf_line(list),
			       "\"%s\" must be a list: each entry begins with - type: ", name);
		return NULL;
	}
	if (i >= list->data.sequence.items.top - list->data.sequence.items.start)
		return NULL;
	return yaml_document_get_node(walk->document, list->data.sequence.items.start[i]);
}

/* The type of an entry, or NULL (reported). */
static const char *type_of(struct tl_conf_walk *walk, const yaml_node_t *entry, const char *name)
{
	const yaml_node_t *type = member(walk, entry, TL_CONF_TYPE_KEY);

	if (entry->type == YAML_MAPPING_NODE && type)
		return tl_conf_scalar(walk, type, TL_CONF_TYPE_KEY);
	tl_conf_report(walk, tl_conf_line(entry),
		       "an entry of \"%s\" needs a type: - type: NAME, and its "
		       "settings below it",
		       name);
	return NULL;
}

static void walk_entry(struct tl_conf_walk *walk, struct tl_conf *conf, const yaml_node_t *entry,
		       long i)
{
	char prefix[TL_CONF_NAME_MAX + 1];

	snprintf(prefix, sizeof(prefix), "%s[%ld].", conf->spec->list, i);
	walk->in_list = true;
	tl_conf_walk_options(walk, conf, entry, prefix, strlen(prefix));
	walk->in_list = false;
}

/* Checks all entries, each against the spec of its type. */
void tl_conf_check_list(struct tl_conf_walk *walk, const struct tl_conf_sections *sections,
			const char *name, const yaml_node_t *list)
{
	const yaml_node_t *entry;

	for (long i = 0; (entry = entry_of(walk, list, name, i)); i++) {
		const char *type = type_of(walk, entry, name);
		struct tl_conf *conf = NULL;

		for (size_t k = 0; type && k < sections->n && !conf; k++) {
			const struct tl_conf_spec *spec = sections->confs[k]->spec;

			if (spec->list && strcmp(spec->list, name) == 0 &&
			    strcmp(spec->list_type, type) == 0)
				conf = tl_conf_new(spec, NULL);
		}
		if (conf)
			walk_entry(walk, conf, entry, i);
		else if (type)
			tl_conf_report(walk, tl_conf_line(entry), "\"%s\" has no type %s", name,
				       type);
		tl_conf_free(conf);
	}
}

bool tl_conf_is_list(const struct tl_conf_sections *sections, const char *name)
{
	for (size_t i = 0; i < sections->n; i++)
		if (sections->confs[i]->spec->list &&
		    strcmp(sections->confs[i]->spec->list, name) == 0)
			return true;
	return false;
}

static bool in_base(const struct tl_conf_spec *spec, const char *name)
{
	for (const char *const *key = spec->list_base_keys; key && *key; key++)
		if (strcmp(*key, name) == 0)
			return true;
	return false;
}

/* What an entry leaves open and section `list_base` says. */
static void walk_base(struct tl_conf_walk *walk, struct tl_conf *conf, const yaml_node_t *base)
{
	if (!base || base->type != YAML_MAPPING_NODE)
		return;
	for (yaml_node_pair_t *pair = base->data.mapping.pairs.start;
	     pair < base->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = yaml_document_get_node(walk->document, pair->key);
		const char *name = tl_conf_scalar(walk, key, "a key");
		ssize_t option = name ? tl_conf_option(conf->spec, name, strlen(name)) : -1;

		if (option >= 0 && in_base(conf->spec, name) && !conf->values[option].file_line)
			tl_conf_accept_node(walk, conf, (size_t)option,
					    yaml_document_get_node(walk->document, pair->value),
					    name, tl_conf_line(key));
	}
}

void tl_conf_walk_entry(struct tl_conf_walk *walk, struct tl_conf *conf, const yaml_node_t *root,
			long i)
{
	const yaml_node_t *list = member(walk, root, conf->spec->list);
	const yaml_node_t *entry = list ? entry_of(walk, list, conf->spec->list, i) : NULL;
	const char *type = entry ? type_of(walk, entry, conf->spec->list) : NULL;

	if (!entry) {
		tl_conf_report(walk, tl_conf_line(root), "\"%s\" has no entry %ld",
			       conf->spec->list, i);
	} else if (type && strcmp(type, conf->spec->list_type) != 0) {
		tl_conf_report(walk, tl_conf_line(entry),
			       "entry %ld of \"%s\" is of type %s, not %s", i, conf->spec->list,
			       type, conf->spec->list_type);
	} else if (type) {
		walk_entry(walk, conf, entry, i);
		walk_base(walk, conf, member(walk, root, conf->spec->list_base));
	}
}

struct listing {
	const char *list;
	char (*types)[TL_CONF_TYPE_MAX];
	size_t n, max;
};

static void note_types(struct tl_conf_walk *walk, const yaml_node_t *root, void *arg)
{
	struct listing *listing = arg;
	const yaml_node_t *list = member(walk, root, listing->list), *entry;

	for (long i = 0; list && (entry = entry_of(walk, list, listing->list, i)); i++) {
		const char *type = type_of(walk, entry, listing->list);

		if (!type)
			return;
		if (listing->n < listing->max)
			snprintf(listing->types[listing->n++], TL_CONF_TYPE_MAX, "%s", type);
	}
}

int tl_conf_list(const char *path, const char *list, char (*ret_types)[TL_CONF_TYPE_MAX],
		 size_t max, struct tl_error *error)
{
	struct tl_conf_walk walk = {.error = error};
	struct listing listing = {list, ret_types, 0, max};
	int r = tl_conf_walk_file(&walk, path, note_types, &listing, error);

	return r < 0 ? r : (int)listing.n;
}

struct peek {
	const char *section, *key;
	char *out;
	size_t size;
};

static void look(struct tl_conf_walk *walk, const yaml_node_t *root, void *arg)
{
	struct peek *peek = arg;
	const yaml_node_t *node = member(walk, member(walk, root, peek->section), peek->key);
	const char *text = node ? tl_conf_scalar(walk, node, peek->key) : NULL;

	if (text)
		snprintf(peek->out, peek->size, "%s", text);
}

int tl_conf_peek(const char *path, const char *section, const char *key, char *out, size_t size,
		 struct tl_error *error)
{
	struct tl_conf_walk walk = {.error = error};
	struct peek peek = {section, key, out, size};

	out[0] = 0;
	return tl_conf_walk_file(&walk, path, look, &peek, error);
}
