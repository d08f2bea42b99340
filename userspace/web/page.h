/* SPDX-License-Identifier: Apache-2.0 */
/* The search page, as it is sent. */
#ifndef TL_WEB_PAGE_H
#define TL_WEB_PAGE_H

#include <stddef.h>

extern const char tl_web_page[];
extern const size_t tl_web_page_len;

#endif
