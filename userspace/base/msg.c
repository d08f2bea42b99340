/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/base/msg.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "userspace/base/clock.h"

/* Below PIPE_BUF, so that a line reaches a shared stderr pipe in one piece. */
#define LINE_MAX_BYTES 2048

static const char *program_name = "tapline";
static enum tl_level shown_level = TL_INFO;

static const char *const level_tag[] = {
	[TL_ERROR] = "error: ",
	[TL_WARNING] = "warning: ",
	[TL_INFO] = "",
	[TL_DEBUG] = "debug: ",
};

void tl_msg_init(const char *program, enum tl_level level)
{
	program_name = program;
	shown_level = level;
}

static void write_line(char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (line[i] == '\n' || line[i] == '\r')
			line[i] = ' ';
	line[len++] = '\n';
	/* A stderr that is gone or full leaves no place to say so. */
	if (write(STDERR_FILENO, line, len) < 0)
		return;
}

static size_t cut(int n, size_t room)
{
	if (n < 0)
		return 0;
	return (size_t)n < room ? (size_t)n : room - 1;
}

static void show(enum tl_level level, unsigned long long muted, const char *format, va_list args)
{
	char line[LINE_MAX_BYTES + 1];
	size_t room = LINE_MAX_BYTES, len;

	len = cut(snprintf(line, room, "%s: %s", program_name, level_tag[level]), room);
	if (muted)
		room -= 48; /* for the remark below */
	len += cut(vsnprintf(line + len, room - len, format, args), room - len);
	if (muted) {
		room = LINE_MAX_BYTES;
		len += cut(snprintf(line + len, room - len, " (%llu more not shown)", muted),
			   room - len);
	}
	write_line(line, len);
}

void tl_msg(enum tl_level level, const char *format, ...)
{
	va_list args;

	if (level > shown_level)
		return;
	va_start(args, format);
	show(level, 0, format, args);
	va_end(args);
}

void tl_msg_limited(struct tl_msg_gate *gate, unsigned every_ms, enum tl_level level,
		    const char *format, ...)
{
	unsigned long long now = tl_mono_ns(), muted;
	unsigned long long last = __atomic_load_n(&gate->last_ns, __ATOMIC_RELAXED);
	va_list args;

	if (level > shown_level)
		return;
	/* One of several threads that come at once wins the exchange and speaks; the others are
	 * counted. */
	if ((last && now - last < every_ms * TL_MS) ||
	    !__atomic_compare_exchange_n(&gate->last_ns, &last, now, false, __ATOMIC_RELAXED,
					 __ATOMIC_RELAXED)) {
		__atomic_fetch_add(&gate->muted, 1, __ATOMIC_RELAXED);
		return;
	}
	muted = __atomic_exchange_n(&gate->muted, 0, __ATOMIC_RELAXED);
	va_start(args, format);
	show(level, muted, format, args);
	va_end(args);
}
