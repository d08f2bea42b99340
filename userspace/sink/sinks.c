/* SPDX-License-Identifier: Apache-2.0 */
/* All sinks there are: a new one is its file and one line here. */
#include <string.h>

#include "userspace/sink/sink.h"

extern const struct tl_sink_ops tl_sink_elasticsearch, tl_sink_file, tl_sink_otlp, tl_sink_s3,
	tl_sink_store, tl_sink_timescale;

const struct tl_sink_ops *const tl_sinks[] = {
	&tl_sink_elasticsearch, &tl_sink_file,	    &tl_sink_otlp, &tl_sink_s3,
	&tl_sink_store,		&tl_sink_timescale, NULL,
};

const struct tl_sink_ops *tl_sink_find(const char *name)
{
	for (size_t i = 0; tl_sinks[i]; i++)
		if (strcmp(tl_sinks[i]->name, name) == 0)
			return tl_sinks[i];
	return NULL;
}
