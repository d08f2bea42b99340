/* SPDX-License-Identifier: Apache-2.0 */
/* Names, notes and verdicts of the s3 sink, and where its keys are found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/fs.h"
#include "userspace/sink/s3_credentials.h"
#include "userspace/sink/s3_name.h"

static void a_key_tells_where_its_records_come_from(void **state)
{
	struct tl_s3_name name = {.prefix = "archive/",
				  .root = "logs",
				  .source = "tapline.logs_C",
				  .partition = 3,
				  .first = 100,
				  .end = 250,
				  .hour = 498722, /* 2026-11-23T02 */
				  .format = TL_S3_NDJSON};
	char key[TL_S3_KEY_MAX + 1], *long_prefix = NULL;

	(void)state;
	assert_int_equal(tl_s3_key(&name, key), 0);
	assert_string_equal(key, "archive/logs/dt=2026-11-23/hour=02/tapline.logs_C_00003_"
				 "00000000000000000100-00000000000000000250.json.zst");
	name.format = TL_S3_PARQUET;
	assert_int_equal(tl_s3_key(&name, key), 0);
	assert_string_equal(key, "archive/parquet/logs/dt=2026-11-23/hour=02/tapline.logs_C_00003_"
				 "00000000000000000100-00000000000000000250.parquet");
	long_prefix = malloc(TL_S3_KEY_MAX);
	memset(long_prefix, 'a', TL_S3_KEY_MAX - 1);
	long_prefix[TL_S3_KEY_MAX - 1] = '\0';
	name.prefix = long_prefix;
	assert_int_equal(tl_s3_key(&name, key), -ENAMETOOLONG);
	free(long_prefix);
}

