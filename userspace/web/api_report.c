/* SPDX-License-Identifier: Apache-2.0 */
/* Figures: lines over time, services, health. */
#include <stdio.h>
#include <stdlib.h>

#include "userspace/base/clock.h"
#include "userspace/base/fs.h"
#include "userspace/base/json.h"
#include "userspace/store/report.h"
#include "userspace/web/api.h"

#define STEPS_DEFAULT 60
#define CHART_MIN_NS (60 * TL_SEC)
#define STATUS_MAX ((size_t)16 << 20)

struct range {
	uint64_t from_ns, step_ns;
	size_t n;
};

/* Steps that people read easily; a chart gets the first that covers its time. */
static uint64_t nice_step(uint64_t ns)
{
	static const uint64_t steps[] = {1,	2,     5,     10,    15,     30,    60,
					 120,	300,   600,   900,   1800,   3600,  7200,
					 10800, 21600, 43200, 86400, 172800, 604800};
	uint64_t ms;

	ns -= ns / 20; /* 15 minutes and a bit are 15 minutes */
	ms = ns / TL_MS + 1;

	for (uint64_t step = 1; step < 1000; step *= 10)
		for (uint64_t k = 1; k <= 5; k += k == 1 ? 1 : 3)
			if (step * k >= ms)
				return step * k * TL_MS;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (steps[i] * TL_SEC >= ns)
			return steps[i] * TL_SEC;
	return (ns / (604800 * TL_SEC) + 1) * 604800 * TL_SEC;
}

/* Times that were not given are those of the store; the steps begin at round times. */
static int read_range(const struct tl_api_request *request, struct tl_store_reader *reader,
		      uint64_t since_ns, uint64_t until_ns, uint64_t least_step_ns,
		      struct range *ret, struct tl_error *error)
{
	struct tl_contents contents;
	int64_t steps, step_ms;
	uint64_t span, oldest_ns;
	int r = tl_api_number(request, "steps", 1, TL_STEPS_MAX - 1, STEPS_DEFAULT, &steps, error);

	r = r < 0 ? r : tl_api_number(request, "step_ms", 0, INT32_MAX, 0, &step_ms, error);
	r = r < 0 ? r : tl_store_contents(reader, &contents, error);
	if (r < 0)
		return r;
	if (!until_ns)
		until_ns = since_ns || !contents.newest_ns ? tl_wall_ns() : contents.newest_ns + 1;
	/* A chart of a young store is not mostly empty; but none is shorter than a minute for it.
	 */
	oldest_ns = contents.oldest_ns && contents.oldest_ns + CHART_MIN_NS < until_ns
			    ? contents.oldest_ns
			    : until_ns - CHART_MIN_NS;
	if (!step_ms && since_ns < oldest_ns && (!since_ns || since_ns + CHART_MIN_NS < until_ns))
		since_ns = oldest_ns;
	span = until_ns > since_ns ? until_ns - since_ns : TL_SEC;
	ret->step_ns = step_ms ? (uint64_t)step_ms * TL_MS : nice_step(span / (uint64_t)steps);
	if (ret->step_ns < least_step_ns)
		ret->step_ns = least_step_ns;
	ret->from_ns = since_ns - since_ns % ret->step_ns;
	ret->n = (until_ns - ret->from_ns) / ret->step_ns + 1;
	if (ret->n > TL_STEPS_MAX)
		ret->n = TL_STEPS_MAX;
	return 0;
}

static void add_time(struct tl_buf *out, const char *key, uint64_t ns)
{
	char time[TL_TIME_LEN + 1];

	tl_json_key(out, key);
	tl_time_format(ns, time);
	if (ns)
		tl_buf_printf(out, "\"%s\"", time);
	else
		tl_buf_puts(out, "null");
}

static void add_range(struct tl_buf *out, uint64_t from_ns, uint64_t step_ns, uint64_t complete_ns)
{
	tl_buf_puts(out, "{");
	add_time(out, "from", from_ns);
	tl_buf_printf(out, ",\"step_ms\":%llu", (unsigned long long)(step_ns / TL_MS));
	add_time(out, "complete_from", complete_ns);
}

static void add_counts(struct tl_buf *out, const struct tl_histogram *h, const char *name,
		       unsigned low, unsigned high)
{
	tl_json_key(out, name);
	tl_buf_putc(out, '[');
	for (size_t i = 0; i < h->n; i++) {
		uint64_t n = 0;

		for (unsigned class = low; class <= high; class ++)
			n += h->counts[i][class];
		tl_buf_printf(out, "%s%llu", i ? "," : "", (unsigned long long)n);
	}
	tl_buf_putc(out, ']');
}

