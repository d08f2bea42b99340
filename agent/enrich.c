/* SPDX-License-Identifier: Apache-2.0 */
/* Resources of processes.
 *
 * A process's entry holds what its events and /proc said, and, from its first record on, its number
 * with the packed RESOURCE entry. When the facts change (exec, or /proc read after the first
 * record) the number is given up and the next record gets a new one: a number means one resource
 * for ever. Entries taken back after a restart have the packed form only; nobody looks into it.
 *
 * Two lists by last use: `live`, and `ended` for processes that ended. When the table is full the
 * one unused longest goes, an ended one first, a live one only when it was quiet for `linger_ns`
 * (its end may have been lost); else the newcomer gets no entry, and number 0, which says nothing
 * about the process. */
#include "agent/enrich.h"

#include <string.h>

#include "agent/cgroup.h"
#include "agent/enrich_facts.h"
#include "agent/procfs.h"
#include "userspace/base/clock.h"
#include "userspace/base/map.h"
#include "userspace/base/metrics.h"

#define DEFAULT_MAX 16384
#define DEFAULT_LINGER_NS (60 * TL_SEC)

struct process_key {
	uint32_t tgid, pad;
	uint64_t start_ns;
};

struct process {
	struct process_key key;
	struct process *newer, *older; /* in the list it is in */
	struct tl_facts *facts;	       /* owned; NULL: only the comm is known */
	char *packed; /* owned: RESOURCE entry of `number`, NULL while there is none */
	uint32_t packed_len;
	uint32_t number;  /* 0: none yet */
	uint64_t used_ns; /* by the clock of tl_enrich_tick */
	char comm[16];
	bool ended;
};

struct list {
	struct process *newest, *oldest;
};

/* Where a resource is put together. */
struct scratch {
	struct tl_attrs attrs;
	struct tl_arena arena; /* of `attrs` */
};

struct tl_enrich {
	struct tl_enrich_options options;
	struct tl_map *processes; /* struct process_key -> struct process * */
	struct tl_map *newest;	  /* uint32_t tgid -> uint64_t start_ns of its newest process */
	struct list live, ended;
	uint32_t next_number;
	uint64_t now_ns;	 /* of the last tick */
	char own_cgroup[512];	 /* "" unknown */
	struct scratch *scratch; /* owned */
	struct tl_buf recovered; /* RESOURCE entry that waits for its TL_STATE_RESOURCE */
};

/* TL_STATE_RESOURCE (state.h). */
struct state_resource {
	uint32_t number, pad, tgid, pad2;
	uint64_t start_ns;
};

static struct tl_metric refused = {
	.name = "tapline_agent_resources_refused_total",
	.help = "Records without a resource, because the process table was full or memory was out.",
	.type = TL_COUNTER,
};

static void list_remove(struct list *list, struct process *process)
{
	*(process->newer ? &process->newer->older : &list->newest) = process->older;
	*(process->older ? &process->older->newer : &list->oldest) = process->newer;
}

static void list_add(struct list *list, struct process *process)
{
	process->older = list->newest;
	process->newer = NULL;
	*(process->older ? &process->older->newer : &list->oldest) = process;
	list->newest = process;
}

static struct list *list_of(struct tl_enrich *enrich, const struct process *process)
{
	return process->ended ? &enrich->ended : &enrich->live;
}

static void touch(struct tl_enrich *enrich, struct process *process)
{
	process->used_ns = enrich->now_ns;
	list_remove(list_of(enrich, process), process);
	list_add(list_of(enrich, process), process);
}

static void process_free(struct process *process)
{
	free(process->facts);
	free(process->packed);
	free(process);
}

static void drop(struct tl_enrich *enrich, struct process *process)
{
	uint64_t *newest = tl_map_get(enrich->newest, &process->key.tgid);

	if (newest && *newest == process->key.start_ns)
		tl_map_del(enrich->newest, &process->key.tgid);
	list_remove(list_of(enrich, process), process);
	tl_map_del(enrich->processes, &process->key);
	process_free(process);
}

