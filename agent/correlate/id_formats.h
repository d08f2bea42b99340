/* SPDX-License-Identifier: Apache-2.0 */
/* The grammars of the id headers, one function each; private to correlate/. A reader checks
 * `*value`, may narrow it to the part that is an id (what is outside never leaves the agent), and
 * adds what it found to `*ret`. Pure functions. */
#ifndef TL_CORRELATE_ID_FORMATS_H
#define TL_CORRELATE_ID_FORMATS_H

#include "userspace/base/buf.h"

/* A trace context as it is being put together from one or more headers. */
struct tl_id_trace {
	char id[33];   /* lower-case hex, "" while unknown */
	char span[17]; /* lower-case hex, "" while unknown */
	int flags;     /* -1 while unknown */
};

struct tl_id_format {
	const char *name; /* lower case */
	uint8_t kind;	  /* enum tl_id_kind */
	uint8_t strength; /* of its trace id: higher wins */
	/* True when the value obeys the grammar. */
	bool (*read)(struct tl_span *value, struct tl_id_trace *ret);
};

/* Whether the header (name in any case) may carry an id. */
bool tl_id_known(struct tl_span name);

/* Printable ASCII, 1 to 255 bytes. */
bool tl_id_read_opaque(struct tl_span *value, struct tl_id_trace *ret);

/* W3C Trace Context: version-32hex-16hex-2hex, lower case only. */
bool tl_id_read_traceparent(struct tl_span *value, struct tl_id_trace *ret);

/* B3, single header: {16 or 32 hex}-{16 hex}[-{0,1,d}[-{16 hex}]]. */
bool tl_id_read_b3(struct tl_span *value, struct tl_id_trace *ret);
/* A b3 header that is a sampling decision alone and carries no id. */
bool tl_id_b3_is_flag(struct tl_span value);
/* B3, one header each. */
bool tl_id_read_b3_trace(struct tl_span *value, struct tl_id_trace *ret);
bool tl_id_read_b3_span(struct tl_span *value, struct tl_id_trace *ret);

/* Jaeger: {1-32 hex}:{1-16 hex}:{hex}:{flags}, colons perhaps as %3A. */
bool tl_id_read_uber(struct tl_span *value, struct tl_id_trace *ret);

/* Datadog: decimal 64 bits; the tags may hold the upper half (`_dd.p.tid=16hex`; only that tag is
 * kept). */
bool tl_id_read_datadog(struct tl_span *value, struct tl_id_trace *ret);
bool tl_id_read_datadog_span(struct tl_span *value, struct tl_id_trace *ret);
bool tl_id_read_datadog_tags(struct tl_span *value, struct tl_id_trace *ret);

/* AWS X-Ray: a list of key=value with Root=1-8hex-24hex. */
bool tl_id_read_amazon(struct tl_span *value, struct tl_id_trace *ret);

/* Google: 32hex[/decimal span][;o=n]. */
bool tl_id_read_cloud(struct tl_span *value, struct tl_id_trace *ret);

/* --- id_vendors.c --- */

/* SkyWalking 8: narrowed to its ids, without names and endpoint. */
bool tl_id_read_skywalking(struct tl_span *value, struct tl_id_trace *ret);
/* Sentry: 32hex-16hex[-{0,1}]. */
bool tl_id_read_sentry(struct tl_span *value, struct tl_id_trace *ret);
/* OpenCensus, binary in base64. */
bool tl_id_read_grpc_trace(struct tl_span *value, struct tl_id_trace *ret);
/* request-id of .NET (Application Insights): |root.id_id. ; _trace: where the root is a trace id.
 */
bool tl_id_read_hierarchical(struct tl_span *value, struct tl_id_trace *ret);
bool tl_id_read_hierarchical_trace(struct tl_span *value, struct tl_id_trace *ret);
/* request-id of others. */
bool tl_id_read_request_id(struct tl_span *value, struct tl_id_trace *ret);
/* Cloudflare: 16hex[-XYZ]. */
bool tl_id_read_cf_ray(struct tl_span *value, struct tl_id_trace *ret);

/* Whether both are the same request id. Envoy keeps its tracing decision in a UUID's 14th nibble
 * and rewrites it from hop to hop: that one does not count. */
bool tl_id_same(struct tl_span a, struct tl_span b);

#endif
