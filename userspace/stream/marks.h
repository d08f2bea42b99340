/* SPDX-License-Identifier: Apache-2.0 */
/* tl_marks: which raw messages were taken already. An agent that was killed resends from the last
 * position it knows to be acknowledged; each message carries (log id, position), positions of one
 * log only grow within a partition, so the highest one taken per (topic, partition, log) tells a
 * resend. Marks move with the batch: tl_marks_take remembers, tl_marks_commit keeps, tl_marks_abort
 * forgets. They live in the compacted topic `marks`, written in the batch's transaction. One
 * thread. */
#ifndef TL_STREAM_MARKS_H
#define TL_STREAM_MARKS_H

#include "userspace/bus/bus.h"

struct tl_marks;

/* `max` marks at most. NULL when memory is out. */
struct tl_marks *tl_marks_new(size_t max);
void tl_marks_free(struct tl_marks *marks);

/* True when the message is new (and from now on taken); false when it is a resend. A message
 * without position is new. */
bool tl_marks_take(struct tl_marks *marks, const struct tl_message *message);

/* Produces one message for each mark that the batch moved. Errors: those of produce; -ENOSPC a mark
 * could not be kept. */
int tl_marks_write(struct tl_marks *marks, struct tl_bus *bus, struct tl_error *error);
void tl_marks_commit(struct tl_marks *marks);
void tl_marks_abort(struct tl_marks *marks);

/* A partition came or went: reads its marks from the changelog, or forgets them. */
int tl_marks_load(struct tl_marks *marks, struct tl_bus *bus, const struct tl_partition *partition,
		  struct tl_error *error);
void tl_marks_drop(struct tl_marks *marks, const struct tl_partition *partition);

/* Resends recognised, ever. */
uint64_t tl_marks_resent(const struct tl_marks *marks);

#endif
