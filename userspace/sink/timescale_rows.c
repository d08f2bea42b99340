/* SPDX-License-Identifier: Apache-2.0 */
/* Messages as rows. What can be checked here is checked here, so that the server refuses a row only
 * in rare cases (numbers past numeric, a trigger of the user's): one refused row costs the whole
 * transaction another try. */
#include <math.h>
#include <stdio.h>

#include "userspace/base/clock.h"
#include "userspace/base/json.h"
#include "userspace/sink/pg_copy.h"
#include "userspace/sink/timescale.h"

#define NAME_MAX_BYTES 200  /* of a metric: it is in an index */
#define SHORT_MAX_BYTES 500 /* of a text column that is in a btree index */
#define BUCKETS_MAX 64
/* Far beyond any window, and far from what overflows when a roll-up adds up millions of them. */
#define COUNT_MAX UINT64_C(1000000000000)
#define DOUBLE_MAX 1e290

static int bad(char *reason, const char *what)
{
	snprintf(reason, 256, "%s", what);
	return -EINVAL;
}

static bool read_time(const struct tl_json_value *value, uint64_t *ret)
{
	return value->type == TL_JSON_STRING &&
	       tl_time_parse(value->raw.data, value->raw.len, ret) == 0;
}

static bool read_double(const struct tl_json_value *value, double *ret)
{
	char text[64];

	if (value->type != TL_JSON_NUMBER || value->raw.len >= sizeof(text))
		return false;
	memcpy(text, value->raw.data, value->raw.len);
	text[value->raw.len] = '\0';
	*ret = strtod(text, NULL);
	return fabs(*ret) <= DOUBLE_MAX;
}

/* The text of a string; it may live in `scratch`. */
static bool read_text(const struct tl_json_value *value, struct tl_buf *scratch,
		      struct tl_span *ret)
{
	if (value->type != TL_JSON_STRING)
		return false;
	*ret = value->raw;
	if (!value->escaped)
		return true;
	tl_buf_clear(scratch);
	if (tl_json_unescape(value->raw, scratch) < 0)
		return false;
	*ret = tl_buf_span(scratch);
	return true;
}

struct metric {
	uint64_t start, end, count, buckets[BUCKETS_MAX];
	double sum, min, max;
	struct tl_span name, labels;
	size_t n_buckets;
	unsigned seen; /* bits in the order of the keys below */
};

static bool read_buckets(const struct tl_json_value *value, struct metric *m)
{
	struct tl_json_cursor cursor;
	struct tl_json_value element;
	int r;

	m->n_buckets = 0;
	if (value->type == TL_JSON_NULL)
		return true;
	if (value->type != TL_JSON_ARRAY || tl_json_enter(&cursor, value->raw) < 0)
		return false;
	while ((r = tl_json_element(&cursor, &element)) == 1)
		if (m->n_buckets == BUCKETS_MAX ||
		    tl_json_u64(&element, &m->buckets[m->n_buckets]) < 0 ||
		    m->buckets[m->n_buckets++] > COUNT_MAX)
			return false;
	return r == 0;
}

static const char *const keys[] = {"window_start", "window_end", "name", "labels", "count",
				   "sum",	   "min",	 "max",	 "buckets"};
#define NEEDED 0xffu

static bool read_member(size_t key, const struct tl_json_value *value, struct tl_buf *scratch,
			struct metric *m)
{
	switch (key) {
	case 0:
		return read_time(value, &m->start);
	case 1:
		return read_time(value, &m->end);
	case 2:
		return read_text(value, scratch, &m->name);
	case 3:
		m->labels = value->raw;
		return value->type == TL_JSON_OBJECT;
	case 4:
		return tl_json_u64(value, &m->count) == 0 && m->count <= COUNT_MAX;
	case 5:
		return read_double(value, &m->sum);
	case 6:
		return read_double(value, &m->min);
	case 7:
		return read_double(value, &m->max);
	default:
		return read_buckets(value, m);
	}
}

static int read_metric(struct tl_span json, struct tl_buf *scratch, struct metric *m, char *reason)
{
	struct tl_json_cursor cursor;
	struct tl_json_value value;
	struct tl_span key;
	int r;

	m->seen = 0;
	m->n_buckets = 0;
	if (tl_json_enter(&cursor, json) < 0)
		return bad(reason, "no JSON object");
	while ((r = tl_json_member(&cursor, &key, &value)) == 1) {
		size_t i = 0;

		while (i < ARRAY_SIZE(keys) && !tl_span_is(key, keys[i]))
			i++;
		if (i == ARRAY_SIZE(keys))
			continue;
		if (!read_member(i, &value, scratch, m)) {
			snprintf(reason, 256, "no metrics row: %s is not as docs/metrics.md has it",
				 keys[i]);
			return -EINVAL;
		}
		m->seen |= 1u << i;
	}
	if (r < 0 || !tl_json_at_end(&cursor))
		return bad(reason, "malformed JSON");
	for (size_t i = 0; (m->seen & NEEDED) != NEEDED; i++)
		if (!(m->seen & 1u << i)) {
			snprintf(reason, 256, "no metrics row: %s is missing", keys[i]);
			return -EINVAL;
		}
	if (!m->name.len || m->name.len > NAME_MAX_BYTES)
		return bad(reason, "no metrics row: name is empty or longer than 200 bytes");
	return m->end < m->start ? bad(reason, "no metrics row: the window ends before it starts")
				 : 0;
}

