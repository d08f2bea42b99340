/* SPDX-License-Identifier: Apache-2.0 */
/* Private to otlp*.c: otlp.c (groups, requests), otlp_proto.c and otlp_json.c (the two encodings),
 * otlp_answer.c (what a server says). */
#ifndef TL_RECORD_OTLP_INTERNAL_H
#define TL_RECORD_OTLP_INTERNAL_H

#include "userspace/base/json.h"
#include "userspace/record/otlp.h"

#define TL_OTLP_SCOPE "tapline"
#define TL_OTLP_UID "log.record.uid"

enum tl_otlp_kind { TL_OTLP_STRING, TL_OTLP_BYTES, TL_OTLP_BOOL, TL_OTLP_INT, TL_OTLP_DOUBLE };

/* One AnyValue. */
struct tl_otlp_value {
	enum tl_otlp_kind kind;
	struct tl_span text; /* STRING, BYTES, and the number as JSON has it */
	int64_t integer;     /* BOOL, INT */
	double real;	     /* DOUBLE */
};

/* What an attribute is in OTLP: literals by their form, ids of processes and threads as the
 * integers that the semantic conventions have, text that is no UTF-8 as bytes. */
struct tl_otlp_value tl_otlp_value_of(const struct tl_attr *attr);
/* `text` as a string, or as bytes when it is no UTF-8. It is borrowed. */
struct tl_otlp_value tl_otlp_text(struct tl_span text);

/* Whether the key can be sent at all; one that is no UTF-8 cannot and counts as dropped. */
bool tl_otlp_key_ok(struct tl_span key);

/* Decodes exactly `bytes` bytes of hex, not all zero. Returns false when it is anything else. */
bool tl_otlp_id(struct tl_span hex, unsigned char *out, size_t bytes);

struct tl_otlp_encoder {
	/* Appends the Resource that all records of a group share. */
	void (*resource)(const struct tl_attrs *resource, struct tl_buf *out);
	/* Appends one LogRecord to a group's records; `scratch` is the encoder's to use. */
	void (*record)(const struct tl_record *record, struct tl_buf *scratch,
		       struct tl_buf *records);
	/* Appends a request with one group to `out`, joined to those before it. */
	void (*group)(struct tl_span resource, struct tl_span records, bool first,
		      struct tl_buf *out);
	/* Appends what ends the request. */
	void (*end)(struct tl_buf *out);
};

extern const struct tl_otlp_encoder tl_otlp_protobuf, tl_otlp_json;

/* Reads one field of a protobuf message and moves `*at` behind it. Length-delimited ones are given
 * in `ret_bytes`, varints in `ret_number`. Returns the field's number, 0 at the end, -EBADMSG. */
int tl_otlp_field(struct tl_span *at, uint64_t *ret_number, struct tl_span *ret_bytes);

#endif
