/* SPDX-License-Identifier: Apache-2.0 */
/* The statements that make the sink's schema; docs/sinks/timescale.md shows it to people. */
#ifndef TL_SINK_TIMESCALE_SCHEMA_H
#define TL_SINK_TIMESCALE_SCHEMA_H

#include "userspace/sink/timescale.h"

#define TL_TS_OBJECTS_MAX 16

struct tl_ts_object {
	const char *name;    /* "tapline.metrics", or a function with its argument types */
	bool function;	     /* found by to_regprocedure, else by to_regclass */
	const char *sql;     /* statements that make it */
	const char *time;    /* of tables that can be hypertables: the column of time */
	const char *chunk;   /* and the interval of a chunk */
	const char *columns; /* what must be there, as an array literal of "name type" */
	enum tl_ts_hypertable bit;
};

/* In the order in which they are made; end with a NULL name. */
extern const struct tl_ts_object tl_ts_base[], tl_ts_own_rollups[];

/* Makes both roll-ups as continuous aggregates; %1$s is the extension's schema. */
extern const char tl_ts_continuous_sql[];

/* Fills the own roll-ups from the metrics that were there before them. */
extern const char tl_ts_backfill_sql[];

#endif
