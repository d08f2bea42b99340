/* SPDX-License-Identifier: Apache-2.0 */
/* Private to conf_yaml.c (values, sections) and conf_list.c (lists of typed entries): walking one
 * YAML document. */
#ifndef TL_BASE_CONF_WALK_H
#define TL_BASE_CONF_WALK_H

#include <yaml.h>

#include "userspace/base/conf_internal.h"

#define TL_CONF_NAME_MAX 256
#define TL_CONF_TYPE_KEY "type"

struct tl_conf_walk {
	const char *path;
	yaml_document_t *document;
	struct tl_error *error; /* takes the first error, when there is no `out` */
	FILE *out;		/* takes them all */
	int n_errors;
	bool in_list; /* the mapping is an entry of a list: it has a key `type` */
};

/* The confs whose sections may stand in the file, and whether other sections are somebody's
 * mistake. */
struct tl_conf_sections {
	struct tl_conf **confs;
	size_t n;
	bool complete;
	long entry;			 /* of the list instead of the section; -1 the section */
	bool found;			 /* a section of ours was there */
	char stranger[TL_CONF_NAME_MAX]; /* a section that looks like a misspelt one of ours */
	unsigned stranger_line;
};

static inline unsigned tl_conf_line(const yaml_node_t *node)
{
	return (unsigned)node->start_mark.line + 1;
}

/* Counts one more mistake. */
void tl_conf_report(struct tl_conf_walk *walk, unsigned line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The text of a scalar, NULL (reported) when the node is none or holds a NUL. */
const char *tl_conf_scalar(struct tl_conf_walk *walk, const yaml_node_t *node, const char *name);
/* Whether the node is nothing: `~`, `null`, or no text at all. */
bool tl_conf_is_null(const yaml_node_t *node);

/* Gives `node` to the option, which messages call `name`. */
void tl_conf_accept_node(struct tl_conf_walk *walk, struct tl_conf *conf, size_t option,
			 const yaml_node_t *node, const char *name, unsigned line);

/* Walks the mapping at `prefix` ("agent." or "agent.kafka."), whose option names begin after
 * `section_len`. */
void tl_conf_walk_options(struct tl_conf_walk *walk, struct tl_conf *conf,
			  const yaml_node_t *mapping, const char *prefix, size_t section_len);

typedef void tl_conf_visit(struct tl_conf_walk *walk, const yaml_node_t *root, void *arg);

/* Reads the file and calls `visit` with the root, which may be NULL. Errors: -EINVAL something was
 * reported; those of reading it (then `error` is set). */
int tl_conf_walk_file(struct tl_conf_walk *walk, const char *path, tl_conf_visit *visit, void *arg,
		      struct tl_error *error);

/* conf_list.c: whether a spec among the sections has a list of this name. */
bool tl_conf_is_list(const struct tl_conf_sections *sections, const char *name);
/* Checks all entries, each against the spec of its type. */
void tl_conf_check_list(struct tl_conf_walk *walk, const struct tl_conf_sections *sections,
			const char *name, const yaml_node_t *list);
/* Gives the conf entry `i` of its spec's list. */
void tl_conf_walk_entry(struct tl_conf_walk *walk, struct tl_conf *conf, const yaml_node_t *root,
			long i);

#endif