static void read_own_cgroup(struct tl_enrich *enrich)
{
	_cleanup_(closep) int proc = tl_procfs_open();
	struct tl_cgroup cgroup;

	if (proc >= 0 && tl_procfs_cgroup(proc, (uint32_t)getpid(), &cgroup) == 0)
		memcpy(enrich->own_cgroup, tl_cgroup_telling(&cgroup),
		       strlen(tl_cgroup_telling(&cgroup)) + 1);
}

struct tl_enrich *tl_enrich_new(const struct tl_enrich_options *options)
{
	_cleanup_(tl_enrich_freep) struct tl_enrich *enrich = calloc(1, sizeof(*enrich));

	if (!enrich)
		return NULL;
	enrich->options = *options;
	if (!enrich->options.max)
		enrich->options.max = DEFAULT_MAX;
	if (!enrich->options.linger_ns)
		enrich->options.linger_ns = DEFAULT_LINGER_NS;
	enrich->next_number = 1;
	enrich->now_ns = tl_mono_ns();
	enrich->processes = tl_map_new(sizeof(struct process_key), sizeof(struct process *),
				       enrich->options.max);
	enrich->newest = tl_map_new(sizeof(uint32_t), sizeof(uint64_t), enrich->options.max);
	enrich->scratch = calloc(1, sizeof(*enrich->scratch));
	if (!enrich->processes || !enrich->newest || !enrich->scratch)
		return NULL;
	read_own_cgroup(enrich);
	tl_metric_register(&refused);
	return TAKE_PTR(enrich);
}

void tl_enrich_free(struct tl_enrich *enrich)
{
	if (!enrich)
		return;
	while (enrich->live.oldest)
		drop(enrich, enrich->live.oldest);
	while (enrich->ended.oldest)
		drop(enrich, enrich->ended.oldest);
	tl_map_freep(&enrich->processes);
	tl_map_freep(&enrich->newest);
	if (enrich->scratch)
		tl_arena_done(&enrich->scratch->arena);
	free(enrich->scratch);
	tl_buf_done(&enrich->recovered);
	free(enrich);
}

static struct process *find(const struct tl_enrich *enrich, uint32_t tgid, uint64_t start_ns)
{
	struct process_key key = {.tgid = tgid, .start_ns = start_ns};
	const uint64_t *newest = start_ns ? NULL : tl_map_get(enrich->newest, &tgid);
	struct process **found;

	if (newest)
		key.start_ns = *newest;
	found = tl_map_get(enrich->processes, &key);
	return found ? *found : NULL;
}

static bool make_room(struct tl_enrich *enrich)
{
	struct process *oldest = enrich->live.oldest;

	if (tl_map_count(enrich->processes) < enrich->options.max)
		return true;
	if (enrich->ended.oldest)
		drop(enrich, enrich->ended.oldest);
	else if (oldest && enrich->now_ns - oldest->used_ns >= enrich->options.linger_ns)
		drop(enrich, oldest);
	else
		return false;
	return true;
}

static void end(struct tl_enrich *enrich, struct process *process)
{
	if (!process->ended) {
		list_remove(&enrich->live, process);
		process->ended = true;
		list_add(&enrich->ended, process);
	}
	process->used_ns = enrich->now_ns;
}

/* A process of a known number means that the one before it has ended, told or not. */
static void remember_newest(struct tl_enrich *enrich, const struct process *process)
{
	uint64_t *newest = tl_map_put(enrich->newest, &process->key.tgid, NULL);
	struct process *before;

	if (!newest || *newest > process->key.start_ns)
		return;
	before = *newest && *newest != process->key.start_ns
			 ? find(enrich, process->key.tgid, *newest)
			 : NULL;
	*newest = process->key.start_ns;
	if (before)
		end(enrich, before);
}

