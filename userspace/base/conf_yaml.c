/* SPDX-License-Identifier: Apache-2.0 */
/* YAML files. The option table steers the walk: a mapping is entered only as far as option names
 * have dots, so that neither nesting nor aliases of a hostile file can make it long. Everything is
 * reported with its line. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "userspace/base/buf.h"
#include "userspace/base/cleanup.h"
#include "userspace/base/conf_walk.h"
#include "userspace/base/fs.h"
#include "userspace/base/text.h"

void tl_conf_report(struct tl_conf_walk *walk, unsigned line, const char *format, ...)
{
	char text[480];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (walk->out)
		fprintf(walk->out, "%s:%u: %s\n", walk->path, line, text);
	else if (walk->n_errors == 0)
		tl_error_set(walk->error, -EINVAL, "%s:%u: %s", walk->path, line, text);
	walk->n_errors++;
}

/* The text of a scalar, NULL (reported) when the node is none or holds a NUL. */
const char *tl_conf_scalar(struct tl_conf_walk *walk, const yaml_node_t *node, const char *name)
{
	const char *text = (const char *)node->data.scalar.value;

	if (node->type != YAML_SCALAR_NODE)
		tl_conf_report(walk, tl_conf_line(node), "\"%s\" takes one value, not a %s", name,
			       node->type == YAML_SEQUENCE_NODE ? "list" : "mapping");
	else if (strlen(text) != node->data.scalar.length)
		tl_conf_report(walk, tl_conf_line(node), "the value of \"%s\" has a NUL byte in it",
			       name);
	else
		return text;
	return NULL;
}

bool tl_conf_is_null(const yaml_node_t *node)
{
	const char *text = (const char *)node->data.scalar.value;

	if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return false;
	return !*text || strcmp(text, "~") == 0 || strcmp(text, "null") == 0;
}

/* Hands one text to the conf; `name` is what messages call it. */
static void accept(struct tl_conf_walk *walk, struct tl_conf *conf, size_t option, const char *text,
		   unsigned line, const char *name)
{
	struct tl_error error = {0};

	if (tl_conf_accept(conf, option, text, TL_FROM_FILE, &error) < 0)
		tl_conf_report(walk, line, "%s: %s", name, error.message);
}

static void accept_scalar(struct tl_conf_walk *walk, struct tl_conf *conf, size_t option,
			  const yaml_node_t *node, const char *name)
{
	const char *text = tl_conf_scalar(walk, node, name);

	if (text)
		accept(walk, conf, option, text, tl_conf_line(node), name);
}

static void accept_list(struct tl_conf_walk *walk, struct tl_conf *conf, size_t option,
			const yaml_node_t *node, const char *name)
{
	tl_conf_accept_empty(conf, option, TL_FROM_FILE);
	if (tl_conf_is_null(node))
		return;
	if (node->type != YAML_SEQUENCE_NODE) {
		accept_scalar(walk, conf, option, node, name);
		return;
	}
	for (yaml_node_item_t *item = node->data.sequence.items.start;
	     item < node->data.sequence.items.top; item++)
		accept_scalar(walk, conf, option, yaml_document_get_node(walk->document, *item),
			      name);
}

static void accept_keyvalue(struct tl_conf_walk *walk, struct tl_conf *conf, size_t option,
			    const yaml_node_t *node, const char *name)
{
	if (tl_conf_is_null(node))
		return;
	if (node->type != YAML_MAPPING_NODE) {
		tl_conf_report(walk, tl_conf_line(node),
			       "\"%s\" takes a mapping of KEY: VALUE lines", name);
		return;
	}
	for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
	     pair < node->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = yaml_document_get_node(walk->document, pair->key);
		const yaml_node_t *value = yaml_document_get_node(walk->document, pair->value);
		const char *key_text = tl_conf_scalar(walk, key, name);
		const char *text = key_text ? tl_conf_scalar(walk, value, key_text) : NULL;
		_cleanup_(freep) char *joined = NULL;

		if (text && asprintf(&joined, "%s=%s", key_text, text) > 0)
			accept(walk, conf, option, joined, tl_conf_line(key), name);
	}
}

