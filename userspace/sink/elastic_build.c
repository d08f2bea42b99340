/* SPDX-License-Identifier: Apache-2.0 */
/* A chunk becomes the body of a _bulk request. */
#include <stdlib.h>

#include "userspace/base/clock.h"
#include "userspace/sink/elastic.h"

/* The document in the shape that is asked for. */
static struct tl_span shaped(struct tl_elastic *elastic, const struct tl_message *message)
{
	struct tl_elastic_mapper mapper = elastic->mapper;
	struct tl_span document = message->value;
	bool done;

	if (message->topic == TL_TOPIC_HTTP)
		mapper.data_stream = NULL;
	tl_buf_clear(&elastic->sifted);
	if (tl_elastic_maps(&mapper))
		done = tl_elastic_map(&mapper, document, &elastic->sifted) == 0;
	else
		done = elastic->opensearch && document.len > TL_BULK_TERM_MAX &&
		       tl_bulk_sift(document, &elastic->sifted) == 1;
	return done ? tl_buf_span(&elastic->sifted) : document;
}

static struct tl_span document_of(struct tl_elastic *elastic, const struct tl_message *message)
{
	struct tl_span document = shaped(elastic, message);

	if (!elastic->opensearch || elastic->mapper.mapping != TL_MAPPING_FLAT)
		return document;
	tl_buf_clear(&elastic->copied);
	return tl_elastic_copies(document, &elastic->copied) == 0 ? tl_buf_span(&elastic->copied)
								  : document;
}

static int add_item(struct tl_elastic *elastic, const struct tl_message *message,
		    struct tl_buf *body)
{
	const struct tl_elastic_settings *s = elastic->settings;
	bool http = message->topic == TL_TOPIC_HTTP;
	char dated[TL_BULK_INDEX_MAX];
	struct tl_bulk_key key;
	int r = tl_bulk_key(message->value, &key);

	if (r < 0)
		return r;
	if (http || !s->data_stream)
		tl_bulk_index(http ? s->http_prefix : s->index_prefix, key.observed, dated);
	return tl_bulk_add(body, http || !s->data_stream ? dated : s->data_stream, &key,
			   document_of(elastic, message));
}

struct doubts {
	struct tl_span *ids; /* owned; of the doubtful items */
	uint32_t *items;     /* owned: their index in the batch */
	bool *found;	     /* owned */
	size_t n;
};

static void doubts_done(struct doubts *doubts)
{
	free(doubts->ids);
	free(doubts->items);
	free(doubts->found);
}

static int doubts_new(struct doubts *doubts, size_t n)
{
	doubts->ids = calloc(n, sizeof(*doubts->ids));
	doubts->items = calloc(n, sizeof(*doubts->items));
	doubts->found = calloc(n, sizeof(*doubts->found));
	return doubts->ids && doubts->items && doubts->found ? 0 : -ENOMEM;
}

/* Those of the items that may be in an older backing index. */
static void collect(const struct tl_elastic *elastic, const uint32_t *items, size_t n,
		    struct doubts *doubts)
{
	for (size_t i = 0; i < n; i++) {
		const struct tl_message *message = &elastic->flight.messages[items[i]];
		struct tl_bulk_key key;
		uint64_t observed = 0;

		if (message->topic == TL_TOPIC_HTTP || tl_bulk_key(message->value, &key) < 0)
			continue;
		(void)tl_time_parse(key.observed.data, key.observed.len, &observed);
		if (!tl_elastic_stream_doubtful(&elastic->stream, observed))
			continue;
		doubts->ids[doubts->n] = key.uid;
		doubts->items[doubts->n++] = items[i];
	}
}

static bool is_found(const struct doubts *doubts, uint32_t item)
{
	for (size_t i = 0; i < doubts->n; i++)
		if (doubts->items[i] == item)
			return doubts->found[i];
	return false;
}

/* Leaves out of the chunk what an older backing index has. */
static int leave_out(struct tl_elastic *elastic, struct tl_chunk *chunk)
{
	_cleanup_(doubts_done) struct doubts doubts = {0};
	uint32_t kept = 0;
	int r = tl_elastic_stream_learn(&elastic->stream, chunk->attempts > 0);

	if (r < 0 || !elastic->stream.older[0])
		return r;
	r = doubts_new(&doubts, chunk->n);
	if (r < 0)
		return r;
	collect(elastic, chunk->items, chunk->n, &doubts);
	r = tl_elastic_stream_find(&elastic->stream, doubts.ids, doubts.n, doubts.found);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < chunk->n; i++)
		if (is_found(&doubts, chunk->items[i]))
			elastic->flight.result->duplicates++;
		else
			chunk->items[kept++] = chunk->items[i];
	chunk->n = kept;
	return 0;
}

int tl_elastic_build(struct tl_elastic *elastic, struct tl_chunk *chunk, struct tl_buf *body,
		     const char **why)
{
	int r = elastic->stream.name ? leave_out(elastic, chunk) : 0;

	for (uint32_t i = 0; r == 0 && i < chunk->n; i++)
		r = add_item(elastic, &elastic->flight.messages[chunk->items[i]], body);
	if (r != -ECONNREFUSED && r != -EPROTO)
		return r;
	*why = elastic->stream.why;
	return -EAGAIN;
}

int tl_elastic_undo(struct tl_elastic *elastic, struct tl_chunk *chunk, struct tl_span where)
{
	_cleanup_(doubts_done) struct doubts doubts = {0};
	uint32_t left = 0;
	int r = tl_elastic_stream_learn(&elastic->stream, true);

	if (r == 0)
		r = doubts_new(&doubts, chunk->n);
	if (r < 0)
		return r;
	collect(elastic, chunk->items, chunk->n, &doubts);
	r = tl_elastic_stream_find(&elastic->stream, doubts.ids, doubts.n, doubts.found);
	if (r < 0)
		return r;
	for (size_t i = 0; i < doubts.n; i++) {
		if (!doubts.found[i])
			continue;
		if (r == 0)
			r = tl_elastic_stream_remove(&elastic->stream, where, doubts.ids[i]);
		if (r < 0) {
			chunk->items[left++] = doubts.items[i];
			continue;
		}
		elastic->flight.result->written--;
		elastic->flight.result->duplicates++;
	}
	chunk->n = left;
	return r;
}
