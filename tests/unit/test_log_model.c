/* SPDX-License-Identifier: Apache-2.0 */
/* A log beside a model of it in memory, and random things done to both: frames appended, readers
 * opened, read, committed and removed, the writer closed, killed, killed in the middle of an
 * append, and the power lost. After each the log must say what the model says. TL_LOG_STEPS=1000000
 * goes on longer, TL_LOG_SEED repeats a run. */
#include "tests/unit/log_fixture.h"

#define READERS 3
#define ENTRIES_MAX 2000000

struct model_entry {
	uint64_t position, next, id;
	uint32_t number, len;
	uint32_t frame; /* index of the frame it is in */
};

struct model_reader {
	struct tl_log_reader *handle;
	bool exists;  /* has a consumer file */
	bool located; /* `at` is known: a new one begins at the oldest segment, which the model does
			 not know */
	size_t at, dealt; /* entries read by the handle; committed */
};

struct model {
	struct fixture *f;
	struct model_entry *entries;
	size_t n; /* entries alive, from 0 on; the log may have freed a front of them */
	uint32_t frames, next_number;
	uint64_t end, synced_end, id;
	struct model_reader readers[READERS];
	uint64_t seed;
	unsigned appended, refused, kills, losses;
};

static const char *reader_name(int i)
{
	static const char *const names[READERS] = {"forwarder", "stage-1", "z"};

	return names[i];
}

/* --- the writer --- */

static void remember_end(struct model *m)
{
	struct tl_log_usage usage;

	tl_log_usage(m->f->log, &usage);
	m->end = usage.end;
	assert_true(usage.used_bytes <= usage.max_bytes);
}

static size_t min_dealt(const struct model *m)
{
	size_t min = SIZE_MAX;

	for (int i = 0; i < READERS; i++)
		if (m->readers[i].exists && m->readers[i].dealt < min)
			min = m->readers[i].dealt;
	return min == SIZE_MAX ? 0 : min;
}

/* Only a log that is nearly full with what some consumer has not dealt with may refuse. */
static void check_refusal(struct model *m, uint64_t size)
{
	size_t min = min_dealt(m);
	uint64_t unread = min < m->n ? m->end - m->entries[min].position : 0;

	assert_true(unread + size + 2 * m->f->options.segment_bytes + 4096 >
		    m->f->options.max_bytes);
	m->refused++;
}

static void append(struct model *m)
{
	static char data[5][3000];
	struct tl_log_entry entries[5];
	unsigned n = 1 + random_below(5);
	uint64_t at, size;
	int r;

	if (m->n + n > ENTRIES_MAX)
		return;
	for (unsigned i = 0; i < n; i++) {
		uint64_t number = m->next_number + i;
		size_t len = 8 + random_below(random_below(4) ? 100 : 2900);

		memset(data[i], (int)(number * 31 + 7), len);
		memcpy(data[i], &number, 8);
		entries[i] = (struct tl_log_entry){1, {data[i], len}};
	}
	size = tl_log_frame_size(entries, n);
	r = tl_log_append(m->f->log, entries, n, &at);
	if (r == -ENOSPC) {
		check_refusal(m, size);
		return;
	}
	check(m->f, r, 0);
	for (unsigned i = 0; i < n; i++) {
		uint64_t next = at + 8 + (entries[i].data.len + 7) / 8 * 8;

		m->entries[m->n++] = (struct model_entry){
			at,	  next, m->id, m->next_number++, (uint32_t)entries[i].data.len,
			m->frames};
		at = next;
	}
	m->frames++;
	m->appended += n;
	remember_end(m);
}

struct recovery {
	struct model *m;
	size_t expected;
	bool any;
};

static int recovered(void *arg, const struct tl_log_entry *entry)
{
	struct recovery *recovery = arg;
	const struct model *m = recovery->m;

	if (entry->type & (TL_LOG_PRIVATE | TL_LOG_CONTEXT))
		return 0;
	if (!recovery->any) {
		uint64_t first = number_of(entry->data);

		while (recovery->expected < m->n && m->entries[recovery->expected].number != first)
			recovery->expected++;
		recovery->any = true;
	}
	assert_true(recovery->expected < m->n);
	assert_int_equal(number_of(entry->data), m->entries[recovery->expected].number);
	assert_int_equal(entry->data.len, m->entries[recovery->expected].len);
	recovery->expected++;
	return 0;
}