void tl_conf_accept_node(struct tl_conf_walk *walk, struct tl_conf *conf, size_t option,
			 const yaml_node_t *node, const char *name, unsigned line)
{
	struct tl_conf_value *value = &conf->values[option];

	if (value->file_line) {
		tl_conf_report(walk, line, "\"%s\" was given before, in line %u", name,
			       value->file_line);
		return;
	}
	value->file_line = line;
	switch (conf->spec->options[option].type) {
	case TL_OPT_LIST:
		accept_list(walk, conf, option, node, name);
		break;
	case TL_OPT_KEYVALUE:
		accept_keyvalue(walk, conf, option, node, name);
		break;
	default:
		if (tl_conf_is_null(node))
			tl_conf_report(walk, line, "\"%s\" has no value", name);
		else
			accept_scalar(walk, conf, option, node, name);
	}
}

/* `name` is where we are, `section.` in front: "agent.kafka.". Key names are joined to it. */
static bool join_name(struct tl_conf_walk *walk, const yaml_node_t *key, const char *name,
		      char out[TL_CONF_NAME_MAX])
{
	const char *text = tl_conf_scalar(walk, key, "a key");

	if (!text)
		return false;
	if ((size_t)snprintf(out, TL_CONF_NAME_MAX, "%s%s", name, text) < TL_CONF_NAME_MAX)
		return true;
	tl_conf_report(walk, tl_conf_line(key), "unknown key \"%s%.60s...\"", name, text);
	return false;
}

static bool is_group(const struct tl_conf_spec *spec, const char *name)
{
	size_t len = strlen(name);

	for (const struct tl_option *option = spec->options; option->name; option++)
		if (strncmp(option->name, name, len) == 0 && option->name[len] == '.')
			return true;
	return false;
}

static void unknown_key(struct tl_conf_walk *walk, const struct tl_conf_spec *spec, unsigned line,
			const char *name, const char *in_section)
{
	const char *nearest = tl_conf_nearest(spec, in_section);

	if (nearest)
		tl_conf_report(walk, line, "unknown key \"%s\": did you mean \"%.*s%s\"?", name,
			       (int)(in_section - name), name, nearest);
	else
		tl_conf_report(walk, line, "unknown key \"%s\": see \"%s --help\"", name,
			       spec->program);
}

/* Walks the mapping at `prefix` ("agent." or "agent.kafka."), whose option names begin after
 * `section_len`. */
void tl_conf_walk_options(struct tl_conf_walk *walk, struct tl_conf *conf,
			  const yaml_node_t *mapping, const char *prefix, size_t section_len)
{
	for (yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
	     pair < mapping->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = yaml_document_get_node(walk->document, pair->key);
		const yaml_node_t *node = yaml_document_get_node(walk->document, pair->value);
		char name[TL_CONF_NAME_MAX], deeper[TL_CONF_NAME_MAX + 1];
		ssize_t option;

		if (!join_name(walk, key, prefix, name))
			continue;
		option = tl_conf_option(conf->spec, name + section_len, strlen(name + section_len));
		if (walk->in_list && strcmp(name + section_len, TL_CONF_TYPE_KEY) == 0)
			continue;
		if (option >= 0) {
			tl_conf_accept_node(walk, conf, (size_t)option, node, name,
					    tl_conf_line(key));
		} else if (!is_group(conf->spec, name + section_len)) {
			unknown_key(walk, conf->spec, tl_conf_line(key), name, name + section_len);
		} else if (node->type == YAML_MAPPING_NODE) {
			snprintf(deeper, sizeof(deeper), "%s.", name);
			tl_conf_walk_options(walk, conf, node, deeper, section_len);
		} else if (!tl_conf_is_null(node)) {
			tl_conf_report(walk, tl_conf_line(key),
				       "\"%s\" is a group of keys: write them below it", name);
		}
	}
}

