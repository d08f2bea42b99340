/* SPDX-License-Identifier: Apache-2.0 */
/* One object, written once: a PUT, or in parts when it is large, with `If-None-Match: *`. When
 * there is an object of this name already, an earlier run or a writer that was given up for dead
 * was here: its records are compared by what stands in the object's metadata. A server that does
 * not know the condition simply writes the same content again. */
#include <stdio.h>
#include <sys/mman.h>

#include "userspace/base/metrics.h"
#include "userspace/sink/s3_client.h"

#define PARTS_MAX 10000u /* as S3 allows */
#define TRIES 5u	 /* of an upload that the server forgets under way */

static struct tl_metric uploaded = {.name = "tapline_sink_s3_objects_total",
				    .type = TL_COUNTER,
				    .labels = "result=\"written\"",
				    .help = "Objects by what became of them."};
static struct tl_metric found = {.name = "tapline_sink_s3_objects_total",
				 .type = TL_COUNTER,
				 .labels = "result=\"duplicate\"",
				 .help = "Objects by what became of them."};
static struct tl_metric sent = {.name = "tapline_sink_s3_bytes_total",
				.type = TL_COUNTER,
				.help = "Bytes of objects written."};

struct window {
	char *data;
	size_t len, lead; /* lead: bytes from the page's beginning to what is meant */
};

static struct tl_span span_of(const struct window *window)
{
	return (struct tl_span){window->data + window->lead, window->len - window->lead};
}

static void unmap(struct window *window)
{
	if (window->len)
		munmap(window->data, window->len);
}

static int map(const struct tl_s3_object *object, uint64_t from, size_t len, struct window *ret,
	       struct tl_error *error)
{
	size_t lead = from % (uint64_t)sysconf(_SC_PAGESIZE);
	char *data =
		mmap(NULL, len + lead, PROT_READ, MAP_PRIVATE, object->fd, (off_t)(from - lead));

	if (data == MAP_FAILED)
		return tl_error_set(error, -EIO, "the spool cannot be read: %s", strerror(errno));
	*ret = (struct window){data, len + lead, lead};
	return 0;
}

/* Turns the end of a call that was not OK into an errno. */
static int refuse(struct tl_s3_client *client, const struct tl_s3_object *object, int r,
		  struct tl_error *error)
{
	char what[TL_S3_KEY_MAX + 16];

	if (r == -ECANCELED)
		return tl_error_set(error, r, "stopped");
	if (r == -ENOMEM)
		return tl_error_set(error, r, "out of memory");
	snprintf(what, sizeof(what), "%.200s", object->key);
	return tl_s3_fail(client, what, error);
}

/* Returns 1 the object is there with our content, 0 there is none. Errors: -EEXIST another. */
static int compare(struct tl_s3_client *client, const struct tl_s3_object *object,
		   const volatile int *stop, struct tl_error *error)
{
	struct tl_s3_call call = {.method = "HEAD", .key = object->key};
	const char *there = client->fields[TL_S3_CONTENT].value;
	int r = tl_s3_call(client, &call, stop);

	if (r == TL_S3_ABSENT)
		return 0;
	if (r != TL_S3_OK)
		return refuse(client, object, r, error);
	if (strcmp(there, object->content) == 0)
		return 1;
	return tl_error_set(error, -EEXIST,
			    "s3://%s/%s is there with other content (%s, not %s): a topic that was "
			    "made anew, a second --group with the same --prefix, or another "
			    "writer; move it away, or use another --prefix or --group",
			    client->settings->bucket, object->key,
			    there[0] ? there : "not written by tapline", object->content);
}

static int put(struct tl_s3_client *client, const struct tl_s3_object *object, const char *meta,
	       const volatile int *stop, struct tl_error *error)
{
	_cleanup_(unmap) struct window window = {0};
	int r = map(object, 0, object->size, &window, error);
	struct tl_s3_call call = {.method = "PUT",
				  .key = object->key,
				  .body = span_of(&window),
				  .content_type = object->content_type,
				  .headers = {"If-None-Match: *", meta}};

	if (r < 0)
		return r;
	r = tl_s3_call(client, &call, stop);
	return r == TL_S3_OK || r == TL_S3_EXISTS ? r : refuse(client, object, r, error);
}

/* Begins an upload; `query` becomes "uploadId=..." */
static int create(struct tl_s3_client *client, const struct tl_s3_object *object, const char *meta,
		  struct tl_buf *query, const volatile int *stop, struct tl_error *error)
{
	struct tl_s3_call call = {.method = "POST",
				  .key = object->key,
				  .query = "uploads=",
				  .content_type = object->content_type,
				  .headers = {meta}};
	char id[512];
	int r = tl_s3_call(client, &call, stop);

	if (r != TL_S3_OK)
		return refuse(client, object, r, error);
	tl_s3_element(tl_buf_span(&client->request.answer), "UploadId", id, sizeof(id));
	if (!id[0])
		return tl_s3_fail(client, "no UploadId", error);
	tl_buf_clear(query);
	tl_buf_puts(query, "uploadId=");
	tl_s3_escape(id, true, query);
	return tl_buf_putc(query, '\0') < 0 ? tl_error_set(error, -ENOMEM, "out of memory") : 0;
}

