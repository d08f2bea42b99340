/* SPDX-License-Identifier: Apache-2.0 */
/* The assembler puts the files into the program, so nothing is generated and nothing is read at run
 * time. The Makefile names them as what this file depends on. */
#include "userspace/web/page.h"

#include "userspace/base/cleanup.h"

#define HTML "text/html; charset=utf-8"
#define CSS "text/css; charset=utf-8"
#define JS "text/javascript; charset=utf-8"

#define FILES(F)                                                                                   \
	F(index, "/", "index.html", HTML)                                                          \
	F(style, "/style.css", "style.css", CSS)                                                   \
	F(theme, "/theme.js", "theme.js", JS)                                                      \
	F(app, "/app.js", "app.js", JS)                                                            \
	F(base, "/base.js", "base.js", JS)                                                         \
	F(lines, "/lines.js", "lines.js", JS)                                                      \
	F(row, "/row.js", "row.js", JS)                                                            \
	F(histogram, "/histogram.js", "histogram.js", JS)                                          \
	F(request, "/request.js", "request.js", JS)                                                \
	F(services, "/services.js", "services.js", JS)                                             \
	F(health, "/health.js", "health.js", JS)                                                   \
	F(explain, "/explain.js", "explain.js", JS)

#define INCLUDE(name, url, file, type)                                                             \
	__asm__(".section .rodata\n"                                                               \
		"page_" #name ": .incbin \"userspace/web/page/" file "\"\n"                        \
		"page_" #name "_end: .byte 0\n"                                                    \
		".previous");                                                                      \
	extern const char page_##name[] __attribute__((visibility("hidden")));                     \
	extern const char page_##name##_end[] __attribute__((visibility("hidden")));
FILES(INCLUDE)

#define ENTRY(name, at, file, kind) {at, kind, page_##name, page_##name##_end},
static const struct tl_page_file files[] = {FILES(ENTRY)};

const struct tl_page_file *tl_page_file(const char *url)
{
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (strcmp(url, files[i].url) == 0)
			return &files[i];
	return NULL;
}
