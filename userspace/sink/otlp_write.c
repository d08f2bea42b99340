/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a batch over OTLP/HTTP. It is cut into chunks, neighbours of the batch; each is one
 * request.
 *
 * What an answer means (OTLP specification 1.x, OTLP/HTTP response):
 *   2xx                  taken; partial_success counts what was refused. Never sent again.
 *   429 502 503 504, no answer at all
 *                        not now: the same chunk again, after as long as Retry-After says, else 100
 *                        ms doubled with each failure in a row up to 30 s, of which a random half
 *                        to whole. Nobody sends meanwhile, and half as many at once afterwards.
 *   413, 400, other 4xx and 5xx
 *                        never again as it is: the chunk comes back as two halves, so that in the
 *                        end the one record that spoils it is named and buried.
 *   3xx 401 403 404 405 407 415
 *                        a person must act: the program ends and says what to do.
 * A server that has never taken anything and refuses a hundred records is taken for the wrong one:
 * they are not buried, the program ends.
 *
 * How many requests are under way adapts: one more after each round of good answers, half after a
 * "not now" (AIMD). A stop lets those under way end but starts nothing and waits for nothing. */
#include <inttypes.h>
#include <stdio.h>

#include "userspace/base/clock.h"
#include "userspace/base/fs.h"
#include "userspace/base/metrics.h"
#include "userspace/base/msg.h"
#include "userspace/sink/backoff.h"
#include "userspace/sink/otlp.h"

#define CHUNK_RECORDS 5000u
#define BACKOFF_MAX_NS (30 * TL_SEC)
#define RETRY_AFTER_MAX_NS (300 * TL_SEC)
#define STRANGER_DEAD 100u
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
static struct tl_metric in_flight_limit = {.name = "tapline_sink_in_flight_limit",
					   .type = TL_GAUGE,
					   .help = "Requests that may be under way at once now."};

static void register_metrics(void)
{
	static bool done;

	if (done)
		return;
	done = true;
	tl_metric_register(&requests_ok);
	tl_metric_register(&requests_failed);
	tl_metric_register(&request_ns);
	tl_metric_register(&in_flight_limit);
}

static void no_memory(struct tl_otlp_sink *otlp)
{
	tl_error_set(&otlp->fatal, -ENOMEM, "out of memory");
}

/* First in, first out for new ones; what comes back goes to the front, so that order is kept as far
 * as it can be. */
static void queue(struct tl_otlp_sink *otlp, struct tl_otlp_chunk *chunk, bool front)
{
	struct tl_otlp_chunk **at = &otlp->waiting;

	while (!front && *at)
		at = &(*at)->next;
	chunk->next = *at;
	*at = chunk;
}

static struct tl_otlp_chunk *chunk_new(struct tl_otlp_sink *otlp, uint32_t first, uint32_t n)
{
	struct tl_otlp_chunk *chunk = malloc(sizeof(*chunk));

	if (!chunk)
		no_memory(otlp);
	else
		*chunk = (struct tl_otlp_chunk){.first = first, .n = n};
	return chunk;
}

/* A message dies once, however often its chunk is built. */
static void bury(struct tl_otlp_sink *otlp, uint32_t message, const char *type, const char *reason)
{
	struct tl_dead_letter *dead;

	if (otlp->bad[message])
		return;
	otlp->bad[message] = 1;
	dead = &otlp->result->dead[otlp->result->n_dead++];
	dead->message = message;
	dead->type = type;
	snprintf(dead->reason, sizeof(dead->reason), "%.255s", reason);
}

static void cut(struct tl_otlp_sink *otlp, size_t n)
{
	size_t first = 0;

	while (first < n && !otlp->fatal.code) {
		size_t bytes = 0, i = first;
		struct tl_otlp_chunk *chunk;

		while (i < n && i - first < CHUNK_RECORDS &&
		       (i == first ||
			bytes + otlp->messages[i].value.len <= otlp->settings->request_bytes))
			bytes += otlp->messages[i++].value.len;
		chunk = chunk_new(otlp, (uint32_t)first, (uint32_t)(i - first));
		if (chunk)
			queue(otlp, chunk, false);
		first = i;
	}
}

