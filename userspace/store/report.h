/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of a store for people to look at: lines over time, services, what it holds. One thread
 * per reader. */
#ifndef TL_STORE_REPORT_H
#define TL_STORE_REPORT_H

#include "userspace/store/query.h"
#include "userspace/store/tags.h"

#define TL_STEPS_MAX 240u    /* of a chart */
#define TL_SERVICES_MAX 64u  /* of a chart; the lines of more are counted in `others` */
#define TL_DURATIONS_MAX 16u /* buckets of a duration, the last one is what is longer */

struct tl_histogram {
	uint64_t from_ns, step_ns;
	size_t n;	    /* steps; set by the caller with the times */
	uint64_t before_ns; /* count only what was observed before; 0: all. To go on after
			       complete_ns */
	uint64_t counts[TL_STEPS_MAX][TL_SEVERITY_CLASSES];
	uint64_t total;
	bool from_metrics;    /* the sums that the pipeline counted, not the lines themselves */
	uint64_t complete_ns; /* only what was observed at or after this time was counted (the
				 budget was used up); 0 all was */
};

/* Counts what matches `query` (its limit, before and after are ignored) in the n steps from
 * from_ns. Errors: as tl_store_query. */
int tl_store_histogram(struct tl_store_reader *reader, const struct tl_query *query,
		       struct tl_histogram *histogram, struct tl_error *error);

struct tl_service {
	char name[128];
	uint64_t lines[TL_STEPS_MAX], errors[TL_STEPS_MAX];    /* ERROR and FATAL */
	uint64_t requests[TL_STEPS_MAX], failed[TL_STEPS_MAX]; /* answered with 500 and more */
	double seconds, longest;			       /* of all requests */
	uint64_t durations[TL_DURATIONS_MAX];
	uint64_t gaps, lost_bytes;
};

struct tl_services {
	uint64_t from_ns, step_ns;
	size_t n;		  /* steps; set by the caller with the times */
	struct tl_service *items; /* owned, freed by tl_services_done */
	size_t n_items;
	uint64_t others;      /* lines and requests of services past the maximum */
	uint64_t complete_ns; /* as of tl_histogram */
};

/* Reads the metrics of the n steps from from_ns. Errors: -ENOMEM, -EIO. */
int tl_store_services(struct tl_store_reader *reader, uint64_t budget_ns,
		      struct tl_services *services, struct tl_error *error);
void tl_services_done(struct tl_services *services);

/* The duration in seconds that `share` (0 to 1) of the requests did not exceed, interpolated within
 * its bucket; 0 where there was none. */
double tl_service_quantile(const struct tl_service *service, double share);

struct tl_contents {
	int64_t logs, exchanges;       /* rows */
	uint64_t oldest_ns, newest_ns; /* observed; 0 none */
	uint64_t bytes;		       /* in use in the file */
	int64_t dead_letters;
};

/* Errors: -EIO. */
int tl_store_contents(struct tl_store_reader *reader, struct tl_contents *ret,
		      struct tl_error *error);

/* Hands the dead letters' reasons to `each`, the most frequent first, at most 20. Errors: -EIO. */
int tl_store_dead_letters(struct tl_store_reader *reader,
			  void (*each)(void *arg, struct tl_span stage, struct tl_span reason,
				       int64_t count),
			  void *arg, struct tl_error *error);

#endif