static void open_writer(struct model *m, bool same_id)
{
	struct recovery recovery = {.m = m};

	open_log(m->f);
	assert_int_equal(tl_log_id(m->f->log) == m->id, same_id);
	m->id = tl_log_id(m->f->log);
	check(m->f, tl_log_recover(m->f->log, recovered, &recovery), 0);
	/* What is in the newest segment goes to the very end of the model. */
	assert_true(!recovery.any || recovery.expected == m->n);
	remember_end(m);
}

static void reopen(struct model *m)
{
	close_log(m->f);
	m->synced_end = m->end;
	open_writer(m, true);
}

/* --- crashes: readers of this process would live on, so they only happen with none open --- */

static bool quiet(const struct model *m)
{
	for (int i = 0; i < READERS; i++)
		if (m->readers[i].handle)
			return false;
	return true;
}

static void kill_it(struct model *m)
{
	bool torn = random_below(2) && count_segments(m->f->dir);
	char path[512], junk[200];
	int fd;

	if (!quiet(m) || m->n == 0)
		return;
	kill_writer(m->f);
	if (torn) {
		newest_segment(m->f->dir, path);
		fd = open(path, O_WRONLY | O_APPEND);
		memset(junk, (int)random_below(256), sizeof(junk));
		assert_true(write(fd, junk, 1 + random_below(sizeof(junk) - 1)) > 0);
		close(fd);
	}
	open_writer(m, !torn);
	m->kills++;
}

/* Cuts the segment that holds `cut`, and leaves the later ones: file systems write back in any
 * order. */
static void cut_at(struct model *m, uint64_t cut)
{
	_cleanup_(closep) int fd = open(m->f->dir, O_RDONLY | O_DIRECTORY);
	struct tl_log_segments segments = {0};
	char path[512], name[TL_LOG_NAME];
	size_t i = 0;

	assert_int_equal(tl_log_segments_load(fd, &segments), 0);
	if (segments.n == 0)
		return; /* the only one was torn from its start on, and nothing was appended since
			 */
	while (i + 1 < segments.n && segments.items[i + 1].start <= cut)
		i++;
	if (cut - segments.items[i].start < 64)
		cut = segments.items[i].start + 64;
	tl_log_segment_name(segments.items[i].start, name);
	snprintf(path, sizeof(path), "%s/%s", m->f->dir, name);
	assert_int_equal(truncate(path, (off_t)(cut - segments.items[i].start)), 0);
	tl_log_segments_done(&segments);
}

/* All behind a position that was never synced may be gone. */
static void lose_power(struct model *m)
{
	uint64_t cut, floor = m->synced_end;
	struct tl_log_usage usage;

	if (!quiet(m) || m->n == 0)
		return;
	tl_log_usage(m->f->log, &usage);
	if (floor < usage.end - usage.used_bytes)
		floor = usage.end - usage.used_bytes;
	cut = floor + random_below((unsigned)(m->end - floor) + 1);
	kill_writer(m->f);
	cut_at(m, cut);
	other_boot(m->f->dir, m->synced_end);
	/* A frame is there when its last entry is. */
	while (m->n && m->entries[m->n - 1].next > cut) {
		uint32_t frame = m->entries[m->n - 1].frame;

		while (m->n && m->entries[m->n - 1].frame == frame)
			m->n--;
	}
	for (int i = 0; i < READERS; i++)
		if (m->readers[i].dealt > m->n)
			m->readers[i].dealt = m->n;
	open_writer(m, false);
	m->losses++;
}

/* --- readers --- */

static void open_one(struct model *m, int i)
{
	struct model_reader *reader = &m->readers[i];

	if (reader->handle)
		return;
	check(m->f,
	      tl_log_reader_open(m->f->dir, reader_name(i), TL_LOG_RESUME, 0, &reader->handle, NULL,
				 &m->f->error),
	      0);
	reader->located = reader->exists;
	reader->at = reader->dealt;
	if (!reader->exists) {
		reader->exists = true;
		reader->dealt = 0; /* holds all that is there: not more than the model thinks */
		reader->at = 0;
	}
}

