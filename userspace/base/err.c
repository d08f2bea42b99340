/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A message is one line wherever it is shown, whatever a path or a server's answer in it holds. */
static void flatten(char *text)
{
	for (; *text; text++)
		if (*text == '\n' || *text == '\r')
			*text = ' ';
}

int tl_error_set(struct tl_error *error, int code, const char *format, ...)
{
	char message[sizeof(error->message)];
	va_list args;

	if (!error)
		return code;
	/* Formatted aside, because an argument may be the old message itself. */
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	flatten(message);
	error->code = code;
	memcpy(error->message, message, sizeof(message));
	return code;
}

int tl_error_wrap(struct tl_error *error, const char *format, ...)
{
	char message[sizeof(error->message)];
	size_t len, old_len = strlen(error->message), room;
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message) - 2, format, args);
	va_end(args);
	len = strlen(message);
	memcpy(message + len, ": ", 2);
	len += 2;
	room = sizeof(message) - 1 - len;
	if (old_len > room)
		old_len = room;
	memcpy(message + len, error->message, old_len);
	message[len + old_len] = '\0';
	flatten(message);
	memcpy(error->message, message, sizeof(message));
	return error->code;
}
