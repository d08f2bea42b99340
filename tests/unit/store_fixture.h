/* SPDX-License-Identifier: Apache-2.0 */
/* A store in a temporary folder and messages for it. */
#ifndef TL_TEST_STORE_FIXTURE_H
#define TL_TEST_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "userspace/base/clock.h"
#include "userspace/base/fs.h"
#include "userspace/sink/store.h"

#define T0 (UINT64_C(1795395600) * TL_SEC) /* 2026-11-23T01:00:00Z */

struct store_fixture {
	char dir[64], path[96];
	struct tl_store_settings settings;
	struct tl_sink *sink;
	sqlite3 *db; /* a reader's */
	struct tl_arena arena;
	struct tl_record record;
	struct tl_sink_result result;
	struct tl_dead_letter dead[16];
	int64_t offset;
};

static inline void open_sink(struct store_fixture *f)
{
	struct tl_error error = {0};

	if (tl_sink_store.open(&f->settings, &f->sink, &error) < 0)
		fail_msg("%s", error.message);
	tl_sink_store.source(f->sink, "test");
}

static inline int store_setup(void **state)
{
	struct store_fixture *f = calloc(1, sizeof(*f));
	struct tl_error error = {0};

	snprintf(f->dir, sizeof(f->dir), "/tmp/tapline-store-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/store.db", f->dir);
	f->settings.path = f->path;
	f->result.dead = f->dead;
	open_sink(f);
	assert_int_equal(tl_store_open_read(f->path, &f->db, &error), 0);
	*state = f;
	return 0;
}

static inline int store_teardown(void **state)
{
	struct store_fixture *f = *state;

	if (f->sink)
		tl_sink_store.close(f->sink);
	sqlite3_close(f->db);
	tl_arena_done(&f->arena);
	tl_remove_tree(f->dir);
	free(f);
	return 0;
}

static inline int64_t ask(struct store_fixture *f, const char *sql)
{
	sqlite3_stmt *stmt;
	int64_t n;

	assert_int_equal(sqlite3_prepare_v2(f->db, sql, -1, &stmt, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	n = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return n;
}

static inline void assert_text(struct store_fixture *f, const char *sql, const char *wanted)
{
	sqlite3_stmt *stmt;

	assert_int_equal(sqlite3_prepare_v2(f->db, sql, -1, &stmt, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	assert_string_equal((const char *)sqlite3_column_text(stmt, 0), wanted);
	sqlite3_finalize(stmt);
}

/* A record number n, one second each; change f->record, then log_message. */
static inline struct tl_record *new_record(struct store_fixture *f, unsigned n, const char *body)
{
	struct tl_record *r = &f->record;

	tl_record_reset(r);
	r->uid = tl_arena_printf(&f->arena, "aa-1-%x", n);
	r->observed_ns = r->timestamp_ns = T0 + n * TL_SEC;
	r->severity_number = 9;
	r->severity_text = TL_SPAN_LIT("INFO");
	r->body = tl_span_str(body);
	tl_attr_set(&r->resource, "service.name", TL_SPAN_LIT("cart"));
	return r;
}

static inline struct tl_message message_of(struct store_fixture *f, int topic)
{
	struct tl_buf json = {0};
	struct tl_message m = {.topic = topic, .offset = f->offset++};

	assert_int_equal(tl_record_to_json(&f->record, &json), 0);
	m.value = tl_arena_copy(&f->arena, tl_buf_span(&json));
	tl_buf_done(&json);
	return m;
}

static inline struct tl_message text_message(struct store_fixture *f, int topic, const char *text)
{
	return (struct tl_message){
		.topic = topic, .offset = f->offset++, .value = tl_span_str(text)};
}

static inline int put(struct store_fixture *f, const struct tl_message *messages, size_t n)
{
	struct tl_error error = {0};

	f->result = (struct tl_sink_result){.dead = f->dead};
	return tl_sink_store.write(f->sink, messages, n, &f->result, NULL, &error);
}

static inline int commit_at(struct store_fixture *f, int64_t next)
{
	struct tl_partition part = {TL_TOPIC_LOGS, 0, next};
	struct tl_error error = {0};

	return tl_sink_store.commit(f->sink, &part, 1, &error);
}

/* Writes and commits one record. */
static inline void put_record(struct store_fixture *f)
{
	struct tl_message m = message_of(f, TL_TOPIC_LOGS);

	assert_int_equal(put(f, &m, 1), 0);
	assert_int_equal(f->result.n_dead, 0);
	assert_int_equal(commit_at(f, f->offset), 0);
}

#endif
