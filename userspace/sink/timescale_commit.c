/* SPDX-License-Identifier: Apache-2.0 */
/* The transaction's end. One row of tapline.offsets a (source, topic, partition) holds the next
 * offset; the transaction that carries rows moves it from the value that we stored or read last to
 * the new one, in one UPDATE that finds only rows which still have the old value. Of two writers
 * the one that comes second finds none (its UPDATE waits for the first one's end) and gives up, so
 * each message is there once, whoever writes it.
 *
 * A connection that breaks during COMMIT leaves it open whether the transaction is there. The next
 * attempt asks in the same way: if its UPDATE finds nothing, but the rows have the new value and
 * our name, it was there. Should the old backend still be at work, the UPDATE waits for it. */
#include <inttypes.h>
#include <stdio.h>

#include "userspace/base/clock.h"
#include "userspace/base/json.h"
#include "userspace/base/metrics.h"
#include "userspace/base/msg.h"
#include "userspace/sink/timescale.h"

static const char *const topic_names[] = TL_TOPIC_NAMES;

static struct tl_metric commits = {.name = "tapline_sink_commits_total",
				   .type = TL_COUNTER,
				   .help = "Transactions of rows and offsets."};
static struct tl_metric commit_ns = {.name = "tapline_sink_commit_seconds_total",
				     .type = TL_COUNTER,
				     .unit = 1000000000,
				     .help = "Time from a batch's last row to its commit, summed."};

#define PARTITIONS                                                                                 \
	"jsonb_to_recordset($1::jsonb) AS p(topic text, partition int, lo bigint, hi bigint)"
#define SAME_PLACE "o.source = $2 AND o.topic = p.topic AND o.partition = p.partition"

static const char move_sql[] =
	"WITH moved AS (UPDATE tapline.offsets o SET next_offset = p.hi, writer = $3, "
	"committed = now() FROM " PARTITIONS " WHERE " SAME_PLACE " AND o.next_offset = p.lo "
	"RETURNING 1) SELECT count(*) FROM moved";
static const char ours_sql[] = "SELECT count(*) FROM tapline.offsets o, " PARTITIONS
			       " WHERE " SAME_PLACE " AND o.next_offset = p.hi AND o.writer = $3";

#define DELTAS                                                                                     \
	"jsonb_to_recordset($1::jsonb) AS d(bucket timestamptz, name text, labels jsonb, count "   \
	"bigint, sum float8, min float8, max float8, buckets bigint[])"
#define ADD_ROLLUP(table, bucket)                                                                  \
	"INSERT INTO tapline." table " AS m (bucket, name, labels, labels_id, count, sum, min, "   \
	"max, buckets) SELECT " bucket ", name, labels, tapline.labels_id(labels), sum(count), "   \
	"sum(sum), min(min), max(max), tapline.sum_buckets(buckets) FROM " DELTAS                  \
	" GROUP BY 1, 2, 3 ORDER BY 1, 2, 4 ON CONFLICT (bucket, name, labels_id) DO UPDATE SET "  \
	"count = m.count + excluded.count, sum = m.sum + excluded.sum, "                           \
	"min = least(m.min, excluded.min), max = greatest(m.max, excluded.max), "                  \
	"buckets = coalesce(tapline.add_buckets(m.buckets, excluded.buckets), m.buckets, "         \
	"excluded.buckets)"

/* In the order of the index, so that two writers that share series never wait for each other. */
static const char *const rollup_sql[] = {
	ADD_ROLLUP("metrics_1m", "bucket"),
	ADD_ROLLUP("metrics_1h", "date_trunc('hour', bucket)"),
};

static struct tl_partition *known(struct tl_ts *ts, const struct tl_partition *partition)
{
	for (size_t i = 0; i < ts->n_known; i++)
		if (ts->known[i].topic == partition->topic &&
		    ts->known[i].partition == partition->partition)
			return &ts->known[i];
	return NULL;
}

