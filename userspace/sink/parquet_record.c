/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/sink/parquet_record.h"

#include <errno.h>

#include "userspace/base/clock.h"
#include "userspace/base/json.h"

#define KEYS_MAX 512 /* entries of one map in one row */

enum column {
	UID,
	TIMESTAMP,
	OBSERVED_TIMESTAMP,
	TIMESTAMP_NS,
	OBSERVED_NS,
	SEVERITY_NUMBER,
	SEVERITY_TEXT,
	BODY,
	TRACE_ID,
	SPAN_ID,
	TRACE_FLAGS,
	SERVICE_NAME,
	HOST_NAME,
	CORRELATION_ID,
	CORRELATION_HOW,
	RESOURCE,
	ATTRIBUTES,
	COLUMNS
};

/* Athena's timestamps have three digits of a second, Trino's and DuckDB's six: the nanoseconds are
 * columns of their own. The names that people filter by stand beside the maps, because a column
 * that is not read costs nothing. */
static const struct tl_parquet_column schema[COLUMNS] = {
	[UID] = {"uid", TL_PARQUET_TEXT, false},
	[TIMESTAMP] = {"timestamp", TL_PARQUET_TIMESTAMP, true},
	[OBSERVED_TIMESTAMP] = {"observed_timestamp", TL_PARQUET_TIMESTAMP, true},
	[TIMESTAMP_NS] = {"timestamp_ns", TL_PARQUET_INT64, true},
	[OBSERVED_NS] = {"observed_ns", TL_PARQUET_INT64, true},
	[SEVERITY_NUMBER] = {"severity_number", TL_PARQUET_INT32, true},
	[SEVERITY_TEXT] = {"severity_text", TL_PARQUET_TEXT, true},
	[BODY] = {"body", TL_PARQUET_TEXT, true},
	[TRACE_ID] = {"trace_id", TL_PARQUET_TEXT, true},
	[SPAN_ID] = {"span_id", TL_PARQUET_TEXT, true},
	[TRACE_FLAGS] = {"trace_flags", TL_PARQUET_INT32, true},
	[SERVICE_NAME] = {"service_name", TL_PARQUET_TEXT, true},
	[HOST_NAME] = {"host_name", TL_PARQUET_TEXT, true},
	[CORRELATION_ID] = {"correlation_id", TL_PARQUET_TEXT, true},
	[CORRELATION_HOW] = {"correlation_how", TL_PARQUET_TEXT, true},
	[RESOURCE] = {"resource", TL_PARQUET_MAP, false},
	[ATTRIBUTES] = {"attributes", TL_PARQUET_MAP, false},
};

/* Members of a map that have a column too. */
static const struct {
	enum column map;
	const char *key;
	enum column column;
} lifted[] = {
	{RESOURCE, "service.name", SERVICE_NAME},
	{RESOURCE, "host.name", HOST_NAME},
	{ATTRIBUTES, "correlation.id", CORRELATION_ID},
	{ATTRIBUTES, "correlation.how", CORRELATION_HOW},
};

struct keys {
	struct tl_span items[KEYS_MAX]; /* raw */
	size_t n;
};

struct tl_record_rows {
	struct tl_parquet *parquet;
	struct tl_buf key, value; /* decoded */
	struct keys keys[2];	  /* of this row: resource, attributes */
};

int tl_record_rows_new(int level, size_t row_group_bytes,
		       int (*write)(void *arg, const void *data, size_t len), void *arg,
		       struct tl_record_rows **ret_rows)
{
	_cleanup_(tl_record_rows_freep) struct tl_record_rows *rows = calloc(1, sizeof(*rows));
	struct tl_parquet_options options = {.columns = schema,
					     .n_columns = COLUMNS,
					     .level = level,
					     .row_group_bytes = row_group_bytes,
					     .write = write,
					     .arg = arg};
	int r = rows ? tl_parquet_new(&options, &rows->parquet) : -ENOMEM;

	if (r < 0)
		return r;
	*ret_rows = TAKE_PTR(rows);
	return 0;
}

void tl_record_rows_free(struct tl_record_rows *rows)
{
	if (rows->parquet)
		tl_parquet_free(rows->parquet);
	tl_buf_done(&rows->key);
	tl_buf_done(&rows->value);
	free(rows);
}

static int decode(struct tl_span raw, struct tl_buf *buf, struct tl_span *ret)
{
	int r = 0;

	*ret = raw;
	if (!raw.len || !memchr(raw.data, '\\', raw.len))
		return 0;
	tl_buf_clear(buf);
	r = tl_json_unescape(raw, buf);
	*ret = tl_buf_span(buf);
	return r == -ENOBUFS ? -ENOMEM : r;
}