static void add_histogram(struct tl_buf *out, const struct tl_histogram *h)
{
	add_range(out, h->from_ns, h->step_ns, h->complete_ns);
	tl_buf_printf(out, ",\"total\":%llu,\"of\":\"%s\",\"counts\":{",
		      (unsigned long long)h->total, h->from_metrics ? "metrics" : "lines");
	add_counts(out, h, "unset", 0, 0);
	add_counts(out, h, "debug", 1, 2);
	add_counts(out, h, "info", 3, 3);
	add_counts(out, h, "warn", 4, 4);
	add_counts(out, h, "error", 5, 6);
	tl_buf_puts(out, "}}\n");
}

/* Where an earlier answer, that ran out of time, got to. */
static int read_before(const struct tl_api_request *request, uint64_t *ret, struct tl_error *error)
{
	const char *text = request->argument(request->arg, "before");

	*ret = 0;
	if (text && tl_time_parse(text, strlen(text), ret) < 0)
		return tl_error_set(error, -EINVAL, "before: `complete_from` of an earlier answer");
	return 0;
}

int tl_api_histogram(const struct tl_api_request *request, struct tl_buf *out,
		     struct tl_error *error)
{
	_cleanup_(tl_store_reader_closep) struct tl_store_reader *reader = NULL;
	struct tl_histogram *h = calloc(1, sizeof(*h));
	struct tl_query *query = calloc(1, sizeof(*query));
	struct range range;
	int r = h && query ? tl_api_query(request, query, error)
			   : tl_error_set(error, -ENOMEM, "out of memory");

	r = r < 0 ? r : tl_store_reader_open(request->store, &reader, error);
	r = r < 0 ? r
		  : read_range(request, reader, query->since_ns, query->until_ns, TL_MS, &range,
			       error);
	r = r < 0 ? r : read_before(request, &h->before_ns, error);
	if (r == 0) {
		h->from_ns = range.from_ns;
		h->step_ns = range.step_ns;
		h->n = range.n;
		r = tl_store_histogram(reader, query, h, error);
	}
	if (r == 0)
		add_histogram(out, h);
	free(query);
	free(h);
	return r;
}

static void add_numbers(struct tl_buf *out, const char *key, const uint64_t *numbers, size_t n)
{
	tl_json_key(out, key);
	tl_buf_putc(out, '[');
	for (size_t i = 0; i < n; i++)
		tl_buf_printf(out, "%s%llu", i ? "," : "", (unsigned long long)numbers[i]);
	tl_buf_putc(out, ']');
}

static void add_service(struct tl_buf *out, const struct tl_service *s, size_t n)
{
	tl_buf_puts(out, "{\"name\":");
	tl_json_string(out, tl_span_str(s->name));
	add_numbers(out, "lines", s->lines, n);
	add_numbers(out, "errors", s->errors, n);
	add_numbers(out, "requests", s->requests, n);
	add_numbers(out, "failed", s->failed, n);
	tl_buf_printf(out,
		      ",\"p50_ms\":%.3f,\"p95_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f,"
		      "\"gaps\":%llu,\"lost_bytes\":%llu}",
		      tl_service_quantile(s, 0.5) * 1e3, tl_service_quantile(s, 0.95) * 1e3,
		      tl_service_quantile(s, 0.99) * 1e3, s->longest * 1e3,
		      (unsigned long long)s->gaps, (unsigned long long)s->lost_bytes);
}

int tl_api_services(const struct tl_api_request *request, struct tl_buf *out,
		    struct tl_error *error)
{
	_cleanup_(tl_store_reader_closep) struct tl_store_reader *reader = NULL;
	struct tl_services services = {0};
	struct tl_query *query = calloc(1, sizeof(*query));
	struct range range;
	int r = query ? tl_api_query(request, query, error)
		      : tl_error_set(error, -ENOMEM, "out of memory");

	r = r < 0 ? r : tl_store_reader_open(request->store, &reader, error);
	/* The pipeline's windows are 10 s. */
	r = r < 0 ? r
		  : read_range(request, reader, query->since_ns, query->until_ns, 10 * TL_SEC,
			       &range, error);
	free(query);
	if (r == 0) {
		services.from_ns = range.from_ns;
		services.step_ns = range.step_ns;
		services.n = range.n;
		r = tl_store_services(reader, TL_API_BUDGET_MS * TL_MS, &services, error);
	}
	if (r == 0) {
		add_range(out, services.from_ns, services.step_ns, services.complete_ns);
		tl_buf_printf(out, ",\"steps\":%zu,\"others\":%llu,\"services\":[", services.n,
			      (unsigned long long)services.others);
		for (size_t i = 0; i < services.n_items; i++) {
			if (i)
				tl_buf_putc(out, ',');
			add_service(out, &services.items[i], services.n);
		}
		tl_buf_puts(out, "]}\n");
	}
	tl_services_done(&services);
	return r;
}

