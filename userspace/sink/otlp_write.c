/* SPDX-License-Identifier: Apache-2.0 */
/* Requests over OTLP/HTTP and what becomes of their records.
 *
 * What an answer means (OTLP specification 1.x, OTLP/HTTP response):
 *   2xx                  taken; partial_success counts what was refused. Never sent again.
 *   429 502 503 504, no answer at all
 *                        not now: the same chunk again (tl_flight_pause).
 *   413, 400, other 4xx and 5xx
 *                        never again as it is: the chunk comes back as two halves, so that in the
 *                        end the one record that spoils it is named and buried.
 *   3xx 401 403 404 405 407 415, a certificate that is not believed at the first request
 *                        a person must act: the program ends and says what to do.
 * A server that has never taken anything and refuses a hundred records is taken for the wrong one:
 * they are not buried, the program ends. */
#include <inttypes.h>
#include <stdio.h>

#include "userspace/base/msg.h"
#include "userspace/sink/otlp.h"

#define STRANGER_DEAD 100u

static bool takes(void *arg, uint32_t item)
{
	(void)arg, (void)item; /* whether it is a record shows when it is read */
	return true;
}

/* Adds the chunk's records to the builder; what is none leaves the chunk. What does not fit becomes
 * a chunk of its own. */
static int gather(struct tl_otlp_sink *otlp, struct tl_chunk *chunk)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < chunk->n; i++) {
		uint32_t item = chunk->items[i];
		struct tl_error reason = {0};
		int r;

		tl_arena_reset(&otlp->arena);
		if (tl_record_from_json(otlp->flight.messages[item].value, &otlp->arena,
					&otlp->record, &reason) < 0 ||
		    !otlp->record.uid.len) {
			tl_flight_bury(&otlp->flight, item, "malformed_record",
				       reason.code ? reason.message : "the record has no uid");
			continue;
		}
		r = tl_otlp_add(otlp->builder, &otlp->record);
		if (r == -ENOBUFS)
			r = tl_flight_rest(&otlp->flight, chunk, i);
		else if (r == 0)
			chunk->items[kept++] = item;
		if (r < 0)
			return r;
	}
	chunk->n = kept;
	return 0;
}

static int build(void *arg, struct tl_chunk *chunk, struct tl_buf *body, const char **why)
{
	struct tl_otlp_sink *otlp = arg;
	int r;

	(void)why;
	tl_otlp_clear(otlp->builder);
	r = gather(otlp, chunk);
	return r < 0 ? r : tl_otlp_write(otlp->builder, body);
}

/* Which of the records were refused is not told, unless it is all of them. */
static void partly(struct tl_otlp_sink *otlp, const struct tl_chunk *chunk,
		   const struct tl_otlp_answer *answer)
{
	static struct tl_msg_gate gate;
	uint64_t refused = answer->rejected < chunk->n ? answer->rejected : chunk->n;

	if (refused == 0 && answer->message[0])
		tl_msg_limited(&gate, 30000, TL_WARNING, "the target warns: %s", answer->message);
	if (refused && refused < chunk->n) {
		tl_msg_limited(&gate, 30000, TL_WARNING,
			       "the target refused %" PRIu64 " of %u records, counted as "
			       "rejected: %s",
			       refused, chunk->n, answer->message);
		otlp->flight.result->rejected += refused;
	}
	if (refused == chunk->n)
		for (uint32_t i = 0; i < chunk->n; i++)
			tl_flight_bury(&otlp->flight, chunk->items[i], "rejected", answer->message);
	otlp->flight.result->written += chunk->n - refused;
}

/* Takes the chunk over. */
static void never(struct tl_otlp_sink *otlp, struct tl_chunk *chunk,
		  const struct tl_http_request *request)
{
	char reason[200], text[256];

	tl_otlp_read_status(tl_buf_span(&request->answer), reason, sizeof(reason));
	snprintf(text, sizeof(text), "status %d%s%s", request->status, reason[0] ? ": " : "",
		 reason);
	tl_flight_split(&otlp->flight, chunk,
			request->status == 413	? "too_large"
			: request->status < 500 ? "bad_request"
						: "server_error",
			text);
	if (!otlp->accepted && otlp->flight.result->n_dead >= STRANGER_DEAD)
		tl_error_set(&otlp->flight.fatal, -EPROTO,
			     "the target has taken nothing so far and refuses every record "
			     "(%s); is --url right, and --encoding?",
			     text);
}

static bool taken(struct tl_otlp_sink *otlp, const struct tl_chunk *chunk,
		  const struct tl_http_request *request)
{
	struct tl_otlp_answer answer;

	if (tl_otlp_answer_of(tl_buf_span(&request->answer), &answer) < 0) {
		tl_otlp_advise(request, &otlp->flight.fatal);
		return false;
	}
	partly(otlp, chunk, &answer);
	otlp->accepted = true;
	return true;
}

static bool answered(void *arg, struct tl_http_request *request, struct tl_chunk *chunk)
{
	struct tl_otlp_sink *otlp = arg;
	bool good = false;
	char why[32];

	switch (tl_otlp_judge(request->status)) {
	case TL_OTLP_TAKEN:
		good = taken(otlp, chunk, request);
		break;
	case TL_OTLP_NOT_NOW:
		if (request->distrusted && !otlp->accepted) {
			tl_otlp_advise(request, &otlp->flight.fatal);
			break;
		}
		snprintf(why, sizeof(why), "status %d", request->status);
		tl_flight_pause(&otlp->flight, request, chunk,
				request->status ? why : request->why);
		return false;
	case TL_OTLP_NEVER:
		never(otlp, chunk, request);
		return false;
	case TL_OTLP_A_PERSON:
		tl_otlp_advise(request, &otlp->flight.fatal);
		break;
	}
	free(chunk);
	return good;
}

const struct tl_flight_ops tl_otlp_flight = {takes, build, answered};

int tl_otlp_sink_write(struct tl_sink *sink, const struct tl_message *messages, size_t n,
		       struct tl_sink_result *result, const volatile int *stop,
		       struct tl_error *error)
{
	struct tl_otlp_sink *otlp = (struct tl_otlp_sink *)sink;

	return tl_flight_send(&otlp->flight, messages, n, result, stop, error);
}
