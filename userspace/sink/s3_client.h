/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to S3: one client a thread, one request at a time. */
#ifndef TL_SINK_S3_CLIENT_H
#define TL_SINK_S3_CLIENT_H

#include "userspace/base/msg.h"
#include "userspace/sink/http_client.h"
#include "userspace/sink/s3_credentials.h"
#include "userspace/sink/s3_name.h"

enum tl_s3_style { TL_S3_STYLE_AUTO, TL_S3_STYLE_PATH, TL_S3_STYLE_VIRTUAL };

struct tl_s3_settings {
	const char *endpoint, *bucket, *prefix, *region, *credentials_file, *profile, *ca, *spool;
	int style, format; /* format: index, see tl_s3_formats */
	uint64_t object_bytes, part_bytes, spool_bytes;
	uint64_t max_age_ns, timeout_ns, wait_ns, drain_ns;
	int64_t uploads, level;
};

static inline enum tl_s3_format tl_s3_formats(const struct tl_s3_settings *settings)
{
	return (enum tl_s3_format)(settings->format + 1);
}

struct tl_s3_call {
	const char *method;
	const char *key;   /* NULL: the bucket itself */
	const char *query; /* escaped, or NULL */
	struct tl_span body;
	const char *content_type;
	const char *headers[4]; /* lines */
};

struct tl_s3_client {
	const struct tl_s3_settings *settings;
	struct tl_s3_credentials credentials;
	struct tl_http *http;
	struct tl_http_request request; /* the last one */
	struct tl_http_field fields[3]; /* etag, content, region; of the last one */
	uint64_t deadline_ns;		/* monotonic; 0 tries for ever */
	struct tl_msg_gate *gate;	/* of the message that the server is away */
	bool virtual_host;
};

enum { TL_S3_ETAG, TL_S3_CONTENT, TL_S3_REGION };

/* Loads credentials, connects to nothing yet. Errors: -EINVAL endpoint; as
 * tl_s3_credentials_load. */
int tl_s3_client_init(struct tl_s3_client *client, const struct tl_s3_settings *settings,
		      struct tl_error *error);
void tl_s3_client_done(struct tl_s3_client *client);

/* Sends a signed request, again with growing pauses while the server is away or busy. Returns an
 * enum tl_s3_verdict, never TL_S3_AGAIN or TL_S3_RENEW. Errors: -ECANCELED `*stop`; -ECONNREFUSED
 * the deadline passed; -ENOMEM. */
int tl_s3_call(struct tl_s3_client *client, const struct tl_s3_call *call,
	       const volatile int *stop);
/* Says why the last request failed, with advice. Returns -EACCES, -ENOENT, -EINVAL, -ECONNREFUSED
 * or -EPROTO. */
int tl_s3_fail(struct tl_s3_client *client, const char *what, struct tl_error *error);
/* The bucket is there and the credentials are taken. Errors: as tl_s3_fail. */
int tl_s3_check(struct tl_s3_client *client, const volatile int *stop, struct tl_error *error);

struct tl_s3_object {
	const char *key, *content_type;
	const char *content; /* of tl_s3_content: stored with it, compared with what is there */
	int fd;
	uint64_t size;
};
/* Brings an object to the bucket unless it is there with the same content. Returns 0 written, 1 it
 * was there. Errors: -EEXIST it is there with other content; -ECANCELED; as tl_s3_fail; -EIO the
 * spool cannot be read. */
int tl_s3_upload(struct tl_s3_client *client, const struct tl_s3_object *object,
		 const volatile int *stop, struct tl_error *error);

void tl_s3_upload_metrics(void); /* registers them, once */

#endif
