/* SPDX-License-Identifier: Apache-2.0 */
/* How many requests are under way adapts (AIMD): one more after each round of good answers, half
 * after a bad one; of several that fail together only the first is a new failure. A wait is 100 ms
 * doubled with each failure in a row up to 30 s, of which a random half to whole, or as long as the
 * server asks, up to 5 minutes. What comes back goes to the front, so that order is kept as far as
 * it can be.
 *
 * Bodies are made one after the other, so the text before packing and the packer are there once; a
 * slot owns only what it sends.
 *
 * A stop lets requests that are under way end (their answers decide items), for 5 s, but starts
 * nothing and waits for nothing. What was sent and not answered is sent again by the next run. */
#include "userspace/sink/flight.h"

#include <stdio.h>

#include "userspace/base/clock.h"
#include "userspace/base/metrics.h"
#include "userspace/base/msg.h"
#include "userspace/sink/backoff.h"

#define CHUNK_ITEMS 5000u
#define BACKOFF_MAX_NS (30 * TL_SEC)
#define RETRY_AFTER_MAX_NS (300 * TL_SEC)
#define STOP_GRACE_NS (5 * TL_SEC)
#define WAIT_MS 100u

#define REQUESTS(result_)                                                                          \
	{                                                                                          \
		.name = "tapline_sink_requests_total", .type = TL_COUNTER,                         \
		.labels = "result=\"" result_ "\"",                                                \
		.help = "Requests to the target by how they ended."                                \
	}
static struct tl_metric requests_ok = REQUESTS("ok"), requests_failed = REQUESTS("failed");
static struct tl_metric request_ns = {.name = "tapline_sink_request_seconds_total",
				      .type = TL_COUNTER,
				      .unit = 1000000000,
				      .help = "Time from sending a request to its answer, summed."};
static struct tl_metric in_flight_limit = {.name = "tapline_sink_in_flight_limit",
					   .type = TL_GAUGE,
					   .help = "Requests that may be under way at once now."};

int tl_flight_open(struct tl_flight *flight, const struct tl_flight_options *options,
		   struct tl_error *error)
{
	struct tl_http_settings http = *options->http;
	int r;

	flight->options = *options;
	flight->options.http = NULL;
	flight->limit = 1;
	http.connections = options->most;
	r = tl_http_new(&http, &flight->http, error);
	if (r == 0 && options->gzip_level &&
	    (r = tl_gzip_new(options->gzip_level, &flight->gzip)) < 0)
		return tl_error_set(error, r, "out of memory");
	tl_metric_register(&requests_ok);
	tl_metric_register(&requests_failed);
	tl_metric_register(&request_ns);
	tl_metric_register(&in_flight_limit);
	return r;
}

void tl_flight_done(struct tl_flight *flight)
{
	if (flight->http)
		tl_http_free(flight->http);
	for (size_t i = 0; i < TL_FLIGHT_MAX; i++) {
		tl_buf_done(&flight->slots[i].body);
		tl_http_request_done(&flight->slots[i].request);
	}
	if (flight->gzip)
		tl_gzip_free(flight->gzip);
	tl_buf_done(&flight->plain);
	tl_buf_done(&flight->packed);
}

static void no_memory(struct tl_flight *flight)
{
	if (!flight->fatal.code)
		tl_error_set(&flight->fatal, -ENOMEM, "out of memory");
}

struct tl_chunk *tl_flight_chunk(struct tl_flight *flight, uint32_t n)
{
	struct tl_chunk *chunk = calloc(1, sizeof(*chunk) + n * sizeof(chunk->items[0]));

	if (chunk)
		chunk->n = n;
	else
		no_memory(flight);
	return chunk;
}

static void push(struct tl_flight *flight, struct tl_chunk *chunk)
{
	chunk->next = flight->waiting;
	flight->waiting = chunk;
}

static void append(struct tl_flight *flight, struct tl_chunk *chunk)
{
	struct tl_chunk **at = &flight->waiting;

	while (*at)
		at = &(*at)->next;
	chunk->next = NULL;
	*at = chunk;
}

void tl_flight_bury(struct tl_flight *flight, uint32_t item, const char *type, const char *reason)
{
	struct tl_dead_letter *dead = &flight->result->dead[flight->result->n_dead++];

	dead->message = item;
	dead->type = type;
	snprintf(dead->reason, sizeof(dead->reason), "%.255s", reason);
}

static void told_to_wait(const char *why)
{
	static struct tl_msg_gate gate;

	tl_msg_limited(&gate, 30000, TL_WARNING, "the target takes nothing now (%s); trying on",
		       why);
}

