/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "userspace/base/buf.h"
#include "userspace/base/cleanup.h"
#include "userspace/base/clock.h"
#include "userspace/base/conf.h"
#include "userspace/base/fs.h"

struct settings {
	const char *brokers, *state_dir, *password;
	bool color, follow;
	int64_t limit;
	uint64_t max_bytes, sync;
	int output;
	struct tl_list comm, kafka;
};

static const char *const outputs[] = {"pretty", "json", "raw", NULL};

#define AT(field) offsetof(struct settings, field)

static const struct tl_option options[] = {
	{.name = "brokers",
	 .type = TL_OPT_STRING,
	 .offset = AT(brokers),
	 .metavar = "HOST:PORT",
	 .help = "Brokers to begin with.",
	 .env = "TL_TEST_BROKERS",
	 .required = true},
	{.name = "state",
	 .type = TL_OPT_STRING,
	 .offset = AT(state_dir),
	 .value = "/var/lib/t",
	 .help = "Folder."},
	{.name = "comm",
	 .type = TL_OPT_LIST,
	 .offset = AT(comm),
	 .value = "d1,d2",
	 .letter = 'c',
	 .help = "Name | of a command."},
	{.name = "kafka.property",
	 .type = TL_OPT_KEYVALUE,
	 .offset = AT(kafka),
	 .value = "acks=all",
	 .help = "A property."},
	{.name = "kafka.password",
	 .type = TL_OPT_SECRET,
	 .offset = AT(password),
	 .env = "TL_TEST_PASSWORD",
	 .help = "Secret."},
	{.name = "log.max-bytes", .type = TL_OPT_SIZE, .offset = AT(max_bytes), .value = "1G"},
	{.name = "log.sync", .type = TL_OPT_DURATION, .offset = AT(sync), .value = "100ms"},
	{.name = "limit",
	 .type = TL_OPT_INT,
	 .offset = AT(limit),
	 .value = "5",
	 .min = 1,
	 .max = 100,
	 .letter = 'n'},
	{.name = "output",
	 .type = TL_OPT_ENUM,
	 .offset = AT(output),
	 .choices = outputs,
	 .value = "pretty",
	 .letter = 'o'},
	{.name = "color", .type = TL_OPT_BOOL, .offset = AT(color), .value = "true"},
	{.name = "follow", .type = TL_OPT_BOOL, .offset = AT(follow), .letter = 'f'},
	{.name = "secret-test-knob",
	 .type = TL_OPT_STRING,
	 .offset = AT(state_dir),
	 .hidden = true},
	{0},
};

static const struct tl_conf_spec spec = {
	.program = "tapline test",
	.section = "agent",
	.options = options,
	.usage = "tapline test [options]",
	.about = "Tests things. Really.\n\nExamples:\n  tapline test -n 5\n\nMore.",
};

static const struct tl_conf_spec command_spec = {
	.program = "tapline run",
	.section = "run",
	.options = options,
	.takes_command = true,
};

static char dir[64];
static struct settings got;
static struct tl_conf *conf;
static struct tl_error error;
static char *argv_copy[32];
static int rest;

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/tapline-conf-XXXXXX");
	unsetenv("TL_TEST_BROKERS");
	unsetenv("TL_TEST_PASSWORD");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	tl_conf_free(TAKE_PTR(conf));
	return tl_remove_tree(dir);
}

/* Writes a file into the folder of the test and returns its path. */
static const char *file(const char *name, const char *text)
{
	static char path[2][128];
	static unsigned turn;
	char *out = path[turn++ % 2];

	snprintf(out, sizeof(path[0]), "%s/%s", dir, name);
	assert_int_equal(tl_file_replace(out, tl_span_str(text), false, NULL), 0);
	return out;
}

