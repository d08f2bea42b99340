/* SPDX-License-Identifier: Apache-2.0 */
/* Timestamps as loggers write them. Each reader takes the text at `at` and says how many bytes it
 * took, 0 when it is not this form. Days are counted by the civil calendar (Howard Hinnant's
 * days_from_civil, public domain algorithm): no time zone database, no locale, no allocation. */
#include "userspace/base/clock.h"
#include "userspace/parse/parsers.h"

#define NS_PER_DAY (86400 * TL_SEC)
#define YEAR_MIN 1971
#define YEAR_MAX 2261 /* nanoseconds since 1970 fit 63 bits */

struct moment {
	int year, month, day, hour, minute, second;
	uint32_t ns;
	int offset_s; /* east of UTC */
};

static int64_t days_from_civil(int y, int m, int d)
{
	int64_t era, yoe, doy, doe;

	y -= m <= 2;
	era = (y >= 0 ? y : y - 399) / 400;
	yoe = y - era * 400;
	doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
	return era * 146097 + doe - 719468;
}

static int days_in(int year, int month)
{
	static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

static bool to_ns(const struct moment *t, uint64_t *ret)
{
	int64_t seconds;

	if (t->year < YEAR_MIN || t->year > YEAR_MAX || t->month < 1 || t->month > 12 ||
	    t->day < 1 || t->day > days_in(t->year, t->month) || t->hour > 23 || t->minute > 59 ||
	    t->second > 60)
		return false;
	seconds = days_from_civil(t->year, t->month, t->day) * 86400 + t->hour * 3600 +
		  t->minute * 60 + t->second - t->offset_s;
	if (seconds < 0)
		return false;
	*ret = (uint64_t)seconds * TL_SEC + t->ns;
	return true;
}

static bool two(struct tl_span s, size_t at, int *ret)
{
	*ret = at + 2 <= s.len ? tl_digits(s.data + at, 2) : -1;
	return *ret >= 0;
}

static bool is_at(struct tl_span s, size_t at, char c)
{
	return at < s.len && s.data[at] == c;
}

/* "HH:MM:SS" and a fraction after `.` or `,`. Returns the bytes taken. */
static size_t read_clock(struct tl_span s, size_t at, struct moment *t)
{
	size_t i = at + 8, digits;
	uint32_t scale = 100000000;

	if (!two(s, at, &t->hour) || !is_at(s, at + 2, ':') || !two(s, at + 3, &t->minute) ||
	    !is_at(s, at + 5, ':') || !two(s, at + 6, &t->second))
		return 0;
	if (i + 1 < s.len && (s.data[i] == '.' || s.data[i] == ',') && tl_is_digit(s.data[i + 1])) {
		for (digits = 1;
		     i + digits < s.len && digits <= 9 && tl_is_digit(s.data[i + digits]);
		     digits++) {
			t->ns += (uint32_t)(s.data[i + digits] - '0') * scale;
			scale /= 10;
		}
		i += digits;
	}
	return i - at;
}

/* "Z", "+01:00", "+0100", " +0100". Returns the bytes taken, 0 none. */
static size_t read_zone(struct tl_span s, size_t at, struct moment *t)
{
	size_t start = at;
	int hours, minutes = 0, sign;

	if (is_at(s, at, 'Z'))
		return 1;
	if (is_at(s, at, ' ') && (is_at(s, at + 1, '+') || is_at(s, at + 1, '-')))
		at++;
	if (!is_at(s, at, '+') && !is_at(s, at, '-'))
		return 0;
	sign = s.data[at] == '-' ? -1 : 1;
	if (!two(s, at + 1, &hours) || hours > 14)
		return 0;
	at += 3;
	if (is_at(s, at, ':'))
		at++;
	if (two(s, at, &minutes))
		at += 2;
	else
		minutes = 0;
	t->offset_s = sign * (hours * 3600 + minutes * 60);
	return at - start;
}

/* 2026-11-23T01:02:03.456Z, 2026-11-23 01:02:03,456, 2026/11/23 01:02:03. */
static size_t read_iso(struct tl_span s, struct moment *t)
{
	size_t n;
	char sep;

	if (s.len < 19 || (t->year = tl_digits(s.data, 4)) < 0)
		return 0;
	sep = s.data[4];
	if ((sep != '-' && sep != '/') || !two(s, 5, &t->month) || s.data[7] != sep ||
	    !two(s, 8, &t->day) || (s.data[10] != 'T' && s.data[10] != ' ' && s.data[10] != '_'))
		return 0;
	n = read_clock(s, 11, t);
	if (!n)
		return 0;
	n += 11;
	return n + read_zone(s, n, t);
}

static int month_of(const char *name)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

	for (int i = 0; i < 12; i++)
		if (memcmp(months + 3 * i, name, 3) == 0)
			return i + 1;
	return 0;
}

