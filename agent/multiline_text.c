/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/multiline_text.h"

#include <ctype.h>

#define LEVEL_WITHIN 96
#define CLASS_WITHIN 256

struct tl_span tl_text_trim(struct tl_span line)
{
	while (line.len && (line.data[0] == ' ' || line.data[0] == '\t')) {
		line.data++;
		line.len--;
	}
	return line;
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* True when `word` stands at `p`, ended by something else than a letter. */
static bool word_at(const char *p, const char *end, const char *word, size_t len)
{
	return (size_t)(end - p) >= len && memcmp(p, word, len) == 0 &&
	       (p + len == end || !is_word(p[len]));
}

bool tl_text_is_error(struct tl_span line)
{
	const char *p = line.data, *end = p + (line.len < LEVEL_WITHIN ? line.len : LEVEL_WITHIN);
	const char *whole = line.data + line.len;

	if (line.len && p[0] == '{')
		return false;
	/* Two capitals of the right ranges: the cheap test that prose and class names fail. */
	for (; p + 1 < end; p++) {
		bool hit = false;

		if (p[0] > 'S' || p[0] < 'C' || p[1] > 'R' || p[1] < 'A')
			continue;
		if (p > line.data && is_word(p[-1]))
			continue;
		if (p[0] == 'E')
			hit = word_at(p, whole, "ERROR", 5);
		else if (p[0] == 'F')
			hit = word_at(p, whole, "FATAL", 5);
		else if (p[0] == 'S')
			hit = word_at(p, whole, "SEVERE", 6);
		else if (p[0] == 'C')
			hit = word_at(p, whole, "CRITICAL", 8);
		if (hit)
			return true;
	}
	return false;
}

static bool ends_in(const char *from, const char *to, const char *suffix, size_t len)
{
	return (size_t)(to - from) >= len && memcmp(to - len, suffix, len) == 0;
}

#define ENDS_IN(from, to, literal) ends_in(from, to, literal, sizeof(literal) - 1)

static bool is_throwable(const char *from, const char *to)
{
	return ENDS_IN(from, to, "Exception") || ENDS_IN(from, to, "Error") ||
	       ENDS_IN(from, to, "Throwable") || ENDS_IN(from, to, "Failure") ||
	       ENDS_IN(from, to, "Fault") || ENDS_IN(from, to, "Death");
}

/* A dotted name at the begin of `line`. `*ret_last` is the first byte of its last part, the return
 * value the byte behind it, NULL when there is none. */
static const char *dotted_name(struct tl_span line, const char **ret_last)
{
	const char *p = line.data, *end = p + (line.len < CLASS_WITHIN ? line.len : CLASS_WITHIN),
		   *last = p;
	bool dots = false;

	for (; p < end; p++) {
		if (is_word(*p) || *p == '$') {
			if (p == last && isdigit((unsigned char)*p))
				return NULL;
		} else if (*p == '.' && p > last) {
			last = p + 1;
			dots = true;
		} else {
			break;
		}
	}
	if (!dots || p == last)
		return NULL;
	*ret_last = last;
	return p;
}

static enum tl_java_line java_class(struct tl_span line)
{
	const char *last, *end = line.data + line.len, *p = dotted_name(line, &last);

	if (!p || *last < 'A' || *last > 'Z')
		return TL_JAVA_NOT;
	if (p < end && (p[0] != ':' || (p + 1 < end && p[1] != ' ')))
		return TL_JAVA_NOT;
	return is_throwable(last, p) ? TL_JAVA_HEADER : TL_JAVA_CLASS;
}

static bool is_cause(struct tl_span text)
{
	return TL_TEXT_STARTS(text, "Caused by: ") || TL_TEXT_STARTS(text, "Suppressed: ") ||
	       TL_TEXT_STARTS(text, "Wrapped by: ");
}

static bool is_dots(struct tl_span text)
{
	return TL_TEXT_STARTS(text, "... ") && text.len > 4 && isdigit((unsigned char)text.data[4]);
}

enum tl_java_line tl_text_java(struct tl_span line)
{
	char c = line.len ? line.data[0] : 0;