static void walk_section(struct tl_conf_walk *walk, struct tl_conf *conf, const yaml_node_t *node,
			 const char *name, unsigned line)
{
	char prefix[TL_CONF_NAME_MAX + 1];

	if (tl_conf_is_null(node))
		return;
	if (node->type != YAML_MAPPING_NODE) {
		tl_conf_report(walk, line, "\"%s\" must be a mapping of settings", name);
		return;
	}
	snprintf(prefix, sizeof(prefix), "%s.", name);
	tl_conf_walk_options(walk, conf, node, prefix, strlen(prefix));
}

static const char *section_of(const struct tl_conf *conf)
{
	return conf->spec->section ? conf->spec->section : "";
}

static bool has_deeper_section(const struct tl_conf_sections *sections, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < sections->n; i++)
		if (strncmp(section_of(sections->confs[i]), name, len) == 0 &&
		    section_of(sections->confs[i])[len] == '.')
			return true;
	return false;
}

static const char *nearest_section(const struct tl_conf_sections *sections, const char *name)
{
	_cleanup_(freep) const char **names = calloc(sections->n + 1, sizeof(*names));

	if (!names)
		return NULL;
	for (size_t i = 0; i < sections->n; i++)
		names[i] = section_of(sections->confs[i]);
	return tl_nearest(name, names, sections->n);
}

static void strange_section(struct tl_conf_walk *walk, struct tl_conf_sections *sections,
			    const char *name, unsigned line)
{
	const char *nearest = nearest_section(sections, name);

	if (sections->complete && nearest) {
		tl_conf_report(walk, line, "unknown section \"%s\": did you mean \"%s\"?", name,
			       nearest);
	} else if (sections->complete) {
		tl_conf_report(walk, line, "unknown section \"%s\"", name);
	} else if (nearest && strncmp(nearest, name, strlen(nearest)) != 0) {
		/* "sinks" beside "sink" is another section rather than a slip. */
		snprintf(sections->stranger, sizeof(sections->stranger), "%s", name);
		sections->stranger_line = line;
	}
}

/* Walks a mapping above the sections; `prefix` is "" at the top, "sink." where a section is called
 * sink.s3. */
static void walk_top(struct tl_conf_walk *walk, struct tl_conf_sections *sections,
		     const yaml_node_t *mapping, const char *prefix)
{
	for (yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
	     pair < mapping->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = yaml_document_get_node(walk->document, pair->key);
		const yaml_node_t *node = yaml_document_get_node(walk->document, pair->value);
		char name[TL_CONF_NAME_MAX], deeper[TL_CONF_NAME_MAX + 1];
		struct tl_conf *conf = NULL;

		if (!join_name(walk, key, prefix, name))
			continue;
		for (size_t i = 0; i < sections->n && !conf; i++)
			if (strcmp(section_of(sections->confs[i]), name) == 0)
				conf = sections->confs[i];
		if (conf) {
			sections->found = true;
			walk_section(walk, conf, node, name, tl_conf_line(key));
		} else if (has_deeper_section(sections, name) && node->type == YAML_MAPPING_NODE) {
			snprintf(deeper, sizeof(deeper), "%s.", name);
			walk_top(walk, sections, node, deeper);
		} else if (!*prefix && tl_conf_is_list(sections, name)) {
			if (sections->complete)
				tl_conf_check_list(walk, sections, name, node);
		} else if (!has_deeper_section(sections, name) || !tl_conf_is_null(node)) {
			strange_section(walk, sections, name, tl_conf_line(key));
		}
	}
}

static void walk_document(struct tl_conf_walk *walk, const yaml_node_t *root, void *arg)
{
	struct tl_conf_sections *sections = arg;

	if (!root || tl_conf_is_null(root))
		return;
	if (root->type != YAML_MAPPING_NODE)
		tl_conf_report(walk, tl_conf_line(root),
			       "the file must be a mapping of sections, such as \"%s:\"",
			       sections->n ? section_of(sections->confs[0]) : "agent");
	else if (sections->entry >= 0)
		tl_conf_walk_entry(walk, sections->confs[0], root, sections->entry);
	else if (sections->n == 1 && !sections->confs[0]->spec->section)
		tl_conf_walk_options(walk, sections->confs[0], root, "", 0);
	else
		walk_top(walk, sections, root, "");
	if (!sections->found && sections->stranger_line && !walk->n_errors)
		tl_conf_report(walk, sections->stranger_line,
			       "unknown section \"%s\": did you mean \"%s\"?", sections->stranger,
			       nearest_section(sections, sections->stranger));
}

