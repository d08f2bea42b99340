/* SPDX-License-Identifier: Apache-2.0 */
/* A dead letter as one line of JSON, and a file of such lines that does not grow without end: where
 * dead letters go when there is no Kafka. Fields: received, reason, stage, topic, partition,
 * offset, key, value (value_base64 where it is no UTF-8). One thread. */
#ifndef TL_SINK_DEAD_JSON_H
#define TL_SINK_DEAD_JSON_H

#include "userspace/base/cleanup.h"
#include "userspace/bus/bus.h"

/* Appends `message` (of TL_TOPIC_DLQ, with the tapline-* headers) and a newline. Errors: -ENOBUFS,
 * -ENOMEM. */
int tl_dead_json(const struct tl_message *message, struct tl_buf *out);

struct tl_dead_file;

/* Opens `path` for appending; made with the first line. Past `max_bytes` it is renamed to
 * `path`.1, whose older lines are lost and counted. The caller owns `*ret_file`. Errors: -ENOMEM.
 */
int tl_dead_file_new(const char *path, uint64_t max_bytes, struct tl_dead_file **ret_file);
/* Releases it; the file stays. */
void tl_dead_file_free(struct tl_dead_file *file);
TL_DEFINE_CLEANUP(struct tl_dead_file *, tl_dead_file_free);

/* Appends one line with one write(2), so that a kill leaves whole lines. Errors: -EIO and those of
 * writing; `error` says what to do. */
int tl_dead_file_add(struct tl_dead_file *file, const struct tl_message *message,
		     struct tl_error *error);

#endif
