/* SPDX-License-Identifier: Apache-2.0 */
/* The fast way of writing a record's JSON, shared by tl_record_to_json and tl_entry_to_json. Nearly
 * every string of a record is short and needs no escape: it is copied and tested in the same pass;
 * the rare other one is left to tl_json_string. Internal to userspace/record. */
#ifndef TL_RECORD_EMIT_H
#define TL_RECORD_EMIT_H

#include "userspace/record/record.h"

struct tl_emit {
	char *p, *end;	    /* next byte; end of what is allocated */
	struct tl_buf *out; /* its len is stale until tl_emit_end */
	size_t begin;	    /* out->len at first */
	bool failed;
};

void tl_emit_begin(struct tl_emit *emit, struct tl_buf *out, size_t expected);
/* On failure `out` is as it was before. Errors: -ENOBUFS, -ENOMEM. */
int tl_emit_end(struct tl_emit *emit);

/* Everything from `{` to before "resource"; the record's attributes are not looked at. */
void tl_emit_head(struct tl_emit *emit, const struct tl_record *record);

/* ,"resource":TEXT */
void tl_emit_resource_text(struct tl_emit *emit, struct tl_span text);

/* {"key":value,...} with the count of dropped ones; what tl_emit_resource_text takes. */
void tl_emit_attrs_object(struct tl_emit *emit, const struct tl_attrs *attrs);

/* ,"attributes":{ then each attribute, then the end, which adds what was dropped and a body that
 * was not text. */
void tl_emit_attributes_begin(struct tl_emit *emit);
void tl_emit_attr(struct tl_emit *emit, struct tl_span key, struct tl_span value, unsigned type);
void tl_emit_attributes_end(struct tl_emit *emit, uint32_t dropped,
			    const struct tl_span *base64_body);

#define TL_DROPPED_KEY "tapline.attributes.dropped"
#define TL_BASE64_KEY "log.body.base64"

#endif
