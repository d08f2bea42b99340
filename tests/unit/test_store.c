/* SPDX-License-Identifier: Apache-2.0 */
#include "store_fixture.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void record_becomes_a_row_with_its_columns(void **state)
{
	struct store_fixture *f = *state;
	struct tl_record *r = new_record(f, 1, "payment \"refused\"");

	r->trace_id = TL_SPAN_LIT("4bf92f3577b34da6a3ce929d0e0e4736");
	r->timestamp_ns = T0;
	tl_attr_set(&r->attributes, "correlation.id", TL_SPAN_LIT("a1b2"));
	tl_attr_set(&r->attributes, "correlation.how", TL_SPAN_LIT("unit"));
	put_record(f);
	assert_text(f,
		    "SELECT uid || '|' || service || '|' || correlation_id || '|' || trace_id || "
		    "'|' || how || '|' || body FROM logs",
		    "aa-1-1|cart|a1b2|4bf92f3577b34da6a3ce929d0e0e4736|unit|payment \"refused\"");
	assert_int_equal(ask(f, "SELECT observed FROM logs"), T0 + TL_SEC);
	assert_int_equal(ask(f, "SELECT timestamp FROM logs"), T0);
	assert_int_equal(ask(f, "SELECT severity FROM logs"), 9);
	assert_int_equal(ask(f, "SELECT json_valid(record) FROM logs"), 1);
	assert_int_equal(ask(f, "SELECT count(*) FROM logs_fts WHERE logs_fts MATCH 'refused'"), 1);
}

static void same_uid_twice_is_one_row_and_one_entry_of_words(void **state)
{
	struct store_fixture *f = *state;
	struct tl_message m[2];

	new_record(f, 1, "once");
	m[0] = message_of(f, TL_TOPIC_LOGS);
	m[1] = message_of(f, TL_TOPIC_LOGS);
	assert_int_equal(put(f, m, 2), 0);
	assert_int_equal(f->result.written, 1);
	assert_int_equal(f->result.duplicates, 1);
	assert_int_equal(commit_at(f, 2), 0);
	assert_int_equal(ask(f, "SELECT count(*) FROM logs"), 1);
	assert_int_equal(ask(f, "SELECT count(*) FROM logs_fts WHERE logs_fts MATCH 'once'"), 1);
}

static void nothing_is_seen_before_the_commit_nor_after_a_rollback(void **state)
{
	struct store_fixture *f = *state;
	struct tl_partition part = {TL_TOPIC_LOGS, 0, 0};
	struct tl_message m;

	new_record(f, 1, "x");
	m = message_of(f, TL_TOPIC_LOGS);
	assert_int_equal(put(f, &m, 1), 0);
	assert_int_equal(ask(f, "SELECT count(*) FROM logs"), 0);
	tl_sink_store.rollback(f->sink);
	assert_int_equal(ask(f, "SELECT count(*) FROM logs"), 0);
	assert_int_equal(tl_sink_store.positions(f->sink, &part, 1, NULL), 0);
	assert_int_equal(part.offset, -1);
	put_record(f);
	assert_int_equal(ask(f, "SELECT count(*) FROM logs"), 1);
}

static void positions_outlive_the_process_and_belong_to_their_source(void **state)
{
	struct store_fixture *f = *state;
	struct tl_partition parts[2] = {{TL_TOPIC_LOGS, 0, 0}, {TL_TOPIC_LOGS, 1, 0}};

	assert_int_equal(commit_at(f, 41), 0);
	tl_sink_store.close(f->sink);
	open_sink(f);
	assert_int_equal(tl_sink_store.positions(f->sink, parts, 2, NULL), 0);
	assert_int_equal(parts[0].offset, 41);
	assert_int_equal(parts[1].offset, -1);
	tl_sink_store.source(f->sink, "another cluster");
	assert_int_equal(tl_sink_store.positions(f->sink, parts, 1, NULL), 0);
	assert_int_equal(parts[0].offset, -1);
}

static void another_writer_of_the_same_partition_is_noticed(void **state)
{
	struct store_fixture *f = *state;
	struct tl_sink *other;
	struct tl_partition part = {TL_TOPIC_LOGS, 0, -1};
	struct tl_message m;

	assert_int_equal(commit_at(f, 10), 0);
	assert_int_equal(tl_sink_store.open(&f->settings, &other, NULL), 0);
	tl_sink_store.source(other, "test");
	assert_int_equal(tl_sink_store.positions(other, &part, 1, NULL), 0);
	part.offset = 20;
	assert_int_equal(tl_sink_store.commit(other, &part, 1, NULL), 0);
	tl_sink_store.close(other);

	new_record(f, 1, "x");
	m = message_of(f, TL_TOPIC_LOGS);
	assert_int_equal(put(f, &m, 1), 0);
	assert_int_equal(commit_at(f, 11), -ESTALE);
	assert_int_equal(ask(f, "SELECT count(*) FROM logs"), 0);
}