/* Finds or makes the entry; NULL when there is no room or no start to tell it by. */
static struct process *ensure(struct tl_enrich *enrich, uint32_t tgid, uint64_t start_ns)
{
	struct process *process = find(enrich, tgid, start_ns), **slot;

	if (process) {
		touch(enrich, process);
		return process;
	}
	if (!start_ns || !make_room(enrich))
		return NULL;
	process = calloc(1, sizeof(*process));
	if (!process)
		return NULL;
	process->key = (struct process_key){.tgid = tgid, .start_ns = start_ns};
	slot = tl_map_put(enrich->processes, &process->key, NULL);
	if (!slot) {
		free(process);
		return NULL;
	}
	*slot = process;
	process->used_ns = enrich->now_ns;
	list_add(&enrich->live, process);
	remember_newest(enrich, process);
	return process;
}

/* The facts are no longer those that the number stands for. */
static void give_number_up(struct process *process)
{
	process->number = 0;
	free(TAKE_PTR(process->packed));
	process->packed_len = 0;
}

/* A fork is its parent's program until it executes another one. */
static void inherit(struct tl_enrich *enrich, struct process *child, uint32_t parent_tgid)
{
	const struct process *parent = find(enrich, parent_tgid, 0);

	if (parent && !child->facts)
		child->facts = tl_facts_inherit(parent->facts);
}

void tl_enrich_seen(struct tl_enrich *enrich, const struct tl_ev_proc *event)
{
	struct process *process = ensure(enrich, event->h.tgid, event->h.start_ns);

	if (!process)
		return;
	if (event->what == TL_PROC_EXEC) {
		give_number_up(process);
		free(TAKE_PTR(process->facts));
	}
	if (event->what == TL_PROC_FORK)
		inherit(enrich, process, event->parent);
	memcpy(process->comm, event->comm, sizeof(process->comm));
	process->comm[sizeof(process->comm) - 1] = '\0';
}

void tl_enrich_learn(struct tl_enrich *enrich, uint32_t tgid, uint64_t start_ns,
		     const struct tl_proc_info *info)
{
	struct process *process;
	struct tl_facts *facts;

	/* The number may have gone to another process before /proc was read. */
	if (start_ns && !tl_procfs_same_start(start_ns, info->start_ns))
		return;
	process = ensure(enrich, tgid, start_ns);
	facts = process ? tl_facts_new(info, enrich->own_cgroup) : NULL;
	if (!facts)
		return;
	free(process->facts);
	process->facts = facts;
	memcpy(process->comm, info->comm, sizeof(process->comm));
	give_number_up(process);
}

bool tl_enrich_known(const struct tl_enrich *enrich, uint32_t tgid, uint64_t start_ns)
{
	const struct process *process = find(enrich, tgid, start_ns);

	return process && process->facts && process->facts->own;
}

void tl_enrich_exit(struct tl_enrich *enrich, uint32_t tgid, uint64_t start_ns)
{
	struct process *process = find(enrich, tgid, start_ns);

	if (process)
		end(enrich, process);
}

static const struct tl_attrs *attributes(const struct tl_enrich *enrich,
					 const struct process *process)
{
	const struct tl_resource_of of = {
		.tgid = process->key.tgid,
		.comm = process->comm,
		.service = enrich->options.service_name,
		.host = enrich->options.host_name,
		.facts = process->facts,
	};

	tl_arena_reset(&enrich->scratch->arena);
	tl_facts_attributes(&of, &enrich->scratch->arena, &enrich->scratch->attrs);
	return &enrich->scratch->attrs;
}

const struct tl_attrs *tl_enrich_attributes(const struct tl_enrich *enrich, uint32_t tgid,
					    uint64_t start_ns)
{
	const struct process *process = find(enrich, tgid, start_ns);

	return process ? attributes(enrich, process) : NULL;
}

