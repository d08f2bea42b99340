/* SPDX-License-Identifier: Apache-2.0 */
/* tl_pipeline: what is done to a record between the agent and the sinks: parse, enrich, filter,
 * redact, count. The same code runs in tapline-stream over Kafka and in the embedded mode over the
 * local log. It has no I/O: one message in, outputs to a callback. Counting is additive: each flush
 * gives this batch's own deltas per (window, labels), so that sums are exact whatever is killed, as
 * long as outputs and input positions are committed together. One thread. */
#ifndef TL_STREAM_PIPELINE_H
#define TL_STREAM_PIPELINE_H

#include "userspace/bus/bus.h"
#include "userspace/record/record.h"

struct tl_pipeline;

struct tl_pipeline_options {
	const char *parser; /* "auto" or a parser's name */
	const char *const *services;
	size_t n_services; /* "SERVICE=PARSER" overrides */
	const char *const *drop;
	size_t n_drop; /* "FIELD=GLOB": records that match are dropped, counted */
	const char *const *redact;
	size_t n_redact; /* regexes whose matches become "[redacted]" in body and attributes */
	const char *const *set;
	size_t n_set;	    /* "resource.KEY=VALUE" added where absent */
	uint64_t window_ns; /* of metrics; default 10 s */
	size_t max_series;  /* series per batch; past it they go under service "_other", counted */
	/* An output: topic TL_TOPIC_LOGS, METRICS or DLQ. For LOGS and DLQ `record` is the same as
	 * a record (NULL for METRICS and for undecodable input). Spans are valid during the call.
	 * Returns 0 or negative errno, which ends the batch. */
	int (*output)(void *arg, const struct tl_message *message, const struct tl_record *record);
	void *arg;
};

int tl_pipeline_new(const struct tl_pipeline_options *options, struct tl_pipeline **ret_pipeline,
		    struct tl_error *error);
void tl_pipeline_free(struct tl_pipeline *pipeline);

/* One input of topic RAW or HTTP. A message that is no record goes to DLQ with its bytes and the
 * reason. Returns 0, or what `output` returned. */
int tl_pipeline_message(struct tl_pipeline *pipeline, const struct tl_message *message);

/* End of the batch, before commit: gives the metric deltas. */
int tl_pipeline_flush(struct tl_pipeline *pipeline);

/* The batch was aborted: forgets its deltas. */
void tl_pipeline_abort(struct tl_pipeline *pipeline);

/* One metrics row, as the METRICS topic carries it (JSON, flat; docs/metrics.md): window_start,
 * window_end (RFC 3339), name
 * (`log.records`, `http.server.request.duration`), labels{service.name, severity_text |
 * http.request.method, http.route, http.response.status_code}, count, sum, min, max, buckets (of
 * the OTel default boundaries, in s). */

#endif
