/* SPDX-License-Identifier: Apache-2.0 */
/* tl_span: borrowed bytes. tl_buf: bytes that grow up to a maximum given at birth. Neither is
 * NUL-terminated. Not thread-safe. */
#ifndef TL_BASE_BUF_H
#define TL_BASE_BUF_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct tl_span {
	const char *data; /* borrowed; may be NULL when len is 0 */
	size_t len;	  /* bytes */
};

#define TL_SPAN_LIT(s) ((struct tl_span){(s), sizeof(s) - 1})

static inline struct tl_span tl_span_str(const char *s)
{
	return (struct tl_span){s, s ? strlen(s) : 0};
}

static inline bool tl_span_eq(struct tl_span a, struct tl_span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool tl_span_is(struct tl_span a, const char *s)
{
	return tl_span_eq(a, tl_span_str(s));
}

/* ASCII case-insensitive equality. */
bool tl_span_ieq(struct tl_span a, const char *s);

struct tl_buf {
	char *data;  /* owned */
	size_t len;  /* bytes used */
	size_t cap;  /* bytes allocated */
	size_t max;  /* never grows past this; 0 means 1 GiB */
	bool failed; /* an append did not fit or memory ran out; sticky until tl_buf_clear */
};

/* Releases the memory; the buffer is empty and usable again. `max` stays. */
void tl_buf_done(struct tl_buf *buf);

static inline void tl_buf_clear(struct tl_buf *buf)
{
	buf->len = 0;
	buf->failed = false;
}

/* Makes room for `more` bytes after len. Errors: -ENOBUFS past max; -ENOMEM. Both set `failed`. */
int tl_buf_reserve(struct tl_buf *buf, size_t more);

/* Appends. Errors as tl_buf_reserve; on error nothing is appended. Callers that append many small
 * pieces may ignore each result and look at `failed` once. */
int tl_buf_add(struct tl_buf *buf, const void *data, size_t len);
int tl_buf_puts(struct tl_buf *buf, const char *s);
int tl_buf_printf(struct tl_buf *buf, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static inline int tl_buf_putc(struct tl_buf *buf, char c)
{
	return tl_buf_add(buf, &c, 1);
}

static inline struct tl_span tl_buf_span(const struct tl_buf *buf)
{
	return (struct tl_span){buf->data, buf->len};
}

/* Removes the first `n` bytes (n <= len). */
void tl_buf_consume(struct tl_buf *buf, size_t n);

#endif
