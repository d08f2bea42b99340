/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/correlate/proc.h"

#include "agent/correlate/conn.h"
#include "agent/correlate/gate.h"
#include "agent/correlate/request.h"

/* /proc shows a start time in clock ticks: two sources of one start may differ by that much. No
 * process id comes round within it. */
#define START_TICK_NS UINT64_C(10000000)

/* What a process that is older than this was at when we met it is not known: requests that it
 * serves without our having seen them, lines that seem to stand where nothing is served. */
#define LATE_NS UINT64_C(1000000000)

static bool same_start(uint64_t a, uint64_t b)
{
	return a == b || (a > b ? a - b : b - a) < START_TICK_NS;
}

struct tl_cproc *tl_cproc_find(const struct tl_corr *corr, uint32_t tgid, uint64_t start_ns)
{
	struct tl_cproc **slot = tl_map_get(corr->procs, &tgid);

	return slot && same_start((*slot)->start_ns, start_ns) ? *slot : NULL;
}

static void free_proc(struct tl_corr *corr, struct tl_cproc *proc)
{
	tl_gate_leave(corr, proc);
	free(proc);
}

/* Takes it out of the table; it lives on while something refers to it. */
static void unmap(struct tl_corr *corr, struct tl_cproc *proc)
{
	if (proc->mapped)
		tl_map_del(corr->procs, &proc->tgid);
	proc->mapped = false;
	if (!proc->refs)
		free_proc(corr, proc);
}

void tl_cproc_ref(struct tl_cproc *proc)
{
	proc->refs++;
}

void tl_cproc_unref(struct tl_corr *corr, struct tl_cproc *proc)
{
	if (--proc->refs || (proc->mapped && !proc->dead))
		return;
	unmap(corr, proc);
}

static struct tl_cproc *new_proc(struct tl_corr *corr, uint32_t tgid, uint64_t start_ns)
{
	struct tl_cproc *proc = calloc(1, sizeof(*proc)), **slot;

	if (!proc)
		return NULL;
	slot = tl_map_put(corr->procs, &tgid, NULL);
	if (!slot) {
		free(proc);
		return NULL;
	}
	*slot = proc;
	proc->mapped = true;
	proc->tgid = tgid;
	proc->start_ns = start_ns;
	proc->serial = ++corr->serial;
	if (corr->at_ns > start_ns + LATE_NS)
		proc->sure_ns = corr->at_ns + LATE_NS;
	tl_gate_join(corr, proc, 0);
	return proc;
}

struct tl_cproc *tl_cproc_get(struct tl_corr *corr, uint32_t tgid, uint64_t start_ns)
{
	struct tl_cproc **slot = tl_map_get(corr->procs, &tgid), *proc;

	if (slot && same_start((*slot)->start_ns, start_ns))
		return *slot;
	if (slot)
		tl_cproc_exit(corr, *slot);
	slot = tl_map_get(corr->procs, &tgid);
	if (slot)
		unmap(corr, *slot);
	proc = new_proc(corr, tgid, start_ns);
	if (!proc)
		corr->usage.full++;
	return proc;
}

void tl_cproc_break(struct tl_corr *corr, struct tl_cproc *proc, enum tl_why why)
{
	struct tl_conn *next;

	tl_cproc_ref(proc);
	for (struct tl_conn *conn = proc->conns; conn; conn = next) {
		next = conn->next_of_proc;
		tl_conn_desync(conn, why);
	}
	/* Requests on connections that another process used last. */
	while (proc->open)
		tl_conn_desync(proc->open->conn, why);
	tl_cproc_unref(corr, proc);
}

void tl_cproc_gen(struct tl_corr *corr, struct tl_cproc *proc, uint32_t lost_gen)
{
	bool grown = proc->gen_known && (int32_t)(lost_gen - proc->lost_gen) > 0;

	if (!proc->gen_known || grown)
		proc->lost_gen = lost_gen;
	proc->gen_known = true;
	if (grown)
		tl_cproc_break(corr, proc, TL_WHY_LOST);
}

void tl_cproc_blind(struct tl_corr *corr, struct tl_cproc *proc)
{
	corr->usage.full++;
	proc->blind_ns = corr->at_ns;
	tl_cproc_break(corr, proc, TL_WHY_FULL);
}

void tl_cproc_exec(struct tl_corr *corr, struct tl_cproc *proc, uint64_t service)
{
	tl_cproc_break(corr, proc, TL_WHY_NO_REQUEST);
	/* Another program: what the one before had proved or spoilt by itself is not about this
	 * one. */
	tl_gate_leave(corr, proc);
	proc->service = 0;
	tl_gate_join(corr, proc, service);
}

void tl_cproc_exit(struct tl_corr *corr, struct tl_cproc *proc)
{
	tl_cproc_ref(proc);
	while (proc->conns)
		tl_conn_end(proc->conns);
	while (proc->open)
		tl_conn_desync(proc->open->conn, TL_WHY_UNANSWERED);
	proc->dead = true;
	tl_cproc_unref(corr, proc);
}

void tl_cproc_free_all(struct tl_corr *corr)
{
	size_t iter = 0;
	void *value;

	while (tl_map_next(corr->procs, &iter, NULL, &value))
		free_proc(corr, *(struct tl_cproc **)value);
}
