/* SPDX-License-Identifier: Apache-2.0 */
/* argv, read once from left to right. Nothing is checked against its type here: a flag that
 * overrides a broken file must be known before the file is read. */
#include <stdlib.h>
#include <string.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/conf_internal.h"

struct reader {
	const struct tl_conf_spec *spec;
	char **argv;
	int argc, at; /* `at`: the next word to read */
	struct tl_conf_flags *flags;
	struct tl_error *error;
};

static void add_flag(struct reader *reader, size_t option, const char *text)
{
	struct tl_conf_flags *flags = reader->flags;

	flags->items[flags->n++] = (struct tl_conf_flag){option, text};
	if (strcmp(reader->spec->options[option].name, "config") == 0)
		flags->config = text;
}

static int unknown_flag(struct reader *reader, const char *name, const char *dashes)
{
	static const char *const built_in[] = {"help", "config"};
	bool negated = strncmp(name, "no-", 3) == 0;
	const char *nearest = tl_conf_nearest(reader->spec, name);

	if (!nearest)
		for (size_t i = 0; i < ARRAY_SIZE(built_in); i++)
			if (strlen(name) >= 3 && strncmp(built_in[i], name, strlen(name)) == 0)
				nearest = built_in[i];
	if (nearest)
		return tl_error_set(reader->error, -EINVAL, "unknown flag %s%s: did you mean --%s?",
				    dashes, name, nearest);
	nearest = negated ? tl_conf_nearest(reader->spec, name + 3) : NULL;
	if (nearest) {
		size_t option = (size_t)tl_conf_option(reader->spec, nearest, strlen(nearest));
		bool is_bool = reader->spec->options[option].type == TL_OPT_BOOL;

		return tl_error_set(reader->error, -EINVAL,
				    is_bool ? "unknown flag %s%s: did you mean --no-%s?"
					    : "unknown flag %s%s: only a yes-or-no flag has a "
					      "\"no-\" form, --%s takes a value",
				    dashes, name, nearest);
	}
	return tl_error_set(reader->error, -EINVAL, "unknown flag %s%s: see \"%s --help\"", dashes,
			    name, reader->spec->program);
}

/* The next word as a flag's value. One with two dashes is the next flag after a forgotten value
 * (`--flag=--x` says otherwise). */
static int take_value(struct reader *reader, const char *flag, const char *metavar,
		      const char **ret_value)
{
	const char *next = reader->at < reader->argc ? reader->argv[reader->at] : NULL;

	if (!next || strncmp(next, "--", 2) == 0)
		return tl_error_set(reader->error, -EINVAL, "%s needs a value: %s %s", flag, flag,
				    metavar);
	reader->at++;
	*ret_value = next;
	return 0;
}

static int read_known(struct reader *reader, size_t option, const char *word, const char *value)
{
	const char *metavar = tl_conf_metavar(&reader->spec->options[option]);
	int r;

	if (!value && !metavar) {
		value = "true";
	} else if (!value) {
		r = take_value(reader, word, metavar, &value);
		if (r < 0)
			return r;
	}
	add_flag(reader, option, value);
	return 0;
}

/* "--no-NAME" of a bool. */
static ssize_t negated_option(const struct tl_conf_spec *spec, const char *name, size_t len)
{
	ssize_t option;

	if (len < 4 || strncmp(name, "no-", 3) != 0)
		return -1;
	option = tl_conf_option(spec, name + 3, len - 3);
	return option >= 0 && spec->options[option].type == TL_OPT_BOOL ? option : -1;
}

