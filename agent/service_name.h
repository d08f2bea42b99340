/* SPDX-License-Identifier: Apache-2.0 */
/* What a process is called when nobody named it: its unit, its script, or its executable. Pure, any
 * thread. */
#ifndef TL_AGENT_SERVICE_NAME_H
#define TL_AGENT_SERVICE_NAME_H

#include "agent/inspector.h"

#define TL_SERVICE_NAME_MAX 128

/* Writes the name, never empty. First that applies:
 * - the innermost systemd service of the control group, without instance and ".service", unless the
 * process sits in `own_cgroup` (NULL: unknown), the group that tapline itself runs in, or the unit
 * was made up for one run (run-u12, run-r3f);
 * - the script or module that an interpreter runs: python3 app.py and python3 -m app are "app",
 * node server.js "server", java -jar x-1.2.jar "x", java com.example.Cart "Cart"; index.js and
 * __main__.py say their folder's name; gunicorn and its like the application they serve
 * (cart.wsgi:app is "cart");
 * - the executable's base name; the comm. */
void tl_service_name(const struct tl_proc_info *info, const char *own_cgroup,
		     char out[TL_SERVICE_NAME_MAX]);

#endif
