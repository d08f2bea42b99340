// SPDX-License-Identifier: Apache-2.0
/* librdkafka's codes as errno and as a sentence that ends in what to do. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "userspace/bus/kafka.h"

/* Advice by what a person can do about it. */
#define ADVICE_REACH "is the broker running, and --brokers right?"
#define ADVICE_LOGIN                                                                               \
	"check security.protocol, sasl.mechanism, sasl.username and sasl.password (--kafka "       \
	"KEY=VALUE, secrets as @FILE)"
#define ADVICE_TLS                                                                                 \
	"check security.protocol and ssl.ca.location (--kafka ssl.ca.location=FILE), and the "     \
	"name in the broker's certificate"
#define ADVICE_ACL "give this user the ACL that docs/kafka.md lists for this program"

static const struct row {
	rd_kafka_resp_err_t err;
	int code;
	const char *advice;
} rows[] = {
	{RD_KAFKA_RESP_ERR__TRANSPORT, -ECONNREFUSED, ADVICE_REACH},
	{RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, -ECONNREFUSED, ADVICE_REACH},
	{RD_KAFKA_RESP_ERR__TIMED_OUT, -ECONNREFUSED, ADVICE_REACH},
	{RD_KAFKA_RESP_ERR__RESOLVE, -ECONNREFUSED, "the name in --brokers cannot be resolved"},
	{RD_KAFKA_RESP_ERR__AUTHENTICATION, -EACCES, ADVICE_LOGIN},
	{RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, -EACCES, ADVICE_LOGIN},
	{RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM, -EACCES,
	 "set sasl.mechanism to one the broker offers"},
	{RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE, -EACCES, ADVICE_LOGIN},
	{RD_KAFKA_RESP_ERR__SSL, -EACCES, ADVICE_TLS},
	{RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, -EACCES, ADVICE_ACL},
	{RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, -EACCES, ADVICE_ACL},
	{RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, -EACCES, ADVICE_ACL},
	{RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, -EACCES, ADVICE_ACL},
	{RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, -ENOENT,
	 "make the topic, or let this program make it"},
	{RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, -ENOENT, "make the topic, or let this program make it"},
	{RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, -ENOENT,
	 "give the topic as many partitions as the raw topic has"},
	{RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, -EMSGSIZE, "raise the topic's max.message.bytes"},
	{RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, -ERANGE,
	 "retention has deleted what was not read; go on with --accept-gap"},
	{RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, -ERANGE,
	 "retention has deleted what was not read; go on with --accept-gap"},
	{RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, -EINVAL,
	 "give --replication no larger than the number of brokers"},
	{RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, -EIO,
	 "this host's clock is far from the broker's: set it, or the topic's "
	 "message.timestamp.type to LogAppendTime"},
	{RD_KAFKA_RESP_ERR__FENCED, -ESTALE, "another worker with the same --instance is running"},
	{RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, -ESTALE,
	 "another worker with the same --instance is running"},
	{RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, -ESTALE,
	 "another worker with the same --instance is running"},
	{RD_KAFKA_RESP_ERR_PRODUCER_FENCED, -ESTALE,
	 "another worker with the same --instance is running"},
};

static const struct row *find(rd_kafka_resp_err_t err)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].err == err)
			return &rows[i];
	return NULL;
}

int tl_kafka_errno(rd_kafka_resp_err_t err)
{
	const struct row *row = find(err);

	return !err ? 0 : row ? row->code : -EIO;
}

bool tl_kafka_is_passing(rd_kafka_resp_err_t err)
{
	switch (err) {
	case RD_KAFKA_RESP_ERR__WAIT_COORD:
	case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
	case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
	case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
	case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
	case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
	case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
	case RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT:
		return true;
	default:
		return tl_kafka_errno(err) == -ECONNREFUSED;
	}
}

bool tl_kafka_is_fenced(rd_kafka_resp_err_t err)
{
	return tl_kafka_errno(err) == -ESTALE;
}

/* librdkafka before 2.6 sends an SCRAM exchange that brokers 4.x refuse as bad credentials. */
static bool scram_is_broken(rd_kafka_t *rk)
{
	char mechanism[64] = "";
	size_t size = sizeof(mechanism);

	if (!rk || rd_kafka_version() >= 0x020600ff)
		return false;
	if (rd_kafka_conf_get(rd_kafka_conf(rk), "sasl.mechanism", mechanism, &size) !=
	    RD_KAFKA_CONF_OK)
		return false;
	return strncmp(mechanism, "SCRAM", 5) == 0;
}

int tl_kafka_fail(struct tl_error *error, rd_kafka_t *rk, rd_kafka_resp_err_t err,
		  const char *reason, const char *format, ...)
{
	const struct row *row = find(err);
	const char *advice = row ? row->advice : NULL;
	char what[160];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	if (tl_kafka_errno(err) == -EACCES && advice && strcmp(advice, ADVICE_LOGIN) == 0 &&
	    scram_is_broken(rk))
		advice = "SCRAM from librdkafka before 2.6 does not work with brokers 4.x: use "
			 "librdkafka 2.6.1 or newer, "
			 "brokers 3.9, or PLAIN over TLS, if the password is right";
	return tl_error_set(error, err ? tl_kafka_errno(err) : -EIO, "%s: %s%s%s", what,
			    reason && *reason ? reason : rd_kafka_err2str(err), advice ? "; " : "",
			    advice ? advice : "");
}
