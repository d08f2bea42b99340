/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's settings: one table for flags, YAML section `agent` and docs/configuration.md. */
#ifndef TL_AGENT_SETTINGS_H
#define TL_AGENT_SETTINGS_H

#include "agent/inspector.h"
#include "userspace/base/conf.h"
#include "userspace/bus/bus.h"

struct tl_agent_settings {
	/* what to tap */
	struct tl_list pids, comms, exes, cgroups, containers, units, exclude_comms, deny_pids;
	bool all, follow_fork;
	struct tl_list paths;
	/* how to capture */
	int backend, ring; /* enum tl_backend, enum tl_ring_kind */
	uint64_t ring_bytes;
	const char *pin_dir; /* "none": nothing outlives the agent */
	bool wire;
	const char *uprobes; /* as tl_learn_sets takes it */
	uint64_t stall_ns;
	uint64_t stream_age_ns;
	uint64_t drain_ns, idle_ns; /* timer of the drain: busy and idle */
	uint64_t scan_ns;
	/* lines */
	uint64_t max_line, partial_ns, join_ns;
	const char *multiline;
	struct tl_list multiline_rules;
	struct tl_list redact;
	/* correlation */
	bool correlate, inline_tokens;
	const char *levels;
	uint64_t hold_ns;
	int64_t gate_confirms;
	/* local log and where it goes */
	const char *state_dir;
	uint64_t log_bytes, log_sync_ns, stop_ns;
	const char *service_name;
	struct tl_kafka_settings kafka;
	const char *metrics; /* HOST:PORT or NULL */
	bool quiet;
	int64_t ready_fd;     /* -1 none */
	int64_t stderr_inode; /* 0 none */
};

extern const struct tl_conf_spec tl_agent_spec;

/* The selectors that the settings name; spans are borrowed. `ret_pids` is a caller's array of
 * TL_PIDS_MAX. Errors: -EINVAL nothing is selected, or a pid is no number. */
#define TL_PIDS_MAX 1024
int tl_agent_selectors(const struct tl_agent_settings *settings, uint32_t *ret_pids,
		       struct tl_selectors *ret, struct tl_error *error);

#endif
