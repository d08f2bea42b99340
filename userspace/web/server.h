/* SPDX-License-Identifier: Apache-2.0 */
/* Serves the live page and its API over a store. docs/web.md has the API; it is stable. */
#ifndef TL_WEB_SERVER_H
#define TL_WEB_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "userspace/base/err.h"

struct tl_web_options {
	const char *store;  /* path; need not exist yet */
	const char *listen; /* HOST:PORT */
	const char *state;  /* the agent's state folder, for its status; NULL none */
	const char
		*token; /* asked for by the API; NULL: none, which only loopback addresses may do */
};

#define TL_WEB_TOKEN_MIN 16 /* characters of a token */
#define TL_WEB_TOKEN_MAX 256

/* Says before anything is started whether the page may listen there.
 * Errors: -EINVAL no address, or one that others reach while there is no token. */
int tl_web_check(const char *listen, bool has_token, struct tl_error *error);

/* Listens, in threads of its own, until the process ends. `options` must live as long. `*ret_port`
 * is the port. Errors: -EINVAL no address, one that others reach without a token, or a token that
 * can be guessed; -EADDRINUSE; -EACCES. */
int tl_web_serve(const struct tl_web_options *options, uint16_t *ret_port, struct tl_error *error);

#endif
