/* SPDX-License-Identifier: Apache-2.0 */
/* The elasticsearch sink (OpenSearch too): effectively once. A record's index is named by its
 * observed time and its id is its uid, both fixed when the agent wrote it, so that a record sent
 * again finds itself (409) wherever the first try ended. */
#include "userspace/sink/elastic.h"

#include <stdio.h>
#include <stdlib.h>

#include "userspace/base/clock.h"

#define FIELD(member) offsetof(struct tl_elastic_settings, member)
#define GZIP_LEVEL 1

static const int topics[] = {TL_TOPIC_LOGS, TL_TOPIC_HTTP};
static const char *const mappings[] = {TL_MAPPING_NAMES, NULL};

static const struct tl_option options[] = {
	{.name = "url",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(url),
	 .metavar = "URL",
	 .required = true,
	 .env = "TAPLINE_SEARCH_URL",
	 .help = "Elasticsearch or OpenSearch: http://HOST:PORT or https://HOST:PORT."},
	{.name = "index-prefix",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(index_prefix),
	 .value = "tapline-logs-",
	 .metavar = "TEXT",
	 .help = "Indices are named by this and the day of the record: tapline-logs-2026.11.23."},
	{.name = "http-index-prefix",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(http_prefix),
	 .value = "tapline-http-",
	 .metavar = "TEXT",
	 .help = "The same for HTTP exchanges; empty leaves them out."},
	{.name = "data-stream",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(data_stream),
	 .metavar = "NAME",
	 .help = "Write lines to this data stream (logs-tapline-default) instead of dated indices. "
		 "Records older than its newest index are looked for in the older ones first."},
	{.name = "mapping",
	 .type = TL_OPT_ENUM,
	 .offset = FIELD(mapping),
	 .value = "flat",
	 .choices = mappings,
	 .help = "Shape of documents: our record as it is, the Elastic Common Schema, or Elastic's "
		 "OpenTelemetry shape."},
	{.name = "user",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(user),
	 .metavar = "NAME",
	 .env = "TAPLINE_SEARCH_USER",
	 .help = "User of basic authentication."},
	{.name = "password-file",
	 .type = TL_OPT_SECRET,
	 .offset = FIELD(password),
	 .metavar = "FILE",
	 .help = "File with the user's password; without it TAPLINE_SEARCH_PASSWORD has it."},
	{.name = "api-key-file",
	 .type = TL_OPT_SECRET,
	 .offset = FIELD(api_key),
	 .metavar = "FILE",
	 .help = "File with an API key (its base64 form), instead of user and password; "
		 "TAPLINE_SEARCH_API_KEY has one too."},
	{.name = "ca",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(ca),
	 .metavar = "FILE",
	 .help = "PEM file of the authorities that may have signed the server's certificate; else "
		 "the system's."},
	{.name = "cert",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(cert),
	 .metavar = "FILE",
	 .help = "PEM file of our certificate, where the server asks for one."},
	{.name = "key",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(key),
	 .metavar = "FILE",
	 .help = "PEM file of our certificate's key."},
	{.name = "gzip",
	 .type = TL_OPT_BOOL,
	 .offset = FIELD(gzip),
	 .value = "true",
	 .help = "Pack the requests."},
	{.name = "in-flight",
	 .type = TL_OPT_INT,
	 .offset = FIELD(in_flight),
	 .value = "4",
	 .min = 1,
	 .max = TL_FLIGHT_MAX,
	 .metavar = "N",
	 .help = "Requests under way at once, at most; fewer while the server is busy."},
	{.name = "request-size",
	 .type = TL_OPT_SIZE,
	 .offset = FIELD(request_bytes),
	 .value = "4MiB",
	 .metavar = "SIZE",
	 .help = "Size of one request before it is packed; a server's limit is often 100 MiB."},
	{.name = "timeout",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(timeout_ns),
	 .value = "60s",
	 .metavar = "TIME",
	 .help = "A request without an answer for so long is sent again."},
	{.name = "wait",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(wait_ns),
	 .value = "30s",
	 .metavar = "TIME",
	 .help = "How long a server that does not answer is waited for at start; later it is "
		 "waited for without end."},
	{.name = "template",
	 .type = TL_OPT_BOOL,
	 .offset = FIELD(template),
	 .value = "true",
	 .help = "Put the index template (named by the prefix) at start; --no-template leaves "
		 "yours alone."},
	{.name = "shards",
	 .type = TL_OPT_INT,
	 .offset = FIELD(shards),
	 .value = "0",
	 .min = 0,
	 .max = 1024,
	 .metavar = "N",
	 .help = "Shards of an index, in the template; 0 is the server's default."},
	{.name = "replicas",
	 .type = TL_OPT_INT,
	 .offset = FIELD(replicas),
	 .value = "-1",
	 .min = -1,
	 .max = 100,
	 .metavar = "N",
	 .help = "Copies of a shard, in the template; -1 is the server's default."},
	{.name = NULL},
};

