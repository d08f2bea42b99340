/* SPDX-License-Identifier: Apache-2.0 */
/* An S3 server in this process, a bus that keeps marks, and records for both: to kill the s3 sink
 * at any step. The server carries a request out or not, and answers or not, as it is told. */
#ifndef TL_TEST_S3_WORLD_H
#define TL_TEST_S3_WORLD_H

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
#include "userspace/base/json.h"
#include "userspace/sink/s3.h"

#define PARTS 2
#define PER_PART 60
#define OBJECTS_MAX 256
#define UPLOADS_PARTS_MAX 8

struct object {
	char key[512], content[TL_S3_CONTENT_MAX], token[64];
	struct tl_buf body;
	bool whole; /* false: an upload in parts */
	struct tl_buf parts[UPLOADS_PARTS_MAX];
};

/* What goes wrong, once, at the `at`-th event (from 1): requests and marks are counted together. */
enum fault {
	NONE,
	LOST_BEFORE, /* not carried out, and everything after it fails: the process is to be killed
		      */
	LOST_AFTER,  /* carried out, but nobody is told; then as above */
	BUSY,	     /* 503, or -EAGAIN: once */
	UNHEARD,     /* carried out, but the answer is 500 or -EAGAIN: once */
};

struct world {
	struct MHD_Daemon *daemon;
	char url[64];
	pthread_mutex_t lock;
	struct object objects[OBJECTS_MAX];
	size_t n_objects;
	enum fault fault;
	int at, events;
	bool dead;
	int status; /* every request is answered so; 0 as it should be */
	const char *code;
	uint64_t part_bytes; /* of uploads in parts, smaller than S3 would take; 0 as set */
	int requests, duplicates;
	char authorization[512], token[64];

	struct tl_bus bus;
	struct tl_mark marks[PARTS];
	char values[PARTS][PER_PART][512];
	size_t n_per_part;
};

/* Returns how the event at hand goes; called with the lock held. */
static enum fault next_event(struct world *w)
{
	enum fault fault = ++w->events == w->at ? w->fault : NONE;

	if (w->dead)
		return LOST_BEFORE;
	if (fault == LOST_BEFORE || fault == LOST_AFTER)
		w->dead = true;
	return fault;
}

static int world_mark(struct tl_bus *bus, const struct tl_mark *mark, struct tl_error *error)
{
	struct world *w = (struct world *)((char *)bus - offsetof(struct world, bus));
	enum fault fault;

	(void)error;
	pthread_mutex_lock(&w->lock);
	fault = next_event(w);
	if (fault != LOST_BEFORE && fault != BUSY) {
		assert_in_range(mark->partition, 0, PARTS - 1);
		assert_true(mark->offset >= w->marks[mark->partition].offset);
		w->marks[mark->partition] = *mark;
	}
	pthread_mutex_unlock(&w->lock);
	return fault == NONE ? 0 : -EAGAIN;
}

static const struct tl_bus_ops world_bus_ops = {.name = "test", .mark = world_mark};

static struct object *find_object(struct world *w, const char *key, bool whole)
{
	for (size_t i = 0; i < w->n_objects; i++)
		if (w->objects[i].whole == whole && strcmp(w->objects[i].key, key) == 0)
			return &w->objects[i];
	return NULL;
}

static struct object *new_object(struct world *w, const char *key, const char *content, bool whole)
{
	struct object *o = &w->objects[w->n_objects++];

	assert_true(w->n_objects <= OBJECTS_MAX);
	snprintf(o->key, sizeof(o->key), "%s", key);
	snprintf(o->content, sizeof(o->content), "%s", content ? content : "");
	o->whole = whole;
	return o;
}

struct call {
	struct MHD_Connection *connection;
	const char *method, *key; /* "/bucket/..." */
	struct tl_span body;
};

static const char *header(const struct call *c, const char *name)
{
	return MHD_lookup_connection_value(c->connection, MHD_HEADER_KIND, name);
}

static const char *argument(const struct call *c, const char *name)
{
	return MHD_lookup_connection_value(c->connection, MHD_GET_ARGUMENT_KIND, name);
}

static int put_whole(struct world *w, const struct call *c)
{
	struct object *o;

	assert_string_equal(header(c, "If-None-Match"), "*");
	if (find_object(w, c->key, true)) {
		w->duplicates++;
		return 412;
	}
	o = new_object(w, c->key, header(c, "x-amz-meta-tapline-content"), true);
	tl_buf_add(&o->body, c->body.data, c->body.len);
	return 200;
}

static int complete_parts(struct world *w, const struct call *c, struct object *upload)
{
	if (!upload)
		return 404;
	assert_string_equal(header(c, "If-None-Match"), "*");
	if (find_object(w, c->key, true)) {
		w->duplicates++;
		return 412;
	}
	for (size_t i = 0; i < UPLOADS_PARTS_MAX; i++)
		tl_buf_add(&upload->body, upload->parts[i].data, upload->parts[i].len);
	upload->whole = true;
	return 200;
}

