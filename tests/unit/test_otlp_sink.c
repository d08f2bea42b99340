/* SPDX-License-Identifier: Apache-2.0 */
/* The otlp sink against a server in this process that answers as the OTLP specification allows. It
 * keeps the uids it took: each test asks whether every record is there, dead with its reason, or
 * counted as rejected. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "userspace/base/clock.h"
#include "userspace/sink/otlp.h"

#define RECORDS 200
#define BODY_MAX (1 << 20)

struct server {
	struct MHD_Daemon *daemon;
	char url[64];
	pthread_mutex_t lock;
	/* What goes wrong: */
	int status, times;	 /* so many requests end with this status; -1 all */
	const char *retry_after; /* header of those */
	const char *spoiler;	 /* a request with this text in it gets 400 */
	size_t body_max;	 /* larger ones get 413; 0 none */
	const char *answer;	 /* body of 200 */
	bool lose_answer;	 /* the first request is taken, and answered with 504 */
	/* What it saw: */
	int requests, taken[RECORDS];
	uint64_t first_ns, second_ns;
	char path[64], type[64], authorization[64], tenant[64];
};

struct post {
	char data[BODY_MAX];
	size_t len;
};

static void take_uids(struct server *server, const char *body)
{
	static const char mark[] = "\"log.record.uid\",\"value\":{\"stringValue\":\"aa-1-";

	for (const char *at = body; (at = strstr(at, mark)); at++)
		server->taken[strtoul(at + sizeof(mark) - 1, NULL, 16)]++;
}

static void note_header(struct MHD_Connection *connection, const char *name, char *out)
{
	const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);

	snprintf(out, 64, "%s", value ? value : "");
}

static int judge(struct server *server, const struct post *post)
{
	if (server->times) {
		server->times -= server->times > 0;
		return server->status;
	}
	if (server->body_max && post->len > server->body_max)
		return 413;
	if (server->spoiler && strstr(post->data, server->spoiler))
		return 400;
	take_uids(server, post->data);
	if (server->lose_answer) {
		server->lose_answer = false;
		return 504;
	}
	return 200;
}

static enum MHD_Result answer(void *arg, struct MHD_Connection *connection, const char *url,
			      const char *method, const char *version, const char *data,
			      size_t *len, void **state)
{
	struct server *server = arg;
	struct post *post = *state;
	struct MHD_Response *response;
	enum MHD_Result r;
	const char *text;
	int status;

	(void)method, (void)version;
	if (!post) {
		*state = calloc(1, sizeof(*post));
		return *state ? MHD_YES : MHD_NO;
	}
	if (*len) {
		memcpy(post->data + post->len, data, *len);
		post->len += *len;
		*len = 0;
		return MHD_YES;
	}
	pthread_mutex_lock(&server->lock);
	if (++server->requests <= 2)
		*(server->requests == 1 ? &server->first_ns : &server->second_ns) = tl_mono_ns();
	snprintf(server->path, sizeof(server->path), "%s", url);
	note_header(connection, "Content-Type", server->type);
	note_header(connection, "Authorization", server->authorization);
	note_header(connection, "X-Scope-OrgID", server->tenant);
	status = judge(server, post);
	text = status == 200 ? server->answer ? server->answer : "{}"
			     : "{\"code\":3,\"message\":\"because\"}";
	response =
		MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_PERSISTENT);
	if (status != 200 && server->retry_after)
		MHD_add_response_header(response, "Retry-After", server->retry_after);
	r = MHD_queue_response(connection, (unsigned)status, response);
	MHD_destroy_response(response);
	pthread_mutex_unlock(&server->lock);
	free(post);
	*state = NULL;
	return r;
}

struct world {
	struct server server;
	struct tl_otlp_settings settings;
	struct tl_sink *sink;
	struct tl_message messages[RECORDS];
	char values[RECORDS][200];
	struct tl_dead_letter dead[RECORDS];
	struct tl_sink_result result;
	volatile int stop;
	struct tl_error error;
};

static void start_server(struct server *server)
{
	const union MHD_DaemonInfo *info;

	pthread_mutex_init(&server->lock, NULL);
	server->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, answer,
					  server, MHD_OPTION_END);
	assert_non_null(server->daemon);
	info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT);
	snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%u", info->port);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	start_server(&w->server);
	w->settings = (struct tl_otlp_settings){.url = w->server.url,
						.encoding = TL_OTLP_ENCODING_JSON,
						.compression = TL_OTLP_COMPRESSION_NONE,
						.in_flight = 4,
						.request_bytes = 4000,
						.timeout_ns = 5 * TL_SEC};
	for (unsigned n = 0; n < RECORDS; n++) {
		snprintf(w->values[n], sizeof(w->values[n]),
			 "{\"uid\":\"aa-1-%x\",\"observed_timestamp\":"
			 "\"2026-11-23T01:00:00.000000000Z\",\"body\":\"record %u.\"}",
			 n, n);
		w->messages[n].value = tl_span_str(w->values[n]);
	}
	w->result.dead = w->dead;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	unsetenv("OTEL_EXPORTER_OTLP_HEADERS");
	unsetenv("OTEL_EXPORTER_OTLP_PROTOCOL");
	if (w->sink)
		w->sink->ops->close(w->sink);
	MHD_stop_daemon(w->server.daemon);
	free(w);
	return 0;
}

