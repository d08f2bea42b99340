/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the elasticsearch sink: elasticsearch.c (settings, open), elastic_setup.c (version,
 * template), elastic_mapping.c (documents), elastic_stream.c (data streams), elastic_write.c
 * (requests in flight, retries), elastic_build.c (a chunk becomes a request). */
#ifndef TL_SINK_ELASTIC_H
#define TL_SINK_ELASTIC_H

#include "userspace/sink/bulk.h"
#include "userspace/sink/elastic_mapping.h"
#include "userspace/sink/elastic_stream.h"
#include "userspace/sink/http_client.h"
#include "userspace/sink/sink.h"

#define TL_ELASTIC_IN_FLIGHT_MAX 16

struct tl_elastic_settings {
	const char *url, *index_prefix, *http_prefix, *data_stream;
	const char *user, *password, *api_key, *ca, *cert, *key;
	int mapping; /* enum tl_elastic_mapping */
	bool gzip, template;
	int64_t in_flight, shards, replicas;
	uint64_t request_bytes, timeout_ns, wait_ns;
};

/* Items that travel together. */
struct tl_elastic_chunk {
	struct tl_elastic_chunk *next;
	uint64_t not_before_ns; /* monotonic */
	unsigned attempts;
	uint32_t n;
	uint32_t items[]; /* indices in the batch */
};

/* One request in flight. */
struct tl_elastic_slot {
	struct tl_http_request request;
	struct tl_elastic_chunk *chunk; /* NULL: idle */
	struct tl_buf body, packed, sifted, copied;
	struct tl_gzip *gzip;
	uint64_t started_ns;
};

struct tl_elastic {
	struct tl_sink sink;
	const struct tl_elastic_settings *settings;
	struct tl_http *http;
	struct tl_http *questions; /* one connection beside those of requests in flight */
	struct tl_elastic_slot slots[TL_ELASTIC_IN_FLIGHT_MAX];
	struct tl_elastic_mapper mapper;
	struct tl_arena arena;
	struct tl_record record;
	struct tl_elastic_stream stream; /* name NULL: dated indices */
	bool opensearch;
	unsigned window; /* requests in flight now: grows by one while all goes well, halves when
			    the server is busy */
	unsigned smooth; /* requests since then that went well */

	/* While a batch is written: */
	const struct tl_message *messages;
	struct tl_sink_result *result;
	struct tl_elastic_chunk *waiting; /* not sent yet, or to be sent again */
	unsigned busy;			  /* slots in flight */
	struct tl_error fatal;		  /* a person must act */
};

/* Finds out what the server is, puts the index template, and refuses where our names would be a
 * data stream. Errors: -ECONNREFUSED, -EACCES, -EINVAL, -EPROTO; each with what to do. */
int tl_elastic_setup(struct tl_elastic *elastic, struct tl_error *error);

extern const struct tl_sink_ops tl_sink_elasticsearch;

/* The sink's write. */
int tl_elastic_write(struct tl_sink *sink, const struct tl_message *messages, size_t n,
		     struct tl_sink_result *result, const volatile int *stop,
		     struct tl_error *error);

/* Makes the slot's chunk its request. In a data stream items that are there already are counted as
 * duplicates and left out; a chunk may become empty. Errors: -ENOMEM, -ENOBUFS; -ECONNREFUSED,
 * -EPROTO a question about the data stream was not answered: again later. */
int tl_elastic_build(struct tl_elastic *elastic, struct tl_elastic_slot *slot);

/* The chunk's items landed in `where` (a backing index) though another was expected: removes from
 * it what an older one has. Errors as tl_elastic_build. */
int tl_elastic_undo(struct tl_elastic *elastic, const uint32_t *items, size_t n,
		    struct tl_span where);

/* Says why `request` failed as a whole, with advice. Returns -ECONNREFUSED, -EACCES or -EPROTO. */
int tl_elastic_fail(const struct tl_elastic *elastic, const struct tl_http_request *request,
		    const char *what, struct tl_error *error);

#endif
