/* SPDX-License-Identifier: Apache-2.0 */
/* Ids found in HTTP headers, by the grammar of each, and minted where none came. Sources: W3C Trace
 * Context level 2 (traceparent), openzipkin/b3-propagation (b3, x-b3-*), Jaeger client propagation
 * (uber-trace-id), AWS X-Ray (x-amzn-trace-id), Google x-cloud-trace-context, Datadog
 * (x-datadog-trace-id). Nothing is converted silently: the raw value is kept beside what it was
 * read as. Pure functions. */
#ifndef TL_CORRELATE_IDS_H
#define TL_CORRELATE_IDS_H

#include "userspace/base/buf.h"

#define TL_IDS_MAX 12
#define TL_ID_VALUE_MAX 256

enum tl_id_kind {
	TL_ID_REQUEST,	 /* x-request-id and its like: opaque printable text */
	TL_ID_TRACE,	 /* has a trace id */
	TL_ID_OTHER,	 /* known header with a format of its own, kept raw */
	TL_ID_GENERATED, /* minted by tapline because none came */
	TL_ID_INHERITED, /* of the request in whose service this one was made */
	TL_ID_ADOPTED,	 /* a gateway made it for the request and sent it onward */
};

struct tl_id {
	const char *header; /* lower case, static */
	uint8_t kind;	    /* enum tl_id_kind */
	bool duplicate;	    /* the header came more than once: this is the first */
	bool response;	    /* found in the response's headers */
	uint16_t len;
	char value[TL_ID_VALUE_MAX]; /* as captured, not NUL-terminated */
};

struct tl_ids {
	struct tl_id id[TL_IDS_MAX];
	uint32_t n;
	uint32_t dropped; /* found past TL_IDS_MAX */
	int primary; /* index of what becomes correlation.id: request ids first, then trace, then
			generated; -1 none */
	char trace_id[33]; /* lower-case hex from the strongest trace header, or "" */
	char span_id[17];  /* parent span of the request, or "" */
	int trace_flags;   /* -1 unset */
	int traceparents;  /* number of traceparent headers: two or more reject all of them */
};

void tl_ids_init(struct tl_ids *ids);

/* Looks at one header line (name any case, value trimmed). Adds an id when the name is known and
 * the value obeys its grammar. Returns 1 added, 0 not an id header, -EINVAL known but malformed
 * (ignored). */
int tl_ids_header(struct tl_ids *ids, struct tl_span name, struct tl_span value, bool response);

/* All headers of the request (or response) were given: settles multi-header formats and the
 * primary. */
void tl_ids_settle(struct tl_ids *ids);

/* Adds an id that did not come in a header, and makes it the primary one; does nothing when there
 * is a primary one already. GENERATED and INHERITED have `header` NULL; ADOPTED names the header
 * that sent it onward (static). The primary one of a settled set changes no more. */
void tl_ids_add(struct tl_ids *ids, enum tl_id_kind kind, const char *header, struct tl_span value);

/* True when `value` equals one of the ids (raw value or trace id). */
bool tl_ids_has(const struct tl_ids *ids, struct tl_span value);

#endif
