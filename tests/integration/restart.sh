#!/bin/bash
# The agent (both processes) SIGKILLed KILLS times at random under RATE lines/s and started again on its pinned maps: every line is in
# OpenSearch exactly once, no uid twice, no gap.
. "$(dirname "$0")/lib.bash"
kills=${KILLS:-12} rate=${RATE:-20000}
count=$((rate * (kills + 10))) # the writer is told to end after the last kill
pins=/sys/fs/bpf/tapline-test-$$

start_kafka
start_search
mkfifo "$work/go"
# The writer waits for a line, so that the agent can select it by pid first.
background writer sh -c "read _ < '$work/go'; exec '$O/tests/tools/lines' $count $rate 128 '$work/truth' restart > '$work/service.txt'"
writer=$last
agent_args=(agent --brokers "$brokers" --state "$work/agent" --pin "$pins" --path "$work/service.txt" --pid "$writer" --ring-size "${RING:-256MiB}" --stop-timeout 30s)
test_cleanup() { "$tapline" unload --pin "$pins"; }
background agent "$tapline" "${agent_args[@]}"
agent=$last
background stream "$tapline" stream --brokers "$brokers" --instance restart-1
background sink "$tapline" sink elasticsearch --brokers "$brokers" --url "$search" --instance restart-1
wait_until 30 "the agent does not capture" test -s "$work/agent/status.json"
echo > "$work/go"
killed=0
while [ $killed -lt "$kills" ] && kill -0 "$writer" 2>/dev/null; do
	sleep "0.$((RANDOM % 10))$((RANDOM % 10))"
	is_ours "$agent" || die "the agent ended by itself"
	pkill -KILL -P "$agent" || true
	kill -KILL "$agent"
	wait "$agent" 2>/dev/null || true
	killed=$((killed + 1))
	background agent "$tapline" "${agent_args[@]}"
	agent=$last
done
[ $killed = "$kills" ] || die "the writer ended after $killed of $kills kills"
kill -TERM "$writer"
wait "$writer" || true
. "$work/truth"
say "killed $killed times while $lines lines were written"
# An agent that is stopped sends on for --stop-timeout only: what the log holds by now takes longer.
wait_until $((120 + lines / 2000)) "OpenSearch does not have the $lines lines" has_documents 'tapline-logs-*' "$lines"
stop_pid "$agent"
python3 "$root/tests/integration/check_lines.py" --search "$search" --tag restart --lines "$lines" --bytes "$bytes"
