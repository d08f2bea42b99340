/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a batch: it is cut into chunks, up to `in-flight` requests are under way, and each answer
 * decides items or puts them back. What comes back waits: 100 ms doubled with each attempt up to 30
 * s, of which a random half to whole, or as long as the server asks. A chunk whose request is too
 * large, or that one item spoils, comes back as two halves, so that in the end the one item is
 * named.
 *
 * A stop lets requests that are under way end (their answers decide items), but starts nothing and
 * waits for nothing. Items that were sent and not answered are sent again by the next run and found
 * to be there (409). */
#include <inttypes.h>
#include <stdio.h>

#include "userspace/base/clock.h"
#include "userspace/base/fs.h"
#include "userspace/base/metrics.h"
#include "userspace/base/msg.h"
#include "userspace/sink/backoff.h"
#include "userspace/sink/elastic.h"

#define CHUNK_ITEMS 5000u
#define BACKOFF_MAX_NS (30 * TL_SEC)
#define FAILED_TRIES 6u /* of an item that makes the server fail */
#define STOP_GRACE_NS (5 * TL_SEC)
#define WAIT_MS 100u

static struct tl_metric requests_ok = {.name = "tapline_sink_requests_total",
				       .type = TL_COUNTER,
				       .labels = "result=\"ok\"",
				       .help = "Requests to the target by how they ended."};
static struct tl_metric requests_failed = {.name = "tapline_sink_requests_total",
					   .type = TL_COUNTER,
					   .labels = "result=\"failed\"",
					   .help = "Requests to the target by how they ended."};
static struct tl_metric request_ns = {.name = "tapline_sink_request_seconds_total",
				      .type = TL_COUNTER,
				      .unit = 1000000000,
				      .help = "Time from sending a request to its answer, summed."};

static void register_metrics(void)
{
	static bool done;

	if (done)
		return;
	done = true;
	tl_metric_register(&requests_ok);
	tl_metric_register(&requests_failed);
	tl_metric_register(&request_ns);
}

static struct tl_elastic_chunk *chunk_new(uint32_t n)
{
	struct tl_elastic_chunk *chunk = calloc(1, sizeof(*chunk) + n * sizeof(chunk->items[0]));

	if (chunk)
		chunk->n = n;
	return chunk;
}

static void queue(struct tl_elastic *elastic, struct tl_elastic_chunk *chunk)
{
	struct tl_elastic_chunk **at = &elastic->waiting;

	while (*at)
		at = &(*at)->next;
	chunk->next = NULL;
	*at = chunk;
}

static void no_memory(struct tl_elastic *elastic)
{
	tl_error_set(&elastic->fatal, -ENOMEM, "out of memory");
}

static void bury(struct tl_elastic *elastic, uint32_t item, const char *type, const char *reason)
{
	struct tl_dead_letter *dead = &elastic->result->dead[elastic->result->n_dead++];

	dead->message = item;
	dead->type = type;
	snprintf(dead->reason, sizeof(dead->reason), "%s", reason);
}

static uint64_t backoff(unsigned attempts, uint64_t asked_ns)
{
	uint64_t ns = tl_backoff_ns(attempts, BACKOFF_MAX_NS);

	return asked_ns > ns && asked_ns <= 10 * BACKOFF_MAX_NS ? asked_ns : ns;
}

static void again(struct tl_elastic *elastic, struct tl_elastic_chunk *chunk, uint64_t asked_ns)
{
	elastic->result->retries += chunk->n;
	chunk->not_before_ns = tl_mono_ns() + backoff(chunk->attempts++, asked_ns);
	queue(elastic, chunk);
}

