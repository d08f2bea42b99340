/* SPDX-License-Identifier: Apache-2.0 */
/* The index goes from (process, hash of a word) to the ids that have this word as their longest
 * one. A text is walked word by word (letters and digits); where the index knows the word, the id
 * is compared in place around it. So a line costs one hash per word of four letters or more,
 * whatever the number of open requests. */
#include "agent/correlate/inline.h"

#include "agent/correlate/request.h"

#define WORD_MIN 4
#define ID_MIN 8
#define DIGITS_MIN 16 /* an id of digits alone is a number like others when it is shorter */
#define CHAIN_MAX 64  /* ids looked at for one word */

struct tl_token {
	struct tl_request *request;
	struct tl_token *next_of_request;
	struct tl_token *next, *prev; /* same hash */
	uint64_t hash;
	uint16_t len, word_at, word_len;
	bool trace; /* a trace id: may stand inside a longer context, `00-TRACE-...` */
	char value[];
};

static bool is_word(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* 2026-11-24..., in any id: a client that sends the time as its id must not claim every line with a
 * date. */
static bool looks_like_time(struct tl_span s)
{
	static const char form[] = "dddd-dd-dd";

	if (s.len < sizeof(form) - 1)
		return false;
	for (size_t i = 0; i < sizeof(form) - 1; i++)
		if (form[i] == 'd' ? !is_digit(s.data[i]) : s.data[i] != form[i])
			return false;
	return true;
}

static bool distinctive(struct tl_span s)
{
	bool digit = false, letter = false;

	if (s.len < ID_MIN || looks_like_time(s))
		return false;
	for (size_t i = 0; i < s.len; i++) {
		digit |= is_digit(s.data[i]);
		letter |= is_word(s.data[i]) && !is_digit(s.data[i]);
	}
	return digit && (letter || s.len >= DIGITS_MIN);
}

static struct tl_span longest_word(struct tl_span s)
{
	struct tl_span best = {s.data, 0};

	for (size_t i = 0; i < s.len;) {
		size_t from = i;

		while (i < s.len && is_word(s.data[i]))
			i++;
		if (i - from > best.len)
			best = (struct tl_span){s.data + from, i - from};
		if (i == from)
			i++;
	}
	return best;
}

static uint64_t word_hash(const struct tl_cproc *proc, struct tl_span word)
{
	return tl_hash(word.data, word.len) ^ (proc->serial * UINT64_C(0x9e3779b97f4a7c15));
}

static bool has_token(const struct tl_request *request, struct tl_span value)
{
	for (const struct tl_token *token = request->tokens; token; token = token->next_of_request)
		if (tl_span_eq((struct tl_span){token->value, token->len}, value))
			return true;
	return false;
}

static void link_token(struct tl_corr *corr, struct tl_request *request, struct tl_token *token)
{
	struct tl_token **slot = tl_map_put(corr->index, &token->hash, NULL);

	if (!slot) {
		corr->usage.full++;
		free(token);
		return;
	}
	token->next = *slot;
	if (*slot)
		(*slot)->prev = token;
	*slot = token;
	token->next_of_request = request->tokens;
	request->tokens = token;
	request->proc->tokens++;
}

static void add_token(struct tl_corr *corr, struct tl_request *request, struct tl_span value,
		      bool trace)
{
	struct tl_span word = longest_word(value);
	struct tl_token *token;
	unsigned count = 0;

	for (token = request->tokens; token; token = token->next_of_request)
		count++;
	if (count >= TL_TOKENS_MAX || word.len < WORD_MIN || !distinctive(value) ||
	    has_token(request, value))
		return;
	token = calloc(1, sizeof(*token) + value.len);
	if (!token)
		return;
	token->request = request;
	token->hash = word_hash(request->proc, word);
	token->len = (uint16_t)value.len;
	token->word_at = (uint16_t)(word.data - value.data);
	token->word_len = (uint16_t)word.len;
	token->trace = trace;
	memcpy(token->value, value.data, value.len);
	link_token(corr, request, token);
}

void tl_inline_add(struct tl_corr *corr, struct tl_request *request, const struct tl_ids *ids)
{
	struct tl_span trace = tl_span_str(ids->trace_id);

	for (uint32_t i = 0; i < ids->n; i++)
		if (ids->id[i].kind == TL_ID_REQUEST || ids->id[i].kind == TL_ID_ADOPTED)
			add_token(corr, request, (struct tl_span){ids->id[i].value, ids->id[i].len},
				  false);
	if (!trace.len)
		return;
	add_token(corr, request, trace, true);
	/* A 64-bit trace id was padded: texts have it without the zeros. */
	if (trace.len == 32 && memcmp(trace.data, "0000000000000000", 16) == 0)
		add_token(corr, request, (struct tl_span){trace.data + 16, 16}, true);
}

void tl_inline_remove(struct tl_corr *corr, struct tl_request *request)
{
	struct tl_token *token;

	while ((token = request->tokens)) {
		request->tokens = token->next_of_request;
		if (token->next)
			token->next->prev = token->prev;
		if (token->prev)
			token->prev->next = token->next;
		else if (token->next)
			*(struct tl_token **)tl_map_get(corr->index, &token->hash) = token->next;
		else
			tl_map_del(corr->index, &token->hash);
		request->proc->tokens--;
		free(token);
	}
}

/* An id ends where no name goes on: `abc-1` is not found in `abc-1-2` nor in `xabc-1`. */
static bool whole(const struct tl_token *token, struct tl_span text, size_t at)
{
	const char *before = text.data + at, *after = before + token->len,
		   *end = text.data + text.len;
	const char *joins_before = token->trace ? "_.+~@/" : "-_.+~@/",
		   *joins_after = token->trace ? "_.+~@/#:" : "-_.+~@/#:";

	if (at && is_word(before[-1]))
		return false;
	if (at > 1 && before[-1] && strchr(joins_before, before[-1]) && is_word(before[-2]))
		return false;
	if (after < end && is_word(*after))
		return false;
	return !(after + 1 < end && *after && strchr(joins_after, *after) && is_word(after[1]));
}

/* Whether the token stands in the text so that its word is the one at `word_at`. */
static bool stands(const struct tl_token *token, struct tl_span text, size_t word_at,
		   size_t word_len)
{
	size_t at = word_at - token->word_at;

	if (word_at < token->word_at || token->word_len != word_len || token->len > text.len - at)
		return false;
	return memcmp(text.data + at, token->value, token->len) == 0 && whole(token, text, at);
}

static void collect(struct tl_request *request, struct tl_matches *found)
{
	for (uint32_t i = 0; i < found->n; i++)
		if (tl_request_same_ids(found->request[i], request))
			return;
	if (found->n < TL_MATCHES_MAX)
		found->request[found->n++] = request;
	else
		found->several = true;
}

/* Keeps the requests that this id fits too; none left means two ids of different requests. */
static void intersect(struct tl_matches *all, const struct tl_matches *found)
{
	uint32_t kept = 0;

	if (!all->n) {
		*all = *found;
		return;
	}
	for (uint32_t i = 0; i < all->n; i++)
		if (tl_inline_matched(found, all->request[i]))
			all->request[kept++] = all->request[i];
	if (kept)
		all->n = kept;
	all->several |= found->several || !kept;
}

static void match_word(struct tl_corr *corr, const struct tl_cproc *proc, struct tl_span text,
		       struct tl_span word, struct tl_matches *all)
{
	uint64_t hash = word_hash(proc, word);
	struct tl_token **slot = tl_map_get(corr->index, &hash);
	struct tl_matches found = {.n = 0};
	size_t at = (size_t)(word.data - text.data);
	unsigned looked = 0;

	for (struct tl_token *token = slot ? *slot : NULL; token; token = token->next) {
		if (++looked > CHAIN_MAX)
			break;
		if (token->request->proc == proc && stands(token, text, at, word.len))
			collect(token->request, &found);
	}
	/* More ids behind those that were looked at, and they may differ. */
	if (looked > CHAIN_MAX && found.n > 1)
		found.several = true;
	if (found.n)
		intersect(all, &found);
}

void tl_inline_match(struct tl_corr *corr, const struct tl_cproc *proc, struct tl_span text,
		     struct tl_matches *ret)
{
	*ret = (struct tl_matches){.n = 0};
	for (size_t i = 0; i < text.len && !ret->several;) {
		size_t from = i;

		while (i < text.len && is_word(text.data[i]))
			i++;
		if (i - from >= WORD_MIN)
			match_word(corr, proc, text, (struct tl_span){text.data + from, i - from},
				   ret);
		if (i == from)
			i++;
	}
}

void tl_inline_match_id(struct tl_corr *corr, const struct tl_cproc *proc, struct tl_span id,
			struct tl_matches *ret)
{
	struct tl_span word = longest_word(id);

	*ret = (struct tl_matches){.n = 0};
	if (word.len >= WORD_MIN)
		match_word(corr, proc, id, word, ret);
}

bool tl_inline_matched(const struct tl_matches *matches, const struct tl_request *request)
{
	for (uint32_t i = 0; i < matches->n; i++)
		if (tl_request_same_ids(matches->request[i], request))
			return true;
	return false;
}

bool tl_inline_one(const struct tl_matches *matches)
{
	/* Those with equal ids were collected once. */
	return matches->n == 1;
}
