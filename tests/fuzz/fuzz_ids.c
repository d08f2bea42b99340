/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of any name and value: what is kept obeys its bounds, its trace id is one, and packing
 * gives back what went in. The input is lines `name: value`; a line that begins with `<` is of the
 * response. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "agent/correlate/id_formats.h"
#include "agent/correlate/ids.h"
#include "agent/correlate/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_hex(const char *text, size_t len)
{
	must(strlen(text) == 0 || strlen(text) == len);
	for (; *text; text++)
		must((*text >= '0' && *text <= '9') || (*text >= 'a' && *text <= 'f'));
}

static void check(const struct tl_ids *ids)
{
	must(ids->n <= TL_IDS_MAX && ids->primary < (int)ids->n);
	check_hex(ids->trace_id, 32);
	check_hex(ids->span_id, 16);
	must(ids->trace_flags >= -1 && ids->trace_flags <= 255);
	for (uint32_t i = 0; i < ids->n; i++) {
		const struct tl_id *id = &ids->id[i];

		must(id->len > 0 && id->len < TL_ID_VALUE_MAX);
		must(tl_ids_has(ids, (struct tl_span){id->value, id->len}));
		for (uint16_t k = 0; k < id->len; k++)
			must(id->value[k] >= ' ' && id->value[k] <= '~');
		for (uint32_t k = 0; k < i; k++)
			must(strcmp(ids->id[k].header, id->header) != 0 ||
			     ids->id[k].response != id->response);
	}
}

static void pack_and_unpack(const struct tl_ids *ids)
{
	struct tl_packed *packed = tl_ids_pack(ids), *again;
	struct tl_ids back;

	must(packed != NULL);
	must(tl_ids_packed_primary(packed) == ids->primary);
	tl_ids_unpack(packed, &back);
	check(&back);
	again = tl_ids_pack(&back);
	must(back.n == ids->n && strcmp(back.trace_id, ids->trace_id) == 0);
	must(tl_ids_packed_equal(packed, again) == (ids->n > 0));
	free(packed);
	free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *at = (const char *)data, *end = at + size;
	struct tl_ids ids;

	tl_ids_init(&ids);
	while (at < end) {
		const char *line_end = memchr(at, '\n', (size_t)(end - at)) ?: end;
		bool response = *at == '<';
		struct tl_span line = {at + response, (size_t)(line_end - at) - response};
		const char *colon = line.len ? memchr(line.data, ':', line.len) : NULL;

		at = line_end < end ? line_end + 1 : end;
		if (!colon)
			continue;
		tl_ids_header(
			&ids, (struct tl_span){line.data, (size_t)(colon - line.data)},
			(struct tl_span){colon + 1, line.len - (size_t)(colon + 1 - line.data)},
			response);
	}
	tl_ids_settle(&ids);
	check(&ids);
	pack_and_unpack(&ids);
	tl_ids_add(&ids, TL_ID_INHERITED, NULL, TL_SPAN_LIT("of-the-parent"));
	must(ids.primary >= 0);
	check(&ids);
	return 0;
}
