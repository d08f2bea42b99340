/* SPDX-License-Identifier: Apache-2.0 */
/* The timescale sink: metrics (and records, on request) to TimescaleDB or plain PostgreSQL, exactly
 * once: rows and the offsets behind them are one transaction. */
#include "userspace/sink/timescale.h"

#include <stdio.h>

#include "userspace/base/clock.h"
#include "userspace/base/fs.h"
#include "userspace/base/msg.h"

#define FIELD(member) offsetof(struct tl_ts_settings, member)
#define PUSH_BYTES ((size_t)64 << 10)

static const int topics[] = {TL_TOPIC_METRICS, TL_TOPIC_LOGS, TL_TOPIC_DLQ};
static const char *const timescaledb_choices[] = {"auto", "yes", "no", NULL};
static const char *const rollups_choices[] = {"auto", "own", "continuous", "none", NULL};

static const struct tl_option options[] = {
	{.name = "dsn",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(dsn),
	 .metavar = "DSN",
	 .env = "TAPLINE_DSN",
	 .help = "The database, as libpq has it: "
		 "postgresql://USER@HOST:PORT/DB?sslmode=verify-full "
		 "or `host=... dbname=...`. Leave the password to PGPASSWORD, ~/.pgpass or "
		 "--dsn-file: others can see a command line."},
	{.name = "dsn-file",
	 .type = TL_OPT_SECRET,
	 .offset = FIELD(dsn_file),
	 .metavar = "FILE",
	 .help = "File that holds the DSN, with its password, instead of --dsn."},
	{.name = "logs",
	 .type = TL_OPT_BOOL,
	 .offset = FIELD(logs),
	 .value = "false",
	 .help = "Carry the records of tapline.logs too, to table tapline.logs."},
	{.name = "dead-letters",
	 .type = TL_OPT_BOOL,
	 .offset = FIELD(dead_letters),
	 .value = "true",
	 .help = "Carry tapline.dlq too, to table tapline.dead_letters. What this sink itself "
		 "cannot write goes there in any case."},
	{.name = "timescaledb",
	 .type = TL_OPT_ENUM,
	 .offset = FIELD(timescaledb),
	 .value = "auto",
	 .choices = timescaledb_choices,
	 .help = "Make hypertables: where the server has the extension, or it must, or not."},
	{.name = "rollups",
	 .type = TL_OPT_ENUM,
	 .offset = FIELD(rollups),
	 .value = "auto",
	 .choices = rollups_choices,
	 .help = "How tapline.metrics_1m and metrics_1h come about: kept by the sink in the same "
		 "transaction as the rows (own), as continuous aggregates, or not at all; auto is "
		 "what is there, else continuous aggregates where the edition has them, else own."},
	{.name = "keep",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(keep_ns),
	 .value = "0",
	 .metavar = "TIME",
	 .help = "Remove metrics older than this, for example 30d; 0 keeps all."},
	{.name = "keep-rollups",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(keep_rollups_ns),
	 .value = "0",
	 .metavar = "TIME",
	 .help = "Remove roll-ups older than this; 0 keeps all."},
	{.name = "keep-logs",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(keep_logs_ns),
	 .value = "0",
	 .metavar = "TIME",
	 .help = "Remove records and dead letters older than this; 0 keeps all."},
	{.name = "timeout",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(timeout_ns),
	 .value = "60s",
	 .metavar = "TIME",
	 .help = "A server that does not answer for so long is given up and connected anew."},
	{.name = "wait",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(wait_ns),
	 .value = "30s",
	 .metavar = "TIME",
	 .help = "How long a server that does not answer is waited for at start; later it is "
		 "waited for without end."},
	{.name = NULL},
};

/* libpq's words may repeat parts of the DSN, so they are not shown where it may have a password. */
static int check_dsn(const char *dsn, const struct tl_ts_settings *s, struct tl_error *error)
{
	bool secret = s->dsn_file || strstr(dsn, "passw") || strchr(dsn, '@');
	PQconninfoOption *parsed;
	char *why = NULL;

	parsed = PQconninfoParse(dsn, &why);
	if (parsed) {
		PQconninfoFree(parsed);
		return 0;
	}
	if (why)
		why[strcspn(why, "\n")] = '\0';
	tl_error_set(error, -EINVAL,
		     "the DSN is not understood%s%s: write postgresql://USER@HOST:PORT/DB or "
		     "`host=HOST dbname=DB user=USER`",
		     why && !secret ? ": " : "", why && !secret ? why : "");
	PQfreemem(why);
	return -EINVAL;
}

static int check_settings(const struct tl_ts_settings *s, const char **ret_dsn,
			  struct tl_error *error)
{
	if (!s->dsn == !s->dsn_file)
		return tl_error_set(error, -EINVAL,
				    s->dsn ? "give --dsn or --dsn-file, not both"
					   : "which database? give --dsn DSN or --dsn-file FILE");
	if (s->timeout_ns < TL_SEC)
		return tl_error_set(error, -EINVAL, "--timeout: at least 1s");
	*ret_dsn = s->dsn ? s->dsn : s->dsn_file;
	return check_dsn(*ret_dsn, s, error);
}

static void ts_close(struct tl_sink *sink)
{
	struct tl_ts *ts = (struct tl_ts *)sink;

	tl_pg_drop(&ts->pg);
	for (size_t i = 0; i < TL_TS_TABLES; i++) {
		tl_buf_done(&ts->tables[i].data);
		free(ts->tables[i].index);
	}
	tl_buf_done(&ts->scratch);
	tl_buf_done(&ts->json);
	free(ts->known);
	free(ts);
}

