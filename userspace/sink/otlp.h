/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the otlp sink: otlp.c (settings, open), otlp_headers.c (headers from environment and
 * file), otlp_write.c (requests and what becomes of them), otlp_verdict.c (what an answer means).
 * Requests in flight: flight.h. */
#ifndef TL_SINK_OTLP_H
#define TL_SINK_OTLP_H

#include "userspace/record/otlp.h"
#include "userspace/sink/flight.h"

#define TL_OTLP_HEADERS_MAX 32

enum { TL_OTLP_ENCODING_AUTO, TL_OTLP_ENCODING_PROTOBUF, TL_OTLP_ENCODING_JSON };
enum { TL_OTLP_COMPRESSION_AUTO, TL_OTLP_COMPRESSION_GZIP, TL_OTLP_COMPRESSION_NONE };

struct tl_otlp_settings {
	const char *url, *logs_url, *headers, *ca, *cert, *key;
	int encoding, compression;
	int64_t in_flight;
	uint64_t request_bytes, timeout_ns;
};

struct tl_otlp_sink {
	struct tl_sink sink;
	const struct tl_otlp_settings *settings;
	enum tl_otlp_encoding encoding;
	struct tl_flight flight;
	struct tl_otlp *builder;
	struct tl_record record;
	struct tl_arena arena;
	bool accepted; /* the target has ever taken something from this process */
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

/* How requests are made and judged; `arg` is the sink. */
extern const struct tl_flight_ops tl_otlp_flight;

/* The sink's write. */
int tl_otlp_sink_write(struct tl_sink *sink, const struct tl_message *messages, size_t n,
		       struct tl_sink_result *result, const volatile int *stop,
		       struct tl_error *error);

extern const struct tl_sink_ops tl_sink_otlp;

#endif
