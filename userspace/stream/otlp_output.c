/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/stream/otlp_output.h"

#include <inttypes.h>
#include <stdio.h>

#include "userspace/base/clock.h"
#include "userspace/base/metrics.h"
#include "userspace/base/msg.h"
#include "userspace/record/otlp.h"

#define GROUPS_MAX 1024u
#define MESSAGE_BYTES ((size_t)512 << 10)
#define GATHERED_BYTES ((size_t)8 << 20)

struct tl_otlp_output {
	struct tl_otlp *otlp;
	struct tl_bus *bus; /* during a call */
	struct tl_error *error;
};

static struct tl_metric records = {.name = "tapline_stream_otlp_records_total",
				   .type = TL_COUNTER,
				   .help = "Records written as OTLP protobuf, by result.",
				   .labels = "result=\"written\""};
static struct tl_metric too_large = {.name = "tapline_stream_otlp_records_total",
				     .type = TL_COUNTER,
				     .help = "Records written as OTLP protobuf, by result.",
				     .labels = "result=\"too_large\""};

int tl_otlp_output_new(struct tl_otlp_output **ret_output)
{
	static const struct tl_otlp_limits limits = {
		.groups = GROUPS_MAX, .group_bytes = MESSAGE_BYTES, .bytes = GATHERED_BYTES};
	_cleanup_(freep) struct tl_otlp_output *output = calloc(1, sizeof(*output));
	int r = output ? tl_otlp_new(TL_OTLP_PROTOBUF, &limits, &output->otlp) : -ENOMEM;

	if (r < 0)
		return r;
	tl_metric_register(&records);
	tl_metric_register(&too_large);
	*ret_output = TAKE_PTR(output);
	return 0;
}

void tl_otlp_output_free(struct tl_otlp_output *output)
{
	if (!output)
		return;
	tl_otlp_free(output->otlp);
	free(output);
}

/* One record may be larger than a message may be: the topic logs has it, this one does not. */
static int on_group(void *arg, uint64_t resource, struct tl_span request, size_t n)
{
	static struct tl_msg_gate gate;
	struct tl_otlp_output *output = arg;
	char key[17];
	const struct tl_message message = {
		.topic = TL_TOPIC_OTLP,
		.partition = -1,
		.key = {key, 16},
		.value = request,
		.timestamp_ns = tl_wall_ns(),
	};
	int r;

	snprintf(key, sizeof(key), "%016" PRIx64, resource);
	r = output->bus->ops->produce(output->bus, &message, output->error);
	if (r == -EMSGSIZE) {
		tl_msg_limited(&gate, 30000, TL_WARNING,
			       "a record is too large for the OTLP topic; it is only in the logs "
			       "topic");
		tl_metric_add(&too_large, n);
		return 0;
	}
	if (r == 0)
		tl_metric_add(&records, n);
	return r;
}

int tl_otlp_output_flush(struct tl_otlp_output *output, struct tl_bus *bus, struct tl_error *error)
{
	output->bus = bus;
	output->error = error;
	return tl_otlp_each(output->otlp, on_group, output);
}

int tl_otlp_output_add(struct tl_otlp_output *output, struct tl_bus *bus,
		       const struct tl_record *record, struct tl_error *error)
{
	int r = tl_otlp_add(output->otlp, record);

	if (r != -ENOBUFS)
		return r;
	r = tl_otlp_output_flush(output, bus, error);
	return r < 0 ? r : tl_otlp_add(output->otlp, record);
}

void tl_otlp_output_abort(struct tl_otlp_output *output)
{
	tl_otlp_clear(output->otlp);
}
