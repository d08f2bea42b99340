/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/base/metrics.h"

#include <pthread.h>
#include <stdlib.h>

#include "userspace/base/utf8.h"

#define MAX_COLLECTORS 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct tl_metric *first; /* metrics of one name stand together */
static struct {
	tl_metric_collector collect;
	void *arg;
} collectors[MAX_COLLECTORS];
static size_t n_collectors;

void tl_metric_register(struct tl_metric *metric)
{
	struct tl_metric **end, **at = NULL;

	pthread_mutex_lock(&lock);
	for (end = &first; *end && *end != metric; end = &(*end)->next)
		if (strcmp((*end)->name, metric->name) == 0)
			at = &(*end)->next;
	if (!*end) {
		if (!at)
			at = end;
		metric->next = *at;
		*at = metric;
	}
	pthread_mutex_unlock(&lock);
}

void tl_metric_collect(tl_metric_collector collector, void *arg)
{
	pthread_mutex_lock(&lock);
	if (n_collectors == MAX_COLLECTORS)
		abort(); /* collectors are few and known when the program is written */
	collectors[n_collectors].collect = collector;
	collectors[n_collectors].arg = arg;
	n_collectors++;
	pthread_mutex_unlock(&lock);
}

static void render_head(struct tl_buf *out, const struct tl_metric *metric)
{
	tl_buf_printf(out, "# HELP %s ", metric->name);
	for (const char *p = metric->help ? metric->help : ""; *p; p++) {
		if (*p == '\\')
			tl_buf_puts(out, "\\\\");
		else if (*p == '\n')
			tl_buf_puts(out, "\\n");
		else
			tl_buf_putc(out, *p);
	}
	tl_buf_printf(out, "\n# TYPE %s %s\n", metric->name,
		      metric->type == TL_COUNTER ? "counter" : "gauge");
}

static void render_value(struct tl_buf *out, const struct tl_metric *metric)
{
	uint64_t value = tl_metric_get(metric);

	if (metric->unit)
		tl_buf_printf(out, " %.9g\n", (double)value / (double)metric->unit);
	else
		tl_buf_printf(out, " %llu\n", (unsigned long long)value);
}

void tl_metrics_render(struct tl_buf *out)
{
	const struct tl_metric *last = NULL;

	pthread_mutex_lock(&lock);
	for (const struct tl_metric *metric = first; metric; metric = metric->next) {
		if (!last || strcmp(last->name, metric->name) != 0)
			render_head(out, metric);
		tl_buf_puts(out, metric->name);
		if (metric->labels)
			tl_buf_printf(out, "{%s}", metric->labels);
		render_value(out, metric);
		last = metric;
	}
	for (size_t i = 0; i < n_collectors; i++)
		collectors[i].collect(collectors[i].arg, out);
	pthread_mutex_unlock(&lock);
}

void tl_metrics_label(struct tl_buf *out, struct tl_span value)
{
	const char *end = value.data + value.len;
	size_t len;

	for (const char *p = value.data; p < end; p += len ? len : 1) {
		len = tl_utf8_sequence(p, end);
		if (len == 0)
			tl_buf_puts(out, "\xef\xbf\xbd");
		else if (*p == '\n')
			tl_buf_puts(out, "\\n");
		else if (*p == '\\' || *p == '"')
			tl_buf_printf(out, "\\%c", *p);
		else
			tl_buf_add(out, p, len);
	}
}
