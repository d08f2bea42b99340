/* SPDX-License-Identifier: Apache-2.0 */
/* "HOST:PORT" as people write it. */
#ifndef TL_WEB_ADDRESS_H
#define TL_WEB_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "userspace/base/err.h"

/* Reads "127.0.0.1:9464", "[::1]:9464", "localhost:9464" or ":9464" (loopback). Port 0 is allowed:
 * the system chooses. Errors: -EINVAL. */
int tl_address_parse(const char *text, struct sockaddr_storage *ret, struct tl_error *error);

#endif
