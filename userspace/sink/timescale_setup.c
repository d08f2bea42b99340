/* SPDX-License-Identifier: Apache-2.0 */
/* What is done once at start: what the server is, and the schema. Everything is asked for first and
 * made only where it is missing, so that a user without the right to make anything can run a sink
 * over a schema that somebody else made. One lock keeps workers that start together apart. */
#include <stdio.h>

#include "userspace/base/clock.h"
#include "userspace/base/msg.h"
#include "userspace/sink/timescale_schema.h"

#define OLDEST_SERVER 120000
#define OLDEST_TIMESCALEDB 2
#define KEEP_MIN_NS (8 * 24 * 3600 * TL_SEC) /* of rows under continuous aggregates */

/* Runs a query of one value; `*ret` is "" when there is no row. */
static int ask_text(struct tl_ts *ts, const char *sql, const char *value, char *ret, size_t size)
{
	const char *values[] = {value};
	_cleanup_(PQclearp) PGresult *result = NULL;
	int r = tl_pg_ask(&ts->pg, sql, value ? 1 : 0, values, &result);

	if (r == 0)
		snprintf(ret, size, "%s", PQntuples(result) ? PQgetvalue(result, 0, 0) : "");
	return r;
}

static int fail(struct tl_ts *ts, int r, const char *what, struct tl_error *error)
{
	/* To be tried again by the caller, who needs to know. */
	if (r == -EAGAIN)
		return r;
	return tl_pg_fail(&ts->pg, r, what, error);
}

static int check_server(struct tl_ts *ts, struct tl_error *error)
{
	int version = PQserverVersion(ts->pg.conn);
	char answer[8];
	int r;

	if (version < OLDEST_SERVER)
		return tl_error_set(error, -EPROTO,
				    "%s is PostgreSQL %d; the sink needs 12 or newer: upgrade the "
				    "server",
				    ts->pg.where, version / 10000);
	r = ask_text(ts, "SELECT pg_is_in_recovery()", NULL, answer, sizeof(answer));
	if (r < 0)
		return fail(ts, r, "cannot start", error);
	if (*answer == 't')
		return tl_error_set(error, -EROFS,
				    "%s is a standby, which takes no writes: name the primary, or "
				    "all hosts with target_session_attrs=read-write",
				    ts->pg.where);
	return 0;
}

/* The extension is on the server but not in the database. */
static int make_extension(struct tl_ts *ts, struct tl_error *error)
{
	int r = tl_pg_exec(&ts->pg, "CREATE EXTENSION IF NOT EXISTS timescaledb SCHEMA public");

	if (r == 0)
		return 0;
	if (strcmp(ts->pg.state, "42501") == 0)
		return tl_error_set(error, -EACCES,
				    "TimescaleDB is on the server but not in the database, and "
				    "%s (%s): have a superuser run CREATE EXTENSION timescaledb "
				    "there, or give --timescaledb no for plain tables",
				    ts->pg.why, ts->pg.where);
	if (ts->settings->timescaledb == TL_TS_YES)
		return tl_error_set(error, -EPROTO, "cannot use TimescaleDB: %s (%s)", ts->pg.why,
				    ts->pg.where);
	tl_msg(TL_WARNING,
	       "TimescaleDB is on the server but cannot be used: %s; making plain "
	       "tables",
	       ts->pg.why);
	tl_pg_drop(&ts->pg);
	r = tl_pg_connect(&ts->pg);
	return r < 0 ? fail(ts, r, "cannot start", error) : 0;
}

static int find_extension(struct tl_ts *ts, char *ret_version, size_t size, struct tl_error *error)
{
	int r = ask_text(ts,
			 "SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n "
			 "ON n.oid = e.extnamespace WHERE e.extname = 'timescaledb'",
			 NULL, ts->timescaledb, sizeof(ts->timescaledb));

	r = r < 0 ? r
		  : ask_text(ts,
			     "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'",
			     NULL, ret_version, size);
	return r < 0 ? fail(ts, r, "cannot start", error) : 0;
}

/* The database does not have it: makes it where the server has it. */
static int want_extension(struct tl_ts *ts, char *ret_version, size_t size, struct tl_error *error)
{
	char available[8];
	int r = ask_text(ts, "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'",
			 NULL, available, sizeof(available));

	if (r < 0)
		return fail(ts, r, "cannot start", error);
	if (!*available && ts->settings->timescaledb == TL_TS_YES)
		return tl_error_set(error, -ENOENT,
				    "TimescaleDB is not installed on the server (%s): install it, "
				    "or leave --timescaledb at auto for plain tables",
				    ts->pg.where);
	r = *available ? make_extension(ts, error) : 0;
	return r < 0 ? r : find_extension(ts, ret_version, size, error);
}

