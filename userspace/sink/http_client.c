/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/sink/http_client.h"

#include <curl/curl.h>
#include <stdio.h>

#include "userspace/base/clock.h"

#define CONNECT_MS 10000L
#define SLICE_MS 200u /* how soon a stop is noticed */

struct connection {
	CURL *easy;
	struct curl_slist *headers;
	struct tl_http_request *request; /* NULL: idle */
	char error[CURL_ERROR_SIZE];
};

struct tl_http {
	CURLM *multi;
	char *url;
	char *authorization; /* header line or NULL */
	char **headers;	     /* of every request; ends with NULL, or NULL */
	size_t answer_max;
	size_t n;
	struct connection connections[];
};

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct tl_http_request *request = arg;

	return tl_buf_add(&request->answer, data, size * n) < 0 ? 0 : size * n;
}

static bool is_http_url(const char *url)
{
	return strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0;
}

static int set_common(struct tl_http *http, CURL *easy, const struct tl_http_settings *settings)
{
	CURLcode e = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");

	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(settings->timeout_ns / TL_MS));
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip");
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "tapline");
	if (settings->user && !http->authorization) {
		if (settings->sigv4)
			curl_easy_setopt(easy, CURLOPT_AWS_SIGV4, settings->sigv4);
		else
			curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		curl_easy_setopt(easy, CURLOPT_USERNAME, settings->user);
		curl_easy_setopt(easy, CURLOPT_PASSWORD,
				 settings->password ? settings->password : "");
	}
	if (settings->ca)
		curl_easy_setopt(easy, CURLOPT_CAINFO, settings->ca);
	if (settings->cert)
		curl_easy_setopt(easy, CURLOPT_SSLCERT, settings->cert);
	if (settings->key)
		curl_easy_setopt(easy, CURLOPT_SSLKEY, settings->key);
	return e == CURLE_OK ? 0 : -ENOMEM;
}

static int copy_headers(struct tl_http *http, const char *const *headers)
{
	size_t n = 0;

	while (headers && headers[n])
		n++;
	http->headers = calloc(n + 1, sizeof(*http->headers));
	if (!http->headers)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (!(http->headers[i] = strdup(headers[i])))
			return -ENOMEM;
	return 0;
}

/* Both may hold credentials. */
static void free_secret(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

static int set_up(struct tl_http *http, const struct tl_http_settings *settings)
{
	size_t len = strlen(settings->url);

	while (len && settings->url[len - 1] == '/')
		len--;
	http->multi = curl_multi_init();
	http->url = strndup(settings->url, len);
	http->answer_max = settings->answer_max ? settings->answer_max : TL_HTTP_ANSWER_MAX;
	if (!http->multi || !http->url || copy_headers(http, settings->headers) < 0)
		return -ENOMEM;
	if (settings->api_key &&
	    asprintf(&http->authorization, "Authorization: ApiKey %s", settings->api_key) < 0)
		return -ENOMEM;
	for (; http->n < settings->connections; http->n++) {
		struct connection *c = &http->connections[http->n];

		c->easy = curl_easy_init();
		if (!c->easy || set_common(http, c->easy, settings) < 0)
			return -ENOMEM;
		curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->error);
		curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
		curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_body);
	}
	return 0;
}

int tl_http_new(const struct tl_http_settings *settings, struct tl_http **ret_http,
		struct tl_error *error)
{
	_cleanup_(tl_http_freep) struct tl_http *http = NULL;

	if (!is_http_url(settings->url))
		return tl_error_set(error, -EINVAL,
				    "--url %s: write http://HOST:PORT or https://HOST:PORT",
				    settings->url);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	http = calloc(1, sizeof(*http) + settings->connections * sizeof(http->connections[0]));
	if (!http || set_up(http, settings) < 0)
		return tl_error_set(error, -ENOMEM, "out of memory");
	*ret_http = TAKE_PTR(http);
	return 0;
}

static void detach(struct tl_http *http, struct connection *c)
{
	curl_multi_remove_handle(http->multi, c->easy);
	curl_slist_free_all(TAKE_PTR(c->headers));
	c->request = NULL;
}

void tl_http_free(struct tl_http *http)
{
	for (size_t i = 0; i < http->n; i++) {
		if (http->connections[i].request)
			detach(http, &http->connections[i]);
		curl_easy_cleanup(http->connections[i].easy);
	}
	if (http->multi)
		curl_multi_cleanup(http->multi);
	free_secret(http->authorization);
	for (char **header = http->headers; header && *header; header++)
		free_secret(*header);
	free(http->headers);
	free(http->url);
	free(http);
}

static void add_header(struct connection *c, const char *line)
{
	struct curl_slist *list = line ? curl_slist_append(c->headers, line) : NULL;

	if (list)
		c->headers = list;
}

/* A POST of nothing still says so: some servers want a Content-Length. */
static bool has_body(const struct tl_http_request *request)
{
	return request->body.len || strcmp(request->method, "POST") == 0;
}