	if (c == '\t' || c == ' ') {
		struct tl_span text = tl_text_trim(line);

		if ((TL_TEXT_STARTS(text, "at ") && text.len > 3) || is_dots(text) ||
		    TL_TEXT_STARTS(text, "- locked <"))
			return TL_JAVA_FRAME;
		return is_cause(text) ? TL_JAVA_CAUSE : TL_JAVA_NOT;
	}
	if (!isalpha((unsigned char)c) && c != '_' && c != '.')
		return TL_JAVA_NOT;
	if (is_dots(line))
		return TL_JAVA_FRAME;
	if (is_cause(line))
		return TL_JAVA_CAUSE;
	if (TL_TEXT_STARTS(line, "Exception in thread \""))
		return TL_JAVA_HEADER;
	return java_class(line);
}

bool tl_text_may(struct tl_span text, struct tl_span whole, size_t least)
{
	size_t n = text.len < whole.len ? text.len : whole.len;

	return n >= least && memcmp(text.data, whole.data, n) == 0;
}

bool tl_text_java_may(struct tl_span text, bool eager)
{
	const char *last, *p;
	struct tl_span trimmed = tl_text_trim(text);

	if (trimmed.len < text.len)
		return trimmed.len == 0 || tl_text_may(trimmed, TL_SPAN_LIT("at "), 1) ||
		       tl_text_may(trimmed, TL_SPAN_LIT("... "), 1) ||
		       tl_text_may(trimmed, TL_SPAN_LIT("Suppressed: "), 1) ||
		       tl_text_may(trimmed, TL_SPAN_LIT("Caused by: "), 1);
	if (tl_text_may(text, TL_SPAN_LIT("Caused by: "), eager ? 4 : 1))
		return true;
	if (tl_text_java(text) == TL_JAVA_HEADER)
		return true;
	/* A dotted name that is not at its end yet. */
	p = dotted_name(text, &last);
	if (p)
		return p == text.data + text.len;
	for (size_t i = 0; i < text.len; i++)
		if (!is_word(text.data[i]) && text.data[i] != '$' &&
		    (text.data[i] != '.' || i + 1 < text.len))
			return false;
	return !eager || (text.len > 1 && text.data[text.len - 1] == '.');
}

enum tl_python_line tl_text_python(struct tl_span line)
{
	if (TL_TEXT_STARTS(line, "Traceback (most recent call last)"))
		return TL_PYTHON_TRACEBACK;
	if (TL_TEXT_STARTS(line, "  + Exception Group Traceback (most recent call last)"))
		return TL_PYTHON_GROUP;
	if (TL_TEXT_STARTS(line,
			   "During handling of the above exception, another exception occurred") ||
	    TL_TEXT_STARTS(line,
			   "The above exception was the direct cause of the following exception"))
		return TL_PYTHON_CHAIN;
	return TL_PYTHON_NOT;
}

/* main.(*T).f(0x1, ...), panic({0x1?, 0x2?}): no blank before the first parenthesis. */
static bool is_go_call(struct tl_span line)
{
	const char *open = memchr(line.data, '(', line.len);

	if (!open || open == line.data || line.data[line.len - 1] != ')')
		return false;
	return isalpha((unsigned char)line.data[0]) &&
	       !memchr(line.data, ' ', (size_t)(open - line.data));
}

/* rax    0x0 */
static bool is_go_register(struct tl_span line)
{
	size_t i = 0;

	while (i < line.len && i < 7 &&
	       (islower((unsigned char)line.data[i]) || isdigit((unsigned char)line.data[i])))
		i++;
	if (i < 2 || i >= line.len || line.data[i] != ' ')
		return false;
	return TL_TEXT_STARTS(tl_text_trim((struct tl_span){line.data + i, line.len - i}), "0x");
}

static bool is_goroutine(struct tl_span line)
{
	return TL_TEXT_STARTS(line, "goroutine ") && line.len > 11 &&
	       isdigit((unsigned char)line.data[10]) && line.data[line.len - 1] == ':';
}

enum tl_go_line tl_text_go(struct tl_span line)
{
	if (!line.len)
		return TL_GO_NOT;
	if (line.data[0] == '\t')
		return TL_GO_FRAME;
	if (TL_TEXT_STARTS(line, "panic: ") || TL_TEXT_STARTS(line, "fatal error: "))
		return TL_GO_PANIC;
	if (is_goroutine(line))
		return TL_GO_GOROUTINE;
	if (TL_TEXT_STARTS(line, "exit status ") && line.len > 12 &&
	    isdigit((unsigned char)line.data[12]))
		return TL_GO_EXIT;
	if (TL_TEXT_STARTS(line, "[signal ") || TL_TEXT_STARTS(line, "created by ") ||
	    TL_TEXT_STARTS(line, "runtime stack:") ||
	    TL_TEXT_STARTS(line, "...additional frames elided...") ||
	    TL_TEXT_STARTS(line, "[originating from goroutine ") || is_go_call(line) ||
	    is_go_register(line))
		return TL_GO_FRAME;
	return TL_GO_NOT;
}
