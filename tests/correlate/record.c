/* SPDX-License-Identifier: Apache-2.0 */
/* The recorder, test-only: linked around the agent's worker (`-Wl,--wrap`), it writes what the
 * worker meets into the trace that TAPLINE_TRACE names, up to TAPLINE_TRACE_EVENTS (default
 * 200,000). A trace holds request headers as they came: of test traffic only. The product has no
 * such thing. */
#include <stdlib.h>

#include "agent/correlate/correlate.h"
#include "agent/worker_internal.h"
#include "tests/correlate/trace.h"

static struct tl_trace_writer *writer;
static uint64_t left, last_tick;
static bool opened;

void __real_tl_worker_event(struct tl_worker *worker, const struct tl_event *event);
void __wrap_tl_worker_event(struct tl_worker *worker, const struct tl_event *event);
void __real_tl_corr_service(struct tl_corr *corr, uint32_t tgid, uint64_t start_ns,
			    uint64_t service);
void __wrap_tl_corr_service(struct tl_corr *corr, uint32_t tgid, uint64_t start_ns,
			    uint64_t service);
uint64_t __real_tl_corr_tick(struct tl_corr *corr, uint64_t now_ns);
uint64_t __wrap_tl_corr_tick(struct tl_corr *corr, uint64_t now_ns);

static void close_trace(void)
{
	tl_trace_close(writer);
	writer = NULL;
}

static void open_trace(void)
{
	const char *path = getenv("TAPLINE_TRACE"), *max = getenv("TAPLINE_TRACE_EVENTS");

	opened = true;
	left = max ? strtoull(max, NULL, 10) : 200000;
	if (path)
		writer = tl_trace_create(path);
	atexit(close_trace);
}

static void record(const struct tl_trace_item *item)
{
	if (!opened)
		open_trace();
	if (writer && left && tl_trace_write(writer, item))
		left--;
}

void __wrap_tl_worker_event(struct tl_worker *worker, const struct tl_event *event)
{
	record(&(struct tl_trace_item){.kind = TL_TRACE_EVENT, .event = event});
	__real_tl_worker_event(worker, event);
}

void __wrap_tl_corr_service(struct tl_corr *corr, uint32_t tgid, uint64_t start_ns,
			    uint64_t service)
{
	record(&(struct tl_trace_item){
		.kind = TL_TRACE_SERVICE, .tgid = tgid, .start_ns = start_ns, .service = service});
	__real_tl_corr_service(corr, tgid, start_ns, service);
}

uint64_t __wrap_tl_corr_tick(struct tl_corr *corr, uint64_t now_ns)
{
	/* A silent trace needs no more of them than holds need. */
	if (now_ns > last_tick + 20000000) {
		record(&(struct tl_trace_item){.kind = TL_TRACE_TICK, .now_ns = now_ns});
		last_tick = now_ns;
	}
	return __real_tl_corr_tick(corr, now_ns);
}
