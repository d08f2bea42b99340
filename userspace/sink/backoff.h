/* SPDX-License-Identifier: Apache-2.0 */
/* How long a sink waits for a target that is away or busy. */
#ifndef TL_SINK_BACKOFF_H
#define TL_SINK_BACKOFF_H

#include <stdint.h>

/* Returns the wait in ns after `failures` earlier ones in a row: 100 ms doubled with each, at most
 * `max_ns`; of that a random half to whole, so that many sinks do not come back together. */
uint64_t tl_backoff_ns(unsigned failures, uint64_t max_ns);

#endif
