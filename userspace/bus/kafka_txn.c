// SPDX-License-Identifier: Apache-2.0
/* Outputs, and the one commit of outputs and inputs.
 *
 * A transaction begins with the first output or, at commit, with positions that moved. What
 * librdkafka answers is dealt with by class: retriable is tried again (a broker that is away is
 * waited for: the outcome of a commit in flight must not be guessed); "requires abort" aborts and
 * rewinds, told as -EAGAIN; fatal makes a new producer with the same transactional.id, whose
 * initialisation decides what the old one left open, and the group's committed offsets then say
 * which it was.
 *
 * Fenced may mean a successor, or only that the coordinator gave up a transaction while a broker or
 * we were stopped. The group knows: a successor with our group.instance.id makes our own offset
 * commits fail. Only then it is final, and only if we are a member by our own knowledge.
 *
 * Without transactions (a sink) outputs are dead letters: commit waits for each to be acknowledged,
 * then commits offsets. */
#include "userspace/base/msg.h"
#include "userspace/bus/kafka_internal.h"

#define TRY_MS 10000
#define INIT_MS 30000

static int recover(struct tl_bus_kafka *b, struct tl_error *error);

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	struct tl_bus_kafka *b =
		(struct tl_bus_kafka *)((char *)opaque -
					offsetof(struct tl_bus_kafka, producer_watch));

	(void)rk;
	if (message->err && !b->delivery_error)
		b->delivery_error = message->err;
}

static int transactional_id(const struct tl_bus_kafka *b, char out[300], struct tl_error *error)
{
	if (snprintf(out, 300, "%s-%s", b->options.group, b->options.instance) >= 300)
		return tl_error_set(error, -EINVAL, "--group and --instance are too long");
	return 0;
}

static int init_transactions(struct tl_bus_kafka *b, struct tl_error *error)
{
	static struct tl_msg_gate gate;

	for (;;) {
		rd_kafka_error_t *e = rd_kafka_init_transactions(b->producer, INIT_MS);
		int r;

		if (!e)
			return 0;
		if (rd_kafka_error_is_retriable(e)) {
			tl_msg_limited(&gate, 30000, TL_WARNING,
				       "waiting for Kafka's transaction coordinator: %s",
				       rd_kafka_error_string(e));
			rd_kafka_error_destroy(e);
			continue;
		}
		r = tl_kafka_fail(error, b->producer, rd_kafka_error_code(e),
				  rd_kafka_error_string(e), "cannot begin transactions of %s-%s",
				  b->options.group, b->options.instance);
		rd_kafka_error_destroy(e);
		return r;
	}
}

int tl_kafka_open_producer(struct tl_bus_kafka *b, struct tl_error *error)
{
	static const struct tl_kafka_property fixed[] = {TL_KAFKA_PRODUCER_FIXED, {NULL, NULL}};
	/* Outputs wait for their commit anyway, so a long linger costs nothing: commit flushes. */
	static const struct tl_kafka_property defaults[] = {
		TL_KAFKA_PRODUCER_DEFAULTS,
		{"linger.ms", "50"},
		/* A raw message of any size fits with a dead letter's headers. */
		{"message.max.bytes", "1040000"},
		{"transaction.timeout.ms", "60000"},
		{NULL, NULL}};
	char id[300];
	rd_kafka_conf_t *conf;
	int r = transactional_id(b, id, error);

	r = r < 0 ? r
		  : tl_kafka_conf_new(b->options.kafka, defaults, fixed, &b->producer_watch, &conf,
				      error);
	if (r < 0)
		return r;
	if (b->transactional)
		rd_kafka_conf_set(conf, "transactional.id", id, NULL, 0);
	else
		rd_kafka_conf_set(conf, "message.timeout.ms", "0", NULL, 0);
	if (!b->transactional)
		rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	r = tl_kafka_new(RD_KAFKA_PRODUCER, conf, &b->producer, error);
	return r < 0 || !b->transactional ? r : init_transactions(b, error);
}

