// SPDX-License-Identifier: Apache-2.0
/* The local bus: the agent's own log read by a stage in another process of the same host. There is
 * one partition, offsets are log positions, and nothing is produced: the embedded mode hands
 * outputs to its sink. A rewind reopens the reader where the last commit was. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "userspace/base/clock.h"
#include "userspace/base/fs.h"
#include "userspace/base/metrics.h"
#include "userspace/bus/entry_message.h"

#define BATCH_BYTES (64u * 1024u * 1024u) /* copied for one poll */
#define NOTE_PATH_MAX 4300

struct tl_bus_local {
	struct tl_bus bus;
	char *dir, *name;
	struct tl_log_reader *reader;
	struct tl_entry_codec *codec;
	struct tl_arena arena; /* messages of the last poll */
	uint64_t position;     /* after the last message handed out */
	uint64_t committed;    /* TL_LOG_RESUME: nothing of ours yet */
	struct tl_bus_listener listener;
	bool wanted[TL_TOPICS], paused, announced, moved;
};

static struct tl_metric unreadable = {
	.name = "tapline_bus_unreadable_entries_total",
	.type = TL_COUNTER,
	.help = "Entries of the local log that are malformed or whose resource is unknown, "
		"skipped.",
};

static struct tl_bus_local *local(struct tl_bus *bus)
{
	return (struct tl_bus_local *)bus;
}

static int local_subscribe(struct tl_bus *bus, const int *topics, size_t n,
			   const struct tl_bus_listener *listener, struct tl_error *error)
{
	(void)error;
	for (size_t i = 0; i < n; i++)
		local(bus)->wanted[topics[i]] = true;
	if (listener)
		local(bus)->listener = *listener;
	return 0;
}

static int reopen(struct tl_bus_local *b, uint64_t position, struct tl_error *error)
{
	struct tl_log_reader *reader;
	int r = tl_log_reader_open(b->dir, b->name, position, 0, &reader, NULL, error);

	if (r < 0)
		return r;
	if (b->reader)
		tl_log_reader_close(b->reader);
	b->reader = reader;
	b->moved = false;
	return 0;
}

/* The listener of a store that keeps its own offsets may move the beginning. */
static int announce(struct tl_bus_local *b, struct tl_error *error)
{
	struct tl_partition parts[2];
	size_t n = 0;

	b->announced = true;
	if (!b->listener.assigned)
		return 0;
	for (int topic = 0; topic < TL_TOPICS; topic++)
		if (b->wanted[topic] && n < 2)
			parts[n++] = (struct tl_partition){topic, 0, -1};
	b->listener.assigned(b->listener.arg, parts, n);
	for (size_t i = 0; i < n; i++)
		if (parts[i].offset >= 0 &&
		    (b->committed == TL_LOG_RESUME || (uint64_t)parts[i].offset > b->committed))
			b->committed = (uint64_t)parts[i].offset;
	return b->committed == TL_LOG_RESUME ? 0 : reopen(b, b->committed, error);
}

static bool copy_span(struct tl_arena *arena, struct tl_span *span)
{
	struct tl_span copy = tl_arena_copy(arena, *span);

	if (!copy.data && span->len)
		return false;
	*span = copy;
	return true;
}

/* The codec's spans end with its next call; the caller's last until the next poll. */
static int own(struct tl_bus_local *b, struct tl_message *message)
{
	bool ok = copy_span(&b->arena, &message->key) && copy_span(&b->arena, &message->value);

	for (uint32_t i = 0; ok && i < message->n_headers; i++)
		ok = copy_span(&b->arena, &message->headers[i].value);
	message->partition = 0;
	return ok ? 0 : -ENOMEM;
}

/* Returns 1 a message, 0 none now, 2 an entry that gives none, or an error of the log. */
static int take(struct tl_bus_local *b, struct tl_message *message, struct tl_error *error)
{
	struct tl_log_item item;
	int r = tl_log_reader_next(b->reader, &item, error);

	if (r <= 0)
		return r;
	r = tl_entry_message(b->codec, tl_log_reader_id(b->reader), &item, message);
	if (r == -ENOMEM)
		return tl_error_set(error, r, "out of memory");
	if (r < 0)
		tl_metric_add(&unreadable, 1);
	if (r > 0 && b->wanted[message->topic]) {
		r = own(b, message);
		if (r < 0)
			return tl_error_set(error, r, "out of memory");
		r = 1;
	} else {
		r = 2;
	}
	if (!item.context) {
		b->position = item.next;
		b->moved = true;
	}
	return r;
}

static int local_poll(struct tl_bus *bus, struct tl_message *messages, size_t max,
		      unsigned timeout_ms, struct tl_error *error)
{
	struct tl_bus_local *b = local(bus);
	uint64_t deadline = tl_mono_ns() + timeout_ms * TL_MS;
	size_t n = 0;
	int r = b->announced ? 0 : announce(b, error);

	if (r < 0)
		return r;
	tl_arena_reset(&b->arena);
	while (n < max && b->arena.used < BATCH_BYTES) {
		r = b->paused ? 0 : take(b, &messages[n], error);
		if (r == 1)
			n++;
		if (r > 0)
			continue;
		if (n > 0)
			break;
		if (r < 0)
			return r;
		if (tl_mono_ns() >= deadline)
			break;
		tl_log_reader_wait(b->reader, (unsigned)((deadline - tl_mono_ns()) / TL_MS) + 1);
	}
	return (int)n;
}

static int local_produce(struct tl_bus *bus, const struct tl_message *message,
			 struct tl_error *error)
{
	(void)bus;
	(void)message;
	return tl_error_set(error, -ENOTSUP, "the local bus takes no outputs");
}

