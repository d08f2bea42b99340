/* SPDX-License-Identifier: Apache-2.0 */
/* The elasticsearch sink against a server in this process that fails as real ones do. It keeps the
 * ids it took, so that each test ends with the same question: is every record there exactly once,
 * or dead with its reason? */
#include "elastic_server.h"

struct world {
	struct server server;
	struct tl_elastic_settings settings;
	struct tl_sink *sink;
	struct tl_message messages[RECORDS];
	char values[RECORDS][256];
	struct tl_dead_letter dead[RECORDS];
	struct tl_sink_result result;
	volatile int stop;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	pthread_mutex_init(&w->server.lock, NULL);
	w->server.root_status = 200;
	start_server(&w->server, 0);
	w->settings = (struct tl_elastic_settings){.url = w->server.url,
						   .index_prefix = "tapline-logs-",
						   .http_prefix = "tapline-http-",
						   .gzip = true,
						   .template = true,
						   .in_flight = 2,
						   .replicas = -1,
						   .request_bytes = 2000,
						   .timeout_ns = 5 * TL_SEC};
	for (unsigned n = 0; n < RECORDS; n++) {
		const char *day = n < 20 ? "2026-11-23" : "2026-11-24";

		snprintf(w->values[n], sizeof(w->values[n]),
			 "{\"uid\":\"aa-1-%x\",\"timestamp\":\"%sT01:00:00.000000000Z\",\"observed_"
			 "timestamp\":\"%sT01:00:00.000000000Z\","
			 "\"body\":\"record %u.\"}",
			 n, day, day, n);
		w->messages[n].value = tl_span_str(w->values[n]);
	}
	w->result.dead = w->dead;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	if (w->sink)
		w->sink->ops->close(w->sink);
	if (w->server.daemon)
		MHD_stop_daemon(w->server.daemon);
	free(w);
	return 0;
}

static int open_it(struct world *w, struct tl_error *error)
{
	return tl_sink_elasticsearch.open(&w->settings, &w->sink, error);
}

static void write_all(struct world *w)
{
	struct tl_error error = {0};

	if (open_it(w, &error) < 0 ||
	    w->sink->ops->write(w->sink, w->messages, RECORDS, &w->result, &w->stop, &error) < 0)
		fail_msg("%s", error.message);
}

/* Each record was taken once, but those that are dead. */
static void assert_decided(struct world *w, size_t dead)
{
	size_t n = 0;

	assert_int_equal(w->result.n_dead, dead);
	for (size_t i = 0; i < RECORDS; i++)
		n += w->server.taken[i] > 0;
	assert_int_equal(n, RECORDS - dead);
	for (size_t i = 0; i < dead; i++)
		assert_int_equal(w->server.taken[w->dead[i].message], 0);
	assert_int_equal(w->result.written + w->result.duplicates, RECORDS - dead);
	assert_int_equal(w->result.duplicates, w->server.duplicates);
}

static void all_records_are_taken_in_requests_of_the_wanted_size(void **state)
{
	struct world *w = *state;

	write_all(w);
	assert_decided(w, 0);
	assert_in_range(w->server.requests, 3, 6);
	assert_non_null(strstr(w->server.template, "\"flat_object\""));
	assert_non_null(strstr(w->server.template, "date_nanos"));
	assert_non_null(strstr(w->server.template, "[\"tapline-logs-*\",\"tapline-http-*\"]"));
}

static void records_sent_again_are_duplicates_not_errors(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < RECORDS; i += 2)
		w->server.taken[i] = 1;
	write_all(w);
	assert_decided(w, 0);
	assert_int_equal(w->result.duplicates, RECORDS / 2);
}

static void lost_answer_is_asked_for_again(void **state)
{
	struct world *w = *state;

	w->server.lose_answer = true;
	write_all(w);
	assert_decided(w, 0);
	assert_true(w->result.duplicates > 0);
}

static void server_errors_of_the_whole_are_waited_out(void **state)
{
	static const int statuses[] = {429, 500, 502, 503};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		w->server.whole_status = statuses[i];
		w->server.whole_times = 2;
		memset(w->server.taken, 0, sizeof(w->server.taken));
		w->result = (struct tl_sink_result){.dead = w->dead};
		write_all(w);
		assert_decided(w, 0);
		assert_true(w->result.retries > 0);
		w->sink->ops->close(w->sink);
		w->sink = NULL;
	}
}

