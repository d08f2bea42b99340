/* SPDX-License-Identifier: Apache-2.0 */
/* The elasticsearch sink against a server in this process that fails as real ones do. It keeps the ids it took, so that each test ends
 * with the same question: is every record there exactly once, or dead with its reason? */
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
#include <zlib.h>

#include "userspace/base/clock.h"
#include "userspace/base/json.h"
#include "userspace/sink/elastic.h"

#define RECORDS 40
#define BODY_MAX (1 << 20)

struct server {
	struct MHD_Daemon *daemon;
	char url[64];
	pthread_mutex_t lock;
	/* What goes wrong: */
	int whole_status, whole_times;  /* the first requests end so */
	int whole_always;               /* each one does */
	bool lose_answer;               /* the first request is carried out, its answer is a proxy's page */
	int busy_items;                 /* of the first request: this many get 429 */
	size_t body_max;                /* larger ones get 413; 0 none */
	const char *spoiler;            /* a request with this text in it gets 400 */
	const char *refused;            /* an item with this text in it gets 400 mapper_parsing_exception */
	const char *crasher;            /* an item with this text in it gets 500 */
	int root_status;                /* of GET / */
	const char *templates;          /* answer to GET /_index_template */
	const char *streams;            /* answer to GET /_data_stream, NULL 404 */
	/* What it saw: */
	int requests, taken[RECORDS], duplicates;
	char template[4096];
	char authorization[128];
};

struct post {
	char data[BODY_MAX];
	size_t len;
};

static void put_answer(struct tl_buf *out, bool *first, int status, const char *type)
{
	tl_buf_printf(out, "%s{\"create\":{\"status\":%d", *first ? "" : ",", status);
	if (type)
		tl_buf_printf(out, ",\"error\":{\"type\":\"%s\",\"reason\":\"because\"}", type);
	tl_buf_puts(out, "}}");
	*first = false;
}

static void one_item(struct server *s, const char *document, unsigned n, int *busy, struct tl_buf *out, bool *first)
{
	if (s->refused && strstr(document, s->refused))
		put_answer(out, first, 400, "mapper_parsing_exception");
	else if (s->crasher && strstr(document, s->crasher))
		put_answer(out, first, 500, "null_pointer_exception");
	else if ((*busy)-- > 0)
		put_answer(out, first, 429, "es_rejected_execution_exception");
	else if (s->taken[n]++) {
		s->duplicates++;
		put_answer(out, first, 409, "version_conflict_engine_exception");
	} else
		put_answer(out, first, 201, NULL);
}

static void bulk_items(struct server *s, char *body, struct tl_buf *out)
{
	int busy = s->requests == 1 ? s->busy_items : 0;
	bool first = true;
	char *save, *action = strtok_r(body, "\n", &save);

	tl_buf_puts(out, "{\"took\":1,\"errors\":true,\"items\":[");
	for (; action; action = strtok_r(NULL, "\n", &save)) {
		char *document = strtok_r(NULL, "\n", &save), day[16];
		unsigned n;

		assert_non_null(document);
		assert_int_equal(sscanf(action, "{\"create\":{\"_index\":\"tapline-logs-%10[0-9.]\",\"_id\":\"aa-1-%x\"}}", day, &n), 2);
		assert_string_equal(day, n < 20 ? "2026.11.23" : "2026.11.24");
		assert_true(n < RECORDS);
		one_item(s, document, n, &busy, out, &first);
	}
	tl_buf_puts(out, "]}");
}

static int on_bulk(struct server *s, const struct post *post, struct tl_buf *out)
{
	static char body[8 * BODY_MAX];
	z_stream z = { 0 };
	int status = s->whole_always;

	s->requests++;
	if (s->body_max && post->len > s->body_max)
		return 413;
	if (s->whole_times > 0) {
		s->whole_times--;
		status = s->whole_status;
	}
	if (status) {
		tl_buf_puts(out, "{\"error\":{\"type\":\"t\",\"reason\":\"as told\"}}");
		return status;
	}
	assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
	z.next_in = (Bytef *)post->data, z.avail_in = (uInt)post->len;
	z.next_out = (Bytef *)body, z.avail_out = sizeof(body) - 1;
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	body[z.total_out] = '\0';
	inflateEnd(&z);
	if (s->spoiler && strstr(body, s->spoiler))
		return 400;
	bulk_items(s, body, out);
	if (s->lose_answer) {
		s->lose_answer = false;
		tl_buf_clear(out);
		tl_buf_puts(out, "<html>");
	}
	return 200;
}

