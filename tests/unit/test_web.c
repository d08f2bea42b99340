/* SPDX-License-Identifier: Apache-2.0 */
/* The API's answers over a store of forty records, the stream's turns, and who is let in. */
#include "store_fixture.h"

#include "agent/correlate/correlate.h"
#include "bpf/event.h"
#include "userspace/base/json.h"
#include "userspace/web/access.h"
#include "userspace/web/api.h"
#include "userspace/web/page.h"
#include "userspace/web/server.h"
#include "userspace/web/stream.h"

#define RECORDS 40

struct args {
	const char *pairs[16]; /* name, value, ..., NULL */
};

static const char *argument(void *arg, const char *name)
{
	struct args *args = arg;

	for (size_t i = 0; args->pairs[i]; i += 2)
		if (strcmp(args->pairs[i], name) == 0)
			return args->pairs[i + 1];
	return NULL;
}

static void put_exchange(struct store_fixture *f, unsigned n)
{
	struct tl_record *r = new_record(f, 500 + n, "");
	struct tl_message m;

	r->observed_ns = T0 + n * TL_SEC;
	tl_attr_set(&r->attributes, "correlation.id", TL_SPAN_LIT("req-3"));
	tl_attr_set(&r->attributes, "http.request.method", TL_SPAN_LIT("GET"));
	tl_attr_set_span(&r->attributes, TL_SPAN_LIT("http.response.status_code"),
			 TL_SPAN_LIT("503"), TL_ATTR_LITERAL);
	m = message_of(f, TL_TOPIC_HTTP);
	assert_int_equal(put(f, &m, 1), 0);
	assert_int_equal(commit_at(f, f->offset), 0);
}

static void put_metrics(struct store_fixture *f)
{
#define WINDOW                                                                                     \
	"{\"window_start\":\"2026-11-23T01:00:00.000000000Z\",\"window_end\":\"2026-11-23T01:00:"  \
	"10.000000000Z\",\"name\":"
	struct tl_message m[3] = {
		text_message(f, TL_TOPIC_METRICS,
			     WINDOW "\"log.records\",\"labels\":{\"service.name\":\"cart\","
				    "\"severity_text\":\"INFO\"},\"count\":30,\"sum\":1,\"min\":1,"
				    "\"max\":1}"),
		text_message(f, TL_TOPIC_METRICS,
			     WINDOW "\"log.records\",\"labels\":{\"service.name\":\"cart\","
				    "\"severity_text\":\"ERROR\"},\"count\":10,\"sum\":1,\"min\":1,"
				    "\"max\":1}"),
		text_message(f, TL_TOPIC_METRICS,
			     WINDOW "\"http.server.request.duration\",\"labels\":{\"service."
				    "name\":\"cart\",\"http.response.status_code\":\"503\"},"
				    "\"count\":4,\"sum\":0.04,\"min\":0.006,\"max\":0.02,"
				    "\"buckets\":[0,2,2,0]}"),
	};

	assert_int_equal(put(f, m, 3), 0);
	assert_int_equal(f->result.n_dead, 0);
	assert_int_equal(commit_at(f, f->offset), 0);
}

static int setup(void **state)
{
	struct store_fixture *f;

	store_setup(state);
	f = *state;
	for (unsigned n = 0; n < RECORDS; n++) {
		struct tl_record *r = new_record(f, n, n % 2 ? "an odd line" : "an even line");

		r->severity_number = n % 4 ? 9 : 17;
		if (n == 3 || n == 4)
			tl_attr_set(&r->attributes, "correlation.id", TL_SPAN_LIT("req-3"));
		put_record(f);
	}
	put_exchange(f, 3);
	put_metrics(f);
	return 0;
}

/* Calls an API function with "name", "value", ... and returns its JSON, of the fixture's arena. */
#define CALL(f, function, ...) call(f, function, &(struct args){{__VA_ARGS__}})

static struct tl_span call(struct store_fixture *f, tl_api_function *function, struct args *args)
{
	struct tl_api_request request = {
		.argument = argument, .arg = args, .store = f->path, .state = f->dir};
	_cleanup_(tl_buf_done) struct tl_buf out = {0};
	struct tl_error error = {0};
	struct tl_json_cursor cursor;
	struct tl_json_value value;
	struct tl_span key;
	int r = function(&request, &out, &error);

	if (r < 0)
		fail_msg("%s", error.message);
	assert_int_equal(tl_json_enter(&cursor, tl_buf_span(&out)), 0);
	while ((r = tl_json_member(&cursor, &key, &value)) == 1)
		;
	assert_int_equal(r, 0);
	assert_true(tl_json_at_end(&cursor));
	return tl_arena_copy(&f->arena, tl_buf_span(&out));
}

