/* SPDX-License-Identifier: Apache-2.0 */
/* Each connection has a thread (the server's way), so the reader that libmicrohttpd calls when the
 * socket has room may wait for records. A slow browser's socket has no room: then nothing is read
 * for it, and the next turn finds more than a batch, keeps the newest, and tells how many it left
 * out. The number of a record is the event's id, so a browser that comes back goes on where it was.
 */
#include "userspace/web/stream.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "userspace/base/clock.h"

#define TURN_MS 250u
#define BEAT_NS (10 * TL_SEC)
#define EVENT_BYTES ((size_t)2 << 20) /* about; a batch of large records ends earlier */
#define EVENT_BYTES_MAX ((size_t)8 << 20)
#define QUERY_MAX 4096

static atomic_uint open_streams;
static atomic_ullong skipped_records;

struct stream {
	char path[4096], q[QUERY_MAX]; /* `query` points into q */
	struct tl_query query;
	struct tl_store_reader *reader; /* NULL: no store yet */
	ino_t inode;
	int fd; /* of the connection, to see it close */
	int64_t after;
	uint64_t beat_ns;
	struct tl_buf out; /* not sent yet: out.data + sent */
	size_t sent;
	bool begun;
};

void tl_stream_counts(struct tl_stream_counts *ret)
{
	ret->open = atomic_load(&open_streams);
	ret->skipped = atomic_load(&skipped_records);
}

struct batch {
	struct tl_buf *out;
	uint64_t n, taken;
	int64_t ring[TL_STREAM_BATCH]; /* numbers of the newest rows */
};

/* Takes rows while there is room; of what follows, only the numbers. */
static int on_row(void *arg, const struct tl_row *row)
{
	struct batch *batch = arg;

	if (batch->taken < TL_STREAM_BATCH) {
		if (batch->out->len > EVENT_BYTES)
			return 1;
		if (batch->taken++)
			tl_buf_putc(batch->out, ',');
		tl_buf_add(batch->out, row->json.data, row->json.len);
	}
	batch->ring[batch->n++ % TL_STREAM_BATCH] = row->number;
	return batch->out->failed ? -EFBIG : 0;
}

static int read_batch(struct tl_store_reader *reader, const struct tl_query *query, int64_t after,
		      size_t limit, struct batch *batch, struct tl_search *search,
		      struct tl_error *error)
{
	struct tl_query turn = *query;
	int r;

	turn.after = after;
	turn.limit = limit;
	turn.budget_ns = TL_API_BUDGET_MS * TL_MS;
	batch->n = batch->taken = 0;
	tl_buf_puts(batch->out, "data: [");
	r = tl_store_search(reader, &turn, on_row, batch, search, error);
	tl_buf_puts(batch->out, "]\n\n");
	return r < 0 ? r : batch->out->failed ? -EFBIG : 0;
}

/* Where the next turn begins. Rows that matched not were looked at too. */
static int64_t next_after(const struct batch *batch, const struct tl_search *search, int64_t newest)
{
	int64_t last = batch->n ? batch->ring[(batch->n - 1) % TL_STREAM_BATCH] : 0;

	if (search->end != TL_END_ALL)
		return search->place.number > last ? search->place.number : last;
	return last > newest ? last : newest;
}

static void tell_skipped(struct tl_buf *out, uint64_t n, int64_t number)
{
	tl_buf_printf(out, "id: %lld\nevent: skipped\ndata: {\"records\":%llu}\n\n",
		      (long long)number, (unsigned long long)n);
}

int tl_stream_turn(struct tl_store_reader *reader, const struct tl_query *query, int64_t *after,
		   struct tl_buf *out, uint64_t *ret_skipped, struct tl_error *error)
{
	_cleanup_(tl_buf_done) struct tl_buf data = {.max = EVENT_BYTES_MAX};
	struct batch *batch = calloc(1, sizeof(*batch));
	int64_t newest = tl_store_newest(reader, query->exchanges);
	struct tl_search search;
	int r;

	*ret_skipped = 0;
	if (!batch)
		return tl_error_set(error, -ENOMEM, "out of memory");
	if (*after < 0 || *after > newest)
		*after = newest; /* another store than the one it came from */
	batch->out = &data;
	r = newest == *after ? 1 : read_batch(reader, query, *after, 0, batch, &search, error);
	if (r == 0 && batch->n > TL_STREAM_BATCH) {
		int64_t first = batch->ring[batch->n % TL_STREAM_BATCH];

		*ret_skipped = batch->n - TL_STREAM_BATCH;
		tell_skipped(out, *ret_skipped, first - 1);
		tl_buf_clear(&data);
		r = read_batch(reader, query, first - 1, TL_STREAM_BATCH, batch, &search, error);
	}
	if (r == 0) {
		*after = next_after(batch, &search, newest);
		if (batch->n) {
			tl_buf_printf(out, "id: %lld\nevent: records\n", (long long)*after);
			tl_buf_add(out, data.data, data.len);
		}
	}
	free(batch);
	return r < 0 ? r : 0;
}