/* Loads from the words given (ends with NULL). */
static int load_spec(const struct tl_conf_spec *which, const char *const *words)
{
	int argc = 1;

	tl_conf_free(TAKE_PTR(conf));
	memset(&got, 0xee, sizeof(got));
	error = (struct tl_error){0};
	argv_copy[0] = (char *)(uintptr_t) "program";
	for (; words[argc - 1]; argc++)
		argv_copy[argc] = (char *)(uintptr_t)words[argc - 1];
	argv_copy[argc] = NULL;
	return tl_conf_load(which, argc, argv_copy, &got, &conf, &rest, &error);
}

#define LOAD(...) load_spec(&spec, (const char *const[]){__VA_ARGS__, NULL})

static void assert_list(const struct tl_list *list, const char *want)
{
	struct tl_buf joined = {0};

	for (size_t i = 0; i < list->n; i++)
		tl_buf_printf(&joined, "%s%s", i ? " " : "", list->items[i]);
	tl_buf_putc(&joined, '\0');
	assert_string_equal(joined.data, want);
	tl_buf_done(&joined);
}

static void defaults_fill_what_nobody_says(void **state)
{
	(void)state;
	assert_int_equal(LOAD("--brokers", "b:1"), 0);
	assert_string_equal(got.brokers, "b:1");
	assert_string_equal(got.state_dir, "/var/lib/t");
	assert_null(got.password);
	assert_true(got.color);
	assert_false(got.follow);
	assert_int_equal(got.limit, 5);
	assert_int_equal(got.max_bytes, 1 << 30);
	assert_int_equal(got.sync, 100 * TL_MS);
	assert_int_equal(got.output, 0);
	assert_list(&got.comm, "d1 d2");
	assert_list(&got.kafka, "acks=all");
}

static void flags_are_taken_in_every_form(void **state)
{
	(void)state;
	assert_int_equal(LOAD("--brokers=b", "--limit", "7", "--log.max-bytes=2k", "-ojson", "-fc",
			      "x", "-c", "y", "--no-color", "--log.sync", "2s"),
			 0);
	assert_int_equal(got.limit, 7);
	assert_int_equal(got.max_bytes, 2048);
	assert_int_equal(got.output, 1);
	assert_true(got.follow);
	assert_false(got.color);
	assert_list(&got.comm, "x y");
	assert_int_equal(got.sync, 2 * TL_SEC);
	assert_int_equal(
		LOAD("--brokers=b", "--follow=no", "--color=off", "-n", "9", "--brokers=--odd"), 0);
	assert_false(got.follow);
	assert_false(got.color);
	assert_string_equal(got.brokers, "--odd");
	assert_int_equal(got.limit, 9);
}

static void a_flag_beats_the_environment_beats_the_file(void **state)
{
	const char *path = file("c.yaml", "agent:\n  brokers: file\n  limit: 8\n  comm: [f]\n");

	(void)state;
	assert_int_equal(LOAD("--config", path), 0);
	assert_string_equal(got.brokers, "file");
	assert_int_equal(got.limit, 8);
	assert_list(&got.comm, "f");
	setenv("TL_TEST_BROKERS", "env", 1);
	assert_int_equal(LOAD("--config", path), 0);
	assert_string_equal(got.brokers, "env");
	assert_int_equal(LOAD("--config", path, "--brokers", "flag", "-c", "g1", "-c", "g2"), 0);
	assert_string_equal(got.brokers, "flag");
	assert_list(&got.comm, "g1 g2");
	setenv("TL_TEST_BROKERS", "", 1);
	assert_int_equal(LOAD("--config", path), 0);
	assert_string_equal(got.brokers, "file");
}

static void an_empty_list_is_a_list(void **state)
{
	(void)state;
	assert_int_equal(LOAD("--brokers=b", "--comm="), 0);
	assert_int_equal(got.comm.n, 0);
	assert_int_equal(LOAD("--brokers=b", "--config", file("c.yaml", "agent:\n  comm: []\n")),
			 0);
	assert_int_equal(got.comm.n, 0);
}