static int refused(struct store_fixture *f, tl_api_function *function, struct args *args)
{
	struct tl_api_request request = {.argument = argument, .arg = args, .store = f->path};
	_cleanup_(tl_buf_done) struct tl_buf out = {0};
	struct tl_error error = {0};
	int r = function(&request, &out, &error);

	assert_true(r == 0 || error.message[0]);
	return r;
}

#define REFUSED(f, function, ...) refused(f, function, &(struct args){{__VA_ARGS__}})

static struct tl_json_value member(struct tl_span json, const char *key)
{
	struct tl_json_value value;

	if (tl_json_find(json, key, &value) != 1)
		fail_msg("no `%s` in %.*s", key, (int)json.len, json.data);
	return value;
}

static uint64_t number_of(struct tl_span json, const char *key)
{
	struct tl_json_value value = member(json, key);
	uint64_t n;

	assert_int_equal(tl_json_u64(&value, &n), 0);
	return n;
}

static size_t count_of(struct tl_span json, const char *key)
{
	struct tl_json_cursor cursor;
	struct tl_json_value value;
	size_t n = 0;

	assert_int_equal(tl_json_enter(&cursor, member(json, key).raw), 0);
	while (tl_json_element(&cursor, &value) == 1)
		n++;
	return n;
}

static void search_is_read_page_by_page(void **state)
{
	struct store_fixture *f = *state;
	struct tl_span json = CALL(f, tl_api_search, "q", "even", "limit", "15", NULL);
	char next[64];

	assert_int_equal(count_of(json, "records"), 15);
	assert_int_equal(number_of(json, "newest"), RECORDS);
	assert_true(tl_span_is(member(json, "end").raw, "limit"));
	snprintf(next, sizeof(next), "%.*s", (int)member(json, "next").raw.len,
		 member(json, "next").raw.data);
	json = CALL(f, tl_api_search, "q", "even", "limit", "15", "before", next, NULL);
	assert_int_equal(count_of(json, "records"), 5);
	assert_true(tl_span_is(member(json, "end").raw, "all"));
	assert_int_equal(member(json, "next").type, TL_JSON_NULL);
}

static void tail_goes_on_behind_what_it_gave(void **state)
{
	struct store_fixture *f = *state;
	struct tl_span json = CALL(f, tl_api_tail, "after", "30", "limit", "4", NULL);

	assert_int_equal(count_of(json, "records"), 4);
	assert_int_equal(number_of(json, "newest"), 34);
	json = CALL(f, tl_api_tail, "q", "nowhere", "after", "30", NULL);
	assert_int_equal(count_of(json, "records"), 0);
	assert_int_equal(number_of(json, "newest"), RECORDS);
}

static void request_has_its_lines_and_exchanges(void **state)
{
	struct tl_span json = CALL(*state, tl_api_request_of, "id", "req-3", NULL);

	assert_int_equal(count_of(json, "records"), 2);
	assert_int_equal(count_of(json, "exchanges"), 1);
	assert_int_equal(count_of(CALL(*state, tl_api_request_of, "id", "\"", NULL), "records"), 0);
}

static void histogram_counts_every_line_once(void **state)
{
	struct store_fixture *f = *state;
	struct tl_span json = CALL(f, tl_api_histogram, "since", "2026-11-23T01:00:00Z", "until",
				   "2026-11-23T01:02:00Z", "steps", "12", NULL);

	assert_int_equal(number_of(json, "total"), RECORDS);
	assert_int_equal(number_of(json, "step_ms"), 10000);
	assert_true(tl_span_is(member(member(json, "counts").raw, "error").raw,
			       "[3,2,3,2,0,0,0,0,0,0,0,0,0]"));
	json = CALL(f, tl_api_histogram, "q", "odd", "since", "2026-11-23T01:00:00Z", "until",
		    "2026-11-23T01:02:00Z", NULL);
	assert_int_equal(number_of(json, "total"), RECORDS / 2);
}

static void services_have_rates_errors_and_durations(void **state)
{
	struct tl_span json = CALL(*state, tl_api_services, "since", "2026-11-23T01:00:00Z",
				   "until", "2026-11-23T01:02:00Z", "steps", "2", NULL);
	struct tl_json_cursor cursor;
	struct tl_json_value cart;

	assert_int_equal(tl_json_enter(&cursor, member(json, "services").raw), 0);
	assert_int_equal(tl_json_element(&cursor, &cart), 1);
	assert_true(tl_span_is(member(cart.raw, "name").raw, "cart"));
	assert_true(tl_span_is(member(cart.raw, "lines").raw, "[40,0,0]"));
	assert_true(tl_span_is(member(cart.raw, "errors").raw, "[10,0,0]"));
	assert_true(tl_span_is(member(cart.raw, "failed").raw, "[4,0,0]"));
	assert_true(tl_span_is(member(cart.raw, "p50_ms").raw, "10.000"));
	assert_true(tl_span_is(member(cart.raw, "max_ms").raw, "20.000"));
}

