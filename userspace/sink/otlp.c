/* SPDX-License-Identifier: Apache-2.0 */
/* The otlp sink: records to a Collector, VictoriaLogs, Loki or whatever else takes OTLP/HTTP. At
 * least once: what was sent and not answered is sent again, under the same `log.record.uid`.
 * Settings follow the conventions of the OpenTelemetry SDKs, whose environment variables are read.
 */
#include "userspace/sink/otlp.h"

#include <stdio.h>

#include "userspace/base/clock.h"

#define FIELD(member) offsetof(struct tl_otlp_settings, member)
#define GZIP_LEVEL 1
#define ANSWER_MAX ((size_t)4 << 20)
#define RECORD_ARENA_MAX ((size_t)16 << 20)
#define SIGNAL_PATH "/v1/logs"

static const int topics[] = {TL_TOPIC_LOGS};
static const char *const encodings[] = {"auto", "protobuf", "json", NULL};
static const char *const compressions[] = {"auto", "gzip", "none", NULL};

static const struct tl_option options[] = {
	{.name = "url",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(url),
	 .metavar = "URL",
	 .env = "OTEL_EXPORTER_OTLP_ENDPOINT",
	 .help = "OTLP/HTTP endpoint, http://HOST:PORT or https://HOST:PORT; " SIGNAL_PATH
		 " is put behind it. Loki: http://loki:3100/otlp. VictoriaLogs: "
		 "http://HOST:9428/insert/opentelemetry."},
	{.name = "logs-url",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(logs_url),
	 .metavar = "URL",
	 .env = "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
	 .help = "The whole URL that takes logs, used as it is, instead of --url."},
	{.name = "headers-file",
	 .type = TL_OPT_SECRET,
	 .offset = FIELD(headers),
	 .metavar = "FILE",
	 .help = "File with headers of every request, one a line: Authorization: Bearer ... . They "
		 "come on top of those in OTEL_EXPORTER_OTLP_HEADERS and "
		 "OTEL_EXPORTER_OTLP_LOGS_HEADERS (name=value,name=value)."},
	{.name = "encoding",
	 .type = TL_OPT_ENUM,
	 .offset = FIELD(encoding),
	 .value = "auto",
	 .choices = encodings,
	 .help = "protobuf or json; auto is what OTEL_EXPORTER_OTLP_LOGS_PROTOCOL or "
		 "OTEL_EXPORTER_OTLP_PROTOCOL says, else protobuf."},
	{.name = "request-compression",
	 .type = TL_OPT_ENUM,
	 .offset = FIELD(compression),
	 .value = "auto",
	 .choices = compressions,
	 .help = "gzip or none; auto is what OTEL_EXPORTER_OTLP_LOGS_COMPRESSION or "
		 "OTEL_EXPORTER_OTLP_COMPRESSION says, else gzip."},
	{.name = "ca",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(ca),
	 .metavar = "FILE",
	 .env = "OTEL_EXPORTER_OTLP_CERTIFICATE",
	 .help = "PEM file of the authorities that may have signed the server's certificate; else "
		 "the system's."},
	{.name = "cert",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(cert),
	 .metavar = "FILE",
	 .env = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
	 .help = "PEM file of our certificate, where the server asks for one."},
	{.name = "key",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(key),
	 .metavar = "FILE",
	 .env = "OTEL_EXPORTER_OTLP_CLIENT_KEY",
	 .help = "PEM file of our certificate's key."},
	{.name = "in-flight",
	 .type = TL_OPT_INT,
	 .offset = FIELD(in_flight),
	 .value = "4",
	 .min = 1,
	 .max = TL_FLIGHT_MAX,
	 .metavar = "N",
	 .help = "Requests under way at once, at most: how many really are adapts to the "
		 "answers."},
	{.name = "request-size",
	 .type = TL_OPT_SIZE,
	 .offset = FIELD(request_bytes),
	 .value = "1MiB",
	 .metavar = "SIZE",
	 .help = "Records of one request, as JSON and before they are packed; a Collector takes 20 "
		 "MiB."},
	{.name = "timeout",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(timeout_ns),
	 .value = "10s",
	 .metavar = "TIME",
	 .help = "A request without an answer for so long is sent again."},
	{.name = NULL},
};

/* The environment variable of logs, else the one of all signals; NULL when neither says anything.
 */
static const char *from_environment(const char *what)
{
	char name[64];
	const char *value;

	snprintf(name, sizeof(name), "OTEL_EXPORTER_OTLP_LOGS_%s", what);
	value = getenv(name);
	if (value && *value)
		return value;
	snprintf(name, sizeof(name), "OTEL_EXPORTER_OTLP_%s", what);
	value = getenv(name);
	return value && *value ? value : NULL;
}

static int choose_encoding(struct tl_otlp_sink *otlp, struct tl_error *error)
{
	int wanted = otlp->settings->encoding;
	const char *said = wanted ? NULL : from_environment("PROTOCOL");

	if (said && strcmp(said, "http/json") != 0 && strcmp(said, "http/protobuf") != 0)
		return tl_error_set(error, -EINVAL,
				    "OTEL_EXPORTER_OTLP_PROTOCOL is %s, and this sink speaks "
				    "http/protobuf and http/json: give --encoding protobuf and the "
				    "URL of the HTTP receiver (port 4318)",
				    said);
	otlp->encoding = wanted == TL_OTLP_ENCODING_JSON || (said && strcmp(said, "http/json") == 0)
				 ? TL_OTLP_JSON
				 : TL_OTLP_PROTOBUF;
	return 0;
}

