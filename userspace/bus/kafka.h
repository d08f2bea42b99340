/* SPDX-License-Identifier: Apache-2.0 */
/* What everything that speaks to Kafka shares: option rows, how librdkafka is configured from them,
 * errors as sentences with advice, topics that are made when they are missing. The bus itself is
 * behind bus/bus.h. Any thread, unless said. */
#ifndef TL_BUS_KAFKA_H
#define TL_BUS_KAFKA_H

#include <librdkafka/rdkafka.h>
#include <stddef.h>

#include "userspace/base/cleanup.h"
#include "userspace/bus/bus.h"

/* Option rows for a settings struct with a `struct tl_kafka_settings` in `member`; `needed`:
 * whether --brokers must be given. */
#define TL_KAFKA_OPTIONS_IF(type_, member_, needed_)                                               \
	{.name = "brokers",                                                                        \
	 .type = TL_OPT_STRING,                                                                    \
	 .offset = offsetof(type_, member_.brokers),                                               \
	 .metavar = "HOST:PORT,...",                                                               \
	 .env = "TAPLINE_BROKERS",                                                                 \
	 .required = (needed_),                                                                    \
	 .help = "Kafka brokers to begin with; the others are learnt from them."},                 \
		{.name = "topic-prefix",                                                           \
		 .type = TL_OPT_STRING,                                                            \
		 .offset = offsetof(type_, member_.topic_prefix),                                  \
		 .value = TL_DEFAULT_TOPIC_PREFIX,                                                 \
		 .metavar = "TEXT",                                                                \
		 .help = "What the topics' names begin with: raw, http, logs, metrics, dlq and "   \
			 "marks follow it."},                                                      \
		{.name = "partitions",                                                             \
		 .type = TL_OPT_INT,                                                               \
		 .offset = offsetof(type_, member_.partitions),                                    \
		 .value = "6",                                                                     \
		 .min = 1,                                                                         \
		 .max = 100000,                                                                    \
		 .metavar = "N",                                                                   \
		 .help = "Partitions of topics that have to be made."},                            \
		{.name = "replication",                                                            \
		 .type = TL_OPT_INT,                                                               \
		 .offset = offsetof(type_, member_.replication),                                   \
		 .value = "-1",                                                                    \
		 .min = -1,                                                                        \
		 .max = 32767,                                                                     \
		 .metavar = "N",                                                                   \
		 .help = "Copies of topics that have to be made; -1 is the broker's default."},    \
		{.name = "kafka",                                                                  \
		 .type = TL_OPT_KEYVALUE,                                                          \
		 .offset = offsetof(type_, member_.properties),                                    \
		 .metavar = "KEY=VALUE",                                                           \
		 .help = "Any property of librdkafka (security.protocol, sasl.username, ...); "    \
			 "may be given several "                                                   \
			 "times. A value @FILE is read from the file, so that secrets stay out "   \
			 "of the command line."},                                                  \
	{                                                                                          \
		.name = "compression", .type = TL_OPT_STRING,                                      \
		.offset = offsetof(type_, member_.compression), .value = "lz4",                    \
		.metavar = "CODEC",                                                                \
		.help = "Compression of what is produced: lz4, zstd, gzip, snappy or none."        \
	}

#define TL_KAFKA_OPTIONS(type_, member_) TL_KAFKA_OPTIONS_IF(type_, member_, true)

struct tl_kafka_property {
	const char *key, *value;
};

/* The newest thing librdkafka said about a connection. Written by whoever polls the handle, under a
 * lock. */
struct tl_kafka_watch {
	rd_kafka_resp_err_t err; /* 0: nothing since tl_kafka_watch_reset */
	char reason[256];
	bool down; /* no broker was reachable at some time since then */
};

/* Makes a configuration: `defaults` (may be NULL; ends with a NULL key), then the user's
 * properties, then `fixed`, which the user may repeat but not change, because a guarantee hangs on
 * them. `watch` (may be NULL) must live as long as the handle; the handle's opaque pointer is
 * `watch`, callbacks find more behind it. Logs go to tl_msg at debug level. The caller owns
 * `*ret_conf` until rd_kafka_new takes it.
 * Errors: -EINVAL a property that librdkafka refuses or that is fixed; -ENOENT, -EACCES, ... a
 * secret's file. */
