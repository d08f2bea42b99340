// SPDX-License-Identifier: GPL-2.0-only
/* Which execution unit runs on the current thread: a few reads of the service's memory, along
 * offsets that the agent knows for certain (agent/runtimes/). Never a guess: what cannot be read is
 * unit 0. */
#include "bpf/maps.bpf.h"

static __always_inline __u64 tl_user64(__u64 address)
{
	__u64 v = 0;

	return bpf_probe_read_user(&v, sizeof(v), (void *)address) ? 0 : v;
}

static __always_inline __u64 tl_goroutine(const struct tl_proc *p, __u64 base)
{
	__u64 g, m, current = 0, id = 0;

	if (!p->g_goid_off)
		return 0;
	g = tl_user64(base + p->tls_off);
	if (!g || bpf_probe_read_user(&m, sizeof(m), (void *)(g + p->g_m_off)))
		return 0;
	if (m && bpf_probe_read_user(&current, sizeof(current), (void *)(m + p->m_curg_off)))
		return 0;
	if (bpf_probe_read_user(&id, sizeof(id), (void *)((current ?: g) + p->g_goid_off)))
		return 0;
	return id;
}

/* The context's number. One that was not seen before gets one: it lives, and its end will be seen.
 */
static __always_inline __u64 tl_context_number(__u32 tgid, __u64 address)
{
	struct tl_context_key key = {address, tgid, 0};
	__u64 *have = bpf_map_lookup_elem(&tl_contexts, &key), number;

	if (have)
		return *have;
	number = bpf_ktime_get_ns() | TL_UNIT_VERSIONED;
	return bpf_map_update_elem(&tl_contexts, &key, &number, BPF_ANY) ? 0 : number;
}

static __always_inline __u64 tl_context(const struct tl_proc *p, __u64 base, __u32 tgid)
{
	__u64 state, context = 0, self = 0;

	/* A thread that never ran Python has no state. */
	state = tl_user64(base + p->tls_off);
	if (!state)
		return TL_UNIT_NONE;
	/* The state says whose it is: proof that this is one. */
	if (bpf_probe_read_user(&self, sizeof(self), (void *)(state + p->m_curg_off)) ||
	    self != base ||
	    bpf_probe_read_user(&context, sizeof(context), (void *)(state + p->g_m_off)))
		return 0;
	if (!context)
		return TL_UNIT_NONE;
	return p->flags & TL_PROCF_VERSIONED ? tl_context_number(tgid, context) : context;
}

static __always_inline __u64 tl_vthread(const struct tl_proc *p, __u64 base)
{
	__u64 thread = tl_user64(base + p->tls_off), entry = 0;

	if (!thread)
		return TL_UNIT_NONE;
	if (bpf_probe_read_user(&entry, sizeof(entry), (void *)(thread + p->g_m_off)))
		return 0;
	if (!entry)
		return TL_UNIT_NONE;
	return p->m_curg_off ? tl_user64(thread + p->m_curg_off) : 0;
}

/* The unit within the process, 0 when it cannot be read, TL_UNIT_NONE when it is the thread. */
__noinline __u64 tl_unit(__u32 tgid)
{
	struct tl_proc *p = bpf_map_lookup_elem(&tl_procs, &tgid);
	struct task_struct *task = (void *)bpf_get_current_task();
	__u64 base;

	if (!p)
		return 0;
	base = BPF_CORE_READ(task, thread.fsbase);
	if (!base)
		return 0;
	switch (p->unit_kind) {
	case TL_UNIT_GOROUTINE:
		return tl_goroutine(p, base);
	case TL_UNIT_CONTEXT:
		return tl_context(p, base, tgid);
	case TL_UNIT_VTHREAD:
		return tl_vthread(p, base);
	default:
		return TL_UNIT_NONE;
	}
}

/* The current thread may have been given other work: what it does from here on need not belong to
 * what it did before. Without the process's entry nothing of it was told yet. */
__noinline int tl_note_wait(void)
{
	__u64 id = bpf_get_current_pid_tgid(), now, *at;
	__u32 tgid = id >> 32, tid = id;
	struct tl_proc *p = bpf_map_lookup_elem(&tl_procs, &tgid);

	if (!tl_wire || !p || p->unit_kind == TL_UNIT_GOROUTINE)
		return 0;
	now = bpf_ktime_get_ns();
	at = bpf_map_lookup_elem(&tl_waits, &tid);
	if (at)
		*at = now;
	else if (bpf_map_update_elem(&tl_waits, &tid, &now, BPF_ANY))
		__sync_fetch_and_add(&p->lost_gen, 1);
	return 0;
}
