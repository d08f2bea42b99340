/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/runtimes/php.h"

#include <string.h>

/* php-fpm, php-fpm8.2, php-fpm83 */
bool tl_runtime_is_serial(const char *exe)
{
	const char *name = strrchr(exe, '/');

	name = name ? name + 1 : exe;
	if (strncmp(name, "php-fpm", 7) != 0)
		return false;
	return name[7 + strspn(name + 7, "0123456789.-")] == '\0';
}