static bool is_closed(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLRDHUP};

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* Opens the store when there is one, and anew when the file was replaced. */
static void follow_file(struct stream *s)
{
	struct stat st;

	if (stat(s->path, &st) < 0 || (s->reader && st.st_ino == s->inode))
		return;
	if (s->reader) {
		tl_store_reader_close(s->reader);
		s->reader = NULL;
		s->after = 0;
	}
	if (tl_store_reader_open(s->path, &s->reader, NULL) < 0)
		s->reader = NULL;
	else
		s->inode = st.st_ino;
}

static void add_beat(struct stream *s, const char *event)
{
	int64_t newest = s->reader ? tl_store_newest(s->reader, s->query.exchanges) : 0;

	if (s->after < 0 && s->reader)
		s->after = newest;
	if (s->after >= 0)
		tl_buf_printf(&s->out, "id: %lld\n", (long long)s->after);
	tl_buf_printf(&s->out, "event: %s\ndata: {\"newest\":%lld}\n\n", event, (long long)newest);
	s->beat_ns = tl_mono_ns();
}

static void turn(struct stream *s)
{
	struct tl_error error = {0};
	uint64_t skipped = 0;

	if (!s->reader || tl_mono_ns() - s->beat_ns > BEAT_NS)
		follow_file(s);
	if (s->reader && tl_store_changed(s->reader)) {
		if (tl_stream_turn(s->reader, &s->query, &s->after, &s->out, &skipped, &error) < 0)
			tl_buf_printf(&s->out, "event: failed\ndata: {}\n\n");
		atomic_fetch_add(&skipped_records, skipped);
	}
	if (!s->out.len && tl_mono_ns() - s->beat_ns > BEAT_NS)
		add_beat(s, "beat");
}

static ssize_t on_room(void *arg, uint64_t position, char *to, size_t max)
{
	struct stream *s = arg;
	size_t n;

	(void)position;
	if (s->sent == s->out.len) {
		tl_buf_clear(&s->out);
		s->sent = 0;
	}
	if (!s->begun) {
		s->begun = true;
		follow_file(s);
		add_beat(s, "begin");
	}
	while (s->out.len == 0) {
		if (is_closed(s->fd))
			return MHD_CONTENT_READER_END_WITH_ERROR;
		turn(s);
		if (s->out.len == 0)
			poll(NULL, 0, (int)TURN_MS);
	}
	n = s->out.len - s->sent < max ? s->out.len - s->sent : max;
	memcpy(to, s->out.data + s->sent, n);
	s->sent += n;
	return (ssize_t)n;
}

static void stream_free(void *arg)
{
	struct stream *s = arg;

	if (s->reader)
		tl_store_reader_close(s->reader);
	tl_buf_done(&s->out);
	free(s);
	atomic_fetch_sub(&open_streams, 1);
}

static int read_question(struct stream *s, const struct tl_api_request *request,
			 struct tl_error *error)
{
	const char *q = request->argument(request->arg, "q");

	s->query.after = -1;
	s->query.exchanges = request->argument(request->arg, "http") != NULL;
	if (q && strlen(q) >= sizeof(s->q))
		return tl_error_set(error, -E2BIG, "q is longer than %d bytes", QUERY_MAX - 1);
	snprintf(s->q, sizeof(s->q), "%s", q ?: "");
	snprintf(s->path, sizeof(s->path), "%s", request->store);
	return tl_query_parse(&s->query, s->q, error);
}

int tl_stream_open(const struct tl_api_request *request, struct MHD_Connection *connection,
		   int64_t after, struct MHD_Response **ret_response, struct tl_error *error)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct stream *s = calloc(1, sizeof(*s));
	struct MHD_Response *response;
	int r;

	if (!s)
		return tl_error_set(error, -ENOMEM, "out of memory");
	r = read_question(s, request, error);
	if (r == 0 && atomic_fetch_add(&open_streams, 1) >= TL_STREAMS_MAX) {
		atomic_fetch_sub(&open_streams, 1);
		r = tl_error_set(error, -EBUSY,
				 "%u pages follow the log already: close one of them",
				 TL_STREAMS_MAX);
	}
	if (r < 0) {
		free(s);
		return r;
	}
	s->fd = info ? info->connect_fd : -1;
	s->after = after;
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 64 << 10, on_room, s,
						     stream_free);
	if (!response) {
		stream_free(s);
		return tl_error_set(error, -ENOMEM, "out of memory");
	}
	*ret_response = response;
	return 0;
}
