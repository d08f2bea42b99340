/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/settings.h"

#include <stddef.h>
#include <stdlib.h>

#include "userspace/bus/kafka.h"

#define FIELD(member) offsetof(struct tl_agent_settings, member)

static const char *const backends[] = {"auto", "sys_exit", "kretprobe.multi", NULL};
static const char *const rings[] = {"auto", "bpf", "perf", NULL};

static const struct tl_option options[] = {
	{.name = "pid",
	 .type = TL_OPT_LIST,
	 .offset = FIELD(pids),
	 .metavar = "PID",
	 .help = "Tap this process and, unless --no-follow-fork, its descendants, those it has "
		 "already too."},
	{.name = "comm",
	 .type = TL_OPT_LIST,
	 .offset = FIELD(comms),
	 .metavar = "NAME",
	 .help = "Tap processes whose name (comm, 15 bytes) matches; * and ? are wildcards."},
	{.name = "exe",
	 .type = TL_OPT_LIST,
	 .offset = FIELD(exes),
	 .metavar = "PATH",
	 .help = "Tap processes whose executable's path matches; * and ? are wildcards."},
	{.name = "cgroup",
	 .type = TL_OPT_LIST,
	 .offset = FIELD(cgroups),
	 .metavar = "PATH",
	 .help = "Tap processes of the control groups whose path matches."},
	{.name = "container",
	 .type = TL_OPT_LIST,
	 .offset = FIELD(containers),
	 .metavar = "ID",
	 .help = "Tap a container by its id or the id's first 12 or more digits."},
	{.name = "unit",
	 .type = TL_OPT_LIST,
	 .offset = FIELD(units),
	 .metavar = "UNIT",
	 .help = "Tap a systemd unit, for example nginx.service."},
	{.name = "all",
	 .type = TL_OPT_BOOL,
	 .offset = FIELD(all),
	 .value = "false",
	 .help = "Tap every process but tapline's own and the excluded ones."},
	{.name = "exclude-comm",
	 .type = TL_OPT_LIST,
	 .offset = FIELD(exclude_comms),
	 .metavar = "NAME",
	 .help = "Never tap processes of this name, whatever else selects them."},
	{.name = "follow-fork",
	 .type = TL_OPT_BOOL,
	 .offset = FIELD(follow_fork),
	 .value = "true",
	 .help = "Children of a tapped process are tapped from their first instruction."},
	{.name = "path",
	 .type = TL_OPT_LIST,
	 .offset = FIELD(paths),
	 .metavar = "GLOB",
	 .help = "Regular files other than stdout and stderr that are logs; ** crosses slashes. "
		 "Default: "
		 "/var/log/** and **.log."},
	{.name = "backend",
	 .type = TL_OPT_ENUM,
	 .offset = FIELD(backend),
	 .value = "auto",
	 .choices = backends,
	 .help = "Hook of the capture. auto probes the kernel and tries itself out."},
	{.name = "ring",
	 .type = TL_OPT_ENUM,
	 .offset = FIELD(ring),
	 .value = "auto",
	 .choices = rings,
	 .help = "Transport from the kernel: the BPF ring buffer, or perf event arrays."},
	{.name = "ring-size",
	 .type = TL_OPT_SIZE,
	 .offset = FIELD(ring_bytes),
	 .value = "32MiB",
	 .metavar = "SIZE",
	 .help = "Size of the ring (perf: of each CPU's). It bridges the time in which the agent "
		 "does not run."},
	{.name = "pin",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(pin_dir),
	 .value = "/sys/fs/bpf/tapline",
	 .metavar = "DIR",
	 .help = "bpffs folder that keeps programs, maps and ring while the agent is restarted; "
		 "none: nothing outlives it."},
	{.name = "wire",
	 .type = TL_OPT_BOOL,
	 .offset = FIELD(wire),
	 .value = "true",
	 .help = "Read HTTP headers on the sockets of tapped processes, for correlation."},
	{.name = "uprobes",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(uprobes),
	 .value = "auto",
	 .metavar = "SETS",
	 .help = "Probes in tapped processes: auto (all that fit), off, or a list of go (children "
		 "of goroutines), python (asyncio's tasks) and tls (plaintext of OpenSSL and Go)."},
	{.name = "stall",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(stall_ns),
	 .value = "10m",
	 .metavar = "TIME",
	 .help = "Programs of an agent that gave no sign of life for so long stand down, counted."},
	{.name = "stream-age",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(stream_age_ns),
	 .value = "1h",
	 .metavar = "TIME",
	 .help = "A file that nobody wrote to for so long is forgotten; written to again it is a "
		 "new stream. 1m when more than 32,768 are known."},
	{.name = "drain-interval",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(drain_ns),
	 .value = "1ms",
	 .metavar = "TIME",
	 .help = "How often a busy ring is emptied."},
	{.name = "idle-interval",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(idle_ns),
	 .value = "20ms",
	 .metavar = "TIME",
	 .help = "How often an idle ring is looked at."},
	{.name = "scan-interval",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(scan_ns),
	 .value = "200ms",
	 .metavar = "TIME",
	 .help = "How often /proc is searched for new processes that match."},
	{.name = "max-line",
	 .type = TL_OPT_SIZE,
	 .offset = FIELD(max_line),
	 .value = "640KiB",
	 .metavar = "SIZE",
	 .help = "Longer lines are split and flagged log.split."},
	{.name = "partial-timeout",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(partial_ns),
	 .value = "1s",
	 .metavar = "TIME",
	 .help = "A line without its newline is given out after so long, flagged log.partial."},
	{.name = "multiline",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(multiline),
	 .value = "auto",
	 .metavar = "RULES",
	 .help = "Join stack traces: auto (java, python, go), off, or a comma list of rules."},
	{.name = "multiline-rule",
	 .type = TL_OPT_LIST,
	 .offset = FIELD(multiline_rules),
	 .metavar = "NAME=REGEX",
	 .help = "A rule of your own: a line that does not match REGEX continues the one before."},
	{.name = "multiline-timeout",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(join_ns),
	 .value = "250ms",
	 .metavar = "TIME",
	 .help = "How long a line that may go on waits for its continuation."},
	{.name = "redact",
	 .type = TL_OPT_LIST,
	 .offset = FIELD(redact),
	 .metavar = "REGEX",
	 .help = "Replaces what matches by [redacted] before a line is kept anywhere (PCRE2)."},
	{.name = "correlate",
	 .type = TL_OPT_BOOL,
	 .offset = FIELD(correlate),
	 .value = "true",
	 .help = "Give lines the id of their request."},
	{.name = "inline-tokens",
	 .type = TL_OPT_BOOL,
	 .offset = FIELD(inline_tokens),
	 .value = "true",
	 .hidden = true,
	 .help = "The same as --levels -app,-inline-token when false."},
	{.name = "levels",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(levels),
	 .value = "default",
	 .metavar = "LIST",
	 .help = "Ways to know a line's request that may be used: default (all but single), a "
		 "comma "
		 "list of app, unit, unit-bracket, thread, thread-bracket, echo, tail, "
		 "inline-token, "
		 "single; "
		 "-NAME takes one away from the default."},
	{.name = "hold",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(hold_ns),
	 .value = "500ms",
	 .metavar = "TIME",
	 .help = "Longest time a line waits for the proof of its request."},
	{.name = "gate-confirms",
	 .type = TL_OPT_INT,
	 .offset = FIELD(gate_confirms),
	 .value = "300",
	 .min = 1,
	 .max = 1000000,
	 .metavar = "N",
	 .help = "Requests that must confirm a rule of a service (tail: lines of one form), "
		 "without "
		 "one against it, before it is believed."},
	{.name = "state",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(state_dir),
	 .value = "/var/lib/tapline/agent",
	 .metavar = "DIR",
	 .help = "Folder of the local log and the status file, mode 0700."},
	{.name = "log-size",
	 .type = TL_OPT_SIZE,
	 .offset = FIELD(log_bytes),
	 .value = "0",
	 .metavar = "SIZE",
	 .help = "Most that the local log keeps on disk while nobody takes it; 0: a tenth of the "
		 "free space."},
	{.name = "log-sync",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(log_sync_ns),
	 .value = "100ms",
	 .metavar = "TIME",
	 .help = "Longest time that a record may be lost to a power cut; 0: never sync."},
	{.name = "stop-timeout",
	 .type = TL_OPT_DURATION,
	 .offset = FIELD(stop_ns),
	 .value = "10s",
	 .metavar = "TIME",
	 .help = "How long a stopping agent waits for the broker to take what is left (the rest "
		 "stays in the log)."},
	{.name = "service-name",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(service_name),
	 .metavar = "NAME",
	 .help = "service.name of every record; else it is found by unit, container, script or "
		 "executable."},
	TL_KAFKA_OPTIONS_IF(struct tl_agent_settings, kafka, false),
	{.name = "metrics",
	 .type = TL_OPT_STRING,
	 .offset = FIELD(metrics),
	 .metavar = "HOST:PORT",
	 .help = "Serve Prometheus metrics on http://HOST:PORT/metrics."},
	{.name = "quiet",
	 .type = TL_OPT_BOOL,
	 .offset = FIELD(quiet),
	 .value = "false",
	 .letter = 'q',
	 .help = "Say only warnings and errors."},
	{.name = "ready-fd",
	 .type = TL_OPT_INT,
	 .offset = FIELD(ready_fd),
	 .value = "-1",
	 .min = -1,
	 .max = 65535,
	 .metavar = "N",
	 .hidden = true,
	 .help = "A byte is written here once capture is on."},
	{.name = "stderr-inode",
	 .type = TL_OPT_INT,
	 .offset = FIELD(stderr_inode),
	 .value = "0",
	 .metavar = "N",
	 .hidden = true,
	 .help = "The pipe of this inode is stderr, whatever descriptor it is written by (a "
		 "shell's echo >&2 "
		 "writes to its fd 1)."},
	{.name = "deny-pid",
	 .type = TL_OPT_LIST,
	 .offset = FIELD(deny_pids),
	 .metavar = "PID",
	 .hidden = true,
	 .help = "Never tap this process."},
	{.name = NULL},
};