static int write_some(struct world *w, size_t n)
{
	int r = w->sink ? 0 : tl_sink_otlp.open(&w->settings, &w->sink, &w->error);

	return r < 0 ? r
		     : w->sink->ops->write(w->sink, w->messages, n, &w->result, &w->stop,
					   &w->error);
}

static void write_all(struct world *w)
{
	if (write_some(w, RECORDS) < 0)
		fail_msg("%s", w->error.message);
}

static void assert_taken(struct world *w, int at_least, int at_most)
{
	for (int i = 0; i < RECORDS; i++) {
		bool dead = false;

		for (size_t k = 0; k < w->result.n_dead; k++)
			dead |= w->dead[k].message == (size_t)i;
		if (dead)
			assert_int_equal(w->server.taken[i], 0);
		else
			assert_in_range(w->server.taken[i], at_least, at_most);
	}
}

static void every_record_arrives_once_at_the_signals_path(void **state)
{
	struct world *w = *state;

	write_all(w);
	assert_taken(w, 1, 1);
	assert_int_equal(w->result.written, RECORDS);
	assert_string_equal(w->server.path, "/v1/logs");
	assert_string_equal(w->server.type, "application/json");
	assert_in_range(w->server.requests, 5, 20);
}

static void the_url_of_logs_is_used_as_it_is(void **state)
{
	struct world *w = *state;
	char url[100];

	snprintf(url, sizeof(url), "%s/otlp/v1/elsewhere", w->server.url);
	w->settings.logs_url = url;
	write_all(w);
	assert_string_equal(w->server.path, "/otlp/v1/elsewhere");
}

static void a_whole_path_in_url_is_not_doubled(void **state)
{
	struct world *w = *state;
	char url[100];

	snprintf(url, sizeof(url), "%s/otlp/v1/logs", w->server.url);
	w->settings.url = url;
	write_all(w);
	assert_string_equal(w->server.path, "/otlp/v1/logs");
}

static void headers_come_from_environment_and_file(void **state)
{
	struct world *w = *state;

	setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20old, x-scope-orgid=t%31", 1);
	w->settings.headers = "# comment\nAuthorization: Bearer new=\n\n";
	write_all(w);
	assert_string_equal(w->server.authorization, "Bearer new=");
	assert_string_equal(w->server.tenant, "t1");
}

static void a_header_without_a_value_is_einval_and_shows_nothing(void **state)
{
	struct world *w = *state;

	w->settings.headers = "secret-token-alone";
	assert_int_equal(write_some(w, 1), -EINVAL);
	assert_null(strstr(w->error.message, "secret"));
}

static void grpc_in_the_environment_is_told(void **state)
{
	struct world *w = *state;

	setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", 1);
	w->settings.encoding = TL_OTLP_ENCODING_AUTO;
	assert_int_equal(write_some(w, 1), -EINVAL);
	assert_non_null(strstr(w->error.message, "4318"));
}

static void retryable_statuses_are_tried_again(void **state)
{
	static const int statuses[] = {429, 502, 503, 504};

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		struct world *w = *state;

		memset(w->server.taken, 0, sizeof(w->server.taken));
		w->result = (struct tl_sink_result){.dead = w->dead};
		w->server.status = statuses[i];
		w->server.times = 2;
		write_all(w);
		assert_taken(w, 1, 1);
		assert_int_equal(w->result.written, RECORDS);
		assert_true(w->result.retries > 0);
	}
}

static void retry_after_is_waited_for(void **state)
{
	struct world *w = *state;

	w->server.status = 503;
	w->server.times = 1;
	w->server.retry_after = "1";
	write_all(w);
	assert_true(w->server.second_ns - w->server.first_ns >= TL_SEC);
	assert_taken(w, 1, 1);
}

static void a_lost_answer_means_twice_under_the_same_uid(void **state)
{
	struct world *w = *state;

	w->server.lose_answer = true;
	write_all(w);
	assert_taken(w, 1, 2);
	assert_int_equal(w->result.n_dead, 0);
}

static void one_record_that_spoils_a_request_is_found_and_buried(void **state)
{
	struct world *w = *state;

	w->server.spoiler = "record 77.";
	write_all(w);
	assert_int_equal(w->result.n_dead, 1);
	assert_int_equal(w->dead[0].message, 77);
	assert_string_equal(w->dead[0].type, "bad_request");
	assert_string_equal(w->dead[0].reason, "status 400: because");
	assert_int_equal(w->result.written, RECORDS - 1);
	assert_taken(w, 1, 1);
}

static void requests_over_the_limit_are_halved(void **state)
{
	struct world *w = *state;

	w->server.body_max = 2000;
	write_all(w);
	assert_int_equal(w->result.n_dead, 0);
	assert_taken(w, 1, 1);
}

