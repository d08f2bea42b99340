/* SPDX-License-Identifier: Apache-2.0 */
/* The s3 sink: records of tapline.logs as objects of an S3 bucket, each record in exactly one
 * object (s3_parts.c says how). */
#include <stdio.h>
#include <sys/resource.h>

#include "userspace/base/clock.h"
#include "userspace/sink/s3.h"

#define FIELD(member) offsetof(struct tl_s3_settings, member)
#define PART_BYTES_MIN (5u << 20) /* S3 takes no smaller ones but the last */

static const int topics[] = {TL_TOPIC_LOGS, TL_TOPIC_DLQ};
static const char *const formats[] = {"ndjson", "parquet", "both", NULL};
static const char *const styles[] = {"auto", "path", "virtual", NULL};

static const struct tl_option options[] = {
	{.name = "bucket",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(bucket),
	 .metavar = "NAME",
	 .required = true,
	 .help = "Bucket that the objects go to. It is not made."},
	{.name = "endpoint",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(endpoint),
	 .metavar = "URL",
	 .env = "AWS_ENDPOINT_URL_S3",
	 .help = "S3 server: http://HOST:PORT or https://HOST:PORT; without it Amazon's of the "
		 "region."},
	{.name = "region",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(region),
	 .value = "us-east-1",
	 .metavar = "NAME",
	 .env = "AWS_REGION",
	 .help = "Region that requests are signed for."},
	{.name = "url-style",
	 .type = TL_OPT_ENUM,
	 .offset = FIELD(style),
	 .value = "auto",
	 .choices = styles,
	 .help = "Where the bucket stands: in the path (most servers of one's own), or in the host "
		 "name (virtual: Amazon). auto: the path when --endpoint is given."},
	{.name = "prefix",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(prefix),
	 .value = "",
	 .metavar = "TEXT",
	 .help = "What all keys begin with, as it is: `archive/` gives "
		 "archive/logs/dt=2026-11-23/hour=01/... Another --group needs another prefix."},
	{.name = "format",
	 .type = TL_OPT_ENUM,
	 .offset = FIELD(format),
	 .value = "ndjson",
	 .choices = formats,
	 .help = "NDJSON packed by zstd (below PREFIX logs/), Parquet (below PREFIX "
		 "parquet/logs/), or "
		 "both."},
	{.name = "object-size",
	 .type = TL_OPT_SIZE,
	 .offset = FIELD(object_bytes),
	 .value = "64MiB",
	 .metavar = "SIZE",
	 .help = "Packed bytes of a partition that are brought away together; the size of an "
		 "object "
		 "when they are of one hour."},
	{.name = "max-age",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(max_age_ns),
	 .value = "5m",
	 .metavar = "TIME",
	 .help = "Records of a quiet partition are brought away after this, in a smaller object."},
	{.name = "part-size",
	 .type = TL_OPT_SIZE,
	 .offset = FIELD(part_bytes),
	 .value = "8MiB",
	 .metavar = "SIZE",
	 .help = "Objects larger than this are sent in parts of this size (multipart upload); 5MiB "
		 "at least."},
	{.name = "uploads",
	 .type = TL_OPT_INT,
	 .offset = FIELD(uploads),
	 .value = "2",
	 .min = 1,
	 .max = 16,
	 .metavar = "N",
	 .help = "Partitions whose objects are sent at the same time."},
	{.name = "compression-level",
	 .type = TL_OPT_INT,
	 .offset = FIELD(level),
	 .value = "1",
	 .min = 1,
	 .max = 19,
	 .metavar = "N",
	 .help = "Level of zstd. More is smaller, slower, and from 10 on needs more memory."},
	{.name = "spool",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(spool),
	 .metavar = "DIR",
	 .help = "Folder for the packed records of open objects; default $TMPDIR, else /var/tmp. "
		 "Nothing there has to survive."},
	{.name = "spool-size",
	 .type = TL_OPT_SIZE,
	 .offset = FIELD(spool_bytes),
	 .value = "1GiB",
	 .metavar = "SIZE",
	 .help = "Packed bytes on disk at which no more records are taken until some are in the "
		 "bucket; one batch more is possible."},
	{.name = "credentials-file",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(credentials_file),
	 .metavar = "FILE",
	 .help = "AWS credentials file (read again when a session token runs out); without it "
		 "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, else "
		 "~/.aws/credentials."},
	{.name = "profile",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(profile),
	 .metavar = "NAME",
	 .help = "Profile of that file; default $AWS_PROFILE, else default."},
	{.name = "ca",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(ca),
	 .metavar = "FILE",
	 .help = "PEM file of the authorities that may have signed the server's certificate; else "
		 "the system's."},
	{.name = "timeout",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(timeout_ns),
	 .value = "60s",
	 .metavar = "TIME",
	 .help = "A request without an end for so long is sent again."},
	{.name = "wait",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(wait_ns),
	 .value = "30s",
	 .metavar = "TIME",
	 .help = "How long a server that does not answer is waited for at start; later it is "
		 "waited for without end."},
	{.name = "drain",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(drain_ns),
	 .value = "30s",
	 .metavar = "TIME",
	 .help = "How long SIGTERM waits for what was taken to be in the bucket; what is not is "
		 "read again by the next run."},
	{.name = NULL},
};

