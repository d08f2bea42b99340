/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "userspace/base/metrics.h"

static struct tl_metric drop_a = {
	.name = "t_drops_total", .help = "Dropped.", .type = TL_COUNTER, .labels = "cause=\"a\""};
static struct tl_metric up = {.name = "t_up", .help = "Line\nand \\.", .type = TL_GAUGE};
static struct tl_metric drop_b = {
	.name = "t_drops_total", .help = "Dropped.", .type = TL_COUNTER, .labels = "cause=\"b\""};

static struct tl_metric seconds = {
	.name = "t_seconds_total", .help = "Time.", .type = TL_COUNTER, .unit = 1000000000};

static void collect(void *arg, struct tl_buf *out)
{
	tl_buf_puts(out, "t_dynamic{stream=\"");
	tl_metrics_label(out, tl_span_str(arg));
	tl_buf_puts(out, "\"} 1\n");
}

/* One test for the process-wide list: families stand together although they were registered apart.
 */
static void render_groups_families_and_asks_collectors(void **state)
{
	struct tl_buf out = {0};

	(void)state;
	tl_metric_register(&drop_a);
	tl_metric_register(&up);
	tl_metric_register(&drop_b);
	tl_metric_register(&up);
	tl_metric_collect(collect, (void *)(uintptr_t) "a\"b\\c\nd\xff");
	tl_metric_register(&seconds);
	tl_metric_set(&seconds, 1500000000);
	tl_metric_add(&drop_a, 2);
	tl_metric_add(&drop_a, 3);
	tl_metric_set(&up, 9);
	tl_metrics_render(&out);
	tl_buf_putc(&out, '\0');
	assert_string_equal(out.data, "# HELP t_drops_total Dropped.\n"
				      "# TYPE t_drops_total counter\n"
				      "t_drops_total{cause=\"a\"} 5\n"
				      "t_drops_total{cause=\"b\"} 0\n"
				      "# HELP t_up Line\\nand \\\\.\n"
				      "# TYPE t_up gauge\n"
				      "t_up 9\n"
				      "# HELP t_seconds_total Time.\n"
				      "# TYPE t_seconds_total counter\n"
				      "t_seconds_total 1.5\n"
				      "t_dynamic{stream=\"a\\\"b\\\\c\\nd\xef\xbf\xbd\"} 1\n");
	tl_buf_done(&out);
}

static void *add_many(void *metric)
{
	for (int i = 0; i < 100000; i++)
		tl_metric_add(metric, 1);
	return NULL;
}

static void adds_of_several_threads_all_count(void **state)
{
	static struct tl_metric metric = {.name = "t_unregistered"};
	pthread_t threads[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_many, &metric), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(tl_metric_get(&metric), 400000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(render_groups_families_and_asks_collectors),
		cmocka_unit_test(adds_of_several_threads_all_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
