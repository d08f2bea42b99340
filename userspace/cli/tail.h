/* SPDX-License-Identifier: Apache-2.0 */
/* Private to tail*.c: tail.c (options, a store as the source), tail_kafka.c (the topic tapline.logs
 * as the source). */
#ifndef TL_CLI_TAIL_H
#define TL_CLI_TAIL_H

#include "userspace/bus/bus.h"
#include "userspace/cli/filter.h"

struct tl_tail_settings {
	struct tl_filter_settings filter;
	struct tl_kafka_settings kafka;
	int64_t lines;
	bool follow;
};

/* Prints what comes over Kafka until `*stop`, or without follow up to the present end. */
int tl_tail_kafka(const struct tl_tail_settings *settings, const struct tl_query *query,
		  struct tl_printer *printer, const volatile int *stop, struct tl_error *error);

#endif
