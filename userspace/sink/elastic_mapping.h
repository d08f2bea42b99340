/* SPDX-License-Identifier: Apache-2.0 */
/* The shapes a document can have in the search server, and the index template of each. `flat` is
 * our record as it is (docs/record.md); `ecs` is the Elastic Common Schema 8.11; `otel` is the
 * document that Elastic's OpenTelemetry exporter writes (attributes under their own names, one
 * level down). Pure functions. */
#ifndef TL_SINK_ELASTIC_MAPPING_H
#define TL_SINK_ELASTIC_MAPPING_H

#include "userspace/base/arena.h"
#include "userspace/record/record.h"

enum tl_elastic_mapping { TL_MAPPING_FLAT, TL_MAPPING_ECS, TL_MAPPING_OTEL };
#define TL_MAPPING_NAMES "flat", "ecs", "otel"

/* What a document is written with. */
struct tl_elastic_mapper {
	enum tl_elastic_mapping mapping;
	const char *data_stream;  /* its name, NULL none: documents then carry @timestamp */
	struct tl_arena *arena;	  /* scratch, reset by each call */
	struct tl_record *record; /* scratch */
};

/* Whether documents of this mapper differ from the record's JSON. */
bool tl_elastic_maps(const struct tl_elastic_mapper *mapper);

/* Appends the document of the record in `json`. Errors: -EINVAL it is no record; -ENOBUFS. */
int tl_elastic_map(const struct tl_elastic_mapper *mapper, struct tl_span json, struct tl_buf *out);

/* OpenSearch cannot count by a member of a flat_object: appends the flat document with copies of
 * the few members that people count by (service_name, correlation_id, correlation_how,
 * correlation_why) at its top. Errors: -EINVAL it does not end as an object; -ENOBUFS. */
int tl_elastic_copies(struct tl_span document, struct tl_buf *out);

struct tl_elastic_template {
	enum tl_elastic_mapping mapping;
	bool opensearch;	  /* it has flat_object where Elasticsearch has flattened */
	bool data_stream;	  /* the patterns are of data streams, not of indices */
	const char *patterns[2];  /* index patterns, without the final `*`; NULL: none more */
	int64_t shards, replicas; /* 0 and -1: the server's default */
};

#define TL_TEMPLATE_PRIORITY 200 /* above the 100 of the templates that Elasticsearch brings */

/* Appends the body of PUT _index_template. */
void tl_elastic_template(const struct tl_elastic_template *of, struct tl_buf *out);

#endif
