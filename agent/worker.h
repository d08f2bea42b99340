/* SPDX-License-Identifier: Apache-2.0 */
/* The unprivileged half of the agent: drains the ring, makes lines, correlates, packs records,
 * appends frames to the local log, and forwards the log to Kafka. One thread, but for the
 * forwarder's and the metrics server's. */
#ifndef TL_AGENT_WORKER_H
#define TL_AGENT_WORKER_H

#include "agent/ring.h"
#include "agent/settings.h"

struct tl_worker_options {
	const struct tl_agent_settings *settings; /* borrowed */
	struct tl_capture_fds fds;		  /* borrowed */
	int inspector;				  /* the worker's end of the pair */
	const char *backend, *backend_why, *ring; /* for status */
};

/* Drops every privilege, recovers, and works until SIGTERM or SIGINT (then drains the ring and
 * stops) or until the inspector is gone. Returns the process's exit status. */
int tl_worker_main(const struct tl_worker_options *options);

#endif
