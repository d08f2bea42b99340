/* SPDX-License-Identifier: Apache-2.0 */
/* tl_enrich: the resource (service, host, process, container) of each process, interned under a
 * number that records carry. A resource is made at the process's first line, announced once per log
 * segment as a RESOURCE entry in front of the first record that uses it, and stays until its
 * process ended and was quiet for `linger_ns`. What can no longer be read because the process is
 * gone is taken from its events (pid, comm). One thread.
 *
 * service.name, first that applies: the name given; the container's or pod's name when known; the
 * systemd unit without
 * ".service"; the script of an interpreter (python3 app.py -> app, java -jar x.jar -> x, node
 * server.js -> server, also
 * `-m module`); the executable's base name. */
#ifndef TL_AGENT_ENRICH_H
#define TL_AGENT_ENRICH_H

#include "agent/inspector.h"
#include "agent/state.h"

struct tl_enrich;

struct tl_enrich_options {
	const char *service_name; /* NULL: found */
	const char *host_name;	  /* borrowed */
	size_t max; /* processes; past it the oldest ended one goes, else records share resource
		       "unknown" */
	uint64_t linger_ns; /* default 60 s */
};

struct tl_enrich *tl_enrich_new(const struct tl_enrich_options *options);
void tl_enrich_free(struct tl_enrich *enrich);
TL_DEFINE_CLEANUP(struct tl_enrich *, tl_enrich_free);

/* Fork, exec or selection: at least the comm is known. EXEC forgets what was learnt: the process is
 * another program now. */
void tl_enrich_seen(struct tl_enrich *enrich, const struct tl_ev_proc *event);

/* What /proc says of the process. */
void tl_enrich_learn(struct tl_enrich *enrich, uint32_t tgid, uint64_t start_ns,
		     const struct tl_proc_info *info);

/* True when tl_enrich_learn was called for this process (since its last exec). */
bool tl_enrich_known(const struct tl_enrich *enrich, uint32_t tgid, uint64_t start_ns);

void tl_enrich_exit(struct tl_enrich *enrich, uint32_t tgid, uint64_t start_ns);

/* Number of the writer's resource (start_ns 0: whichever process has this tgid). When the frame's
 * segment has not been told of it yet, adds its RESOURCE entry and TL_STATE_RESOURCE to `frame`
 * first. Never fails: number 0 is "unknown". */
uint32_t tl_enrich_resource(struct tl_enrich *enrich, const struct tl_writer *writer,
			    struct tl_frame *frame);

/* The attributes of a process's resource, or NULL; borrowed until the next call. For status and
 * tests. */
const struct tl_attrs *tl_enrich_attributes(const struct tl_enrich *enrich, uint32_t tgid,
					    uint64_t start_ns);

/* Checkpoint of a new segment: announces all live resources again. */
void tl_enrich_save(struct tl_enrich *enrich, struct tl_frame *frame);
/* Takes RESOURCE and TL_STATE_RESOURCE entries back. */
int tl_enrich_recover(struct tl_enrich *enrich, uint16_t type, struct tl_span data);
uint32_t tl_enrich_next_number(const struct tl_enrich *enrich);
void tl_enrich_set_next_number(struct tl_enrich *enrich, uint32_t number);

/* Drops ended processes that lingered long enough. */
void tl_enrich_tick(struct tl_enrich *enrich, uint64_t now_ns);

#endif
