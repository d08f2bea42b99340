/* SPDX-License-Identifier: Apache-2.0 */
/* Generations: how each record gets into the bucket exactly once.
 *
 * A generation is what a partition gave in [first, end). The stored position of a partition is
 *always the first of a generation, and before anything of it is uploaded its end is stored beside
 *the position, as a note (the decision). So whatever is killed, and whatever made the decision
 *(size, age, a stop), a run that comes back reads the same range again, makes objects of the same
 *names with the same records, and finds those that are there already. When all are there, `end` is
 *stored as the position, without a note.
 *
 *	collecting --due--> deciding --mark(first, note end)--> uploading --mark(end)--> gone
 *
 * One generation of a partition is between deciding and gone at a time; the next one collects
 * meanwhile, and when that is due too, the sink is full: the bus is not asked for more. A decision
 * found at the start is collected up to its end and goes straight to uploading.
 *
 * A name that is taken by other content stops its partition: nothing of it is stored or uploaded
 *any more, the others go on, and the run ends with an error. */
#include <stdio.h>

#include "userspace/base/clock.h"
#include "userspace/base/metrics.h"
#include "userspace/base/msg.h"
#include "userspace/sink/s3.h"

static struct tl_metric stopped = {
	.name = "tapline_sink_s3_stopped_partitions",
	.type = TL_GAUGE,
	.help = "Partitions stopped because an object is there with other content."};
static struct tl_metric spooled = {.name = "tapline_sink_s3_spool_bytes",
				   .type = TL_GAUGE,
				   .help = "Bytes that wait on disk to be uploaded."};
static struct tl_metric generations = {.name = "tapline_sink_s3_generations_total",
				       .type = TL_COUNTER,
				       .help = "Generations whose objects are all there."};
static struct tl_metric records = {.name = "tapline_sink_s3_records_total",
				   .type = TL_COUNTER,
				   .help = "Records of those generations."};

static void register_metrics(void)
{
	static bool done;

	if (done)
		return;
	done = true;
	tl_metric_register(&stopped);
	tl_metric_register(&spooled);
	tl_metric_register(&generations);
	tl_metric_register(&records);
}

static struct tl_s3_part *part_of(struct tl_s3 *s3, int topic, int32_t partition)
{
	for (size_t i = 0; i < s3->n_parts; i++)
		if (s3->parts[i].partition == partition && s3->parts[i].topic == topic)
			return &s3->parts[i];
	return NULL;
}

static void generation_free(struct tl_s3 *s3, struct tl_s3_generation *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < g->n_files; i++)
		tl_s3_file_drop(&s3->spool, &g->files[i]);
	free(g);
}

/* One that the uploader may be at is freed when it is done. */
static void abandon(struct tl_s3 *s3, struct tl_s3_generation *g)
{
	if (!g || !g->submitted) {
		generation_free(s3, g);
		return;
	}
	g->cancel = 1;
	/* `next` is the uploader's until it took it from the queue: orphans have their own link. */
	g->orphan = s3->orphans;
	s3->orphans = g;
}

static void reap_orphans(struct tl_s3 *s3)
{
	for (struct tl_s3_generation **at = &s3->orphans, *g; (g = *at);) {
		if (tl_s3_uploader_finished(s3->uploader, g)) {
			*at = g->orphan;
			generation_free(s3, g);
		} else {
			at = &g->orphan;
		}
	}
}

static int read_note(struct tl_s3 *s3, const struct tl_mark *mark, struct tl_s3_part *part,
		     struct tl_error *error)
{
	struct tl_s3_note note;
	int r = tl_s3_note_parse(mark->note, &note);

