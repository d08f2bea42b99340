/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/sink/bulk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "userspace/base/clock.h"
#include "userspace/base/json.h"

#define UID_MAX 512 /* the server's limit for _id */
#define DATE_LEN 10

static bool is_date(struct tl_span text)
{
	static const char shape[] = "dddd-dd-dd";

	if (text.len < DATE_LEN)
		return false;
	for (size_t i = 0; i < DATE_LEN; i++)
		if (shape[i] == 'd' ? text.data[i] < '0' || text.data[i] > '9'
				    : text.data[i] != shape[i])
			return false;
	return true;
}

static bool skip(struct tl_span *json, const char *text, size_t len)
{
	if (json->len < len || memcmp(json->data, text, len) != 0)
		return false;
	json->data += len;
	json->len -= len;
	return true;
}

#define SKIP(json, literal) skip(json, literal, sizeof(literal) - 1)

/* {"uid":"...","timestamp":"...","observed_timestamp":"... as tl_record_to_json begins. */
static bool key_at_head(struct tl_span json, struct tl_bulk_key *ret)
{
	const char *quote;

	if (!SKIP(&json, "{\"uid\":\""))
		return false;
	quote = memchr(json.data, '"', json.len < UID_MAX + 1 ? json.len : UID_MAX + 1);
	if (!quote || memchr(json.data, '\\', (size_t)(quote - json.data)))
		return false;
	ret->uid = (struct tl_span){json.data, (size_t)(quote - json.data)};
	json.data += ret->uid.len;
	json.len -= ret->uid.len;
	if (!SKIP(&json, "\",\"timestamp\":\"") || json.len < TL_TIME_LEN ||
	    memchr(json.data, '"', TL_TIME_LEN))
		return false;
	json.data += TL_TIME_LEN;
	json.len -= TL_TIME_LEN;
	if (!SKIP(&json, "\",\"observed_timestamp\":\"") || json.len <= TL_TIME_LEN ||
	    json.data[TL_TIME_LEN] != '"')
		return false;
	ret->observed = (struct tl_span){json.data, TL_TIME_LEN};
	return true;
}

int tl_bulk_key(struct tl_span json, struct tl_bulk_key *ret)
{
	struct tl_json_value uid, observed;
	struct tl_bulk_key key;

	if (!key_at_head(json, &key)) {
		if (tl_json_find(json, "uid", &uid) != 1 || uid.type != TL_JSON_STRING ||
		    tl_json_find(json, "observed_timestamp", &observed) != 1 ||
		    observed.type != TL_JSON_STRING)
			return -EINVAL;
		key = (struct tl_bulk_key){uid.raw, observed.raw};
	}
	if (key.uid.len == 0 || key.uid.len > UID_MAX || !is_date(key.observed))
		return -EINVAL;
	*ret = key;
	return 0;
}

void tl_bulk_index(const char *prefix, struct tl_span observed, char out[TL_BULK_INDEX_MAX])
{
	const char *d = observed.data;

	snprintf(out, TL_BULK_INDEX_MAX, "%s%.4s.%.2s.%.2s", prefix, d, d + 5, d + 8);
}

int tl_bulk_add(struct tl_buf *body, const char *index, const struct tl_bulk_key *key,
		struct tl_span document)
{
	size_t start = body->len, at;
	int r = tl_buf_reserve(body, document.len + key->uid.len + TL_BULK_INDEX_MAX + 64);

	if (r < 0)
		return r;
	tl_buf_puts(body, "{\"create\":{\"_index\":\"");
	tl_buf_puts(body, index);
	tl_buf_puts(body, "\",\"_id\":\"");
	tl_buf_add(body, key->uid.data, key->uid.len);
	tl_buf_puts(body, "\"}}\n");
	at = body->len;
	tl_buf_add(body, document.data, document.len);
	for (char *p = body->data + at, *end = body->data + body->len;
	     (p = memchr(p, '\n', (size_t)(end - p))); p++)
		*p = ' ';
	tl_buf_putc(body, '\n');
	if (body->failed)
		body->len = start;
	return body->failed ? -ENOBUFS : 0;
}

/* Types by which dead letters and metrics are told apart; servers have many more. */
static const char *const types[] = {
	"mapper_parsing_exception",	"document_parsing_exception",
	"illegal_argument_exception",	"strict_dynamic_mapping_exception",
	"index_not_found_exception",	"invalid_index_name_exception",
	"validation_exception",		"cluster_block_exception",
	"security_exception",		"es_rejected_execution_exception",
	"rejected_execution_exception", "circuit_breaking_exception",
	"unavailable_shards_exception", "action_request_validation_exception",
};

const char *tl_bulk_type(struct tl_span error_type)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (tl_span_is(error_type, types[i]))
			return types[i];
	return "other";
}

