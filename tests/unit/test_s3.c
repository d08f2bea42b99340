/* SPDX-License-Identifier: Apache-2.0 */
/* The s3 sink's generations: killed, unheard or turned away at every single step, each record ends
 * in exactly one object. tests/integration/s3.sh does the same to the real servers. */
#include "tests/unit/s3_world.h"

#include "userspace/base/metrics.h"

static struct tl_s3_settings settings_of(const struct world *w)
{
	return (struct tl_s3_settings){.endpoint = w->url,
				       .bucket = "bkt",
				       .prefix = "p/",
				       .region = "us-east-1",
				       .spool = "/tmp",
				       .format = 0,
				       .object_bytes = 1 << 30,
				       .part_bytes = 5 << 20,
				       .spool_bytes = 1 << 30,
				       .max_age_ns = 3600 * TL_SEC,
				       .timeout_ns = 10 * TL_SEC,
				       .drain_ns = 20 * TL_SEC,
				       .uploads = 2,
				       .level = 1};
}

static int setup(void **state)
{
	setenv("AWS_ACCESS_KEY_ID", "key", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
	unsetenv("AWS_SESSION_TOKEN");
	tl_msg_init("test", TL_ERROR);
	*state = world_new();
	return 0;
}

static int teardown(void **state)
{
	world_free(*state);
	return 0;
}

/* Hands over up to `n` records of a partition. */
static int64_t feed(struct world *w, struct tl_sink *sink, int p, int64_t next, int64_t n)
{
	struct tl_dead_letter dead[PER_PART];
	struct tl_sink_result result = {.dead = dead};
	struct tl_error error = {0};

	for (; n > 0 && next < (int64_t)w->n_per_part; n--, next++) {
		struct tl_message m = {.topic = TL_TOPIC_LOGS,
				       .partition = p,
				       .offset = next,
				       .value = tl_span_str(w->values[p][next])};

		assert_int_equal(tl_s3_write(sink, &m, 1, &result, NULL, &error), 0);
	}
	assert_int_equal(result.n_dead, 0);
	return next;
}

/* One life of the process: begins at the marks, takes `step` records a time, drains at the end.
 * Returns 0 drained, 1 it was to be killed, or the sink's error. */
static int live(struct world *w, struct tl_s3_settings *settings, int step, struct tl_error *error)
{
	struct tl_sink *sink;
	int64_t next[PARTS];
	bool fed = false;
	int r = tl_sink_s3.open(settings, &sink, error);

	if (r < 0)
		return r;
	if (w->part_bytes)
		settings->part_bytes = w->part_bytes;
	tl_sink_s3.source(sink, "kafka:CLUSTER:tapline.");
	for (int p = 0; r == 0 && p < PARTS; p++) {
		next[p] = w->marks[p].offset >= 0 ? w->marks[p].offset : 0;
		r = tl_s3_assigned(sink, &w->marks[p], error);
	}
	while (r == 0 && !w->dead) {
		for (int p = 0; p < PARTS; p++)
			next[p] = feed(w, sink, p, next[p], step);
		fed = next[0] == (int64_t)w->n_per_part && next[1] == (int64_t)w->n_per_part;
		r = tl_s3_advance(sink, &w->bus, 20, fed, error);
		if (fed && r == TL_ADVANCE_EMPTY)
			break;
		r = r < 0 ? r : 0;
	}
	tl_sink_s3.close(sink);
	return r < 0 ? r : w->dead;
}

/* Unpacks the NDJSON objects and counts each record. */
static void count_records(const struct world *w, int seen[PARTS][PER_PART])
{
	static char text[1 << 20];

	memset(seen, 0, sizeof(int) * PARTS * PER_PART);
	for (size_t i = 0; i < w->n_objects; i++) {
		const struct object *o = &w->objects[i];
		size_t n;
		int p, k, hour;

		if (!o->whole || !strstr(o->key, ".json.zst"))
			continue;
		n = ZSTD_decompress(text, sizeof(text) - 1, o->body.data, o->body.len);
		assert_false(ZSTD_isError(n));
		text[n] = '\0';
		assert_int_equal(sscanf(o->key, "/bkt/p/logs/dt=2026-11-23/hour=%d/", &hour), 1);
		for (char *save, *line = strtok_r(text, "\n", &save); line;
		     line = strtok_r(NULL, "\n", &save)) {
			assert_int_equal(
				sscanf(strstr(line, "\"body\""), "\"body\":\"%d:%d", &p, &k), 2);
			assert_string_equal(line, w->values[p][k]);
			assert_int_equal(hour, 1 + k / 40);
			seen[p][k]++;
		}
	}
}

static void assert_each_once(const struct world *w)
{
	int seen[PARTS][PER_PART];

	count_records(w, seen);
	for (int p = 0; p < PARTS; p++) {
		assert_int_equal(w->marks[p].offset, w->n_per_part);
		assert_string_equal(w->marks[p].note, "");
		for (size_t i = 0; i < w->n_per_part; i++)
			if (seen[p][i] != 1)
				fail_msg("record %d:%zu is in %d objects", p, i, seen[p][i]);
	}
}

/* Fault `fault` at event `at`, then lives with other sizes until all is there. Returns whether the
 * fault came to pass. */
static bool survive(enum fault fault, int at, int format)
{
	struct world *w;
	struct tl_s3_settings settings;
	struct tl_error error = {0};
	bool happened;
	int r;

	setup((void **)&w);
	settings = settings_of(w);
	settings.format = format;
	settings.max_age_ns = 1;
	w->fault = fault;
	w->at = at;
	r = live(w, &settings, 20, &error);
	happened = w->events >= at;
	if (r == 1) {
		w->dead = false;
		w->at = 0;
		settings.max_age_ns = 3600 * TL_SEC;
		r = live(w, &settings, 11, &error);
	}
	if (r < 0)
		fail_msg("fault %d at %d: %s", fault, at, error.message);
	assert_each_once(w);
	teardown((void **)&w);
	return happened;
}

static void each_record_is_in_one_object_whatever_step_is_killed(void **state)
{
	(void)state;
	for (int at = 1; survive(LOST_BEFORE, at, 0); at++)
		assert_true(at < 200);
	for (int at = 1; survive(LOST_AFTER, at, 0); at++)
		assert_true(at < 200);
}

static void each_record_is_in_one_object_whatever_answer_is_lost(void **state)
{
	(void)state;
	for (int at = 1; survive(BUSY, at, 2); at++)
		assert_true(at < 200);
	for (int at = 1; survive(UNHEARD, at, 2); at++)
		assert_true(at < 200);
}

static void an_age_is_decided_once(void **state)
{
	struct world *w = *state;
	struct tl_s3_settings settings = settings_of(w);
	struct tl_error error = {0};

	/* Killed when the decision of the clock is stored; the next run knows nothing of its clock.
	 */
	settings.max_age_ns = 1;
	w->n_per_part = 30;
	w->fault = LOST_AFTER;
	w->at = 1;
	assert_int_equal(live(w, &settings, 10, &error), 1);
	assert_string_equal(w->marks[0].note, "tapline-s3 1 end=10 formats=1 to=s3://bkt/p/");
	w->dead = false;
	settings.max_age_ns = 3600 * TL_SEC;
	assert_int_equal(live(w, &settings, 30, &error), 0);
	assert_non_null(find_object(w,
				    "/bkt/p/logs/dt=2026-11-23/hour=01/tapline.logs_CLUSTER_00000_"
				    "00000000000000000000-00000000000000000010.json.zst",
				    true));
	assert_each_once(w);
}

static void the_same_content_is_left_as_it_is(void **state)
{
	struct world *w = *state;
	struct tl_s3_settings settings = settings_of(w);
	struct tl_error error = {0};
	size_t n;

	assert_int_equal(live(w, &settings, 100, &error), 0);
	n = w->n_objects;
	assert_int_equal(n, 4);
	for (int p = 0; p < PARTS; p++)
		w->marks[p].offset = -1;
	assert_int_equal(live(w, &settings, 100, &error), 0);
	assert_int_equal(w->n_objects, n);
	assert_int_equal(w->duplicates, 4);
	assert_each_once(w);
}

static void other_content_stops_its_partition_alone(void **state)
{
	struct world *w = *state;
	struct tl_s3_settings settings = settings_of(w);
	struct tl_error error = {0};
	int seen[PARTS][PER_PART];

	new_object(w,
		   "/bkt/p/logs/dt=2026-11-23/hour=02/tapline.logs_CLUSTER_00001_"
		   "00000000000000000000-00000000000000000060.json.zst",
		   "1-2-3", false);
	w->objects[0].whole = true;
	tl_buf_add(&w->objects[0].body, "\x28\xb5\x2f\xfd\x00\x00\x01\x00\x00",
		   9); /* an empty frame */
	tl_msg_init("test", -1);
	assert_int_equal(live(w, &settings, 100, &error), -EEXIST);
	assert_non_null(strstr(error.message, "other content"));
	assert_int_equal(w->marks[0].offset, PER_PART);
	assert_true(w->marks[1].offset <= 0);
	count_records(w, seen);
	for (int i = 0; i < PER_PART; i++)
		assert_int_equal(seen[0][i], 1);
	assert_string_equal(w->objects[0].content, "1-2-3");
}

static void what_was_on_its_way_elsewhere_is_told(void **state)
{
	struct world *w = *state;
	struct tl_s3_settings settings = settings_of(w);
	struct tl_error error = {0};

	w->fault = LOST_AFTER;
	w->at = 1;
	assert_int_equal(live(w, &settings, 100, &error), 1);
	w->dead = false;
	settings.prefix = "q/";
	assert_int_equal(live(w, &settings, 100, &error), -EINVAL);
	assert_non_null(strstr(error.message, "s3://bkt/p/"));
	settings.prefix = "p/";
	settings.format = 1;
	assert_int_equal(live(w, &settings, 100, &error), -EINVAL);
	assert_non_null(strstr(error.message, "ndjson"));
}

static void large_objects_go_in_parts(void **state)
{
	struct world *w = *state;
	struct tl_s3_settings settings = settings_of(w);
	struct tl_error error = {0};

	w->part_bytes = 100;
	for (int at = 0; at < 30; at++) {
		w->fault = at % 2 ? UNHEARD : BUSY;
		w->at = at;
		w->events = 0;
		for (size_t i = 0; i < w->n_objects; i++) {
			tl_buf_done(&w->objects[i].body);
			for (size_t k = 0; k < UPLOADS_PARTS_MAX; k++)
				tl_buf_done(&w->objects[i].parts[k]);
		}
		memset(w->objects, 0, sizeof(w->objects));
		w->n_objects = 0;
		for (int p = 0; p < PARTS; p++)
			w->marks[p].offset = -1;
		settings.part_bytes = 5 << 20;
		assert_int_equal(live(w, &settings, 100, &error), 0);
		assert_true(w->objects[0].parts[1].len > 0);
		assert_each_once(w);
	}
}

static void refusals_are_told_with_advice(void **state)
{
	struct world *w = *state;
	struct tl_s3_settings settings = settings_of(w);
	struct tl_error error = {0};

	w->status = 403;
	w->code = "SignatureDoesNotMatch";
	assert_int_equal(live(w, &settings, 100, &error), -EACCES);
	assert_non_null(strstr(error.message, "secret key is wrong"));
	assert_null(strstr(error.message, "secret\""));
	w->status = 404;
	w->code = "NoSuchBucket";
	assert_int_equal(live(w, &settings, 100, &error), -ENOENT);
	w->status = 503;
	w->code = "SlowDown";
	settings.wait_ns = 0;
	assert_int_equal(live(w, &settings, 100, &error), -EPROTO);
}

static void requests_are_signed_with_the_token(void **state)
{
	struct world *w = *state;
	struct tl_s3_settings settings = settings_of(w);
	struct tl_error error = {0};

	setenv("AWS_SESSION_TOKEN", "a-token", 1);
	assert_int_equal(live(w, &settings, 100, &error), 0);
	assert_non_null(strstr(w->authorization, "AWS4-HMAC-SHA256 Credential=key/"));
	assert_non_null(strstr(w->authorization, "x-amz-content-sha256"));
	assert_non_null(strstr(w->authorization, "x-amz-security-token"));
	assert_string_equal(w->token, "a-token");
}

static void a_partition_that_goes_away_takes_its_records_along(void **state)
{
	struct world *w = *state;
	struct tl_s3_settings settings = settings_of(w);
	struct tl_error error = {0};
	struct tl_sink *sink;

	assert_int_equal(tl_sink_s3.open(&settings, &sink, &error), 0);
	tl_sink_s3.source(sink, "kafka:CLUSTER:tapline.");
	for (int p = 0; p < PARTS; p++)
		assert_int_equal(tl_s3_assigned(sink, &w->marks[p], &error), 0);
	for (int p = 0; p < PARTS; p++)
		feed(w, sink, p, 0, 20);
	tl_s3_revoked(sink, TL_TOPIC_LOGS, 1);
	/* Its messages may still come. */
	feed(w, sink, 1, 20, 20);
	while (tl_s3_advance(sink, &w->bus, 20, true, &error) != TL_ADVANCE_EMPTY)
		;
	assert_int_equal(w->marks[0].offset, 20);
	assert_int_equal(w->marks[1].offset, -1);
	tl_sink_s3.close(sink);
	/* Its new owner begins where the stored position is. */
	assert_int_equal(live(w, &settings, 100, &error), 0);
	assert_each_once(w);
}

static void a_full_spool_takes_no_more(void **state)
{
	struct world *w = *state;
	struct tl_s3_settings settings = settings_of(w);
	struct tl_error error = {0};

	settings.spool_bytes = 1;
	assert_int_equal(live(w, &settings, 1, &error), 0);
	assert_each_once(w);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_record_is_in_one_object_whatever_step_is_killed),
		cmocka_unit_test(each_record_is_in_one_object_whatever_answer_is_lost),
		T(an_age_is_decided_once),
		T(the_same_content_is_left_as_it_is),
		T(other_content_stops_its_partition_alone),
		T(what_was_on_its_way_elsewhere_is_told),
		T(large_objects_go_in_parts),
		T(refusals_are_told_with_advice),
		T(requests_are_signed_with_the_token),
		T(a_partition_that_goes_away_takes_its_records_along),
		T(a_full_spool_takes_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
