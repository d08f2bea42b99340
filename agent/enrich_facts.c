/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/enrich_facts.h"

#include <string.h>

#include "agent/cgroup.h"
#include "agent/service_name.h"

static const char *put_text(char **at, const char *s)
{
	size_t len = strlen(s) + 1;
	char *text = memcpy(*at, s, len);

	*at += len;
	return text;
}

static struct tl_facts *pack(const char *service, const char *exe, const char *command,
			     const char *cgroup)
{
	size_t size = strlen(service) + strlen(exe) + strlen(command) + strlen(cgroup) + 4;
	struct tl_facts *facts = calloc(1, sizeof(*facts) + size);
	char *at;

	if (!facts)
		return NULL;
	at = facts->text;
	facts->service = put_text(&at, service);
	facts->exe = put_text(&at, exe);
	facts->command = put_text(&at, command);
	facts->cgroup = put_text(&at, cgroup);
	return facts;
}

struct tl_facts *tl_facts_new(const struct tl_proc_info *info, const char *own_cgroup)
{
	char service[TL_SERVICE_NAME_MAX], command[sizeof(info->cmdline)];
	struct tl_facts *facts;

	tl_service_name(info, own_cgroup, service);
	/* The program's word only: what follows may hold passwords. */
	memcpy(command, info->cmdline, sizeof(command));
	command[strcspn(command, " ")] = '\0';
	facts = pack(service, info->exe, command, info->cgroup);
	if (!facts)
		return NULL;
	facts->uid = info->uid;
	facts->vpid = info->vpid;
	facts->own = true;
	return facts;
}

struct tl_facts *tl_facts_inherit(const struct tl_facts *facts)
{
	return facts ? pack(facts->service, facts->exe, facts->command, facts->cgroup) : NULL;
}

static void set_text(struct tl_attrs *attrs, const char *key, const char *value)
{
	if (value && value[0])
		tl_attr_set(attrs, key, tl_span_str(value));
}

/* Resources are maps of strings: numbers are written as text. */
static void set_number(struct tl_attrs *attrs, struct tl_arena *arena, const char *key,
		       uint32_t value)
{
	tl_attr_set(attrs, key, tl_arena_printf(arena, "%u", value));
}

static void set_cgroup(struct tl_attrs *attrs, struct tl_arena *arena, const char *cgroup)
{
	char container[72], pod[40];

	if (strcmp(cgroup, "/") != 0)
		set_text(attrs, "process.linux.cgroup", cgroup);
	if (tl_cgroup_container(cgroup, container))
		tl_attr_set(attrs, "container.id", tl_arena_copy(arena, tl_span_str(container)));
	if (tl_cgroup_pod(cgroup, pod))
		tl_attr_set(attrs, "k8s.pod.uid", tl_arena_copy(arena, tl_span_str(pod)));
}

void tl_facts_attributes(const struct tl_resource_of *of, struct tl_arena *arena,
			 struct tl_attrs *attrs)
{
	const struct tl_facts *facts = of->facts;
	const char *service = of->service, *program = of->comm;

	attrs->n = attrs->dropped = 0;
	if (facts && facts->exe[0])
		program = strrchr(facts->exe, '/') ? strrchr(facts->exe, '/') + 1 : facts->exe;
	if (!service)
		service = facts ? facts->service : of->comm;
	set_text(attrs, "service.name", service[0] ? service : "unknown_service");
	set_text(attrs, "host.name", of->host);
	set_number(attrs, arena, "process.pid", of->tgid);
	set_text(attrs, "process.executable.name", program);
	if (!facts)
		return;
	set_text(attrs, "process.executable.path", facts->exe);
	set_text(attrs, "process.command", facts->command);
	if (facts->own) {
		set_number(attrs, arena, "process.user.id", facts->uid);
		if (facts->vpid != of->tgid)
			set_number(attrs, arena, "process.vpid", facts->vpid);
	}
	set_cgroup(attrs, arena, facts->cgroup);
}