static void key_values_of_all_sources_add_up(void **state)
{
	const char *path = file(
		"c.yaml", "agent:\n  kafka:\n    property:\n      a.b: 1\n      debug: file\n");

	(void)state;
	assert_int_equal(LOAD("--brokers=b", "--config", path, "--kafka.property", "debug=all",
			      "--kafka.property=a=b=c"),
			 0);
	assert_list(&got.kafka, "debug=all a=b=c a.b=1 acks=all");
	assert_int_equal(LOAD("--brokers=b", "--kafka.property", "x"), -EINVAL);
	assert_string_equal(error.message, "--kafka.property: \"x\" is not KEY=VALUE");
}

static void a_secret_is_the_content_of_its_file(void **state)
{
	(void)state;
	assert_int_equal(LOAD("--brokers=b", "--kafka.password", file("pw", "s3 cret\n")), 0);
	assert_string_equal(got.password, "s3 cret");
	assert_int_equal(LOAD("--brokers=b", "--kafka.password", file("pw", "two\nlines\r\n")), 0);
	assert_string_equal(got.password, "two\nlines");
	setenv("TL_TEST_PASSWORD", "direct", 1);
	assert_int_equal(LOAD("--brokers=b"), 0);
	assert_string_equal(got.password, "direct");
	assert_int_equal(LOAD("--brokers=b", "--kafka.password", file("pw", "\n")), -EINVAL);
	assert_non_null(strstr(error.message, "is empty"));
	assert_int_equal(LOAD("--brokers=b", "--kafka.password", "/nonexistent/pw"), -ENOENT);
	assert_non_null(strstr(error.message, "--kafka.password: cannot read /nonexistent/pw"));
}

static void a_secret_never_shows_in_an_error(void **state)
{
	(void)state;
	setenv("TL_TEST_PASSWORD", "topsecret", 1);
	assert_int_equal(LOAD("--brokers=b", "--limit=x"), -EINVAL);
	assert_null(strstr(error.message, "topsecret"));
}

static void a_missing_required_flag_is_told_with_all_its_ways(void **state)
{
	(void)state;
	assert_int_equal(LOAD("-f"), -EINVAL);
	assert_string_equal(error.message,
			    "--brokers is missing: give --brokers HOST:PORT, set TL_TEST_BROKERS, "
			    "or \"agent.brokers\" in a file with --config");
}

