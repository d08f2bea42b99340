/* SPDX-License-Identifier: Apache-2.0 */
/* Assembly. A write first continues what it may continue: the line that a hole was before (whoever
 * writes), else the unterminated end of a full stdio buffer of its process, else its own unit's
 * unterminated line; later chunks of a call only the last. Then its bytes are cut at newlines, and
 * what is left over waits in turn.
 *
 * An unterminated line's bytes are what its extents cover, byte for byte; so bytes can move from
 * one line to the next when a line is split so that no UTF-8 sequence is cut. A CR is content until
 * the LF behind it comes. */
#include "agent/lines_store.h"

struct call {
	const struct tl_ev_log *event;
	struct tl_group *group;
	struct tl_writer writer;
	uint64_t key;
	bool first, more, batched, buffered;
};

/* --- a call --- */

#define BUFFER_LEAST 1024 /* bytes of the smallest stdio buffer that anybody uses */

static bool is_buffer_size(uint32_t size)
{
	return size == 1024 || (size && size % 4096 == 0);
}

/* A call's first line: what waits of it, then `piece`, without the CR. */
static struct tl_span first_line(struct tl_lines *lines, const struct tl_slot *before,
				 struct tl_span piece)
{
	struct tl_buf *scratch = &lines->scratch;

	if (before && before->line.bytes.len) {
		tl_buf_clear(scratch);
		tl_buf_add(scratch, before->line.bytes.data, before->line.bytes.len);
		tl_buf_add(scratch, piece.data, piece.len);
		if (!scratch->failed)
			piece = tl_buf_span(scratch);
		scratch->failed = false;
	}
	if (piece.len && piece.data[piece.len - 1] == '\r')
		piece.len--;
	return piece;
}

/* Whether a line at `p` does not continue what is in `state`. The bytes of a call that goes on may
 * end in mid-line: while that may yet continue, the next chunk decides. */
static bool records_behind(const struct tl_lines *lines, const struct call *call, uint8_t state,
			   const char *p, const char *end)
{
	while (p < end) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));
		struct tl_span line = {p, (size_t)((lf ? lf : end) - p)},
			       rest = {lf ? lf + 1 : end, 0};

		rest.len = (size_t)(end - rest.data);
		if (!lf && call->more && !tl_multiline_ended(state))
			return !state && !tl_multiline_peek(lines->multiline, line, true);
		if (lf && line.len && lf[-1] == '\r')
			line.len--;
		if (!tl_multiline_next(lines->multiline, &state, line, rest))
			return true;
		p = rest.data;
	}
	return false;
}

/* Whether the call is more than one record: lines that continue neither one another nor what waits
 * of their unit. A logger writes one record a call; several in one are a buffer's, and a buffer
 * does not tell whose they are. CPython flushes at the end of a print, so that its writes have no
 * telling size. `shared`: they would join the process's block. */
static bool has_records(struct tl_lines *lines, const struct call *call, const char *data,
			struct tl_slot *own, bool shared)
{
	const struct tl_slot *before = call->first && call->group->full ? call->group->full : own;
	const char *end = data + call->event->h.len, *lf = memchr(data, '\n', call->event->h.len);
	struct tl_slot *block;
	struct tl_span line, rest;
	uint8_t state;
	bool inside;

	if (!lf || !lines->joins)
		return lf && (lf + 1 < end || call->more);
	if (lf + 1 == end && call->first)
		return false;
	block = tl_find_join(lines, call->group, shared ? 0 : call->key);
	/* The block's last line is of an earlier chunk of this call. */
	inside = !call->first && block && (!own || own->line.time_ns == block->line.end_ns);
	line = first_line(lines, before, (struct tl_span){data, (size_t)(lf - data)});
	rest = (struct tl_span){lf + 1, (size_t)(end - lf - 1)};
	state = block ? block->line.rule : 0;
	if (!block || !tl_multiline_next(lines->multiline, &state, line, rest)) {
		if (inside) {
			block->line.flags |= TL_LINE_BATCHED;
			return true;
		}
		state = tl_multiline_start(lines->multiline, line);
	}
	return records_behind(lines, call, state, lf + 1, end);
}

/* Whose bytes these are, if a stdio buffer may have mixed several writers' lines: call->batched;
 * whether the call looks like the flush of one: call->buffered. Of a call of several chunks the end
 * is not known yet: it counts as unterminated, because a wrong id is worse than none. */
