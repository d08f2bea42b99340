/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/correlate/replay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/lines.h"
#include "agent/streams.h"
#include "tests/correlate/sha256.h"
#include "userspace/base/map.h"

struct replay {
	const struct tl_replay_options *options;
	struct tl_streams *streams;
	struct tl_lines *lines;
	struct tl_corr *corr;
	struct tl_map *generated; /* hash of a generated id -> its gt */
	struct tl_replay_result *result;
};

static bool field(struct tl_span body, const char *key, char *out, size_t size)
{
	size_t klen = strlen(key), n = 0;
	const char *p = memmem(body.data, body.len, key, klen), *end = body.data + body.len;

	if (!p)
		return false;
	for (p += klen; p < end && n < size - 1 && *p != ' '; p++)
		out[n++] = *p;
	out[n] = '\0';
	return true;
}

static struct tl_replay_class *class_of(struct tl_replay_result *result, const char *name)
{
	for (unsigned i = 0; i < result->n; i++)
		if (strcmp(result->classes[i].name, name) == 0)
			return &result->classes[i];
	if (result->n == TL_REPLAY_CLASSES)
		abort();
	snprintf(result->classes[result->n].name, sizeof(result->classes[0].name), "%s", name);
	return &result->classes[result->n++];
}

static bool is_right(struct replay *replay, const struct tl_ids *ids, const char *gt)
{
	const struct tl_id *id = &ids->id[ids->primary];
	char own[GT_LEN + 1];
	bool added = false;
	uint64_t key;
	char *known;

	if (strcmp(gt, "-") == 0)
		return false;
	gt_of(id->value, id->len, own);
	if (id->kind != TL_ID_GENERATED)
		return strcmp(own, gt) == 0;
	key = tl_hash(id->value, id->len);
	known = tl_map_put(replay->generated, &key, &added);
	if (added)
		snprintf(known, 16, "%s", gt);
	return strcmp(known, gt) == 0;
}

static void tell_wrong(struct replay *replay, const struct tl_line *line,
		       const struct tl_attribution *attribution)
{
	const struct tl_id *id = &attribution->ids->id[attribution->ids->primary];
	char text[300];

	snprintf(text, sizeof(text), "how %d id %.*s time %llu tid %u unit %llu: %.*s",
		 (int)attribution->how, (int)id->len, id->value, (unsigned long long)line->time_ns,
		 line->writer.tid, (unsigned long long)line->writer.unit,
		 (int)(line->bytes.len < 100 ? line->bytes.len : 100), line->bytes.data);
	if (!replay->result->first_wrong[0])
		memcpy(replay->result->first_wrong, text, sizeof(text));
	if (replay->options->verbose)
		printf("wrong: %s\n", text);
}

static void add_line(struct replay *replay, const struct tl_line *line,
		     const struct tl_attribution *attribution)
{
	struct tl_replay_result *result = replay->result;
	struct tl_span body = tl_buf_span(&line->bytes);
	char class[16], gt[GT_LEN + 1];
	struct tl_replay_class *row;

	if (!field(body, " class=", class, sizeof(class)) || !field(body, " gt=", gt, sizeof(gt)))
		return;
	row = class_of(result, class);
	result->lines++;
	result->how[attribution->how]++;
	result->why[attribution->why]++;
	if (replay->options->line)
		replay->options->line(replay->options->arg, line, attribution, class, gt);
	if (!attribution->ids || attribution->how == TL_HOW_NONE) {
		row->none++;
	} else if (is_right(replay, attribution->ids, gt)) {
		row->right++;
		result->right++;
	} else {
		row->wrong++;
		result->wrong++;
		tell_wrong(replay, line, attribution);
	}
}

static void on_released(void *arg, struct tl_line *line, const struct tl_attribution *attribution)
{
	struct replay *replay = arg;

	add_line(replay, line, attribution);
	tl_lines_finish(replay->lines, line);
}

static void on_ready(void *arg, struct tl_line *line)
{
	struct replay *replay = arg;
	struct tl_attribution attribution = {0};

	if (tl_corr_line(replay->corr, line, &attribution))
		on_released(replay, line, &attribution);
	else
		line->stage = TL_LINE_HELD;
}

static void on_log(struct replay *replay, const struct tl_ev_log *event)
{
	uint64_t offset, hole = 0;
	struct tl_stream_info *stream = tl_streams_bytes(replay->streams, event, &offset, &hole);

	if (!stream)
		return;
	if (hole)
		tl_lines_hole(replay->lines, stream->number);
	tl_lines_bytes(replay->lines, stream, event, (const char *)(event + 1), offset);
}