static int add_metric(struct tl_ts *ts, const struct tl_message *message, struct tl_buf *out,
		      char *reason)
{
	struct metric m;
	int r = read_metric(message->value, &ts->scratch, &m, reason);

	if (r < 0)
		return r;
	tl_copy_row(out, 9);
	tl_copy_time(out, m.start);
	tl_copy_time(out, m.end);
	tl_copy_text(out, m.name, false);
	tl_copy_jsonb(out, m.labels);
	tl_copy_i64(out, (int64_t)m.count);
	tl_copy_f64(out, m.sum);
	tl_copy_f64(out, m.min);
	tl_copy_f64(out, m.max);
	if (m.seen & 1u << 8 && m.n_buckets)
		tl_copy_i64_array(out, m.buckets, m.n_buckets);
	else
		tl_copy_null(out);
	return 1;
}

/* Cut so that it fits an index, at a character's end. */
static struct tl_span shorten(struct tl_span text)
{
	size_t len = SHORT_MAX_BYTES;

	if (text.len <= len)
		return text;
	while (len && ((unsigned char)text.data[len] & 0xc0) == 0x80)
		len--;
	return (struct tl_span){text.data, len};
}

struct log {
	struct tl_json_value uid, timestamp, observed, severity, severity_text, body, trace_id,
		span_id, resource, attributes;
};

static struct tl_json_value *log_member(struct log *log, struct tl_span key)
{
	static const struct {
		const char *name;
		size_t offset;
	} members[] = {
		{"uid", offsetof(struct log, uid)},
		{"timestamp", offsetof(struct log, timestamp)},
		{"observed_timestamp", offsetof(struct log, observed)},
		{"severity_number", offsetof(struct log, severity)},
		{"severity_text", offsetof(struct log, severity_text)},
		{"body", offsetof(struct log, body)},
		{"trace_id", offsetof(struct log, trace_id)},
		{"span_id", offsetof(struct log, span_id)},
		{"resource", offsetof(struct log, resource)},
		{"attributes", offsetof(struct log, attributes)},
	};

	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (tl_span_is(key, members[i].name))
			return (struct tl_json_value *)((char *)log + members[i].offset);
	return NULL;
}

static int read_log(struct tl_span json, struct log *log)
{
	struct tl_json_cursor cursor;
	struct tl_json_value value, *member;
	struct tl_span key;
	int r;

	*log = (struct log){0};
	if (tl_json_enter(&cursor, json) < 0)
		return -EINVAL;
	while ((r = tl_json_member(&cursor, &key, &value)) == 1)
		if ((member = log_member(log, key)))
			*member = value;
	return r < 0 || !tl_json_at_end(&cursor) ? -EINVAL : 0;
}

/* A string member as a text column; anything else is NULL. */
static void put_text(struct tl_buf *out, const struct tl_json_value *value, struct tl_buf *scratch,
		     bool cut)
{
	struct tl_span text = {0};

	if (value->raw.data)
		read_text(value, scratch, &text);
	tl_copy_text(out, cut ? shorten(text) : text, true);
}

static void put_attribute(struct tl_buf *out, const struct tl_json_value *object, const char *key,
			  struct tl_buf *scratch, bool cut)
{
	struct tl_json_value value = {0};

	if (object->type == TL_JSON_OBJECT && tl_json_find(object->raw, key, &value) != 1)
		value = (struct tl_json_value){0};
	put_text(out, &value, scratch, cut);
}

static void put_object(struct tl_buf *out, const struct tl_json_value *value)
{
	tl_copy_jsonb(out, value->type == TL_JSON_OBJECT ? value->raw : TL_SPAN_LIT("{}"));
}

