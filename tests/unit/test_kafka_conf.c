/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "userspace/base/conf.h"
#include "userspace/base/fs.h"
#include "userspace/bus/kafka.h"

static const struct tl_kafka_property producer_fixed[] = {TL_KAFKA_PRODUCER_FIXED, {NULL, NULL}};
static const struct tl_kafka_property producer_defaults[] = {TL_KAFKA_PRODUCER_DEFAULTS,
							     {NULL, NULL}};

static struct tl_error error;
static char value[256];

/* Builds a configuration with one property of the user's; the result's `key` lands in `value`. */
static int build(char *property, const char *compression, const char *key)
{
	struct tl_kafka_settings settings = {.brokers = "127.0.0.1:1", .compression = compression};
	_cleanup_(rd_kafka_conf_destroyp) rd_kafka_conf_t *conf = NULL;
	size_t size = sizeof(value);
	int r;

	if (property)
		settings.properties = (struct tl_list){&property, 1};
	memset(&error, 0, sizeof(error));
	value[0] = '\0';
	r = tl_kafka_conf_new(&settings, producer_defaults, producer_fixed, NULL, &conf, &error);
	if (r == 0 && key)
		assert_int_equal(rd_kafka_conf_get(conf, key, value, &size), RD_KAFKA_CONF_OK);
	return r;
}

static void assert_says(const char *text)
{
	if (!strstr(error.message, text))
		fail_msg("\"%s\" does not say \"%s\"", error.message, text);
}

static void producers_are_idempotent_and_hash_as_java_does(void **state)
{
	(void)state;
	assert_int_equal(build(NULL, "zstd", "enable.idempotence"), 0);
	assert_string_equal(value, "true");
	build(NULL, NULL, "partitioner");
	assert_string_equal(value, "murmur2_random");
	build(NULL, "zstd", "compression.codec");
	assert_string_equal(value, "zstd");
	build(NULL, NULL, "request.required.acks");
	assert_string_equal(value, "-1");
}

static void users_property_beats_our_default(void **state)
{
	(void)state;
	assert_int_equal(build("linger.ms=77", NULL, "linger.ms"), 0);
	assert_string_equal(value, "77");
}

static void what_a_guarantee_hangs_on_cannot_be_changed(void **state)
{
	(void)state;
	assert_int_equal(build("acks=1", NULL, NULL), -EINVAL);
	assert_says("\"acks\" is always \"all\"");
	assert_int_equal(build("request.required.acks=0", NULL, NULL), -EINVAL);
	assert_int_equal(build("enable.idempotence=false", NULL, NULL), -EINVAL);
	assert_int_equal(build("enable.idempotence=true", NULL, NULL), 0);
}

static void unknown_and_malformed_properties_are_named(void **state)
{
	(void)state;
	assert_int_equal(build("lingr.ms=5", NULL, NULL), -EINVAL);
	assert_says("\"lingr.ms\" is not known to librdkafka");
	assert_int_equal(build("linger.ms", NULL, NULL), -EINVAL);
	assert_says("not KEY=VALUE");
	assert_int_equal(build("linger.ms=soon", NULL, NULL), -EINVAL);
	assert_says("linger.ms");
	if (rd_kafka_version() < 0x020600ff) {
		assert_int_equal(build("group.protocol=consumer", NULL, NULL), -EINVAL);
		assert_says("needs a newer librdkafka");
	}
	assert_int_equal(build(NULL, "brotli", NULL), -EINVAL);
	assert_says("brotli");
}

static void secrets_come_from_files(void **state)
{
	char path[] = "/tmp/tapline-secret-XXXXXX", property[128];
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "s3cret=x\n", 9), 9);
	close(fd);
	snprintf(property, sizeof(property), "sasl.username=@%s", path);
	assert_int_equal(build(property, NULL, "sasl.username"), 0);
	assert_string_equal(value, "s3cret=x");
	unlink(path);
	assert_int_equal(build(property, NULL, NULL), -ENOENT);
	assert_says("sasl.username");
	assert_says(path);
}

