/* SPDX-License-Identifier: Apache-2.0 */
/* Lines: search, tail, one request. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "userspace/base/clock.h"
#include "userspace/base/json.h"
#include "userspace/web/api.h"

#define LIMIT_DEFAULT 100
#define REQUEST_LIMIT 2000 /* lines, and exchanges, of one request */

int tl_api_number(const struct tl_api_request *request, const char *name, int64_t low, int64_t high,
		  int64_t otherwise, int64_t *ret, struct tl_error *error)
{
	const char *text = request->argument(request->arg, name);
	char *end;

	*ret = otherwise;
	if (!text)
		return 0;
	errno = 0;
	*ret = strtoll(text, &end, 10);
	if (errno || *end || *ret < low || *ret > high)
		return tl_error_set(error, -EINVAL, "%s: a number from %lld to %lld", name,
				    (long long)low, (long long)high);
	return 0;
}

int tl_api_query(const struct tl_api_request *request, struct tl_query *query,
		 struct tl_error *error)
{
	const char *q = request->argument(request->arg, "q");
	const char *since = request->argument(request->arg, "since");
	const char *until = request->argument(request->arg, "until");
	uint64_t now = tl_wall_ns();
	int r = 0;

	query->after = -1;
	query->exchanges = request->argument(request->arg, "http") != NULL;
	query->budget_ns = TL_API_BUDGET_MS * TL_MS;
	if (q)
		r = tl_query_parse(query, q, error);
	if (r == 0 && since)
		r = tl_query_time(since, now, &query->since_ns, error);
	if (r == 0 && until)
		r = tl_query_time(until, now, &query->until_ns, error);
	return r;
}

/* A place is written as "<number>.<observed>". */
static int read_place(const struct tl_api_request *request, struct tl_query_place *ret,
		      struct tl_error *error)
{
	const char *text = request->argument(request->arg, "before");
	long long number, observed;
	int n = 0;

	if (!text)
		return 0;
	if (sscanf(text, "%lld.%lld%n", &number, &observed, &n) != 2 || text[n] || number < 1 ||
	    observed < 0)
		return tl_error_set(error, -EINVAL, "before: `next` of an earlier answer");
	*ret = (struct tl_query_place){number, observed};
	return 0;
}

struct rows {
	struct tl_buf *out;
	size_t n;
	int64_t last;
};

static int on_row(void *arg, const struct tl_row *row)
{
	struct rows *rows = arg;

	if (rows->n++)
		tl_buf_putc(rows->out, ',');
	tl_buf_add(rows->out, row->json.data, row->json.len);
	if (row->number > rows->last)
		rows->last = row->number;
	return rows->out->failed;
}

static int add_rows(struct tl_store_reader *reader, const struct tl_query *query, struct rows *rows,
		    struct tl_search *ret, struct tl_error *error)
{
	int r;

	tl_buf_putc(rows->out, '[');
	r = tl_store_search(reader, query, on_row, rows, ret, error);
	tl_buf_putc(rows->out, ']');
	if (rows->out->failed)
		return tl_error_set(error, -EFBIG,
				    "the answer is too large: ask for fewer records");
	return r;
}

static void add_end(struct tl_buf *out, const struct tl_search *search, int64_t newest,
		    uint64_t began)
{
	static const char *const ends[] = {"all", "limit", "time"};
	char time[TL_TIME_LEN + 1];

	tl_buf_printf(out, ",\"newest\":%lld,\"end\":\"%s\",\"next\":", (long long)newest,
		      ends[search->end]);
	if (search->end == TL_END_ALL) {
		tl_buf_puts(out, "null,\"searched_to\":null");
	} else {
		tl_time_format((uint64_t)search->place.observed_ns, time);
		tl_buf_printf(out, "\"%lld.%lld\",\"searched_to\":\"%s\"",
			      (long long)search->place.number, (long long)search->place.observed_ns,
			      time);
	}
	tl_buf_printf(out, ",\"took_ms\":%.2f}\n", (double)(tl_mono_ns() - began) / 1e6);
}

