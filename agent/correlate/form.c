/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/correlate/form.h"

#include "agent/correlate/gate.h"

#define FORM_BYTES 256 /* of a line that are looked at */
#define HEX_MIN 6      /* letters of a word that may be an id without a digit by chance */

struct mask {
	const char *at, *end;
	uint64_t hash;
};

static void add(struct mask *m, char c)
{
	m->hash = (m->hash ^ (unsigned char)c) * UINT64_C(0x100000001b3);
}

enum { WORD = 1, BREAK = 2, DIGIT = 4, HEX = 8 };

/* 0: WORD. */
static const unsigned char kinds[256] = {
	[0 ... ' '] = BREAK, ['"'] = BREAK,	  ['\''] = BREAK, ['('] = BREAK,
	[')'] = BREAK,	     ['['] = BREAK,	  [']'] = BREAK,  ['{'] = BREAK,
	['}'] = BREAK,	     ['<'] = BREAK,	  ['>'] = BREAK,  [','] = BREAK,
	[';'] = BREAK,	     ['='] = BREAK,	  ['|'] = BREAK,  ['0' ... '9'] = DIGIT,
	['a' ... 'f'] = HEX, ['A' ... 'F'] = HEX,
};

static unsigned kind_of(char c)
{
	unsigned kind = kinds[(unsigned char)c];

	return kind ? kind : WORD;
}

static bool is_break(char c)
{
	return kind_of(c) == BREAK;
}

/* Eight random hex digits are letters only once in 2,600: seen as another form, that one line would
 * take its form's credit, which must stand behind each response. */
static bool varies(const char *word, size_t len, unsigned seen)
{
	return seen & DIGIT || (seen == HEX && len >= HEX_MIN) || (len == 1 && *word == '-');
}

