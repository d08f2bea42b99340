/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_MAX ((size_t)1 << 30)
#define FIRST_CAP ((size_t)64)

static char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool tl_span_ieq(struct tl_span a, const char *s)
{
	size_t len = s ? strlen(s) : 0;

	if (a.len != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (ascii_lower(a.data[i]) != ascii_lower(s[i]))
			return false;
	return true;
}

void tl_buf_done(struct tl_buf *buf)
{
	free(buf->data);
	buf->data = NULL;
	buf->len = buf->cap = 0;
	buf->failed = false;
}

static size_t max_of(const struct tl_buf *buf)
{
	return buf->max ? buf->max : DEFAULT_MAX;
}

static int fail(struct tl_buf *buf, int code)
{
	buf->failed = true;
	return code;
}

int tl_buf_reserve(struct tl_buf *buf, size_t more)
{
	size_t max = max_of(buf), need, cap;
	char *data;

	if (buf->len > max || more > max - buf->len)
		return fail(buf, -ENOBUFS);
	need = buf->len + more;
	if (need <= buf->cap)
		return 0;
	/* Doubling keeps the cost of an append constant on average; max may be SIZE_MAX. */
	cap = buf->cap ? buf->cap : FIRST_CAP;
	cap = cap > max / 2 ? max : cap * 2;
	if (cap < need)
		cap = need;
	data = realloc(buf->data, cap);
	if (!data)
		return fail(buf, -ENOMEM);
	buf->data = data;
	buf->cap = cap;
	return 0;
}

int tl_buf_add(struct tl_buf *buf, const void *data, size_t len)
{
	int r;

	if (len == 0)
		return 0;
	r = tl_buf_reserve(buf, len);
	if (r < 0)
		return r;
	memcpy(buf->data + buf->len, data, len);
	buf->len += len;
	return 0;
}

int tl_buf_puts(struct tl_buf *buf, const char *s)
{
	return tl_buf_add(buf, s, strlen(s));
}

/* vsnprintf wants a byte for its NUL, which a buffer filled to its maximum does not have. */
static int append_exact(struct tl_buf *buf, size_t len, const char *format, va_list args)
{
	char *text = malloc(len + 1);
	int r;

	if (!text)
		return fail(buf, -ENOMEM);
	vsnprintf(text, len + 1, format, args);
	r = tl_buf_add(buf, text, len);
	free(text);
	return r;
}

int tl_buf_printf(struct tl_buf *buf, const char *format, ...)
{
	size_t room = buf->cap - buf->len, len;
	va_list args;
	int n, r;

	va_start(args, format);
	n = vsnprintf(room ? buf->data + buf->len : NULL, room, format, args);
	va_end(args);
	if (n < 0)
		return fail(buf, -EINVAL);
	len = (size_t)n;
	if (len < room) {
		buf->len += len;
		return 0;
	}

	r = tl_buf_reserve(buf, len);
	if (r < 0)
		return r;
	va_start(args, format);
	if (buf->len + len < max_of(buf) && tl_buf_reserve(buf, len + 1) == 0) {
		vsnprintf(buf->data + buf->len, len + 1, format, args);
		buf->len += len;
	} else {
		r = append_exact(buf, len, format, args);
	}
	va_end(args);
	return r;
}

void tl_buf_consume(struct tl_buf *buf, size_t n)
{
	if (n == 0)
		return;
	buf->len -= n;
	if (buf->len)
		memmove(buf->data, buf->data + n, buf->len);
}
