/* SPDX-License-Identifier: Apache-2.0 */
/* Resources of processes.
 *
 * A process's entry holds what its events and /proc said (struct tl_proc_info, thinned out: the strings are one block of
 * memory), and, from its first record on, its number with the packed RESOURCE entry. When the facts change (exec, or /proc
 * read after the first record) the number is given up and the next record gets a new one: a number means one resource for ever.
 * Entries taken back after a restart have the packed form only; nobody looks into it.
 *
 * Two lists by last use: `live`, and `ended` for processes that ended. When the table is full the one unused longest goes, an
 * ended one first, a live one only when it was quiet for `linger_ns` (its end may have been lost); else the newcomer gets no
 * entry, and number 0, which says nothing about the process. */
#include "agent/enrich.h"

#include <string.h>

#include "agent/cgroup.h"
#include "agent/procfs.h"
#include "agent/service_name.h"
#include "userspace/base/clock.h"
#include "userspace/base/map.h"
#include "userspace/base/metrics.h"

#define DEFAULT_MAX 16384
#define DEFAULT_LINGER_NS (60 * TL_SEC)

struct process_key {
	uint32_t tgid, pad;
	uint64_t start_ns;
};

/* Strings of a process, one allocation. */
struct facts {
	uint32_t uid, vpid;
	const char *service, *exe, *command, *cgroup; /* point into `text`; "" unknown */
	char text[];
};

struct process {
	struct process_key key;
	struct process *newer, *older; /* in the list it is in */
	struct facts *facts;           /* owned; NULL: only the comm is known */
	char *packed;                  /* owned: RESOURCE entry of `number`, NULL while there is none */
	uint32_t packed_len;
	uint32_t number;               /* 0: none yet */
	uint64_t used_ns;              /* by the clock of tl_enrich_tick */
	char comm[16];
	bool learnt;                   /* the facts are its own, not its parent's */
	bool ended;
};

struct list {
	struct process *newest, *oldest;
};

struct tl_enrich {
	struct tl_enrich_options options;
	struct tl_map *processes;   /* struct process_key -> struct process * */
	struct tl_map *newest;      /* uint32_t tgid -> uint64_t start_ns of its newest process */
	struct list live, ended;
	uint32_t next_number;
	uint64_t now_ns;            /* of the last tick */
	char own_cgroup[512];       /* "" unknown */
	struct tl_attrs attrs;      /* scratch */
	struct tl_arena arena;      /* of `attrs` */
	struct tl_buf recovered;    /* RESOURCE entry that waits for its TL_STATE_RESOURCE */
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
		memcpy(enrich->own_cgroup, tl_cgroup_telling(&cgroup), strlen(tl_cgroup_telling(&cgroup)) + 1);
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
	enrich->processes = tl_map_new(sizeof(struct process_key), sizeof(struct process *), enrich->options.max);
	enrich->newest = tl_map_new(sizeof(uint32_t), sizeof(uint64_t), enrich->options.max);
	if (!enrich->processes || !enrich->newest)
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
	tl_arena_done(&enrich->arena);
	tl_buf_done(&enrich->recovered);
	free(enrich);
}

