// SPDX-License-Identifier: Apache-2.0
#include "userspace/bus/entry_message.h"

#include "userspace/bus/kafka.h"

#define RESOURCES_MAX 65536u
#define JSON_MAX (16u * 1024u * 1024u)

struct tl_entry_codec {
	struct tl_resources *resources;
	struct tl_arena arena;
	struct tl_record record;
	struct tl_buf json;
	char position[TL_POSITION_MAX];
};

/* Ids of the request that travel as Kafka headers too, under their own names. */
static const struct tl_span prefix = { "http.request.header.", 20 };
static const struct tl_span carried[] = {
	{ "traceparent", 11 },
	{ "x-request-id", 12 },
	{ "x-correlation-id", 16 },
};

int tl_entry_codec_new(struct tl_entry_codec **ret_codec)
{
	struct tl_entry_codec *codec = calloc(1, sizeof(*codec));

	if (!codec)
		return -ENOMEM;
	codec->resources = tl_resources_new(RESOURCES_MAX);
	codec->json.max = JSON_MAX;
	if (!codec->resources) {
		free(codec);
		return -ENOMEM;
	}
	*ret_codec = codec;
	return 0;
}

void tl_entry_codec_free(struct tl_entry_codec *codec)
{
	tl_resources_free(codec->resources);
	tl_arena_done(&codec->arena);
	tl_buf_done(&codec->json);
	free(codec);
}

static void add_header(struct tl_message *message, struct tl_span key, struct tl_span value)
{
	message->headers[message->n_headers++] = (struct tl_header){ key, value };
}

static void add_ids(struct tl_message *message, const struct tl_attrs *attributes)
{
	for (uint32_t i = 0; i < attributes->n; i++) {
		const struct tl_attr *attr = &attributes->items[i];
		struct tl_span name;

		if (attr->key.len <= prefix.len || memcmp(attr->key.data, prefix.data, prefix.len) != 0)
			continue;
		name = (struct tl_span){ attr->key.data + prefix.len, attr->key.len - prefix.len };
		for (size_t c = 0; c < ARRAY_SIZE(carried); c++)
			if (tl_span_eq(name, carried[c]) && message->n_headers < TL_HEADERS_MAX)
				add_header(message, carried[c], attr->value);
	}
}

/* The middle of "<epoch>-<stream>-<offset>": what keeps one stream, or connection, in order on one partition. */
static struct tl_span key_of(struct tl_span uid)
{
	const char *from = memchr(uid.data, '-', uid.len), *to;

	if (!from)
		return uid;
	from++;
	to = memchr(from, '-', (size_t)(uid.data + uid.len - from));
	return to ? (struct tl_span){ from, (size_t)(to - from) } : uid;
}

int tl_entry_message(struct tl_entry_codec *codec, uint64_t log_id, const struct tl_log_item *item,
		     struct tl_message *ret_message)
{
	struct tl_record *record = &codec->record;
	struct tl_message *m = ret_message;
	int r;

	if (item->type == TL_ENTRY_RESOURCE) {
		r = tl_resources_learn(codec->resources, item->data);
		return r < 0 ? r : 0;
	}
	if (item->context || (item->type != TL_ENTRY_RECORD && item->type != TL_ENTRY_HTTP))
		return 0;
	tl_arena_reset(&codec->arena);
	tl_buf_clear(&codec->json);
	r = tl_entry_to_record(item->data, codec->resources, &codec->arena, record);
	r = r < 0 ? r : tl_record_to_json(record, &codec->json);
	if (r < 0)
		return r;
	m->topic = item->type == TL_ENTRY_HTTP ? TL_TOPIC_HTTP : TL_TOPIC_RAW;
	m->partition = -1;
	m->offset = (int64_t)item->position;
	m->key = key_of(record->uid);
	m->value = tl_buf_span(&codec->json);
	m->n_headers = 0;
	m->timestamp_ns = record->observed_ns;
	m->log_id = log_id;
	m->log_position = item->position;
	add_header(m, TL_SPAN_LIT("tapline-uid"), record->uid);
	add_header(m, TL_SPAN_LIT("tapline-position"),
		   (struct tl_span){ codec->position, tl_position_format(log_id, item->position, codec->position) });
	add_ids(m, &record->attributes);
	return 1;
}
