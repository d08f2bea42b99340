/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/conf_internal.h"
#include "userspace/base/text.h"

TL_DEFINE_CLEANUP(struct tl_conf *, tl_conf_free);

struct tl_conf *tl_conf_new(const struct tl_conf_spec *spec, void *settings)
{
	struct tl_conf *conf = calloc(1, sizeof(*conf));

	if (!conf)
		return NULL;
	conf->spec = spec;
	conf->settings = settings;
	while (spec->options[conf->n].name)
		conf->n++;
	conf->values = calloc(conf->n + 1, sizeof(*conf->values));
	if (!conf->values) {
		free(conf);
		return NULL;
	}
	return conf;
}

/* A secret does not stay behind in freed memory. */
static void free_string(const struct tl_option *option, char *string)
{
	if (string && option->type == TL_OPT_SECRET)
		explicit_bzero(string, strlen(string));
	free(string);
}

void tl_conf_free(struct tl_conf *conf)
{
	if (!conf)
		return;
	for (size_t i = 0; i < conf->n; i++) {
		struct tl_list *list = &conf->values[i].list;

		for (size_t j = 0; j < list->n; j++)
			free(list->items[j]);
		free(list->items);
		free_string(&conf->spec->options[i], conf->values[i].string);
	}
	free(conf->values);
	free(conf);
}

ssize_t tl_conf_option(const struct tl_conf_spec *spec, const char *name, size_t len)
{
	for (size_t i = 0; spec->options[i].name; i++)
		if (strlen(spec->options[i].name) == len &&
		    memcmp(spec->options[i].name, name, len) == 0)
			return (ssize_t)i;
	return -1;
}

/* The only name that begins with `word`, or whose last part is `word`. */
static const char *only_extension(const char *word, const char *const *names, size_t n)
{
	size_t len = strlen(word);
	const char *only = NULL;

	for (size_t i = 0; i < n; i++) {
		const char *dot = strrchr(names[i], '.');

		if (strncmp(names[i], word, len) != 0 && !(dot && strcmp(dot + 1, word) == 0))
			continue;
		if (only)
			return NULL;
		only = names[i];
	}
	return only;
}

const char *tl_conf_nearest(const struct tl_conf_spec *spec, const char *word)
{
	_cleanup_(freep) const char **names = NULL;
	const char *nearest;
	size_t n = 0;

	while (spec->options[n].name)
		n++;
	names = calloc(n + 1, sizeof(*names));
	if (!names)
		return NULL;
	n = 0;
	for (const struct tl_option *option = spec->options; option->name; option++)
		if (!option->hidden)
			names[n++] = option->name;
	nearest = tl_nearest(word, names, n);
	return nearest || strlen(word) < 2 ? nearest : only_extension(word, names, n);
}

/* Defaults and environment write a list in one string, with commas. */
static int accept_list_text(struct tl_conf *conf, size_t option, const char *text,
			    enum tl_conf_source source, struct tl_error *error)
{
	_cleanup_(freep) char *copy = strdup(text);
	char *rest = copy, *item;
	int r = 0;

	if (!copy)
		return tl_error_set(error, -ENOMEM, "out of memory");
	tl_conf_accept_empty(conf, option, source);
	while (r == 0 && (item = strsep(&rest, ",")))
		if (*item)
			r = tl_conf_accept(conf, option, item, source, error);
	return r;
}

static int accept_text(struct tl_conf *conf, size_t option, const char *text,
		       enum tl_conf_source source, struct tl_error *error)
{
	enum tl_opt_type type = conf->spec->options[option].type;

	if (type == TL_OPT_LIST || type == TL_OPT_KEYVALUE)
		return accept_list_text(conf, option, text, source, error);
	return tl_conf_accept(conf, option, text, source, error);
}

