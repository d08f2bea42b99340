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

#include "userspace/base/cleanup.h"
#include "userspace/base/conf.h"

static const char *const outputs[] = {"pretty", "json", "raw", NULL};

/* The fields do not matter here: nothing is loaded. */
static const struct tl_option options[] = {
	{.name = "brokers",
	 .type = TL_OPT_STRING,
	 .metavar = "HOST:PORT",
	 .help = "Brokers to begin with.",
	 .env = "TL_TEST_BROKERS",
	 .required = true},
	{.name = "comm",
	 .type = TL_OPT_LIST,
	 .value = "d1,d2",
	 .letter = 'c',
	 .help = "Name | of a command."},
	{.name = "kafka.password",
	 .type = TL_OPT_SECRET,
	 .value = "/etc/hidden",
	 .help = "Secret."},
	{.name = "log.max-bytes",
	 .type = TL_OPT_SIZE,
	 .value = "1G",
	 .help = "Most bytes that are kept. When there are more, the oldest are looked at and "
		 "told."},
	{.name = "limit", .type = TL_OPT_INT, .value = "5", .min = 1, .max = 100, .letter = 'n'},
	{.name = "output",
	 .type = TL_OPT_ENUM,
	 .choices = outputs,
	 .value = "pretty",
	 .letter = 'o'},
	{.name = "color", .type = TL_OPT_BOOL, .value = "true"},
	{.name = "follow", .type = TL_OPT_BOOL, .letter = 'f', .help = "."},
	{.name = "secret-test-knob", .type = TL_OPT_STRING, .hidden = true},
	{0},
};

static const struct tl_conf_spec spec = {
	.program = "tapline test",
	.section = "agent",
	.options = options,
	.usage = "tapline test [options]",
	.about = "Tests things. Really.\n\nExamples:\n  tapline test -n 5\n\nMore.",
};

/* Runs `print` into memory and returns what it wrote, for the caller to free. */
static char *printed(void (*print)(const struct tl_conf_spec *, FILE *))
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	print(&spec, out);
	fclose(out);
	return text;
}

static void help_fits_80_columns_and_names_what_there_is(void **state)
{
	_cleanup_(freep) char *text = printed(tl_conf_help);

	(void)state;
	for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
		assert_in_range(strcspn(line, "\n"), 0, 80);
	assert_memory_equal(text, "Usage: tapline test [options]\n", 30);
	assert_non_null(strstr(text, "\n  tapline test -n 5\n"));
	assert_non_null(
		strstr(text, "      --brokers HOST:PORT     Brokers to begin with. [required]"));
	assert_non_null(strstr(text, "[env: TL_TEST_BROKERS]"));
	assert_non_null(strstr(
		text,
		"  -o, --output WORD           One of pretty, json, raw. [default: pretty]\n"));
	assert_non_null(strstr(text, "--[no-]color"));
	assert_non_null(strstr(text, "--config FILE"));
	assert_null(strstr(text, "secret-test-knob"));
}

static void markdown_has_a_row_for_each_shown_option(void **state)
{
	_cleanup_(freep) char *text = printed(tl_conf_markdown);

	(void)state;
	assert_memory_equal(text, "## tapline test\n", 16);
	assert_non_null(strstr(text, "Examples:\n```sh\ntapline test -n 5\n```\n\nMore.\n"));
	assert_non_null(strstr(
		text, "| `brokers` | `--brokers HOST:PORT` | text | required | `TL_TEST_BROKERS` | "
		      "Brokers to begin with. |\n"));
	assert_non_null(strstr(text, "Name \\| of a command."));
	assert_non_null(strstr(text, "| number 1 to 100 | `5` |"));
	assert_non_null(strstr(text, "one of `pretty`, `json`, `raw`"));
	assert_null(strstr(text, "secret-test-knob"));
}

static void man_page_has_its_sections_and_escapes(void **state)
{
	_cleanup_(freep) char *text = printed(tl_conf_man);

	(void)state;
	assert_memory_equal(text, ".TH \"TAPLINE\\-TEST\" 1", 21);
	assert_non_null(strstr(text, ".SH NAME\ntapline\\-test \\- Tests things\n"));
	assert_non_null(strstr(text, ".SH SYNOPSIS\n"));
	assert_non_null(strstr(text, "\\fB\\-\\-log.max\\-bytes\\fR \\fISIZE\\fR\n"));
	assert_null(strstr(text, "secret\\-test\\-knob"));
}

static void check_reports_every_error_of_every_section(void **state)
{
	static const struct tl_conf_spec sink = {
		.program = "tapline sink s3", .section = "sink.s3", .options = options};
	const struct tl_conf_spec *const specs[] = {&spec, &sink};
	char path[] = "/tmp/tapline-check-XXXXXX", want[1024];
	_cleanup_(freep) char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int fd = mkstemp(path), n;

	(void)state;
	dprintf(fd, "agent:\n  limt: 1\n  limit: 0\nsink:\n  s3:\n    limit: 7\n    colr: no\n"
		    "  s4: {}\nsreak: 1\n");
	close(fd);
	n = tl_conf_check(path, specs, 2, out);
	fclose(out);
	unlink(path);
	snprintf(want, sizeof(want),
		 "%1$s:2: unknown key \"agent.limt\": did you mean \"agent.limit\"?\n"
		 "%1$s:3: agent.limit: 0 is not between 1 and 100\n"
		 "%1$s:7: unknown key \"sink.s3.colr\": did you mean \"sink.s3.color\"?\n"
		 "%1$s:8: unknown section \"sink.s4\": did you mean \"sink.s3\"?\n"
		 "%1$s:9: unknown section \"sreak\"\n",
		 path);
	assert_string_equal(text, want);
	assert_int_equal(n, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(check_reports_every_error_of_every_section),
		cmocka_unit_test(help_fits_80_columns_and_names_what_there_is),
		cmocka_unit_test(markdown_has_a_row_for_each_shown_option),
		cmocka_unit_test(man_page_has_its_sections_and_escapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