static void only_busy_items_are_sent_again(void **state)
{
	struct world *w = *state;

	w->settings.request_bytes = 1 << 20;
	w->server.busy_items = 7;
	write_all(w);
	assert_decided(w, 0);
	assert_int_equal(w->result.retries, 7);
	assert_int_equal(w->result.duplicates, 0);
	assert_int_equal(w->server.requests, 2);
}

static void refused_items_are_dead_with_type_and_reason(void **state)
{
	struct world *w = *state;

	w->server.refused = "record 13.";
	write_all(w);
	assert_decided(w, 1);
	assert_int_equal(w->dead[0].message, 13);
	assert_string_equal(w->dead[0].type, "mapper_parsing_exception");
	assert_string_equal(w->dead[0].reason, "because");
}

static void item_that_makes_the_server_fail_is_dead_after_a_few_tries(void **state)
{
	struct world *w = *state;

	w->server.crasher = "record 3.";
	write_all(w);
	assert_decided(w, 1);
	assert_int_equal(w->dead[0].message, 3);
	assert_in_range(w->result.retries, 2, 20);
}

static void too_large_requests_are_halved(void **state)
{
	struct world *w = *state;

	w->settings.request_bytes = 1 << 20;
	w->server.body_max = 200; /* one or two records, packed */
	write_all(w);
	assert_decided(w, 0);
	assert_true(w->server.requests > 8);
}

static void record_that_is_too_large_alone_is_dead(void **state)
{
	static char large[4096];
	struct world *w = *state;
	unsigned seed = 1;
	size_t n;

	n = (size_t)snprintf(
		large, sizeof(large),
		"{\"uid\":\"aa-1-5\",\"observed_timestamp\":\"2026-11-23T01:00:00Z\",\"body\":\"");
	while (n < sizeof(large) - 3)
		large[n++] = "0123456789abcdefghijklmnopqrstuvwxyz"[rand_r(&seed) %
								    36]; /* does not pack */
	strcpy(large + n, "\"}");
	w->messages[5].value = tl_span_str(large);
	w->settings.request_bytes = 1 << 20;
	w->server.body_max = 1000;
	write_all(w);
	assert_decided(w, 1);
	assert_int_equal(w->dead[0].message, 5);
	assert_string_equal(w->dead[0].type, "too_large");
}

static void item_that_spoils_its_request_is_found(void **state)
{
	struct world *w = *state;

	w->server.spoiler = "record 31.";
	write_all(w);
	assert_decided(w, 1);
	assert_int_equal(w->dead[0].message, 31);
	assert_string_equal(w->dead[0].type, "bad_request");
}

static void message_that_is_no_record_is_dead_without_asking(void **state)
{
	struct world *w = *state;

	w->messages[7].value = TL_SPAN_LIT("no json");
	write_all(w);
	assert_decided(w, 1);
	assert_int_equal(w->dead[0].message, 7);
	assert_string_equal(w->dead[0].type, "malformed_record");
}

static void refused_credentials_end_it_and_decide_nothing(void **state)
{
	struct world *w = *state;
	struct tl_error error = {0};

	assert_int_equal(open_it(w, &error), 0);
	w->server.whole_always = 401;
	assert_int_equal(
		w->sink->ops->write(w->sink, w->messages, RECORDS, &w->result, &w->stop, &error),
		-EACCES);
	assert_non_null(strstr(error.message, "--password-file"));
	assert_int_equal(w->result.n_dead, 0);
}

static void *stop_later(void *arg)
{
	struct world *w = arg;

	for (;;) {
		int seen;

		pthread_mutex_lock(&w->server.lock);
		seen = w->server.requests;
		pthread_mutex_unlock(&w->server.lock);
		if (seen >= 3)
			break;
		usleep(1000);
	}
	w->stop = 1;
	return NULL;
}

static void stop_ends_the_wait_for_a_server_that_is_away(void **state)
{
	struct world *w = *state;
	struct tl_error error = {0};
	uint64_t began = tl_mono_ns();
	pthread_t thread;

	assert_int_equal(open_it(w, &error), 0);
	w->server.whole_always = 503;
	pthread_create(&thread, NULL, stop_later, w);
	assert_int_equal(
		w->sink->ops->write(w->sink, w->messages, RECORDS, &w->result, &w->stop, &error),
		-EINTR);
	pthread_join(thread, NULL);
	assert_true(tl_mono_ns() - began < 10 * TL_SEC);
	w->server.whole_always = 0;
	w->stop = 0;
	w->result = (struct tl_sink_result){.dead = w->dead};
	assert_int_equal(
		w->sink->ops->write(w->sink, w->messages, RECORDS, &w->result, &w->stop, &error),
		0);
	assert_decided(w, 0);
}