enum tl_bulk_verdict tl_bulk_judge(unsigned status, struct tl_span error_type)
{
	if (status == 200 || status == 201)
		return TL_BULK_WRITTEN;
	if (status == 409)
		return TL_BULK_DUPLICATE;
	if (status == 429 || status == 502 || status == 503 || status == 504)
		return TL_BULK_RETRY;
	/* A full disk, a closed index, a right taken away: nothing is wrong with the document. */
	if (status == 401 || tl_span_is(error_type, "cluster_block_exception") ||
	    tl_span_is(error_type, "security_exception"))
		return TL_BULK_RETRY;
	return status >= 500 || status < 400 ? TL_BULK_FAILED : TL_BULK_DEAD;
}

enum tl_bulk_whole tl_bulk_whole(int status)
{
	if (status == 200)
		return TL_BULK_ITEMS;
	if (status == 400 || status == 413)
		return TL_BULK_SPLIT;
	if (status == 408 || status == 429 || status >= 500 || status == 0)
		return TL_BULK_AGAIN;
	return TL_BULK_REFUSED;
}

/* {"create":{"status":400,"error":{"type":"...","reason":"..."}}} */
static int read_item(const struct tl_json_value *element, struct tl_bulk_item *item)
{
	struct tl_json_value action, status, error, type, reason, where;
	struct tl_json_cursor cursor;
	struct tl_span key, type_text = {0};
	uint64_t number;

	if (element->type != TL_JSON_OBJECT || tl_json_enter(&cursor, element->raw) < 0 ||
	    tl_json_member(&cursor, &key, &action) != 1 || action.type != TL_JSON_OBJECT ||
	    tl_json_find(action.raw, "status", &status) != 1 || tl_json_u64(&status, &number) < 0 ||
	    number > 999)
		return -EBADMSG;
	item->status = (unsigned)number;
	item->reason = item->where = (struct tl_span){0};
	if (tl_json_find(action.raw, "_index", &where) == 1 && where.type == TL_JSON_STRING)
		item->where = where.raw;
	if (tl_json_find(action.raw, "error", &error) == 1 && error.type == TL_JSON_OBJECT) {
		if (tl_json_find(error.raw, "type", &type) == 1 && type.type == TL_JSON_STRING)
			type_text = type.raw;
		if (tl_json_find(error.raw, "reason", &reason) == 1 &&
		    reason.type == TL_JSON_STRING)
			item->reason = reason.raw;
	}
	item->type = tl_bulk_type(type_text);
	item->verdict = tl_bulk_judge(item->status, type_text);
	return 0;
}

static int count_items(struct tl_span items, size_t *ret_n)
{
	struct tl_json_cursor cursor;
	struct tl_json_value element;
	struct tl_bulk_item item;
	size_t n = 0;
	int r;

	if (tl_json_enter(&cursor, items) < 0)
		return -EBADMSG;
	while ((r = tl_json_element(&cursor, &element)) == 1) {
		if (read_item(&element, &item) < 0)
			return -EBADMSG;
		n++;
	}
	*ret_n = n;
	return r < 0 ? -EBADMSG : 0;
}

int tl_bulk_answer(struct tl_span json, size_t n,
		   void (*each)(void *arg, const struct tl_bulk_item *item), void *arg)
{
	struct tl_json_value items, element;
	struct tl_json_cursor cursor;
	struct tl_bulk_item item;
	size_t found;

	/* All of it is read before anything is told: half an answer decides nothing. */
	if (tl_json_find(json, "items", &items) != 1 || items.type != TL_JSON_ARRAY ||
	    count_items(items.raw, &found) < 0 || found != n)
		return -EBADMSG;
	tl_json_enter(&cursor, items.raw);
	for (item.index = 0; tl_json_element(&cursor, &element) == 1; item.index++) {
		read_item(&element, &item);
		each(arg, &item);
	}
	return 0;
}

void tl_bulk_text(struct tl_span raw, char *out, size_t size)
{
	_cleanup_(tl_buf_done) struct tl_buf text = {.max = 1 << 20};
	size_t len;

	/* What does not decode is shown as it came. */
	if (tl_json_unescape(raw, &text) < 0) {
		tl_buf_clear(&text);
		tl_buf_add(&text, raw.data, raw.len);
	}
	len = text.len < size - 1 ? text.len : size - 1;
	if (len)
		memcpy(out, text.data, len);
	out[len] = '\0';
	for (char *p = out; *p; p++)
		if ((unsigned char)*p < 0x20)
			*p = ' ';
}

void tl_bulk_reason(struct tl_span json, char *out, size_t size)
{
	struct tl_json_value error, reason;

	out[0] = '\0';
	if (tl_json_find(json, "error", &error) != 1)
		return;
	if (error.type == TL_JSON_STRING)
		tl_bulk_text(error.raw, out, size);
	else if (error.type == TL_JSON_OBJECT && tl_json_find(error.raw, "reason", &reason) == 1 &&
		 reason.type == TL_JSON_STRING)
		tl_bulk_text(reason.raw, out, size);
}