/* A map with a key twice cannot be read by Trino: the first one stays. */
static bool is_again(struct keys *keys, struct tl_span key)
{
	for (size_t i = 0; i < keys->n; i++)
		if (tl_span_eq(keys->items[i], key))
			return true;
	if (keys->n == KEYS_MAX)
		return true;
	keys->items[keys->n++] = key;
	return false;
}

static int add_entry(struct tl_record_rows *rows, enum column map, struct tl_span raw_key,
		     const struct tl_json_value *value)
{
	struct tl_span key, text = value->raw;
	int r;

	if (value->type == TL_JSON_NULL || is_again(&rows->keys[map == ATTRIBUTES], raw_key))
		return 0;
	r = decode(raw_key, &rows->key, &key);
	if (r == 0 && value->type == TL_JSON_STRING)
		r = decode(value->raw, &rows->value, &text);
	if (r < 0)
		return r;
	tl_parquet_entry(rows->parquet, map, key, text);
	for (size_t i = 0; i < ARRAY_SIZE(lifted); i++)
		if (lifted[i].map == map && tl_span_is(key, lifted[i].key))
			tl_parquet_text(rows->parquet, lifted[i].column, text);
	return 0;
}

static int add_map(struct tl_record_rows *rows, enum column map, struct tl_span json)
{
	struct tl_json_cursor cursor;
	struct tl_json_value value;
	struct tl_span key;
	int r = tl_json_enter(&cursor, json);

	while (r == 0 && (r = tl_json_member(&cursor, &key, &value)) > 0)
		r = add_entry(rows, map, key, &value);
	return r;
}

static int add_time(struct tl_record_rows *rows, enum column column,
		    const struct tl_json_value *value)
{
	uint64_t ns;

	if (value->type != TL_JSON_STRING ||
	    tl_time_parse(value->raw.data, value->raw.len, &ns) < 0)
		return 0;
	tl_parquet_int(rows->parquet, column, (int64_t)(ns / 1000));
	tl_parquet_int(rows->parquet, column == TIMESTAMP ? TIMESTAMP_NS : OBSERVED_NS,
		       (int64_t)ns);
	return 0;
}

static int add_text(struct tl_record_rows *rows, enum column column,
		    const struct tl_json_value *value)
{
	struct tl_span text = value->raw;
	int r = value->type == TL_JSON_STRING ? decode(value->raw, &rows->value, &text) : 0;

	if (r == 0 && value->type != TL_JSON_NULL)
		tl_parquet_text(rows->parquet, column, text);
	return r;
}

static int add_small(struct tl_record_rows *rows, enum column column,
		     const struct tl_json_value *value)
{
	uint64_t n;

	if (value->type == TL_JSON_NUMBER && tl_json_u64(value, &n) == 0 && n <= INT32_MAX)
		tl_parquet_int(rows->parquet, column, (int64_t)n);
	return 0;
}

static int add_member(struct tl_record_rows *rows, struct tl_span key,
		      const struct tl_json_value *value)
{
	enum column column = UID;

	while (column < COLUMNS && !tl_span_is(key, schema[column].name))
		column++;
	switch (column) {
	case UID:
	case SEVERITY_TEXT:
	case BODY:
	case TRACE_ID:
	case SPAN_ID:
		return add_text(rows, column, value);
	case TIMESTAMP:
	case OBSERVED_TIMESTAMP:
		return add_time(rows, column, value);
	case SEVERITY_NUMBER:
	case TRACE_FLAGS:
		return add_small(rows, column, value);
	case RESOURCE:
	case ATTRIBUTES:
		if (value->type == TL_JSON_OBJECT)
			return add_map(rows, column, value->raw);
		/* fall through */
	default:
		return add_entry(rows, ATTRIBUTES, key, value);
	}
}

int tl_record_rows_add(struct tl_record_rows *rows, struct tl_span json)
{
	struct tl_json_cursor cursor;
	struct tl_json_value value;
	struct tl_span key;
	int r = tl_json_enter(&cursor, json);

	rows->keys[0].n = rows->keys[1].n = 0;
	while (r == 0 && (r = tl_json_member(&cursor, &key, &value)) > 0)
		r = add_member(rows, key, &value);
	return r < 0 ? r : tl_parquet_row(rows->parquet);
}

int tl_record_rows_finish(struct tl_record_rows *rows)
{
	return tl_parquet_finish(rows->parquet);
}
