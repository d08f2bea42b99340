/* SPDX-License-Identifier: Apache-2.0 */
/* The timescale sink's transactions on a real PostgreSQL: compare-and-swap, lost answers, refused
 * rows. Skipped where PostgreSQL is not installed. */
#include "tests/unit/postgres_proxy.h"

#include "userspace/base/clock.h"
#include "userspace/base/msg.h"
#include "userspace/sink/timescale.h"

#define ROWS "SELECT count(*) FROM tapline.metrics"
#define MINUTES "SELECT coalesce(sum(count), 0) FROM tapline.metrics_1m"
#define OFFSET "SELECT next_offset FROM tapline.offsets WHERE partition = 3"

struct sink {
	struct tl_ts_settings settings;
	struct tl_sink *sink;
	volatile int stop;
};

static const struct tl_sink_ops *const ops = &tl_sink_timescale;

static void open_sink(struct sink *s, const char *dsn)
{
	struct tl_error error = {0};

	*s = (struct sink){
		.settings = {.dsn = dsn, .timeout_ns = 30 * TL_SEC, .wait_ns = 5 * TL_SEC}};
	if (ops->open(&s->settings, &s->sink, &error) < 0)
		fail_msg("%s", error.message);
	s->sink->stop = &s->stop;
	ops->source(s->sink, "test");
}

static int64_t position(struct sink *s)
{
	struct tl_partition partition = {TL_TOPIC_METRICS, 3, -7};

	assert_int_equal(ops->positions(s->sink, &partition, 1, NULL), 0);
	return partition.offset;
}

/* Writes `n` rows of service `service`; returns the number of dead letters. */
static size_t write_rows(struct sink *s, int n, const char *service)
{
	struct tl_dead_letter dead[64];
	struct tl_sink_result result = {.dead = dead};
	struct tl_message messages[64] = {0};
	char json[64][320];

	for (int i = 0; i < n; i++) {
		int len = snprintf(json[i], sizeof(json[i]),
				   "{\"window_start\":\"2026-11-24T17:00:10Z\",\"window_end\":"
				   "\"2026-11-24T17:00:20Z\",\"name\":\"log.records\",\"labels\":{"
				   "\"service.name\":\"%s\"},\"count\":1,\"sum\":%d,\"min\":1,"
				   "\"max\":1}",
				   i == 7 ? service : "cart", i);

		messages[i].topic = TL_TOPIC_METRICS;
		messages[i].value = (struct tl_span){json[i], (size_t)len};
	}
	assert_int_equal(ops->write(s->sink, messages, (size_t)n, &result, &s->stop, NULL), 0);
	for (size_t i = 0; i < result.n_dead; i++)
		assert_int_equal(dead[i].message, 7);
	return result.n_dead;
}

static int commit(struct sink *s, int64_t next, struct tl_error *error)
{
	struct tl_partition partition = {TL_TOPIC_METRICS, 3, next};

	return ops->commit(s->sink, &partition, 1, error);
}

static int setup(void **state)
{
	sql("DROP SCHEMA IF EXISTS tapline CASCADE");
	pg.cut = pg.cuts = 0;
	*state = calloc(1, sizeof(struct sink));
	open_sink(*state, pg.dsn);
	return 0;
}

static int teardown(void **state)
{
	struct sink *s = *state;

	if (!s)
		return 0;
	ops->close(s->sink);
	free(s);
	return 0;
}

static void rows_rollups_and_offset_appear_together(void **state)
{
	struct sink *s = *state;

	assert_int_equal(position(s), -1);
	assert_int_equal(write_rows(s, 20, "cart"), 0);
	assert_int_equal(number(ROWS), 0);
	assert_int_equal(commit(s, 20, NULL), 0);
	assert_int_equal(number(ROWS), 20);
	assert_int_equal(number(MINUTES), 20);
	assert_int_equal(number(OFFSET), 20);
	assert_int_equal(position(s), 20);
	write_rows(s, 5, "cart");
	assert_int_equal(commit(s, 25, NULL), 0);
	assert_int_equal(number(ROWS), 25);
	assert_int_equal(number(MINUTES), 25);
}

static void the_second_of_two_writers_adds_nothing_and_is_told(void **state)
{
	struct sink *s = *state, rival;
	struct tl_error error = {0};

	open_sink(&rival, pg.direct);
	position(s);
	position(&rival);
	write_rows(s, 20, "cart");
	write_rows(&rival, 20, "cart");
	assert_int_equal(commit(s, 20, NULL), 0);
	assert_int_equal(commit(&rival, 20, &error), -ESTALE);
	assert_non_null(strstr(error.message, "another sink writes the same topics"));
	assert_int_equal(number(ROWS), 20);
	assert_int_equal(number(MINUTES), 20);
	ops->close(rival.sink);
}

