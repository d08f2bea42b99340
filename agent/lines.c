/* SPDX-License-Identifier: Apache-2.0 */
/* Assembly. A write first continues what it may continue: the line that a hole was before (whoever writes), else the
 * unterminated end of a full stdio buffer of its process, else its own unit's unterminated line; later chunks of a call only
 * the last. Then its bytes are cut at newlines, and what is left over waits in turn.
 *
 * An unterminated line's bytes are what its extents cover, byte for byte; so bytes can move from one line to the next when
 * a line is split so that no UTF-8 sequence is cut. A CR is content until the LF behind it comes. */
#include "agent/lines_private.h"

#include <stdlib.h>

#include "userspace/record/record.h"

#define DEFAULT_OPEN 65536u
#define DEFAULT_BYTES ((uint64_t)64 << 20)
#define DEFAULT_PARTIAL_NS UINT64_C(1000000000)
#define DEFAULT_JOIN_NS UINT64_C(250000000)

struct call {
	const struct tl_ev_log *event;
	struct tl_group *group;
	struct tl_writer writer;
	uint64_t key;
	bool first, more, batched;
};

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

int tl_lines_new(const struct tl_lines_options *options, struct tl_lines **ret_lines, struct tl_error *error)
{
	_cleanup_(tl_lines_freep) struct tl_lines *lines = calloc(1, sizeof(*lines));
	size_t max;
	int r;

	if (!lines)
		return tl_error_set(error, -ENOMEM, "no memory for line assembly");
	lines->options = *options;
	set_defaults(&lines->options);
	lines->next_id = 1;
	r = tl_multiline_new(options->multiline, options->custom, options->n_custom, &lines->multiline, error);
	if (r < 0)
		return r;
	lines->joins = tl_multiline_on(lines->multiline);
	/* A call may open two more before the bound is applied. Idle groups are bounded by themselves. */
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
	free(lines->ended.ids);
	free(lines->resume.ids);
	free(lines);
}

/* Ends the least recently written until the maxima hold. Held lines are their holder's, who has a maximum too. */
static void bound(struct tl_lines *lines)
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

/* --- a call --- */

static bool is_buffer_size(uint32_t size)
{
	return size == 1024 || (size && size % 4096 == 0);
}

/* Whether the bytes of this call came out of a stdio buffer that mixes several writers' lines. Of a call of several chunks the
 * end is not known yet: it counts as unterminated, because a wrong id is worse than none. */
static bool is_batched(const struct call *call, const char *data, const struct tl_slot *own)
{
	const struct tl_ev_log *event = call->event;
	struct tl_group *group = call->group;
	size_t last = event->h.len - 1;
	bool batched = false;

	if (is_buffer_size(event->call_len))
		batched = call->more || !call->first || data[last] != '\n';
	if (call->first && group->full && !batched)
		batched = call->more || memchr(data, '\n', last);
	if (!call->first && !batched)
		batched = group->call_key == call->key || (own && own->line.flags & TL_LINE_BATCHED);
	if (batched && call->more)
		group->call_key = call->key;
	else if (group->call_key == call->key)
		group->call_key = 0;
	return batched;
}

/* What the call's first byte continues, taken from where it waited; NULL for a new line. */
static struct tl_slot *take_continued(struct tl_lines *lines, const struct call *call, struct tl_slot *own)
{
	struct tl_group *group = call->group;
	struct tl_slot *slot = group->stream->mark;

	if (slot) {
		tl_slot_take(lines, slot);
		slot->group = group;
		slot->line.writer = slot->last = call->writer;
		slot->line.time_ns = call->event->h.time_ns;
		slot->line.stderr_ = call->event->h.flags & TL_EVF_STDERR;
		return slot;
	}
	slot = call->first && group->full ? group->full : own;
	if (slot)
		tl_slot_take(lines, slot);
	return slot;
}

static struct tl_slot *begin(struct tl_lines *lines, const struct call *call)
{
	struct tl_slot *slot = tl_slot_new(lines);
	struct tl_line *line;

	if (!slot)
		return NULL;
	line = &slot->line;
	line->stream = call->group->stream->number;
	line->writer = slot->last = call->writer;
	line->time_ns = line->end_ns = call->event->h.time_ns;
	line->lost_gen = call->event->h.lost_gen;
	line->stderr_ = call->event->h.flags & TL_EVF_STDERR;
	slot->group = call->group;
	slot->stream = call->group->stream;
	return slot;
}

/* The call's bytes become part of `slot`. */
static void touch(const struct call *call, struct tl_slot *slot)
{
	struct tl_line *line = &slot->line;

	if (call->batched)
		line->flags |= TL_LINE_BATCHED;
	if (tl_writer_key(&line->writer) != call->key)
		line->flags |= TL_LINE_SHARED;
	line->end_ns = call->event->h.time_ns;
	line->lost_gen = call->event->h.lost_gen;
	slot->last = call->writer;
}

