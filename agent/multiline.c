/* SPDX-License-Identifier: Apache-2.0 */
/* One small state machine per language, told apart by the state byte. Two kinds of doubt are
 * settled by looking at the text behind the line in the same call, where there is any: whether a
 * blank line belongs to a trace that goes on, and whether a second line of an exception's message
 * is followed by its frames. With nothing to look at, a blank line behind a trace is taken into it
 * (it says nothing by itself), a message's second line is not. */
#include "agent/multiline.h"

#include <errno.h>
#include <stdio.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "agent/multiline_text.h"
#include "userspace/base/text.h"

#define REGEX_WITHIN 4096  /* bytes of a line that a regex sees */
#define REGEX_STEPS 100000 /* backtracks; more count as a match: the line stands alone */
#define MESSAGE_LINES 16   /* lines of an exception's message at most */
#define FRAGMENT_LEAST 4   /* bytes that tell a fragment from ordinary text */

enum state {
	NONE,
	MAYBE, /* a line of level error: a trace may follow */
	JAVA_HEAD,
	JAVA_TRACE,
	PY_TRACE,
	PY_EXCEPTION,
	PY_BLANK,
	PY_CHAIN,
	PY_GROUP,
	GO_TRACE,
	GO_END,
	CUSTOM,
};

struct rule {
	char *name; /* owned */
	pcre2_code *code;
	bool used;
};

struct tl_multiline {
	bool java, python, go, custom;
	struct rule *rules; /* owned */
	size_t n_rules;
	pcre2_match_data *match;
	pcre2_match_context *context;
};

void tl_multiline_free(struct tl_multiline *multiline)
{
	if (!multiline)
		return;
	for (size_t i = 0; i < multiline->n_rules; i++) {
		free(multiline->rules[i].name);
		pcre2_code_free(multiline->rules[i].code);
	}
	free(multiline->rules);
	pcre2_match_data_free(multiline->match);
	pcre2_match_context_free(multiline->context);
	free(multiline);
}

static int compile(struct rule *rule, const char *text, struct tl_error *error)
{
	const char *equals = strchr(text, '=');
	PCRE2_SIZE at;
	int code;

	if (!equals || equals == text)
		return tl_error_set(error, -EINVAL,
				    "multi-line rule \"%s\" is not of the form name=REGEX", text);
	rule->name = strndup(text, (size_t)(equals - text));
	if (!rule->name)
		return tl_error_set(error, -ENOMEM, "no memory for a multi-line rule");
	rule->code =
		pcre2_compile((PCRE2_SPTR)(equals + 1), PCRE2_ZERO_TERMINATED, 0, &code, &at, NULL);
	if (!rule->code) {
		PCRE2_UCHAR why[160] = "";

		pcre2_get_error_message(code, why, sizeof(why));
		return tl_error_set(
			error, -EINVAL,
			"multi-line rule \"%s\": the regex is wrong at its byte %zu: %s",
			rule->name, (size_t)at, (const char *)why);
	}
	/* Without a JIT the interpreter does it. */
	(void)pcre2_jit_compile(rule->code, PCRE2_JIT_COMPLETE);
	return 0;
}

static int compile_all(struct tl_multiline *multiline, const char *const *custom, size_t n,
		       struct tl_error *error)
{
	multiline->rules = calloc(n ? n : 1, sizeof(*multiline->rules));
	multiline->context = pcre2_match_context_create(NULL);
	multiline->match = pcre2_match_data_create(1, NULL);
	if (!multiline->rules || !multiline->context || !multiline->match)
		return tl_error_set(error, -ENOMEM, "no memory for the multi-line rules");
	pcre2_set_match_limit(multiline->context, REGEX_STEPS);
	for (size_t i = 0; i < n; i++) {
		int r;

		multiline->n_rules = i + 1;
		r = compile(&multiline->rules[i], custom[i], error);
		if (r < 0)
			return r;
	}
	return 0;
}

static int unknown_rule(const struct tl_multiline *multiline, const char *name,
			struct tl_error *error)
{
	const char *names[64] = {"java", "python", "go", "auto", "off"}, *nearest;
	size_t n = 5;

	for (size_t i = 0; i < multiline->n_rules && n < ARRAY_SIZE(names); i++)
		names[n++] = multiline->rules[i].name;
	nearest = tl_nearest(name, names, n);
	return tl_error_set(error, -EINVAL,
			    "there is no multi-line rule \"%s\"%s%s%s; there are java, python, go "
			    "and custom ones",
			    name, nearest ? "; did you mean \"" : "", nearest ? nearest : "",
			    nearest ? "\"?" : "");
}

