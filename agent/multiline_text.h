/* SPDX-License-Identifier: Apache-2.0 */
/* What lines of stack traces look like. Formats: java.lang.Throwable.printStackTrace (JDK 8 to 23)
 * and logback's "N common frames omitted"; CPython Lib/traceback.py (3.8 to 3.13, exception groups
 * too); Go runtime/panic.go and runtime/traceback.go (1.17 to 1.23). Pure functions on a line
 * without its newline. */
#ifndef TL_AGENT_MULTILINE_TEXT_H
#define TL_AGENT_MULTILINE_TEXT_H

#include "userspace/base/buf.h"

static inline bool tl_text_starts(struct tl_span line, const char *prefix, size_t len)
{
	return line.len >= len && memcmp(line.data, prefix, len) == 0;
}

#define TL_TEXT_STARTS(line, literal) tl_text_starts(line, literal, sizeof(literal) - 1)

/* The line without its leading blanks and tabs. */
struct tl_span tl_text_trim(struct tl_span line);

/* ERROR, FATAL, SEVERE or CRITICAL as a word of the first 96 bytes (JSON left out). */
bool tl_text_is_error(struct tl_span line);

enum tl_java_line {
	TL_JAVA_NOT,
	TL_JAVA_CLASS,	/* pkg.Class, pkg.Class: message; the name promises no exception */
	TL_JAVA_HEADER, /* pkg.XException: message, or Exception in thread "x" ... */
	TL_JAVA_CAUSE,	/* Caused by: / Suppressed: / Wrapped by: */
	TL_JAVA_FRAME,	/* indented `at ...`, `... N more`, `- locked ...` */
};
enum tl_java_line tl_text_java(struct tl_span line);

enum tl_python_line {
	TL_PYTHON_NOT,
	TL_PYTHON_TRACEBACK,
	TL_PYTHON_GROUP, /* traceback of an exception group: every line of it is indented */
	TL_PYTHON_CHAIN, /* During handling ... / The above exception ... */
};
enum tl_python_line tl_text_python(struct tl_span line);

enum tl_go_line {
	TL_GO_NOT,
	TL_GO_PANIC,	 /* panic: / fatal error: */
	TL_GO_GOROUTINE, /* goroutine 1 [running]: */
	TL_GO_FRAME,	 /* anything else that a trace holds, without blank lines */
	TL_GO_EXIT,	 /* exit status 2 */
};
enum tl_go_line tl_text_go(struct tl_span line);

/* `text` may be cut anywhere: whether it may yet become a java line that follows an ordinary one.
 * `eager` accepts less. */
bool tl_text_java_may(struct tl_span text, bool eager);
/* Whether `text`, cut, may become `whole` (or already begins so), with at least `least` bytes of it
 * there. */
bool tl_text_may(struct tl_span text, struct tl_span whole, size_t least);

#endif
