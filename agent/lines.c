/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/lines_store.h"

#include <stdlib.h>

#include "userspace/record/record.h"

#define DEFAULT_OPEN 65536u
#define DEFAULT_BYTES ((uint64_t)64 << 20)
#define DEFAULT_PARTIAL_NS UINT64_C(1000000000)
#define DEFAULT_JOIN_NS UINT64_C(250000000)

static void set_defaults(struct tl_lines_options *options)
{
	if (!options->max_line)
		options->max_line = TL_BODY_MAX;
	if (!options->max_open)
		options->max_open = DEFAULT_OPEN;
	if (!options->max_bytes)
		options->max_bytes = DEFAULT_BYTES;
	if (!options->partial_ns)
		options->partial_ns = DEFAULT_PARTIAL_NS;
	if (!options->join_ns)
		options->join_ns = DEFAULT_JOIN_NS;
}

int tl_lines_new(const struct tl_lines_options *options, struct tl_lines **ret_lines,
		 struct tl_error *error)
{
	_cleanup_(tl_lines_freep) struct tl_lines *lines = calloc(1, sizeof(*lines));
	size_t max;
	int r;

	if (!lines)
		return tl_error_set(error, -ENOMEM, "no memory for line assembly");
	lines->options = *options;
	set_defaults(&lines->options);
	lines->next_id = 1;
	r = tl_multiline_new(options->multiline, options->custom, options->n_custom,
			     &lines->multiline, error);
	if (r < 0)
		return r;
	lines->joins = tl_multiline_on(lines->multiline);
	/* A call may open two more before the bound is applied. Idle groups are bounded by
	 * themselves. */
	max = (size_t)lines->options.max_open * 2 + 8192;
	lines->streams = tl_map_new(sizeof(uint64_t), sizeof(void *), max);
	lines->groups = tl_map_new(sizeof(struct tl_group_key), sizeof(void *), max);
	lines->procs = tl_map_new(16, sizeof(void *), max);
	lines->writers = tl_map_new(16, 2 * sizeof(void *), max);
	if (!lines->streams || !lines->groups || !lines->procs || !lines->writers)
		return tl_error_set(error, -ENOMEM, "no memory for line assembly");
	*ret_lines = TAKE_PTR(lines);
	return 0;
}

static void free_values(struct tl_map *map)
{
	size_t iter = 0;
	void *value;

	while (map && tl_map_next(map, &iter, NULL, &value))
		free(*(void **)value);
	tl_map_free(map);
}

void tl_lines_free(struct tl_lines *lines)
{
	if (!lines)
		return;
	tl_lines_drop_recovered(lines);
	for (int i = 0; i < TL_PARKS; i++) {
		struct tl_line *next, *line = lines->lists[i].head;

		for (; line; line = next) {
			next = line->next;
			tl_slot_destroy((struct tl_slot *)line);
		}
	}
	while (lines->pool) {
		struct tl_slot *slot = lines->pool;

		lines->pool = slot->free_next;
		tl_slot_destroy(slot);
	}
	free_values(lines->streams);
	free_values(lines->groups);
	tl_map_free(lines->procs);
	tl_map_free(lines->writers);
	tl_multiline_free(lines->multiline);
	tl_buf_done(&lines->scratch);
	free(lines->ended.ids);
	free(lines->resume.ids);
	free(lines);
}

void tl_lines_bound(struct tl_lines *lines)
{
	const struct tl_lines_options *options = &lines->options;

	while (lines->n_parked > options->max_open || lines->bytes > options->max_bytes) {
		struct tl_line *oldest = NULL;

		for (int i = TL_PARK_OPEN; i <= TL_PARK_MARK; i++) {
			struct tl_line *head = lines->lists[i].head;

			if (head && (!oldest || head->end_ns < oldest->end_ns))
				oldest = head;
		}
		if (!oldest)
			return;
		lines->usage.forced++;
		tl_slot_end(lines, (struct tl_slot *)oldest);
	}
}

