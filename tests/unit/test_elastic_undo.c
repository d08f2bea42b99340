/* SPDX-License-Identifier: Apache-2.0 */
/* Taking back what landed in the wrong backing index of a data stream, against a server in this
 * process that answers some of the questions: each record is counted once, however often it is
 * tried. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>

#include "userspace/base/clock.h"
#include "userspace/sink/elastic.h"

#define RECORDS 3

/* The first two records are in the older index too. */
static const char settings_json[] =
	"{\".ds-s-000001\":{\"settings\":{\"index\":{\"creation_date\":\"1000\"}}},"
	"\".ds-s-000002\":{\"settings\":{\"index\":{\"creation_date\":\"1764000000000\"}}}}";
static const char hits_json[] = "{\"hits\":{\"hits\":[{\"_id\":\"u-0\"},{\"_id\":\"u-1\"}]}}";

struct world {
	struct MHD_Daemon *daemon;
	struct tl_elastic elastic;
	struct tl_message messages[RECORDS];
	struct tl_sink_result result;
	struct tl_chunk *chunk;
	int search_status, removals_well; /* so many removals go well, later ones end with 503 */
	int removed;
};

static int judge(struct world *w, const char *method, const char *url, const char **text)
{
	if (strcmp(url, "/s/_settings/index.creation_date") == 0)
		*text = settings_json;
	else if (strstr(url, "/_search"))
		*text = hits_json;
	if (strstr(url, "/_search"))
		return w->search_status;
	if (strcmp(method, "DELETE") == 0 && w->removals_well-- <= 0)
		return 503;
	w->removed += strcmp(method, "DELETE") == 0;
	return 200;
}

static enum MHD_Result answer(void *arg, struct MHD_Connection *connection, const char *url,
			      const char *method, const char *version, const char *data,
			      size_t *len, void **state)
{
	static int seen;
	const char *text = "{}";
	struct MHD_Response *response;
	enum MHD_Result r;
	int status;

	(void)version, (void)data;
	if (!*state || *len) {
		*state = &seen;
		*len = 0;
		return MHD_YES;
	}
	status = judge(arg, method, url, &text);
	response =
		MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_PERSISTENT);
	r = MHD_queue_response(connection, (unsigned)status, response);
	MHD_destroy_response(response);
	return r;
}

static int setup(void **state)
{
	static const char *const values[RECORDS] = {
		"{\"uid\":\"u-0\",\"observed_timestamp\":\"2020-01-01T00:00:00Z\"}",
		"{\"uid\":\"u-1\",\"observed_timestamp\":\"2020-01-01T00:00:00Z\"}",
		"{\"uid\":\"u-2\",\"observed_timestamp\":\"2020-01-01T00:00:00Z\"}"};
	struct sockaddr_in where = {.sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct world *w = calloc(1, sizeof(*w));
	struct tl_http_settings http = {.timeout_ns = 5 * TL_SEC, .connections = 1};
	struct tl_error error = {0};
	char url[64];

	w->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, answer, w,
				     MHD_OPTION_SOCK_ADDR, &where, MHD_OPTION_END);
	assert_non_null(w->daemon);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u",
		 MHD_get_daemon_info(w->daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
	http.url = url;
	assert_int_equal(tl_http_new(&http, &w->elastic.questions, &error), 0);
	w->elastic.stream.http = w->elastic.questions;
	w->elastic.stream.name = "s";
	w->elastic.flight.messages = w->messages;
	w->elastic.flight.result = &w->result;
	w->chunk = tl_flight_chunk(&w->elastic.flight, RECORDS);
	for (uint32_t i = 0; i < RECORDS; i++) {
		w->messages[i] = (struct tl_message){.topic = TL_TOPIC_LOGS,
						     .value = tl_span_str(values[i])};
		w->chunk->items[i] = i;
	}
	w->result.written = RECORDS;
	w->search_status = 200;
	w->removals_well = RECORDS;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	tl_http_free(w->elastic.questions);
	tl_buf_done(&w->elastic.stream.body);
	MHD_stop_daemon(w->daemon);
	free(w->chunk);
	free(w);
	return 0;
}

static int undo(struct world *w)
{
	return tl_elastic_undo(&w->elastic, w->chunk, TL_SPAN_LIT(".ds-s-000002"));
}

static void what_an_older_index_has_is_removed_and_a_duplicate(void **state)
{
	struct world *w = *state;

	assert_int_equal(undo(w), 0);
	assert_int_equal(w->removed, 2);
	assert_int_equal(w->result.written, 1);
	assert_int_equal(w->result.duplicates, 2);
	assert_int_equal(w->chunk->n, 0);
}

static void a_removal_that_fails_leaves_the_rest_uncounted(void **state)
{
	struct world *w = *state;

	w->removals_well = 1;
	assert_int_equal(undo(w), -ECONNREFUSED);
	assert_int_equal(w->result.written, 2);
	assert_int_equal(w->result.duplicates, 1);
	assert_int_equal(w->chunk->n, 1);
	assert_int_equal(w->chunk->items[0], 1);
	/* Tried again, it is counted then, once. */
	w->removals_well = 1;
	assert_int_equal(undo(w), 0);
	assert_int_equal(w->result.written, 1);
	assert_int_equal(w->result.duplicates, 2);
}

static void a_search_that_fails_settles_nothing(void **state)
{
	struct world *w = *state;

	w->search_status = 503;
	assert_int_equal(undo(w), -ECONNREFUSED);
	assert_int_equal(w->chunk->n, RECORDS);
	assert_int_equal(w->result.written, RECORDS);
	assert_int_equal(w->result.duplicates, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_an_older_index_has_is_removed_and_a_duplicate),
		T(a_removal_that_fails_leaves_the_rest_uncounted),
		T(a_search_that_fails_settles_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