struct letters {
	struct tl_buf *out;
	bool first;
};

static void add_letter(void *arg, struct tl_span stage, struct tl_span reason, int64_t count)
{
	struct letters *letters = arg;

	tl_buf_puts(letters->out, letters->first ? "{\"stage\":" : ",{\"stage\":");
	letters->first = false;
	tl_json_string(letters->out, stage);
	tl_buf_puts(letters->out, ",\"reason\":");
	tl_json_string(letters->out, reason);
	tl_buf_printf(letters->out, ",\"count\":%lld}", (long long)count);
}

static int add_store(const struct tl_api_request *request, struct tl_buf *out,
		     struct tl_error *error)
{
	_cleanup_(tl_store_reader_closep) struct tl_store_reader *reader = NULL;
	struct letters letters = {out, true};
	struct tl_contents contents;
	int r = tl_store_reader_open(request->store, &reader, error);

	r = r < 0 ? r : tl_store_contents(reader, &contents, error);
	if (r < 0)
		return r;
	tl_buf_puts(out, "{\"path\":");
	tl_json_string(out, tl_span_str(request->store));
	tl_buf_printf(out,
		      ",\"records\":%lld,\"exchanges\":%lld,\"bytes\":%llu,\"dead_letters\":%lld",
		      (long long)contents.logs, (long long)contents.exchanges,
		      (unsigned long long)contents.bytes, (long long)contents.dead_letters);
	add_time(out, "oldest", contents.oldest_ns);
	add_time(out, "newest", contents.newest_ns);
	tl_buf_puts(out, ",\"dead_letter_reasons\":[");
	if (contents.dead_letters)
		r = tl_store_dead_letters(reader, add_letter, &letters, error);
	tl_buf_puts(out, "]}");
	return r;
}

/* The agent's status file as it is, when it is one whole JSON object; else null and why. */
static void add_agent(const struct tl_api_request *request, struct tl_buf *out)
{
	_cleanup_(tl_buf_done) struct tl_buf json = {0};
	struct tl_json_cursor cursor;
	struct tl_json_value value;
	struct tl_error error = {0};
	struct tl_span key;
	char path[4200];
	int r = -ENOENT;

	if (request->state) {
		snprintf(path, sizeof(path), "%s/status.json", request->state);
		r = tl_file_read(path, STATUS_MAX, &json, &error);
	}
	if (r >= 0 && (r = tl_json_enter(&cursor, tl_buf_span(&json))) == 0) {
		while ((r = tl_json_member(&cursor, &key, &value)) == 1)
			;
		if (r == 0 && !tl_json_at_end(&cursor))
			r = -EINVAL;
	}
	if (r == 0 && json.len && json.data[0] == '{') {
		tl_buf_puts(out, "\"agent\":");
		tl_buf_add(out, json.data, json.len);
		tl_buf_puts(out, ",\"agent_why\":null");
		return;
	}
	tl_buf_puts(out, "\"agent\":null,\"agent_why\":");
	tl_json_string(out, tl_span_str(!request->state	   ? "no --state was given"
					: error.message[0] ? error.message
							   : "its status is no JSON"));
}

int tl_api_health(const struct tl_api_request *request, struct tl_buf *out, struct tl_error *error)
{
	_cleanup_(tl_buf_done) struct tl_buf store = {0};
	struct tl_error why = {0};
	int r = add_store(request, &store, &why);

	(void)error;
	tl_buf_puts(out, "{");
	add_time(out, "time", tl_wall_ns());
	tl_buf_puts(out, ",\"store\":");
	if (r == 0) {
		tl_buf_add(out, store.data, store.len);
		tl_buf_puts(out, ",\"store_why\":null,");
	} else {
		tl_buf_puts(out, "null,\"store_why\":");
		tl_json_string(out, tl_span_str(why.message));
		tl_buf_putc(out, ',');
	}
	add_agent(request, out);
	tl_buf_printf(out, ",\"page\":{\"streams\":%u,\"skipped_records\":%llu}}\n",
		      request->streams, (unsigned long long)request->skipped);
	return out->failed ? tl_error_set(error, -EFBIG, "the answer is too large") : 0;
}