static void messages_that_are_no_records_are_dead_and_the_others_arrive(void **state)
{
	struct world *w = *state;

	w->messages[3].value = TL_SPAN_LIT("no json");
	w->messages[4].value = TL_SPAN_LIT("{\"observed_timestamp\":\"2026-11-23T01:00:00Z\"}");
	w->server.spoiler = "record 5."; /* its chunk is built again and again */
	write_all(w);
	assert_int_equal(w->result.n_dead, 3);
	assert_taken(w, 1, 1);
}

static void a_partial_success_is_counted_and_not_sent_again(void **state)
{
	struct world *w = *state;

	w->settings.request_bytes = 1 << 20;
	w->server.answer = "{\"partialSuccess\":{\"rejectedLogRecords\":\"3\",\"errorMessage\":"
			   "\"too old\"}}";
	write_all(w);
	assert_int_equal(w->server.requests, 1);
	assert_int_equal(w->result.rejected, 3);
	assert_int_equal(w->result.written, RECORDS - 3);
	assert_int_equal(w->result.n_dead, 0);
}

static void all_rejected_are_dead_letters_with_the_servers_words(void **state)
{
	struct world *w = *state;

	w->settings.request_bytes = 1 << 20;
	w->server.answer = "{\"partialSuccess\":{\"rejectedLogRecords\":200,\"errorMessage\":"
			   "\"too old\"}}";
	write_all(w);
	assert_int_equal(w->server.requests, 1);
	assert_int_equal(w->result.n_dead, RECORDS);
	assert_string_equal(w->dead[0].type, "rejected");
	assert_string_equal(w->dead[0].reason, "too old");
}

static void statuses_that_a_person_must_see_end_it_with_advice(void **state)
{
	static const struct {
		int status, code;
		const char *advice;
	} cases[] = {{401, -EACCES, "--headers-file"}, {403, -EACCES, "--headers-file"},
		     {404, -EPROTO, "--logs-url"},     {405, -EPROTO, "--logs-url"},
		     {415, -EPROTO, "--encoding"},     {302, -EPROTO, "--url"}};
	struct world *w = *state;

	w->server.times = -1;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		w->server.status = cases[i].status;
		assert_int_equal(write_some(w, RECORDS), cases[i].code);
		assert_non_null(strstr(w->error.message, cases[i].advice));
		assert_int_equal(w->result.n_dead, 0);
	}
}

static void an_answer_of_something_else_is_no_success(void **state)
{
	struct world *w = *state;

	w->server.answer = "<html>Welcome</html>";
	assert_int_equal(write_some(w, RECORDS), -EPROTO);
}

static void a_server_that_refuses_everything_from_the_start_is_the_wrong_one(void **state)
{
	struct world *w = *state;

	w->server.status = 400;
	w->server.times = -1;
	assert_int_equal(write_some(w, RECORDS), -EPROTO);
	assert_non_null(strstr(w->error.message, "--url"));
}

static void other_server_errors_are_not_retried(void **state)
{
	struct world *w = *state;

	write_all(w);
	w->result = (struct tl_sink_result){.dead = w->dead};
	w->server.status = 500;
	w->server.times = -1;
	w->server.requests = 0;
	assert_int_equal(write_some(w, 4), 0);
	assert_int_equal(w->result.n_dead, 4);
	assert_string_equal(w->dead[0].type, "server_error");
	assert_int_equal(w->server.requests, 7); /* 4, 2, 1, 1, 2, 1, 1 */
}

static void *set_stop(void *arg)
{
	usleep(300000);
	((struct world *)arg)->stop = 1;
	return NULL;
}

static void a_stop_ends_the_wait_for_a_server_that_is_away(void **state)
{
	struct world *w = *state;
	uint64_t began = tl_mono_ns();
	pthread_t thread;

	w->settings.url = "http://127.0.0.1:1";
	pthread_create(&thread, NULL, set_stop, w);
	assert_int_equal(write_some(w, RECORDS), -EINTR);
	assert_true(tl_mono_ns() - began < 3 * TL_SEC);
	pthread_join(thread, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(every_record_arrives_once_at_the_signals_path),
		TEST(the_url_of_logs_is_used_as_it_is),
		TEST(a_whole_path_in_url_is_not_doubled),
		TEST(headers_come_from_environment_and_file),
		TEST(a_header_without_a_value_is_einval_and_shows_nothing),
		TEST(grpc_in_the_environment_is_told),
		TEST(retryable_statuses_are_tried_again),
		TEST(retry_after_is_waited_for),
		TEST(a_lost_answer_means_twice_under_the_same_uid),
		TEST(one_record_that_spoils_a_request_is_found_and_buried),
		TEST(requests_over_the_limit_are_halved),
		TEST(messages_that_are_no_records_are_dead_and_the_others_arrive),
		TEST(a_partial_success_is_counted_and_not_sent_again),
		TEST(all_rejected_are_dead_letters_with_the_servers_words),
		TEST(statuses_that_a_person_must_see_end_it_with_advice),
		TEST(an_answer_of_something_else_is_no_success),
		TEST(a_server_that_refuses_everything_from_the_start_is_the_wrong_one),
		TEST(other_server_errors_are_not_retried),
		TEST(a_stop_ends_the_wait_for_a_server_that_is_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
