/* SPDX-License-Identifier: Apache-2.0 */
/* One request to S3: signed (Signature Version 4 by libcurl, which leaves out the hash of the body:
 * here as x-amz-content-sha256, so that the server checks what it got), and tried until it is
 * decided. Pauses are 100 ms doubled up to 30 s, of which a random half to whole, or as long as the
 * server asks. */
#include <openssl/evp.h>
#include <stdio.h>
#include <time.h>

#include "userspace/base/clock.h"
#include "userspace/base/fs.h"
#include "userspace/base/metrics.h"
#include "userspace/base/msg.h"
#include "userspace/sink/backoff.h"
#include "userspace/sink/s3_client.h"

#define BACKOFF_MAX_NS (30 * TL_SEC)
#define SLICE_NS (100 * TL_MS)
#define HEADERS_MAX 8

static struct tl_metric retries = {.name = "tapline_sink_s3_retries_total",
				   .type = TL_COUNTER,
				   .help = "Requests sent again because S3 was away or busy."};
static struct tl_metric requests = {.name = "tapline_sink_s3_requests_total",
				    .type = TL_COUNTER,
				    .help = "Requests to S3 that were answered."};

static bool is_virtual(const struct tl_s3_settings *s)
{
	return s->style == TL_S3_STYLE_VIRTUAL || (s->style == TL_S3_STYLE_AUTO && !s->endpoint);
}

/* "https://s3.eu-west-1.amazonaws.com", or with the bucket in front of the host. */
static int base_url(const struct tl_s3_settings *s, char *out, size_t size, struct tl_error *error)
{
	char usual[256];
	const char *url = s->endpoint ? s->endpoint : usual, *host;
	int n = 0;

	snprintf(usual, sizeof(usual), "https://s3.%.100s.amazonaws.com", s->region);
	host = strstr(url, "://");
	if (!host || (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0))
		host = NULL;
	else if (is_virtual(s))
		n = snprintf(out, size, "%.*s%s.%s", (int)(host + 3 - url), url, s->bucket,
			     host + 3);
	else
		n = snprintf(out, size, "%s", url);
	return host && (size_t)n < size
		       ? 0
		       : tl_error_set(error, -EINVAL,
				      "--endpoint %s: write http://HOST:PORT or https://HOST:PORT",
				      url);
}

static int connect_http(struct tl_s3_client *client, struct tl_error *error)
{
	const struct tl_s3_settings *s = client->settings;
	char url[1024], sigv4[128];
	struct tl_http_settings http = {.url = url,
					.user = client->credentials.access_key,
					.password = client->credentials.secret,
					.sigv4 = sigv4,
					.ca = s->ca,
					.timeout_ns = s->timeout_ns,
					.connections = 1};
	int r = base_url(s, url, sizeof(url), error);

	snprintf(sigv4, sizeof(sigv4), "aws:amz:%s:s3", s->region);
	if (r < 0)
		return r;
	if (client->http)
		tl_http_free(TAKE_PTR(client->http));
	return tl_http_new(&http, &client->http, error);
}

int tl_s3_client_init(struct tl_s3_client *client, const struct tl_s3_settings *settings,
		      struct tl_error *error)
{
	static bool registered;
	int r;

	if (!registered) {
		tl_metric_register(&retries);
		tl_metric_register(&requests);
		registered = true;
	}
	client->settings = settings;
	client->virtual_host = is_virtual(settings);
	client->fields[TL_S3_ETAG].name = "etag";
	client->fields[TL_S3_CONTENT].name = "x-amz-meta-tapline-content";
	client->fields[TL_S3_REGION].name = "x-amz-bucket-region";
	client->request.fields = client->fields;
	client->request.n_fields = ARRAY_SIZE(client->fields);
	r = tl_s3_credentials_load(settings->credentials_file, settings->profile,
				   &client->credentials, error);
	return r < 0 ? r : connect_http(client, error);
}

void tl_s3_client_done(struct tl_s3_client *client)
{
	if (client->http)
		tl_http_free(client->http);
	tl_buf_done(&client->request.answer);
	explicit_bzero(&client->credentials, sizeof(client->credentials));
}