	if (r <= 0)
		return r < 0 ? tl_error_set(error, r,
					    "partition %d: its offset has the note `%.100s`, which "
					    "this version does not read: run the version that "
					    "wrote it",
					    mark->partition, mark->note)
			     : 0;
	if (note.formats != tl_s3_formats(s3->settings) || strcmp(note.place, s3->place) != 0)
		return tl_error_set(error, -EINVAL,
				    "partition %d: records %lld to %lld were on their way to %s "
				    "(format %s) when an earlier run was killed; run once with "
				    "that --bucket, --prefix and --format, and change them after "
				    "it has ended by SIGTERM",
				    mark->partition, (long long)mark->offset,
				    (long long)note.end - 1, note.place,
				    note.formats == TL_S3_BOTH	    ? "both"
				    : note.formats == TL_S3_PARQUET ? "parquet"
								    : "ndjson");
	part->replay = note.end;
	return 0;
}

int tl_s3_assigned(struct tl_sink *sink, const struct tl_mark *mark, struct tl_error *error)
{
	struct tl_s3 *s3 = (struct tl_s3 *)sink;
	struct tl_s3_part part = {.topic = mark->topic,
				  .partition = mark->partition,
				  .position = mark->offset,
				  .next = mark->offset,
				  .replay = -1};
	int r = read_note(s3, mark, &part, error);

	register_metrics();
	if (r < 0)
		return r;
	tl_s3_revoked(sink, mark->topic, mark->partition);
	if (s3->n_parts == s3->cap_parts) {
		size_t cap = s3->cap_parts ? s3->cap_parts * 2 : 64;
		struct tl_s3_part *parts = realloc(s3->parts, cap * sizeof(*parts));

		if (!parts)
			return tl_error_set(error, -ENOMEM, "out of memory");
		s3->parts = parts;
		s3->cap_parts = cap;
	}
	s3->parts[s3->n_parts++] = part;
	return 0;
}

void tl_s3_revoked(struct tl_sink *sink, int topic, int32_t partition)
{
	struct tl_s3 *s3 = (struct tl_s3 *)sink;
	struct tl_s3_part *part = part_of(s3, topic, partition);

	if (!part)
		return;
	abandon(s3, part->closing);
	abandon(s3, part->open);
	*part = s3->parts[--s3->n_parts];
}

void tl_s3_parts_done(struct tl_s3 *s3)
{
	for (size_t i = 0; i < s3->n_parts; i++) {
		generation_free(s3, s3->parts[i].closing);
		generation_free(s3, s3->parts[i].open);
	}
	while (s3->orphans) {
		struct tl_s3_generation *next = s3->orphans->orphan;

		generation_free(s3, s3->orphans);
		s3->orphans = next;
	}
	free(s3->parts);
	tl_arena_done(&s3->arena);
	tl_buf_done(&s3->dead_letter);
}

/* --- taking records in --- */

/* A new generation begins where the one before ended; the very first at its first record. */
static struct tl_s3_generation *begin(const struct tl_s3_part *part, int64_t offset)
{
	struct tl_s3_generation *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->topic = part->topic;
	g->partition = part->partition;
	g->first = part->closing	 ? part->closing->end
		   : part->position >= 0 ? part->position
					 : offset;
	g->end = offset;
	g->began_ns = tl_mono_ns();
	if (part->replay >= 0 && !part->closing) {
		g->decided = true;
		g->end = part->replay;
	}
	return g;
}

static int spool_error(const struct tl_s3 *s3, int r, struct tl_error *error)
{
	return tl_error_set(error, r,
			    "--spool %s cannot be written: %s; free some space, or choose another "
			    "folder or a smaller --object-size; nothing is lost",
			    s3->spool.dir, strerror(-r));
}

/* The file of an hour, begun when it is missing. */
static int file_of(struct tl_s3 *s3, struct tl_s3_generation *g, uint32_t hour,
		   struct tl_s3_file **ret, struct tl_error *error)
{
	int r;

	for (size_t i = g->n_files; i-- > 0;)
		if (g->files[i].hour == hour) {
			*ret = &g->files[i];
			return 0;
		}
	/* A decided generation has to be collected whatever else is there: it fitted before. */
	if (g->n_files == TL_S3_HOURS_MAX || (!g->decided && s3->spool.files >= TL_S3_FILES_MAX))
		return -EMFILE;
	r = tl_s3_file_init(&s3->spool, &g->files[g->n_files], hour);
	if (r < 0)
		return spool_error(s3, r, error);
	*ret = &g->files[g->n_files++];
	return 0;
}

