/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the elasticsearch sink: elasticsearch.c (settings, open), elastic_setup.c (version,
 * template), elastic_mapping.c (documents), elastic_stream.c (data streams), elastic_build.c (a
 * chunk becomes a request), elastic_write.c (what an answer means). Requests in flight: flight.h.
 */
#ifndef TL_SINK_ELASTIC_H
#define TL_SINK_ELASTIC_H

#include "userspace/sink/bulk.h"
#include "userspace/sink/elastic_mapping.h"
#include "userspace/sink/elastic_stream.h"
#include "userspace/sink/flight.h"

struct tl_elastic_settings {
	const char *url, *index_prefix, *http_prefix, *data_stream;
	const char *user, *password, *api_key, *ca, *cert, *key;
	int mapping; /* enum tl_elastic_mapping */
	bool gzip, template;
	int64_t in_flight, shards, replicas;
	uint64_t request_bytes, timeout_ns, wait_ns;
};

struct tl_elastic {
	struct tl_sink sink;
	const struct tl_elastic_settings *settings;
	struct tl_flight flight;
	struct tl_http *questions; /* one connection beside those of requests in flight */
	struct tl_elastic_mapper mapper;
	struct tl_arena arena;
	struct tl_record record;
	struct tl_buf sifted, copied;	 /* scratch of a document's shape */
	struct tl_elastic_stream stream; /* name NULL: dated indices */
	bool opensearch;
};

/* Finds out what the server is, puts the index template, and refuses where our names would be a
 * data stream. Errors: -ECONNREFUSED, -EACCES, -EINVAL, -EPROTO; each with what to do. */
int tl_elastic_setup(struct tl_elastic *elastic, struct tl_error *error);

extern const struct tl_sink_ops tl_sink_elasticsearch;

/* How requests are made and judged; `arg` is the sink. */
extern const struct tl_flight_ops tl_elastic_flight;

/* The sink's write. */
int tl_elastic_write(struct tl_sink *sink, const struct tl_message *messages, size_t n,
		     struct tl_sink_result *result, const volatile int *stop,
		     struct tl_error *error);

/* Makes the chunk's request body. In a data stream items that are there already are counted as
 * duplicates and left out; a chunk may become empty. Errors: -ENOMEM, -ENOBUFS; -EAGAIN a question
 * about the data stream was not answered (`*why`): again later. */
int tl_elastic_build(struct tl_elastic *elastic, struct tl_chunk *chunk, struct tl_buf *body,
		     const char **why);

/* The chunk's items landed in `where` (a backing index) and were counted as written, though another
 * index was expected: removes from it what an older one has; those are duplicates then. What stays
 * in the chunk is what could not be settled. Errors: -ENOMEM; -ECONNREFUSED, -EPROTO a question was
 * not answered. */
int tl_elastic_undo(struct tl_elastic *elastic, struct tl_chunk *chunk, struct tl_span where);

/* Says why `request` failed as a whole, with advice. Returns -ECONNREFUSED, -EACCES (credentials,
 * rights, certificate) or -EPROTO. */
int tl_elastic_fail(const struct tl_elastic *elastic, const struct tl_http_request *request,
		    const char *what, struct tl_error *error);

#endif