static int on_parts(struct world *w, const struct call *c, struct tl_buf *out)
{
	struct object *upload = find_object(w, c->key, false);
	const char *part = argument(c, "partNumber");

	if (!argument(c, "uploadId")) {
		if (!upload)
			new_object(w, c->key, header(c, "x-amz-meta-tapline-content"), false);
		tl_buf_puts(out, "<R><UploadId>a/b+c</UploadId></R>");
		return 200;
	}
	assert_string_equal(argument(c, "uploadId"), "a/b+c");
	if (part) {
		size_t n = strtoul(part, NULL, 10) - 1;

		assert_true(n < UPLOADS_PARTS_MAX);
		if (!upload)
			return 404;
		tl_buf_clear(&upload->parts[n]);
		tl_buf_add(&upload->parts[n], c->body.data, c->body.len);
		return 200;
	}
	if (strcmp(c->method, "DELETE") == 0)
		return 204;
	return complete_parts(w, c, upload);
}

static int carry_out(struct world *w, const struct call *c, struct tl_buf *out)
{
	const struct object *o = find_object(w, c->key, true);

	if (argument(c, "uploadId") || argument(c, "uploads"))
		return on_parts(w, c, out);
	if (strcmp(c->method, "PUT") == 0)
		return put_whole(w, c);
	if (strcmp(c->method, "HEAD") == 0)
		return o ? 200 : 404;
	return 200;
}

static int serve(struct world *w, const struct call *c, struct tl_buf *out)
{
	bool is_list = argument(c, "list-type") != NULL;
	enum fault fault = is_list ? NONE : next_event(w);
	const char *value = header(c, "Authorization");
	int status;

	w->requests++;
	snprintf(w->authorization, sizeof(w->authorization), "%s", value ? value : "");
	value = header(c, "x-amz-security-token");
	snprintf(w->token, sizeof(w->token), "%s", value ? value : "");
	if (w->status) {
		tl_buf_printf(out, "<Error><Code>%s</Code></Error>", w->code);
		return w->status;
	}
	if (fault == LOST_BEFORE || fault == BUSY)
		return 503;
	status = carry_out(w, c, out);
	return fault == LOST_AFTER || fault == UNHEARD ? 500 : status;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *size, void **state)
{
	_cleanup_(tl_buf_done) struct tl_buf out = {0};
	struct world *w = arg;
	struct tl_buf *body = *state;
	struct call c = {connection, method, url, {0}};
	struct MHD_Response *response;
	const struct object *o;
	enum MHD_Result result;
	int status;

	(void)version;
	if (!body) {
		*state = calloc(1, sizeof(*body));
		return MHD_YES;
	}
	if (*size) {
		tl_buf_add(body, data, *size);
		*size = 0;
		return MHD_YES;
	}
	c.body = tl_buf_span(body);
	pthread_mutex_lock(&w->lock);
	status = serve(w, &c, &out);
	o = find_object(w, url, true);
	response = MHD_create_response_from_buffer(out.len, out.data, MHD_RESPMEM_MUST_COPY);
	MHD_add_response_header(response, "ETag", "\"tag\"");
	if (o && strcmp(method, "HEAD") == 0)
		MHD_add_response_header(response, "x-amz-meta-tapline-content", o->content);
	pthread_mutex_unlock(&w->lock);
	result = MHD_queue_response(connection, (unsigned)status, response);
	MHD_destroy_response(response);
	return result;
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
			 enum MHD_RequestTerminationCode code)
{
	struct tl_buf *body = *state;

	(void)arg, (void)connection, (void)code;
	if (body)
		tl_buf_done(body);
	free(body);
	*state = NULL;
}

/* Records: an hour ends in the middle of each partition. */
static void make_records(struct world *w)
{
	for (int p = 0; p < PARTS; p++)
		for (int i = 0; i < PER_PART; i++)
			snprintf(w->values[p][i], sizeof(w->values[p][i]),
				 "{\"uid\":\"aa-%d-%x\",\"observed_timestamp\":"
				 "\"2026-11-23T%02d:%02d:00.000000000Z\",\"body\":\"%d:%d\"}",
				 p, i, 1 + i / 40, i % 40, p, i);
}

static inline struct world *world_new(void)
{
	struct sockaddr_in where = {.sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	pthread_mutex_init(&w->lock, NULL);
	w->bus.ops = &world_bus_ops;
	w->n_per_part = PER_PART;
	for (int p = 0; p < PARTS; p++)
		w->marks[p] =
			(struct tl_mark){.topic = TL_TOPIC_LOGS, .partition = p, .offset = -1};
	make_records(w);
	w->daemon =
		MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION, 0,
				 NULL, NULL, on_request, w, MHD_OPTION_SOCK_ADDR, &where,
				 MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
	assert_non_null(w->daemon);
	snprintf(w->url, sizeof(w->url), "http://127.0.0.1:%u",
		 MHD_get_daemon_info(w->daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
	return w;
}

static inline void world_free(struct world *w)
{
	MHD_stop_daemon(w->daemon);
	for (size_t i = 0; i < w->n_objects; i++) {
		tl_buf_done(&w->objects[i].body);
		for (size_t k = 0; k < UPLOADS_PARTS_MAX; k++)
			tl_buf_done(&w->objects[i].parts[k]);
	}
	pthread_mutex_destroy(&w->lock);
	free(w);
}

#endif
