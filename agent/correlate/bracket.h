/* SPDX-License-Identifier: Apache-2.0 */
/* Brackets: a request that one actor read and another answers. What the answering thread or unit
 * (the writer) says before it writes the response, and after the request had come, is the
 * request's. Private to correlate/.
 *
 * A thread of a pool: between the line and the response it must not have waited, nor moved bytes of
 * another server connection. A unit: it must not have answered another request meanwhile. And lines
 * of that form (form.h) must have proved to stand before responses: a job that runs on the same
 * pool writes lines as well, and is told by its form, which also comes where no response follows
 * that was asked for before. Each line is looked at again when the writer's next response is known
 * (`seen`), whether the gate is open or not; held is it only when it is. */
#ifndef TL_CORRELATE_BRACKET_H
#define TL_CORRELATE_BRACKET_H

#include "agent/correlate/form.h"

/* The head of the response to `request` was written by request->writer: what it says about the gate
 * and about the forms seen on it. */
void tl_bracket_answer(struct tl_corr *corr, struct tl_request *request);

/* A line of the form was written by the actor of `key`. Call once a line, before it is decided: the
 * actor is made, so that the line can be held at it. */
void tl_bracket_sight(struct tl_corr *corr, struct tl_cproc *proc, const struct tl_actor_key *key,
		      const struct tl_line *line, const struct tl_form *form);

/* The request of the line, by position and form: NULL, with `*ret_why`, when it has none;
 * `*ret_wait` when the response is not written yet. */
struct tl_request *tl_bracket_find(struct tl_corr *corr, const struct tl_cproc *proc,
				   const struct tl_actor *actor, const struct tl_line *line,
				   bool *ret_wait, enum tl_why *ret_why);

/* The request that the actor was at at a moment of its life, other than a line: NULL none known;
 * `*ret_wait` when the response may still come. No form has a say. */
struct tl_request *tl_bracket_at(const struct tl_cproc *proc, const struct tl_actor *actor,
				 uint64_t time_ns, bool *ret_wait);

/* Forms whose writer never answered are ambient. */
void tl_bracket_expire(struct tl_corr *corr, struct tl_actor *actor);

#endif