static int begin(struct tl_bus_kafka *b, struct tl_error *error)
{
	rd_kafka_error_t *e;

	if (b->in_txn)
		return 0;
	e = rd_kafka_begin_transaction(b->producer);
	if (!e) {
		b->in_txn = true;
		return 0;
	}
	rd_kafka_error_destroy(e);
	return recover(b, error);
}

static rd_kafka_resp_err_t produce_once(struct tl_bus_kafka *b, const struct tl_message *m)
{
	rd_kafka_headers_t *headers = m->n_headers ? rd_kafka_headers_new(m->n_headers) : NULL;
	rd_kafka_resp_err_t err;

	for (uint32_t i = 0; i < m->n_headers; i++)
		rd_kafka_header_add(headers, m->headers[i].key.data, (ssize_t)m->headers[i].key.len,
				    m->headers[i].value.data ? m->headers[i].value.data : "",
				    (ssize_t)m->headers[i].value.len);
	err = rd_kafka_producev(
		b->producer, RD_KAFKA_V_TOPIC(b->names[m->topic]),
		RD_KAFKA_V_PARTITION(m->partition < 0 ? RD_KAFKA_PARTITION_UA : m->partition),
		RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
		RD_KAFKA_V_VALUE((void *)m->value.data, m->value.len),
		RD_KAFKA_V_KEY(m->key.data, m->key.len), RD_KAFKA_V_HEADERS(headers),
		RD_KAFKA_V_END);
	if (err && headers)
		rd_kafka_headers_destroy(headers);
	return err;
}

/* Without transactions the first dead letter opens the producer. */
static int ready(struct tl_bus_kafka *b, struct tl_error *error)
{
	static const int dlq[] = {TL_TOPIC_DLQ};
	int r;

	if (b->rewound) {
		b->rewound = false;
		return -EAGAIN;
	}
	if (b->transactional)
		return begin(b, error);
	if (b->producer)
		return 0;
	r = tl_kafka_prepare(b->options.kafka, dlq, 1, TRY_MS, false, NULL, error);
	return r < 0 ? r : tl_kafka_open_producer(b, error);
}

int tl_kafka_produce(struct tl_bus *bus, const struct tl_message *message, struct tl_error *error)
{
	struct tl_bus_kafka *b = tl_bus_kafka(bus);
	int r = ready(b, error);

	if (r < 0)
		return r;
	for (;;) {
		rd_kafka_resp_err_t err = produce_once(b, message);

		switch (err) {
		case RD_KAFKA_RESP_ERR_NO_ERROR:
			return 0;
		case RD_KAFKA_RESP_ERR__QUEUE_FULL:
			rd_kafka_poll(b->producer, 100);
			continue;
		case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
			return tl_kafka_fail(error, b->producer, err, NULL,
					     "a message of %zu bytes for %s", message->value.len,
					     b->names[message->topic]);
		case RD_KAFKA_RESP_ERR__STATE:
			/* The transaction can only be aborted. */
			r = tl_kafka_abort(bus, error);
			return r < 0 ? r : -EAGAIN;
		case RD_KAFKA_RESP_ERR__FATAL:
			r = recover(b, error);
			return r < 0 ? r : -EAGAIN;
		default:
			return tl_kafka_fail(error, b->producer, err, NULL, "cannot produce to %s",
					     b->names[message->topic]);
		}
	}
}

/* One transactional call until it is decided. Returns 0 done; -EAGAIN rewound; -EINPROGRESS fatal:
 * recover; other final. */
static int settle(struct tl_bus_kafka *b,
		  rd_kafka_error_t *(*call)(struct tl_bus_kafka *b, void *arg), void *arg,
		  struct tl_error *error)
{
	static struct tl_msg_gate gate;

	for (;;) {
		rd_kafka_error_t *e = call(b, arg);
		bool retry, aborts, fatal;
		int r;

		if (!e)
			return 0;
		retry = rd_kafka_error_is_retriable(e);
		aborts = rd_kafka_error_txn_requires_abort(e);
		fatal = rd_kafka_error_is_fatal(e);
		if (retry)
			tl_msg_limited(&gate, 30000, TL_WARNING, "a Kafka transaction waits: %s",
				       rd_kafka_error_string(e));
		r = tl_kafka_fail(error, b->producer, rd_kafka_error_code(e),
				  rd_kafka_error_string(e), "transaction failed");
		rd_kafka_error_destroy(e);
		if (retry)
			continue;
		if (fatal)
			return -EINPROGRESS;
		if (!aborts)
			return r;
		r = tl_kafka_abort(&b->bus, error);
		return r < 0 ? r : -EAGAIN;
	}
}