static void two_at_signs_are_one_in_the_value(void **state)
{
	(void)state;
	assert_int_equal(build("sasl.username=@@joe", NULL, "sasl.username"), 0);
	assert_string_equal(value, "@joe");
}

static void no_brokers_says_which_flag(void **state)
{
	struct tl_kafka_settings settings = {.brokers = NULL};
	rd_kafka_conf_t *conf;

	(void)state;
	assert_int_equal(tl_kafka_conf_new(&settings, NULL, NULL, NULL, &conf, &error), -EINVAL);
	assert_says("--brokers");
}

static void errors_have_codes_and_advice(void **state)
{
	(void)state;
	assert_int_equal(tl_kafka_fail(&error, NULL, RD_KAFKA_RESP_ERR__TRANSPORT,
				       "connect refused", "Kafka at %s", "b:1"),
			 -ECONNREFUSED);
	assert_string_equal(
		error.message,
		"Kafka at b:1: connect refused; is the broker running, and --brokers right?");
	assert_int_equal(tl_kafka_fail(&error, NULL, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
				       NULL, "topic x"),
			 -EACCES);
	assert_says("ACL");
	assert_int_equal(tl_kafka_fail(&error, NULL, RD_KAFKA_RESP_ERR__SSL, NULL, "x"), -EACCES);
	assert_says("ssl.ca.location");
	assert_int_equal(tl_kafka_errno(RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET), -ERANGE);
	assert_true(tl_kafka_is_fenced(RD_KAFKA_RESP_ERR__FENCED));
	assert_false(tl_kafka_is_fenced(RD_KAFKA_RESP_ERR__TRANSPORT));
}

static void scram_with_an_old_library_is_explained(void **state)
{
	struct tl_kafka_settings settings = {.brokers = "127.0.0.1:1"};
	char *properties[] = {"security.protocol=SASL_PLAINTEXT", "sasl.mechanism=SCRAM-SHA-256",
			      "sasl.username=u", "sasl.password=p"};
	rd_kafka_conf_t *conf;
	_cleanup_(rd_kafka_destroyp) rd_kafka_t *rk = NULL;

	(void)state;
	if (rd_kafka_version() >= 0x020600ff)
		skip();
	settings.properties = (struct tl_list){properties, ARRAY_SIZE(properties)};
	assert_int_equal(tl_kafka_conf_new(&settings, NULL, NULL, NULL, &conf, &error), 0);
	assert_int_equal(tl_kafka_new(RD_KAFKA_PRODUCER, conf, &rk, &error), 0);
	assert_int_equal(tl_kafka_fail(&error, rk, RD_KAFKA_RESP_ERR__AUTHENTICATION,
				       "invalid credentials", "x"),
			 -EACCES);
	assert_says("SCRAM from librdkafka before 2.6");
}

static void topic_names_have_a_limit(void **state)
{
	char prefix[260], name[250];
	struct tl_kafka_settings settings = {.topic_prefix = "shop."};

	(void)state;
	assert_int_equal(tl_kafka_topic_name(&settings, TL_TOPIC_RAW, name), 0);
	assert_string_equal(name, "shop.raw");
	memset(prefix, 'a', 247);
	prefix[247] = '\0';
	settings.topic_prefix = prefix;
	assert_int_equal(tl_kafka_topic_name(&settings, TL_TOPIC_RAW, name), -ENAMETOOLONG);
	prefix[246] = '\0';
	assert_int_equal(tl_kafka_topic_name(&settings, TL_TOPIC_RAW, name), 0);
}