static int make_path(const struct tl_s3_client *client, const struct tl_s3_call *call,
		     struct tl_buf *out)
{
	if (!client->virtual_host) {
		tl_buf_putc(out, '/');
		tl_s3_escape(client->settings->bucket, false, out);
	}
	if (call->key || client->virtual_host)
		tl_buf_putc(out, '/');
	if (call->key)
		tl_s3_escape(call->key, false, out);
	if (call->query)
		tl_buf_printf(out, "?%s", call->query);
	tl_buf_putc(out, '\0');
	return out->failed ? -ENOMEM : 0;
}

static int sha256_line(struct tl_span body, char out[96])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	int len = snprintf(out, 96, "x-amz-content-sha256: ");

	if (EVP_Digest(body.len ? body.data : "", body.len, digest, &n, EVP_sha256(), NULL) != 1)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++)
		len += snprintf(out + len, 96 - (size_t)len, "%02x", digest[i]);
	return 0;
}

static int send_once(struct tl_s3_client *client, const struct tl_s3_call *call, const char *path,
		     const char *hash, const volatile int *stop)
{
	char token[sizeof(client->credentials.token) + 32];
	const char *headers[HEADERS_MAX];
	size_t n = 0;
	int r;

	headers[n++] = hash;
	if (client->credentials.token[0]) {
		snprintf(token, sizeof(token), "x-amz-security-token: %s",
			 client->credentials.token);
		headers[n++] = token;
	}
	for (size_t i = 0; i < ARRAY_SIZE(call->headers) && call->headers[i]; i++)
		headers[n++] = call->headers[i];
	headers[n] = NULL;
	client->request.method = call->method;
	client->request.path = path;
	client->request.body = call->body;
	client->request.content_type = call->content_type ? call->content_type : "application/xml";
	client->request.headers = headers;
	r = tl_http_call(client->http, &client->request, stop);
	client->request.headers = NULL;
	client->request.path = NULL;
	client->request.body = (struct tl_span){0};
	return r;
}

/* Keys from a file may have been replaced since. Returns whether there are others now. */
static bool renew(struct tl_s3_client *client)
{
	struct tl_s3_credentials now;
	struct tl_error error = {0};
	bool changed;

	if (tl_s3_credentials_load(client->settings->credentials_file, client->settings->profile,
				   &now, &error) < 0)
		return false;
	changed = strcmp(now.access_key, client->credentials.access_key) != 0 ||
		  strcmp(now.token, client->credentials.token) != 0;
	if (changed)
		client->credentials = now;
	explicit_bzero(&now, sizeof(now));
	return changed && connect_http(client, &error) == 0;
}

static void told_to_wait(struct tl_s3_client *client)
{
	static struct tl_msg_gate gate;
	char code[64] = "", text[sizeof(client->request.why)] = "";

	if (client->request.status) {
		tl_s3_element(tl_buf_span(&client->request.answer), "Code", code, sizeof(code));
		snprintf(text, sizeof(text), "status %d %s", client->request.status, code);
	} else {
		snprintf(text, sizeof(text), "%s", client->request.why);
	}
	tl_msg_limited(client->gate ? client->gate : &gate, 30000, TL_WARNING,
		       "S3 takes nothing now (%s); trying on", text);
	tl_metric_add(&retries, 1);
}

/* Returns false when it was stopped. */
static bool wait_a_while(const struct tl_s3_client *client, unsigned attempt,
			 const volatile int *stop)
{
	uint64_t ns = tl_backoff_ns(attempt, BACKOFF_MAX_NS);
	uint64_t asked = client->request.retry_after_ns, until;

	if (asked > ns && asked <= 10 * BACKOFF_MAX_NS)
		ns = asked;
	for (until = tl_mono_ns() + ns; tl_mono_ns() < until;) {
		struct timespec ts = {0, (long)SLICE_NS};

		if (stop && *stop)
			return false;
		if (until - tl_mono_ns() < SLICE_NS)
			ts.tv_nsec = (long)((until - tl_mono_ns()) % SLICE_NS);
		nanosleep(&ts, NULL);
	}
	return true;
}

/* Returns a verdict, or -EAGAIN: once more. */
static int decide(struct tl_s3_client *client, unsigned *attempts, const volatile int *stop)
{
	enum tl_s3_verdict verdict =
		tl_s3_judge(client->request.status, tl_buf_span(&client->request.answer));

	if (client->request.status)
		tl_metric_add(&requests, 1);
	if (verdict == TL_S3_RENEW)
		return renew(client) ? -EAGAIN : TL_S3_REFUSED;
	if (verdict != TL_S3_AGAIN)
		return verdict;
	if (client->deadline_ns && tl_mono_ns() >= client->deadline_ns)
		return -ECONNREFUSED;
	told_to_wait(client);
	return wait_a_while(client, (*attempts)++, stop) ? -EAGAIN : -ECANCELED;
}