static void metric_deltas_add_up(void **state)
{
#define ROW(count, sum, min, max, buckets)                                                         \
	"{\"window_start\":\"2026-11-23T01:00:00.000000000Z\",\"window_end\":\"2026-11-23T01:00:"  \
	"10.000000000Z\",\"name\":\"d\","                                                          \
	"\"labels\":{\"service.name\":\"cart\"},\"count\":" count ",\"sum\":" sum ",\"min\":" min  \
	",\"max\":" max buckets "}"
	struct store_fixture *f = *state;
	struct tl_message m[3] = {
		text_message(f, TL_TOPIC_METRICS,
			     ROW("2", "1.5", "0.5", "1", ",\"buckets\":[1,1,0]")),
		text_message(f, TL_TOPIC_METRICS,
			     ROW("1", "0.25", "0.25", "0.25", ",\"buckets\":[1,0,0]")),
		text_message(f, TL_TOPIC_METRICS, ROW("3", "30", "9", "12", "")),
	};

	assert_int_equal(put(f, m, 3), 0);
	assert_int_equal(f->result.n_dead, 0);
	assert_int_equal(commit_at(f, 3), 0);
	assert_int_equal(ask(f, "SELECT count(*) FROM metrics"), 1);
	assert_text(f,
		    "SELECT count || ' ' || sum || ' ' || min || ' ' || max || ' ' || buckets FROM "
		    "metrics",
		    "6 31.75 0.25 12.0 [2,1,0]");
	assert_int_equal(ask(f, "SELECT window_end - window_start FROM metrics"), 10 * TL_SEC);
}

static void what_is_no_record_or_row_is_dead_and_stops_nothing(void **state)
{
	struct store_fixture *f = *state;
	struct tl_message m[5] = {
		text_message(f, TL_TOPIC_LOGS, "no json"),
		text_message(f, TL_TOPIC_METRICS, "{\"name\":\"x\"}"),
		text_message(f, TL_TOPIC_HTTP, "{}"),
		text_message(f, TL_TOPIC_LOGS, "{\"uid\":\"u\",\"body\":\"x\"}"),
	};

	new_record(f, 1, "good");
	m[4] = message_of(f, TL_TOPIC_LOGS);
	assert_int_equal(put(f, m, 5), 0);
	assert_int_equal(f->result.n_dead, 4);
	assert_int_equal(f->result.written, 1);
	assert_int_equal(f->dead[1].message, 1);
	assert_string_equal(f->dead[0].type, "malformed_record");
	assert_true(f->dead[3].reason[0]);
}

static void dead_letter_keeps_bytes_reason_and_place(void **state)
{
	struct store_fixture *f = *state;
	struct tl_message m = text_message(f, TL_TOPIC_DLQ, "no\0json");

	m.value.len = 7;
	m.key = TL_SPAN_LIT("2a9");
	m.n_headers = 4;
	m.headers[0] = (struct tl_header){TL_SPAN_LIT("tapline-reason"), TL_SPAN_LIT("why")};
	m.headers[1] = (struct tl_header){TL_SPAN_LIT("tapline-topic"), TL_SPAN_LIT("raw")};
	m.headers[2] = (struct tl_header){TL_SPAN_LIT("tapline-partition"), TL_SPAN_LIT("3")};
	m.headers[3] = (struct tl_header){TL_SPAN_LIT("tapline-offset"), TL_SPAN_LIT("77")};
	assert_int_equal(put(f, &m, 1), 0);
	assert_int_equal(commit_at(f, 1), 0);
	assert_text(f,
		    "SELECT reason || topic || partition || \"offset\" || hex(value) || hex(key) "
		    "FROM dead_letters",
		    "whyraw3776E6F006A736F6E326139");
}

static void exchange_becomes_a_row(void **state)
{
	struct store_fixture *f = *state;
	struct tl_record *r = new_record(f, 5, "");
	struct tl_message m;

	tl_attr_set(&r->attributes, "http.request.method", TL_SPAN_LIT("GET"));
	tl_attr_set(&r->attributes, "url.path", TL_SPAN_LIT("/cart"));
	tl_attr_set_span(&r->attributes, TL_SPAN_LIT("http.response.status_code"),
			 TL_SPAN_LIT("503"), TL_ATTR_LITERAL);
	tl_attr_set_span(&r->attributes, TL_SPAN_LIT("http.server.request.duration"),
			 TL_SPAN_LIT("0.25"), TL_ATTR_LITERAL);
	tl_attr_set(&r->attributes, "network.direction", TL_SPAN_LIT("server"));
	m = message_of(f, TL_TOPIC_HTTP);
	assert_int_equal(put(f, &m, 1), 0);
	assert_int_equal(commit_at(f, 1), 0);
	assert_text(
		f, "SELECT method || path || status || ' ' || duration || direction FROM exchanges",
		"GET/cart503 0.25server");
}

static void body_that_is_no_text_comes_back_byte_for_byte(void **state)
{
	struct store_fixture *f = *state;

	new_record(f, 1, "")->body = TL_SPAN_LIT("a\xff\0b");
	put_record(f);
	assert_text(f, "SELECT hex(body) FROM logs", "61FF0062");
}