static int add_log(struct tl_ts *ts, const struct tl_message *message, struct tl_buf *out,
		   char *reason)
{
	uint64_t observed, timestamp, severity;
	struct tl_span body = {0};
	struct log log;

	if (read_log(message->value, &log) < 0)
		return bad(reason, "malformed JSON");
	if (!log.uid.raw.len || log.uid.type != TL_JSON_STRING ||
	    !read_time(&log.observed, &observed))
		return bad(reason, "no record: uid or observed_timestamp is missing");
	if (!read_time(&log.timestamp, &timestamp))
		timestamp = observed;
	tl_copy_row(out, 14);
	tl_copy_text(out, log.uid.raw, false);
	tl_copy_time(out, observed);
	tl_copy_time(out, timestamp);
	if (tl_json_u64(&log.severity, &severity) == 0 && severity <= 24)
		tl_copy_i16(out, (int16_t)severity);
	else
		tl_copy_null(out);
	put_text(out, &log.severity_text, &ts->scratch, false);
	put_attribute(out, &log.resource, "service.name", &ts->scratch, true);
	if (log.body.raw.data)
		read_text(&log.body, &ts->scratch, &body);
	tl_copy_text(out, body, false);
	put_text(out, &log.trace_id, &ts->scratch, false);
	put_text(out, &log.span_id, &ts->scratch, false);
	put_attribute(out, &log.attributes, "correlation.id", &ts->scratch, false);
	put_attribute(out, &log.attributes, "correlation.how", &ts->scratch, false);
	put_attribute(out, &log.attributes, "stream.id", &ts->scratch, false);
	put_object(out, &log.resource);
	put_object(out, &log.attributes);
	return 1;
}

static struct tl_span header(const struct tl_message *message, const char *key)
{
	for (uint32_t i = 0; i < message->n_headers; i++)
		if (tl_span_is(message->headers[i].key, key))
			return message->headers[i].value;
	return (struct tl_span){0};
}

/* Header text of any bytes, as text that PostgreSQL takes. */
static void put_header(struct tl_buf *out, const struct tl_message *message, const char *key)
{
	struct tl_span text = header(message, key);

	tl_copy_text(out, tl_utf8_valid(text) ? text : TL_SPAN_LIT("(not UTF-8)"), true);
}

static void put_header_number(struct tl_buf *out, const struct tl_message *message, const char *key)
{
	struct tl_json_value value = {.type = TL_JSON_NUMBER, .raw = header(message, key)};
	uint64_t number;

	if (value.raw.len && tl_json_u64(&value, &number) == 0 && number <= INT64_MAX)
		tl_copy_i64(out, (int64_t)number);
	else
		tl_copy_null(out);
}

/* Nothing about a dead letter may be wrong: it is the last place. */
static int add_dead(const struct tl_message *message, struct tl_buf *out)
{
	tl_copy_row(out, 8);
	tl_copy_time(out, message->timestamp_ns ? message->timestamp_ns : tl_wall_ns());
	put_header(out, message, "tapline-reason");
	put_header(out, message, "tapline-stage");
	put_header(out, message, "tapline-topic");
	put_header_number(out, message, "tapline-partition");
	put_header_number(out, message, "tapline-offset");
	tl_copy_bytes(out, message->key);
	tl_copy_bytes(out, message->value);
	return 1;
}

static int append(struct tl_ts *ts, const struct tl_message *message, enum tl_ts_table table,
		  char *reason)
{
	struct tl_buf *out = &ts->tables[table].data;

	if (table == TL_TS_DEAD)
		return add_dead(message, out);
	if (!tl_utf8_valid(message->value))
		return bad(reason, "not UTF-8");
	return table == TL_TS_LOGS ? add_log(ts, message, out, reason)
				   : add_metric(ts, message, out, reason);
}

static bool table_of(const struct tl_ts *ts, int topic, enum tl_ts_table *ret)
{
	*ret = topic == TL_TOPIC_LOGS  ? TL_TS_LOGS
	       : topic == TL_TOPIC_DLQ ? TL_TS_DEAD
				       : TL_TS_METRICS;
	return topic == TL_TOPIC_METRICS || topic == TL_TOPIC_DLQ ||
	       (topic == TL_TOPIC_LOGS && ts->settings->logs);
}

static int index_row(struct tl_ts_rows *rows, uint32_t message)
{
	if (rows->n == rows->cap) {
		size_t cap = rows->cap ? rows->cap * 2 : 4096;
		struct tl_ts_row *index = realloc(rows->index, cap * sizeof(*index));

		if (!index)
			return -ENOMEM;
		rows->index = index;
		rows->cap = cap;
	}
	rows->index[rows->n++] = (struct tl_ts_row){rows->data.len, message, false};
	return 0;
}

int tl_ts_add(struct tl_ts *ts, const struct tl_message *message, uint32_t index,
	      enum tl_ts_table *ret_table, char *reason)
{
	struct tl_ts_rows *rows;
	size_t before;
	int r;

	if (!table_of(ts, message->topic, ret_table))
		return 0;
	rows = &ts->tables[*ret_table];
	before = rows->data.len;
	r = append(ts, message, *ret_table, reason);
	if (rows->data.failed)
		return -ENOMEM;
	if (r < 0) {
		rows->data.len = before;
		return r;
	}
	return index_row(rows, index) < 0 ? -ENOMEM : 1;
}
