/* SPDX-License-Identifier: Apache-2.0 */
/* What is done once at start. Some builds answer GET / with 405, so a server that does not say what
 * it is is asked by trying: `flattened` is Elasticsearch's type for objects with many keys,
 * `flat_object` OpenSearch's.
 *
 * Names that would be data streams are refused: ids are unique within a backing index only, and a
 * rollover between two tries of one record would keep it twice. */
#include <inttypes.h>
#include <stdio.h>

#include "userspace/base/clock.h"
#include "userspace/base/json.h"
#include "userspace/base/msg.h"
#include "userspace/base/text.h"
#include "userspace/sink/elastic.h"

#define RETRY_US 200000
#define SAMPLE_DAY "2026-01-02"

int tl_elastic_fail(const struct tl_elastic *elastic, const struct tl_http_request *request,
		    const char *what, struct tl_error *error)
{
	const char *url = elastic->settings->url;
	char reason[200];

	tl_bulk_reason(tl_buf_span(&request->answer), reason, sizeof(reason));
	if (request->distrusted)
		return tl_error_set(
			error, -EACCES,
			"%s: the certificate of %s is not believed (%s); give the "
			"authority that signed it by --ca, and the name that stands in it "
			"by --url",
			what, url, request->why);
	if (request->status == 0)
		return tl_error_set(
			error, -ECONNREFUSED,
			"%s: no answer from %s (%s); check --url, that the server runs, and "
			"--ca for https",
			what, url, request->why);
	if (request->status == 401)
		return tl_error_set(error, -EACCES,
				    "%s: %s refuses the credentials (401 %s); check --user and "
				    "--password-file, or --api-key-file (or their environment "
				    "variables)",
				    what, url, reason);
	if (request->status == 403)
		return tl_error_set(
			error, -EACCES,
			"%s: %s denies the right (403 %s); the user needs create_index, create_doc "
			"and "
			"view_index_metadata on %s*, and manage_index_templates or --no-template",
			what, url, reason, elastic->settings->index_prefix);
	return tl_error_set(error, -EPROTO,
			    "%s: %s answers %d %s; is this Elasticsearch or OpenSearch?", what, url,
			    request->status, reason);
}

/* Fills `request`; its answer is the caller's to release. Errors as tl_elastic_fail when there is
 * no answer. */
static int call(struct tl_elastic *elastic, const char *method, const char *path,
		struct tl_span body, struct tl_http_request *request, struct tl_error *error)
{
	request->method = method;
	request->path = path;
	request->body = body;
	if (tl_http_call(elastic->questions, request, NULL) < 0)
		return tl_elastic_fail(elastic, request, "cannot start", error);
	return 0;
}

/* Returns 1 OpenSearch, 0 Elasticsearch, -ENODATA it does not say. */
static int read_version(struct tl_span json)
{
	struct tl_json_value version, distribution;

	if (tl_json_find(json, "version", &version) != 1 || version.type != TL_JSON_OBJECT)
		return -ENODATA;
	if (tl_json_find(version.raw, "distribution", &distribution) != 1)
		return 0;
	return tl_span_is(distribution.raw, "opensearch");
}

/* A server that is only starting answers nothing, or 503. */
static int ask_root(struct tl_elastic *elastic, struct tl_http_request *request,
		    struct tl_error *error)
{
	static struct tl_msg_gate gate;
	uint64_t deadline = tl_mono_ns() + elastic->settings->wait_ns;

	for (;;) {
		int r = call(elastic, "GET", "/", (struct tl_span){0}, request, error);

		if ((r == 0 && request->status < 500) || request->distrusted ||
		    tl_mono_ns() >= deadline)
			return r;
		tl_msg_limited(&gate, 5000, TL_WARNING, "no answer from %s (%s); waiting",
			       elastic->settings->url, r < 0 ? request->why : "it is not ready");
		usleep(RETRY_US);
	}
}

static int probe(struct tl_elastic *elastic, int *ret_kind, struct tl_error *error)
{
	_cleanup_(tl_http_request_done) struct tl_http_request request = {0};
	int r = ask_root(elastic, &request, error);

	if (r < 0)
		return r;
	if (request.status == 401 || request.status == 403)
		return tl_elastic_fail(elastic, &request, "cannot start", error);
	*ret_kind = request.status == 200 ? read_version(tl_buf_span(&request.answer)) : -ENODATA;
	return 0;
}

static int is_stream(const struct tl_elastic *elastic, const char *name, struct tl_error *error)
{
	return tl_error_set(
		error, -EINVAL,
		"%s* are data streams here (%s), in which a record that is sent again may be kept "
		"twice; choose another --index-prefix, name it with --data-stream, or remove it",
		elastic->settings->index_prefix, name);
}

static int refuse_streams(struct tl_elastic *elastic, struct tl_error *error)
{
	_cleanup_(tl_http_request_done) struct tl_http_request request = {0};
	struct tl_json_value streams, stream, name;
	struct tl_json_cursor cursor;
	char path[300], text[128];
	int r;

	snprintf(path, sizeof(path), "/_data_stream/%s*", elastic->settings->index_prefix);
	r = call(elastic, "GET", path, (struct tl_span){0}, &request, error);
	if (r < 0 || request.status != 200)
		return r; /* no right to ask, or no data streams in this build */
	if (tl_json_find(tl_buf_span(&request.answer), "data_streams", &streams) != 1 ||
	    tl_json_enter(&cursor, streams.raw) < 0 || tl_json_element(&cursor, &stream) != 1)
		return 0;
	snprintf(text, sizeof(text), "?");
	if (tl_json_find(stream.raw, "name", &name) == 1)
		tl_bulk_text(name.raw, text, sizeof(text));
	return is_stream(elastic, text, error);
}

