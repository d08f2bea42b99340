/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/web/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int bad(const char *text, struct tl_error *error)
{
	return tl_error_set(
		error, -EINVAL,
		"`%s` is no address: write HOST:PORT, for example 127.0.0.1:9464 or [::1]:9464",
		text);
}

int tl_address_parse(const char *text, struct sockaddr_storage *ret, struct tl_error *error)
{
	const char *colon = strrchr(text, ':');
	char host[64] = "127.0.0.1", *end;
	struct sockaddr_in *in = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
	size_t len;
	long port;

	if (!colon || !colon[1])
		return bad(text, error);
	port = strtol(colon + 1, &end, 10);
	len = (size_t)(colon - text);
	if (*end || port < 0 || port > 65535 || len >= sizeof(host))
		return bad(text, error);
	if (len && !(len == 9 && memcmp(text, "localhost", 9) == 0))
		snprintf(host, sizeof(host), "%.*s", (int)len, text);
	if (host[0] == '[' && host[strlen(host) - 1] == ']') {
		memmove(host, host + 1, strlen(host));
		host[strlen(host) - 1] = 0;
	}
	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, host, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)port);
		return 0;
	}
	if (inet_pton(AF_INET6, host, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)port);
		return 0;
	}
	return bad(text, error);
}
