/* SPDX-License-Identifier: Apache-2.0 */
/* Severity words and where lines keep them. Numbers are those of the OTel log data model. A word
 * counts only in a place where loggers put it: a sentence that mentions an error is no ERROR. */
#include "userspace/parse/parsers.h"

#define LOOK_AT 160 /* bytes at the beginning of a line in which a severity is looked for */

static const struct {
	const char *word;
	uint8_t number;
} words[] = {
	{"trace", 1},  {"finest", 1},	   {"verbose", 1},	 {"debug", 5},
	{"dbg", 5},    {"finer", 5},	   {"fine", 5},		 {"info", 9},
	{"inf", 9},    {"information", 9}, {"informational", 9}, {"notice", 10},
	{"note", 10},  {"config", 9},	   {"warn", 13},	 {"warning", 13},
	{"wrn", 13},   {"error", 17},	   {"err", 17},		 {"severe", 17},
	{"eror", 17},  {"critical", 21},   {"crit", 21},	 {"fatal", 21},
	{"ftl", 21},   {"alert", 22},	   {"emerg", 23},	 {"emergency", 23},
	{"panic", 23}, {"dpanic", 23},
};

static uint8_t word_number(struct tl_span word)
{
	if (word.len < 3 || word.len > 13 || !tl_is_letter(word.data[0]))
		return 0;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (tl_span_ieq(word, words[i].word))
			return words[i].number;
	return 0;
}

/* pino and bunyan: 10 trace … 60 fatal. */
static uint8_t level_number(struct tl_span word)
{
	static const uint8_t numbers[] = {0, 1, 5, 9, 13, 17, 21};

	if (word.len != 2 || word.data[1] != '0' || word.data[0] < '1' || word.data[0] > '6')
		return 0;
	return numbers[word.data[0] - '0'];
}

static uint8_t letter_number(char letter)
{
	switch (letter) {
	case 'T':
		return 1;
	case 'D':
		return 5;
	case 'I':
		return 9;
	case 'W':
		return 13;
	case 'E':
		return 17;
	case 'F':
		return 21;
	default:
		return 0;
	}
}

uint8_t tl_severity_word(struct tl_span word)
{
	uint8_t number = word_number(word);

	if (!number)
		number = level_number(word);
	if (!number && word.len == 1)
		number = letter_number(word.data[0]);
	return number;
}

/* syslog's "<PRI>" at the very beginning (RFC 5424): the severity is PRI mod 8. */
static uint8_t syslog_priority(struct tl_span text, struct tl_span *ret_word)
{
	static const uint8_t numbers[] = {23, 22, 21, 17, 13, 10, 9, 5};
	size_t i = 1;
	int pri = 0;

	if (text.len < 3 || text.data[0] != '<')
		return 0;
	for (; i < text.len && i < 4 && tl_is_digit(text.data[i]); i++)
		pri = pri * 10 + (text.data[i] - '0');
	if (i == 1 || i >= text.len || text.data[i] != '>' || pri > 191)
		return 0;
	*ret_word = (struct tl_span){text.data + 1, i - 1};
	return numbers[pri & 7];
}

/* klog: a letter, MMDD, a space. */
static uint8_t klog_letter(struct tl_span text, struct tl_span *ret_word)
{
	if (text.len < 6 || text.data[5] != ' ' || tl_digits(text.data + 1, 4) < 0 ||
	    !strchr("IWEF", text.data[0]))
		return 0;
	*ret_word = (struct tl_span){text.data, 1};
	return letter_number(text.data[0]);
}

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

/* Whether a severity word at [start, end) stands where loggers put it: in brackets, all in capitals
 * between separators, or directly before a colon at the line's beginning ("error: …",
 * "INFO:root:…"), or after "level=". */
static bool in_place(struct tl_span text, size_t start, size_t end)
{
	char before = start ? text.data[start - 1] : 0, after = end < text.len ? text.data[end] : 0;

	if (before == '[' || before == '(' || before == '<' || before == '|')
		return true;
	if (before == '=' || before == '"')
		return false; /* a field: the structured parsers' business, or somebody's value */
	if (after == ':' && (start == 0 || before == ' ' || before == ']' || before == '.'))
		return start == 0 || !is_lower(text.data[start]);
	for (size_t i = start; i < end; i++)
		if (is_lower(text.data[i]))
			return false;
	return start == 0 || before == ' ' || before == '\t' || before == ']' || before == '-' ||
	       before == ':';
}

static uint8_t find_word(struct tl_span text, struct tl_span *ret_word)
{
	size_t limit = text.len < LOOK_AT ? text.len : LOOK_AT, i = 0;

	while (i < limit) {
		size_t start = i;
		uint8_t number;

		while (i < limit && tl_is_letter(text.data[i]))
			i++;
		if (i - start >= 3 && i - start <= 13) {
			struct tl_span word = {text.data + start, i - start};

			number = word_number(word);
			if (number && in_place(text, start, i)) {
				*ret_word = word;
				return number;
			}
		}
		i += i == start;
	}
	return 0;
}

uint8_t tl_severity_detect(struct tl_span text, struct tl_span *ret_word)
{
	uint8_t number = syslog_priority(text, ret_word);
	const char *level;
	size_t end;

	if (!number)
		number = klog_letter(text, ret_word);
	if (!number)
		number = find_word(text, ret_word);
	if (number || text.len < 9)
		return number;
	/* "level=info" somewhere in a line that is no whole logfmt. */
	level = memmem(text.data, text.len < LOOK_AT ? text.len : LOOK_AT, "level=", 6);
	if (!level)
		return 0;
	level += 6;
	for (end = 0; level + end < text.data + text.len && tl_is_letter(level[end]); end++)
		;
	*ret_word = (struct tl_span){level, end};
	return word_number(*ret_word);
}