static int remember(struct tl_ts *ts, const struct tl_partition *partition)
{
	struct tl_partition *mine = known(ts, partition);

	if (mine) {
		*mine = *partition;
		return 0;
	}
	if (ts->n_known == ts->cap_known) {
		size_t cap = ts->cap_known ? ts->cap_known * 2 : 64;
		struct tl_partition *grown = realloc(ts->known, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		ts->known = grown;
		ts->cap_known = cap;
	}
	ts->known[ts->n_known++] = *partition;
	return 0;
}

/* Runs `sql` with the partitions and counts what it returns. */
static int count_rows(struct tl_ts *ts, const char *sql, size_t *ret)
{
	const char *values[] = {ts->json.data, ts->source, ts->writer};
	_cleanup_(PQclearp) PGresult *result = NULL;
	int r = tl_pg_ask(&ts->pg, sql, 3, values, &result);

	if (r == 0)
		*ret = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
	return r;
}

static int partitions_json(struct tl_ts *ts, const struct tl_partition *partitions, size_t n)
{
	tl_buf_clear(&ts->json);
	for (size_t i = 0; i < n; i++) {
		const struct tl_partition *p = &partitions[i], *mine = known(ts, p);

		tl_buf_printf(&ts->json,
			      "%c{\"topic\":\"%s\",\"partition\":%d,\"lo\":%" PRId64
			      ",\"hi\":%" PRId64 "}",
			      i ? ',' : '[', topic_names[p->topic], p->partition,
			      mine ? mine->offset : -1, p->offset);
	}
	tl_buf_add(&ts->json, "]", 2);
	return ts->json.failed ? -ENOMEM : 0;
}

/* Returns 0 moved, 1 it was moved by us before (an attempt whose end we did not hear of), -ESTALE
 * another writer moved it. */
static int move_offsets(struct tl_ts *ts, const struct tl_partition *partitions, size_t n)
{
	size_t found = 0;
	int r = partitions_json(ts, partitions, n);

	r = r < 0 ? r : count_rows(ts, move_sql, &found);
	if (r < 0 || found == n)
		return r;
	r = tl_pg_exec(&ts->pg, "ROLLBACK");
	tl_ts_unsettle(ts);
	r = r < 0 ? r : count_rows(ts, ours_sql, &found);
	if (r < 0)
		return r;
	return found == n ? 1 : -ESTALE;
}

static bool is_refused(void *arg, size_t row)
{
	return ((const struct tl_ts_rows *)arg)->index[row].refused;
}

static int add_rollups(struct tl_ts *ts)
{
	struct tl_ts_rows *metrics = &ts->tables[TL_TS_METRICS];
	int r;

	if (!ts->own_rollups || !metrics->n)
		return 0;
	tl_buf_clear(&ts->json);
	r = tl_ts_rollup(tl_buf_span(&metrics->data), is_refused, metrics, &ts->json);
	if (r < 0 || tl_buf_putc(&ts->json, '\0') < 0)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(rollup_sql); i++) {
		const char *values[] = {ts->json.data};
		PGresult *result = NULL;

		r = tl_pg_ask(&ts->pg, rollup_sql[i], 1, values, &result);
		PQclear(result);
	}
	return r;
}

static int commit_once(struct tl_ts *ts, const struct tl_partition *partitions, size_t n)
{
	int r = ts->open ? 0 : tl_pg_exec(&ts->pg, "BEGIN");

	ts->open = ts->open || r == 0;
	r = r < 0 ? r : move_offsets(ts, partitions, n);
	if (r != 0)
		return r < 0 ? r : 0;
	r = add_rollups(ts);
	return r < 0 ? r : tl_pg_exec(&ts->pg, "COMMIT");
}

