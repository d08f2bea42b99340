/* SPDX-License-Identifier: Apache-2.0 */
/* The sinks of a run: `tapline sink TYPE --log-dir ...` as children, each a reader of the local log
 * with a position of its own, so that one that is slow or away holds up nobody else. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/clock.h"
#include "userspace/base/msg.h"
#include "userspace/cli/run.h"
#include "userspace/sink/main.h"
#include "userspace/sink/sink.h"

#define GRACE_NS (3 * TL_SEC)

static int add(struct tl_run_sink *sink, const char *word, size_t len, struct tl_error *error)
{
	if (sink->n == ARRAY_SIZE(sink->words) - 1)
		return tl_error_set(error, -EINVAL, "--sink: more than %zu words",
				    ARRAY_SIZE(sink->words) - 1);
	sink->words[sink->n] = strndup(word, len);
	if (!sink->words[sink->n])
		return tl_error_set(error, -ENOMEM, "out of memory");
	sink->n++;
	return 0;
}

static int add_text(struct tl_run_sink *sink, const char *word, struct tl_error *error)
{
	return add(sink, word, strlen(word), error);
}

/* Takes one word off `*at` as a shell would: '...' as it is, "..." and \ with escapes. Returns its
 * length in `out`, -1 at the end, -2 an open quote. `out` has room for the text. */
static ssize_t take_word(const char **at, char *out)
{
	const char *p = *at + strspn(*at, " \t\n");
	ssize_t n = 0;
	char quote = 0;

	if (!*p)
		return -1;
	for (; *p && (quote || !strchr(" \t\n", *p)); p++) {
		if (quote ? *p == quote : *p == '\'' || *p == '"') {
			quote = quote ? 0 : *p;
			continue;
		}
		if (*p == '\\' && quote != '\'' && p[1])
			p++;
		out[n++] = *p;
	}
	*at = p;
	return quote ? -2 : n;
}

static int add_words(struct tl_run_sink *sink, const char *text, struct tl_error *error)
{
	char *word = malloc(strlen(text) + 1);
	ssize_t n = 0;
	int r = word ? 0 : tl_error_set(error, -ENOMEM, "out of memory");

	while (r == 0 && (n = take_word(&text, word)) >= 0)
		r = add(sink, word, (size_t)n, error);
	free(word);
	if (r == 0 && n == -2)
		r = tl_error_set(error, -EINVAL, "--sink: a quote is not closed");
	return r;
}

/* What every sink of a run is told behind its own words. */
static int finish_words(struct tl_run *run, struct tl_run_sink *sink, struct tl_error *error)
{
	char log[4200], name[32], drain[32];
	const char *parser = run->settings.parser;
	const char *const words[] = {"--log-dir", log,	     "--group",	    name, "--log-drain",
				     drain,	  "--quiet", "--until-end", NULL};
	int r = 0;

	snprintf(log, sizeof(log), "%s/log", run->dir);
	snprintf(name, sizeof(name), "run-%zu", run->n_sinks);
	snprintf(drain, sizeof(drain), "%llums",
		 (unsigned long long)(run->settings.drain_ns / TL_MS));
	if (sink->n < 3 || !tl_sink_find(sink->words[2]))
		return tl_error_set(error, -EINVAL,
				    "--sink: there is no sink `%s` (tapline sink --help)",
				    sink->n < 3 ? "" : sink->words[2]);
	sink->type = sink->words[2];
	for (size_t i = 0; r == 0 && words[i]; i++)
		r = add_text(sink, words[i], error);
	/* Without a choice the list's is left alone. */
	if (r == 0 && strcmp(parser, "auto") != 0) {
		r = add_text(sink, "--parser", error);
		r = r < 0 ? r : add_text(sink, parser, error);
	}
	return r;
}

static struct tl_run_sink *begin_words(struct tl_run *run, struct tl_error *error)
{
	struct tl_run_sink *sink = &run->sinks[run->n_sinks];

	if (run->n_sinks == TL_RUN_SINKS_MAX) {
		tl_error_set(error, -EINVAL, "more than %d sinks", TL_RUN_SINKS_MAX);
		return NULL;
	}
	run->n_sinks++;
	if (add_text(sink, "tapline", error) < 0 || add_text(sink, "sink", error) < 0)
		return NULL;
	return sink;
}

/* `text` is "TYPE OPTIONS"; `value` (may be NULL) is one more word, taken as it is. */
static int prepare(struct tl_run *run, const char *text, const char *value, struct tl_error *error)
{
	struct tl_run_sink *sink = begin_words(run, error);
	int r = sink ? add_words(sink, text, error) : error->code;

	if (r == 0 && value)
		r = add_text(sink, value, error);
	return r < 0 ? r : finish_words(run, sink, error);
}