static void check_item(struct model *m, struct model_reader *reader, const struct tl_log_item *item)
{
	const struct model_entry *entry;

	if (!reader->located) {
		size_t limit = m->n;

		for (int i = 0; i < READERS; i++)
			if (&m->readers[i] != reader && m->readers[i].exists &&
			    m->readers[i].located && m->readers[i].dealt < limit)
				limit = m->readers[i].dealt;
		while (reader->at < m->n && m->entries[reader->at].position != item->position)
			reader->at++;
		/* Nothing that another one still needs can have been freed. */
		assert_true(reader->at <= limit);
		reader->dealt = reader->at;
		reader->located = true;
	}
	assert_true(reader->at < m->n);
	entry = &m->entries[reader->at];
	assert_int_equal(number_of(item->data), entry->number);
	assert_int_equal(item->data.len, entry->len);
	assert_int_equal(item->position, entry->position);
	assert_int_equal(item->next, entry->next);
	assert_int_equal(tl_log_reader_id(reader->handle), entry->id);
	assert_false(item->context);
}

static void read_some(struct model *m, int i)
{
	struct model_reader *reader = &m->readers[i];
	unsigned n = random_below(200);
	struct tl_log_item item;

	if (!reader->handle)
		return;
	while (n--) {
		int r = tl_log_reader_next(reader->handle, &item, &m->f->error);

		if (r == 0) {
			assert_true(reader->at == m->n || !reader->located);
			return;
		}
		check(m->f, r, 1);
		check_item(m, reader, &item);
		reader->at++;
	}
}

static void commit_some(struct model *m, int i)
{
	struct model_reader *reader = &m->readers[i];

	if (!reader->handle || !reader->located || reader->at == reader->dealt)
		return;
	reader->dealt += random_below(2) ? reader->at - reader->dealt
					 : 1 + random_below((unsigned)(reader->at - reader->dealt));
	check(m->f, tl_log_reader_commit(reader->handle, m->entries[reader->dealt - 1].next), 0);
}

static void close_one(struct model *m, int i)
{
	struct model_reader *reader = &m->readers[i];

	if (!reader->handle)
		return;
	tl_log_reader_close(reader->handle);
	reader->handle = NULL;
	if (!reader->located)
		reader->exists = false; /* never saw anything: as if new, for the model */
	if (!reader->exists || random_below(20) == 0) {
		check(m->f, tl_log_consumer_remove(m->f->dir, reader_name(i)), 0);
		reader->exists = false;
	}
}

static void step(struct model *m)
{
	int i = (int)random_below(READERS);
	unsigned dice = random_below(1000);

	if (dice < 450) {
		append(m);
	} else if (dice < 650) {
		read_some(m, i);
	} else if (dice < 800) {
		commit_some(m, i);
	} else if (dice < 900) {
		open_one(m, i);
	} else if (dice < 960) {
		close_one(m, i);
	} else if (dice < 975) {
		reopen(m);
	} else if (dice < 978) {
		check(m->f, tl_log_sync(m->f->log), 0);
		m->synced_end = m->end;
	} else if (dice < 990) {
		for (int j = 0; j < READERS; j++)
			close_one(m, j);
		if (dice < 984)
			kill_it(m);
		else
			lose_power(m);
	}
}

static void the_log_agrees_with_its_model_whatever_happens(void **state)
{
	const char *steps_wanted = getenv("TL_LOG_STEPS"), *seed = getenv("TL_LOG_SEED");
	unsigned long steps = steps_wanted ? strtoul(steps_wanted, NULL, 10) : 60000 / SLOWER;
	struct model m = {.f = *state};

	m.entries = calloc(ENTRIES_MAX, sizeof(*m.entries));
	m.seed = seed ? strtoull(seed, NULL, 10) : tl_wall_ns();
	print_message("TL_LOG_SEED=%" PRIu64 "\n", m.seed);
	random_seed(m.seed);
	m.f->options.max_bytes = 1 << 17;
	m.f->options.segment_bytes = 1 << 14;
	open_log(m.f);
	m.id = tl_log_id(m.f->log);
	while (steps-- && m.n < ENTRIES_MAX - 5)
		step(&m);
	for (int i = 0; i < READERS; i++)
		if (m.readers[i].handle)
			tl_log_reader_close(m.readers[i].handle);
	print_message("%u entries, %u refused, %u kills, %u power losses\n", m.appended, m.refused,
		      m.kills, m.losses);
	free(m.entries);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_log_agrees_with_its_model_whatever_happens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
