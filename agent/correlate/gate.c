/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/correlate/gate.h"

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
	if (!added)
		return *slot;
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
	to->confirms += from->confirms;
	to->contradicts += from->contradicts;
	to->unit_confirms += from->unit_confirms;
	to->unit_contradicts += from->unit_contradicts;
	to->inline_contradicts += from->inline_contradicts;
	to->units |= from->units;
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
	free(gate);
}

void tl_gate_confirm(struct tl_corr *corr, struct tl_gate *gate, enum tl_unit_kind kind)
{
	corr->usage.confirms++;
	if (!gate)
		return;
	if (kind == TL_UNIT_THREAD)
		gate->confirms++;
	else
		gate->unit_confirms++;
}

void tl_gate_contradict(struct tl_corr *corr, struct tl_gate *gate, enum tl_unit_kind kind)
{
	corr->usage.contradicts++;
	if (!gate)
		return;
	if (kind == TL_UNIT_THREAD)
		gate->contradicts++;
	else
		gate->unit_contradicts++;
	tl_hold_all_dirty(corr);
}

void tl_gate_contradict_inline(struct tl_corr *corr, struct tl_gate *gate)
{
	corr->usage.contradicts++;
	if (gate)
		gate->inline_contradicts++;
}

void tl_gate_units(struct tl_corr *corr, struct tl_gate *gate)
{
	if (!gate || gate->units)
		return;
	gate->units = true;
	tl_hold_all_dirty(corr);
}

bool tl_gate_thread_open(const struct tl_corr *corr, const struct tl_gate *gate)
{
	return gate && !gate->units && !gate->contradicts &&
	       gate->confirms >= corr->options.gate_confirms;
}

bool tl_gate_unit_open(const struct tl_gate *gate)
{
	return gate && !gate->unit_contradicts;
}

bool tl_gate_inline_open(const struct tl_gate *gate)
{
	return gate && !gate->inline_contradicts;
}

void tl_corr_gates(const struct tl_corr *corr,
		   void (*each)(void *arg, const struct tl_gate_row *row), void *arg)
{
	size_t iter = 0;
	void *value;

	while (tl_map_next(corr->gates, &iter, NULL, &value)) {
		const struct tl_gate *gate = *(struct tl_gate **)value;
		struct tl_gate_row row = {.service = gate->service, .tgid = gate->tgid};

		/* A process that serves nothing has nothing to show. */
		if (!gate->service && !gate->confirms && !gate->contradicts &&
		    !gate->unit_confirms && !gate->unit_contradicts)
			continue;
		row.confirms = gate->units ? gate->unit_confirms : gate->confirms;
		row.contradicts = gate->units ? gate->unit_contradicts : gate->contradicts;
		row.open = gate->units ? tl_gate_unit_open(gate) : tl_gate_thread_open(corr, gate);
		each(arg, &row);
	}
}