static bool matches(struct tl_span patterns, const char *index)
{
	struct tl_json_cursor cursor;
	struct tl_json_value pattern;
	char text[256];

	if (tl_json_enter(&cursor, patterns) < 0)
		return false;
	while (tl_json_element(&cursor, &pattern) == 1) {
		tl_bulk_text(pattern.raw, text, sizeof(text));
		if (tl_glob_match(text, index))
			return true;
	}
	return false;
}

/* True for a template that would turn `index` into a data stream in spite of ours. */
static bool makes_stream(struct tl_span template, const char *index)
{
	struct tl_json_value value;
	uint64_t priority = 0;

	if (tl_json_find(template, "data_stream", &value) != 1 ||
	    tl_json_find(template, "index_patterns", &value) != 1 || !matches(value.raw, index))
		return false;
	if (tl_json_find(template, "priority", &value) == 1)
		(void)tl_json_u64(&value, &priority);
	return priority >= TL_TEMPLATE_PRIORITY;
}

static int refuse_templates(struct tl_elastic *elastic, struct tl_error *error)
{
	_cleanup_(tl_http_request_done) struct tl_http_request request = {0};
	struct tl_json_value list, entry, name, template;
	struct tl_json_cursor cursor;
	char index[TL_BULK_INDEX_MAX], text[128];
	int r = call(elastic, "GET", "/_index_template", (struct tl_span){0}, &request, error);

	if (r < 0 || request.status != 200)
		return r;
	tl_bulk_index(elastic->settings->index_prefix, TL_SPAN_LIT(SAMPLE_DAY), index);
	if (tl_json_find(tl_buf_span(&request.answer), "index_templates", &list) != 1 ||
	    tl_json_enter(&cursor, list.raw) < 0)
		return 0;
	while (tl_json_element(&cursor, &entry) == 1) {
		if (tl_json_find(entry.raw, "index_template", &template) != 1 ||
		    !makes_stream(template.raw, index))
			continue;
		snprintf(text, sizeof(text), "?");
		if (tl_json_find(entry.raw, "name", &name) == 1)
			tl_bulk_text(name.raw, text, sizeof(text));
		return is_stream(elastic, text, error);
	}
	return 0;
}

/* The template's name: the prefix without what it ends in. */
static void template_name(const char *prefix, char out[TL_BULK_INDEX_MAX])
{
	size_t len;

	snprintf(out, TL_BULK_INDEX_MAX, "%s", prefix);
	for (len = strlen(out); len > 1 && strchr("-_.", out[len - 1]); len--)
		out[len - 1] = '\0';
}

/* The pattern of dated indices gets its `*`; a data stream is named whole. */
static struct tl_elastic_template template_of(const struct tl_elastic *elastic, bool opensearch)
{
	const struct tl_elastic_settings *s = elastic->settings;
	struct tl_elastic_template of = {
		.mapping = (enum tl_elastic_mapping)s->mapping,
		.opensearch = opensearch,
		.data_stream = s->data_stream != NULL,
		.patterns = {s->data_stream ? s->data_stream : s->index_prefix},
		.shards = s->shards,
		.replicas = s->replicas,
	};

	if (!s->data_stream && s->http_prefix[0])
		of.patterns[1] = s->http_prefix;
	return of;
}

/* Returns 0 put, 1 the server does not know the type, or an error. */
static int put_one(struct tl_elastic *elastic, const struct tl_elastic_template *of,
		   struct tl_error *error)
{
	_cleanup_(tl_http_request_done) struct tl_http_request request = {0};
	_cleanup_(tl_buf_done) struct tl_buf body = {0};
	char path[TL_BULK_INDEX_MAX + 32], name[TL_BULK_INDEX_MAX];
	int r;

	template_name(of->patterns[0], name);
	snprintf(path, sizeof(path), "/_index_template/%s", name);
	tl_elastic_template(of, &body);
	r = call(elastic, "PUT", path, tl_buf_span(&body), &request, error);
	if (r < 0)
		return r;
	if (request.status == 200)
		return 0;
	r = tl_elastic_fail(elastic, &request, "cannot put the index template", error);
	return request.status == 400 ? 1 : r;
}

static int put_template(struct tl_elastic *elastic, bool opensearch, struct tl_error *error)
{
	struct tl_elastic_template of = template_of(elastic, opensearch);
	int r = put_one(elastic, &of, error);

	if (r == 0 && of.data_stream && elastic->settings->http_prefix[0]) {
		of.data_stream = false;
		of.patterns[0] = elastic->settings->http_prefix;
		r = put_one(elastic, &of, error);
	}
	if (r == 0)
		elastic->opensearch = opensearch;
	return r;
}

int tl_elastic_setup(struct tl_elastic *elastic, struct tl_error *error)
{
	int kind = -ENODATA, r = probe(elastic, &kind, error);

	elastic->opensearch = kind == 1;
	if (r == 0 && !elastic->settings->data_stream)
		r = refuse_streams(elastic, error);
	if (r == 0 && !elastic->settings->data_stream)
		r = refuse_templates(elastic, error);
	if (r < 0 || !elastic->settings->template)
		return r;
	r = put_template(elastic, kind == 1, error);
	if (r == 1 && kind == -ENODATA)
		r = put_template(elastic, true, error);
	if (r == 1)
		return error ? error->code : -EPROTO;
	return r;
}
