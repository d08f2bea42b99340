/* SPDX-License-Identifier: Apache-2.0 */
/* The file sink: newline-delimited JSON in a folder, exactly once. A commit first hands the lines
 * to the kernel (and the disk, as --sync says), then replaces the state file, which holds the
 * committed length of each file beside the positions of the inputs. Killed in between, the next
 * process cuts the files back to their committed length and is given the same messages again. */
#include "userspace/sink/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>

#include "userspace/base/clock.h"
#include "userspace/base/fs.h"
#include "userspace/sink/dead_json.h"

#define FIELD(member) offsetof(struct tl_file_settings, member)

static const int topics[] = {TL_TOPIC_LOGS, TL_TOPIC_HTTP, TL_TOPIC_METRICS, TL_TOPIC_DLQ};
static const char *const series_names[TL_FILE_SERIES] = {"logs", "http", "metrics", "dlq"};
static const char *const syncs[] = {"commit", "rotate", "never", NULL};

struct file_sink {
	struct tl_sink sink;
	const struct tl_file_settings *settings;
	int dir; /* locked while we live */
	char state_path[4096], source[400];
	struct tl_file_state state;
	struct tl_file_series series[TL_FILE_SERIES];
	int topics[TL_FILE_SERIES]; /* those of --topics */
	struct tl_buf line;
};

static const struct tl_option options[] = {
	{.name = "path",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(path),
	 .metavar = "DIR",
	 .required = true,
	 .help = "Folder of the files; made when it is missing. One process writes to it."},
	{.name = "topics",
	 .type = TL_OPT_LIST,
	 .offset = FIELD(topics),
	 .value = "logs,http,metrics,dlq",
	 .metavar = "NAME",
	 .help = "What is written, each to files of its own: logs, http, metrics, dlq."},
	{.name = "max-size",
	 .type = TL_OPT_SIZE,
	 .offset = FIELD(max_bytes),
	 .value = "128MiB",
	 .metavar = "SIZE",
	 .help = "Begin a new file when the present one has so much; 0 never by size."},
	{.name = "every",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(every_ns),
	 .value = "1d",
	 .metavar = "TIME",
	 .help = "Begin a new file when the present one is so old; 0 never by time."},
	{.name = "zstd",
	 .type = TL_OPT_BOOL,
	 .offset = FIELD(zstd),
	 .value = "false",
	 .help = "Pack the files: they end in .ndjson.zst, and zstdcat reads them while they "
		 "grow."},
	{.name = "level",
	 .type = TL_OPT_INT,
	 .offset = FIELD(level),
	 .value = "3",
	 .min = 1,
	 .max = 19,
	 .metavar = "N",
	 .help = "Level of zstd."},
	{.name = "sync",
	 .type = TL_OPT_ENUM,
	 .offset = FIELD(sync),
	 .value = "commit",
	 .choices = syncs,
	 .help = "When lines are synced to the disk: with each commit, when a file is full, or "
		 "never (by us). A killed process loses nothing with any; a power cut may with the "
		 "last two."},
	{.name = NULL},
};

static int series_of(int topic)
{
	for (size_t i = 0; i < ARRAY_SIZE(topics); i++)
		if (topics[i] == topic)
			return (int)i;
	return -1;
}

/* Dead letters of our own are written whatever is chosen. */
static int choose_topics(struct file_sink *file, struct tl_error *error)
{
	const struct tl_list *list = &file->settings->topics;
	size_t n = 0;

	for (size_t i = 0; i < list->n; i++) {
		size_t k = 0;

		while (k < TL_FILE_SERIES && strcmp(series_names[k], list->items[i]) != 0)
			k++;
		if (k == TL_FILE_SERIES)
			return tl_error_set(error, -EINVAL,
					    "--topics %s: logs, http, metrics and dlq are known",
					    list->items[i]);
		for (size_t j = 0; j < n; j++)
			if (file->topics[j] == topics[k])
				return tl_error_set(error, -EINVAL, "--topics %s: twice",
						    list->items[i]);
		file->topics[n++] = topics[k];
	}
	if (!n)
		return tl_error_set(error, -EINVAL, "--topics is empty");
	file->sink.topics = file->topics;
	file->sink.n_topics = n;
	return 0;
}