static void write_status(struct store_fixture *f, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/status.json", f->dir);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void health_holds_the_agents_status_only_when_it_is_json(void **state)
{
	struct store_fixture *f = *state;
	struct tl_span json = CALL(f, tl_api_health, NULL);

	assert_int_equal(number_of(member(json, "store").raw, "records"), RECORDS);
	assert_int_equal(member(json, "agent").type, TL_JSON_NULL);
	assert_int_equal(member(json, "agent_why").type, TL_JSON_STRING);
	write_status(f, "{\"pid\":7}\n");
	json = CALL(f, tl_api_health, NULL);
	assert_int_equal(number_of(member(json, "agent").raw, "pid"), 7);
	write_status(f, "{\"pid\":7},\"page\":{\"forged\":1}");
	assert_int_equal(member(CALL(f, tl_api_health, NULL), "agent").type, TL_JSON_NULL);
	write_status(f, "{\"pid\":");
	assert_int_equal(member(CALL(f, tl_api_health, NULL), "agent").type, TL_JSON_NULL);
}

static void wrong_arguments_are_refused_with_a_sentence(void **state)
{
	struct store_fixture *f = *state;

	assert_int_equal(REFUSED(f, tl_api_search, "limit", "0", NULL), -EINVAL);
	assert_int_equal(REFUSED(f, tl_api_search, "limit", "1e3", NULL), -EINVAL);
	assert_int_equal(REFUSED(f, tl_api_search, "before", "12", NULL), -EINVAL);
	assert_int_equal(REFUSED(f, tl_api_search, "before", "1.2.3", NULL), -EINVAL);
	assert_int_equal(REFUSED(f, tl_api_search, "since", "soon", NULL), -EINVAL);
	assert_int_equal(REFUSED(f, tl_api_search, "q", "severity>=loud", NULL), -EINVAL);
	assert_int_equal(REFUSED(f, tl_api_search, "q", "words", "http", "1", NULL), -EINVAL);
	assert_int_equal(REFUSED(f, tl_api_tail, "after", "-1", NULL), -EINVAL);
	assert_int_equal(REFUSED(f, tl_api_histogram, "steps", "99999", NULL), -EINVAL);
	assert_int_equal(REFUSED(f, tl_api_request_of, NULL), -EINVAL);
	tl_sink_store.close(f->sink);
	f->sink = NULL;
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(REFUSED(f, tl_api_search, NULL), -ENOENT);
}

static void assert_turn(struct store_fixture *f, int64_t *after, uint64_t skipped, const char *has)
{
	struct tl_query query = {.after = -1};
	_cleanup_(tl_store_reader_closep) struct tl_store_reader *reader = NULL;
	_cleanup_(tl_buf_done) struct tl_buf out = {0};
	struct tl_error error = {0};
	uint64_t told;

	assert_int_equal(tl_store_reader_open(f->path, &reader, &error), 0);
	assert_int_equal(tl_stream_turn(reader, &query, after, &out, &told, &error), 0);
	assert_int_equal(told, skipped);
	tl_buf_putc(&out, '\0');
	if (has ? !strstr(out.data, has) : out.len > 1)
		fail_msg("`%s` is not in %.300s", has ?: "nothing", out.data);
}

static void stream_gives_what_came_once(void **state)
{
	struct store_fixture *f = *state;
	int64_t after = RECORDS - 2;

	assert_turn(f, &after, 0, "id: 40\nevent: records\ndata: [{");
	assert_int_equal(after, RECORDS);
	assert_turn(f, &after, 0, NULL);
	new_record(f, 100, "one\nmore");
	put_record(f);
	assert_turn(f, &after, 0, "one\\nmore");
	assert_int_equal(after, RECORDS + 1);
	after = 4711; /* of another store */
	assert_turn(f, &after, 0, NULL);
	assert_int_equal(after, RECORDS + 1);
}

static void stream_leaves_out_and_counts_what_is_too_much(void **state)
{
	struct store_fixture *f = *state;
	int64_t after = RECORDS;
	struct tl_message *m = calloc(1200, sizeof(*m));

	for (unsigned n = 0; n < 1200; n++) {
		new_record(f, 1000 + n, "fast");
		m[n] = message_of(f, TL_TOPIC_LOGS);
	}
	assert_int_equal(put(f, m, 1200), 0);
	assert_int_equal(commit_at(f, f->offset), 0);
	free(m);
	assert_turn(f, &after, 1200 - TL_STREAM_BATCH,
		    "event: skipped\ndata: {\"records\":700}\n\nid: 1240\nevent: records\n");
	assert_int_equal(after, RECORDS + 1200);
}

static void only_names_of_loopback_are_loopback(void **state)
{
	static const char *const good[] = {"localhost",	  "localhost:80", "127.0.0.1",
					   "127.9.9.9:1", "[::1]",	  "[::1]:80"};
	static const char *const bad[] = {"",
					  "evil.example",
					  "localhost.evil.example",
					  "127.0.0.1.evil.example",
					  "127.evil",
					  "[::1].evil",
					  "10.0.0.1",
					  "0.0.0.0",
					  "[::2]",
					  "xlocalhost"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(tl_access_is_loopback_name(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(tl_access_is_loopback_name(bad[i]));
}

static void only_the_whole_token_is_the_token(void **state)
{
	struct tl_access access = {.token = "abcdefghijklmnop", .port = 80};

	(void)state;
	assert_true(tl_access_is_token(&access, "abcdefghijklmnop"));
	assert_false(tl_access_is_token(&access, "abcdefghijklmno"));
	assert_false(tl_access_is_token(&access, "abcdefghijklmnopabcdefghijklmnop"));
	assert_false(tl_access_is_token(&access, "abcdefghijklmnoP"));
	assert_false(tl_access_is_token(&access, ""));
	assert_false(tl_access_is_token(&access, NULL));
	access.token = NULL;
	assert_false(tl_access_is_token(&access, ""));
	access.token = "";
	assert_false(tl_access_is_token(&access, ""));
}

static void addresses_of_others_need_a_token(void **state)
{
	struct tl_error error = {0};

	(void)state;
	assert_int_equal(tl_web_check("127.0.0.1:1", false, &error), 0);
	assert_int_equal(tl_web_check("[::1]:1", false, &error), 0);
	assert_int_equal(tl_web_check("0.0.0.0:1", false, &error), -EINVAL);
	assert_int_equal(tl_web_check("[::]:1", false, &error), -EINVAL);
	assert_int_equal(tl_web_check("192.0.2.1:1", false, &error), -EINVAL);
	assert_int_equal(tl_web_check("0.0.0.0:1", true, &error), 0);
}

static void page_is_in_the_program_and_asks_nobody_else(void **state)
{
	static const char *const urls[] = {"/", "/style.css", "/app.js", "/theme.js"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		const struct tl_page_file *file = tl_page_file(urls[i]);

		assert_non_null(file);
		assert_true(file->end - file->text > 100);
		assert_null(memmem(file->text, (size_t)(file->end - file->text), "https://", 8));
		assert_null(memmem(file->text, (size_t)(file->end - file->text), "innerHTML", 9));
		assert_null(memmem(file->text, (size_t)(file->end - file->text), " onclick=", 9));
	}
	assert_null(tl_page_file("/../server.c"));
}

static void assert_explained(const char *const *names, size_t n)
{
	const struct tl_page_file *file = tl_page_file("/explain.js");
	size_t len = (size_t)(file->end - file->text);

	for (size_t i = 0; i < n; i++) {
		char plain[64], quoted[64];

		snprintf(plain, sizeof(plain), "\t%s: ", names[i]);
		snprintf(quoted, sizeof(quoted), "\t'%s': ", names[i]);
		if (names[i][0] && !memmem(file->text, len, plain, strlen(plain)) &&
		    !memmem(file->text, len, quoted, strlen(quoted)))
			fail_msg("the page does not explain `%s`", names[i]);
	}
}

static void page_explains_every_word_of_the_agent(void **state)
{
	static const char *const hows[] = TL_HOW_NAMES, *const whys[] = TL_WHY_NAMES,
				 *const causes[] = TL_CAUSE_NAMES;

	(void)state;
	assert_explained(hows, ARRAY_SIZE(hows));
	assert_explained(whys, ARRAY_SIZE(whys));
	assert_explained(causes, ARRAY_SIZE(causes));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, store_teardown)
	const struct CMUnitTest tests[] = {
		T(search_is_read_page_by_page),
		T(tail_goes_on_behind_what_it_gave),
		T(request_has_its_lines_and_exchanges),
		T(histogram_counts_every_line_once),
		T(services_have_rates_errors_and_durations),
		T(health_holds_the_agents_status_only_when_it_is_json),
		T(wrong_arguments_are_refused_with_a_sentence),
		T(stream_gives_what_came_once),
		T(stream_leaves_out_and_counts_what_is_too_much),
		cmocka_unit_test(only_names_of_loopback_are_loopback),
		cmocka_unit_test(only_the_whole_token_is_the_token),
		cmocka_unit_test(addresses_of_others_need_a_token),
		cmocka_unit_test(page_is_in_the_program_and_asks_nobody_else),
		cmocka_unit_test(page_explains_every_word_of_the_agent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