/* Takes the chunk over. */
static void split(struct tl_otlp_sink *otlp, struct tl_otlp_chunk *chunk, const char *type,
		  const char *reason)
{
	uint32_t half = chunk->n / 2;
	struct tl_otlp_chunk *second;

	if (chunk->n == 1) {
		bury(otlp, chunk->first, type, reason);
		free(chunk);
		return;
	}
	second = chunk_new(otlp, chunk->first + half, chunk->n - half);
	chunk->n = half;
	if (second)
		queue(otlp, second, true);
	queue(otlp, chunk, true);
}

/* Adds the chunk's records to the builder. What does not fit becomes a chunk of its own. */
static int gather(struct tl_otlp_sink *otlp, struct tl_otlp_chunk *chunk)
{
	for (uint32_t i = 0; i < chunk->n; i++) {
		uint32_t message = chunk->first + i;
		struct tl_error reason = {0};
		struct tl_otlp_chunk *rest;
		int r;

		if (otlp->bad[message])
			continue;
		tl_arena_reset(&otlp->arena);
		if (tl_record_from_json(otlp->messages[message].value, &otlp->arena, &otlp->record,
					&reason) < 0 ||
		    !otlp->record.uid.len) {
			bury(otlp, message, "malformed_record",
			     reason.code ? reason.message : "the record has no uid");
			continue;
		}
		r = tl_otlp_add(otlp->builder, &otlp->record);
		if (r != -ENOBUFS) {
			if (r < 0)
				return r;
			continue;
		}
		rest = chunk_new(otlp, message, chunk->n - i);
		if (!rest)
			return -ENOMEM;
		queue(otlp, rest, true);
		chunk->n = i;
	}
	return 0;
}

static int build(struct tl_otlp_sink *otlp, struct tl_otlp_slot *slot, struct tl_otlp_chunk *chunk)
{
	int r;

	tl_buf_clear(&slot->body);
	tl_otlp_clear(otlp->builder);
	r = gather(otlp, chunk);
	slot->records = tl_otlp_count(otlp->builder);
	r = r < 0 ? r : tl_otlp_write(otlp->builder, &slot->body);
	if (r == 0 && slot->gzip)
		r = tl_gzip_pack(slot->gzip, tl_buf_span(&slot->body), &slot->packed);
	return r;
}

/* Takes the chunk over. */
static void send_chunk(struct tl_otlp_sink *otlp, struct tl_otlp_slot *slot,
		       struct tl_otlp_chunk *chunk)
{
	int r = build(otlp, slot, chunk);

	if (r == 0 && slot->records == 0) {
		free(chunk);
		return;
	}
	slot->request.method = "POST";
	slot->request.path = otlp->path;
	slot->request.content_type =
		otlp->encoding == TL_OTLP_JSON ? "application/json" : "application/x-protobuf";
	slot->request.body = tl_buf_span(slot->gzip ? &slot->packed : &slot->body);
	slot->request.gzip = slot->gzip != NULL;
	slot->request.tag = slot;
	slot->started_ns = tl_mono_ns();
	slot->chunk = chunk;
	if (r < 0 || tl_http_start(otlp->http, &slot->request) < 0) {
		no_memory(otlp);
		free(TAKE_PTR(slot->chunk));
		return;
	}
	otlp->busy++;
}

static uint64_t backoff(unsigned failures, uint64_t asked_ns)
{
	uint64_t ns = tl_backoff_ns(failures, BACKOFF_MAX_NS);

	if (asked_ns > RETRY_AFTER_MAX_NS)
		asked_ns = RETRY_AFTER_MAX_NS;
	return asked_ns > ns ? asked_ns : ns;
}