static void two_sources_do_not_meet(void **state)
{
	struct sink *s = *state, other;

	open_sink(&other, pg.direct);
	ops->source(other.sink, "another cluster");
	position(s);
	write_rows(s, 20, "cart");
	assert_int_equal(commit(s, 20, NULL), 0);
	assert_int_equal(position(&other), -1);
	write_rows(&other, 10, "cart");
	assert_int_equal(commit(&other, 10, NULL), 0);
	assert_int_equal(number(ROWS), 30);
	ops->close(other.sink);
}

static void a_commit_whose_answer_is_lost_is_not_repeated(void **state)
{
	struct sink *s = *state;

	position(s);
	write_rows(s, 20, "cart");
	pg.cut = CUT_AFTER_COMMIT;
	assert_int_equal(commit(s, 20, NULL), 0);
	assert_int_equal(pg.cuts, 1);
	assert_int_equal(number(ROWS), 20);
	assert_int_equal(number(MINUTES), 20);
	write_rows(s, 1, "cart");
	assert_int_equal(commit(s, 21, NULL), 0);
	assert_int_equal(number(ROWS), 21);
}

static void a_commit_that_did_not_arrive_is_made_again(void **state)
{
	struct sink *s = *state;

	position(s);
	write_rows(s, 20, "cart");
	pg.cut = CUT_BEFORE_COMMIT;
	assert_int_equal(commit(s, 20, NULL), 0);
	assert_int_equal(pg.cuts, 1);
	assert_int_equal(number(ROWS), 20);
	assert_int_equal(number(MINUTES), 20);
	assert_int_equal(number(OFFSET), 20);
}

static void end_sessions(void)
{
	sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
	    "'tapline-sink'");
}

static void rows_survive_an_ended_session(void **state)
{
	struct sink *s = *state;

	position(s);
	write_rows(s, 20, "cart");
	end_sessions();
	write_rows(s, 10, "cart");
	end_sessions();
	assert_int_equal(commit(s, 30, NULL), 0);
	assert_int_equal(number(ROWS), 30);
	assert_int_equal(number(MINUTES), 30);
}

static void rolled_back_rows_are_never_there(void **state)
{
	struct sink *s = *state;

	position(s);
	write_rows(s, 20, "cart");
	ops->rollback(s->sink);
	write_rows(s, 3, "cart");
	assert_int_equal(commit(s, 3, NULL), 0);
	assert_int_equal(number(ROWS), 3);
	assert_int_equal(number(MINUTES), 3);
}

static void a_refused_row_alone_is_dead_and_not_summed(void **state)
{
	struct sink *s = *state;

	sql("ALTER TABLE tapline.metrics ADD CHECK (labels->>'service.name' <> 'teapot')");
	position(s);
	assert_int_equal(write_rows(s, 5, "cart"), 0);
	assert_int_equal(write_rows(s, 40, "teapot"), 1);
	assert_int_equal(write_rows(s, 5, "cart"), 0);
	end_sessions();
	assert_int_equal(commit(s, 50, NULL), 0);
	assert_int_equal(number(ROWS), 49);
	assert_int_equal(number(MINUTES), 49);
	assert_int_equal(number("SELECT sum(sum) FROM tapline.metrics_1h"), 10 + 780 - 7 + 10);
}

static void a_schema_that_is_there_needs_no_rights_to_make_one(void **state)
{
	struct sink poor;
	char dsn[200];

	(void)state;
	sql("DROP ROLE IF EXISTS poor; CREATE ROLE poor LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA "
	    "tapline TO poor; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA tapline TO "
	    "poor");
	snprintf(dsn, sizeof(dsn), "host=127.0.0.1 port=%d user=poor password=x dbname=postgres",
		 pg.port);
	open_sink(&poor, dsn);
	position(&poor);
	write_rows(&poor, 20, "cart");
	assert_int_equal(commit(&poor, 20, NULL), 0);
	assert_int_equal(number(ROWS), 20);
	ops->close(poor.sink);
	sql("DROP OWNED BY poor; DROP ROLE poor");
}

