/* SPDX-License-Identifier: Apache-2.0 */
/* Serves GET /metrics (Prometheus text) and GET /healthz over HTTP by libmicrohttpd, from a thread
 * of its own. */
#ifndef TL_WEB_METRICS_SERVER_H
#define TL_WEB_METRICS_SERVER_H

#include "userspace/base/err.h"

/* Listens on "HOST:PORT" (HOST an address; ":9464" means 127.0.0.1). Runs until the process ends.
 * Errors: -EINVAL no such address; -EADDRINUSE; -EACCES. */
int tl_metrics_serve(const char *address, struct tl_error *error);

#endif
