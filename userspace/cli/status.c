/* SPDX-License-Identifier: Apache-2.0 */
/* `tapline status`: shows what the agent wrote into STATE/status.json a second ago, or last before
 * it ended. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "userspace/base/cleanup.h"
#include "userspace/base/fs.h"
#include "userspace/base/json.h"
#include "userspace/base/msg.h"
#include "userspace/cli/cli.h"

#define STATUS_MAX (64u << 20)

struct settings {
	const char *state_dir;
	int output;
	bool correlation, streams;
};

static const char *const outputs[] = {"text", "json", NULL};

static const struct tl_option options[] = {
	{.name = "state",
	 .type = TL_OPT_STRING,
	 .offset = offsetof(struct settings, state_dir),
	 .value = "/var/lib/tapline/agent",
	 .metavar = "DIR",
	 .help = "The agent's --state folder."},
	{.name = "output",
	 .type = TL_OPT_ENUM,
	 .offset = offsetof(struct settings, output),
	 .value = "text",
	 .choices = outputs,
	 .letter = 'o',
	 .help = "text, or json: the status file as it is."},
	{.name = "correlation",
	 .type = TL_OPT_BOOL,
	 .offset = offsetof(struct settings, correlation),
	 .value = "false",
	 .help = "Show the evidence for and against each service's thread rule."},
	{.name = "streams",
	 .type = TL_OPT_BOOL,
	 .offset = offsetof(struct settings, streams),
	 .value = "true",
	 .help = "Show each stream's bytes."},
	{.name = NULL},
};

const struct tl_conf_spec tl_status_spec = {
	.program = "tapline status",
	.section = "status",
	.usage = "tapline status [--state DIR] [--correlation] [-o json]",
	.about = "What an agent saw, delivered and lost, per stream and in total, and how it knows "
		 "request ids.\n"
		 "seen = delivered + gaps (told in the output, by cause) + open (not yet a whole "
		 "line).",
	.options = options,
};

static void print_string(const struct tl_json_value *value)
{
	_cleanup_(tl_buf_done) struct tl_buf text = {0};

	if (value->type == TL_JSON_STRING && value->escaped &&
	    tl_json_unescape(value->raw, &text) == 0)
		printf("%.*s", (int)text.len, text.data);
	else
		printf("%.*s", (int)value->raw.len, value->raw.data);
}

static void print_field(struct tl_span json, const char *key, const char *label)
{
	struct tl_json_value value;

	if (tl_json_find(json, key, &value) != 1)
		return;
	printf("%-18s ", label);
	print_string(&value);
	putchar('\n');
}

/* One object's members as "name number, name number"; empty texts are left out. */
static void print_object(struct tl_span json, const char *key, const char *label)
{
	struct tl_json_value object, value;
	struct tl_json_cursor cursor;
	struct tl_span name;
	int n = 0;

	if (tl_json_find(json, key, &object) != 1 || tl_json_enter(&cursor, object.raw) < 0)
		return;
	printf("%-18s", label);
	while (tl_json_member(&cursor, &name, &value) == 1) {
		if (value.type == TL_JSON_ARRAY || value.type == TL_JSON_OBJECT ||
		    (value.type == TL_JSON_STRING && value.raw.len == 0))
			continue;
		printf("%s %.*s ", n ? "," : "", (int)name.len, name.data);
		print_string(&value);
		n++;
	}
	puts(n ? "" : " none");
}

/* "bpf, 33554432 bytes, 0 of them waiting" */
static void print_ring(struct tl_span json)
{
	struct tl_json_value kind, bytes, pending;

	if (tl_json_find(json, "ring", &kind) != 1 ||
	    tl_json_find(json, "ring_bytes", &bytes) != 1 ||
	    tl_json_find(json, "ring_pending_bytes", &pending) != 1)
		return;
	printf("%-18s %.*s, %.*s bytes, %.*s of them waiting\n", "ring", (int)kind.raw.len,
	       kind.raw.data, (int)bytes.raw.len, bytes.raw.data, (int)pending.raw.len,
	       pending.raw.data);
}

/* How long the log bridges an outage of the broker. */
static void print_outage(struct tl_span json)
{
	struct tl_json_value log, value;
	uint64_t s;

	if (tl_json_find(json, "log", &log) != 1 ||
	    tl_json_find(log.raw, "outage_seconds", &value) != 1 || tl_json_u64(&value, &s) < 0)
		return;
	printf("%-18s %llu h %llu min more at the rate of now\n", "  bridges",
	       (unsigned long long)(s / 3600), (unsigned long long)(s / 60 % 60));
}

static void print_cell(struct tl_span json, const char *key, int width)
{
	struct tl_json_value value;

	if (tl_json_find(json, key, &value) == 1)
		printf(" %*.*s", width, (int)value.raw.len, value.raw.data);
	else
		printf(" %*s", width, "-");
}

