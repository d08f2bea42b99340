/* SPDX-License-Identifier: Apache-2.0 */
/* What search and tail have in common: which records, and how they are printed. */
#ifndef TL_CLI_FILTER_H
#define TL_CLI_FILTER_H

#include "userspace/base/conf.h"
#include "userspace/cli/format.h"
#include "userspace/store/query.h"

enum tl_filter_output { TL_FILTER_TEXT, TL_FILTER_JSON };

struct tl_filter_settings {
	const char *store, *since, *until, *id, *service, *severity;
	int output;
	bool http;
};

extern const char *const tl_filter_outputs[];

#define TL_FILTER_OPTIONS(type_, member_)                                                          \
	{.name = "output",                                                                         \
	 .type = TL_OPT_ENUM,                                                                      \
	 .offset = offsetof(type_, member_.output),                                                \
	 .value = "text",                                                                          \
	 .choices = tl_filter_outputs,                                                             \
	 .letter = 'o',                                                                            \
	 .help = "text for people, json: one record a line."},                                     \
		{.name = "since",                                                                  \
		 .type = TL_OPT_STRING,                                                            \
		 .offset = offsetof(type_, member_.since),                                         \
		 .metavar = "TIME",                                                                \
		 .help = "From this time on: 10m, 2h (ago), 14:30, 2026-11-23, or RFC 3339."},     \
		{.name = "until",                                                                  \
		 .type = TL_OPT_STRING,                                                            \
		 .offset = offsetof(type_, member_.until),                                         \
		 .metavar = "TIME",                                                                \
		 .help = "Before this time."},                                                     \
		{.name = "id",                                                                     \
		 .type = TL_OPT_STRING,                                                            \
		 .offset = offsetof(type_, member_.id),                                            \
		 .metavar = "ID",                                                                  \
		 .help = "Records of one request: its request id or trace id."},                   \
		{.name = "service",                                                                \
		 .type = TL_OPT_STRING,                                                            \
		 .offset = offsetof(type_, member_.service),                                       \
		 .metavar = "NAME",                                                                \
		 .help = "Records of one service."},                                               \
		{.name = "severity",                                                               \
		 .type = TL_OPT_STRING,                                                            \
		 .offset = offsetof(type_, member_.severity),                                      \
		 .metavar = "LEVEL",                                                               \
		 .help = "At least so severe: debug, info, warn, error."},                         \
		{.name = "store",                                                                  \
		 .type = TL_OPT_STRING,                                                            \
		 .offset = offsetof(type_, member_.store),                                         \
		 .metavar = "FILE",                                                                \
		 .env = "TAPLINE_STORE",                                                           \
		 .help = "The store to read. Default: tapline.db in ~/.local/state/tapline."},     \
	{                                                                                          \
		.name = "http", .type = TL_OPT_BOOL, .offset = offsetof(type_, member_.http),      \
		.value = "false", .help = "HTTP exchanges instead of log records."                 \
	}

/* Makes the query of the settings and the words `argv` (n of them), which must outlive it. Errors:
 * -EINVAL, -E2BIG. */
int tl_filter_query(const struct tl_filter_settings *settings, int n, char **argv,
		    struct tl_query *ret_query, struct tl_error *error);

/* The store to read: the settings' or the usual one. */
void tl_filter_store(const struct tl_filter_settings *settings, char *out, size_t size);

/* Prints records to stdout. */
struct tl_printer {
	struct tl_format format;
	int output; /* enum tl_filter_output */
	bool http;
	bool gone; /* nobody reads stdout any more */
	struct tl_buf out;
	struct tl_arena arena;
	struct tl_record record; /* the last one read */
};

/* `with_date`: the records may be of other days. */
void tl_printer_init(struct tl_printer *printer, const struct tl_filter_settings *settings,
		     bool with_date);
/* Adds a record to what tl_printer_flush writes. */
void tl_printer_add(struct tl_printer *printer, struct tl_span json);
/* Writes what was added. Sets `gone` when nobody reads it. */
void tl_printer_flush(struct tl_printer *printer);
void tl_printer_done(struct tl_printer *printer);

#endif
