/* SPDX-License-Identifier: Apache-2.0 */
/* struct tl_facts: what /proc said of a process, thinned out to what a resource needs, as one block
 * of memory; and the resource made of it. Private to enrich.c. */
#ifndef TL_AGENT_ENRICH_FACTS_H
#define TL_AGENT_ENRICH_FACTS_H

#include "agent/inspector.h"
#include "userspace/record/record.h"

struct tl_facts {
	uint32_t uid, vpid;
	bool own; /* of this process; else of the parent that it is a copy of: uid and vpid unknown
		   */
	const char *service, *exe, *command, *cgroup; /* point into `text`; "" unknown */
	char text[];
};

/* Thins `info` out; the service's name is found with `own_cgroup` (service_name.h). The caller
 * frees. NULL: out of memory. */
struct tl_facts *tl_facts_new(const struct tl_proc_info *info, const char *own_cgroup);

/* A copy for a child that runs the same program. `facts` may be NULL: then NULL. */
struct tl_facts *tl_facts_inherit(const struct tl_facts *facts);

/* What a resource is made of; all borrowed. */
struct tl_resource_of {
	uint32_t tgid;
	const char *comm;
	const char *service; /* the name given, or NULL */
	const char *host;
	const struct tl_facts *facts; /* NULL: only the above is known */
};

/* Fills `attrs` (names of OpenTelemetry's semantic conventions); spans point into `of` and `arena`.
 */
void tl_facts_attributes(const struct tl_resource_of *of, struct tl_arena *arena,
			 struct tl_attrs *attrs);

#endif
