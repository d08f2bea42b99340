/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of S3, from where the AWS tools look too: a file, or the environment. */
#ifndef TL_SINK_S3_CREDENTIALS_H
#define TL_SINK_S3_CREDENTIALS_H

#include "userspace/base/err.h"

struct tl_s3_credentials {
	char access_key[256], secret[256], token[4096]; /* token "" : none */
	char from[300];					/* for messages: where they were found */
};

/* Reads them: from `file` (profile `profile`) when it is given; else from AWS_ACCESS_KEY_ID,
 * AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; else from AWS_SHARED_CREDENTIALS_FILE or
 * ~/.aws/credentials. `profile` NULL: AWS_PROFILE, else "default". Errors: -ENOKEY there are none
 * (the message says where they may be put); -EINVAL a file without the profile or one of its keys;
 * -ENOENT, -EACCES, ... of `file`. */
int tl_s3_credentials_load(const char *file, const char *profile, struct tl_s3_credentials *ret,
			   struct tl_error *error);

#endif
