/* SPDX-License-Identifier: Apache-2.0 */
/* Scores what the agent made of a run: every record whose body holds ` class=C gt=G` is compared
 * with the truth in it, which is the first 12 hex digits of SHA-256 of the request id that the
 * service received. right: the record's correlation.id hashes to G. wrong: it has another id, or
 * the line is nobody's (G is -). none: no id, by why. A generated id (the request had none that is
 * well formed; G is "none") is right as long as each gt has one generated id and each generated id
 * one gt.
 *
 * usage: score STATE_DIR [TEXT_FILE...]     the agent's state folder; what the services wrote
 * Prints one JSON object: {"lines": {"CLASS/HOW": {"right": n, "wrong": n}, "CLASS/none": {"WHY":
 * n}}, "written": n, "records": n, "gap_bytes": n, "twice": n, "first_wrong": [..]}. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/correlate/sha256.h"
#include "userspace/base/map.h"
#include "userspace/base/text.h"
#include "userspace/record/entry.h"

#define CELLS_MAX 512
#define SHOWN_MAX 10

struct cell {
	char name[64]; /* class/how, or class/none/why */
	uint64_t right, wrong, none;
};

struct text12 {
	char text[16];
};

static struct {
	struct cell cells[CELLS_MAX];
	unsigned n_cells;
	struct tl_map *generated; /* hash of a generated id -> struct text12, the gt it went to */
	struct tl_map *uids;	  /* of lines with a gt */
	uint64_t records, gap_bytes, twice;
	char *shown[SHOWN_MAX];
	unsigned n_shown;
} score;

/* Copies the value after ` KEY=` up to a space, quote or the end. Returns false without one. */
static bool field(struct tl_span body, const char *key, char *out, size_t size)
{
	size_t klen = strlen(key), n = 0;
	const char *p = memmem(body.data, body.len, key, klen), *end = body.data + body.len;

	if (!p)
		return false;
	for (p += klen; p < end && n < size - 1 && *p != ' ' && *p != '"' && *p != '\r'; p++)
		out[n++] = *p;
	out[n] = '\0';
	return true;
}

static struct cell *cell_of(const char *name)
{
	for (unsigned i = 0; i < score.n_cells; i++)
		if (strcmp(score.cells[i].name, name) == 0)
			return &score.cells[i];
	if (score.n_cells == CELLS_MAX)
		abort();
	snprintf(score.cells[score.n_cells].name, sizeof(score.cells[0].name), "%s", name);
	return &score.cells[score.n_cells++];
}

static void attr(struct tl_span entry, const char *key, char *out, size_t size)
{
	struct tl_span value = {0};

	out[0] = '\0';
	if (tl_entry_attr(entry, key, &value) == 1)
		snprintf(out, size, "%.*s", (int)value.len, value.data);
}

/* One generated id for one request: the same id with another truth is a wrong one. */
static bool generated_right(const char *id, const char *gt)
{
	uint64_t key = tl_hash(id, strlen(id));
	bool added = false;
	struct text12 *known = tl_map_put(score.generated, &key, &added);

	if (!known)
		abort();
	if (added)
		snprintf(known->text, sizeof(known->text), "%s", gt);
	return strcmp(known->text, gt) == 0;
}

static bool is_right(struct tl_span entry, const char *id, const char *gt)
{
	char source[64], own[GT_LEN + 1];

	if (strcmp(gt, "-") == 0)
		return false;
	attr(entry, "correlation.source", source, sizeof(source));
	if (strcmp(source, "generated") == 0)
		return generated_right(id, gt);
	gt_of(id, strlen(id), own);
	return strcmp(own, gt) == 0;
}

static void show_wrong(struct tl_span entry, struct tl_span body, const char *how, const char *id)
{
	char thread[32], *text;

	if (score.n_shown == SHOWN_MAX)
		return;
	attr(entry, "thread.id", thread, sizeof(thread));
	if (asprintf(&text, "%s id=%s thread=%s: %.*s", how, id, thread,
		     (int)(body.len < 160 ? body.len : 160), body.data) < 0)
		return;
	for (char *p = text; *p; p++)
		if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ')
			*p = '\'';
	score.shown[score.n_shown++] = text;
}

