/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of typed entries in a YAML file: `sinks:`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/conf.h"
#include "userspace/base/fs.h"

struct settings {
	const char *url, *parser, *metrics;
};

static const struct tl_option options[] = {
	{.name = "url", .offset = offsetof(struct settings, url), .required = true},
	{.name = "parser", .offset = offsetof(struct settings, parser), .value = "auto"},
	{.name = "metrics", .offset = offsetof(struct settings, metrics)},
	{.name = NULL},
};
static const char *const keys[] = {"parser", NULL};

#define SPEC(type_)                                                                                \
	{                                                                                          \
		.program = "tapline sink " type_, .section = "sink." type_, .options = options,    \
		.list = "sinks", .list_type = type_, .list_base = "stream",                        \
		.list_base_keys = keys,                                                            \
	}
static const struct tl_conf_spec otlp = SPEC("otlp"), file = SPEC("file");

struct fixture {
	char path[32];
	struct settings settings;
	struct tl_conf *conf;
	struct tl_error error;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fd;

	snprintf(f->path, sizeof(f->path), "/tmp/tapline-conf.XXXXXX");
	fd = mkstemp(f->path);
	if (fd < 0)
		return -1;
	close(fd);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->path);
	tl_conf_free(f->conf);
	free(f);
	return 0;
}

static void write_yaml(struct fixture *f, const char *text)
{
	assert_int_equal(tl_file_replace(f->path, tl_span_str(text), false, NULL), 0);
}

static int load(struct fixture *f, const struct tl_conf_spec *spec, const char *entry)
{
	char *argv[] = {"sink", "--config", f->path, "--config-entry", (char *)entry, NULL};
	int rest;

	return tl_conf_load(spec, entry ? 5 : 3, argv, &f->settings, &f->conf, &rest, &f->error);
}

static const char two[] = "stream:\n"
			  "  parser: json\n"
			  "  metrics: 127.0.0.1:1\n"
			  "sinks:\n"
			  "  - type: otlp\n"
			  "    url: http://a\n"
			  "  - type: file\n"
			  "    url: b\n"
			  "    parser: raw\n";

static void an_entry_is_read_with_what_the_base_says(void **state)
{
	struct fixture *f = *state;

	write_yaml(f, two);
	assert_int_equal(load(f, &otlp, "0"), 0);
	assert_string_equal(f->settings.url, "http://a");
	assert_string_equal(f->settings.parser, "json");
	assert_null(f->settings.metrics); /* not one of the base's keys */
}

static void an_entry_is_stronger_than_the_base(void **state)
{
	struct fixture *f = *state;

	write_yaml(f, two);
	assert_int_equal(load(f, &file, "1"), 0);
	assert_string_equal(f->settings.parser, "raw");
}

static void an_entry_of_another_type_or_none_is_einval(void **state)
{
	struct fixture *f = *state;

	write_yaml(f, two);
	assert_int_equal(load(f, &file, "0"), -EINVAL);
	assert_non_null(strstr(f->error.message, ":5: "));
	f->error.code = 0;
	assert_int_equal(load(f, &file, "2"), -EINVAL);
	assert_non_null(strstr(f->error.message, "no entry 2"));
}

static void an_unknown_key_is_named_with_its_line(void **state)
{
	struct fixture *f = *state;

	write_yaml(f, "sinks:\n- type: otlp\n  ulr: http://a\n");
	assert_int_equal(load(f, &otlp, "0"), -EINVAL);
	assert_non_null(strstr(f->error.message, ":3: unknown key \"sinks[0].ulr\""));
	assert_non_null(strstr(f->error.message, "sinks[0].url"));
}

static void the_section_is_read_beside_a_list(void **state)
{
	struct fixture *f = *state;

	write_yaml(f, "sinks:\n- type: file\n  url: b\nsink:\n  otlp:\n    url: http://c\n");
	assert_int_equal(load(f, &otlp, NULL), 0);
	assert_string_equal(f->settings.url, "http://c");
	assert_string_equal(f->settings.parser, "auto");
}

static void types_are_listed(void **state)
{
	struct fixture *f = *state;
	char types[4][TL_CONF_TYPE_MAX];

	write_yaml(f, two);
	assert_int_equal(tl_conf_list(f->path, "sinks", types, 4, &f->error), 2);
	assert_string_equal(types[0], "otlp");
	assert_string_equal(types[1], "file");
	assert_int_equal(tl_conf_list(f->path, "others", types, 4, &f->error), 0);
	write_yaml(f, "sinks:\n  otlp: {}\n");
	assert_int_equal(tl_conf_list(f->path, "sinks", types, 4, &f->error), -EINVAL);
	write_yaml(f, "sinks:\n  - url: x\n");
	f->error.code = 0;
	assert_int_equal(tl_conf_list(f->path, "sinks", types, 4, &f->error), -EINVAL);
	assert_non_null(strstr(f->error.message, "needs a type"));
}

static void a_value_of_another_section_can_be_looked_at(void **state)
{
	struct fixture *f = *state;
	char out[64];

	write_yaml(f, "agent:\n  state: /srv/t\n");
	assert_int_equal(tl_conf_peek(f->path, "agent", "state", out, sizeof(out), &f->error), 0);
	assert_string_equal(out, "/srv/t");
	assert_int_equal(tl_conf_peek(f->path, "agent", "other", out, sizeof(out), &f->error), 0);
	assert_string_equal(out, "");
	write_yaml(f, "");
	assert_int_equal(tl_conf_peek(f->path, "agent", "state", out, sizeof(out), &f->error), 0);
	assert_string_equal(out, "");
}

static void a_check_tells_every_mistake_of_every_entry(void **state)
{
	static const struct tl_conf_spec *const specs[] = {&otlp, &file};
	struct fixture *f = *state;
	char text[4096] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	write_yaml(f, "sinks:\n- type: otlp\n  ulr: x\n- type: fil\n- url: y\n- type: file\n  url: "
		      "z\n");
	assert_int_equal(tl_conf_check(f->path, specs, 2, out), 3);
	fclose(out);
	assert_non_null(strstr(text, ":3: unknown key"));
	assert_non_null(strstr(text, ":4: \"sinks\" has no type fil"));
	assert_non_null(strstr(text, ":5: an entry of \"sinks\" needs a type"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_entry_is_read_with_what_the_base_says),
		TEST(an_entry_is_stronger_than_the_base),
		TEST(an_entry_of_another_type_or_none_is_einval),
		TEST(an_unknown_key_is_named_with_its_line),
		TEST(the_section_is_read_beside_a_list),
		TEST(types_are_listed),
		TEST(a_value_of_another_section_can_be_looked_at),
		TEST(a_check_tells_every_mistake_of_every_entry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
