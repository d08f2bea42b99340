/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/correlate/gate.h"

#include "agent/correlate/form.h"
#include "agent/correlate/hold.h"

struct tl_gate_key {
	uint64_t service;
	uint64_t start_ns;
	uint64_t tgid;
};

static struct tl_gate_key key_of(const struct tl_cproc *proc, uint64_t service)
{
	if (service)
		return (struct tl_gate_key){.service = service};
	return (struct tl_gate_key){.start_ns = proc->start_ns, .tgid = proc->tgid};
}

static struct tl_gate *get_gate(struct tl_corr *corr, const struct tl_cproc *proc, uint64_t service)
{
	struct tl_gate_key key = key_of(proc, service);
	struct tl_gate **slot, *gate;
	bool added;

	slot = tl_map_put(corr->gates, &key, &added);
	if (!slot) {
		corr->usage.full++;
		return NULL;
	}
	if (!added) {
		/* The newest process of the service is the one that people still find. */
		(*slot)->tgid = proc->tgid;
		(*slot)->start_ns = proc->start_ns;
		return *slot;
	}
	gate = calloc(1, sizeof(*gate));
	if (!gate) {
		tl_map_del(corr->gates, &key);
		corr->usage.full++;
		return NULL;
	}
	gate->service = service;
	gate->tgid = proc->tgid;
	gate->start_ns = proc->start_ns;
	*slot = gate;
	return gate;
}

static void pool(struct tl_gate *to, const struct tl_gate *from)
{
	for (int i = 0; i < TL_HOWS; i++) {
		to->rules[i].confirms += from->rules[i].confirms;
		to->rules[i].contradicts += from->rules[i].contradicts;
		to->rules[i].lines += from->rules[i].lines;
	}
	for (int i = 0; i < TL_WHYS; i++)
		to->why[i] += from->why[i];
	if (from->unit_kind != TL_UNIT_THREAD)
		to->unit_kind = from->unit_kind;
	to->direct |= from->direct;
	to->direct_answers += from->direct_answers;
	to->relay_confirms += from->relay_confirms;
	to->relay_contradicts += from->relay_contradicts;
	to->serial |= from->serial;
}

void tl_gate_join(struct tl_corr *corr, struct tl_cproc *proc, uint64_t service)
{
	struct tl_gate *gate;

	if (proc->gate && proc->service == service)
		return;
	gate = get_gate(corr, proc, service);
	if (proc->gate && gate && !proc->gate->service) {
		pool(gate, proc->gate);
		/* What was pooled may close the gate under lines of its other processes. */
		tl_hold_all_dirty(corr);
	}
	if (proc->gate && gate)
		gate->handed_over |= proc->gate->handed_over;
	tl_gate_leave(corr, proc);
	proc->gate = gate;
	proc->service = service;
}

void tl_gate_leave(struct tl_corr *corr, struct tl_cproc *proc)
{
	struct tl_gate *gate = TAKE_PTR(proc->gate);
	struct tl_gate_key key;

	if (!gate || gate->service)
		return;
	key = key_of(proc, 0);
	tl_map_del(corr->gates, &key);
	tl_form_free(corr, gate);
	free(gate);
}

void tl_gate_confirm(struct tl_corr *corr, struct tl_gate *gate, enum tl_how rule)
{
	corr->usage.confirms++;
	if (gate)
		gate->rules[rule].confirms++;
}

void tl_gate_contradict(struct tl_corr *corr, struct tl_gate *gate, enum tl_how rule)
{
	corr->usage.contradicts++;
	/* Only the first closes anything. */
	if (gate && gate->rules[rule].contradicts++ == 0)
		tl_hold_all_dirty(corr);
}

void tl_gate_units(struct tl_corr *corr, struct tl_gate *gate, uint8_t kind)
{
	if (!gate || kind == TL_UNIT_THREAD || gate->unit_kind == kind)
		return;
	gate->unit_kind = kind;
	tl_hold_all_dirty(corr);
}

