/* SPDX-License-Identifier: Apache-2.0 */
/* A failed probe lowers what is known of the process and nothing else: its unit is still read, only
 * without the property that all probes together would give. */
#include "agent/learn.h"

#include <string.h>

#include "agent/runtimes/runtime.h"
#include "userspace/base/clock.h"
#include "userspace/base/map.h"
#include "userspace/base/msg.h"

#define FIRST_WAIT_NS (TL_SEC / 2)
#define LONGEST_WAIT_NS (60 * TL_SEC)

struct pupil {
	uint64_t start_ns;
	uint64_t next_ns, wait_ns;
	bool unit_done; /* its unit is known for good */
	bool tls_done;	/* its TLS library is probed, or probing it failed */
	bool refused;	/* was told */
	struct tl_proc unit;
};

struct tl_learn {
	int inspector; /* borrowed */
	unsigned sets;
	struct tl_map *pupils; /* uint32_t tgid -> struct pupil */
	struct tl_learn_usage usage;
};

/* One process as the runtimes see it. */
struct subject {
	const struct tl_learn *learn;
	uint32_t tgid;
};

static int view_module(void *arg, const char *glob, struct tl_module_info *ret, int *ret_fd)
{
	struct subject *subject = arg;

	return tl_inspect_module(subject->learn->inspector, subject->tgid, glob, ret, ret_fd);
}

static int view_slot(void *arg, uint64_t address)
{
	struct subject *subject = arg;

	return tl_inspect_slot(subject->learn->inspector, subject->tgid, address);
}

static int view_jvm(void *arg, const struct tl_jvm_words *words, struct tl_jvm_layout *ret)
{
	struct subject *subject = arg;

	return tl_inspect_jvm(subject->learn->inspector, subject->tgid, words, ret);
}

int tl_learn_sets(const char *text, unsigned *ret_sets, struct tl_error *error)
{
	static const struct {
		const char *name;
		unsigned sets;
	} names[] = {
		{"auto", TL_PROBES_GO | TL_PROBES_PYTHON | TL_PROBES_TLS},
		{"off", 0},
		{"go", TL_PROBES_GO},
		{"python", TL_PROBES_PYTHON},
		{"tls", TL_PROBES_TLS},
	};
	unsigned sets = 0;
	size_t i;

	for (const char *at = text; *at;) {
		size_t len = strcspn(at, ",");

		for (i = 0; i < ARRAY_SIZE(names); i++)
			if (strlen(names[i].name) == len && memcmp(names[i].name, at, len) == 0)
				break;
		if (i == ARRAY_SIZE(names))
			return tl_error_set(error, -EINVAL,
					    "--uprobes %s: say auto, off, or a list of go, python "
					    "and tls",
					    text);
		sets |= names[i].sets;
		at += len + (at[len] == ',');
	}
	*ret_sets = sets;
	return 0;
}

struct tl_learn *tl_learn_new(int inspector, unsigned sets)
{
	_cleanup_(tl_learn_freep) struct tl_learn *learn = calloc(1, sizeof(*learn));

	if (!learn)
		return NULL;
	learn->inspector = inspector;
	learn->sets = sets;
	learn->pupils = tl_map_new(sizeof(uint32_t), sizeof(struct pupil), TL_LEARN_MAX);
	return learn->pupils ? TAKE_PTR(learn) : NULL;
}

void tl_learn_free(struct tl_learn *learn)
{
	if (!learn)
		return;
	tl_map_free(learn->pupils);
	free(learn);
}

/* Attaches all probes. Returns whether all are. */
static bool attach(struct tl_learn *learn, const struct tl_event *event,
		   const struct tl_runtime_unit *unit)
{
	bool all = true;

	for (unsigned i = 0; i < unit->n_probes; i++) {
		int r = tl_inspect_probe(learn->inspector, event->tgid, event->start_ns,
					 &unit->probes[i]);

		if (r >= 0) {
			learn->usage.attached++;
			continue;
		}
		all = false;
		/* A process that ended meanwhile is no failure. */
		if (r != -ESRCH) {
			learn->usage.failed++;
			learn->usage.last_error = r;
		}
	}
	return all;
}

static void set_unit(struct tl_learn *learn, const struct tl_event *event, struct pupil *pupil)
{
	(void)tl_inspect_set_unit(learn->inspector, event->tgid, event->start_ns, &pupil->unit);
}

