/* SPDX-License-Identifier: Apache-2.0 */
/* Each connection has a thread and each request opens the store anew: that takes a fraction of a
 * millisecond, a store that is made, moved or replaced while we run is simply found, and one slow
 * question or browser delays no other. The page is public, what it shows is not: the API asks for
 * the token. Nothing of a request is ever logged. */
#include "userspace/web/server.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "userspace/base/json.h"
#include "userspace/web/access.h"
#include "userspace/web/address.h"
#include "userspace/web/page.h"
#include "userspace/web/stream.h"

#define ANSWER_MAX ((size_t)64 << 20)
#define CONNECTIONS_MAX 128
#define IDLE_S 60
#define WRONG_TOKEN_MS 300 /* what a wrong guess costs */

struct server {
	const struct tl_web_options *options;
	struct tl_access access;
};

static const struct {
	const char *name, *value;
} headers[] = {
	{"X-Content-Type-Options", "nosniff"},
	{"Cache-Control", "no-store"},
	{"Referrer-Policy", "no-referrer"},
	{"X-Frame-Options", "DENY"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
	{"Content-Security-Policy",
	 "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src "
	 "'self' "
	 "data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
	 "require-trusted-types-for 'script'; trusted-types 'none'"},
};

static enum MHD_Result send_response(struct MHD_Connection *connection, unsigned status,
				     const char *type, struct MHD_Response *response)
{
	enum MHD_Result result;

	MHD_add_response_header(response, "Content-Type", type);
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
		MHD_add_response_header(response, headers[i].name, headers[i].value);
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result send_text(struct MHD_Connection *connection, unsigned status,
				 const char *type, struct tl_span text)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(text.len, (void *)text.data, MHD_RESPMEM_MUST_COPY);

	return response ? send_response(connection, status, type, response) : MHD_NO;
}

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned status, const char *why)
{
	_cleanup_(tl_buf_done) struct tl_buf body = {0};

	tl_buf_puts(&body, "{\"error\":");
	tl_json_string(&body, tl_span_str(why));
	tl_buf_puts(&body, "}\n");
	return send_text(connection, status, "application/json", tl_buf_span(&body));
}

static enum MHD_Result refuse_error(struct MHD_Connection *connection, int r,
				    const struct tl_error *error)
{
	switch (r) {
	case -EINVAL:
	case -E2BIG:
	case -EFBIG:
		return refuse(connection, 400, error->message);
	case -ENOENT:
		return refuse(connection, 404, error->message);
	default:
		return refuse(connection, 503, error->message);
	}
}

static enum MHD_Result refuse_access(struct MHD_Connection *connection,
				     enum tl_access_verdict verdict)
{
	if (verdict == TL_WRONG_HOST)
		return refuse(connection, 403,
			      "without --token-file the page is for this host only: open it as "
			      "http://127.0.0.1:PORT");
	if (verdict == TL_WRONG_TOKEN) {
		poll(NULL, 0, WRONG_TOKEN_MS);
		return refuse(connection, 401, "this is not the token");
	}
	return refuse(connection, 401,
		      "a token is needed: open http://HOST:PORT/?token=TOKEN once, or send "
		      "Authorization: Bearer TOKEN");
}

static const char *argument(void *arg, const char *name)
{
	const char *value = MHD_lookup_connection_value(arg, MHD_GET_ARGUMENT_KIND, name);

	return value && *value ? value : NULL;
}

/* A link with the token leaves a cookie and goes on to where the token is in sight no more. */
static enum MHD_Result let_in(const struct server *server, struct MHD_Connection *connection,
			      unsigned status)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
	char cookie[1024];

	if (!response)
		return MHD_NO;
	tl_access_cookie(&server->access, cookie, sizeof(cookie));
	MHD_add_response_header(response, "Set-Cookie", cookie);
	if (status == 303)
		MHD_add_response_header(response, "Location", "/");
	return send_response(connection, status, "text/plain", response);
}

static enum MHD_Result send_file(const struct server *server, struct MHD_Connection *connection,
				 const struct tl_page_file *file)
{
	const char *token = strcmp(file->url, "/") == 0 ? argument(connection, "token") : NULL;
	enum tl_access_verdict verdict;

	if (!server->access.token) {
		verdict = tl_access_check(&server->access, connection);
		if (verdict != TL_ALLOWED)
			return refuse_access(connection, verdict);
	} else if (token && tl_access_is_token(&server->access, token)) {
		return let_in(server, connection, 303);
	} else if (token) {
		return refuse_access(connection, TL_WRONG_TOKEN);
	}
	return send_text(connection, 200, file->type,
			 (struct tl_span){file->text, (size_t)(file->end - file->text)});
}

static const struct {
	const char *url;
	tl_api_function *function;
} functions[] = {
	{"/api/search", tl_api_search},	     {"/api/tail", tl_api_tail},
	{"/api/request", tl_api_request_of}, {"/api/histogram", tl_api_histogram},
	{"/api/services", tl_api_services},  {"/api/health", tl_api_health},
};

