/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/correlate/step.h"

#include "agent/correlate/conn.h"
#include "agent/correlate/conn_read.h"
#include "agent/correlate/fastcgi.h"

void tl_step_tiles(struct tl_conn *conn)
{
	const struct tl_ev_wire *event = conn->corr->event;

	tl_placing_call(&conn->placing, event);
	if (!event->placed || !conn->placing.torn)
		return;
	if (!conn->desync) {
		tl_conn_desync(conn, TL_WHY_DESYNC);
	} else {
		/* From here on they may tile again. */
		tl_placing_restart(&conn->placing);
		tl_placing_call(&conn->placing, event);
	}
	conn->quiet = false;
}

/* A head that is not final (100 Continue) asks for a body. Of pieces of a head nothing is known;
 * what else is written is of the answer that was begun last. */
static void hear_response(struct tl_conn *conn, struct tl_span data)
{
	if (conn->fcgi || tl_http1_looks_final(data))
		conn->asked = false;
	else if (tl_http1_looks_response(data))
		conn->asked = true;
	conn->quiet = !conn->asked;
}

/* Desync ends when a read begins with a method and nothing is in flight: the response's side has
 * begun its answer since (its client waits for answers, else it never ends). */
bool tl_step_in(struct tl_conn *conn, bool of_request, struct tl_span data)
{
	int looks;

	if (!conn->desync)
		return true;
	if (!of_request) {
		hear_response(conn, data);
		return false;
	}
	looks = conn->fcgi ? tl_fastcgi_looks(data) : tl_http1_looks_request(data);
	if (!conn->quiet || conn->pipelined || looks != 2) {
		conn->quiet = false;
		return false;
	}
	conn->desync = false;
	tl_conn_drop_message(conn);
	tl_placing_restart(&conn->placing);
	tl_placing_call(&conn->placing, conn->corr->event);
	return true;
}
