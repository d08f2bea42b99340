/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/web/access.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static void cookie_name(const struct tl_access *access, char *out, size_t size)
{
	snprintf(out, size, "tapline_%u", access->port);
}

bool tl_access_is_token(const struct tl_access *access, const char *given)
{
	const char *token = access->token;
	size_t nt, ng;
	unsigned char differ;

	if (!token || !given)
		return false;
	nt = strlen(token);
	ng = strlen(given);
	differ = nt != ng || nt == 0;
	for (size_t i = 0; i < ng; i++)
		differ |= (unsigned char)(given[i] ^ token[nt ? i % nt : 0]);
	return !differ;
}

bool tl_access_is_loopback_name(const char *host)
{
	size_t len;

	if (host[0] == '[')
		return strncmp(host, "[::1]", 5) == 0 && (!host[5] || host[5] == ':');
	len = strcspn(host, ":");
	return (len == 9 && strncmp(host, "localhost", 9) == 0) ||
	       (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == len);
}

enum tl_access_verdict tl_access_check(const struct tl_access *access,
				       struct MHD_Connection *connection)
{
	const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
	const char *header, *cookie;
	char name[32];

	/* HTTP/1.0 tools send no Host; browsers always do. */
	if (!access->token)
		return !host || tl_access_is_loopback_name(host) ? TL_ALLOWED : TL_WRONG_HOST;
	header = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
	if (header)
		return strncmp(header, "Bearer ", 7) == 0 && tl_access_is_token(access, header + 7)
			       ? TL_ALLOWED
			       : TL_WRONG_TOKEN;
	cookie_name(access, name, sizeof(name));
	cookie = MHD_lookup_connection_value(connection, MHD_COOKIE_KIND, name);
	if (!cookie)
		return TL_NO_TOKEN;
	return tl_access_is_token(access, cookie) ? TL_ALLOWED : TL_WRONG_TOKEN;
}

/* Lax, not Strict: a link in a chat or a mail that opens the page shall work. Nothing that is asked
 * for by a link changes anything. */
void tl_access_cookie(const struct tl_access *access, char *out, size_t size)
{
	char name[32];

	cookie_name(access, name, sizeof(name));
	snprintf(out, size, "%s=%s; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000", name,
		 access->token);
}

bool tl_access_is_loopback(const struct sockaddr_storage *where)
{
	if (where->ss_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)where)->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)where)->sin6_addr);
}
