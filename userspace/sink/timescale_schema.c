/* SPDX-License-Identifier: Apache-2.0 */
/* Indexes serve the questions of dashboards: a metric over a time, lines of a service over a time,
 * lines of a request. Ids may be of any length, so theirs are hash indexes, which keep no value. */
#include "userspace/sink/timescale_schema.h"

#define NUMBERS                                                                                    \
	"count bigint NOT NULL, sum double precision NOT NULL, min double precision NOT NULL, "    \
	"max double precision NOT NULL, buckets bigint[]"
#define NUMBER_COLUMNS                                                                             \
	"count bigint,sum double precision,min double precision,max double precision,buckets "     \
	"bigint[]"
#define TIME "timestamp with time zone"

#define ROLLUP(table)                                                                              \
	"CREATE TABLE tapline." table " (bucket timestamptz NOT NULL, name text NOT NULL, "        \
	"labels jsonb NOT NULL, labels_id bytea NOT NULL, " NUMBERS                                \
	", PRIMARY KEY (bucket, name, labels_id))"
#define ROLLUP_COLUMNS "{bucket " TIME ",name text,labels jsonb,labels_id bytea," NUMBER_COLUMNS "}"

const struct tl_ts_object tl_ts_base[] = {
	{.name = "tapline.offsets",
	 .sql = "CREATE TABLE tapline.offsets (source text NOT NULL, topic text NOT NULL, "
		"partition integer NOT NULL, next_offset bigint NOT NULL, writer text, "
		"committed timestamptz, PRIMARY KEY (source, topic, partition)) "
		"WITH (fillfactor = 50)",
	 .columns = "{source text,topic text,partition integer,next_offset bigint,writer text,"
		    "committed " TIME "}"},
	/* Strict, so that an aggregate of one row calls nothing and NULLs are left out. */
	{.name = "tapline.add_buckets(bigint[],bigint[])",
	 .function = true,
	 .sql = "CREATE FUNCTION tapline.add_buckets(a bigint[], b bigint[]) RETURNS bigint[] "
		"LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ SELECT "
		"ARRAY(SELECT coalesce(x, 0) + coalesce(y, 0) FROM unnest(a, b) WITH ORDINALITY "
		"AS t(x, y, i) ORDER BY i) $$"},
	{.name = "tapline.sum_buckets(bigint[])",
	 .function = true,
	 .sql = "CREATE AGGREGATE tapline.sum_buckets(bigint[]) (SFUNC = tapline.add_buckets, "
		"STYPE = bigint[], COMBINEFUNC = tapline.add_buckets, PARALLEL = SAFE)"},
	{.name = "tapline.quantile(double precision,bigint[])",
	 .function = true,
	 .sql = "CREATE FUNCTION tapline.quantile(q double precision, buckets bigint[]) "
		"RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ "
		"WITH edges AS (SELECT ARRAY[0, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, "
		"0.75, 1, 2.5, 5, 7.5, 10, 10]::double precision[] AS e), "
		"b AS (SELECT i, c, sum(c) OVER (ORDER BY i) AS upto, sum(c) OVER () AS total "
		"FROM unnest(buckets) WITH ORDINALITY AS t(c, i)) "
		"SELECT e[i] + (e[i + 1] - e[i]) * greatest(q * total - (upto - c), 0) / c "
		"FROM b, edges WHERE c > 0 AND i <= 15 AND upto >= q * total ORDER BY i LIMIT 1 "
		"$$"},
	{.name = "tapline.labels_id(jsonb)",
	 .function = true,
	 .sql = "CREATE FUNCTION tapline.labels_id(labels jsonb) RETURNS bytea LANGUAGE sql "
		"IMMUTABLE PARALLEL SAFE AS $$ SELECT substr(sha256(convert_to(labels::text, "
		"'UTF8')), 1, 16) $$"},
	{.name = "tapline.metrics",
	 .sql = "CREATE TABLE tapline.metrics (window_start timestamptz NOT NULL, "
		"window_end timestamptz NOT NULL, name text NOT NULL, labels jsonb NOT "
		"NULL, " NUMBERS "); "
		"CREATE INDEX metrics_time ON tapline.metrics (window_start, name)",
	 .time = "window_start",
	 .chunk = "1 day",
	 .columns = "{window_start " TIME ",window_end " TIME
		    ",name text,labels jsonb," NUMBER_COLUMNS "}",
	 .bit = TL_TS_HYPER_METRICS},
	{.name = "tapline.logs",
	 .sql = "CREATE TABLE tapline.logs (uid text NOT NULL, observed_timestamp timestamptz NOT "
		"NULL, timestamp timestamptz NOT NULL, severity_number smallint, severity_text "
		"text, service_name text, body text NOT NULL, trace_id text, span_id text, "
		"correlation_id text, correlation_how text, stream_id text, resource jsonb NOT "
		"NULL, attributes jsonb NOT NULL); "
		"CREATE INDEX logs_time ON tapline.logs (observed_timestamp); "
		"CREATE INDEX logs_service ON tapline.logs (service_name, observed_timestamp); "
		"CREATE INDEX logs_correlation ON tapline.logs USING hash (correlation_id); "
		"CREATE INDEX logs_trace ON tapline.logs USING hash (trace_id)",
	 .time = "observed_timestamp",
	 .chunk = "1 day",
	 .columns = "{uid text,observed_timestamp " TIME ",timestamp " TIME
		    ",severity_number smallint,severity_text text,service_name text,body text,"
		    "trace_id text,span_id text,correlation_id text,correlation_how text,"
		    "stream_id text,resource jsonb,attributes jsonb}",
	 .bit = TL_TS_HYPER_LOGS},
	{.name = "tapline.dead_letters",
	 .sql = "CREATE TABLE tapline.dead_letters (received timestamptz NOT NULL, reason text, "
		"stage text, topic text, partition bigint, \"offset\" bigint, key bytea, value "
		"bytea); "
		"CREATE INDEX dead_letters_time ON tapline.dead_letters (received)",
	 .time = "received",
	 .chunk = "7 days",
	 .columns = "{received " TIME ",reason text,stage text,topic text,partition bigint,"
		    "offset bigint,key bytea,value bytea}",
	 .bit = TL_TS_HYPER_DEAD},
	{.name = NULL},
};

