/* SPDX-License-Identifier: Apache-2.0 */
/* tl_forward: carries the local log to Kafka, in a thread of the worker. Records become JSON here.
 * Idempotent producer, acks=all, no time-out (`message.timeout.ms=0`), gapless; an entry is given
 * up for freeing only on its delivery report. A fatal producer error makes a new producer and
 * resends from the last acknowledged position: same uid, same `tapline-position`, so that the
 * stream worker drops what came twice. Order per stream holds (key = stream). */
#ifndef TL_AGENT_FORWARD_H
#define TL_AGENT_FORWARD_H

#include "userspace/bus/bus.h"

struct tl_forward;

struct tl_forward_options {
	const struct tl_kafka_settings *kafka; /* borrowed for its life */
	const char *log_dir;		       /* borrowed for its life */
	const char *consumer;		       /* name in the log, "kafka" */
	struct tl_forward_usage *last;	       /* NULL, or gets the final numbers at the stop */
};

/* Checks the configuration, waits for no broker: an unreachable one is told to the operator and
 * retried for ever, the log fills meanwhile. Errors: -EINVAL a property librdkafka refuses. */
int tl_forward_start(const struct tl_forward_options *options, struct tl_forward **ret_forward,
		     struct tl_error *error);

/* Waits until all that is in the (closed) log is acknowledged, at most `drain_ms`; then stops.
 * Returns entries left. */
uint64_t tl_forward_stop(struct tl_forward *forward, unsigned drain_ms);

struct tl_forward_usage {
	uint64_t records, bytes;    /* acknowledged */
	uint64_t in_flight;	    /* produced, not acknowledged */
	uint64_t retries, failures; /* delivery reports with an error, each resent */
	uint64_t dropped;  /* entries that cannot be sent: too large for the topic, malformed,
			      resource unknown */
	uint64_t position; /* acknowledged log position */
	bool connected;
	char last_error[256]; /* "" none */
};
void tl_forward_usage(struct tl_forward *forward, struct tl_forward_usage *ret);

#endif