static int use_extension(struct tl_ts *ts, struct tl_error *error)
{
	char version[32] = "";
	int r;

	*ts->timescaledb = '\0';
	if (ts->settings->timescaledb == TL_TS_NO)
		return 0;
	r = find_extension(ts, version, sizeof(version), error);
	if (r == 0 && !*version)
		r = want_extension(ts, version, sizeof(version), error);
	if (r == 0 && *version && strtol(version, NULL, 10) < OLDEST_TIMESCALEDB)
		return tl_error_set(error, -EPROTO,
				    "TimescaleDB %s is too old: the sink needs 2.0 or newer, or "
				    "--timescaledb no",
				    version);
	return r;
}

static int exists(struct tl_ts *ts, const struct tl_ts_object *object, bool *ret)
{
	char answer[8];
	int r = ask_text(ts,
			 object->function ? "SELECT to_regprocedure($1) IS NOT NULL"
					  : "SELECT to_regclass($1) IS NOT NULL",
			 object->name, answer, sizeof(answer));

	*ret = r == 0 && *answer == 't';
	return r;
}

static int make_hypertable(struct tl_ts *ts, const struct tl_ts_object *object)
{
	char sql[512];

	if (!*ts->timescaledb || !object->time)
		return 0;
	snprintf(sql, sizeof(sql),
		 "SELECT %s.create_hypertable('%s', '%s', chunk_time_interval => INTERVAL '%s', "
		 "create_default_indexes => false)",
		 ts->timescaledb, object->name, object->time, object->chunk);
	return tl_pg_exec(&ts->pg, sql);
}

static int check_columns(struct tl_ts *ts, const struct tl_ts_object *object,
			 struct tl_error *error)
{
	static const char sql[] =
		"SELECT w FROM unnest($1::text[]) w EXCEPT SELECT attname || ' ' || "
		"format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = "
		"to_regclass($2) AND attnum > 0 AND NOT attisdropped LIMIT 1";
	const char *values[] = {object->columns, object->name};
	_cleanup_(PQclearp) PGresult *result = NULL;
	int r = object->columns ? tl_pg_ask(&ts->pg, sql, 2, values, &result) : 0;

	if (r < 0)
		return fail(ts, r, "cannot read the tables", error);
	if (result && PQntuples(result))
		return tl_error_set(error, -EPROTO,
				    "table %s has no column `%s` (%s): it is not as this version "
				    "makes it. Alter it, or rename it so that it is made anew",
				    object->name, PQgetvalue(result, 0, 0), ts->pg.where);
	return 0;
}

/* `*made` is set when something was. */
static int make_objects(struct tl_ts *ts, const struct tl_ts_object *object, bool *made,
			struct tl_error *error)
{
	for (; object->name; object++) {
		bool there;
		int r = exists(ts, object, &there);

		if (r == 0 && !there) {
			*made = true;
			r = tl_pg_exec(&ts->pg, object->sql);
			r = r < 0 ? r : make_hypertable(ts, object);
		}
		if (r < 0)
			return fail(ts, r, "cannot make the tables", error);
		r = check_columns(ts, object, error);
		if (r < 0)
			return r;
	}
	return 0;
}

static int make_schema(struct tl_ts *ts, struct tl_error *error)
{
	char there[8];
	int r = ask_text(ts, "SELECT to_regnamespace('tapline') IS NOT NULL", NULL, there,
			 sizeof(there));

	if (r == 0 && *there != 't')
		r = tl_pg_exec(&ts->pg, "CREATE SCHEMA tapline");
	return r < 0 ? fail(ts, r, "cannot make schema tapline", error) : 0;
}

static int make_continuous(struct tl_ts *ts)
{
	char sql[4096];

	snprintf(sql, sizeof(sql), tl_ts_continuous_sql, ts->timescaledb);
	return tl_pg_exec(&ts->pg, sql);
}

/* Returns 1 made, 0 this edition cannot, or an error. */
static int try_continuous(struct tl_ts *ts, struct tl_error *error)
{
	bool wanted = ts->settings->rollups == TL_TS_CONTINUOUS;
	char license[16] = "";
	int r = *ts->timescaledb
			? ask_text(ts, "SELECT current_setting('timescaledb.license', true)", NULL,
				   license, sizeof(license))
			: 0;

	if (r < 0)
		return fail(ts, r, "cannot start", error);
	if (strcmp(license, "timescale") != 0 && !wanted)
		return 0;
	if (strcmp(license, "timescale") != 0)
		return tl_error_set(error, -EPROTO,
				    "--rollups continuous needs TimescaleDB's community edition "
				    "(%s has %s); leave it at auto",
				    ts->pg.where,
				    *ts->timescaledb ? "the Apache edition" : "no TimescaleDB");
	r = tl_pg_exec(&ts->pg, "SAVEPOINT continuous");
	r = r < 0 ? r : make_continuous(ts);
	if (r == 0)
		return 1;
	if (r == -EAGAIN || wanted)
		return fail(ts, r, "cannot make continuous aggregates", error);
	tl_msg(TL_WARNING, "no continuous aggregates (%s): the sink keeps the roll-ups itself",
	       ts->pg.why);
	r = tl_pg_exec(&ts->pg, "ROLLBACK TO SAVEPOINT continuous");
	return r < 0 ? fail(ts, r, "cannot start", error) : 0;
}

