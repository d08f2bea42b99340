/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/cli/format.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "userspace/base/clock.h"

#define RESET "\033[0m"
#define DIM "\033[2m"
#define CYAN "\033[36m"

bool tl_format_colours(int fd)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(fd) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}

static void put(struct tl_buf *out, bool colour, const char *code, struct tl_span text)
{
	if (colour)
		tl_buf_puts(out, code);
	tl_buf_add(out, text.data, text.len);
	if (colour)
		tl_buf_puts(out, RESET);
}

static void put_time(const struct tl_format *format, uint64_t ns, struct tl_buf *out)
{
	time_t seconds = (time_t)(ns / TL_SEC);
	char text[64];
	struct tm tm;
	size_t n;

	localtime_r(&seconds, &tm);
	n = strftime(text, sizeof(text), format->date ? "%Y-%m-%d %H:%M:%S" : "%H:%M:%S", &tm);
	n += (size_t)snprintf(text + n, sizeof(text) - n, ".%03u", (unsigned)(ns % TL_SEC / TL_MS));
	put(out, format->colour, DIM, (struct tl_span){text, n});
	tl_buf_putc(out, ' ');
}

static const char *severity_colour(uint8_t severity)
{
	if (severity >= 21)
		return "\033[1;31m";
	if (severity >= 17)
		return "\033[31m";
	if (severity >= 13)
		return "\033[33m";
	return severity >= 9 ? "\033[32m" : DIM;
}

static void put_severity(const struct tl_format *format, uint8_t severity, struct tl_buf *out)
{
	char text[8];

	snprintf(text, sizeof(text), "%-5.5s", severity ? tl_severity_text(severity) : "-");
	put(out, format->colour && severity, severity_colour(severity), tl_span_str(text));
	tl_buf_putc(out, ' ');
}

static struct tl_span value_of(const struct tl_attrs *attrs, const char *key)
{
	const struct tl_attr *attr = tl_attr_get(attrs, key);

	return attr ? attr->value : (struct tl_span){0};
}

static bool is_plain(unsigned char c)
{
	return (c >= 0x20 && c != 0x7f) || c == '\n' || c == '\t';
}

/* Length of "ESC [ digits and ; m", 0 when there is none. */
static size_t colour_sequence(const char *p, const char *end)
{
	const char *q = p + 2;

	if (end - p < 3 || p[0] != '\033' || p[1] != '[')
		return 0;
	while (q < end && ((*q >= '0' && *q <= '9') || *q == ';'))
		q++;
	return q < end && *q == 'm' ? (size_t)(q + 1 - p) : 0;
}

/* What a service wrote must not move the reader's cursor. */
static void put_safe(struct tl_buf *out, struct tl_span text, bool colour)
{
	const char *p = text.data, *end = p + text.len;
	bool coloured = false;

	while (p < end) {
		const char *from = p;
		size_t n;

		while (p < end && is_plain((unsigned char)*p))
			p++;
		tl_buf_add(out, from, (size_t)(p - from));
		if (p == end)
			break;
		n = colour_sequence(p, end);
		if (n && colour) {
			tl_buf_add(out, p, n);
			coloured = true;
		} else if (!n) {
			tl_buf_printf(out, "\\x%02x", (unsigned char)*p);
			n = 1;
		}
		p += n;
	}
	if (coloured)
		tl_buf_puts(out, RESET);
}

static void put_service(const struct tl_format *format, const struct tl_record *record,
			struct tl_buf *out)
{
	struct tl_span service = value_of(&record->resource, "service.name");

	if (format->colour)
		tl_buf_puts(out, CYAN);
	put_safe(out, service.len ? service : TL_SPAN_LIT("-"), false);
	if (format->colour)
		tl_buf_puts(out, RESET);
	tl_buf_putc(out, ' ');
}

/* [id how], or [- why]. */
static void put_request(const struct tl_format *format, const struct tl_record *record,
			struct tl_buf *out)
{
	struct tl_span id = value_of(&record->attributes, "correlation.id");
	struct tl_span more =
		value_of(&record->attributes, id.len ? "correlation.how" : "correlation.why");

	if (format->colour)
		tl_buf_puts(out, id.len ? "\033[35m" : DIM);
	tl_buf_putc(out, '[');
	put_safe(out, id.len ? id : TL_SPAN_LIT("-"), false);
	if (more.len) {
		tl_buf_putc(out, ' ');
		put_safe(out, more, false);
	}
	tl_buf_putc(out, ']');
	if (format->colour)
		tl_buf_puts(out, RESET);
	tl_buf_putc(out, ' ');
}

int tl_format_record(const struct tl_format *format, const struct tl_record *record,
		     struct tl_buf *out)
{
	put_time(format, record->observed_ns, out);
	put_severity(format, record->severity_number, out);
	put_service(format, record, out);
	put_request(format, record, out);
	put_safe(out, record->body, format->colour);
	tl_buf_putc(out, '\n');
	return out->failed ? -ENOBUFS : 0;
}

int tl_format_exchange(const struct tl_format *format, const struct tl_record *record,
		       struct tl_buf *out)
{
	const struct tl_attrs *a = &record->attributes;
	struct tl_span duration = value_of(a, "http.server.request.duration"),
		       status = value_of(a, "http.response.status_code");
	char text[32];

	if (!duration.len)
		duration = value_of(a, "http.client.request.duration");
	snprintf(text, sizeof(text), "%.*s", (int)duration.len, duration.len ? duration.data : "");
	put_time(format, record->observed_ns, out);
	put_service(format, record, out);
	put_request(format, record, out);
	put_safe(out, value_of(a, "network.direction"), false);
	tl_buf_putc(out, ' ');
	put_safe(out, value_of(a, "http.request.method"), false);
	tl_buf_putc(out, ' ');
	put_safe(out, value_of(a, "url.path"), false);
	tl_buf_putc(out, ' ');
	put(out, format->colour, status.len && status.data[0] >= '5' ? "\033[31m" : "\033[32m",
	    status.len ? status : TL_SPAN_LIT("-"));
	tl_buf_printf(out, " %.1f ms\n", strtod(text, NULL) * 1e3);
	return out->failed ? -ENOBUFS : 0;
}