static void judge(struct tl_lines *lines, struct call *call, const char *data, struct tl_slot *own)
{
	const struct tl_ev_log *event = call->event;
	struct tl_group *group = call->group;
	size_t last = event->h.len - 1;
	uint8_t before = own ? own->line.flags : 0;
	bool buffered = false, batched = false, records = false;

	if (is_buffer_size(event->call_len))
		buffered = call->more || !call->first || data[last] != '\n';
	if (call->first && group->full && !buffered)
		buffered = call->more || memchr(data, '\n', last);
	/* Behind a hole nobody knows how the call began. */
	if (!call->first) {
		buffered |= group->stream->mark || before & TL_LINE_BUFFERED;
		batched = group->stream->mark || before & TL_LINE_BATCHED;
	}
	if (!batched)
		records = has_records(lines, call, data, own,
				      buffered || before & (TL_LINE_BUFFERED | TL_LINE_SHARED));
	/* Once seen, a later write of a single line may be another thread's too. Go has no buffer
	 * unless its program makes one. */
	if (records && (event->h.unit_kind == TL_UNIT_THREAD || event->call_len >= BUFFER_LEAST) &&
	    !group->mixed)
		tl_group_mix(lines, group, &call->writer);
	if (records && event->call_len >= BUFFER_LEAST)
		buffered = group->stream->batched = true;
	call->buffered = buffered;
	call->batched = batched || buffered || records || group->mixed;
}

/* The call writes the line's first byte. */
static void set_first(const struct call *call, struct tl_slot *slot)
{
	struct tl_line *line = &slot->line;

	line->writer = slot->last = call->writer;
	line->time_ns = line->end_ns = call->event->h.time_ns;
	line->wait_ns = line->time_ns - call->event->h.waited_ns;
	line->lost_gen = call->event->h.lost_gen;
	line->stderr_ = call->event->h.flags & TL_EVF_STDERR;
}

/* What the call's first byte continues, taken from where it waited; NULL for a new line. */
static struct tl_slot *take_continued(struct tl_lines *lines, const struct call *call,
				      struct tl_slot *own)
{
	struct tl_group *group = call->group;
	struct tl_slot *slot = group->stream->mark;

	if (!slot)
		slot = call->first && group->full ? group->full : own;
	if (!slot)
		return NULL;
	tl_slot_take(lines, slot);
	slot->group = group;
	if (!slot->line.n_extents)
		set_first(call, slot);
	return slot;
}

static struct tl_slot *begin(struct tl_lines *lines, const struct call *call)
{
	struct tl_slot *slot = tl_slot_new(lines);

	if (!slot)
		return NULL;
	slot->line.stream = call->group->stream->number;
	slot->group = call->group;
	slot->stream = call->group->stream;
	set_first(call, slot);
	return slot;
}

/* The call's bytes become part of `slot`. */
static void touch(const struct call *call, struct tl_slot *slot)
{
	struct tl_line *line = &slot->line;

	if (call->batched)
		line->flags |= TL_LINE_BATCHED;
	if (call->buffered)
		line->flags |= TL_LINE_BUFFERED;
	if (tl_writer_key(&line->writer) != call->key)
		line->flags |= TL_LINE_SHARED;
	line->end_ns = call->event->h.time_ns;
	line->wait_ns = line->end_ns - call->event->h.waited_ns;
	line->lost_gen = call->event->h.lost_gen;
	slot->last = call->writer;
}

/* --- a line that is too long --- */

static unsigned char byte_at(const struct tl_line *line, const char *more, size_t i)
{
	return (unsigned char)(i < line->bytes.len ? line->bytes.data[i]
						   : more[i - line->bytes.len]);
}

/* Where to cut the line and what follows it (which together are longer than `max`): at `max`, or
 * before the UTF-8 sequence that goes over it. */
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

		moved[n_moved++] = (struct tl_extent){last->to - take, last->to};
		last->to -= take;
		left -= take;
		if (last->from == last->to)
			line->n_extents--;
	}
	while (n_moved--)
		(void)tl_extent_add(to, moved[n_moved].from, moved[n_moved].to);
}

/* Ends `slot` here as too long. Returns the line that goes on, with the last `tail` bytes of it;
 * NULL without memory. */
