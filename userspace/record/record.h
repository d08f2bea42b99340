/* SPDX-License-Identifier: Apache-2.0 */
/* tl_record: one log record (OpenTelemetry log data model, flat). It is a view: every span is
 * borrowed from the message it was read from or from an arena, so that a record costs no
 * allocation. docs/record.md shows the JSON. */
#ifndef TL_RECORD_RECORD_H
#define TL_RECORD_RECORD_H

#include "userspace/base/arena.h"
#include "userspace/base/buf.h"
#include "userspace/base/err.h"

enum tl_attr_type {
	TL_ATTR_STRING,	 /* value is text, written with quotes and escapes */
	TL_ATTR_LITERAL, /* value is a JSON number, true or false, written as it is */
};

struct tl_attr {
	struct tl_span key;
	struct tl_span value;
	uint8_t type; /* enum tl_attr_type */
};

#define TL_ATTRS_MAX                                                                               \
	128 /* per record and side; more are counted in attribute `tapline.attributes.dropped` */

struct tl_attrs {
	struct tl_attr items[TL_ATTRS_MAX];
	uint32_t n;
	uint32_t dropped;
};

struct tl_record {
	struct tl_span uid;	 /* "<epoch 16 hex>-<stream hex>-<offset hex>" */
	uint64_t timestamp_ns;	 /* wall; parsed from the text, or observed_ns; 0: written as
				    observed_ns */
	uint64_t observed_ns;	 /* wall; the syscall's exit, never changed by a parser */
	uint8_t severity_number; /* 1..24, 0 unset */
	struct tl_span severity_text;
	struct tl_span body;	 /* raw bytes; may be invalid UTF-8 */
	struct tl_span trace_id; /* 32 hex or empty */
	struct tl_span span_id;	 /* 16 hex or empty */
	int trace_flags;	 /* 0..255, -1 unset */
	struct tl_attrs resource, attributes;
};

/* Empties the record for reuse. */
void tl_record_reset(struct tl_record *record);

/* Sets `key` to a string, replacing an earlier value. Key and value are borrowed. */
void tl_attr_set(struct tl_attrs *attrs, const char *key, struct tl_span value);
void tl_attr_set_span(struct tl_attrs *attrs, struct tl_span key, struct tl_span value,
		      enum tl_attr_type type);
void tl_attr_set_u64(struct tl_attrs *attrs, struct tl_arena *arena, const char *key,
		     uint64_t value);
/* `key` as a record carries it: itself where it is UTF-8, else a copy with U+FFFD for each bad
 * byte, so that two names which are written alike are one. Empty where the arena is full. */
struct tl_span tl_attr_key(struct tl_arena *arena, struct tl_span key);
/* Returns the attribute or NULL. */
const struct tl_attr *tl_attr_get(const struct tl_attrs *attrs, const char *key);

/* Appends the record as one JSON object without newline, keys always in the same order, times as
 * RFC 3339 with nine digits. A body that is not valid UTF-8 is written with U+FFFD for each bad
 * byte, and its exact bytes in attribute `log.body.base64`. Errors: -ENOBUFS. */
int tl_record_to_json(const struct tl_record *record, struct tl_buf *out);

/* Reads what tl_record_to_json wrote (`log.body.base64` becomes the body again; unknown top-level
 * keys become attributes; deeper JSON in resource or attributes is kept as its JSON text). Spans
 * point into `json` or `arena`. A record with one of the two times has it as both. On error
 * `*ret_record` holds what was read so far. Errors: -EINVAL with the reason; -ENOBUFS the arena is
 * full. */
int tl_record_from_json(struct tl_span json, struct tl_arena *arena, struct tl_record *ret_record,
			struct tl_error *error);

/* Severity by OTel's table: TRACE 1, DEBUG 5, INFO 9, WARN 13, ERROR 17, FATAL 21. "" for 0. */
const char *tl_severity_text(uint8_t number);
/* The range it lies in: TRACE, DEBUG, INFO, WARN, ERROR or FATAL; "" for 0. However services spell
 * it, there are no more than these: a label of metrics. */
const char *tl_severity_range(uint8_t number);

#define TL_BODY_MAX                                                                                \
	(640u * 1024u) /* bytes of one record's body: escaped and enveloped it stays under 900 KiB \
			* in all but hostile cases; the agent splits by escaped size */

#endif
