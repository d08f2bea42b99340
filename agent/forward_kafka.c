// SPDX-License-Identifier: Apache-2.0
/* The forwarder's producer. Gapless: once a message has failed for good, everything behind it fails
 * too, so that nothing overtakes it. The reports come in through rd_kafka_poll, in the forwarder's
 * thread. */
#include "agent/forward_internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/msg.h"

void tl_forward_set_last_error(struct tl_forward *f, const char *text)
{
	pthread_mutex_lock(&f->lock);
	snprintf(f->last_error, sizeof(f->last_error), "%s", text);
	pthread_mutex_unlock(&f->lock);
}

void tl_forward_tell_away(struct tl_forward *f, const char *why)
{
	tl_forward_set_last_error(f, why);
	__atomic_store_n(&f->connected, false, __ATOMIC_RELAXED);
	if (!f->away)
		tl_msg(TL_WARNING, "%s. Lines are kept in %s meanwhile", why, f->options.log_dir);
	f->away = true;
}

static void tell_back(struct tl_forward *f)
{
	if (f->away)
		tl_msg(TL_INFO, "Kafka at %s takes lines again", f->options.kafka->brokers);
	f->away = false;
	tl_forward_set_last_error(f, "");
	__atomic_store_n(&f->connected, true, __ATOMIC_RELAXED);
	tl_kafka_watch_reset(&f->watch);
}

static bool broker_answers(struct tl_forward *f)
{
	const struct rd_kafka_metadata *answer;

	if (rd_kafka_metadata(f->rk, 0, f->topics[0], &answer, 500))
		return false;
	rd_kafka_metadata_destroy(answer);
	return true;
}

/* A dropped idle connection is no outage: the broker is asked before anybody is told. */
void tl_forward_watch(struct tl_forward *f, bool progress)
{
	char why[256];
	struct tl_error error = {0};
	rd_kafka_resp_err_t err;

	if (progress && f->away)
		tell_back(f);
	if (f->away) {
		if (f->head == f->tail && broker_answers(f))
			tell_back(f);
		return;
	}
	err = tl_kafka_watch_read(&f->watch, why, sizeof(why));
	if (!err || (!tl_kafka_watch_down(&f->watch) && tl_kafka_errno(err) != -EACCES))
		return;
	if (broker_answers(f)) {
		tl_kafka_watch_reset(&f->watch);
		return;
	}
	tl_kafka_fail(&error, f->rk, err, why, "Kafka at %s cannot be used",
		      f->options.kafka->brokers);
	tl_forward_tell_away(f, error.message);
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	struct tl_forward *f = opaque;
	uint64_t sequence = (uint64_t)(uintptr_t)message->_private;
	uint64_t *slot = &f->slots[sequence & (TL_FORWARD_SLOTS - 1)];

	(void)rk;
	if (!message->err) {
		*slot |= 1;
		f->bytes += message->len;
		return;
	}
	tl_forward_add(&f->failures, 1);
	if (!f->failed)
		f->failed = message->err;
	if (message->err != RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
		return;
	if (f->careful && !f->skip_at)
		f->skip_at = *slot >> 1;
	f->too_large_at = *slot >> 1;
}

static int make_conf(struct tl_forward *f, rd_kafka_conf_t **ret_conf, struct tl_error *error)
{
	static const struct tl_kafka_property fixed[] = {TL_KAFKA_PRODUCER_FIXED,
							 {"enable.gapless.guarantee", "true"},
							 {"message.timeout.ms", "0"},
							 {NULL, NULL}};
	static const struct tl_kafka_property defaults[] = {TL_KAFKA_PRODUCER_DEFAULTS,
							    {NULL, NULL}};
	int r = tl_kafka_conf_new(f->options.kafka, defaults, fixed, &f->watch, ret_conf, error);

	if (r < 0)
		return r;
	/* The broker's limit is for a batch: whoever was refused in company gets another chance
	 * alone. */
	f->careful = f->too_large_at != 0;
	if (f->careful)
		rd_kafka_conf_set(*ret_conf, "batch.num.messages", "1", NULL, 0);
	rd_kafka_conf_set_dr_msg_cb(*ret_conf, on_delivery);
	return 0;
}

void tl_forward_close_producer(struct tl_forward *f)
{
	for (size_t i = 0; i < ARRAY_SIZE(f->topics); i++)
		if (f->topics[i])
			rd_kafka_topic_destroy(TAKE_PTR(f->topics[i]));
	if (!f->rk)
		return;
	rd_kafka_purge(f->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
				      RD_KAFKA_PURGE_F_NON_BLOCKING);
	rd_kafka_destroy(TAKE_PTR(f->rk));
}

int tl_forward_open_producer(struct tl_forward *f, struct tl_error *error)
{
	static const int topics[] = {TL_TOPIC_RAW, TL_TOPIC_HTTP};
	rd_kafka_conf_t *conf;
	char name[250];
	int r = make_conf(f, &conf, error);

	r = r < 0 ? r : tl_kafka_new(RD_KAFKA_PRODUCER, conf, &f->rk, error);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(topics); i++) {
		r = tl_kafka_topic_name(f->options.kafka, topics[i], name);
		f->topics[i] = r < 0 ? NULL : rd_kafka_topic_new(f->rk, name, NULL);
		if (!f->topics[i])
			return tl_error_set(
				error, -EINVAL,
				"Kafka allows no topic of the name that --topic-prefix gives");
	}
	return 0;
}