static int packs(const struct tl_otlp_settings *settings, bool *ret, struct tl_error *error)
{
	const char *said = settings->compression ? NULL : from_environment("COMPRESSION");

	if (said && strcmp(said, "gzip") != 0 && strcmp(said, "none") != 0)
		return tl_error_set(error, -EINVAL,
				    "OTEL_EXPORTER_OTLP_COMPRESSION is %s: gzip and none are known",
				    said);
	*ret = said ? strcmp(said, "gzip") == 0 : settings->compression != TL_OTLP_COMPRESSION_NONE;
	return 0;
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && strcmp(text + n - m, end) == 0;
}

/* A base gets the signal's path, the URL of logs is used as it is. Who writes the whole path into
 * --url means it. */
static int choose_url(const struct tl_otlp_settings *s, const char **ret_url, const char **ret_path,
		      struct tl_error *error)
{
	if (!s->url && !s->logs_url)
		return tl_error_set(error, -EINVAL,
				    "--url is missing: where is the OTLP receiver? For example "
				    "--url http://127.0.0.1:4318 (or set "
				    "OTEL_EXPORTER_OTLP_ENDPOINT)");
	*ret_url = s->logs_url ? s->logs_url : s->url;
	if (s->logs_url)
		*ret_path = ends_with(s->logs_url, "/") ? "/" : "";
	else
		*ret_path = ends_with(s->url, SIGNAL_PATH) ? "" : SIGNAL_PATH;
	return 0;
}

static int gather_headers(const struct tl_otlp_settings *settings, struct tl_otlp_headers *headers,
			  struct tl_error *error)
{
	static const char *const names[] = {"OTEL_EXPORTER_OTLP_HEADERS",
					    "OTEL_EXPORTER_OTLP_LOGS_HEADERS"};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(names); i++) {
		const char *list = getenv(names[i]);

		r = list ? tl_otlp_headers_add(headers, list, error) : 0;
		if (r < 0)
			return tl_error_wrap(error, "%s", names[i]);
	}
	if (settings->headers && tl_otlp_headers_file(headers, settings->headers, error) < 0)
		return tl_error_wrap(error, "--headers-file");
	return 0;
}

static int open_http(struct tl_otlp_sink *otlp, struct tl_error *error)
{
	_cleanup_(tl_otlp_headers_done) struct tl_otlp_headers headers = {0};
	const struct tl_otlp_settings *s = otlp->settings;
	struct tl_http_settings http = {
		.headers = (const char *const *)headers.lines,
		.ca = s->ca,
		.cert = s->cert,
		.key = s->key,
		.timeout_ns = s->timeout_ns,
		.answer_max = ANSWER_MAX,
	};
	struct tl_flight_options flight = {
		.ops = &tl_otlp_flight,
		.arg = otlp,
		.http = &http,
		.content_type = otlp->encoding == TL_OTLP_JSON ? "application/json"
							       : "application/x-protobuf",
		.most = (unsigned)s->in_flight,
		.chunk_bytes = s->request_bytes,
	};
	bool gzip = false;
	int r = choose_url(s, &http.url, &flight.path, error);

	r = r < 0 ? r : gather_headers(s, &headers, error);
	r = r < 0 ? r : packs(s, &gzip, error);
	flight.gzip_level = gzip ? GZIP_LEVEL : 0;
	return r < 0 ? r : tl_flight_open(&otlp->flight, &flight, error);
}

static void otlp_close(struct tl_sink *sink)
{
	struct tl_otlp_sink *otlp = (struct tl_otlp_sink *)sink;

	tl_flight_done(&otlp->flight);
	if (otlp->builder)
		tl_otlp_free(otlp->builder);
	tl_arena_done(&otlp->arena);
	free(otlp);
}

static int otlp_open(const void *settings, struct tl_sink **ret_sink, struct tl_error *error)
{
	static const struct tl_otlp_limits limits = {.groups = 65536};
	struct tl_otlp_sink *otlp = calloc(1, sizeof(*otlp));
	int r;

	if (!otlp)
		return tl_error_set(error, -ENOMEM, "out of memory");
	otlp->sink.ops = &tl_sink_otlp;
	otlp->settings = settings;
	otlp->arena.max = RECORD_ARENA_MAX;
	r = choose_encoding(otlp, error);
	r = r < 0 ? r : open_http(otlp, error);
	if (r == 0 && tl_otlp_new(otlp->encoding, &limits, &otlp->builder) < 0)
		r = tl_error_set(error, -ENOMEM, "out of memory");
	if (r < 0) {
		otlp_close(&otlp->sink);
		return r;
	}
	*ret_sink = &otlp->sink;
	return 0;
}

const struct tl_sink_ops tl_sink_otlp = {
	.name = "otlp",
	.about = "Carries finished records to an OpenTelemetry Collector, VictoriaLogs, Loki or "
		 "whatever else takes OTLP over HTTP. At least once: attribute "
		 "log.record.uid tells a record that came twice. What the server will never take "
		 "goes to tapline.dlq with its reason; when it is away or busy, records are tried "
		 "until they are there.\n\n"
		 "  tapline sink otlp --brokers kafka:9092 --url http://collector:4318\n"
		 "  tapline sink otlp --brokers kafka:9092 --url https://otlp.example.com "
		 "--headers-file /etc/tapline/headers",
	.topics = topics,
	.n_topics = ARRAY_SIZE(topics),
	.options = options,
	.settings_size = sizeof(struct tl_otlp_settings),
	.open = otlp_open,
	.write = tl_otlp_sink_write,
	.close = otlp_close,
};