/* The lock ends with the process, however it ends. */
static int open_folder(struct file_sink *file, struct tl_error *error)
{
	const char *path = file->settings->path;
	int r = tl_mkdir_p(path, 0750, error);

	if (r < 0)
		return r;
	file->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (file->dir < 0)
		return tl_error_set(error, -errno, "cannot open %s: %s", path, strerror(errno));
	if (flock(file->dir, LOCK_EX | LOCK_NB) < 0)
		return tl_error_set(error, -EBUSY,
				    "another process writes to %s: stop it, or give each its own "
				    "folder",
				    path);
	if (snprintf(file->state_path, sizeof(file->state_path), "%s/.state.json", path) >=
	    (int)sizeof(file->state_path))
		return tl_error_set(error, -ENAMETOOLONG, "--path is too long");
	return tl_file_state_read(file->state_path, series_names, &file->state, error);
}

static void file_close(struct tl_sink *sink)
{
	struct file_sink *file = (struct file_sink *)sink;

	for (size_t i = 0; i < TL_FILE_SERIES; i++)
		tl_file_series_close(&file->series[i]);
	tl_file_state_done(&file->state);
	tl_buf_done(&file->line);
	closep(&file->dir);
	free(file);
}

static int file_open(const void *settings, struct tl_sink **ret_sink, struct tl_error *error)
{
	struct file_sink *file = calloc(1, sizeof(*file));
	int r;

	if (!file)
		return tl_error_set(error, -ENOMEM, "out of memory");
	file->sink.ops = &tl_sink_file;
	file->settings = settings;
	file->dir = -1;
	for (size_t i = 0; i < TL_FILE_SERIES; i++)
		file->series[i] = (struct tl_file_series){
			.settings = settings, .topic = series_names[i], .fd = -1};
	r = choose_topics(file, error);
	r = r < 0 ? r : open_folder(file, error);
	for (size_t i = 0; r == 0 && i < TL_FILE_SERIES; i++) {
		file->series[i].dir = file->dir;
		file->series[i].committed = file->state.places[i];
		r = tl_file_series_open(&file->series[i], error);
	}
	if (r < 0) {
		file_close(&file->sink);
		return r;
	}
	*ret_sink = &file->sink;
	return 0;
}

/* One message is one line. */
static bool is_line(struct tl_span value)
{
	return value.len && value.data[0] == '{' && value.data[value.len - 1] == '}' &&
	       !memchr(value.data, '\n', value.len);
}

static void bury(struct tl_sink_result *result, size_t message)
{
	struct tl_dead_letter *dead = &result->dead[result->n_dead++];

	dead->message = message;
	dead->type = "malformed_record";
	snprintf(dead->reason, sizeof(dead->reason), "no JSON object on one line");
}

/* Returns 1 added, 0 dead, or an error. */
static int add(struct file_sink *file, struct tl_file_series *series,
	       const struct tl_message *message, struct tl_error *error)
{
	struct tl_span line = message->value;
	int r;

	if (message->topic == TL_TOPIC_DLQ) {
		tl_buf_clear(&file->line);
		if (tl_dead_json(message, &file->line) < 0)
			return tl_error_set(error, -ENOMEM, "out of memory");
		line = (struct tl_span){file->line.data, file->line.len - 1};
	} else if (!is_line(line)) {
		return 0;
	}
	r = tl_file_series_add(series, line, error);
	return r < 0 ? r : 1;
}

static int file_write(struct tl_sink *sink, const struct tl_message *messages, size_t n,
		      struct tl_sink_result *result, const volatile int *stop,
		      struct tl_error *error)
{
	struct file_sink *file = (struct file_sink *)sink;

