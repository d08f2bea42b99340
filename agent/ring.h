/* SPDX-License-Identifier: Apache-2.0 */
/* tl_ring: our own consumer of the BPF ring buffer, and of per-CPU perf buffers behind the same
 * calls. Events are read in place; the consumer position moves only on tl_ring_release, after the
 * events' effects are in the local log: a killed reader finds them again. Needs only the file
 * descriptors; opening perf buffers larger than the locked memory limit also takes CAP_IPC_LOCK
 * (open before tl_drop_privileges), reading takes nothing. One thread. */
#ifndef TL_AGENT_RING_H
#define TL_AGENT_RING_H

#include "agent/capture.h"

struct tl_ring;

/* Maps the ring(s). `fds` stays the caller's. Errors: -EPERM, -ENOMEM, -EINVAL. */
int tl_ring_open(const struct tl_capture_fds *fds, struct tl_ring **ret_ring,
		 struct tl_error *error);
void tl_ring_close(struct tl_ring *ring);
TL_DEFINE_CLEANUP(struct tl_ring *, tl_ring_close);

/* Next event after the read cursor, or NULL when there is none finished. The event stays valid
 * until tl_ring_release. BPF ring: in reservation order. Perf: the buffers merged by time_ns,
 * younger than 2 ms kept back, so that order holds across CPUs; samples the kernel could not place
 * are told by `tl_ring_lost`. */
const struct tl_event *tl_ring_next(struct tl_ring *ring);

/* Position of the read cursor: after the last event returned. Only grows while the ring lives
 * (perf: a count). */
uint64_t tl_ring_position(const struct tl_ring *ring);

/* Gives everything before the read cursor back to the kernel. */
void tl_ring_release(struct tl_ring *ring);

/* After a restart: skips finished events that lie before `position` (they are in the local log).
 * BPF ring only. */
void tl_ring_skip_to(struct tl_ring *ring, uint64_t position);

/* Bytes waiting, and the ring's size: how full it is. */
uint64_t tl_ring_pending(const struct tl_ring *ring);
uint64_t tl_ring_size(const struct tl_ring *ring);

/* Perf samples lost so far (PERF_RECORD_LOST), 0 for the BPF ring. */
uint64_t tl_ring_lost(const struct tl_ring *ring);

/* A file descriptor that becomes readable at the fill mark (forced wake-up by the programs), for
 * poll; -1 none. */
int tl_ring_poll_fd(const struct tl_ring *ring);

#endif
