/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/sink/s3_name.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/clock.h"

#define NOTE_MAGIC "tapline-s3"
#define HOUR_NS (3600 * TL_SEC)

static bool is_plain(char c)
{
	return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '.' || c == '~';
}

int tl_s3_source(const char *source, const char *topic, char out[TL_S3_SOURCE_MAX])
{
	const char *cluster = strncmp(source, "kafka:", 6) == 0 ? source + 6 : NULL;
	const char *prefix = cluster ? strchr(cluster, ':') : NULL;
	int n;

	if (prefix)
		n = snprintf(out, TL_S3_SOURCE_MAX, "%s%s_%.*s", prefix + 1, topic,
			     (int)(prefix - cluster), cluster);
	else
		n = snprintf(out, TL_S3_SOURCE_MAX, "%s_%s", topic, source);
	if (n >= TL_S3_SOURCE_MAX)
		return -ENAMETOOLONG;
	for (char *p = out; *p; p++)
		if (!is_plain(*p) || *p == '~')
			*p = *p == ':' ? '_' : '-';
	return 0;
}

int tl_s3_key(const struct tl_s3_name *name, char out[TL_S3_KEY_MAX + 1])
{
	bool parquet = name->format == TL_S3_PARQUET;
	char date[11];
	int n;

	tl_date_format(name->hour * HOUR_NS, '-', date);
	n = snprintf(out, TL_S3_KEY_MAX + 1,
		     "%s%s%s/dt=%s/hour=%02" PRIu32 "/%s_%05" PRId32 "_%020" PRId64 "-%020" PRId64
		     "%s",
		     name->prefix, parquet ? "parquet/" : "", name->root, date, name->hour % 24,
		     name->source, name->partition, name->first, name->end,
		     parquet ? ".parquet" : ".json.zst");
	return n > TL_S3_KEY_MAX ? -ENAMETOOLONG : 0;
}

int tl_s3_escape(const char *text, bool query, struct tl_buf *out)
{
	for (; *text; text++) {
		if (is_plain(*text) || (!query && *text == '/'))
			tl_buf_putc(out, *text);
		else
			tl_buf_printf(out, "%%%02X", (unsigned char)*text);
	}
	return out->failed ? -ENOBUFS : 0;
}

int tl_s3_note_format(const struct tl_s3_note *note, char *out, size_t size)
{
	int n = snprintf(out, size, NOTE_MAGIC " 1 end=%" PRId64 " formats=%d to=%s", note->end,
			 (int)note->formats, note->place);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

int tl_s3_note_parse(const char *text, struct tl_s3_note *ret)
{
	struct tl_s3_note note = {0};
	int formats, at = 0;

	if (strncmp(text, NOTE_MAGIC " ", sizeof(NOTE_MAGIC)) != 0)
		return 0;
	if (sscanf(text, NOTE_MAGIC " 1 end=%" SCNd64 " formats=%d to=%n", &note.end, &formats,
		   &at) < 2 ||
	    !at || note.end <= 0 || formats < TL_S3_NDJSON || formats > TL_S3_BOTH ||
	    strlen(text + at) >= sizeof(note.place))
		return -EBADMSG;
	note.formats = (enum tl_s3_format)formats;
	snprintf(note.place, sizeof(note.place), "%s", text + at);
	*ret = note;
	return 1;
}

static void unescape(char *text)
{
	static const struct {
		const char *name;
		char c;
	} entities[] = {{"&quot;", '"'}, {"&#34;", '"'}, {"&apos;", '\''}, {"&#39;", '\''},
			{"&lt;", '<'},	 {"&gt;", '>'},	 {"&amp;", '&'}};
	char *to = text;

	for (char *p = text; *p;) {
		size_t i = 0;

		while (i < ARRAY_SIZE(entities) &&
		       strncmp(p, entities[i].name, strlen(entities[i].name)) != 0)
			i++;
		if (i < ARRAY_SIZE(entities)) {
			*to++ = entities[i].c;
			p += strlen(entities[i].name);
		} else {
			*to++ = (unsigned char)*p < ' ' ? ' ' : *p;
			p++;
		}
	}
	*to = '\0';
}

void tl_s3_element(struct tl_span xml, const char *name, char *out, size_t size)
{
	char open[64], close[64];
	const char *from, *to;
	size_t len;

	out[0] = '\0';
	snprintf(open, sizeof(open), "<%s>", name);
	snprintf(close, sizeof(close), "</%s>", name);
	from = xml.len ? memmem(xml.data, xml.len, open, strlen(open)) : NULL;
	if (!from)
		return;
	from += strlen(open);
	to = memmem(from, (size_t)(xml.data + xml.len - from), close, strlen(close));
	if (!to)
		return;
	len = (size_t)(to - from) < size ? (size_t)(to - from) : size - 1;
	memcpy(out, from, len);
	out[len] = '\0';
	unescape(out);
}

/* By the error's code, where the status does not say it all. */
static enum tl_s3_verdict judge_code(const char *code, enum tl_s3_verdict otherwise)
{
	static const struct {
		const char *code;
		enum tl_s3_verdict verdict;
	} rows[] = {
		{"NoSuchKey", TL_S3_ABSENT},
		{"NoSuchUpload", TL_S3_ABSENT},
		{"ExpiredToken", TL_S3_RENEW},
		{"ExpiredTokenException", TL_S3_RENEW},
		{"TokenRefreshRequired", TL_S3_RENEW},
		{"RequestTimeout", TL_S3_AGAIN},
		{"SlowDown", TL_S3_AGAIN},
		{"InternalError", TL_S3_AGAIN},
		{"ServiceUnavailable", TL_S3_AGAIN},
		{"OperationAborted", TL_S3_AGAIN},
		{"BadDigest", TL_S3_AGAIN},
		{"XAmzContentSHA256Mismatch", TL_S3_AGAIN},
		{"IncompleteBody", TL_S3_AGAIN},
		{"PreconditionFailed", TL_S3_EXISTS},
		{"NoSuchBucket", TL_S3_REFUSED},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (strcmp(rows[i].code, code) == 0)
			return rows[i].verdict;
	return otherwise;
}

enum tl_s3_verdict tl_s3_judge(int status, struct tl_span body)
{
	char code[64];

	tl_s3_element(body, "Code", code, sizeof(code));
	switch (status) {
	case 200 ... 299:
		/* CompleteMultipartUpload may begin its answer before it knows. */
		return code[0] ? judge_code(code, TL_S3_AGAIN) : TL_S3_OK;
	case 412:
		return TL_S3_EXISTS;
	case 404:
		return judge_code(code, code[0] ? TL_S3_REFUSED : TL_S3_ABSENT);
	case 0:
	case 408:
	case 409:
	case 425:
	case 429:
		return TL_S3_AGAIN;
	case 501:
		return TL_S3_REFUSED;
	default:
		return status >= 500 ? TL_S3_AGAIN : judge_code(code, TL_S3_REFUSED);
	}
}
