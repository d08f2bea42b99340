/* SPDX-License-Identifier: Apache-2.0 */
/* Lines are counted one by one, newest first, while the budget lasts. Where only services and
 * severities are asked for, and lines took too long, the windows of 10 s that the pipeline summed
 * up are read. */
#include "userspace/store/report.h"

#include "userspace/base/clock.h"
#include "userspace/base/json.h"
#include "userspace/parse/parser.h"
#include "userspace/store/query_internal.h"

static int64_t number(struct tl_store_reader *reader, const char *sql)
{
	_cleanup_(tl_sqlite_finalizep) sqlite3_stmt *stmt = NULL;

	if (sqlite3_prepare_v2(reader->db, sql, -1, &stmt, NULL) != SQLITE_OK ||
	    sqlite3_step(stmt) != SQLITE_ROW)
		return 0;
	return sqlite3_column_int64(stmt, 0);
}

static struct tl_span column(sqlite3_stmt *stmt, int at)
{
	return (struct tl_span){(const char *)sqlite3_column_text(stmt, at),
				(size_t)sqlite3_column_bytes(stmt, at)};
}

/* Returns false outside of the chart. */
static bool step_of(uint64_t from_ns, uint64_t step_ns, size_t n, uint64_t ns, size_t *ret)
{
	if (ns < from_ns || (ns - from_ns) / step_ns >= n)
		return false;
	*ret = (ns - from_ns) / step_ns;
	return true;
}

static void count(struct tl_histogram *h, uint64_t ns, unsigned class, uint64_t n)
{
	size_t step;

	if (class >= TL_SEVERITY_CLASSES || !step_of(h->from_ns, h->step_ns, h->n, ns, &step))
		return;
	h->counts[step][class] += n;
	h->total += n;
}

static int count_lines(struct tl_store_reader *reader, const struct tl_query *query,
		       struct tl_builder *b, struct tl_histogram *h, struct tl_error *error)
{
	_cleanup_(tl_sqlite_finalizep) sqlite3_stmt *stmt = NULL;
	int r = tl_builder_select(b, reader, query,
				  query->exchanges
					  ? "l.observed, CASE WHEN l.status >= 500 THEN 17 "
					    "WHEN l.status >= 400 THEN 13 ELSE 9 END"
					  : "l.observed, l.severity",
				  error);

	if (r < 0)
		return r;
	tl_buf_puts(&b->sql, b->by_words ? " ORDER BY f.rowid DESC" : " ORDER BY l.observed DESC");
	r = tl_builder_prepare(b, reader, &stmt, error);
	if (r < 0)
		return r;
	while ((r = sqlite3_step(stmt)) == SQLITE_ROW)
		count(h, (uint64_t)sqlite3_column_int64(stmt, 0),
		      tl_severity_class((unsigned)sqlite3_column_int(stmt, 1)), 1);
	if (r != SQLITE_DONE && reader->scan.timed_out) {
		h->complete_ns = reader->scan.rows >= 2
					 ? (uint64_t)reader->scan.before_at.observed_ns
					 : h->from_ns + h->n * h->step_ns;
		return 0;
	}
	return r == SQLITE_DONE ? 0
				: tl_store_fail(reader->db, "cannot count", reader->path, error);
}

/* Only what the labels of log.records have is asked for. */
static bool labels_suffice(const struct tl_query *query)
{
	if (query->exchanges || query->n_words)
		return false;
	for (size_t i = 0; i < query->n_conditions; i++) {
		const struct tl_condition *c = &query->conditions[i];

		if (!tl_span_is(c->field, "severity") && !tl_span_is(c->field, "service") &&
		    !tl_span_is(c->field, "service.name"))
			return false;
	}
	return true;
}

static struct tl_span label(struct tl_span labels, const char *key, struct tl_buf *text)
{
	struct tl_json_value value;

	if (tl_json_find(labels, key, &value) != 1)
		return (struct tl_span){0};
	tl_buf_clear(text);
	if (!value.escaped || tl_json_unescape(value.raw, text) < 0)
		return value.raw;
	return tl_buf_span(text);
}

static bool labels_match(const struct tl_query *query, struct tl_record *record,
			 struct tl_span labels, struct tl_buf *text)
{
	tl_record_reset(record);
	record->severity_number = tl_severity_word(label(labels, "severity_text", text));
	tl_attr_set(&record->resource, "service.name", label(labels, "service.name", text));
	return tl_query_match(query, record);
}

static sqlite3_stmt *metrics_of(struct tl_store_reader *reader, uint64_t from, uint64_t until)
{
	sqlite3_stmt *stmt = NULL;

	if (sqlite3_prepare_v2(
		    reader->db,
		    "SELECT window_start, name, labels, count, sum, max, buckets FROM metrics "
		    "WHERE window_start >= ? AND window_start < ? ORDER BY window_start DESC",
		    -1, &stmt, NULL) != SQLITE_OK)
		return NULL;
	sqlite3_bind_int64(stmt, 1, (int64_t)from);
	sqlite3_bind_int64(stmt, 2, (int64_t)until);
	return stmt;
}

