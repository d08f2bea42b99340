/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the forwarder: forward.c (log, slots, thread) and forward_kafka.c (producer, what the
 * operator is told). */
#ifndef TL_AGENT_FORWARD_INTERNAL_H
#define TL_AGENT_FORWARD_INTERNAL_H

#include <pthread.h>

#include "agent/forward.h"
#include "userspace/bus/entry_message.h"
#include "userspace/bus/kafka.h"

#define TL_FORWARD_SLOTS 131072u /* power of two, above queue.buffering.max.messages */

/* Values in flight lie in a ring of ours, in the order of the slots: librdkafka's own copies of
 * mixed sizes, freed in another order, cost malloc more than everything else a line takes. Large
 * enough for 80 MB/s at 100 ms, small enough for a cache. */
#define TL_FORWARD_VALUES (8u << 20)

struct tl_forward {
	struct tl_kafka_watch watch; /* first: the producer's opaque pointer */
	struct tl_forward_options options;
	pthread_t thread;
	volatile int stopping; /* no more waiting for new entries */
	volatile int stop_now; /* no more waiting for acknowledgements either */

	rd_kafka_t *rk;
	rd_kafka_topic_t *topics[2]; /* raw, http */
	struct tl_log_reader *reader;
	struct tl_entry_codec *codec;

	uint64_t *slots;      /* position behind the entry << 1 | acknowledged */
	char *values;	      /* TL_FORWARD_VALUES bytes */
	uint64_t *value_ends; /* of each slot: end of its value, counted without wrapping */
	uint64_t value_head, value_tail;
	uint64_t head, tail; /* oldest in flight, next free; never wrap in practice */
	uint64_t window;     /* most in flight now */
	uint64_t read_to;    /* behind the last entry read */
	uint64_t acked;	     /* position that may be freed */
	uint64_t committed;  /* as far as the log was told */
	uint64_t commit_ns;  /* when */
	uint64_t left;	     /* entries not acknowledged at the end */

	rd_kafka_resp_err_t failed; /* a delivery report said so: make a new producer */
	uint64_t backoff_ns;
	uint64_t too_large_at; /* position behind the last entry the broker refused for its size; 0
				  none */
	uint64_t skip_at;      /* behind one refused although it was alone */
	bool careful;	       /* the producer sends each message alone */
	bool away;	       /* the operator knows that it does not go on */

	uint64_t records, bytes, retries, failures, dropped; /* atomics, as is `acked` */
	bool connected;
	pthread_mutex_t lock;
	char last_error[256];
};

/* Counters have one writer and any readers. */
static inline void tl_forward_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* Makes the producer and its topics from the settings; asks no broker. Errors: -EINVAL. */
int tl_forward_open_producer(struct tl_forward *f, struct tl_error *error);
void tl_forward_close_producer(struct tl_forward *f);

/* Queues a copy of the message, with the next slot's number for its report. _QUEUE_FULL also when
 * the values' ring is. */
rd_kafka_resp_err_t tl_forward_produce(struct tl_forward *f, const struct tl_message *message);

/* Waits for broker and topics for as long as it takes. Errors: -EINTR stopped. */
int tl_forward_await_kafka(struct tl_forward *f);

/* Says once that Kafka is away, and once that it is back. `progress`: something was acknowledged
 * just now. */
void tl_forward_watch(struct tl_forward *f, bool progress);
void tl_forward_tell_away(struct tl_forward *f, const char *why);
void tl_forward_set_last_error(struct tl_forward *f, const char *text);

#endif