static int stale(const struct tl_ts *ts, struct tl_error *error)
{
	return tl_error_set(error, -ESTALE,
			    "another sink writes the same topics to this database (%s): its rows "
			    "are there, ours were not added. If it is one of another group, stop "
			    "one of the two, or give each its own database",
			    ts->pg.where);
}

static int commit_failed(struct tl_ts *ts, int r, struct tl_error *error)
{
	tl_pg_drop(&ts->pg);
	tl_ts_unsettle(ts);
	if (r == -ESTALE)
		return stale(ts, error);
	if (r == -ENOMEM)
		return tl_error_set(error, r, "out of memory");
	if (r == -EAGAIN)
		r = tl_pg_back_off(&ts->pg);
	return r == 0 ? 0 : tl_pg_fail(&ts->pg, r, "cannot commit", error);
}

static int commit_all(struct tl_ts *ts, const struct tl_partition *partitions, size_t n,
		      struct tl_error *error)
{
	for (;;) {
		int r = tl_ts_settle(ts, NULL, error);

		if (r < 0)
			return r;
		r = commit_once(ts, partitions, n);
		if (r == 0)
			return 0;
		r = commit_failed(ts, r, error);
		if (r < 0)
			return r;
	}
}

int tl_ts_commit(struct tl_sink *sink, const struct tl_partition *partitions, size_t n,
		 struct tl_error *error)
{
	struct tl_ts *ts = (struct tl_ts *)sink;
	uint64_t began = tl_mono_ns();
	static bool registered;
	int r;

	if (!registered) {
		tl_metric_register(&commits);
		tl_metric_register(&commit_ns);
		registered = true;
	}
	r = commit_all(ts, partitions, n, error);
	ts->open = false;
	tl_ts_forget(ts);
	if (r < 0)
		return r;
	ts->pg.failures = 0;
	for (size_t i = 0; i < n; i++)
		if (remember(ts, &partitions[i]) < 0)
			return tl_error_set(error, -ENOMEM, "out of memory");
	tl_metric_add(&commits, 1);
	tl_metric_add(&commit_ns, tl_mono_ns() - began);
	tl_ts_prune(ts);
	return 0;
}

/* Makes the row that commits will move, so that an UPDATE is all that they need. */
static const char position_sql[] =
	"WITH made AS (INSERT INTO tapline.offsets (source, topic, partition, next_offset) "
	"VALUES ($1, $2, $3, -1) ON CONFLICT DO NOTHING RETURNING next_offset) "
	"SELECT next_offset FROM made UNION ALL SELECT next_offset FROM tapline.offsets "
	"WHERE source = $1 AND topic = $2 AND partition = $3";

static int ask_position(struct tl_ts *ts, struct tl_partition *partition)
{
	char number[16];
	const char *values[] = {ts->source, topic_names[partition->topic], number};
	_cleanup_(PQclearp) PGresult *result = NULL;
	int r = tl_pg_connect(&ts->pg);

	snprintf(number, sizeof(number), "%d", partition->partition);
	r = r < 0 ? r : tl_pg_ask(&ts->pg, position_sql, 3, values, &result);
	if (r < 0)
		return r;
	/* Neither made nor seen: made by another while we looked. Ask again. */
	if (PQntuples(result) == 0)
		return -EAGAIN;
	partition->offset = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	return 0;
}

int tl_ts_positions(struct tl_sink *sink, struct tl_partition *partitions, size_t n,
		    struct tl_error *error)
{
	struct tl_ts *ts = (struct tl_ts *)sink;

	for (size_t i = 0; i < n; i++) {
		int r = ask_position(ts, &partitions[i]);

		while (r == -EAGAIN && (r = tl_pg_back_off(&ts->pg)) == 0)
			r = ask_position(ts, &partitions[i]);
		if (r < 0)
			return tl_pg_fail(&ts->pg, r, "cannot read the offsets", error);
		if (remember(ts, &partitions[i]) < 0)
			return tl_error_set(error, -ENOMEM, "out of memory");
	}
	return 0;
}