static void killed_writer_leaves_whole_batches_only(void **state)
{
	struct store_fixture *f = *state;
	int status, pipes[2];
	char byte;
	pid_t pid;

	tl_sink_store.close(f->sink);
	f->sink = NULL;
	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		open_sink(f);
		for (unsigned n = 0;; n++) {
			struct tl_message m;

			new_record(f, n, "x");
			m = message_of(f, TL_TOPIC_LOGS);
			if (put(f, &m, 1) < 0 || (n % 10 == 9 && commit_at(f, n + 1) < 0))
				_exit(1);
			tl_arena_reset(&f->arena);
			if (n == 995 && write(pipes[1], "x", 1) != 1) /* in the middle of a batch */
				_exit(1);
		}
	}
	assert_int_equal(read(pipes[0], &byte, 1), 1);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	assert_true(WIFSIGNALED(status));
	close(pipes[0]), close(pipes[1]);
	assert_true(ask(f, "SELECT count(*) FROM logs") >= 990);
	assert_int_equal(ask(f, "SELECT count(*) % 10 FROM logs"), 0);
	assert_int_equal(ask(f, "SELECT count(*) = (SELECT next_offset FROM positions) FROM logs"),
			 1);
}

static void old_records_leave_with_their_words(void **state)
{
	struct store_fixture *f = *state;
	struct tl_store *store = (struct tl_store *)f->sink;

	for (unsigned n = 0; n < 10; n++) {
		new_record(f, n, n < 6 ? "early" : "late");
		if (n >= 6)
			f->record.observed_ns = tl_wall_ns();
		put_record(f);
	}
	f->settings.keep_ns = 3600 * TL_SEC;
	store->pruned_ns = 0;
	assert_int_equal(commit_at(f, f->offset + 1), 0);
	assert_int_equal(ask(f, "SELECT count(*) FROM logs"), 4);
	assert_int_equal(ask(f, "SELECT count(*) FROM logs_fts WHERE logs_fts MATCH 'early'"), 0);
	assert_int_equal(ask(f, "SELECT count(*) FROM logs_fts WHERE logs_fts MATCH 'late'"), 4);
}

static void store_over_max_size_loses_its_oldest(void **state)
{
	struct store_fixture *f = *state;
	struct tl_store *store = (struct tl_store *)f->sink;

	for (unsigned n = 0; n < 400; n++) {
		new_record(f, n, "some words of a line that takes its room in the file");
		put_record(f);
	}
	f->settings.max_bytes = 1;
	store->pruned_ns = 0;
	assert_int_equal(commit_at(f, f->offset + 1), 0);
	assert_int_equal(ask(f, "SELECT count(*) FROM logs"), 360);
	assert_int_equal(ask(f, "SELECT min(observed) FROM logs"), T0 + 40 * TL_SEC);
}

static void file_is_ours_alone(void **state)
{
	struct store_fixture *f = *state;
	struct stat st;

	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void strange_files_are_refused_with_advice(void **state)
{
	struct store_fixture *f = *state;
	struct tl_store_settings settings = f->settings;
	struct tl_error error = {0};
	struct tl_sink *sink;
	char path[128];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/text", f->dir);
	settings.path = path;
	assert_int_equal(tl_file_replace(path,
					 TL_SPAN_LIT("this is a text file of some length, not a "
						     "database at all........\n"),
					 false, NULL),
			 0);
	assert_int_equal(tl_sink_store.open(&settings, &sink, &error), -EBADMSG);
	snprintf(path, sizeof(path), "%s/no/such/folder", f->dir);
	assert_int_equal(tl_sink_store.open(&settings, &sink, &error), -ENOENT);
	assert_non_null(strstr(error.message, path));

	snprintf(path, sizeof(path), "%s/other.db", f->dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "CREATE TABLE t(x)", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(tl_sink_store.open(&settings, &sink, &error), -EBADMSG);
	assert_non_null(strstr(error.message, "another program"));

	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=99", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(tl_sink_store.open(&f->settings, &sink, &error), -EPROTO);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, store_setup, store_teardown)
	const struct CMUnitTest tests[] = {
		T(record_becomes_a_row_with_its_columns),
		T(same_uid_twice_is_one_row_and_one_entry_of_words),
		T(nothing_is_seen_before_the_commit_nor_after_a_rollback),
		T(positions_outlive_the_process_and_belong_to_their_source),
		T(another_writer_of_the_same_partition_is_noticed),
		T(metric_deltas_add_up),
		T(what_is_no_record_or_row_is_dead_and_stops_nothing),
		T(dead_letter_keeps_bytes_reason_and_place),
		T(exchange_becomes_a_row),
		T(body_that_is_no_text_comes_back_byte_for_byte),
		T(killed_writer_leaves_whole_batches_only),
		T(old_records_leave_with_their_words),
		T(store_over_max_size_loses_its_oldest),
		T(file_is_ours_alone),
		T(strange_files_are_refused_with_advice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