static void count_twice(const struct tl_uid *uid)
{
	bool added = false;
	uint64_t key[2] = {uid->stream ^ uid->epoch, uid->offset};

	if (tl_map_put(score.uids, key, &added) && !added)
		score.twice++;
}

static void add_line(struct tl_span entry, struct tl_span body, const char *class, const char *gt)
{
	char how[32], why[32], id[300], name[96];
	struct cell *cell;
	bool right;

	attr(entry, "correlation.how", how, sizeof(how));
	attr(entry, "correlation.id", id, sizeof(id));
	if (!id[0]) {
		attr(entry, "correlation.why", why, sizeof(why));
		snprintf(name, sizeof(name), "%s/%s/%s", class, how[0] ? how : "none", why);
		cell_of(name)->none++;
		return;
	}
	snprintf(name, sizeof(name), "%s/%s", class, how);
	cell = cell_of(name);
	right = is_right(entry, id, gt);
	if (right)
		cell->right++;
	else
		cell->wrong++;
	if (!right)
		show_wrong(entry, body, how, id);
}

static void add_record(struct tl_span entry)
{
	struct tl_record record;
	struct tl_uid uid;
	char class[24], gt[16], gap[32];

	if (tl_entry_peek(entry, &uid, &record) < 0)
		return;
	attr(entry, "tapline.gap.bytes", gap, sizeof(gap));
	if (gap[0])
		score.gap_bytes += strtoull(gap, NULL, 10);
	if (!field(record.body, " class=", class, sizeof(class)) ||
	    !field(record.body, " gt=", gt, sizeof(gt)))
		return;
	score.records++;
	count_twice(&uid);
	add_line(entry, record.body, class, gt);
}

static int read_log(const char *state)
{
	_cleanup_(tl_log_reader_closep) struct tl_log_reader *reader = NULL;
	struct tl_error error = {0};
	struct tl_log_item item;
	char dir[4096];
	int r;

	snprintf(dir, sizeof(dir), "%s/log", state);
	r = tl_log_reader_open(dir, "score", TL_LOG_RESUME, 0, &reader, NULL, &error);
	if (r < 0) {
		fprintf(stderr, "score: %s\n", error.message);
		return r;
	}
	while ((r = tl_log_reader_next(reader, &item, &error)) == 1)
		if (item.type == TL_ENTRY_RECORD)
			add_record(item.data);
	return r == -EBADMSG ? r : 0;
}

/* Lines with a truth in the file that a service wrote. */
static uint64_t count_written(const char *path)
{
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;
	uint64_t n = 0;

	while (file && getline(&line, &size, file) > 0)
		n += strstr(line, " class=") && strstr(line, " gt=");
	free(line);
	if (file)
		fclose(file);
	return n;
}

static void print_cells(void)
{
	printf("{\"lines\":{");
	for (unsigned i = 0; i < score.n_cells; i++) {
		const struct cell *cell = &score.cells[i];

		printf("%s\"%s\":{\"right\":%llu,\"wrong\":%llu,\"none\":%llu}", i ? "," : "",
		       cell->name, (unsigned long long)cell->right, (unsigned long long)cell->wrong,
		       (unsigned long long)cell->none);
	}
	printf("}");
}

int main(int argc, char **argv)
{
	uint64_t written = 0;

	if (argc < 2) {
		fprintf(stderr, "usage: score STATE_DIR [TEXT_FILE...]\n");
		return 2;
	}
	score.generated = tl_map_new(8, sizeof(struct text12), 1u << 24);
	score.uids = tl_map_new(16, 1, 1u << 25);
	if (!score.generated || !score.uids || read_log(argv[1]) < 0)
		return 1;
	for (int i = 2; i < argc; i++)
		written += count_written(argv[i]);
	print_cells();
	printf(",\"written\":%llu,\"records\":%llu,\"gap_bytes\":%llu,\"twice\":%llu,\"first_"
	       "wrong\":[",
	       (unsigned long long)written, (unsigned long long)score.records,
	       (unsigned long long)score.gap_bytes, (unsigned long long)score.twice);
	for (unsigned i = 0; i < score.n_shown; i++)
		printf("%s\"%s\"", i ? "," : "", score.shown[i]);
	printf("]}\n");
	return 0;
}