static int check_name(const char *option, const char *name, struct tl_error *error)
{
	if (!*name || strlen(name) > 200 || strchr("-_+.", name[0]))
		return tl_error_set(error, -EINVAL,
				    "--%s `%s`: 1 to 200 characters, not beginning with - _ + or .",
				    option, name);
	for (const char *p = name; *p; p++)
		if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-_.", *p))
			return tl_error_set(error, -EINVAL,
					    "--%s `%s`: only lower-case letters, digits, - _ and .",
					    option, name);
	return 0;
}

static const char *from_environment(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

/* Flags and files are stronger than the environment; who names a user means no key that lies there.
 */
static void add_credentials(const struct tl_elastic_settings *s, struct tl_http_settings *http)
{
	http->user = s->api_key ? NULL : s->user;
	http->password = s->password;
	http->api_key = s->api_key;
	if (http->user && !http->password)
		http->password = from_environment("TAPLINE_SEARCH_PASSWORD");
	if (!http->user && !http->api_key)
		http->api_key = from_environment("TAPLINE_SEARCH_API_KEY");
}

static int check_settings(const struct tl_elastic_settings *s, struct tl_error *error)
{
	int r = check_name("index-prefix", s->index_prefix, error);

	if (r == 0 && s->http_prefix[0])
		r = check_name("http-index-prefix", s->http_prefix, error);
	if (r == 0 && s->data_stream)
		r = check_name("data-stream", s->data_stream, error);
	if (r < 0)
		return r;
	if (s->password && !s->user)
		return tl_error_set(error, -EINVAL, "--password-file needs --user");
	if (s->user && s->api_key)
		return tl_error_set(
			error, -EINVAL,
			"give --user with --password-file, or --api-key-file, not both");
	return 0;
}

#define BULK                                                                                       \
	"/_bulk?filter_path=errors,error,items.*.status,items.*.error.type,items.*.error.reason"

static int open_http(struct tl_elastic *elastic, struct tl_error *error)
{
	const struct tl_elastic_settings *s = elastic->settings;
	struct tl_http_settings http = {
		.url = s->url,
		.ca = s->ca,
		.cert = s->cert,
		.key = s->key,
		.timeout_ns = s->timeout_ns,
		.connections = 1,
	};
	const struct tl_flight_options flight = {
		.ops = &tl_elastic_flight,
		.arg = elastic,
		.http = &http,
		.path = s->data_stream ? BULK ",items.*._index" : BULK,
		.content_type = "application/x-ndjson",
		.gzip_level = s->gzip ? GZIP_LEVEL : 0,
		.most = (unsigned)s->in_flight,
		.chunk_bytes = s->request_bytes,
	};
	int r;

	add_credentials(s, &http);
	r = tl_http_new(&http, &elastic->questions, error);
	return r < 0 ? r : tl_flight_open(&elastic->flight, &flight, error);
}

static void elastic_close(struct tl_sink *sink)
{
	struct tl_elastic *elastic = (struct tl_elastic *)sink;

	tl_flight_done(&elastic->flight);
	if (elastic->questions)
		tl_http_free(elastic->questions);
	tl_buf_done(&elastic->sifted);
	tl_buf_done(&elastic->copied);
	tl_buf_done(&elastic->stream.body);
	tl_arena_done(&elastic->arena);
	free(elastic);
}

static int elastic_open(const void *settings, struct tl_sink **ret_sink, struct tl_error *error)
{
	struct tl_elastic *elastic;
	int r = check_settings(settings, error);

	if (r < 0)
		return r;
	elastic = calloc(1, sizeof(*elastic));
	if (!elastic)
		return tl_error_set(error, -ENOMEM, "out of memory");
	elastic->sink.ops = &tl_sink_elasticsearch;
	elastic->settings = settings;
	elastic->mapper = (struct tl_elastic_mapper){
		.mapping = (enum tl_elastic_mapping)elastic->settings->mapping,
		.data_stream = elastic->settings->data_stream,
		.arena = &elastic->arena,
		.record = &elastic->record,
	};
	r = open_http(elastic, error);
	elastic->stream.http = elastic->questions;
	elastic->stream.name = elastic->settings->data_stream;
	if (r == 0)
		r = tl_elastic_setup(elastic, error);
	if (r < 0) {
		elastic_close(&elastic->sink);
		return r;
	}
	*ret_sink = &elastic->sink;
	return 0;
}

const struct tl_sink_ops tl_sink_elasticsearch = {
	.name = "elasticsearch",
	.about = "Carries the records of tapline.logs to Elasticsearch or OpenSearch, each exactly "
		 "once: the index is named by "
		 "the record's day, its id is the record's uid. The HTTP exchanges of tapline.http "
		 "go to indices of their own. What the server will never take "
		 "goes to tapline.dlq with the "
		 "reason; everything else is tried until it is there.\n\n"
		 "  tapline sink elasticsearch --brokers kafka:9092 --url http://search:9200\n"
		 "  tapline sink elasticsearch --brokers kafka:9092 --url https://search:9200 "
		 "--user tapline \\\n"
		 "      --password-file /etc/tapline/password --ca /etc/tapline/ca.pem",
	.topics = topics,
	.n_topics = ARRAY_SIZE(topics),
	.options = options,
	.settings_size = sizeof(struct tl_elastic_settings),
	.open = elastic_open,
	.write = tl_elastic_write,
	.close = elastic_close,
};
