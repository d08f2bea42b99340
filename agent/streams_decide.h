/* SPDX-License-Identifier: Apache-2.0 */
/* Which files are logs. Pure but for the question about a pipe's reader. */
#ifndef TL_AGENT_STREAMS_DECIDE_H
#define TL_AGENT_STREAMS_DECIDE_H

#include "agent/streams.h"

/* The verdict on the file of `event`, whose path is `path`. `options` lends its globs and
 * pipe_reader. */
enum tl_verdict tl_streams_judge(const struct tl_streams_options *options,
				 const struct tl_ev_file *event, const char *path);

#endif
