/* SPDX-License-Identifier: Apache-2.0 */
/* Rows into the open transaction.
 *
 * A batch's rows are kept encoded until they are committed. While they are encoded they already go
 * to the server as a COPY (push), so that it works meanwhile; settle ends the COPY and waits for
 * its verdict. Whatever goes wrong, the transaction is given up and all rows are sent again in a
 * new one, after a reconnect with back-off where the server is away: the transaction's end moves
 * the offsets, so rows of an attempt that was given up are never seen.
 *
 * A refused row spoils its COPY and the transaction. The rows of its table are then sent in halves
 * of halves, each behind a savepoint, until the row is found; it becomes a dead letter. */
#include <stdio.h>

#include "userspace/base/msg.h"
#include "userspace/sink/pg_copy.h"
#include "userspace/sink/timescale.h"

static const char *const copy_sql[TL_TS_TABLES] = {
	[TL_TS_METRICS] = "COPY tapline.metrics (window_start, window_end, name, labels, count, "
			  "sum, min, max, buckets) FROM STDIN (FORMAT binary)",
	[TL_TS_LOGS] = "COPY tapline.logs (uid, observed_timestamp, timestamp, severity_number, "
		       "severity_text, service_name, body, trace_id, span_id, correlation_id, "
		       "correlation_how, stream_id, resource, attributes) FROM STDIN (FORMAT "
		       "binary)",
	[TL_TS_DEAD] = "COPY tapline.dead_letters (received, reason, stage, topic, partition, "
		       "\"offset\", key, value) FROM STDIN (FORMAT binary)",
};

void tl_ts_unsettle(struct tl_ts *ts)
{
	ts->copying = -1;
	ts->open = false;
	for (size_t i = 0; i < TL_TS_TABLES; i++)
		ts->tables[i].settled = ts->tables[i].put = 0;
}

void tl_ts_forget(struct tl_ts *ts)
{
	/* Also ends a COPY that is open. */
	if (ts->open)
		tl_pg_drop(&ts->pg);
	tl_ts_unsettle(ts);
	for (size_t i = 0; i < TL_TS_TABLES; i++) {
		struct tl_ts_rows *rows = &ts->tables[i];

		tl_buf_clear(&rows->data);
		rows->n = rows->slice = 0;
		rows->suspect = false;
	}
}

static size_t begin_of(const struct tl_ts_rows *rows, size_t row)
{
	return row ? rows->index[row - 1].end : 0;
}

static struct tl_span bytes_of(const struct tl_ts_rows *rows, size_t from, size_t to)
{
	size_t begin = begin_of(rows, from);

	return (struct tl_span){rows->data.data + begin, begin_of(rows, to) - begin};
}

static int begin(struct tl_ts *ts)
{
	int r;

	if (ts->open)
		return 0;
	r = tl_pg_exec(&ts->pg, "BEGIN");
	ts->open = r == 0;
	return r;
}

static int begin_copy(struct tl_ts *ts, enum tl_ts_table table)
{
	int r = begin(ts);

	r = r < 0 ? r : tl_pg_copy_begin(&ts->pg, copy_sql[table]);
	return r < 0 ? r : tl_pg_copy_put(&ts->pg, TL_COPY_HEADER);
}

static int end_copy(struct tl_ts *ts)
{
	int r = tl_pg_copy_put(&ts->pg, TL_COPY_TRAILER);

	return r < 0 ? r : tl_pg_copy_end(&ts->pg);
}

void tl_ts_push(struct tl_ts *ts, enum tl_ts_table table)
{
	struct tl_ts_rows *rows = &ts->tables[table];

	if (!ts->pg.conn || rows->suspect || (ts->copying >= 0 && ts->copying != (int)table))
		return;
	if (ts->copying < 0) {
		/* Rows that an earlier attempt lost go first, and settle does that. */
		if (rows->settled != rows->slice || begin_copy(ts, table) < 0)
			return;
		ts->copying = (int)table;
		rows->put = begin_of(rows, rows->settled);
	}
	rows->put += tl_pg_copy_push(
		&ts->pg, (struct tl_span){rows->data.data + rows->put, rows->data.len - rows->put});
}

/* Rows [from, to) but those known to be refused, in one COPY. */
static int copy_rows(struct tl_ts *ts, enum tl_ts_table table, size_t from, size_t to)
{
	struct tl_ts_rows *rows = &ts->tables[table];
	int r = begin_copy(ts, table);

	while (r == 0 && from < to) {
		size_t end = from;

		while (end < to && !rows->index[end].refused)
			end++;
		if (end > from)
			r = tl_pg_copy_put(&ts->pg, bytes_of(rows, from, end));
		from = end + 1;
	}
	return r < 0 ? r : end_copy(ts);
}

