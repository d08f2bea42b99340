/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/correlate/conn_fcgi.h"

#include "agent/correlate/conn_read.h"
#include "agent/correlate/fastcgi.h"

struct tl_conn_fcgi {
	struct tl_http1_ops request_ops; /* those of HTTP/1 but for the beginning's place */
	struct tl_fastcgi request, response;
	uint64_t request_at; /* what the request parser had been fed before this call */
};

static void on_begin(void *arg)
{
	struct tl_conn *conn = arg;

	tl_conn_begin_request(conn, conn->fcgi->request.began_at - conn->fcgi->request_at);
}

bool tl_conn_fcgi_begin(struct tl_conn *conn)
{
	struct tl_corr *corr = conn->corr;
	struct tl_conn_fcgi *fcgi = NULL;

	if (corr->parse_bytes + sizeof(*fcgi) <= TL_PARSE_BYTES_MAX)
		fcgi = calloc(1, sizeof(*fcgi));
	if (!fcgi)
		return false;
	corr->parse_bytes += sizeof(*fcgi);
	conn->fcgi = fcgi;
	fcgi->request_ops = *tl_conn_request_ops();
	fcgi->request_ops.begin = on_begin;
	tl_fastcgi_init(&fcgi->request, false, &fcgi->request_ops, conn, NULL);
	tl_fastcgi_init(&fcgi->response, true, tl_conn_response_ops(), conn,
			&conn->response.status);
	return true;
}

bool tl_conn_fcgi_feed(struct tl_conn *conn, bool of_request, const char *data, uint64_t seen,
		       uint64_t moved)
{
	struct tl_conn_fcgi *fcgi = conn->fcgi;
	struct tl_fastcgi *parser = of_request ? &fcgi->request : &fcgi->response;

	if (of_request)
		fcgi->request_at = parser->fed;
	tl_fastcgi_feed(parser, data, seen);
	tl_fastcgi_skip(parser, moved - seen);
	return parser->broken;
}

bool tl_conn_fcgi_over(const struct tl_conn *conn)
{
	const struct tl_conn_fcgi *fcgi = conn->fcgi;

	return fcgi->request.closes && conn->number && !conn->queue &&
	       tl_fastcgi_idle(&fcgi->request) && tl_fastcgi_idle(&fcgi->response);
}

bool tl_conn_fcgi_idle(const struct tl_conn *conn)
{
	return tl_fastcgi_idle(&conn->fcgi->request);
}

void tl_conn_fcgi_reset(struct tl_conn *conn)
{
	if (!conn->fcgi)
		return;
	tl_fastcgi_reset(&conn->fcgi->request);
	tl_fastcgi_reset(&conn->fcgi->response);
}

void tl_conn_fcgi_free(struct tl_conn *conn)
{
	if (!conn->fcgi)
		return;
	tl_conn_fcgi_reset(conn);
	conn->corr->parse_bytes -= sizeof(*conn->fcgi);
	free(TAKE_PTR(conn->fcgi));
}
