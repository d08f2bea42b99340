/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

#include "userspace/sink/bulk.h"

#define GZIP_WINDOW (15 + 16) /* zlib: 16 more means a gzip header */

struct tl_gzip {
	z_stream stream;
};

int tl_gzip_new(int level, struct tl_gzip **ret_gzip)
{
	struct tl_gzip *gzip = calloc(1, sizeof(*gzip));

	if (!gzip)
		return -ENOMEM;
	if (deflateInit2(&gzip->stream, level, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) !=
	    Z_OK) {
		free(gzip);
		return -ENOMEM;
	}
	*ret_gzip = gzip;
	return 0;
}

void tl_gzip_free(struct tl_gzip *gzip)
{
	deflateEnd(&gzip->stream);
	free(gzip);
}

int tl_gzip_pack(struct tl_gzip *gzip, struct tl_span in, struct tl_buf *out)
{
	int r;

	tl_buf_clear(out);
	deflateReset(&gzip->stream);
	r = tl_buf_reserve(out, deflateBound(&gzip->stream, in.len));
	if (r < 0)
		return r;
	gzip->stream.next_in = (Bytef *)in.data;
	gzip->stream.avail_in = (uInt)in.len;
	gzip->stream.next_out = (Bytef *)out->data;
	gzip->stream.avail_out = (uInt)out->cap;
	if (deflate(&gzip->stream, Z_FINISH) != Z_STREAM_END)
		return -ENOMEM;
	out->len = out->cap - gzip->stream.avail_out;
	return 0;
}
