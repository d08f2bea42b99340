/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "userspace/base/buf.h"
#include "userspace/base/cleanup.h"
#include "userspace/base/conf_internal.h"
#include "userspace/base/fs.h"
#include "userspace/base/text.h"

union parsed {
	bool truth;
	int64_t number;
	uint64_t amount;
	int choice;
};

static int parse_bool(const char *text, bool *ret, struct tl_error *error)
{
	static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (tl_span_ieq(tl_span_str(text), words[i])) {
			*ret = i % 2;
			return 0;
		}
	}
	return tl_error_set(error, -EINVAL, "\"%s\" is neither true nor false", text);
}

static int parse_int(const struct tl_option *option, const char *text, int64_t *ret,
		     struct tl_error *error)
{
	char *end;
	long long v;

	errno = 0;
	v = strtoll(text, &end, 10);
	if (end == text || *end || text[strspn(text, "-0123456789")])
		return tl_error_set(error, -EINVAL, "\"%s\" is not a whole number", text);
	if (errno == ERANGE ||
	    ((option->min || option->max) &&
	     (v < option->min || (option->max > option->min && v > option->max)))) {
		if (option->max > option->min)
			return tl_error_set(error, -EINVAL, "%s is not between %lld and %lld", text,
					    (long long)option->min, (long long)option->max);
		return tl_error_set(error, -EINVAL, errno ? "%s is too large" : "%s is too small",
				    text);
	}
	*ret = v;
	return 0;
}

static int parse_choice(const struct tl_option *option, const char *text, int *ret,
			struct tl_error *error)
{
	_cleanup_(tl_buf_done) struct tl_buf list = {.max = 300};
	const char *nearest;
	int n;

	for (n = 0; option->choices[n]; n++) {
		if (strcmp(option->choices[n], text) == 0) {
			*ret = n;
			return 0;
		}
		tl_buf_printf(&list, "%s%s", n ? ", " : "", option->choices[n]);
	}
	nearest = tl_nearest(text, option->choices, (size_t)n);
	if (nearest)
		tl_error_set(error, -EINVAL, "\"%s\" is not one of %.*s: did you mean \"%s\"?",
			     text, (int)list.len, list.len ? list.data : "", nearest);
	else
		tl_error_set(error, -EINVAL, "\"%s\" is not one of %.*s", text, (int)list.len,
			     list.len ? list.data : "");
	return -EINVAL;
}

static int parse_amount(int r, const char *text, const char *what, const char *examples,
			struct tl_error *error)
{
	if (r == -ERANGE)
		return tl_error_set(error, -EINVAL, "%s is too large for a %s", text, what);
	if (r < 0)
		return tl_error_set(error, -EINVAL, "\"%s\" is not a %s: write it like %s", text,
				    what, examples);
	return 0;
}

static int parse(const struct tl_option *option, const char *text, union parsed *ret,
		 struct tl_error *error)
{
	switch (option->type) {
	case TL_OPT_BOOL:
		return parse_bool(text, &ret->truth, error);
	case TL_OPT_INT:
		return parse_int(option, text, &ret->number, error);
	case TL_OPT_SIZE:
		return parse_amount(tl_size_parse(text, &ret->amount), text, "size",
				    "512k, 10MiB or 1G", error);
	case TL_OPT_DURATION:
		return parse_amount(tl_duration_parse(text, &ret->amount), text, "duration",
				    "250ms, 20s, 5m or 2h", error);
	case TL_OPT_ENUM:
		return parse_choice(option, text, &ret->choice, error);
	case TL_OPT_KEYVALUE:
		if (*text == '=' || !strchr(text, '='))
			return tl_error_set(error, -EINVAL, "\"%s\" is not KEY=VALUE", text);
		return 0;
	case TL_OPT_SECRET:
		if (!*text)
			return tl_error_set(error, -EINVAL,
					    "the name of the secret's file is empty");
		return 0;
	case TL_OPT_STRING:
	case TL_OPT_LIST:
		return 0;
	}
	return tl_error_set(error, -EINVAL, "option table: unknown type");
}

static void *field_of(const struct tl_conf *conf, size_t option)
{
	return (char *)conf->settings + conf->spec->options[option].offset;
}

static int store_string(struct tl_conf *conf, size_t option, const char *text, size_t len,
			struct tl_error *error)
{
	struct tl_conf_value *value = &conf->values[option];
	char *copy = strndup(text, len);

	if (!copy)
		return tl_error_set(error, -ENOMEM, "out of memory");
	if (value->string && conf->spec->options[option].type == TL_OPT_SECRET)
		explicit_bzero(value->string, strlen(value->string));
	free(value->string);
	value->string = copy;
	*(const char **)field_of(conf, option) = copy;
	return 0;
}

static int store_secret(struct tl_conf *conf, size_t option, const char *text,
			enum tl_conf_source source, struct tl_error *error)
{
	struct tl_buf content = {.max = TL_CONF_MAX_SECRET + 1};
	int r;

	if (source == TL_FROM_ENV)
		return store_string(conf, option, text, strlen(text), error);
	/* All room at once: growing would leave pieces of the secret in freed memory. */
	r = tl_buf_reserve(&content, content.max);
	if (r < 0)
		return tl_error_set(error, r, "out of memory");
	r = tl_file_read(text, TL_CONF_MAX_SECRET, &content, error);
	if (r == 0) {
		size_t len = content.len;

		if (len && content.data[len - 1] == '\n')
			len--;
		if (len && content.data[len - 1] == '\r')
			len--;
		if (len == 0 || memchr(content.data, 0, len))
			r = tl_error_set(error, -EINVAL, "%s holds no secret: it %s", text,
					 len ? "has a NUL byte in it" : "is empty");
		else
			r = store_string(conf, option, content.data, len, error);
	}
	explicit_bzero(content.data, content.cap);
	tl_buf_done(&content);
	return r;
}

