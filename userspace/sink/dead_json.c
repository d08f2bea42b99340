/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/sink/dead_json.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "userspace/base/clock.h"
#include "userspace/base/json.h"
#include "userspace/base/metrics.h"
#include "userspace/record/base64.h"

struct tl_dead_file {
	char *path, *older;
	uint64_t max_bytes;
	struct tl_buf line;
};

static struct tl_metric written = {
	.name = "tapline_sink_dead_file_letters_total",
	.type = TL_COUNTER,
	.help = "Dead letters written to the file in the state folder.",
};
static struct tl_metric turned = {
	.name = "tapline_sink_dead_file_lost_bytes_total",
	.type = TL_COUNTER,
	.help = "Bytes of the oldest dead letters that gave way to new ones.",
};

static void put_text(struct tl_buf *out, const char *key, struct tl_span text)
{
	tl_json_key(out, key);
	tl_json_string(out, text);
}

static void put_bytes(struct tl_buf *out, struct tl_span value)
{
	size_t len = tl_base64_len(value.len);

	if (tl_utf8_valid(value)) {
		put_text(out, "value", value);
		return;
	}
	tl_json_key(out, "value_base64");
	tl_buf_putc(out, '"');
	if (tl_buf_reserve(out, len) == 0) {
		tl_base64_encode(value, out->data + out->len);
		out->len += len;
	}
	tl_buf_putc(out, '"');
}

int tl_dead_json(const struct tl_message *message, struct tl_buf *out)
{
	static const char prefix[] = "tapline-";
	char now[TL_TIME_LEN + 1];
	size_t begin = out->len;

	tl_time_format(tl_wall_ns(), now);
	tl_buf_putc(out, '{');
	put_text(out, "received", tl_span_str(now));
	for (uint32_t i = 0; i < message->n_headers; i++) {
		const struct tl_header *h = &message->headers[i];
		char key[64];

		if (h->key.len <= sizeof(prefix) - 1 || h->key.len >= sizeof(key) ||
		    memcmp(h->key.data, prefix, sizeof(prefix) - 1) != 0)
			continue;
		snprintf(key, sizeof(key), "%.*s", (int)(h->key.len - sizeof(prefix) + 1),
			 h->key.data + sizeof(prefix) - 1);
		put_text(out, key, h->value);
	}
	put_text(out, "key", message->key);
	put_bytes(out, message->value);
	tl_buf_puts(out, "}\n");
	if (!out->failed)
		return 0;
	out->len = begin;
	return -ENOBUFS;
}

int tl_dead_file_new(const char *path, uint64_t max_bytes, struct tl_dead_file **ret_file)
{
	_cleanup_(tl_dead_file_freep) struct tl_dead_file *file = calloc(1, sizeof(*file));
	static bool registered;

	if (!file)
		return -ENOMEM;
	if (!registered) {
		tl_metric_register(&written);
		tl_metric_register(&turned);
		registered = true;
	}
	file->path = strdup(path);
	file->max_bytes = max_bytes;
	if (asprintf(&file->older, "%s.1", path) < 0)
		file->older = NULL;
	if (!file->path || !file->older)
		return -ENOMEM;
	*ret_file = TAKE_PTR(file);
	return 0;
}

void tl_dead_file_free(struct tl_dead_file *file)
{
	tl_buf_done(&file->line);
	free(file->path);
	free(file->older);
	free(file);
}

static int fail(const struct tl_dead_file *file, struct tl_error *error)
{
	return tl_error_set(error, -errno, "a dead letter cannot be written to %s: %s", file->path,
			    strerror(errno));
}

/* Dead letters are rare: opening the file for each keeps this free of state. */
int tl_dead_file_add(struct tl_dead_file *file, const struct tl_message *message,
		     struct tl_error *error)
{
	_cleanup_(closep) int fd = -1;
	struct stat st;
	ssize_t n;

	tl_buf_clear(&file->line);
	if (tl_dead_json(message, &file->line) < 0)
		return tl_error_set(error, -ENOMEM, "out of memory");
	if (stat(file->path, &st) == 0 && st.st_size &&
	    (uint64_t)st.st_size + file->line.len > file->max_bytes) {
		struct stat older;

		if (stat(file->older, &older) == 0)
			tl_metric_add(&turned, (uint64_t)older.st_size);
		if (rename(file->path, file->older) < 0)
			return fail(file, error);
	}
	fd = open(file->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail(file, error);
	n = write(fd, file->line.data, file->line.len);
	if (n < 0)
		return fail(file, error);
	if ((size_t)n < file->line.len) {
		errno = ENOSPC;
		return fail(file, error);
	}
	tl_metric_add(&written, 1);
	return 0;
}