static int set_request(struct tl_http *http, struct connection *c,
		       const struct tl_http_request *request)
{
	_cleanup_(freep) char *url = NULL;
	char type[128];

	if (asprintf(&url, "%s%s", http->url, request->path) < 0)
		return -ENOMEM;
	snprintf(type, sizeof(type), "Content-Type: %s",
		 request->content_type ? request->content_type : "application/json");
	add_header(c, type);
	add_header(c, "Expect:");
	add_header(c, request->gzip ? "Content-Encoding: gzip" : NULL);
	add_header(c, http->authorization);
	for (char **header = http->headers; *header; header++)
		add_header(c, *header);
	for (const char *const *line = request->headers; line && *line; line++)
		add_header(c, *line);
	curl_easy_setopt(c->easy, CURLOPT_URL, url);
	curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers);
	curl_easy_setopt(c->easy, CURLOPT_NOBODY, strcmp(request->method, "HEAD") == 0 ? 1L : 0L);
	if (has_body(request)) {
		curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS,
				 request->body.len ? request->body.data : "");
		curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE,
				 (curl_off_t)request->body.len);
	} else if (strcmp(request->method, "HEAD") != 0) {
		curl_easy_setopt(c->easy, CURLOPT_HTTPGET, 1L);
	}
	curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, request->method);
	return 0;
}

int tl_http_start(struct tl_http *http, struct tl_http_request *request)
{
	struct connection *c = NULL;

	for (size_t i = 0; i < http->n && !c; i++)
		if (!http->connections[i].request)
			c = &http->connections[i];
	if (!c)
		return -EBUSY;
	request->status = 0;
	request->distrusted = false;
	request->retry_after_ns = 0;
	request->why[0] = '\0';
	for (size_t i = 0; i < request->n_fields; i++)
		request->fields[i].value[0] = '\0';
	request->answer.max = http->answer_max;
	tl_buf_clear(&request->answer);
	c->error[0] = '\0';
	c->request = request;
	curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, request);
	if (set_request(http, c, request) < 0 ||
	    curl_multi_add_handle(http->multi, c->easy) != CURLM_OK) {
		curl_slist_free_all(TAKE_PTR(c->headers));
		c->request = NULL;
		return -ENOMEM;
	}
	return 0;
}

static void read_fields(CURL *easy, struct tl_http_request *request)
{
	for (size_t i = 0; i < request->n_fields; i++) {
		struct tl_http_field *field = &request->fields[i];
		struct curl_header *found;

		if (curl_easy_header(easy, field->name, 0, CURLH_HEADER, -1, &found) == CURLHE_OK)
			snprintf(field->value, sizeof(field->value), "%s", found->value);
	}
}

static struct tl_http_request *finish(struct tl_http *http, struct connection *c, CURLcode result)
{
	struct tl_http_request *request = c->request;
	curl_off_t after = 0;
	long status = 0;

	if (result == CURLE_OK) {
		curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
		curl_easy_getinfo(c->easy, CURLINFO_RETRY_AFTER, &after);
		request->status = (int)status;
		read_fields(c->easy, request);
		request->retry_after_ns = after > 0 ? (uint64_t)after * TL_SEC : 0;
	} else {
		request->distrusted = result == CURLE_PEER_FAILED_VERIFICATION ||
				      result == CURLE_SSL_CACERT_BADFILE ||
				      result == CURLE_SSL_ISSUER_ERROR;
		snprintf(request->why, sizeof(request->why), "%s",
			 c->error[0] ? c->error : curl_easy_strerror(result));
	}
	detach(http, c);
	return request;
}

static struct tl_http_request *take_done(struct tl_http *http)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(http->multi, &left))) {
		struct connection *c;
		CURLcode result = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&c);
		return finish(http, c, result);
	}
	return NULL;
}

struct tl_http_request *tl_http_wait(struct tl_http *http, unsigned timeout_ms)
{
	uint64_t deadline = tl_mono_ns() + timeout_ms * TL_MS;

	for (;;) {
		struct tl_http_request *done = take_done(http);
		uint64_t now;
		int running;

		if (done)
			return done;
		curl_multi_perform(http->multi, &running);
		done = take_done(http);
		now = tl_mono_ns();
		if (done || now >= deadline)
			return done;
		if (curl_multi_poll(http->multi, NULL, 0, (int)((deadline - now) / TL_MS) + 1,
				    NULL) != CURLM_OK)
			return NULL;
		/* A signal ends the poll early and may mean a stop: the caller looks. */
		if (!running)
			return NULL;
	}
}

void tl_http_cancel(struct tl_http *http, struct tl_http_request *request)
{
	for (size_t i = 0; i < http->n; i++)
		if (http->connections[i].request == request)
			detach(http, &http->connections[i]);
}

int tl_http_call(struct tl_http *http, struct tl_http_request *request, const volatile int *stop)
{
	int r = tl_http_start(http, request);

	if (r < 0)
		return r;
	while (tl_http_wait(http, SLICE_MS) != request) {
		if (stop && *stop) {
			tl_http_cancel(http, request);
			return -EINTR;
		}
	}
	return request->status ? 0 : -ECONNREFUSED;
}