bool tl_unit_is_own(uint8_t unit_kind)
{
	return unit_kind == TL_UNIT_GOROUTINE || unit_kind == TL_UNIT_VTHREAD;
}

enum tl_how tl_rule_of(uint8_t unit_kind)
{
	return unit_kind == TL_UNIT_THREAD ? TL_HOW_THREAD : TL_HOW_UNIT;
}

enum tl_how tl_bracket_of(uint8_t unit_kind)
{
	return unit_kind == TL_UNIT_THREAD ? TL_HOW_THREAD_BRACKET : TL_HOW_UNIT_BRACKET;
}

bool tl_level_on(const struct tl_corr *corr, enum tl_how rule)
{
	return corr->options.levels & (1u << rule);
}

/* Confirmations that the rule needs. */
static uint64_t needed(const struct tl_corr *corr, const struct tl_gate *gate, enum tl_how rule)
{
	if (rule == TL_HOW_APP || rule == TL_HOW_INLINE ||
	    (rule == TL_HOW_UNIT && tl_unit_is_own(gate->unit_kind)) ||
	    (rule == TL_HOW_THREAD && gate->serial))
		return 0;
	return corr->options.gate_confirms;
}

enum tl_gate_state tl_gate_state(const struct tl_corr *corr, const struct tl_gate *gate,
				 enum tl_how rule)
{
	const struct tl_evidence *evidence = &gate->rules[rule];
	bool of_threads = rule == TL_HOW_THREAD || rule == TL_HOW_THREAD_BRACKET;
	bool never = (of_threads && tl_unit_is_own(gate->unit_kind)) ||
		     (rule == TL_HOW_THREAD_BRACKET && gate->direct);

	if (!tl_level_on(corr, rule))
		return TL_GATE_OFF;
	/* What the forms of lines have proved: any of them. */
	if (rule == TL_HOW_TAIL)
		return gate->trusted ? TL_GATE_OPEN : TL_GATE_CLOSED;
	if (evidence->contradicts || never)
		return TL_GATE_QUARANTINED;
	if (evidence->confirms >= needed(corr, gate, rule))
		return TL_GATE_OPEN;
	return rule == TL_HOW_THREAD && gate->direct_answers >= corr->options.gate_confirms
		       ? TL_GATE_STRAIGHT
		       : TL_GATE_CLOSED;
}

bool tl_gate_open(const struct tl_corr *corr, const struct tl_gate *gate, enum tl_how rule)
{
	return gate && tl_gate_state(corr, gate, rule) == TL_GATE_OPEN;
}

/* Whether there is anything to tell of the rule. */
static bool has_news(const struct tl_gate *gate, enum tl_how rule)
{
	const struct tl_evidence *evidence = &gate->rules[rule];

	return evidence->confirms || evidence->contradicts || evidence->lines ||
	       (rule == TL_HOW_THREAD && gate->direct_answers);
}

void tl_corr_gates(const struct tl_corr *corr,
		   void (*each)(void *arg, const struct tl_gate_row *row), void *arg)
{
	size_t iter = 0;
	void *value;

	while (tl_map_next(corr->gates, &iter, NULL, &value)) {
		const struct tl_gate *gate = *(struct tl_gate **)value;

		for (int rule = TL_HOW_APP; rule < TL_HOWS; rule++) {
			struct tl_gate_row row = {
				.service = gate->service,
				.tgid = gate->tgid,
				.start_ns = gate->start_ns,
				.unit_kind = gate->unit_kind,
				.rule = (enum tl_how)rule,
				.confirms = gate->rules[rule].confirms,
				.contradicts = gate->rules[rule].contradicts,
				.lines = gate->rules[rule].lines,
				.why = gate->why,
			};

			if (!has_news(gate, row.rule))
				continue;
			row.state = tl_gate_state(corr, gate, row.rule);
			each(arg, &row);
		}
	}
}