static int count_metrics(struct tl_store_reader *reader, const struct tl_query *query,
			 struct tl_histogram *h, struct tl_error *error)
{
	_cleanup_(tl_sqlite_finalizep) sqlite3_stmt *stmt =
		metrics_of(reader, h->from_ns, h->from_ns + h->n * h->step_ns);
	_cleanup_(tl_buf_done) struct tl_buf text = {0};
	struct tl_query fields = *query; /* times are those of windows here */
	struct tl_record *record = malloc(sizeof(*record));
	int r = SQLITE_DONE;

	fields.since_ns = fields.until_ns = 0;
	while (stmt && record && (r = sqlite3_step(stmt)) == SQLITE_ROW)
		if (tl_span_is(column(stmt, 1), "log.records") &&
		    labels_match(&fields, record, column(stmt, 2), &text))
			count(h, (uint64_t)sqlite3_column_int64(stmt, 0),
			      tl_severity_class(record->severity_number),
			      (uint64_t)sqlite3_column_int64(stmt, 3));
	free(record);
	h->from_metrics = true;
	return stmt && r == SQLITE_DONE
		       ? 0
		       : tl_store_fail(reader->db, "cannot count", reader->path, error);
}

int tl_store_histogram(struct tl_store_reader *reader, const struct tl_query *query,
		       struct tl_histogram *histogram, struct tl_error *error)
{
	struct tl_builder *b = calloc(1, sizeof(*b));
	struct tl_query bounded = *query;
	struct tl_histogram empty = {
		.from_ns = histogram->from_ns, .step_ns = histogram->step_ns, .n = histogram->n};
	int r;

	if (!b)
		return tl_error_set(error, -ENOMEM, "out of memory");
	bounded.after = -1;
	bounded.before = (struct tl_query_place){0};
	bounded.since_ns = histogram->from_ns;
	bounded.until_ns = histogram->from_ns + histogram->n * histogram->step_ns;
	if (histogram->before_ns && histogram->before_ns < bounded.until_ns)
		bounded.until_ns = histogram->before_ns;
	memcpy(histogram, &empty, sizeof(empty));
	tl_scan_begin(reader, query->budget_ns);
	r = count_lines(reader, &bounded, b, histogram, error);
	tl_scan_begin(reader, 0);
	if (r == 0 && histogram->complete_ns && !histogram->before_ns && labels_suffice(query)) {
		uint64_t counted = histogram->total;

		r = count_metrics(reader, &bounded, &empty, error);
		if (r == 0 && empty.total >= counted) /* a store may have no metrics */
			*histogram = empty;
	}
	tl_builder_done(b);
	free(b);
	return r;
}

static struct tl_service *service_of(struct tl_services *services, struct tl_span name)
{
	struct tl_service *items;

	for (size_t i = 0; i < services->n_items; i++)
		if (tl_span_is(name, services->items[i].name))
			return &services->items[i];
	if (services->n_items == TL_SERVICES_MAX || name.len >= sizeof(items->name))
		return NULL;
	items = realloc(services->items, (services->n_items + 1) * sizeof(*items));
	if (!items)
		return NULL;
	services->items = items;
	items += services->n_items++;
	memset(items, 0, sizeof(*items));
	memcpy(items->name, name.data, name.len);
	return items;
}

static void add_durations(struct tl_service *service, struct tl_span json)
{
	struct tl_json_cursor cursor;
	struct tl_json_value value;
	uint64_t n;

	if (!json.data || tl_json_enter(&cursor, json) < 0)
		return;
	for (size_t i = 0; i < TL_DURATIONS_MAX && tl_json_element(&cursor, &value) == 1; i++)
		if (tl_json_u64(&value, &n) == 0)
			service->durations[i] += n;
}

static void add_row(struct tl_services *services, sqlite3_stmt *stmt, struct tl_buf *text)
{
	struct tl_span name = column(stmt, 1), labels = column(stmt, 2), status;
	uint64_t n = (uint64_t)sqlite3_column_int64(stmt, 3);
	struct tl_service *service = service_of(services, label(labels, "service.name", text));
	double longest = sqlite3_column_double(stmt, 5);
	size_t step;

	if (!step_of(services->from_ns, services->step_ns, services->n,
		     (uint64_t)sqlite3_column_int64(stmt, 0), &step))
		return;
	if (!service) {
		services->others += n;
	} else if (tl_span_is(name, "log.records")) {
		service->lines[step] += n;
		if (tl_severity_class(tl_severity_word(label(labels, "severity_text", text))) >= 5)
			service->errors[step] += n;
	} else if (tl_span_is(name, "log.gaps")) {
		service->gaps += n;
		service->lost_bytes += (uint64_t)sqlite3_column_double(stmt, 4);
	} else if (tl_span_is(name, "http.server.request.duration")) {
		status = label(labels, "http.response.status_code", text);
		service->requests[step] += n;
		if (status.len == 3 && status.data[0] >= '5')
			service->failed[step] += n;
		service->seconds += sqlite3_column_double(stmt, 4);
		if (longest > service->longest)
			service->longest = longest;
		add_durations(service, column(stmt, 6));
	}
}