/* Takes the chunk over. Of several requests that fail together only the first is a new failure. */
static void not_now(struct tl_otlp_sink *otlp, struct tl_otlp_chunk *chunk,
		    const struct tl_otlp_slot *slot, const char *why)
{
	static struct tl_msg_gate gate;
	uint64_t now = tl_mono_ns(), after = slot->request.retry_after_ns;

	tl_msg_limited(&gate, 30000, TL_WARNING, "the target takes nothing now (%s); trying on",
		       why);
	otlp->result->retries += slot->records;
	if (slot->started_ns >= otlp->not_before_ns || !otlp->failures) {
		uint64_t until = now + backoff(otlp->failures++, after);

		if (until > otlp->not_before_ns)
			otlp->not_before_ns = until;
		otlp->limit = otlp->limit > 1 ? otlp->limit / 2 : 1;
		otlp->good = 0;
	}
	queue(otlp, chunk, true);
}

static void went_well(struct tl_otlp_sink *otlp)
{
	otlp->accepted = true;
	otlp->failures = 0;
	if (++otlp->good < otlp->limit)
		return;
	otlp->good = 0;
	if (otlp->limit < (unsigned)otlp->settings->in_flight)
		otlp->limit++;
}

/* Which of the records were refused is not told, unless it is all of them. */
static void partly(struct tl_otlp_sink *otlp, const struct tl_otlp_chunk *chunk, size_t records,
		   const struct tl_otlp_answer *answer)
{
	static struct tl_msg_gate gate;
	uint64_t refused = answer->rejected < records ? answer->rejected : records;

	if (refused == 0 && answer->message[0])
		tl_msg_limited(&gate, 30000, TL_WARNING, "the target warns: %s", answer->message);
	if (refused && refused < records) {
		tl_msg_limited(&gate, 30000, TL_WARNING,
			       "the target refused %" PRIu64 " of %zu records, counted as "
			       "rejected: %s",
			       refused, records, answer->message);
		otlp->result->rejected += refused;
	}
	if (refused == records)
		for (uint32_t i = 0; i < chunk->n; i++)
			bury(otlp, chunk->first + i, "rejected", answer->message);
	otlp->result->written += records - refused;
}

/* Takes the chunk over. */
static void never(struct tl_otlp_sink *otlp, struct tl_otlp_chunk *chunk,
		  const struct tl_http_request *request)
{
	char reason[200], text[256];

	tl_otlp_read_status(tl_buf_span(&request->answer), reason, sizeof(reason));
	snprintf(text, sizeof(text), "status %d%s%s", request->status, reason[0] ? ": " : "",
		 reason);
	split(otlp, chunk,
	      request->status == 413  ? "too_large"
	      : request->status < 500 ? "bad_request"
				      : "server_error",
	      text);
	if (!otlp->accepted && otlp->result->n_dead >= STRANGER_DEAD)
		tl_error_set(&otlp->fatal, -EPROTO,
			     "the target has taken nothing so far and refuses every record "
			     "(%s); is --url right, and --encoding?",
			     text);
}

/* Takes the chunk over. */
static void taken(struct tl_otlp_sink *otlp, struct tl_otlp_chunk *chunk,
		  const struct tl_otlp_slot *slot)
{
	struct tl_otlp_answer answer;

	if (tl_otlp_answer_of(tl_buf_span(&slot->request.answer), &answer) < 0) {
		tl_otlp_advise(&slot->request, &otlp->fatal);
	} else {
		partly(otlp, chunk, slot->records, &answer);
		went_well(otlp);
	}
	free(chunk);
}

static void on_done(struct tl_otlp_sink *otlp, const struct tl_http_request *request)
{
	struct tl_otlp_slot *slot = request->tag;
	struct tl_otlp_chunk *chunk = TAKE_PTR(slot->chunk);
	enum tl_otlp_verdict verdict = tl_otlp_judge(request->status);
	char why[300];

	otlp->busy--;
	tl_metric_add(&request_ns, tl_mono_ns() - slot->started_ns);
	tl_metric_add(verdict == TL_OTLP_TAKEN ? &requests_ok : &requests_failed, 1);
	switch (verdict) {
	case TL_OTLP_TAKEN:
		taken(otlp, chunk, slot);
		break;
	case TL_OTLP_NOT_NOW:
		snprintf(why, sizeof(why), "status %d", request->status);
		not_now(otlp, chunk, slot, request->status ? why : request->why);
		break;
	case TL_OTLP_NEVER:
		never(otlp, chunk, request);
		break;
	case TL_OTLP_A_PERSON:
		tl_otlp_advise(request, &otlp->fatal);
		free(chunk);
		break;
	}
	tl_metric_set(&in_flight_limit, otlp->limit);
}

