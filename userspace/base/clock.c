/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/base/clock.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#define DAY_SECONDS UINT64_C(86400)
#define SECOND_LEN 20 /* "2026-11-23T01:00:00." */

static uint64_t now_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * TL_SEC + (uint64_t)ts.tv_nsec;
}

uint64_t tl_wall_ns(void)
{
	return now_ns(CLOCK_REALTIME);
}

uint64_t tl_mono_ns(void)
{
	return now_ns(CLOCK_MONOTONIC);
}

int64_t tl_mono_to_wall_offset(void)
{
	uint64_t best = UINT64_MAX;
	int64_t offset = 0;

	/* The reading with the least time between its two monotonic ends was disturbed least. */
	for (int i = 0; i < 8; i++) {
		uint64_t before = tl_mono_ns(), wall = tl_wall_ns(), after = tl_mono_ns();

		if (after - before < best) {
			best = after - before;
			offset = (int64_t)(wall - (before + best / 2));
		}
	}
	return offset;
}

struct date {
	unsigned year, month, day;
};

/* The proleptic Gregorian date of a day counted from 1970-01-01. Years are taken to begin in March,
 * so that the leap day is the last of its year and month lengths follow a line (153 days per 5
 * months). */
static struct date date_of_day(uint64_t days)
{
	uint64_t from_march_0 = days + 719468;
	uint64_t era = from_march_0 / 146097, day_of_era = from_march_0 % 146097;
	uint64_t year_of_era =
		(day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	uint64_t day_of_year =
		day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	uint64_t month = (5 * day_of_year + 2) / 153;
	struct date date = {
		.month = (unsigned)(month < 10 ? month + 3 : month - 9),
		.day = (unsigned)(day_of_year - (153 * month + 2) / 5 + 1),
	};

	date.year = (unsigned)(year_of_era + era * 400 + (date.month <= 2));
	return date;
}

static uint64_t day_of_date(struct date date)
{
	uint64_t year = date.year - (date.month <= 2), era = year / 400, year_of_era = year % 400;
	uint64_t month = date.month > 2 ? date.month - 3 : date.month + 9;
	uint64_t day_of_year = (153 * month + 2) / 5 + date.day - 1;

	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
	       day_of_year - 719468;
}

static void put2(char *out, unsigned v)
{
	out[0] = (char)('0' + v / 10);
	out[1] = (char)('0' + v % 10);
}

static void put_date(char *out, struct date date, char separator)
{
	put2(out, date.year / 100);
	put2(out + 2, date.year % 100);
	out[4] = separator;
	put2(out + 5, date.month);
	out[7] = separator;
	put2(out + 8, date.day);
}

static void put_second(char *out, uint64_t second)
{
	unsigned in_day = (unsigned)(second % DAY_SECONDS);

	put_date(out, date_of_day(second / DAY_SECONDS), '-');
	out[10] = 'T';
	put2(out + 11, in_day / 3600);
	out[13] = ':';
	put2(out + 14, in_day / 60 % 60);
	out[16] = ':';
	put2(out + 17, in_day % 60);
	out[19] = '.';
}

void tl_time_format(uint64_t wall_ns, char out[TL_TIME_LEN + 1])
{
	/* Lines come thousands a second, so all of a time but its fraction is nearly always the
	 * last one's. */
	static __thread uint64_t cached_second = UINT64_MAX;
	static __thread char cached[SECOND_LEN];
	uint64_t second = wall_ns / TL_SEC;
	unsigned fraction = (unsigned)(wall_ns % TL_SEC);
	unsigned high = fraction / 100000, low = fraction % 100000;

	if (second != cached_second) {
		put_second(cached, second);
		cached_second = second;
	}
	memcpy(out, cached, SECOND_LEN);
	put2(out + 20, high / 100);
	put2(out + 22, high % 100);
	put2(out + 24, low / 1000);
	put2(out + 26, low / 10 % 100);
	out[28] = (char)('0' + low % 10);
	out[29] = 'Z';
	out[30] = '\0';
}

void tl_date_format(uint64_t wall_ns, char separator, char out[11])
{
	put_date(out, date_of_day(wall_ns / TL_SEC / DAY_SECONDS), separator);
	out[10] = '\0';
}

static bool read_digits(const char *text, unsigned n, unsigned *ret)
{
	unsigned v = 0;

	for (unsigned i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		v = v * 10 + (unsigned)(text[i] - '0');
	}
	*ret = v;
	return true;
}

static unsigned month_length(struct date date)
{
	static const unsigned char length[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = date.year % 4 == 0 && (date.year % 100 != 0 || date.year % 400 == 0);

	return date.month == 2 && leap ? 29 : length[date.month - 1];
}

/* Reads the 19 characters up to the seconds. */
static int parse_second(const char *text, uint64_t *ret_second)
{
	unsigned hour, minute, second;
	struct date date;

	if (!read_digits(text, 4, &date.year) || text[4] != '-' ||
	    !read_digits(text + 5, 2, &date.month) || text[7] != '-' ||
	    !read_digits(text + 8, 2, &date.day) || text[10] != 'T' ||
	    !read_digits(text + 11, 2, &hour) || text[13] != ':' ||
	    !read_digits(text + 14, 2, &minute) || text[16] != ':' ||
	    !read_digits(text + 17, 2, &second))
		return -EINVAL;
	/* 2554 is where 64 bits of nanoseconds end. */
	if (date.year < 1970 || date.year > 2553 || date.month < 1 || date.month > 12 ||
	    date.day < 1 || date.day > month_length(date) || hour > 23 || minute > 59 ||
	    second > 59)
		return -EINVAL;
	*ret_second = day_of_date(date) * DAY_SECONDS + hour * 3600u + minute * 60u + second;
	return 0;
}

int tl_time_parse(const char *text, size_t len, uint64_t *ret_wall_ns)
{
	uint64_t second, ns = 0, unit = TL_SEC / 10;
	int r;

	if (len < 20 || len > TL_TIME_LEN || text[len - 1] != 'Z')
		return -EINVAL;
	r = parse_second(text, &second);
	if (r < 0)
		return r;
	if (len > 20 && text[19] != '.')
		return -EINVAL;
	for (size_t i = 20; i + 1 < len; i++, unit /= 10) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		ns += (uint64_t)(text[i] - '0') * unit;
	}
	*ret_wall_ns = second * TL_SEC + ns;
	return 0;
}
