/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/parse/parsers.h"

const struct tl_parser_ops *const tl_parsers[] = {
	&tl_parser_json, &tl_parser_access, &tl_parser_logfmt, &tl_parser_raw, NULL,
};

/* Parsers differ in their first bytes, so trying all in order costs little for those that do not
 * fit. */
static int parse_auto(struct tl_record *record, struct tl_arena *arena)
{
	for (size_t i = 0; tl_parsers[i]; i++) {
		int r = tl_parsers[i]->parse(record, arena);

		if (r != 0)
			return r;
	}
	return 0;
}

static const struct tl_parser_ops parser_auto = {
	.name = "auto",
	.about = "Tries json, access, logfmt and raw by the looks of each line.",
	.parse = parse_auto,
};

const struct tl_parser_ops *tl_parser_find(const char *name)
{
	if (strcmp(name, parser_auto.name) == 0)
		return &parser_auto;
	for (size_t i = 0; tl_parsers[i]; i++)
		if (strcmp(name, tl_parsers[i]->name) == 0)
			return tl_parsers[i];
	return NULL;
}
