/* SPDX-License-Identifier: Apache-2.0 */
/* Fills a store through the sink with ROWS records of five services, then asks the questions that
 * people ask, each many times, and prints p50 and p95 of the whole answer: open the store, search,
 * read 100 records. Only the sink's own time counts for the write rate, not the making of records.
 * usage: bench_search ROWS FILE [ROUNDS]    (a FILE that exists is asked as it is) */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "userspace/base/clock.h"
#include "userspace/sink/store.h"
#include "userspace/store/query.h"

#define BATCH 4096u
#define T0 (UINT64_C(1795395600) * TL_SEC)
#define STEP_NS (2 * TL_MS) /* between records: 1,000,000 of them are 33 minutes */
#define LIMIT 100
#define BUDGET_NS (150 * TL_MS) /* the page's: what takes longer is answered in parts */
#define ROUNDS_MAX 1000

static uint64_t seed = 88172645463325252ull;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static unsigned below(unsigned n)
{
	return (unsigned)(next_random() % n);
}

static const char *const services[] = {"edge", "cart", "orders", "payments", "mailer"};
static const char *const routes[] = {"/cart/items", "/orders", "/products/search", "/login",
				     "/healthz"};
static const char *const words[] = {
	"inventory", "session",	 "cache",    "warmed",	"retry",     "scheduled", "connection",
	"pool",	     "upstream", "deadline", "shipped", "invoice",   "customer",  "voucher",
	"applied",   "queue",	 "drained",  "commit",	"partition", "rebalance"};

static void body_of(unsigned n, uint64_t request, unsigned service, unsigned severity,
		    struct tl_buf *out)
{
	tl_buf_clear(out);
	if (service == 0)
		tl_buf_printf(out, "10.0.%u.%u \"GET %s HTTP/1.1\" %u %u rid=%016llx", below(256),
			      below(256), routes[below(5)], severity >= 17 ? 502 : 200,
			      below(90000), (unsigned long long)request);
	else
		tl_buf_printf(out, "request handled: %s %s %s in %u ms%s", words[below(20)],
			      words[below(20)], words[below(20)], below(400),
			      severity >= 17 ? " failed: connection refused" : "");
	if (n % 250000 == 1234)
		tl_buf_puts(out, " wolpertinger");
}

static void make_record(struct tl_record *r, struct tl_arena *arena, unsigned n,
			struct tl_buf *body)
{
	unsigned service = n % 2000 == 7 ? 4 : n % 4, dice = below(1000);
	unsigned severity = dice < 8 ? 17 : dice < 40 ? 13 : dice < 100 ? 5 : 9;
	uint64_t request = 0x9e3779b97f4a7c15ull * (n / 5 + 1);

	tl_record_reset(r);
	body_of(n, request, service, severity, body);
	r->uid = tl_arena_printf(arena, "9f0b6c1e5d2a4477-%x-%x", service, n * 80);
	r->observed_ns = r->timestamp_ns = T0 + n * STEP_NS;
	r->severity_number = (uint8_t)severity;
	r->severity_text = tl_span_str(severity == 17	? "ERROR"
				       : severity == 13 ? "WARN"
				       : severity == 5	? "DEBUG"
							: "INFO");
	r->body = tl_arena_copy(arena, tl_buf_span(body));
	tl_attr_set(&r->resource, "service.name", tl_span_str(services[service]));
	tl_attr_set(&r->resource, "host.name", TL_SPAN_LIT("node-1"));
	tl_attr_set(&r->resource, "process.pid", tl_arena_printf(arena, "%u", 800 + service));
	tl_attr_set(&r->resource, "process.executable.path", TL_SPAN_LIT("/usr/local/bin/service"));
	tl_attr_set(&r->attributes, "log.iostream", TL_SPAN_LIT("stdout"));
	tl_attr_set_u64(&r->attributes, arena, "thread.id", 815 + below(16));
	tl_attr_set(&r->attributes, "stream.id", tl_arena_printf(arena, "%x", service));
	tl_attr_set(&r->attributes, "stream.ranges",
		    tl_arena_printf(arena, "%x-%x", n * 80, n * 80 + 80));
	tl_attr_set_u64(&r->attributes, arena, "http.response.status_code",
			severity == 17 ? 502 : 200);
	tl_attr_set(&r->attributes, "tenant", tl_arena_printf(arena, "t%u", below(5000)));
	if (n % 10 == 9) {
		tl_attr_set(&r->attributes, "correlation.how", TL_SPAN_LIT("none"));
		tl_attr_set(&r->attributes, "correlation.why", TL_SPAN_LIT("no-request"));
		return;
	}
	tl_attr_set(&r->attributes, "correlation.how", TL_SPAN_LIT("unit"));
	tl_attr_set(&r->attributes, "correlation.source", TL_SPAN_LIT("x-request-id"));
	tl_attr_set(&r->attributes, "correlation.id",
		    tl_arena_printf(arena, "%016llx", (unsigned long long)request));
}

static void die(const char *what, const struct tl_error *error)
{
	fprintf(stderr, "bench_search: %s: %s\n", what, error->message);
	exit(1);
}

