/* SPDX-License-Identifier: Apache-2.0 */
/* Counters and gauges of a process, shown as Prometheus text (exposition format 0.0.4). A metric is
 * a static struct registered once; its values are updated with relaxed atomics from any thread. */
#ifndef TL_BASE_METRICS_H
#define TL_BASE_METRICS_H

#include <stdint.h>

#include "userspace/base/buf.h"

enum tl_metric_type { TL_COUNTER, TL_GAUGE };

struct tl_metric {
	const char *name; /* "tapline_agent_records_total" */
	const char *help;
	enum tl_metric_type type;
	const char *labels; /* rendered as it is: `cause="ring_full"`, or NULL; same name, other
			       labels = one family */
	uint64_t unit; /* shown as value / unit: 1000000000 shows nanoseconds as seconds; 0 as it is
			*/
	uint64_t value;		/* atomically; use the functions below */
	struct tl_metric *next; /* private */
};

/* Adds a metric to the process-wide list. Register before threads start. `metric` lives for ever.
 */
void tl_metric_register(struct tl_metric *metric);

static inline void tl_metric_add(struct tl_metric *metric, uint64_t n)
{
	__atomic_fetch_add(&metric->value, n, __ATOMIC_RELAXED);
}

static inline void tl_metric_set(struct tl_metric *metric, uint64_t value)
{
	__atomic_store_n(&metric->value, value, __ATOMIC_RELAXED);
}

static inline uint64_t tl_metric_get(const struct tl_metric *metric)
{
	return __atomic_load_n(&metric->value, __ATOMIC_RELAXED);
}

/* A collector appends its own families to `out` at scrape time (for values with dynamic labels). */
typedef void (*tl_metric_collector)(void *arg, struct tl_buf *out);
void tl_metric_collect(tl_metric_collector collector, void *arg);

/* Appends everything, families grouped, label values escaped by whoever made them. */
void tl_metrics_render(struct tl_buf *out);

/* Appends `value` escaped for use inside a label's quotes; bytes that are no UTF-8 become U+FFFD,
 * for one of them would spoil the page. */
void tl_metrics_label(struct tl_buf *out, struct tl_span value);

#endif