static int end_pushed(struct tl_ts *ts)
{
	struct tl_ts_rows *rows = &ts->tables[ts->copying];
	struct tl_span rest = {rows->data.data + rows->put, rows->data.len - rows->put};
	int r = tl_pg_copy_put(&ts->pg, rest);

	r = r < 0 ? r : end_copy(ts);
	if (r == 0) {
		rows->settled = rows->n;
		ts->copying = -1;
	}
	return r;
}

static const char *type_of(const char *state)
{
	if (strncmp(state, "22", 2) == 0)
		return "data_exception";
	if (strncmp(state, "23", 2) == 0)
		return "constraint_violation";
	return strncmp(state, "54", 2) == 0 ? "limit_exceeded" : "refused_by_database";
}

/* Rows of earlier slices were taken before, so only a change of the table explains it. */
static int refuse(struct tl_ts *ts, struct tl_ts_rows *rows, size_t row,
		  struct tl_sink_result *result)
{
	struct tl_dead_letter *dead;

	if (!result || row < rows->slice)
		return -EPROTO;
	rows->index[row].refused = true;
	dead = &result->dead[result->n_dead++];
	dead->message = rows->index[row].message;
	dead->type = type_of(ts->pg.state);
	snprintf(dead->reason, sizeof(dead->reason), "%.250s", ts->pg.why);
	return 0;
}

static bool all_refused(const struct tl_ts_rows *rows, size_t from, size_t to)
{
	while (from < to && rows->index[from].refused)
		from++;
	return from == to;
}

static int split(struct tl_ts *ts, enum tl_ts_table table, size_t from, size_t to,
		 struct tl_sink_result *result)
{
	struct tl_ts_rows *rows = &ts->tables[table];
	size_t middle = from + (to - from) / 2;
	int r, back;

	if (all_refused(rows, from, to))
		return 0;
	r = tl_pg_exec(&ts->pg, "SAVEPOINT tapline");
	r = r < 0 ? r : copy_rows(ts, table, from, to);
	if (r == 0)
		return tl_pg_exec(&ts->pg, "RELEASE SAVEPOINT tapline");
	if (r != -EBADMSG)
		return r;
	if (to - from == 1)
		r = refuse(ts, rows, from, result);
	back = tl_pg_exec(&ts->pg, "ROLLBACK TO SAVEPOINT tapline; RELEASE SAVEPOINT tapline");
	if (back < 0 || to - from == 1)
		return back < 0 ? back : r;
	r = split(ts, table, from, middle, result);
	return r < 0 ? r : split(ts, table, middle, to, result);
}

static int settle_table(struct tl_ts *ts, enum tl_ts_table table, struct tl_sink_result *result)
{
	struct tl_ts_rows *rows = &ts->tables[table];
	int r;

	if (rows->settled == rows->n)
		return 0;
	r = begin(ts);
	if (r < 0)
		return r;
	r = rows->suspect ? split(ts, table, rows->settled, rows->n, result)
			  : copy_rows(ts, table, rows->settled, rows->n);
	if (r == -EBADMSG)
		rows->suspect = true;
	if (r < 0)
		return r;
	rows->settled = rows->n;
	rows->suspect = false;
	return 0;
}

static int settle_once(struct tl_ts *ts, struct tl_sink_result *result)
{
	int r = 0;

	if (!ts->pg.conn) {
		tl_ts_unsettle(ts);
		r = tl_pg_connect(&ts->pg);
	}
	if (r == 0 && ts->copying >= 0) {
		r = end_pushed(ts);
		if (r == -EBADMSG)
			ts->tables[ts->copying].suspect = true;
	}
	for (int i = 0; r == 0 && i < TL_TS_TABLES; i++)
		r = settle_table(ts, (enum tl_ts_table)i, result);
	return r;
}

int tl_ts_settle(struct tl_ts *ts, struct tl_sink_result *result, struct tl_error *error)
{
	for (;;) {
		int r = settle_once(ts, result);

		if (r == 0)
			return 0;
		/* A refused row has spoilt the transaction as much as a lost connection has. */
		tl_pg_drop(&ts->pg);
		tl_ts_unsettle(ts);
		if (r == -EBADMSG && result)
			continue;
		if (r == -EAGAIN) {
			if (result)
				result->retries++;
			r = tl_pg_back_off(&ts->pg);
			if (r == 0)
				continue;
		}
		return tl_pg_fail(&ts->pg, r, "cannot write rows", error);
	}
}
