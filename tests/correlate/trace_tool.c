/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at recorded traces. usage: trace score|show|baselines TRACE...
 * score: what the correlation makes of each, by class. show: its events, one a line.
 * baselines: the same lines by the rules others use (baselines.h). */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "tests/correlate/baselines.h"
#include "tests/correlate/replay.h"

static const char *const how_names[] = TL_HOW_NAMES;
static const char *const why_names[] = TL_WHY_NAMES;

static void print_names(const char *const *names, const uint64_t *counts, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (counts[i] && names[i][0])
			printf(" %s=%llu", names[i], (unsigned long long)counts[i]);
	printf("\n");
}

static int score(struct tl_trace *trace)
{
	struct tl_replay_options options = {.verbose = true};
	struct tl_replay_result result;
	int r;

	if (!getenv("INLINE"))
		tl_replay_structure_only(&options.corr);
	r = tl_replay(trace, &options, &result);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < result.n; i++)
		printf("  %-16s right %6llu wrong %llu none %6llu\n", result.classes[i].name,
		       (unsigned long long)result.classes[i].right,
		       (unsigned long long)result.classes[i].wrong,
		       (unsigned long long)result.classes[i].none);
	printf("  how:");
	print_names(how_names, result.how, TL_HOWS);
	printf("  why:");
	print_names(why_names, result.why, TL_WHYS);
	return 0;
}

static void show_event(const struct tl_event *e)
{
	const struct tl_ev_wire *w = (const void *)e;
	const char *data = (const char *)(w + 1);

	printf("%llu %u/%u u%llu g%u ", (unsigned long long)e->time_ns, e->tgid, e->tid,
	       (unsigned long long)e->unit, e->lost_gen);
	switch (e->type) {
	case TL_EV_LOG:
		data = (const char *)((const struct tl_ev_log *)e + 1);
		printf("LOG ");
		break;
	case TL_EV_FILE:
		data = (const char *)((const struct tl_ev_file *)e + 1);
		printf("FILE ");
		break;
	case TL_EV_UNIT:
		printf("UNIT of %llu", (unsigned long long)((const struct tl_ev_unit *)e)->parent);
		break;
	case TL_EV_PROC:
		printf("PROC what %u parent %u", ((const struct tl_ev_proc *)e)->what,
		       ((const struct tl_ev_proc *)e)->parent);
		break;
	default:
		printf("%s %s sock %llx/%llu flags %x moved %llu ",
		       e->type == TL_EV_SOCK ? "SOCK" : "WIRE",
		       e->flags & TL_EVF_RECV ? "in" : "out",
		       (unsigned long long)w->sock & 0xffffff, (unsigned long long)w->sock_ino,
		       e->flags, (unsigned long long)w->call_len);
	}
	for (uint32_t i = 0; i < e->len && i < 400; i++)
		putchar(isprint((unsigned char)data[i]) ? data[i] : '.');
	putchar('\n');
}

static int show(struct tl_trace *trace)
{
	struct tl_trace_item item;
	int r;

	while ((r = tl_trace_next(trace, &item)) == 1) {
		if (item.kind == TL_TRACE_EVENT)
			show_event(item.event);
		else if (item.kind == TL_TRACE_SERVICE)
			printf("service of %u: %llx\n", item.tgid,
			       (unsigned long long)item.service);
	}
	return r;
}

int main(int argc, char **argv)
{
	int bad = 0;

	for (int i = 2; i < argc; i++) {
		struct tl_trace *trace = NULL;
		int r = tl_trace_open(argv[i], &trace);

		if (argc > 3)
			printf("%s\n", argv[i]);
		if (r == 0 && strcmp(argv[1], "score") == 0)
			r = score(trace);
		else if (r == 0 && strcmp(argv[1], "baselines") == 0)
			r = tl_baselines_print(trace);
		else if (r == 0)
			r = show(trace);
		if (r < 0)
			fprintf(stderr, "%s: %s\n", argv[i], strerror(-r));
		bad |= r < 0;
		tl_trace_free(trace);
	}
	if (argc < 3)
		fprintf(stderr, "usage: trace score|show|baselines TRACE...\n");
	return argc < 3 ? 2 : bad;
}
