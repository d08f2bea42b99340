// SPDX-License-Identifier: Apache-2.0
/* From settings to librdkafka's configuration. Order: our defaults, the user's properties, what is
 * fixed. A property of the other side (a consumer's for a producer) is fine with librdkafka, so
 * that one list of properties serves a program that holds both; its warning about that is not
 * shown. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "userspace/base/fs.h"
#include "userspace/base/msg.h"
#include "userspace/bus/kafka.h"

#define SECRET_MAX (256u * 1024u) /* a PEM chain fits many times */

/* One lock for all watches: it is taken when something went wrong and when a status is read. */
static pthread_mutex_t watch_lock = PTHREAD_MUTEX_INITIALIZER;

void tl_kafka_watch_reset(struct tl_kafka_watch *watch)
{
	pthread_mutex_lock(&watch_lock);
	memset(watch, 0, sizeof(*watch));
	pthread_mutex_unlock(&watch_lock);
}

rd_kafka_resp_err_t tl_kafka_watch_read(const struct tl_kafka_watch *watch, char *out, size_t size)
{
	rd_kafka_resp_err_t err;

	pthread_mutex_lock(&watch_lock);
	err = watch->err;
	snprintf(out, size, "%s", watch->reason);
	pthread_mutex_unlock(&watch_lock);
	return err;
}

bool tl_kafka_watch_down(const struct tl_kafka_watch *watch)
{
	bool down;

	pthread_mutex_lock(&watch_lock);
	down = watch->down;
	pthread_mutex_unlock(&watch_lock);
	return down;
}

static bool is_about_credentials(rd_kafka_resp_err_t err)
{
	return tl_kafka_errno(err) == -EACCES;
}

/* "All brokers down" says less than the refusal or bad password that came before it. */
static void on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
	struct tl_kafka_watch *watch = opaque;

	(void)rk;
	if (!watch)
		return;
	pthread_mutex_lock(&watch_lock);
	watch->down |= err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
	if (!watch->err ||
	    (err != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && !is_about_credentials(watch->err))) {
		watch->err = err;
		snprintf(watch->reason, sizeof(watch->reason), "%s", reason);
	}
	pthread_mutex_unlock(&watch_lock);
}

static void on_log(const rd_kafka_t *rk, int level, const char *fac, const char *text)
{
	(void)rk;
	if (strcmp(fac, "CONFWARN") == 0)
		return;
	tl_msg(TL_DEBUG, "librdkafka %d %s: %s", level, fac, text);
}

/* Properties that only newer libraries know; without the hint people look for a spelling mistake.
 */
static bool is_newer(const char *key)
{
	static const char *const newer[] = {"group.protocol",	    "client.dns.lookup",
					    "retry.backoff.max.ms", "metadata.recovery.strategy",
					    "enable.metrics.push",  "group.remote.assignor"};

	for (size_t i = 0; i < ARRAY_SIZE(newer); i++)
		if (strcmp(key, newer[i]) == 0)
			return true;
	return false;
}

static int set(rd_kafka_conf_t *conf, const char *key, const char *value, struct tl_error *error)
{
	char why[256];

	switch (rd_kafka_conf_set(conf, key, value, why, sizeof(why))) {
	case RD_KAFKA_CONF_OK:
		return 0;
	case RD_KAFKA_CONF_UNKNOWN:
		return tl_error_set(error, -EINVAL,
				    "kafka property \"%s\" is not known to librdkafka %s%s", key,
				    rd_kafka_version_str(),
				    is_newer(key) ? ": it needs a newer librdkafka; leave it out"
						  : ": see the list in its CONFIGURATION.md");
	default:
		return tl_error_set(error, -EINVAL, "kafka property \"%s\": %s", key, why);
	}
}

static int set_all(rd_kafka_conf_t *conf, const struct tl_kafka_property *list,
		   struct tl_error *error)
{
	int r;