/* Waits for broker and topics for as long as it takes. */
int tl_forward_await_kafka(struct tl_forward *f)
{
	static const int topics[] = {TL_TOPIC_RAW, TL_TOPIC_HTTP};

	while (!f->stop_now) {
		struct tl_error error = {0};
		int r = tl_kafka_prepare(f->options.kafka, topics, ARRAY_SIZE(topics), 2000, true,
					 &f->stop_now, &error);

		if (r == 0)
			return 0;
		if (r != -EINTR)
			tl_forward_tell_away(f, error.message);
		/* Refused at once (a password, an ACL): ask again now and then, somebody may be
		 * mending it. */
		for (int i = 0; r != -ECONNREFUSED && i < 50 && !f->stop_now; i++)
			usleep(100000);
	}
	return -EINTR;
}

/* Finds contiguous room for `len` bytes behind the newest value. Returns the end to be, 0 none
 * before reports come. */
static uint64_t find_room(const struct tl_forward *f, size_t len)
{
	uint64_t from = f->value_tail, left = TL_FORWARD_VALUES - from % TL_FORWARD_VALUES;

	if (left < len)
		from += left;
	return from + len - f->value_head <= TL_FORWARD_VALUES ? from + len : 0;
}

rd_kafka_resp_err_t tl_forward_produce(struct tl_forward *f, const struct tl_message *m)
{
	bool copy = m->value.len > TL_FORWARD_VALUES / 4;
	uint64_t end = copy ? f->value_tail : find_room(f, m->value.len);
	const char *value = m->value.data;
	rd_kafka_headers_t *headers;
	rd_kafka_resp_err_t err;

	if (!copy && !end)
		return RD_KAFKA_RESP_ERR__QUEUE_FULL;
	if (!copy)
		value = memcpy(f->values + (end - m->value.len) % TL_FORWARD_VALUES, value,
			       m->value.len);
	headers = rd_kafka_headers_new(m->n_headers);
	for (uint32_t i = 0; i < m->n_headers; i++)
		rd_kafka_header_add(headers, m->headers[i].key.data, (ssize_t)m->headers[i].key.len,
				    m->headers[i].value.data, (ssize_t)m->headers[i].value.len);
	err = rd_kafka_producev(f->rk, RD_KAFKA_V_RKT(f->topics[m->topic == TL_TOPIC_HTTP]),
				RD_KAFKA_V_MSGFLAGS(copy ? RD_KAFKA_MSG_F_COPY : 0),
				RD_KAFKA_V_VALUE((void *)value, m->value.len),
				RD_KAFKA_V_KEY(m->key.data, m->key.len),
				RD_KAFKA_V_OPAQUE((void *)(uintptr_t)f->tail),
				RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
	if (err) {
		rd_kafka_headers_destroy(headers);
		return err;
	}
	f->value_tail = end;
	f->value_ends[f->tail & (TL_FORWARD_SLOTS - 1)] = end;
	return 0;
}
