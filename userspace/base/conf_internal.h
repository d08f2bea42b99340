/* SPDX-License-Identifier: Apache-2.0 */
/* Private to conf*.c. A value goes to its field through tl_conf_accept, whoever read it; sources
 * are read from the strongest to the weakest, so that a weaker one is still checked but no longer
 * stored. */
#ifndef TL_BASE_CONF_INTERNAL_H
#define TL_BASE_CONF_INTERNAL_H

#include "userspace/base/conf.h"

#define TL_CONF_MAX_FILE ((size_t)1 << 20)
#define TL_CONF_MAX_SECRET ((size_t)64 << 10)
#define TL_CONF_MAX_LIST 4096

enum tl_conf_source {
	TL_FROM_NOTHING,
	TL_FROM_DEFAULT,
	TL_FROM_FILE,
	TL_FROM_ENV,
	TL_FROM_FLAG,
};

struct tl_conf_value {
	enum tl_conf_source source; /* strongest that said something */
	char *string;		    /* owned; STRING and SECRET */
	struct tl_list list;	    /* owned; LIST and KEYVALUE */
	unsigned file_line;	    /* where the file said it, 0 when it did not */
};

struct tl_conf {
	const struct tl_conf_spec *spec;
	void *settings; /* NULL: values are checked and not kept */
	size_t n;	/* options */
	struct tl_conf_value *values;
	const char *path; /* of --config, or NULL */
};

/* What argv said, not yet checked. Strings are borrowed from argv. */
struct tl_conf_flags {
	struct tl_conf_flag {
		size_t option;
		const char *text;
	} * items;
	size_t n;
	const char *config; /* the file of --config, or NULL */
	const char *entry;  /* of --config-entry, or NULL */
	bool help;
	int rest;
};

/* Returns a conf without values, or NULL when memory is out. The caller owns it (tl_conf_free). */
struct tl_conf *tl_conf_new(const struct tl_conf_spec *spec, void *settings);

/* Checks `text` for option number `option` and stores it unless a stronger source spoke; lists get
 * one more item. Errors: -EINVAL, -ENOMEM, a secret file's; `error` says what is wrong, without
 * naming the option. */
int tl_conf_accept(struct tl_conf *conf, size_t option, const char *text,
		   enum tl_conf_source source, struct tl_error *error);

/* As tl_conf_accept for a list that is given and empty. */
void tl_conf_accept_empty(struct tl_conf *conf, size_t option, enum tl_conf_source source);

/* The number of the option called `name` (`len` bytes), or -1. */
ssize_t tl_conf_option(const struct tl_conf_spec *spec, const char *name, size_t len);

/* The shown option nearest to `word`, by spelling, beginning or last part; NULL when none is near.
 */
const char *tl_conf_nearest(const struct tl_conf_spec *spec, const char *word);

/* Splits argv into flags and words; the words are moved behind the flags unless the spec takes a
 * command. `ret_flags->items` is the caller's to free. Errors: -EINVAL, -ENOMEM. */
int tl_conf_flags(const struct tl_conf_spec *spec, int argc, char **argv,
		  struct tl_conf_flags *ret_flags, struct tl_error *error);

/* Gives the conf what its section of the YAML file says, or with `entry` >= 0 that entry of its
 * spec's list. Errors: -EINVAL with file:line, those of reading it. */
int tl_conf_file(struct tl_conf *conf, const char *path, long entry, struct tl_error *error);

/* The word for the value in --help: the metavar, or one made from the type; NULL for a bool. */
const char *tl_conf_metavar(const struct tl_option *option);

#endif