	for (; list && list->key; list++) {
		r = set(conf, list->key, list->value, error);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The file's text without the newline that editors put at its end. */
static int read_secret(const char *path, struct tl_buf *out, struct tl_error *error)
{
	int r = tl_file_read(path, SECRET_MAX, out, error);

	if (r < 0)
		return r;
	while (out->len && (out->data[out->len - 1] == '\n' || out->data[out->len - 1] == '\r'))
		out->len--;
	return tl_buf_putc(out, '\0');
}

static int refuse_fixed(const char *key, const char *value, const struct tl_kafka_property *fixed,
			struct tl_error *error)
{
	static const struct {
		const char *alias, *name;
	} aliases[] = {{"request.required.acks", "acks"},
		       {"delivery.timeout.ms", "message.timeout.ms"}};

	for (size_t i = 0; i < ARRAY_SIZE(aliases); i++)
		if (strcmp(key, aliases[i].alias) == 0)
			key = aliases[i].name;
	for (; fixed && fixed->key; fixed++)
		if (strcmp(key, fixed->key) == 0 && strcmp(value, fixed->value) != 0)
			return tl_error_set(error, -EINVAL,
					    "kafka property \"%s\" is always \"%s\" here, because "
					    "nothing may be lost or "
					    "doubled: leave it out",
					    key, fixed->value);
	return 0;
}

static int set_user(rd_kafka_conf_t *conf, const char *item, const struct tl_kafka_property *fixed,
		    struct tl_error *error)
{
	_cleanup_(freep) char *key = strdup(item);
	_cleanup_(tl_buf_done) struct tl_buf secret = {.max = SECRET_MAX + 1};
	char *value = key ? strchr(key, '=') : NULL;
	int r;

	if (!key)
		return -ENOMEM;
	if (!value || value == key)
		return tl_error_set(error, -EINVAL, "kafka property \"%s\" is not KEY=VALUE", item);
	*value++ = '\0';
	if (value[0] == '@' && value[1] == '@') {
		value++;
	} else if (value[0] == '@') {
		r = read_secret(value + 1, &secret, error);
		if (r < 0) {
			tl_error_wrap(error, "kafka property \"%s\"", key);
			return r;
		}
		value = secret.data;
	}
	r = refuse_fixed(key, value, fixed, error);
	r = r < 0 ? r : set(conf, key, value, error);
	if (secret.data)
		explicit_bzero(secret.data, secret.len);
	return r;
}

static int set_compression(rd_kafka_conf_t *conf, const char *codec, struct tl_error *error)
{
	int r;

	if (!codec)
		return 0;
	r = set(conf, "compression.codec", codec, error);
	if (r < 0)
		return tl_error_set(error, -EINVAL,
				    "--compression \"%s\" is none of lz4, zstd, gzip, snappy, none",
				    codec);
	/* librdkafka's own default for zstd is level 3, which costs twice the time for 5 % fewer
	 * bytes. */
	return strcmp(codec, "zstd") == 0 ? set(conf, "compression.level", "1", error) : 0;
}

int tl_kafka_conf_new(const struct tl_kafka_settings *settings,
		      const struct tl_kafka_property *defaults,
		      const struct tl_kafka_property *fixed, struct tl_kafka_watch *watch,
		      rd_kafka_conf_t **ret_conf, struct tl_error *error)
{
	static const struct tl_kafka_property ours[] = {
		{"client.id", "tapline"},
		{"socket.nagle.disable", "true"},
		{"topic.metadata.refresh.fast.interval.ms", "100"},
		{"socket.keepalive.enable", "true"},
		{"reconnect.backoff.ms", "100"},
		{"reconnect.backoff.max.ms", "2000"},
		{"topic.metadata.refresh.interval.ms", "60000"},
		{NULL, NULL}};
	_cleanup_(rd_kafka_conf_destroyp) rd_kafka_conf_t *conf = rd_kafka_conf_new();
	int r;

	if (!settings->brokers || !*settings->brokers)
		return tl_error_set(error, -EINVAL,
				    "no Kafka broker was given: --brokers HOST:PORT");
	r = set(conf, "bootstrap.servers", settings->brokers, error);
	r = r < 0 ? r : set_all(conf, ours, error);
	r = r < 0 ? r : set_all(conf, defaults, error);
	r = r < 0 ? r : set_compression(conf, settings->compression, error);
	for (size_t i = 0; r >= 0 && i < settings->properties.n; i++)
		r = set_user(conf, settings->properties.items[i], fixed, error);
	r = r < 0 ? r : set_all(conf, fixed, error);
	if (r < 0)
		return r;
	rd_kafka_conf_set_log_cb(conf, on_log);
	rd_kafka_conf_set_error_cb(conf, on_error);
	rd_kafka_conf_set_opaque(conf, watch);
	*ret_conf = TAKE_PTR(conf);
	return 0;
}

int tl_kafka_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **ret_rk,
		 struct tl_error *error)
{
	char why[384];
	rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof(why));

	if (!rk) {
		rd_kafka_conf_destroy(conf);
		return tl_error_set(error, -EINVAL, "librdkafka refuses the configuration: %s",
				    why);
	}
	*ret_rk = rk;
	return 0;
}
