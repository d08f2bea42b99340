/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/web/metrics_server.h"

#include <microhttpd.h>
#include <string.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/metrics.h"
#include "userspace/web/address.h"

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status,
			      struct tl_span text)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(text.len, (void *)text.data, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, "Content-Type",
				"text/plain; version=0.0.4; charset=utf-8");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *size, void **state)
{
	_cleanup_(tl_buf_done) struct tl_buf text = {0};

	(void)arg, (void)version, (void)data, (void)size, (void)state;
	if (strcmp(method, "GET") != 0)
		return answer(connection, 405, TL_SPAN_LIT("only GET\n"));
	if (strcmp(url, "/healthz") == 0)
		return answer(connection, 200, TL_SPAN_LIT("ok\n"));
	if (strcmp(url, "/metrics") != 0)
		return answer(connection, 404, TL_SPAN_LIT("see /metrics\n"));
	tl_metrics_render(&text);
	return answer(connection, text.failed ? 500 : 200, tl_buf_span(&text));
}

int tl_metrics_serve(const char *address, struct tl_error *error)
{
	struct sockaddr_storage where;
	unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD;
	int r = tl_address_parse(address, &where, error);

	if (r < 0)
		return r;
	if (where.ss_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	if (!MHD_start_daemon(flags, 0, NULL, NULL, on_request, NULL, MHD_OPTION_SOCK_ADDR, &where,
			      MHD_OPTION_END))
		return tl_error_set(error, errno ? -errno : -EADDRINUSE,
				    "cannot serve metrics on %s: %s; choose another with --metrics",
				    address, strerror(errno ? errno : EADDRINUSE));
	return 0;
}
