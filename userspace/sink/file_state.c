/* SPDX-License-Identifier: Apache-2.0 */
/* The state file: one JSON object that names the newest file of each series with its committed
 * length, and the next offset of each input. It is replaced by rename at each commit, so that
 * positions and data move together. */
#include <stdio.h>
#include <stdlib.h>

#include "userspace/base/fs.h"
#include "userspace/sink/file.h"

#define STATE_MAX ((size_t)64 << 20)

static const char *const topic_names[] = TL_TOPIC_NAMES;

void tl_file_state_done(struct tl_file_state *state)
{
	for (size_t i = 0; i < state->n_positions; i++)
		free(state->positions[i].source);
	free(state->positions);
	memset(state, 0, sizeof(*state));
}

struct tl_file_position *tl_file_state_position(struct tl_file_state *state, const char *source,
						int topic, int32_t partition)
{
	struct tl_file_position *p;

	for (p = state->positions; p < state->positions + state->n_positions; p++)
		if (p->partition == partition && p->topic == topic &&
		    strcmp(p->source, source) == 0)
			return p;
	if (state->n_positions == state->cap_positions) {
		size_t cap = state->cap_positions ? state->cap_positions * 2 : 64;
		struct tl_file_position *grown = realloc(state->positions, cap * sizeof(*grown));

		if (!grown)
			return NULL;
		state->positions = grown;
		state->cap_positions = cap;
	}
	p = &state->positions[state->n_positions];
	*p = (struct tl_file_position){strdup(source), topic, partition, -1};
	if (!p->source)
		return NULL;
	state->n_positions++;
	return p;
}

static int number_of(struct tl_span object, const char *key, uint64_t *ret)
{
	struct tl_json_value value;

	return tl_json_find(object, key, &value) == 1 && tl_json_u64(&value, ret) == 0 ? 0
										       : -EBADMSG;
}

static int text_of(struct tl_span object, const char *key, char *out, size_t size)
{
	_cleanup_(tl_buf_done) struct tl_buf text = {.max = size - 1};
	struct tl_json_value value;

	if (tl_json_find(object, key, &value) != 1 || value.type != TL_JSON_STRING ||
	    tl_json_unescape(value.raw, &text) < 0)
		return -EBADMSG;
	snprintf(out, size, "%.*s", (int)text.len, text.data ? text.data : "");
	return 0;
}

static int read_place(struct tl_span object, struct tl_file_place *place)
{
	if (text_of(object, "file", place->name, sizeof(place->name)) < 0 ||
	    strchr(place->name, '/') || number_of(object, "number", &place->number) < 0 ||
	    number_of(object, "bytes", &place->bytes) < 0 ||
	    number_of(object, "opened", &place->opened_ns) < 0)
		return -EBADMSG;
	return 0;
}

static int topic_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(topic_names); i++)
		if (strcmp(topic_names[i], name) == 0)
			return (int)i;
	return -1;
}

static int read_position(struct tl_file_state *state, struct tl_span object)
{
	uint64_t partition, offset;
	struct tl_file_position *p;
	char source[512], name[32];
	int topic;

	if (text_of(object, "source", source, sizeof(source)) < 0 ||
	    text_of(object, "topic", name, sizeof(name)) < 0 ||
	    number_of(object, "partition", &partition) < 0 || partition > INT32_MAX ||
	    number_of(object, "offset", &offset) < 0 || offset > INT64_MAX)
		return -EBADMSG;
	topic = topic_of(name);
	if (topic < 0)
		return -EBADMSG;
	p = tl_file_state_position(state, source, topic, (int32_t)partition);
	if (!p)
		return -ENOMEM;
	p->offset = (int64_t)offset;
	return 0;
}

static int read_all(struct tl_span json, const char *const *series, struct tl_file_state *state)
{
	struct tl_json_value places, positions, value;
	struct tl_json_cursor cursor;
	int r;

	if (tl_json_find(json, "files", &places) != 1 ||
	    tl_json_find(json, "positions", &positions) != 1 || positions.type != TL_JSON_ARRAY)
		return -EBADMSG;
	for (size_t i = 0; i < TL_FILE_SERIES; i++) {
		r = tl_json_find(places.raw, series[i], &value);
		if (r < 0 || (r == 1 && read_place(value.raw, &state->places[i]) < 0))
			return -EBADMSG;
	}
	r = tl_json_enter(&cursor, positions.raw);
	while (r == 0 && (r = tl_json_element(&cursor, &value)) == 1)
		r = read_position(state, value.raw);
	return r;
}

int tl_file_state_read(const char *path, const char *const *series, struct tl_file_state *ret_state,
		       struct tl_error *error)
{
	_cleanup_(tl_buf_done) struct tl_buf json = {0};
	int r;

	memset(ret_state, 0, sizeof(*ret_state));
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	r = tl_file_read(path, STATE_MAX, &json, error);
	if (r < 0)
		return r;
	r = read_all(tl_buf_span(&json), series, ret_state);
	if (r == 0)
		return 0;
	tl_file_state_done(ret_state);
	return tl_error_set(error, r == -ENOMEM ? r : -EBADMSG,
			    r == -ENOMEM ? "out of memory%s"
					 : "%s is damaged, so what was written is not known: move "
					   "the folder away and begin a new one",
			    r == -ENOMEM ? "" : path);
}

static void put_place(struct tl_buf *out, const char *series, const struct tl_file_place *place)
{
	tl_json_key(out, series);
	tl_buf_printf(out, "{\"file\":\"%s\",\"number\":%llu,\"bytes\":%llu,\"opened\":%llu}",
		      place->name, (unsigned long long)place->number,
		      (unsigned long long)place->bytes, (unsigned long long)place->opened_ns);
}

int tl_file_state_write(const char *path, const char *const *series,
			const struct tl_file_state *state, bool sync, struct tl_error *error)
{
	_cleanup_(tl_buf_done) struct tl_buf out = {.max = STATE_MAX};

	tl_buf_puts(&out, "{\"files\":{");
	for (size_t i = 0; i < TL_FILE_SERIES; i++)
		put_place(&out, series[i], &state->places[i]);
	tl_buf_puts(&out, "},\n\"positions\":[");
	for (size_t i = 0; i < state->n_positions; i++) {
		const struct tl_file_position *p = &state->positions[i];

		if (p->offset < 0)
			continue;
		tl_buf_puts(&out, out.data[out.len - 1] == '[' ? "" : ",\n");
		tl_buf_puts(&out, "{\"source\":");
		tl_json_string(&out, tl_span_str(p->source));
		tl_buf_printf(&out, ",\"topic\":\"%s\",\"partition\":%d,\"offset\":%lld}",
			      topic_names[p->topic], p->partition, (long long)p->offset);
	}
	tl_buf_puts(&out, "]}\n");
	if (out.failed)
		return tl_error_set(error, -ENOMEM, "out of memory");
	return tl_file_replace(path, tl_buf_span(&out), sync, error);
}