int tl_s3_call(struct tl_s3_client *client, const struct tl_s3_call *call, const volatile int *stop)
{
	_cleanup_(tl_buf_done) struct tl_buf path = {0};
	unsigned attempts = 0;
	char hash[96];
	int r = make_path(client, call, &path);

	r = r < 0 ? r : sha256_line(call->body, hash);
	if (r < 0)
		return r;
	do {
		r = send_once(client, call, path.data, hash, stop);
		if (r == -EINTR || (stop && *stop))
			return -ECANCELED;
		if (r == -ENOMEM)
			return r;
		r = decide(client, &attempts, stop);
	} while (r == -EAGAIN);
	return r;
}

/* What a person can do about an error code. */
static const char *advice(const char *code, int status)
{
	static const struct {
		const char *code, *advice;
	} rows[] = {
		{"SignatureDoesNotMatch", "the secret key is wrong"},
		{"InvalidAccessKeyId", "this access key is not known there"},
		{"XAdminUserNotFound", "this access key is not known there"},
		{"ExpiredToken", "the session token has run out: get a new one"},
		{"RequestTimeTooSkewed", "the clock of this host is wrong: check its time service"},
		{"AuthorizationHeaderMalformed", "check --region"},
		{"NoSuchBucket", "make the bucket, or check --bucket and --endpoint"},
		{"AccessDenied", "these credentials need s3:PutObject and s3:GetObject below the "
				 "prefix"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (strcmp(rows[i].code, code) == 0)
			return rows[i].advice;
	if (status == 301 || status == 307)
		return "the bucket is in another region: check --region and --endpoint";
	return status == 403 ? "check the credentials"
			     : "check --endpoint, --bucket and --url-style";
}

int tl_s3_fail(struct tl_s3_client *client, const char *what, struct tl_error *error)
{
	int status = client->request.status;
	const struct tl_s3_settings *s = client->settings;
	char code[64], message[160], region[sizeof(client->fields->value)];
	struct tl_span answer = tl_buf_span(&client->request.answer);

	if (!status)
		return tl_error_set(error, -ECONNREFUSED, "%s: no answer: %s; check --endpoint%s%s",
				    what, client->request.why, s->endpoint ? " " : "",
				    s->endpoint ? s->endpoint : "");
	tl_s3_element(answer, "Code", code, sizeof(code));
	tl_s3_element(answer, "Message", message, sizeof(message));
	snprintf(region, sizeof(region), "%s", client->fields[TL_S3_REGION].value);
	return tl_error_set(error,
			    strcmp(code, "NoSuchBucket") == 0 ? -ENOENT
			    : status == 403 || status == 401  ? -EACCES
							      : -EPROTO,
			    "%s: S3 answers %d %s %s; %s%s%s (credentials from %s)", what, status,
			    code, message, advice(code, status),
			    region[0] && strcmp(region, s->region) != 0 ? "; its region is " : "",
			    region[0] && strcmp(region, s->region) != 0 ? region : "",
			    client->credentials.from);
}

int tl_s3_check(struct tl_s3_client *client, const volatile int *stop, struct tl_error *error)
{
	struct tl_s3_call call = {.method = "GET", .query = "list-type=2&max-keys=1"};
	char what[200], code[64];
	int r;

	client->deadline_ns = tl_mono_ns() + client->settings->wait_ns;
	r = tl_s3_call(client, &call, stop);
	client->deadline_ns = 0;
	if (r == -ENOMEM)
		return tl_error_set(error, r, "out of memory");
	if (r == -ECANCELED)
		return tl_error_set(error, -EINTR, "stopped");
	tl_s3_element(tl_buf_span(&client->request.answer), "Code", code, sizeof(code));
	/* A policy may allow objects alone. */
	if (r == TL_S3_OK || (client->request.status == 403 && strcmp(code, "AccessDenied") == 0))
		return 0;
	snprintf(what, sizeof(what), "bucket %s", client->settings->bucket);
	return tl_s3_fail(client, what, error);
}
