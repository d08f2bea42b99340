/* SPDX-License-Identifier: Apache-2.0 */
/* The far end of the benches of HTTP sinks: answers _bulk and OTLP requests as a server that took
 * everything, at once, and counts the documents of _bulk (GET /count). Everything else is answered
 * with 200 and {}. usage: bench_stub PORTFILE */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define ITEMS_MAX 200000
#define ITEM "{\"create\":{\"status\":201}},"

struct post {
	size_t lines;
	int packed; /* 1 gzip, 0 plain, -1 not known yet */
	z_stream z;
};

static char answer_text[ITEMS_MAX * (sizeof(ITEM) - 1) + 64];
static unsigned long documents;

static void count_lines(struct post *post, const char *data, size_t n)
{
	for (const char *at = data; (at = memchr(at, '\n', n - (size_t)(at - data))); at++)
		post->lines++;
}

static void unpack(struct post *post, const char *data, size_t n)
{
	static char out[1 << 18];

	post->z.next_in = (Bytef *)data;
	post->z.avail_in = (uInt)n;
	do {
		post->z.next_out = (Bytef *)out;
		post->z.avail_out = sizeof(out);
		if (inflate(&post->z, Z_NO_FLUSH) < 0)
			return;
		count_lines(post, out, sizeof(out) - post->z.avail_out);
	} while (post->z.avail_out == 0);
}

static size_t bulk_answer(size_t items)
{
	static const char head[] = "{\"errors\":false,\"items\":[";
	char *at = answer_text + sizeof(head) - 1;

	memcpy(answer_text, head, sizeof(head) - 1);
	for (size_t i = 0; i < items && i < ITEMS_MAX; i++, at += sizeof(ITEM) - 1)
		memcpy(at, ITEM, sizeof(ITEM) - 1);
	memcpy(at - (items > 0), "]}", 2);
	return (size_t)(at - (items > 0) + 2 - answer_text);
}

static size_t make_answer(const char *url, const struct post *post)
{
	if (strcmp(url, "/count") == 0)
		return (size_t)snprintf(answer_text, sizeof(answer_text), "%lu\n", documents);
	if (strstr(url, "/v1/logs"))
		return 0;
	if (!strstr(url, "_bulk"))
		return (size_t)snprintf(answer_text, sizeof(answer_text), "{}");
	documents += post->lines / 2;
	return bulk_answer(post->lines / 2);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *size, void **state)
{
	struct post *post = *state;
	struct MHD_Response *response;
	const char *encoding;
	enum MHD_Result r;

	(void)arg, (void)method, (void)version;
	if (!post) {
		*state = post = calloc(1, sizeof(*post));
		encoding = MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
						       "Content-Encoding");
		post->packed = encoding && strcmp(encoding, "gzip") == 0;
		if (post->packed)
			inflateInit2(&post->z, 15 + 16);
		return MHD_YES;
	}
	if (*size) {
		if (strstr(url, "_bulk"))
			(post->packed ? unpack : count_lines)(post, data, *size);
		*size = 0;
		return MHD_YES;
	}
	response = MHD_create_response_from_buffer(make_answer(url, post), answer_text,
						   MHD_RESPMEM_MUST_COPY);
	r = MHD_queue_response(connection, 200, response);
	MHD_destroy_response(response);
	return r;
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
			 enum MHD_RequestTerminationCode code)
{
	struct post *post = *state;

	(void)arg, (void)connection, (void)code;
	if (post && post->packed)
		inflateEnd(&post->z);
	free(post);
	*state = NULL;
}

int main(int argc, char **argv)
{
	struct sockaddr_in where = {.sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct MHD_Daemon *daemon = MHD_start_daemon(
		MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL, 0, NULL, NULL, on_request, NULL,
		MHD_OPTION_SOCK_ADDR, &where, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)1 << 20, MHD_OPTION_END);
	FILE *file = argc > 1 ? fopen(argv[1], "w") : NULL;

	if (!daemon || !file)
		return 2;
	fprintf(file, "%u\n", MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
	fclose(file);
	for (;;)
		pause();
}
