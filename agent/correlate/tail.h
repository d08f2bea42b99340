/* SPDX-License-Identifier: Apache-2.0 */
/* The tail of a request: what its response's writer still says of it before it does anything else;
 * access logs mostly. Private to correlate/.
 *
 * A tail begins when a response is complete and all of it was written by one actor; it ends when
 * that actor moves bytes of another server connection or of the next request, or a second later.
 *
 * Threads have tails only where no thread of the service was ever seen to answer what another had
 * read (hands.h): the worker of a pool that finds its next job in a queue takes it without a call,
 * and what it says first of it stands right behind its last response, under load each time. That
 * the finished request was read by its own thread is no substitute: such threads may take what was
 * queued as well. Nothing is believed wrongly before the first such answer is seen, because a form
 * of which lines would go wrong has to stand there gate_confirms times, and each of those lines
 * is followed by the answer that ends all belief.
 *
 * A line there is *strict* when the thread can have been given nothing since: it has not waited,
 * and was sent no bytes. Else, and for units, it counts only where the actor is dedicated: it reads
 * and answers its requests itself, one at a time.
 *
 * Position alone proves nothing: an event loop may answer two requests and then log both, a pool
 * may run a job next. What is believed is the form of a line (form.h) that has stood exactly once
 * behind each response of its thread, from the first, gate_confirms times, and nowhere else: never
 * while the service served nothing, never behind a response and a wait where a wait may bring other
 * work. An event loop that logs two requests together leaves the first response without its line,
 * which is seen before the line that would go wrong. */
#ifndef TL_CORRELATE_TAIL_H
#define TL_CORRELATE_TAIL_H

#include "agent/correlate/form.h"

#define TL_TAIL_NS UINT64_C(1000000000)

/* The response of `request` is complete. */
void tl_tail_begin(struct tl_request *request);

/* The actor turns to other work at corr->at_ns: to the connection `conn`. */
void tl_tail_end(struct tl_corr *corr, struct tl_actor *actor);

/* The actor was given bytes of a connection on which it is the client: it may go on with other work
 * now, at corr->at_ns. */
void tl_tail_given(struct tl_corr *corr, struct tl_actor *actor);

/* The request in whose tail the line stands, NULL none; `actor` may be NULL. */
struct tl_request *tl_tail_of(const struct tl_corr *corr, const struct tl_actor *actor,
			      const struct tl_line *line);

/* The line of this form stands in the tail of `request`: evidence. Call once a line. */
void tl_tail_sight(struct tl_corr *corr, struct tl_request *request, struct tl_form *form);

/* The line of this form stands in no tail; `actor` may be NULL. It is evidence against the form
 * when the actor has nothing open and did nothing that is seen since its response but wait. Call
 * once a line. */
void tl_tail_miss(struct tl_corr *corr, const struct tl_actor *actor, const struct tl_line *line,
		  struct tl_form *form);

/* Whether the line, which stands there, is believed to be of `request`. */
bool tl_tail_believed(const struct tl_corr *corr, const struct tl_request *request,
		      const struct tl_line *line);

#endif