	for (size_t i = 0; i < n; i++) {
		int k = series_of(messages[i].topic), r;

		file->series[0].stop = stop;
		if (k < 0)
			continue;
		file->series[k].stop = stop;
		r = add(file, &file->series[k], &messages[i], error);
		if (r < 0)
			return r;
		if (r)
			result->written++;
		else
			bury(result, i);
	}
	return 0;
}

static void file_source(struct tl_sink *sink, const char *name)
{
	struct file_sink *file = (struct file_sink *)sink;

	snprintf(file->source, sizeof(file->source), "%s", name);
}

static int file_positions(struct tl_sink *sink, struct tl_partition *partitions, size_t n,
			  struct tl_error *error)
{
	struct file_sink *file = (struct file_sink *)sink;

	for (size_t i = 0; i < n; i++) {
		const struct tl_file_position *p = tl_file_state_position(
			&file->state, file->source, partitions[i].topic, partitions[i].partition);

		if (!p)
			return tl_error_set(error, -ENOMEM, "out of memory");
		partitions[i].offset = p->offset;
	}
	return 0;
}

static void file_rollback(struct tl_sink *sink)
{
	struct file_sink *file = (struct file_sink *)sink;

	for (size_t i = 0; i < TL_FILE_SERIES; i++)
		tl_file_series_rollback(&file->series[i]);
}

static int set_positions(struct file_sink *file, const struct tl_partition *partitions, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct tl_file_position *p = tl_file_state_position(
			&file->state, file->source, partitions[i].topic, partitions[i].partition);

		if (!p)
			return -ENOMEM;
		p->offset = partitions[i].offset;
	}
	return 0;
}

/* The disk may have had room for the lines and none for the state. */
static int write_state(struct file_sink *file, struct tl_error *error)
{
	bool sync = file->settings->sync == TL_FILE_SYNC_COMMIT;
	int r;

	for (;;) {
		r = tl_file_state_write(file->state_path, series_names, &file->state, sync, error);
		if (r != -ENOSPC && r != -EDQUOT)
			return r;
		r = tl_file_wait_for_space(&file->series[0], error);
		if (r < 0)
			return r;
	}
}

static int file_commit(struct tl_sink *sink, const struct tl_partition *partitions, size_t n,
		       struct tl_error *error)
{
	struct file_sink *file = (struct file_sink *)sink;
	int r = 0;

	for (size_t i = 0; r == 0 && i < TL_FILE_SERIES; i++)
		r = tl_file_series_flush(&file->series[i], error);
	for (size_t i = 0; r == 0 && i < TL_FILE_SERIES; i++)
		file->state.places[i] = file->series[i].now;
	if (r == 0 && set_positions(file, partitions, n) < 0)
		r = tl_error_set(error, -ENOMEM, "out of memory");
	if (r == 0)
		r = write_state(file, error);
	for (size_t i = 0; r == 0 && i < TL_FILE_SERIES; i++)
		tl_file_series_committed(&file->series[i]);
	return r;
}

const struct tl_sink_ops tl_sink_file = {
	.name = "file",
	.about = "Writes records, HTTP exchanges, metrics and dead letters to files of "
		 "newline-delimited JSON in a folder, each exactly once, whatever is killed. New "
		 "files begin by size and age; what is read while it grows may end in lines of a "
		 "batch that is not committed yet.\n\n"
		 "  tapline sink file --brokers kafka:9092 --path /var/log/tapline\n"
		 "  tapline sink file --brokers kafka:9092 --path /srv/logs --topics logs "
		 "--zstd --every 1h",
	.topics = topics,
	.n_topics = ARRAY_SIZE(topics),
	.options = options,
	.settings_size = sizeof(struct tl_file_settings),
	.open = file_open,
	.write = file_write,
	.source = file_source,
	.commit = file_commit,
	.positions = file_positions,
	.rollback = file_rollback,
	.close = file_close,
};
