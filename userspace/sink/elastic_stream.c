/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/sink/elastic_stream.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "userspace/base/clock.h"
#include "userspace/base/json.h"
#include "userspace/base/map.h"
#include "userspace/sink/bulk.h"

#define LEARN_EVERY_NS (10 * TL_SEC)
#define SKEW_NS (600 * TL_SEC) /* by which the clocks of agents and server may differ */

static int ask(struct tl_elastic_stream *stream, const char *method, const char *path,
	       struct tl_http_request *request)
{
	request->method = method;
	request->path = path;
	request->body = tl_buf_span(&stream->body);
	request->content_type = "application/json";
	if (tl_http_call(stream->http, request, NULL) == 0)
		return 0;
	snprintf(stream->why, sizeof(stream->why), "%.100s: %.180s", path, request->why);
	return -ECONNREFUSED;
}

/* The answer is not the one expected: notes why. */
static int refused(struct tl_elastic_stream *stream, const char *path,
		   const struct tl_http_request *request)
{
	char reason[150];

	tl_bulk_reason(tl_buf_span(&request->answer), reason, sizeof(reason));
	snprintf(stream->why, sizeof(stream->why), "%.100s: %d %s", path, request->status, reason);
	return request->status >= 500 || request->status == 429 ? -ECONNREFUSED : -EPROTO;
}

struct backing {
	char name[256];
	uint64_t generation; /* the number at the end of its name */
	uint64_t created_ns; /* wall */
};

/* "INDEX":{"settings":{"index":{"creation_date":"1764000000000"}}} */
static int read_backing(struct tl_span name, const struct tl_json_value *value, struct backing *ret)
{
	struct tl_json_value settings, index, created;
	const char *dash;
	char text[32];

	if (tl_json_find(value->raw, "settings", &settings) != 1 ||
	    tl_json_find(settings.raw, "index", &index) != 1 ||
	    tl_json_find(index.raw, "creation_date", &created) != 1)
		return -EPROTO;
	tl_bulk_text(name, ret->name, sizeof(ret->name));
	dash = strrchr(ret->name, '-');
	ret->generation = dash ? strtoull(dash + 1, NULL, 10) : 0;
	tl_bulk_text(created.raw, text, sizeof(text));
	ret->created_ns = strtoull(text, NULL, 10) * TL_MS;
	return ret->created_ns ? 0 : -EPROTO;
}

static int by_age(const void *a, const void *b)
{
	const struct backing *x = a, *y = b;

	return x->generation < y->generation ? 1 : x->generation > y->generation ? -1 : 0;
}

/* Reads the backing indices, newest first, at most `max`. Returns their number. */
static int read_all(struct tl_span answer, struct backing *all, size_t max)
{
	struct tl_json_cursor cursor;
	struct tl_json_value value;
	struct tl_span key;
	size_t n = 0;

	if (tl_json_enter(&cursor, answer) < 0)
		return -EPROTO;
	while (n < max && tl_json_member(&cursor, &key, &value) == 1)
		if (read_backing(key, &value, &all[n++]) < 0)
			return -EPROTO;
	qsort(all, n, sizeof(*all), by_age);
	return n ? (int)n : -EPROTO;
}

#define BACKING_MAX 1024u /* of a stream, more is no stream that anybody keeps */

static int take(struct tl_elastic_stream *stream, struct tl_span answer)
{
	_cleanup_(freep) struct backing *all = calloc(BACKING_MAX, sizeof(*all));
	int n = all ? read_all(answer, all, BACKING_MAX) : -ENOMEM;
	size_t len = 0;

	if (n < 0)
		return n;
	stream->older[0] = '\0';
	for (int i = 1; i < n && i <= TL_STREAM_OLDER_MAX; i++)
		len += (size_t)snprintf(stream->older + len, sizeof(stream->older) - len, "%s%s",
					len ? "," : "", all[i].name);
	snprintf(stream->write_index, sizeof(stream->write_index), "%s", all[0].name);
	stream->created_ns = all[0].created_ns;
	return 0;
}

