/* SPDX-License-Identifier: Apache-2.0 */
/* A few kept-alive HTTP connections to one server (libcurl), several requests in flight, one
 * thread. TLS certificates are verified. What the server answers is the caller's to judge; here
 * only "no answer" is an error. */
#ifndef TL_SINK_HTTP_CLIENT_H
#define TL_SINK_HTTP_CLIENT_H

#include "userspace/base/buf.h"
#include "userspace/base/cleanup.h"
#include "userspace/base/err.h"

struct tl_http_settings {
	const char *url; /* "https://search:9200", a path may follow; borrowed until tl_http_new
			    returns */
	const char *user, *password; /* basic authentication, or NULL */
	const char *api_key;	     /* "Authorization: ApiKey ...", or NULL */
	/* "aws:amz:REGION:s3" or NULL: requests are signed (AWS Signature Version 4) with `user` as
	 * access key and `password` as secret. The caller adds the headers `x-amz-...`. */
	const char *sigv4;
	const char *ca, *cert, *key; /* PEM files; NULL the system's roots, no client certificate */
	const char *const *headers;  /* "NAME: VALUE" of every request, ends with NULL; or NULL */
	uint64_t timeout_ns;	     /* of one request, from its start to its end */
	size_t answer_max;	     /* bytes of an answer; 0: TL_HTTP_ANSWER_MAX */
	unsigned connections;	     /* requests in flight at most */
};

#define TL_HTTP_ANSWER_MAX ((size_t)256 << 20)

/* A header of the answer that the caller wants to see. */
struct tl_http_field {
	const char *name; /* any case */
	char value[256];  /* "" the answer has none; cut at the size */
};

struct tl_http_request {
	const char *method;  /* "GET", "PUT", "POST", "HEAD", "DELETE" */
	const char *path;    /* what follows the URL: "/_bulk" */
	struct tl_span body; /* borrowed until the request is done */
	const char *content_type;
	bool gzip;		      /* the body is packed */
	const char *const *headers;   /* more lines "name: value", ends with NULL; or NULL */
	struct tl_http_field *fields; /* filled from the answer; the caller's */
	size_t n_fields;
	void *tag; /* the caller's */

	int status;		 /* 0: there was no answer, see `why` */
	bool distrusted;	 /* because the server's certificate is not believed */
	struct tl_buf answer;	 /* owned by the request: tl_buf_done */
	uint64_t retry_after_ns; /* as the server asked, 0 it did not */
	char why[256];
};

struct tl_http;

/* Connects to nothing yet. The caller owns `*ret_http`.
 * Errors: -EINVAL the URL is none; -ENOMEM. */
int tl_http_new(const struct tl_http_settings *settings, struct tl_http **ret_http,
		struct tl_error *error);
/* Ends what is in flight without telling. */
void tl_http_free(struct tl_http *http);
TL_DEFINE_CLEANUP(struct tl_http *, tl_http_free);

/* Releases what the request owns: its answer. */
static inline void tl_http_request_done(struct tl_http_request *request)
{
	tl_buf_done(&request->answer);
}

/* Sends `request`, which must stay where it is until it is done. Errors: -EBUSY every connection is
 * in use; -ENOMEM. */
int tl_http_start(struct tl_http *http, struct tl_http_request *request);

/* Waits until a request is done, at most `timeout_ms`. Returns it, or NULL. */
struct tl_http_request *tl_http_wait(struct tl_http *http, unsigned timeout_ms);

/* Gives up a request in flight: it is not returned any more. */
void tl_http_cancel(struct tl_http *http, struct tl_http_request *request);

/* One request from start to end, while nothing else is in flight; `*stop` (may be NULL) ends the
 * wait. Errors: -EINTR stopped; -ECONNREFUSED no answer (`request->why`). */
int tl_http_call(struct tl_http *http, struct tl_http_request *request, const volatile int *stop);

#endif
