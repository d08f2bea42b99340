/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/cli/filter.h"

#include <stdio.h>

#include "userspace/base/clock.h"
#include "userspace/cli/cli.h"

#define OUT_BYTES ((size_t)64 << 10)

const char *const tl_filter_outputs[] = {"text", "json", NULL};

static int add_times(const struct tl_filter_settings *settings, struct tl_query *query,
		     struct tl_error *error)
{
	uint64_t now = tl_wall_ns();
	int r = settings->since ? tl_query_time(settings->since, now, &query->since_ns, error) : 0;

	if (r == 0 && settings->until)
		r = tl_query_time(settings->until, now, &query->until_ns, error);
	return r;
}

int tl_filter_query(const struct tl_filter_settings *settings, int n, char **argv,
		    struct tl_query *ret_query, struct tl_error *error)
{
	struct tl_query query = {.after = -1, .exchanges = settings->http};
	int r = add_times(settings, &query, error);

	if (r == 0 && settings->id)
		r = tl_query_id(&query, settings->id, error);
	if (r == 0 && settings->service)
		r = tl_query_condition(&query, "service", TL_IS, settings->service, error);
	if (r == 0 && settings->severity)
		r = tl_query_condition(&query, "severity", TL_AT_LEAST, settings->severity, error);
	for (int i = 0; r == 0 && i < n; i++)
		r = tl_query_argument(&query, argv[i], error);
	if (r == 0)
		*ret_query = query;
	return r;
}

void tl_filter_store(const struct tl_filter_settings *settings, char *out, size_t size)
{
	if (settings->store)
		snprintf(out, size, "%s", settings->store);
	else
		tl_cli_store_path(out, size);
}

void tl_printer_init(struct tl_printer *printer, const struct tl_filter_settings *settings,
		     bool with_date)
{
	memset(printer, 0, sizeof(*printer));
	printer->output = settings->output;
	printer->http = settings->http;
	printer->format.colour = tl_format_colours(STDOUT_FILENO);
	printer->format.date = with_date;
}

static void add_text(struct tl_printer *printer, struct tl_span json)
{
	tl_arena_reset(&printer->arena);
	tl_record_reset(&printer->record);
	if (tl_record_from_json(json, &printer->arena, &printer->record, NULL) < 0) {
		/* Not made by us: better seen raw than hidden. */
		tl_buf_add(&printer->out, json.data, json.len);
		tl_buf_putc(&printer->out, '\n');
		return;
	}
	if (printer->http)
		tl_format_exchange(&printer->format, &printer->record, &printer->out);
	else
		tl_format_record(&printer->format, &printer->record, &printer->out);
}

void tl_printer_add(struct tl_printer *printer, struct tl_span json)
{
	if (printer->output == TL_FILTER_TEXT) {
		add_text(printer, json);
	} else {
		tl_buf_add(&printer->out, json.data, json.len);
		tl_buf_putc(&printer->out, '\n');
	}
	if (printer->out.len >= OUT_BYTES)
		tl_printer_flush(printer);
}

void tl_printer_flush(struct tl_printer *printer)
{
	size_t at = 0;

	while (at < printer->out.len && !printer->gone) {
		ssize_t n = write(STDOUT_FILENO, printer->out.data + at, printer->out.len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			printer->gone = true;
		else
			at += (size_t)n;
	}
	tl_buf_clear(&printer->out);
}

void tl_printer_done(struct tl_printer *printer)
{
	tl_buf_done(&printer->out);
	tl_arena_done(&printer->arena);
}