/* Takes the chunk over. A single item is named and buried. */
static void split(struct tl_elastic *elastic, struct tl_elastic_chunk *chunk, const char *type,
		  const char *reason)
{
	uint32_t half = chunk->n / 2;
	struct tl_elastic_chunk *first, *second;

	if (chunk->n == 1) {
		bury(elastic, chunk->items[0], type, reason);
		free(chunk);
		return;
	}
	first = chunk_new(half);
	second = chunk_new(chunk->n - half);
	if (!first || !second) {
		no_memory(elastic);
		free(first);
		free(second);
		free(chunk);
		return;
	}
	memcpy(first->items, chunk->items, half * sizeof(chunk->items[0]));
	memcpy(second->items, chunk->items + half, (chunk->n - half) * sizeof(chunk->items[0]));
	queue(elastic, first);
	queue(elastic, second);
	free(chunk);
}

/* Cuts the batch; messages that are no records are dead at once. */
static void cut(struct tl_elastic *elastic, size_t n)
{
	uint32_t room = n < CHUNK_ITEMS ? (uint32_t)n : CHUNK_ITEMS;
	struct tl_elastic_chunk *chunk = NULL;
	size_t bytes = 0;

	for (size_t i = 0; i < n && !elastic->fatal.code; i++) {
		size_t len = elastic->messages[i].value.len;
		struct tl_bulk_key key;

		if (elastic->messages[i].topic == TL_TOPIC_HTTP &&
		    !elastic->settings->http_prefix[0])
			continue;
		if (tl_bulk_key(elastic->messages[i].value, &key) < 0) {
			bury(elastic, (uint32_t)i, "malformed_record",
			     "no JSON object with uid and observed_timestamp");
			continue;
		}
		if (chunk && (chunk->n == room || bytes + len > elastic->settings->request_bytes))
			queue(elastic, TAKE_PTR(chunk));
		if (!chunk) {
			chunk = chunk_new(room);
			if (!chunk) {
				no_memory(elastic);
				return;
			}
			chunk->n = 0;
			bytes = 0;
		}
		chunk->items[chunk->n++] = (uint32_t)i;
		bytes += len;
	}
	if (chunk)
		queue(elastic, chunk);
}

static void told_to_wait(const char *why)
{
	static struct tl_msg_gate gate;

	tl_msg_limited(&gate, 30000, TL_WARNING, "the target takes nothing now (%s); trying on",
		       why);
}

static void send_chunk(struct tl_elastic *elastic, struct tl_elastic_slot *slot,
		       struct tl_elastic_chunk *chunk)
{
	int r;

	slot->chunk = chunk;
	r = tl_elastic_build(elastic, slot);
	if (r == -ECONNREFUSED || r == -EPROTO) {
		told_to_wait(elastic->stream.why);
		again(elastic, TAKE_PTR(slot->chunk), 0);
		return;
	}
	if (r < 0)
		no_memory(elastic);
	if (r < 0 || chunk->n == 0) {
		free(TAKE_PTR(slot->chunk));
		return;
	}
	slot->request.method = "POST";
	slot->request.path = elastic->stream.name
				     ? "/_bulk?filter_path=errors,error,items.*.status,"
				       "items.*.error.type,items.*.error.reason,items.*._index"
				     : "/_bulk?filter_path=errors,error,items.*.status,"
				       "items.*.error.type,items.*.error.reason";
	slot->request.content_type = "application/x-ndjson";
	slot->request.body = tl_buf_span(slot->gzip ? &slot->packed : &slot->body);
	slot->request.gzip = slot->gzip != NULL;
	slot->request.tag = slot;
	slot->started_ns = tl_mono_ns();
	if (tl_http_start(elastic->http, &slot->request) < 0) {
		no_memory(elastic);
		free(TAKE_PTR(slot->chunk));
		return;
	}
	elastic->busy++;
}

/* Takes the first chunk whose time has come. `*ret_ns` is when the next one's comes. */
static struct tl_elastic_chunk *take_ready(struct tl_elastic *elastic, uint64_t now,
					   uint64_t *ret_ns)
{
	for (struct tl_elastic_chunk **at = &elastic->waiting, *chunk; (chunk = *at);
	     at = &chunk->next) {
		if (chunk->not_before_ns <= now) {
			*at = chunk->next;
			return chunk;
		}
		if (chunk->not_before_ns < *ret_ns)
			*ret_ns = chunk->not_before_ns;
	}
	return NULL;
}