static void rollups_that_come_later_hold_what_was_there_before(void **state)
{
	struct sink *s = *state, later;

	position(s);
	write_rows(s, 20, "cart");
	assert_int_equal(commit(s, 20, NULL), 0);
	sql("DROP TABLE tapline.metrics_1m, tapline.metrics_1h");
	open_sink(&later, pg.direct);
	assert_int_equal(number(MINUTES), 20);
	assert_int_equal(position(&later), 20);
	write_rows(&later, 1, "cart");
	assert_int_equal(commit(&later, 21, NULL), 0);
	assert_int_equal(number(MINUTES), 21);
	ops->close(later.sink);
}

/* A view in its place is what a continuous aggregate looks like. */
static void rollups_of_the_database_are_left_to_it(void **state)
{
	struct tl_ts_settings settings = {
		.dsn = pg.direct, .timeout_ns = 30 * TL_SEC, .rollups = TL_TS_OWN};
	struct tl_error error = {0};
	struct tl_sink *refused = NULL;
	struct sink s;

	(void)state;
	sql("DROP TABLE tapline.metrics_1m, tapline.metrics_1h; CREATE VIEW tapline.metrics_1m AS "
	    "SELECT date_trunc('minute', window_start) AS bucket, name, labels, sum(count) AS "
	    "count FROM tapline.metrics GROUP BY 1, 2, 3");
	open_sink(&s, pg.direct);
	position(&s);
	write_rows(&s, 20, "cart");
	assert_int_equal(commit(&s, 20, NULL), 0);
	assert_int_equal(number(MINUTES), 20);
	ops->close(s.sink);
	assert_int_equal(ops->open(&settings, &refused, &error), -EINVAL);
	assert_non_null(strstr(error.message, "is there as a continuous aggregate"));
	settings.rollups = TL_TS_ROLLUPS_AUTO;
	settings.keep_ns = 24 * 3600 * TL_SEC;
	assert_int_equal(ops->open(&settings, &refused, &error), -EINVAL);
	assert_non_null(strstr(error.message, "at least 8d"));
}

static void quantiles_are_within_their_bucket(void **state)
{
	(void)state;
	assert_int_equal(number("SELECT 1000000 * tapline.quantile(0.5, "
				"'{0,10,0,0,0,0,0,0,0,0,0,0,0,0,0}')"),
			 7500);
	assert_int_equal(number("SELECT 1000 * tapline.quantile(1, "
				"'{5,0,0,0,0,0,0,0,0,0,0,0,0,0,5}')"),
			 10000);
	assert_int_equal(number("SELECT 1000 * tapline.quantile(0.9, "
				"tapline.sum_buckets(b)) FROM (VALUES "
				"('{9,0,0}'::bigint[]), ('{0,1}'), (NULL)) AS t(b)"),
			 5);
	assert_int_equal(number("SELECT (tapline.quantile(0.5, '{0,0}') IS NULL)::int"), 1);
}

static void a_stop_ends_the_wait_for_a_server_that_is_away(void **state)
{
	struct sink *s = *state;
	struct tl_error error = {0};
	uint64_t began = tl_mono_ns();

	position(s);
	write_rows(s, 20, "cart");
	assert_int_equal(run("freeze"), 0);
	s->stop = 1;
	assert_int_equal(commit(s, 20, &error), -EINTR);
	assert_int_equal(run("thaw"), 0);
	assert_true(tl_mono_ns() - began < 8 * TL_SEC);
	s->stop = 0;
	assert_int_equal(number(ROWS), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(rows_rollups_and_offset_appear_together),
		T(the_second_of_two_writers_adds_nothing_and_is_told),
		T(two_sources_do_not_meet),
		T(a_commit_whose_answer_is_lost_is_not_repeated),
		T(a_commit_that_did_not_arrive_is_made_again),
		T(rows_survive_an_ended_session),
		T(rolled_back_rows_are_never_there),
		T(a_refused_row_alone_is_dead_and_not_summed),
		T(a_schema_that_is_there_needs_no_rights_to_make_one),
		T(rollups_that_come_later_hold_what_was_there_before),
		T(rollups_of_the_database_are_left_to_it),
		T(quantiles_are_within_their_bucket),
		T(a_stop_ends_the_wait_for_a_server_that_is_away),
	};
	int r;

	tl_msg_init("test", TL_ERROR);
	if (start_postgres() != 0) {
		stop_postgres();
		printf("no PostgreSQL server can be started here\n");
		return 77;
	}
	r = cmocka_run_group_tests(tests, NULL, NULL);
	stop_postgres();
	return r;
}
