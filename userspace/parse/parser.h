/* SPDX-License-Identifier: Apache-2.0 */
/* struct tl_parser_ops: turns the text of a line into fields. A parser is one file and one line in
 * parsers.c. Parsers are pure: no state, no allocation but the arena, any thread; hostile input
 * costs time linear in its length. */
#ifndef TL_PARSE_PARSER_H
#define TL_PARSE_PARSER_H

#include "userspace/record/record.h"

struct tl_parser_ops {
	const char *name;
	const char *about; /* one sentence for docs and --help */
	/* Fills attributes (and body, severity, timestamp, trace_id, span_id where the text has
	 * them) of `record` from record->body. Attribute names follow OTel semantic conventions
	 * where one exists. On 0 the record is untouched. Returns 1 it was this format, 0 it was
	 * not, negative errno malformed in a way worth a dead letter. */
	int (*parse)(struct tl_record *record, struct tl_arena *arena);
};

/* Ends with NULL; order is the order in which `auto` tries. */
extern const struct tl_parser_ops *const tl_parsers[];

/* NULL when there is none of this name. "auto" tries all by the line's looks; "raw" only finds
 * severity and timestamp. */
const struct tl_parser_ops *tl_parser_find(const char *name);

/* Finds a severity word at the beginning of a line or in a well-known place ("ERROR", "[warn]",
 * "level=info", "E0102", "<3>", " - ERROR - ", "INFO:root:"). Returns its number (1..24) and the
 * word, 0 none. */
uint8_t tl_severity_detect(struct tl_span text, struct tl_span *ret_word);

/* Severity of a word or level number of a known field ("warning", "WARN", "E", pino's 30, syslog's
 * 3 by `syslog`). 0 unknown. */
uint8_t tl_severity_word(struct tl_span word);

/* Finds a timestamp at the beginning of a line (after `[` perhaps): RFC 3339 and ISO 8601 with T or
 * space, comma or dot fraction, with or without zone; Apache/CLF; syslog RFC 3164 (year from
 * `reference_ns`); epoch seconds/ms/us/ns; Go's 2006/01/02 15:04:05; klog's. Text without a zone is
 * UTC. Returns the bytes it takes, 0 none. */
size_t tl_timestamp_detect(struct tl_span text, uint64_t reference_ns, uint64_t *ret_wall_ns);

/* The whole of `text` is a timestamp (a field's value). */
bool tl_timestamp_parse(struct tl_span text, uint64_t reference_ns, uint64_t *ret_wall_ns);

#endif
