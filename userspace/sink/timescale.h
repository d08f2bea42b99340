/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the timescale sink: timescale.c (settings, open, positions), timescale_setup.c
 * (schema, hypertables), timescale_rows.c (a message as a row), timescale_write.c (rows into the
 * open transaction), timescale_commit.c (the transaction's end), timescale_rollup.c (what a batch
 * adds to the roll-ups), timescale_prune.c (retention). */
#ifndef TL_SINK_TIMESCALE_H
#define TL_SINK_TIMESCALE_H

#include "userspace/sink/pg.h"
#include "userspace/sink/sink.h"

enum tl_ts_timescaledb { TL_TS_AUTO, TL_TS_YES, TL_TS_NO };
enum tl_ts_rollups { TL_TS_ROLLUPS_AUTO, TL_TS_OWN, TL_TS_CONTINUOUS, TL_TS_NONE };

struct tl_ts_settings {
	const char *dsn, *dsn_file; /* the latter is the file's content */
	bool logs, dead_letters;
	int timescaledb, rollups;
	uint64_t timeout_ns, wait_ns;
	uint64_t keep_ns, keep_rollups_ns, keep_logs_ns;
};

/* Bits of tl_ts.hypertables. */
enum tl_ts_hypertable {
	TL_TS_HYPER_METRICS,
	TL_TS_HYPER_1M,
	TL_TS_HYPER_1H,
	TL_TS_HYPER_LOGS,
	TL_TS_HYPER_DEAD,
	TL_TS_HYPERTABLES
};

enum tl_ts_table { TL_TS_METRICS, TL_TS_LOGS, TL_TS_DEAD, TL_TS_TABLES };

struct tl_ts_row {
	size_t end;	  /* in the table's `rows` */
	uint32_t message; /* in the batch slice that is being written */
	bool refused;	  /* by the server: never sent again */
};

/* The rows of the batch that is not committed yet. */
struct tl_ts_rows {
	struct tl_buf data; /* binary COPY rows */
	struct tl_ts_row *index;
	size_t n, cap;
	size_t settled; /* rows that the open transaction has, with the server's word */
	size_t put;	/* bytes handed to libpq, of the COPY that is open */
	size_t slice;	/* first row of the slice that is being written */
	bool suspect;	/* the server refused some row: find out which */
};

struct tl_ts {
	struct tl_sink sink;
	const struct tl_ts_settings *settings;
	struct tl_pg pg;
	int topics[3];
	struct tl_ts_rows tables[TL_TS_TABLES];
	int copying;		   /* table whose COPY is open, -1 none */
	bool open;		   /* a transaction is */
	bool rollups, own_rollups; /* there are roll-ups; we keep them */
	char timescaledb[64];	   /* schema of the extension, quoted; "" plain PostgreSQL */
	unsigned hypertables;	   /* which tables are; the others are plain */
	char source[400];
	char writer[33];	    /* this process, for the offsets rows */
	struct tl_partition *known; /* positions as stored last: another writer moves them */
	size_t n_known, cap_known;
	struct tl_buf scratch, json;
	uint64_t prune_at_ns; /* monotonic */
};

/* Appends the message as a row of its topic's table, `*ret_table`. Returns 1 appended, 0 not wanted
 * here, -EINVAL malformed (`reason`, 256 bytes, says how), -ENOMEM. */
int tl_ts_add(struct tl_ts *ts, const struct tl_message *message, uint32_t index,
	      enum tl_ts_table *ret_table, char *reason);

/* Makes schema and tables where they are missing and finds out what the server is. Errors: those of
 * tl_pg_fail; -EPROTO the server or the tables are not such as we need. */
int tl_ts_setup(struct tl_ts *ts, struct tl_error *error);

/* Gives the server what rows it takes without waiting; what goes wrong shows later. */
void tl_ts_push(struct tl_ts *ts, enum tl_ts_table table);

/* Sees to it that the open transaction has all rows, through reconnects. Rows that the server
 * refuses go to `result`; NULL: that is an error. Errors: -EINTR; others are final. */
int tl_ts_settle(struct tl_ts *ts, struct tl_sink_result *result, struct tl_error *error);

/* The transaction is gone: its rows are to be sent again. */
void tl_ts_unsettle(struct tl_ts *ts);

/* Forgets all rows; a transaction that is open ends without them. */
void tl_ts_forget(struct tl_ts *ts);

/* tl_sink_ops.commit: all rows, roll-ups and the offsets, through reconnects. */
int tl_ts_commit(struct tl_sink *sink, const struct tl_partition *partitions, size_t n,
		 struct tl_error *error);

/* tl_sink_ops.positions; makes the rows that commits will move. */
int tl_ts_positions(struct tl_sink *sink, struct tl_partition *partitions, size_t n,
		    struct tl_error *error);

/* What the metrics rows in `rows` add to each minute, as a JSON array of objects (bucket, name,
 * labels, count, sum, min, max, buckets) appended to `out`; `skip(arg, i)` true leaves row i out.
 * Errors: -ENOMEM. */
int tl_ts_rollup(struct tl_span rows, bool (*skip)(void *arg, size_t row), void *arg,
		 struct tl_buf *out);

/* Removes what is older than the settings keep, a bounded piece, now and then. Failures are told
 * and wait for the next time. */
void tl_ts_prune(struct tl_ts *ts);

extern const struct tl_sink_ops tl_sink_timescale;

#endif
