/* SPDX-License-Identifier: Apache-2.0 */
/* Who may read: with a token whoever has it (in a header, or in the cookie that the link with
 * ?token= left), without one whoever asks by a name of loopback, so that a page of another site
 * cannot have its name resolved to us. Any thread. */
#ifndef TL_WEB_ACCESS_H
#define TL_WEB_ACCESS_H

#include <microhttpd.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct tl_access {
	const char *token; /* NULL none */
	uint16_t port;	   /* names the cookie: cookies of a host are shared by its ports */
};

enum tl_access_verdict { TL_ALLOWED, TL_NO_TOKEN, TL_WRONG_TOKEN, TL_WRONG_HOST };

/* Looks at the request's Host, Authorization and Cookie. */
enum tl_access_verdict tl_access_check(const struct tl_access *access,
				       struct MHD_Connection *connection);

/* True when `given` is the token; takes as long whatever differs. False when there is no token. */
bool tl_access_is_token(const struct tl_access *access, const char *given);

/* Writes the Set-Cookie header that lets a browser in. */
void tl_access_cookie(const struct tl_access *access, char *out, size_t size);

/* True for "localhost", 127.x.y.z and [::1], with or without a port. */
bool tl_access_is_loopback_name(const char *host);
bool tl_access_is_loopback(const struct sockaddr_storage *where);

#endif
