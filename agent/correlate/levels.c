/* SPDX-License-Identifier: Apache-2.0 */
/* The names of levels, as a person switches them. */
#include "agent/correlate/correlate.h"

#include <string.h>

static const char *const names[] = TL_HOW_NAMES;

/* The set that a word names; 0 unknown. */
static uint32_t set_of(struct tl_span word)
{
	if (tl_span_eq(word, tl_span_str("default")))
		return TL_LEVELS_ALL;
	if (tl_span_eq(word, tl_span_str("single")))
		return TL_LEVEL_SINGLE;
	for (int i = TL_HOW_APP; i < TL_HOWS; i++)
		if (tl_span_eq(word, tl_span_str(names[i])))
			return 1u << i;
	return 0;
}

static int unknown(struct tl_span word, struct tl_error *error)
{
	char all[256] = "";

	for (int i = TL_HOW_APP; i < TL_HOWS; i++) {
		strcat(all, names[i]);
		strcat(all, ", ");
	}
	return tl_error_set(error, -EINVAL,
			    "--levels: \"%.*s\" is no level; there are %ssingle, and default",
			    (int)word.len, word.data, all);
}

int tl_levels_parse(const char *text, uint32_t *ret_levels, struct tl_error *error)
{
	uint32_t levels = *text == '-' ? TL_LEVELS_ALL : 0;

	while (*text) {
		bool without = *text == '-';
		struct tl_span word = {text + without, strcspn(text + without, ",")};
		uint32_t set = set_of(word);

		if (!set)
			return unknown(word, error);
		levels = without ? levels & ~set : levels | set;
		text = word.data + word.len;
		text += *text == ',';
	}
	*ret_levels = levels | TL_LEVELS_GIVEN;
	return 0;
}