/* A word: as it is, or one mark for a number or an id. A lone dash stands for a missing number. */
static void word(struct mask *m)
{
	const char *from = m->at, *at = m->at;
	unsigned seen = 0, kind;
	uint64_t hash = m->hash;

	for (; at < m->end && (kind = kind_of(*at)) != BREAK; at++) {
		seen |= kind;
		hash = (hash ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
	}
	m->at = at;
	if (varies(from, (size_t)(at - from), seen))
		add(m, '0');
	else
		m->hash = hash;
}

static void words(struct mask *m)
{
	while (m->at < m->end) {
		if (is_break(*m->at))
			add(m, *m->at++);
		else
			word(m);
	}
}

static const char *end_of_quote(const struct mask *m)
{
	const char *p = m->at + 1;

	while (p < m->end && *p != *m->at)
		p += *p == '\\' ? 2 : 1;
	return p < m->end ? p : m->end;
}

/* A quoted text. Returns whether it is a key whose value tells what the line is about. */
static bool quoted(struct mask *m, bool keep)
{
	struct tl_span text = {m->at + 1, 0};
	const char *end = end_of_quote(m), *after = end < m->end ? end + 1 : m->end;
	bool key = after < m->end && *after == ':';
	struct mask inner = {.at = text.data, .end = end, .hash = m->hash};

	text.len = (size_t)(end - text.data);
	if (keep && !key)
		words(&inner);
	else
		for (size_t i = 0; key && i < text.len; i++)
			add(&inner, text.data[i]);
	m->hash = inner.hash;
	add(m, '"');
	m->at = after;
	return key &&
	       (tl_span_eq(text, tl_span_str("msg")) || tl_span_eq(text, tl_span_str("message")) ||
		tl_span_eq(text, tl_span_str("event")));
}

/* An apostrophe inside a word opens no quotation. */
static bool opens(const struct mask *m, const char *start)
{
	return *m->at == '"' || (*m->at == '\'' && (m->at == start || is_break(m->at[-1])));
}

uint64_t tl_form_hash(struct tl_span text)
{
	struct mask m = {.at = text.data, .hash = UINT64_C(0xcbf29ce484222325)};
	bool keep = false;

	m.end = text.data + (text.len < FORM_BYTES ? text.len : FORM_BYTES);
	while (m.at < m.end) {
		if (opens(&m, text.data)) {
			keep = quoted(&m, keep);
		} else if (is_break(*m.at) || *m.at == ':') {
			keep &= *m.at == ' ' || *m.at == ':';
			add(&m, *m.at++);
		} else {
			word(&m);
			keep = false;
		}
	}
	return m.hash ? m.hash : 1;
}

struct tl_form *tl_form_find(const struct tl_gate *gate, uint64_t hash)
{
	for (uint32_t i = 0; hash && gate && gate->forms && i < TL_FORM_SLOTS; i++) {
		struct tl_form *form = &gate->forms[(hash + i) & (TL_FORM_SLOTS - 1)];

		if (form->hash == hash)
			return form;
		if (!form->hash)
			return NULL;
	}
	return NULL;
}

struct tl_form *tl_form_get(struct tl_corr *corr, struct tl_gate *gate, uint64_t hash)
{
	struct tl_form *form = tl_form_find(gate, hash);

	if (form)
		return form;
	if (!gate->forms && corr->form_tables < TL_FORM_TABLES) {
		gate->forms = calloc(TL_FORM_SLOTS, sizeof(*gate->forms));
		corr->form_tables += gate->forms != NULL;
	}
	if (!gate->forms || gate->n_forms == TL_FORMS_MAX) {
		corr->usage.full += !gate->forms_full;
		gate->forms_full = true;
		return NULL;
	}
	form = &gate->forms[hash & (TL_FORM_SLOTS - 1)];
	while (form->hash)
		form = form == &gate->forms[TL_FORM_SLOTS - 1] ? gate->forms : form + 1;
	form->hash = hash;
	gate->n_forms++;
	return form;
}

bool tl_form_is_tail(const struct tl_corr *corr, const struct tl_form *form)
{
	return form && !form->ambient && !form->tail_refuted &&
	       form->tails >= corr->options.gate_confirms;
}

bool tl_form_is_bracketed(const struct tl_corr *corr, const struct tl_form *form, bool head)
{
	uint32_t needed = corr->options.gate_confirms;

	return form && !form->ambient && form->heads >= (head ? (needed + 9) / 10 : needed);
}

bool tl_form_is_echo(const struct tl_corr *corr, const struct tl_form *form)
{
	return form && !form->ambient && !form->not_echo &&
	       form->echoes >= (corr->options.gate_confirms + 9) / 10;
}

void tl_form_tail(struct tl_corr *corr, struct tl_gate *gate, struct tl_form *form)
{
	bool before = tl_form_is_tail(corr, form);

	if (form->tails < UINT32_MAX)
		form->tails++;
	if (!form->ambient && !form->tail_refuted)
		tl_gate_confirm(corr, gate, TL_HOW_TAIL);
	if (!before && tl_form_is_tail(corr, form))
		gate->trusted++;
}

/* It is not believed any more. */
static void distrust(struct tl_corr *corr, struct tl_gate *gate, const struct tl_form *form)
{
	if (!tl_form_is_tail(corr, form))
		return;
	gate->trusted--;
	tl_gate_contradict(corr, gate, TL_HOW_TAIL);
}

void tl_form_refute_tail(struct tl_corr *corr, struct tl_gate *gate, struct tl_form *form)
{
	distrust(corr, gate, form);
	form->tail_refuted = true;
}

void tl_form_ambient(struct tl_corr *corr, struct tl_gate *gate, struct tl_form *form)
{
	distrust(corr, gate, form);
	form->ambient = true;
}

void tl_form_free(struct tl_corr *corr, struct tl_gate *gate)
{
	corr->form_tables -= gate->forms != NULL;
	free(TAKE_PTR(gate->forms));
}