struct verdicts {
	struct tl_elastic *elastic;
	struct tl_elastic_chunk *chunk;	 /* the items that were sent */
	struct tl_elastic_chunk *retry;	 /* those to be sent again; has room for all */
	struct tl_elastic_chunk *astray; /* written to another backing index; has room for all */
	struct tl_span where;		 /* that index */
	const char *why;
};

static void landed(struct verdicts *v, const struct tl_bulk_item *item, uint32_t index)
{
	const struct tl_elastic_stream *stream = &v->elastic->stream;

	v->elastic->result->written++;
	if (!stream->name || v->elastic->messages[index].topic == TL_TOPIC_HTTP ||
	    !item->where.len || !stream->write_index[0] ||
	    tl_span_is(item->where, stream->write_index))
		return;
	v->where = item->where;
	v->astray->items[v->astray->n++] = index;
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
		v->elastic->result->duplicates++;
		return;
	case TL_BULK_FAILED:
		if (v->chunk->attempts >= FAILED_TRIES)
			break;
		/* fall through */
	case TL_BULK_RETRY:
		v->why = item->type;
		v->retry->items[v->retry->n++] = index;
		return;
	case TL_BULK_DEAD:
		break;
	}
	tl_bulk_text(item->reason, reason, sizeof(reason));
	bury(v->elastic, index, item->type, reason);
}

/* Takes the chunk over. */
static void on_items(struct tl_elastic *elastic, struct tl_elastic_chunk *chunk,
		     struct tl_span answer)
{
	_cleanup_(freep) struct tl_elastic_chunk *astray = chunk_new(chunk->n);
	struct verdicts v = {
		.elastic = elastic, .chunk = chunk, .retry = chunk_new(chunk->n), .astray = astray};

	if (!v.retry || !astray) {
		no_memory(elastic);
		free(v.retry);
		free(chunk);
		return;
	}
	v.retry->n = astray->n = 0;
	v.retry->attempts = chunk->attempts;
	if (tl_bulk_answer(answer, chunk->n, on_item, &v) < 0) {
		/* Some proxy's page, or cut short: the ids make a second try harmless. */
		told_to_wait("it answers _bulk with something else than verdicts; is --url right?");
		free(v.retry);
		again(elastic, chunk, 0);
		return;
	}
	/* Not undone means perhaps twice: the chunk is looked at again before anything is
	 * committed. */
	if (astray->n && tl_elastic_undo(elastic, astray->items, astray->n, v.where) < 0) {
		elastic->result->written -= astray->n;
		memcpy(v.retry->items + v.retry->n, astray->items,
		       astray->n * sizeof(astray->items[0]));
		v.retry->n += astray->n;
		v.why = "the data stream rolled over and its older indices cannot be asked";
	}
	free(chunk);
	if (v.retry->n == 0) {
		free(v.retry);
		return;
	}
	told_to_wait(v.why);
	again(elastic, v.retry, 0);
}

static void on_whole_failure(struct tl_elastic *elastic, struct tl_elastic_chunk *chunk,
			     struct tl_http_request *request)
{
	char reason[256];

	tl_bulk_reason(tl_buf_span(&request->answer), reason, sizeof(reason));
	switch (tl_bulk_whole(request->status)) {
	case TL_BULK_SPLIT:
		if (request->status == 413)
			split(elastic, chunk, "too_large",
			      "larger than the server's http.max_content_length");
		else
			split(elastic, chunk, "bad_request", reason);
		return;
	case TL_BULK_AGAIN:
		if (!request->status)
			told_to_wait(request->why);
		else {
			char text[300];

			snprintf(text, sizeof(text), "status %d %s", request->status, reason);
			told_to_wait(text);
		}
		again(elastic, chunk, request->retry_after_ns);
		return;
	default:
		tl_elastic_fail(elastic, request, "the target refuses records", &elastic->fatal);
		free(chunk);
	}
}