static void fewer(struct tl_flight *flight)
{
	flight->limit = flight->limit > 1 ? flight->limit / 2 : 1;
	flight->good = 0;
}

static void went_well(struct tl_flight *flight)
{
	flight->failures = 0;
	if (++flight->good < flight->limit)
		return;
	flight->good = 0;
	if (flight->limit < flight->options.most)
		flight->limit++;
}

void tl_flight_later(struct tl_flight *flight, struct tl_chunk *chunk, const char *why)
{
	told_to_wait(why);
	fewer(flight);
	flight->result->retries += chunk->n;
	chunk->not_before_ns = tl_mono_ns() + tl_backoff_ns(chunk->attempts++, BACKOFF_MAX_NS);
	push(flight, chunk);
}

void tl_flight_pause(struct tl_flight *flight, struct tl_http_request *request,
		     struct tl_chunk *chunk, const char *why)
{
	const struct tl_flight_slot *slot = request->tag;
	uint64_t asked = request->retry_after_ns, ns, until;

	told_to_wait(why);
	flight->result->retries += chunk->n;
	push(flight, chunk);
	if (slot->started_ns < flight->not_before_ns && flight->failures)
		return;
	ns = tl_backoff_ns(flight->failures++, BACKOFF_MAX_NS);
	if (asked > RETRY_AFTER_MAX_NS)
		asked = RETRY_AFTER_MAX_NS;
	until = tl_mono_ns() + (asked > ns ? asked : ns);
	if (until > flight->not_before_ns)
		flight->not_before_ns = until;
	fewer(flight);
}

int tl_flight_rest(struct tl_flight *flight, struct tl_chunk *chunk, uint32_t from)
{
	struct tl_chunk *rest = tl_flight_chunk(flight, chunk->n - from);

	if (!rest)
		return -ENOMEM;
	memcpy(rest->items, chunk->items + from, rest->n * sizeof(rest->items[0]));
	chunk->n = from;
	push(flight, rest);
	return 0;
}

void tl_flight_split(struct tl_flight *flight, struct tl_chunk *chunk, const char *type,
		     const char *reason)
{
	if (chunk->n == 1) {
		tl_flight_bury(flight, chunk->items[0], type, reason);
		free(chunk);
		return;
	}
	if (tl_flight_rest(flight, chunk, chunk->n / 2) < 0) {
		free(chunk);
		return;
	}
	push(flight, chunk);
}

static void cut(struct tl_flight *flight, size_t n)
{
	uint32_t room = n < CHUNK_ITEMS ? (uint32_t)n : CHUNK_ITEMS;
	struct tl_chunk *chunk = NULL;
	size_t bytes = 0;

	for (uint32_t i = 0; i < n && !flight->fatal.code; i++) {
		size_t len = flight->messages[i].value.len;

		if (!flight->options.ops->takes(flight->options.arg, i))
			continue;
		if (chunk && (chunk->n == room || bytes + len > flight->options.chunk_bytes))
			append(flight, TAKE_PTR(chunk));
		if (!chunk) {
			chunk = tl_flight_chunk(flight, room);
			if (!chunk)
				return;
			chunk->n = 0;
			bytes = 0;
		}
		chunk->items[chunk->n++] = i;
		bytes += len;
	}
	if (chunk)
		append(flight, chunk);
}

static int build(struct tl_flight *flight, struct tl_chunk *chunk, struct tl_buf *body,
		 const char **why)
{
	struct tl_buf *text = flight->gzip ? &flight->plain : body;
	int r;

	tl_buf_clear(text);
	r = flight->options.ops->build(flight->options.arg, chunk, text, why);
	if (r < 0 || chunk->n == 0 || !flight->gzip)
		return r;
	r = tl_gzip_pack(flight->gzip, tl_buf_span(text), &flight->packed);
	tl_buf_clear(body);
	return r < 0 ? r : tl_buf_add(body, flight->packed.data, flight->packed.len);
}

/* Takes the chunk over. */
static void start(struct tl_flight *flight, struct tl_flight_slot *slot, struct tl_chunk *chunk)
{
	const char *why = NULL;
	int r = build(flight, chunk, &slot->body, &why);

	if (r == -EAGAIN) {
		tl_flight_later(flight, chunk, why);
		return;
	}
	if (r == 0 && chunk->n == 0) {
		free(chunk);
		return;
	}
	slot->request.method = "POST";
	slot->request.path = flight->options.path;
	slot->request.content_type = flight->options.content_type;
	slot->request.body = tl_buf_span(&slot->body);
	slot->request.gzip = flight->gzip != NULL;
	slot->request.tag = slot;
	slot->started_ns = tl_mono_ns();
	if (r < 0 || tl_http_start(flight->http, &slot->request) < 0) {
		no_memory(flight);
		free(chunk);
		return;
	}
	slot->chunk = chunk;
	flight->busy++;
}

