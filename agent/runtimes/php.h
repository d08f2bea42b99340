/* SPDX-License-Identifier: Apache-2.0 */
/* PHP: php-fpm's workers have one thread that takes a request, runs its script and answers before
 * it takes the next; scripts have neither threads nor timers. Nothing has to be read for that. */
#ifndef TL_RUNTIMES_PHP_H
#define TL_RUNTIMES_PHP_H

#include <stdbool.h>

/* Whether the executable of this path is such a server. */
bool tl_runtime_is_serial(const char *exe);

#endif
