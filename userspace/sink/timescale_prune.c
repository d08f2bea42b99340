/* SPDX-License-Identifier: Apache-2.0 */
/* Retention. TimescaleDB drops whole chunks; plain PostgreSQL deletes a bounded piece at a time,
 * found by the index on time, so that neither a long transaction nor a burst of dead rows comes of
 * it. It is done between two commits, in transactions of its own: a failure costs nothing but the
 * next try. Several workers: whoever comes second while one is at it does nothing. */
#include <inttypes.h>
#include <stdio.h>

#include "userspace/base/clock.h"
#include "userspace/base/metrics.h"
#include "userspace/base/msg.h"
#include "userspace/sink/timescale.h"

#define PIECE 20000
#define EVERY_NS (60 * TL_SEC)
#define GO_ON_NS TL_SEC /* while there is more than a piece */

static struct tl_metric pruned = {.name = "tapline_sink_pruned_total",
				  .type = TL_COUNTER,
				  .help = "Rows (TimescaleDB: chunks) removed by --keep."};

struct piece {
	const char *table, *column;
	enum tl_ts_hypertable bit;
	uint64_t keep_ns;
};

static int statement(const struct tl_ts *ts, const struct piece *piece, char *out, size_t size)
{
	if (ts->hypertables & 1u << piece->bit)
		return snprintf(out, size,
				"SELECT count(*) FROM (SELECT %s.drop_chunks('tapline.%s', "
				"older_than => $1::timestamptz)) AS dropped",
				ts->timescaledb, piece->table);
	return snprintf(out, size,
			"WITH gone AS (DELETE FROM tapline.%s WHERE ctid = ANY (ARRAY(SELECT ctid "
			"FROM tapline.%s WHERE %s < $1::timestamptz LIMIT %d)) RETURNING 1) "
			"SELECT count(*) FROM gone",
			piece->table, piece->table, piece->column, PIECE);
}

/* `*more` is set when there may be more to remove. */
static int prune_table(struct tl_ts *ts, const struct piece *piece, bool *more)
{
	char sql[512], before[TL_TIME_LEN + 1];
	const char *values[] = {before};
	_cleanup_(PQclearp) PGresult *result = NULL;
	uint64_t n;
	int r;

	if (!piece->keep_ns)
		return 0;
	tl_time_format(tl_wall_ns() - piece->keep_ns, before);
	statement(ts, piece, sql, sizeof(sql));
	r = tl_pg_ask(&ts->pg, sql, 1, values, &result);
	if (r < 0)
		return r;
	n = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
	tl_metric_add(&pruned, n);
	*more = *more || n == PIECE;
	return 0;
}

/* Returns 1 the lock is ours, 0 another worker's. */
static int begin(struct tl_ts *ts)
{
	_cleanup_(PQclearp) PGresult *result = NULL;
	int r = tl_pg_exec(&ts->pg, "BEGIN; SET LOCAL lock_timeout = '2s'");

	r = r < 0 ? r
		  : tl_pg_ask(&ts->pg,
			      "SELECT pg_try_advisory_xact_lock(hashtext('tapline prune'))", 0,
			      NULL, &result);
	return r < 0 ? r : *PQgetvalue(result, 0, 0) == 't';
}

static int prune_all(struct tl_ts *ts, bool *more)
{
	const struct tl_ts_settings *s = ts->settings;
	/* Continuous aggregates are hypertables with a view in front, which drop_chunks takes. */
	uint64_t rollups_ns = ts->rollups ? s->keep_rollups_ns : 0;
	const struct piece pieces[] = {
		{"metrics", "window_start", TL_TS_HYPER_METRICS, s->keep_ns},
		{"metrics_1m", "bucket", TL_TS_HYPER_1M, rollups_ns},
		{"metrics_1h", "bucket", TL_TS_HYPER_1H, rollups_ns},
		{"logs", "observed_timestamp", TL_TS_HYPER_LOGS, s->keep_logs_ns},
		{"dead_letters", "received", TL_TS_HYPER_DEAD, s->keep_logs_ns},
	};
	int r = begin(ts);

	for (size_t i = 0; r == 1 && i < ARRAY_SIZE(pieces); i++) {
		int table = prune_table(ts, &pieces[i], more);

		r = table < 0 ? table : r;
	}
	return r < 0 ? r : tl_pg_exec(&ts->pg, "COMMIT");
}

void tl_ts_prune(struct tl_ts *ts)
{
	static struct tl_msg_gate gate;
	static bool registered;
	const struct tl_ts_settings *s = ts->settings;
	uint64_t now = tl_mono_ns();
	bool more = false;

	if ((!s->keep_ns && !s->keep_rollups_ns && !s->keep_logs_ns) || now < ts->prune_at_ns)
		return;
	if (!registered) {
		tl_metric_register(&pruned);
		registered = true;
	}
	if (prune_all(ts, &more) < 0) {
		tl_msg_limited(&gate, 60000, TL_WARNING, "old rows are not removed now (%s: %s)",
			       ts->pg.where, ts->pg.why);
		tl_pg_drop(&ts->pg);
	}
	ts->prune_at_ns = now + (more ? GO_ON_NS : EVERY_NS);
}
