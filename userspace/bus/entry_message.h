/* SPDX-License-Identifier: Apache-2.0 */
/* An entry of the local log as the message that tapline.raw or tapline.http carries: the same bytes
 * whether the forwarder produces it to Kafka or the local bus hands it to the embedded stages. One
 * thread per codec. */
#ifndef TL_BUS_ENTRY_MESSAGE_H
#define TL_BUS_ENTRY_MESSAGE_H

#include "userspace/bus/bus.h"
#include "userspace/record/entry.h"

struct tl_entry_codec;

int tl_entry_codec_new(struct tl_entry_codec **ret_codec);
void tl_entry_codec_free(struct tl_entry_codec *codec);
TL_DEFINE_CLEANUP(struct tl_entry_codec *, tl_entry_codec_free);

/* Makes the message of a RECORD or HTTP entry of the log `log_id`; RESOURCE entries are learnt and
 * give none. Headers: tapline-uid, tapline-position, and traceparent, x-request-id,
 * x-correlation-id where the request had them. Spans stay valid until the next call. Returns 1 with
 * a message, 0 none, -EBADMSG malformed or -ENOENT without its resource: the entry cannot be sent
 * (the caller counts it), -ENOMEM. */
int tl_entry_message(struct tl_entry_codec *codec, uint64_t log_id, const struct tl_log_item *item,
		     struct tl_message *ret_message);

#endif
