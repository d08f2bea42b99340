/* SPDX-License-Identifier: Apache-2.0 */
/* A server in this process that fails as Elasticsearch and OpenSearch do, and keeps the ids that it
 * took. */
#ifndef TL_TEST_ELASTIC_SERVER_H
#define TL_TEST_ELASTIC_SERVER_H

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
	int whole_status, whole_times; /* the first requests end so */
	int whole_always;	       /* each one does */
	bool lose_answer;      /* the first request is carried out, its answer is a proxy's page */
	int busy_items;	       /* of the first request: this many get 429 */
	size_t body_max;       /* larger ones get 413; 0 none */
	const char *spoiler;   /* a request with this text in it gets 400 */
	const char *refused;   /* an item with this text in it gets 400 mapper_parsing_exception */
	const char *crasher;   /* an item with this text in it gets 500 */
	int root_status;       /* of GET / */
	const char *templates; /* answer to GET /_index_template */
	const char *streams;   /* answer to GET /_data_stream, NULL 404 */
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

static void one_item(struct server *s, const char *document, unsigned n, int *busy,
		     struct tl_buf *out, bool *first)
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
		assert_int_equal(sscanf(action,
					"{\"create\":{\"_index\":\"tapline-logs-%10[0-9.]\",\"_"
					"id\":\"aa-1-%x\"}}",
					day, &n),
				 2);
		assert_string_equal(day, n < 20 ? "2026.11.23" : "2026.11.24");
		assert_true(n < RECORDS);
		one_item(s, document, n, &busy, out, &first);
	}
	tl_buf_puts(out, "]}");
}

static int on_bulk(struct server *s, const struct post *post, struct tl_buf *out)
{
	static char body[8 * BODY_MAX];
	z_stream z = {0};
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

static int answer_to(struct server *s, const char *method, const char *url, const struct post *post,
		     struct tl_buf *out)
{
	if (strcmp(url, "/") == 0) {
		tl_buf_puts(out, s->root_status == 200 ? "{\"version\":{\"distribution\":"
							 "\"opensearch\",\"number\":\"2.19.1\"}}"
						       : "{}");
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

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *size, void **state)
{
	_cleanup_(tl_buf_done) struct tl_buf out = {0};
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
	snprintf(s->authorization, sizeof(s->authorization), "%s",
		 authorization ? authorization : "");
	status = answer_to(s, method, url, post, &out);
	pthread_mutex_unlock(&s->lock);
	response = MHD_create_response_from_buffer(out.len, out.data, MHD_RESPMEM_MUST_COPY);
	result = MHD_queue_response(connection, (unsigned)status, response);
	MHD_destroy_response(response);
	return result;
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
			 enum MHD_RequestTerminationCode code)
{
	(void)arg, (void)connection, (void)code;
	free(*state);
	*state = NULL;
}

static inline void start_server(struct server *s, uint16_t port)
{
	struct sockaddr_in where = {.sin_family = AF_INET,
				    .sin_port = htons(port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	s->daemon = MHD_start_daemon(
		MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, on_request, s, MHD_OPTION_SOCK_ADDR,
		&where, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u, MHD_OPTION_NOTIFY_COMPLETED,
		on_completed, NULL, MHD_OPTION_END);
	assert_non_null(s->daemon);
	snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%u",
		 MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
}

#endif