static void *start_later(void *arg)
{
	struct world *w = arg;
	uint16_t port = (uint16_t)atoi(strrchr(w->server.url, ':') + 1);

	usleep(300000); /* an outage of some length; nothing waits for its end but the sink */
	start_server(&w->server, port);
	return NULL;
}

static void server_that_went_away_is_found_again(void **state)
{
	struct world *w = *state;
	struct tl_error error = {0};
	pthread_t thread;

	assert_int_equal(open_it(w, &error), 0);
	MHD_stop_daemon(w->server.daemon);
	w->server.daemon = NULL;
	pthread_create(&thread, NULL, start_later, w);
	assert_int_equal(
		w->sink->ops->write(w->sink, w->messages, RECORDS, &w->result, &w->stop, &error),
		0);
	pthread_join(thread, NULL);
	assert_decided(w, 0);
	assert_true(w->result.retries > 0);
}

static void server_that_is_not_there_is_named_at_start(void **state)
{
	struct world *w = *state;
	struct tl_error error = {0};

	MHD_stop_daemon(w->server.daemon);
	w->server.daemon = NULL;
	assert_int_equal(open_it(w, &error), -ECONNREFUSED);
	assert_non_null(strstr(error.message, w->server.url));
}

static void server_that_does_not_say_what_it_is_works(void **state)
{
	struct world *w = *state;

	w->server.root_status = 405;
	write_all(w);
	assert_decided(w, 0);
	assert_non_null(strstr(w->server.template, "\"flattened\""));
}

static void names_that_are_data_streams_are_refused(void **state)
{
	struct world *w = *state;
	struct tl_error error = {0};

	w->server.streams = "{\"data_streams\":[]}";
	w->server.templates = "{\"index_templates\":[{\"name\":\"low\",\"index_template\":{\"index_"
			      "patterns\":[\"*\"],\"priority\":1,"
			      "\"data_stream\":{}}},{\"name\":\"mine\",\"index_template\":{\"index_"
			      "patterns\":[\"tapline-logs-*\"],"
			      "\"priority\":900}}]}";
	assert_int_equal(open_it(w, &error), 0);
	w->sink->ops->close(w->sink);
	w->sink = NULL;
	w->server.templates = "{\"index_templates\":[{\"name\":\"theirs\",\"index_template\":{"
			      "\"index_patterns\":[\"x\",\"tap*\"],"
			      "\"priority\":900,\"data_stream\":{\"hidden\":false}}}]}";
	assert_int_equal(open_it(w, &error), -EINVAL);
	assert_non_null(strstr(error.message, "theirs"));
	w->server.templates = NULL;
	w->server.streams = "{\"data_streams\":[{\"name\":\"tapline-logs-old\"}]}";
	assert_int_equal(open_it(w, &error), -EINVAL);
	assert_non_null(strstr(error.message, "tapline-logs-old"));
}

static void credentials_are_sent(void **state)
{
	struct world *w = *state;

	w->settings.user = "u";
	w->settings.password = "p";
	assert_int_equal(open_it(w, NULL), 0);
	assert_string_equal(w->server.authorization, "Basic dTpw");
	w->sink->ops->close(w->sink);
	w->sink = NULL;
	w->settings.user = w->settings.password = NULL;
	w->settings.api_key = "abc==";
	assert_int_equal(open_it(w, NULL), 0);
	assert_string_equal(w->server.authorization, "ApiKey abc==");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(all_records_are_taken_in_requests_of_the_wanted_size),
		T(records_sent_again_are_duplicates_not_errors),
		T(lost_answer_is_asked_for_again),
		T(server_errors_of_the_whole_are_waited_out),
		T(only_busy_items_are_sent_again),
		T(refused_items_are_dead_with_type_and_reason),
		T(item_that_makes_the_server_fail_is_dead_after_a_few_tries),
		T(too_large_requests_are_halved),
		T(record_that_is_too_large_alone_is_dead),
		T(item_that_spoils_its_request_is_found),
		T(message_that_is_no_record_is_dead_without_asking),
		T(refused_credentials_end_it_and_decide_nothing),
		T(stop_ends_the_wait_for_a_server_that_is_away),
		T(server_that_went_away_is_found_again),
		T(server_that_is_not_there_is_named_at_start),
		T(server_that_does_not_say_what_it_is_works),
		T(names_that_are_data_streams_are_refused),
		T(credentials_are_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