static void bury(struct tl_sink_result *result, size_t message)
{
	struct tl_dead_letter *dead = &result->dead[result->n_dead++];

	dead->message = message;
	dead->type = "malformed_record";
	snprintf(dead->reason, sizeof(dead->reason),
		 "no JSON object with uid and observed_timestamp");
}

/* Returns 1 taken, 0 there is no room in this generation, or an error. */
static int add(struct tl_s3 *s3, struct tl_s3_generation *g, const struct tl_message *message,
	       uint32_t hour, struct tl_error *error)
{
	struct tl_s3_file *file = NULL;
	int r = file_of(s3, g, hour, &file, error);

	if (r == -EMFILE)
		return 0;
	r = r < 0 ? r : tl_s3_file_add(&s3->spool, file, message->value);
	if (r < 0)
		return error && error->code ? r : spool_error(s3, r, error);
	g->bytes += message->value.len + 1;
	return 1;
}

/* Ends what `open` collects. `closing` must be free. */
static int close_open(struct tl_s3 *s3, struct tl_s3_part *part, struct tl_error *error)
{
	struct tl_s3_generation *g = part->open;
	int r = 0;

	for (size_t i = 0; r == 0 && i < g->n_files; i++)
		r = tl_s3_file_seal(&s3->spool, &g->files[i]);
	if (r < 0)
		return spool_error(s3, r, error);
	if (!g->decided)
		g->end = part->next;
	g->whole = true;
	part->closing = TAKE_PTR(part->open);
	part->replay = -1;
	return 0;
}

/* A record of an hour that does not fit: the generation ends in front of it. -EBUSY: the one before
 * is still under way, or others hold the files. */
static int make_room(struct tl_s3 *s3, struct tl_s3_part *part, struct tl_error *error)
{
	if (part->open->decided)
		return tl_error_set(error, -EBADMSG,
				    "partition %d: the range that an earlier run decided has more "
				    "than %d hours, which no run of this version decides",
				    part->partition, TL_S3_HOURS_MAX);
	if (part->closing || part->open->n_files == 0)
		return -EBUSY;
	return close_open(s3, part, error);
}