static struct process *find(const struct tl_enrich *enrich, uint32_t tgid, uint64_t start_ns)
{
	struct process_key key = { .tgid = tgid, .start_ns = start_ns };
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
	before = *newest && *newest != process->key.start_ns ? find(enrich, process->key.tgid, *newest) : NULL;
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
	process->key = (struct process_key){ .tgid = tgid, .start_ns = start_ns };
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

static const char *put_text(char **at, const char *s)
{
	size_t len = strlen(s) + 1;
	char *text = memcpy(*at, s, len);

	*at += len;
	return text;
}

static struct facts *facts_new(uint32_t uid, uint32_t vpid, const char *service, const char *exe, const char *command,
			       const char *cgroup)
{
	size_t size = strlen(service) + strlen(exe) + strlen(command) + strlen(cgroup) + 4;
	struct facts *facts = malloc(sizeof(*facts) + size);
	char *at;

	if (!facts)
		return NULL;
	at = facts->text;
	facts->uid = uid;
	facts->vpid = vpid;
	facts->service = put_text(&at, service);
	facts->exe = put_text(&at, exe);
	facts->command = put_text(&at, command);
	facts->cgroup = put_text(&at, cgroup);
	return facts;
}

/* A fork is its parent's program until it executes another one. */
static void inherit(struct tl_enrich *enrich, struct process *child, uint32_t parent_tgid)
{
	const struct process *parent = find(enrich, parent_tgid, 0);
	const struct facts *f = parent ? parent->facts : NULL;

	if (f && !child->facts)
		child->facts = facts_new(f->uid, 0, f->service, f->exe, f->command, f->cgroup);
}

void tl_enrich_seen(struct tl_enrich *enrich, const struct tl_ev_proc *event)
{
	struct process *process = ensure(enrich, event->h.tgid, event->h.start_ns);

	if (!process)
		return;
	if (event->what == TL_PROC_EXEC) {
		give_number_up(process);
		free(TAKE_PTR(process->facts));
		process->learnt = false;
	}
	if (event->what == TL_PROC_FORK)
		inherit(enrich, process, event->parent);
	memcpy(process->comm, event->comm, sizeof(process->comm));
	process->comm[sizeof(process->comm) - 1] = '\0';
}

void tl_enrich_learn(struct tl_enrich *enrich, uint32_t tgid, uint64_t start_ns, const struct tl_proc_info *info)
{
	struct process *process;
	char service[TL_SERVICE_NAME_MAX], command[sizeof(info->cmdline)];
	struct facts *facts;

	/* The number may have gone to another process before /proc was read. */
	if (start_ns && !tl_procfs_same_start(start_ns, info->start_ns))
		return;
	process = ensure(enrich, tgid, start_ns);
	if (!process)
		return;
	tl_service_name(info, enrich->own_cgroup, service);
	/* The program's word only: what follows may hold passwords. */
	memcpy(command, info->cmdline, sizeof(command));
	command[strcspn(command, " ")] = '\0';
	facts = facts_new(info->uid, info->vpid, service, info->exe, command, info->cgroup);
	if (!facts)
		return;
	free(process->facts);
	process->facts = facts;
	process->learnt = true;
	memcpy(process->comm, info->comm, sizeof(process->comm));
	give_number_up(process);
}

bool tl_enrich_known(const struct tl_enrich *enrich, uint32_t tgid, uint64_t start_ns)
{
	const struct process *process = find(enrich, tgid, start_ns);

	return process && process->learnt;
}

void tl_enrich_exit(struct tl_enrich *enrich, uint32_t tgid, uint64_t start_ns)
{
	struct process *process = find(enrich, tgid, start_ns);

	if (process)
		end(enrich, process);
}

static void set_text(struct tl_attrs *attrs, const char *key, const char *value)
{
	if (value && value[0])
		tl_attr_set(attrs, key, tl_span_str(value));
}

static void set_number(struct tl_enrich *enrich, const char *key, uint64_t value)
{
	tl_attr_set(&enrich->attrs, key, tl_arena_printf(&enrich->arena, "%llu", (unsigned long long)value));
}

static void set_cgroup(struct tl_enrich *enrich, const char *cgroup)
{
	char container[72], pod[40];

	if (strcmp(cgroup, "/") != 0)
		set_text(&enrich->attrs, "process.linux.cgroup", cgroup);
	if (tl_cgroup_container(cgroup, container))
		tl_attr_set(&enrich->attrs, "container.id", tl_arena_copy(&enrich->arena, tl_span_str(container)));
	if (tl_cgroup_pod(cgroup, pod))
		tl_attr_set(&enrich->attrs, "k8s.pod.uid", tl_arena_copy(&enrich->arena, tl_span_str(pod)));
}

/* Fills `enrich->attrs` (OpenTelemetry's names of processes, containers and hosts). */
static void make_attributes(struct tl_enrich *enrich, const struct process *process)
{
	const char *service = enrich->options.service_name, *exe_name = process->comm;
	const struct facts *facts = process->facts;
	struct tl_attrs *attrs = &enrich->attrs;

	tl_arena_reset(&enrich->arena);
	attrs->n = attrs->dropped = 0;
	if (facts && facts->exe[0])
		exe_name = strrchr(facts->exe, '/') ? strrchr(facts->exe, '/') + 1 : facts->exe;
	if (!service)
		service = facts ? facts->service : process->comm;
	set_text(attrs, "service.name", service[0] ? service : "unknown_service");
	set_text(attrs, "host.name", enrich->options.host_name);
	set_number(enrich, "process.pid", process->key.tgid);
	set_text(attrs, "process.executable.name", exe_name);
	if (!facts)
		return;
	set_text(attrs, "process.executable.path", facts->exe);
	set_text(attrs, "process.command", facts->command);
	if (process->learnt)
		set_number(enrich, "process.user.id", facts->uid);
	if (facts->vpid && facts->vpid != process->key.tgid)
		set_number(enrich, "process.vpid", facts->vpid);
	set_cgroup(enrich, facts->cgroup);
}

const struct tl_attrs *tl_enrich_attributes(const struct tl_enrich *enrich, uint32_t tgid, uint64_t start_ns)
{
	const struct process *process = find(enrich, tgid, start_ns);
	/* The scratch is no state: callers see the same object. */
	struct tl_enrich *scratch = (struct tl_enrich *)(uintptr_t)enrich;

	if (!process)
		return NULL;
	make_attributes(scratch, process);
	return &enrich->attrs;
}

static int give_number(struct tl_enrich *enrich, struct process *process)
{
	struct tl_buf packed = { 0 };
	int r;

	make_attributes(enrich, process);
	r = tl_entry_pack_resource(enrich->next_number, &enrich->attrs, &packed);
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
	const struct state_resource state = { .number = process->number, .tgid = process->key.tgid,
					      .start_ns = process->key.start_ns };

	tl_frame_add(frame, TL_ENTRY_RESOURCE, process->packed, process->packed_len);
	tl_frame_add(frame, TL_STATE_RESOURCE, &state, sizeof(state));
}

uint32_t tl_enrich_resource(struct tl_enrich *enrich, const struct tl_writer *writer, struct tl_frame *frame)
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
	const struct list *lists[] = { &enrich->ended, &enrich->live };

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
	while ((oldest = enrich->ended.oldest) && now_ns - oldest->used_ns >= enrich->options.linger_ns)
		drop(enrich, oldest);
}