/* --- a line that is too long --- */

static unsigned char byte_at(const struct tl_line *line, const char *more, size_t i)
{
	return (unsigned char)(i < line->bytes.len ? line->bytes.data[i] : more[i - line->bytes.len]);
}

/* Where to cut the line and what follows it (which together are longer than `max`): at `max`, or before the UTF-8 sequence
 * that goes over it. */
static size_t cut_at(const struct tl_line *line, const char *more, size_t max)
{
	if ((byte_at(line, more, max) & 0xc0) != 0x80)
		return max;
	for (size_t back = 1; back <= 3 && back < max; back++) {
		unsigned char c = byte_at(line, more, max - back);
		size_t len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;

		if ((c & 0xc0) != 0x80)
			return len > back ? max - back : max;
	}
	return max;
}

/* Moves the last `n` bytes of `line`, whose extents cover just its bytes, to the empty `to`. */
static void move_tail(struct tl_line *line, size_t n, struct tl_line *to)
{
	struct tl_extent moved[4];
	size_t n_moved = 0, left = n;

	tl_buf_add(&to->bytes, line->bytes.data + line->bytes.len - n, n);
	line->bytes.len -= n;
	if (line->saved_len > line->bytes.len)
		line->saved_len = line->bytes.len;
	while (left) {
		struct tl_extent *last = &line->extents[line->n_extents - 1];
		uint64_t has = last->to - last->from, take = has < left ? has : left;

		moved[n_moved++] = (struct tl_extent){ last->to - take, last->to };
		last->to -= take;
		left -= take;
		if (last->from == last->to)
			line->n_extents--;
	}
	while (n_moved--)
		(void)tl_extent_add(to, moved[n_moved].from, moved[n_moved].to);
}

/* Ends `slot` here as too long. Returns the line that goes on, with the last `tail` bytes of it; NULL without memory. */
static struct tl_slot *split(struct tl_lines *lines, const struct call *call, struct tl_slot *slot, size_t tail)
{
	struct tl_slot *next = begin(lines, call);

	if (next) {
		next->rest = true;
		if (tail) {
			next->line.writer = slot->last;
			next->line.time_ns = slot->line.end_ns;
			move_tail(&slot->line, tail, &next->line);
		}
	}
	slot->line.flags |= TL_LINE_SPLIT;
	tl_slot_complete(lines, slot, (struct tl_span){ 0 }, false);
	return next;
}

/* --- bytes --- */

struct piece {
	const char *data;
	size_t len;      /* of content */
	size_t end;      /* bytes of the newline behind it: 0, 1, 2 */
	uint64_t offset;
};

static void put(struct tl_lines *lines, struct tl_slot *slot, const struct piece *piece)
{
	(void)tl_extent_add(&slot->line, piece->offset, piece->offset + piece->len + piece->end);
	if (tl_buf_add(&slot->line.bytes, piece->data, piece->len) == 0)
		return;
	slot->line.bytes.failed = false;
	slot->line.flags |= TL_LINE_PARTIAL;
	lines->usage.lost_bytes += piece->len;
}

/* Adds `piece` to `slot` (NULL: a new line). Returns the line that it ends in. */
static struct tl_slot *add(struct tl_lines *lines, const struct call *call, struct tl_slot *slot, struct piece piece)
{
	uint32_t max = lines->options.max_line;

	if (slot) {
		const struct tl_line *line = &slot->line;

		if (line->n_extents == TL_EXTENTS_MAX && line->extents[TL_EXTENTS_MAX - 1].to != piece.offset)
			slot = split(lines, call, slot, 0);
	} else {
		slot = begin(lines, call);
	}
	while (slot && slot->line.bytes.len + piece.len > max) {
		size_t has = slot->line.bytes.len, cut = cut_at(&slot->line, piece.data, max);

		touch(call, slot);
		if (cut > has) {
			put(lines, slot, &(struct piece){ piece.data, cut - has, 0, piece.offset });
			piece.data += cut - has;
			piece.offset += cut - has;
			piece.len -= cut - has;
		}
		slot = split(lines, call, slot, cut < has ? has - cut : 0);
	}
	if (!slot) {
		lines->usage.lost_bytes += piece.len + piece.end;
		return NULL;
	}
	touch(call, slot);
	put(lines, slot, &piece);
	return slot;
}

/* The LF alone came in this write: the CR at the end of what waited belongs to it. */
static void cut_cr(struct tl_line *line)
{
	if (!line->bytes.len || line->bytes.data[line->bytes.len - 1] != '\r')
		return;
	line->bytes.len--;
	if (line->saved_len > line->bytes.len)
		line->saved_len = line->bytes.len;
}

