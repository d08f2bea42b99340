/* SPDX-License-Identifier: Apache-2.0 */
/* From an hour's NDJSON to Parquet, line by line, with the memory of one row group. */
#include "userspace/base/cleanup.h"
#include "userspace/sink/parquet_record.h"
#include "userspace/sink/s3_spool.h"

#define ROW_GROUP_BYTES (8u << 20)
#define LINE_MAX_BYTES (64u << 20)

struct conversion {
	struct tl_record_rows *rows;
	struct tl_buf line; /* the beginning of one that is not whole yet */
	int out;
};

static int write_out(void *arg, const void *data, size_t len)
{
	const struct conversion *c = arg;
	const char *at = data;

	while (len) {
		ssize_t n = write(c->out, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static int add_line(struct conversion *c, struct tl_span part)
{
	int r;

	if (c->line.len == 0)
		return tl_record_rows_add(c->rows, part);
	if (tl_buf_add(&c->line, part.data, part.len) < 0)
		return -ENOMEM;
	r = tl_record_rows_add(c->rows, tl_buf_span(&c->line));
	tl_buf_clear(&c->line);
	return r;
}

/* Takes decoded bytes; what follows the last newline is kept. */
static int take(struct conversion *c, const char *data, size_t len)
{
	const char *end = data + len, *newline;
	int r = 0;

	while (r == 0 && (newline = memchr(data, '\n', (size_t)(end - data)))) {
		r = add_line(c, (struct tl_span){data, (size_t)(newline - data)});
		data = newline + 1;
	}
	if (r == 0 && data < end && tl_buf_add(&c->line, data, (size_t)(end - data)) < 0)
		r = -ENOMEM;
	return r == -EINVAL ? -EBADMSG : r;
}

static int decode(struct conversion *c, ZSTD_DCtx *zstd, ZSTD_inBuffer *in, char *out, size_t size)
{
	bool full = false; /* there may be more inside */

	while (in->pos < in->size || full) {
		ZSTD_outBuffer to = {out, size, 0};
		int r;

		if (ZSTD_isError(ZSTD_decompressStream(zstd, &to, in)))
			return -EBADMSG;
		full = to.pos == size;
		r = take(c, out, to.pos);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The frames end with the file, so nothing stays in the decoder. */
static int read_all(struct conversion *c, ZSTD_DCtx *zstd, int ndjson, const volatile int *stop)
{
	size_t in_size = ZSTD_DStreamInSize(), out_size = ZSTD_DStreamOutSize();
	_cleanup_(freep) char *in = malloc(in_size);
	_cleanup_(freep) char *out = malloc(out_size);
	off_t at = 0;
	int r = in && out ? 0 : -ENOMEM;

	while (r == 0) {
		ssize_t n = pread(ndjson, in, in_size, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		at += n;
		r = stop && *stop
			    ? -ECANCELED
			    : decode(c, zstd, &(ZSTD_inBuffer){in, (size_t)n, 0}, out, out_size);
	}
	return r;
}

static void free_decoder(ZSTD_DCtx **zstd)
{
	ZSTD_freeDCtx(*zstd);
}

static void conversion_done(struct conversion *c)
{
	if (c->rows)
		tl_record_rows_free(c->rows);
	tl_buf_done(&c->line);
}

int tl_s3_convert(int ndjson, int out, int level, const volatile int *stop)
{
	_cleanup_(conversion_done) struct conversion c = {.out = out, .line.max = LINE_MAX_BYTES};
	_cleanup_(free_decoder) ZSTD_DCtx *zstd = ZSTD_createDCtx();
	int r = zstd ? tl_record_rows_new(level, ROW_GROUP_BYTES, write_out, &c, &c.rows) : -ENOMEM;

	r = r < 0 ? r : read_all(&c, zstd, ndjson, stop);
	if (r == 0 && c.line.len)
		r = -EBADMSG;
	return r < 0 ? r : tl_record_rows_finish(c.rows);
}
