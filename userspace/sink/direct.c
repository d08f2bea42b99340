/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/sink/direct.h"

#include <ctype.h>
#include <stdio.h>

#include "userspace/base/msg.h"
#include "userspace/log/log.h"

#define WAIT_MS 500u
#define CLOSED_WAIT_US 500000u
#define SERIES_MAX 4096u
#define DEAD_BYTES ((uint64_t)64 << 20)

/* What the positions of a sink that keeps its own belong to. */
static int source_of(const char *dir, const char *name, char *out, size_t size,
		     struct tl_error *error)
{
	_cleanup_(tl_log_reader_closep) struct tl_log_reader *reader = NULL;
	int r = tl_log_reader_open(dir, name, TL_LOG_RESUME, 0, &reader, NULL, error);

	if (r < 0)
		return r;
	snprintf(out, size, "log:%016llx", (unsigned long long)tl_log_reader_id(reader));
	return 0;
}

/* Readers of a log are files in it: [a-z0-9-]. */
static int check_name(const char *name, struct tl_error *error)
{
	for (const char *p = name; *p; p++)
		if (!islower((unsigned char)*p) && !isdigit((unsigned char)*p) && *p != '-')
			return tl_error_set(error, -EINVAL,
					    "--group %s: with --log-dir small letters, digits and "
					    "- only",
					    name);
	return *name ? 0 : tl_error_set(error, -EINVAL, "--group is empty");
}

static int await_log(const char *dir, const char *name, const volatile int *stop,
		     struct tl_bus **ret_bus, struct tl_error *error)
{
	static struct tl_msg_gate gate;

	for (;;) {
		int r = tl_bus_local_open(dir, name, WAIT_MS, ret_bus, error);

		if (r != -ENOENT || *stop)
			return r;
		tl_msg_limited(&gate, 30000, TL_INFO,
			       "there is no log in %s yet; waiting for the agent", dir);
	}
}

int tl_direct_left(const char *log_dir, const char *name, struct tl_error *error)
{
	static const int topics[] = {TL_TOPIC_RAW, TL_TOPIC_HTTP};
	struct tl_message message;
	struct tl_bus *bus;
	char reader[128];
	int r;

	snprintf(reader, sizeof(reader), "sink-%s", name);
	r = tl_bus_local_open(log_dir, reader, 0, &bus, error);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = bus->ops->subscribe(bus, topics, ARRAY_SIZE(topics), NULL, error);
	r = r < 0 ? r : bus->ops->poll(bus, &message, 1, 0, error);
	bus->ops->close(bus);
	return r == -ENODATA ? 0 : r;
}

static int open_dead(const char *dir, const char *name, struct tl_dead_file **ret_dead,
		     struct tl_error *error)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s/../dead-%s.ndjson", dir, name);
	if (tl_dead_file_new(path, DEAD_BYTES, ret_dead) < 0)
		return tl_error_set(error, -ENOMEM, "out of memory");
	return 0;
}

/* One life of the log: until its writer closes it, or we are stopped. */
static int run_once(const struct tl_direct_settings *settings, const char *reader,
		    struct tl_sink_runner_options *options, struct tl_error *error)
{
	static struct tl_msg_gate gate;
	struct tl_bus *bus = NULL;
	char source[64];
	int r = await_log(settings->log_dir, reader, options->stop, &bus, error);

	if (r < 0)
		return r == -ENOENT && *options->stop ? 0 : r;
	r = source_of(settings->log_dir, reader, source, sizeof(source), error);
	if (r == 0) {
		tl_msg_limited(&gate, 3600000, TL_INFO, "reader %s of %s: writing", reader,
			       settings->log_dir);
		options->bus = bus;
		options->source = source;
		r = tl_sink_run(options, error);
	}
	bus->ops->close(bus);
	return r;
}

int tl_direct_run(const struct tl_direct_settings *settings, const char *name,
		  struct tl_sink_runner_options *options, struct tl_error *error)
{
	_cleanup_(tl_dead_file_freep) struct tl_dead_file *dead = NULL;
	struct tl_pipeline_options pipeline = tl_pipeline_options_of(&settings->pipeline);
	char reader[128];
	int r = check_name(name, error);

	snprintf(reader, sizeof(reader), "sink-%s", name);
	r = r < 0 ? r : open_dead(settings->log_dir, reader, &dead, error);
	pipeline.max_series = SERIES_MAX;
	options->pipeline = &pipeline;
	options->dead = dead;
	while (r == 0) {
		r = run_once(settings, reader, options, error);
		if (settings->until_end || *options->stop)
			break;
		/* The agent has ended and will be back. */
		if (r == 0)
			usleep(CLOSED_WAIT_US);
	}
	return r;
}