/* Returns 0, -EBUSY the message cannot be taken now, or an error. */
static int take(struct tl_s3 *s3, struct tl_s3_part *part, const struct tl_message *message,
		uint32_t hour, struct tl_error *error)
{
	int r;

	/* The end of a decided range was a record; it was deleted since. */
	if (part->open && part->open->decided && message->offset >= part->open->end) {
		r = close_open(s3, part, error);
		if (r < 0)
			return r;
	}
	for (;;) {
		if (!part->open)
			part->open = begin(part, message->offset);
		if (!part->open)
			return tl_error_set(error, -ENOMEM, "out of memory");
		r = hour == UINT32_MAX ? 1 : add(s3, part->open, message, hour, error);
		if (r != 0)
			break;
		r = make_room(s3, part, error);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	part->next = message->offset + 1;
	if (part->open->decided && part->next >= part->open->end)
		return close_open(s3, part, error);
	return 0;
}

int tl_s3_write(struct tl_sink *sink, const struct tl_message *messages, size_t n,
		struct tl_sink_result *result, const volatile int *stop, struct tl_error *error)
{
	struct tl_s3 *s3 = (struct tl_s3 *)sink;
	struct tl_s3_part *part = NULL;

	(void)stop;
	for (size_t i = 0; i < n; i++) {
		struct tl_message own = messages[i], *m = &own;
		bool is_place = m->partition == TL_PLACE;
		uint32_t hour = UINT32_MAX;
		int r = 0;

		if (is_place)
			m->partition = 0;

		if (!part || part->partition != m->partition || part->topic != m->topic)
			part = part_of(s3, m->topic, m->partition);
		if (!part || part->stopped || m->offset < part->next)
			continue;
		if (m->topic == TL_TOPIC_DLQ) {
			tl_arena_reset(&s3->arena);
			tl_buf_clear(&s3->dead_letter);
			r = tl_s3_dead_letter(m, &s3->arena, &s3->dead_letter);
			m->value = tl_buf_span(&s3->dead_letter);
		}
		if (r < 0)
			return tl_error_set(error, -ENOMEM, "out of memory");
		if (!is_place && tl_s3_hour(m->value, &hour) < 0)
			bury(result, i);
		r = take(s3, part, m, hour, error);
		if (r < 0)
			return r;
	}
	tl_metric_set(&spooled, s3->spool.bytes);
	return 0;
}

/* --- bringing them away --- */

static int mark(struct tl_bus *bus, const struct tl_s3_part *part, int64_t offset,
		const struct tl_s3_note *note, struct tl_error *error)
{
	struct tl_mark m = {.topic = part->topic, .partition = part->partition, .offset = offset};
	int r = note ? tl_s3_note_format(note, m.note, sizeof(m.note)) : 0;

	return r < 0 ? tl_error_set(error, r, "--bucket and --prefix are too long")
		     : bus->ops->mark(bus, &m, error);
}

static int decide(struct tl_s3 *s3, struct tl_s3_part *part, struct tl_bus *bus,
		  struct tl_error *error)
{
	struct tl_s3_generation *g = part->closing;
	struct tl_s3_note note = {.end = g->end, .formats = tl_s3_formats(s3->settings)};
	int r;

	snprintf(note.place, sizeof(note.place), "%s", s3->place);
	r = mark(bus, part, g->first, &note, error);
	if (r == 0)
		g->decided = true;
	return r;
}

static void stop_partition(struct tl_s3 *s3, struct tl_s3_part *part)
{
	tl_msg(TL_ERROR, "partition %d is stopped: %s", part->partition,
	       part->closing->error.message);
	part->stopped = true;
	s3->stopped = part->closing->error;
	tl_metric_add(&stopped, 1);
	generation_free(s3, TAKE_PTR(part->closing));
	generation_free(s3, TAKE_PTR(part->open));
}

static int finish(struct tl_s3 *s3, struct tl_s3_part *part, struct tl_bus *bus,
		  struct tl_error *error)
{
	struct tl_s3_generation *g = part->closing;
	int r = mark(bus, part, g->end, NULL, error);

	if (r < 0)
		return r;
	part->position = g->end;
	tl_metric_add(&generations, 1);
	for (size_t i = 0; i < g->n_files; i++)
		tl_metric_add(&records, g->files[i].records);
	generation_free(s3, TAKE_PTR(part->closing));
	return 0;
}

/* As far as it goes now. */
static int step(struct tl_s3 *s3, struct tl_s3_part *part, struct tl_bus *bus,
		struct tl_error *error)
{
	struct tl_s3_generation *g = part->closing;
	int r = g->decided ? 0 : decide(s3, part, bus, error);

	if (r < 0)
		return r;
	if (g->n_files && !g->submitted)
		tl_s3_uploader_submit(s3->uploader, g);
	if (g->submitted && !tl_s3_uploader_finished(s3->uploader, g))
		return 0;
	if (g->result == -EEXIST) {
		stop_partition(s3, part);
		return 0;
	}
	if (g->result < 0) {
		*error = g->error;
		return g->result;
	}
	return finish(s3, part, bus, error);
}

static uint64_t packed_bytes(const struct tl_s3_generation *g)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < g->n_files; i++)
		sum += g->files[i].bytes;
	return sum;
}

static bool is_large(const struct tl_s3 *s3, const struct tl_s3_generation *g)
{
	return !g->decided &&
	       (packed_bytes(g) >= s3->settings->object_bytes || g->n_files >= TL_S3_HOURS_MAX / 2);
}

static bool is_old(const struct tl_s3 *s3, const struct tl_s3_generation *g)
{
	return !g->decided && tl_mono_ns() - g->began_ns >= s3->settings->max_age_ns;
}

