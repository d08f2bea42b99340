// SPDX-License-Identifier: Apache-2.0
/* Is there a broker, and are there the topics? Asked through a short-lived consumer handle: a
 * producer's question would let brokers with auto.create.topics.enable make the topic with their
 * own partition count before we make it with ours. */
#include <stdio.h>

#include "userspace/base/clock.h"
#include "userspace/base/msg.h"
#include "userspace/bus/kafka.h"

#define ASK_MS 1000u	    /* one metadata request */
#define SAY_NS (5 * TL_SEC) /* between messages while waiting */
#define MAKE_MS 15000	    /* broker's time to make topics */

struct prepare {
	const struct tl_kafka_settings *settings;
	rd_kafka_t *rk;
	struct tl_kafka_watch watch;
	const volatile int *stop;
	uint64_t deadline_ns;
	bool quiet;
	int most_partitions; /* of the topics seen: the marks need as many as their inputs */
};

int tl_kafka_topic_name(const struct tl_kafka_settings *settings, int topic, char out[250])
{
	static const char *const names[TL_TOPICS] = TL_TOPIC_NAMES;
	const char *prefix =
		settings->topic_prefix ? settings->topic_prefix : TL_DEFAULT_TOPIC_PREFIX;

	const char *name = names[topic];

	if (topic == TL_TOPIC_OTLP) {
		prefix = "";
		name = settings->otlp_topic ? settings->otlp_topic : name;
	}
	return snprintf(out, 250, "%s%s", prefix, name) < 250 ? 0 : -ENAMETOOLONG;
}

static bool stopped(const struct prepare *p)
{
	return p->stop && *p->stop;
}

static int fail_unreachable(struct prepare *p, struct tl_error *error)
{
	char reason[256];
	rd_kafka_resp_err_t err = tl_kafka_watch_read(&p->watch, reason, sizeof(reason));

	if (!err)
		err = RD_KAFKA_RESP_ERR__TRANSPORT;
	return tl_kafka_fail(error, p->rk, err, reason, "cannot use Kafka at %s",
			     p->settings->brokers);
}

/* Waits for the first answer. A wrong password or certificate does not get better by waiting. */
static int await_broker(struct prepare *p, struct tl_error *error)
{
	uint64_t say_ns = tl_mono_ns() + SAY_NS;

	for (;;) {
		const struct rd_kafka_metadata *answer;
		char reason[256];
		rd_kafka_resp_err_t err = rd_kafka_metadata(p->rk, 0, NULL, &answer, ASK_MS);

		if (!err) {
			rd_kafka_metadata_destroy(answer);
			return 0;
		}
		rd_kafka_poll(p->rk, 0);
		err = tl_kafka_watch_read(&p->watch, reason, sizeof(reason));
		if (tl_kafka_errno(err) == -EACCES || tl_mono_ns() >= p->deadline_ns)
			return fail_unreachable(p, error);
		if (stopped(p))
			return tl_error_set(error, -EINTR, "stopped while waiting for Kafka at %s",
					    p->settings->brokers);
		if (!p->quiet && tl_mono_ns() >= say_ns) {
			tl_msg(TL_WARNING, "waiting for Kafka at %s: %s", p->settings->brokers,
			       *reason ? reason : "no answer yet");
			say_ns = tl_mono_ns() + SAY_NS;
		}
	}
}

/* Returns 1 the topic is there with leaders, 0 it is missing or still without, or an error. */
static int look(struct prepare *p, const char *name, struct tl_error *error)
{
	_cleanup_(rd_kafka_topic_destroyp) rd_kafka_topic_t *rkt =
		rd_kafka_topic_new(p->rk, name, NULL);
	const struct rd_kafka_metadata *answer;
	rd_kafka_resp_err_t err = rd_kafka_last_error();
	int r = 0;

	if (!rkt)
		return tl_kafka_fail(error, p->rk, err, NULL, "topic %s", name);
	err = rd_kafka_metadata(p->rk, 0, rkt, &answer, 5 * ASK_MS);
	if (err)
		return tl_kafka_fail(error, p->rk, err, NULL, "cannot ask about topic %s", name);
	err = answer->topic_cnt ? answer->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	if (!err) {
		r = 1;
		if (answer->topics[0].partition_cnt > p->most_partitions)
			p->most_partitions = answer->topics[0].partition_cnt;
		for (int i = 0; i < answer->topics[0].partition_cnt; i++)
			if (answer->topics[0].partitions[i].leader < 0)
				r = 0;
	} else if (err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART &&
		   err != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) {
		r = tl_kafka_fail(error, p->rk, err, NULL, "topic %s", name);
	}
	rd_kafka_metadata_destroy(answer);
	return r;
}

/* The marks are a changelog: only the newest value of a key counts, and segments stay small so that
 * compaction keeps what a starting worker has to read short. Lines come from hosts whose clocks may
 * be wrong: the broker's time keeps one with a clock an hour ahead from being refused for ever. */
