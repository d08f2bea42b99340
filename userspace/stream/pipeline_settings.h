/* SPDX-License-Identifier: Apache-2.0 */
/* The pipeline's settings as option rows: the same in the stream worker and wherever a sink has the
 * pipeline in its own process. */
#ifndef TL_STREAM_PIPELINE_SETTINGS_H
#define TL_STREAM_PIPELINE_SETTINGS_H

#include <stddef.h>

#include "userspace/base/conf.h"
#include "userspace/stream/pipeline.h"

struct tl_pipeline_settings {
	const char *parser;
	struct tl_list services, drop, redact, set;
	uint64_t window_ns;
};

/* Option rows for a settings struct with a `struct tl_pipeline_settings` in `member_`. */
#define TL_PIPELINE_OPTIONS(type_, member_)                                                        \
	{.name = "parser",                                                                         \
	 .type = TL_OPT_STRING,                                                                    \
	 .offset = offsetof(type_, member_.parser),                                                \
	 .value = "auto",                                                                          \
	 .metavar = "NAME",                                                                        \
	 .help = "How lines are parsed: auto, json, access, logfmt, raw."},                        \
		{.name = "service-parser",                                                         \
		 .type = TL_OPT_LIST,                                                              \
		 .offset = offsetof(type_, member_.services),                                      \
		 .metavar = "SERVICE=PARSER",                                                      \
		 .help = "Another parser for the services whose service.name matches."},           \
		{.name = "drop",                                                                   \
		 .type = TL_OPT_LIST,                                                              \
		 .offset = offsetof(type_, member_.drop),                                          \
		 .metavar = "FIELD=GLOB",                                                          \
		 .help = "Drop records whose field (body, severity_text, resource.KEY, "           \
			 "attributes.KEY) matches; counted."},                                     \
		{.name = "redact",                                                                 \
		 .type = TL_OPT_LIST,                                                              \
		 .offset = offsetof(type_, member_.redact),                                        \
		 .metavar = "REGEX",                                                               \
		 .help = "Replace what matches in body and attributes by [redacted]."},            \
		{.name = "set",                                                                    \
		 .type = TL_OPT_LIST,                                                              \
		 .offset = offsetof(type_, member_.set),                                           \
		 .metavar = "resource.KEY=VALUE",                                                  \
		 .help = "Add a resource or attribute where it is absent."},                       \
	{                                                                                          \
		.name = "window", .type = TL_OPT_DURATION,                                         \
		.offset = offsetof(type_, member_.window_ns), .value = "10s", .metavar = "TIME",   \
		.help = "Width of the metrics' windows."                                           \
	}

/* What tl_pipeline_new takes, but for the output. Everything is borrowed from `settings`. */
static inline struct tl_pipeline_options
tl_pipeline_options_of(const struct tl_pipeline_settings *settings)
{
	return (struct tl_pipeline_options){
		.parser = settings->parser,
		.services = (const char *const *)settings->services.items,
		.n_services = settings->services.n,
		.drop = (const char *const *)settings->drop.items,
		.n_drop = settings->drop.n,
		.redact = (const char *const *)settings->redact.items,
		.n_redact = settings->redact.n,
		.set = (const char *const *)settings->set.items,
		.n_set = settings->set.n,
		.window_ns = settings->window_ns,
	};
}

#endif