static void refuse(struct tl_learn *learn, struct pupil *pupil, uint32_t tgid, const char *comm,
		   const struct tl_error *error)
{
	learn->usage.refused++;
	if (!pupil->refused)
		tl_msg(TL_WARNING, "process %u (%s): its lines get no unit: %s", tgid, comm,
		       error->message);
	pupil->refused = true;
}

/* A refused runtime keeps its unit kind without offsets: the kernel then reads no unit, and nobody
 * falls back to threads. */
static void take_unit(struct tl_learn *learn, const struct tl_event *event, struct pupil *pupil,
		      const struct tl_runtime_unit *unit)
{
	uint16_t flags = pupil->unit.flags;

	pupil->unit_done = true;
	if (unit->unit.unit_kind == TL_UNIT_THREAD)
		return;
	pupil->unit = unit->unit;
	pupil->unit.flags = flags;
	if (attach(learn, event, unit))
		pupil->unit.flags |= unit->probed;
	set_unit(learn, event, pupil);
}

void tl_learn_process(struct tl_learn *learn, const struct tl_event *event, const char *comm,
		      int exe_fd)
{
	struct tl_runtime_unit unit = {0};
	struct tl_error error = {0};
	struct pupil *pupil = tl_map_put(learn->pupils, &event->tgid, NULL);

	if (!pupil) {
		learn->usage.full++;
		return;
	}
	*pupil = (struct pupil){.start_ns = event->start_ns, .wait_ns = FIRST_WAIT_NS};
	if (exe_fd < 0 || !tl_runtime_detect(exe_fd, learn->sets, &unit, &error))
		return;
	if (unit.refused)
		refuse(learn, pupil, event->tgid, comm, &error);
	take_unit(learn, event, pupil, &unit);
}

/* Its TLS library, once it has been heard to speak TLS. */
static void look_for_tls(struct tl_learn *learn, const struct tl_event *event,
			 const struct tl_runtime_view *view, struct pupil *pupil)
{
	struct tl_runtime_unit tls = {0};

	if (pupil->tls_done || !tl_tls_live(view, &tls))
		return;
	pupil->tls_done = true;
	/* Before its probes: a call under way then already notes its socket. */
	pupil->unit.flags |= tls.probed;
	set_unit(learn, event, pupil);
	if (attach(learn, event, &tls))
		return;
	pupil->unit.flags &= (uint16_t)~tls.probed;
	set_unit(learn, event, pupil);
}

static void look(struct tl_learn *learn, const struct tl_event *event, struct pupil *pupil)
{
	struct subject subject = {learn, event->tgid};
	const struct tl_runtime_view view = {.arg = &subject,
					     .module = view_module,
					     .slot = view_slot,
					     .jvm = view_jvm,
					     .sets = learn->sets};
	struct tl_runtime_unit unit = {0};
	struct tl_error error = {0};

	if (!pupil->unit_done && tl_runtime_live(&view, &unit, &error)) {
		if (unit.refused)
			refuse(learn, pupil, event->tgid, "", &error);
		take_unit(learn, event, pupil, &unit);
	}
	if (event->type == TL_EV_PROC)
		look_for_tls(learn, event, &view, pupil);
}

bool tl_learn_serves(struct tl_learn *learn, const struct tl_event *event)
{
	struct pupil *pupil = tl_map_get(learn->pupils, &event->tgid);
	bool tls = event->type == TL_EV_PROC;

	if (!pupil)
		return tl_map_count(learn->pupils) >= TL_LEARN_MAX;
	if ((pupil->unit_done && (pupil->tls_done || !tls)) ||
	    (!tls && event->time_ns < pupil->next_ns))
		return true;
	look(learn, event, pupil);
	pupil->next_ns = event->time_ns + pupil->wait_ns;
	if (pupil->wait_ns < LONGEST_WAIT_NS)
		pupil->wait_ns *= 2;
	return true;
}

void tl_learn_exit(struct tl_learn *learn, uint32_t tgid)
{
	tl_map_del(learn->pupils, &tgid);
}

void tl_learn_usage(const struct tl_learn *learn, struct tl_learn_usage *ret)
{
	*ret = learn->usage;
}