static void print_streams(struct tl_span json)
{
	struct tl_json_value array, row;
	struct tl_json_cursor cursor;

	if (tl_json_find(json, "streams", &array) != 1 || tl_json_enter(&cursor, array.raw) < 0)
		return;
	printf("\n%8s %8s %5s %12s %12s %10s %10s %9s %9s  %s\n", "STREAM", "PID", "KIND", "SEEN",
	       "DELIVERED", "GAPS", "OPEN", "BLIND", "RECORDS", "PATH");
	while (tl_json_element(&cursor, &row) == 1) {
		printf("%s", "");
		print_cell(row.raw, "stream.id", 7);
		print_cell(row.raw, "process.pid", 8);
		print_cell(row.raw, "kind", 5);
		print_cell(row.raw, "seen_bytes", 12);
		print_cell(row.raw, "delivered_bytes", 12);
		print_cell(row.raw, "gap_bytes", 10);
		print_cell(row.raw, "open_bytes", 10);
		print_cell(row.raw, "blind_bytes", 9);
		print_cell(row.raw, "records", 9);
		printf(" ");
		print_cell(row.raw, "path", 0);
		putchar('\n');
	}
}

/* Why lines of the service have no id: behind the last of its rules. */
static void print_none(struct tl_span none)
{
	struct tl_json_cursor cursor;
	struct tl_json_value value;
	struct tl_span key;
	const char *before = "  without an id: ";

	if (tl_json_enter(&cursor, none) < 0)
		return;
	for (; tl_json_member(&cursor, &key, &value) == 1; before = ", ")
		printf("%s%.*s %.*s", before, (int)key.len, key.data, (int)value.raw.len,
		       value.raw.data);
	if (*before == ',')
		putchar('\n');
}

static void print_gates(struct tl_span correlation)
{
	struct tl_json_value array, row, value;
	struct tl_json_cursor cursor;
	struct tl_span none = {0};

	if (tl_json_find(correlation, "gates", &array) != 1 ||
	    tl_json_enter(&cursor, array.raw) < 0)
		return;
	printf("\nwhat is believed of each service\n%-20s %8s %-10s %-15s %-12s %10s %12s %10s\n",
	       "SERVICE", "PID", "UNIT", "RULE", "STATE", "CONFIRMS", "CONTRADICTS", "LINES");
	while (tl_json_element(&cursor, &row) == 1) {
		if (tl_json_find(row.raw, "none", &value) == 1) {
			print_none(none);
			none = value.raw;
		}
		print_cell(row.raw, "service.name", -19);
		print_cell(row.raw, "process.pid", 8);
		print_cell(row.raw, "unit", -10);
		print_cell(row.raw, "rule", -15);
		print_cell(row.raw, "state", -12);
		print_cell(row.raw, "confirms", 10);
		print_cell(row.raw, "contradicts", 12);
		print_cell(row.raw, "lines", 10);
		putchar('\n');
	}
	print_none(none);
}

static bool alive(struct tl_span json)
{
	struct tl_json_value value;
	uint64_t pid;

	return tl_json_find(json, "pid", &value) == 1 && tl_json_u64(&value, &pid) == 0 && pid &&
	       (kill((pid_t)pid, 0) == 0 || errno == EPERM);
}

static void print_text(struct tl_span json, const struct settings *settings)
{
	struct tl_json_value correlation;

	print_field(json, "time", "as of");
	print_field(json, "state", "state");
	if (!alive(json))
		puts("                   the agent does not run (any more); these are its last "
		     "words");
	print_field(json, "version", "version");
	print_field(json, "backend", "backend");
	print_field(json, "backend_why", "  because");
	print_ring(json);
	print_object(json, "bytes", "bytes");
	print_object(json, "dropped_bytes", "dropped bytes");
	print_object(json, "dropped_events", "dropped events");
	print_field(json, "records", "records");
	print_field(json, "exchanges", "HTTP exchanges");
	print_object(json, "log", "local log");
	print_outage(json);
	print_object(json, "kafka", "kafka");
	print_object(json, "uprobes", "uprobes");
	if (tl_json_find(json, "correlation", &correlation) == 1) {
		print_object(correlation.raw, "how", "lines by how");
		print_object(correlation.raw, "why", "without id, why");
		if (settings->correlation)
			print_gates(correlation.raw);
	}
	if (settings->streams)
		print_streams(json);
}

int tl_status_main(int argc, char **argv)
{
	_cleanup_(tl_buf_done) struct tl_buf json = {0};
	struct settings settings;
	struct tl_conf *conf = NULL;
	struct tl_error error = {0};
	char path[4096];
	int rest, r;

	tl_msg_init("tapline", TL_INFO);
	r = tl_cli_load(&tl_status_spec, argc, argv, &settings, &conf, &rest);
	if (r)
		return r - 1;
	snprintf(path, sizeof(path), "%s/status.json", settings.state_dir);
	r = tl_file_read(path, STATUS_MAX, &json, &error);
	if (r < 0) {
		tl_msg(TL_ERROR, "%s%s", error.message,
		       r == -ENOENT ? "; is --state the folder the agent was started with?" : "");
		tl_conf_free(conf);
		return 1;
	}
	if (settings.output == 1)
		fwrite(json.data, 1, json.len, stdout);
	else
		print_text(tl_buf_span(&json), &settings);
	tl_conf_free(conf);
	return 0;
}