static int conflict(const struct tl_ts *ts, const char *flag, const char *what,
		    struct tl_error *error)
{
	return tl_error_set(error, -EINVAL,
			    "--rollups %s, but tapline.metrics_1m is there as %s (%s): drop "
			    "tapline.metrics_1m and metrics_1h, or leave --rollups at auto",
			    flag, what, ts->pg.where);
}

/* What is there decides: workers of one group with different settings would spoil the sums. */
static int make_rollups(struct tl_ts *ts, struct tl_error *error)
{
	int wanted = ts->settings->rollups, r;
	bool made = false;
	char kind[8];

	r = ask_text(ts,
		     "SELECT relkind FROM pg_class WHERE oid = to_regclass('tapline.metrics_1m')",
		     NULL, kind, sizeof(kind));
	if (r < 0)
		return fail(ts, r, "cannot start", error);
	ts->rollups = wanted != TL_TS_NONE;
	ts->own_rollups = *kind == 'r' || *kind == 'p';
	if (ts->own_rollups && (wanted == TL_TS_CONTINUOUS || wanted == TL_TS_NONE))
		return conflict(ts, wanted == TL_TS_NONE ? "none" : "continuous",
				"a table that the sink keeps", error);
	if (*kind && !ts->own_rollups && wanted == TL_TS_OWN)
		return conflict(ts, "own", "a continuous aggregate", error);
	if (wanted == TL_TS_NONE || (*kind && !ts->own_rollups))
		return 0;
	if (!*kind && wanted != TL_TS_OWN) {
		r = try_continuous(ts, error);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	ts->own_rollups = true;
	r = make_objects(ts, tl_ts_own_rollups, &made, error);
	if (r == 0 && made) {
		r = tl_pg_exec(&ts->pg, tl_ts_backfill_sql);
		r = r < 0 ? fail(ts, r, "cannot fill the roll-ups", error) : 0;
	}
	return r;
}

/* A refresh of a region whose rows were dropped would empty the roll-up. */
static int check_keep(const struct tl_ts *ts, struct tl_error *error)
{
	if (!ts->rollups || ts->own_rollups || !ts->settings->keep_ns ||
	    ts->settings->keep_ns >= KEEP_MIN_NS)
		return 0;
	return tl_error_set(error, -EINVAL,
			    "--keep: at least 8d with continuous aggregates (%s), which are "
			    "refreshed from the rows of the last 7 days",
			    ts->pg.where);
}

static int find_hypertables(struct tl_ts *ts, struct tl_error *error)
{
	static const char *const names[TL_TS_HYPERTABLES] = {[TL_TS_HYPER_METRICS] = "metrics",
							     [TL_TS_HYPER_1M] = "metrics_1m",
							     [TL_TS_HYPER_1H] = "metrics_1h",
							     [TL_TS_HYPER_LOGS] = "logs",
							     [TL_TS_HYPER_DEAD] = "dead_letters"};

	ts->hypertables = 0;
	for (unsigned i = 0; *ts->timescaledb && i < TL_TS_HYPERTABLES; i++) {
		char there[8];
		int r = ask_text(ts,
				 "SELECT 1 FROM timescaledb_information.hypertables WHERE "
				 "hypertable_schema = 'tapline' AND hypertable_name = $1",
				 names[i], there, sizeof(there));

		if (r < 0)
			return fail(ts, r, "cannot read the hypertables", error);
		if (*there)
			ts->hypertables |= 1u << i;
	}
	/* The view of a continuous aggregate is none itself, but drop_chunks takes it. */
	if (ts->rollups && !ts->own_rollups)
		ts->hypertables |= 1u << TL_TS_HYPER_1M | 1u << TL_TS_HYPER_1H;
	return 0;
}

int tl_ts_setup(struct tl_ts *ts, struct tl_error *error)
{
	bool made = false;
	int r = check_server(ts, error);

	r = r < 0 ? r : use_extension(ts, error);
	if (r < 0)
		return r;
	r = tl_pg_exec(&ts->pg, "BEGIN; SELECT pg_advisory_xact_lock(hashtext('tapline setup'))");
	if (r < 0)
		return fail(ts, r, "cannot start", error);
	r = make_schema(ts, error);
	r = r < 0 ? r : make_objects(ts, tl_ts_base, &made, error);
	r = r < 0 ? r : make_rollups(ts, error);
	r = r < 0 ? r : check_keep(ts, error);
	r = r < 0 ? r : find_hypertables(ts, error);
	if (r < 0)
		return r;
	r = tl_pg_exec(&ts->pg, "COMMIT");
	if (r < 0)
		return fail(ts, r, "cannot make the tables", error);
	tl_msg(TL_INFO, "%s: %s, roll-ups %s", ts->pg.where,
	       ts->hypertables ? "TimescaleDB hypertables" : "plain tables",
	       ts->own_rollups ? "kept by the sink"
	       : ts->rollups   ? "as continuous aggregates"
			       : "none");
	return 0;
}
