/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded traces of the correlation bench: the events of the ring as the worker met them, and what
 * it learned beside (services, the passing of time). The truth is in them: the ids in the requests'
 * bytes, the gt in the lines. Test-only: the agent has no way to write one;
 * tests/correlate/record.c is linked around it.
 *
 * Format: "TLTRACE1", then items: length, kind, fields, data; all numbers varints. A struct's
 * fields are preceded by their number and come in the order of the tables in trace.c: a field that
 * an event gains later is appended there, and is 0 in older traces. 64-bit values that come again
 * and again (sockets, start times, units) are an index into those seen so far. */
#ifndef TL_TESTS_CORRELATE_TRACE_H
#define TL_TESTS_CORRELATE_TRACE_H

#include <stdio.h>

#include "bpf/event.h"
#include "userspace/base/buf.h"

enum tl_trace_kind {
	TL_TRACE_EVENT = 1,
	TL_TRACE_SERVICE, /* tgid, start_ns, hash */
	TL_TRACE_TICK,	  /* now_ns */
};

struct tl_trace_item {
	enum tl_trace_kind kind;
	const struct tl_event *event; /* EVENT: the struct of its type, data behind it; valid until
					 the next item */
	uint32_t tgid;
	uint64_t start_ns, service, now_ns;
};

/* --- writing --- */

struct tl_trace_writer;

/* Makes the file. NULL: errno. */
struct tl_trace_writer *tl_trace_create(const char *path);
/* Appends one item; false: the file could not be written. */
bool tl_trace_write(struct tl_trace_writer *writer, const struct tl_trace_item *item);
void tl_trace_close(struct tl_trace_writer *writer);

/* --- reading --- */

struct tl_trace;

/* Reads a whole trace, zstd-compressed or not. Errors: -ENOENT and the like, -EBADMSG, -ENOMEM. */
int tl_trace_open(const char *path, struct tl_trace **ret_trace);
/* Returns 1 with an item, 0 at the end, -EBADMSG. */
int tl_trace_next(struct tl_trace *trace, struct tl_trace_item *ret_item);
void tl_trace_rewind(struct tl_trace *trace);
void tl_trace_free(struct tl_trace *trace);

#endif