static int check_settings(const struct tl_s3_settings *s, struct tl_error *error)
{
	size_t len = strlen(s->bucket);

	if (len < 3 || len > 63 ||
	    strspn(s->bucket, "abcdefghijklmnopqrstuvwxyz0123456789.-") != len)
		return tl_error_set(error, -EINVAL,
				    "--bucket `%s`: 3 to 63 lower-case letters, digits, - and .",
				    s->bucket);
	if (strlen(s->prefix) > 400 || s->prefix[0] == '/' || strchr(s->prefix, '\n'))
		return tl_error_set(error, -EINVAL,
				    "--prefix `%s`: 400 characters at most, no / at its beginning",
				    s->prefix);
	if (s->part_bytes < PART_BYTES_MIN || s->part_bytes > UINT32_MAX)
		return tl_error_set(error, -EINVAL, "--part-size: 5MiB to 4GiB");
	return 0;
}

/* Files of hours are many in a backfill. */
static void raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int check_bucket(const struct tl_s3_settings *settings, struct tl_error *error)
{
	struct tl_s3_client client = {0};
	int r = tl_s3_client_init(&client, settings, error);

	if (r == 0)
		r = tl_s3_check(&client, NULL, error);
	tl_s3_client_done(&client);
	return r;
}

static void s3_close(struct tl_sink *sink)
{
	struct tl_s3 *s3 = (struct tl_s3 *)sink;

	if (s3->uploader)
		tl_s3_uploader_free(s3->uploader);
	tl_s3_parts_done(s3);
	tl_s3_spool_done(&s3->spool);
	free(s3);
}

static int s3_open(const void *settings, struct tl_sink **ret_sink, struct tl_error *error)
{
	struct tl_s3 *s3;
	int r = check_settings(settings, error);

	if (r < 0)
		return r;
	s3 = calloc(1, sizeof(*s3));
	if (!s3)
		return tl_error_set(error, -ENOMEM, "out of memory");
	s3->sink.ops = &tl_sink_s3;
	s3->settings = settings;
	raise_files();
	snprintf(s3->place, sizeof(s3->place), "s3://%s/%s", s3->settings->bucket,
		 s3->settings->prefix);
	r = tl_s3_spool_init(&s3->spool, s3->settings->spool, (int)s3->settings->level, error);
	r = r < 0 ? r : check_bucket(settings, error);
	if (r == 0)
		r = tl_s3_uploader_new(settings, &s3->spool, &s3->sources, &s3->uploader, error);
	if (r < 0) {
		s3_close(&s3->sink);
		return r;
	}
	*ret_sink = &s3->sink;
	return 0;
}

static void s3_source(struct tl_sink *sink, const char *name)
{
	struct tl_s3 *s3 = (struct tl_s3 *)sink;

	/* Cluster ids have 22 characters, topic prefixes 200 at most. */
	tl_s3_source(name, "logs", s3->sources.logs);
	tl_s3_source(name, "dlq", s3->sources.dead_letters);
}

const struct tl_sink_ops tl_sink_s3 = {
	.name = "s3",
	.about =
		"Archives the records of tapline.logs, and the dead letters, in an S3 bucket, each "
		"exactly once, by day and hour of their observed time: NDJSON (zstd) or Parquet, "
		"for "
		"Athena, Trino and DuckDB as they are. Works with Amazon and with any server that "
		"speaks S3.\n\n"
		"  tapline sink s3 --brokers kafka:9092 --bucket logs --region eu-west-1\n"
		"  tapline sink s3 --brokers kafka:9092 --endpoint http://minio:9000 --bucket logs "
		"\\\n"
		"      --prefix archive/ --format both",
	.topics = topics,
	.n_topics = ARRAY_SIZE(topics),
	.options = options,
	.settings_size = sizeof(struct tl_s3_settings),
	.open = s3_open,
	.write = tl_s3_write,
	.source = s3_source,
	.assigned = tl_s3_assigned,
	.revoked = tl_s3_revoked,
	.advance = tl_s3_advance,
	.close = s3_close,
};
