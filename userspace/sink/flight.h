/* SPDX-License-Identifier: Apache-2.0 */
/* A batch on its way to an HTTP server, several requests at once: what the elasticsearch and otlp
 * sinks share. The batch is cut into chunks, each the body of one request. The sink makes bodies
 * and judges answers; here is what lies between: how many are under way, who waits for how long,
 * the halves of a chunk that is refused, and the end when told to stop. One thread. */
#ifndef TL_SINK_FLIGHT_H
#define TL_SINK_FLIGHT_H

#include "userspace/sink/bulk.h"
#include "userspace/sink/http_client.h"
#include "userspace/sink/sink.h"

#define TL_FLIGHT_MAX 16

/* Messages that travel together. */
struct tl_chunk {
	struct tl_chunk *next;
	uint64_t not_before_ns; /* monotonic */
	unsigned attempts;	/* times that it came back by itself (tl_flight_later) */
	uint32_t n;
	uint32_t items[]; /* indices in the batch, rising */
};

struct tl_flight_ops {
	/* Whether a message is sent at all; may bury it. */
	bool (*takes)(void *arg, uint32_t item);
	/* Makes the chunk's request body in `body`, which is empty. May take items out of the
	 * chunk: with none left nothing is sent. Errors: -EAGAIN not now, `*why` says why; others
	 * end the write (-ENOMEM is assumed unless `fatal` is set). */
	int (*build)(void *arg, struct tl_chunk *chunk, struct tl_buf *body, const char **why);
	/* A request was answered (or not: status 0). Takes the chunk over: later, pause, split, or
	 * free it. Returns whether all went well. */
	bool (*answered)(void *arg, struct tl_http_request *request, struct tl_chunk *chunk);
};

/* Settings, borrowed until tl_flight_done. */
struct tl_flight_options {
	const struct tl_flight_ops *ops;
	void *arg;
	const struct tl_http_settings *http; /* borrowed by open only; `connections` is `most` */
	const char *path, *content_type;
	int gzip_level; /* 0: bodies are not packed */
	unsigned most;	/* requests under way at once, 1..TL_FLIGHT_MAX */
	size_t chunk_bytes;
};

struct tl_flight_slot {
	struct tl_http_request request;
	struct tl_chunk *chunk; /* NULL: idle */
	struct tl_buf body;	/* as it is sent */
	uint64_t started_ns;
};

struct tl_flight {
	struct tl_flight_options options;
	struct tl_http *http;
	struct tl_flight_slot slots[TL_FLIGHT_MAX];
	struct tl_gzip *gzip;
	struct tl_buf plain, packed; /* scratch */

	unsigned limit;		/* requests under way at most, 1..most: adapts */
	unsigned good;		/* answers since it was raised */
	unsigned failures;	/* pauses in a row */
	uint64_t not_before_ns; /* monotonic: no request begins before */

	/* While a batch is sent: */
	const struct tl_message *messages;
	struct tl_sink_result *result;
	struct tl_chunk *waiting;
	unsigned busy;	       /* slots in flight */
	struct tl_error fatal; /* a person must act: set by the sink to end the write */
};

/* Connects to nothing yet. Errors: those of tl_http_new. Call tl_flight_done in any case. */
int tl_flight_open(struct tl_flight *flight, const struct tl_flight_options *options,
		   struct tl_error *error);
void tl_flight_done(struct tl_flight *flight);

/* The `write` of a sink: returns when every message is decided. Errors: -EINTR stopped; -ENOMEM;
 * `fatal`. */
int tl_flight_send(struct tl_flight *flight, const struct tl_message *messages, size_t n,
		   struct tl_sink_result *result, const volatile int *stop, struct tl_error *error);

/* Room for `n` items; NULL when there is no memory: `fatal` says so. free() it. */
struct tl_chunk *tl_flight_chunk(struct tl_flight *flight, uint32_t n);

/* The message will never be taken. `type` lives for ever; the reason is cut. */
void tl_flight_bury(struct tl_flight *flight, uint32_t item, const char *type, const char *reason);

/* This chunk again, after a time that doubles with its attempts; the others go on, fewer at once.
 * Takes it over. */
void tl_flight_later(struct tl_flight *flight, struct tl_chunk *chunk, const char *why);

/* This chunk again, and nothing else before: the server is away or busy. Waits for as long as it
 * asked, else a time that doubles with each failure in a row. Takes the chunk over. */
void tl_flight_pause(struct tl_flight *flight, struct tl_http_request *request,
		     struct tl_chunk *chunk, const char *why);

/* Two halves of the chunk, so that in the end the one item that spoils it is named and buried.
 * Takes it over. */
void tl_flight_split(struct tl_flight *flight, struct tl_chunk *chunk, const char *type,
		     const char *reason);

/* Cuts the items from `from` on off the chunk; they are sent after it. Errors: -ENOMEM. */
int tl_flight_rest(struct tl_flight *flight, struct tl_chunk *chunk, uint32_t from);

#endif