static bool spool_is_full(const struct tl_s3 *s3)
{
	return s3->spool.bytes >= s3->settings->spool_bytes ||
	       s3->spool.files >= TL_S3_FILES_MAX / 4 * 3;
}

/* The spool is full of small ones: the largest that can goes first. */
static struct tl_s3_part *largest(struct tl_s3 *s3)
{
	struct tl_s3_part *best = NULL;

	for (size_t i = 0; i < s3->n_parts; i++) {
		struct tl_s3_part *p = &s3->parts[i];

		if (p->closing || !p->open || p->open->decided || !p->open->n_files)
			continue;
		if (!best || packed_bytes(p->open) > packed_bytes(best->open))
			best = p;
	}
	return best;
}

/* Closes what is due and steps what is closing. */
static int advance_part(struct tl_s3 *s3, struct tl_s3_part *part, struct tl_bus *bus, bool drain,
			struct tl_error *error)
{
	int r = 0;

	if (!part->closing && part->open && !part->open->decided &&
	    (drain || is_large(s3, part->open) || is_old(s3, part->open)))
		r = close_open(s3, part, error);
	if (r == 0 && part->closing)
		r = step(s3, part, bus, error);
	return r;
}

static enum tl_advance state(const struct tl_s3 *s3)
{
	bool empty = true;

	if (spool_is_full(s3))
		return TL_ADVANCE_FULL;
	for (size_t i = 0; i < s3->n_parts; i++) {
		const struct tl_s3_part *p = &s3->parts[i];

		if (p->closing && p->open && is_large(s3, p->open))
			return TL_ADVANCE_FULL;
		empty = empty && !p->closing && (!p->open || p->open->decided);
	}
	return empty ? TL_ADVANCE_EMPTY : TL_ADVANCE_READY;
}

/* No records can go on, or the end has come: tells what stopped a partition. */
static int tell_stopped(const struct tl_s3 *s3, bool drained, struct tl_error *error)
{
	bool all = true;

	for (size_t i = 0; i < s3->n_parts; i++)
		all = all && (s3->parts[i].stopped || s3->parts[i].topic != TL_TOPIC_LOGS);
	if (!s3->stopped.code || (!all && !drained))
		return 0;
	*error = s3->stopped;
	return error->code;
}

/* What is not in the bucket by then is read again by the next run. */
static bool drain_is_over(struct tl_s3 *s3)
{
	uint64_t now = tl_mono_ns();

	if (!s3->drain_since_ns)
		s3->drain_since_ns = now;
	if (now - s3->drain_since_ns < s3->settings->drain_ns)
		return false;
	tl_msg(TL_WARNING, "not all of what was taken is in the bucket after --drain; the next run "
			   "brings it there");
	return true;
}

int tl_s3_advance(struct tl_sink *sink, struct tl_bus *bus, unsigned wait_ms, bool drain,
		  struct tl_error *error)
{
	struct tl_s3 *s3 = (struct tl_s3 *)sink;
	struct tl_s3_part *part = spool_is_full(s3) ? largest(s3) : NULL;
	enum tl_advance now;
	int r = part ? close_open(s3, part, error) : 0;

	reap_orphans(s3);
	for (size_t i = 0; r == 0 && i < s3->n_parts; i++) {
		r = advance_part(s3, &s3->parts[i], bus, drain, error);
		/* The bus will tell by its poll what became of it. */
		if (r == -EAGAIN)
			r = 0;
	}
	tl_metric_set(&spooled, s3->spool.bytes);
	now = drain && drain_is_over(s3) ? TL_ADVANCE_EMPTY : state(s3);
	if (r == 0)
		r = tell_stopped(s3, drain && now == TL_ADVANCE_EMPTY, error);
	if (r < 0)
		return r;
	if (now == TL_ADVANCE_FULL || (drain && now != TL_ADVANCE_EMPTY))
		tl_s3_uploader_wait(s3->uploader, wait_ms);
	return now;
}
