/* SPDX-License-Identifier: Apache-2.0 */
/* Any text: the body stays as it is; a timestamp at its beginning and a severity word are found. */
#include "userspace/parse/parsers.h"

static int parse_raw(struct tl_record *record, struct tl_arena *arena)
{
	struct tl_span text = record->body, word;
	uint64_t when;
	uint8_t number;

	(void)arena;
	if (tl_timestamp_detect(text, record->observed_ns, &when))
		record->timestamp_ns = when;
	if (record->severity_number)
		return 1;
	number = tl_severity_detect(text, &word);
	if (number) {
		record->severity_number = number;
		record->severity_text = tl_span_str(tl_severity_text(number));
	}
	return 1;
}

const struct tl_parser_ops tl_parser_raw = {
	.name = "raw",
	.about = "Any text: finds severity and timestamp, keeps the line as it is.",
	.parse = parse_raw,
};
