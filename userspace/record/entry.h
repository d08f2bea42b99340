/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent puts into the local log, and readers take out: records in a compact binary form
 * with the resource interned. Little-endian, versioned; version N+1 reads N. Strings are
 * length-prefixed. JSON is made only when a record leaves the log (tl_entry_to_record +
 * tl_record_to_json). */
#ifndef TL_RECORD_ENTRY_H
#define TL_RECORD_ENTRY_H

#include "userspace/log/log.h"
#include "userspace/record/record.h"

enum tl_entry_type {
	TL_ENTRY_RECORD = 1, /* a log record or gap record: topic tapline.raw */
	TL_ENTRY_HTTP = 2,   /* an HTTP exchange, same form: topic tapline.http */
	TL_ENTRY_RESOURCE = TL_LOG_CONTEXT | 3, /* number -> resource attributes */
	TL_ENTRY_STATE = TL_LOG_PRIVATE | 16,	/* and up: agent/state.h */
};

struct tl_uid {
	uint64_t epoch;
	uint64_t stream;
	uint64_t offset;
};

#define TL_UID_MAX 52
/* Writes "<epoch 16 hex>-<stream>-<offset>" and a NUL; returns its length. */
size_t tl_uid_format(const struct tl_uid *uid, char out[TL_UID_MAX]);

/* Appends the packed form of `record`: its resource is replaced by `resource_number` (0: it has
 * none), its uid by `uid`, whose stream (of a record) or connection (of an HTTP exchange) is the
 * Kafka key too. Errors: -ENOBUFS; -EINVAL a trace or span id over 255 bytes, another text but body
 * and values over 65535. */
int tl_entry_pack(const struct tl_record *record, const struct tl_uid *uid,
		  uint32_t resource_number, struct tl_buf *out);
/* `number` is not 0. Errors as tl_entry_pack. */
int tl_entry_pack_resource(uint32_t number, const struct tl_attrs *resource, struct tl_buf *out);

/* Resources a reader has met, each with its JSON made once. `max` live ones; the one announced
 * longest ago is forgotten first (the agent announces live ones again in each segment). */
struct tl_resources;
struct tl_resources *tl_resources_new(size_t max);
void tl_resources_free(struct tl_resources *resources);
TL_DEFINE_CLEANUP(struct tl_resources *, tl_resources_free);

/* Takes a RESOURCE entry in. Errors: -EBADMSG, -ENOMEM. */
int tl_resources_learn(struct tl_resources *resources, struct tl_span data);

/* Turns a RECORD or HTTP entry into a record whose spans point into `data`, `resources` (until its
 * next learn) and `arena`. Errors: -EBADMSG malformed; -ENOENT its resource was never announced;
 * -ENOBUFS the arena is full. */
int tl_entry_to_record(struct tl_span data, const struct tl_resources *resources,
		       struct tl_arena *arena, struct tl_record *ret_record);

/* Appends the JSON that tl_entry_to_record + tl_record_to_json would, byte for byte, without the
 * record in between: the forwarder's hot path. Errors as tl_entry_to_record: `out` is as it was;
 * -ENOBUFS `out` is full. */
int tl_entry_to_json(struct tl_span data, const struct tl_resources *resources, struct tl_buf *out);

/* Reads all of an entry but its resource and attributes, for keys and headers: `*ret_uid` and, with
 * uid, resource and attributes empty, `*ret_record`, whose spans point into `data`. Errors:
 * -EBADMSG. */
int tl_entry_peek(struct tl_span data, struct tl_uid *ret_uid, struct tl_record *ret_record);

/* Finds an attribute (not of the resource). Returns 1 with its value, 0 absent, -EBADMSG. */
int tl_entry_attr(struct tl_span data, const char *key, struct tl_span *ret_value);

#endif
