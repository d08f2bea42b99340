/* SPDX-License-Identifier: Apache-2.0 */
/* A request is met by the first `x-gt:` in what a server's socket received (the load sends it, the
 * truth of a perfect parser); its answer is the first `HTTP/` that the socket sends afterwards. */
#include "tests/correlate/baselines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/correlate/replay.h"
#include "tests/correlate/sha256.h"
#include "userspace/base/map.h"

#define PENDING_MAX 512 /* bytes of a header under way: enough to find the begin of x-gt */

struct socket_state {
	char pending[PENDING_MAX];
	uint32_t len;
	uint32_t open; /* requests without an answer */
	char gt[16];
	uint32_t tgid;
};

struct process_state {
	uint32_t open;
	char gt[16]; /* of the newest */
};

struct bases {
	struct tl_map *sockets, *processes, *threads, *units;
	struct tl_baseline_result *result;
};

struct owner {
	uint64_t tgid, id;
};

static void met(struct bases *bases, const struct tl_ev_wire *event, struct socket_state *s,
		const char *gt)
{
	struct owner thread = {event->h.tgid, event->h.tid};
	struct owner unit = {event->h.tgid,
			     event->h.unit ? event->h.unit | 1ull << 63 : event->h.tid};
	struct process_state *process = tl_map_put(bases->processes, &event->h.tgid, NULL);

	memcpy(s->gt, gt, GT_LEN);
	s->open++;
	process->open++;
	memcpy(process->gt, gt, GT_LEN);
	memcpy(tl_map_put(bases->threads, &thread, NULL), gt, GT_LEN);
	memcpy(tl_map_put(bases->units, &unit, NULL), gt, GT_LEN);
}

/* Looks for x-gt in what came, headers in pieces too. */
static void received(struct bases *bases, const struct tl_ev_wire *event, struct socket_state *s,
		     const char *data)
{
	for (uint32_t i = 0; i < event->h.len; i++) {
		if (s->len == PENDING_MAX) {
			memmove(s->pending, s->pending + PENDING_MAX / 2, PENDING_MAX / 2);
			s->len = PENDING_MAX / 2;
		}
		s->pending[s->len++] = data[i];
		if (s->len >= GT_LEN + 8 && data[i] == '\r' &&
		    memcmp(s->pending + s->len - GT_LEN - 7, "x-gt: ", 6) == 0) {
			met(bases, event, s, s->pending + s->len - GT_LEN - 1);
			s->len = 0;
		}
	}
}

static void sent(struct bases *bases, const struct tl_ev_wire *event, struct socket_state *s,
		 const char *data)
{
	struct owner unit = {event->h.tgid,
			     event->h.unit ? event->h.unit | 1ull << 63 : event->h.tid};
	struct process_state *process = tl_map_get(bases->processes, &event->h.tgid);

	tl_map_del(bases->units, &unit);
	if (event->h.len < 12 || memcmp(data, "HTTP/1.1 1", 10) == 0 ||
	    memcmp(data, "HTTP/", 5) != 0)
		return;
	if (s->open && process && process->open) {
		s->open--;
		process->open--;
	}
}

static void on_event(void *arg, const struct tl_event *event)
{
	struct bases *bases = arg;
	const struct tl_ev_wire *wire = (const struct tl_ev_wire *)event;
	struct tl_sock_key key;
	struct socket_state *s;
	bool added = false;

	if (event->type != TL_EV_WIRE && event->type != TL_EV_SOCK)
		return;
	key = (struct tl_sock_key){wire->sock, wire->sock_ino};
	if (event->type == TL_EV_SOCK) {
		s = tl_map_get(bases->sockets, &key);
		if (s) {
			struct process_state *process = tl_map_get(bases->processes, &s->tgid);

			if (process)
				process->open -= s->open < process->open ? s->open : process->open;
			tl_map_del(bases->sockets, &key);
		}
		return;
	}
	s = tl_map_put(bases->sockets, &key, &added);
	if (!s)
		return;
	if (added)
		memset(s, 0, sizeof(*s));
	s->tgid = event->tgid;
	if (event->flags & TL_EVF_RECV)
		received(bases, wire, s, (const char *)(wire + 1));
	else
		sent(bases, wire, s, (const char *)(wire + 1));
}

static void judge(struct tl_baseline_result *result, const char *said, const char *gt)
{
	if (!said)
		result->none++;
	else if (strncmp(said, gt, GT_LEN) == 0)
		result->right++;
	else
		result->wrong++;
}

static void on_line(void *arg, const struct tl_line *line, const struct tl_attribution *attribution,
		    const char *class, const char *gt)
{
	struct bases *bases = arg;
	const struct tl_writer *w = &line->writer;
	struct owner thread = {w->tgid, w->tid};
	struct owner unit = {w->tgid, w->unit ? w->unit | 1ull << 63 : w->tid};
	struct process_state *process = tl_map_get(bases->processes, &w->tgid);

	(void)attribution;
	(void)class;
	judge(&bases->result[TL_BASE_TID], tl_map_get(bases->threads, &thread), gt);
	judge(&bases->result[TL_BASE_SINGLE], process && process->open == 1 ? process->gt : NULL,
	      gt);
	judge(&bases->result[TL_BASE_THREAD_IO], tl_map_get(bases->units, &unit), gt);
}

int tl_baselines(struct tl_trace *trace, struct tl_baseline_result ret[TL_BASELINES])
{
	struct bases bases = {
		.sockets = tl_map_new(sizeof(struct tl_sock_key), sizeof(struct socket_state),
				      1u << 20),
		.processes = tl_map_new(4, sizeof(struct process_state), 1u << 16),
		.threads = tl_map_new(sizeof(struct owner), 16, 1u << 20),
		.units = tl_map_new(sizeof(struct owner), 16, 1u << 20),
		.result = ret,
	};
	/* Off: nothing is held back, each line is judged at its own moment. */
	struct tl_replay_options options = {
		.corr.off = true, .line = on_line, .event = on_event, .arg = &bases};
	struct tl_replay_result result;
	int r = -ENOMEM;

	memset(ret, 0, TL_BASELINES * sizeof(*ret));
	if (bases.sockets && bases.processes && bases.threads && bases.units)
		r = tl_replay(trace, &options, &result);
	tl_map_free(bases.sockets);
	tl_map_free(bases.processes);
	tl_map_free(bases.threads);
	tl_map_free(bases.units);
	return r;
}

int tl_baselines_print(struct tl_trace *trace)
{
	static const char *const names[] = TL_BASELINE_NAMES;
	struct tl_baseline_result result[TL_BASELINES];
	int r = tl_baselines(trace, result);

	if (r < 0)
		return r;
	for (int i = 0; i < TL_BASELINES; i++)
		printf("%s\"%s\":{\"right\":%llu,\"wrong\":%llu,\"none\":%llu}", i ? "," : "{",
		       names[i], (unsigned long long)result[i].right,
		       (unsigned long long)result[i].wrong, (unsigned long long)result[i].none);
	printf("}\n");
	return 0;
}