static int apply_flags(struct tl_conf *conf, const struct tl_conf_flags *flags,
		       struct tl_error *error)
{
	for (size_t i = 0; i < flags->n; i++) {
		size_t option = flags->items[i].option;
		int r = tl_conf_accept(conf, option, flags->items[i].text, TL_FROM_FLAG, error);

		if (r < 0) {
			tl_error_wrap(error, "--%s", conf->spec->options[option].name);
			return r;
		}
	}
	return 0;
}

static int apply_environment(struct tl_conf *conf, struct tl_error *error)
{
	for (size_t i = 0; i < conf->n; i++) {
		const char *name = conf->spec->options[i].env;
		const char *text = name ? getenv(name) : NULL;
		int r;

		/* An empty variable is how a shell or a unit file says "unset". */
		if (!text || !*text)
			continue;
		r = accept_text(conf, i, text, TL_FROM_ENV, error);
		if (r < 0) {
			tl_error_wrap(error, "environment variable %s", name);
			return r;
		}
	}
	return 0;
}

static int apply_defaults(struct tl_conf *conf, struct tl_error *error)
{
	for (size_t i = 0; i < conf->n; i++) {
		const struct tl_option *option = &conf->spec->options[i];
		bool given = conf->values[i].source > TL_FROM_DEFAULT;
		int r;

		/* Key-values merge, so their defaults count even beside given ones. */
		if (!option->value || (given && option->type != TL_OPT_KEYVALUE))
			continue;
		r = accept_text(conf, i, option->value, TL_FROM_DEFAULT, error);
		if (r < 0) {
			tl_error_wrap(error, "default of --%s", option->name);
			return r;
		}
	}
	return 0;
}

static int check_required(const struct tl_conf *conf, struct tl_error *error)
{
	for (size_t i = 0; i < conf->n; i++) {
		const struct tl_option *option = &conf->spec->options[i];
		const char *metavar = tl_conf_metavar(option), *section = conf->spec->section;

		if (!option->required || conf->values[i].source != TL_FROM_NOTHING)
			continue;
		return tl_error_set(
			error, -EINVAL,
			"--%s is missing: give --%s%s%s%s%s, or \"%s%s%s\" in a file with --config",
			option->name, option->name, metavar ? " " : "", metavar ? metavar : "",
			option->env ? ", set " : "", option->env ? option->env : "",
			section ? section : "", section ? "." : "", option->name);
	}
	return 0;
}

static int fill(struct tl_conf *conf, const struct tl_conf_flags *flags, struct tl_error *error)
{
	int r = apply_flags(conf, flags, error);

	if (r == 0)
		r = apply_environment(conf, error);
	conf->path = flags->config;
	if (r == 0 && flags->config)
		r = tl_conf_file(conf, flags->config, flags->entry ? atol(flags->entry) : -1,
				 error);
	if (r == 0)
		r = apply_defaults(conf, error);
	if (r == 0)
		r = check_required(conf, error);
	return r;
}

const char *tl_conf_path(const struct tl_conf *conf)
{
	return conf->path;
}

int tl_conf_load(const struct tl_conf_spec *spec, int argc, char **argv, void *settings,
		 struct tl_conf **ret_conf, int *ret_rest, struct tl_error *error)
{
	_cleanup_(tl_conf_freep) struct tl_conf *conf = NULL;
	struct tl_error local = {0};
	struct tl_conf_flags flags;
	int r;

	if (!error)
		error = &local;
	conf = tl_conf_new(spec, settings);
	if (!conf)
		return tl_error_set(error, -ENOMEM, "out of memory");
	for (size_t i = 0; i < conf->n; i++)
		tl_conf_accept_empty(conf, i, TL_FROM_NOTHING);

	r = tl_conf_flags(spec, argc, argv, &flags, error);
	if (r < 0)
		return r;
	if (flags.help)
		tl_conf_help(spec, stdout);
	else
		r = fill(conf, &flags, error);
	free(flags.items);
	if (r < 0)
		return r;
	if (flags.help)
		return 1;
	*ret_conf = TAKE_PTR(conf);
	*ret_rest = flags.rest;
	return 0;
}
