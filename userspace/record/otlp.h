/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP: records as an ExportLogsServiceRequest (opentelemetry-proto 1.x, collector/logs/v1), in
 * protobuf or in JSON. Records are grouped by their resource; within a group they keep their order.
 * Shared by the otlp sink (HTTP) and the stream worker (topic otlp_logs). One thread a builder. */
#ifndef TL_RECORD_OTLP_H
#define TL_RECORD_OTLP_H

#include "userspace/base/cleanup.h"
#include "userspace/record/record.h"

enum tl_otlp_encoding { TL_OTLP_PROTOBUF, TL_OTLP_JSON };

struct tl_otlp_limits {
	size_t groups;	    /* resources at most */
	size_t group_bytes; /* of one resource's records, once it has one; 0: no limit */
	size_t bytes;	    /* of all, once there is one record; 0: no limit */
};

/* A request being built. */
struct tl_otlp;

/* The caller owns `*ret_otlp`. Errors: -ENOMEM. */
int tl_otlp_new(enum tl_otlp_encoding encoding, const struct tl_otlp_limits *limits,
		struct tl_otlp **ret_otlp);
/* Releases it with all that was added. */
void tl_otlp_free(struct tl_otlp *otlp);
TL_DEFINE_CLEANUP(struct tl_otlp *, tl_otlp_free);

/* Adds one record; its bytes are copied. The uid becomes attribute `log.record.uid`; ids that are
 * not 16 and 8 bytes in hex are left out; a body that is no UTF-8 becomes bytes. Errors: -ENOBUFS a
 * limit: empty the builder (tl_otlp_write, tl_otlp_each) and add it again; -ENOMEM. */
int tl_otlp_add(struct tl_otlp *otlp, const struct tl_record *record);

/* Records since it was empty. */
size_t tl_otlp_count(const struct tl_otlp *otlp);

/* Appends one request with all groups to `out`, and empties the builder. Errors: -ENOBUFS, -ENOMEM
 * (of `out`). */
int tl_otlp_write(struct tl_otlp *otlp, struct tl_buf *out);

/* Gives each group as a request of its own, and empties the builder. `resource` is the same for the
 * same resource on every host and in every run; `request` is valid during the call. Stops at the
 * first that returns not 0 and returns it. Errors: -ENOMEM. */
int tl_otlp_each(struct tl_otlp *otlp,
		 int (*each)(void *arg, uint64_t resource, struct tl_span request, size_t records),
		 void *arg);

/* Forgets all that was added. */
void tl_otlp_clear(struct tl_otlp *otlp);

struct tl_otlp_answer {
	uint64_t rejected; /* partial_success.rejected_log_records */
	char message[256]; /* partial_success.error_message, or Status.message; one line of text */
};

/* Reads an ExportLogsServiceResponse. An empty one is full success. Errors: -EBADMSG it is none. */
int tl_otlp_read_answer(enum tl_otlp_encoding encoding, struct tl_span body,
			struct tl_otlp_answer *ret);

/* The reason of a failed request: the message of a google.rpc.Status in either encoding, else the
 * beginning of the text. */
void tl_otlp_read_status(struct tl_span body, char *out, size_t size);

#endif