/* The list sinks: of the file. */
static int prepare_list(struct tl_run *run, struct tl_error *error)
{
	char types[TL_RUN_SINKS_MAX][TL_CONF_TYPE_MAX], number[16];
	int n = run->config ? tl_conf_list(run->config, "sinks", types, TL_RUN_SINKS_MAX, error)
			    : 0;
	int r = n < 0 ? n : 0;

	for (int i = 0; r == 0 && i < n; i++) {
		const char *const words[] = {types[i],	       "--config", run->config,
					     "--config-entry", number,	   NULL};
		struct tl_run_sink *sink = begin_words(run, error);

		snprintf(number, sizeof(number), "%d", i);
		r = sink ? 0 : error->code;
		for (size_t k = 0; r == 0 && words[k]; k++)
			r = add_text(sink, words[k], error);
		r = r < 0 ? r : finish_words(run, sink, error);
	}
	return r;
}

int tl_run_start_sinks(struct tl_run *run, struct tl_error *error)
{
	const struct tl_list *list = &run->settings.sinks;
	int r = run->settings.otlp ? prepare(run, "otlp --url", run->settings.otlp, error) : 0;

	for (size_t i = 0; r == 0 && i < list->n; i++)
		r = prepare(run, list->items[i], NULL, error);
	r = r < 0 ? r : prepare_list(run, error);
	for (size_t i = 0; r == 0 && i < run->n_sinks; i++) {
		run->sinks[i].pid = tl_run_start_self(run->sinks[i].words);
		if (run->sinks[i].pid < 0)
			r = tl_error_set(error, -errno, "cannot start the sink %s: %s",
					 run->sinks[i].type, strerror(errno));
	}
	return r;
}

bool tl_run_sink_ended(struct tl_run *run, pid_t pid, int status)
{
	for (size_t i = 0; i < run->n_sinks; i++) {
		struct tl_run_sink *sink = &run->sinks[i];

		if (sink->pid != pid)
			continue;
		sink->pid = 0;
		sink->status = status ? status : -1;
		tl_msg(TL_ERROR,
		       "the sink %s ended (it said why above); the run goes on without it",
		       sink->type);
		return true;
	}
	return false;
}

/* Words that a shell reads as one. */
static void print_words(const struct tl_run_sink *sink, struct tl_buf *out)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "-_./:=,@%+";

	for (size_t i = 0; i < sink->n; i++) {
		const char *word = sink->words[i];
		bool bare = *word && strspn(word, plain) == strlen(word);

		if (strcmp(word, "--until-end") == 0)
			continue;
		tl_buf_printf(out, bare ? "%s%s" : "%s'%s'", i ? " " : "", word);
	}
	tl_buf_putc(out, 0);
}

/* A sink ends by itself at the end of the closed log. Past the deadline it is asked to, twice means
 * at once, and then made to. */
static void await_end(struct tl_run_sink *sink, uint64_t deadline_ns)
{
	const struct timespec nap = {0, 20 * (long)TL_MS};

	while (sink->pid > 0) {
		pid_t pid = waitpid(sink->pid, &sink->status, WNOHANG);
		uint64_t now = tl_mono_ns();

		if (pid == sink->pid || (pid < 0 && errno != EINTR)) {
			sink->pid = 0;
			return;
		}
		if (now >= deadline_ns)
			kill(sink->pid, now < deadline_ns + GRACE_NS ? SIGTERM : SIGKILL);
		nanosleep(&nap, NULL);
	}
}

bool tl_run_end_sinks(struct tl_run *run)
{
	uint64_t deadline_ns = tl_mono_ns() + run->settings.drain_ns;
	bool all = true;

	/* An agent that did not end well has not closed its log: they would wait for more. */
	for (size_t i = 0; i < run->n_sinks; i++)
		if (run->sinks[i].pid > 0 && run->agent_status)
			kill(run->sinks[i].pid, SIGTERM);
	for (size_t i = 0; i < run->n_sinks; i++) {
		struct tl_run_sink *sink = &run->sinks[i];
		struct tl_buf words = {0};

		await_end(sink, deadline_ns);
		if (sink->status == 0)
			continue;
		all = false;
		print_words(sink, &words);
		tl_msg(TL_WARNING,
		       "%s did not take everything. It is kept in %s; to send the rest: %s",
		       sink->type, run->dir, words.failed ? "tapline sink" : words.data);
		tl_buf_done(&words);
	}
	return all;
}
