/* SPDX-License-Identifier: Apache-2.0 */
/* Private to parse/: the parsers, and what they share. */
#ifndef TL_PARSE_PARSERS_H
#define TL_PARSE_PARSERS_H

#include "userspace/parse/parser.h"

extern const struct tl_parser_ops tl_parser_json, tl_parser_logfmt, tl_parser_access, tl_parser_raw;

/* What a field of a structured line means, by its name in the common loggers (zap, logrus, zerolog,
 * pino, bunyan, structlog, logback, serilog, OTel, ECS): level, time, message, trace and span ids.
 */
enum tl_field {
	TL_FIELD_OTHER,
	TL_FIELD_MESSAGE,
	TL_FIELD_SEVERITY,
	TL_FIELD_TIME,
	TL_FIELD_TRACE_ID,
	TL_FIELD_SPAN_ID,
};

enum tl_field tl_field_find(struct tl_span name);

/* Puts one field where it belongs: message becomes the body, severity, time and ids their own
 * fields (only where the value is one), all else an attribute. A message is taken from the first
 * field that is one. Returns true when it became the body. */
bool tl_field_put(struct tl_record *record, struct tl_span name, struct tl_span value,
		  enum tl_attr_type type);

static inline bool tl_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool tl_is_letter(char c)
{
	return ((unsigned char)c | 32u) - 'a' < 26u;
}

/* The name under which a line's own key is kept: itself, or "log." + key where the agent set that
 * attribute (it is one of the first `own`) or only tapline may (correlation., stream., tapline.),
 * so that no text can forge what tapline says. */
struct tl_span tl_field_own_key(const struct tl_record *record, uint32_t own, struct tl_span key,
				struct tl_arena *arena);

/* Reads exactly `n` digits. Returns the number, or -1. */
int tl_digits(const char *at, size_t n);

#endif
