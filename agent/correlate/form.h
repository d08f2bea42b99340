/* SPDX-License-Identifier: Apache-2.0 */
/* tl_form: the form of a line is its text with what varies masked: numbers, ids, quoted values.
 * Private to correlate/. Rules that go by position alone (tail, brackets) believe a line only when
 * lines of its form have proved, in its service, to stand there and nowhere else: a background job
 * that shares a request's thread writes lines of its own form.
 *
 * Bounded: TL_FORMS_MAX forms a service, TL_FORM_TABLES services. Full means that a form is never
 * believed, counted once a service. */
#ifndef TL_CORRELATE_FORM_H
#define TL_CORRELATE_FORM_H

#include "agent/correlate/corr.h"

#define TL_FORMS_MAX 192    /* of a service */
#define TL_FORM_SLOTS 256   /* a power of two, so many more that a search ends soon */
#define TL_FORM_TABLES 4096 /* 10 KiB each */

struct tl_form {
	uint64_t hash;	   /* 0: free */
	uint32_t tails;	   /* stood behind a response, once each */
	uint32_t heads;	   /* stood before a response at the head of the work on it */
	uint32_t echoes;   /* stood at the end of an echo's slice */
	bool not_echo;	   /* stood outside of one */
	bool tail_refuted; /* a response had none of it, or two */
	bool ambient;	   /* written while its service served nothing, or by a thread whose next
			      response was not yet asked for */
};

/* Hash of the form of a line's first bytes; never 0. A word with a digit in it, or of hex letters
 * alone, is masked whole, a quoted text too unless it is a key or the value of msg, message or
 * event. */
uint64_t tl_form_hash(struct tl_span text);

/* The form in the gate's table (which may be NULL) or NULL (hash 0: a line whose
 * form was not read); the second makes it, NULL (counted)
 * when there is no room.
 */
struct tl_form *tl_form_find(const struct tl_gate *gate, uint64_t hash);
struct tl_form *tl_form_get(struct tl_corr *corr, struct tl_gate *gate, uint64_t hash);

/* Evidence. */
void tl_form_tail(struct tl_corr *corr, struct tl_gate *gate, struct tl_form *form);
void tl_form_refute_tail(struct tl_corr *corr, struct tl_gate *gate, struct tl_form *form);
void tl_form_ambient(struct tl_corr *corr, struct tl_gate *gate, struct tl_form *form);

/* Whether lines of this form behind a response are the response's: gate_confirms of them, and none
 * elsewhere. `form` may be NULL. */
bool tl_form_is_tail(const struct tl_corr *corr, const struct tl_form *form);

/* Whether lines of this form are of the response that their thread writes next. `head`: the line
 * stands where a tenth of gate_confirms is enough, because nothing of an earlier request can reach
 * there. */
bool tl_form_is_bracketed(const struct tl_corr *corr, const struct tl_form *form, bool head);

/* Whether lines of this form in an echo's slice are of its request. */
bool tl_form_is_echo(const struct tl_corr *corr, const struct tl_form *form);

void tl_form_free(struct tl_corr *corr, struct tl_gate *gate);

#endif