static struct tl_slot *split(struct tl_lines *lines, const struct call *call, struct tl_slot *slot,
			     size_t tail)
{
	struct tl_slot *next = begin(lines, call);

	if (next) {
		next->rest = true;
		if (tail) {
			next->line.writer = slot->last;
			next->line.time_ns = slot->line.end_ns;
			next->line.wait_ns = slot->line.wait_ns;
			next->line.flags = slot->line.flags &
					   (TL_LINE_BATCHED | TL_LINE_BUFFERED | TL_LINE_SHARED);
			move_tail(&slot->line, tail, &next->line);
		}
	}
	slot->line.flags |= TL_LINE_SPLIT;
	tl_slot_complete(lines, slot, (struct tl_span){0}, false);
	return next;
}

/* --- bytes --- */

struct piece {
	const char *data;
	size_t len; /* of content */
	size_t end; /* bytes of the newline behind it: 0, 1, 2 */
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
static struct tl_slot *add(struct tl_lines *lines, const struct call *call, struct tl_slot *slot,
			   struct piece piece)
{
	uint32_t max = lines->options.max_line;

	if (slot) {
		const struct tl_line *line = &slot->line;

		if (line->n_extents == TL_EXTENTS_MAX &&
		    line->extents[TL_EXTENTS_MAX - 1].to != piece.offset)
			slot = split(lines, call, slot, 0);
	} else {
		slot = begin(lines, call);
	}
	while (slot && slot->line.bytes.len + piece.len > max) {
		size_t has = slot->line.bytes.len, cut = cut_at(&slot->line, piece.data, max);

		if (cut > has) {
			touch(call, slot);
			put(lines, slot, &(struct piece){piece.data, cut - has, 0, piece.offset});
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
		/* Its writer was overtaken in mid-call; only that thread can go on with the older
		 * one. */
		if (before) {
			tl_slot_take(lines, before);
			if (tl_find_open(lines, group, tl_writer_key(&before->last)) ||
			    !tl_slot_park(lines, before, TL_PARK_OPEN)) {
				before->line.flags |= TL_LINE_PARTIAL;
				tl_slot_complete(lines, before, (struct tl_span){0}, false);
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
		tl_slot_complete(lines, slot, (struct tl_span){0}, false);
	}
}

static void cut_lines(struct tl_lines *lines, const struct call *call, struct tl_slot *slot,
		      const char *data, uint64_t offset)
{
	const char *p = data, *end = data + call->event->h.len;

	while (p < end) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));
		struct piece piece = {p, (size_t)((lf ? lf : end) - p), lf != NULL,
				      offset + (uint64_t)(p - data)};
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
		tl_slot_complete(lines, slot, (struct tl_span){p, (size_t)(end - p)}, call->more);
		slot = NULL;
	}
	/* A batched call that goes on is remembered by an empty line, so that a restart knows it
	 * too. */
	if (!slot && call->batched && call->more) {
		slot = begin(lines, call);
		if (slot)
			slot->line.flags |=
				TL_LINE_BATCHED | (call->buffered ? TL_LINE_BUFFERED : 0);
	}
	if (slot)
		park_open(lines, call, slot);
}

/* Datagrams: the call is the line, without the newline at its end. */
static void take_message(struct tl_lines *lines, const struct call *call, struct tl_slot *slot,
			 const char *data, uint64_t offset)
{
	struct tl_line *line;

	slot = add(lines, call, slot, (struct piece){data, call->event->h.len, 0, offset});
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
	tl_slot_complete(lines, slot, (struct tl_span){0}, false);
}

static bool is_message_stream(const struct tl_stream_info *info)
{
	static const char stream_socket[] = "/journal/stdout";
	size_t len = info->path ? strlen(info->path) : 0, tail = sizeof(stream_socket) - 1;

	if (info->kind != TL_FILE_UNIX)
		return false;
	return len < tail || strcmp(info->path + len - tail, stream_socket) != 0;
}

void tl_lines_bytes(struct tl_lines *lines, struct tl_stream_info *stream,
		    const struct tl_ev_log *event, const char *data, uint64_t offset)
{
	const struct tl_event *h = &event->h;
	struct call call = {
		.event = event,
		.writer = {h->tgid, h->tid, h->start_ns, h->unit, h->unit_kind},
		.first = h->flags & TL_EVF_FIRST || event->call_off == 0,
		.more = h->flags & TL_EVF_MORE,
	};
	struct tl_slot *own;

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
		take_message(lines, &call, take_continued(lines, &call, call.first ? NULL : own),
			     data, offset);
	} else {
		judge(lines, &call, data, own);
		cut_lines(lines, &call, take_continued(lines, &call, own), data, offset);
	}
	tl_lines_bound(lines);
}
