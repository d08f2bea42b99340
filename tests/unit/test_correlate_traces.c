/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded traces of real services (tests/correlate/traces), replayed without a kernel: no wrong id
 * in any, and no less right than before. The truth is in the traces. A trace that the bench found a
 * wrong id in belongs here. How to record one: tests/correlate/record.sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <string.h>

#include "tests/correlate/baselines.h"
#include "tests/correlate/replay.h"

#define TRACES "tests/correlate/traces"

/* Recall of lines written while their request is served, in percent, that must be reached; traces
 * that are not named must only be without wrong ids. Thread rules lose their first 300 requests. */
static const struct floor {
	const char *name;
	unsigned percent;
} floors[] = {
	{"go-64-keepalive-mix", 98},	       {"go119-8-close", 99},
	{"python-64-keepalive", 65},	       {"java-64-keepalive-mix", 60},
	{"java-shared-64-keepalive-jobs", 60}, {"c-threads-64-close", 70},
	{"aiohttp-8-keepalive", 50},	       {"uvicorn-8-keepalive", 55},
	{"gunicorn-gthread-8-keepalive", 50},  {"nginx-64-keepalive", 78},
};

static unsigned floor_of(const char *file)
{
	size_t n = strcspn(file, ".");

	for (size_t i = 0; i < sizeof(floors) / sizeof(floors[0]); i++)
		if (strlen(floors[i].name) == n && strncmp(file, floors[i].name, n) == 0)
			return floors[i].percent;
	return 0;
}

static struct tl_trace *open_trace(const char *file)
{
	struct tl_trace *trace = NULL;
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", TRACES, file);
	assert_int_equal(tl_trace_open(path, &trace), 0);
	return trace;
}

static void check_trace(const char *file)
{
	struct tl_replay_options options = {0};
	struct tl_trace *trace = open_trace(file);
	struct tl_replay_result result;
	uint64_t right, all;

	tl_replay_structure_only(&options.corr);
	assert_int_equal(tl_replay(trace, &options, &result), 0);
	tl_replay_in_request(&result, &right, &all);
	printf("  %-32s %6llu lines, %6llu right, recall %llu %%\n", file,
	       (unsigned long long)result.lines, (unsigned long long)result.right,
	       (unsigned long long)(all ? right * 100 / all : 0));
	if (result.wrong)
		fail_msg("%s: %llu wrong ids, the first: %s", file,
			 (unsigned long long)result.wrong, result.first_wrong);
	if (right * 100 < all * floor_of(file))
		fail_msg("%s: recall below %u %%", file, floor_of(file));
	tl_trace_free(trace);
}

static void for_each_trace(void (*check)(const char *file))
{
	DIR *dir = opendir(TRACES);
	struct dirent *entry;
	unsigned n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		if (!strstr(entry->d_name, ".trace"))
			continue;
		check(entry->d_name);
		n++;
	}
	closedir(dir);
	assert_true(n > 0);
}

static void no_line_of_any_trace_gets_a_wrong_id(void **state)
{
	(void)state;
	for_each_trace(check_trace);
}

static void check_inline(const char *file)
{
	const struct tl_replay_options options = {0};
	struct tl_trace *trace = open_trace(file);
	struct tl_replay_result result;

	assert_int_equal(tl_replay(trace, &options, &result), 0);
	assert_int_equal(result.wrong, 0);
	tl_trace_free(trace);
}

static void nor_does_it_with_the_levels_that_read_the_text(void **state)
{
	(void)state;
	for_each_trace(check_inline);
}

/* A table that is too small gives none, never a wrong id. */
static void check_small(const char *file)
{
	const struct tl_replay_options options = {
		.corr = {.max_conns = 4, .max_requests = 6, .max_procs = 2, .hold_bytes = 4096}};
	struct tl_trace *trace = open_trace(file);
	struct tl_replay_result result;

	assert_int_equal(tl_replay(trace, &options, &result), 0);
	if (result.wrong)
		fail_msg("%s: %llu wrong ids, the first: %s", file,
			 (unsigned long long)result.wrong, result.first_wrong);
	tl_trace_free(trace);
}

static void nor_does_it_where_tables_are_full(void **state)
{
	(void)state;
	for_each_trace(check_small);
}

/* The traces are hard enough to tell rules apart: what others do is wrong on the same lines. */
static void rules_without_proof_are_wrong_on_the_same_trace(void **state)
{
	struct tl_trace *trace = open_trace("go-64-keepalive-mix.trace.zst");
	struct tl_baseline_result result[TL_BASELINES];

	(void)state;
	assert_int_equal(tl_baselines(trace, result), 0);
	assert_true(result[TL_BASE_TID].wrong > 100);
	assert_true(result[TL_BASE_SINGLE].none > 100);
	tl_trace_free(trace);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_line_of_any_trace_gets_a_wrong_id),
		cmocka_unit_test(nor_does_it_with_the_levels_that_read_the_text),
		cmocka_unit_test(nor_does_it_where_tables_are_full),
		cmocka_unit_test(rules_without_proof_are_wrong_on_the_same_trace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
