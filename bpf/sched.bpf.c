// SPDX-License-Identifier: GPL-2.0-only
/* Processes: children of selected ones are selected before they can run, and the end of a process
 * clears its entries, so that a reused id selects nobody. The hooks run rarely: events are built on
 * the stack. */
#include "bpf/maps.bpf.h"

static __always_inline __u8 tl_how(__u32 tgid)
{
	struct tl_selection *selection = TL_LOOKUP0(tl_selected);

	return selection ? selection->how[tgid & (TL_PID_SLOTS - 1)] : TL_DENIED;
}

static __always_inline void tl_set_how(__u32 tgid, __u8 how)
{
	struct tl_selection *selection = TL_LOOKUP0(tl_selected);

	if (selection)
		selection->how[tgid & (TL_PID_SLOTS - 1)] = how;
}

static __always_inline bool tl_is_selected(__u32 tgid)
{
	struct tl_control *control = TL_LOOKUP0(tl_control);
	__u8 how = tl_how(tgid);

	if (how || !control)
		return how == TL_SELECTED;
	return control->select_all || (control->by_cgroup && tl_cgroup_selected());
}

static __always_inline void tl_emit_proc(void *ctx, struct task_struct *leader, __u32 what,
					 __u32 parent)
{
	struct tl_stats *stats = TL_LOOKUP0(tl_stats);
	__u32 tgid = leader->tgid;
	struct tl_proc *p = bpf_map_lookup_elem(&tl_procs, &tgid);
	struct tl_ev_proc e = {};
	long err;

	e.h.type = TL_EV_PROC;
	e.h.time_ns = bpf_ktime_get_ns();
	e.h.tgid = tgid;
	e.h.tid = leader->pid;
	e.h.start_ns = leader->start_boottime;
	e.h.lost_gen = p ? p->lost_gen : 0;
	e.what = what;
	e.parent = parent;
	bpf_probe_read_kernel_str(e.comm, sizeof(e.comm), leader->comm);
	if (tl_perf)
		err = bpf_perf_event_output(ctx, &tl_ring, BPF_F_CURRENT_CPU, &e, sizeof(e));
	else
		err = bpf_ringbuf_output(&tl_ring, &e, sizeof(e), BPF_RB_NO_WAKEUP);
	if (err && stats)
		__sync_fetch_and_add(&stats->lost_wire[TL_LOST_RING_FULL], 1);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(tl_fork, struct task_struct *parent, struct task_struct *child)
{
	struct tl_control *control = TL_LOOKUP0(tl_control);
	struct tl_proc fresh = {};
	__u32 tgid = child->tgid;

	if (!control || parent->tgid == child->tgid || !tl_is_selected(parent->tgid))
		return 0;
	if (tl_how(parent->tgid) == TL_SELECTED) {
		if (!control->follow_fork)
			return 0;
		tl_set_how(tgid, TL_SELECTED);
	}
	fresh.start_ns = child->start_boottime;
	bpf_map_update_elem(&tl_procs, &tgid, &fresh, BPF_ANY);
	tl_emit_proc(ctx, child, TL_PROC_FORK, parent->tgid);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(tl_exec, struct task_struct *task)
{
	__u32 tgid = task->tgid;
	struct tl_proc *p = bpf_map_lookup_elem(&tl_procs, &tgid);

	if (p) {
		p->unit_kind = TL_UNIT_THREAD;
		p->flags = 0;
	}
	if (tl_is_selected(tgid))
		tl_emit_proc(ctx, task->group_leader, TL_PROC_EXEC, 0);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(tl_proc_exit, struct task_struct *task)
{
	__u32 tgid = task->tgid, tid = task->pid;

	bpf_map_delete_elem(&tl_waits, &tid);
	if (task->signal->live.counter)
		return 0;
	if (bpf_map_lookup_elem(&tl_procs, &tgid) || tl_is_selected(tgid)) {
		tl_emit_proc(ctx, task->group_leader, TL_PROC_EXIT, 0);
		bpf_map_delete_elem(&tl_procs, &tgid);
	}
	if (tl_how(tgid))
		tl_set_how(tgid, 0);
	return 0;
}