/* Keeps an unterminated line for what continues it. */
static void park_open(struct tl_lines *lines, const struct call *call, struct tl_slot *slot)
{
	struct tl_group *group = call->group;
	enum tl_park park = TL_PARK_OPEN;
	struct tl_slot *before;

	if (!call->more && is_buffer_size(call->event->call_len) && !slot->stream->messages) {
		park = TL_PARK_FULL;
		slot->stream->batched = true;
		before = group->full;
		/* Its writer was overtaken in mid-call; only that thread can go on with the older one. */
		if (before) {
			tl_slot_take(lines, before);
			if (tl_find_open(lines, group, tl_writer_key(&before->last)) ||
			    !tl_slot_park(lines, before, TL_PARK_OPEN)) {
				before->line.flags |= TL_LINE_PARTIAL;
				tl_slot_complete(lines, before, (struct tl_span){ 0 }, false);
			}
		}
	} else {
		before = tl_find_open(lines, group, call->key);
		if (before)
			tl_slot_end(lines, before);
	}
	if (!tl_slot_park(lines, slot, park)) {
		slot->line.flags |= TL_LINE_PARTIAL;
		lines->usage.forced++;
		tl_slot_complete(lines, slot, (struct tl_span){ 0 }, false);
	}
}

static void cut_lines(struct tl_lines *lines, const struct call *call, struct tl_slot *slot, const char *data,
		      uint64_t offset)
{
	const char *p = data, *end = data + call->event->h.len;

	while (p < end) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));
		struct piece piece = { p, (size_t)((lf ? lf : end) - p), lf != NULL, offset + (uint64_t)(p - data) };
		bool only_lf = lf == p && slot;

		if (lf && piece.len && lf[-1] == '\r') {
			piece.len--;
			piece.end++;
		}
		slot = add(lines, call, slot, piece);
		if (!lf)
			break;
		p = lf + 1;
		if (!slot)
			continue;
		if (only_lf)
			cut_cr(&slot->line);
		tl_slot_complete(lines, slot, (struct tl_span){ p, (size_t)(end - p) }, call->more);
		slot = NULL;
	}
	if (slot)
		park_open(lines, call, slot);
}

/* Datagrams: the call is the line, without the newline at its end. */
static void take_message(struct tl_lines *lines, const struct call *call, struct tl_slot *slot, const char *data,
			 uint64_t offset)
{
	struct tl_line *line;

	slot = add(lines, call, slot, (struct piece){ data, call->event->h.len, 0, offset });
	if (!slot)
		return;
	if (call->more) {
		park_open(lines, call, slot);
		return;
	}
	line = &slot->line;
	if (line->bytes.len && line->bytes.data[line->bytes.len - 1] == '\n') {
		line->bytes.len--;
		cut_cr(line);
	}
	if (line->saved_len > line->bytes.len)
		line->saved_len = line->bytes.len;
	tl_slot_complete(lines, slot, (struct tl_span){ 0 }, false);
}

static bool is_message_stream(const struct tl_stream_info *info)
{
	static const char stream_socket[] = "/journal/stdout";
	size_t len = info->path ? strlen(info->path) : 0, tail = sizeof(stream_socket) - 1;

	if (info->kind != TL_FILE_UNIX)
		return false;
	return len < tail || strcmp(info->path + len - tail, stream_socket) != 0;
}

void tl_lines_bytes(struct tl_lines *lines, struct tl_stream_info *stream, const struct tl_ev_log *event,
		    const char *data, uint64_t offset)
{
	const struct tl_event *h = &event->h;
	struct call call = {
		.event = event,
		.writer = { h->tgid, h->tid, h->start_ns, h->unit, h->unit_kind },
		.first = h->flags & TL_EVF_FIRST || event->call_off == 0,
		.more = h->flags & TL_EVF_MORE,
	};
	struct tl_slot *own, *slot;

	if (lines->recovering)
		tl_lines_settle(lines);
	if (!h->len)
		return;
	lines->now_ns = h->time_ns;
	call.key = tl_writer_key(&call.writer);
	call.group = tl_group_get(lines, stream->number, h->tgid, h->start_ns);
	if (!call.group) {
		lines->usage.lost_bytes += h->len;
		return;
	}
	if (stream->kind == TL_FILE_UNIX)
		call.group->stream->messages = is_message_stream(stream);
	own = tl_find_open(lines, call.group, call.key);
	if (call.group->stream->messages) {
		if (own && call.first)
			tl_slot_end(lines, own);
		take_message(lines, &call, take_continued(lines, &call, call.first ? NULL : own), data, offset);
	} else {
		call.batched = is_batched(&call, data, own);
		cut_lines(lines, &call, take_continued(lines, &call, own), data, offset);
	}
	bound(lines);
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
	mark->line.writer = mark->last = (struct tl_writer){ 0 };
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
	for (struct tl_group *group = tl_group_first(lines, tgid, start_ns); group; group = group->proc_next)
		end_group(lines, group);
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