static int give_number(struct tl_enrich *enrich, struct process *process)
{
	struct tl_buf packed = {0};
	int r = tl_entry_pack_resource(enrich->next_number, attributes(enrich, process), &packed);

	if (r < 0) {
		tl_buf_done(&packed);
		return r;
	}
	process->packed = packed.data;
	process->packed_len = (uint32_t)packed.len;
	process->number = enrich->next_number++;
	/* 0 has a meaning of its own. After a wrap the first numbers are long out of every log. */
	if (enrich->next_number == 0)
		enrich->next_number = 1;
	return 0;
}

static void announce(const struct process *process, struct tl_frame *frame)
{
	const struct state_resource state = {.number = process->number,
					     .tgid = process->key.tgid,
					     .start_ns = process->key.start_ns};

	tl_frame_add(frame, TL_ENTRY_RESOURCE, process->packed, process->packed_len);
	tl_frame_add(frame, TL_STATE_RESOURCE, &state, sizeof(state));
}

uint32_t tl_enrich_resource(struct tl_enrich *enrich, const struct tl_writer *writer,
			    struct tl_frame *frame)
{
	struct process *process = ensure(enrich, writer->tgid, writer->start_ns);

	if (!process) {
		tl_metric_add(&refused, 1);
		return 0;
	}
	if (process->number)
		return process->number;
	if (give_number(enrich, process) < 0) {
		tl_metric_add(&refused, 1);
		return 0;
	}
	announce(process, frame);
	return process->number;
}

void tl_enrich_save(struct tl_enrich *enrich, struct tl_frame *frame)
{
	const struct list *lists[] = {&enrich->ended, &enrich->live};

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		for (struct process *process = lists[i]->oldest; process; process = process->newer)
			if (process->number)
				announce(process, frame);
}

/* Puts the RESOURCE entry that came before under the process that its TL_STATE_RESOURCE names. */
static int recover_process(struct tl_enrich *enrich, const struct state_resource *state)
{
	struct process *process;
	char *packed;

	if (state->number >= enrich->next_number)
		enrich->next_number = state->number + 1 ? state->number + 1 : 1;
	process = ensure(enrich, state->tgid, state->start_ns);
	if (!process)
		return 0; /* more than we keep: a new number when it is met again */
	packed = malloc(enrich->recovered.len);
	if (!packed)
		return -ENOMEM;
	memcpy(packed, enrich->recovered.data, enrich->recovered.len);
	give_number_up(process);
	process->packed = packed;
	process->packed_len = (uint32_t)enrich->recovered.len;
	process->number = state->number;
	return 0;
}

int tl_enrich_recover(struct tl_enrich *enrich, uint16_t type, struct tl_span data)
{
	struct state_resource state;

	if (type == TL_ENTRY_RESOURCE) {
		tl_buf_clear(&enrich->recovered);
		return tl_buf_add(&enrich->recovered, data.data, data.len) < 0 ? -ENOMEM : 0;
	}
	if (type != TL_STATE_RESOURCE || data.len < sizeof(state) || enrich->recovered.len == 0)
		return -EBADMSG;
	memcpy(&state, data.data, sizeof(state));
	if (state.number == 0)
		return -EBADMSG;
	return recover_process(enrich, &state);
}

uint32_t tl_enrich_next_number(const struct tl_enrich *enrich)
{
	return enrich->next_number;
}

void tl_enrich_set_next_number(struct tl_enrich *enrich, uint32_t number)
{
	/* Resources of the same log may have been taken back already. */
	if (number > enrich->next_number)
		enrich->next_number = number;
}

void tl_enrich_tick(struct tl_enrich *enrich, uint64_t now_ns)
{
	struct process *oldest;

	enrich->now_ns = now_ns;
	while ((oldest = enrich->ended.oldest) &&
	       now_ns - oldest->used_ns >= enrich->options.linger_ns)
		drop(enrich, oldest);
}
