// SPDX-License-Identifier: Apache-2.0
/* Which partitions are ours, and the inputs of the open batch.
 *
 * A rebalance is told by librdkafka inside a poll. When partitions are taken, the open transaction
 * is aborted at once and the whole batch is rewound: inputs of partitions that stay are handed out
 * again from memory, those of the others are dropped, and their new owner reads them from the
 * committed offset. When partitions come, the committed offset decides where to begin, never
 * `auto.offset.reset`: a new group begins at the oldest message, and an offset that retention has
 * passed is an error that names the gap.
 *
 * A worker whose target was away for longer than max.poll.interval.ms has lost its membership:
 * librdkafka has forgotten the member id, and tells it at the next poll. A commit in between would
 * look to the broker like that of somebody whom a successor with our instance name has replaced,
 * and librdkafka would take its answer for fatal. So a commit first asks whether we are a member.
 * If not, nothing is given out until a poll has told of the loss; then the group is joined again,
 * and our partitions, or others, begin where the group stands. */
#include <inttypes.h>

#include "userspace/base/clock.h"
#include "userspace/base/metrics.h"
#include "userspace/base/msg.h"
#include "userspace/bus/kafka_internal.h"

#define ASK_MS 60000
#define AGAIN_US 200000u
#define COMMIT_MARGIN_NS (500 * TL_MS)

static struct tl_metric rejoins = {
	.name = "tapline_consumer_rejoins_total",
	.type = TL_COUNTER,
	.help = "Times that this worker was thrown out of its group and joined it again."};

static void strand(struct tl_bus_kafka *b)
{
	if (!b->stranded_ns)
		b->stranded_ns = tl_mono_ns();
}

bool tl_kafka_is_stranded(struct tl_bus_kafka *b, rd_kafka_resp_err_t err)
{
	bool told = err == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION ||
		    err == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID;

	if (told)
		strand(b);
	return told;
}

bool tl_kafka_may_commit(struct tl_bus_kafka *b)
{
	char *id = rd_kafka_memberid(b->consumer);
	bool member = id && *id;

	if (id)
		rd_kafka_mem_free(b->consumer, id);
	if (!member || rd_kafka_assignment_lost(b->consumer))
		strand(b);
	/* Near its end the interval may pass between this look and the commit. */
	return !b->stranded_ns &&
	       tl_mono_ns() - b->polled_ns + COMMIT_MARGIN_NS < b->poll_interval_ns;
}

/* Told by a poll that takes the partitions away. */
static void tell_lost(struct tl_bus_kafka *b)
{
	char why[2];

	tl_metric_register(&rejoins);
	if ((!rd_kafka_assignment_lost(b->consumer) && !b->stranded_ns) || b->closing ||
	    rd_kafka_fatal_error(b->consumer, why, sizeof(why)))
		return;
	tl_metric_add(&rejoins, 1);
	tl_msg(TL_WARNING,
	       "group %s took this worker for dead (its target or the broker kept it waiting for "
	       "longer than max.poll.interval.ms or session.timeout.ms): what is not acknowledged "
	       "is dropped, it joins its group again",
	       b->options.group);
}

int tl_kafka_topic_of(const struct tl_bus_kafka *b, const char *name)
{
	for (int i = 0; i < TL_TOPICS; i++)
		if (strcmp(b->names[i], name) == 0)
			return i;
	return -1;
}

static struct tl_kafka_part *find(struct tl_bus_kafka *b, const char *name, int32_t partition)
{
	struct tl_kafka_part *p = b->hint < b->n_parts ? &b->parts[b->hint] : NULL;

	/* Messages come in runs of one partition. */
	if (p && p->partition == partition && strcmp(b->names[p->topic], name) == 0)
		return p;
	for (size_t i = 0; i < b->n_parts; i++) {
		p = &b->parts[i];
		if (p->partition == partition && strcmp(b->names[p->topic], name) == 0) {
			b->hint = i;
			return p;
		}
	}
	return NULL;
}

struct tl_kafka_part *tl_kafka_part_of(struct tl_bus_kafka *b, const rd_kafka_message_t *message)
{
	return find(b, rd_kafka_topic_name(message->rkt), message->partition);
}

