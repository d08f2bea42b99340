/* SPDX-License-Identifier: Apache-2.0 */
/* Echo: a thread that sends an outbound request with the id of exactly one open server request
 * works for that request: executor threads, and workers that do not answer themselves. Private to
 * correlate/.
 *
 * The slice begins when the outbound request is sent, goes on from its response, and ends when the
 * thread may have been given other work (event.h), sends another request or touches a server
 * connection. An event loop sends for one request before it has the answer for another: that
 * contradicts the rule. Under a backlog a pool's thread goes from one job to the next without a
 * pause, so the form of a line (form.h) has to prove that it stands at the end of such slices, with
 * a pause behind it, and never outside of one. Units have levels of their own. */
#ifndef TL_CORRELATE_ECHO_H
#define TL_CORRELATE_ECHO_H

#include "agent/correlate/form.h"

/* corr->event sent the head of an outbound request with these ids on `conn` (NULL: none). */
void tl_echo_sent(struct tl_corr *corr, const struct tl_conn *conn, const struct tl_ids *ids);

/* corr->event brought the head of the response on `conn`. */
void tl_echo_answered(struct tl_corr *corr, const struct tl_conn *conn);

/* A line of the form: evidence. `actor` may be NULL. Call once a line. */
void tl_echo_sight(struct tl_corr *corr, struct tl_cproc *proc, struct tl_actor *actor,
		   const struct tl_line *line, struct tl_form *form);

/* The open request that the line's place says; NULL none. The form is not asked. */
struct tl_request *tl_echo_of(const struct tl_cproc *proc, const struct tl_actor *actor,
			      const struct tl_line *line);

#endif