static rd_kafka_error_t *call_abort(struct tl_bus_kafka *b, void *arg)
{
	(void)arg;
	return rd_kafka_abort_transaction(b->producer, TRY_MS);
}

static rd_kafka_error_t *call_commit(struct tl_bus_kafka *b, void *arg)
{
	(void)arg;
	return rd_kafka_commit_transaction(b->producer, TRY_MS);
}

static rd_kafka_error_t *call_offsets(struct tl_bus_kafka *b, void *list)
{
	rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata(b->consumer);
	rd_kafka_error_t *e =
		rd_kafka_send_offsets_to_transaction(b->producer, list, group, TRY_MS);

	rd_kafka_consumer_group_metadata_destroy(group);
	return e;
}

/* settle() calls back here for "requires abort"; an abort itself never requires one. */
int tl_kafka_abort(struct tl_bus *bus, struct tl_error *error)
{
	struct tl_bus_kafka *b = tl_bus_kafka(bus);
	int r = 0;

	if (b->in_txn) {
		b->in_txn = false;
		r = settle(b, call_abort, NULL, error);
	}
	if (r == -EINPROGRESS)
		r = recover(b, error);
	else
		tl_kafka_rewind(b);
	return r == -EAGAIN ? 0 : r;
}

/* Our own offsets once more: a successor with our instance name would have had us fenced. */
static bool still_ours(struct tl_bus_kafka *b)
{
	_cleanup_(rd_kafka_topic_partition_list_destroyp) rd_kafka_topic_partition_list_t *list =
		NULL;
	char why[2];

	if (rd_kafka_fatal_error(b->consumer, why, sizeof(why)))
		return false;
	list = rd_kafka_topic_partition_list_new((int)b->n_parts);
	for (size_t i = 0; i < b->n_parts; i++)
		if (b->parts[i].committed >= 0)
			rd_kafka_topic_partition_list_add(list, b->names[b->parts[i].topic],
							  b->parts[i].partition)
				->offset = b->parts[i].committed;
	return list->cnt == 0 || !tl_kafka_may_commit(b) ||
	       rd_kafka_commit(b->consumer, list, 0) != RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
}

/* Reads what the group has and compares. Returns 1 our last commit did happen, 0 it did not. */
static int was_committed(struct tl_bus_kafka *b, struct tl_error *error)
{
	_cleanup_(rd_kafka_topic_partition_list_destroyp) rd_kafka_topic_partition_list_t *moved =
		tl_kafka_moved(b);
	_cleanup_(rd_kafka_topic_partition_list_destroyp) rd_kafka_topic_partition_list_t *now =
		NULL;
	rd_kafka_resp_err_t err;

	if (moved->cnt == 0)
		return 0;
	now = rd_kafka_topic_partition_list_copy(moved);
	err = rd_kafka_committed(b->consumer, now, INIT_MS);
	if (err)
		return tl_kafka_fail(error, b->consumer, err, NULL,
				     "cannot read the offsets of group %s", b->options.group);
	return now->elems[0].offset == moved->elems[0].offset;
}

/* Returns 0 the transaction that was open turned out committed, -EAGAIN it did not and all is
 * rewound. */
static int recover(struct tl_bus_kafka *b, struct tl_error *error)
{
	char why[256] = "";
	rd_kafka_resp_err_t err = rd_kafka_fatal_error(b->producer, why, sizeof(why));
	int r;

	b->in_txn = false;
	if (tl_kafka_is_fenced(err) && !still_ours(b))
		return tl_kafka_fail(error, b->producer, err, why, "this worker was replaced");
	tl_msg(TL_WARNING, "a new Kafka producer is made after: %s",
	       *why ? why : rd_kafka_err2str(err));
	rd_kafka_destroy(TAKE_PTR(b->producer));
	r = tl_kafka_open_producer(b, error);
	r = r < 0 ? r : was_committed(b, error);
	if (r == 0)
		tl_kafka_rewind(b);
	return r < 0 ? r : r ? 0 : -EAGAIN;
}