int tl_kafka_keep(struct tl_bus_kafka *b, rd_kafka_message_t *message)
{
	if (b->n_kept == b->cap_kept) {
		size_t cap = b->cap_kept ? b->cap_kept * 2 : 4096;
		rd_kafka_message_t **kept = realloc(b->kept, cap * sizeof(*kept));

		if (!kept) {
			rd_kafka_message_destroy(message);
			return -ENOMEM;
		}
		b->kept = kept;
		b->cap_kept = cap;
	}
	b->kept[b->n_kept++] = message;
	b->kept_bytes += message->len + message->key_len;
	return 0;
}

/* Forgets kept[0..n), which are in order of arrival. */
static void forget(struct tl_bus_kafka *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		b->kept_bytes -= b->kept[i]->len + b->kept[i]->key_len;
		rd_kafka_message_destroy(b->kept[i]);
	}
	memmove(b->kept, b->kept + n, (b->n_kept - n) * sizeof(*b->kept));
	b->n_kept -= n;
}

void tl_kafka_kept_done(struct tl_bus_kafka *b)
{
	forget(b, b->given);
	b->given = 0;
	for (size_t i = 0; i < b->n_parts; i++)
		b->parts[i].committed = b->parts[i].next;
}

void tl_kafka_rewind(struct tl_bus_kafka *b)
{
	b->given = 0;
	for (size_t i = 0; i < b->n_parts; i++)
		b->parts[i].next = b->parts[i].committed;
}

rd_kafka_topic_partition_list_t *tl_kafka_moved(const struct tl_bus_kafka *b)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)b->n_parts);

	for (size_t i = 0; i < b->n_parts; i++) {
		const struct tl_kafka_part *p = &b->parts[i];

		if (p->next > p->committed)
			rd_kafka_topic_partition_list_add(list, b->names[p->topic], p->partition)
				->offset = p->next;
	}
	return list;
}

/* Drops kept inputs of partitions that are not ours any more. */
static void sweep_kept(struct tl_bus_kafka *b)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n_kept; i++) {
		rd_kafka_message_t *message = b->kept[i];

		if (tl_kafka_part_of(b, message)) {
			b->kept[n++] = message;
			continue;
		}
		b->kept_bytes -= message->len + message->key_len;
		rd_kafka_message_destroy(message);
	}
	b->n_kept = n;
}

static int add_part(struct tl_bus_kafka *b, int topic, int32_t partition, int64_t committed)
{
	if (b->n_parts == b->cap_parts) {
		size_t cap = b->cap_parts ? b->cap_parts * 2 : 64;
		struct tl_kafka_part *parts = realloc(b->parts, cap * sizeof(*parts));

		if (!parts)
			return -ENOMEM;
		b->parts = parts;
		b->cap_parts = cap;
	}
	b->parts[b->n_parts++] = (struct tl_kafka_part){topic, partition, committed, committed};
	return 0;
}

/* Where to begin, as a number. An offset that is no longer there would silently become another one.
 */
static void check_gap(struct tl_bus_kafka *b, rd_kafka_topic_partition_t *p)
{
	int64_t low, high;

	if (rd_kafka_query_watermark_offsets(b->consumer, p->topic, p->partition, &low, &high,
					     ASK_MS))
		return;
	if (p->offset == RD_KAFKA_OFFSET_BEGINNING)
		p->offset = low;
	if (p->offset >= low && p->offset <= high)
		return;
	if (b->options.accept_gap) {
		tl_msg(TL_WARNING,
		       "%s [%" PRId32 "]: offset %" PRId64
		       " is not there any more; going on at %" PRId64 ", as --accept-gap says",
		       p->topic, p->partition, p->offset, low);
		p->offset = low;
		return;
	}
	tl_error_set(&b->failed, -ERANGE,
		     "%s [%" PRId32 "]: offset %" PRId64
		     " was to be read next, but the topic has %" PRId64 " to %" PRId64
		     ": retention deleted it or the topic was made anew; --accept-gap goes on "
		     "without it",
		     p->topic, p->partition, p->offset, low, high);
}

/* The listener may know better than the group where to begin. */
static void ask_listener(struct tl_bus_kafka *b, rd_kafka_topic_partition_list_t *list)
{
	struct tl_partition *parts = calloc((size_t)list->cnt + 1, sizeof(*parts));

	if (!parts) {
		tl_error_set(&b->failed, -ENOMEM, "out of memory");
		return;
	}
	for (int i = 0; i < list->cnt; i++)
		parts[i] = (struct tl_partition){
			tl_kafka_topic_of(b, list->elems[i].topic), list->elems[i].partition,
			list->elems[i].offset >= 0 ? list->elems[i].offset : -1};
	if (b->listener.assigned)
		b->listener.assigned(b->listener.arg, parts, (size_t)list->cnt);
	for (int i = 0; i < list->cnt; i++) {
		list->elems[i].offset =
			parts[i].offset >= 0 ? parts[i].offset : RD_KAFKA_OFFSET_BEGINNING;
		check_gap(b, &list->elems[i]);
		if (add_part(b, parts[i].topic, parts[i].partition,
			     list->elems[i].offset >= 0 ? list->elems[i].offset : -1) < 0)
			tl_error_set(&b->failed, -ENOMEM, "out of memory");
	}
	free(parts);
}

