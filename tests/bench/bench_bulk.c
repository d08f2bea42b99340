/* SPDX-License-Identifier: Apache-2.0 */
/* A sink that sends over HTTP, from messages in memory to a server that takes them; and the least
 * that a client can do with the same: an action line of constants, the document as it is, one
 * request after the other (the floor). usage: bench_bulk URL RECORDS elastic|otlp|floor GZIP
 * [NDJSON]. Prints records, bytes, seconds, CPU seconds. With NDJSON it only writes the same
 * records to that file, for a peer. */
#include <stdio.h>

#include "tests/bench/records.h"
#include "userspace/sink/elastic.h"
#include "userspace/sink/otlp.h"

#define BATCH 10000
#define REQUEST ((size_t)4 << 20)

static int feed(struct tl_sink *sink, const struct input *in, struct tl_error *error)
{
	static struct tl_message batch[BATCH];
	static struct tl_dead_letter dead[BATCH];
	int r = 0;

	for (size_t i = 0; r == 0 && i < in->n;) {
		struct tl_sink_result result = {.dead = dead};
		size_t n = next_batch(in, &i, batch, BATCH, 0);

		r = sink->ops->write(sink, batch, n, &result, NULL, error);
		if (r == 0 && result.written != n)
			r = tl_error_set(error, -EIO, "%zu of %zu written", (size_t)result.written,
					 n);
	}
	return r;
}

static int through(const struct tl_sink_ops *ops, const void *settings, const struct input *in,
		   struct tl_error *error)
{
	struct tl_sink *sink;
	int r = ops->open(settings, &sink, error);

	if (r < 0)
		return r;
	r = feed(sink, in, error);
	ops->close(sink);
	return r;
}

static int elastic(const char *url, bool gzip, const struct input *in, struct tl_error *error)
{
	struct tl_elastic_settings settings = {.url = url,
					       .index_prefix = "tapline-logs-",
					       .http_prefix = "tapline-http-",
					       .gzip = gzip,
					       .template = true,
					       .in_flight = 4,
					       .replicas = 0,
					       .request_bytes = REQUEST,
					       .timeout_ns = 60 * TL_SEC};

	return through(&tl_sink_elasticsearch, &settings, in, error);
}

static int otlp(const char *url, bool gzip, const struct input *in, struct tl_error *error)
{
	struct tl_otlp_settings settings = {.url = url,
					    .compression = gzip ? TL_OTLP_COMPRESSION_GZIP
								: TL_OTLP_COMPRESSION_NONE,
					    .in_flight = 4,
					    .request_bytes = 1 << 20,
					    .timeout_ns = 60 * TL_SEC};

	return through(&tl_sink_otlp, &settings, in, error);
}

static int post(struct tl_http *http, const struct tl_buf *body, struct tl_error *error)
{
	struct tl_http_request request = {.method = "POST",
					  .path = "/_bulk?filter_path=errors",
					  .content_type = "application/x-ndjson",
					  .body = tl_buf_span(body)};
	int r = tl_http_call(http, &request, NULL);

	if (r < 0 || request.status != 200)
		r = tl_error_set(error, -EIO, "status %d %s", request.status, request.why);
	tl_http_request_done(&request);
	return r;
}

static int bare(const char *url, const struct input *in, struct tl_error *error)
{
	struct tl_http_settings settings = {
		.url = url, .timeout_ns = 60 * TL_SEC, .connections = 1};
	struct tl_buf body = {.max = 2 * REQUEST};
	struct tl_http *http;
	int r = tl_http_new(&settings, &http, error);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < in->n; i++) {
		tl_buf_printf(
			&body,
			"{\"create\":{\"_index\":\"tapline-logs-2026.11.20\",\"_id\":\"%zu\"}}"
			"\n",
			i);
		tl_buf_add(&body, in->text.data + in->starts[i], in->starts[i + 1] - in->starts[i]);
		if (body.len < REQUEST && i + 1 < in->n)
			continue;
		r = post(http, &body, error);
		tl_buf_clear(&body);
	}
	tl_http_free(http);
	tl_buf_done(&body);
	return r;
}

int main(int argc, char **argv)
{
	struct tl_error error = {0};
	struct input in = {0};
	uint64_t began;
	bool gzip;
	double cpu;
	int r;

	if (argc < 5)
		return 2;
	gzip = atoi(argv[4]) != 0;
	make_input(&in, strtoul(argv[2], NULL, 10));
	if (argc > 5) {
		FILE *file = fopen(argv[5], "w");

		return !file || fwrite(in.text.data, 1, in.text.len, file) != in.text.len ||
		       fclose(file);
	}
	began = tl_mono_ns();
	cpu = cpu_seconds();
	if (strcmp(argv[3], "floor") == 0)
		r = bare(argv[1], &in, &error);
	else
		r = (strcmp(argv[3], "otlp") == 0 ? otlp : elastic)(argv[1], gzip, &in, &error);
	if (r < 0) {
		fprintf(stderr, "bench_bulk: %s\n", error.message);
		return 1;
	}
	printf("%zu %zu %.3f %.3f\n", in.n, in.text.len, (double)(tl_mono_ns() - began) / 1e9,
	       cpu_seconds() - cpu);
	return 0;
}
