/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/base/text.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "userspace/base/clock.h"
#include "userspace/base/cleanup.h"

/* Reads the digits at `*text` and moves it past them. */
static int parse_count(const char **text, uint64_t *ret)
{
	const char *p = *text;
	uint64_t v = 0;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return -ERANGE;
	*text = p;
	*ret = v;
	return 0;
}

int tl_size_parse(const char *text, uint64_t *ret_bytes)
{
	static const char letters[] = "kmgt";
	uint64_t v;
	int r;

	r = parse_count(&text, &v);
	if (r < 0)
		return r;
	if (*text) {
		const char *letter = strchr(letters, *text | 0x20);

		if (letter) {
			uint64_t unit = UINT64_C(1) << 10 * (letter - letters + 1);

			if (__builtin_mul_overflow(v, unit, &v))
				return -ERANGE;
			text++;
		}
		if (letter && text[0] == 'i' && text[1] == 'B')
			text += 2;
		else if (*text == 'B')
			text++;
		if (*text)
			return -EINVAL;
	}
	*ret_bytes = v;
	return 0;
}

int tl_duration_parse(const char *text, uint64_t *ret_ns)
{
	static const struct {
		const char *suffix;
		uint64_t ns;
	} units[] = {
		{"", TL_SEC},  {"ns", 1},	   {"us", 1000},	 {"ms", TL_MS},
		{"s", TL_SEC}, {"m", 60 * TL_SEC}, {"h", 3600 * TL_SEC}, {"d", 86400 * TL_SEC},
	};
	uint64_t v;
	int r;

	r = parse_count(&text, &v);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(text, units[i].suffix) != 0)
			continue;
		if (__builtin_mul_overflow(v, units[i].ns, &v))
			return -ERANGE;
		*ret_ns = v;
		return 0;
	}
	return -EINVAL;
}

#define NEAREST_MAX 64

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned ab = a < b ? a : b;

	return ab < c ? ab : c;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Letters to insert, drop, replace or swap with their neighbour to make `a` of `b`; case does not
 * count. */
static unsigned edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned rows[3][NEAREST_MAX + 1];
	unsigned *before = rows[0], *last = rows[1], *row = rows[2];

	for (unsigned j = 0; j <= b_len; j++)
		last[j] = j;
	for (unsigned i = 1; i <= a_len; i++) {
		unsigned *recycled = before;

		row[0] = i;
		for (unsigned j = 1; j <= b_len; j++) {
			char x = lower(a[i - 1]), y = lower(b[j - 1]);

			row[j] = min3(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y));
			if (i > 1 && j > 1 && x == lower(b[j - 2]) && lower(a[i - 2]) == y)
				row[j] = min3(row[j], before[j - 2] + 1, row[j]);
		}
		before = last;
		last = row;
		row = recycled;
	}
	return last[b_len];
}

const char *tl_nearest(const char *word, const char *const *names, size_t n)
{
	size_t word_len = strlen(word);
	unsigned best = NEAREST_MAX;
	const char *nearest = NULL;

	if (word_len > NEAREST_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(names[i]);
		unsigned distance;

		if (len > NEAREST_MAX)
			continue;
		distance = edit_distance(word, word_len, names[i], len);
		if (distance * 3 <= (len > word_len ? len : word_len) && distance < best) {
			best = distance;
			nearest = names[i];
		}
	}
	return nearest;
}

/* A place to come back to: the last star, and where its match ended when it was last tried. */
struct star {
	const char *pattern; /* what follows the star, NULL while there was none */
	const char *text;
	bool whole_folders; /* a "**" with a slash behind it: matches "", "a/", "a/b/"... */
};

/* Lets a `**` swallow more, one character or one folder. */
static bool deep_star_extend(struct star *star)
{
	if (!star->pattern)
		return false;
	if (star->whole_folders) {
		const char *slash = strchr(star->text, '/');

		if (!slash)
			return false;
		star->text = slash + 1;
		return true;
	}
	return *star->text++ != '\0';
}

int tl_glob_match(const char *pattern, const char *text)
{
	/* A pattern without a slash is about a name or the end of a path: its star crosses
	 * everything. */
	bool in_path = strchr(pattern, '/') != NULL;
	struct star star = {0}, deep = {0};

	for (;;) {
		if (*pattern == '*') {
			bool is_deep = pattern[1] == '*' || !in_path;

			while (*pattern == '*')
				pattern++;
			star = (struct star){0};
			if (is_deep) {
				deep = (struct star){pattern, text, *pattern == '/'};
				if (deep.whole_folders)
					deep.pattern = ++pattern;
			} else {
				star = (struct star){pattern, text, false};
			}
			continue;
		}
		if (!*pattern && !*text)
			return 1;
		if (*text &&
		    (*pattern == *text || (*pattern == '?' && (*text != '/' || !in_path)))) {
			pattern++;
			text++;
		} else if (star.pattern && *star.text && *star.text != '/') {
			pattern = star.pattern;
			text = ++star.text;
		} else if (deep_star_extend(&deep)) {
			star = (struct star){0};
			pattern = deep.pattern;
			text = deep.text;
		} else {
			return 0;
		}
	}
}
