/* SPDX-License-Identifier: Apache-2.0 */
/* Records as an agent would append them, for tools that test or measure what comes after the local
 * log. */
#ifndef TL_TESTS_SAMPLE_LOG_H
#define TL_TESTS_SAMPLE_LOG_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "userspace/base/clock.h"
#include "userspace/record/entry.h"

#define SAMPLE_STREAMS 16u
#define SAMPLE_FRAME 20u /* records an agent appends at once at 20,000 lines/s */
#define SAMPLE_EPOCH UINT64_C(0x9f0b6c1e5d2a4477)

/* Line `i` of the log, an access line of about 110 bytes, on stream i % SAMPLE_STREAMS. Spans point
 * into `body` and `range`. */
static void sample_record(struct tl_record *record, uint64_t i, bool ids, char body[200],
			  char range[64])
{
	tl_record_reset(record);
	record->timestamp_ns = record->observed_ns = tl_wall_ns();
	record->body = (struct tl_span){
		body, (size_t)snprintf(body, 200,
				       "10.0.%" PRIu64 ".7 - - [24/Nov/2026:10:00:%02" PRIu64
				       " +0000] \"GET /api/item/%" PRIu64 " HTTP/1.1\" %s %" PRIu64
				       " \"-\" \"curl/7.88.1\" rt=0.0%02" PRIu64,
				       i % 250, i / 20000 % 60, i * 2654435761u % 100000,
				       i % 10 ? "200" : "500", i * 40503u % 9000 + 100, i % 97)};
	tl_attr_set(&record->attributes, "log.iostream", TL_SPAN_LIT("stdout"));
	tl_attr_set_span(&record->attributes, TL_SPAN_LIT("thread.id"), TL_SPAN_LIT("815"),
			 TL_ATTR_LITERAL);
	tl_attr_set(&record->attributes, "correlation.how",
		    ids ? TL_SPAN_LIT("unit") : TL_SPAN_LIT("none"));
	if (ids) {
		tl_attr_set(&record->attributes, "correlation.id", TL_SPAN_LIT("0af7651916cd43dd"));
		tl_attr_set(&record->attributes, "correlation.source", TL_SPAN_LIT("x-request-id"));
		tl_attr_set(&record->attributes, "http.request.header.x-request-id",
			    TL_SPAN_LIT("0af7651916cd43dd"));
	} else {
		tl_attr_set(&record->attributes, "correlation.why", TL_SPAN_LIT("no-request"));
	}
	tl_attr_set(&record->attributes, "stream.id", TL_SPAN_LIT("2a9"));
	tl_attr_set(&record->attributes, "stream.ranges",
		    (struct tl_span){range, (size_t)snprintf(range, 64, "%" PRIx64 "-%" PRIx64,
							     i * 128, i * 128 + 128)});
}

/* Appends the one resource that the records refer to. */
static int sample_resource(struct tl_log *log)
{
	struct tl_attrs *resource = calloc(1, sizeof(*resource));
	struct tl_buf bytes = {0};
	int r;

	if (!resource)
		return -ENOMEM;
	tl_attr_set(resource, "service.name", TL_SPAN_LIT("cart"));
	tl_attr_set(resource, "host.name", TL_SPAN_LIT("node-1"));
	tl_attr_set(resource, "process.pid", TL_SPAN_LIT("812"));
	tl_entry_pack_resource(1, resource, &bytes);
	r = tl_log_append(log, &(struct tl_log_entry){TL_ENTRY_RESOURCE, tl_buf_span(&bytes)}, 1,
			  NULL);
	tl_buf_done(&bytes);
	free(resource);
	return r;
}

/* Appends records [from, from + SAMPLE_FRAME) as one frame. `bytes` is reused by the caller.
 * Errors: those of tl_log_append. */
static int sample_frame(struct tl_log *log, uint64_t from, bool ids, struct tl_buf *bytes)
{
	static struct tl_record record;
	struct tl_log_entry entries[SAMPLE_FRAME];
	size_t at[SAMPLE_FRAME + 1] = {0};
	char body[200], range[64];

	tl_buf_clear(bytes);
	for (size_t k = 0; k < SAMPLE_FRAME; k++) {
		struct tl_uid uid = {SAMPLE_EPOCH, 1 + (from + k) % SAMPLE_STREAMS,
				     (from + k) * 128};

		sample_record(&record, from + k, ids, body, range);
		tl_entry_pack(&record, &uid, 1, bytes);
		at[k + 1] = bytes->len;
	}
	for (size_t k = 0; k < SAMPLE_FRAME; k++)
		entries[k] = (struct tl_log_entry){TL_ENTRY_RECORD,
						   {bytes->data + at[k], at[k + 1] - at[k]}};
	return tl_log_append(log, entries, SAMPLE_FRAME, NULL);
}

#endif