static enum MHD_Result open_stream(const struct tl_api_request *request,
				   struct MHD_Connection *connection)
{
	const char *last =
		MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Last-Event-ID");
	struct MHD_Response *response;
	struct tl_error error = {0};
	int64_t after;
	int r = tl_api_number(request, "after", 0, INT64_MAX, -1, &after, &error);

	/* A browser that lost its connection sends what it had; its link is the old one. */
	if (r == 0 && last && *last)
		after = strtoll(last, NULL, 10);
	r = r < 0 ? r : tl_stream_open(request, connection, after, &response, &error);
	if (r < 0)
		return refuse_error(connection, r, &error);
	return send_response(connection, 200, "text/event-stream", response);
}

static enum MHD_Result answer(const struct server *server, struct MHD_Connection *connection,
			      const char *url)
{
	_cleanup_(tl_buf_done) struct tl_buf body = {.max = ANSWER_MAX};
	struct tl_stream_counts counts;
	struct tl_error error = {0};
	int r;

	tl_stream_counts(&counts);
	const struct tl_api_request request = {
		.argument = argument,
		.arg = connection,
		.store = server->options->store,
		.state = server->options->state,
		.skipped = counts.skipped,
		.streams = counts.open,
	};

	if (strcmp(url, "/api/stream") == 0)
		return open_stream(&request, connection);
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		if (strcmp(url, functions[i].url) != 0)
			continue;
		r = functions[i].function(&request, &body, &error);
		if (r < 0)
			return refuse_error(connection, r, &error);
		return send_text(connection, 200, "application/json", tl_buf_span(&body));
	}
	return refuse(connection, 404, "there is /, and the API that docs/web.md describes");
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *size, void **state)
{
	const struct server *server = arg;
	const struct tl_page_file *file = tl_page_file(url);
	bool session = strcmp(url, "/api/session") == 0;
	enum tl_access_verdict verdict;

	(void)version, (void)data, (void)state;
	if (*size) { /* a body, which nothing here takes */
		*size = 0;
		return MHD_YES;
	}
	if (strcmp(method, session ? "POST" : "GET") != 0)
		return refuse(connection, 405, session ? "only POST" : "only GET");
	if (strcmp(url, "/healthz") == 0)
		return send_text(connection, 200, "text/plain", TL_SPAN_LIT("ok\n"));
	if (file)
		return send_file(server, connection, file);
	verdict = tl_access_check(&server->access, connection);
	if (verdict != TL_ALLOWED)
		return refuse_access(connection, verdict);
	if (session && server->access.token)
		return let_in(server, connection, 204);
	return answer(server, connection, url);
}

int tl_web_check(const char *listen, bool has_token, struct tl_error *error)
{
	struct sockaddr_storage where;
	int r = tl_address_parse(listen, &where, error);

	if (r < 0)
		return r;
	if (!tl_access_is_loopback(&where) && !has_token)
		return tl_error_set(error, -EINVAL,
				    "%s can be reached by others, and log lines may hold anything: "
				    "give a file with a token (openssl rand -hex 16 > FILE), or "
				    "listen on 127.0.0.1",
				    listen);
	return 0;
}

static int check_token(const char *token, struct tl_error *error)
{
	static const char fit[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";

	if (strlen(token) < TL_WEB_TOKEN_MIN || strlen(token) > TL_WEB_TOKEN_MAX)
		return tl_error_set(error, -EINVAL,
				    "the token can be guessed, or is too long: take %d to %d "
				    "characters, for example of openssl rand -hex 16",
				    TL_WEB_TOKEN_MIN, TL_WEB_TOKEN_MAX);
	if (strspn(token, fit) != strlen(token))
		return tl_error_set(error, -EINVAL,
				    "the token has characters that a link cannot carry: take "
				    "letters, digits and -._~");
	return 0;
}

int tl_web_serve(const struct tl_web_options *options, uint16_t *ret_port, struct tl_error *error)
{
	static struct server server; /* of the process */
	const union MHD_DaemonInfo *info;
	struct sockaddr_storage where;
	struct MHD_Daemon *daemon;
	unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION;
	int r = tl_address_parse(options->listen, &where, error);

	r = r < 0 ? r : tl_web_check(options->listen, options->token != NULL, error);
	if (r == 0 && options->token)
		r = check_token(options->token, error);
	if (r < 0)
		return r;
	if (where.ss_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	server.options = options;
	server.access.token = options->token;
	errno = 0;
	daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, &server, MHD_OPTION_SOCK_ADDR,
				  &where, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
				  MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
				  MHD_OPTION_THREAD_STACK_SIZE, (size_t)1 << 20, MHD_OPTION_END);
	if (!daemon)
		return tl_error_set(error, errno ? -errno : -EADDRINUSE,
				    "cannot listen on %s: %s; choose another address",
				    options->listen, strerror(errno ? errno : EADDRINUSE));
	info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
	server.access.port = *ret_port = info ? info->port : 0;
	return 0;
}