int tl_store_services(struct tl_store_reader *reader, uint64_t budget_ns,
		      struct tl_services *services, struct tl_error *error)
{
	_cleanup_(tl_sqlite_finalizep) sqlite3_stmt *stmt = metrics_of(
		reader, services->from_ns, services->from_ns + services->n * services->step_ns);
	_cleanup_(tl_buf_done) struct tl_buf text = {0};
	uint64_t deadline = tl_mono_ns() + budget_ns;
	int r = SQLITE_ERROR;

	services->complete_ns = 0;
	while (stmt && (r = sqlite3_step(stmt)) == SQLITE_ROW) {
		add_row(services, stmt, &text);
		if (budget_ns && tl_mono_ns() > deadline) {
			services->complete_ns = (uint64_t)sqlite3_column_int64(stmt, 0);
			return 0;
		}
	}
	return r == SQLITE_DONE
		       ? 0
		       : tl_store_fail(reader->db, "cannot read metrics of", reader->path, error);
}

void tl_services_done(struct tl_services *services)
{
	free(services->items);
	services->items = NULL;
	services->n_items = 0;
}

double tl_service_quantile(const struct tl_service *service, double share)
{
	/* OTel's boundaries of http.server.request.duration, as docs/metrics.md has them. */
	static const double bounds[] = {0,   0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25,
					0.5, 0.75,  1,	  2.5,	 5,    7.5,   10};
	uint64_t total = 0;
	double left;

	for (size_t i = 0; i < TL_DURATIONS_MAX; i++)
		total += service->durations[i];
	left = share * (double)total;
	for (size_t i = 0; total && i < TL_DURATIONS_MAX; i++) {
		double n = (double)service->durations[i], low, high;

		if (n < left || n == 0) {
			left -= n;
			continue;
		}
		low = i < ARRAY_SIZE(bounds) ? bounds[i] : 10;
		high = i + 1 < ARRAY_SIZE(bounds) ? bounds[i + 1] : service->longest;
		if (high > service->longest)
			high = service->longest;
		return high > low ? low + (high - low) * left / n : high;
	}
	return 0;
}

int tl_store_contents(struct tl_store_reader *reader, struct tl_contents *ret,
		      struct tl_error *error)
{
	_cleanup_(tl_sqlite_finalizep) sqlite3_stmt *stmt = NULL;

	/* Ids have no holes but at the old end, so that nothing has to be counted. */
	if (sqlite3_prepare_v2(
		    reader->db,
		    "SELECT (SELECT coalesce(max(id) - (SELECT min(id) FROM logs) + 1, 0) FROM "
		    "logs),"
		    " (SELECT coalesce(max(id) - (SELECT min(id) FROM exchanges) + 1, 0) FROM "
		    "exchanges),"
		    " (SELECT min(observed) FROM logs), (SELECT max(observed) FROM logs),"
		    " (SELECT count(*) FROM dead_letters)",
		    -1, &stmt, NULL) != SQLITE_OK ||
	    sqlite3_step(stmt) != SQLITE_ROW)
		return tl_store_fail(reader->db, "cannot read", reader->path, error);
	*ret = (struct tl_contents){
		.logs = sqlite3_column_int64(stmt, 0),
		.exchanges = sqlite3_column_int64(stmt, 1),
		.oldest_ns = (uint64_t)sqlite3_column_int64(stmt, 2),
		.newest_ns = (uint64_t)sqlite3_column_int64(stmt, 3),
		.dead_letters = sqlite3_column_int64(stmt, 4),
		.bytes = (uint64_t)((number(reader, "PRAGMA page_count") -
				     number(reader, "PRAGMA freelist_count")) *
				    number(reader, "PRAGMA page_size")),
	};
	return 0;
}

int tl_store_dead_letters(struct tl_store_reader *reader,
			  void (*each)(void *arg, struct tl_span stage, struct tl_span reason,
				       int64_t count),
			  void *arg, struct tl_error *error)
{
	_cleanup_(tl_sqlite_finalizep) sqlite3_stmt *stmt = NULL;
	int r = SQLITE_ERROR;

	if (sqlite3_prepare_v2(reader->db,
			       "SELECT coalesce(stage, ''), coalesce(reason, ''), count(*) FROM "
			       "dead_letters GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 20",
			       -1, &stmt, NULL) == SQLITE_OK)
		while ((r = sqlite3_step(stmt)) == SQLITE_ROW)
			each(arg, column(stmt, 0), column(stmt, 1), sqlite3_column_int64(stmt, 2));
	return r == SQLITE_DONE ? 0 : tl_store_fail(reader->db, "cannot read", reader->path, error);
}