/* Fills idle slots. Returns for how many ms nothing else is to be done. */
static unsigned send_ready(struct tl_otlp_sink *otlp)
{
	uint64_t now = tl_mono_ns();

	if (now < otlp->not_before_ns) {
		uint64_t ms = (otlp->not_before_ns - now) / TL_MS + 1;

		return ms < WAIT_MS ? (unsigned)ms : WAIT_MS;
	}
	for (int64_t i = 0; i < otlp->settings->in_flight && !otlp->fatal.code; i++) {
		while (!otlp->slots[i].chunk && otlp->waiting && otlp->busy < otlp->limit &&
		       !otlp->fatal.code) {
			struct tl_otlp_chunk *chunk = otlp->waiting;

			otlp->waiting = chunk->next;
			send_chunk(otlp, &otlp->slots[i], chunk);
		}
	}
	return WAIT_MS;
}

static void abandon(struct tl_otlp_sink *otlp)
{
	for (size_t i = 0; i < TL_OTLP_IN_FLIGHT_MAX; i++) {
		if (!otlp->slots[i].chunk)
			continue;
		tl_http_cancel(otlp->http, &otlp->slots[i].request);
		free(TAKE_PTR(otlp->slots[i].chunk));
	}
	while (otlp->waiting) {
		struct tl_otlp_chunk *next = otlp->waiting->next;

		free(otlp->waiting);
		otlp->waiting = next;
	}
	otlp->busy = 0;
}

static int begin(struct tl_otlp_sink *otlp, size_t n)
{
	if (otlp->cap_bad < n) {
		free(TAKE_PTR(otlp->bad));
		otlp->cap_bad = 0;
		otlp->bad = malloc(n);
		if (!otlp->bad)
			return -ENOMEM;
		otlp->cap_bad = n;
	}
	if (n)
		memset(otlp->bad, 0, n);
	otlp->fatal.code = 0;
	return 0;
}

/* A wait without anything under way is a pause of the back-off. */
static struct tl_http_request *await(struct tl_otlp_sink *otlp, unsigned ms)
{
	if (!otlp->busy) {
		usleep(ms * 1000);
		return NULL;
	}
	return tl_http_wait(otlp->http, ms);
}

int tl_otlp_sink_write(struct tl_sink *sink, const struct tl_message *messages, size_t n,
		       struct tl_sink_result *result, const volatile int *stop,
		       struct tl_error *error)
{
	struct tl_otlp_sink *otlp = (struct tl_otlp_sink *)sink;
	uint64_t stopped_ns = 0;

	register_metrics();
	otlp->messages = messages;
	otlp->result = result;
	if (begin(otlp, n) < 0)
		return tl_error_set(error, -ENOMEM, "out of memory");
	cut(otlp, n);
	while ((otlp->waiting || otlp->busy) && !otlp->fatal.code) {
		unsigned ms = WAIT_MS;
		struct tl_http_request *done;

		if (stop && *stop && !stopped_ns)
			stopped_ns = tl_mono_ns();
		if (!stopped_ns)
			ms = send_ready(otlp);
		else if (!otlp->busy || tl_mono_ns() - stopped_ns > STOP_GRACE_NS)
			break;
		if (!otlp->waiting && !otlp->busy)
			break;
		done = await(otlp, ms);
		if (done)
			on_done(otlp, done);
	}
	if (!otlp->waiting && !otlp->busy && !otlp->fatal.code)
		return 0;
	abandon(otlp);
	if (!otlp->fatal.code)
		return tl_error_set(error, -EINTR,
				    "stopped while the target was away; nothing is lost");
	if (error)
		*error = otlp->fatal;
	return otlp->fatal.code;
}
