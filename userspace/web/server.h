/* SPDX-License-Identifier: Apache-2.0 */
/* Serves the search page and its API over a store:
 *   GET /                                               the page
 *   GET /api/search?q=&since=&until=&limit=&http=       {"newest":N,"records":[...]}, newest first
 *   GET /api/tail?q=&after=N&limit=&http=               the same for records that came after N,
 * oldest first GET /healthz                                        ok q is what `tapline search`
 * takes. Errors are {"error":"..."} with status 400, 401, 403, 404, 405 or 503. */
#ifndef TL_WEB_SERVER_H
#define TL_WEB_SERVER_H

#include <stdint.h>

#include "userspace/base/err.h"

struct tl_web_options {
	const char *store;  /* path; need not exist yet */
	const char *listen; /* HOST:PORT */
	const char
		*token; /* asked for by the API; NULL: none, which only loopback addresses may do */
};

/* Listens, in a thread of its own, until the process ends. `options` must live as long. `*ret_port`
 * is the port. Errors: -EINVAL no address, or one that others reach without a token; -EADDRINUSE;
 * -EACCES. */
int tl_web_serve(const struct tl_web_options *options, uint16_t *ret_port, struct tl_error *error);

#endif
