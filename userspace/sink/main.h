/* SPDX-License-Identifier: Apache-2.0 */
/* The program tapline-sink, which is also `tapline sink`. */
#ifndef TL_SINK_MAIN_H
#define TL_SINK_MAIN_H

#include <stddef.h>

#include "userspace/base/conf.h"

/* Exit status of a sink that was to empty a local log and was stopped before it had. */
#define TL_SINK_LEFT 3

/* Runs the sink that argv[1] names ("elasticsearch", "store") with the options behind it, until a
 * signal or a final error. Returns the exit status: 0 ok, 1 failed, 2 wrong usage, TL_SINK_LEFT. */
int tl_sink_main(int argc, char **argv);

/* Runs every sink of the list `sinks:` in the file of --config, until a signal. Returns the exit
 * status. */
int tl_sink_all_main(int argc, char **argv);

/* Writes the option tables of all sinks, at most `max`, and returns their number. They live for
 * ever. */
size_t tl_sink_specs(const struct tl_conf_spec **specs, size_t max);

#endif
