/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters are archived in the form of records, so that one schema reads both. */
#include "userspace/base/cleanup.h"
#include "userspace/record/record.h"
#include "userspace/sink/s3_spool.h"

/* Headers of a dead letter that say why it is one; the attributes have a dot where they have a
 * dash.
 */
static const struct {
	const char *header, *attribute;
} told[] = {
	{"tapline-reason", "tapline.reason"}, {"tapline-stage", "tapline.stage"},
	{"tapline-topic", "tapline.topic"},   {"tapline-partition", "tapline.partition"},
	{"tapline-offset", "tapline.offset"}, {"tapline-truncated", "tapline.truncated"},
};

int tl_s3_dead_letter(const struct tl_message *message, struct tl_arena *arena, struct tl_buf *out)
{
	static __thread struct tl_record record;

	tl_record_reset(&record);
	record.uid = tl_arena_printf(arena, "dlq-%d-%lld", message->partition,
				     (long long)message->offset);
	record.observed_ns = record.timestamp_ns = message->timestamp_ns;
	record.body = message->value;
	for (uint32_t i = 0; i < message->n_headers; i++)
		for (size_t k = 0; k < ARRAY_SIZE(told); k++)
			if (tl_span_is(message->headers[i].key, told[k].header))
				tl_attr_set(&record.attributes, told[k].attribute,
					    message->headers[i].value);
	return tl_record_to_json(&record, out);
}
