// SPDX-License-Identifier: Apache-2.0
#include "userspace/bus/entry_message.h"

#include "userspace/bus/kafka.h"

#define RESOURCES_MAX 65536u
#define JSON_MAX (16u * 1024u * 1024u)

struct tl_entry_codec {
	struct tl_resources *resources;
	struct tl_record record;
	struct tl_buf json;
	char uid[TL_UID_MAX];
	char position[TL_POSITION_MAX];
};

/* Ids of the request that travel as Kafka headers too, under their own names. */
#define PREFIX "http.request.header."
static const char *const carried[] = {PREFIX "traceparent", PREFIX "x-request-id",
				      PREFIX "x-correlation-id"};

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
	tl_buf_done(&codec->json);
	free(codec);
}

static void add_header(struct tl_message *message, struct tl_span key, struct tl_span value)
{
	message->headers[message->n_headers++] = (struct tl_header){key, value};
}

/* A record without correlation.source belongs to no request: most lines are asked one question, not
 * three. */
static void add_ids(struct tl_message *message, struct tl_span entry)
{
	struct tl_span value;

	if (tl_entry_attr(entry, "correlation.source", &value) != 1)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(carried); i++)
		if (tl_entry_attr(entry, carried[i], &value) == 1)
			add_header(message, tl_span_str(carried[i] + sizeof(PREFIX) - 1), value);
}

/* The middle of "<epoch>-<stream>-<offset>": what keeps one stream, or connection, in order on one
 * partition. */
static struct tl_span key_of(struct tl_span uid)
{
	const char *from = uid.data + 17, *to = memchr(from, '-', uid.len - 17);

	return (struct tl_span){from, (size_t)(to - from)};
}

static int learn(struct tl_entry_codec *codec, struct tl_span data)
{
	int r = tl_resources_learn(codec->resources, data);

	return r < 0 ? r : 0;
}

int tl_entry_message(struct tl_entry_codec *codec, uint64_t log_id, const struct tl_log_item *item,
		     struct tl_message *ret_message)
{
	struct tl_message *m = ret_message;
	struct tl_span uid = {codec->uid, 0};
	struct tl_uid id;
	int r;

	if (item->type == TL_ENTRY_RESOURCE)
		return learn(codec, item->data);
	if (item->context || (item->type != TL_ENTRY_RECORD && item->type != TL_ENTRY_HTTP))
		return 0;
	tl_buf_clear(&codec->json);
	r = tl_entry_to_json(item->data, codec->resources, &codec->json);
	r = r < 0 ? r : tl_entry_peek(item->data, &id, &codec->record);
	if (r < 0)
		return r;
	uid.len = tl_uid_format(&id, codec->uid);
	m->topic = item->type == TL_ENTRY_HTTP ? TL_TOPIC_HTTP : TL_TOPIC_RAW;
	m->partition = -1;
	m->offset = (int64_t)item->position;
	m->key = key_of(uid);
	m->value = tl_buf_span(&codec->json);
	m->n_headers = 0;
	m->timestamp_ns = codec->record.observed_ns;
	m->log_id = log_id;
	m->log_position = item->position;
	add_header(m, TL_SPAN_LIT("tapline-uid"), uid);
	add_header(m, TL_SPAN_LIT("tapline-position"),
		   (struct tl_span){codec->position,
				    tl_position_format(log_id, item->position, codec->position)});
	add_ids(m, item->data);
	return 1;
}