static int read_long(struct reader *reader, const char *word)
{
	const char *name = word + 2, *equals = strchr(name, '=');
	const char *value = equals ? equals + 1 : NULL;
	size_t len = equals ? (size_t)(equals - name) : strlen(name);
	ssize_t option = tl_conf_option(reader->spec, name, len);
	_cleanup_(freep) char *copy = NULL;

	if (option >= 0)
		return read_known(reader, (size_t)option, word, value);
	if (len == 4 && memcmp(name, "help", 4) == 0) {
		reader->flags->help = true;
		return 0;
	}
	if (len == 6 && memcmp(name, "config", 6) == 0) {
		reader->flags->config = value;
		return value ? 0 : take_value(reader, word, "FILE", &reader->flags->config);
	}
	if (reader->spec->list && len == 12 && memcmp(name, "config-entry", 12) == 0) {
		reader->flags->entry = value;
		return value ? 0 : take_value(reader, word, "N", &reader->flags->entry);
	}
	option = negated_option(reader->spec, name, len);
	if (option >= 0 && !value) {
		add_flag(reader, (size_t)option, "false");
		return 0;
	}
	copy = strndup(name, len);
	if (!copy)
		return tl_error_set(reader->error, -ENOMEM, "out of memory");
	if (option >= 0)
		return tl_error_set(reader->error, -EINVAL, "--%s takes no value", copy);
	return unknown_flag(reader, copy, "--");
}

static ssize_t option_of_letter(const struct tl_conf_spec *spec, char letter)
{
	for (size_t i = 0; spec->options[i].name; i++)
		if (spec->options[i].letter == letter)
			return (ssize_t)i;
	return -1;
}

/* "-f", "-fv", "-n5", "-n 5". */
static int read_letters(struct reader *reader, const char *word)
{
	for (const char *p = word + 1; *p; p++) {
		ssize_t option = option_of_letter(reader->spec, *p);
		char flag[] = {'-', *p, '\0'};

		if (option < 0 && *p == 'h') {
			reader->flags->help = true;
			continue;
		}
		if (option < 0)
			return unknown_flag(reader, flag + 1, "-");
		if (reader->spec->options[option].type != TL_OPT_BOOL)
			return read_known(reader, (size_t)option, flag, p[1] ? p + 1 : NULL);
		add_flag(reader, (size_t)option, "true");
	}
	return 0;
}

static bool is_flag(const char *word)
{
	return word[0] == '-' && word[1];
}

/* Reads flags up to the end or `--`, or up to the first word when the spec takes a command. Words
 * are collected in `words`; what is no word is moved to the front of argv, which never passes the
 * reading place. */
static int read_all(struct reader *reader, char **words, int *ret_front, int *ret_n_words)
{
	int front = 1, n_words = 0;

	while (reader->at < reader->argc) {
		int begin = reader->at++, r;
		char *word = reader->argv[begin];

		if (!is_flag(word)) {
			if (reader->spec->takes_command) {
				reader->at--;
				break;
			}
			words[n_words++] = word;
			continue;
		}
		r = 0;
		if (strcmp(word, "--") != 0)
			r = word[1] == '-' ? read_long(reader, word) : read_letters(reader, word);
		if (r < 0)
			return r;
		while (begin < reader->at)
			reader->argv[front++] = reader->argv[begin++];
		if (strcmp(word, "--") == 0)
			break;
	}
	*ret_front = front;
	*ret_n_words = n_words;
	return 0;
}

int tl_conf_flags(const struct tl_conf_spec *spec, int argc, char **argv,
		  struct tl_conf_flags *ret_flags, struct tl_error *error)
{
	struct tl_conf_flags flags = {0};
	struct reader reader = {spec, argv, argc, 1, &flags, error};
	_cleanup_(freep) struct tl_conf_flag *items = NULL;
	_cleanup_(freep) char **words = NULL;
	int front, n_words, r;
	size_t most = 1;

	/* A word gives one flag, or one for each of its letters. */
	for (int i = 1; i < argc; i++)
		most += strlen(argv[i]) + 1;
	items = calloc(most, sizeof(*items));
	words = calloc((size_t)argc + 1, sizeof(*words));
	if (!items || !words)
		return tl_error_set(error, -ENOMEM, "out of memory");
	flags.items = items;
	r = read_all(&reader, words, &front, &n_words);
	if (r < 0)
		return r;
	/* front + n_words == reader.at, so the words fill exactly the gap that the flags left. */
	if (n_words)
		memcpy(argv + front, words, (size_t)n_words * sizeof(*words));
	flags.rest = front;
	TAKE_PTR(items);
	*ret_flags = flags;
	return 0;
}
