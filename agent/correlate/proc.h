/* SPDX-License-Identifier: Apache-2.0 */
/* tl_cproc: what is known of a process; private to correlate/. */
#ifndef TL_CORRELATE_PROC_H
#define TL_CORRELATE_PROC_H

#include "agent/correlate/corr.h"

/* The process, or NULL when it is not known. */
struct tl_cproc *tl_cproc_find(const struct tl_corr *corr, uint32_t tgid, uint64_t start_ns);

/* The process, made when it is not known; an earlier one of the same id has ended then. NULL when
 * the table is full, counted. */
struct tl_cproc *tl_cproc_get(struct tl_corr *corr, uint32_t tgid, uint64_t start_ns);

/* Takes notice of the process's count of refused events. A growth ends all that was open of it, and
 * the framing of its connections with it. */
void tl_cproc_gen(struct tl_corr *corr, struct tl_cproc *proc, uint32_t lost_gen);

/* Ends what is open of the process; `why` is told to later lines. */
void tl_cproc_break(struct tl_corr *corr, struct tl_cproc *proc, enum tl_why why);

/* A table was full: what the process serves may be unknown from here on. */
void tl_cproc_blind(struct tl_corr *corr, struct tl_cproc *proc);

void tl_cproc_exec(struct tl_corr *corr, struct tl_cproc *proc, uint64_t service);
void tl_cproc_exit(struct tl_corr *corr, struct tl_cproc *proc);

/* References keep a dead process until the last line about it can have come. */
void tl_cproc_ref(struct tl_cproc *proc);
void tl_cproc_unref(struct tl_corr *corr, struct tl_cproc *proc);

void tl_cproc_free_all(struct tl_corr *corr);

#endif
