/* SPDX-License-Identifier: Apache-2.0 */
/* One table describes every setting of a program: it parses the flags and the YAML file, refuses
 * what it does not know by name with the nearest match, prints --help, and is the source of
 * docs/configuration.md. Precedence: flag, then environment (where an option names one), then file,
 * then default. */
#ifndef TL_BASE_CONF_H
#define TL_BASE_CONF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "userspace/base/err.h"

enum tl_opt_type {
	TL_OPT_STRING,	 /* const char *, owned by the conf */
	TL_OPT_BOOL,	 /* bool; the flag alone means true, --no-NAME false */
	TL_OPT_INT,	 /* int64_t, within min..max */
	TL_OPT_SIZE,	 /* uint64_t bytes, as tl_size_parse */
	TL_OPT_DURATION, /* uint64_t ns, as tl_duration_parse */
	TL_OPT_ENUM,	 /* int index into `choices` */
	TL_OPT_LIST, /* struct tl_list; the flag may be given several times, YAML takes a sequence
		      */
	TL_OPT_KEYVALUE, /* struct tl_list of "KEY=VALUE"; YAML takes a mapping */
	TL_OPT_SECRET,	 /* const char *; the value is a file to read it from, never shown or logged
			  */
};

struct tl_list {
	char **items; /* owned by the conf */
	size_t n;
};

struct tl_option {
	const char *name; /* YAML key and --flag, words joined by `-`; dots make YAML nesting */
	enum tl_opt_type type;
	size_t offset;		    /* of the field in the program's settings struct */
	const char *value;	    /* default as text, NULL none */
	const char *metavar;	    /* in --help: "HOST:PORT" */
	const char *help;	    /* one sentence or two; says the unit */
	const char *const *choices; /* TL_OPT_ENUM, NULL-terminated */
	int64_t min, max;	    /* TL_OPT_INT; both 0: any */
	const char *env;	    /* environment variable that sets it, or NULL */
	char letter;		    /* short flag, or 0 */
	bool required;
	bool hidden; /* for tests and internal use: parsed, not shown */
};

/* Describes a program or subcommand; `options` ends with a NULL name. */
struct tl_conf_spec {
	const char *program; /* "tapline sink elasticsearch" */
	const char
		*section;  /* YAML top-level key whose mapping holds these options, e.g. "agent" */
	const char *usage; /* "tapline run [options] -- CMD [ARG...]" */
	const char *about; /* paragraphs, with examples, as shown by --help */
	const struct tl_option *options;
	/* The section may also be an entry of a list: `sinks: [{type: otlp, ...}]` with list
	 * "sinks" and list_type "otlp". A program that is given --config-entry N reads that entry
	 * instead of the section; some keys of section `list_base` count where the entry has none
	 * of them. */
	const char *list, *list_type, *list_base;
	const char *const *list_base_keys; /* those that count; ends with NULL */
	bool takes_command; /* stops at `--` or the first word that is no flag; rest is the command
			     */
};

struct tl_conf;

/* Fills `settings` (zeroed here) from defaults, file (`--config FILE`, known to every spec),
 * environment, argv.
 * `--help` prints and returns 1 (the caller exits 0). `*ret_rest` is the index in argv of the first
 * word not taken. The strings in `settings` live until tl_conf_free. Errors: -EINVAL with a
 * sentence that names the flag or key (file:line for YAML) and the nearest match. */
int tl_conf_load(const struct tl_conf_spec *spec, int argc, char **argv, void *settings,
		 struct tl_conf **ret_conf, int *ret_rest, struct tl_error *error);
void tl_conf_free(struct tl_conf *conf);

/* The file of --config, borrowed from argv, or NULL. */
const char *tl_conf_path(const struct tl_conf *conf);

#define TL_CONF_TYPE_MAX 32

/* Reads the types of the entries of `list` ("sinks") in the YAML file: at most `max` names, cut at
 * their size, to `ret_types`. Returns their number, 0 where the file has no such list. Errors:
 * -EINVAL with file:line, those of reading it. */
int tl_conf_list(const char *path, const char *list, char (*ret_types)[TL_CONF_TYPE_MAX],
		 size_t max, struct tl_error *error);

/* What the YAML file says for `key` of `section`, NUL-terminated; "" where it says nothing. Errors:
 * -EINVAL with file:line, those of reading it. */
int tl_conf_peek(const char *path, const char *section, const char *key, char *out, size_t size,
		 struct tl_error *error);

/* Checks every section of a YAML file against the specs, all errors to `out`, one a line. Returns
 * their number. */
int tl_conf_check(const char *path, const struct tl_conf_spec *const *specs, size_t n, FILE *out);

void tl_conf_help(const struct tl_conf_spec *spec, FILE *out);

/* One Markdown section for docs/configuration.md. */
void tl_conf_markdown(const struct tl_conf_spec *spec, FILE *out);

/* The rows of a table of options alone, as Markdown. */
void tl_conf_markdown_table(const struct tl_option *options, FILE *out);

/* One roff man page, section 1. */
void tl_conf_man(const struct tl_conf_spec *spec, FILE *out);

#endif
