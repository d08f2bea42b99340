/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the otlp sink: otlp.c (settings, open), otlp_headers.c (headers from environment and
 * file), otlp_write.c (requests in flight, retries), otlp_verdict.c (what an answer means). */
#ifndef TL_SINK_OTLP_H
#define TL_SINK_OTLP_H

#include "userspace/record/otlp.h"
#include "userspace/sink/bulk.h"
#include "userspace/sink/http_client.h"
#include "userspace/sink/sink.h"

#define TL_OTLP_IN_FLIGHT_MAX 16
#define TL_OTLP_HEADERS_MAX 32

enum { TL_OTLP_ENCODING_AUTO, TL_OTLP_ENCODING_PROTOBUF, TL_OTLP_ENCODING_JSON };
enum { TL_OTLP_COMPRESSION_AUTO, TL_OTLP_COMPRESSION_GZIP, TL_OTLP_COMPRESSION_NONE };

struct tl_otlp_settings {
	const char *url, *logs_url, *headers, *ca, *cert, *key;
	int encoding, compression;
	int64_t in_flight;
	uint64_t request_bytes, timeout_ns;
};

/* Messages that travel together: `n` of the batch from `first` on. */
struct tl_otlp_chunk {
	struct tl_otlp_chunk *next;
	uint32_t first, n;
};

/* One request in flight. */
struct tl_otlp_slot {
	struct tl_http_request request;
	struct tl_otlp_chunk *chunk; /* NULL: idle */
	struct tl_buf body, packed;
	struct tl_gzip *gzip;
	size_t records; /* in the request */
	uint64_t started_ns;
};

struct tl_otlp_sink {
	struct tl_sink sink;
	const struct tl_otlp_settings *settings;
	enum tl_otlp_encoding encoding;
	struct tl_http *http;
	const char *path; /* behind the client's URL */
	struct tl_otlp_slot slots[TL_OTLP_IN_FLIGHT_MAX];
	struct tl_otlp *builder;
	struct tl_record record;
	struct tl_arena arena;

	unsigned limit;		/* requests under way at most, 1..in_flight: adapts */
	unsigned good;		/* answers since it was raised */
	unsigned failures;	/* "not now" in a row */
	uint64_t not_before_ns; /* monotonic: no request begins before */
	bool accepted;		/* the target has ever taken something from this process */

	/* While a batch is written: */
	const struct tl_message *messages;
	struct tl_sink_result *result;
	unsigned char *bad; /* messages that are no records, buried already; room for cap_bad */
	size_t cap_bad;
	struct tl_otlp_chunk *waiting;
	unsigned busy; /* slots in flight */
	struct tl_error fatal;
};

struct tl_otlp_headers {
	char *lines[TL_OTLP_HEADERS_MAX + 1]; /* "Name: value", owned; ends with NULL */
	size_t n;
};

/* Adds "name=value,name=value" with values percent-encoded, as OTEL_EXPORTER_OTLP_HEADERS has it.
 * A name that is there already is replaced. Errors: -EINVAL (says where, never a value); -ENOMEM.
 */
int tl_otlp_headers_add(struct tl_otlp_headers *headers, const char *list, struct tl_error *error);
/* Adds lines "Name: value" or "name=value", taken as they are; empty ones and # are skipped. */
int tl_otlp_headers_file(struct tl_otlp_headers *headers, const char *text, struct tl_error *error);
/* Releases the contents, overwritten first. */
void tl_otlp_headers_done(struct tl_otlp_headers *headers);

enum tl_otlp_verdict {
	TL_OTLP_TAKEN,
	TL_OTLP_NOT_NOW, /* the same again, later */
	TL_OTLP_NEVER,	 /* not as it is */
	TL_OTLP_A_PERSON /* must act: credentials, URL, encoding */
};

/* `status` 0: there was no answer. */
enum tl_otlp_verdict tl_otlp_judge(int status);

/* Reads the answer to what was taken; a server may use the encoding it likes. Errors: -EBADMSG it
 * is no OTLP server's. */
int tl_otlp_answer_of(struct tl_span body, struct tl_otlp_answer *answer);

/* Sets `error` to what the server said and what to do. Returns -EACCES or -EPROTO. */
int tl_otlp_advise(const struct tl_http_request *request, struct tl_error *error);

/* The sink's write. */
int tl_otlp_sink_write(struct tl_sink *sink, const struct tl_message *messages, size_t n,
		       struct tl_sink_result *result, const volatile int *stop,
		       struct tl_error *error);

extern const struct tl_sink_ops tl_sink_otlp;

#endif
