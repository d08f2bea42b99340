/* SPDX-License-Identifier: Apache-2.0 */
/* The live tail: server-sent events of what comes into a store. Each browser has a thread that
 * reads the store at its own pace, so none delays the pipeline or another. What a browser, or a
 * person, could not follow is left out and told by number. Events are in docs/web.md. */
#ifndef TL_WEB_STREAM_H
#define TL_WEB_STREAM_H

#include <microhttpd.h>

#include "userspace/web/api.h"

#define TL_STREAMS_MAX 32u   /* open at once */
#define TL_STREAM_BATCH 500u /* records of one event; four events a second at most */

/* Records left out since the start, and streams open now. */
struct tl_stream_counts {
	uint64_t skipped;
	unsigned open;
};
void tl_stream_counts(struct tl_stream_counts *ret);

/* Makes the answer to a request whose arguments are q and http, that goes on after record number
 * `after` (-1: from now on). Errors: -EINVAL, -E2BIG a wrong question; -EBUSY too many streams;
 * -ENOMEM. */
int tl_stream_open(const struct tl_api_request *request, struct MHD_Connection *connection,
		   int64_t after, struct MHD_Response **ret_response, struct tl_error *error);

/* One turn of a stream, for tests: appends the events that are due now to `out`, and moves
 * `*after`. Errors: as tl_store_query. */
int tl_stream_turn(struct tl_store_reader *reader, const struct tl_query *query, int64_t *after,
		   struct tl_buf *out, uint64_t *ret_skipped, struct tl_error *error);

#endif
