/* SPDX-License-Identifier: Apache-2.0 */
/* tl_gate: the evidence for and against the rules of one service; private to correlate/. Evidence
 * of processes that run the same executable with the same command line is pooled. One contradiction
 * closes a rule for as long as the gate lives: a service's for ever, that of a process without a
 * known service until it ends.
 *
 * A thread that reads and answers one request at a time may be one of many that do (its lines are
 * the request's), or an event loop with little to do (they need not be). Only requests that overlap
 * in one process tell them apart, and that is what confirms `thread`. Without overlap (processes of
 * one thread each; one client) the rule is *straight*: gate_confirms answers by their readers, and
 * then for those requests during which the thread made no call in which it could be given other
 * work, which an event loop does between any two things.
 *
 * Open from the start: `unit` where the runtime gives each request a unit of its own (goroutines),
 * and `inline-token`. `tail` is proved by the form of the line (template.h). The others open at
 * gate_confirms confirmations. */
#ifndef TL_CORRELATE_GATE_H
#define TL_CORRELATE_GATE_H

#include "agent/correlate/corr.h"

/* Gives `proc` the gate of `service` (0: one of its own), and moves there what its own had
 * gathered. A full table leaves it NULL, counted. */
void tl_gate_join(struct tl_corr *corr, struct tl_cproc *proc, uint64_t service);

/* The process ends: its own gate goes, a service's stays. */
void tl_gate_leave(struct tl_corr *corr, struct tl_cproc *proc);

/* Evidence about a rule. A contradiction makes every holding actor dirty. */
void tl_gate_confirm(struct tl_corr *corr, struct tl_gate *gate, enum tl_how rule);
void tl_gate_contradict(struct tl_corr *corr, struct tl_gate *gate, enum tl_how rule);

/* A unit of this kind was seen. Where units are, threads are never believed. */
void tl_gate_units(struct tl_corr *corr, struct tl_gate *gate, uint8_t kind);

/* Whether the level may speak at all: switched on, and the gate open for it. `gate` may be NULL. */
bool tl_gate_open(const struct tl_corr *corr, const struct tl_gate *gate, enum tl_how rule);
enum tl_gate_state tl_gate_state(const struct tl_corr *corr, const struct tl_gate *gate,
				 enum tl_how rule);

/* The switch alone. */
bool tl_level_on(const struct tl_corr *corr, enum tl_how rule);

/* Whether the runtime gives each request a unit of its own, which then is its owner without proof,
 * and its threads mean nothing. */
bool tl_unit_is_own(uint8_t unit_kind);

/* The one-sided and the two-sided rule for actors of this kind. */
enum tl_how tl_rule_of(uint8_t unit_kind);
enum tl_how tl_bracket_of(uint8_t unit_kind);

#endif
