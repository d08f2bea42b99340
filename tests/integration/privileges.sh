#!/bin/bash
# What the agent's processes may do, and that neither lives on without the other: the worker, which handles bytes that strangers
# wrote, has no capability in any set, cannot gain one, and cannot be dumped; files and pins are for their owner only; nothing
# listens unless asked; a worker killed is started again and loses nothing, one whose inspector is killed ends.
. "$(dirname "$0")/lib.bash"
pins=/sys/fs/bpf/tapline-privileges-$$

status_of() { awk -F'[:\t]+' -v key="$2" '$1 == key { print $2 }' "/proc/$1/status"; }
modes() { # MODE PATH...: each is of that mode and ours
	local mode=$1 path
	shift
	for path in "$@"; do
		[ "$(stat -c '%a %u' "$path")" = "$mode 0" ] || die "$path has mode $(stat -c '%a, owner %u' "$path") instead of $mode, owner 0"
	done
}
listening() { # PID...: local addresses of their TCP listeners, as the kernel writes them
	local pid
	for pid in "$@"; do
		awk -v inodes="$(readlink "/proc/$pid"/fd/* | tr -dc '0-9\n' | tr '\n' ' ')" 'BEGIN { n = split(inodes, list); for (i = 1; i <= n; i++) its[list[i]] }
			$4 == "0A" && $10 in its { print $2 }' "/proc/$pid/net/tcp" "/proc/$pid/net/tcp6"
	done
}
worker_of() { pgrep -P "$1"; }
has_worker() { [ -n "$(worker_of "$1")" ] && [ "$(cat "/proc/$(worker_of "$1")/comm")" = tapline-worker ]; }
is_new_worker() { has_worker "$1" && [ "$(worker_of "$1")" != "$2" ]; }
is_gone() { ! kill -0 "$1" 2>/dev/null || [ "$(status_of "$1" State)" = 'Z (zombie)' ]; }

mkfifo "$work/go"
background writer sh -c "for n in 1 2 3; do read _ < '$work/go'; '$O/tests/tools/lines' 2000 0 128 '$work/truth'.\$n part\$n; done > '$work/service.out'"
writer=$last
agent_args=(agent --state "$work/agent" --pin "$pins" --path "$work/service.out" --pid "$writer")
test_cleanup() { "$tapline" unload --pin "$pins"; }
background agent "$tapline" "${agent_args[@]}"
agent=$last
wait_until 30 "the agent does not capture" test -s "$work/agent/status.json"
worker=$(worker_of "$agent")

# --- the worker can do nothing ---
[ "$(cat "/proc/$worker/comm")" = tapline-worker ] || die "process $worker is no worker"
for set in CapInh CapPrm CapEff CapBnd CapAmb; do
	[ "$(status_of "$worker" $set)" = 0000000000000000 ] || die "the worker's $set is $(status_of "$worker" $set)"
done
[ "$(status_of "$worker" NoNewPrivs)" = 1 ] || die "the worker may gain privileges"
# Not dumpable: another process of the same user, without privileges of its own, may not look into it.
if setpriv --bounding-set=-all --inh-caps=-all --ambient-caps=-all --securebits=+noroot,+noroot_locked cat "/proc/$worker/environ" > /dev/null 2>&1; then
	die "another process of the worker's user, without privileges, may look into its memory"
fi
setpriv --bounding-set=-all --inh-caps=-all --ambient-caps=-all --securebits=+noroot,+noroot_locked cat /proc/self/environ > /dev/null ||
	die "the look at memory did not test"
[ "$(status_of "$agent" CapEff)" != 0000000000000000 ] || die "the inspector has no privileges: the test did not test"

# --- files, pins, listeners ---
modes 700 "$work/agent" "$work/agent/log" "$work/agent/log/consumers" "$pins"
echo > "$work/go"
wait_until 20 "nothing is captured" sh -c "jq -e '.records >= 2000' '$work/agent/status.json' > /dev/null"
modes 600 "$work/agent"/log/*.seg "$work/agent/log/head" "$work/agent/log/lock" "$work/agent/status.json"
modes 600 "$pins"/*
[ -z "$(listening "$agent" "$worker")" ] || die "the agent listens: $(listening "$agent" "$worker")"

# --- the worker is killed: another one goes on, with the same processes and nothing lost ---
kill -KILL "$worker"
wait_until 20 "the worker is not started again" is_new_worker "$agent" "$worker"
grep -q 'the worker died by signal 9.*starting it again' "$work/agent.log" || die "the worker's death is not told"
worker=$(worker_of "$agent")
echo > "$work/go"
wait_until 20 "the new worker captures nothing" sh -c "jq -e '[.streams[].records] | add >= 4000' '$work/agent/status.json' > /dev/null"
[ "$(status_of "$worker" CapEff)" = 0000000000000000 ] || die "the second worker has privileges"

# --- the inspector is killed: the worker ends, the pins go on recording, and the next agent has it all ---
kill -KILL "$agent"
wait "$agent" 2> /dev/null || true
wait_until 20 "the worker outlives its inspector" is_gone "$worker"
echo > "$work/go"
wait "$writer"
background agent "$tapline" "${agent_args[@]}" --metrics 127.0.0.1:29530
agent=$last
wait_until 30 "what was written without an agent is not captured" \
	sh -c "jq -e '[.streams[].records] | add >= 6000' '$work/agent/status.json' > /dev/null"
jq -e '[.streams[] | .gap_bytes + .open_bytes] | add == 0' "$work/agent/status.json" > /dev/null || die "lines were lost"
grep -q "no process $writer: .*Going on, because $pins/tl_ring" "$work/agent.log" || die "the end of the process is not told"
worker=$(worker_of "$agent")
[ "$(listening "$agent" "$worker" | wc -l)" = 1 ] || die "--metrics: not exactly one listener: $(listening "$agent" "$worker")"
[ -z "$(listening "$agent")" ] || die "the inspector listens"
[ "$(listening "$worker")" = "$(printf '0100007F:%04X' 29530)" ] || die "--metrics listens elsewhere: $(listening "$worker")"

# --- both end well together, on a signal to either ---
stop_pid "$agent"
wait_until 20 "the worker outlives its inspector" is_gone "$worker"
background agent "$tapline" "${agent_args[@]}"
agent=$last
wait_until 30 "the agent does not capture" has_worker "$agent"
worker=$(worker_of "$agent")
wait_until 30 "the agent does not capture" sh -c "[ \"\$(jq .pid '$work/agent/status.json')\" = $worker ]"
kill -TERM "$worker"
wait_until 20 "the inspector outlives its worker" is_gone "$agent"
status=0
wait "$agent" || status=$?
[ $status = 0 ] || die "an agent whose worker was asked to stop ends with $status"
say "RESULT worker without privileges, files 0600, nothing listens; 6000 lines over a killed worker and a killed inspector"