static void on_event(struct replay *replay, const struct tl_event *event)
{
	if (replay->options->event)
		replay->options->event(replay->options->arg, event);
	switch (event->type) {
	case TL_EV_LOG:
		on_log(replay, (const struct tl_ev_log *)event);
		break;
	case TL_EV_FILE:
		(void)tl_streams_file(replay->streams, (const struct tl_ev_file *)event);
		break;
	case TL_EV_WIRE:
	case TL_EV_SOCK:
		tl_corr_wire(replay->corr, (const struct tl_ev_wire *)event,
			     (const char *)event + sizeof(struct tl_ev_wire));
		break;
	case TL_EV_UNIT:
		tl_corr_unit(replay->corr, (const struct tl_ev_unit *)event);
		break;
	case TL_EV_PROC:
		if (((const struct tl_ev_proc *)event)->what == TL_PROC_EXIT)
			tl_lines_exit(replay->lines, event->tgid, event->start_ns);
		tl_corr_proc(replay->corr, (const struct tl_ev_proc *)event, 0);
		break;
	}
}

static void on_item(struct replay *replay, const struct tl_trace_item *item)
{
	switch (item->kind) {
	case TL_TRACE_EVENT:
		on_event(replay, item->event);
		break;
	case TL_TRACE_SERVICE:
		tl_corr_service(replay->corr, item->tgid, item->start_ns, item->service);
		break;
	case TL_TRACE_TICK:
		tl_lines_tick(replay->lines, item->now_ns);
		tl_corr_tick(replay->corr, item->now_ns);
		break;
	}
}

static int no_plumbing(void *arg, uint32_t tgid, const struct tl_file_id *file)
{
	(void)arg;
	(void)tgid;
	(void)file;
	return 0;
}

static int told(void *arg, const struct tl_file_id *file, enum tl_verdict verdict)
{
	(void)arg;
	(void)file;
	(void)verdict;
	return 0;
}

static int make(struct replay *replay)
{
	const struct tl_streams_options streams = {
		.max = TL_STREAMS_MAX, .pipe_reader = no_plumbing, .decide = told, .arg = replay};
	const struct tl_lines_options lines = {
		.multiline = "auto", .ready = on_ready, .arg = replay};
	struct tl_corr_options corr = replay->options->corr;

	corr.released = on_released;
	corr.exchange = NULL;
	corr.ignore = NULL;
	corr.instance = "0123456789abcdef";
	corr.arg = replay;
	replay->generated = tl_map_new(8, 16, 1u << 22);
	replay->streams = tl_streams_new(&streams);
	if (!replay->streams || !replay->generated ||
	    tl_lines_new(&lines, &replay->lines, NULL) < 0)
		return -ENOMEM;
	return tl_corr_new(&corr, &replay->corr, NULL);
}

int tl_replay(struct tl_trace *trace, const struct tl_replay_options *options,
	      struct tl_replay_result *ret)
{
	struct replay replay = {.options = options, .result = ret};
	struct tl_trace_item item;
	int r;

	memset(ret, 0, sizeof(*ret));
	tl_trace_rewind(trace);
	r = make(&replay);
	while (r == 0 && (r = tl_trace_next(trace, &item)) == 1) {
		on_item(&replay, &item);
		r = 0;
	}
	if (r == 0) {
		tl_lines_flush(replay.lines);
		tl_corr_flush(replay.corr);
	}
	tl_corr_free(replay.corr);
	tl_lines_free(replay.lines);
	tl_streams_free(replay.streams);
	tl_map_free(replay.generated);
	return r;
}

static void count_class(const struct tl_replay_result *result, const char *name, uint64_t *right,
			uint64_t *all)
{
	for (unsigned i = 0; i < result->n; i++) {
		const struct tl_replay_class *row = &result->classes[i];

		if (strcmp(row->name, name) != 0)
			continue;
		*right += row->right;
		*all += row->right + row->wrong + row->none;
	}
}

void tl_replay_in_request(const struct tl_replay_result *result, uint64_t *ret_right,
			  uint64_t *ret_all)
{
	*ret_right = *ret_all = 0;
	count_class(result, "sync", ret_right, ret_all);
	count_class(result, "after-await", ret_right, ret_all);
	if (!*ret_all)
		count_class(result, "access-log", ret_right, ret_all);
}