static int read_query(const struct tl_api_request *request, struct tl_query **ret,
		      struct tl_error *error)
{
	struct tl_query *query = calloc(1, sizeof(*query));
	int64_t limit;
	int r = query ? tl_api_query(request, query, error)
		      : tl_error_set(error, -ENOMEM, "out of memory");

	r = r < 0 ? r
		  : tl_api_number(request, "limit", 1, TL_API_LIMIT_MAX, LIMIT_DEFAULT, &limit,
				  error);
	if (r < 0) {
		free(query);
		return r;
	}
	query->limit = (size_t)limit;
	*ret = query;
	return 0;
}

int tl_api_search(const struct tl_api_request *request, struct tl_buf *out, struct tl_error *error)
{
	_cleanup_(tl_store_reader_closep) struct tl_store_reader *reader = NULL;
	struct rows rows = {.out = out};
	struct tl_search search = {.end = TL_END_ALL};
	struct tl_query *query = NULL;
	uint64_t began = tl_mono_ns();
	int64_t newest = 0;
	int r = read_query(request, &query, error);

	r = r < 0 ? r : read_place(request, &query->before, error);
	r = r < 0 ? r : tl_store_reader_open(request->store, &reader, error);
	if (r == 0) {
		/* Before the search: what comes meanwhile is then told by the tail. */
		newest = tl_store_newest(reader, query->exchanges);
		tl_buf_puts(out, "{\"records\":");
		r = add_rows(reader, query, &rows, &search, error);
	}
	if (r == 0)
		add_end(out, &search, newest, began);
	free(query);
	return r;
}

int tl_api_tail(const struct tl_api_request *request, struct tl_buf *out, struct tl_error *error)
{
	_cleanup_(tl_store_reader_closep) struct tl_store_reader *reader = NULL;
	struct rows rows = {.out = out};
	struct tl_search search = {.end = TL_END_ALL};
	struct tl_query *query = NULL;
	int64_t newest = 0;
	int r = read_query(request, &query, error);

	r = r < 0 ? r : tl_api_number(request, "after", 0, INT64_MAX, 0, &query->after, error);
	r = r < 0 ? r : tl_store_reader_open(request->store, &reader, error);
	if (r == 0) {
		newest = tl_store_newest(reader, query->exchanges);
		tl_buf_puts(out, "{\"records\":");
		r = add_rows(reader, query, &rows, &search, error);
	}
	/* One that was cut goes on behind its last row. */
	if (r == 0)
		tl_buf_printf(out, ",\"newest\":%lld}\n",
			      (long long)(search.end != TL_END_ALL ? search.place.number
					  : rows.last > newest	   ? rows.last
								   : newest));
	free(query);
	return r;
}

int tl_api_request_of(const struct tl_api_request *request, struct tl_buf *out,
		      struct tl_error *error)
{
	_cleanup_(tl_store_reader_closep) struct tl_store_reader *reader = NULL;
	const char *id = request->argument(request->arg, "id");
	struct tl_query query = {.limit = REQUEST_LIMIT};
	struct rows lines = {.out = out}, exchanges = {.out = out};
	struct tl_search search;
	bool cut;
	int r;

	if (!id)
		return tl_error_set(error, -EINVAL, "id: of a request or a trace");
	(void)tl_query_id(&query, id, NULL);
	r = tl_store_reader_open(request->store, &reader, error);
	if (r < 0)
		return r;
	tl_buf_puts(out, "{\"id\":");
	tl_json_string(out, tl_span_str(id));
	tl_buf_puts(out, ",\"records\":");
	r = add_rows(reader, &query, &lines, &search, error);
	cut = search.end != TL_END_ALL;
	query.exchanges = true;
	tl_buf_puts(out, ",\"exchanges\":");
	r = r < 0 ? r : add_rows(reader, &query, &exchanges, &search, error);
	if (r == 0)
		tl_buf_printf(out, ",\"cut\":%s}\n",
			      cut || search.end != TL_END_ALL ? "true" : "false");
	return r;
}
