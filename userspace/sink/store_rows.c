/* SPDX-License-Identifier: Apache-2.0 */
/* Messages as rows. A metric row is a delta: it is added to what its window has, in the same
 * transaction as the position behind it, so the sums are exact. */
#include <stdio.h>

#include "userspace/base/clock.h"
#include "userspace/base/json.h"
#include "userspace/sink/store.h"
#include "userspace/store/tags.h"

#define BUCKETS_MAX 64

static void bind_text(sqlite3_stmt *stmt, int at, struct tl_span text)
{
	if (text.len)
		sqlite3_bind_text(stmt, at, text.data, (int)text.len, SQLITE_STATIC);
	else
		sqlite3_bind_null(stmt, at);
}

/* As bind_text; an empty one is empty, not NULL. */
static void bind_body(sqlite3_stmt *stmt, int at, struct tl_span text)
{
	sqlite3_bind_text(stmt, at, text.len ? text.data : "", (int)text.len, SQLITE_STATIC);
}

static int step(sqlite3_stmt *stmt)
{
	int r = sqlite3_step(stmt);

	sqlite3_reset(stmt);
	return r == SQLITE_DONE ? 0 : -EIO;
}

static struct tl_span value_of(const struct tl_attrs *attrs, const char *key)
{
	const struct tl_attr *attr = tl_attr_get(attrs, key);

	return attr ? attr->value : (struct tl_span){0};
}

static int read_record(struct tl_store *store, const struct tl_message *message, char *reason)
{
	struct tl_error error = {0};
	int r;

	tl_arena_reset(&store->arena);
	tl_record_reset(&store->record);
	r = tl_record_from_json(message->value, &store->arena, &store->record, &error);
	if (r == 0 && store->record.uid.len && store->record.observed_ns)
		return 0;
	snprintf(reason, 256, "%.250s",
		 r < 0 && error.message[0] ? error.message
					   : "no record: uid or observed_timestamp is missing");
	return -EINVAL;
}

int tl_store_mark(struct tl_store *store)
{
	sqlite3_stmt *stmt = store->statements[TL_STORE_MARK];

	if (store->mark.block < 0)
		return 0;
	sqlite3_bind_int64(stmt, 1, store->mark.block);
	sqlite3_bind_int64(stmt, 2, (sqlite3_int64)store->mark.low);
	sqlite3_bind_int64(stmt, 3, (sqlite3_int64)store->mark.high);
	store->mark.block = -1;
	return step(stmt);
}

/* Ids grow, so one block is open at a time. */
static int mark(struct tl_store *store, int64_t id, uint64_t observed)
{
	if (store->mark.block == id / TL_STORE_BLOCK) {
		if (observed < store->mark.low)
			store->mark.low = observed;
		if (observed > store->mark.high)
			store->mark.high = observed;
		return 0;
	}
	if (tl_store_mark(store) < 0)
		return -EIO;
	store->mark.block = id / TL_STORE_BLOCK;
	store->mark.low = store->mark.high = observed;
	return 0;
}

static int add_words(struct tl_store *store, int64_t id)
{
	sqlite3_stmt *stmt = store->statements[TL_STORE_WORDS];

	sqlite3_bind_int64(stmt, 1, id);
	bind_body(stmt, 2, store->record.body);
	bind_body(stmt, 3, tl_buf_span(&store->tags));
	return step(stmt);
}