/* Takes the first chunk whose time has come. `*next_ns` is when the next one's comes. */
static struct tl_chunk *take_ready(struct tl_flight *flight, uint64_t now, uint64_t *next_ns)
{
	for (struct tl_chunk **at = &flight->waiting, *chunk; (chunk = *at); at = &chunk->next) {
		if (chunk->not_before_ns <= now) {
			*at = chunk->next;
			return chunk;
		}
		if (chunk->not_before_ns < *next_ns)
			*next_ns = chunk->not_before_ns;
	}
	return NULL;
}

static struct tl_flight_slot *idle_slot(struct tl_flight *flight)
{
	for (unsigned i = 0; i < flight->options.most; i++)
		if (!flight->slots[i].chunk)
			return &flight->slots[i];
	return NULL;
}

/* Fills idle slots. Returns for how many ms nothing else is to be done. */
static unsigned start_ready(struct tl_flight *flight)
{
	uint64_t now = tl_mono_ns(), next = now + WAIT_MS * TL_MS;

	if (now < flight->not_before_ns && flight->not_before_ns < next)
		next = flight->not_before_ns;
	while (now >= flight->not_before_ns && flight->busy < flight->limit &&
	       !flight->fatal.code) {
		struct tl_flight_slot *slot = idle_slot(flight);
		struct tl_chunk *chunk = slot ? take_ready(flight, now, &next) : NULL;

		if (!chunk)
			break;
		start(flight, slot, chunk);
	}
	return (unsigned)((next - now) / TL_MS) + 1;
}

static void on_answer(struct tl_flight *flight, struct tl_http_request *request)
{
	struct tl_flight_slot *slot = request->tag;
	struct tl_chunk *chunk = TAKE_PTR(slot->chunk);
	bool good;

	flight->busy--;
	tl_metric_add(&request_ns, tl_mono_ns() - slot->started_ns);
	good = flight->options.ops->answered(flight->options.arg, request, chunk);
	if (good)
		went_well(flight);
	tl_metric_add(good ? &requests_ok : &requests_failed, 1);
	tl_metric_set(&in_flight_limit, flight->limit);
}

static void abandon(struct tl_flight *flight)
{
	for (size_t i = 0; i < TL_FLIGHT_MAX; i++) {
		if (!flight->slots[i].chunk)
			continue;
		tl_http_cancel(flight->http, &flight->slots[i].request);
		free(TAKE_PTR(flight->slots[i].chunk));
	}
	while (flight->waiting) {
		struct tl_chunk *next = flight->waiting->next;

		free(flight->waiting);
		flight->waiting = next;
	}
	flight->busy = 0;
}

/* A wait without anything under way is one of the back-off. */
static void await(struct tl_flight *flight, unsigned ms)
{
	struct tl_http_request *done = NULL;

	if (flight->busy)
		done = tl_http_wait(flight->http, ms);
	else if (flight->waiting)
		usleep(ms * 1000);
	if (done)
		on_answer(flight, done);
}

static bool is_left(const struct tl_flight *flight)
{
	return (flight->waiting || flight->busy) && !flight->fatal.code;
}

int tl_flight_send(struct tl_flight *flight, const struct tl_message *messages, size_t n,
		   struct tl_sink_result *result, const volatile int *stop, struct tl_error *error)
{
	uint64_t stopped_ns = 0;

	flight->messages = messages;
	flight->result = result;
	flight->fatal.code = 0;
	cut(flight, n);
	while (is_left(flight)) {
		unsigned ms = WAIT_MS;

		if (stop && *stop && !stopped_ns)
			stopped_ns = tl_mono_ns();
		if (!stopped_ns)
			ms = start_ready(flight);
		else if (!flight->busy || tl_mono_ns() - stopped_ns > STOP_GRACE_NS)
			break;
		await(flight, ms);
	}
	if (!flight->waiting && !flight->busy && !flight->fatal.code)
		return 0;
	abandon(flight);
	if (!flight->fatal.code)
		return tl_error_set(error, -EINTR,
				    "stopped while the target was away; nothing is lost");
	if (error)
		*error = flight->fatal;
	return flight->fatal.code;
}
