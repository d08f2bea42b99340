/* SPDX-License-Identifier: Apache-2.0 */
/* tl_learn: finds out how the execution unit of each process is read, and has what is probed in it
 * attached. Looks at a process when it appears (its executable), when it begins to serve (its
 * modules), and again later while it has not become clear, more and more rarely. Bounded: processes
 * past TL_LEARN_MAX keep their threads as units. The worker's thread only. */
#ifndef TL_AGENT_LEARN_H
#define TL_AGENT_LEARN_H

#include "agent/inspector.h"

#define TL_LEARN_MAX 32768

struct tl_learn;

/* Which sets of probes (enum tl_probe_set) `text` wants: "auto", "off", or a list with commas of
 * go, python, tls. Errors: -EINVAL. */
int tl_learn_sets(const char *text, unsigned *ret_sets, struct tl_error *error);

/* `inspector` is the worker's end of the pair, borrowed. NULL: out of memory. */
struct tl_learn *tl_learn_new(int inspector, unsigned sets);
void tl_learn_free(struct tl_learn *learn);
TL_DEFINE_CLEANUP(struct tl_learn *, tl_learn_free);

/* The process appeared, forked or executed: what was known of it is over. `exe_fd` may be -1. */
void tl_learn_process(struct tl_learn *learn, const struct tl_event *event, const char *comm,
		      int exe_fd);

/* It moves bytes on sockets that are watched (WIRE), or speaks TLS. Cheap when nothing is due.
 * False: it is not known; call tl_learn_process. */
bool tl_learn_serves(struct tl_learn *learn, const struct tl_event *event);

void tl_learn_exit(struct tl_learn *learn, uint32_t tgid);

struct tl_learn_usage {
	uint64_t attached; /* probes, ever */
	uint64_t failed;   /* refused by the kernel or the inspector, ever */
	uint64_t refused;  /* processes whose unit cannot be read, ever */
	uint64_t full;	   /* processes not looked at */
	int last_error;	   /* of a failed one; 0 none */
};
void tl_learn_usage(const struct tl_learn *learn, struct tl_learn_usage *ret);

#endif
