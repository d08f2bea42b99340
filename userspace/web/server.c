/* SPDX-License-Identifier: Apache-2.0 */
/* Each request opens the store anew: that takes a fraction of a millisecond, and a store that is
 * made, moved or replaced while we run is simply found. Without a token only loopback is listened
 * on, and only by names of loopback, so that a page of another site cannot have its name resolved
 * to us. */
#include "userspace/web/server.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "userspace/base/clock.h"
#include "userspace/base/json.h"
#include "userspace/store/query.h"
#include "userspace/web/address.h"
#include "userspace/web/page.h"

#define LIMIT_DEFAULT 100
#define LIMIT_MAX 5000
#define ANSWER_MAX ((size_t)64 << 20)
#define CONNECTIONS_MAX 64
#define IDLE_S 60

struct answer {
	unsigned status;
	struct tl_buf body;
};

static void security_headers(struct MHD_Response *response)
{
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
	MHD_add_response_header(
		response, "Content-Security-Policy",
		"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
		"connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'");
}

static enum MHD_Result send_text(struct MHD_Connection *connection, unsigned status,
				 const char *type, struct tl_span text)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(text.len, (void *)text.data, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, "Content-Type", type);
	security_headers(response);
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static void refuse(struct answer *answer, unsigned status, const char *why)
{
	answer->status = status;
	tl_buf_clear(&answer->body);
	tl_buf_puts(&answer->body, "{\"error\":");
	tl_json_string(&answer->body, tl_span_str(why));
	tl_buf_puts(&answer->body, "}\n");
}

static const char *argument(struct MHD_Connection *connection, const char *name)
{
	const char *value = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, name);

	return value && *value ? value : NULL;
}

static int read_query(struct MHD_Connection *connection, bool tail, struct tl_query *query,
		      struct tl_error *error)
{
	const char *q = argument(connection, "q"), *since = argument(connection, "since");
	const char *until = argument(connection, "until"), *limit = argument(connection, "limit");
	const char *after = argument(connection, "after");
	uint64_t now = tl_wall_ns();
	int r = 0;

	query->exchanges = argument(connection, "http") != NULL;
	query->limit = limit ? strtoul(limit, NULL, 10) : LIMIT_DEFAULT;
	if (query->limit == 0 || query->limit > LIMIT_MAX)
		query->limit = LIMIT_MAX;
	query->after = -1;
	if (tail)
		query->after = after ? strtoll(after, NULL, 10) : 0;
	if (tail && query->after < 0)
		return tl_error_set(error, -EINVAL, "after: a number from 0 on");
	if (q)
		r = tl_query_parse(query, q, error);
	if (r == 0 && since)
		r = tl_query_time(since, now, &query->since_ns, error);
	if (r == 0 && until)
		r = tl_query_time(until, now, &query->until_ns, error);
	return r;
}

struct rows {
	struct tl_buf *body;
	size_t n;
	int64_t last;
};

static int on_row(void *arg, const struct tl_row *row)
{
	struct rows *rows = arg;

	if (rows->n++)
		tl_buf_putc(rows->body, ',');
	tl_buf_add(rows->body, row->json.data, row->json.len);
	if (row->number > rows->last)
		rows->last = row->number;
	return rows->body->failed;
}

static int ask(const struct tl_web_options *options, const struct tl_query *query,
	       struct tl_buf *body, struct tl_error *error)
{
	_cleanup_(tl_store_reader_closep) struct tl_store_reader *reader = NULL;
	struct rows rows = {.body = body};
	int64_t newest;
	int r = tl_store_reader_open(options->store, &reader, error);

	if (r < 0)
		return r;
	newest = tl_store_newest(reader, query->exchanges);
	tl_buf_puts(body, "{\"records\":[");
	r = tl_store_query(reader, query, on_row, &rows, error);
	if (r < 0 || body->failed)
		return r < 0 ? r
			     : tl_error_set(error, -EFBIG,
					    "the answer is too large: ask for fewer records");
	/* A tail that was cut by its limit goes on behind its last row. */
	if (query->after >= 0 && rows.n == query->limit)
		newest = rows.last;
	tl_buf_printf(body, "],\"newest\":%lld}\n",
		      (long long)(rows.last > newest ? rows.last : newest));
	return 0;
}

static void api(const struct tl_web_options *options, struct MHD_Connection *connection, bool tail,
		struct answer *answer)
{
	struct tl_query *query = calloc(1, sizeof(*query));
	struct tl_error error = {0};
	int r = query ? read_query(connection, tail, query, &error) : -ENOMEM;

