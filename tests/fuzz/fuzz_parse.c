/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of any text through every parser: a record comes out that can be written as JSON, and no
 * text forges what only tapline says. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "userspace/base/arena.h"
#include "userspace/base/json.h"
#include "userspace/parse/parser.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tl_record record;
static struct tl_arena arena;

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void parse(const struct tl_parser_ops *parser, struct tl_span line)
{
	struct tl_buf json = {.max = 64 << 20};
	const struct tl_attr *id;

	tl_arena_reset(&arena);
	tl_record_reset(&record);
	record.observed_ns = record.timestamp_ns = UINT64_C(1700000000000000000);
	record.body = line;
	tl_attr_set(&record.attributes, "correlation.id", TL_SPAN_LIT("ours"));
	(void)parser->parse(&record, &arena);
	id = tl_attr_get(&record.attributes, "correlation.id");
	must(id && tl_span_is(id->value, "ours"));
	must(record.severity_number <= 24 && record.attributes.n <= TL_ATTRS_MAX);
	must(tl_record_to_json(&record, &json) == 0 && tl_utf8_valid(tl_buf_span(&json)));
	tl_buf_done(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tl_span line = {(const char *)data, size};

	for (size_t i = 0; tl_parsers[i]; i++)
		parse(tl_parsers[i], line);
	parse(tl_parser_find("auto"), line);
	return 0;
}
