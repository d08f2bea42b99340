/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/stream/marks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "userspace/base/map.h"

struct key {
	int32_t topic, partition;
	uint64_t log_id;
};

struct mark {
	uint64_t committed; /* highest position whose transaction is committed, 0 none */
	uint64_t taken;	    /* highest position taken in this batch */
	bool touched;
};

struct tl_marks {
	struct tl_map *map;
	struct key *touched; /* keys of this batch */
	size_t n_touched, cap;
	uint64_t resent;
	bool full;
};

struct tl_marks *tl_marks_new(size_t max)
{
	struct tl_marks *marks = calloc(1, sizeof(*marks));

	if (!marks)
		return NULL;
	marks->cap = max;
	marks->map = tl_map_new(sizeof(struct key), sizeof(struct mark), max);
	marks->touched = calloc(max, sizeof(*marks->touched));
	if (!marks->map || !marks->touched) {
		tl_marks_free(marks);
		return NULL;
	}
	return marks;
}

void tl_marks_free(struct tl_marks *marks)
{
	if (!marks)
		return;
	tl_map_free(marks->map);
	free(marks->touched);
	free(marks);
}

bool tl_marks_take(struct tl_marks *marks, const struct tl_message *message)
{
	const struct key key = {message->topic, message->partition, message->log_id};
	struct mark *mark;

	if (!message->log_id)
		return true;
	mark = tl_map_put(marks->map, &key, NULL);
	if (!mark) {
		marks->full = true;
		return true;
	}
	/* Positions are stored plus one: a log's first entry may be at 0. */
	if (message->log_position + 1 <= mark->taken) {
		marks->resent++;
		return false;
	}
	mark->taken = message->log_position + 1;
	if (!mark->touched) {
		mark->touched = true;
		marks->touched[marks->n_touched++] = key;
	}
	return true;
}

int tl_marks_write(struct tl_marks *marks, struct tl_bus *bus, struct tl_error *error)
{
	if (marks->full)
		return tl_error_set(error, -ENOSPC,
				    "more than %zu agents' logs feed this worker: run more workers",
				    marks->cap);
	for (size_t i = 0; i < marks->n_touched; i++) {
		const struct key *key = &marks->touched[i];
		const struct mark *mark = tl_map_get(marks->map, key);
		struct tl_message message = {.topic = TL_TOPIC_MARKS, .partition = key->partition};
		char name[64], value[24];
		int r;

		message.key.data = name;
		message.key.len = (size_t)snprintf(name, sizeof(name), "%d:%d:%016" PRIx64,
						   key->topic, key->partition, key->log_id);
		message.value.data = value;
		message.value.len = (size_t)snprintf(value, sizeof(value), "%" PRIu64, mark->taken);
		r = bus->ops->produce(bus, &message, error);
		if (r < 0)
			return r;
	}
	return 0;
}

static void end_batch(struct tl_marks *marks, bool keep)
{
	for (size_t i = 0; i < marks->n_touched; i++) {
		struct mark *mark = tl_map_get(marks->map, &marks->touched[i]);

		if (!mark)
			continue;
		if (keep)
			mark->committed = mark->taken;
		else
			mark->taken = mark->committed;
		mark->touched = false;
	}
	marks->n_touched = 0;
}

void tl_marks_commit(struct tl_marks *marks)
{
	end_batch(marks, true);
}

void tl_marks_abort(struct tl_marks *marks)
{
	end_batch(marks, false);
}

struct loading {
	struct tl_marks *marks;
	const struct tl_partition *partition;
};

static void load_one(void *arg, struct tl_span name, struct tl_span value)
{
	struct loading *loading = arg;
	char text[64] = "", number[24] = "";
	struct key key = {0};
	struct mark *mark;

	if (name.len >= sizeof(text) || value.len >= sizeof(number) || !value.len)
		return;
	memcpy(text, name.data, name.len);
	memcpy(number, value.data, value.len);
	if (sscanf(text, "%" SCNd32 ":%" SCNd32 ":%" SCNx64, &key.topic, &key.partition,
		   &key.log_id) != 3 ||
	    key.topic != loading->partition->topic ||
	    key.partition != loading->partition->partition)
		return;
	mark = tl_map_put(loading->marks->map, &key, NULL);
	if (!mark) {
		loading->marks->full = true;
		return;
	}
	mark->committed = mark->taken = strtoull(number, NULL, 10);
}

int tl_marks_load(struct tl_marks *marks, struct tl_bus *bus, const struct tl_partition *partition,
		  struct tl_error *error)
{
	struct loading loading = {marks, partition};

	return bus->ops->read_all(bus, TL_TOPIC_MARKS, partition->partition, load_one, &loading,
				  error);
}

void tl_marks_drop(struct tl_marks *marks, const struct tl_partition *partition)
{
	const void *at;
	void *value;
	bool again = true;

	end_batch(marks, false);
	while (again) {
		size_t iter = 0;

		again = false;
		while (tl_map_next(marks->map, &iter, &at, &value)) {
			struct key key;

			memcpy(&key, at, sizeof(key));
			if (key.topic != partition->topic || key.partition != partition->partition)
				continue;
			tl_map_del(marks->map, &key);
			again = true;
			break;
		}
	}
}

uint64_t tl_marks_resent(const struct tl_marks *marks)
{
	return marks->resent;
}
