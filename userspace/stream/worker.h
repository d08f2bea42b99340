/* SPDX-License-Identifier: Apache-2.0 */
/* The stream worker: raw records in, finished records, metrics and dead letters out, over Kafka. */
#ifndef TL_STREAM_WORKER_H
#define TL_STREAM_WORKER_H

#include "userspace/base/conf.h"

extern const struct tl_conf_spec tl_stream_spec;

/* The program. Exit status: 0 stopped as asked; 1 failed; 2 wrong usage or settings. */
int tl_stream_main(int argc, char **argv);

#endif
