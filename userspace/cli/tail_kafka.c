/* SPDX-License-Identifier: Apache-2.0 */
/* Records straight from the topic: no group is joined and nothing is committed, so a tail never
 * disturbs the workers. */
#include "userspace/cli/tail.h"

#include "userspace/base/msg.h"
#include "userspace/bus/kafka.h"

#define ASK_MS 30000
#define POLL_MS 100

struct source {
	rd_kafka_t *rk;
	char topic[250];
	int32_t n;	/* partitions */
	int32_t at_end; /* of those, read to their end (without follow) */
};

static int open_consumer(const struct tl_tail_settings *settings, struct source *source,
			 struct tl_error *error)
{
	static const struct tl_kafka_property fixed[] = {
		{"group.id", "tapline-tail"},	       {"enable.auto.commit", "false"},
		{"enable.auto.offset.store", "false"}, {"auto.offset.reset", "latest"},
		{"enable.partition.eof", "true"},      {NULL, NULL},
	};
	static const struct tl_kafka_property defaults[] = {{"fetch.wait.max.ms", "50"},
							    {NULL, NULL}};
	rd_kafka_conf_t *conf;
	int r = tl_kafka_conf_new(&settings->kafka, defaults, fixed, NULL, &conf, error);

	return r < 0 ? r : tl_kafka_new(RD_KAFKA_CONSUMER, conf, &source->rk, error);
}

static int count_partitions(const struct tl_tail_settings *settings, struct source *source,
			    struct tl_error *error)
{
	_cleanup_(rd_kafka_topic_destroyp) rd_kafka_topic_t *topic =
		rd_kafka_topic_new(source->rk, source->topic, NULL);
	const struct rd_kafka_metadata *metadata;
	rd_kafka_resp_err_t err = rd_kafka_metadata(source->rk, 0, topic, &metadata, ASK_MS);

	if (err)
		return tl_kafka_fail(error, source->rk, err, NULL, "Kafka at %s",
				     settings->kafka.brokers);
	err = metadata->topic_cnt ? metadata->topics[0].err
				  : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	source->n = metadata->topic_cnt ? metadata->topics[0].partition_cnt : 0;
	rd_kafka_metadata_destroy(metadata);
	return err ? tl_kafka_fail(error, source->rk, err, NULL, "topic %s", source->topic) : 0;
}

static int assign(const struct tl_tail_settings *settings, struct source *source,
		  struct tl_error *error)
{
	_cleanup_(rd_kafka_topic_partition_list_destroyp) rd_kafka_topic_partition_list_t *list =
		rd_kafka_topic_partition_list_new(source->n);
	rd_kafka_resp_err_t err;

	for (int32_t i = 0; i < source->n; i++)
		rd_kafka_topic_partition_list_add(list, source->topic, i)->offset =
			settings->lines ? RD_KAFKA_OFFSET_TAIL(settings->lines)
					: RD_KAFKA_OFFSET_END;
	err = rd_kafka_assign(source->rk, list);
	return err ? tl_kafka_fail(error, source->rk, err, NULL, "topic %s", source->topic) : 0;
}

static void show(const struct tl_query *query, struct tl_printer *printer,
		 const rd_kafka_message_t *message)
{
	struct tl_span json = {message->payload, message->len};

	tl_arena_reset(&printer->arena);
	tl_record_reset(&printer->record);
	if (tl_record_from_json(json, &printer->arena, &printer->record, NULL) == 0 &&
	    tl_query_match(query, &printer->record))
		tl_printer_add(printer, json);
}

/* Returns 1 a message was there, 0 none, or an error. */
static int take(struct source *source, const struct tl_query *query, struct tl_printer *printer,
		int timeout_ms, struct tl_error *error)
{
	rd_kafka_message_t *message = rd_kafka_consumer_poll(source->rk, timeout_ms);
	int r = 1;

	if (!message)
		return 0;
	if (!message->err)
		show(query, printer, message);
	else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
		source->at_end++;
	else if (tl_kafka_errno(message->err) != -ECONNREFUSED)
		r = tl_kafka_fail(error, source->rk, message->err, rd_kafka_message_errstr(message),
				  "topic %s", source->topic);
	rd_kafka_message_destroy(message);
	return r;
}

int tl_tail_kafka(const struct tl_tail_settings *settings, const struct tl_query *query,
		  struct tl_printer *printer, const volatile int *stop, struct tl_error *error)
{
	struct source source = {0};
	int r = tl_kafka_topic_name(&settings->kafka,
				    settings->filter.http ? TL_TOPIC_HTTP : TL_TOPIC_LOGS,
				    source.topic);

	if (r < 0)
		return tl_error_set(error, r, "--topic-prefix is too long");
	r = open_consumer(settings, &source, error);
	if (r == 0)
		r = count_partitions(settings, &source, error);
	if (r == 0)
		r = assign(settings, &source, error);
	while (r >= 0 && !*stop && !printer->gone &&
	       (settings->follow || source.at_end < source.n)) {
		/* What is there is gathered; before a wait it is shown. */
		r = take(&source, query, printer, 0, error);
		if (r == 0) {
			tl_printer_flush(printer);
			r = take(&source, query, printer, POLL_MS, error);
		}
	}
	tl_printer_flush(printer);
	if (source.rk)
		rd_kafka_destroy(source.rk);
	return r < 0 ? r : 0;
}