	if (r == 0)
		r = ask(options, query, &answer->body, &error);
	free(query);
	answer->status = 200;
	if (r == -EINVAL || r == -E2BIG || r == -EFBIG)
		refuse(answer, 400, error.message);
	else if (r < 0)
		refuse(answer, 503, error.message);
}

/* Compares in a time that does not tell where they differ. */
static bool same(const char *a, const char *b)
{
	size_t na = strlen(a), nb = strlen(b);
	unsigned char differ = na != nb;

	for (size_t i = 0; i < na; i++)
		differ |= (unsigned char)(a[i] ^ b[nb ? i % nb : 0]);
	return !differ;
}

static bool has_token(struct MHD_Connection *connection, const char *token)
{
	const char *given =
		MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");

	return given && strncmp(given, "Bearer ", 7) == 0 && same(given + 7, token);
}

static bool is_loopback_name(const char *host)
{
	size_t len;

	if (!host)
		return true; /* HTTP/1.0 tools; browsers always send it */
	if (host[0] == '[')
		return strncmp(host, "[::1]", 5) == 0 && (!host[5] || host[5] == ':');
	len = strcspn(host, ":");
	return (len == 9 && strncmp(host, "localhost", 9) == 0) ||
	       (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == len);
}

static bool allowed(const struct tl_web_options *options, struct MHD_Connection *connection,
		    struct answer *answer)
{
	if (!options->token &&
	    !is_loopback_name(MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host"))) {
		refuse(answer, 403,
		       "without --token-file the page is for this host only: open it as "
		       "http://127.0.0.1:PORT");
		return false;
	}
	if (options->token && !has_token(connection, options->token)) {
		refuse(answer, 401,
		       "a token is needed: open the page as http://HOST:PORT/?token=TOKEN, or send "
		       "Authorization: "
		       "Bearer TOKEN");
		return false;
	}
	return true;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *size, void **state)
{
	const struct tl_web_options *options = arg;
	struct answer answer = {.status = 404, .body = {.max = ANSWER_MAX}};
	enum MHD_Result result;

	(void)version, (void)data, (void)size, (void)state;
	if (strcmp(method, "GET") != 0)
		refuse(&answer, 405, "only GET");
	else if (strcmp(url, "/") == 0)
		return send_text(connection, 200, "text/html; charset=utf-8",
				 (struct tl_span){tl_web_page, tl_web_page_len});
	else if (strcmp(url, "/healthz") == 0)
		return send_text(connection, 200, "text/plain", TL_SPAN_LIT("ok\n"));
	else if (strcmp(url, "/api/search") != 0 && strcmp(url, "/api/tail") != 0)
		refuse(&answer, 404, "there is /, /api/search and /api/tail");
	else if (allowed(options, connection, &answer))
		api(options, connection, strcmp(url, "/api/tail") == 0, &answer);
	result =
		send_text(connection, answer.status, "application/json", tl_buf_span(&answer.body));
	tl_buf_done(&answer.body);
	return result;
}

static bool is_loopback(const struct sockaddr_storage *where)
{
	if (where->ss_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)where)->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)where)->sin6_addr);
}

int tl_web_serve(const struct tl_web_options *options, uint16_t *ret_port, struct tl_error *error)
{
	const union MHD_DaemonInfo *info;
	struct sockaddr_storage where;
	struct MHD_Daemon *daemon;
	unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD;
	int r = tl_address_parse(options->listen, &where, error);

	if (r < 0)
		return r;
	if (!is_loopback(&where) && !options->token)
		return tl_error_set(error, -EINVAL,
				    "%s can be reached by others, and log lines may hold anything: "
				    "give --token-file, or listen "
				    "on 127.0.0.1",
				    options->listen);
	if (where.ss_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	errno = 0;
	daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, (void *)options,
				  MHD_OPTION_SOCK_ADDR, &where, MHD_OPTION_CONNECTION_LIMIT,
				  (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
				  (unsigned)IDLE_S, MHD_OPTION_END);
	if (!daemon)
		return tl_error_set(error, errno ? -errno : -EADDRINUSE,
				    "cannot listen on %s: %s; choose another with --listen",
				    options->listen, strerror(errno ? errno : EADDRINUSE));
	info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
	*ret_port = info ? info->port : 0;
	return 0;
}