rd_kafka_resp_err_t tl_kafka_committed(struct tl_bus_kafka *b,
				       rd_kafka_topic_partition_list_t *list)
{
	static struct tl_msg_gate gate;

	for (;;) {
		rd_kafka_resp_err_t err =
			list->cnt ? rd_kafka_committed(b->consumer, list, ASK_MS) : 0;

		for (int i = 0; !err && i < list->cnt; i++)
			err = list->elems[i].err;
		if (!tl_kafka_is_passing(err))
			return err;
		tl_msg_limited(&gate, 30000, TL_WARNING, "waiting for the offsets of group %s: %s",
			       b->options.group, rd_kafka_err2str(err));
		usleep(AGAIN_US);
	}
}

static void on_assigned(struct tl_bus_kafka *b, rd_kafka_topic_partition_list_t *list)
{
	rd_kafka_resp_err_t err = tl_kafka_committed(b, list);

	if (err)
		tl_kafka_fail(&b->failed, b->consumer, err, NULL,
			      "cannot read the offsets of group %s", b->options.group);
	else
		ask_listener(b, list);
}

static void tell_revoked(struct tl_bus_kafka *b, const rd_kafka_topic_partition_list_t *list)
{
	struct tl_partition *parts = calloc((size_t)list->cnt + 1, sizeof(*parts));

	for (int i = 0; parts && i < list->cnt; i++)
		parts[i] = (struct tl_partition){tl_kafka_topic_of(b, list->elems[i].topic),
						 list->elems[i].partition, -1};
	if (parts && b->listener.revoked)
		b->listener.revoked(b->listener.arg, parts, (size_t)list->cnt);
	free(parts);
}

static void on_revoked(struct tl_bus_kafka *b, const rd_kafka_topic_partition_list_t *list)
{
	struct tl_error error = {0};

	if (b->given || b->in_txn) {
		b->rewound = true;
		if (tl_kafka_abort(&b->bus, &error) < 0)
			b->failed = error;
	}
	for (int i = 0; i < list->cnt; i++) {
		struct tl_kafka_part *p = find(b, list->elems[i].topic, list->elems[i].partition);

		if (p)
			*p = b->parts[--b->n_parts];
	}
	sweep_kept(b);
	tell_revoked(b, list);
}

/* Cooperative rebalancing adds and takes single partitions; eager takes all and gives all. After a
 * failure nothing is taken that would be fetched: poll tells it. */
static void apply(struct tl_bus_kafka *b, bool assign, rd_kafka_topic_partition_list_t *list)
{
	bool failed = b->failed.code;
	rd_kafka_error_t *e = NULL;
	rd_kafka_resp_err_t err = 0;

	if (assign && failed)
		while (list->cnt)
			rd_kafka_topic_partition_list_del_by_idx(list, list->cnt - 1);
	if (strcmp(rd_kafka_rebalance_protocol(b->consumer), "COOPERATIVE") == 0)
		e = assign ? rd_kafka_incremental_assign(b->consumer, list)
			   : rd_kafka_incremental_unassign(b->consumer, list);
	else
		err = rd_kafka_assign(b->consumer, assign ? list : NULL);
	if (e) {
		err = rd_kafka_error_code(e);
		rd_kafka_error_destroy(e);
	}
	if (err && !b->closing && !failed)
		tl_kafka_fail(&b->failed, b->consumer, err, NULL,
			      "group %s: cannot take the partitions", b->options.group);
}

void tl_kafka_on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
			   rd_kafka_topic_partition_list_t *list, void *opaque)
{
	struct tl_bus_kafka *b = opaque;
	bool assign = err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;

	(void)rk;
	if (!assign)
		tell_lost(b);
	b->stranded_ns = 0;
	if (assign)
		on_assigned(b, list);
	else
		on_revoked(b, list);
	apply(b, assign, list);
}