const struct tl_conf_spec tl_agent_spec = {
	.program = "tapline agent",
	.section = "agent",
	.usage = "tapline agent [--brokers HOST:PORT] --comm NAME [options]",
	.about = "Captures what the selected processes write and the HTTP headers of their "
		 "requests, makes records of it,\n"
		 "keeps them in the local log, and forwards them to Kafka (topics tapline.raw and "
		 "tapline.http).\n"
		 "Needs CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH (root has "
		 "them); the process that\n"
		 "handles captured bytes drops all of them.\n\n"
		 "  tapline agent --brokers kafka:9092 --unit nginx.service\n"
		 "  tapline agent --state /tmp/t --pin none --pid 812     no broker: the local log "
		 "only",
	.options = options,
};

static int add_pids(const struct tl_list *list, uint32_t *pids, size_t *n, struct tl_error *error)
{
	for (size_t i = 0; i < list->n; i++) {
		char *end;
		unsigned long pid = strtoul(list->items[i], &end, 10);

		if (*end || end == list->items[i] || pid == 0 || pid >= TL_PID_SLOTS ||
		    *n == TL_PIDS_MAX)
			return tl_error_set(
				error, -EINVAL,
				"--pid %s: not a process id (1 to %u, at most %d of them)",
				list->items[i], TL_PID_SLOTS - 1, TL_PIDS_MAX);
		pids[(*n)++] = (uint32_t)pid;
	}
	return 0;
}

#define LIST(field, list) .field = (const char *const *)(list).items, .n_##field = (list).n

int tl_agent_selectors(const struct tl_agent_settings *settings, uint32_t *ret_pids,
		       struct tl_selectors *ret, struct tl_error *error)
{
	struct tl_selectors selectors = {
		.pids = ret_pids,
		LIST(comms, settings->comms),
		LIST(exes, settings->exes),
		LIST(cgroups, settings->cgroups),
		LIST(containers, settings->containers),
		LIST(units, settings->units),
		LIST(exclude_comms, settings->exclude_comms),
		.all = settings->all,
		.follow_fork = settings->follow_fork,
	};
	int r = add_pids(&settings->pids, ret_pids, &selectors.n_pids, error);

	if (r < 0)
		return r;
	if (!selectors.n_pids && !selectors.n_comms && !selectors.n_exes && !selectors.n_cgroups &&
	    !selectors.n_containers && !selectors.n_units && !selectors.all)
		return tl_error_set(
			error, -EINVAL,
			"nothing is selected: name what to tap with --pid, --comm, --exe, --unit, "
			"--container, --cgroup or --all");
	*ret = selectors;
	return 0;
}