static int local_commit(struct tl_bus *bus, struct tl_error *error)
{
	struct tl_bus_local *b = local(bus);
	int r;

	if (!b->moved)
		return 0;
	r = tl_log_reader_commit(b->reader, b->position);
	if (r < 0)
		return tl_error_set(error, r,
				    "the position in the local log in %s cannot be stored: %s",
				    b->dir, strerror(-r));
	b->committed = b->position;
	b->moved = false;
	return 0;
}

static int local_abort(struct tl_bus *bus, struct tl_error *error)
{
	struct tl_bus_local *b = local(bus);

	return b->moved ? reopen(b, b->committed, error) : 0;
}

static void local_take(struct tl_bus *bus)
{
	local(bus)->committed = local(bus)->position;
	local(bus)->moved = false;
}

static void note_path(const struct tl_bus_local *b, char out[NOTE_PATH_MAX])
{
	snprintf(out, NOTE_PATH_MAX, "%s/consumers/%s.note", b->dir, b->name);
}

/* The file with position and note is the truth; the consumer's own position, which frees the log,
 * follows it. A log that was made anew may give the same positions again, so its id is kept too. */
static int local_mark(struct tl_bus *bus, const struct tl_mark *mark, struct tl_error *error)
{
	struct tl_bus_local *b = local(bus);
	char path[NOTE_PATH_MAX], text[TL_NOTE_MAX + 64];
	int r;

	note_path(b, path);
	snprintf(text, sizeof(text), "%016" PRIx64 " %" PRId64 " %s", tl_log_reader_id(b->reader),
		 mark->offset, mark->note);
	r = tl_file_replace(path, tl_span_str(text), true, error);
	r = r < 0 ? r : tl_log_reader_commit(b->reader, (uint64_t)mark->offset);
	return r < 0 && !(error && error->code)
		       ? tl_error_set(error, r,
				      "the position in the local log in %s cannot be stored: %s",
				      b->dir, strerror(-r))
		       : r;
}

static int local_marked(struct tl_bus *bus, struct tl_mark *mark, struct tl_error *error)
{
	struct tl_bus_local *b = local(bus);
	_cleanup_(tl_buf_done) struct tl_buf text = {0};
	char path[NOTE_PATH_MAX];
	uint64_t id;
	int64_t offset;
	int r, at = 0;

	mark->offset = -1;
	mark->note[0] = '\0';
	note_path(b, path);
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	r = tl_file_read(path, TL_NOTE_MAX + 64, &text, error);
	if (r < 0 || tl_buf_putc(&text, '\0') < 0)
		return r < 0 ? r : tl_error_set(error, -ENOMEM, "out of memory");
	if (sscanf(text.data, "%16" SCNx64 " %" SCNd64 " %n", &id, &offset, &at) < 2 || !at)
		return tl_error_set(error, -EBADMSG,
				    "%s is not what we write; remove it to begin anew", path);
	if (id != tl_log_reader_id(b->reader))
		return 0;
	mark->offset = offset;
	snprintf(mark->note, sizeof(mark->note), "%s", text.data + at);
	return 0;
}

static int local_pause(struct tl_bus *bus, bool on)
{
	local(bus)->paused = on;
	return 0;
}

static int local_read_all(struct tl_bus *bus, int topic, int32_t partition,
			  void (*each)(void *arg, struct tl_span key, struct tl_span value),
			  void *arg, struct tl_error *error)
{
	(void)bus;
	(void)topic;
	(void)partition;
	(void)each;
	(void)arg;
	return tl_error_set(error, -ENOTSUP, "the local bus has no changelogs");
}

static int64_t local_lag(struct tl_bus *bus)
{
	(void)bus;
	return -1;
}

static void local_close(struct tl_bus *bus)
{
	struct tl_bus_local *b = local(bus);

	if (b->reader)
		tl_log_reader_close(b->reader);
	if (b->codec)
		tl_entry_codec_free(b->codec);
	tl_arena_done(&b->arena);
	free(b->dir);
	free(b->name);
	free(b);
}

static const struct tl_bus_ops local_ops = {
	.name = "local",
	.subscribe = local_subscribe,
	.poll = local_poll,
	.produce = local_produce,
	.commit = local_commit,
	.abort = local_abort,
	.take = local_take,
	.mark = local_mark,
	.marked = local_marked,
	.pause = local_pause,
	.read_all = local_read_all,
	.lag = local_lag,
	.close = local_close,
};

/* The agent may still be starting: asks for its log until the time is over. */
static int await_log(struct tl_bus_local *b, unsigned wait_ms, struct tl_error *error)
{
	uint64_t deadline = tl_mono_ns() + wait_ms * TL_MS;

	for (;;) {
		int r = reopen(b, TL_LOG_RESUME, error);

		if (r != -ENOENT || tl_mono_ns() >= deadline)
			return r;
		usleep(10000);
	}
}

int tl_bus_local_open(const char *dir, const char *name, unsigned wait_ms, struct tl_bus **ret_bus,
		      struct tl_error *error)
{
	struct tl_bus_local *b = calloc(1, sizeof(*b));
	static bool registered;
	int r = -ENOMEM;

	if (!b)
		return tl_error_set(error, -ENOMEM, "out of memory");
	if (!registered)
		tl_metric_register(&unreadable);
	registered = true;
	b->bus.ops = &local_ops;
	b->arena.max = 2 * BATCH_BYTES;
	b->committed = TL_LOG_RESUME;
	b->dir = strdup(dir);
	b->name = strdup(name);
	if (b->dir && b->name && tl_entry_codec_new(&b->codec) == 0)
		r = await_log(b, wait_ms, error);
	else
		tl_error_set(error, r, "out of memory");
	if (r < 0) {
		local_close(&b->bus);
		return r;
	}
	*ret_bus = &b->bus;
	return 0;
}
