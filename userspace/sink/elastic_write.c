/* SPDX-License-Identifier: Apache-2.0 */
/* What an answer to a _bulk request means. Of items some may come back (the server is busy, or
 * fails over one: six tries) and travel on in a chunk of their own; a request that is too large, or
 * that one item spoils, is halved until the item is named. Items that were sent and not answered
 * are sent again by the next run and found to be there (409). */
#include <stdio.h>

#include "userspace/sink/elastic.h"

#define FAILED_TRIES 6u /* of an item that makes the server fail */

/* Messages that are no records are dead at once. */
static bool takes(void *arg, uint32_t item)
{
	struct tl_elastic *elastic = arg;
	const struct tl_message *message = &elastic->flight.messages[item];
	struct tl_bulk_key key;

	if (message->topic == TL_TOPIC_HTTP && !elastic->settings->http_prefix[0])
		return false;
	if (tl_bulk_key(message->value, &key) == 0)
		return true;
	tl_flight_bury(&elastic->flight, item, "malformed_record",
		       "no JSON object with uid and observed_timestamp");
	return false;
}

static int build(void *arg, struct tl_chunk *chunk, struct tl_buf *body, const char **why)
{
	return tl_elastic_build(arg, chunk, body, why);
}

struct verdicts {
	struct tl_elastic *elastic;
	struct tl_chunk *chunk;	 /* the items that were sent */
	struct tl_chunk *retry;	 /* those to be sent again; has room for all */
	struct tl_chunk *astray; /* written to another backing index; has room for all */
	struct tl_span where;	 /* that index */
	const char *why;
};

static void landed(struct verdicts *v, const struct tl_bulk_item *item, uint32_t index)
{
	const struct tl_elastic_stream *stream = &v->elastic->stream;

	v->elastic->flight.result->written++;
	if (!stream->name || v->elastic->flight.messages[index].topic == TL_TOPIC_HTTP ||
	    !item->where.len || !stream->write_index[0] ||
	    tl_span_is(item->where, stream->write_index))
		return;
	v->where = item->where;
	v->astray->items[v->astray->n++] = index;
}

/* A right that is missing does not come by itself. */
static void denied(struct tl_elastic *elastic, const struct tl_bulk_item *item)
{
	const struct tl_elastic_settings *s = elastic->settings;
	char reason[256];

	tl_bulk_text(item->reason, reason, sizeof(reason));
	tl_error_set(
		&elastic->flight.fatal, -EACCES,
		"%s denies the right to write (%s); the user needs create_index and create_doc "
		"on %s* and %s*",
		s->url, reason, s->data_stream ? s->data_stream : s->index_prefix, s->http_prefix);
}

static void on_item(void *arg, const struct tl_bulk_item *item)
{
	struct verdicts *v = arg;
	uint32_t index = v->chunk->items[item->index];
	char reason[256];

	switch (item->verdict) {
	case TL_BULK_WRITTEN:
		landed(v, item, index);
		return;
	case TL_BULK_DUPLICATE:
		v->elastic->flight.result->duplicates++;
		return;
	case TL_BULK_FAILED:
		if (v->chunk->attempts >= FAILED_TRIES)
			break;
		/* fall through */
	case TL_BULK_RETRY:
		if (strcmp(item->type, "security_exception") == 0)
			denied(v->elastic, item);
		v->why = item->type;
		v->retry->items[v->retry->n++] = index;
		return;
	case TL_BULK_DEAD:
		break;
	}
	tl_bulk_text(item->reason, reason, sizeof(reason));
	tl_flight_bury(&v->elastic->flight, index, item->type, reason);
}

/* Not undone means perhaps twice: those are looked at again before anything is committed. */
static void undo(struct verdicts *v)
{
	struct tl_chunk *astray = v->astray;

	if (tl_elastic_undo(v->elastic, astray, v->where) == 0)
		return;
	v->elastic->flight.result->written -= astray->n;
	memcpy(v->retry->items + v->retry->n, astray->items, astray->n * sizeof(astray->items[0]));
	v->retry->n += astray->n;
	v->why = "the data stream rolled over and its older indices cannot be asked";
}

/* Takes the chunk over. */
static bool on_items(struct tl_elastic *elastic, struct tl_chunk *chunk, struct tl_span answer)
{
	_cleanup_(freep) struct tl_chunk *sent = chunk;
	_cleanup_(freep) struct tl_chunk *retry = tl_flight_chunk(&elastic->flight, chunk->n);
	_cleanup_(freep) struct tl_chunk *astray = tl_flight_chunk(&elastic->flight, chunk->n);
	struct verdicts v = {.elastic = elastic, .chunk = chunk, .retry = retry, .astray = astray};

	if (!retry || !astray)
		return false;
	retry->n = astray->n = 0;
	retry->attempts = chunk->attempts;
	if (tl_bulk_answer(answer, chunk->n, on_item, &v) < 0) {
		/* Some proxy's page, or cut short: the ids make a second try harmless. */
		tl_flight_later(
			&elastic->flight, TAKE_PTR(sent),
			"it answers _bulk with something else than verdicts; is --url right?");
		return false;
	}
	if (astray->n)
		undo(&v);
	if (retry->n == 0)
		return true;
	tl_flight_later(&elastic->flight, TAKE_PTR(retry), v.why);
	return false;
}

static void on_whole_failure(struct tl_elastic *elastic, struct tl_chunk *chunk,
			     struct tl_http_request *request)
{
	char reason[256], text[300];

	tl_bulk_reason(tl_buf_span(&request->answer), reason, sizeof(reason));
	switch (tl_bulk_whole(request->status)) {
	case TL_BULK_SPLIT:
		if (request->status == 413)
			tl_flight_split(&elastic->flight, chunk, "too_large",
					"larger than the server's http.max_content_length");
		else
			tl_flight_split(&elastic->flight, chunk, "bad_request", reason);
		return;
	case TL_BULK_AGAIN:
		snprintf(text, sizeof(text), "status %d %s", request->status, reason);
		tl_flight_pause(&elastic->flight, request, chunk,
				request->status ? text : request->why);
		return;
	default:
		tl_elastic_fail(elastic, request, "the target refuses records",
				&elastic->flight.fatal);
		free(chunk);
	}
}

static bool answered(void *arg, struct tl_http_request *request, struct tl_chunk *chunk)
{
	struct tl_elastic *elastic = arg;

	if (tl_bulk_whole(request->status) == TL_BULK_ITEMS)
		return on_items(elastic, chunk, tl_buf_span(&request->answer));
	on_whole_failure(elastic, chunk, request);
	return false;
}

const struct tl_flight_ops tl_elastic_flight = {takes, build, answered};

int tl_elastic_write(struct tl_sink *sink, const struct tl_message *messages, size_t n,
		     struct tl_sink_result *result, const volatile int *stop,
		     struct tl_error *error)
{
	struct tl_elastic *elastic = (struct tl_elastic *)sink;

	return tl_flight_send(&elastic->flight, messages, n, result, stop, error);
}