/* A server that is only starting is waited for. */
static int start(struct tl_ts *ts, struct tl_error *error)
{
	uint64_t deadline = tl_mono_ns() + ts->settings->wait_ns;

	for (;;) {
		int r = tl_pg_connect(&ts->pg);

		if (r < 0 && r != -EAGAIN)
			return tl_pg_fail(&ts->pg, r, "cannot start", error);
		r = r < 0 ? r : tl_ts_setup(ts, error);
		if (r != -EAGAIN)
			return r;
		if (tl_mono_ns() >= deadline)
			return tl_pg_fail(&ts->pg, r, "cannot start", error);
		tl_pg_back_off(&ts->pg);
	}
}

static void name_writer(struct tl_ts *ts)
{
	uint64_t id[2];

	tl_random(id, sizeof(id));
	snprintf(ts->writer, sizeof(ts->writer), "%016llx%016llx", (unsigned long long)id[0],
		 (unsigned long long)id[1]);
}

static void choose_topics(struct tl_ts *ts)
{
	size_t n = 0;

	ts->topics[n++] = TL_TOPIC_METRICS;
	if (ts->settings->logs)
		ts->topics[n++] = TL_TOPIC_LOGS;
	if (ts->settings->dead_letters)
		ts->topics[n++] = TL_TOPIC_DLQ;
	ts->sink.topics = ts->topics;
	ts->sink.n_topics = n;
}

static int ts_open(const void *settings, struct tl_sink **ret_sink, struct tl_error *error)
{
	const struct tl_ts_settings *s = settings;
	const char *dsn = NULL;
	struct tl_ts *ts;
	int r = check_settings(s, &dsn, error);

	if (r < 0)
		return r;
	ts = calloc(1, sizeof(*ts));
	if (!ts)
		return tl_error_set(error, -ENOMEM, "out of memory");
	ts->sink.ops = &tl_sink_timescale;
	ts->settings = s;
	ts->pg = (struct tl_pg){.dsn = dsn, .timeout_ns = s->timeout_ns};
	ts->copying = -1;
	name_writer(ts);
	choose_topics(ts);
	r = start(ts, error);
	if (r < 0) {
		ts_close(&ts->sink);
		return r;
	}
	ts->pg.failures = 0;
	*ret_sink = &ts->sink;
	return 0;
}

static void ts_source(struct tl_sink *sink, const char *name)
{
	struct tl_ts *ts = (struct tl_ts *)sink;

	snprintf(ts->source, sizeof(ts->source), "%s", name);
	ts->n_known = 0;
	ts->pg.stop = sink->stop;
}

static void bury(struct tl_sink_result *result, size_t message, const char *reason)
{
	struct tl_dead_letter *dead = &result->dead[result->n_dead++];

	dead->message = message;
	dead->type = "malformed_record";
	snprintf(dead->reason, sizeof(dead->reason), "%s", reason);
}

static size_t waiting_bytes(const struct tl_ts *ts)
{
	return ts->tables[TL_TS_METRICS].data.len + ts->tables[TL_TS_LOGS].data.len +
	       ts->tables[TL_TS_DEAD].data.len;
}

static int encode(struct tl_ts *ts, const struct tl_message *messages, size_t n,
		  struct tl_sink_result *result, struct tl_error *error)
{
	size_t pushed = waiting_bytes(ts);

	for (size_t i = 0; i < n; i++) {
		char reason[sizeof(result->dead->reason)];
		enum tl_ts_table table;
		int r = tl_ts_add(ts, &messages[i], (uint32_t)i, &table, reason);

		if (r == -ENOMEM)
			return tl_error_set(error, r,
					    "out of memory for %zu bytes of rows: lower --batch",
					    waiting_bytes(ts));
		if (r < 0)
			bury(result, i, reason);
		if (waiting_bytes(ts) - pushed < PUSH_BYTES)
			continue;
		tl_ts_push(ts, table);
		pushed = waiting_bytes(ts);
	}
	return 0;
}

static int ts_write(struct tl_sink *sink, const struct tl_message *messages, size_t n,
		    struct tl_sink_result *result, const volatile int *stop, struct tl_error *error)
{
	struct tl_ts *ts = (struct tl_ts *)sink;
	size_t before = result->n_dead;
	int r;

	ts->pg.stop = stop;
	for (size_t i = 0; i < TL_TS_TABLES; i++)
		ts->tables[i].slice = ts->tables[i].n;
	r = encode(ts, messages, n, result, error);
	r = r < 0 ? r : tl_ts_settle(ts, result, error);
	if (r == 0)
		result->written += n - (result->n_dead - before);
	return r;
}

static void ts_rollback(struct tl_sink *sink)
{
	tl_ts_forget((struct tl_ts *)sink);
}

const struct tl_sink_ops tl_sink_timescale = {
	.name = "timescale",
	.about = "Carries metrics (and records, with --logs) to TimescaleDB or plain PostgreSQL, "
		 "each exactly once: rows and the offsets behind them are one transaction, of two "
		 "sinks that would write the same one gives up. It makes schema tapline: tables "
		 "metrics, metrics_1m, metrics_1h, logs, dead_letters and offsets.\n\n"
		 "  PGPASSWORD=... tapline sink timescale --brokers kafka:9092 --dsn "
		 "postgresql://tapline@db/metrics\n"
		 "  tapline sink timescale --brokers kafka:9092 --dsn-file /etc/tapline/dsn "
		 "--logs \\\n"
		 "      --keep 30d --keep-logs 7d",
	.topics = topics,
	.n_topics = ARRAY_SIZE(topics),
	.options = options,
	.settings_size = sizeof(struct tl_ts_settings),
	.open = ts_open,
	.write = ts_write,
	.source = ts_source,
	.commit = tl_ts_commit,
	.positions = tl_ts_positions,
	.rollback = ts_rollback,
	.close = ts_close,
};
