/* SPDX-License-Identifier: Apache-2.0 */
/* tl_ring_perf: the per-CPU perf buffers behind agent/ring.h, for kernels without a BPF ring
 * buffer. Private to ring.c. One thread. */
#ifndef TL_AGENT_RING_PERF_H
#define TL_AGENT_RING_PERF_H

#include "agent/capture.h"

struct tl_ring_perf;

/* How long an event is kept back, so that an older one of another CPU may still appear. */
#define TL_RING_HOLD_BACK_NS UINT64_C(2000000)

/* Maps every buffer of `fds->perf`. Errors: -EINVAL sizes; -EPERM the locked memory limit
 * (RLIMIT_MEMLOCK); -ENOMEM. */
int tl_ring_perf_open(const struct tl_capture_fds *fds, struct tl_ring_perf **ret_perf,
		      struct tl_error *error);
void tl_ring_perf_close(struct tl_ring_perf *perf);
TL_DEFINE_CLEANUP(struct tl_ring_perf *, tl_ring_perf_close);

/* As the tl_ring calls of the same names. */
const struct tl_event *tl_ring_perf_next(struct tl_ring_perf *perf);
uint64_t tl_ring_perf_position(const struct tl_ring_perf *perf);
void tl_ring_perf_release(struct tl_ring_perf *perf);
uint64_t tl_ring_perf_pending(const struct tl_ring_perf *perf);
uint64_t tl_ring_perf_size(const struct tl_ring_perf *perf);
uint64_t tl_ring_perf_lost(const struct tl_ring_perf *perf);

/* Whether `event`, `size` bytes long, holds what its type and `len` say. Both kinds of ring ask
 * before they give an event out, so that readers may trust both. (In ring.c.) */
bool tl_event_fits(const struct tl_event *event, size_t size);

/* Counts an event that tl_event_fits refused. (In ring.c.) */
void tl_ring_count_malformed(void);

#endif