static int use(struct tl_multiline *multiline, const char *name, struct tl_error *error)
{
	bool known = true;

	if (strcmp(name, "java") == 0)
		multiline->java = true;
	else if (strcmp(name, "python") == 0)
		multiline->python = true;
	else if (strcmp(name, "go") == 0)
		multiline->go = true;
	else
		known = false;
	for (size_t i = 0; i < multiline->n_rules; i++)
		if (strcmp(multiline->rules[i].name, name) == 0)
			known = multiline->rules[i].used = multiline->custom = true;
	return known ? 0 : unknown_rule(multiline, name, error);
}

static int use_list(struct tl_multiline *multiline, const char *rules, struct tl_error *error)
{
	_cleanup_(freep) char *list = strdup(rules);
	char *save = NULL;

	if (!list)
		return tl_error_set(error, -ENOMEM, "no memory for the multi-line rules");
	for (char *name = strtok_r(list, ", ", &save); name; name = strtok_r(NULL, ", ", &save)) {
		int r = use(multiline, name, error);

		if (r < 0)
			return r;
	}
	return 0;
}

int tl_multiline_new(const char *rules, const char *const *custom, size_t n,
		     struct tl_multiline **ret, struct tl_error *error)
{
	_cleanup_(tl_multiline_freep) struct tl_multiline *multiline =
		calloc(1, sizeof(*multiline));
	int r;

