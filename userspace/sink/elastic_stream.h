/* SPDX-License-Identifier: Apache-2.0 */
/* Data streams. An id is unique within one backing index only, so a record that is sent again after
 * a rollover would be kept twice. It can only have been written before the rollover when it is
 * older than the present write index: such records are looked for in the older backing indices
 * before they are sent, all others cost nothing. A rollover between the look and the write shows in
 * the answer (another index than expected): then what an older index has already is taken out of
 * the new one again. Part of the elasticsearch sink; one thread. */
#ifndef TL_SINK_ELASTIC_STREAM_H
#define TL_SINK_ELASTIC_STREAM_H

#include "userspace/base/err.h"
#include "userspace/sink/http_client.h"

#define TL_STREAM_OLDER_MAX 16 /* backing indices looked into, the newest ones */

struct tl_elastic_stream {
	struct tl_http *http; /* borrowed; one request at a time */
	const char *name;     /* borrowed */
	char write_index[256];
	char older[TL_STREAM_OLDER_MAX * 256]; /* names with commas; "" none */
	uint64_t created_ns;		       /* wall, the server's clock: of the write index */
	uint64_t learnt_ns;		       /* monotonic; 0 never */
	struct tl_buf body;		       /* scratch */
	char why[300];			       /* the last question was not answered */
};

/* Asks for the backing indices, unless that was done within 10 s and `now` is false. A stream that
 * does not exist yet has none. Errors: -ECONNREFUSED no answer; -EPROTO. */
int tl_elastic_stream_learn(struct tl_elastic_stream *stream, bool now);

/* Whether a record of that time may be in an older backing index. */
bool tl_elastic_stream_doubtful(const struct tl_elastic_stream *stream, uint64_t observed_ns);

/* Sets found[i] for each of the `n` ids (raw JSON text) that an older backing index has, and clears
 * the others. Errors as tl_elastic_stream_learn. */
int tl_elastic_stream_find(struct tl_elastic_stream *stream, const struct tl_span *ids, size_t n,
			   bool *found);

/* Removes the document from one backing index. Errors as tl_elastic_stream_learn. */
int tl_elastic_stream_remove(struct tl_elastic_stream *stream, struct tl_span index,
			     struct tl_span id);

#endif
