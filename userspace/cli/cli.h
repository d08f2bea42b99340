/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands of `tapline`: each takes argv from its own name on and returns the exit status (0
 * ok, 1 failed, 2 wrong usage, 77 missing privileges; `run` passes its command's status on). A
 * subcommand is one file and one line in tapline.c. */
#ifndef TL_CLI_CLI_H
#define TL_CLI_CLI_H

#include "userspace/base/conf.h"

struct tl_command {
	const char *name;
	const char *about; /* one line for `tapline --help` */
	int (*main)(int argc, char **argv);
	const struct tl_conf_spec
		*spec; /* for config check, man pages and docs/configuration.md; NULL none */
	bool hidden;
};

extern const struct tl_command tl_commands[]; /* ends with a NULL name */

int tl_run_main(int argc, char **argv);
int tl_pipeline_main(int argc, char **argv);
int tl_tail_main(int argc, char **argv);
int tl_search_main(int argc, char **argv);
int tl_status_main(int argc, char **argv);
int tl_config_main(int argc, char **argv);
int tl_web_main(int argc, char **argv);
int tl_unload_main(int argc, char **argv);

extern const struct tl_conf_spec tl_run_spec, tl_pipeline_spec, tl_tail_spec, tl_search_spec,
	tl_status_spec, tl_web_spec, tl_unload_spec;

/* Prints the Markdown file with what lies between its marks made anew from the descriptors of the
 * sinks: "<!-- settings of NAME -->" and "<!-- end of settings -->" stand on lines of their own.
 * Returns the exit status. */
int tl_config_page(const char *path);

/* Loads `settings` by `spec` and prints what is wrong. Returns 0 to go on, else the exit status + 1
 * (--help: 1). */
int tl_cli_load(const struct tl_conf_spec *spec, int argc, char **argv, void *settings,
		struct tl_conf **ret_conf, int *ret_rest);

/* Where `tapline run` keeps its store, and search, tail and web look for it when nothing is named:
 * $TAPLINE_STORE, else tapline.db in $XDG_STATE_HOME/tapline (~/.local/state/tapline). Writes a
 * NUL-terminated path. */
void tl_cli_store_path(char *out, size_t size);

#endif
