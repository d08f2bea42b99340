/* SPDX-License-Identifier: Apache-2.0 */
/* `tapline search`: asks a store. The newest records that match are found first and printed last,
 * next to the prompt. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "userspace/base/msg.h"
#include "userspace/cli/cli.h"
#include "userspace/cli/filter.h"

#define FIELD(member) offsetof(struct settings, member)
#define ORDERED_MAX 100000 /* rows held to be turned round */

enum order { ORDER_NEWEST, ORDER_OLDEST };

struct settings {
	struct tl_filter_settings filter;
	int64_t limit;
	int order;
};

struct found {
	struct tl_printer *printer;
	struct tl_buf text; /* rows one after the other, of which ... */
	size_t *ends;	    /* ... each one's end */
	size_t n, cap;
	size_t printed;
	bool at_once;
};

static const char *const orders[] = {"newest", "oldest", NULL};

static const struct tl_option options[] = {
	TL_FILTER_OPTIONS(struct settings, filter),
	{.name = "limit",
	 .type = TL_OPT_INT,
	 .offset = FIELD(limit),
	 .value = "100",
	 .min = 0,
	 .max = INT64_C(1) << 40,
	 .letter = 'n',
	 .metavar = "N",
	 .help = "At most so many; 0 is no limit."},
	{.name = "order",
	 .type = TL_OPT_ENUM,
	 .offset = FIELD(order),
	 .value = "newest",
	 .choices = orders,
	 .help = "Which ones where there are more than the limit: the newest, or the oldest."},
	{.name = NULL},
};

const struct tl_conf_spec tl_search_spec = {
	.program = "tapline search",
	.section = "search",
	.usage = "tapline search [WORD | \"PHRASE\" | FIELD=VALUE]... [options]",
	.about =
		"Finds records in a store. All words must be in the line: word* finds what begins "
		"so, !word what has it not, "
		"several words in one argument are a phrase. Fields are compared by = != ~ (with * "
		"and ?) >= <= > <: service, "
		"severity, id, trace_id, how, and any attribute by its name. What is in double "
		"quotes is never a field.\n\n"
		"  tapline search timeout --since 10m\n"
		"  tapline search 'connection reset' service=cart 'severity>=warn'\n"
		"  tapline search --id 8d0c3f1a                         every line of one request\n"
		"  tapline search --http 'http.response.status_code>=500' -o json",
	.options = options,
};

static int keep_row(struct found *found, const struct tl_row *row)
{
	if (found->n == found->cap) {
		size_t cap = found->cap ? found->cap * 2 : 256,
		       *ends = realloc(found->ends, cap * sizeof(*ends));

		if (!ends)
			return -ENOMEM;
		found->ends = ends;
		found->cap = cap;
	}
	if (tl_buf_add(&found->text, row->json.data, row->json.len) < 0)
		return -ENOMEM;
	found->ends[found->n++] = found->text.len;
	return 0;
}

static int on_row(void *arg, const struct tl_row *row)
{
	struct found *found = arg;

	if (!found->at_once)
		return keep_row(found, row);
	found->printed++;
	tl_printer_add(found->printer, row->json);
	return found->printer->gone;
}

static void print_kept(struct found *found)
{
	while (found->n) {
		size_t begin = found->n > 1 ? found->ends[found->n - 2] : 0;

		tl_printer_add(found->printer, (struct tl_span){found->text.data + begin,
								found->ends[found->n - 1] - begin});
		found->n--;
		found->printed++;
	}
}

/* A text like n=5 was taken as a field where a person may have meant it as it stands. */
static void tell_nothing(const struct tl_query *query, int n, char **words)
{
	struct tl_query typed = {0};

	for (int i = 0; i < n; i++)
		(void)tl_query_argument(&typed, words[i], NULL);
	if (typed.n_conditions)
		tl_msg(TL_INFO,
		       "nothing found (`%.*s` was taken as a field; '\"...\"' finds the text as it "
		       "stands)",
		       (int)typed.conditions[0].field.len, typed.conditions[0].field.data);
	else
		tl_msg(TL_INFO, "nothing found%s",
		       query->since_ns || query->until_ns ? " in this time" : "");
}

static int search(const struct settings *settings, int n, char **words, struct found *found,
		  struct tl_error *error)
{
	_cleanup_(tl_store_reader_closep) struct tl_store_reader *reader = NULL;
	struct tl_query query;
	char path[4096];
	int r = tl_filter_query(&settings->filter, n, words, &query, error);

	if (r < 0)
		return r;
	query.limit = (size_t)settings->limit;
	found->at_once =
		settings->order == ORDER_OLDEST || !query.limit || query.limit > ORDERED_MAX;
	if (found->at_once)
		query.after = 0;
	tl_filter_store(&settings->filter, path, sizeof(path));
	r = tl_store_reader_open(path, &reader, error);
	if (r < 0)
		return r;
	r = tl_store_query(reader, &query, on_row, found, error);
	if (r < 0)
		return r == -ENOMEM ? tl_error_set(error, r, "out of memory") : r;
	print_kept(found);
	tl_printer_flush(found->printer);
	if (!found->printed)
		tell_nothing(&query, n, words);
	return 0;
}

int tl_search_main(int argc, char **argv)
{
	static struct tl_printer printer;
	struct found found = {.printer = &printer};
	struct settings settings = {0};
	struct tl_conf *conf = NULL;
	struct tl_error error = {0};
	int rest, r;

	tl_msg_init("tapline", TL_INFO);
	r = tl_cli_load(&tl_search_spec, argc, argv, &settings, &conf, &rest);
	if (r)
		return r - 1;
	signal(SIGPIPE, SIG_IGN);
	tl_printer_init(&printer, &settings.filter, true);
	r = search(&settings, argc - rest, argv + rest, &found, &error);
	if (r < 0)
		tl_msg(TL_ERROR, "%s", error.message);
	tl_printer_done(&printer);
	tl_buf_done(&found.text);
	free(found.ends);
	tl_conf_free(conf);
	return r < 0 ? (r == -EINVAL || r == -E2BIG ? 2 : 1) : 0;
}
