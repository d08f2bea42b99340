/* SPDX-License-Identifier: Apache-2.0 */
/* The page's files (userspace/web/page/), as they are sent: part of the program since the build. */
#ifndef TL_WEB_PAGE_H
#define TL_WEB_PAGE_H

#include "userspace/base/buf.h"

struct tl_page_file {
	const char *url;  /* "/style.css" */
	const char *type; /* Content-Type */
	const char *text, *end;
};

/* The file of this URL, NULL none. Lives as long as the program. */
const struct tl_page_file *tl_page_file(const char *url);

#endif
