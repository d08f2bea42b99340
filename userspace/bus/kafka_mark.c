// SPDX-License-Identifier: Apache-2.0
/* Positions with notes, for consumers that hold messages over many polls. The note travels as the
 * metadata of the group's offset, so the two are stored and read back as one; a member whose
 * generation is over cannot store either (the broker refuses it), which is what keeps a worker that
 * was stopped and continued from deciding anything. */
#include "userspace/base/msg.h"
#include "userspace/bus/kafka_internal.h"

void tl_kafka_take(struct tl_bus *bus)
{
	tl_kafka_kept_done(tl_bus_kafka(bus));
}

static rd_kafka_topic_partition_list_t *list_of(const struct tl_bus_kafka *b,
						const struct tl_mark *mark)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

	rd_kafka_topic_partition_list_add(list, b->names[mark->topic], mark->partition)->offset =
		mark->offset;
	return list;
}

/* Of our generation, or the positions are only being brought. */
static bool is_moving(rd_kafka_resp_err_t err)
{
	return err == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS || err == RD_KAFKA_RESP_ERR__STATE ||
	       err == RD_KAFKA_RESP_ERR__NO_OFFSET;
}

int tl_kafka_mark(struct tl_bus *bus, const struct tl_mark *mark, struct tl_error *error)
{
	struct tl_bus_kafka *b = tl_bus_kafka(bus);
	_cleanup_(rd_kafka_topic_partition_list_destroyp) rd_kafka_topic_partition_list_t *list =
		NULL;
	static struct tl_msg_gate gate;
	rd_kafka_resp_err_t err;
	int r = tl_kafka_flush_outputs(b, error);

	if (r < 0)
		return r;
	list = list_of(b, mark);
	if (mark->note[0]) {
		list->elems[0].metadata = strdup(mark->note);
		list->elems[0].metadata_size = strlen(mark->note);
		if (!list->elems[0].metadata)
			return tl_error_set(error, -ENOMEM, "out of memory");
	}
	if (!tl_kafka_may_commit(b))
		return tl_error_set(error, -EAGAIN, "not committed: no member of the group");
	err = rd_kafka_commit(b->consumer, list, 0);
	if (!err)
		err = list->elems[0].err;
	if (!err)
		return 0;
	if (err == RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE)
		return tl_error_set(error, -ENAMETOOLONG,
				    "the broker refuses a note of %zu bytes with an offset; raise "
				    "its offset.metadata.max.bytes",
				    strlen(mark->note));
	if (!tl_kafka_is_stranded(b, err) && !is_moving(err) && !tl_kafka_is_passing(err))
		return tl_kafka_fail(error, b->consumer, err, NULL, "cannot commit offsets");
	tl_msg_limited(&gate, 30000, TL_WARNING, "an offset waits to be committed: %s",
		       rd_kafka_err2str(err));
	return tl_error_set(error, -EAGAIN, "not committed: %s", rd_kafka_err2str(err));
}

int tl_kafka_marked(struct tl_bus *bus, struct tl_mark *mark, struct tl_error *error)
{
	struct tl_bus_kafka *b = tl_bus_kafka(bus);
	_cleanup_(rd_kafka_topic_partition_list_destroyp) rd_kafka_topic_partition_list_t *list =
		list_of(b, mark);
	rd_kafka_resp_err_t err = tl_kafka_committed(b, list);
	const rd_kafka_topic_partition_t *got = &list->elems[0];

	if (err)
		return tl_kafka_fail(error, b->consumer, err, NULL,
				     "cannot read the offsets of group %s", b->options.group);
	if (got->metadata_size >= sizeof(mark->note))
		return tl_error_set(error, -ENAMETOOLONG,
				    "%s [%d]: the offset of group %s has a note of %zu bytes, "
				    "which no sink of ours writes; use another --group",
				    got->topic, got->partition, b->options.group,
				    got->metadata_size);
	mark->offset = got->offset >= 0 ? got->offset : -1;
	memcpy(mark->note, got->metadata_size ? got->metadata : "", got->metadata_size);
	mark->note[got->metadata_size] = '\0';
	return 0;
}