static void positions_are_read_as_written(void **state)
{
	static const uint64_t cases[] = {0, 1, 9, 10, 1234567890123, UINT64_MAX};
	uint64_t id, position;
	char text[TL_POSITION_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t len = tl_position_format(0x00f1e2d3c4b5a697, cases[i], text);

		assert_int_equal(len, strlen(text));
		assert_int_equal(tl_position_parse((struct tl_span){text, len}, &id, &position), 0);
		assert_true(id == 0x00f1e2d3c4b5a697 && position == cases[i]);
	}
	assert_string_equal(text, "00f1e2d3c4b5a697:18446744073709551615");
	assert_int_equal(tl_position_parse(TL_SPAN_LIT("00f1e2d3c4b5a697:18446744073709551616"),
					   &id, &position),
			 -EINVAL);
	assert_int_equal(tl_position_parse(TL_SPAN_LIT("00f1e2d3c4b5a697:"), &id, &position),
			 -EINVAL);
	assert_int_equal(tl_position_parse(TL_SPAN_LIT("00f1e2d3c4b5a69:71"), &id, &position),
			 -EINVAL);
	assert_int_equal(tl_position_parse(TL_SPAN_LIT("00f1e2d3c4b5a697:1x"), &id, &position),
			 -EINVAL);
}

struct program {
	int before;
	struct tl_kafka_settings kafka;
};

static void the_option_rows_fill_the_settings(void **state)
{
	static const struct tl_option options[] = {TL_KAFKA_OPTIONS(struct program, kafka),
						   {.name = NULL}};
	const struct tl_conf_spec spec = {
		.program = "p", .section = "p", .usage = "p", .about = "", .options = options};
	char *argv[] = {"p",   "--brokers",    "a:1,b:2",      "--kafka",
			"x=y", "--kafka=z=@f", "--partitions", "12",
			NULL};
	char *none[] = {"p", NULL};
	struct program program;
	struct tl_conf *conf;
	int rest;

	(void)state;
	unsetenv("TAPLINE_BROKERS");
	assert_int_equal(tl_conf_load(&spec, 8, argv, &program, &conf, &rest, &error), 0);
	assert_string_equal(program.kafka.brokers, "a:1,b:2");
	assert_string_equal(program.kafka.topic_prefix, "tapline.");
	assert_string_equal(program.kafka.compression, "lz4");
	assert_int_equal(program.kafka.partitions, 12);
	assert_int_equal(program.kafka.replication, -1);
	assert_int_equal(program.kafka.properties.n, 2);
	assert_string_equal(program.kafka.properties.items[1], "z=@f");
	tl_conf_free(conf);
	assert_int_equal(tl_conf_load(&spec, 1, none, &program, &conf, &rest, &error), -EINVAL);
	assert_says("brokers");
}

static void an_unreachable_broker_is_refused_with_advice(void **state)
{
	static const int topics[] = {TL_TOPIC_RAW};
	struct tl_kafka_settings settings = {.brokers = "127.0.0.1:1"};

	(void)state;
	assert_int_equal(tl_kafka_prepare(&settings, topics, 1, 100, true, NULL, &error),
			 -ECONNREFUSED);
	assert_says("127.0.0.1:1");
	assert_says("is the broker running");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(producers_are_idempotent_and_hash_as_java_does),
		cmocka_unit_test(users_property_beats_our_default),
		cmocka_unit_test(what_a_guarantee_hangs_on_cannot_be_changed),
		cmocka_unit_test(unknown_and_malformed_properties_are_named),
		cmocka_unit_test(secrets_come_from_files),
		cmocka_unit_test(two_at_signs_are_one_in_the_value),
		cmocka_unit_test(no_brokers_says_which_flag),
		cmocka_unit_test(errors_have_codes_and_advice),
		cmocka_unit_test(scram_with_an_old_library_is_explained),
		cmocka_unit_test(topic_names_have_a_limit),
		cmocka_unit_test(positions_are_read_as_written),
		cmocka_unit_test(the_option_rows_fill_the_settings),
		cmocka_unit_test(an_unreachable_broker_is_refused_with_advice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