/* As many requests in flight as the server takes well: one more after each window that went well,
 * half as many when it is busy. */
static void adapt(struct tl_elastic *elastic, int status)
{
	if (status == 429 || status >= 500 || status == 0) {
		elastic->window = (elastic->window + 1) / 2;
		elastic->smooth = 0;
	} else if (++elastic->smooth >= elastic->window &&
		   elastic->window < (unsigned)elastic->settings->in_flight) {
		elastic->window++;
		elastic->smooth = 0;
	}
}

static void on_done(struct tl_elastic *elastic, struct tl_http_request *request)
{
	struct tl_elastic_slot *slot = request->tag;
	struct tl_elastic_chunk *chunk = TAKE_PTR(slot->chunk);

	elastic->busy--;
	adapt(elastic, request->status);
	tl_metric_add(&request_ns, tl_mono_ns() - slot->started_ns);
	tl_metric_add(request->status == 200 ? &requests_ok : &requests_failed, 1);
	if (tl_bulk_whole(request->status) == TL_BULK_ITEMS)
		on_items(elastic, chunk, tl_buf_span(&request->answer));
	else
		on_whole_failure(elastic, chunk, request);
}

/* Fills idle slots. Returns for how many ms nothing else is to be done. */
static unsigned send_ready(struct tl_elastic *elastic)
{
	uint64_t now = tl_mono_ns(), next = now + WAIT_MS * TL_MS;

	for (int64_t i = 0; i < elastic->settings->in_flight && !elastic->fatal.code; i++) {
		struct tl_elastic_chunk *chunk;

		if (elastic->slots[i].chunk)
			continue;
		if (elastic->busy >= elastic->window)
			break;
		chunk = take_ready(elastic, now, &next);
		if (!chunk)
			break;
		send_chunk(elastic, &elastic->slots[i], chunk);
	}
	return (unsigned)((next - now) / TL_MS) + 1;
}

static void abandon(struct tl_elastic *elastic)
{
	for (size_t i = 0; i < TL_ELASTIC_IN_FLIGHT_MAX; i++) {
		if (!elastic->slots[i].chunk)
			continue;
		tl_http_cancel(elastic->http, &elastic->slots[i].request);
		free(TAKE_PTR(elastic->slots[i].chunk));
	}
	while (elastic->waiting) {
		struct tl_elastic_chunk *next = elastic->waiting->next;

		free(elastic->waiting);
		elastic->waiting = next;
	}
	elastic->busy = 0;
}

int tl_elastic_write(struct tl_sink *sink, const struct tl_message *messages, size_t n,
		     struct tl_sink_result *result, const volatile int *stop,
		     struct tl_error *error)
{
	struct tl_elastic *elastic = (struct tl_elastic *)sink;
	uint64_t stopped_ns = 0;

	register_metrics();
	elastic->messages = messages;
	elastic->result = result;
	elastic->fatal.code = 0;
	cut(elastic, n);
	while ((elastic->waiting || elastic->busy) && !elastic->fatal.code) {
		unsigned ms = WAIT_MS;
		struct tl_http_request *done;

		if (stop && *stop && !stopped_ns)
			stopped_ns = tl_mono_ns();
		if (!stopped_ns)
			ms = send_ready(elastic);
		else if (!elastic->busy || tl_mono_ns() - stopped_ns > STOP_GRACE_NS)
			break;
		done = tl_http_wait(elastic->http, ms);
		if (done)
			on_done(elastic, done);
	}
	if (!elastic->waiting && !elastic->busy && !elastic->fatal.code)
		return 0;
	abandon(elastic);
	if (!elastic->fatal.code)
		return tl_error_set(error, -EINTR,
				    "stopped while the target was away; nothing is lost");
	if (error)
		*error = elastic->fatal;
	return elastic->fatal.code;
}