static int commit_transaction(struct tl_bus_kafka *b, struct tl_error *error)
{
	_cleanup_(rd_kafka_topic_partition_list_destroyp) rd_kafka_topic_partition_list_t *moved =
		tl_kafka_moved(b);
	int r;

	if (!b->in_txn && moved->cnt == 0)
		return 0;
	if (moved->cnt && !tl_kafka_may_commit(b)) {
		r = tl_kafka_abort(&b->bus, error);
		return r < 0 ? r : -EAGAIN;
	}
	r = begin(b, error);
	if (r == 0 && moved->cnt)
		r = settle(b, call_offsets, moved, error);
	if (r == 0)
		r = settle(b, call_commit, NULL, error);
	if (r == -EINPROGRESS)
		r = recover(b, error);
	if (r == 0)
		b->in_txn = false;
	return r;
}

int tl_kafka_flush_outputs(struct tl_bus_kafka *b, struct tl_error *error)
{
	static struct tl_msg_gate gate;
	rd_kafka_resp_err_t err;

	while (b->producer && rd_kafka_outq_len(b->producer) > 0)
		if (rd_kafka_flush(b->producer, TRY_MS))
			tl_msg_limited(&gate, 30000, TL_WARNING, "waiting for Kafka to take %s",
				       b->names[TL_TOPIC_DLQ]);
	err = b->delivery_error;
	b->delivery_error = 0;
	if (!err)
		return 0;
	if (rd_kafka_fatal_error(b->producer, NULL, 0))
		rd_kafka_destroy(TAKE_PTR(b->producer));
	return tl_kafka_fail(error, b->producer, err, NULL, "cannot write to %s",
			     b->names[TL_TOPIC_DLQ]);
}

/* Offsets alone. A generation that is over means the partitions are being given to others. */
static int commit_offsets(struct tl_bus_kafka *b, struct tl_error *error)
{
	static struct tl_msg_gate gate;

	for (;;) {
		_cleanup_(rd_kafka_topic_partition_list_destroyp)
			rd_kafka_topic_partition_list_t *moved = tl_kafka_moved(b);
		rd_kafka_resp_err_t err = 0;

		if (moved->cnt && !tl_kafka_may_commit(b)) {
			tl_kafka_rewind(b);
			return -EAGAIN;
		}
		err = moved->cnt ? rd_kafka_commit(b->consumer, moved, 0) : 0;
		for (int i = 0; !err && i < moved->cnt; i++)
			err = moved->elems[i].err;
		if (err && tl_kafka_is_stranded(b, err)) {
			tl_kafka_rewind(b);
			return -EAGAIN;
		}
		switch (err) {
		case RD_KAFKA_RESP_ERR_NO_ERROR:
			return 0;
		case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
		case RD_KAFKA_RESP_ERR__STATE:
			tl_kafka_rewind(b);
			return -EAGAIN;
		default:
			if (!tl_kafka_is_passing(err))
				return tl_kafka_fail(error, b->consumer, err, NULL,
						     "cannot commit offsets");
			tl_msg_limited(&gate, 30000, TL_WARNING, "offsets wait to be committed: %s",
				       rd_kafka_err2str(err));
			rd_kafka_flush(b->producer ? b->producer : b->consumer, 100);
		}
	}
}

int tl_kafka_commit(struct tl_bus *bus, struct tl_error *error)
{
	struct tl_bus_kafka *b = tl_bus_kafka(bus);
	int r;

	if (b->failed.code) {
		*error = b->failed;
		return error->code;
	}
	if (b->rewound) {
		b->rewound = false;
		return -EAGAIN;
	}
	if (b->transactional) {
		r = commit_transaction(b, error);
	} else {
		r = tl_kafka_flush_outputs(b, error);
		r = r < 0 ? r : commit_offsets(b, error);
	}
	if (r < 0)
		return r;
	tl_kafka_kept_done(b);
	return 0;
}