static void configure(rd_kafka_NewTopic_t *topic, int which)
{
	if (which == TL_TOPIC_RAW || which == TL_TOPIC_HTTP)
		rd_kafka_NewTopic_set_config(topic, "message.timestamp.type", "LogAppendTime");
	if (which != TL_TOPIC_MARKS)
		return;
	rd_kafka_NewTopic_set_config(topic, "cleanup.policy", "compact");
	rd_kafka_NewTopic_set_config(topic, "segment.bytes", "16777216");
	rd_kafka_NewTopic_set_config(topic, "min.cleanable.dirty.ratio", "0.1");
}

static int made(struct prepare *p, rd_kafka_event_t *event, const char *name,
		struct tl_error *error)
{
	const rd_kafka_CreateTopics_result_t *result =
		event ? rd_kafka_event_CreateTopics_result(event) : NULL;
	const rd_kafka_topic_result_t **topics;
	rd_kafka_resp_err_t err;
	size_t n = 0;

	if (!result || rd_kafka_event_error(event))
		return tl_kafka_fail(error, p->rk,
				     event ? rd_kafka_event_error(event)
					   : RD_KAFKA_RESP_ERR__TIMED_OUT,
				     event ? rd_kafka_event_error_string(event) : NULL,
				     "cannot make topic %s", name);
	topics = rd_kafka_CreateTopics_result_topics(result, &n);
	err = n ? rd_kafka_topic_result_error(topics[0]) : RD_KAFKA_RESP_ERR_NO_ERROR;
	if (!err || err == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
		return 0;
	if (tl_kafka_errno(err) == -EACCES)
		return tl_error_set(error, -EACCES,
				    "topic %s does not exist and this user may not make it: make "
				    "it, or give the user the "
				    "ACL to create it (docs/kafka.md)",
				    name);
	return tl_kafka_fail(error, p->rk, err, rd_kafka_topic_result_error_string(topics[0]),
			     "cannot make topic %s", name);
}

static int make(struct prepare *p, int which, const char *name, struct tl_error *error)
{
	char why[256];
	_cleanup_(rd_kafka_queue_destroyp) rd_kafka_queue_t *queue = rd_kafka_queue_new(p->rk);
	int partitions = p->settings->partitions > 0 ? (int)p->settings->partitions : -1;
	int count = which == TL_TOPIC_MARKS && p->most_partitions > partitions ? p->most_partitions
									       : partitions;
	int replication = p->settings->replication > 0 ? (int)p->settings->replication : -1;
	rd_kafka_NewTopic_t *topic =
		rd_kafka_NewTopic_new(name, count, replication, why, sizeof(why));
	rd_kafka_AdminOptions_t *options;
	rd_kafka_event_t *event;
	int r;

	if (!topic)
		return tl_error_set(error, -EINVAL, "cannot make topic %s: %s", name, why);
	configure(topic, which);
	options = rd_kafka_AdminOptions_new(p->rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
	rd_kafka_AdminOptions_set_operation_timeout(options, MAKE_MS, why, sizeof(why));
	rd_kafka_CreateTopics(p->rk, &topic, 1, options, queue);
	event = rd_kafka_queue_poll(queue, 2 * MAKE_MS);
	r = made(p, event, name, error);
	if (event)
		rd_kafka_event_destroy(event);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_NewTopic_destroy(topic);
	if (r == 0)
		tl_msg(TL_DEBUG, "made topic %s with %d partitions", name, count);
	return r;
}

static int ensure(struct prepare *p, int which, struct tl_error *error)
{
	char name[250];
	uint64_t until = tl_mono_ns() + MAKE_MS * TL_MS;
	bool asked = false;
	int r = tl_kafka_topic_name(p->settings, which, name);

	if (r < 0)
		return tl_error_set(
			error, r,
			"a topic's name is too long: Kafka's topic names have 249 bytes at most");
	for (;;) {
		r = look(p, name, error);
		if (r != 0)
			return r < 0 ? r : 0;
		if (!asked) {
			r = make(p, which, name, error);
			if (r < 0)
				return r;
			asked = true;
		} else if (tl_mono_ns() > until) {
			return tl_error_set(
				error, -ECONNREFUSED,
				"topic %s has partitions without a leader: are all brokers up?",
				name);
		}
		if (stopped(p))
			return tl_error_set(error, -EINTR, "stopped");
		/* A topic just made has its leaders within some ms; the handle's own loop paces us.
		 */
		rd_kafka_poll(p->rk, 50);
	}
}

int tl_kafka_prepare(const struct tl_kafka_settings *settings, const int *topics, size_t n,
		     unsigned wait_ms, bool quiet, const volatile int *stop, struct tl_error *error)
{
	struct prepare p = {.settings = settings,
			    .stop = stop,
			    .quiet = quiet,
			    .deadline_ns = tl_mono_ns() + wait_ms * TL_MS};
	_cleanup_(rd_kafka_destroyp) rd_kafka_t *rk = NULL;
	rd_kafka_conf_t *conf;
	int r = tl_kafka_conf_new(settings, NULL, NULL, &p.watch, &conf, error);

	r = r < 0 ? r : tl_kafka_new(RD_KAFKA_CONSUMER, conf, &rk, error);
	if (r < 0)
		return r;
	p.rk = rk;
	r = await_broker(&p, error);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = ensure(&p, topics[i], error);
	return r;
}