/* --- ends --- */

/* Ends all that waits in the group, each unit's in its order. */
static void end_group(struct tl_lines *lines, struct tl_group *group)
{
	while (group->first) {
		struct tl_slot *slot = group->first, *open = NULL;

		/* An unterminated line may continue the block before it. */
		if (slot->park == TL_PARK_JOIN)
			open = slot->key ? tl_find_open(lines, group, slot->key) : group->full;
		tl_slot_end(lines, open ? open : slot);
	}
}

void tl_lines_hole(struct tl_lines *lines, uint64_t stream)
{
	struct tl_stream_lines *at;
	struct tl_slot *mark;

	if (lines->recovering)
		tl_lines_settle(lines);
	at = tl_stream_lines_get(lines, stream);
	if (!at)
		return;
	for (struct tl_group *group = at->groups; group; group = group->stream_next)
		end_group(lines, group);
	if (at->mark)
		return;
	mark = tl_slot_new(lines);
	if (!mark)
		return;
	mark->line.stream = stream;
	mark->line.writer = mark->last = (struct tl_writer){0};
	mark->line.time_ns = mark->line.end_ns = lines->now_ns;
	mark->line.lost_gen = 0;
	mark->line.stderr_ = false;
	mark->line.flags = TL_LINE_PARTIAL;
	mark->rest = true;
	mark->stream = at;
	(void)tl_slot_park(lines, mark, TL_PARK_MARK);
}

void tl_lines_exit(struct tl_lines *lines, uint32_t tgid, uint64_t start_ns)
{
	if (lines->recovering)
		tl_lines_settle(lines);
	for (struct tl_group *group = tl_group_first(lines, tgid, start_ns); group;
	     group = group->proc_next) {
		end_group(lines, group);
		tl_group_unmix(lines, group);
	}
}

uint64_t tl_lines_tick(struct tl_lines *lines, uint64_t now_ns)
{
	uint64_t next = UINT64_MAX;

	if (lines->recovering)
		tl_lines_settle(lines);
	for (int i = TL_PARK_OPEN; i <= TL_PARK_JOIN; i++) {
		struct tl_list *list = &lines->lists[i];

		while (list->head && list->head->deadline_ns <= now_ns)
			tl_slot_end(lines, (struct tl_slot *)list->head);
	}
	for (int i = TL_PARK_OPEN; i <= TL_PARK_JOIN; i++) {
		const struct tl_line *head = lines->lists[i].head;

		if (head && head->deadline_ns < next)
			next = head->deadline_ns;
	}
	return next;
}

void tl_lines_flush(struct tl_lines *lines)
{
	if (lines->recovering)
		tl_lines_settle(lines);
	for (int i = TL_PARK_OPEN; i <= TL_PARK_JOIN; i++)
		while (lines->lists[i].head)
			end_group(lines, ((struct tl_slot *)lines->lists[i].head)->group);
	while (lines->lists[TL_PARK_MARK].head)
		tl_slot_end(lines, (struct tl_slot *)lines->lists[TL_PARK_MARK].head);
}

void tl_lines_finish(struct tl_lines *lines, struct tl_line *line)
{
	struct tl_slot *slot = (struct tl_slot *)line;

	if (lines->handing == slot)
		lines->handing = NULL;
	else
		tl_slot_take(lines, slot);
	tl_slot_free(lines, slot);
}

void tl_lines_usage(const struct tl_lines *lines, struct tl_lines_usage *ret)
{
	*ret = lines->usage;
	ret->open = lines->n_parked - lines->n_marks;
	ret->bytes = lines->bytes;
}

bool tl_lines_batched(const struct tl_lines *lines, uint64_t stream)
{
	struct tl_stream_lines **at = tl_map_get(lines->streams, &stream);

	return at && (*at)->batched;
}