static void empty_list(struct tl_conf *conf, size_t option)
{
	struct tl_list *list = &conf->values[option].list;

	for (size_t i = 0; i < list->n; i++)
		free(list->items[i]);
	list->n = 0;
	*(struct tl_list *)field_of(conf, option) = *list;
}

static int append_item(struct tl_conf *conf, size_t option, const char *text,
		       struct tl_error *error)
{
	struct tl_list *list = &conf->values[option].list;
	char **items;

	if (list->n == TL_CONF_MAX_LIST)
		return tl_error_set(error, -EINVAL, "more than %d items", TL_CONF_MAX_LIST);
	items = reallocarray(list->items, list->n + 1, sizeof(*items));
	if (!items)
		return tl_error_set(error, -ENOMEM, "out of memory");
	list->items = items;
	items[list->n] = strdup(text);
	if (!items[list->n])
		return tl_error_set(error, -ENOMEM, "out of memory");
	list->n++;
	*(struct tl_list *)field_of(conf, option) = *list;
	return 0;
}

/* Unlike a list, where the strongest source replaces the others, key-values of all sources add up
 * and the strongest decides each key: `--kafka debug=all` must not drop the TLS settings of the
 * file. */
static int store_keyvalue(struct tl_conf *conf, size_t option, const char *text, bool weaker,
			  struct tl_error *error)
{
	struct tl_list *list = &conf->values[option].list;
	size_t key_len = (size_t)(strchr(text, '=') - text) + 1;

	for (size_t i = 0; i < list->n; i++) {
		char *copy;

		if (strncmp(list->items[i], text, key_len) != 0)
			continue;
		if (weaker)
			return 0;
		copy = strdup(text);
		if (!copy)
			return tl_error_set(error, -ENOMEM, "out of memory");
		free(list->items[i]);
		list->items[i] = copy;
		return 0;
	}
	return append_item(conf, option, text, error);
}

static int store_item(struct tl_conf *conf, size_t option, const char *text,
		      enum tl_conf_source source, struct tl_error *error)
{
	/* `--flag=` says that the list shall be empty. */
	if (!*text) {
		tl_conf_accept_empty(conf, option, source);
		return 0;
	}
	return append_item(conf, option, text, error);
}

int tl_conf_accept(struct tl_conf *conf, size_t option, const char *text,
		   enum tl_conf_source source, struct tl_error *error)
{
	const struct tl_option *described = &conf->spec->options[option];
	struct tl_conf_value *value = &conf->values[option];
	bool weaker = value->source > source;
	union parsed parsed = {0};
	int r = parse(described, text, &parsed, error);

	if (r < 0 || !conf->settings || (weaker && described->type != TL_OPT_KEYVALUE))
		return r;
	if (!weaker)
		value->source = source;
	switch (described->type) {
	case TL_OPT_STRING:
		return store_string(conf, option, text, strlen(text), error);
	case TL_OPT_SECRET:
		return store_secret(conf, option, text, source, error);
	case TL_OPT_LIST:
		return store_item(conf, option, text, source, error);
	case TL_OPT_KEYVALUE:
		return store_keyvalue(conf, option, text, weaker, error);
	case TL_OPT_BOOL:
		*(bool *)field_of(conf, option) = parsed.truth;
		return 0;
	case TL_OPT_INT:
		*(int64_t *)field_of(conf, option) = parsed.number;
		return 0;
	case TL_OPT_ENUM:
		*(int *)field_of(conf, option) = parsed.choice;
		return 0;
	case TL_OPT_SIZE:
	case TL_OPT_DURATION:
		*(uint64_t *)field_of(conf, option) = parsed.amount;
		return 0;
	}
	return 0;
}

static size_t field_size(enum tl_opt_type type)
{
	switch (type) {
	case TL_OPT_BOOL:
		return sizeof(bool);
	case TL_OPT_ENUM:
		return sizeof(int);
	case TL_OPT_LIST:
	case TL_OPT_KEYVALUE:
		return sizeof(struct tl_list);
	default:
		return 8;
	}
}

void tl_conf_accept_empty(struct tl_conf *conf, size_t option, enum tl_conf_source source)
{
	enum tl_opt_type type = conf->spec->options[option].type;
	struct tl_conf_value *value = &conf->values[option];

	if (!conf->settings || value->source > source)
		return;
	value->source = source;
	if (type == TL_OPT_LIST)
		empty_list(conf, option);
	else if (type != TL_OPT_KEYVALUE)
		memset(field_of(conf, option), 0, field_size(type));
}

const char *tl_conf_metavar(const struct tl_option *option)
{
	static const char *const by_type[] = {
		[TL_OPT_STRING] = "TEXT",
		[TL_OPT_BOOL] = NULL,
		[TL_OPT_INT] = "N",
		[TL_OPT_SIZE] = "SIZE",
		[TL_OPT_DURATION] = "DURATION",
		[TL_OPT_ENUM] = "WORD",
		[TL_OPT_LIST] = "TEXT",
		[TL_OPT_KEYVALUE] = "KEY=VALUE",
		[TL_OPT_SECRET] = "FILE",
	};

	if (option->type == TL_OPT_BOOL)
		return NULL;
	return option->metavar ? option->metavar : by_type[option->type];
}