static void report_syntax(struct tl_conf_walk *walk, const yaml_parser_t *parser)
{
	bool context = parser->context && *parser->context;

	tl_conf_report(walk, (unsigned)parser->problem_mark.line + 1, "not valid YAML: %s%s%s",
		       context ? parser->context : "", context ? ", " : "",
		       parser->problem ? parser->problem : "out of memory");
}

static void walk_text(struct tl_conf_walk *walk, struct tl_span text, tl_conf_visit *visit,
		      void *arg)
{
	yaml_document_t document, second;
	yaml_parser_t parser;

	if (!yaml_parser_initialize(&parser)) {
		tl_conf_report(walk, 1, "out of memory");
		return;
	}
	yaml_parser_set_input_string(&parser, (const unsigned char *)text.data, text.len);
	if (!yaml_parser_load(&parser, &document)) {
		report_syntax(walk, &parser);
		yaml_parser_delete(&parser);
		return;
	}
	walk->document = &document;
	if (!yaml_parser_load(&parser, &second)) {
		report_syntax(walk, &parser);
	} else {
		const yaml_node_t *root = yaml_document_get_root_node(&second);

		if (root)
			tl_conf_report(walk, tl_conf_line(root),
				       "a second document begins; only one is read");
		else
			visit(walk, yaml_document_get_root_node(&document), arg);
		yaml_document_delete(&second);
	}
	yaml_document_delete(&document);
	yaml_parser_delete(&parser);
}

int tl_conf_walk_file(struct tl_conf_walk *walk, const char *path, tl_conf_visit *visit, void *arg,
		      struct tl_error *error)
{
	_cleanup_(tl_buf_done) struct tl_buf text = {.max = TL_CONF_MAX_FILE + 65536};
	/* A byte that is not there keeps the text from being NULL in an empty file. */
	int r = tl_buf_reserve(&text, 1);

	if (r < 0)
		return tl_error_set(error, r, "out of memory");
	r = tl_file_read(path, TL_CONF_MAX_FILE, &text, error);
	if (r < 0)
		return r;
	walk->path = path;
	walk_text(walk, tl_buf_span(&text), visit, arg);
	return walk->n_errors ? -EINVAL : 0;
}

int tl_conf_file(struct tl_conf *conf, const char *path, long entry, struct tl_error *error)
{
	struct tl_conf_walk walk = {.error = error};
	struct tl_conf_sections sections = {.confs = &conf, .n = 1, .entry = entry};

	return tl_conf_walk_file(&walk, path, walk_document, &sections, error);
}

int tl_conf_check(const char *path, const struct tl_conf_spec *const *specs, size_t n, FILE *out)
{
	struct tl_conf_walk walk = {.out = out};
	struct tl_conf_sections sections = {.complete = true, .entry = -1};
	struct tl_error error = {0};
	int r;

	sections.confs = calloc(n + 1, sizeof(struct tl_conf *));
	for (size_t i = 0; sections.confs && i < n; i++) {
		struct tl_conf *conf = specs[i]->section ? tl_conf_new(specs[i], NULL) : NULL;

		if (conf)
			sections.confs[sections.n++] = conf;
	}
	r = tl_conf_walk_file(&walk, path, walk_document, &sections, &error);
	for (size_t i = 0; i < sections.n; i++)
		tl_conf_free(sections.confs[i]);
	free(sections.confs);
	if (r == 0 || walk.n_errors)
		return walk.n_errors;
	fprintf(out, "%s\n", error.message);
	return 1;
}