const struct tl_ts_object tl_ts_own_rollups[] = {
	{.name = "tapline.metrics_1m",
	 .sql = ROLLUP("metrics_1m"),
	 .time = "bucket",
	 .chunk = "7 days",
	 .columns = ROLLUP_COLUMNS,
	 .bit = TL_TS_HYPER_1M},
	{.name = "tapline.metrics_1h",
	 .sql = ROLLUP("metrics_1h"),
	 .time = "bucket",
	 .chunk = "90 days",
	 .columns = ROLLUP_COLUMNS,
	 .bit = TL_TS_HYPER_1H},
	{.name = NULL},
};

/* Offsets are locked, so that no other sink commits rows between the sums and their commit. */
#define BACKFILL(table, unit)                                                                      \
	"INSERT INTO tapline." table " SELECT date_trunc('" unit "', window_start), name, "        \
	"labels, tapline.labels_id(labels), sum(count), sum(sum), min(min), max(max), "            \
	"tapline.sum_buckets(buckets) FROM tapline.metrics GROUP BY 1, 2, 3"

const char tl_ts_backfill_sql[] = "LOCK TABLE tapline.offsets IN EXCLUSIVE MODE; " BACKFILL(
	"metrics_1m", "minute") "; " BACKFILL("metrics_1h", "hour");

#define CONTINUOUS(table, width, late, end)                                                        \
	"CREATE MATERIALIZED VIEW tapline." table                                                  \
	" WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS SELECT "         \
	"%1$s.time_bucket('" width "', window_start) AS bucket, name, labels, "                    \
	"sum(count)::bigint AS count, sum(sum) AS sum, min(min) AS min, max(max) AS max, "         \
	"tapline.sum_buckets(buckets) AS buckets FROM tapline.metrics GROUP BY 1, 2, 3 "           \
	"WITH NO DATA; "                                                                           \
	"SELECT %1$s.add_continuous_aggregate_policy('tapline." table                              \
	"', start_offset => INTERVAL '" late "', end_offset => INTERVAL '" end                     \
	"', schedule_interval => INTERVAL '" end "')"

const char tl_ts_continuous_sql[] =
	CONTINUOUS("metrics_1m", "1 minute", "3 days",
		   "2 minutes") "; " CONTINUOUS("metrics_1h", "1 hour", "7 days", "1 hour");