/* Sends part `n` and appends it to the list. Returns TL_S3_OK or TL_S3_ABSENT (the upload is gone),
 * or an error. */
static int send_part(struct tl_s3_client *client, const struct tl_s3_object *object, unsigned n,
		     uint64_t part_bytes, const char *upload, struct tl_buf *list,
		     const volatile int *stop, struct tl_error *error)
{
	uint64_t from = (n - 1) * part_bytes, left = object->size - from;
	_cleanup_(unmap) struct window window = {0};
	struct tl_s3_call call = {.method = "PUT", .key = object->key};
	char query[700];
	int r = map(object, from, left < part_bytes ? left : part_bytes, &window, error);

	if (r < 0)
		return r;
	snprintf(query, sizeof(query), "partNumber=%u&%s", n, upload);
	call.query = query;
	call.body = span_of(&window);
	r = tl_s3_call(client, &call, stop);
	if (r == TL_S3_ABSENT)
		return r;
	if (r != TL_S3_OK)
		return refuse(client, object, r, error);
	tl_buf_printf(list, "<Part><PartNumber>%u</PartNumber><ETag>%s</ETag></Part>", n,
		      client->fields[TL_S3_ETAG].value);
	return TL_S3_OK;
}

/* What is left of an upload costs money until a lifecycle rule removes it: tried once. */
static void forget(struct tl_s3_client *client, const struct tl_s3_object *object,
		   const char *upload)
{
	struct tl_s3_call call = {.method = "DELETE", .key = object->key, .query = upload};

	client->deadline_ns = 1;
	tl_s3_call(client, &call, NULL);
	client->deadline_ns = 0;
}

static int complete(struct tl_s3_client *client, const struct tl_s3_object *object,
		    const char *upload, struct tl_buf *list, const volatile int *stop,
		    struct tl_error *error)
{
	struct tl_s3_call call = {.method = "POST",
				  .key = object->key,
				  .query = upload,
				  .headers = {"If-None-Match: *"}};
	int r;

	if (tl_buf_puts(list, "</CompleteMultipartUpload>") < 0)
		return tl_error_set(error, -ENOMEM, "out of memory");
	call.body = tl_buf_span(list);
	r = tl_s3_call(client, &call, stop);
	return r == TL_S3_OK || r == TL_S3_EXISTS || r == TL_S3_ABSENT
		       ? r
		       : refuse(client, object, r, error);
}

/* Returns TL_S3_OK, TL_S3_EXISTS, or TL_S3_ABSENT: the server does not know the upload any more,
 * because it was completed (and the answer lost) or thrown away. */
static int put_parts(struct tl_s3_client *client, const struct tl_s3_object *object,
		     const char *meta, const volatile int *stop, struct tl_error *error)
{
	_cleanup_(tl_buf_done) struct tl_buf upload = {0}, list = {0};
	uint64_t bytes = client->settings->part_bytes;
	int r = create(client, object, meta, &upload, stop, error);

	if (r < 0)
		return r;
	while (object->size / bytes >= PARTS_MAX)
		bytes *= 2;
	tl_buf_puts(&list, "<CompleteMultipartUpload "
			   "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	r = TL_S3_OK;
	for (unsigned n = 1; r == TL_S3_OK && (n - 1) * bytes < object->size; n++)
		r = send_part(client, object, n, bytes, upload.data, &list, stop, error);
	if (r == TL_S3_OK)
		r = complete(client, object, upload.data, &list, stop, error);
	if (r != TL_S3_OK && r != TL_S3_ABSENT)
		forget(client, object, upload.data);
	return r;
}

static void count(bool was_there, uint64_t bytes)
{
	tl_metric_add(was_there ? &found : &uploaded, 1);
	if (!was_there)
		tl_metric_add(&sent, bytes);
}

int tl_s3_upload(struct tl_s3_client *client, const struct tl_s3_object *object,
		 const volatile int *stop, struct tl_error *error)
{
	char meta[64 + TL_S3_CONTENT_MAX];

	snprintf(meta, sizeof(meta), "x-amz-meta-tapline-content: %s", object->content);
	for (unsigned i = 0; i < TRIES; i++) {
		int r = object->size <= client->settings->part_bytes
				? put(client, object, meta, stop, error)
				: put_parts(client, object, meta, stop, error);

		if (r < 0)
			return r;
		if (r == TL_S3_OK) {
			count(false, object->size);
			return 0;
		}
		r = compare(client, object, stop, error);
		if (r == 1)
			count(true, object->size);
		if (r != 0)
			return r;
		/* It went away between the two, or the upload was lost: again. */
	}
	return tl_error_set(error, -EPROTO,
			    "%s: S3 says that the upload is not known, %u times; does something "
			    "abort uploads that are under way?",
			    object->key, TRIES);
}

void tl_s3_upload_metrics(void)
{
	static bool done;

	if (done)
		return;
	done = true;
	tl_metric_register(&uploaded);
	tl_metric_register(&found);
	tl_metric_register(&sent);
}