int tl_store_add_log(struct tl_store *store, const struct tl_message *message, char *reason)
{
	sqlite3_stmt *stmt = store->statements[TL_STORE_LOG];
	const struct tl_record *record = &store->record;
	int64_t id;
	int r = read_record(store, message, reason);

	if (r < 0)
		return r;
	bind_text(stmt, 1, record->uid);
	sqlite3_bind_int64(stmt, 2, (sqlite3_int64)record->observed_ns);
	sqlite3_bind_int64(
		stmt, 3,
		(sqlite3_int64)(record->timestamp_ns ? record->timestamp_ns : record->observed_ns));
	sqlite3_bind_int(stmt, 4, record->severity_number);
	bind_text(stmt, 5, value_of(&record->resource, "service.name"));
	bind_text(stmt, 6, value_of(&record->attributes, "correlation.id"));
	bind_text(stmt, 7, record->trace_id);
	bind_text(stmt, 8, value_of(&record->attributes, "correlation.how"));
	bind_body(stmt, 9, record->body);
	bind_body(stmt, 10, message->value);
	tl_buf_clear(&store->tags);
	tl_tags_add(record, &store->tags);
	bind_body(stmt, 11, tl_buf_span(&store->tags));
	if (store->tags.failed || step(stmt) < 0)
		return -EIO;
	if (sqlite3_changes(store->db) == 0)
		return 0;
	id = sqlite3_last_insert_rowid(store->db);
	if (add_words(store, id) < 0 || mark(store, id, record->observed_ns) < 0)
		return -EIO;
	return 1;
}

static void bind_number(sqlite3_stmt *stmt, int at, struct tl_span text)
{
	char copy[64];

	if (!text.len || text.len >= sizeof(copy)) {
		sqlite3_bind_null(stmt, at);
		return;
	}
	memcpy(copy, text.data, text.len);
	copy[text.len] = '\0';
	sqlite3_bind_double(stmt, at, strtod(copy, NULL));
}

int tl_store_add_exchange(struct tl_store *store, const struct tl_message *message, char *reason)
{
	sqlite3_stmt *stmt = store->statements[TL_STORE_EXCHANGE];
	const struct tl_record *record = &store->record;
	const struct tl_attrs *a = &store->record.attributes;
	struct tl_span duration;
	int r = read_record(store, message, reason);

	if (r < 0)
		return r;
	duration = value_of(a, "http.server.request.duration");
	bind_text(stmt, 1, record->uid);
	sqlite3_bind_int64(stmt, 2, (sqlite3_int64)record->observed_ns);
	bind_text(stmt, 3, value_of(&record->resource, "service.name"));
	bind_text(stmt, 4, value_of(a, "correlation.id"));
	bind_text(stmt, 5, record->trace_id);
	bind_text(stmt, 6, value_of(a, "http.request.method"));
	bind_text(stmt, 7, value_of(a, "url.path"));
	bind_number(stmt, 8, value_of(a, "http.response.status_code"));
	bind_number(stmt, 9, duration.len ? duration : value_of(a, "http.client.request.duration"));
	bind_text(stmt, 10, value_of(a, "network.direction"));
	bind_body(stmt, 11, message->value);
	if (step(stmt) < 0)
		return -EIO;
	return sqlite3_changes(store->db) > 0;
}

/* Returns 0, -EINVAL absent or no time. */
static int bind_time(sqlite3_stmt *stmt, int at, struct tl_span json, const char *key)
{
	struct tl_json_value value;
	uint64_t ns;

	if (tl_json_find(json, key, &value) != 1 || value.type != TL_JSON_STRING ||
	    tl_time_parse(value.raw.data, value.raw.len, &ns) < 0)
		return -EINVAL;
	sqlite3_bind_int64(stmt, at, (sqlite3_int64)ns);
	return 0;
}

static int bind_member(sqlite3_stmt *stmt, int at, struct tl_span json, const char *key,
		       enum tl_json_type type)
{
	struct tl_json_value value;

	if (tl_json_find(json, key, &value) != 1 || value.type != type)
		return -EINVAL;
	if (type == TL_JSON_NUMBER)
		bind_number(stmt, at, value.raw);
	else
		bind_text(stmt, at, value.raw);
	return 0;
}

