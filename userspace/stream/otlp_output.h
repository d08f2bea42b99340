/* SPDX-License-Identifier: Apache-2.0 */
/* tl_otlp_output: the finished records once more as OTLP protobuf (topic otlp_logs), produced in
 * the transaction that produces them as JSON. A message holds records of one resource and has it as
 * key, so that a stream stays in order on one partition. One thread. */
#ifndef TL_STREAM_OTLP_OUTPUT_H
#define TL_STREAM_OTLP_OUTPUT_H

#include "userspace/bus/bus.h"
#include "userspace/record/record.h"

struct tl_otlp_output;

/* The caller owns `*ret_output`. Errors: -ENOMEM. */
int tl_otlp_output_new(struct tl_otlp_output **ret_output);
/* Releases it with what is gathered. NULL is fine. */
void tl_otlp_output_free(struct tl_otlp_output *output);

/* Adds a record; its bytes are copied. Produces what is gathered when it is much. Errors: as
 * tl_bus_ops.produce; -ENOMEM. */
int tl_otlp_output_add(struct tl_otlp_output *output, struct tl_bus *bus,
		       const struct tl_record *record, struct tl_error *error);

/* Before the commit: produces the rest. Errors as tl_otlp_output_add. */
int tl_otlp_output_flush(struct tl_otlp_output *output, struct tl_bus *bus, struct tl_error *error);

/* The batch was aborted: forgets what is gathered. */
void tl_otlp_output_abort(struct tl_otlp_output *output);

#endif