static void a_source_is_cluster_and_topic(void **state)
{
	char out[TL_S3_SOURCE_MAX], long_name[400];

	(void)state;
	assert_int_equal(tl_s3_source("kafka:MkU3-x_Q:tapline.", "logs", out), 0);
	assert_string_equal(out, "tapline.logs_MkU3-x_Q");
	assert_int_equal(tl_s3_source("log:00000000000000aa", "dlq", out), 0);
	assert_string_equal(out, "dlq_log_00000000000000aa");
	assert_int_equal(tl_s3_source("kafka:a/b c:p/", "logs", out), 0);
	assert_string_equal(out, "p-logs_a-b-c");
	memset(long_name, 'x', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	assert_int_equal(tl_s3_source(long_name, "logs", out), -ENAMETOOLONG);
}

static void an_equals_sign_is_escaped_and_a_slash_only_in_a_query(void **state)
{
	_cleanup_(tl_buf_done) struct tl_buf out = {0};

	(void)state;
	assert_int_equal(tl_s3_escape("a/dt=1 é~", false, &out), 0);
	assert_int_equal(tl_s3_escape("a/b+", true, &out), 0);
	assert_true(tl_span_is(tl_buf_span(&out), "a/dt%3D1%20%C3%A9~a%2Fb%2B"));
}

static void a_note_says_what_was_decided(void **state)
{
	struct tl_s3_note note = {.end = 77, .formats = TL_S3_BOTH, .place = "s3://b/p q/"}, got;
	char text[200];

	(void)state;
	assert_int_equal(tl_s3_note_format(&note, text, sizeof(text)), 0);
	assert_int_equal(tl_s3_note_parse(text, &got), 1);
	assert_int_equal(got.end, 77);
	assert_int_equal(got.formats, TL_S3_BOTH);
	assert_string_equal(got.place, "s3://b/p q/");
	assert_int_equal(tl_s3_note_format(&note, text, 20), -ENAMETOOLONG);
	assert_int_equal(tl_s3_note_parse("", &got), 0);
	assert_int_equal(tl_s3_note_parse("consumer-1 on host", &got), 0);
	assert_int_equal(tl_s3_note_parse("tapline-s3 2 end=7", &got), -EBADMSG);
	assert_int_equal(tl_s3_note_parse("tapline-s3 1 end=-7 formats=1 to=x", &got), -EBADMSG);
	assert_int_equal(tl_s3_note_parse("tapline-s3 1 end=7 formats=9 to=x", &got), -EBADMSG);
}

static enum tl_s3_verdict judge(int status, const char *code)
{
	char body[200];

	snprintf(body, sizeof(body), "<Error><Code>%s</Code></Error>", code ? code : "");
	return tl_s3_judge(status, tl_span_str(code ? body : ""));
}

static void answers_mean_what_amazon_says_they_mean(void **state)
{
	(void)state;
	assert_int_equal(judge(0, NULL), TL_S3_AGAIN);
	assert_int_equal(judge(200, NULL), TL_S3_OK);
	assert_int_equal(judge(204, NULL), TL_S3_OK);
	assert_int_equal(judge(200, "InternalError"), TL_S3_AGAIN);
	assert_int_equal(judge(200, "PreconditionFailed"), TL_S3_EXISTS);
	assert_int_equal(judge(412, "PreconditionFailed"), TL_S3_EXISTS);
	assert_int_equal(judge(409, "ConditionalRequestConflict"), TL_S3_AGAIN);
	assert_int_equal(judge(503, "SlowDown"), TL_S3_AGAIN);
	assert_int_equal(judge(429, NULL), TL_S3_AGAIN);
	assert_int_equal(judge(400, "RequestTimeout"), TL_S3_AGAIN);
	assert_int_equal(judge(400, "XAmzContentSHA256Mismatch"), TL_S3_AGAIN);
	assert_int_equal(judge(400, "ExpiredToken"), TL_S3_RENEW);
	assert_int_equal(judge(404, NULL), TL_S3_ABSENT);
	assert_int_equal(judge(404, "NoSuchUpload"), TL_S3_ABSENT);
	assert_int_equal(judge(404, "NoSuchBucket"), TL_S3_REFUSED);
	assert_int_equal(judge(403, "SignatureDoesNotMatch"), TL_S3_REFUSED);
	assert_int_equal(judge(301, "PermanentRedirect"), TL_S3_REFUSED);
	assert_int_equal(judge(501, "NotImplemented"), TL_S3_REFUSED);
}

static void an_element_is_decoded_and_bounded(void **state)
{
	char out[8], long_out[32];

	(void)state;
	tl_s3_element(TL_SPAN_LIT("<E><C>a&amp;&#34;b</C></E>"), "C", long_out, sizeof(long_out));
	assert_string_equal(long_out, "a&\"b");
	tl_s3_element(TL_SPAN_LIT("<C>0123456789</C>"), "C", out, sizeof(out));
	assert_string_equal(out, "0123456");
	tl_s3_element(TL_SPAN_LIT("<C>x"), "C", out, sizeof(out));
	assert_string_equal(out, "");
	tl_s3_element((struct tl_span){0}, "C", out, sizeof(out));
	assert_string_equal(out, "");
}

static void credentials_come_from_file_environment_or_home(void **state)
{
	char dir[] = "/tmp/tapline-s3-XXXXXX", path[64];
	struct tl_s3_credentials c;
	struct tl_error error = {0};

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/credentials", dir);
	assert_int_equal(
		tl_file_replace(path,
				TL_SPAN_LIT("# mine\n[default]\naws_access_key_id = A\n"
					    "aws_secret_access_key=B=\r\n[other]\n"
					    "aws_access_key_id=C\naws_secret_access_key=D\n"
					    "aws_session_token = E\n[half]\n"
					    "aws_access_key_id=F\n"),
				false, &error),
		0);
	unsetenv("AWS_PROFILE");
	assert_int_equal(tl_s3_credentials_load(path, NULL, &c, &error), 0);
	assert_string_equal(c.access_key, "A");
	assert_string_equal(c.secret, "B=");
	assert_string_equal(c.token, "");
	assert_int_equal(tl_s3_credentials_load(path, "other", &c, &error), 0);
	assert_string_equal(c.token, "E");
	assert_int_equal(tl_s3_credentials_load(path, "half", &c, &error), -EINVAL);
	assert_non_null(strstr(error.message, "[half]"));
	setenv("AWS_ACCESS_KEY_ID", "G", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "H", 1);
	unsetenv("AWS_SESSION_TOKEN");
	assert_int_equal(tl_s3_credentials_load(NULL, NULL, &c, &error), 0);
	assert_string_equal(c.access_key, "G");
	unsetenv("AWS_ACCESS_KEY_ID");
	setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
	assert_int_equal(tl_s3_credentials_load(NULL, "other", &c, &error), 0);
	assert_string_equal(c.access_key, "C");
	unsetenv("AWS_SHARED_CREDENTIALS_FILE");
	setenv("HOME", "/nonexistent", 1);
	assert_int_equal(tl_s3_credentials_load(NULL, NULL, &c, &error), -ENOKEY);
	assert_non_null(strstr(error.message, "--credentials-file"));
	tl_remove_tree(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_tells_where_its_records_come_from),
		cmocka_unit_test(a_source_is_cluster_and_topic),
		cmocka_unit_test(an_equals_sign_is_escaped_and_a_slash_only_in_a_query),
		cmocka_unit_test(a_note_says_what_was_decided),
		cmocka_unit_test(answers_mean_what_amazon_says_they_mean),
		cmocka_unit_test(an_element_is_decoded_and_bounded),
		cmocka_unit_test(credentials_come_from_file_environment_or_home),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
