/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the Kafka bus: kafka.c (open, ops, poll), kafka_group.c (who owns which partition,
 * inputs kept for a rewind), kafka_txn.c (outputs, commit, recovery), kafka_mark.c (positions with
 * notes), kafka_read.c (changelogs).
 * One thread. */
#ifndef TL_BUS_KAFKA_INTERNAL_H
#define TL_BUS_KAFKA_INTERNAL_H

#include "userspace/bus/kafka.h"

/* Inputs handed out and not committed: past this poll gives nothing until a commit, so that what a
 * rewind needs stays bounded. */
#define TL_KEPT_MESSAGES 200000u
#define TL_KEPT_BYTES (256u * 1024u * 1024u)

struct tl_kafka_part {
	int topic;
	int32_t partition;
	int64_t next;	   /* after the newest message handed out; -1 none yet */
	int64_t committed; /* what the group knows, or what was taken: where a rewind goes; -1
			      nothing */
};

struct tl_bus_kafka {
	struct tl_kafka_watch watch; /* first: the consumer's opaque pointer */
	struct tl_bus bus;
	struct tl_bus_options options; /* borrowed by the caller's promise */
	struct tl_kafka_watch producer_watch;
	rd_kafka_t *consumer, *producer, *reader;
	char names[TL_TOPICS][250];
	struct tl_bus_listener listener;
	bool subscribed, closing, transactional;

	struct tl_kafka_part *parts;	 /* assigned to us */
	size_t n_parts, cap_parts, hint; /* hint: the part of the last message */

	/* Inputs since the last commit in the order of arrival. A rewind hands them out again from
	 * memory: seeking back would race with what librdkafka has fetched meanwhile. */
	rd_kafka_message_t **kept;
	size_t n_kept, cap_kept, given, kept_bytes;

	bool in_txn;
	bool rewound;	      /* the next call tells it by -EAGAIN */
	uint64_t stranded_ns; /* monotonic: known since then that we are no member, or one of an
				 old generation: nothing is given out; 0 we are one */
	uint64_t polled_ns;   /* monotonic: librdkafka's last poll */
	uint64_t
		poll_interval_ns; /* max.poll.interval.ms: without a poll for so long one is none */
	bool away;		  /* the operator was told that the brokers are gone */
	rd_kafka_resp_err_t delivery_error; /* without transactions: first failed output since the
					       last commit */
	struct tl_error failed;		    /* set by a callback; final */
};

static inline struct tl_bus_kafka *tl_bus_kafka(struct tl_bus *bus)
{
	return (struct tl_bus_kafka *)((char *)bus - offsetof(struct tl_bus_kafka, bus));
}

/* kafka_group.c */
void tl_kafka_on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
			   rd_kafka_topic_partition_list_t *list, void *opaque);
/* The assigned part a message belongs to, or NULL. */
struct tl_kafka_part *tl_kafka_part_of(struct tl_bus_kafka *b, const rd_kafka_message_t *message);
int tl_kafka_topic_of(const struct tl_bus_kafka *b, const char *name); /* -1 none */
/* Takes the message over. Errors: -ENOMEM (it is then destroyed). */
int tl_kafka_keep(struct tl_bus_kafka *b, rd_kafka_message_t *message);
/* Releases what was handed out and notes the positions as committed. */
void tl_kafka_kept_done(struct tl_bus_kafka *b);
/* Reads what the group has stored, waiting for brokers that are away. Errors: as
 * rd_kafka_committed, or of one of the partitions. */
rd_kafka_resp_err_t tl_kafka_committed(struct tl_bus_kafka *b,
				       rd_kafka_topic_partition_list_t *list);
/* Whether a commit's error says that the group has gone on without us. Notes it. */
bool tl_kafka_is_stranded(struct tl_bus_kafka *b, rd_kafka_resp_err_t err);
/* Whether we are a member for certain; else there is nothing to commit: rewind and poll. Ask before
 * every commit of offsets. */
bool tl_kafka_may_commit(struct tl_bus_kafka *b);
/* Everything not committed will be handed out again. */
void tl_kafka_rewind(struct tl_bus_kafka *b);
/* Parts whose position moved since the last commit, with offsets; the caller destroys the list. */
rd_kafka_topic_partition_list_t *tl_kafka_moved(const struct tl_bus_kafka *b);

/* kafka_txn.c */
int tl_kafka_open_producer(struct tl_bus_kafka *b, struct tl_error *error);
int tl_kafka_produce(struct tl_bus *bus, const struct tl_message *message, struct tl_error *error);
int tl_kafka_commit(struct tl_bus *bus, struct tl_error *error);
int tl_kafka_abort(struct tl_bus *bus, struct tl_error *error);
/* Waits until dead letters are acknowledged (without transactions). Errors: of one of them. */
int tl_kafka_flush_outputs(struct tl_bus_kafka *b, struct tl_error *error);

/* kafka_mark.c */
void tl_kafka_take(struct tl_bus *bus);
int tl_kafka_mark(struct tl_bus *bus, const struct tl_mark *mark, struct tl_error *error);
int tl_kafka_marked(struct tl_bus *bus, struct tl_mark *mark, struct tl_error *error);

/* kafka_read.c */
int tl_kafka_read_all(struct tl_bus *bus, int topic, int32_t partition,
		      void (*each)(void *arg, struct tl_span key, struct tl_span value), void *arg,
		      struct tl_error *error);

#endif