/* 23/Nov/2026:01:02:03 +0000 (Apache, nginx), 24/Nov/2026 16:20:31 (python http.server). */
static size_t read_clf(struct tl_span s, struct moment *t)
{
	size_t n;

	if (s.len < 20 || !two(s, 0, &t->day) || s.data[2] != '/' || s.data[6] != '/' ||
	    !(t->month = month_of(s.data + 3)) || (t->year = tl_digits(s.data + 7, 4)) < 0 ||
	    (s.data[11] != ':' && s.data[11] != ' '))
		return 0;
	n = read_clock(s, 12, t);
	if (!n)
		return 0;
	n += 12;
	return n + read_zone(s, n, t);
}

static void year_near(struct moment *t, uint64_t reference_ns)
{
	uint64_t ns, half = 183 * NS_PER_DAY;
	char date[11];

	tl_date_format(reference_ns, '-', date);
	t->year = tl_digits(date, 4);
	if (!to_ns(t, &ns))
		return;
	if (ns > reference_ns + half)
		t->year--;
	else if (ns + half < reference_ns)
		t->year++;
}

/* Nov 23 01:02:03, Nov  3 01:02:03 (RFC 3164): the year nearest to the reference. */
static size_t read_syslog(struct tl_span s, uint64_t reference_ns, struct moment *t)
{
	char day[2];
	size_t n;

	if (s.len < 15 || !(t->month = month_of(s.data)) || s.data[3] != ' ' || s.data[6] != ' ')
		return 0;
	day[0] = s.data[4] == ' ' ? '0' : s.data[4];
	day[1] = s.data[5];
	t->day = tl_digits(day, 2);
	n = read_clock(s, 7, t);
	if (!n || t->day < 1)
		return 0;
	year_near(t, reference_ns);
	return 7 + n;
}

/* I1123 01:02:03.456789 (klog). */
static size_t read_klog(struct tl_span s, uint64_t reference_ns, struct moment *t)
{
	size_t n;

	if (s.len < 14 || !strchr("IWEF", s.data[0]) || !two(s, 1, &t->month) ||
	    !two(s, 3, &t->day) || s.data[5] != ' ')
		return 0;
	n = read_clock(s, 6, t);
	if (!n)
		return 0;
	year_near(t, reference_ns);
	return 6 + n;
}

/* Seconds, milli-, micro- or nanoseconds since 1970, told apart by size; seconds may have a
 * fraction. */
static size_t read_epoch(struct tl_span s, uint64_t *ret_ns)
{
	uint64_t value = 0, fraction = 0, scale = 100000000;
	size_t n = 0, i;

	while (n < s.len && n < 20 && tl_is_digit(s.data[n]))
		value = value * 10 + (uint64_t)(s.data[n++] - '0');
	if (n < 10 || n > 19 || s.data[0] == '0')
		return 0;
	if (n == 10) {
		i = n;
		if (is_at(s, n, '.') && n + 1 < s.len && tl_is_digit(s.data[n + 1]))
			for (i = n + 1; i < s.len && tl_is_digit(s.data[i]); i++) {
				fraction += (uint64_t)(s.data[i] - '0') * scale;
				scale /= 10;
			}
		*ret_ns = value * TL_SEC + fraction;
		return i;
	}
	if (n == 13)
		*ret_ns = value * TL_MS;
	else if (n == 16)
		*ret_ns = value * 1000;
	else if (n == 19 && value < INT64_MAX)
		*ret_ns = value;
	else
		return 0;
	return n;
}

static size_t read_any(struct tl_span s, uint64_t reference_ns, bool epoch, uint64_t *ret_ns)
{
	struct moment t = {0};
	size_t n;

	if (s.len < 10)
		return 0;
	if (tl_is_digit(s.data[0])) {
		n = read_iso(s, &t);
		if (!n) {
			t = (struct moment){0};
			n = read_clf(s, &t);
		}
		if (!n)
			return epoch ? read_epoch(s, ret_ns) : 0;
	} else {
		n = read_syslog(s, reference_ns, &t);
		if (!n) {
			t = (struct moment){0};
			n = read_klog(s, reference_ns, &t);
		}
	}
	return n && to_ns(&t, ret_ns) ? n : 0;
}

size_t tl_timestamp_detect(struct tl_span text, uint64_t reference_ns, uint64_t *ret_wall_ns)
{
	size_t skip = 0, n;
	bool bracket;

	/* syslog's priority may come first: "<34>Oct 11 22:14:15 …". */
	if (text.len > 3 && text.data[0] == '<') {
		const char *end = memchr(text.data, '>', text.len < 6 ? text.len : 6);

		skip = end ? (size_t)(end - text.data) + 1 : 0;
	}
	bracket = is_at(text, skip, '[');
	skip += bracket;
	text.data += skip;
	text.len -= skip;
	n = read_any(text, reference_ns, true, ret_wall_ns);
	/* A long number is a time only when it stands alone. */
	if (n && n < text.len && !strchr(" \t],:|-", text.data[n]) && tl_is_digit(text.data[0]) &&
	    text.data[n] != ' ')
		return 0;
	return n ? n + skip : 0;
}

bool tl_timestamp_parse(struct tl_span text, uint64_t reference_ns, uint64_t *ret_wall_ns)
{
	uint64_t ns;

	if (read_any(text, reference_ns, true, &ns) != text.len || !text.len)
		return false;
	*ret_wall_ns = ns;
	return true;
}
