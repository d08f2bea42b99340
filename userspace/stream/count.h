/* SPDX-License-Identifier: Apache-2.0 */
/* tl_count: additive counts of one batch, by (window, name, labels). Flushing gives each series'
 * delta as a metrics row and empties the table. Series past the maximum are counted under the same
 * name with service "_other", so that sums stay exact. One thread. */
#ifndef TL_STREAM_COUNT_H
#define TL_STREAM_COUNT_H

#include "userspace/base/buf.h"
#include "userspace/base/cleanup.h"

struct tl_count;

/* NULL when memory is out. */
struct tl_count *tl_count_new(size_t max_series, uint64_t window_ns);
void tl_count_free(struct tl_count *count);
TL_DEFINE_CLEANUP(struct tl_count *, tl_count_free);

struct tl_label {
	const char *name;     /* static */
	struct tl_span value; /* any text; borrowed during the call */
};

/* One observation of `value` at wall time `when_ns`. `buckets`: also into the OTel default
 * boundaries (seconds). Errors: -ENOMEM. */
int tl_count_add(struct tl_count *count, const char *name, const struct tl_label *labels, size_t n,
		 uint64_t when_ns, double value, bool buckets);

/* Calls `row` for every series with the row's key (name and labels) and JSON; stops and returns at
 * the first non-zero. Empties the table when all were taken. */
int tl_count_flush(struct tl_count *count,
		   int (*row)(void *arg, struct tl_span key, struct tl_span json), void *arg);

/* Forgets all. */
void tl_count_clear(struct tl_count *count);

/* Observations that went under "_other", ever. */
uint64_t tl_count_overflow(const struct tl_count *count);

#endif