	if (!multiline)
		return tl_error_set(error, -ENOMEM, "no memory for the multi-line rules");
	r = compile_all(multiline, custom, n, error);
	if (r < 0)
		return r;
	if (!rules || strcmp(rules, "auto") == 0) {
		multiline->java = multiline->python = multiline->go = true;
		for (size_t i = 0; i < n; i++)
			multiline->rules[i].used = multiline->custom = true;
	} else if (strcmp(rules, "off") != 0) {
		r = use_list(multiline, rules, error);
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(multiline);
	return 0;
}

bool tl_multiline_on(const struct tl_multiline *multiline)
{
	return multiline->java || multiline->python || multiline->go || multiline->custom;
}

bool tl_multiline_ended(uint8_t state)
{
	return state == GO_END;
}

/* Whether a custom rule says that `line` begins a record. A regex that takes too long says yes. */
static bool custom_begins(const struct tl_multiline *multiline, struct tl_span line)
{
	size_t len = line.len < REGEX_WITHIN ? line.len : REGEX_WITHIN;

	for (size_t i = 0; i < multiline->n_rules; i++) {
		int r;

		if (!multiline->rules[i].used)
			continue;
		r = pcre2_match(multiline->rules[i].code, (PCRE2_SPTR)(len ? line.data : ""), len,
				0, 0, multiline->match, multiline->context);
		if (r != PCRE2_ERROR_NOMATCH)
			return true;
	}
	return false;
}

/* Takes the first line from `rest`. False when there is no whole one. */
static bool next_line(struct tl_span *rest, struct tl_span *ret_line)
{
	const char *end = rest->len ? memchr(rest->data, '\n', rest->len) : NULL;

	if (!end)
		return false;
	ret_line->data = rest->data;
	ret_line->len = (size_t)(end - rest->data);
	if (ret_line->len && end[-1] == '\r')
		ret_line->len--;
	rest->len -= (size_t)(end + 1 - rest->data);
	rest->data = end + 1;
	return true;
}

/* Whether the next line in `rest` is a frame, with at most `lines` others before it that begin no
 * record of their own. */
static bool frame_follows(struct tl_span rest, unsigned lines)
{
	struct tl_span line;

	for (unsigned i = 0; i <= lines && next_line(&rest, &line); i++) {
		if (tl_text_java(line) == TL_JAVA_FRAME)
			return true;
		if (tl_text_java(line) != TL_JAVA_NOT || tl_text_is_error(line))
			return false;
	}
	return false;
}

static uint8_t java_after(enum tl_java_line kind)
{
	return kind == TL_JAVA_FRAME ? JAVA_TRACE : JAVA_HEAD;
}

uint8_t tl_multiline_start(const struct tl_multiline *multiline, struct tl_span line)
{
	if (multiline->custom)
		return CUSTOM;
	if (!line.len)
		return NONE;
	if (multiline->java) {
		enum tl_java_line kind = tl_text_java(line);

		if (kind != TL_JAVA_NOT)
			return java_after(kind);
	}
	if (multiline->python && (line.data[0] == 'T' || line.data[0] == ' ')) {
		enum tl_python_line kind = tl_text_python(line);

		if (kind == TL_PYTHON_TRACEBACK || kind == TL_PYTHON_GROUP)
			return kind == TL_PYTHON_GROUP ? PY_GROUP : PY_TRACE;
	}
	if (multiline->go && (line.data[0] == 'p' || line.data[0] == 'f' || line.data[0] == 'g')) {
		enum tl_go_line kind = tl_text_go(line);

		if (kind == TL_GO_PANIC || kind == TL_GO_GOROUTINE)
			return GO_TRACE;
	}
	return (multiline->java || multiline->python) && tl_text_is_error(line) ? MAYBE : NONE;
}

/* Behind a line that is no trace itself. */
static bool next_of_plain(const struct tl_multiline *multiline, uint8_t *state, struct tl_span line,
			  struct tl_span rest)
{
	if (multiline->java) {
		enum tl_java_line kind = tl_text_java(line);

		if (kind != TL_JAVA_NOT && (kind != TL_JAVA_CLASS || frame_follows(rest, 0))) {
			*state = java_after(kind);
			return true;
		}
	}
	if (multiline->python) {
		enum tl_python_line kind = tl_text_python(line);

		if (kind == TL_PYTHON_TRACEBACK || kind == TL_PYTHON_GROUP) {
			*state = kind == TL_PYTHON_GROUP ? PY_GROUP : PY_TRACE;
			return true;
		}
	}
	if (multiline->go && tl_text_go(line) == TL_GO_GOROUTINE) {
		*state = GO_TRACE;
		return true;
	}
	return false;
}

static bool next_of_java(uint8_t *state, struct tl_span line, struct tl_span rest)
{
	enum tl_java_line kind = tl_text_java(line);

	if (kind == TL_JAVA_FRAME || kind == TL_JAVA_CAUSE) {
		*state = java_after(kind);
		return true;
	}
	/* Perhaps the message's next line. */
	return *state == JAVA_HEAD && kind == TL_JAVA_NOT && !tl_text_is_error(line) &&
	       frame_follows(rest, MESSAGE_LINES);
}

static bool is_indented(struct tl_span line)
{
	return line.len && (line.data[0] == ' ' || line.data[0] == '\t');
}

/* After the exception's own line only a chain goes on, behind a blank line. */
static bool next_of_python_end(uint8_t *state, struct tl_span line, struct tl_span rest)
{
	struct tl_span after;

	if (line.len)
		return false;
	if (next_line(&rest, &after) && tl_text_python(after) != TL_PYTHON_CHAIN)
		return false;
	*state = PY_BLANK;
	return true;
}

static bool next_of_python(uint8_t *state, struct tl_span line, struct tl_span rest)
{
	enum tl_python_line kind = tl_text_python(line);

	switch (*state) {
	case PY_TRACE:
		if (!is_indented(line))
			*state = PY_EXCEPTION;
		return line.len > 0 && kind == TL_PYTHON_NOT;
	case PY_GROUP:
		return is_indented(line) || next_of_python_end(state, line, rest);
	case PY_CHAIN:
		if (kind == TL_PYTHON_TRACEBACK || kind == TL_PYTHON_GROUP)
			*state = kind == TL_PYTHON_GROUP ? PY_GROUP : PY_TRACE;
		return !line.len || *state != PY_CHAIN;
	default:
		if (kind != TL_PYTHON_CHAIN)
			return *state == PY_EXCEPTION && next_of_python_end(state, line, rest);
		*state = PY_CHAIN;
		return true;
	}
}

static bool next_of_go(uint8_t *state, struct tl_span line, struct tl_span rest)
{
	enum tl_go_line kind = tl_text_go(line);
	struct tl_span after;

	if (!line.len)
		return !next_line(&rest, &after) || tl_text_go(after) != TL_GO_NOT;
	if (kind == TL_GO_EXIT)
		*state = GO_END;
	return kind != TL_GO_NOT;
}

bool tl_multiline_next(const struct tl_multiline *multiline, uint8_t *state, struct tl_span line,
		       struct tl_span rest)
{
	switch ((enum state) * state) {
	case NONE:
	case MAYBE:
		return next_of_plain(multiline, state, line, rest);
	case JAVA_HEAD:
	case JAVA_TRACE:
		return next_of_java(state, line, rest);
	case PY_TRACE:
	case PY_EXCEPTION:
	case PY_BLANK:
	case PY_CHAIN:
	case PY_GROUP:
		return next_of_python(state, line, rest);
	case GO_TRACE:
		return next_of_go(state, line, rest);
	case GO_END:
		return false;
	case CUSTOM:
		return !custom_begins(multiline, line);
	}
	return false;
}

bool tl_multiline_peek(const struct tl_multiline *multiline, struct tl_span rest, bool more)
{
	size_t least = more ? 1 : FRAGMENT_LEAST;
	struct tl_span line;
	uint8_t state = NONE;

	if (!rest.len)
		return more;
	/* Most lines that follow begin with a digit or a bracket: nothing that continues does. */
	if (strchr("0123456789[{\"'<(", rest.data[0]) && rest.data[0])
		return false;
	if (next_line(&rest, &line))
		return next_of_plain(multiline, &state, line, rest);
	return (multiline->java && tl_text_java_may(rest, !more)) ||
	       (multiline->python &&
		(tl_text_may(rest, TL_SPAN_LIT("Traceback (most recent call last)"), least) ||
		 tl_text_may(rest, TL_SPAN_LIT("  + Exception Group Traceback"), least))) ||
	       (multiline->go && tl_text_may(rest, TL_SPAN_LIT("goroutine "), least));
}
