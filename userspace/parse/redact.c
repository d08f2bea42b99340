/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/parse/redact.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

#define MATCH_LIMIT 100000 /* steps of one search: bounds hostile text against a careless rule */

struct tl_redact {
	pcre2_code **codes; /* owned */
	size_t n;
	pcre2_match_data *match;
	pcre2_match_context *context;
};

static const struct tl_span replacement = {"[redacted]", 10};

static int compile(const char *rule, pcre2_code **ret_code, struct tl_error *error)
{
	PCRE2_UCHAR reason[128];
	PCRE2_SIZE at;
	int code;

	*ret_code = pcre2_compile((PCRE2_SPTR)rule, PCRE2_ZERO_TERMINATED, 0, &code, &at, NULL);
	if (!*ret_code) {
		pcre2_get_error_message(code, reason, sizeof(reason));
		return tl_error_set(error, -EINVAL, "redact rule `%s`: %s at character %zu", rule,
				    reason, at);
	}
	(void)pcre2_jit_compile(*ret_code, PCRE2_JIT_COMPLETE);
	return 0;
}

int tl_redact_new(const char *const *rules, size_t n, struct tl_redact **ret,
		  struct tl_error *error)
{
	_cleanup_(tl_redact_freep) struct tl_redact *redact = NULL;
	int r;

	if (n == 0) {
		*ret = NULL;
		return 0;
	}
	redact = calloc(1, sizeof(*redact));
	if (!redact)
		return tl_error_set(error, -ENOMEM, "no memory for redact rules");
	redact->codes = calloc(n, sizeof(*redact->codes));
	redact->match = pcre2_match_data_create(1, NULL);
	redact->context = pcre2_match_context_create(NULL);
	if (!redact->codes || !redact->match || !redact->context)
		return tl_error_set(error, -ENOMEM, "no memory for redact rules");
	pcre2_set_match_limit(redact->context, MATCH_LIMIT);
	for (; redact->n < n; redact->n++) {
		r = compile(rules[redact->n], &redact->codes[redact->n], error);
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(redact);
	return 0;
}

void tl_redact_free(struct tl_redact *redact)
{
	if (!redact)
		return;
	for (size_t i = 0; i < redact->n; i++)
		pcre2_code_free(redact->codes[i]);
	free(redact->codes);
	pcre2_match_data_free(redact->match);
	pcre2_match_context_free(redact->context);
	free(redact);
}

/* Next match at or after `from`: 1 found, 0 none, negative: could not be decided. An empty match is
 * none. */
static int next_match(const struct tl_redact *redact, const pcre2_code *code, struct tl_span text,
		      size_t from, size_t *ret_start, size_t *ret_end)
{
	int r = pcre2_match(code, (PCRE2_SPTR)text.data, text.len, from, 0, redact->match,
			    redact->context);
	const PCRE2_SIZE *at = pcre2_get_ovector_pointer(redact->match);

	if (r == PCRE2_ERROR_NOMATCH)
		return 0;
	if (r < 0)
		return r;
	if (at[1] <= at[0])
		return 0;
	*ret_start = at[0];
	*ret_end = at[1];
	return 1;
}

static struct tl_span apply_one(const struct tl_redact *redact, const pcre2_code *code,
				struct tl_span text, struct tl_arena *arena)
{
	_cleanup_(tl_buf_done) struct tl_buf out = {0};
	size_t from = 0, start, end;
	struct tl_span copy;
	int r;

	while ((r = next_match(redact, code, text, from, &start, &end)) > 0) {
		tl_buf_add(&out, text.data + from, start - from);
		tl_buf_add(&out, replacement.data, replacement.len);
		from = end;
	}
	if (r < 0 || out.failed)
		return replacement;
	if (from == 0)
		return text;
	if (tl_buf_add(&out, text.data + from, text.len - from) < 0)
		return replacement;
	copy = tl_arena_copy(arena, tl_buf_span(&out));
	return copy.data ? copy : replacement;
}

struct tl_span tl_redact_apply(struct tl_redact *redact, struct tl_span text,
			       struct tl_arena *arena)
{
	for (size_t i = 0; i < redact->n; i++)
		text = apply_one(redact, redact->codes[i], text, arena);
	return text;
}