/* Wall time lies on a busy machine; the sink works in this thread alone. */
static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Returns the CPU seconds that the sink took for the batch. */
static double write_batch(struct tl_sink *sink, unsigned from, unsigned n)
{
	static struct tl_message messages[BATCH];
	static struct tl_dead_letter dead[BATCH];
	static struct tl_record record;
	_cleanup_(tl_buf_done) struct tl_buf body = {0}, json = {0};
	struct tl_arena arena = {0}, texts = {0};
	struct tl_sink_result result = {.dead = dead};
	struct tl_partition part = {TL_TOPIC_LOGS, 0, from + n};
	struct tl_error error = {0};
	double began;

	for (unsigned i = 0; i < n; i++) {
		make_record(&record, &arena, from + i, &body);
		tl_buf_clear(&json);
		tl_record_to_json(&record, &json);
		messages[i] =
			(struct tl_message){.topic = TL_TOPIC_LOGS,
					    .offset = from + i,
					    .value = tl_arena_copy(&texts, tl_buf_span(&json))};
		tl_arena_reset(&arena);
	}
	began = cpu_seconds();
	if (tl_sink_store.write(sink, messages, n, &result, NULL, &error) < 0 ||
	    tl_sink_store.commit(sink, &part, 1, &error) < 0)
		die("write", &error);
	began = cpu_seconds() - began;
	tl_arena_done(&arena);
	tl_arena_done(&texts);
	return began;
}

static void fill(const char *path, unsigned rows)
{
	struct tl_store_settings settings = {.path = path};
	struct tl_sink *sink;
	struct tl_error error = {0};
	double seconds = 0;

	if (tl_sink_store.open(&settings, &sink, &error) < 0)
		die(path, &error);
	tl_sink_store.source(sink, "bench");
	for (unsigned from = 0; from < rows; from += BATCH)
		seconds += write_batch(sink, from, rows - from < BATCH ? rows - from : BATCH);
	tl_sink_store.close(sink);
	printf("write    %u records in %.1f CPU seconds of the sink: %.0f records/s\n", rows,
	       seconds, rows / seconds);
}

static int on_row(void *arg, const struct tl_row *row)
{
	size_t *found = arg;

	*found += row->json.len > 0;
	return 0;
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* One whole answer. Returns its time in ms. */
static double ask(const char *path, const struct tl_query *query, size_t *ret_found, bool *ret_part)
{
	_cleanup_(tl_store_reader_closep) struct tl_store_reader *reader = NULL;
	struct tl_search search;
	struct tl_error error = {0};
	uint64_t began = tl_mono_ns();

	*ret_found = 0;
	if (tl_store_reader_open(path, &reader, &error) < 0 ||
	    tl_store_search(reader, query, on_row, ret_found, &search, &error) < 0)
		die("search", &error);
	*ret_part = search.end == TL_END_TIME;
	return (double)(tl_mono_ns() - began) / 1e6;
}

static bool measure(const char *path, const char *name, const char *text, bool range,
		    unsigned rounds)
{
	static double ms[ROUNDS_MAX];
	struct tl_query query = {.after = -1, .limit = LIMIT, .budget_ns = BUDGET_NS};
	struct tl_error error = {0};
	size_t found = 0;
	bool part = false;

	if (tl_query_parse(&query, text, &error) < 0)
		die(text, &error);
	if (range) {
		query.since_ns = T0 + 300 * TL_SEC;
		query.until_ns = T0 + 360 * TL_SEC;
	}
	for (unsigned i = 0; i < rounds; i++)
		ms[i] = ask(path, &query, &found, &part);
	qsort(ms, rounds, sizeof(ms[0]), by_size);
	printf("%-26s %5zu %9.2f %9.2f %9.2f   %s%s\n", name, found, ms[rounds / 2],
	       ms[rounds * 95 / 100], ms[rounds - 1], text, part ? " (in parts)" : "");
	return ms[rounds * 95 / 100] < 200;
}

static const struct {
	const char *name, *text;
	bool range;
} questions[] = {
	{"newest", "", false},
	{"rare word", "wolpertinger", false},
	{"common word", "request", false},
	{"common words", "request handled cache", false},
	{"phrase", "\"connection refused\"", false},
	{"beginning of words", "invent*", false},
	{"no such word", "xyzzy", false},
	{"common but not rare", "request -wolpertinger", false},
	{"severity", "severity>=error", false},
	{"service", "service=cart", false},
	{"rare service", "service=mailer", false},
	{"how", "how=none", false},
	{"attribute", "tenant=t77", false},
	{"attribute, absent value", "tenant=nobody", false},
	{"attribute, ordered", "http.response.status_code>=500", false},
	{"attribute, none above", "http.response.status_code>=600", false},
	{"request id", "request=9e3779b97f4a7c15", false},
	{"time range", "", true},
	{"time range, common word", "request", true},
	{"time range, rare word", "wolpertinger", true},
	{"word, service, severity", "request service=mailer severity>=warn", false},
	{"range, word, attribute", "handled tenant=t77", true},
	{"common word, rare service", "handled service=mailer", false},
	{"common word, absent value", "handled tenant=nobody", false},
};

int main(int argc, char **argv)
{
	unsigned rows = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
	unsigned rounds = argc > 3 ? (unsigned)atoi(argv[3]) : 25;
	bool fast = true;

	if (argc < 3 || !rows || !rounds || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: bench_search ROWS FILE [ROUNDS]\n");
		return 2;
	}
	if (access(argv[2], F_OK) < 0)
		fill(argv[2], rows);
	printf("%-26s %5s %9s %9s %9s   question, %u times\n", "milliseconds", "found", "p50",
	       "p95", "max", rounds);
	for (size_t i = 0; i < ARRAY_SIZE(questions); i++)
		fast &= measure(argv[2], questions[i].name, questions[i].text, questions[i].range,
				rounds);
	printf("RESULT every p95 is %s 200 ms\n", fast ? "under" : "NOT under");
	return fast ? 0 : 1;
}
