/* SPDX-License-Identifier: Apache-2.0 */
/* tl_gate: the evidence for and against the rules of one service; private to correlate/. Evidence
 * of processes that run the same executable with the same command line is pooled. One contradiction
 * closes a rule for as long as the gate lives: a service's for ever, that of a process without a
 * known service until it ends. */
#ifndef TL_CORRELATE_GATE_H
#define TL_CORRELATE_GATE_H

#include "agent/correlate/corr.h"

/* Gives `proc` the gate of `service` (0: one of its own), and moves there what its own had
 * gathered. A full table leaves it NULL, counted. */
void tl_gate_join(struct tl_corr *corr, struct tl_cproc *proc, uint64_t service);

/* The process ends: its own gate goes, a service's stays. */
void tl_gate_leave(struct tl_corr *corr, struct tl_cproc *proc);

/* Evidence. The kind is that of the reader. A contradiction that closes a rule makes every holding
 * actor dirty. */
void tl_gate_confirm(struct tl_corr *corr, struct tl_gate *gate, enum tl_unit_kind kind);
void tl_gate_contradict(struct tl_corr *corr, struct tl_gate *gate, enum tl_unit_kind kind);
void tl_gate_contradict_inline(struct tl_corr *corr, struct tl_gate *gate);

/* The service's runtime has units: its threads are never believed. */
void tl_gate_units(struct tl_corr *corr, struct tl_gate *gate);

bool tl_gate_thread_open(const struct tl_corr *corr, const struct tl_gate *gate);
bool tl_gate_unit_open(const struct tl_gate *gate);
bool tl_gate_inline_open(const struct tl_gate *gate);

#endif