int tl_kafka_conf_new(const struct tl_kafka_settings *settings,
		      const struct tl_kafka_property *defaults,
		      const struct tl_kafka_property *fixed, struct tl_kafka_watch *watch,
		      rd_kafka_conf_t **ret_conf, struct tl_error *error);

/* Adds what a producer of ours always is: idempotent, gapless, acks=all, murmur2_random,
 * compression. For `defaults` and `fixed` of tl_kafka_conf_new. */
#define TL_KAFKA_PRODUCER_FIXED                                                                    \
	{"enable.idempotence", "true"}, {"acks", "all"},                                           \
	{                                                                                          \
		"partitioner", "murmur2_random"                                                    \
	}
#define TL_KAFKA_PRODUCER_DEFAULTS                                                                 \
	{"linger.ms", "3"}, {"queue.buffering.max.messages", "100000"},                            \
		{"queue.buffering.max.kbytes", "65536"},                                           \
	{                                                                                          \
		"batch.num.messages", "10000"                                                      \
	}

/* Makes the handle; takes `conf` over in every case. Errors: -EINVAL as librdkafka says. */
int tl_kafka_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **ret_rk,
		 struct tl_error *error);

void tl_kafka_watch_reset(struct tl_kafka_watch *watch);
/* Copies the last reason (may be "") and returns its code. */
rd_kafka_resp_err_t tl_kafka_watch_read(const struct tl_kafka_watch *watch, char *out, size_t size);
bool tl_kafka_watch_down(const struct tl_kafka_watch *watch);

/* Sets `error` to "<what>: <why>; <what to do>". `reason` may be NULL (librdkafka's text for `err`
 * is used). `rk` (may be NULL) tells whether SCRAM is in use. Returns the code: -ECONNREFUSED
 * unreachable, -EACCES credentials, TLS or ACL, -ENOENT no such topic, -ESTALE fenced by a
 * successor, -EMSGSIZE, -ERANGE offsets that retention passed, else -EIO. */
int tl_kafka_fail(struct tl_error *error, rd_kafka_t *rk, rd_kafka_resp_err_t err,
		  const char *reason, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

/* The errno of `err` alone. */
int tl_kafka_errno(rd_kafka_resp_err_t err);

/* True for an error that goes away by itself: brokers are unreachable, start, or change roles. */
bool tl_kafka_is_passing(rd_kafka_resp_err_t err);

/* True for an error that says another process took our place. */
bool tl_kafka_is_fenced(rd_kafka_resp_err_t err);

/* Writes the topic's full name. Errors: -ENAMETOOLONG (Kafka allows 249 bytes). */
int tl_kafka_topic_name(const struct tl_kafka_settings *settings, int topic, char out[250]);

/* Waits up to `wait_ms` for a broker (a message each 5 s unless `quiet`), then makes those of
 * `topics` that are missing, marks compacted. `*stop` (may be NULL) ends the wait. Errors:
 * -ECONNREFUSED, -EACCES, -EINVAL, -EINTR stopped. */
int tl_kafka_prepare(const struct tl_kafka_settings *settings, const int *topics, size_t n,
		     unsigned wait_ms, bool quiet, const volatile int *stop,
		     struct tl_error *error);

TL_DEFINE_CLEANUP(rd_kafka_conf_t *, rd_kafka_conf_destroy);
TL_DEFINE_CLEANUP(rd_kafka_t *, rd_kafka_destroy);
TL_DEFINE_CLEANUP(rd_kafka_topic_t *, rd_kafka_topic_destroy);
TL_DEFINE_CLEANUP(rd_kafka_queue_t *, rd_kafka_queue_destroy);
TL_DEFINE_CLEANUP(rd_kafka_topic_partition_list_t *, rd_kafka_topic_partition_list_destroy);

/* Reads the `tapline-position` header ("<log id, 16 hex>:<position, decimal>"). Errors: -EINVAL. */
int tl_position_parse(struct tl_span text, uint64_t *ret_log_id, uint64_t *ret_position);
#define TL_POSITION_MAX 38
/* Writes it with a NUL; returns its length. */
size_t tl_position_format(uint64_t log_id, uint64_t position, char out[TL_POSITION_MAX]);

#endif