static void wrong_flags_are_refused_by_name_with_the_nearest(void **state)
{
	static const struct {
		const char *words[3], *message;
	} cases[] = {
		{{"--broker=x"}, "unknown flag --broker: did you mean --brokers?"},
		{{"--no-colour"}, "unknown flag --no-colour: did you mean --no-color?"},
		{{"--no-state"},
		 "unknown flag --no-state: only a yes-or-no flag has a \"no-\" form, --state "
		 "takes a value"},
		{{"--sync=1"}, "unknown flag --sync: did you mean --log.sync?"},
		{{"--log.m=1"}, "unknown flag --log.m: did you mean --log.max-bytes?"},
		{{"--secret-test-kno"},
		 "unknown flag --secret-test-kno: see \"tapline test --help\""},
		{{"--zzz"}, "unknown flag --zzz: see \"tapline test --help\""},
		{{"-x"}, "unknown flag -x: see \"tapline test --help\""},
		{{"--brokers"}, "--brokers needs a value: --brokers HOST:PORT"},
		{{"--brokers", "--follow"}, "--brokers needs a value: --brokers HOST:PORT"},
		{{"-n"}, "-n needs a value: -n N"},
		{{"--config"}, "--config needs a value: --config FILE"},
		{{"--no-color=1"}, "--no-color takes no value"},
		{{"--color=maybe"}, "--color: \"maybe\" is neither true nor false"},
		{{"--limit=101"}, "--limit: 101 is not between 1 and 100"},
		{{"--limit=99999999999999999999"},
		 "--limit: 99999999999999999999 is not between 1 and 100"},
		{{"--limit=7x"}, "--limit: \"7x\" is not a whole number"},
		{{"--limit="}, "--limit: \"\" is not a whole number"},
		{{"--log.max-bytes=1q"},
		 "--log.max-bytes: \"1q\" is not a size: write it like 512k, 10MiB or 1G"},
		{{"--log.sync=1q"},
		 "--log.sync: \"1q\" is not a duration: write it like 250ms, 20s, 5m or 2h"},
		{{"-o", "jsn"},
		 "--output: \"jsn\" is not one of pretty, json, raw: did you mean \"json\"?"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(load_spec(&spec, cases[i].words), -EINVAL);
		assert_string_equal(error.message, cases[i].message);
		assert_null(conf);
	}
}

static void words_between_flags_come_last(void **state)
{
	(void)state;
	assert_int_equal(LOAD("one", "--brokers", "b", "two", "-f", "-", "--", "--limit", "x"), 0);
	assert_int_equal(rest, 5);
	assert_string_equal(argv_copy[5], "one");
	assert_string_equal(argv_copy[6], "two");
	assert_string_equal(argv_copy[7], "-");
	assert_string_equal(argv_copy[8], "--limit");
	assert_string_equal(argv_copy[9], "x");
	assert_null(argv_copy[10]);
	assert_true(got.follow);
	assert_int_equal(got.limit, 5);
}

static void a_command_keeps_its_own_flags(void **state)
{
	(void)state;
	assert_int_equal(load_spec(&command_spec, (const char *const[]){"--brokers=b", "cmd", "-f",
									"--zzz", NULL}),
			 0);
	assert_int_equal(rest, 2);
	assert_false(got.follow);
	assert_int_equal(load_spec(&command_spec, (const char *const[]){"--brokers=b", "-f", "--",
									"--odd-cmd", NULL}),
			 0);
	assert_int_equal(rest, 4);
	assert_string_equal(argv_copy[rest], "--odd-cmd");
	assert_int_equal(load_spec(&command_spec, (const char *const[]){"--brokers=b", NULL}), 0);
	assert_int_equal(rest, 2);
}

static void names_with_dots_nest_in_yaml(void **state)
{
	(void)state;
	assert_int_equal(LOAD("--config", file("c.yaml", "# all kinds\n"
							 "stream: {anything: 1}\n"
							 "agent:\n"
							 "  brokers: \"a:1,b:2\"\n"
							 "  log:\n"
							 "    max-bytes: 3M\n"
							 "    sync: 1s\n"
							 "  color: no\n"
							 "  output: raw\n"
							 "  comm: [a b, c]\n"
							 "  kafka.property: {x: y}\n")),
			 0);
	assert_string_equal(got.brokers, "a:1,b:2");
	assert_int_equal(got.max_bytes, 3 << 20);
	assert_int_equal(got.sync, TL_SEC);
	assert_false(got.color);
	assert_int_equal(got.output, 2);
	assert_list(&got.comm, "a b c");
	assert_list(&got.kafka, "x=y acks=all");
}

static void assert_yaml_error(const char *text, const char *want)
{
	const char *path = file("t.yaml", text);
	char message[512];

	assert_int_equal(LOAD("--brokers=b", "--config", path), -EINVAL);
	snprintf(message, sizeof(message), "%s:%s", path, want);
	assert_string_equal(error.message, message);
}

static void wrong_yaml_is_refused_with_its_line(void **state)
{
	(void)state;
	assert_yaml_error("agent:\n  limit: 5\n  stat: x\n",
			  "3: unknown key \"agent.stat\": did you mean \"agent.state\"?");
	assert_yaml_error("agent:\n  log:\n    snc: 1\n",
			  "3: unknown key \"agent.log.snc\": did you mean \"agent.log.sync\"?");
	assert_yaml_error("agent:\n  zzz: 1\n",
			  "2: unknown key \"agent.zzz\": see \"tapline test --help\"");
	assert_yaml_error("agnet:\n  limit: 5\n",
			  "1: unknown section \"agnet\": did you mean \"agent\"?");
	assert_yaml_error("agent:\n  limit: 500\n", "2: agent.limit: 500 is not between 1 and 100");
	assert_yaml_error("agent:\n  limit: [1]\n",
			  "2: \"agent.limit\" takes one value, not a list");
	assert_yaml_error("agent:\n  limit:\n", "2: \"agent.limit\" has no value");
	assert_yaml_error("agent:\n  limit: 1\n  limit: 2\n",
			  "3: \"agent.limit\" was given before, in line 2");
	assert_yaml_error("agent:\n  log: 5\n",
			  "2: \"agent.log\" is a group of keys: write them below it");
	assert_yaml_error("agent: 5\n", "1: \"agent\" must be a mapping of settings");
	assert_yaml_error("agent:\n  kafka.property: [1]\n",
			  "2: \"agent.kafka.property\" takes a mapping of KEY: VALUE lines");
	assert_yaml_error("agent:\n  state: \"a\\0b\"\n",
			  "2: the value of \"agent.state\" has a NUL byte in it");
	assert_yaml_error("- a\n", "1: the file must be a mapping of sections, such as \"agent:\"");
	assert_yaml_error("agent: {}\n---\nb: 1\n",
			  "3: a second document begins; only one is read");
	assert_yaml_error("agent: &a\n  state: *a\n",
			  "1: \"agent.state\" takes one value, not a mapping");
	assert_int_equal(LOAD("--brokers=b", "--config", file("t.yaml", "agent:\n\tx: 1\n")),
			 -EINVAL);
	assert_non_null(strstr(error.message, "t.yaml:2: not valid YAML: "));
	assert_int_equal(LOAD("--brokers=b", "--config", "/nonexistent.yaml"), -ENOENT);
	assert_non_null(strstr(error.message, "/nonexistent.yaml"));
}

static void a_flag_is_stored_and_the_file_below_it_still_checked(void **state)
{
	(void)state;
	assert_int_equal(LOAD("--brokers=b", "--limit=3", "--config",
			      file("t.yaml", "agent:\n  limit: x\n")),
			 -EINVAL);
	/* A secret's file that nobody needs is not opened. */
	assert_int_equal(LOAD("--brokers=b", "--kafka.password", file("pw", "mine"), "--config",
			      file("t.yaml", "agent:\n  kafka:\n    password: /nonexistent\n")),
			 0);
	assert_string_equal(got.password, "mine");
}

static void empty_files_and_sections_say_nothing(void **state)
{
	static const char *const texts[] = {"",		  "# only a remark\n",
					    "agent:\n",	  "agent: {}\n",
					    "other: 1\n", "agent:\n  log:\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(LOAD("--brokers=b", "--config", file("t.yaml", texts[i])), 0);
		assert_int_equal(got.limit, 5);
	}
}

static void help_flag_ends_with_1_before_anything_is_required(void **state)
{
	int saved = dup(STDOUT_FILENO), r;

	(void)state;
	fflush(stdout);
	assert_non_null(freopen("/dev/null", "w", stdout));
	r = LOAD("--help");
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	assert_int_equal(r, 1);
	assert_null(conf);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(defaults_fill_what_nobody_says),
		TEST(flags_are_taken_in_every_form),
		TEST(a_flag_beats_the_environment_beats_the_file),
		TEST(an_empty_list_is_a_list),
		TEST(key_values_of_all_sources_add_up),
		TEST(a_secret_is_the_content_of_its_file),
		TEST(a_secret_never_shows_in_an_error),
		TEST(a_missing_required_flag_is_told_with_all_its_ways),
		TEST(wrong_flags_are_refused_by_name_with_the_nearest),
		TEST(words_between_flags_come_last),
		TEST(a_command_keeps_its_own_flags),
		TEST(names_with_dots_nest_in_yaml),
		TEST(wrong_yaml_is_refused_with_its_line),
		TEST(a_flag_is_stored_and_the_file_below_it_still_checked),
		TEST(empty_files_and_sections_say_nothing),
		TEST(help_flag_ends_with_1_before_anything_is_required),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
