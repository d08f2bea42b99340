/* SPDX-License-Identifier: Apache-2.0 */
/* Generations on their way to the bucket. One that was submitted belongs to the uploader's threads
 * until it is finished. */
#ifndef TL_SINK_S3_UPLOADER_H
#define TL_SINK_S3_UPLOADER_H

#include "userspace/sink/s3_client.h"
#include "userspace/sink/s3_spool.h"

struct tl_s3_generation {
	struct tl_s3_generation *next;	 /* in the uploader's queue */
	struct tl_s3_generation *orphan; /* next of those whose partition went away */
	int topic;
	int32_t partition;
	int64_t first, end; /* [first, end); end moves while it collects */
	bool decided;	    /* `end` is stored: the same objects whatever happens */
	bool whole;	    /* all of [first, end) is here */
	uint64_t began_ns;
	struct tl_s3_file files[TL_S3_HOURS_MAX];
	size_t n_files;
	uint64_t bytes; /* raw */

	/* Between submit and finished the uploader's. */
	bool submitted, finished; /* finished: under its lock */
	volatile int cancel;
	int result;
	struct tl_error error;
};

/* What the names of each topic's objects begin with. */
struct tl_s3_sources {
	char logs[TL_S3_SOURCE_MAX], dead_letters[TL_S3_SOURCE_MAX];
};

struct tl_s3_uploader;

/* Starts `threads`; `spool` and `sources` (borrowed) must be set by the first submit. Errors:
 * -ENOMEM, -EAGAIN; as tl_s3_client_init. */
int tl_s3_uploader_new(const struct tl_s3_settings *settings, const struct tl_s3_spool *spool,
		       const struct tl_s3_sources *sources, struct tl_s3_uploader **ret_uploader,
		       struct tl_error *error);
/* Cancels what is under way and waits for the threads. */
void tl_s3_uploader_free(struct tl_s3_uploader *uploader);
void tl_s3_uploader_submit(struct tl_s3_uploader *uploader, struct tl_s3_generation *generation);
/* Sees whether it is over; then `result` and `error` are set and it is the caller's again. */
bool tl_s3_uploader_finished(struct tl_s3_uploader *uploader,
			     const struct tl_s3_generation *generation);
/* Waits until one is over that was not when it last returned, or `ms`. */
void tl_s3_uploader_wait(struct tl_s3_uploader *uploader, unsigned ms);

#endif