int tl_elastic_stream_learn(struct tl_elastic_stream *stream, bool now)
{
	_cleanup_(tl_http_request_done) struct tl_http_request request = {0};
	char path[300];
	int r;

	if (!now && stream->learnt_ns && tl_mono_ns() - stream->learnt_ns < LEARN_EVERY_NS)
		return 0;
	tl_buf_clear(&stream->body);
	snprintf(path, sizeof(path), "/%s/_settings/index.creation_date", stream->name);
	if (ask(stream, "GET", path, &request) < 0)
		return -ECONNREFUSED;
	if (request.status == 404) {
		stream->write_index[0] = stream->older[0] = '\0';
		stream->learnt_ns = tl_mono_ns();
		return 0;
	}
	r = request.status == 200 ? take(stream, tl_buf_span(&request.answer)) : -EPROTO;
	if (r == -EPROTO)
		return refused(stream, path, &request);
	if (r == 0)
		stream->learnt_ns = tl_mono_ns();
	return r;
}

bool tl_elastic_stream_doubtful(const struct tl_elastic_stream *stream, uint64_t observed_ns)
{
	return stream->older[0] && observed_ns < stream->created_ns + SKEW_NS;
}

static int refresh_older(struct tl_elastic_stream *stream)
{
	_cleanup_(tl_http_request_done) struct tl_http_request request = {0};
	char path[sizeof(stream->older) + 64];

	tl_buf_clear(&stream->body);
	snprintf(path, sizeof(path), "/%s/_refresh", stream->older);
	if (ask(stream, "POST", path, &request) < 0)
		return -ECONNREFUSED;
	return request.status == 200 ? 0 : refused(stream, path, &request);
}

static void put_query(struct tl_buf *body, const struct tl_span *ids, size_t n)
{
	tl_buf_clear(body);
	tl_buf_printf(body, "{\"size\":%zu,\"_source\":false,\"query\":{\"ids\":{\"values\":[", n);
	for (size_t i = 0; i < n; i++) {
		tl_buf_puts(body, i ? ",\"" : "\"");
		tl_buf_add(body, ids[i].data, ids[i].len);
		tl_buf_putc(body, '"');
	}
	tl_buf_puts(body, "]}}}");
}

static void mark(const struct tl_span *ids, size_t n, struct tl_span id, bool *found)
{
	for (size_t i = 0; i < n; i++)
		if (tl_span_eq(ids[i], id))
			found[i] = true;
}

/* {"hits":{"hits":[{"_id":"..."},...]}} */
static int mark_hits(struct tl_span answer, const struct tl_span *ids, size_t n, bool *found)
{
	struct tl_json_value outer, hits, hit, id;
	struct tl_json_cursor cursor;

	if (tl_json_find(answer, "hits", &outer) != 1 ||
	    tl_json_find(outer.raw, "hits", &hits) != 1 || tl_json_enter(&cursor, hits.raw) < 0)
		return -EPROTO;
	while (tl_json_element(&cursor, &hit) == 1)
		if (tl_json_find(hit.raw, "_id", &id) == 1)
			mark(ids, n, id.raw, found);
	return 0;
}

#define PAGE 1000u /* ids of one search; servers give at most 10,000 hits */

int tl_elastic_stream_find(struct tl_elastic_stream *stream, const struct tl_span *ids, size_t n,
			   bool *found)
{
	char path[sizeof(stream->older) + 64];
	int r = 0;

	memset(found, 0, n * sizeof(*found));
	if (!stream->older[0] || n == 0)
		return 0;
	r = refresh_older(stream);
	snprintf(path, sizeof(path), "/%s/_search?filter_path=hits.hits._id,hits.total",
		 stream->older);
	for (size_t at = 0; r == 0 && at < n; at += PAGE) {
		_cleanup_(tl_http_request_done) struct tl_http_request request = {0};
		size_t some = n - at < PAGE ? n - at : PAGE;

		put_query(&stream->body, ids + at, some);
		r = ask(stream, "POST", path, &request);
		if (r == 0 && request.status != 200)
			r = refused(stream, path, &request);
		/* With no hit at all filter_path leaves the list out. */
		if (r == 0 && memmem(request.answer.data, request.answer.len, "\"_id\"", 5))
			r = mark_hits(tl_buf_span(&request.answer), ids + at, some, found + at);
	}
	return r;
}

int tl_elastic_stream_remove(struct tl_elastic_stream *stream, struct tl_span index,
			     struct tl_span id)
{
	_cleanup_(tl_http_request_done) struct tl_http_request request = {0};
	char path[1024];

	tl_buf_clear(&stream->body);
	if (snprintf(path, sizeof(path), "/%.*s/_doc/%.*s", (int)index.len, index.data, (int)id.len,
		     id.data) >= (int)sizeof(path))
		return -EPROTO;
	if (ask(stream, "DELETE", path, &request) < 0)
		return -ECONNREFUSED;
	return request.status == 200 || request.status == 404 ? 0 : refused(stream, path, &request);
}