static int answer_to(struct server *s, const char *method, const char *url, const struct post *post, struct tl_buf *out)
{
	if (strcmp(url, "/") == 0) {
		tl_buf_puts(out, s->root_status == 200 ? "{\"version\":{\"distribution\":\"opensearch\",\"number\":\"2.19.1\"}}" : "{}");
		return s->root_status;
	}
	if (strncmp(url, "/_data_stream/", 14) == 0) {
		tl_buf_puts(out, s->streams ? s->streams : "{}");
		return s->streams ? 200 : 404;
	}
	if (strcmp(url, "/_index_template") == 0) {
		tl_buf_puts(out, s->templates ? s->templates : "{\"index_templates\":[]}");
		return 200;
	}
	if (strcmp(url, "/_index_template/tapline-logs") == 0 && strcmp(method, "PUT") == 0) {
		snprintf(s->template, sizeof(s->template), "%.*s", (int)post->len, post->data);
		return 200;
	}
	return strcmp(url, "/_bulk") == 0 ? on_bulk(s, post, out) : 404;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
				  const char *version, const char *data, size_t *size, void **state)
{
	_cleanup_(tl_buf_done) struct tl_buf out = { 0 };
	struct server *s = arg;
	struct post *post = *state;
	struct MHD_Response *response;
	const char *authorization;
	enum MHD_Result result;
	int status;

	(void)version;
	if (!post) {
		*state = calloc(1, sizeof(*post));
		return MHD_YES;
	}
	if (*size) {
		size_t n = *size < BODY_MAX - post->len ? *size : BODY_MAX - post->len;

		memcpy(post->data + post->len, data, n);
		post->len += n;
		*size = 0;
		return MHD_YES;
	}
	pthread_mutex_lock(&s->lock);
	authorization = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
	snprintf(s->authorization, sizeof(s->authorization), "%s", authorization ? authorization : "");
	status = answer_to(s, method, url, post, &out);
	pthread_mutex_unlock(&s->lock);
	response = MHD_create_response_from_buffer(out.len, out.data, MHD_RESPMEM_MUST_COPY);
	result = MHD_queue_response(connection, (unsigned)status, response);
	MHD_destroy_response(response);
	return result;
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode code)
{
	(void)arg, (void)connection, (void)code;
	free(*state);
	*state = NULL;
}

static void start_server(struct server *s, uint16_t port)
{
	struct sockaddr_in where = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	s->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, on_request, s, MHD_OPTION_SOCK_ADDR, &where,
				     MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
				     MHD_OPTION_END);
	assert_non_null(s->daemon);
	snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%u",
		 MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
}

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
	w->settings = (struct tl_elastic_settings){ .url = w->server.url, .index_prefix = "tapline-logs-", .gzip = true,
						    .template = true, .in_flight = 2, .replicas = -1,
						    .request_bytes = 2000, .timeout_ns = 5 * TL_SEC };
	for (unsigned n = 0; n < RECORDS; n++) {
		const char *day = n < 20 ? "2026-11-23" : "2026-11-24";

		snprintf(w->values[n], sizeof(w->values[n]),
			 "{\"uid\":\"aa-1-%x\",\"timestamp\":\"%sT01:00:00.000000000Z\",\"observed_timestamp\":\"%sT01:00:00.000000000Z\","
			 "\"body\":\"record %u.\"}", n, day, day, n);
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
	struct tl_error error = { 0 };

	if (open_it(w, &error) < 0 || w->sink->ops->write(w->sink, w->messages, RECORDS, &w->result, &w->stop, &error) < 0)
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
	assert_non_null(strstr(w->server.template, "[\"tapline-logs-*\"]"));
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
	static const int statuses[] = { 429, 500, 502, 503 };
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		w->server.whole_status = statuses[i];
		w->server.whole_times = 2;
		memset(w->server.taken, 0, sizeof(w->server.taken));
		w->result = (struct tl_sink_result){ .dead = w->dead };
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
	w->server.body_max = 300; /* a few records, packed */
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

	n = (size_t)snprintf(large, sizeof(large), "{\"uid\":\"aa-1-5\",\"observed_timestamp\":\"2026-11-23T01:00:00Z\",\"body\":\"");
	while (n < sizeof(large) - 3)
		large[n++] = "0123456789abcdefghijklmnopqrstuvwxyz"[rand_r(&seed) % 36]; /* does not pack */
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
	struct tl_error error = { 0 };

	assert_int_equal(open_it(w, &error), 0);
	w->server.whole_always = 401;
	assert_int_equal(w->sink->ops->write(w->sink, w->messages, RECORDS, &w->result, &w->stop, &error), -EACCES);
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
	struct tl_error error = { 0 };
	uint64_t began = tl_mono_ns();
	pthread_t thread;

	assert_int_equal(open_it(w, &error), 0);
	w->server.whole_always = 503;
	pthread_create(&thread, NULL, stop_later, w);
	assert_int_equal(w->sink->ops->write(w->sink, w->messages, RECORDS, &w->result, &w->stop, &error), -EINTR);
	pthread_join(thread, NULL);
	assert_true(tl_mono_ns() - began < 10 * TL_SEC);
	w->server.whole_always = 0;
	w->stop = 0;
	w->result = (struct tl_sink_result){ .dead = w->dead };
	assert_int_equal(w->sink->ops->write(w->sink, w->messages, RECORDS, &w->result, &w->stop, &error), 0);
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
	struct tl_error error = { 0 };
	pthread_t thread;

	assert_int_equal(open_it(w, &error), 0);
	MHD_stop_daemon(w->server.daemon);
	w->server.daemon = NULL;
	pthread_create(&thread, NULL, start_later, w);
	assert_int_equal(w->sink->ops->write(w->sink, w->messages, RECORDS, &w->result, &w->stop, &error), 0);
	pthread_join(thread, NULL);
	assert_decided(w, 0);
	assert_true(w->result.retries > 0);
}

static void server_that_is_not_there_is_named_at_start(void **state)
{
	struct world *w = *state;
	struct tl_error error = { 0 };

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
	struct tl_error error = { 0 };

	w->server.streams = "{\"data_streams\":[]}";
	w->server.templates = "{\"index_templates\":[{\"name\":\"low\",\"index_template\":{\"index_patterns\":[\"*\"],\"priority\":1,"
			      "\"data_stream\":{}}},{\"name\":\"mine\",\"index_template\":{\"index_patterns\":[\"tapline-logs-*\"],"
			      "\"priority\":900}}]}";
	assert_int_equal(open_it(w, &error), 0);
	w->sink->ops->close(w->sink);
	w->sink = NULL;
	w->server.templates = "{\"index_templates\":[{\"name\":\"theirs\",\"index_template\":{\"index_patterns\":[\"x\",\"tap*\"],"
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