int tl_store_add_metric(struct tl_store *store, const struct tl_message *message, char *reason)
{
	sqlite3_stmt *stmt = store->statements[TL_STORE_METRIC];
	struct tl_span json = message->value;
	struct tl_json_value buckets;

	sqlite3_clear_bindings(stmt);
	if (bind_member(stmt, 1, json, "name", TL_JSON_STRING) < 0 ||
	    bind_time(stmt, 2, json, "window_start") < 0 ||
	    bind_time(stmt, 3, json, "window_end") < 0 ||
	    bind_member(stmt, 4, json, "labels", TL_JSON_OBJECT) < 0 ||
	    bind_member(stmt, 5, json, "count", TL_JSON_NUMBER) < 0 ||
	    bind_member(stmt, 6, json, "sum", TL_JSON_NUMBER) < 0 ||
	    bind_member(stmt, 7, json, "min", TL_JSON_NUMBER) < 0 ||
	    bind_member(stmt, 8, json, "max", TL_JSON_NUMBER) < 0) {
		snprintf(reason, 256,
			 "no metrics row: name, window_start, window_end, labels, count, sum, min "
			 "or max is missing");
		return -EINVAL;
	}
	if (tl_json_find(json, "buckets", &buckets) == 1 && buckets.type == TL_JSON_ARRAY)
		bind_text(stmt, 9, buckets.raw);
	return step(stmt) < 0 ? -EIO : 1;
}

static struct tl_span header(const struct tl_message *message, const char *key)
{
	for (uint32_t i = 0; i < message->n_headers; i++)
		if (tl_span_is(message->headers[i].key, key))
			return message->headers[i].value;
	return (struct tl_span){0};
}

int tl_store_add_dead(struct tl_store *store, const struct tl_message *message)
{
	sqlite3_stmt *stmt = store->statements[TL_STORE_DEAD];

	sqlite3_bind_int64(
		stmt, 1,
		(sqlite3_int64)(message->timestamp_ns ? message->timestamp_ns : tl_wall_ns()));
	bind_text(stmt, 2, header(message, "tapline-reason"));
	bind_text(stmt, 3, header(message, "tapline-stage"));
	bind_text(stmt, 4, header(message, "tapline-topic"));
	bind_text(stmt, 5, header(message, "tapline-partition"));
	bind_text(stmt, 6, header(message, "tapline-offset"));
	sqlite3_bind_blob(stmt, 7, message->key.data, (int)message->key.len, SQLITE_STATIC);
	sqlite3_bind_blob(stmt, 8, message->value.data, (int)message->value.len, SQLITE_STATIC);
	return step(stmt) < 0 ? -EIO : 1;
}

static size_t read_buckets(sqlite3_value *value, uint64_t out[BUCKETS_MAX])
{
	struct tl_span json = {(const char *)sqlite3_value_text(value),
			       (size_t)sqlite3_value_bytes(value)};
	struct tl_json_cursor cursor;
	struct tl_json_value element;
	size_t n = 0;

	if (!json.data || tl_json_enter(&cursor, json) < 0)
		return 0;
	while (n < BUCKETS_MAX && tl_json_element(&cursor, &element) == 1)
		if (tl_json_u64(&element, &out[n++]) < 0)
			return 0;
	return n;
}

/* tl_add_buckets(a, b): two JSON arrays of counts, added; NULL counts as none. */
static void add_buckets(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	_cleanup_(tl_buf_done) struct tl_buf out = {0};
	uint64_t a[BUCKETS_MAX] = {0}, b[BUCKETS_MAX] = {0};
	size_t na = read_buckets(argv[0], a), nb = read_buckets(argv[1], b), n = na > nb ? na : nb;

	(void)argc;
	if (n == 0) {
		sqlite3_result_null(context);
		return;
	}
	for (size_t i = 0; i < n; i++)
		tl_buf_printf(&out, "%s%llu", i ? "," : "[", (unsigned long long)(a[i] + b[i]));
	tl_buf_putc(&out, ']');
	sqlite3_result_text(context, out.data, (int)out.len, SQLITE_TRANSIENT);
}

int tl_store_functions(sqlite3 *db)
{
	int r = sqlite3_create_function(db, "tl_add_buckets", 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC,
					NULL, add_buckets, NULL, NULL);

	return r == SQLITE_OK ? 0 : -EIO;
}
